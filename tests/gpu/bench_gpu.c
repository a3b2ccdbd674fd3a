/* Speed on a CUDA device: training, products, attacks. One line "RESULT name batch number unit" each; bench_torch.py
 * measures the same with PyTorch and prints both.
 *
 *     bench_gpu [SECONDS [NAME…]]     0.3 s a window, seven of them; all results ("resnet18-bf16": in bfloat16)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/cuda/nodes.h"
#include "pipeline/graph_device.h"
#include "pipeline/graph_fit_internal.h"
#include "tests/gpu/networks.h"
#include "tests/gpu/profile.h"

#define WINDOWS 7

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static gint by_size(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *values)
{
  qsort(values, WINDOWS, sizeof *values, by_size);
  return values[WINDOWS / 2];
}

static gboolean fail(const gchar *name, GError *error)
{
  printf("FAILED %s: %s\n", name, error != NULL ? error->message : "");
  return FALSE;
}

static void finish(const PipelineCuda *cuda)
{
  if (cuda->table->finish(cuda->device) != 0) printf("FAILED: %s\n", cuda->table->message(cuda->device));
}

/* --- training
 * --------------------------------------------------------------------------------------------------------- */

static gboolean run_steps(PipelineGraphFit *fit, guint n, GError **error)
{
  gboolean epoch_done;
  for (guint i = 0; i < n; i++)
    if (!pipeline_graph_fit_step(fit, &epoch_done, error)) return FALSE;
  finish(pipeline_graph_pass_get_device(fit->pass));
  return TRUE;
}

typedef struct {
  const gchar *name, *network; /* name: that of the result */
  guint batch, rows;
  PipelinePrecision precision;
} Measured;

static gboolean measure_training(const Measured *m, double seconds)
{
  const gchar *name = m->name;
  guint batch = m->batch;
  g_autoptr(GError) error = NULL;
  g_autoptr(World) world = network_world_new(network_find(m->network), m->rows, 0, &error);
  PipelineGraphFitOptions options;
  double rates[WINDOWS];
  if (world == NULL) return fail(name, error);
  pipeline_graph_fit_options_init(&options);
  options.epochs = 1000000;
  options.batch_size = batch;
  options.learning_rate = 1e-4;
  options.precision = m->precision;
  options.optimiser = pipeline_optimiser_find("adam", NULL);
  options.schedule = pipeline_schedule_find("constant", NULL);
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data,
                                                           &options, &pipeline_gradient_backend_cuda, &error);
  if (fit == NULL || !run_steps(fit, 20, &error)) return fail(name, error);
  double start = now();
  if (!run_steps(fit, 10, &error)) return fail(name, error);
  guint steps = (guint)CLAMP(seconds / ((now() - start) / 10), 2, 20000);
  for (guint i = 0; i < WINDOWS; i++) {
    start = now();
    if (!run_steps(fit, steps, &error)) return fail(name, error);
    rates[i] = (double)steps * batch / (now() - start);
  }
  g_autofree gchar *mirrored = pipeline_graph_pass_list_mirrored(fit->pass);
  PipelineCudaMemory memory;
  const PipelineCuda *cuda = pipeline_graph_pass_get_device(fit->pass);
  cuda->table->memory_info(cuda->device, &memory);
  printf("RESULT %s %u %.0f samples/s (%.1f us a step, %.0f MB at the peak, on the host: %s, %s)\n", name, batch,
         median(rates), 1e6 * batch / rates[WINDOWS / 2], (double)memory.peak / 1e6,
         *mirrored != '\0' ? mirrored : "nothing",
         pipeline_graph_fit_get_replayed(fit) > 0 ? "replayed" : "not replayed");
  fflush(stdout);
  return TRUE;
}

/* --- products
 * --------------------------------------------------------------------------------------------------------- */

/* A few steps whose functions are waited for one by one; the last one of an epoch is never replayed. */
static gboolean profile(const Measured *m)
{
  enum { STEPS = 3 };
  g_autoptr(GError) error = NULL;
  const gchar *name = m->name;
  guint batch = m->batch;
  g_autoptr(World) world = network_world_new(network_find(m->network), batch, 0, &error);
  PipelineGraphFitOptions options;
  if (world == NULL) return fail(name, error);
  pipeline_graph_fit_options_init(&options);
  options.epochs = 1000;
  options.batch_size = batch; /* one step an epoch */
  options.precision = m->precision;
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(world->graph, world->plan, &world->head, 1, &world->data,
                                                           &options, &pipeline_gradient_backend_cuda, &error);
  if (fit == NULL || !run_steps(fit, 3, &error)) return fail(name, error);
  PipelineCuda *cuda = pipeline_graph_pass_get_device(fit->pass);
  const PipelineCudaTable *table = cuda->table;
  cuda->table = profile_begin(table);
  gboolean done = run_steps(fit, STEPS, &error);
  cuda->table = table;
  profile_print(name, STEPS);
  return done || fail(name, error);
}

/* narrow: with the rounding of both operands. */
static gboolean measure_gemm(const PipelineCuda *cuda, guint size, gboolean narrow)
{
  const PipelineCudaGemm gemm = {
      .m = size, .n = size, .k = size, .lda = size, .ldb = size, .ldc = size, .alpha = 1, .count = 1, .narrow = narrow};
  gsize n = (gsize)size * size;
  g_autofree float *values = g_new(float, n);
  PipelineRandom random;
  float *arrays[3];
  double rates[WINDOWS];
  pipeline_random_seed(&random, 3);
  for (gsize i = 0; i < n; i++) values[i] = (float)(2 * pipeline_random_uniform(&random) - 1);
  for (guint i = 0; i < 3; i++) {
    arrays[i] = cuda->table->allocate(cuda->device, n * sizeof(float));
    if (arrays[i] == NULL || cuda->table->copy_in(cuda->device, arrays[i], values, n * sizeof(float)) != 0)
      return FALSE;
  }
  guint repeats = size >= 4096 ? 10 : 200;
  for (guint window = 0; window <= WINDOWS; window++) { /* the first one warms up */
    double start = now();
    for (guint i = 0; i < repeats; i++) cuda->table->gemm(cuda->device, &gemm, arrays[0], arrays[1], arrays[2]);
    finish(cuda);
    if (window > 0) rates[window - 1] = 2e-12 * repeats * (double)n * size / (now() - start);
  }
  for (guint i = 0; i < 3; i++) cuda->table->release(cuda->device, arrays[i]);
  printf("RESULT gemm%s %u %.2f TFLOP/s\n", narrow ? "-bf16" : "", size, median(rates));
  return TRUE;
}

/* --- attacks
 * ---------------------------------------------------------------------------------------------------------- */

#define ATTACK_STEPS 10

static gboolean attack(PipelineGraphPass *pass, const World *world, guint batch, float *origin, const float *targets,
                       GError **error)
{
  const PipelineCuda *cuda = pipeline_graph_pass_get_device(pass);
  gint64 dims[4] = {batch};
  gsize n = batch;
  for (guint d = 0; d < world->network->n_dims; d++) n *= (gsize)(dims[1 + d] = world->network->dims[d]);
  if (!pipeline_graph_pass_set_input(pass, 0, 1 + world->network->n_dims, dims, world->x, error)) return FALSE;
  float *x = pipeline_graph_pass_get_device_input(pass, 0);
  cuda->table->copy(cuda->device, origin, x, n * sizeof(float));
  for (guint step = 0; step < ATTACK_STEPS; step++) {
    if (!pipeline_graph_pass_forward(pass, FALSE, NULL, error)) return FALSE;
    const PipelineTensor *output = pipeline_graph_pass_get_device_head(pass, 0);
    const PipelineGraphDeviceLoss loss = {.loss = world->head.loss,
                                          .options = &world->head.options,
                                          .outputs = output->data,
                                          .targets = targets,
                                          .gradient = pipeline_graph_pass_get_head_gradient(pass, 0, error),
                                          .weight = 1,
                                          .n = batch,
                                          .width = output->n / batch,
                                          .n_targets = 1};
    if (loss.gradient == NULL || !pipeline_gradient_backend_cuda.graph->loss((gpointer)cuda, &loss, error) ||
        !pipeline_graph_pass_backward(pass, NULL, error))
      return FALSE;
    if (cuda->table->ascend(cuda->device, x, pipeline_graph_pass_get_device_gradient(pass, 0), origin, 0.01f, 0.1f, 0,
                            1, n) != 0)
      return FALSE;
  }
  return TRUE;
}

static gboolean measure_attack(const gchar *name, guint batch, double seconds)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(World) world = network_world_new(network_find(name), batch, 0, &error);
  const gchar *const wanted[] = {"x", NULL}, *const heads[] = {"y", NULL};
  const PipelineGraphPassOptions options = {
      .wanted = wanted, .heads = heads, .backend = &pipeline_gradient_backend_cuda};
  double rates[WINDOWS];
  g_autoptr(PipelineGraphPass) pass = world != NULL ? pipeline_graph_pass_new(world->graph, &options, &error) : NULL;
  if (pass == NULL) return fail("attack", error);
  pipeline_graph_pass_keep_heads(pass, TRUE);
  const PipelineCuda *cuda = pipeline_graph_pass_get_device(pass);
  gsize n = batch;
  for (guint d = 0; d < world->network->n_dims; d++) n *= (gsize)world->network->dims[d];
  float *origin = cuda->table->allocate(cuda->device, n * sizeof(float)),
        *targets = cuda->table->allocate(cuda->device, batch * sizeof(float));
  if (origin == NULL || targets == NULL) return fail("attack", NULL);
  cuda->table->copy_in(cuda->device, targets, world->targets, batch * sizeof(float));
  for (guint window = 0; window <= WINDOWS; window++) {
    double start = now();
    guint done = 0;
    do {
      if (!attack(pass, world, batch, origin, targets, &error)) return fail("attack", error);
      if (++done % 8 == 0) finish(cuda);
    } while (now() - start < seconds);
    finish(cuda);
    if (window > 0) rates[window - 1] = (double)done * batch / (now() - start);
  }
  cuda->table->release(cuda->device, origin);
  cuda->table->release(cuda->device, targets);
  printf("RESULT pgd10-%s %u %.0f samples/s\n", name, batch, median(rates));
  return TRUE;
}

/* --- all
 * ---------------------------------------------------------------------------------------------------------------- */

#define NARROW PIPELINE_PRECISION_BFLOAT16

static const Measured trainings[] = {
    {"mlp", "mlp", 256, 65536, PIPELINE_PRECISION_FLOAT32},
    {"lenet", "lenet", 64, 16384, PIPELINE_PRECISION_FLOAT32},
    {"lenet", "lenet", 256, 16384, PIPELINE_PRECISION_FLOAT32},
    {"resnet18", "resnet18", 128, 4096, PIPELINE_PRECISION_FLOAT32},
    {"lstm", "lstm", 128, 8192, PIPELINE_PRECISION_FLOAT32},
    {"transformer", "transformer", 64, 8192, PIPELINE_PRECISION_FLOAT32},
    {"mlp-bf16", "mlp", 256, 65536, NARROW},
    {"lenet-bf16", "lenet", 256, 16384, NARROW},
    {"resnet18-bf16", "resnet18", 128, 4096, NARROW},
    {"lstm-bf16", "lstm", 128, 8192, NARROW},
    {"transformer-bf16", "transformer", 64, 8192, NARROW},
};

static gboolean is_wanted(gint n, gchar **names, const gchar *name)
{
  for (gint i = 2; i < n; i++)
    if (strcmp(names[i], name) == 0) return TRUE;
  return n <= 2;
}

int main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  double seconds = argc > 1 ? g_ascii_strtod(argv[1], NULL) : 0.3;
  PipelineCuda *cuda = pipeline_gradient_backend_cuda.open(&error);
  gboolean done = TRUE;
  if (cuda == NULL) {
    printf("SKIP: %s\n", error->message);
    return 0;
  }
  printf("%s\n", cuda->table->describe(cuda->device));
  for (guint i = 0; i < G_N_ELEMENTS(trainings); i++)
    if (is_wanted(argc, argv, trainings[i].name)) done = measure_training(&trainings[i], seconds) && done;
  for (guint i = 0; i < G_N_ELEMENTS(trainings); i++)
    if (is_wanted(argc, argv, trainings[i].name)) done = profile(&trainings[i]) && done;
  if (is_wanted(argc, argv, "gemm")) done = measure_gemm(cuda, 1024, FALSE) && measure_gemm(cuda, 8192, FALSE) && done;
  if (is_wanted(argc, argv, "gemm-bf16"))
    done = measure_gemm(cuda, 1024, TRUE) && measure_gemm(cuda, 8192, TRUE) && done;
  if (is_wanted(argc, argv, "pgd10"))
    done = measure_attack("mlp", 256, seconds) && measure_attack("lenet", 256, seconds) && done;
  pipeline_gradient_backend_cuda.close(cuda);
  return !done;
}
