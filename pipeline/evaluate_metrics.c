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
