#include "pipeline/prepare_folds.h"

#include <math.h>
#include <string.h>

#include "pipeline/model.h"

/* The rows that the fold uses so; *n of them; new. */
static guint64 *list_rows(const PipelineSplit *split, const guint8 *part, guint64 n_rows, guint fold,
                          PipelineSplitUse use, guint64 *n)
{
  guint64 *rows = g_new(guint64, MAX(n_rows, 1));
  *n = 0;
  for (guint64 i = 0; i < n_rows; i++)
    if (pipeline_split_use(split, part[i], fold) == use) rows[(*n)++] = i;
  return rows;
}

static gboolean predict_fold(const DriftTable *table, const DriftSchema *schema, const guint64 *train, guint64 n_train,
                             const guint64 *validate, guint64 n_validate, const PipelineTrainOptions *options,
                             float *outputs, GError **error)
{
  g_autoptr(DriftTable) training = drift_table_select(table, train, n_train);
  g_autoptr(DriftTable) held_out = drift_table_select(table, validate, n_validate);
  PipelineTrainResult result = {0};
  if (!pipeline_train(training, schema, options, NULL, NULL, &result, error)) return FALSE;
  g_autoptr(PipelineModel) model = pipeline_model_load(result.onnx, schema, NULL, error);
  pipeline_train_result_clear(&result);
  if (!model) return FALSE;
  guint width = pipeline_model_get_n_outputs(model);
  g_autofree float *predicted = g_new(float, MAX(n_validate, 1) * width);
  if (!pipeline_model_predict_table(model, held_out, predicted, error)) return FALSE;
  for (guint64 i = 0; i < n_validate; i++)
    memcpy(outputs + validate[i] * width, predicted + i * width, width * sizeof(float));
  return TRUE;
}

gboolean pipeline_predict_folds(const DriftTable *table, const DriftSchema *schema, const PipelineSplit *split,
                                const guint8 *fold, guint k, const PipelineTrainOptions *options, float *outputs,
                                GError **error)
{
  PipelineTrainOptions inner = *options;
  guint width = schema->task == DRIFT_TASK_REGRESSION ? 1 : schema->classes->len;
  inner.checkpoint = NULL;
  inner.split = NULL;
  inner.search_plan = FALSE;
  inner.validation_fraction = 0;
  for (guint64 i = 0; i < table->n_rows * width; i++) outputs[i] = NAN;
  for (guint f = 0; f < k; f++) {
    guint64 n_train, n_validate;
    g_autofree guint64 *train = list_rows(split, fold, table->n_rows, f, PIPELINE_USE_TRAIN, &n_train);
    g_autofree guint64 *validate = list_rows(split, fold, table->n_rows, f, PIPELINE_USE_VALIDATE, &n_validate);
    if (n_train == 0 || n_validate == 0) continue;
    if (!predict_fold(table, schema, train, n_train, validate, n_validate, &inner, outputs, error)) {
      g_prefix_error(error, "fold %u of %u: ", f + 1, k);
      return FALSE;
    }
  }
  return TRUE;
}
