#include "pipeline/cuda_monitor.h"

#include <check.h>
#include <math.h>
#include <string.h>

/* Two devices whose figures tell them apart; a call can fail. */
static unsigned devices;
static int opened, fails;
static int handles[2];

static int init(void)
{
  opened++;
  return 0;
}
static int shut_down(void)
{
  opened--;
  return 0;
}
static int count(unsigned *n)
{
  *n = devices;
  return 0;
}
static int by_index(unsigned index, void **device)
{
  if (index >= devices) return 2;
  *device = &handles[index];
  return 0;
}
static int by_uuid(const char *uuid, void **device)
{
  if (strcmp(uuid, "GPU-b") != 0) return 6;
  *device = &handles[1];
  return 0;
}
static int utilisation(void *device, unsigned *both)
{
  both[0] = device == &handles[1] ? 71 : 70;
  both[1] = 5;
  return 0;
}
static int memory(void *device, guint64 *bytes)
{
  (void)device;
  bytes[0] = 80ull << 30;
  bytes[1] = 79ull << 30;
  bytes[2] = 1ull << 30;
  return 0;
}
static int temperature(void *device, int sensor, unsigned *celsius)
{
  (void)device;
  *celsius = 41;
  return sensor == 0 ? fails : 1;
}

static const PipelineNvml nvml = {init, shut_down, count, by_index, by_uuid, utilisation, memory, temperature};

static const struct {
  unsigned devices;
  guint number;
  const gchar *visible, *order;
  double utilisation; /* NaN: no monitor */
} rows[] = {
    {1, 0, NULL, NULL, 70},
    {0, 0, NULL, NULL, NAN},
    {2, 0, NULL, NULL, NAN}, /* CUDA's first is the fastest, NVML's the first on the bus */
    {2, 0, NULL, "FASTEST_FIRST", NAN},
    {2, 1, NULL, "PCI_BUS_ID", 71},
    {2, 0, "1", "PCI_BUS_ID", 71},
    {2, 1, "1", "PCI_BUS_ID", NAN},
    {2, 1, "GPU-a, GPU-b", NULL, 71},
    {2, 0, "GPU-a,GPU-b", NULL, NAN},
    {1, 0, "", NULL, NAN},
    {1, 0, "MIG-1", NULL, NAN},
};

START_TEST(the_device_is_certain_or_none)
{
  devices = rows[_i].devices;
  g_autoptr(PipelineCudaMonitor) monitor =
      pipeline_cuda_monitor_new(&nvml, rows[_i].number, rows[_i].visible, rows[_i].order);
  ck_assert_int_eq(monitor != NULL, !isnan(rows[_i].utilisation));
  ck_assert_int_eq(opened, monitor != NULL);
  PipelineCudaFigures figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(monitor == NULL ? isnan(figures.utilisation_percent) : figures.utilisation_percent == rows[_i].utilisation);
}
END_TEST

START_TEST(figures_have_their_units)
{
  devices = 1;
  g_autoptr(PipelineCudaMonitor) monitor = pipeline_cuda_monitor_new(&nvml, 0, NULL, NULL);
  PipelineCudaFigures figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(figures.memory_mib == 1024 && figures.temperature_celsius == 41);
  fails = 3; /* NVML_ERROR_NOT_SUPPORTED */
  figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(figures.memory_mib == 1024 && isnan(figures.temperature_celsius));
}
END_TEST

START_TEST(without_nvml_nothing_is_said)
{
  ck_assert(pipeline_cuda_monitor_new(NULL, 0, NULL, NULL) == NULL);
  ck_assert(isnan(pipeline_cuda_monitor_read(NULL).memory_mib));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("cuda_monitor");
  TCase *tcase = tcase_create("cuda_monitor");
  tcase_add_loop_test(tcase, the_device_is_certain_or_none, 0, G_N_ELEMENTS(rows));
  tcase_add_test(tcase, figures_have_their_units);
  tcase_add_test(tcase, without_nvml_nothing_is_said);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
