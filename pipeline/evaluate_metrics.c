#include "pipeline/evaluate_metrics.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  double score;
  guint8 label;
} Scored;

static gint compare_scores(gconstpointer a, gconstpointer b)
{
  double x = ((const Scored *)a)->score, y = ((const Scored *)b)->score;
  return (x > y) - (x < y);
}

double pipeline_metric_auc(const double *scores, const guint8 *labels, gsize n)
{
  g_autofree Scored *sorted = g_new(Scored, MAX(1, n));
  double positives = 0, rank_sum = 0;
  for (gsize i = 0; i < n; i++) {
    if (isnan(scores[i])) return NAN;
    sorted[i] = (Scored){scores[i], labels[i]};
    positives += labels[i];
  }
  double negatives = (double)n - positives;
  if (positives == 0 || negatives == 0) return NAN;
  qsort(sorted, n, sizeof *sorted, compare_scores);
  for (gsize start = 0, end; start < n; start = end) {
    double tied = 0;
    for (end = start; end < n && sorted[end].score == sorted[start].score; end++) tied += sorted[end].label;
    rank_sum += tied * ((double)(start + 1) + (double)end) / 2; /* mean of the ranks start + 1 … end */
  }
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
}

double pipeline_metric_average_precision(const double *scores, const guint8 *labels, gsize n)
{
  g_autofree Scored *sorted = g_new(Scored, MAX(1, n));
  double positives = 0, found = 0, area = 0;
  for (gsize i = 0; i < n; i++) {
    if (isnan(scores[i])) return NAN;
    sorted[i] = (Scored){scores[i], labels[i]};
    positives += labels[i];
  }
  if (positives == 0) return NAN;
  qsort(sorted, n, sizeof *sorted, compare_scores);
  for (gsize end = n, start; end > 0; end = start) {
    double before = found;
    for (start = end; start > 0 && sorted[start - 1].score == sorted[end - 1].score; start--)
      found += sorted[start - 1].label;
    area += (found - before) / positives * (found / (double)(n - start));
  }
  return area;
}

double pipeline_metric_balanced_accuracy(const guint *decisions, const guint *labels, gsize n, guint n_classes)
{
  g_autofree guint64 *totals = g_new0(guint64, n_classes), *right = g_new0(guint64, n_classes);
  double sum = 0;
  guint present = 0;
  for (gsize i = 0; i < n; i++) {
    totals[labels[i]]++;
    if (decisions[i] == labels[i]) right[labels[i]]++;
  }
  for (guint k = 0; k < n_classes; k++) {
    if (totals[k] == 0) continue;
    sum += (double)right[k] / (double)totals[k];
    present++;
  }
  return present > 0 ? sum / present : NAN;
}

double pipeline_metric_log_loss(const double *p, gsize n)
{
  double sum = 0;
  for (gsize i = 0; i < n; i++) sum -= isnan(p[i]) ? NAN : log(CLAMP(p[i], 1e-7, 1.0));
  return n > 0 ? sum / (double)n : NAN;
}

void pipeline_metric_confidence(const double *p, guint n_classes, guint positive, guint label, double *confidence,
                                guint8 *outcome)
{
  guint best = n_classes == 2 ? positive : 0;
  for (guint k = 1; k < n_classes && n_classes != 2; k++)
    if (p[k] > p[best]) best = k;
  *confidence = p[best];
  *outcome = label == best;
}

/* The bin of each sorted row into bin_of [n]. */
static void assign_bins(const Scored *sorted, gsize n, guint n_bins, gboolean equal_mass, guint *bin_of)
{
  for (gsize i = 0; i < n; i++) {
    double place = ceil(sorted[i].score * n_bins) - 1;
    bin_of[i] = equal_mass ? (guint)((double)i * n_bins / (double)n) : (guint)CLAMP(place, 0, n_bins - 1.0);
    if (equal_mass && i > 0 && sorted[i].score == sorted[i - 1].score) bin_of[i] = bin_of[i - 1];
  }
}

double pipeline_metric_ece(const double *confidences, const guint8 *outcomes, gsize n, guint n_bins,
                           gboolean equal_mass, PipelineReliabilityBin *bins)
{
  g_autofree Scored *sorted = g_new(Scored, MAX(1, n));
  g_autofree guint *bin_of = g_new(guint, MAX(1, n));
  g_autofree PipelineReliabilityBin *own = g_new0(PipelineReliabilityBin, n_bins);
  double error = 0;
  for (guint b = 0; b < n_bins; b++)
    own[b] = (PipelineReliabilityBin){.low = equal_mass ? NAN : (double)b / n_bins,
                                      .high = equal_mass ? NAN : (double)(b + 1) / n_bins};
  for (gsize i = 0; i < n; i++) {
    if (isnan(confidences[i])) return NAN;
    sorted[i] = (Scored){confidences[i], outcomes[i]};
  }
  if (n == 0) return NAN;
  qsort(sorted, n, sizeof *sorted, compare_scores);
  assign_bins(sorted, n, n_bins, equal_mass, bin_of);
  for (gsize i = 0; i < n; i++) {
    PipelineReliabilityBin *bin = &own[bin_of[i]];
    if (equal_mass && bin->n == 0) bin->low = sorted[i].score;
    if (equal_mass) bin->high = sorted[i].score;
    bin->n++;
    bin->confidence += sorted[i].score;
    bin->share += sorted[i].label;
  }
  for (guint b = 0; b < n_bins; b++) {
    error += fabs(own[b].share - own[b].confidence) / (double)n;
    own[b].confidence = own[b].n > 0 ? own[b].confidence / (double)own[b].n : NAN;
    own[b].share = own[b].n > 0 ? own[b].share / (double)own[b].n : NAN;
    if (bins != NULL) bins[b] = own[b];
  }
  return error;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double pipeline_metric_quantile(double *values, gsize n, double q)
{
  if (n == 0) return NAN;
  qsort(values, n, sizeof *values, compare_numbers);
  double position = q * (double)(n - 1);
  gsize below = (gsize)position;
  if (below + 1 >= n) return values[n - 1];
  return values[below] + (position - (double)below) * (values[below + 1] - values[below]);
}
