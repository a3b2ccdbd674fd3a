/* Loads libkedge-cuda.so (pipeline/plugin.h; KEDGE_CUDA_PLUGIN can name it). The programs never link CUDA. */
#pragma once

#include <glib.h>

#include "pipeline/cuda/device.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

gboolean pipeline_cuda_plugin_is_installed(void); /* there is a file; it need not load */
/* NULL with UNSUPPORTED in one line: see pipeline_plugin_load. */
const PipelineCudaTable *pipeline_cuda_plugin_load(GError **error);

G_END_DECLS
