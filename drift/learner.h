/* A learner as a function table: drift/ needs models (who tells two samples apart, which loss a row will have) and
 * includes no library of them. */
#pragma once

#include <glib.h>

#include "drift/matrix.h"

G_BEGIN_DECLS

typedef enum { DRIFT_GOAL_PROBABILITY /* targets 0 and 1 */, DRIFT_GOAL_VALUE } DriftGoal;

typedef struct {
  const gchar *name;
  const gchar *summary;
  gboolean takes_missing; /* NaN among the features */
  /* A model, or NULL with error. The same data and seed give the same model. */
  gpointer (*fit)(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed, GError **error);
  /* predictions: [features->n], untouched on failure. */
  gboolean (*predict)(gconstpointer model, const DriftMatrix *features, double *predictions, GError **error);
  void (*free)(gpointer model);
  /* As fit, with a weight a row, >= 0 ([features->n]; NULL: all 1). NULL: the learner takes no weights. */
  gpointer (*fit_weighted)(const DriftMatrix *features, const double *targets, const double *weights, DriftGoal goal,
                           guint64 seed, GError **error);
} DriftLearner;

/* Logistic regression by Newton's method, ridge penalty |w|^2 / 2 on the coefficients (not the intercept), as
 * scikit-learn's default C = 1. DRIFT_GOAL_PROBABILITY only. */
extern const DriftLearner drift_learner_logistic;

G_END_DECLS
