#include "drift/sample.h"

#include <math.h>

#include "drift/schema.h"

DriftSample *drift_sample_new(const double *values, gsize n, GError **error)
{
  if (n > DRIFT_SAMPLE_MAX) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "a sample of %zu values; the tests take at most %zu, draw a random part of it", n, DRIFT_SAMPLE_MAX);
    return NULL;
  }
  double *sorted = g_try_new(double, n + 1);
  gsize kept = 0, infinite = 0;
  for (gsize i = 0; sorted != NULL && i < n; i++) {
    if (isnan(values[i])) continue;
    infinite += isinf(values[i]) != 0;
    sorted[kept++] = values[i];
  }
  if (sorted == NULL || !drift_sort(sorted, kept)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "not enough memory to sort %zu values", n);
    g_free(sorted);
    return NULL;
  }
  sorted[kept] = NAN;
  DriftSample *sample = g_new(DriftSample, 1);
  *sample = (DriftSample){.sorted = sorted, .n = kept, .n_missing = n - kept, .n_infinite = infinite};
  return sample;
}

void drift_sample_free(DriftSample *sample)
{
  if (sample == NULL) return;
  g_free(sample->sorted);
  g_free(sample);
}

/* Neumaier's summation of f(x - centre). */
typedef struct {
  double sum, correction;
} Sum;

static void add(Sum *sum, double value)
{
  double total = sum->sum + value;
  sum->correction += fabs(sum->sum) >= fabs(value) ? (sum->sum - total) + value : (value - total) + sum->sum;
  sum->sum = total;
}

DriftSampleMoments drift_sample_moments(const DriftSample *sample)
{
  DriftSampleMoments moments = {NAN, NAN, NAN};
  if (sample->n == 0 || sample->n_infinite > 0) return moments;
  Sum sum = {0, 0}, squares = {0, 0}, rest = {0, 0};
  for (gsize i = 0; i < sample->n; i++) add(&sum, sample->sorted[i]);
  double centre = (sum.sum + sum.correction) / (double)sample->n;
  for (gsize i = 0; i < sample->n; i++) {
    double deviation = sample->sorted[i] - centre;
    add(&squares, deviation * deviation);
    add(&rest, deviation);
  }
  double left = rest.sum + rest.correction;
  double corrected = squares.sum + squares.correction - left * left / (double)sample->n;
  if (isfinite(centre) && isfinite(corrected))
    moments = (DriftSampleMoments){centre, left / (double)sample->n, fmax(0, corrected)};
  return moments;
}

double drift_sample_quantile(const DriftSample *sample, double probability)
{
  if (sample->n == 0) return NAN;
  double position = probability * (double)(sample->n - 1);
  gsize low = (gsize)floor(position), high = MIN(low + 1, sample->n - 1);
  double fraction = position - (double)low, a = sample->sorted[low], b = sample->sorted[high];
  if (a == b || fraction == 0) return a;
  return fraction < .5 ? a + (b - a) * fraction : b - (b - a) * (1 - fraction);
}
