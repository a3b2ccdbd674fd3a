#include "pipeline/cuda_monitor.h"

#include <check.h>
#include <math.h>
#include <string.h>

/* Two devices whose figures tell them apart; a call can fail. */
static unsigned devices;
static int opened, fails;
static guint64 second_used; /* GiB of the second; 0: as the first */
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
static int by_bus(const char *id, void **device)
{
  for (int i = 0; i < 2; i++)
    if (strcmp(id, i == 0 ? "0000:17:00.0" : "0000:65:00.0") == 0) {
      *device = &handles[i];
      return 0;
    }
  return 6;
}
static int utilisation(void *device, unsigned *both)
{
  both[0] = device == &handles[1] ? 71 : 70;
  both[1] = 5;
  return 0;
}
static int memory(void *device, guint64 *bytes)
{
  guint64 used = device == &handles[1] && second_used > 0 ? second_used : 1;
  bytes[0] = 80ull << 30;
  bytes[1] = (80 - used) << 30;
  bytes[2] = used << 30;
  return 0;
}
static int temperature(void *device, int sensor, unsigned *celsius)
{
  (void)device;
  *celsius = 41;
  return sensor == 0 ? fails : 1;
}

static const PipelineNvml nvml = {init, shut_down, count, by_index, by_uuid, by_bus, utilisation, memory, temperature};

static const struct {
  unsigned devices;
  guint number;
  const gchar *bus, *visible, *order;
  double utilisation; /* NaN: no monitor */
} rows[] = {
    {1, 0, NULL, NULL, NULL, 70},
    {0, 0, NULL, NULL, NULL, NAN},
    {2, 0, NULL, NULL, NULL, NAN}, /* CUDA's first is the fastest, NVML's the first on the bus */
    {2, 0, NULL, NULL, "FASTEST_FIRST", NAN},
    {2, 1, NULL, NULL, "PCI_BUS_ID", 71},
    {2, 0, NULL, "1", "PCI_BUS_ID", 71},
    {2, 1, NULL, "1", "PCI_BUS_ID", NAN},
    {2, 1, NULL, "GPU-a, GPU-b", NULL, 71},
    {2, 0, NULL, "GPU-a,GPU-b", NULL, NAN},
    {1, 0, NULL, "", NULL, NAN},
    {1, 0, NULL, "MIG-1", NULL, NAN},
    {2, 0, "0000:65:00.0", NULL, NULL, 71}, /* CUDA's own word */
    {2, 0, "0000:65:00.0", "MIG-1", NULL, NAN},
    {1, 0, "0000:99:00.0", NULL, NULL, 70},
};

START_TEST(the_device_is_certain_or_none)
{
  devices = rows[_i].devices;
  g_autoptr(PipelineCudaMonitor) monitor =
      pipeline_cuda_monitor_new(&nvml, rows[_i].bus, rows[_i].number, rows[_i].visible, rows[_i].order);
  ck_assert_int_eq(monitor != NULL, !isnan(rows[_i].utilisation));
  ck_assert_int_eq(opened, monitor != NULL);
  PipelineCudaFigures figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(monitor == NULL ? isnan(figures.utilisation_percent) : figures.utilisation_percent == rows[_i].utilisation);
}
END_TEST

START_TEST(figures_have_their_units)
{
  devices = 1;
  g_autoptr(PipelineCudaMonitor) monitor = pipeline_cuda_monitor_new(&nvml, NULL, 0, NULL, NULL);
  PipelineCudaFigures figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(figures.memory_mib == 1024 && figures.temperature_celsius == 41);
  fails = 3; /* NVML_ERROR_NOT_SUPPORTED */
  figures = pipeline_cuda_monitor_read(monitor);
  ck_assert(figures.memory_mib == 1024 && isnan(figures.temperature_celsius));
}
END_TEST

START_TEST(without_nvml_nothing_is_said)
{
  ck_assert(pipeline_cuda_monitor_new(NULL, NULL, 0, NULL, NULL) == NULL);
  ck_assert(isnan(pipeline_cuda_monitor_read(NULL).memory_mib));
}
END_TEST

START_TEST(the_device_with_the_most_free_memory_is_chosen)
{
  const gchar *const ids[] = {"0000:17:00.0", "0000:65:00.0", NULL}, *const turned[] = {ids[1], ids[0], NULL},
                     *const unknown[] = {"", ids[1], NULL};
  devices = 2;
  ck_assert_uint_eq(pipeline_cuda_monitor_choose(&nvml, ids), 0); /* equals: the first */
  second_used = 30;
  ck_assert_uint_eq(pipeline_cuda_monitor_choose(&nvml, ids), 0);
  ck_assert_uint_eq(pipeline_cuda_monitor_choose(&nvml, turned), 1);
  ck_assert_uint_eq(pipeline_cuda_monitor_choose(&nvml, unknown), 1);
  ck_assert_uint_eq(pipeline_cuda_monitor_choose(NULL, turned), 0);
  ck_assert_int_eq(opened, 0);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("cuda_monitor");
  TCase *tcase = tcase_create("cuda_monitor");
  tcase_add_loop_test(tcase, the_device_is_certain_or_none, 0, G_N_ELEMENTS(rows));
  tcase_add_test(tcase, figures_have_their_units);
  tcase_add_test(tcase, without_nvml_nothing_is_said);
  tcase_add_test(tcase, the_device_with_the_most_free_memory_is_chosen);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
