/* Kolmogorov-Smirnov and Kuiper. */
#include <math.h>

#include "drift/statistics.h"
#include "drift/two_sample.h"

/* A stretch of the walk over the pooled values: from before the i-th and j-th on. Both sides end with NaN, so that
 * looking one behind the last value compares as "not above". */
typedef struct {
  gsize i, j, i_end, j_end;
  gint64 difference;        /* i m - j n */
  gint64 largest, smallest; /* over the ends of the distinct values of the stretch */
  double at_largest, at_smallest;
} Stretch;

static void note(Stretch *stretch, gint64 difference, double at)
{
  if (difference > stretch->largest) stretch->largest = difference, stretch->at_largest = at;
  if (difference < stretch->smallest) stretch->smallest = difference, stretch->at_smallest = at;
}

/* One value further; the caller has seen that both sides have one. No branch depends on the data but for new extremes,
 * which are rare. */
static inline void step(Stretch *stretch, const double *a, const double *b, gint64 up, gint64 down)
{
  double x = a[stretch->i], y = b[stretch->j];
  gint64 from_a = x <= y, from_b = y <= x;
  x = from_a ? x : y;
  stretch->i += (gsize)from_a;
  stretch->j += (gsize)from_b;
  stretch->difference += (up & -from_a) - (down & -from_b);
  gboolean ends = (a[stretch->i] > x) & (b[stretch->j] > x);
  if (G_UNLIKELY(ends & ((stretch->difference > stretch->largest) | (stretch->difference < stretch->smallest))))
    note(stretch, stretch->difference, x);
}

static gboolean both_left(const Stretch *stretch)
{
  return (stretch->i < stretch->i_end) & (stretch->j < stretch->j_end);
}

/* One side is used up: after the ties of its last value the difference only moves on in one direction. */
static void finish(Stretch *stretch, const double *a, const double *b, gint64 up, gint64 down)
{
  while (both_left(stretch)) step(stretch, a, b, up, down);
  double last = -INFINITY;
  if (stretch->i > 0) last = a[stretch->i - 1];
  if (stretch->j > 0) last = fmax(last, b[stretch->j - 1]);
  for (; stretch->i < stretch->i_end && a[stretch->i] <= last; stretch->i++) stretch->difference += up;
  for (; stretch->j < stretch->j_end && b[stretch->j] <= last; stretch->j++) stretch->difference -= down;
  note(stretch, stretch->difference, last);
  if (stretch->i == stretch->i_end && stretch->j == stretch->j_end) return;
  gboolean is_a = stretch->i < stretch->i_end;
  last = is_a ? a[stretch->i_end - 1] : b[stretch->j_end - 1];
  stretch->difference += (gint64)(stretch->i_end - stretch->i) * up - (gint64)(stretch->j_end - stretch->j) * down;
  note(stretch, stretch->difference, last);
}

/* The number of values below x. */
static gsize count_below(const DriftSample *sample, double x)
{
  gsize low = 0, high = sample->n;
  while (low < high) {
    gsize middle = low + (high - low) / 2;
    if (sample->sorted[middle] < x)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Two stretches side by side, so that the processor has two chains of dependent steps to work on. */
static void walk(const DriftSample *reference, const DriftSample *current, Stretch *first, Stretch *second)
{
  const double *a = reference->sorted, *b = current->sorted;
  gint64 up = (gint64)current->n, down = (gint64)reference->n;
  double middle = a[reference->n / 2];
  gsize i = count_below(reference, middle), j = count_below(current, middle);
  *first = (Stretch){.i_end = i, .j_end = j, .at_largest = a[0], .at_smallest = a[0]};
  *second = (Stretch){i, j, reference->n, current->n, (gint64)i * up - (gint64)j * down, 0, 0, a[0], a[0]};
  Stretch one = *first, two = *second; /* copies that live in registers */
  while (both_left(&one) & both_left(&two)) {
    step(&one, a, b, up, down);
    step(&two, a, b, up, down);
  }
  finish(&one, a, b, up, down);
  finish(&two, a, b, up, down);
  *first = one;
  *second = two;
}

void drift_ks_compute(const DriftSample *reference, const DriftSample *current, DriftKolmogorovSmirnov *ks)
{
  *ks = (DriftKolmogorovSmirnov){
      .n = reference->n, .m = current->n, .distance = NAN, .d_plus = NAN, .d_minus = NAN, .location = NAN, .sign = 1};
  if (ks->n == 0 || ks->m == 0) return;
  Stretch first, second;
  walk(reference, current, &first, &second);
  note(&first, second.largest, second.at_largest);
  note(&first, second.smallest, second.at_smallest);
  ks->plus = (guint64)first.largest;
  ks->minus = (guint64)-first.smallest;
  ks->sign = ks->plus >= ks->minus ? 1 : -1;
  ks->location = ks->sign > 0 ? first.at_largest : first.at_smallest;
  double scale = (double)ks->n * (double)ks->m;
  ks->d_plus = (double)ks->plus / scale;
  ks->d_minus = (double)ks->minus / scale;
  ks->distance = fmax(ks->d_plus, ks->d_minus);
}

/* --- exact -------------------------------------------------------------------------------------------------------- */

static gboolean is_outside(gint64 n, gint64 m, DriftAlternative alternative, gint64 bound, gint64 i, gint64 j)
{
  gint64 difference = i * m - j * n;
  return (alternative != DRIFT_MINUS && difference >= bound) || (alternative != DRIFT_PLUS && -difference >= bound);
}

/* A random path from (0, 0) to (n, m) takes a reference step with probability (n - i) / (n + m - i - j). Row by row
 * over i; chance[j] is the probability to come to (i, j) without having been outside. */
double drift_ks_exact_p(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative)
{
  if (ks->n == 0 || ks->m == 0) return NAN;
  /* The band of both sides is the same from either: the larger sample first, so that exchanging them changes no bit. */
  gboolean swap = alternative == DRIFT_TWO_SIDED && ks->n < ks->m;
  gint64 n = (gint64)(swap ? ks->m : ks->n), m = (gint64)(swap ? ks->n : ks->m);
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
      gboolean out = is_outside(n, m, alternative, bound, i, j);
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
