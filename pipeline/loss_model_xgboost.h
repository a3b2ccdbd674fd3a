/* Boosted trees (XGBoost) as the learner that drift/ asks for: the loss model of direct loss estimation, and the
 * classifier that tells two samples apart. Missing features are NaN. One thread, histogram splits, 100 rounds of depth
 * 6, rate .1, at least 20 rows' weight a leaf: the same data and seed give the same model. Features and predictions are
 * single precision inside. */
#pragma once

#include "drift/learner.h"

G_BEGIN_DECLS

extern const DriftLearner pipeline_loss_model_xgboost;

G_END_DECLS
