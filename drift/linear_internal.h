/* Small symmetric systems, row-major. LAPACK runs on one thread: the bits of a result must not depend on the load. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Lower Cholesky factor in place; what is above the diagonal is left. FALSE: not positive definite. */
gboolean drift_cholesky(double *matrix, guint size);
/* x := matrix^-1 x, from the factor. */
void drift_cholesky_solve(const double *factor, guint size, double *x);
/* values: [size] ascending; matrix becomes the eigenvectors, one a column. FALSE: did not converge. */
gboolean drift_symmetric_eigen(double *matrix, guint size, double *values);

G_END_DECLS
