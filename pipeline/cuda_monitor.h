/* What NVIDIA's management library (NVML) says of the device that trains. The only place that knows it:
 * libnvidia-ml.so.1 comes with the driver and is loaded at run time. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* NaN: not said. Memory is that of all programs on the device. */
typedef struct {
  double utilisation_percent; /* share of NVML's last sample period in which a kernel ran */
  double memory_mib, temperature_celsius;
} PipelineCudaFigures;

/* The calls, named and numbered as in NVIDIA's NVML API reference (nvml.h, version 2 of the interface); 0: success. */
typedef struct {
  int (*init)(void);                                /* nvmlInit_v2 */
  int (*shutdown)(void);                            /* nvmlShutdown */
  int (*count)(unsigned *devices);                  /* nvmlDeviceGetCount_v2 */
  int (*by_index)(unsigned index, void **device);   /* nvmlDeviceGetHandleByIndex_v2 */
  int (*by_uuid)(const char *uuid, void **device);  /* nvmlDeviceGetHandleByUUID */
  int (*by_bus)(const char *id, void **device);     /* nvmlDeviceGetHandleByPciBusId_v2 */
  int (*utilisation)(void *device, unsigned *both); /* nvmlDeviceGetUtilizationRates: percent [2], kernels, memory */
  int (*memory)(void *device, guint64 *bytes);      /* nvmlDeviceGetMemoryInfo: bytes [3], total, free, used */
  int (*temperature)(void *device, int sensor, unsigned *celsius); /* nvmlDeviceGetTemperature */
} PipelineNvml;

/* NULL: it is not installed or lacks a call. Static storage of the process; loaded once. */
const PipelineNvml *pipeline_nvml_load(void);

typedef struct _PipelineCudaMonitor PipelineCudaMonitor;
/* Of CUDA's device `number` (counted from 0 as CUDA does). bus: where CUDA says it sits, or NULL. visible, order:
 * CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, or NULL. NULL where nvml is, or where it is not certain which of several
 * devices is meant: without bus, CUDA numbers them by speed unless order is PCI_BUS_ID, or the device is named by its
 * UUID; a part of a device (MIG) has no figures of its own. */
PipelineCudaMonitor *pipeline_cuda_monitor_new(const PipelineNvml *nvml, const gchar *bus, guint number,
                                               const gchar *visible, const gchar *order);
/* Which of the devices at these places of the bus has the most free memory, the first of equals; 0 where nvml is NULL
 * or says nothing. ids: NULL-terminated. */
guint pipeline_cuda_monitor_choose(const PipelineNvml *nvml, const gchar *const *ids);
void pipeline_cuda_monitor_free(PipelineCudaMonitor *monitor); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineCudaMonitor, pipeline_cuda_monitor_free)
/* Monitor NULL: all NaN. */
PipelineCudaFigures pipeline_cuda_monitor_read(const PipelineCudaMonitor *monitor);

G_END_DECLS
