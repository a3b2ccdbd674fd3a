/* Calibration and decision of a classifier: what is fitted to labelled rows that did not train it, written into its
 * ONNX graph behind the probabilities, so that every server applies it.
 *
 *     … ─▶ probabilities of the model (kept as "kedge.raw.NAME") ─▶ map ─▶ probabilities ─▶ decision ─▶ label
 *
 * Outputs keep their names, order, types and columns; logits stay as they are and get an output "probabilities" beside
 * them; a model without a label output gets one. Added nodes and initialisers are named "kedge.calibration.…": that is
 * how they are found and taken off again. The metadata PIPELINE_CALIBRATION_KEY says what was fitted.
 *
 * Maps (p: the probabilities, at least 1e-30; the fit runs in double):
 *   temperature  softmax(ln p / T), T of least log-loss (Guo et al. 2017)
 *   platt        two classes: sigmoid(a logit(p) + b), smoothed targets (Platt 1999; Lin, Lin and Weng 2007)
 *   isotonic     the non-decreasing function of p closest to the outcomes, linear between knots, held within
 *                [1 / (n + 2), (n + 1) / (n + 2)]; more than two classes: one against the rest, then divided by the
 *                sum (Zadrozny and Elkan 2002)
 *   none         p
 *   auto         the one of least log-loss in five-fold cross-validation over the rows (row i in fold i mod 5)
 *
 * Decision rules (two classes; the label is the positive class when p ≥ t, in float32):
 *   a number in (0, 1)   t itself
 *   fB, e.g. f1, f2      t of the largest F-beta on the rows
 *   cost:FP=a,FN=b       t of the least a·(false positives) + b·(false negatives) on the rows
 * t is half-way between two probabilities that occur; of equally good ones the one closest to 0.5 is taken.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_CALIBRATION_RAW "kedge.raw."        /* in front of the name of an output that was taken over */
#define PIPELINE_CALIBRATION_KEY "kedge.calibration" /* {"method", "threshold_rule", "threshold", "rows"} */

/* Borrowed texts. NULL: what the model that is trained further had; "none": nothing. */
typedef struct {
  const gchar *method;    /* a map's name */
  const gchar *threshold; /* a decision rule */
} PipelineCalibrationOptions;

/* What was fitted and what it did to the rows it was fitted to. */
typedef struct {
  gchar *method, *rule; /* "none" where nothing was fitted */
  guint64 n;            /* rows; 0: nothing was fitted */
  double threshold;     /* of the decision; NaN: the largest probability decides */
  /* Expected calibration error in 15 bins of equal width (pipeline/evaluate_metrics.h), log-loss, accuracy. */
  double ece_before, ece_after, log_loss_before, log_loss_after, accuracy_before, accuracy_after;
} PipelineCalibration;
void pipeline_calibration_clear(PipelineCalibration *calibration);

/* Before a training: INVALID when method or rule is unknown or does not fit the schema (a regression; platt or a rule
 * with more than two classes). */
gboolean pipeline_calibration_check(const PipelineCalibrationOptions *options, const DriftSchema *schema,
                                    GError **error);
/* The model without calibration and decision (a new reference to the same bytes when it has none). *method, *rule
 * (NULL: not wanted): new texts of what was taken off, or NULL. */
GBytes *pipeline_calibration_remove(GBytes *onnx, gchar **method, gchar **rule, GError **error);
/* Fits to the rows of the table whose label is a class, and returns the model with it; a calibration that it has is
 * replaced. DATA: no such rows, or one class only. With neither method nor rule the model without any. `result` is
 * filled on success. */
GBytes *pipeline_calibrate(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                           const PipelineCalibrationOptions *options, PipelineCalibration *result, GError **error);
/* The two ends of a training: what the model to train further has is taken off and remembered, and what the options ask
 * for, or else the same again, is fitted to the validation rows. */
typedef struct {
  gchar *method, *rule; /* of the model before; NULL: none */
} PipelineCalibrationBefore;
void pipeline_calibration_before_clear(PipelineCalibrationBefore *before);
/* from: the model to train further, or NULL. The same without calibration, new, or NULL; fails as
 * pipeline_calibration_check, and with DATA when something is asked for and there are no validation rows. */
gboolean pipeline_calibration_begin(GBytes *from, const DriftSchema *schema, const PipelineCalibrationOptions *options,
                                    guint64 n_validation, PipelineCalibrationBefore *before, GBytes **raw,
                                    GError **error);
/* *onnx is replaced by the calibrated model. Without validation rows what the model had before is given up: *warning
 * (new; joined to one that is there) says so. */
gboolean pipeline_calibration_end(GBytes **onnx, const DriftSchema *schema, const DriftTable *validation,
                                  const PipelineCalibrationOptions *options, const PipelineCalibrationBefore *before,
                                  PipelineCalibration *result, gchar **warning, GError **error);
/* *warning (or NULL) becomes "warning; text". */
void pipeline_calibration_join_warning(gchar **warning, const gchar *text);
/* The threshold that the graph compares the positive class with, or NaN. */
float pipeline_calibration_get_threshold(const OnnxGraph *graph);

G_END_DECLS
