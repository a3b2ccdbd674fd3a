/* A model's file as one piece of bytes. The only file access of this folder. */
#pragma once

#include "onnx/graph.h"

G_BEGIN_DECLS

/* The bytes of the file; when tensors of the model lie in other files ("external data"), a model that holds them all,
 * written anew. Those files must be regular ones with one name (no hard links), beneath the model's folder, reached
 * without a symbolic link; what a tensor asks for must lie within its file. Errors name file, tensor and location.
 * limits: NULL for the usual ones. */
GBytes *onnx_file_read(const gchar *path, const OnnxLimits *limits, GError **error);

G_END_DECLS
