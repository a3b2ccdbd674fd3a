/* Samples a CPU second of training on a graph, one thread: the same networks as in learn_peer.py.
 *
 *     learn_bench mlp|cnn|lstm SECONDS
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

static void add_convolution(OnnxGraph *graph, const gchar *in, const gchar *out, guint number, gint64 n_in,
                            gint64 n_out, PipelineRandom *random)
{
  const gint64 pads[] = {1, 1, 1, 1}, two[] = {2, 2};
  g_autofree gchar *w = g_strdup_printf("w%u", number), *b = g_strdup_printf("b%u", number),
                   *inputs = g_strdup_printf("%s,%s,%s", in, w, b);
  g_autofree gchar *sum = g_strdup_printf("c%u", number), *active = g_strdup_printf("r%u", number);
  add_weights(graph, w, 4, (gint64[]){n_out, n_in, 3, 3}, random);
  add_weights(graph, b, 1, (gint64[]){n_out}, random);
  onnx_node_set_ints(onnx_graph_add_node(graph, "", "Conv", inputs, sum), "pads", pads, 4);
  onnx_graph_add_node(graph, "", "Relu", sum, active);
  OnnxNode *pool = onnx_graph_add_node(graph, "", "MaxPool", active, out);
  onnx_node_set_ints(pool, "kernel_shape", two, 2);
  onnx_node_set_ints(pool, "strides", two, 2);
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
  add_convolution(graph, "x", "p1", 1, 1, 32, random);
  add_convolution(graph, "p1", "p2", 2, 32, 64, random);
  onnx_graph_add_node(graph, "", "Flatten", "p2", "f");
  add_gemm(graph, "f", "h", 3, 3136, 128, random);
  onnx_graph_add_node(graph, "", "Relu", "h", "a");
  add_gemm(graph, "a", "y", 4, 128, 10, random);
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
    {"mlp", new_mlp, 1, {20, 1, 1}, 0, 256},
    {"cnn", new_cnn, 3, {1, 28, 28}, 10, 64},
    {"lstm", new_lstm, 2, {20, 16, 1}, 10, 64},
};

static double measure(const Network *network, double seconds)
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
  options.batch_size = network->batch;
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
  for (guint i = 0; argc == 3 && i < G_N_ELEMENTS(networks); i++) {
    if (strcmp(argv[1], networks[i].name) != 0) continue;
    printf("%.0f\n", measure(&networks[i], g_ascii_strtod(argv[2], NULL)));
    return 0;
  }
  fprintf(stderr, "usage: learn_bench mlp|cnn|lstm SECONDS\n");
  return 2;
}
