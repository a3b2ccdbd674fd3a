#include "drift/pairs_internal.h"

#include <math.h>

#include "drift/sample.h"
#include "drift/two_sample_internal.h"

#define MEDIAN_PAIRS ((gsize)1 << 21)

double drift_row_distance_squared(const double *a, const double *b, guint d)
{
  double sum = 0;
  for (guint k = 0; k < d; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

static const double *pooled_row(const DriftMatrix *reference, const DriftMatrix *current, gsize i)
{
  return i < reference->n ? reference->values + i * reference->d : current->values + (i - reference->n) * current->d;
}

gboolean drift_pairs_init(DriftPairs *pairs, const DriftMatrix *reference, const DriftMatrix *current, GError **error)
{
  gsize total = reference->n + current->n, at = 0;
  *pairs = (DriftPairs){.n = reference->n, .m = current->n};
  if (total <= DRIFT_PAIRS_MAX_ROWS) {
    pairs->values = g_try_new(double, total *(total - 1) / 2 + 1);
    pairs->row_sums = g_try_new(double, total);
  }
  if (pairs->values == NULL || pairs->row_sums == NULL) {
    g_set_error(
        error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
        "%zu rows together: all pairs are compared for at most %u (or for what memory allows); take a sample, or "
        "random features instead of the exact kernel",
        total, DRIFT_PAIRS_MAX_ROWS);
    drift_pairs_clear(pairs);
    return FALSE;
  }
  for (gsize i = 1; i < total; i++)
    for (gsize j = 0; j < i; j++)
      pairs->values[at++] = sqrt(drift_row_distance_squared(pooled_row(reference, current, i),
                                                            pooled_row(reference, current, j), reference->d));
  return TRUE;
}

void drift_pairs_sum_rows(DriftPairs *pairs)
{
  gsize total = pairs->n + pairs->m, at = 0;
  for (gsize i = 0; i < total; i++) pairs->row_sums[i] = 0;
  for (gsize i = 1; i < total; i++)
    for (gsize j = 0; j < i; j++, at++) {
      pairs->row_sums[i] += pairs->values[at];
      pairs->row_sums[j] += pairs->values[at];
    }
}

void drift_pairs_clear(DriftPairs *pairs)
{
  g_clear_pointer(&pairs->values, g_free);
  g_clear_pointer(&pairs->row_sums, g_free);
}

/* Within the rows listed ascending; the other two sums follow from the rows' own sums. */
static DriftPairSums sums_of(const DriftPairs *pairs, const guint32 *rows, gsize n_rows, gboolean is_reference)
{
  double within = 0, attached = 0, all = 0;
  gsize total = pairs->n + pairs->m;
  for (gsize a = 0; a < n_rows; a++) {
    gsize i = rows[a];
    const double *values = i > 0 ? pairs->values + i * (i - 1) / 2 : pairs->values;
    double row = 0;
    for (gsize b = 0; b < a; b++) row += values[rows[b]];
    within += row;
    attached += pairs->row_sums[i];
  }
  for (gsize i = 0; i < total; i++) all += pairs->row_sums[i];
  double across = attached - 2 * within, rest = all / 2 - within - across;
  return (DriftPairSums){is_reference ? within : rest, across, is_reference ? rest : within};
}

DriftPairSums drift_pairs_sums(const DriftPairs *pairs)
{
  DriftPairSums sums = {0, 0, 0};
  gsize total = pairs->n + pairs->m, at = 0;
  for (gsize i = 1; i < total; i++)
    for (gsize j = 0; j < i; j++, at++) {
      if (i < pairs->n)
        sums.within_reference += pairs->values[at];
      else if (j >= pairs->n)
        sums.within_current += pairs->values[at];
      else
        sums.across += pairs->values[at];
    }
  return sums;
}

/* n_rows of total, ascending, all subsets equally likely. */
static void draw_rows(guint32 *rows, gsize n_rows, gsize total, guint64 *state)
{
  gsize taken = 0;
  for (gsize i = 0; taken < n_rows; i++)
    if (drift_random_uniform(state) * (double)(total - i) < (double)(n_rows - taken)) rows[taken++] = (guint32)i;
}

double drift_pairs_permutation_p(const DriftPairs *pairs, DriftPairStatistic statistic,
                                 const DriftPermutationSettings *settings)
{
  if (settings == NULL || settings->permutations == 0) return NAN;
  gboolean is_reference = pairs->n <= pairs->m;
  gsize total = pairs->n + pairs->m, n_rows = MIN(pairs->n, pairs->m);
  g_autofree guint32 *rows = g_new(guint32, n_rows + 1);
  guint64 state = settings->seed;
  guint extreme = 0, draws = 0;
  double slack = 0; /* equal statistics differ by rounding, on the scale of the pairs' values */
  for (gsize i = 0; i < total; i++) slack += fabs(pairs->row_sums[i]) * 1e-12 / ((double)total * (double)total);
  for (gsize a = 0; a < n_rows; a++) rows[a] = (guint32)(is_reference ? a : pairs->n + a);
  /* by the same sums as the draws, so that an equal split compares equal */
  DriftPairSums sums = sums_of(pairs, rows, n_rows, is_reference);
  double observed = statistic(&sums, pairs->n, pairs->m);
  for (; draws < settings->permutations && extreme < DRIFT_ENOUGH_EXTREME;) {
    draw_rows(rows, n_rows, total, &state);
    sums = sums_of(pairs, rows, n_rows, is_reference);
    draws++;
    if (statistic(&sums, pairs->n, pairs->m) >= observed - slack) extreme++;
  }
  return drift_permutation_p(extreme, draws);
}

double drift_median_distance(const DriftMatrix *reference, const DriftMatrix *current, guint64 seed)
{
  gsize total = reference->n + current->n, n_pairs = total * (total - 1) / 2, at = 0;
  gboolean all = total <= 2049;
  if (!all) n_pairs = MEDIAN_PAIRS;
  g_autofree double *values = g_try_new(double, n_pairs + 1);
  guint64 state = seed;
  if (values == NULL || n_pairs == 0) return NAN;
  for (gsize i = 1; all && i < total; i++)
    for (gsize j = 0; j < i; j++)
      values[at++] = drift_row_distance_squared(pooled_row(reference, current, i), pooled_row(reference, current, j),
                                                reference->d);
  while (at < n_pairs) {
    gsize i = (gsize)(drift_random_uniform(&state) * (double)total);
    gsize j = (gsize)(drift_random_uniform(&state) * (double)total);
    if (i != j)
      values[at++] = drift_row_distance_squared(pooled_row(reference, current, i), pooled_row(reference, current, j),
                                                reference->d);
  }
  if (!drift_sort(values, n_pairs)) return NAN;
  return (sqrt(values[(n_pairs - 1) / 2]) + sqrt(values[n_pairs / 2])) / 2;
}

gboolean drift_bandwidth(const DriftMatrix *reference, const DriftMatrix *current, double sigma, guint64 seed,
                         double *used, GError **error)
{
  if (sigma > 0 && isfinite(sigma)) {
    *used = sigma;
    return TRUE;
  }
  if (sigma != 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "the bandwidth %g is not a positive number", sigma);
    return FALSE;
  }
  double median = drift_median_distance(reference, current, seed);
  if (median > 0 && isfinite(median)) {
    *used = median;
    return TRUE;
  }
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
              "the median distance of two rows is %g, so no bandwidth follows from it: give one", median);
  return FALSE;
}
