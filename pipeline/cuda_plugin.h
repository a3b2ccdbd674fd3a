/* Finds and loads libkedge-cuda.so: the only place that knows where it lies. The programs never link CUDA. */
#pragma once

#include <glib.h>

#include "pipeline/cuda/device.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

gboolean pipeline_cuda_plugin_is_installed(void); /* there is a file; it need not load */
/* The first that is there of: $KEDGE_CUDA_PLUGIN; libkedge-cuda.so beside the program; ../lib/kedge/ from there. Stays
 * loaded. NULL with UNSUPPORTED in one line: it is not there, a library of NVIDIA's that it needs is not, or it belongs
 * to another version. */
const PipelineCudaTable *pipeline_cuda_plugin_load(GError **error);

G_END_DECLS
