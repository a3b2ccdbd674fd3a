/* Confidence-based performance estimation: what a classifier's metrics are expected to be on rows without labels, from
 * its own probabilities (nannyml 0.13's definitions). A calibrated probability p says how likely a prediction is right,
 * so the confusion matrix has an expectation: a row predicted positive adds p true and 1 - p false positives.
 *
 * It sees changes of the features' law as far as the scores show them. It is blind to a change of the law of the label
 * given the features (concept drift), and to scores beyond the reference's where calibration must guess.
 *
 * Bands are 3 sampling errors wide on each side: the spread of a chunk of that size as the reference shows it, not the
 * error of the calibration. Thresholds are nannyml's, mean -+ 3 standard deviations over the reference's chunks; they
 * have no stated rate of false alarms. */
#pragma once

#include <glib.h>

#include "drift/estimate.h"
#include "drift/isotonic.h"
#include "drift/table.h"

G_BEGIN_DECLS

/* Rows in columns, borrowed while a call lasts. Scores outside [0, 1] are refused (INVALID, naming the row); NaN are
 * missing, and a metric leaves out the rows that lack what it needs. */
typedef struct {
  gsize n;
  guint n_scores;              /* 1: binary, the probability of class 1; k >= 2: one column a class */
  const double *const *scores; /* [n_scores][n] */
  const guint32 *predicted;    /* [n] class, or DRIFT_CODE_MISSING; NULL: only roc_auc and average_precision */
  const guint32 *truth;        /* likewise; NULL: not known (analysis), no calibration nor thresholds (reference) */
} DriftCbpeRows;

typedef enum { DRIFT_CALIBRATE_AUTO, DRIFT_CALIBRATE_ALWAYS, DRIFT_CALIBRATE_NEVER } DriftCalibrationRule;
/* What the elements of a confusion matrix are divided by: nothing, all rows, rows of the true class, rows predicted. */
typedef enum {
  DRIFT_CONFUSION_COUNT,
  DRIFT_CONFUSION_ALL,
  DRIFT_CONFUSION_TRUE,
  DRIFT_CONFUSION_PREDICTED
} DriftConfusionScale;

typedef struct {
  gsize chunk_size; /* rows; the last chunk holds the remainder */
  DriftCalibrationRule calibration;
  const DriftCalibrationRule *calibration_by_score; /* [n_scores], instead of calibration; NULL: the one for all */
  DriftConfusionScale confusion_scale;
  const gchar *const *class_names; /* [n_classes], for the names of confusion elements; NULL: numbers */
  const double *business_value;    /* [n_classes][n_classes] by truth, prediction; NULL: no business_value */
  gboolean business_value_per_prediction;
  const gchar *const *metrics; /* NULL-terminated; NULL: all that the reference and the settings allow */
  guint64 seed;                /* of average precision's resampling */
} DriftCbpeSettings;

typedef struct _DriftCbpe DriftCbpe;

/* Settings' arrays are copied. Calibration by DRIFT_CALIBRATE_AUTO is used for a class when it lowers the expected
 * calibration error over 10 equal-count bins of held-out tenths (10 stratified splits); not when the reference's AUC is
 * above .999 or a class is alone. Multiclass probabilities are calibrated one against the rest and divided by their
 * sum. UNDEFINED without usable rows, INVALID, LIMIT. */
DriftCbpe *drift_cbpe_new(const DriftCbpeRows *reference, const DriftCbpeSettings *settings, GError **error);
void drift_cbpe_free(DriftCbpe *cbpe);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftCbpe, drift_cbpe_free)

/* The calibration of a score column; NULL: it is used as it is. */
const DriftIsotonic *drift_cbpe_get_calibration(const DriftCbpe *cbpe, guint score);
/* [n_scores][n] into new columns (NULL-terminated array of n_scores, free each); NULL: no memory. */
double **drift_cbpe_calibrate(const DriftCbpe *cbpe, const DriftCbpeRows *rows, GError **error);

/* "roc_auc", "average_precision", "f1", "precision", "recall", "specificity", "accuracy", "confusion_matrix",
 * "business_value"; NULL-terminated. confusion_matrix gives one series an element: true_positive, true_negative,
 * false_positive, false_negative, or true_X_pred_Y. Multiclass metrics are macro means over classes, one against the
 * rest; undefined when one of them is. */
extern const gchar *const drift_cbpe_metric_names[];

/* The series of every metric. MISMATCH when the rows lack a column that the reference has, but for the truth. */
DriftEstimate *drift_cbpe_estimate(const DriftCbpe *cbpe, const DriftCbpeRows *analysis, GError **error);

/* Expected confusion matrix of one class against the rest. */
typedef struct {
  double true_positive, false_positive, false_negative, true_negative;
} DriftConfusion;
/* predicted: class of each row; the class asked about is `positive`. p: calibrated. */
DriftConfusion drift_cbpe_confusion(const double *p, const guint32 *predicted, guint32 positive, gsize n);
/* Ratios of its elements; NaN for nothing over nothing. */
double drift_confusion_accuracy(const DriftConfusion *confusion);
double drift_confusion_precision(const DriftConfusion *confusion);
double drift_confusion_recall(const DriftConfusion *confusion);
double drift_confusion_f1(const DriftConfusion *confusion);
double drift_confusion_specificity(const DriftConfusion *confusion);

G_END_DECLS
