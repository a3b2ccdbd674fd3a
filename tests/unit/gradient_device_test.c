/* A backend with memory of its own fits the table: one whose buffers are not addresses of this process (a flag is added
 * to each), so that a caller that reads or writes them crashes. Its results are the reference's to the bit. */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "pipeline/graph_fit.h"

#define FLAG ((uintptr_t)1 << 62) /* no address of a process */

static gpointer to_device(gpointer host)
{
  return (gpointer)((uintptr_t)host | FLAG);
}

static gpointer to_host(gconstpointer buffer)
{
  ck_assert_msg(((uintptr_t)buffer & FLAG) != 0, "a kernel got host memory");
  return (gpointer)((uintptr_t)buffer & ~FLAG);
}

static gint n_buffers;

static gpointer device_allocate(gpointer device, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  n_buffers++;
  return to_device(g_malloc(MAX(bytes, 1)));
}

static void device_release(gpointer device, gpointer buffer)
{
  (void)device;
  n_buffers--;
  g_free(to_host(buffer));
}

static gboolean device_copy_in(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  memcpy(to_host(to), from, bytes);
  return TRUE;
}

static gboolean device_copy_out(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  memcpy(to, to_host(from), bytes);
  return TRUE;
}

static gboolean device_copy(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  memcpy(to_host(to), to_host(from), bytes);
  return TRUE;
}

static gboolean device_clear(gpointer device, gpointer buffer, gsize bytes, GError **error)
{
  (void)device;
  (void)error;
  memset(to_host(buffer), 0, bytes);
  return TRUE;
}

static gboolean device_add(gpointer device, gpointer to, gconstpointer from, gsize n, GError **error)
{
  return pipeline_gradient_memory_host.add(device, to_host(to), to_host(from), n, error);
}

/* "On the device": the reference kernel on the addresses behind the buffers. */
#define MAX_TENSORS 4
static gboolean run_there(PipelineGradientCall *call, gboolean backward, GError **error)
{
  PipelineGradientCall there = *call;
  PipelineTensor tensors[4][MAX_TENSORS];
  const PipelineTensor *inputs[MAX_TENSORS] = {NULL}, *output_gradients[MAX_TENSORS] = {NULL};
  PipelineTensor *outputs[MAX_TENSORS] = {NULL}, *input_gradients[MAX_TENSORS] = {NULL};
  for (guint i = 0; i < call->call.n_inputs; i++) {
    tensors[0][i] = *call->call.inputs[i];
    tensors[0][i].data = to_host(tensors[0][i].data);
    inputs[i] = &tensors[0][i];
    if (!backward || call->input_gradients[i] == NULL) continue;
    tensors[1][i] = *call->input_gradients[i];
    tensors[1][i].data = to_host(tensors[1][i].data);
    input_gradients[i] = &tensors[1][i];
  }
  tensors[2][0] = *call->call.outputs[0];
  tensors[2][0].data = to_host(tensors[2][0].data);
  outputs[0] = &tensors[2][0];
  if (backward) {
    tensors[3][0] = *call->output_gradients[0];
    tensors[3][0].data = to_host(tensors[3][0].data);
    output_gradients[0] = &tensors[3][0];
  }
  there.call.inputs = inputs;
  there.call.outputs = outputs;
  there.input_gradients = input_gradients;
  there.output_gradients = output_gradients;
  gboolean done = backward                          ? call->gradient->backward(&there, error)
                  : call->gradient->forward != NULL ? call->gradient->forward(&there, error)
                                                    : call->call.operator->run(&there.call, error);
  memcpy(call->memories, there.memories, sizeof there.memories);
  memcpy(call->capacities, there.capacities, sizeof there.capacities);
  return done;
}

static gboolean forward_there(PipelineGradientCall *call, GError **error)
{
  return run_there(call, FALSE, error);
}

static gboolean backward_there(PipelineGradientCall *call, GError **error)
{
  return run_there(call, TRUE, error);
}

static const PipelineGradientKernel kernels[] = {{"Gemm", NULL, forward_there, backward_there, 0, FALSE},
                                                 {"Relu", NULL, forward_there, backward_there, 0, FALSE},
                                                 {"Add", NULL, forward_there, backward_there, 0, FALSE},
                                                 {.name = NULL}};
static const PipelineGradientMemory memory = {.allocate = device_allocate,
                                              .release = device_release,
                                              .copy_in = device_copy_in,
                                              .copy_out = device_copy_out,
                                              .copy = device_copy,
                                              .clear = device_clear,
                                              .add = device_add};
static const PipelineGradientBackend other = {.name = "other",
                                              .summary = "memory of its own",
                                              .products = &pipeline_backend_reference,
                                              .kernels = kernels,
                                              .memory = &memory};

/* x → Gemm → Relu → (+ itself) → Gemm: a value with two readers. */
static OnnxGraph *new_graph(void)
{
  OnnxGraph *graph = onnx_graph_new("test");
  PipelineRandom random;
  const PipelineInitialiser *he = pipeline_initialiser_find("he-normal", NULL);
  float first[8 * 4], last[3 * 8], bias[8] = {0};
  pipeline_random_seed(&random, 1);
  pipeline_initialiser_fill(he, 4, 8, &random, first, 32);
  pipeline_initialiser_fill(he, 8, 3, &random, last, 24);
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w1", ONNX_TYPE_FLOAT, 2, (gint64[]){8, 4}, first));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("b1", ONNX_TYPE_FLOAT, 1, (gint64[]){8}, bias));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w2", ONNX_TYPE_FLOAT, 2, (gint64[]){3, 8}, last));
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "x,w1,b1", "h"), "transB", 1);
  onnx_graph_add_node(graph, "", "Relu", "h", "r");
  onnx_graph_add_node(graph, "", "Add", "h,r", "s");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "s,w2", "y"), "transB", 1);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,3");
  return graph;
}

/* The weights after 12 steps. */
static float *train_on(const PipelineGradientBackend *backend, gsize *n)
{
  enum { ROWS = 50 };
  float x[ROWS * 4], targets[ROWS];
  guint64 rows[ROWS];
  PipelineRandom random;
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = new_graph();
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, NULL, &error);
  pipeline_random_seed(&random, 2);
  for (guint i = 0; i < ROWS * 4; i++) x[i] = (float)pipeline_random_normal(&random);
  for (guint i = 0; i < ROWS; i++) targets[i] = (float)pipeline_random_below(&random, 3), rows[i] = i;
  PipelineGraphHead head = {.value = "y", .loss = pipeline_graph_loss_find("cross-entropy", NULL), .weight = 1};
  pipeline_graph_loss_options_init(&head.options);
  const PipelineGraphData data = {.x = x,
                                  .n_dims = 1,
                                  .dims = {4},
                                  .targets = targets,
                                  .n_targets = 1,
                                  .train = rows,
                                  .validation = rows + 40,
                                  .test = rows,
                                  .n_rows = ROWS,
                                  .n_train = 40,
                                  .n_validation = 10};
  PipelineGraphFitOptions options;
  pipeline_graph_fit_options_init(&options);
  options.batch_size = 16;
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(graph, plan, &head, 1, &data, &options, backend, &error);
  ck_assert_msg(fit != NULL, "%s", error != NULL ? error->message : "");
  for (guint step = 0; step < 12; step++) {
    gboolean epoch_done;
    ck_assert_msg(pipeline_graph_fit_step(fit, &epoch_done, &error), "%s", error != NULL ? error->message : "");
  }
  *n = plan->n_parameters;
  return g_memdup2(pipeline_graph_fit_get_state(fit)->parameters, plan->n_parameters * sizeof(float));
}

START_TEST(a_device_trains_like_the_reference)
{
  gsize n, m;
  g_autofree float *there = train_on(&other, &n), *here = train_on(&pipeline_gradient_backend_reference, &m);
  ck_assert_uint_eq(n, m);
  ck_assert_mem_eq(there, here, n * sizeof(float));
  ck_assert_int_eq(n_buffers, 0); /* every buffer was given back */
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("gradient_device");
  TCase *tests = tcase_create("device");
  tcase_add_test(tests, a_device_trains_like_the_reference);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
