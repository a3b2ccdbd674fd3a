/* What prune.c, prune_weights.c and prune_units.c share. */
#pragma once

#include "pipeline/graph_trainer.h"
#include "pipeline/prune.h"

G_BEGIN_DECLS

void pipeline_pruned_add(PipelinePruned *result, const gchar *name, guint64 n, guint64 n_left);
GBytes *pipeline_prune_to_bytes(const OnnxGraph *graph, GError **error);
/* Fine-tuning of all that the options ask for; options->fit is the caller's. Replaces *onnx. */
gboolean pipeline_prune_train(GBytes **onnx, const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options,
                              PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                              GError **error);
void pipeline_prune_train_options(const PipelinePruneOptions *options, PipelineGraphTrainOptions *train);

GBytes *pipeline_prune_weights(GBytes *onnx, const PipelineGraphRows *rows, const PipelinePruneOptions *options,
                               PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                               GError **error);
GBytes *pipeline_prune_units(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                             const PipelineGraphRows *rows, const PipelinePruneOptions *options,
                             PipelineTrainProgressFunc progress, gpointer user_data, PipelinePruned *result,
                             GError **error);

G_END_DECLS
