/* Metrics of predictions against labels. All NaN when undefined. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Area under the ROC curve of scores [n] for labels 0/1 [n]: the Mann-Whitney statistic, ties count one half. NaN with
 * only one class. */
double pipeline_metric_auc(const double *scores, const guint8 *labels, gsize n);
/* Mean recall over the classes that occur among labels [n]. */
double pipeline_metric_balanced_accuracy(const guint *decisions, const guint *labels, gsize n, guint n_classes);
/* Mean -log p of the true class; p [n] is clipped to [1e-7, 1]. */
double pipeline_metric_log_loss(const double *p, gsize n);
/* The q-quantile of values [n], which it sorts; linear interpolation. */
double pipeline_metric_quantile(double *values, gsize n, double q);

G_END_DECLS
