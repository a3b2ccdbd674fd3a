#include "pipeline/cuda_monitor.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>

#define LIBRARY "libnvidia-ml.so.1"
#define SENSOR_GPU 0 /* NVML_TEMPERATURE_GPU */
#define MIB 1048576.0

struct _PipelineCudaMonitor {
  const PipelineNvml *nvml;
  void *device;
};

static const struct {
  const gchar *symbol;
  gsize offset;
} symbols[] = {
    {"nvmlInit_v2", G_STRUCT_OFFSET(PipelineNvml, init)},
    {"nvmlShutdown", G_STRUCT_OFFSET(PipelineNvml, shutdown)},
    {"nvmlDeviceGetCount_v2", G_STRUCT_OFFSET(PipelineNvml, count)},
    {"nvmlDeviceGetHandleByIndex_v2", G_STRUCT_OFFSET(PipelineNvml, by_index)},
    {"nvmlDeviceGetHandleByUUID", G_STRUCT_OFFSET(PipelineNvml, by_uuid)},
    {"nvmlDeviceGetHandleByPciBusId_v2", G_STRUCT_OFFSET(PipelineNvml, by_bus)},
    {"nvmlDeviceGetUtilizationRates", G_STRUCT_OFFSET(PipelineNvml, utilisation)},
    {"nvmlDeviceGetMemoryInfo", G_STRUCT_OFFSET(PipelineNvml, memory)},
    {"nvmlDeviceGetTemperature", G_STRUCT_OFFSET(PipelineNvml, temperature)},
};

static gboolean load(PipelineNvml *nvml)
{
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(symbols); i++) {
    void *function = dlsym(library, symbols[i].symbol);
    if (function == NULL) {
      dlclose(library);
      return FALSE;
    }
    memcpy((gchar *)nvml + symbols[i].offset, &function, sizeof function);
  }
  return TRUE;
}

const PipelineNvml *pipeline_nvml_load(void)
{
  static PipelineNvml nvml;
  static gsize state; /* 0: not tried, 1: there, 2: not there */
  if (g_once_init_enter(&state)) g_once_init_leave(&state, load(&nvml) ? 1 : 2);
  return state == 1 ? &nvml : NULL;
}

/* The entry of CUDA_VISIBLE_DEVICES, or the number itself. NULL: none such. */
static gchar *name_device(guint number, const gchar *visible)
{
  if (visible == NULL) return g_strdup_printf("%u", number);
  g_auto(GStrv) names = g_strsplit(visible, ",", -1);
  return number < g_strv_length(names) ? g_strdup(g_strstrip(names[number])) : NULL;
}

static gboolean find(const PipelineNvml *nvml, const gchar *bus, guint number, const gchar *visible, const gchar *order,
                     void **device)
{
  g_autofree gchar *name = name_device(number, visible);
  unsigned n = 0;
  guint64 index;
  if (name == NULL || nvml->count(&n) != 0) return FALSE;
  if (g_str_has_prefix(name, "MIG-")) return FALSE;
  if (bus != NULL && nvml->by_bus(bus, device) == 0) return TRUE;
  if (g_str_has_prefix(name, "GPU-")) return nvml->by_uuid(name, device) == 0;
  if (!g_ascii_string_to_unsigned(name, 10, 0, G_MAXUINT, &index, NULL) || index >= n) return FALSE;
  if (n > 1 && g_strcmp0(order, "PCI_BUS_ID") != 0) return FALSE;
  return nvml->by_index((unsigned)index, device) == 0;
}

PipelineCudaMonitor *pipeline_cuda_monitor_new(const PipelineNvml *nvml, const gchar *bus, guint number,
                                               const gchar *visible, const gchar *order)
{
  void *device = NULL;
  if (nvml == NULL || nvml->init() != 0) return NULL;
  if (!find(nvml, bus, number, visible, order, &device)) {
    nvml->shutdown();
    return NULL;
  }
  PipelineCudaMonitor *monitor = g_new(PipelineCudaMonitor, 1);
  *monitor = (PipelineCudaMonitor){.nvml = nvml, .device = device};
  return monitor;
}

guint pipeline_cuda_monitor_choose(const PipelineNvml *nvml, const gchar *const *ids)
{
  guint best = 0;
  guint64 most = 0;
  if (nvml == NULL || nvml->init() != 0) return 0;
  for (guint i = 0; ids[i] != NULL; i++) {
    void *device = NULL;
    guint64 bytes[3];
    if (nvml->by_bus(ids[i], &device) != 0 || nvml->memory(device, bytes) != 0 || bytes[1] <= most) continue;
    most = bytes[1];
    best = i;
  }
  nvml->shutdown();
  return best;
}

void pipeline_cuda_monitor_free(PipelineCudaMonitor *monitor)
{
  if (monitor == NULL) return;
  monitor->nvml->shutdown();
  g_free(monitor);
}

PipelineCudaFigures pipeline_cuda_monitor_read(const PipelineCudaMonitor *monitor)
{
  PipelineCudaFigures figures = {NAN, NAN, NAN};
  unsigned rates[2], celsius;
  guint64 bytes[3];
  if (monitor == NULL) return figures;
  const PipelineNvml *nvml = monitor->nvml;
  if (nvml->utilisation(monitor->device, rates) == 0) figures.utilisation_percent = rates[0];
  if (nvml->memory(monitor->device, bytes) == 0) figures.memory_mib = (double)bytes[2] / MIB;
  if (nvml->temperature(monitor->device, SENSOR_GPU, &celsius) == 0) figures.temperature_celsius = celsius;
  return figures;
}
