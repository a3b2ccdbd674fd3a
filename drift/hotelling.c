/* Distances by a covariance. */
#include <math.h>

#include "drift/distributions.h"
#include "drift/linear_internal.h"
#include "drift/multivariate.h"

/* Cholesky factor in place, and whether the matrix has full rank to the accuracy of its entries. */
static gboolean factorise(double *covariance, guint d)
{
  g_autofree double *diagonal = g_new(double, d);
  for (guint k = 0; k < d; k++) diagonal[k] = covariance[k * d + k];
  if (!drift_cholesky(covariance, d)) return FALSE;
  /* what is left of a column's variance when the columns before it are known */
  for (guint k = 0; k < d; k++)
    if (!(covariance[k * d + k] * covariance[k * d + k] > 1e-12 * diagonal[k])) return FALSE;
  return TRUE;
}

/* x' covariance^-1 x by forward substitution; x is overwritten. */
static double quadratic_form(const double *factor, double *x, guint d)
{
  double sum = 0;
  for (guint j = 0; j < d; j++) {
    for (guint k = 0; k < j; k++) x[j] -= factor[j * d + k] * x[k];
    x[j] /= factor[j * d + j];
    sum += x[j] * x[j];
  }
  return sum;
}

static gboolean singular(GError **error)
{
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
              "the covariance is singular: a column is constant, or follows from others; leave it out");
  return FALSE;
}

gboolean drift_hotelling(const DriftMatrix *reference, const DriftMatrix *current, DriftHotelling *result,
                         GError **error)
{
  if (!drift_matrix_check(reference, current, 2, error)) return FALSE;
  guint d = reference->d;
  gsize size = (gsize)d * d;
  double n = (double)reference->n, m = (double)current->n;
  g_autofree double *a = g_new(double, d), *b = g_new(double, d), *pooled = g_try_new(double, size),
                    *second = g_try_new(double, size);
  if (pooled == NULL || second == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for a covariance of %u columns", d);
    return FALSE;
  }
  drift_matrix_moments(reference, a, pooled);
  drift_matrix_moments(current, b, second);
  for (gsize i = 0; i < size; i++) pooled[i] = ((n - 1) * pooled[i] + (m - 1) * second[i]) / (n + m - 2);
  for (guint k = 0; k < d; k++) a[k] -= b[k];
  double df2 = n + m - d - 1;
  if (df2 < 1 || !factorise(pooled, d)) return singular(error);
  result->t2 = n * m / (n + m) * quadratic_form(pooled, a, d);
  result->f = result->t2 * df2 / (d * (n + m - 2));
  result->df1 = d;
  result->df2 = df2;
  result->p = drift_fisher_f_sf(result->f, result->df1, df2);
  return TRUE;
}

gboolean drift_mahalanobis(const DriftMatrix *reference, const DriftMatrix *rows, double *distances, GError **error)
{
  if (!drift_matrix_check(reference, rows, 1, error)) return FALSE;
  guint d = reference->d;
  g_autofree double *means = g_new(double, d), *x = g_new(double, d), *factor = g_try_new(double, (gsize)d *d);
  if (factor == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for a covariance of %u columns", d);
    return FALSE;
  }
  if (reference->n <= d) return singular(error);
  drift_matrix_moments(reference, means, factor);
  if (!factorise(factor, d)) return singular(error);
  for (gsize i = 0; i < rows->n; i++) {
    for (guint k = 0; k < d; k++) x[k] = rows->values[i * d + k] - means[k];
    distances[i] = sqrt(quadratic_form(factor, x, d));
  }
  return TRUE;
}
