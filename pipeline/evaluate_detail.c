#include "pipeline/evaluate_detail.h"

#include <math.h>
#include <string.h>

#include "pipeline/evaluate_internal.h"
#include "pipeline/interval.h"
#include "pipeline/model_arrays.h"

void pipeline_evaluation_detail_clear(PipelineEvaluationDetail *detail)
{
  g_free(detail->classes);
  g_free(detail->confusion);
  memset(detail, 0, sizeof *detail);
}

static double ratio(double part, double whole)
{
  return whole > 0 ? part / whole : NAN;
}

/* --- classes ------------------------------------------------------------------------------------------------------ */

static void count_decisions(const PipelinePredictions *predictions, const PipelineModel *model,
                            PipelineEvaluationDetail *detail)
{
  guint n = detail->n_classes;
  detail->confusion = g_new0(guint64, (gsize)n * n);
  for (gsize i = 0; i < predictions->n; i++) {
    guint truth = (guint)pipeline_predictions_target(predictions, i);
    detail->confusion[(gsize)truth * n + pipeline_predictions_decide(predictions, model, i)]++;
  }
  for (guint t = 0; t < n; t++)
    for (guint d = 0; d < n; d++) {
      guint64 count = detail->confusion[(gsize)t * n + d];
      detail->classes[t].n += count;
      detail->classes[d].decided += count;
      if (t == d) detail->classes[t].right = count;
    }
}

static void measure_class(const PipelinePredictions *predictions, guint class, double *scores, guint8 *labels,
                          PipelineClassFigures *figures)
{
  for (gsize i = 0; i < predictions->n; i++) {
    scores[i] = (double)predictions->outputs[i * predictions->n_outputs + class];
    labels[i] = (guint)pipeline_predictions_target(predictions, i) == class;
  }
  figures->precision = ratio((double)figures->right, (double)figures->decided);
  figures->recall = ratio((double)figures->right, (double)figures->n);
  figures->f1 = ratio(2 * (double)figures->right, (double)figures->n + (double)figures->decided);
  figures->auc = pipeline_metric_auc(scores, labels, predictions->n);
  figures->average_precision = pipeline_metric_average_precision(scores, labels, predictions->n);
}

static void summarise_classes(const DriftSchema *schema, PipelineEvaluationDetail *detail)
{
  double sum = 0;
  guint defined = 0;
  for (guint k = 0; k < detail->n_classes; k++) {
    if (isnan(detail->classes[k].f1)) continue;
    sum += detail->classes[k].f1;
    defined++;
  }
  detail->macro_f1 = ratio(sum, defined);
  if (schema->task != DRIFT_TASK_BINARY) return;
  const PipelineClassFigures *positive = &detail->classes[schema->positive_class];
  detail->average_precision = positive->average_precision;
  detail->precision = positive->precision;
  detail->recall = positive->recall;
  detail->f1 = positive->f1;
}

static void measure_calibration(const PipelinePredictions *predictions, PipelineEvaluationDetail *detail)
{
  guint n = detail->n_classes, positive = predictions->schema->positive_class;
  g_autofree double *confidence = g_new(double, predictions->n + 1), *row = g_new(double, n);
  g_autofree guint8 *outcome = g_new(guint8, predictions->n + 1);
  double distance = 0;
  for (gsize i = 0; i < predictions->n; i++) {
    guint truth = (guint)pipeline_predictions_target(predictions, i);
    for (guint k = 0; k < n; k++) {
      row[k] = (double)predictions->outputs[i * n + k];
      if (n != 2 || k == positive) distance += (row[k] - (k == truth)) * (row[k] - (k == truth));
    }
    pipeline_metric_confidence(row, n, positive, truth, &confidence[i], &outcome[i]);
  }
  detail->brier = ratio(distance, (double)predictions->n);
  detail->ece =
      pipeline_metric_ece(confidence, outcome, predictions->n, PIPELINE_RELIABILITY_BINS, FALSE, detail->reliability);
  detail->ece_equal_mass = pipeline_metric_ece(confidence, outcome, predictions->n, PIPELINE_RELIABILITY_BINS, TRUE,
                                               detail->reliability_equal_mass);
}

static void measure_classes(const PipelinePredictions *predictions, const PipelineModel *model,
                            PipelineEvaluationDetail *detail)
{
  g_autofree double *scores = g_new(double, predictions->n + 1);
  g_autofree guint8 *labels = g_new(guint8, predictions->n + 1);
  detail->n_classes = predictions->n_outputs;
  detail->classes = g_new0(PipelineClassFigures, detail->n_classes);
  count_decisions(predictions, model, detail);
  for (guint k = 0; k < detail->n_classes; k++) measure_class(predictions, k, scores, labels, &detail->classes[k]);
  summarise_classes(predictions->schema, detail);
  measure_calibration(predictions, detail);
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static void measure_values(const PipelinePredictions *predictions, PipelineEvaluationDetail *detail)
{
  double mean = 0, spread = 0, squares = 0, shares = 0, n = (double)predictions->n;
  g_autofree double *errors = g_new(double, predictions->n + 1);
  for (gsize i = 0; i < predictions->n; i++) mean += pipeline_predictions_target(predictions, i) / n;
  for (gsize i = 0; i < predictions->n; i++) {
    double truth = pipeline_predictions_target(predictions, i);
    errors[i] = fabs((double)predictions->outputs[i * predictions->n_outputs] - truth);
    squares += errors[i] * errors[i];
    spread += (truth - mean) * (truth - mean);
    shares += truth == 0 ? NAN : errors[i] / fabs(truth) / n;
  }
  /* A label that does not vary leaves no more than the rounding of its mean. */
  gboolean varies = predictions->n > 1 && spread > 1e-20 * n * mean * mean;
  detail->r2 = varies ? 1 - squares / spread : NAN;
  detail->mape = predictions->n > 0 ? shares : NAN;
  detail->median_absolute_error = pipeline_metric_quantile(errors, predictions->n, 0.5);
}

static double pinball(double quantile, double predicted, double truth)
{
  return truth > predicted ? quantile * (truth - predicted) : (1 - quantile) * (predicted - truth);
}

static gboolean measure_interval(const PipelinePredictions *predictions, PipelineModel *model,
                                 PipelineEvaluationDetail *detail, GError **error)
{
  static const gchar *const names[] = {"lower", "value", "upper"};
  const PipelineModelArray *arrays[3];
  double n = (double)predictions->n, quantiles[3];
  detail->interval_level = pipeline_model_get_interval(model);
  if (isnan(detail->interval_level) || predictions->n == 0) return TRUE;
  g_autoptr(GPtrArray) outputs = pipeline_model_run_table(model, predictions->table, error);
  if (outputs == NULL) return FALSE;
  for (guint i = 0; i < 3; i++) {
    arrays[i] = pipeline_model_array_find(outputs, names[i]);
    detail->pinball[i] = 0;
  }
  pipeline_interval_quantiles(detail->interval_level, quantiles);
  detail->interval_coverage = detail->interval_width = 0;
  for (gsize row = 0; row < predictions->n; row++) {
    double truth = pipeline_predictions_target(predictions, row), value[3];
    for (guint i = 0; i < 3; i++) {
      value[i] = (double)g_array_index(arrays[i]->elements, float, row);
      detail->pinball[i] += pinball(quantiles[i], value[i], truth) / n;
    }
    detail->interval_coverage += (value[0] <= truth && truth <= value[2]) / n;
    detail->interval_width += (value[2] - value[0]) / n;
  }
  return TRUE;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

gboolean pipeline_evaluate_detail(PipelineModel *model, const DriftTable *table, PipelineEvaluationDetail *detail,
                                  GError **error)
{
  PipelinePredictions predictions = {0};
  gboolean done = pipeline_predictions_make(&predictions, model, table, error);
  if (done) {
    *detail = (PipelineEvaluationDetail){.n = predictions.n,
                                         .average_precision = NAN,
                                         .precision = NAN,
                                         .recall = NAN,
                                         .f1 = NAN,
                                         .macro_f1 = NAN,
                                         .brier = NAN,
                                         .ece = NAN,
                                         .ece_equal_mass = NAN,
                                         .r2 = NAN,
                                         .mape = NAN,
                                         .median_absolute_error = NAN,
                                         .interval_level = NAN,
                                         .interval_coverage = NAN,
                                         .interval_width = NAN,
                                         .pinball = {NAN, NAN, NAN}};
    if (predictions.schema->task == DRIFT_TASK_REGRESSION) {
      measure_values(&predictions, detail);
      done = measure_interval(&predictions, model, detail, error);
    } else {
      measure_classes(&predictions, model, detail);
    }
  }
  pipeline_predictions_clear(&predictions);
  return done;
}
