/* Training under a fairness constraint: Agarwal, Beygelzimer, Dudik, Langford and Wallach 2018, "A Reductions Approach
 * to Fair Classification", algorithm 1. A game: exponentiated gradients raise the price of a violated constraint, the
 * learner answers with the best classifier at these prices, a cost-sensitive fit of relabelled and weighted rows. The
 * result is a mixture: a row is decided by a classifier drawn at random with the mixture's weights.
 *
 * Constraint: in each event (all rows; rows with a label) each group's rate of favourable decisions differs from all
 * rows' by at most `bound`. So two groups differ by at most 2 bound, on the rows it was fitted to and within the gap;
 * nothing is promised on other rows. Groups below the fairness settings' minimum_group, and those without rows in an
 * event, are not constrained and counted. */
#pragma once

#include "drift/fairness_mitigation.h"
#include "drift/learner.h"

G_BEGIN_DECLS

typedef struct {
  DriftParity parity;   /* SELECTION: demographic parity; ODDS: equalised odds; TPR, FPR: one half of it */
  double bound;         /* difference of a rate from that of all rows; .01 */
  double epsilon;       /* prices sum to 1/epsilon at most: by so much the bound may be missed; .01 */
  double step;          /* of the gradient, times epsilon; 2 */
  guint max_iterations; /* 50 */
  guint64 seed;         /* of the learner; 1 */
} DriftReductionSettings;
void drift_reduction_settings_init(DriftReductionSettings *settings);

typedef struct _DriftReduction DriftReduction;

typedef struct {
  guint n_classifiers;      /* with a weight above 0 */
  guint n_fits, iterations; /* how often the learner was asked; steps taken */
  guint n_unconstrained;    /* pairs of group and event without a constraint */
  double error;             /* share of rows decided wrong, expected over the mixture */
  double violation;         /* largest |group's rate - all rows' rate| of the mixture */
  double gap;               /* of the game: error and violation * 1/epsilon are within it of the best there is */
} DriftReductionSummary;

/* features: one row for each row of the fairness table. Rows left out of the table take no part. INVALID for settings
 * out of range or a learner without weights, MISMATCH for other rows, UNDEFINED when no two groups are left to
 * constrain; what the learner says else. O(iterations * (fit + rows)). */
DriftReduction *drift_reduction_fit(const DriftFairness *fairness, const DriftMatrix *features,
                                    const DriftLearner *learner, const DriftReductionSettings *settings,
                                    GError **error);
void drift_reduction_free(DriftReduction *reduction);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftReduction, drift_reduction_free)
void drift_reduction_get_summary(const DriftReduction *reduction, DriftReductionSummary *summary);
/* Probability of a favourable decision, [features->n]: the weight of the classifiers that decide so. */
gboolean drift_reduction_predict(const DriftReduction *reduction, const DriftMatrix *features, double *probabilities,
                                 GError **error);

G_END_DECLS
