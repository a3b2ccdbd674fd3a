/* Checkpoints of a graph's training as safetensors (https://github.com/huggingface/safetensors), at any batch.
 *
 * Tensors: "parameters/NAME" for every trained initialiser (F32, its shape), and the flat arrays "m", "v", "average",
 * "best", "statistics", "average_statistics", "best_statistics" that the training uses; "random", "epoch_random"
 * (U64 [4]). "__metadata__": counters and losses (doubles as C hexadecimal floats: exact), the fingerprint of data and
 * options, and the environment: what the bits of a result depend on.
 */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

/* "threads 1, backend onednn 2.6.3, isa avx512_core, libm 2.36, kedge 0.1.0", in front of it "processes 2, " when there
 * are several; free with g_free. */
gchar *pipeline_checkpoint_environment(const PipelineGradientBackend *backend, guint processes);
/* Replaces the file by temp + fsync + rename. */
gboolean pipeline_graph_checkpoint_write(const gchar *path, const PipelineGraphFitState *state,
                                         const PipelineGraphPlan *plan, const OnnxGraph *graph,
                                         const gchar *fingerprint, const gchar *environment, GError **error);
/* Reads the file into `state` (untouched on failure). *found FALSE: there is no file. *written_in: the environment that
 * wrote it when that differs from `environment` (then the continued training is sound, but not the same to the bit),
 * else NULL; free with g_free. INVALID when the file is damaged or of another training: the message says to remove
 * it. */
gboolean pipeline_graph_checkpoint_read(const gchar *path, PipelineGraphFitState *state, const PipelineGraphPlan *plan,
                                        const gchar *fingerprint, const gchar *environment, gboolean *found,
                                        gchar **written_in, GError **error);

G_END_DECLS
