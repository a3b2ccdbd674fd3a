/* Champion and challenger on the same held-out rows: what the gate will look at. */
#include "pipeline/job_training.h"

#include <math.h>

#define ROBUST_ROWS_MAXIMUM 2000 /* of the held-out rows, the last: an attack costs many passes a row */
#define LATENCY_ROWS_MAXIMUM 2000

/* The last `n` rows of the held-out ones, or NULL when that is all of them. */
static DriftTable *last_rows(const DriftTable *table, guint64 n)
{
  if (table->n_rows <= n) return NULL;
  g_autofree guint64 *rows = g_new(guint64, n);
  for (guint64 i = 0; i < n; i++) rows[i] = table->n_rows - n + i;
  return drift_table_select(table, rows, n);
}

static gboolean evaluate(PipelineTraining *training, PipelineModel *model, json_t **out, GError **error)
{
  PipelineEvaluation evaluation = {0};
  g_autoptr(DriftTable) attacked = last_rows(training->holdout, ROBUST_ROWS_MAXIMUM);
  g_autoptr(DriftTable) timed = last_rows(training->holdout, LATENCY_ROWS_MAXIMUM);
  gboolean measured = pipeline_evaluate(model, training->holdout, &evaluation, error) &&
                      pipeline_evaluate_latency(model, timed != NULL ? timed : training->holdout, &evaluation, error);
  if (measured && training->robust_epsilon > 0)
    measured =
        pipeline_evaluate_robustness(model, attacked != NULL ? attacked : training->holdout, training->robust_epsilon,
                                     (guint)training->robust_steps, (guint64)training->seed, &evaluation, error);
  if (measured) *out = pipeline_job_evaluation(&evaluation);
  pipeline_evaluation_clear(&evaluation);
  return measured;
}

static gboolean judge(PipelineTraining *training, GError **error)
{
  json_t *champion_json = NULL, *challenger_json = NULL;
  g_autoptr(PipelineModel) challenger = pipeline_model_load(training->trained.onnx, training->schema, NULL, error);
  if (challenger == NULL || !evaluate(training, challenger, &challenger_json, error)) return FALSE;
  json_object_set_new(training->evaluation, "challenger", challenger_json);
  if (training->champion == NULL) return TRUE;
  g_autoptr(PipelineModel) champion = pipeline_model_load(training->champion, training->schema, NULL, error);
  if (champion == NULL || !evaluate(training, champion, &champion_json, error)) return FALSE;
  json_object_set_new(training->evaluation, "champion", champion_json);
  PipelineComparison comparison = {0};
  if (!pipeline_compare(champion, challenger, training->holdout, training->confidence, (guint64)training->seed,
                        &comparison, error))
    return FALSE;
  json_object_set_new(training->evaluation, "comparison", pipeline_job_comparison(&comparison));
  pipeline_job_log(training->context,
                   "held-out rows %" G_GUINT64_FORMAT ": champion %.4f, challenger %.4f, gain %.4f (%.4f to %.4f)",
                   comparison.n, comparison.champion, comparison.challenger, comparison.gain, comparison.low,
                   comparison.high);
  return TRUE;
}

void pipeline_training_judge_nothing(PipelineTraining *training)
{
  training->evaluation = json_pack("{s:n, s:n, s:n}", "comparison", "champion", "challenger");
}

gboolean pipeline_training_judge(PipelineTraining *training, GError **error)
{
  pipeline_training_judge_nothing(training);
  /* Without held-out rows nothing is measured, and the gate says "undefined". */
  return training->holdout->n_rows == 0 || judge(training, error);
}
