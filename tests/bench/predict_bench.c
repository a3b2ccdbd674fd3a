/* One row through an MLP (20 → 64 → 64 → 3, softmax): microseconds of CPU time a call beside ONNX Runtime's C API, one
 * thread, in turns within one process; the answers are compared.
 *
 *     predict_bench LIBONNXRUNTIME.so TURNS
 *
 * The wheel of ONNX Runtime ships its library without its header: the few functions are declared here by their place in
 * OrtApi, which never changes (onnxruntime_c_api.h: "new functions are added to the end").
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "onnx/graph.h"
#include "pipeline/model.h"
#include "pipeline/trainer_random.h"

enum { FEATURES = 20, WIDTH = 64, CLASSES = 3, CALLS = 20000 };

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

static void add_layer(OnnxGraph *graph, guint number, gint64 n_in, gint64 n_out, const gchar *out,
                      PipelineRandom *random)
{
  g_autofree gchar *w = g_strdup_printf("w%u", number), *b = g_strdup_printf("b%u", number);
  g_autofree gchar *inputs = number == 1 ? g_strdup("x,w1,b1") : g_strdup_printf("a%u,%s,%s", number - 1, w, b);
  g_autofree float *weights = g_new(float, n_in *n_out), *biases = g_new(float, n_out);
  for (gint64 i = 0; i < n_in * n_out; i++)
    weights[i] = (float)((pipeline_random_uniform(random) - 0.5) * 4 / sqrt((double)n_in));
  for (gint64 i = 0; i < n_out; i++) biases[i] = (float)pipeline_random_uniform(random);
  onnx_graph_take_initialiser(graph, onnx_tensor_new(w, ONNX_TYPE_FLOAT, 2, (gint64[]){n_out, n_in}, weights));
  onnx_graph_take_initialiser(graph, onnx_tensor_new(b, ONNX_TYPE_FLOAT, 1, &n_out, biases));
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", inputs, out), "transB", 1);
}

static GBytes *make_model(PipelineRandom *random)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("mlp");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,20");
  add_layer(graph, 1, FEATURES, WIDTH, "h1", random);
  onnx_graph_add_node(graph, "", "Relu", "h1", "a1");
  add_layer(graph, 2, WIDTH, WIDTH, "h2", random);
  onnx_graph_add_node(graph, "", "Relu", "h2", "a2");
  add_layer(graph, 3, WIDTH, CLASSES, "h3", random);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "h3", "p"), "axis", 1);
  onnx_graph_add_output(graph, "p", ONNX_TYPE_FLOAT, "N,3");
  GError *error = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  if (bytes == NULL) g_error("%s", error->message);
  return bytes;
}

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_MULTICLASS, "y");
  for (guint k = 0; k < CLASSES; k++) drift_schema_add_class(schema, (const gchar *[]){"0", "1", "2"}[k]);
  for (guint f = 0; f < FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf("x%u", f);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  return schema;
}

/* --- ONNX Runtime ------------------------------------------------------------------------------------------------- */

typedef void Status;
typedef struct {
  const gpointer *(*get_api)(guint32 version);
} ApiBase;
/* Places in OrtApi. */
enum {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION_FROM_ARRAY = 8,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_INTRA_OP_NUM_THREADS = 24,
  CREATE_TENSOR_WITH_DATA = 49,
  CREATE_CPU_MEMORY_INFO = 69
};

typedef Status *(*RunFunction)(gpointer session, gconstpointer options, const char *const *input_names,
                               gconstpointer const *inputs, size_t n_inputs, const char *const *output_names,
                               size_t n_outputs, gpointer *outputs);
typedef struct {
  const gpointer *api;
  gpointer session, input, output;
  RunFunction run;
} Runtime;

static void must(const Runtime *runtime, Status *status)
{
  if (status == NULL) return;
  const char *(*message)(const Status *);
  *(gpointer *)&message = runtime->api[GET_ERROR_MESSAGE];
  g_error("ONNX Runtime: %s", message(status));
}

static gpointer make_tensor(const Runtime *runtime, gpointer memory, float *data, gint64 width)
{
  const gint64 dims[] = {1, width};
  gpointer tensor = NULL;
  Status *(*create)(gpointer, gpointer, size_t, const gint64 *, size_t, int, gpointer *);
  *(gpointer *)&create = runtime->api[CREATE_TENSOR_WITH_DATA];
  must(runtime, create(memory, data, (size_t)width * sizeof *data, dims, 2, ONNX_TYPE_FLOAT, &tensor));
  return tensor;
}

/* The strictest peer: tensors made once over our memory, one thread, all optimisations (its default). */
static void open_runtime(Runtime *runtime, const char *path, GBytes *model, float *x, float *y)
{
  gpointer library = dlopen(path, RTLD_NOW | RTLD_LOCAL), environment, options, memory;
  if (library == NULL) g_error("%s", dlerror());
  const ApiBase *(*base)(void);
  Status *(*create_env)(int, const char *, gpointer *), *(*create_options)(gpointer *), *(*set_threads)(gpointer, int),
      *(*create_session)(gpointer, gconstpointer, size_t, gpointer, gpointer *),
      *(*create_memory)(int, int, gpointer *);
  *(gpointer *)&base = dlsym(library, "OrtGetApiBase");
  runtime->api = base()->get_api(17);
  *(gpointer *)&create_env = runtime->api[CREATE_ENV];
  *(gpointer *)&create_options = runtime->api[CREATE_SESSION_OPTIONS];
  *(gpointer *)&set_threads = runtime->api[SET_INTRA_OP_NUM_THREADS];
  *(gpointer *)&create_session = runtime->api[CREATE_SESSION_FROM_ARRAY];
  *(gpointer *)&create_memory = runtime->api[CREATE_CPU_MEMORY_INFO];
  *(gpointer *)&runtime->run = runtime->api[RUN];
  must(runtime, create_env(3, "bench", &environment));
  must(runtime, create_options(&options));
  must(runtime, set_threads(options, 1));
  gsize length;
  gconstpointer bytes = g_bytes_get_data(model, &length);
  must(runtime, create_session(environment, bytes, length, options, &runtime->session));
  must(runtime, create_memory(0, 0, &memory));
  runtime->input = make_tensor(runtime, memory, x, FEATURES);
  runtime->output = make_tensor(runtime, memory, y, CLASSES);
}

static void run_runtime(Runtime *runtime)
{
  static const char *const inputs[] = {"x"}, *const outputs[] = {"p"};
  gconstpointer const fed[] = {runtime->input};
  must(runtime, runtime->run(runtime->session, NULL, inputs, fed, 1, outputs, 1, &runtime->output));
}

/* --- in turns ----------------------------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, guint n)
{
  qsort(values, n, sizeof *values, compare_doubles);
  return values[n / 2];
}

static double difference(const float *a, const float *b)
{
  double worst = 0;
  for (guint k = 0; k < CLASSES; k++) worst = MAX(worst, fabs((double)a[k] - (double)b[k]));
  return worst;
}

int main(int argc, char **argv)
{
  if (argc != 3) {
    fprintf(stderr, "usage: predict_bench LIBONNXRUNTIME.so TURNS\n");
    return 2;
  }
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  g_autoptr(GBytes) bytes = make_model(&random);
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, &error);
  if (model == NULL) g_error("%s", error->message);
  float x[FEATURES], ours[CLASSES], theirs[CLASSES] = {0};
  DriftValue row[FEATURES];
  for (guint f = 0; f < FEATURES; f++) {
    x[f] = (float)pipeline_random_uniform(&random);
    row[f] = drift_value_number((double)x[f]);
  }
  Runtime runtime;
  open_runtime(&runtime, argv[1], bytes, x, theirs);
  guint turns = (guint)atoi(argv[2]);
  g_autofree double *our_times = g_new0(double, turns + 1), *their_times = g_new0(double, turns + 1),
                    *ratios = g_new0(double, turns + 1);
  for (guint turn = 0; turn <= turns; turn++) { /* turn 0 warms up */
    double start = cpu_seconds();
    for (guint i = 0; i < CALLS; i++)
      if (!pipeline_model_predict(model, row, 1, ours, &error)) g_error("%s", error->message);
    double middle = cpu_seconds();
    for (guint i = 0; i < CALLS; i++) run_runtime(&runtime);
    double end = cpu_seconds();
    our_times[turn] = (middle - start) / CALLS * 1e6;
    their_times[turn] = (end - middle) / CALLS * 1e6;
    ratios[turn] = their_times[turn] / our_times[turn];
  }
  if (difference(ours, theirs) > 1e-5) g_error("the answers differ by %g", difference(ours, theirs));
  printf("predict: one row, kedge %.2f us, ONNX Runtime's C API %.2f us: %.2f times (median of %u turns of %d calls)\n",
         median(our_times + 1, turns), median(their_times + 1, turns), median(ratios + 1, turns), turns, CALLS);
  return 0;
}
