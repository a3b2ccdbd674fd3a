/* How good the model was on labelled rows. */
#include "drift/window_internal.h"

#include <math.h>
#include <stdlib.h>

#include "drift/statistics.h"

/* Probabilities are kept this far from 0 and 1 in the log-loss, as scikit-learn did. */
#define LOG_LOSS_CLIP 1e-15

typedef struct {
  double score;
  gboolean positive;
} ScoredRow;

static gint compare_scores(const void *a, const void *b)
{
  const ScoredRow *left = a, *right = b;
  return (left->score > right->score) - (left->score < right->score);
}

/* Mann-Whitney with half a win for a tie. Sorts `rows`. */
static double area_under_curve(ScoredRow *rows, guint n)
{
  double positives = 0, negatives = 0, wins = 0;
  qsort(rows, n, sizeof *rows, compare_scores);
  for (guint i = 0, next; i < n; i = next) {
    double tied_positive = 0, tied_negative = 0;
    for (next = i; next < n && rows[next].score == rows[i].score; next++)
      *(rows[next].positive ? &tied_positive : &tied_negative) += 1;
    wins += tied_positive * (negatives + tied_negative / 2);
    positives += tied_positive;
    negatives += tied_negative;
  }
  return positives > 0 && negatives > 0 ? wins / (positives * negatives) : NAN;
}

static double mean_log_loss(const ScoredRow *rows, guint n)
{
  double sum = 0;
  for (guint i = 0; i < n; i++) {
    double probability = rows[i].positive ? rows[i].score : 1 - rows[i].score;
    sum -= log(CLAMP(probability, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP));
  }
  return n > 0 ? sum / n : NAN;
}

/* Scores are probabilities of the positive class: other scores, and other tasks, leave both undefined. */
static void measure_scores(const DriftSchema *schema, const DriftLabelRow *rows, guint n, DriftPerformance *performance)
{
  g_autofree ScoredRow *scored = g_new(ScoredRow, n);
  guint n_scored = 0;
  gboolean are_probabilities = TRUE;
  for (guint i = 0; i < n; i++) {
    if (rows[i].label_class < 0 || isnan(rows[i].score)) continue;
    gboolean positive = rows[i].label_class == (gint32)schema->positive_class;
    scored[n_scored++] = (ScoredRow){.score = rows[i].score, .positive = positive};
    are_probabilities = are_probabilities && rows[i].score >= 0 && rows[i].score <= 1;
  }
  if (are_probabilities) performance->log_loss = mean_log_loss(scored, n_scored);
  performance->auc = area_under_curve(scored, n_scored);
}

static void measure_regression(const DriftLabelRow *rows, guint n, DriftPerformance *performance)
{
  double absolute = 0, squared = 0;
  for (guint i = 0; i < n; i++) {
    double difference = rows[i].predicted_value - rows[i].label_value;
    if (isnan(difference)) continue;
    performance->n++;
    absolute += fabs(difference);
    squared += difference * difference;
  }
  if (performance->n == 0) return;
  performance->mae = absolute / (double)performance->n;
  performance->rmse = sqrt(squared / (double)performance->n);
}

void drift_performance_measure(const DriftSchema *schema, const DriftLabelRow *rows, guint n, double confidence,
                               DriftPerformance *performance)
{
  *performance = (DriftPerformance){
      .accuracy = NAN, .accuracy_low = NAN, .accuracy_high = NAN, .auc = NAN, .log_loss = NAN, .mae = NAN, .rmse = NAN};
  if (schema->task == DRIFT_TASK_REGRESSION) {
    measure_regression(rows, n, performance);
    return;
  }
  double right = 0;
  for (guint i = 0; i < n; i++) {
    double wrong = drift_label_row_error(schema, &rows[i]);
    if (isnan(wrong)) continue;
    performance->n++;
    right += 1 - wrong;
  }
  if (performance->n == 0) return;
  performance->accuracy = right / (double)performance->n;
  drift_wilson_interval(right, (double)performance->n, confidence, &performance->accuracy_low,
                        &performance->accuracy_high);
  if (schema->task == DRIFT_TASK_BINARY) measure_scores(schema, rows, n, performance);
}
