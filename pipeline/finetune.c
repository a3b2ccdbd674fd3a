#include "pipeline/finetune.h"

#include <math.h>
#include <string.h>

static gboolean same_classes(const DriftSchema *a, const DriftSchema *b)
{
  guint n = a->classes != NULL ? a->classes->len : 0, m = b->classes != NULL ? b->classes->len : 0;
  if (a->task != b->task || n != m) return FALSE;
  for (guint i = 0; i < n; i++)
    if (!g_str_equal(g_ptr_array_index(a->classes, i), g_ptr_array_index(b->classes, i))) return FALSE;
  return TRUE;
}

gboolean pipeline_finetune_join(const PipelineGraphRows *rows, const PipelineGraphRows *old, PipelineSpill **joined,
                                float **targets, GError **error)
{
  if (rows->n_features != old->n_features) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "the rows to rehearse have %zu numbers each, the new rows %zu: both must be rows of the same model",
                old->n_features, rows->n_features);
    return FALSE;
  }
  if (!same_classes(rows->schema, old->schema)) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                        "the labels of the rows to rehearse are not of the same classes as those of the new rows: give "
                        "rows of every class in both, or train on one file of all rows");
    return FALSE;
  }
  guint64 n = rows->n_rows + old->n_rows;
  *joined = pipeline_spill_new(n * rows->n_features * sizeof(float), PIPELINE_SPILL_LARGE, error);
  if (*joined == NULL) return FALSE;
  float *x = pipeline_spill_get_data(*joined);
  *targets = g_new(float, n + 1);
  memcpy(x, rows->x, rows->n_rows * rows->n_features * sizeof(float));
  memcpy(x + rows->n_rows * rows->n_features, old->x, old->n_rows * old->n_features * sizeof(float));
  memcpy(*targets, rows->targets, rows->n_rows * sizeof(float));
  memcpy(*targets + rows->n_rows, old->targets, old->n_rows * sizeof(float));
  return TRUE;
}

/* Biases and scales belong to the weights in front of them. */
static gboolean begins_layer(const PipelineGraphPlan *plan, guint index)
{
  const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, index);
  if (!g_str_equal(p->role, "weight") && !g_str_equal(p->role, "embedding")) return FALSE;
  for (guint i = 0; i < index; i++) {
    const PipelineGraphParameter *before = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    if (before->node == p->node && g_str_equal(before->role, p->role)) return FALSE; /* as of an LSTM */
  }
  return TRUE;
}

void pipeline_finetune_decay_rates(PipelineGraphPlan *plan, double decay)
{
  guint distance = 0;
  for (guint i = plan->parameters->len; i-- > 0;) {
    g_array_index(plan->parameters, PipelineGraphParameter, i).rate = pow(decay, distance);
    if (begins_layer(plan, i)) distance++;
  }
}
