#include "drift/matrix.h"

#include <math.h>
#include <string.h>

static const double *numeric_column(const DriftTable *table, const gchar *name, GError **error)
{
  const DriftColumn *column = drift_table_get_column(table, name);
  if (column != NULL && column->kind == DRIFT_NUMERIC) return (const double *)(gpointer)column->numbers->data;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "column \"%s\" is %s", name,
              column == NULL ? "not in the table" : "not numeric");
  return NULL;
}

double *drift_matrix_from_table(const DriftTable *table, const gchar *const *columns, gsize *n, gsize *n_left_out,
                                GError **error)
{
  guint d = g_strv_length((gchar **)columns);
  g_autofree const double **sources = g_new(const double *, d + 1);
  for (guint k = 0; k < d; k++)
    if ((sources[k] = numeric_column(table, columns[k], error)) == NULL) return NULL;
  g_autofree double *values = d > 0 && table->n_rows < G_MAXSIZE / sizeof(double) / d
                                  ? g_try_new(double, MAX((gsize)table->n_rows * d, 1))
                                  : NULL;
  if (values == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %" G_GUINT64_FORMAT " rows of %u columns",
                table->n_rows, d);
    return NULL;
  }
  gsize kept = 0;
  for (guint64 i = 0; i < table->n_rows; i++) {
    gboolean complete = TRUE;
    for (guint k = 0; k < d; k++) {
      double value = values[kept * d + k] = sources[k][i];
      if (isnan(value)) complete = FALSE;
      if (!isinf(value)) continue;
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "row %" G_GUINT64_FORMAT ", column \"%s\": infinite", i + 1,
                  columns[k]);
      return NULL;
    }
    if (complete) kept++;
  }
  *n = kept;
  *n_left_out = table->n_rows - kept;
  return g_steal_pointer(&values);
}

static gboolean check_side(const DriftMatrix *matrix, const gchar *what, gsize least, GError **error)
{
  if (matrix->n < least) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "%s has %zu rows, %zu are needed", what, matrix->n, least);
    return FALSE;
  }
  for (gsize i = 0; i < matrix->n; i++)
    for (guint k = 0; k < matrix->d; k++)
      if (!isfinite(matrix->values[i * matrix->d + k])) {
        g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s, row %zu, column %u is not a finite number", what,
                    i + 1, k + 1);
        return FALSE;
      }
  return TRUE;
}

gboolean drift_matrix_check(const DriftMatrix *reference, const DriftMatrix *current, gsize least, GError **error)
{
  if (reference->d != current->d || reference->d == 0 || reference->d > DRIFT_MATRIX_MAX_COLUMNS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "the sides have %u and %u columns; they must have the same, 1 to %u", reference->d, current->d,
                DRIFT_MATRIX_MAX_COLUMNS);
    return FALSE;
  }
  return check_side(reference, "the reference", least, error) && check_side(current, "the current data", least, error);
}

void drift_matrix_moments(const DriftMatrix *matrix, double *means, double *covariance)
{
  guint d = matrix->d;
  gsize n = matrix->n;
  g_autofree double *centred = g_new(double, d);
  memset(means, 0, d * sizeof *means);
  memset(covariance, 0, (gsize)d * d * sizeof *covariance);
  for (gsize i = 0; i < n; i++)
    for (guint k = 0; k < d; k++) means[k] += matrix->values[i * d + k];
  for (guint k = 0; k < d; k++) means[k] /= (double)n;
  for (gsize i = 0; i < n; i++) {
    for (guint k = 0; k < d; k++) centred[k] = matrix->values[i * d + k] - means[k];
    for (guint j = 0; j < d; j++)
      for (guint k = 0; k <= j; k++) covariance[j * d + k] += centred[j] * centred[k];
  }
  for (guint j = 0; j < d; j++)
    for (guint k = 0; k <= j; k++) covariance[k * d + j] = covariance[j * d + k] /= (double)n - 1;
}

void drift_matrix_scales(const DriftMatrix *matrix, const double *means, double *scales)
{
  for (guint k = 0; k < matrix->d; k++) {
    double squares = 0;
    for (gsize i = 0; i < matrix->n; i++) squares += pow(matrix->values[i * matrix->d + k] - means[k], 2);
    double scale = sqrt(squares / (double)matrix->n);
    /* what rounding of the mean leaves of a constant column is no spread */
    scales[k] = scale > 1e-14 * fabs(means[k]) ? scale : 1;
  }
}
