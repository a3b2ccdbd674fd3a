/* Kernel and energy two-sample tests over all pairs. */
#include <math.h>

#include "drift/pairs_internal.h"

/* k(x, x) = 1 stays out of both terms. */
static double mmd_unbiased(const DriftPairSums *sums, gsize n, gsize m)
{
  double a = (double)n, b = (double)m;
  return 2 * sums->within_reference / (a * (a - 1)) + 2 * sums->within_current / (b * (b - 1)) -
         2 * sums->across / (a * b);
}

static double mmd_biased(const DriftPairSums *sums, gsize n, gsize m)
{
  double a = (double)n, b = (double)m;
  return (2 * sums->within_reference + a) / (a * a) + (2 * sums->within_current + b) / (b * b) -
         2 * sums->across / (a * b);
}

gboolean drift_mmd(const DriftMatrix *reference, const DriftMatrix *current, double sigma,
                   const DriftPermutationSettings *settings, DriftMmd *result, GError **error)
{
  DriftPairs pairs;
  double used;
  if (!drift_matrix_check(reference, current, 2, error) ||
      !drift_bandwidth(reference, current, sigma, settings != NULL ? settings->seed : 0, &used, error) ||
      !drift_pairs_init(&pairs, reference, current, error))
    return FALSE;
  gsize total = pairs.n + pairs.m;
  double scale = -.5 / (used * used);
  for (gsize i = 0; i < total * (total - 1) / 2; i++) pairs.values[i] = exp(scale * pairs.values[i] * pairs.values[i]);
  drift_pairs_sum_rows(&pairs);
  DriftPairSums sums = drift_pairs_sums(&pairs);
  *result = (DriftMmd){.sigma = used,
                       .unbiased = mmd_unbiased(&sums, pairs.n, pairs.m),
                       .biased = mmd_biased(&sums, pairs.n, pairs.m),
                       .p = drift_pairs_permutation_p(&pairs, mmd_unbiased, settings),
                       .standard_error = 0};
  drift_pairs_clear(&pairs);
  return TRUE;
}

static double energy_squared(const DriftPairSums *sums, gsize n, gsize m)
{
  double a = (double)n, b = (double)m;
  return 2 * sums->across / (a * b) - 2 * sums->within_reference / (a * a) - 2 * sums->within_current / (b * b);
}

gboolean drift_energy_distance(const DriftMatrix *reference, const DriftMatrix *current,
                               const DriftPermutationSettings *settings, DriftEnergy *result, GError **error)
{
  DriftPairs pairs;
  if (!drift_matrix_check(reference, current, 1, error) || !drift_pairs_init(&pairs, reference, current, error))
    return FALSE;
  drift_pairs_sum_rows(&pairs);
  DriftPairSums sums = drift_pairs_sums(&pairs);
  double n = (double)pairs.n, m = (double)pairs.m;
  result->squared = energy_squared(&sums, pairs.n, pairs.m);
  result->statistic = n * m / (n + m) * result->squared;
  result->p = drift_pairs_permutation_p(&pairs, energy_squared, settings);
  drift_pairs_clear(&pairs);
  return TRUE;
}
