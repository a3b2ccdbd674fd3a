/* Between the fairness files. */
#pragma once

#include "drift/fairness.h"

G_BEGIN_DECLS

typedef struct {
  double value, low, high; /* of one group; NaN value: left out */
} DriftFairnessPoint;
/* Largest less smallest of n independent estimates from their single intervals at the pairs' confidence (MOVER: Zou and
 * Donner 2008); n_defined gets how many took part. */
void drift_fairness_spread(const DriftFairnessPoint *points, guint n, DriftFairnessValue *value, guint *highest,
                           guint *lowest, guint *n_defined);
/* Confidence of each of the pairs of n groups (Bonferroni). */
double drift_fairness_pair_confidence(double confidence, guint n);
/* The interval of |x| from that of x. */
void drift_fairness_absolute(DriftFairnessValue *value);

extern const gchar *const drift_fairness_too_few; /* why a comparison is undefined */

G_END_DECLS
