/* The laws of the one-sample Kolmogorov-Smirnov statistics, declared in drift/two_sample.h. */
#include <math.h>
#include <string.h>

#include "drift/two_sample.h"

/* --- one-sided ---------------------------------------------------------------------------------------------------- */

/* ln k! less Stirling's formula (Loader 2000), so that binomial terms keep their relative accuracy. */
static double stirling_error(double k)
{
  static const double table[] = {0,
                                 0.08106146679532726,
                                 0.04134069595540929,
                                 0.02767792568499834,
                                 0.02079067210376509,
                                 0.01664469118982119,
                                 0.01387612882307075,
                                 0.01189670994589177,
                                 0.01041126526197209,
                                 0.009255462182712733,
                                 0.008330563433362871,
                                 0.007573675487951841,
                                 0.00694284010720953,
                                 0.006408994188004207,
                                 0.005951370112758848,
                                 0.005554733551962801};
  if (k < 16) return table[(guint)k];
  double square = k * k;
  return (1. / 12 - (1. / 360 - (1. / 1260 - (1. / 1680 - 1. / 1188 / square) / square) / square) / square) / k;
}

/* x/p times the binomial probability of j of n at p = x + j/n: the term of the sum. */
static double smirnov_term(double x, double n, double j)
{
  double p = x + j / n, shift = n * x, rest = n - j;
  if (j == 0) return exp(n * log1p(-x));
  if (rest - shift <= 0) return 0;
  /* Deviances of j from np = j + nx and of n - j from n(1 - p). */
  double deviance = (shift - j * log1p(shift / j)) - (rest * log1p(-shift / rest) + shift);
  double stirling = stirling_error(n) - stirling_error(j) - stirling_error(rest);
  return x / p * sqrt(n / (2 * G_PI * j * rest)) * exp(stirling - deviance);
}

/* Terms rise to one top and fall: from the middle outwards until they no longer count. */
static double sum_from(double x, double n, double start, double last, double step)
{
  double sum = 0, largest = 0;
  for (double j = start; j >= 0 && j <= last; j += step) {
    double term = smirnov_term(x, n, j);
    sum += term;
    largest = fmax(largest, term);
    if (term < largest * 1e-18 && term < sum * 1e-20) break;
  }
  return sum;
}

/* The terms are a smooth function of j/n that vanishes with all its derivatives at both ends, so a sum over every s-th
 * term times s differs from the whole by the function's spectrum at frequencies from n/s on: nothing that a double
 * shows, once there are so many terms and n d^2 is not small. Measured for n from 4,096 to 2 million and tails down to
 * 1e-290: within 1e-12 of the whole sum, which is the rounding of the terms, larger for larger n. */
#define ENOUGH_TERMS 1024
#define SMOOTH_FROM 1 /* of n d^2 */

double drift_smirnov_sf(double distance, guint64 n)
{
  if (isnan(distance) || n == 0) return NAN;
  if (distance <= 0) return 1;
  if (distance >= 1) return 0;
  double size = (double)n, last = floor(size * (1 - distance)), middle = floor(size * (1 - distance) / 2);
  double step = size * distance * distance >= SMOOTH_FROM ? fmax(1, floor(last / ENOUGH_TERMS)) : 1;
  double sum = sum_from(distance, size, middle, last, -step) + sum_from(distance, size, middle + step, last, step);
  return CLAMP(step * sum, 0, 1);
}

/* --- two-sided ---------------------------------------------------------------------------------------------------- */

typedef struct {
  guint size;
  gint exponent; /* the matrix stands for entries times 2^exponent */
  double *entries;
} Matrix;

static void multiply(const Matrix *a, const Matrix *b, Matrix *product)
{
  guint m = a->size;
  memset(product->entries, 0, (gsize)m * m * sizeof(double));
  for (guint i = 0; i < m; i++)
    for (guint k = 0; k < m; k++) {
      double factor = a->entries[i * m + k];
      for (guint j = 0; j < m; j++) product->entries[i * m + j] += factor * b->entries[k * m + j];
    }
  product->exponent = a->exponent + b->exponent;
  gint scale = 0;
  frexp(product->entries[(m / 2) * m + m / 2], &scale);
  if (ABS(scale) < 400) return;
  for (guint i = 0; i < m * m; i++) product->entries[i] = ldexp(product->entries[i], -scale);
  product->exponent += scale;
}

/* The matrix of Marsaglia, Tsang and Wang (2003): 1/(i-j+1)!, with corrections by h in the first column and last row.
 */
static void fill_matrix(Matrix *matrix, double h)
{
  guint m = matrix->size;
  for (guint i = 0; i < m; i++)
    for (guint j = 0; j < m; j++) {
      double value = i + 1 >= j ? 1 : 0;
      if (j == 0) value -= pow(h, i + 1);
      if (i == m - 1) value -= pow(h, m - j);
      if (j == 0 && i == m - 1 && 2 * h > 1) value += pow(2 * h - 1, m);
      for (guint g = 1; i + 1 > j && g <= i - j + 1; g++) value /= g;
      matrix->entries[i * m + j] = value;
    }
}

/* P(D_n < d) = n!/n^n times the middle entry of the n-th power. */
static double matrix_cdf(double d, guint n)
{
  guint k = (guint)ceil(n * d), m = 2 * k - 1;
  gsize cells = (gsize)m * m;
  g_autofree double *storage = g_new0(double, 3 * cells);
  Matrix base = {m, 0, storage}, power = {m, 0, storage + cells}, spare = {m, 0, storage + 2 * cells};
  fill_matrix(&base, k - n * d);
  for (guint i = 0; i < m; i++) power.entries[i * m + i] = 1;
  for (guint left = n; left > 0; left /= 2) {
    if (left % 2 == 1) {
      multiply(&power, &base, &spare);
      Matrix swap = power;
      power = spare;
      spare = swap;
    }
    if (left == 1) break;
    multiply(&base, &base, &spare);
    Matrix swap = base;
    base = spare;
    spare = swap;
  }
  double middle = power.entries[(k - 1) * m + k - 1];
  gint exponent = power.exponent;
  for (guint i = 1; i <= n; i++) {
    gint scale;
    middle = frexp(middle * i / n, &scale);
    exponent += scale;
  }
  return CLAMP(ldexp(middle, exponent), 0, 1);
}

/* Pelz and Good's (1976) series in 1/sqrt(n), after the transformation for small z. */
static double series_cdf(double d, double n)
{
  double z = sqrt(n) * d, z2 = z * z, z4 = z2 * z2, z6 = z4 * z2, z8 = z4 * z4, pi2 = G_PI * G_PI;
  double k0 = 0, k1 = 0, k2 = 0, k3 = 0, extra2 = 0, extra3 = 0;
  for (gint k = (gint)ceil(16 * z / G_PI) + 1; k >= 1; k--) {
    double odd = (2 * k - 1) * (2 * k - 1) * pi2 / 4, even = k * k * pi2;
    double a = exp(-odd / (2 * z2)), b = exp(-even / (2 * z2));
    k0 += a;
    k1 += a * (odd - z2);
    k2 += a * (6 * z6 + 2 * z4 + odd * (2 * z4 - 5 * z2) + odd * odd * (1 - 2 * z2));
    k3 += a * (-30 * z6 - 90 * z8 + odd * (135 * z4 - 96 * z6) + odd * odd * (212 * z4 - 60 * z2) +
               odd * odd * odd * (5 - 30 * z2));
    extra2 += b * even;
    extra3 += b * even * (3 * z2 - even);
  }
  double root = sqrt(2 * G_PI);
  return root * (k0 / z + k1 / (6 * z4 * sqrt(n)) + (k2 / (72 * z4 * z2 * z) - extra2 / (36 * z2 * z)) / n +
                 (k3 / (6480 * z8 * z2) + extra3 / (216 * z6)) / (n * sqrt(n)));
}

double drift_kolmogorov_sf(double distance, guint64 n)
{
  if (isnan(distance) || n == 0) return NAN;
  double size = (double)n, t = size * distance, z2 = t * distance;
  if (distance >= 1) return 0;
  if (t <= .5) return 1;
  if (t <= 1) /* 1 - n! (2d - 1/n)^n */
    return CLAMP(1 - exp(lgamma(size + 1) + size * log(2 * distance - 1 / size)), 0, 1);
  /* Beyond these both one-sided events hardly ever happen together (for d >= 1/2 never). */
  if (distance >= .5 || z2 > (n <= 140 ? 4 : 2.2)) return fmin(1, 2 * drift_smirnov_sf(distance, n));
  if (z2 < .02) return 1;
  if (n <= 140 || (n <= 500 && size * pow(distance, 1.5) <= 1.4)) return 1 - matrix_cdf(distance, (guint)n);
  return CLAMP(1 - series_cdf(distance, size), 0, 1);
}
