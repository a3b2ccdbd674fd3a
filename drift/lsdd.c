/* Least-squares density difference. With bumps exp(-|x - c|^2 / 2 sigma^2) the inner products of two bumps are
 * (pi sigma^2)^(d/2) exp(-|c - c'|^2 / 4 sigma^2); divided by that factor, which overflows in high dimension, the
 * system has a unit diagonal. */
#include <math.h>
#include <string.h>

#include "drift/linear_internal.h"
#include "drift/pairs_internal.h"
#include "drift/two_sample_internal.h"

#define MAX_CENTRES 200
#define PENALTY .1

typedef struct {
  gsize n, total;
  guint b;
  double *bumps; /* [total][b] */
  double *inner; /* [b][b] H */
  double *solve; /* [b][b] Cholesky factor of H + penalty */
  double *all;   /* [b] column sums of bumps */
  double *h, *theta;
} Lsdd;

static void lsdd_clear(Lsdd *lsdd)
{
  gpointer owned[] = {lsdd->bumps, lsdd->inner, lsdd->solve, lsdd->all, lsdd->h, lsdd->theta};
  for (guint i = 0; i < G_N_ELEMENTS(owned); i++) g_free(owned[i]);
}

static const double *pooled_row(const DriftMatrix *reference, const DriftMatrix *current, gsize i)
{
  return i < reference->n ? reference->values + i * reference->d : current->values + (i - reference->n) * current->d;
}

/* b of the pooled rows, all subsets equally likely. */
static void draw_centres(gsize total, guint b, guint64 seed, gsize *centres)
{
  guint64 state = seed ^ G_GUINT64_CONSTANT(0x2545f4914f6cdd1d);
  guint taken = 0;
  for (gsize i = 0; taken < b; i++)
    if (drift_random_uniform(&state) * (double)(total - i) < (double)(b - taken)) centres[taken++] = i;
}

/* The penalty keeps the system definite but for values that are not numbers. */
static gboolean singular(GError **error)
{
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "the system of the density difference is singular");
  return FALSE;
}

static gboolean lsdd_init(Lsdd *lsdd, const DriftMatrix *reference, const DriftMatrix *current, double sigma,
                          guint64 seed, GError **error)
{
  guint d = reference->d, b = lsdd->b;
  gsize centres[MAX_CENTRES];
  lsdd->bumps = g_try_new(double, lsdd->total *b);
  if (lsdd->bumps == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", lsdd->total);
    return FALSE;
  }
  lsdd->inner = g_new(double, b *b);
  lsdd->solve = g_new(double, b *b);
  lsdd->all = g_new0(double, b);
  lsdd->h = g_new(double, b);
  lsdd->theta = g_new(double, b);
  draw_centres(lsdd->total, b, seed, centres);
  for (gsize i = 0; i < lsdd->total; i++)
    for (guint c = 0; c < b; c++) {
      double squared =
          drift_row_distance_squared(pooled_row(reference, current, i), pooled_row(reference, current, centres[c]), d);
      lsdd->all[c] += lsdd->bumps[i * b + c] = exp(-squared / (2 * sigma * sigma));
    }
  for (guint c = 0; c < b; c++)
    for (guint e = 0; e < b; e++) {
      double squared = drift_row_distance_squared(pooled_row(reference, current, centres[c]),
                                                  pooled_row(reference, current, centres[e]), d);
      lsdd->inner[c * b + e] = exp(-squared / (4 * sigma * sigma));
      lsdd->solve[c * b + e] = lsdd->inner[c * b + e] + (c == e ? PENALTY : 0);
    }
  return drift_cholesky(lsdd->solve, b) || singular(error);
}

/* From the sums of bumps over the reference's rows. */
static double statistic_of(Lsdd *lsdd, const double *sums)
{
  guint b = lsdd->b;
  double n = (double)lsdd->n, m = (double)(lsdd->total - lsdd->n), value = 0;
  for (guint c = 0; c < b; c++) lsdd->theta[c] = lsdd->h[c] = sums[c] / n - (lsdd->all[c] - sums[c]) / m;
  drift_cholesky_solve(lsdd->solve, b, lsdd->theta);
  for (guint c = 0; c < b; c++) {
    double product = 0;
    for (guint e = 0; e < b; e++) product += lsdd->inner[c * b + e] * lsdd->theta[e];
    value += lsdd->theta[c] * (2 * lsdd->h[c] - product);
  }
  return value;
}

static double permutation_p(Lsdd *lsdd, double observed, const DriftPermutationSettings *settings)
{
  if (settings == NULL || settings->permutations == 0) return NAN;
  guint64 state = settings->seed;
  guint extreme = 0, draws = 0;
  g_autofree double *sums = g_new(double, lsdd->b);
  while (draws < settings->permutations && extreme < DRIFT_ENOUGH_EXTREME) {
    gsize missing = lsdd->n;
    memset(sums, 0, lsdd->b * sizeof *sums);
    for (gsize i = 0; missing > 0; i++) {
      if (!(drift_random_uniform(&state) * (double)(lsdd->total - i) < (double)missing)) continue;
      missing--;
      for (guint c = 0; c < lsdd->b; c++) sums[c] += lsdd->bumps[i * lsdd->b + c];
    }
    draws++;
    if (statistic_of(lsdd, sums) >= observed - 1e-13) extreme++;
  }
  return drift_permutation_p(extreme, draws);
}

gboolean drift_lsdd(const DriftMatrix *reference, const DriftMatrix *current, double sigma,
                    const DriftPermutationSettings *settings, DriftLsdd *result, GError **error)
{
  guint64 seed = settings != NULL ? settings->seed : 0;
  double used;
  if (!drift_matrix_check(reference, current, 2, error) ||
      !drift_bandwidth(reference, current, sigma, seed, &used, error))
    return FALSE;
  Lsdd lsdd = {.n = reference->n, .total = reference->n + current->n};
  lsdd.b = (guint)MIN(lsdd.total, MAX_CENTRES);
  gboolean done = lsdd_init(&lsdd, reference, current, used, seed, error);
  if (done) {
    g_autofree double *sums = g_new0(double, lsdd.b);
    for (gsize i = 0; i < lsdd.n; i++)
      for (guint c = 0; c < lsdd.b; c++) sums[c] += lsdd.bumps[i * lsdd.b + c];
    double observed = statistic_of(&lsdd, sums);
    *result = (DriftLsdd){used, observed, permutation_p(&lsdd, observed, settings), lsdd.b};
  }
  lsdd_clear(&lsdd);
  return done;
}
