#include "pipeline/trainer_weights.h"

#include <math.h>

/* Each class by n / (classes n_class), counted over the training rows. */
static void balance(const DriftSchema *schema, const PipelineTrainerRows *rows, guint64 n, double *weights)
{
  guint n_classes = schema->classes->len;
  g_autofree guint64 *counts = g_new0(guint64, n_classes + 1);
  for (guint64 i = 0; i < rows->n_train; i++) counts[(guint)rows->targets[rows->rows[i]]]++;
  for (guint64 row = 0; row < n; row++) {
    if (isnan(rows->targets[row])) continue;
    guint64 count = counts[(guint)rows->targets[row]];
    if (count > 0) weights[row] *= (double)rows->n_train / ((double)n_classes * (double)count);
  }
}

gboolean pipeline_trainer_weights(const DriftTable *table, const DriftSchema *schema,
                                  const PipelineTrainOptions *options, const PipelineTrainerRows *rows,
                                  PipelineReweighing *reweighing, float **out, GError **error)
{
  guint64 n = table->n_rows;
  gboolean balanced = options->balanced && schema->task != DRIFT_TASK_REGRESSION;
  *out = NULL;
  if (!options->row_weights && !options->reweigh && !balanced) return TRUE;
  double sum = 0;
  g_autofree double *weights = g_new(double, MAX(n, 1));
  for (guint64 i = 0; i < n; i++) {
    weights[i] = options->row_weights ? options->row_weights[i] : 1;
    if (weights[i] >= 0 && isfinite(weights[i])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the weight of row %" G_GUINT64_FORMAT " is %g", i,
                weights[i]);
    return FALSE;
  }
  if (options->reweigh && !pipeline_reweigh(table, schema, options->reweigh, rows, weights, reweighing, error))
    return FALSE;
  if (balanced) balance(schema, rows, n, weights);
  g_autofree float *narrow = g_new(float, MAX(n, 1));
  for (guint64 i = 0; i < n; i++) narrow[i] = (float)weights[i];
  for (guint64 i = 0; i < rows->n_train; i++) sum += weights[rows->rows[i]];
  if (sum > 0) {
    *out = g_steal_pointer(&narrow);
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "every training row has weight 0");
  return FALSE;
}
