/* In the place of oneDNN in programs that run on machines without it: a row that never opens. */
#include "pipeline/gradient.h"

static gboolean never(GError **error)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "this program is built without oneDNN");
  return FALSE;
}

static gpointer open_never(GError **error)
{
  never(error);
  return NULL;
}

static void close_never(gpointer device)
{
  (void)device;
}

const PipelineBackend pipeline_backend_onednn = {
    .name = "onednn", .summary = "not in this program", .rank = 0, .is_available = never};

const PipelineGradientBackend pipeline_gradient_backend_onednn = {.name = "onednn",
                                                                  .summary = "not in this program",
                                                                  .rank = 0,
                                                                  .host = TRUE,
                                                                  .products = &pipeline_backend_reference,
                                                                  .memory = &pipeline_gradient_memory_host,
                                                                  .open = open_never,
                                                                  .close = close_never};
