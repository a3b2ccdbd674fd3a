/* The spread of the two areas under curves, from the reference. */
#include <math.h>

#include "drift/cbpe_internal.h"
#include "drift/estimate_internal.h"
#include "drift/order.h"
#include "drift/two_sample_internal.h"

#define SAMPLES 50
#define MAX_SAMPLE 50000

/* Where the positives are more than half, the same with classes and order reversed. */
double cbpe_auc_variance(CbpeView *reference, guint column, double *share)
{
  const double *positive = reference->positive[column], *score = reference->raw[column];
  const guint32 *order = cbpe_view_order(reference, column);
  double n = (double)reference->n, n_positive = 0, below = 0, mean;
  for (gsize i = 0; i < reference->n; i++) n_positive += positive[i];
  gboolean reversed = n_positive > .5 * n;
  double n_rare = reversed ? n - n_positive : n_positive, n_other = n - n_rare;
  g_autofree double *placements = g_try_new(double, (gsize)n_rare + 1);
  gsize at = 0;
  *share = n_rare / n;
  if (order == NULL || placements == NULL || n_rare == 0) return NAN;
  for (gsize i = 0; i < reference->n;) {
    gsize end = i;
    double rare = 0, other;
    for (; end < reference->n && score[order[end]] == score[order[i]]; end++)
      rare += reversed ? 1 - positive[order[end]] : positive[order[end]];
    other = (double)(end - i) - rare;
    for (double r = 0; r < rare; r++) placements[at++] = (below + other / 2) / n_other;
    below += other;
    i = end;
  }
  return pow(drift_deviation(placements, at, &mean), 2);
}

/* A sample as counts of rows keeps the order of the whole: no sort a sample. */
static double sampled_precision(const double *positive, const double *score, const guint32 *order,
                                const guint32 *counts, gsize n)
{
  double seen = 0, true_positives = 0, area = 0;
  for (gsize at = n; at > 0;) {
    double value = score[order[at - 1]], rise = 0, rows = 0;
    for (; at > 0 && score[order[at - 1]] == value; at--) {
      rows += counts[order[at - 1]];
      rise += counts[order[at - 1]] * positive[order[at - 1]];
    }
    seen += rows;
    true_positives += rise;
    if (rise > 0) area += rise * true_positives / seen;
  }
  return area / true_positives;
}

double cbpe_ap_variance(CbpeView *reference, guint column, guint64 seed, double *sample)
{
  gsize n = reference->n, drawn = MIN(n / 2, MAX_SAMPLE), defined = 0;
  const guint32 *order = cbpe_view_order(reference, column);
  g_autofree guint32 *counts = g_try_new(guint32, n + 1);
  double values[SAMPLES], mean;
  guint64 state = seed;
  *sample = (double)drawn;
  if (order == NULL || counts == NULL || drawn == 0) return NAN;
  for (guint s = 0; s < SAMPLES; s++) {
    for (gsize i = 0; i < n; i++) counts[i] = 0;
    for (gsize i = 0; i < drawn; i++) counts[(gsize)(drift_random_uniform(&state) * (double)n)]++;
    double value = sampled_precision(reference->positive[column], reference->raw[column], order, counts, n);
    if (!isnan(value)) values[defined++] = value;
  }
  return pow(drift_deviation(values, defined, &mean), 2);
}
