/* Direct loss estimation: what a regression model's errors are expected to be on rows without labels (nannyml 0.13's
 * definitions). A second model, fitted to the reference, predicts each row's loss from the features and the prediction;
 * a chunk's metric is the mean of the predicted losses (not below 0), its root for rmse and rmsle.
 *
 * It sees changes of the features' law towards rows where the model was worse in the reference. It is blind to a change
 * of the label's law given the features, and to rows unlike all of the reference. The loss model is fitted to all of
 * the reference, so estimates on the reference itself flatter. Bands and thresholds: drift/estimate.h. */
#pragma once

#include "drift/estimate.h"
#include "drift/learner.h"

G_BEGIN_DECLS

/* Borrowed while a call lasts. */
typedef struct {
  DriftMatrix features;    /* d may be 0; NaN is missing, for learners that take it */
  const double *predicted; /* [n]; rows with NaN are left out */
  const double *truth;     /* [n]; NULL: not known (analysis only) */
} DriftDleRows;

/* "mae", "mape", "mse", "rmse", "msle", "rmsle"; NULL-terminated. */
extern const gchar *const drift_dle_metric_names[];

typedef struct {
  gsize chunk_size;
  guint64 seed;
  const gchar *const *metrics; /* NULL-terminated; NULL: all that are defined on the reference */
} DriftDleSettings;

typedef struct _DriftDle DriftDle;

/* A metric that is asked for by name and not defined on the reference is UNDEFINED naming the row: mape with a label of
 * 0, msle and rmsle with a label or prediction of -1 or less. INVALID for values that are not finite, LIMIT, or what
 * the learner says. */
DriftDle *drift_dle_new(const DriftDleRows *reference, const DriftLearner *learner, const DriftDleSettings *settings,
                        GError **error);
void drift_dle_free(DriftDle *dle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftDle, drift_dle_free)

/* Why metrics that nobody asked for by name have no series: gchar*, "msle is undefined: the reference, row 3: …". */
const GPtrArray *drift_dle_get_left_out(const DriftDle *dle);

/* One series a metric. */
DriftEstimate *drift_dle_estimate(const DriftDle *dle, const DriftDleRows *analysis, GError **error);

G_END_DECLS
