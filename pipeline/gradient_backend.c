#include <string.h>

#include "pipeline/gradient.h"

/* In the order of their ranks. */
const PipelineGradientBackend *const pipeline_gradient_backends[] = {
    &pipeline_gradient_backend_cuda,
    &pipeline_gradient_backend_onednn,
    &pipeline_gradient_backend_reference,
    NULL,
};

const PipelineGradientKernel *pipeline_gradient_kernel_find(const PipelineGradientBackend *backend, const gchar *name)
{
  for (const PipelineGradientKernel *row = backend->kernels; row != NULL && row->name != NULL; row++)
    if (strcmp(row->name, name) == 0) return row;
  return NULL;
}

/* --- choosing ----------------------------------------------------------------------------------------------------- */

static gboolean opens(const PipelineGradientBackend *backend, GError **error)
{
  if (backend->open == NULL) return TRUE;
  gpointer device = backend->open(error);
  if (device == NULL) return FALSE;
  backend->close(device);
  return TRUE;
}

/* A backend with memory of its own must have a kernel for every node. */
static gboolean supports_graph(const PipelineGradientBackend *backend, const OnnxGraph *graph, GError **error)
{
  for (guint i = 0; !backend->host && !backend->mirrors && graph != NULL && i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (node->domain[0] == '\0' && pipeline_gradient_kernel_find(backend, node->op_type) != NULL) continue;
    g_autofree gchar *where = onnx_node_describe(node, i);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the backend '%s' does not compute %s",
                backend->name, where);
    return FALSE;
  }
  return TRUE;
}

static gboolean is_usable(const PipelineGradientBackend *backend, const OnnxGraph *graph, GError **error)
{
  return opens(backend, error) && supports_graph(backend, graph, error);
}

/* The highest rank that is usable; the table is in the order of ranks. */
static const PipelineGradientBackend *choose_best(const OnnxGraph *graph, gchar **note)
{
  for (guint i = 0; pipeline_gradient_backends[i] != NULL; i++) {
    const PipelineGradientBackend *backend = pipeline_gradient_backends[i];
    g_autoptr(GError) error = NULL;
    if (backend->is_installed != NULL && !backend->is_installed()) continue;
    if (is_usable(backend, graph, &error)) return backend;
    if (note != NULL && *note == NULL)
      *note = g_strdup_printf("the backend '%s' is not used: %s", backend->name, error->message);
  }
  return NULL;
}

const PipelineGradientBackend *pipeline_gradient_backend_choose(const gchar *name, const OnnxGraph *graph, gchar **note,
                                                                GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  if (note != NULL) *note = NULL;
  if (name == NULL) return choose_best(graph, note); /* the reference always is */
  for (guint i = 0; pipeline_gradient_backends[i] != NULL; i++) {
    const PipelineGradientBackend *backend = pipeline_gradient_backends[i];
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", backend->name);
    if (strcmp(backend->name, name) == 0) return is_usable(backend, graph, error) ? backend : NULL;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no backend '%s' for training; known: %s", name,
              known->str);
  return NULL;
}

const PipelineGradientBackend *pipeline_gradient_backend_find(const gchar *name, const OnnxGraph *graph, GError **error)
{
  return pipeline_gradient_backend_choose(name, graph, NULL, error);
}

gchar *pipeline_gradient_backend_describe(const PipelineGradientBackend *backend)
{
  return backend->describe != NULL ? backend->describe() : g_strdup(backend->name);
}

/* --- the reference ------------------------------------------------------------------------------------------------ */

static gpointer allocate(gpointer device, gsize bytes, GError **error)
{
  (void)device;
  gpointer buffer = g_try_malloc(MAX(bytes, 1));
  if (buffer == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "not enough memory for %zu bytes; a smaller batch needs less", bytes);
  return buffer;
}

static void release(gpointer device, gpointer buffer)
{
  (void)device;
  g_free(buffer);
}

static gboolean copy(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  if (bytes > 0) memcpy(to, from, bytes);
  return TRUE;
}

static gboolean clear(gpointer device, gpointer buffer, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  memset(buffer, 0, bytes);
  return TRUE;
}

static gboolean add(gpointer device, gpointer to, gconstpointer from, gsize n, GError **error)
{
  (void)device;
  (void)error;
  float *sum = to;
  const float *term = from;
  for (gsize i = 0; i < n; i++) sum[i] += term[i];
  return TRUE;
}

const PipelineGradientMemory pipeline_gradient_memory_host = {.allocate = allocate,
                                                              .release = release,
                                                              .copy_in = copy,
                                                              .copy_out = copy,
                                                              .copy = copy,
                                                              .clear = clear,
                                                              .add = add};

/* The C library's exponentials depend on fused multiplication. */
static gchar *describe(void)
{
#ifdef __x86_64__
  return g_strdup_printf("reference, isa %s", __builtin_cpu_supports("fma") ? "x86-64 with fma" : "x86-64");
#else
  return g_strdup("reference");
#endif
}

const PipelineGradientBackend pipeline_gradient_backend_reference = {
    .name = "reference",
    .summary = "plain C, the specification",
    .rank = 1,
    .products = &pipeline_backend_reference,
    .narrow_products = &pipeline_backend_bfloat16,
    .host = TRUE,
    .memory = &pipeline_gradient_memory_host,
    .describe = describe,
};
