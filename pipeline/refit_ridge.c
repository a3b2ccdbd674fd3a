#include "pipeline/refit_ridge.h"

#include <math.h>
#include <string.h>
#include <cblas.h>
#include <lapacke.h>

#define BLOCK_ROWS 256u
#define NEWTON_STEPS 100u
#define SMALLEST_SLOPE 1e-3
#define LARGEST_SLOPE 1e3

/* --- ridge -------------------------------------------------------------------------------------------------------- */

/* Rows [start, start + m) times the root of their weights, with a column of ones behind, into block [m, columns + 1].
 */
static void fill_block(const float *h, const double *weights, gsize start, gsize m, guint n_columns, double *block)
{
  for (gsize i = 0; i < m; i++) {
    double root = weights ? sqrt(weights[start + i]) : 1, *row = block + i * (n_columns + 1);
    for (guint k = 0; k < n_columns; k++) row[k] = root * h[(start + i) * n_columns + k];
    row[n_columns] = root;
  }
}

static void fill_targets(const double *targets, const double *weights, gsize start, gsize m, guint n_targets,
                         double *block)
{
  for (gsize i = 0; i < m; i++) {
    double root = weights ? sqrt(weights[start + i]) : 1;
    for (guint k = 0; k < n_targets; k++) block[i * n_targets + k] = root * targets[(start + i) * n_targets + k];
  }
}

void pipeline_ridge_add_rows(const double *rows, const double *targets, gsize n, guint size, guint n_targets,
                             double kept, double *gram, double *right)
{
  openblas_set_num_threads(1); /* the order of sums, hence the bits, must not depend on the machine's load */
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)size, (int)n, 1, rows, (int)size, kept, gram, (int)size);
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)size, (int)n_targets, (int)n, 1, rows, (int)size, targets,
              (int)n_targets, kept, right, (int)n_targets);
}

gboolean pipeline_ridge_solve(const float *h, const double *targets, const double *weights, gsize n, guint n_columns,
                              guint n_targets, double penalty, double *coefficients, GError **error)
{
  guint size = n_columns + 1;
  g_autofree double *gram = g_new0(double, (gsize)size *size), *right = g_new0(double, (gsize)size *n_targets);
  g_autofree double *block = g_new(double, (gsize)BLOCK_ROWS *size),
                    *target_block = g_new(double, BLOCK_ROWS *n_targets);
  for (gsize start = 0; start < n; start += BLOCK_ROWS) {
    gsize m = MIN(BLOCK_ROWS, n - start);
    fill_block(h, weights, start, m, n_columns, block);
    fill_targets(targets, weights, start, m, n_targets, target_block);
    pipeline_ridge_add_rows(block, target_block, m, size, n_targets, 1, gram, right);
  }
  return pipeline_ridge_solve_sums(gram, right, size, n_targets, penalty, coefficients, error);
}

gboolean pipeline_ridge_solve_sums(double *gram, double *right, guint size, guint n_targets, double penalty,
                                   double *coefficients, GError **error)
{
  double trace = 0;
  openblas_set_num_threads(1);
  for (guint k = 0; k < size; k++) trace += gram[(gsize)k * size + k];
  for (guint k = 0; k < size; k++) /* the jitter keeps columns without variation and the intercept regular */
    gram[(gsize)k * size + k] += (k + 1 < size ? penalty : 0) + 1e-12 * trace / size + 1e-300;
  lapack_int status = LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', (lapack_int)size, (lapack_int)n_targets, gram,
                                    (lapack_int)size, right, (lapack_int)n_targets);
  if (status != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "the rows do not determine the last layer (Cholesky stops at %d); raise the penalty (it is %g)",
                (int)status, penalty);
    return FALSE;
  }
  for (guint t = 0; t < n_targets; t++)
    for (guint k = 0; k < size; k++) coefficients[(gsize)t * size + k] = right[(gsize)k * n_targets + t];
  return TRUE;
}

/* --- calibration -------------------------------------------------------------------------------------------------- */

static double sigmoid(double x)
{
  return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Log-loss of the smoothed targets; gradient and curvature into derivatives {da, dc, daa, dac, dcc} unless NULL. */
static double binary_loss(const double *scores, const guint8 *labels, const double *weights, gsize n,
                          const double smooth[2], double slope, double intercept, double *derivatives)
{
  double loss = 0;
  if (derivatives) memset(derivatives, 0, 5 * sizeof(double));
  for (gsize i = 0; i < n; i++) {
    double weight = weights ? weights[i] : 1, x = slope * scores[i] + intercept, target = smooth[labels[i]];
    loss += weight * (fmax(x, 0) - x * target + log1p(exp(-fabs(x))));
    if (!derivatives) continue;
    double p = sigmoid(x), difference = weight * (p - target), curvature = weight * p * (1 - p);
    derivatives[0] += difference * scores[i];
    derivatives[1] += difference;
    derivatives[2] += curvature * scores[i] * scores[i];
    derivatives[3] += curvature * scores[i];
    derivatives[4] += curvature;
  }
  return loss;
}

void pipeline_calibrate_binary(const double *scores, const guint8 *labels, const double *weights, gsize n,
                               double *slope, double *intercept)
{
  double counts[2] = {0, 0};
  for (gsize i = 0; i < n; i++) counts[labels[i]] += weights ? weights[i] : 1;
  const double smooth[2] = {1 / (counts[0] + 2), (counts[1] + 1) / (counts[1] + 2)};
  double a = 0, c = log((counts[1] + 1) / (counts[0] + 1)), d[5];
  double loss = binary_loss(scores, labels, weights, n, smooth, a, c, d);
  for (guint i = 0; i < NEWTON_STEPS; i++) {
    double aa = d[2] + 1e-10, cc = d[4] + 1e-10, determinant = aa * cc - d[3] * d[3];
    if (!(determinant > 0) || fabs(d[0]) + fabs(d[1]) < 1e-9) break;
    double step_a = (cc * d[0] - d[3] * d[1]) / determinant, step_c = (aa * d[1] - d[3] * d[0]) / determinant, size = 1;
    double next = binary_loss(scores, labels, weights, n, smooth, a - step_a, c - step_c, NULL);
    while (!(next < loss) && size > 1e-9) { /* Newton's step may overshoot far from the minimum */
      size /= 2;
      next = binary_loss(scores, labels, weights, n, smooth, a - size * step_a, c - size * step_c, NULL);
    }
    if (!(next < loss)) break;
    a -= size * step_a;
    c -= size * step_c;
    loss = binary_loss(scores, labels, weights, n, smooth, a, c, d);
  }
  *slope = CLAMP(a, SMALLEST_SLOPE, LARGEST_SLOPE);
  *intercept = c;
}

/* Derivatives of the smoothed log-loss by the scale: {first, second}. */
static void scale_derivatives(const double *scores, const guint *labels, const double *weights, gsize n,
                              guint n_classes, double scale, double derivatives[2])
{
  double smoothing = 1.0 / ((double)n + n_classes);
  derivatives[0] = derivatives[1] = 0;
  for (gsize i = 0; i < n; i++) {
    const double *row = scores + i * n_classes;
    double weight = weights ? weights[i] : 1, highest = row[0], sum = 0, mean = 0, square = 0, target = 0;
    for (guint k = 1; k < n_classes; k++) highest = fmax(highest, row[k]);
    for (guint k = 0; k < n_classes; k++) {
      double e = exp(scale * (row[k] - highest));
      sum += e;
      mean += e * row[k];
      square += e * row[k] * row[k];
      target += row[k] * (k == labels[i] ? 1 - smoothing * (n_classes - 1) : smoothing);
    }
    mean /= sum;
    derivatives[0] += weight * (mean - target);
    derivatives[1] += weight * (square / sum - mean * mean);
  }
}

double pipeline_calibrate_scale(const double *scores, const guint *labels, const double *weights, gsize n,
                                guint n_classes)
{
  double low = SMALLEST_SLOPE, high = LARGEST_SLOPE, scale = 1, d[2];
  for (guint i = 0; i < NEWTON_STEPS; i++) { /* the loss is convex: Newton within a bracket that only shrinks */
    scale_derivatives(scores, labels, weights, n, n_classes, scale, d);
    if (d[0] > 0)
      high = scale;
    else
      low = scale;
    double next = d[1] > 0 ? scale - d[0] / d[1] : -1;
    if (!(next > low && next < high)) next = sqrt(low * high);
    if (fabs(next - scale) <= 1e-12 * scale) break;
    scale = next;
  }
  return scale;
}
