/* Rows of numeric features (embeddings too: one column an element) as the multivariate methods take them. */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

/* Row-major, borrowed. Multivariate methods want finite values. */
typedef struct {
  const double *values; /* [n][d] */
  gsize n;
  guint d;
} DriftMatrix;

#define DRIFT_MATRIX_MAX_COLUMNS 4096

/* The table's rows that have all of the named numeric columns (NULL-terminated), as a new array [*n][d]; the others are
 * counted in *n_left_out. NULL: INVALID naming a column that is not there or not numeric, or an infinite cell; LIMIT.
 */
double *drift_matrix_from_table(const DriftTable *table, const gchar *const *columns, gsize *n, gsize *n_left_out,
                                GError **error);

/* Two sides of one width, 1 to DRIFT_MATRIX_MAX_COLUMNS, at least `least` rows each, all values finite; else INVALID or
 * UNDEFINED with the reason. */
gboolean drift_matrix_check(const DriftMatrix *reference, const DriftMatrix *current, gsize least, GError **error);

/* Means [d] and covariance [d][d] with the divisor n - 1. */
void drift_matrix_moments(const DriftMatrix *matrix, double *means, double *covariance);
/* Standard deviations with divisor n, 1 for constant columns, so that (x - mean) / scale is 0 there. */
void drift_matrix_scales(const DriftMatrix *matrix, const double *means, double *scales);

G_END_DECLS
