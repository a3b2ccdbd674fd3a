/* The layers of a dense network as a graph of their own: what reads networks out of graphs finds the same one. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/network_graph.h"
#include "pipeline/network_onnx.h"
#include "pipeline/trainer_graph.h"
#include "pipeline/trainer_random.h"

#define INPUTS 5
#define ROWS 20

static void fill(float *values, guint n, PipelineRandom *random)
{
  for (guint i = 0; i < n; i++) values[i] = (float)(2 * pipeline_random_uniform(random) - 1);
}

/* Every kind of layer: the activation with an alpha of its own, a dense layer without bias, frozen scales. */
static PipelineNetwork *make_network(const PipelineActivation *activation, PipelineLossKind loss)
{
  PipelineRandom random;
  float weight[INPUTS * 4], bias[4], scale[4], shift[4];
  guint n_outputs = loss == PIPELINE_LOSS_SOFTMAX ? 3 : 1;
  PipelineNetwork *network = pipeline_network_new(INPUTS);
  pipeline_random_seed(&random, 3);
  fill(weight, G_N_ELEMENTS(weight), &random);
  fill(bias, 4, &random);
  fill(scale, 4, &random);
  fill(shift, 4, &random);
  pipeline_network_add_dense(network, 4, weight, bias);
  pipeline_network_add_affine(network, scale, shift);
  pipeline_network_add_activation(network, activation, activation->alpha_name != NULL ? 0.3f : 0);
  pipeline_network_add_dense(network, 4, weight + 4, NULL);
  pipeline_network_add_activation(network, activation, activation->alpha_name != NULL ? 0.2f : 0);
  pipeline_network_add_dense(network, n_outputs, weight, bias);
  if (loss == PIPELINE_LOSS_SQUARED) pipeline_network_add_affine(network, scale, shift);
  network->loss = (PipelineLoss){.kind = loss, .n_outputs = n_outputs, .target_scale = 1};
  return network;
}

static DriftSchema *make_schema(PipelineLossKind loss)
{
  g_autoptr(DriftSchema) named = drift_schema_new(loss == PIPELINE_LOSS_SQUARED   ? DRIFT_TASK_REGRESSION
                                                  : loss == PIPELINE_LOSS_SIGMOID ? DRIFT_TASK_BINARY
                                                                                  : DRIFT_TASK_MULTICLASS,
                                                  "y");
  const gchar *const classes[] = {"a", "b", "c"};
  guint n = loss == PIPELINE_LOSS_SQUARED ? 0 : loss == PIPELINE_LOSS_SIGMOID ? 2 : 3;
  for (guint i = 0; i < n; i++) drift_schema_add_class(named, classes[i]);
  named->positive_class = 1;
  return pipeline_trainer_graph_schema(named, INPUTS);
}

static float *predict(const PipelineNetwork *network, const float *x)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelinePass) pass = pipeline_pass_new(network, &pipeline_network_backend_reference, ROWS, &error);
  const float *outputs = pipeline_pass_forward(pass, x, ROWS, &error);
  ck_assert_msg(outputs != NULL, "%s", error != NULL ? error->message : "");
  return g_memdup2(outputs, ROWS * pipeline_network_get_width(network) * sizeof(float));
}

static const PipelineLossKind losses[] = {PIPELINE_LOSS_SOFTMAX, PIPELINE_LOSS_SIGMOID, PIPELINE_LOSS_SQUARED};

START_TEST(a_network_comes_back_out_of_its_graph)
{
  const PipelineActivation *activation = &pipeline_activations[_i / (int)G_N_ELEMENTS(losses)];
  PipelineLossKind loss = losses[_i % (int)G_N_ELEMENTS(losses)];
  PipelineRandom random;
  float x[ROWS * INPUTS];
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNetwork) network = make_network(activation, loss);
  g_autoptr(DriftSchema) schema = make_schema(loss);
  g_autoptr(GBytes) onnx = pipeline_network_to_onnx(network, &error);
  ck_assert_msg(onnx != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(PipelineNetworkGraph) read = pipeline_network_graph_read(onnx, schema, &error);
  ck_assert_msg(read != NULL, "%s: %s", activation->op_type, error != NULL ? error->message : "");
  ck_assert_int_eq(read->network->loss.kind, loss);
  ck_assert_uint_eq(read->network->n_parameters, network->n_parameters);
  ck_assert_mem_eq(read->network->parameters, network->parameters, network->n_parameters * sizeof(float));
  pipeline_random_seed(&random, 4);
  fill(x, G_N_ELEMENTS(x), &random);
  g_autofree float *here = predict(network, x), *there = predict(read->network, x);
  for (guint i = 0; i < ROWS * network->loss.n_outputs; i++)
    ck_assert_msg(fabsf(here[i] - there[i]) <= 1e-6f, "%s, output %u: %g and %g", activation->op_type, i,
                  (double)here[i], (double)there[i]);
}
END_TEST

START_TEST(weights_are_taken_from_a_graph)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNetwork) network = make_network(&pipeline_activations[0], PIPELINE_LOSS_SOFTMAX);
  g_autoptr(PipelineNetwork) other = make_network(&pipeline_activations[0], PIPELINE_LOSS_SOFTMAX);
  for (gsize i = 0; i < other->n_parameters; i++) other->parameters[i] = (float)i;
  g_autoptr(GBytes) onnx = pipeline_network_to_onnx(other, &error);
  ck_assert(pipeline_network_take_onnx(network, onnx, &error));
  ck_assert_mem_eq(network->parameters, other->parameters, network->n_parameters * sizeof(float));
}
END_TEST

START_TEST(graphs_of_other_networks_are_refused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNetwork) network = make_network(&pipeline_activations[0], PIPELINE_LOSS_SOFTMAX);
  g_autoptr(PipelineNetwork) other = make_network(&pipeline_activations[0], PIPELINE_LOSS_SQUARED);
  g_autoptr(GBytes) onnx = pipeline_network_to_onnx(other, NULL), rubbish = g_bytes_new_static("no graph", 8);
  ck_assert(!pipeline_network_take_onnx(network, onnx, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL) && strstr(error->message, "layer_6.weight"));
  g_clear_error(&error);
  ck_assert(!pipeline_network_take_onnx(network, rubbish, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("network_onnx");
  TCase *tcase = tcase_create("network_onnx");
  int n_activations = 0;
  while (pipeline_activations[n_activations].op_type != NULL) n_activations++;
  tcase_add_loop_test(tcase, a_network_comes_back_out_of_its_graph, 0, n_activations * (int)G_N_ELEMENTS(losses));
  tcase_add_test(tcase, weights_are_taken_from_a_graph);
  tcase_add_test(tcase, graphs_of_other_networks_are_refused);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
