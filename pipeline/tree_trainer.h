/* Boosted trees from a table to ONNX bytes: what pipeline_train does for --arch trees, and for a given ensemble. */
#pragma once

#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* The architecture is "trees…" (pipeline/tree_options.h), or the model to start from is an ensemble of trees. */
gboolean pipeline_tree_is_asked(const PipelineTrainOptions *options);
/* As pipeline_train. Of the options: from (boosting continues: rounds are added to its trees), epochs (rounds, unless
 * 0), patience (unless 0), validation, test, shuffle, seed, weights, reweigh, balanced, monotone, checkpoint. INVALID
 * for adversarial training, a backend, or a constraint on a column that is not numeric. */
gboolean pipeline_tree_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                             PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                             GError **error);

G_END_DECLS
