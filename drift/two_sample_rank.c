/* Tests on pooled ranks: Cramer-von Mises, Anderson-Darling, Mann-Whitney. */
#include <string.h>

#include "drift/distributions.h"
#include "drift/two_sample_internal.h"

/* --- Cramer-von Mises --------------------------------------------------------------------------------------------- */

/* Twice-the-difference squares of k = 1 … count: sum of (twice (other + (tied + 1)/2 - k))^2. */
static DriftWide squared_shifts(gsize count, gsize other, gsize tied)
{
  DriftWide sum = 0;
  for (gsize k = 1; k <= count; k++) {
    DriftWide shift = 2 * (DriftWide)other + (DriftWide)tied + 1 - 2 * (DriftWide)k;
    sum += shift * shift;
  }
  return sum;
}

void drift_cramer_von_mises(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  drift_result_undefined(result, DRIFT_NO_VALUES);
  if (reference->n == 0 || current->n == 0) return;
  DriftWide n = (DriftWide)reference->n, m = (DriftWide)current->n, shifts_n = 0, shifts_m = 0;
  DriftPooled pooled = {.reference = reference, .current = current};
  while (drift_pooled_next(&pooled)) {
    gsize tied = pooled.n_here + pooled.m_here;
    shifts_n += squared_shifts(pooled.n_here, pooled.j, tied);
    shifts_m += squared_shifts(pooled.m_here, pooled.i, tied);
  }
  /* T = U/(nm(n+m)) - (4nm-1)/(6(n+m)), over one denominator so that nothing cancels. */
  DriftWide product = n * m, numerator = 6 * (n * shifts_n + m * shifts_m) - 4 * product * (4 * product - 1);
  double total = (double)(n + m), nm = (double)product;
  result->statistic = (double)numerator / 24 / nm / total;
  double mean = (1 + 1 / total) / 6;
  double variance = (total + 1) * (4 * nm * total - 3 * (double)(n * n + m * m) - 2 * nm) / (180 * total * total * nm);
  result->p = drift_cramer_von_mises_limit_sf(1. / 6 + (result->statistic - mean) / sqrt(45 * variance));
  result->p_from = "limit law";
  result->undefined = NULL;
}

/* How many paths have which sum: ascending sums with their probabilities. */
typedef struct {
  gint64 sum;
  double chance;
} PathSum;

/* Adds the two lists, each scaled, and shifts the sums. */
static GArray *merge_paths(const GArray *a, double scale_a, const GArray *b, double scale_b, gint64 shift)
{
  GArray *merged = g_array_new(FALSE, FALSE, sizeof(PathSum));
  guint i = 0, j = 0, n = a != NULL ? a->len : 0, m = b != NULL ? b->len : 0;
  while (i < n || j < m) {
    PathSum left = i < n ? g_array_index(a, PathSum, i) : (PathSum){G_MAXINT64, 0};
    PathSum right = j < m ? g_array_index(b, PathSum, j) : (PathSum){G_MAXINT64, 0};
    gint64 sum = MIN(left.sum, right.sum);
    PathSum next = {sum + shift, 0};
    if (left.sum == sum) next.chance += scale_a * left.chance, i++;
    if (right.sum == sum) next.chance += scale_b * right.chance, j++;
    g_array_append_val(merged, next);
  }
  return merged;
}

static gint64 greatest_common_divisor(gint64 a, gint64 b)
{
  return b == 0 ? a : greatest_common_divisor(b, a % b);
}

double drift_cramer_von_mises_exact_p(double statistic, gsize n, gsize m)
{
  if (isnan(statistic) || n == 0 || m == 0 || n > DRIFT_CVM_EXACT_MAX || m > DRIFT_CVM_EXACT_MAX) return NAN;
  gint64 divisor = greatest_common_divisor((gint64)n, (gint64)m), a = (gint64)m / divisor, b = (gint64)n / divisor;
  /* T = nm/(n+m)^2 times the sum of (i/n - j/m)^2 = sum of (i a - j b)^2 / (n a)^2 over the path's points. */
  double total = (double)(n + m), unit = (double)n * (double)a;
  double bound = statistic * total * total / ((double)n * (double)m) * unit * unit;
  g_autoptr(GPtrArray) row = g_ptr_array_new_full((guint)m + 1, (GDestroyNotify)g_array_unref);
  for (gsize i = 0; i <= n; i++)
    for (gsize j = 0; j <= m; j++) {
      gint64 height = (gint64)i * a - (gint64)j * b;
      const GArray *below = i > 0 ? row->pdata[j] : NULL, *left = j > 0 ? row->pdata[j - 1] : NULL;
      double left_steps = (double)(n + m - i - j + 1);
      GArray *here =
          merge_paths(below, (double)(n - i + 1) / left_steps, left, (double)(m - j + 1) / left_steps, height * height);
      if (i == 0 && j == 0) g_array_append_val(here, ((PathSum){0, 1}));
      if (i > 0)
        g_array_unref(row->pdata[j]), row->pdata[j] = here;
      else
        g_ptr_array_add(row, here);
    }
  const GArray *last = row->pdata[m];
  double p = 0;
  for (guint k = 0; k < last->len; k++) {
    const PathSum *path = &g_array_index(last, PathSum, k);
    if ((double)path->sum >= bound - .5) p += path->chance;
  }
  return MIN(p, 1);
}

/* --- Mann-Whitney ------------------------------------------------------------------------------------------------- */

void drift_mann_whitney(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  drift_result_undefined(result, DRIFT_NO_VALUES);
  if (reference->n == 0 || current->n == 0) return;
  DriftWide twice_u = 0, ties = 0;
  DriftPooled pooled = {.reference = reference, .current = current};
  while (drift_pooled_next(&pooled)) {
    DriftWide tied = (DriftWide)(pooled.n_here + pooled.m_here);
    twice_u += (DriftWide)pooled.n_here * (2 * (DriftWide)pooled.j + (DriftWide)pooled.m_here);
    ties += tied * tied * tied - tied;
  }
  double n = (double)reference->n, m = (double)current->n, total = n + m, mean = n * m / 2;
  result->statistic = (double)twice_u / 2;
  double variance = n * m / 12 * (total + 1 - (total > 1 ? (double)ties / (total * (total - 1)) : 0));
  double above = fabs(result->statistic - mean) - .5;
  result->p = above <= 0 ? 1 : fmin(1, 2 * drift_normal_sf(above / sqrt(variance)));
  result->p_from = "normal law";
  result->undefined = NULL;
}

/* chance[u] of U among the orders of i reference and j current values; the last value is of either side. */
static void fill_chances(double *const *rows, gsize i, gsize j)
{
  gsize width = i * j;
  double from_reference = (double)i / (double)(i + j), from_current = (double)j / (double)(i + j);
  const double *before = rows[j]; /* of (i - 1, j) */
  double *next = g_new0(double, width + 1);
  for (gsize u = 0; u <= width; u++) {
    if (u >= j && u - j <= (i - 1) * j) next[u] += from_reference * before[u - j];
    if (u <= i * (j - 1)) next[u] += from_current * rows[j - 1][u];
  }
  memcpy(rows[j], next, (width + 1) * sizeof(double));
  g_free(next);
}

double drift_mann_whitney_exact_p(double u, gsize n, gsize m)
{
  if (isnan(u) || n == 0 || m == 0 || n > DRIFT_MANN_WHITNEY_EXACT_MAX / m) return NAN;
  double extreme = floor(fmax(u, (double)n * (double)m - u)), p = 0;
  if (m > n) { /* the law is the same, the table smaller */
    gsize swap = n;
    n = m;
    m = swap;
  }
  g_autofree double **rows = g_new(double *, m + 1); /* rows[j] after round i is of (i, j) */
  for (gsize j = 0; j <= m; j++) {
    rows[j] = g_new0(double, n *m + 1);
    rows[j][0] = 1;
  }
  for (gsize i = 1; i <= n; i++)
    for (gsize j = 1; j <= m; j++) fill_chances(rows, i, j);
  for (gsize k = n * m; (double)k >= extreme; k--) {
    p += rows[m][k];
    if (k == 0) break;
  }
  for (gsize j = 0; j <= m; j++) g_free(rows[j]);
  return MIN(1, 2 * p);
}
