#include "drift/change.h"
#include "drift/change_internal.h"

#include <math.h>

enum { ERROR_BLOCK = 25 };
static const double MOST_INFLATED = 20;

void drift_glr_table_fill(double *table, guint n)
{
  table[0] = 0;
  for (guint k = 1; k <= n; k++) table[k] = k * log(k);
}

static guint count_errors(const guint8 *errors, guint n)
{
  guint count = 0;
  for (guint i = 0; i < n; i++) count += errors[i] != 0;
  return count;
}

/* ln of the largest likelihood of `ones` errors in n, without the constant: s ln s + (n-s) ln (n-s) - n ln n. */
static inline double log_likelihood(const double *table, guint n, guint ones)
{
  return table[ones] + table[n - ones] - table[n];
}

gboolean drift_glr_with_table(const double *table, const guint8 *errors, guint n, guint minimum_side,
                              gboolean rises_only, double *statistic, guint *split)
{
  guint side = MAX(minimum_side, 1);
  if (n / 2 < side) return FALSE;
  guint total = count_errors(errors, n), before = count_errors(errors, side - 1);
  double best = 0, whole = log_likelihood(table, n, total);
  guint best_split = 0;
  for (guint k = side; k <= n - side; k++) {
    before += errors[k - 1] != 0;
    guint after = total - before;
    if (rises_only && (guint64)after * k <= (guint64)before * (n - k)) continue;
    double ratio = log_likelihood(table, k, before) + log_likelihood(table, n - k, after) - whole;
    if (ratio > best) {
      best = ratio;
      best_split = k;
    }
  }
  *statistic = best;
  *split = best_split;
  return TRUE;
}

gboolean drift_glr(const guint8 *errors, guint n, guint minimum_side, gboolean rises_only, double *statistic,
                   guint *split)
{
  g_autofree double *table = g_new(double, (gsize)n + 1);
  drift_glr_table_fill(table, n);
  return drift_glr_with_table(table, errors, n, minimum_side, rises_only, statistic, split);
}

double drift_error_autocorrelation(const guint8 *errors, guint n)
{
  guint n_blocks = n / ERROR_BLOCK;
  if (n_blocks < 8) return NAN;
  errors += n - n_blocks * ERROR_BLOCK;
  double within = 0, differences = 0, previous = 0;
  for (guint b = 0; b < n_blocks; b++) {
    guint sum = 0;
    for (guint i = 0; i < ERROR_BLOCK; i++) {
      if (errors[b * ERROR_BLOCK + i] > 1) return NAN;
      sum += errors[b * ERROR_BLOCK + i];
    }
    double mean = sum / (double)ERROR_BLOCK;
    within += mean * (1 - mean);
    if (b > 0) differences += (mean - previous) * (mean - previous);
    previous = mean;
  }
  double binomial = (within / n_blocks + 1e-4) / ERROR_BLOCK;
  return CLAMP(differences / (n_blocks - 1) / 2 / binomial, 1, MOST_INFLATED);
}
