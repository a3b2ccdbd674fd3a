/* Checkpoints of a fit as safetensors (https://github.com/huggingface/safetensors): tensors "parameters", "moment",
 * "square", "best" (F32 [n_parameters]), "random" (U64 [4]) and, as text in "__metadata__", the counters, losses and
 * the fingerprint of the training they belong to. Doubles are written as C hexadecimal floats: exact. */
#pragma once

#include "pipeline/trainer_fit.h"

G_BEGIN_DECLS

/* Replaces the file by temp + fsync + rename. */
gboolean pipeline_checkpoint_write(const gchar *path, const PipelineFitState *state, const gchar *fingerprint,
                                   GError **error);
/* Reads the file into `state` (untouched on failure). *found FALSE: there is no file. INVALID when it is damaged or of
 * another training (other data, options or architecture): the message says to remove it. */
gboolean pipeline_checkpoint_read(const gchar *path, PipelineFitState *state, const gchar *fingerprint, gboolean *found,
                                  GError **error);

G_END_DECLS
