#include "pipeline/cuda_plugin.h"

#include "pipeline/plugin.h"

static const PipelinePlugin plugin = {.library = "libkedge-cuda.so",
                                      .variable = "KEDGE_CUDA_PLUGIN",
                                      .symbol = PIPELINE_CUDA_SYMBOL,
                                      .abi = PIPELINE_CUDA_ABI,
                                      .size = sizeof(PipelineCudaTable)};

gboolean pipeline_cuda_plugin_is_installed(void)
{
  return pipeline_plugin_is_installed(&plugin);
}

const PipelineCudaTable *pipeline_cuda_plugin_load(GError **error)
{
  return pipeline_plugin_load(&plugin, error);
}
