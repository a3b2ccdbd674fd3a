/* One numeric sample made ready for the two-sample tests: NaN left out and counted, the rest in ascending order. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* So that rank sums stay exact in 128-bit integers. */
#define DRIFT_SAMPLE_MAX ((gsize)1 << 27)

typedef struct {
  double *sorted; /* ascending; infinities at the ends; one NaN behind the last */
  gsize n;
  gsize n_missing;  /* NaN */
  gsize n_infinite; /* of the n */
} DriftSample;

/* LIMIT for more than DRIFT_SAMPLE_MAX values or when memory is short. n = 0 is a sample. */
DriftSample *drift_sample_new(const double *values, gsize n, GError **error);
void drift_sample_free(DriftSample *sample);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftSample, drift_sample_free)

/* Two passes, compensated; all NaN for an empty sample, with infinities, and when squares overflow. */
typedef struct {
  double mean;      /* rounded */
  double mean_rest; /* what rounding took from it, so that a difference of means far from 0 keeps its digits */
  double squares;   /* sum of squared deviations from the mean */
} DriftSampleMoments;
DriftSampleMoments drift_sample_moments(const DriftSample *sample);
/* Quantile by linear interpolation between order statistics, numpy's default; NaN for an empty sample. */
double drift_sample_quantile(const DriftSample *sample, double probability);

/* Sorts doubles ascending in linear time; NaN are not allowed; -0 before +0. FALSE: no memory, nothing done. */
gboolean drift_sort(double *values, gsize n);

G_END_DECLS
