/* What a search found, as JSON. */
#pragma once

#include "pipeline/search_state.h"

G_BEGIN_DECLS

/* Trials that have a loss and did not fail, lowest loss first; new: [{"rank", "trial", "family", "parameters", "state"
 * ("finished", "stopped": halved, or its process was ended by the budget), "loss", "metric", "standard_error", "unit",
 * "epochs", "best_epoch", "seconds", "bytes", "latency_us", "auc", "pareto"}]. metric: accuracy, or -rmse, of the best
 * epoch on n_validation rows; standard_error: of an accuracy, sqrt(a (1 - a) / n), else null. bytes, latency_us and auc
 * are null without a model. pareto: a finished trial that no other one beats in loss, latency and bytes at once (at
 * least as good in all, better in one). */
json_t *pipeline_search_board(const PipelineSearchState *state, guint64 n_validation);
/* [{"trial", "family", "parameters", "reason"}] of those that failed; new. */
json_t *pipeline_search_failures(const PipelineSearchState *state);

G_END_DECLS
