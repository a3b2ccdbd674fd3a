/* Checkpoints of boosting as safetensors: "nodes" (the tree nodes as they lie in memory: 7 words of 32 bits), "starts",
 * "outputs", "base" and, as text in "__metadata__", the counters, losses and the fingerprint of the training. */
#pragma once

#include "pipeline/tree_boost.h"

G_BEGIN_DECLS

gboolean pipeline_tree_checkpoint_write(const gchar *path, const PipelineTreeEnsemble *ensemble,
                                        const PipelineTreeState *state, const gchar *fingerprint, GError **error);
/* *ensemble new, or NULL with TRUE: there is no file. INVALID when it is damaged or of another training: the message
 * says to remove it. like: what the ensemble must look like (columns, outputs). */
gboolean pipeline_tree_checkpoint_read(const gchar *path, const PipelineTreeEnsemble *like, const gchar *fingerprint,
                                       PipelineTreeEnsemble **ensemble, PipelineTreeState *state, GError **error);

G_END_DECLS
