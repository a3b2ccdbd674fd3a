#include <cblas.h>
#include <lapacke.h>

#include "drift/linear_internal.h"

gboolean drift_cholesky(double *matrix, guint size)
{
  openblas_set_num_threads(1);
  return LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', (lapack_int)size, matrix, (lapack_int)size) == 0;
}

void drift_cholesky_solve(const double *factor, guint size, double *x)
{
  LAPACKE_dpotrs(LAPACK_ROW_MAJOR, 'L', (lapack_int)size, 1, factor, (lapack_int)size, x, 1);
}

gboolean drift_symmetric_eigen(double *matrix, guint size, double *values)
{
  openblas_set_num_threads(1);
  return LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'V', 'L', (lapack_int)size, matrix, (lapack_int)size, values) == 0;
}
