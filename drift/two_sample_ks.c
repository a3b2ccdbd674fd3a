/* Kolmogorov-Smirnov and Kuiper. */
#include <math.h>

#include "drift/statistics.h"
#include "drift/two_sample.h"

typedef struct {
  gint64 largest, smallest; /* of i m - j n over the distinct values */
  double at_largest, at_smallest;
} Extremes;

static void note(Extremes *extremes, gint64 difference, double at)
{
  if (difference > extremes->largest) extremes->largest = difference, extremes->at_largest = at;
  if (difference < extremes->smallest) extremes->smallest = difference, extremes->at_smallest = at;
}

/* Both sides end with NaN, so that looking one behind the last value compares as "not above". */
static void walk(const double *a, gsize n, const double *b, gsize m, Extremes *extremes)
{
  gsize i = 0, j = 0;
  gint64 difference = 0, up = (gint64)m, down = (gint64)n;
  double x = 0;
  while (i < n && j < m) {
    x = a[i] < b[j] ? a[i] : b[j];
    gboolean from_a = a[i] <= x, from_b = b[j] <= x;
    i += from_a != 0;
    j += from_b != 0;
    difference += (from_a ? up : 0) - (from_b ? down : 0);
    if ((a[i] > x) & (b[j] > x)) note(extremes, difference, x);
  }
  /* One side is used up: after the ties of its last value the difference only shrinks to 0. */
  for (; i < n && a[i] <= x; i++) difference += up;
  for (; j < m && b[j] <= x; j++) difference -= down;
  note(extremes, difference, x);
}

void drift_ks_compute(const DriftSample *reference, const DriftSample *current, DriftKolmogorovSmirnov *ks)
{
  *ks = (DriftKolmogorovSmirnov){
      .n = reference->n, .m = current->n, .distance = NAN, .d_plus = NAN, .d_minus = NAN, .location = NAN, .sign = 1};
  if (ks->n == 0 || ks->m == 0) return;
  Extremes extremes = {0, 0, reference->sorted[0], reference->sorted[0]};
  walk(reference->sorted, reference->n, current->sorted, current->n, &extremes);
  ks->plus = (guint64)extremes.largest;
  ks->minus = (guint64)-extremes.smallest;
  ks->sign = ks->plus >= ks->minus ? 1 : -1;
  ks->location = ks->sign > 0 ? extremes.at_largest : extremes.at_smallest;
  double scale = (double)ks->n * (double)ks->m;
  ks->d_plus = (double)ks->plus / scale;
  ks->d_minus = (double)ks->minus / scale;
  ks->distance = fmax(ks->d_plus, ks->d_minus);
}

/* --- exact -------------------------------------------------------------------------------------------------------- */

static gboolean is_outside(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative, gint64 bound, gint64 i,
                           gint64 j)
{
  gint64 difference = i * (gint64)ks->m - j * (gint64)ks->n;
  return (alternative != DRIFT_MINUS && difference >= bound) || (alternative != DRIFT_PLUS && -difference >= bound);
}

/* A random path from (0, 0) to (n, m) takes a reference step with probability (n - i) / (n + m - i - j). Row by row
 * over i; chance[j] is the probability to come to (i, j) without having been outside. */
double drift_ks_exact_p(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative)
{
  if (ks->n == 0 || ks->m == 0) return NAN;
  gint64 n = (gint64)ks->n, m = (gint64)ks->m;
  gint64 bound = (gint64)(alternative == DRIFT_PLUS    ? ks->plus
                          : alternative == DRIFT_MINUS ? ks->minus
                                                       : MAX(ks->plus, ks->minus));
  if (bound == 0) return 1;
  g_autofree double *chance = g_new0(double, (gsize)m + 1);
  g_autofree double *inverse = g_new0(double, (gsize)(n + m) + 1);
  for (gint64 k = 1; k <= n + m; k++) inverse[k] = 1 / (double)k;
  double outside = 0;
  gint64 low = 0; /* cells below hold 0 */
  chance[0] = 1;
  for (gint64 i = 0; i <= n; i++) {
    gint64 first = low;
    gboolean inside_seen = FALSE;
    for (gint64 j = first; j <= m; j++) {
      double here = i == 0 ? chance[j] : chance[j] * (double)(n - i + 1) * inverse[n + m - i - j + 1];
      if (j > first) here += chance[j - 1] * (double)(m - j + 1) * inverse[n + m - i - j + 1];
      gboolean out = is_outside(ks, alternative, bound, i, j);
      if (out) {
        outside += here;
        here = 0;
        if (!inside_seen) low = j + 1;
      }
      inside_seen |= !out;
      chance[j] = here;
      if (out && inside_seen) break; /* above the band nothing comes along this row */
    }
  }
  return CLAMP(outside, 0, 1);
}

double drift_ks_asymptotic_p(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative)
{
  if (ks->n == 0 || ks->m == 0) return NAN;
  double n = (double)ks->n, m = (double)ks->m, product = n * m, sum = n + m;
  if (alternative == DRIFT_TWO_SIDED) return drift_kolmogorov_sf(ks->distance, (guint64)fmax(1, rint(product / sum)));
  double larger = fmax(n, m), smaller = fmin(n, m), d = alternative == DRIFT_PLUS ? ks->d_plus : ks->d_minus;
  double z = sqrt(product / sum) * d;
  double exponent = -2 * z * z - 2 * z * (larger + 2 * smaller) / sqrt(larger * smaller * sum) / 3;
  return CLAMP(exp(exponent), 0, 1);
}

/* --- Kuiper ------------------------------------------------------------------------------------------------------- */

/* Kuiper's limit law: 2 sum (4 j^2 x^2 - 1) exp(-2 j^2 x^2); below .4 it is 1 to double precision. */
static double kuiper_limit_sf(double x)
{
  if (x < .4) return 1;
  double sum = 0;
  for (gint j = 1; j <= 20; j++) sum += 2 * (4 * j * j * x * x - 1) * exp(-2.0 * j * j * x * x);
  return CLAMP(sum, 0, 1);
}

void drift_kuiper(const DriftKolmogorovSmirnov *ks, DriftTestResult *result)
{
  *result = (DriftTestResult){.statistic = NAN, .p = NAN, .df = NAN, .undefined = "a side has no values"};
  if (ks->n == 0 || ks->m == 0) return;
  double root = sqrt((double)ks->n * (double)ks->m / (double)(ks->n + ks->m));
  result->statistic = (double)(ks->plus + ks->minus) / ((double)ks->n * (double)ks->m);
  result->p = kuiper_limit_sf((root + .155 + .24 / root) * result->statistic);
  result->p_from = "limit law";
  result->undefined = NULL;
}
