/* The game of fairness_reduction.h: rows as constraints, the learner's answers, what a mixture of them is worth. Names
 * follow the paper: lambda the prices, gamma a classifier's violations, nu the gap at which it stops. */
#pragma once

#include "drift/fairness_reduction.h"

G_BEGIN_DECLS

#define DRIFT_REDUCTION_PRECISION 1e-8 /* a classifier is new when it is better by this */

/* One constraint pair: a group in an event, from above and from below. */
typedef struct {
  guint32 group;
  guint8 event;
  double n; /* rows */
} DriftReductionCell;

/* An answer of the learner; a constant where all rows were relabelled alike. */
typedef struct {
  gpointer model; /* NULL: constant */
  gboolean constant;
  double error;
  double *gamma; /* [n_cells] the group's rate less the event's */
} DriftReductionClassifier;

typedef struct {
  const DriftLearner *learner;
  DriftReductionSettings settings;
  DriftMatrix features; /* of the rows kept */
  double *values;       /* owned, features' */
  gint8 *label;         /* [n] */
  guint16 *cell;        /* [n] */
  guint8 *event;        /* [n] */
  GArray *cells;        /* of DriftReductionCell */
  double event_rows[2];
  gboolean complete[2];   /* all of the event's rows are constrained */
  GPtrArray *classifiers; /* of DriftReductionClassifier* */
  guint n_fits, n_unconstrained;
  double *targets, *weights, *scores; /* [n], of the fit at hand */
} DriftReductionGame;

void drift_reduction_game_init(DriftReductionGame *game, const DriftFairness *fairness, const DriftMatrix *features);
void drift_reduction_game_clear(DriftReductionGame *game);
void drift_reduction_classifiers_free(GPtrArray *classifiers, const DriftLearner *learner);
const DriftReductionCell *drift_reduction_cell(const DriftReductionGame *game, guint i);
/* The best classifier at these prices, of those known and the learner's answer; -1 with error. lambda[2 n_cells]: from
 * above, from below. */
gint drift_reduction_best_response(DriftReductionGame *game, const double *lambda, GError **error);

typedef struct {
  double error, violation; /* of a mixture; the largest |gamma| */
  double lagrangian, highest, lowest;
} DriftReductionStanding;
/* Error and Lagrangian of a mixture (of the first `length` classifiers) at the mean prices. */
void drift_reduction_evaluate(const DriftReductionGame *game, const double *mixture, guint length, const double *lambda,
                              DriftReductionStanding *standing);
double drift_reduction_gap(const DriftReductionStanding *standing);

G_END_DECLS
