/* What the two estimators share. */
#pragma once

#include "drift/estimate.h"

G_BEGIN_DECLS

#define DRIFT_BAND_ERRORS 3 /* half width of bands and thresholds, in standard errors and deviations */

DriftEstimate *drift_estimate_new(void);
/* Takes name. */
DriftMetricSeries *drift_estimate_add(DriftEstimate *estimate, gchar *name);
/* From the realised values of the reference's chunks; NaN are left out. Limits may be infinite. */
void drift_series_set_thresholds(DriftMetricSeries *series, const double *realized, gsize n, double low, double high);
/* Fills bands and alert from value and sampling_error, appends. */
void drift_series_append(DriftMetricSeries *series, DriftChunkEstimate chunk, double low, double high);

/* Standard deviation with divisor n; NaN for none. */
double drift_deviation(const double *values, gsize n, double *mean);

G_END_DECLS
