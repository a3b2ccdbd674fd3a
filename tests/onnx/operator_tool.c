/* Prints the operator table, one row a line, for the document that is generated of it:
 * name, first operator set, tier, backends with a kernel of their own, wider types, tolerance of the gradient. */
#include <stdio.h>

#include "pipeline/operator.h"
#if __has_include("pipeline/gradient.h")
#include "pipeline/gradient.h"
#else
typedef struct {
  double tolerance;
  gpointer backward;
} PipelineGradient;
static const PipelineGradient *pipeline_gradient_find(const gchar *domain, const gchar *name)
{
  (void)domain;
  (void)name;
  return NULL;
}
#endif

static void print_backends(const PipelineOperator *row)
{
  gboolean first = TRUE;
  for (guint i = 0; pipeline_backends[i] != NULL; i++) {
    const PipelineBackend *backend = pipeline_backends[i];
    if (backend == &pipeline_backend_reference || !backend->supports(row->domain, row->name)) continue;
    printf("%s%s", first ? "" : ", ", backend->name);
    first = FALSE;
  }
}

static const gchar *widened(const PipelineOperator *row)
{
  gboolean half = (row->widen & (PIPELINE_WIDEN_HALF | PIPELINE_WIDEN_HALF_ALL)) != 0;
  if (row->widen & PIPELINE_WIDEN_INTEGERS)
    return half ? "16-bit floats, 8 to 32-bit integers" : "8 to 32-bit integers";
  return half ? "16-bit floats" : "";
}

int main(void)
{
  for (const PipelineOperator *row = pipeline_operators; row->name != NULL; row++) {
    const PipelineGradient *gradient = pipeline_gradient_find(row->domain, row->name);
    printf("%s%s%s\t%" G_GINT64_FORMAT "\t%s\t", row->domain, row->domain[0] != '\0' ? "." : "", row->name, row->since,
           gradient != NULL ? "trainable" : "executable");
    print_backends(row);
    printf("\t%s\t", widened(row));
    if (gradient != NULL && gradient->backward != NULL) printf("%g", gradient->tolerance);
    printf("\n");
  }
  return 0;
}
