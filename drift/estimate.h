/* What label-free estimation gives: one series a metric, one value a chunk, with its sampling error, the thresholds
 * that the reference's own chunks set, and what was realised where the truth is known (conventions of nannyml 0.13). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint64 first_row, n_rows;
  double value;               /* the estimate; NaN: undefined */
  double sampling_error;      /* standard error of a chunk of this size, from the reference */
  double band_low, band_high; /* value -+ 3 sampling errors, within the metric's range */
  double realized;            /* NaN: undefined, or the truth is not known */
  gboolean alert;             /* the value is outside the thresholds */
  const gchar *undefined;     /* static: why value is NaN; NULL: it is a number */
} DriftChunkEstimate;

typedef struct {
  gchar *name;
  double threshold_low, threshold_high; /* mean -+ 3 standard deviations (divisor n) of the realised metric over the
                                         * reference's chunks, within the metric's range; NaN: no truth
                                         * there, or fewer than two chunks have the metric */
  GArray *chunks;                       /* of DriftChunkEstimate */
} DriftMetricSeries;

/* GPtrArray of DriftMetricSeries*, owned. */
typedef GPtrArray DriftEstimate;
DriftMetricSeries *drift_estimate_find(const DriftEstimate *estimate, const gchar *name); /* borrowed or NULL */
/* Chunks over all series outside their thresholds. */
guint drift_estimate_count_alerts(const DriftEstimate *estimate);

G_END_DECLS
