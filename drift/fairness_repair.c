#include "drift/fairness_mitigation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/sample.h"

#define N DRIFT_REPAIR_QUANTILES

struct _DriftRepair {
  guint n_groups;
  double *quantiles; /* [n_groups][N] */
  double target[N];  /* median over groups */
};

static gint ascending(const void *a, const void *b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static gboolean fit_group(const DriftGrouping *grouping, guint group, const double *values, double *own,
                          guint64 minimum_group, double *quantiles, GError **error)
{
  guint64 n = 0;
  for (guint64 i = 0; i < grouping->n_rows; i++)
    if (grouping->group[i] == group) own[n++] = values[i];
  g_autoptr(DriftSample) sample = drift_sample_new(own, n, error);
  if (sample == NULL) return FALSE;
  if (sample->n < MAX(minimum_group, 1) || sample->n_infinite > 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
                "group \"%s\" of %s has %zu values%s, at least %" G_GUINT64_FORMAT
                " finite ones are needed to know its quantiles",
                grouping->names[group], grouping->attribute, sample->n,
                sample->n_infinite > 0 ? " with infinities among them" : "", MAX(minimum_group, 1));
    return FALSE;
  }
  for (guint q = 0; q < N; q++) quantiles[q] = drift_sample_quantile(sample, q / (double)(N - 1));
  return TRUE;
}

DriftRepair *drift_repair_fit(const DriftGrouping *grouping, const double *values, guint64 minimum_group,
                              GError **error)
{
  guint n = grouping->n_groups;
  g_autoptr(DriftRepair) repair = g_new0(DriftRepair, 1);
  g_autofree double *own = g_new(double, grouping->n_rows + 1), *column = g_new(double, n + 1);
  repair->n_groups = n;
  repair->quantiles = g_new(double, (gsize)n *N);
  for (guint g = 0; g < n; g++)
    if (!fit_group(grouping, g, values, own, minimum_group, repair->quantiles + (gsize)g * N, error)) return NULL;
  for (guint q = 0; q < N; q++) {
    for (guint g = 0; g < n; g++) column[g] = repair->quantiles[(gsize)g * N + q];
    qsort(column, n, sizeof *column, ascending);
    repair->target[q] = column[(n - 1) / 2] + (column[n / 2] - column[(n - 1) / 2]) / 2;
  }
  return g_steal_pointer(&repair);
}

void drift_repair_free(DriftRepair *repair)
{
  if (repair == NULL) return;
  g_free(repair->quantiles);
  g_free(repair);
}

/* First index with quantiles[i] >= value (or > value), N when none. */
static guint find(const double *quantiles, double value, gboolean above)
{
  guint low = 0, high = N;
  while (low < high) {
    guint middle = (low + high) / 2;
    gboolean before = above ? quantiles[middle] <= value : quantiles[middle] < value;
    *(before ? &low : &high) = before ? middle + 1 : middle;
  }
  return low;
}

/* Position of the value on the grid, 0 … N - 1; tied quantiles share their middle. */
static double position(const double *quantiles, double value)
{
  guint first = find(quantiles, value, FALSE), after = find(quantiles, value, TRUE);
  if (after > first) return (first + after - 1) / 2.0;
  if (first == 0) return 0;
  if (first == N) return N - 1;
  double low = quantiles[first - 1], high = quantiles[first];
  return first - 1 + (value - low) / (high - low);
}

double drift_repair_apply(const DriftRepair *repair, guint group, double value, double level)
{
  if (group >= repair->n_groups || isnan(value)) return NAN;
  double at = position(repair->quantiles + (gsize)group * N, value);
  guint below = (guint)at, above = MIN(below + 1, N - 1);
  double share = at - below, target = (1 - share) * repair->target[below] + share * repair->target[above];
  return (1 - level) * value + level * target;
}
