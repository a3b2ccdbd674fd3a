/* Kolmogorov-Smirnov and Kuiper. */
#include <math.h>

#include "drift/statistics.h"
#include "drift/two_sample.h"

/* A stretch of the walk over the pooled values: from before the i-th and j-th on. Both sides end with NaN, so that
 * looking one behind the last value compares as "not above". */
typedef struct {
  gsize i, j, i_end, j_end;
  gint64 difference;        /* i m - j n */
  gint64 largest, smallest; /* over the ends of the distinct values so far */
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

/* Values of both sides up to and with some value. */
typedef struct {
  guint32 i, j;
} Point;

/* How many values are at most x, of which the first `from` are known to be. */
static gsize count_up_to(const DriftSample *sample, gsize from, gsize stride, double x)
{
  const double *sorted = sample->sorted;
  if (from == sample->n || sorted[from] > x) return from;
  for (; sample->n - from > stride && sorted[from + stride - 1] <= x;) from += stride;
  for (gsize left = MIN(stride, sample->n - from); left > 0;) { /* without a branch that depends on the data */
    gsize half = (left + 1) / 2;
    from += sorted[from + half - 1] <= x ? half : 0;
    left -= half;
  }
  return from;
}

/* Points about `stride` values of the larger side apart, from (0, 0) to the end. */
static GArray *points_of(const DriftSample *a, const DriftSample *b, gsize stride)
{
  const DriftSample *larger = a->n >= b->n ? a : b;
  GArray *points = g_array_sized_new(FALSE, FALSE, sizeof(Point), (guint)(larger->n / stride + 3));
  Point point = {0, 0}, end = {(guint32)a->n, (guint32)b->n};
  g_array_append_val(points, point);
  for (gsize at = stride - 1; at < larger->n; at = (larger == a ? point.i : point.j) + stride - 1) {
    double x = larger->sorted[at];
    point.i = (guint32)count_up_to(a, larger == a ? at + 1 : point.i, stride, x);
    point.j = (guint32)count_up_to(b, larger == b ? at + 1 : point.j, stride, x);
    g_array_append_val(points, point);
  }
  if (point.i < end.i || point.j < end.j) g_array_append_val(points, end);
  return points;
}

/* Between two points the difference is at most what all steps up from the first, or all steps down to the second, make
 * of theirs. Only where that reaches what is known to be reached need the steps be taken one by one, and with points
 * about sqrt(n)/8 apart that is hardly anywhere. */
static void walk(const DriftSample *reference, const DriftSample *current, Stretch *stretch)
{
  const double *a = reference->sorted, *b = current->sorted;
  gint64 up = (gint64)current->n, down = (gint64)reference->n, largest = 0, smallest = 0;
  gsize stride = (gsize)fmax(16, sqrt((double)MAX(reference->n, current->n)) / 8);
  g_autoptr(GArray) points = points_of(reference, current, stride);
  const Point *all = (const Point *)(gpointer)points->data;
  for (guint k = 0; k < points->len; k++) {
    gint64 difference = all[k].i * up - all[k].j * down;
    largest = MAX(largest, difference);
    smallest = MIN(smallest, difference);
  }
  for (guint k = 0; k + 1 < points->len; k++) {
    Point from = all[k], to = all[k + 1];
    gint64 first = from.i * up - from.j * down, rise = (to.i - from.i) * up, fall = (to.j - from.j) * down;
    gint64 last = first + rise - fall;
    if (MIN(first + rise, last + fall) < largest && MAX(first - fall, last - rise) > smallest) continue;
    Stretch here = *stretch; /* a copy that lives in registers */
    here.i = from.i, here.j = from.j, here.i_end = to.i, here.j_end = to.j;
    here.difference = first;
    finish(&here, a, b, up, down);
    *stretch = here;
  }
}

void drift_ks_compute(const DriftSample *reference, const DriftSample *current, DriftKolmogorovSmirnov *ks)
{
  *ks = (DriftKolmogorovSmirnov){
      .n = reference->n, .m = current->n, .distance = NAN, .d_plus = NAN, .d_minus = NAN, .location = NAN, .sign = 1};
  if (ks->n == 0 || ks->m == 0) return;
  Stretch all = {.at_largest = reference->sorted[0], .at_smallest = reference->sorted[0]};
  walk(reference, current, &all);
  ks->plus = (guint64)all.largest;
  ks->minus = (guint64)-all.smallest;
  ks->sign = ks->plus >= ks->minus ? 1 : -1;
  ks->location = ks->sign > 0 ? all.at_largest : all.at_smallest;
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
