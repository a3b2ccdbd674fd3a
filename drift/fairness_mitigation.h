/* Making decisions fairer: before training (reweighing, disparate-impact remover) and after it (thresholds by group).
 * Library calls for the pipeline; nothing here decides by itself that anything should be mended. */
#pragma once

#include <glib.h>

#include "drift/fairness.h"

G_BEGIN_DECLS

/* --- reweighing (Kamiran and Calders 2012) ------------------------------------------------------------------------ */
/* weights[2 g + y]: weight of the rows of group g with label y (1 favourable) that makes label and group independent:
 * n_g n_y / (n n_gy). Infinite for a cell without rows (no row gets it), NaN for an empty group or label. */
void drift_reweighing_weights(const DriftFairness *fairness, double *weights);
/* The same by row, into row_weights[rows->n]; 0 for rows that are left out. Their sum is that of the rows kept. */
void drift_reweighing_apply(const DriftFairness *fairness, double *row_weights);

/* --- thresholds by group (Hardt, Price and Srebro 2016) ----------------------------------------------------------- */
typedef enum {
  DRIFT_PARITY_SELECTION, /* equal selection rates: demographic parity */
  DRIFT_PARITY_TPR,       /* equal true positive rates: equal opportunity */
  DRIFT_PARITY_FPR,       /* equal false positive rates */
  DRIFT_PARITY_ODDS       /* both: equalised odds */
} DriftParity;

/* A row of the group with score s is predicted favourable with probability
 *   ignore * constant + (1 - ignore) * (weight0 * (s >= threshold0) + (1 - weight0) * (s >= threshold1)). */
typedef struct {
  double threshold0, threshold1, weight0, ignore, constant;
} DriftGroupRule;
typedef struct {
  guint n_groups;
  DriftGroupRule *rules; /* [n_groups] */
  double constraint;     /* the common rate (FPR for equalised odds) */
  double accuracy;       /* expected, on the rows it was fitted to */
} DriftThresholds;

/* The most accurate rules, on these rows, whose rates are equal in all groups: on each group's convex hull of (rate,
 * accuracy) the common rate out of 0, .001, …, 1 with the largest sum. randomise FALSE: of the two thresholds the one
 * with more weight is taken alone (equalised odds then holds only approximately, and nothing is ignored).
 * UNDEFINED when a group lacks scores or one of the labels that the constraint needs. O(n log n + 1000 groups). */
DriftThresholds *drift_thresholds_fit(const DriftFairness *fairness, DriftParity parity, gboolean randomise,
                                      GError **error);
void drift_thresholds_free(DriftThresholds *thresholds);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftThresholds, drift_thresholds_free)
/* Probability of a favourable decision; NaN for a NaN score or an unknown group. */
double drift_thresholds_probability(const DriftThresholds *thresholds, guint group, double score);

/* --- disparate-impact remover (Feldman et al. 2015) ----------------------------------------------------------------
 */
#define DRIFT_REPAIR_QUANTILES 256
typedef struct _DriftRepair DriftRepair;
/* Learns the quantiles of a numeric feature by group. values[n_rows], NaN: missing, not repaired. Groups with less than
 * minimum_group values are UNDEFINED (their quantiles are noise); so are infinities. */
DriftRepair *drift_repair_fit(const DriftGrouping *grouping, const double *values, guint64 minimum_group,
                              GError **error);
void drift_repair_free(DriftRepair *repair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftRepair, drift_repair_free)
/* The value moved by `level` (0 as it is, 1 wholly) to where its rank within its group lies in the median of the
 * groups' quantile functions: at 1 the groups' distributions are alike, and ranks within a group stay. NaN for NaN and
 * for an unknown group. */
double drift_repair_apply(const DriftRepair *repair, guint group, double value, double level);

G_END_DECLS
