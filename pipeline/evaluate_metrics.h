/* Metrics of predictions against labels. All NaN when undefined. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Area under the ROC curve of scores [n] for labels 0/1 [n]: the Mann-Whitney statistic, ties count one half. NaN with
 * only one class. */
double pipeline_metric_auc(const double *scores, const guint8 *labels, gsize n);
/* Average precision Σ (Rᵢ − Rᵢ₋₁) Pᵢ over the distinct scores from the highest down: the area under the
 * precision-recall curve as steps. NaN without a positive or with a NaN. */
double pipeline_metric_average_precision(const double *scores, const guint8 *labels, gsize n);
/* Mean recall over the classes that occur among labels [n]. */
double pipeline_metric_balanced_accuracy(const guint *decisions, const guint *labels, gsize n, guint n_classes);
/* Mean -log p of the true class; p [n] is clipped to [1e-7, 1]. */
double pipeline_metric_log_loss(const double *p, gsize n);
/* One bin of a reliability curve: its rows, their mean confidence and the share whose outcome is 1; NaN: no rows. */
typedef struct {
  double low, high; /* of the confidences: bounds (equal width) or extremes (equal mass) */
  guint64 n;
  double confidence, share;
} PipelineReliabilityBin;
/* What a row's calibration is measured by, of probabilities p [n_classes]: with two classes that of the positive class
 * and whether the row is of it; with more the largest one and whether it is the true class's (Guo et al. 2017). */
void pipeline_metric_confidence(const double *p, guint n_classes, guint positive, guint label, double *confidence,
                                guint8 *outcome);
/* Expected calibration error Σ n_b / n |share_b - confidence_b| (Naeini et al. 2015) over n_bins bins: (b / B, (b + 1)
 * / B] of equal width, 0 in the first; or of equal mass: rows i B / n sorted by confidence, equal confidences together
 * in the earlier bin. NaN without rows or with a NaN. bins [n_bins] or NULL. */
double pipeline_metric_ece(const double *confidences, const guint8 *outcomes, gsize n, guint n_bins,
                           gboolean equal_mass, PipelineReliabilityBin *bins);
/* The q-quantile of values [n], which it sorts; linear interpolation. */
double pipeline_metric_quantile(double *values, gsize n, double q);

G_END_DECLS
