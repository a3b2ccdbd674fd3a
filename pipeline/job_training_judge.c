/* Champion and challenger on the same held-out rows: what the gate will look at. */
#include "pipeline/job_training.h"

#include <math.h>

#define ROBUST_ROWS_MAXIMUM 2000 /* of the held-out rows, the last: an attack costs many passes a row */
#define LATENCY_ROWS_MAXIMUM 2000

DriftTable *pipeline_training_last_rows(const DriftTable *table, guint64 n)
{
  if (table->n_rows <= n) return NULL;
  g_autofree guint64 *rows = g_new(guint64, n);
  for (guint64 i = 0; i < n; i++) rows[i] = table->n_rows - n + i;
  return drift_table_select(table, rows, n);
}

/* onnx: the model's bytes. */
static gboolean evaluate(PipelineTraining *training, PipelineModel *model, GBytes *onnx, json_t **out, GError **error)
{
  PipelineEvaluation evaluation = {0};
  g_autoptr(DriftTable) attacked = pipeline_training_last_rows(training->holdout, ROBUST_ROWS_MAXIMUM);
  g_autoptr(DriftTable) timed = pipeline_training_last_rows(training->holdout, LATENCY_ROWS_MAXIMUM);
  gboolean measured = pipeline_evaluate(model, training->holdout, &evaluation, error) &&
                      pipeline_evaluate_latency(model, timed != NULL ? timed : training->holdout, &evaluation, error);
  if (measured && training->robust_epsilon > 0)
    measured =
        pipeline_evaluate_robustness(model, attacked != NULL ? attacked : training->holdout, training->robust_epsilon,
                                     (guint)training->robust_steps, (guint64)training->seed, &evaluation, error);
  if (measured) {
    guint64 n_attacked = isnan(evaluation.robust_accuracy) ? 0 : MIN(training->holdout->n_rows, ROBUST_ROWS_MAXIMUM);
    *out = pipeline_job_evaluation(&evaluation);
    json_object_set_new(*out, "robust_n", n_attacked > 0 ? json_integer((json_int_t)n_attacked) : json_null());
    json_object_set_new(*out, "bytes", json_integer((json_int_t)g_bytes_get_size(onnx)));
  }
  pipeline_evaluation_clear(&evaluation);
  return measured;
}

/* Another version on the same rows: its evaluation under `who`, its comparison with the challenger under `against`. */
static gboolean compare(PipelineTraining *training, GBytes *onnx, PipelineModel *challenger, const gchar *who,
                        const gchar *against, GError **error)
{
  json_t *measured = NULL;
  PipelineComparison comparison = {0};
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, training->schema, NULL, error);
  if (model == NULL || !evaluate(training, model, onnx, &measured, error)) return FALSE;
  json_object_set_new(training->evaluation, who, measured);
  if (!pipeline_compare(model, challenger, training->holdout, training->confidence, (guint64)training->seed,
                        &comparison, error))
    return FALSE;
  json_object_set_new(training->evaluation, against, pipeline_job_comparison(&comparison));
  pipeline_job_log(
      training->context, "held-out rows %" G_GUINT64_FORMAT ": %s %.4f, challenger %.4f, gain %.4f (%.4f to %.4f)",
      comparison.n, who, comparison.champion, comparison.challenger, comparison.gain, comparison.low, comparison.high);
  return TRUE;
}

static gboolean judge(PipelineTraining *training, GError **error)
{
  json_t *measured = NULL;
  GBytes *onnx = training->trained.onnx;
  g_autoptr(PipelineModel) challenger = pipeline_model_load(onnx, training->schema, NULL, error);
  if (challenger == NULL || !evaluate(training, challenger, onnx, &measured, error)) return FALSE;
  json_object_set_new(training->evaluation, "challenger", measured);
  return (training->champion == NULL ||
          compare(training, training->champion, challenger, "champion", "comparison", error)) &&
         (!training->judges_from || compare(training, training->from, challenger, "before", "change", error));
}

void pipeline_training_judge_nothing(PipelineTraining *training)
{
  training->evaluation = json_pack("{s:n, s:n, s:n}", "comparison", "champion", "challenger");
}

gboolean pipeline_training_judge(PipelineTraining *training, GError **error)
{
  pipeline_training_judge_nothing(training);
  if (training->judges_from) {
    json_object_set_new(training->evaluation, "before", json_null());
    json_object_set_new(training->evaluation, "change", json_null());
  }
  /* Without held-out rows nothing is measured, and the gate says "undefined". */
  return training->holdout->n_rows == 0 || judge(training, error);
}
