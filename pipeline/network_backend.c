#include "pipeline/network.h"

#include "pipeline/onednn.h"

const PipelineNetworkBackend *const pipeline_network_backends[] = {
    &pipeline_network_backend_onednn,
    &pipeline_network_backend_reference,
    NULL,
};

static gboolean opens(const PipelineNetworkBackend *backend, GError **error)
{
  gpointer state = backend->open(error);
  if (!state) return FALSE;
  backend->close(state);
  return TRUE;
}

const PipelineNetworkBackend *pipeline_network_backend_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new(NULL);
  for (guint i = 0; pipeline_network_backends[i]; i++) {
    const PipelineNetworkBackend *backend = pipeline_network_backends[i];
    if (!name && opens(backend, NULL)) return backend;
    if (name && g_str_equal(backend->name, name)) return opens(backend, error) ? backend : NULL;
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", backend->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no training backend \"%s\"; there are %s",
              name ? name : "(any)", known->str);
  return NULL;
}
