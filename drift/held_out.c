/* Mahalanobis distance and reconstruction by principal components as two-sample tests: one half of the reference fits
 * the covariance or the components, and the figures of its other half are held against those of the current rows by
 * Kolmogorov-Smirnov. Given the first half, both are independent samples of one law when nothing changed, so that p is
 * exact; figures of the rows that were fitted would be smaller than those of new rows, and every window would alarm. */
#include <math.h>
#include <string.h>

#include "drift/multivariate.h"
#include "drift/two_sample_internal.h"

#define EXPLAINED .65 /* of the variance, as nannyml has it */

/* One figure a row of `rows`, after fitting `fitted`. */
typedef gboolean (*RowFigures)(const DriftMatrix *fitted, const DriftMatrix *rows, double *figures, GError **error);

/* The rows of `matrix` in a seeded order, as a new array. */
static double *shuffle_rows(const DriftMatrix *matrix, guint64 seed, GError **error)
{
  gsize width = matrix->d * sizeof(double);
  double *rows = g_try_malloc(matrix->n * width);
  if (rows == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows of %u columns", matrix->n, matrix->d);
    return NULL;
  }
  g_autofree double *held = g_new(double, matrix->d);
  memcpy(rows, matrix->values, matrix->n * width);
  for (gsize i = matrix->n; i > 1; i--) {
    double *last = rows + (i - 1) * matrix->d,
           *other = rows + (gsize)(drift_random_uniform(&seed) * (double)i) * matrix->d;
    memcpy(held, last, width);
    memmove(last, other, width);
    memcpy(other, held, width);
  }
  return rows;
}

static gboolean compare(const double *held_out, gsize n, const double *current, gsize m, DriftTestResult *result,
                        GError **error)
{
  g_autoptr(DriftSample) reference = drift_sample_new(held_out, n, error);
  g_autoptr(DriftSample) sample = reference != NULL ? drift_sample_new(current, m, error) : NULL;
  if (sample == NULL) return FALSE;
  DriftKolmogorovSmirnov ks;
  drift_ks_compute(reference, sample, &ks);
  gboolean exact = (double)n * (double)m <= 1e7;
  *result = (DriftTestResult){.statistic = ks.distance,
                              .p = exact ? drift_ks_exact_p(&ks, DRIFT_TWO_SIDED)
                                         : drift_ks_asymptotic_p(&ks, DRIFT_TWO_SIDED),
                              .df = NAN,
                              .p_from = exact ? "exact, held-out rows" : "limit law, held-out rows"};
  return TRUE;
}

static gboolean test_figures(RowFigures compute, const DriftMatrix *reference, const DriftMatrix *current,
                             const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  if (!drift_matrix_check(reference, current, 2, error) || !drift_matrix_check(reference, reference, 4, error))
    return FALSE;
  g_autofree double *rows = shuffle_rows(reference, settings != NULL ? settings->seed : 0, error);
  if (rows == NULL) return FALSE;
  gsize half = reference->n / 2, rest = reference->n - half;
  const DriftMatrix fitted = {rows, half, reference->d}, held_out = {rows + half * reference->d, rest, reference->d};
  g_autofree double *before = g_new(double, rest), *after = g_new(double, current->n);
  return compute(&fitted, &held_out, before, error) && compute(&fitted, current, after, error) &&
         compare(before, rest, after, current->n, result, error);
}

static gboolean pca_figures(const DriftMatrix *fitted, const DriftMatrix *rows, double *figures, GError **error)
{
  g_autoptr(DriftPca) pca = drift_pca_new(fitted, 0, EXPLAINED, error);
  if (pca == NULL) return FALSE;
  drift_pca_errors(pca, rows, figures);
  return TRUE;
}

gboolean drift_mahalanobis_test(const DriftMatrix *reference, const DriftMatrix *current,
                                const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  return test_figures(drift_mahalanobis, reference, current, settings, result, error);
}

gboolean drift_pca_test(const DriftMatrix *reference, const DriftMatrix *current,
                        const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  return test_figures(pca_figures, reference, current, settings, result, error);
}
