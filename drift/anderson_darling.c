/* The k-sample Anderson-Darling test of Scholz and Stephens (1987). */
#include <string.h>

#include "drift/two_sample_internal.h"

/* One walk over the distinct values of all samples. */
typedef struct {
  const DriftSample *const *samples;
  guint k;
  gsize *at;   /* [k] values of each sample before the next one */
  gsize *here; /* [k] values of each sample that are this one */
} Walk;

static gsize walk_next(Walk *walk)
{
  double value = INFINITY;
  gboolean found = FALSE;
  gsize tied = 0;
  for (guint s = 0; s < walk->k; s++) {
    walk->at[s] += walk->here[s];
    if (walk->at[s] == walk->samples[s]->n) continue;
    double next = walk->samples[s]->sorted[walk->at[s]];
    if (!found || next < value) value = next;
    found = TRUE;
  }
  for (guint s = 0; s < walk->k; s++) {
    const DriftSample *sample = walk->samples[s];
    gsize end = walk->at[s];
    while (found && end < sample->n && sample->sorted[end] == value) end++;
    tied += walk->here[s] = end - walk->at[s];
  }
  return tied;
}

/* A^2 by (6) or (7), before it is standardised; *n_distinct gets the number of distinct values. */
static double raw_statistic(const DriftSample *const *samples, guint k, double total, gboolean midrank,
                            gsize *n_distinct)
{
  g_autofree gsize *at = g_new0(gsize, k), *here = g_new0(gsize, k);
  Walk walk = {samples, k, at, here};
  double below = 0, sum = 0;
  *n_distinct = 0;
  for (gsize tied = walk_next(&walk); tied > 0; tied = walk_next(&walk)) {
    (*n_distinct)++;
    double l = (double)tied, pooled = below + (midrank ? l / 2 : l), squares = 0;
    double denominator = midrank ? pooled * (total - pooled) - total * l / 4 : pooled * (total - pooled);
    below += l;
    if (!midrank && below == total) break; /* (6) leaves out the largest value */
    for (guint s = 0; s < k; s++) {
      double mine = (double)at[s] + (midrank ? (double)here[s] / 2 : (double)here[s]), n = (double)samples[s]->n;
      double difference = total * mine - pooled * n;
      squares += difference * difference / n;
    }
    sum += l / total * squares / denominator;
  }
  return midrank ? sum * (total - 1) / total : sum;
}

/* Their (5): the variance of A^2 under the null. */
static double null_variance(const DriftSample *const *samples, guint n_samples, gsize total)
{
  double inverse_sizes = 0, h = 0, g = 0, k = n_samples, n = (double)total;
  for (guint s = 0; s < n_samples; s++) inverse_sizes += 1 / (double)samples[s]->n;
  for (gsize i = 1; i + 1 < total; i++) {
    h += 1 / (double)(total - i); /* 1/(N-1) + … + 1/(N-i) */
    g += h / (double)(i + 1);
  }
  h += 1;
  double a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse_sizes;
  double b = (2 * g - 4) * k * k + 8 * h * k + (2 * g - 14 * h - 4) * inverse_sizes - 8 * h + 4 * g - 6;
  double c = (6 * h + 2 * g - 2) * k * k + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse_sizes + 4 * h;
  double d = (2 * h + 6) * k * k - 4 * h * k;
  return (((a * n + b) * n + c) * n + d) / ((n - 1) * (n - 2) * (n - 3));
}

static const double levels[] = {.25, .1, .05, .025, .01, .005, .001};

/* Their Table 2. */
static void critical_values(guint k, double *critical)
{
  static const double b0[] = {.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085};
  static const double b1[] = {-.245, .25, .678, 1.149, 1.822, 2.364, 3.615};
  static const double b2[] = {-.105, -.305, -.362, -.391, -.396, -.345, -.154};
  double m = k - 1;
  for (guint i = 0; i < G_N_ELEMENTS(levels); i++) critical[i] = b0[i] + b1[i] / sqrt(m) + b2[i] / m;
}

/* exp of the least-squares parabola of ln level over the critical values, by orthogonal polynomials. */
static double interpolate_p(const double *critical, double statistic)
{
  enum { N = G_N_ELEMENTS(levels) };
  if (statistic < critical[0]) return levels[0];
  if (statistic > critical[N - 1]) return levels[N - 1];
  double mean = 0, norm[3] = {0}, product[3] = {0}, skew = 0;
  for (guint i = 0; i < N; i++) mean += critical[i] / N;
  for (guint i = 0; i < N; i++) {
    double u = critical[i] - mean;
    norm[1] += u * u;
    skew += u * u * u;
  }
  norm[0] = N;
  double spread = norm[1] / N;
  skew /= norm[1];
  for (guint i = 0; i < N; i++) {
    double u = critical[i] - mean, v = u * u - skew * u - spread, y = log(levels[i]);
    norm[2] += v * v;
    product[0] += y;
    product[1] += y * u;
    product[2] += y * v;
  }
  double u = statistic - mean, v = u * u - skew * u - spread;
  return exp(product[0] / norm[0] + product[1] / norm[1] * u + product[2] / norm[2] * v);
}

void drift_anderson_darling(const DriftSample *const *samples, guint k, gboolean midrank, DriftAndersonDarling *result)
{
  *result = (DriftAndersonDarling){.statistic = NAN, .p = NAN, .p_interpolated = NAN};
  gsize total = 0, n_distinct;
  for (guint s = 0; s < k; s++) {
    total += samples[s]->n;
    if (samples[s]->n == 0) result->undefined = DRIFT_NO_VALUES;
  }
  if (k < 2)
    result->undefined = "fewer than two samples";
  else if (total < 4)
    result->undefined = "fewer than four values in all";
  if (result->undefined != NULL) return;
  double raw = raw_statistic(samples, k, (double)total, midrank, &n_distinct);
  if (n_distinct < 2) {
    result->undefined = "all values are equal";
    return;
  }
  result->statistic = (raw - (k - 1)) / sqrt(null_variance(samples, k, total));
  critical_values(k, result->critical);
  result->p_interpolated = interpolate_p(result->critical, result->statistic);
  /* For two samples the limit is the one-sample law, of mean 1 and variance 2(pi^2 - 9)/3. */
  double limit = 1 + result->statistic * sqrt(2 * (G_PI * G_PI - 9) / 3);
  result->p = k == 2 ? drift_anderson_darling_limit_sf(limit) : result->p_interpolated;
}
