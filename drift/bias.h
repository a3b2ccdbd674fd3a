/* What a label window may say of each group: the metrics of the window's bias verdict. One table, by the rates and
 * comparisons of fairness.h; the settings name its lines. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const gchar *name;    /* as in settings and verdicts */
  const gchar *compare; /* the metric of drift_fairness_metrics that compares with the reference group; NULL: a rate */
  guint rate;           /* DriftFairnessRateKind: the rates shown with it; DRIFT_N_RATES: none alone says it */
} DriftBiasMetric;
extern const DriftBiasMetric drift_bias_metrics[]; /* ends with a NULL name; at most 32 */

/* Bits of drift_bias_metrics: selection_rate, disparate_impact, equal_opportunity_difference. */
extern const guint32 drift_bias_default_metrics;
gint drift_bias_metric_find(const gchar *name); /* index, -1: none */

#define DRIFT_BIAS_MAX_CROSSED 4u

G_END_DECLS
