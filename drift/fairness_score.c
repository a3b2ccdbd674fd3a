/* Scores by group: ranking, calibration. */
#include "drift/fairness_internal.h"

#include <math.h>
#include <stdlib.h>

#include "drift/distributions.h"
#include "drift/statistics.h"

typedef struct {
  double score;
  gboolean favourable;
} Scored;

static gint compare_scores(const void *a, const void *b)
{
  const Scored *left = a, *right = b;
  return (left->score > right->score) - (left->score < right->score);
}

/* Sums of the placements of both sides: for a positive the share of negatives below it, and the other way round. */
typedef struct {
  double positives, negatives;
  double sum, positive_squares, negative_squares;
} Placements;

static Placements place(Scored *rows, guint64 n)
{
  Placements p = {0};
  qsort(rows, n, sizeof *rows, compare_scores);
  for (guint64 i = 0; i < n; i++) *(rows[i].favourable ? &p.positives : &p.negatives) += 1;
  double positives_below = 0, negatives_below = 0;
  for (guint64 i = 0, next; i < n; i = next) {
    double tied_positive = 0, tied_negative = 0;
    for (next = i; next < n && rows[next].score == rows[i].score; next++)
      *(rows[next].favourable ? &tied_positive : &tied_negative) += 1;
    double of_positive = negatives_below + tied_negative / 2;
    double of_negative = p.positives - positives_below - tied_positive / 2;
    p.sum += tied_positive * of_positive;
    p.positive_squares += tied_positive * of_positive * of_positive;
    p.negative_squares += tied_negative * of_negative * of_negative;
    positives_below += tied_positive;
    negatives_below += tied_negative;
  }
  return p;
}

/* DeLong, DeLong and Clarke-Pearson (1988). */
static void measure_auc(Scored *rows, guint64 n, double confidence, DriftFairnessValue *value)
{
  Placements p = place(rows, n);
  *value = drift_fairness_undefined(p.positives == 0 ? "no scored row is labelled favourable (n = 0)"
                                                     : "no scored row is labelled unfavourable (n = 0)",
                                    n);
  if (p.positives == 0 || p.negatives == 0) return;
  double pairs = p.positives * p.negatives, auc = p.sum / pairs;
  value->undefined = NULL;
  value->value = auc;
  if (p.positives < 2 || p.negatives < 2) return;
  double of_positives = p.positive_squares / (p.negatives * p.negatives) - p.positives * auc * auc;
  double of_negatives = p.negative_squares / (p.positives * p.positives) - p.negatives * auc * auc;
  double variance =
      fmax(of_positives, 0) / (p.positives - 1) / p.positives + fmax(of_negatives, 0) / (p.negatives - 1) / p.negatives;
  double half = drift_normal_quantile(.5 + confidence / 2) * sqrt(variance);
  value->low = fmax(0, auc - half);
  value->high = fmin(1, auc + half);
}

/* A mean from n, sum and sum of squares, with the normal interval (n at least 2). */
static DriftFairnessValue mean_value(double sum, double squares, guint64 n, double confidence)
{
  DriftFairnessValue value = {.value = sum / (double)n, .low = NAN, .high = NAN, .n = n, .group = -1, .other = -1};
  if (n < 2) return value;
  double variance = fmax(0, squares - sum * value.value) / (double)(n - 1);
  double half = drift_normal_quantile(.5 + confidence / 2) * sqrt(variance / (double)n);
  value.low = value.value - half;
  value.high = value.value + half;
  return value;
}

static void measure_calibration(const Scored *rows, guint64 n, double confidence, DriftGroupScores *scores)
{
  double sum = 0, squares = 0, brier = 0, brier_squares = 0, bin_sum[DRIFT_CALIBRATION_BINS] = {0};
  for (guint64 i = 0; i < n; i++) {
    guint bin = MIN((guint)(rows[i].score * DRIFT_CALIBRATION_BINS), DRIFT_CALIBRATION_BINS - 1);
    double gap = rows[i].favourable - rows[i].score;
    scores->bins[bin].n++;
    scores->bins[bin].positives += rows[i].favourable;
    bin_sum[bin] += rows[i].score;
    sum += gap;
    squares += gap * gap;
    brier += gap * gap;
    brier_squares += gap * gap * gap * gap;
  }
  double error = 0;
  for (guint b = 0; b < DRIFT_CALIBRATION_BINS; b++) {
    DriftCalibrationBin *bin = &scores->bins[b];
    bin->mean_score = bin->n > 0 ? bin_sum[b] / (double)bin->n : NAN;
    bin->observed = drift_fairness_undefined("no score in this bin (n = 0)", bin->n);
    if (bin->n == 0) continue;
    bin->observed.undefined = NULL;
    bin->observed.value = (double)bin->positives / (double)bin->n;
    drift_wilson_interval((double)bin->positives, (double)bin->n, confidence, &bin->observed.low, &bin->observed.high);
    error += fabs(bin_sum[b] - (double)bin->positives);
  }
  scores->gap = mean_value(sum, squares, n, confidence);
  scores->brier = mean_value(brier, brier_squares, n, confidence);
  scores->error =
      (DriftFairnessValue){.value = error / (double)n, .low = NAN, .high = NAN, .n = n, .group = -1, .other = -1};
}

static void measure_group(Scored *rows, guint64 n, double confidence, DriftGroupScores *scores)
{
  static const gchar none[] = "no row has a score (n = 0)", outside[] = "scores lie outside [0, 1]";
  gboolean probabilities = TRUE;
  for (guint64 i = 0; i < n; i++) probabilities = probabilities && rows[i].score >= 0 && rows[i].score <= 1;
  scores->n = n;
  scores->auc = scores->gap = scores->error = scores->brier = drift_fairness_undefined(n == 0 ? none : outside, n);
  for (guint b = 0; b < DRIFT_CALIBRATION_BINS; b++)
    scores->bins[b] =
        (DriftCalibrationBin){.mean_score = NAN, .observed = drift_fairness_undefined(n == 0 ? none : outside, 0)};
  if (n == 0) return;
  measure_auc(rows, n, confidence, &scores->auc);
  if (probabilities) measure_calibration(rows, n, confidence, scores);
}

static gboolean is_scored(const DriftFairness *fairness, guint64 row)
{
  const DriftFairnessRows *rows = fairness->rows;
  return fairness->grouping->group[row] != DRIFT_GROUP_NONE && rows->label[row] >= 0 &&
         drift_fairness_rows_prediction(rows, row) >= 0 && !isnan(rows->score[row]);
}

static DriftGroupScores *measure_all(const DriftFairness *fairness, double confidence)
{
  const DriftFairnessRows *rows = fairness->rows;
  if (rows->score == NULL) return NULL;
  g_autofree guint64 *start = g_new0(guint64, fairness->n_groups + 1);
  for (guint64 i = 0; i < rows->n; i++)
    if (is_scored(fairness, i)) start[fairness->grouping->group[i] + 1]++;
  for (guint g = 0; g < fairness->n_groups; g++) start[g + 1] += start[g];
  g_autofree Scored *scored = g_new(Scored, start[fairness->n_groups] + 1);
  g_autofree guint64 *next = g_memdup2(start, (fairness->n_groups + 1) * sizeof *start);
  for (guint64 i = 0; i < rows->n; i++)
    if (is_scored(fairness, i))
      scored[next[fairness->grouping->group[i]]++] =
          (Scored){.score = rows->score[i], .favourable = rows->label[i] == 1};
  DriftGroupScores *scores = g_new0(DriftGroupScores, fairness->n_groups);
  for (guint g = 0; g < fairness->n_groups; g++)
    measure_group(scored + start[g], start[g + 1] - start[g], confidence, &scores[g]);
  return scores;
}

DriftGroupScores *drift_fairness_scores(const DriftFairness *fairness)
{
  return measure_all(fairness, fairness->settings.confidence);
}

void drift_fairness_calibration_difference(const DriftFairness *fairness, DriftFairnessValue *value)
{
  guint n = fairness->n_groups, n_compared = 0, highest, lowest, n_defined;
  *value = drift_fairness_undefined("there is no column of scores", 0);
  for (guint g = 0; g < n; g++) n_compared += drift_fairness_is_compared(fairness, g);
  g_autofree DriftGroupScores *scores =
      measure_all(fairness, drift_fairness_pair_confidence(fairness->settings.confidence, n_compared));
  if (scores == NULL) return;
  g_autofree DriftFairnessPoint *points = g_new(DriftFairnessPoint, n);
  for (guint g = 0; g < n; g++) {
    points[g] = (DriftFairnessPoint){NAN, NAN, NAN};
    if (!drift_fairness_is_compared(fairness, g)) continue;
    points[g] = (DriftFairnessPoint){scores[g].gap.value, scores[g].gap.low, scores[g].gap.high};
    value->n += scores[g].n;
  }
  drift_fairness_spread(points, n, value, &highest, &lowest, &n_defined);
}
