/* Exact quantiles, ranks and moments of a sample: what the sketches are measured against, and what profiles show. */
#pragma once

#include "drift/sample.h"

G_BEGIN_DECLS

/* The smallest value whose share of values at or below it is at least `probability` (numpy's inverted_cdf). NaN for an
 * empty sample and outside [0, 1]; drift_sample_quantile interpolates instead (type 7). */
double drift_sample_quantile_inverted(const DriftSample *sample, double probability);
/* Share of values <= value (inclusive) or < value; NaN for an empty sample and for NaN. */
double drift_sample_rank(const DriftSample *sample, double value, gboolean inclusive);

typedef struct {
  double mean, variance;     /* n - 1 */
  double skewness, kurtosis; /* of the population: m3 / m2^1.5, m4 / m2^2 - 3 */
} DriftShape;
/* Two passes. NaN: empty, infinities, variance of one value, skewness and kurtosis of a constant. */
DriftShape drift_sample_shape(const DriftSample *sample);

G_END_DECLS
