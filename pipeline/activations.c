#include "pipeline/activations.h"

#include "pipeline/model_internal.h"

#define BATCH 64u

static gboolean show(PipelineModel *model, const gchar *const *names, PipelineActivationFunc see, gpointer data,
                     GError **error)
{
  for (guint i = 0; names[i] != NULL; i++) {
    const PipelineTensor *tensor = pipeline_executor_get_value(model->executor, names[i]);
    if (tensor == NULL || tensor->type != ONNX_TYPE_FLOAT || tensor->data == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the graph has no float value '%s'", names[i]);
      return FALSE;
    }
    if (!see(i, tensor, data, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_activations_observe(PipelineModel *model, const DriftTable *table, guint64 max_rows,
                                      const gchar *const *names, PipelineActivationFunc see, gpointer data,
                                      guint64 *n_rows, GError **error)
{
  guint n_features = drift_schema_n_features(model->schema);
  guint64 n = *n_rows = MIN(table->n_rows, max_rows);
  g_autofree gboolean *wanted = g_new(gboolean, model->graph->outputs->len + 1);
  g_autofree DriftValue *features = g_new0(DriftValue, (gsize)BATCH * n_features + 1);
  g_autofree float *outputs = g_new(float, (gsize)BATCH * model->n_outputs);
  if (n == 0) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "there are no rows to look at the model with");
    return FALSE;
  }
  if (!pipeline_model_check_table(model, table, error)) return FALSE;
  for (guint i = 0; i < model->graph->outputs->len; i++) wanted[i] = TRUE;
  pipeline_executor_want_outputs(model->executor, wanted);
  for (guint64 start = 0; start < n; start += BATCH) {
    guint count = (guint)MIN(BATCH, n - start);
    for (guint i = 0; i < count; i++) {
      guint64 row = (start + i) * table->n_rows / n;
      drift_table_get_features(table, model->schema, row, features + (gsize)i * n_features);
    }
    if (!pipeline_model_predict(model, features, count, outputs, error) || !show(model, names, see, data, error))
      return FALSE;
  }
  return TRUE;
}
