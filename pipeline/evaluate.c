#include "pipeline/evaluate.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "drift/fairness.h"
#include "pipeline/evaluate_internal.h"
#include "pipeline/evaluate_metrics.h"
#include "pipeline/trainer_random.h"

#define SMALLEST_GROUP 30u /* rows: rates of smaller groups say little */
#define MOST_GROUPS 100u   /* of one sensitive feature; a feature with more is no grouping */
#define LATENCY_ROWS PIPELINE_EVALUATION_LATENCY_ROWS
#define LATENCY_WARM_UP 50u
#define RESAMPLES 2000u

void pipeline_evaluation_clear(PipelineEvaluation *evaluation)
{
  g_free(evaluation->disparate_impact_group);
  g_free(evaluation->robust_undefined);
  memset(evaluation, 0, sizeof *evaluation);
}

/* --- predictions on the labelled rows ----------------------------------------------------------------------------- */

void pipeline_predictions_clear(PipelinePredictions *predictions)
{
  pipeline_trainer_rows_free(predictions->rows);
  drift_table_free(predictions->table);
  g_free(predictions->outputs);
}

gboolean pipeline_predictions_make(PipelinePredictions *predictions, PipelineModel *model, const DriftTable *table,
                                   GError **error)
{
  predictions->schema = pipeline_model_get_schema(model);
  predictions->n_outputs = pipeline_model_get_n_outputs(model);
  predictions->rows = pipeline_trainer_rows_new(table, predictions->schema, error);
  if (!predictions->rows) return FALSE;
  predictions->n = predictions->rows->n;
  predictions->table = drift_table_select(table, predictions->rows->rows, predictions->n);
  predictions->outputs = g_try_new(float, predictions->n * predictions->n_outputs);
  if (!predictions->outputs) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GSIZE_FORMAT " predictions",
                predictions->n);
    return FALSE;
  }
  return pipeline_model_predict_table(model, predictions->table, predictions->outputs, error);
}

double pipeline_predictions_target(const PipelinePredictions *predictions, gsize i)
{
  return predictions->rows->targets[predictions->rows->rows[i]];
}

guint pipeline_predictions_decide(const PipelinePredictions *predictions, const PipelineModel *model, gsize i)
{
  return pipeline_model_decide(model, predictions->outputs + i * predictions->n_outputs);
}

/* --- quality ------------------------------------------------------------------------------------------------------ */

static void measure_regression(const PipelinePredictions *predictions, PipelineEvaluation *evaluation)
{
  double absolute = 0, squares = 0, n = (double)predictions->n;
  for (gsize i = 0; i < predictions->n; i++) {
    double difference = predictions->outputs[i * predictions->n_outputs] - pipeline_predictions_target(predictions, i);
    absolute += fabs(difference);
    squares += difference * difference;
  }
  evaluation->mae = absolute / n;
  evaluation->rmse = sqrt(squares / n);
}

static void measure_auc(const PipelinePredictions *predictions, PipelineEvaluation *evaluation)
{
  if (predictions->schema->task != DRIFT_TASK_BINARY) return;
  guint positive = predictions->schema->positive_class;
  g_autofree double *scores = g_new(double, predictions->n);
  g_autofree guint8 *labels = g_new(guint8, predictions->n);
  for (gsize i = 0; i < predictions->n; i++) {
    scores[i] = predictions->outputs[i * predictions->n_outputs + positive];
    labels[i] = (guint)pipeline_predictions_target(predictions, i) == positive;
  }
  evaluation->auc = pipeline_metric_auc(scores, labels, predictions->n);
}

static void measure_classifier(const PipelinePredictions *predictions, const PipelineModel *model, guint *decisions,
                               PipelineEvaluation *evaluation)
{
  g_autofree guint *labels = g_new(guint, predictions->n);
  g_autofree double *p = g_new(double, predictions->n);
  guint64 right = 0;
  for (gsize i = 0; i < predictions->n; i++) {
    labels[i] = (guint)pipeline_predictions_target(predictions, i);
    decisions[i] = pipeline_predictions_decide(predictions, model, i);
    p[i] = predictions->outputs[i * predictions->n_outputs + labels[i]];
    if (decisions[i] == labels[i]) right++;
  }
  evaluation->accuracy = (double)right / (double)predictions->n;
  evaluation->balanced_accuracy =
      pipeline_metric_balanced_accuracy(decisions, labels, predictions->n, predictions->schema->classes->len);
  evaluation->log_loss = pipeline_metric_log_loss(p, predictions->n);
  measure_auc(predictions, evaluation);
}

/* --- fairness ----------------------------------------------------------------------------------------------------- */

/* The lowest selection rate over the highest among the groups of the column, when it is the worst so far. Groups as in
 * `kedge bias`: values, quarters of a number with many. */
static void note_impact(const DriftFairnessRows *rows, const DriftColumn *column, PipelineEvaluation *evaluation)
{
  g_autoptr(DriftGrouping) grouping = drift_grouping_new(&column, 1, rows->n, NULL);
  if (!grouping || grouping->n_groups > MOST_GROUPS) return;
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.minimum_group = SMALLEST_GROUP;
  g_autoptr(DriftFairness) fairness = drift_fairness_new(rows, grouping, &settings, NULL);
  if (!fairness) return;
  DriftFairnessRange range;
  drift_fairness_between(fairness, DRIFT_RATE_SELECTION, &range);
  double impact = range.ratio.value;
  if (range.ratio.undefined) return;
  if (!isnan(evaluation->disparate_impact_worst) && impact >= evaluation->disparate_impact_worst) return;
  evaluation->disparate_impact_worst = impact;
  g_free(evaluation->disparate_impact_group);
  evaluation->disparate_impact_group = g_strdup_printf("%s=%s vs %s", grouping->attribute,
                                                       grouping->names[range.lowest], grouping->names[range.highest]);
}

static void measure_impact(const PipelinePredictions *predictions, const guint *decisions,
                           PipelineEvaluation *evaluation)
{
  const DriftSchema *schema = predictions->schema;
  if (schema->task != DRIFT_TASK_BINARY) return;
  g_autofree gint8 *label = g_new(gint8, predictions->n + 1), *decision = g_new(gint8, predictions->n + 1);
  for (gsize i = 0; i < predictions->n; i++) {
    label[i] = (guint)pipeline_predictions_target(predictions, i) == schema->positive_class;
    decision[i] = decisions[i] == schema->positive_class;
  }
  const DriftFairnessRows rows = {.n = predictions->n, .label = label, .prediction = decision};
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    const DriftColumn *column = feature->sensitive ? drift_table_get_column(predictions->table, feature->name) : NULL;
    if (column) note_impact(&rows, column, evaluation);
  }
}

gboolean pipeline_evaluate(PipelineModel *model, const DriftTable *table, PipelineEvaluation *evaluation,
                           GError **error)
{
  PipelinePredictions predictions = {0};
  gboolean done = pipeline_predictions_make(&predictions, model, table, error);
  if (done) {
    *evaluation = (PipelineEvaluation){.n = predictions.n,
                                       .accuracy = NAN,
                                       .auc = NAN,
                                       .log_loss = NAN,
                                       .balanced_accuracy = NAN,
                                       .mae = NAN,
                                       .rmse = NAN,
                                       .robust_accuracy = NAN,
                                       .robust_epsilon = NAN,
                                       .latency_p50_us = NAN,
                                       .latency_p99_us = NAN,
                                       .disparate_impact_worst = NAN};
    g_autofree guint *decisions = g_new(guint, predictions.n);
    if (predictions.schema->task == DRIFT_TASK_REGRESSION) {
      measure_regression(&predictions, evaluation);
    } else {
      measure_classifier(&predictions, model, decisions, evaluation);
      measure_impact(&predictions, decisions, evaluation);
    }
  }
  pipeline_predictions_clear(&predictions);
  return done;
}

/* --- latency ------------------------------------------------------------------------------------------------------ */

static double now_us(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

gboolean pipeline_evaluate_latency(PipelineModel *model, const DriftTable *table, PipelineEvaluation *evaluation,
                                   GError **error)
{
  const DriftSchema *schema = pipeline_model_get_schema(model);
  g_autofree DriftValue *features = g_new(DriftValue, drift_schema_n_features(schema));
  g_autofree float *outputs = g_new(float, pipeline_model_get_n_outputs(model));
  g_autofree double *times = g_new(double, LATENCY_ROWS);
  if (table->n_rows == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no rows to measure the latency on");
    return FALSE;
  }
  for (guint i = 0; i < LATENCY_WARM_UP + LATENCY_ROWS; i++) {
    drift_table_get_features(table, schema, i % table->n_rows, features);
    double start = now_us();
    if (!pipeline_model_predict(model, features, 1, outputs, error)) return FALSE;
    if (i >= LATENCY_WARM_UP) times[i - LATENCY_WARM_UP] = now_us() - start;
  }
  evaluation->latency_p50_us = pipeline_metric_quantile(times, LATENCY_ROWS, 0.5);
  evaluation->latency_p99_us = pipeline_metric_quantile(times, LATENCY_ROWS, 0.99);
  return TRUE;
}

/* --- two models on the same rows ---------------------------------------------------------------------------------- */

/* Per-row scores [n]: 1 right, 0 wrong; or minus the squared error. */
static double *score_rows(const PipelinePredictions *predictions, const PipelineModel *model)
{
  double *scores = g_new(double, predictions->n);
  for (gsize i = 0; i < predictions->n; i++) {
    double difference = predictions->outputs[i * predictions->n_outputs] - pipeline_predictions_target(predictions, i);
    scores[i] =
        predictions->schema->task == DRIFT_TASK_REGRESSION
            ? -difference * difference
            : pipeline_predictions_decide(predictions, model, i) == (guint)pipeline_predictions_target(predictions, i);
  }
  return scores;
}

static double mean(const double *values, gsize n)
{
  double sum = 0;
  for (gsize i = 0; i < n; i++) sum += values[i];
  return sum / (double)n;
}

/* Rows are drawn in pairs, so that what is hard for both models does not widen the interval. */
void pipeline_compare_scores(const double *champion, const double *challenger, gsize n, double confidence, guint64 seed,
                             PipelineComparison *comparison)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  g_autofree double *means = g_new(double, RESAMPLES);
  for (guint r = 0; r < RESAMPLES; r++) {
    double sum = 0;
    for (gsize i = 0; i < n; i++) {
      gsize row = pipeline_random_below(&random, n);
      sum += challenger[row] - champion[row];
    }
    means[r] = sum / (double)n;
  }
  *comparison = (PipelineComparison){.n = n,
                                     .champion = mean(champion, n),
                                     .challenger = mean(challenger, n),
                                     .low = pipeline_metric_quantile(means, RESAMPLES, (1 - confidence) / 2),
                                     .high = pipeline_metric_quantile(means, RESAMPLES, (1 + confidence) / 2),
                                     .confidence = confidence};
  comparison->gain = comparison->challenger - comparison->champion;
}

gboolean pipeline_compare(PipelineModel *champion, PipelineModel *challenger, const DriftTable *table,
                          double confidence, guint64 seed, PipelineComparison *comparison, GError **error)
{
  if (!(confidence > 0 && confidence < 1)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the confidence must lie between 0 and 1, not %g",
                confidence);
    return FALSE;
  }
  PipelinePredictions first = {0}, second = {0};
  gboolean done = pipeline_predictions_make(&first, champion, table, error) &&
                  pipeline_predictions_make(&second, challenger, table, error);
  if (done && (first.n != second.n || first.schema->task != second.schema->task)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the two models do not have the same label and classes");
    done = FALSE;
  }
  if (done) {
    g_autofree double *champion_scores = score_rows(&first, champion),
                      *challenger_scores = score_rows(&second, challenger);
    pipeline_compare_scores(champion_scores, challenger_scores, first.n, confidence, seed, comparison);
  }
  pipeline_predictions_clear(&first);
  pipeline_predictions_clear(&second);
  return done;
}
