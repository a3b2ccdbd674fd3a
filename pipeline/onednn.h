/* oneDNN 2.6 as a training backend. dnnl.h is included by onednn.c alone: the C API of oneDNN 3 differs. */
#pragma once

#include "pipeline/network.h"

G_BEGIN_DECLS

/* Plain master weights; the library chooses the layout that each primitive works on. Primitives are cached per layer
 * and batch size. One thread: OpenMP is set to one in the thread that opens it (two collapse on a loaded machine). */
extern const PipelineNetworkBackend pipeline_network_backend_onednn;
/* The library brings its OpenMP runtime along, and two of its threads collapse on a loaded machine. Holds for the
 * calling thread. */
void pipeline_onednn_use_one_thread(void);

G_END_DECLS
