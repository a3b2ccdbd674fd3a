/* Rows rebuilt from the reference's principal components (nannyml's data reconstruction). */
#include <math.h>

#include "drift/estimate_internal.h"
#include "drift/linear_internal.h"
#include "drift/multivariate.h"

struct _DriftPca {
  guint d, n_components;
  double *means, *scales; /* [d] */
  double *eigenvalues;    /* [d] descending */
  double *components;     /* [d][d], a component a row */
};

void drift_pca_free(DriftPca *pca)
{
  if (pca == NULL) return;
  g_free(pca->means);
  g_free(pca->scales);
  g_free(pca->eigenvalues);
  g_free(pca->components);
  g_free(pca);
}

/* Eigenvectors of the standardised reference's covariance, largest first. */
static gboolean decompose(DriftPca *pca, const DriftMatrix *reference, GError **error)
{
  guint d = pca->d;
  g_autofree double *covariance = g_try_new(double, (gsize)d *d), *values = g_new(double, d);
  if (covariance == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for a covariance of %u columns", d);
    return FALSE;
  }
  drift_matrix_moments(reference, pca->means, covariance);
  drift_matrix_scales(reference, pca->means, pca->scales);
  for (guint j = 0; j < d; j++)
    for (guint k = 0; k < d; k++) covariance[j * d + k] /= pca->scales[j] * pca->scales[k];
  if (!drift_symmetric_eigen(covariance, d, values) || !(values[d - 1] > 0)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "the reference's columns have no spread");
    return FALSE;
  }
  for (guint c = 0; c < d; c++) {
    pca->eigenvalues[c] = fmax(0, values[d - 1 - c]);
    for (guint k = 0; k < d; k++) pca->components[c * d + k] = covariance[k * d + d - 1 - c];
  }
  return TRUE;
}

DriftPca *drift_pca_new(const DriftMatrix *reference, guint n_components, double explained, GError **error)
{
  if (!drift_matrix_check(reference, reference, 2, error)) return NULL;
  guint d = reference->d;
  if (n_components > d || (n_components == 0 && !(explained > 0 && explained <= 1))) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "%u components of %u columns, or %g of the variance: at most all of either", n_components, d,
                explained);
    return NULL;
  }
  g_autoptr(DriftPca) pca = g_new0(DriftPca, 1);
  pca->d = d;
  pca->means = g_new(double, d);
  pca->scales = g_new(double, d);
  pca->eigenvalues = g_new(double, d);
  pca->components = g_new(double, (gsize)d *d);
  if (!decompose(pca, reference, error)) return NULL;
  pca->n_components = n_components;
  for (guint c = 1; pca->n_components == 0; c++)
    if (c == d || drift_pca_get_explained(pca, c) > explained) pca->n_components = c;
  return g_steal_pointer(&pca);
}

guint drift_pca_get_n_components(const DriftPca *pca)
{
  return pca->n_components;
}

const double *drift_pca_get_eigenvalues(const DriftPca *pca)
{
  return pca->eigenvalues;
}

double drift_pca_get_explained(const DriftPca *pca, guint n_components)
{
  double some = 0, all = 0;
  for (guint c = 0; c < pca->d; c++) {
    all += pca->eigenvalues[c];
    if (c < n_components) some += pca->eigenvalues[c];
  }
  return some / all;
}

void drift_pca_errors(const DriftPca *pca, const DriftMatrix *rows, double *errors)
{
  guint d = pca->d;
  g_autofree double *z = g_new(double, d), *rest = g_new(double, d);
  for (gsize i = 0; i < rows->n; i++) {
    double squares = 0;
    for (guint k = 0; k < d; k++) rest[k] = z[k] = (rows->values[i * d + k] - pca->means[k]) / pca->scales[k];
    for (guint c = 0; c < pca->n_components; c++) {
      const double *component = pca->components + (gsize)c * d;
      double score = 0;
      for (guint k = 0; k < d; k++) score += z[k] * component[k];
      for (guint k = 0; k < d; k++) rest[k] -= score * component[k];
    }
    for (guint k = 0; k < d; k++) squares += rest[k] * rest[k];
    errors[i] = sqrt(squares);
  }
}

static double *errors_of(const DriftPca *pca, const DriftMatrix *rows, GError **error)
{
  double *errors = g_try_new(double, rows->n + 1);
  if (errors != NULL)
    drift_pca_errors(pca, rows, errors);
  else
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", rows->n);
  return errors;
}

static void append_chunk(DriftMetricSeries *series, const double *errors, gsize first, gsize n)
{
  DriftChunkEstimate chunk = {.first_row = first, .n_rows = n, .realized = NAN};
  double deviation = drift_deviation(errors + first, n, &chunk.value);
  chunk.sampling_error = deviation / sqrt((double)n - 1); /* NaN for one row */
  if (n == 1) chunk.sampling_error = NAN;
  drift_series_append(series, chunk, 0, INFINITY);
}

DriftEstimate *drift_pca_chunks(const DriftPca *pca, const DriftMatrix *reference, const DriftMatrix *analysis,
                                gsize chunk_size, GError **error)
{
  if (!drift_matrix_check(reference, analysis, 1, error)) return NULL;
  if (reference->d != pca->d || chunk_size == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%u columns, the components have %u; chunks of %zu rows",
                reference->d, pca->d, chunk_size);
    return NULL;
  }
  g_autofree double *of_reference = errors_of(pca, reference, error);
  g_autofree double *of_analysis = of_reference != NULL ? errors_of(pca, analysis, error) : NULL;
  if (of_analysis == NULL) return NULL;
  gsize n_chunks = (reference->n + chunk_size - 1) / chunk_size;
  g_autofree double *means = g_new(double, n_chunks);
  for (gsize c = 0; c < n_chunks; c++)
    drift_deviation(of_reference + c * chunk_size, MIN(chunk_size, reference->n - c * chunk_size), &means[c]);
  DriftEstimate *estimate = drift_estimate_new();
  DriftMetricSeries *series = drift_estimate_add(estimate, g_strdup("reconstruction_error"));
  drift_series_set_thresholds(series, means, n_chunks, 0, INFINITY);
  for (gsize first = 0; first < analysis->n; first += chunk_size)
    append_chunk(series, of_analysis, first, MIN(chunk_size, analysis->n - first));
  return estimate;
}
