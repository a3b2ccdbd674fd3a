#include "drift/sample_shape.h"

#include <math.h>

double drift_sample_quantile_inverted(const DriftSample *sample, double probability)
{
  if (sample->n == 0 || !(probability >= 0 && probability <= 1)) return NAN;
  double rank = ceil(probability * (double)sample->n);
  return sample->sorted[rank < 1 ? 0 : (gsize)rank - 1];
}

double drift_sample_rank(const DriftSample *sample, double value, gboolean inclusive)
{
  if (sample->n == 0 || isnan(value)) return NAN;
  gsize low = 0, high = sample->n;
  while (low < high) {
    gsize middle = low + (high - low) / 2;
    double at = sample->sorted[middle];
    if (inclusive ? at <= value : at < value)
      low = middle + 1;
    else
      high = middle;
  }
  return (double)low / (double)sample->n;
}

DriftShape drift_sample_shape(const DriftSample *sample)
{
  DriftSampleMoments moments = drift_sample_moments(sample);
  DriftShape shape = {moments.mean, NAN, NAN, NAN};
  if (isnan(moments.mean)) return shape;
  double n = (double)sample->n, third = 0, fourth = 0;
  for (gsize i = 0; i < sample->n; i++) {
    double d = sample->sorted[i] - moments.mean - moments.mean_rest;
    third += d * d * d;
    fourth += d * d * d * d;
  }
  if (sample->n > 1) shape.variance = moments.squares / (n - 1);
  double second = moments.squares / n;
  if (!(second > 0)) return shape;
  shape.skewness = third / n / (second * sqrt(second));
  shape.kurtosis = fourth / n / (second * second) - 3;
  return shape;
}
