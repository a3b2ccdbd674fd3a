/* The order of a sample's rows, and what depends on nothing but that order. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Row numbers by ascending value; equal values keep their order; NaN are not allowed. Linear time. FALSE: no memory,
 * nothing done. order: [n], n below 2^32. */
gboolean drift_order(const double *values, gsize n, guint32 *order);

/* Area under the ROC curve when row i is a positive with probability positive[i] (0 and 1: the truth): the trapezoid
 * rule over the expected counts of true and false positives by falling score, one step per distinct score, so that rows
 * of equal score have no order. NaN when positives or negatives are expected to be none. order: as above, of the
 * scores.
 */
double drift_expected_roc_auc(const double *positive, const double *score, const guint32 *order, gsize n);
/* Average precision: sum of precision times the rise of recall. by_row: one step a row, rows of equal score sharing
 * their mean probability (what CBPE estimates); else one step per distinct score (what is realised). */
double drift_expected_average_precision(const double *positive, const double *score, const guint32 *order, gsize n,
                                        gboolean by_row);

G_END_DECLS
