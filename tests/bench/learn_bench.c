/* Samples a CPU second of training on a graph, one thread: the same networks as in learn_peer.py.
 *
 *     learn_bench mlp|cnn|lenet|resnet|lstm SECONDS [BATCH]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/graph_build.h"
#include "pipeline/graph_fit.h"

#define ROWS 4096

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void add_weights(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, PipelineRandom *random)
{
  gsize n = 1, fan = 1;
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  for (guint d = 1; d < n_dims; d++) fan *= (gsize)dims[d];
  g_autofree float *values = g_new0(float, n);
  if (n_dims > 1)
    pipeline_initialiser_fill(pipeline_initialiser_find("he-uniform", NULL), fan, (gsize)dims[0], random, values, n);
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

static void add_gemm(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, gint64 n_in, gint64 n_out,
                     PipelineRandom *random)
{
  g_autofree gchar *w = g_strdup_printf("w%u", number), *b = g_strdup_printf("b%u", number),
                   *inputs = g_strdup_printf("%s,%s,%s", in, w, b);
  add_weights(graph, w, 2, (gint64[]){n_out, n_in}, random);
  add_weights(graph, b, 1, (gint64[]){n_out}, random);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", inputs, out), "transB", 1);
}

/* Square kernel, padding and stride alike in both directions; without a bias when a BatchNormalization follows. */
static void add_convolution(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, const gint64 shape[3],
                            gint64 pad, gint64 stride, gboolean has_bias, PipelineRandom *random)
{
  const gint64 pads[] = {pad, pad, pad, pad}, strides[] = {stride, stride};
  g_autofree gchar *w = g_strdup_printf("w%u", number), *b = g_strdup_printf("b%u", number),
                   *inputs = has_bias ? g_strdup_printf("%s,%s,%s", in, w, b) : g_strdup_printf("%s,%s", in, w);
  add_weights(graph, w, 4, (gint64[]){shape[1], shape[0], shape[2], shape[2]}, random);
  if (has_bias) add_weights(graph, b, 1, (gint64[]){shape[1]}, random);
  OnnxNode *node = onnx_graph_add_node(graph, "", "Conv", inputs, out);
  onnx_node_set_ints(node, "pads", pads, 4);
  onnx_node_set_ints(node, "strides", strides, 2);
}

/* Convolution, Relu, MaxPool of 2. */
static void add_stage(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, const gint64 shape[3],
                      gint64 pad, PipelineRandom *random)
{
  const gint64 two[] = {2, 2};
  g_autofree gchar *sum = g_strdup_printf("c%u", number), *active = g_strdup_printf("r%u", number);
  add_convolution(graph, in, sum, number, shape, pad, 1, TRUE, random);
  onnx_graph_add_node(graph, "", "Relu", sum, active);
  OnnxNode *pool = onnx_graph_add_node(graph, "", "MaxPool", active, out);
  onnx_node_set_ints(pool, "kernel_shape", two, 2);
  onnx_node_set_ints(pool, "strides", two, 2);
}

static void add_constants(OnnxGraph *graph, const gchar *name, gint64 n, float constant)
{
  g_autofree float *values = g_new(float, n);
  for (gint64 i = 0; i < n; i++) values[i] = constant;
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, 1, &n, values));
}

/* Convolution of 3 x 3 or 1 x 1, BatchNormalization. */
static void add_normalised(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, const gint64 shape[3],
                           gint64 stride, PipelineRandom *random)
{
  static const gchar *const names[] = {"scale", "shift", "mean", "variance"};
  g_autofree gchar *sum = g_strdup_printf("c%u", number);
  g_autoptr(GString) inputs = g_string_new(sum);
  add_convolution(graph, in, sum, number, shape, shape[2] / 2, stride, FALSE, random);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree gchar *name = g_strdup_printf("%s%u", names[i], number);
    add_constants(graph, name, shape[1], i % 3 == 0 ? 1 : 0);
    g_string_append_printf(inputs, ",%s", name);
  }
  onnx_graph_add_node(graph, "", "BatchNormalization", inputs->str, out);
}

/* A residual block of two convolutions (He et al. 2016); a stride of 2 comes with a projection. */
static void add_block(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, gint64 n_in, gint64 n_out,
                      PipelineRandom *random)
{
  gint64 stride = n_in == n_out ? 1 : 2;
  g_autofree gchar *first = g_strdup_printf("n%u", number), *active = g_strdup_printf("a%u", number),
                   *second = g_strdup_printf("m%u", number), *sum = g_strdup_printf("s%u", number),
                   *skip = g_strdup(in);
  add_normalised(graph, in, first, number, (gint64[]){n_in, n_out, 3}, stride, random);
  onnx_graph_add_node(graph, "", "Relu", first, active);
  add_normalised(graph, active, second, number + 1, (gint64[]){n_out, n_out, 3}, 1, random);
  if (stride == 2) {
    g_free(skip);
    skip = g_strdup_printf("p%u", number);
    add_normalised(graph, in, skip, number + 2, (gint64[]){n_in, n_out, 1}, 2, random);
  }
  g_autofree gchar *inputs = g_strdup_printf("%s,%s", second, skip);
  onnx_graph_add_node(graph, "", "Add", inputs, sum);
  onnx_graph_add_node(graph, "", "Relu", sum, out);
}

static OnnxGraph *new_mlp(PipelineRandom *random)
{
  OnnxGraph *graph = onnx_graph_new("mlp");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,20");
  add_gemm(graph, "x", "h1", 1, 20, 128, random);
  onnx_graph_add_node(graph, "", "Relu", "h1", "a1");
  add_gemm(graph, "a1", "h2", 2, 128, 64, random);
  onnx_graph_add_node(graph, "", "Relu", "h2", "a2");
  add_gemm(graph, "a2", "y", 3, 64, 1, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,1");
  return graph;
}

static OnnxGraph *new_cnn(PipelineRandom *random)
{
  OnnxGraph *graph = onnx_graph_new("cnn");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1,28,28");
  add_stage(graph, "x", "p1", 1, (gint64[]){1, 32, 3}, 1, random);
  add_stage(graph, "p1", "p2", 2, (gint64[]){32, 64, 3}, 1, random);
  onnx_graph_add_node(graph, "", "Flatten", "p2", "f");
  add_gemm(graph, "f", "h", 3, 3136, 128, random);
  onnx_graph_add_node(graph, "", "Relu", "h", "a");
  add_gemm(graph, "a", "y", 4, 128, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

/* LeCun et al. 1998, with Relu and MaxPool. */
static OnnxGraph *new_lenet(PipelineRandom *random)
{
  OnnxGraph *graph = onnx_graph_new("lenet");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1,28,28");
  add_stage(graph, "x", "p1", 1, (gint64[]){1, 6, 5}, 2, random);
  add_stage(graph, "p1", "p2", 2, (gint64[]){6, 16, 5}, 0, random);
  onnx_graph_add_node(graph, "", "Flatten", "p2", "f");
  add_gemm(graph, "f", "h1", 3, 400, 120, random);
  onnx_graph_add_node(graph, "", "Relu", "h1", "a1");
  add_gemm(graph, "a1", "h2", 4, 120, 84, random);
  onnx_graph_add_node(graph, "", "Relu", "h2", "a2");
  add_gemm(graph, "a2", "y", 5, 84, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

/* The beginning of a ResNet for images of 32 x 32: a convolution, two residual blocks of 32 channels, one of 64. */
static OnnxGraph *new_resnet(PipelineRandom *random)
{
  OnnxGraph *graph = onnx_graph_new("resnet");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,3,32,32");
  add_normalised(graph, "x", "n1", 1, (gint64[]){3, 32, 3}, 1, random);
  onnx_graph_add_node(graph, "", "Relu", "n1", "r1");
  add_block(graph, "r1", "r2", 10, 32, 32, random);
  add_block(graph, "r2", "r3", 20, 32, 32, random);
  add_block(graph, "r3", "r4", 30, 32, 64, random);
  onnx_graph_add_node(graph, "", "GlobalAveragePool", "r4", "g");
  onnx_graph_add_node(graph, "", "Flatten", "g", "f");
  add_gemm(graph, "f", "y", 2, 64, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

/* 20 steps of 16 numbers, 64 units, the last state classified; PyTorch's two biases are one addition more. */
static OnnxGraph *new_lstm(PipelineRandom *random)
{
  const gint64 steps_first[] = {1, 0, 2}, first[] = {0};
  OnnxGraph *graph = onnx_graph_new("lstm");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,20,16");
  onnx_node_set_ints(onnx_graph_add_node(graph, "", "Transpose", "x", "t"), "perm", steps_first, 3);
  add_weights(graph, "w", 3, (gint64[]){1, 256, 16}, random);
  add_weights(graph, "r", 3, (gint64[]){1, 256, 64}, random);
  add_weights(graph, "b", 2, (gint64[]){1, 512}, random);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "LSTM", "t,w,r,b", ",h"), "hidden_size", 64);
  onnx_graph_take_initialiser(graph, onnx_tensor_new("axes", ONNX_TYPE_INT64, 1, (gint64[]){1}, first));
  onnx_graph_add_node(graph, "", "Squeeze", "h,axes", "last");
  add_gemm(graph, "last", "y", 4, 64, 10, random);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,10");
  return graph;
}

typedef struct {
  const gchar *name;
  OnnxGraph *(*make)(PipelineRandom *random);
  guint n_dims;
  gsize dims[3];
  guint classes; /* 0: one value, binary */
  guint batch;
} Network;

static const Network networks[] = {
    {"mlp", new_mlp, 1, {20, 1, 1}, 0, 256},      {"cnn", new_cnn, 3, {1, 28, 28}, 10, 64},
    {"lenet", new_lenet, 3, {1, 28, 28}, 10, 64}, {"resnet", new_resnet, 3, {3, 32, 32}, 10, 64},
    {"lstm", new_lstm, 2, {20, 16, 1}, 10, 64},
};

static double measure(const Network *network, guint batch, double seconds)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  gsize width = network->dims[0] * network->dims[1] * network->dims[2];
  gboolean many = network->classes > 0;
  g_autoptr(OnnxGraph) graph = network->make(&random);
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, NULL, NULL);
  g_autofree float *x = g_new(float, ROWS *width), *targets = g_new(float, ROWS);
  g_autofree guint64 *rows = g_new(guint64, ROWS);
  for (gsize i = 0; i < ROWS * width; i++) x[i] = (float)pipeline_random_uniform(&random);
  for (guint i = 0; i < ROWS; i++)
    targets[i] = (float)pipeline_random_below(&random, many ? network->classes : 2), rows[i] = i;
  PipelineGraphHead head = {
      .value = "y", .loss = pipeline_graph_loss_find(many ? "cross-entropy" : "binary", NULL), .weight = 1};
  pipeline_graph_loss_options_init(&head.options);
  PipelineGraphData data = {.x = x,
                            .n_dims = network->n_dims,
                            .targets = targets,
                            .n_targets = 1,
                            .train = rows,
                            .validation = rows,
                            .test = rows,
                            .n_rows = ROWS,
                            .n_train = ROWS};
  for (guint d = 0; d < network->n_dims; d++) data.dims[d] = (gint64)network->dims[d];
  PipelineGraphFitOptions options;
  pipeline_graph_fit_options_init(&options);
  options.epochs = 100000;
  options.batch_size = batch;
  options.optimiser = pipeline_optimiser_find("adam", NULL);
  options.schedule = pipeline_schedule_find("constant", NULL);
  options.learning_rate = 1e-3;
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphFit) fit =
      pipeline_graph_fit_new(graph, plan, &head, 1, &data, &options, &pipeline_gradient_backend_onednn, &error);
  if (fit == NULL) {
    fprintf(stderr, "%s\n", error->message);
    exit(1);
  }
  double start = 0;
  guint64 steps = 0;
  for (guint warm = 0; warm < 20 || cpu_seconds() - start < seconds; warm++) {
    gboolean epoch_done;
    if (!pipeline_graph_fit_step(fit, &epoch_done, &error)) {
      fprintf(stderr, "%s\n", error->message);
      exit(1);
    }
    steps++;
    if (warm == 19) start = cpu_seconds(), steps = 0;
  }
  return (double)(steps * options.batch_size) / (cpu_seconds() - start);
}

int main(int argc, char **argv)
{
  for (guint i = 0; (argc == 3 || argc == 4) && i < G_N_ELEMENTS(networks); i++) {
    if (strcmp(argv[1], networks[i].name) != 0) continue;
    guint batch = argc == 4 ? (guint)g_ascii_strtoull(argv[3], NULL, 10) : networks[i].batch;
    printf("%.0f\n", measure(&networks[i], batch, g_ascii_strtod(argv[2], NULL)));
    return 0;
  }
  fprintf(stderr, "usage: learn_bench mlp|cnn|lenet|resnet|lstm SECONDS [BATCH]\n");
  return 2;
}
