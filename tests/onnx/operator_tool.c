/* Prints the operator table, one row a line, for the document that is generated of it: name, first operator set, tier,
 * backends with a kernel of their own for prediction, for training (with its tolerance against the reference), wider
 * types, tolerance of the reference's gradient against finite differences. */
#include <stdio.h>

#include "pipeline/gradient.h"

static void print_prediction(const PipelineOperator *row)
{
  gboolean first = TRUE;
  for (guint i = 0; pipeline_backends[i] != NULL; i++) {
    const PipelineBackend *backend = pipeline_backends[i];
    if (backend == &pipeline_backend_reference || !backend->supports(row->domain, row->name)) continue;
    printf("%s%s", first ? "" : ", ", backend->name);
    first = FALSE;
  }
}

static void print_training(const PipelineOperator *row)
{
  gboolean first = TRUE;
  for (guint i = 0; row->domain[0] == '\0' && pipeline_gradient_backends[i] != NULL; i++) {
    const PipelineGradientBackend *backend = pipeline_gradient_backends[i];
    const PipelineGradientKernel *kernel = pipeline_gradient_kernel_find(backend, row->name);
    if (kernel == NULL) continue;
    printf("%s%s (%g)", first ? "" : ", ", backend->name, kernel->tolerance);
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
    const gchar *tier = gradient == NULL ? "executable" : gradient->inputs == 0 ? "no gradient" : "trainable";
    printf("%s%s%s\t%" G_GINT64_FORMAT "\t%s\t", row->domain, row->domain[0] != '\0' ? "." : "", row->name, row->since,
           tier);
    print_prediction(row);
    printf("\t");
    print_training(row);
    printf("\t%s\t", widened(row));
    if (gradient != NULL && gradient->inputs != 0) printf("%g", gradient->tolerance);
    printf("\n");
  }
  return 0;
}
