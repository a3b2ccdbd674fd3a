/* What a search found, as JSON. */
#pragma once

#include "pipeline/search_state.h"

G_BEGIN_DECLS

/* Trials that have a loss and did not fail, in the order of pipeline_search_ranking; new: [{"rank", "trial", "family",
 * "parameters", "state" ("finished", "stopped": halved, or its process was ended by the budget), "loss", "metric",
 * "standard_error", "unit", "epochs", "best_epoch", "seconds", "fold_loss", "fold_error" (mean loss of the folds and
 * its standard error; null: none, or not all), "bytes", "latency_us" (median of one row, over "latency_rows" calls),
 * "auc", "pareto"}]. metric: accuracy, or -rmse, of the best epoch on n_validation rows; standard_error: of an
 * accuracy, sqrt(a (1 - a) / n), else null. bytes, latency_us, latency_rows and auc are null without a model. pareto: a
 * finished trial that no other one beats in loss, latency and bytes at once (at least as good in all, better in one).
 */
json_t *pipeline_search_board(const PipelineSearchState *state, guint64 n_validation);
/* Their numbers; new. */
json_t *pipeline_search_describe_members(const GPtrArray *members);
/* [{"trial", "family", "parameters", "reason"}] of those that failed, or of which a fold did; new. */
json_t *pipeline_search_failures(const PipelineSearchState *state);

G_END_DECLS
