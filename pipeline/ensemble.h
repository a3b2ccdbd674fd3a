/* The mean of several models as one ONNX graph:
 *
 *     inputs ─▶ member_1/… ─▶ member_1/probabilities ──┐
 *     inputs ─▶ member_2/… ─▶ member_2/probabilities ──┴▶ Mean ─▶ probabilities ─▶ label      (or value, a regression)
 *
 * The log-loss and the squared error of a mean are never above the mean of its members' (Jensen), and where members
 * err differently far below: Caruana et al. 2004, "Ensemble selection from libraries of models". All have the same
 * weight: weights that are fitted to validation rows flatter the luckiest member again. */
#pragma once

#include "drift/schema.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_ENSEMBLE_KEY "kedge.ensemble" /* metadata: the number of members */
#define PIPELINE_MAX_ENSEMBLE 100u

/* members [n], 1 to PIPELINE_MAX_ENSEMBLE: models of pipeline_train for the same columns, with that schema. Of one:
 * that one. New; MODEL: one that has other inputs, or no float output "probabilities" (a regression: "value"). */
GBytes *pipeline_ensemble_new(GBytes *const *members, guint n, const DriftSchema *schema, GError **error);
/* UNSUPPORTED, with what to do instead, for such a mean: it cannot be trained on. */
gboolean pipeline_ensemble_check_single(GBytes *onnx, GError **error);

G_END_DECLS
