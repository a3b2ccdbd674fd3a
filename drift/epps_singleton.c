/* Epps and Singleton's test: characteristic functions compared at two points, so four numbers a value. */
#include <float.h>
#include <string.h>

#include "drift/distributions.h"
#include "drift/two_sample_internal.h"

enum { DIMENSIONS = 4 };

typedef struct {
  double mean[DIMENSIONS];
  double covariance[DIMENSIONS][DIMENSIONS]; /* divided by the number of values */
} Transform;

static void transform_value(double x, double unit, double *out)
{
  out[0] = cos(.4 / unit * x);
  out[1] = cos(.8 / unit * x);
  out[2] = sin(.4 / unit * x);
  out[3] = sin(.8 / unit * x);
}

static void transform_sample(const DriftSample *sample, double unit, Transform *transform)
{
  memset(transform, 0, sizeof *transform);
  double n = (double)sample->n, value[DIMENSIONS];
  for (gsize i = 0; i < sample->n; i++) {
    transform_value(sample->sorted[i], unit, value);
    for (guint a = 0; a < DIMENSIONS; a++) transform->mean[a] += value[a];
  }
  for (guint a = 0; a < DIMENSIONS; a++) transform->mean[a] /= n;
  for (gsize i = 0; i < sample->n; i++) {
    transform_value(sample->sorted[i], unit, value);
    for (guint a = 0; a < DIMENSIONS; a++)
      for (guint b = 0; b <= a; b++)
        transform->covariance[a][b] += (value[a] - transform->mean[a]) * (value[b] - transform->mean[b]);
  }
  for (guint a = 0; a < DIMENSIONS; a++)
    for (guint b = 0; b <= a; b++) transform->covariance[b][a] = transform->covariance[a][b] /= n;
}

static void rotate(double matrix[DIMENSIONS][DIMENSIONS], double vectors[DIMENSIONS][DIMENSIONS], guint p, guint q)
{
  double theta = (matrix[q][q] - matrix[p][p]) / (2 * matrix[p][q]);
  double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
  double c = 1 / sqrt(t * t + 1), s = t * c;
  for (guint k = 0; k < DIMENSIONS; k++) {
    double a = matrix[k][p], b = matrix[k][q];
    matrix[k][p] = c * a - s * b;
    matrix[k][q] = s * a + c * b;
  }
  for (guint k = 0; k < DIMENSIONS; k++) {
    double a = matrix[p][k], b = matrix[q][k];
    matrix[p][k] = c * a - s * b;
    matrix[q][k] = s * a + c * b;
    a = vectors[k][p], b = vectors[k][q];
    vectors[k][p] = c * a - s * b;
    vectors[k][q] = s * a + c * b;
  }
}

/* Jacobi's method: the diagonal of `matrix` becomes the eigenvalues, columns of `vectors` the eigenvectors. */
static void eigen(double matrix[DIMENSIONS][DIMENSIONS], double vectors[DIMENSIONS][DIMENSIONS])
{
  for (guint a = 0; a < DIMENSIONS; a++)
    for (guint b = 0; b < DIMENSIONS; b++) vectors[a][b] = a == b;
  for (guint sweep = 0; sweep < 60; sweep++) {
    double off = 0;
    for (guint p = 0; p < DIMENSIONS; p++)
      for (guint q = p + 1; q < DIMENSIONS; q++) {
        off += fabs(matrix[p][q]);
        if (matrix[p][q] != 0) rotate(matrix, vectors, p, q);
      }
    if (off == 0) break;
  }
}

/* Eigenvalues below this share of the largest are rounding errors (values on few points have a covariance of lower
 * rank, and its zeros come out as about 1e-16). */
#define RANK_TOLERANCE 1e-12

/* difference' times the pseudo-inverse times difference; *rank gets the rank. */
static double quadratic_form(double matrix[DIMENSIONS][DIMENSIONS], const double *difference, guint *rank)
{
  double vectors[DIMENSIONS][DIMENSIONS], largest = 0, sum = 0;
  eigen(matrix, vectors);
  *rank = 0;
  for (guint a = 0; a < DIMENSIONS; a++) largest = fmax(largest, fabs(matrix[a][a]));
  for (guint a = 0; a < DIMENSIONS; a++) {
    if (!(matrix[a][a] > RANK_TOLERANCE * largest)) continue;
    double along = 0;
    for (guint b = 0; b < DIMENSIONS; b++) along += vectors[b][a] * difference[b];
    sum += along * along / matrix[a][a];
    (*rank)++;
  }
  return sum;
}

/* Half the distance between the pooled quartiles. */
static gboolean pooled_unit(const DriftSample *reference, const DriftSample *current, double *unit)
{
  gsize n = reference->n, m = current->n;
  g_autofree double *values = g_try_new(double, n + m + 1);
  if (values == NULL) return FALSE;
  memcpy(values, reference->sorted, n * sizeof(double));
  memcpy(values + n, current->sorted, m * sizeof(double));
  g_autoptr(DriftSample) pooled = drift_sample_new(values, n + m, NULL);
  if (pooled != NULL) *unit = (drift_sample_quantile(pooled, .75) - drift_sample_quantile(pooled, .25)) / 2;
  return pooled != NULL;
}

void drift_epps_singleton(const DriftSample *reference, const DriftSample *current, DriftTestResult *result)
{
  double n = (double)reference->n, m = (double)current->n, unit = 0, difference[DIMENSIONS];
  drift_result_undefined(result, NULL);
  if (n < 5 || m < 5)
    result->undefined = "fewer than five values on a side";
  else if (reference->n_infinite + current->n_infinite > 0)
    result->undefined = DRIFT_HAS_INFINITIES;
  else if (!pooled_unit(reference, current, &unit))
    result->undefined = "not enough memory";
  else if (!(unit > 0) || isinf(unit))
    result->undefined = "the pooled quartiles are equal or too far apart";
  if (result->undefined != NULL) return;
  Transform a, b;
  transform_sample(reference, unit, &a);
  transform_sample(current, unit, &b);
  double covariance[DIMENSIONS][DIMENSIONS];
  for (guint i = 0; i < DIMENSIONS; i++) {
    difference[i] = a.mean[i] - b.mean[i];
    for (guint j = 0; j < DIMENSIONS; j++)
      covariance[i][j] = (n + m) / n * a.covariance[i][j] + (n + m) / m * b.covariance[i][j];
  }
  guint rank;
  double w = (n + m) * quadratic_form(covariance, difference, &rank);
  if (fmax(n, m) < 25) w /= 1 + pow(n + m, -.45) + 10.1 * (pow(n, -1.7) + pow(m, -1.7));
  result->df = rank;
  /* Both sides constant, and not the same one as the quartiles differ: no variance at all to weigh the difference by.
   */
  result->statistic = rank > 0 ? w : INFINITY;
  result->p = rank > 0 ? drift_chi_squared_sf(w, rank) : 0;
  result->p_from = "chi-squared";
}
