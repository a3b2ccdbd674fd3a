/* Which device is opened, and when. */
#include "pipeline/cuda/nodes.h"

#include <string.h>

#define BUS_ID_BYTES 32

static void forget(gpointer data)
{
  PipelineCuda *cuda = data;
  cuda->table->close(cuda->device);
  g_free(cuda);
}

/* One a thread: a stream serves one thread at a time. */
static GPrivate opened = G_PRIVATE_INIT(forget);

/* KEDGE_CUDA_DEVICE, or *number -1. */
static gboolean read_number(gint *number, GError **error)
{
  const gchar *text = g_getenv("KEDGE_CUDA_DEVICE");
  gint64 value = -1;
  *number = -1;
  if (text == NULL || *text == '\0') return TRUE;
  if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT, &value, NULL)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "KEDGE_CUDA_DEVICE is '%s': give the number of a device, 0 for the first", text);
    return FALSE;
  }
  *number = (gint)value;
  return TRUE;
}

/* KEDGE_CUDA_MEMORY, or 0: no limit. */
static gboolean read_limit(gsize *bytes, GError **error)
{
  const gchar *text = g_getenv("KEDGE_CUDA_MEMORY");
  guint64 value = 0;
  *bytes = 0;
  if (text == NULL || *text == '\0') return TRUE;
  if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXSIZE, &value, NULL)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "KEDGE_CUDA_MEMORY is '%s': give the bytes of the device that a training may take", text);
    return FALSE;
  }
  *bytes = value;
  return TRUE;
}

/* The one with the most free memory as NVML says it; the first where nobody says it. */
static gint choose(const PipelineCudaTable *table)
{
  gint n = table->count();
  g_auto(GStrv) ids = NULL;
  if (n < 2) return 0;
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  for (gint i = 0; i < n; i++) {
    gchar id[BUS_ID_BYTES];
    g_ptr_array_add(list, g_strdup(table->bus_id(i, id, sizeof id) == 0 ? id : ""));
  }
  g_ptr_array_add(list, NULL);
  ids = (gchar **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
  return (gint)pipeline_cuda_monitor_choose(pipeline_nvml_load(), (const gchar *const *)ids);
}

static PipelineCuda *open_number(const PipelineCudaTable *table, gint number, gsize limit, GError **error)
{
  gchar message[512] = "no CUDA device";
  PipelineCudaDevice *device = table->open(number, message, sizeof message);
  if (device == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, message);
    return NULL;
  }
  PipelineCuda *cuda = g_new(PipelineCuda, 1);
  *cuda = (PipelineCuda){.table = table, .device = device, .number = number, .limit = limit};
  table->memory_limit(device, limit);
  return cuda;
}

gpointer pipeline_cuda_open(GError **error)
{
  gint number;
  gsize limit;
  PipelineCuda *cuda = g_private_get(&opened);
  if (!read_number(&number, error) || !read_limit(&limit, error)) return NULL;
  const PipelineCudaTable *table = pipeline_cuda_plugin_load(error);
  if (table == NULL) return NULL;
  gboolean fits = cuda != NULL && cuda->table == table && (number < 0 || number == cuda->number);
  if (!fits && cuda != NULL && cuda->references > 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "another CUDA device is in use: number %d",
                cuda->number);
    return NULL;
  }
  if (!fits) {
    g_private_replace(&opened, NULL); /* closes */
    cuda = open_number(table, number >= 0 ? number : choose(table), limit, error);
    if (cuda == NULL) return NULL;
    g_private_set(&opened, cuda);
  }
  if (cuda->references++ == 0) {
    cuda->limit = limit;
    table->memory_limit(cuda->device, limit);
  }
  return cuda;
}

void pipeline_cuda_close(gpointer device)
{
  PipelineCuda *cuda = device;
  if (--cuda->references == 0) cuda->table->memory_trim(cuda->device);
}

gchar *pipeline_cuda_describe(void)
{
  g_autoptr(GError) error = NULL;
  PipelineCuda *cuda = pipeline_cuda_open(&error);
  if (cuda == NULL) return g_strdup("cuda");
  gchar *text = g_strdup_printf("cuda, %s", cuda->table->describe(cuda->device));
  pipeline_cuda_close(cuda);
  return text;
}

PipelineCudaMonitor *pipeline_cuda_open_monitor(void)
{
  const PipelineCuda *cuda = g_private_get(&opened);
  gchar id[BUS_ID_BYTES];
  gint number;
  if (cuda == NULL && !read_number(&number, NULL)) return NULL;
  number = cuda != NULL ? cuda->number : MAX(number, 0);
  gboolean known = cuda != NULL && cuda->table->bus_id(number, id, sizeof id) == 0;
  return pipeline_cuda_monitor_new(pipeline_nvml_load(), known ? id : NULL, (guint)number,
                                   g_getenv("CUDA_VISIBLE_DEVICES"), g_getenv("CUDA_DEVICE_ORDER"));
}
