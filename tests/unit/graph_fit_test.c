/* Training on a graph: losses and optimisers by themselves, what is trained, the loop, its checkpoints and monitors. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/graph_checkpoint.h"
#include "pipeline/graph_fit.h"
#include "tests/support/graph_world.h"

/* --- losses ---------------------------------------------------------------------------------------------------------
 */

static const struct {
  const gchar *loss;
  guint width;
  double smoothing;
  gboolean class_weights;
} loss_cases[] = {{"cross-entropy", 3, 0, FALSE}, {"cross-entropy", 4, 0.1, TRUE}, {"focal", 3, 0, FALSE},
                  {"focal", 2, 0, TRUE},          {"binary", 1, 0, FALSE},         {"binary", 3, 0.2, TRUE},
                  {"squared", 1, 0, FALSE},       {"squared", 3, 0, FALSE},        {"huber", 2, 0, FALSE},
                  {"quantile", 3, 0, FALSE}};

START_TEST(loss_gradients_agree_with_differences)
{
  enum { ROWS = 5 };
  const double quantiles[] = {0.1, 0.5, 0.9}, h = 1e-3;
  const float class_weights[] = {0.5f, 2, 1, 0.25f}, row_weights[ROWS] = {1, 0, 3, 0.5f, 2};
  guint width = loss_cases[_i].width;
  const PipelineGraphLoss *loss = pipeline_graph_loss_find(loss_cases[_i].loss, NULL);
  PipelineGraphLossOptions options;
  pipeline_graph_loss_options_init(&options);
  options.label_smoothing = loss_cases[_i].smoothing;
  options.class_weights = loss_cases[_i].class_weights ? class_weights : NULL;
  options.quantiles = quantiles;
  options.target_scale = 1.5;
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  float outputs[ROWS * 4], targets[ROWS * 4], gradient[ROWS * 4];
  for (guint i = 0; i < ROWS * width; i++) {
    outputs[i] = (float)(4 * pipeline_random_uniform(&random) - 2);
    targets[i] =
        loss->is_class ? (float)pipeline_random_below(&random, width) : (float)pipeline_random_uniform(&random) - 3;
    if (strcmp(loss->name, "binary") == 0) targets[i] = (float)pipeline_random_below(&random, 2);
  }
  pipeline_graph_loss_evaluate(loss, &options, outputs, width, targets, row_weights, ROWS, gradient);
  for (guint i = 0; i < ROWS * width; i++) {
    float original = outputs[i];
    outputs[i] = original + (float)h;
    double above = outputs[i],
           up = pipeline_graph_loss_evaluate(loss, &options, outputs, width, targets, row_weights, ROWS, NULL);
    outputs[i] = original - (float)h;
    double below = outputs[i],
           down = pipeline_graph_loss_evaluate(loss, &options, outputs, width, targets, row_weights, ROWS, NULL);
    outputs[i] = original;
    ck_assert_double_eq_tol((up - down) / (above - below), gradient[i], 2e-5);
  }
}
END_TEST

START_TEST(losses_have_known_values)
{
  PipelineGraphLossOptions options;
  pipeline_graph_loss_options_init(&options);
  const float two[] = {0, 0}, far[] = {3, 0}, first[] = {0};
  const double quantile = 0.9;
  ck_assert_double_eq_tol(pipeline_graph_loss_find("cross-entropy", NULL)->row(&options, two, 2, first, NULL), log(2),
                          1e-12);
  ck_assert_double_eq_tol(pipeline_graph_loss_find("focal", NULL)->row(&options, two, 2, first, NULL), log(2) / 4,
                          1e-12);
  ck_assert_double_eq_tol(pipeline_graph_loss_find("binary", NULL)->row(&options, two, 1, first, NULL), log(2), 1e-12);
  ck_assert_double_eq_tol(pipeline_graph_loss_find("huber", NULL)->row(&options, far, 1, first, NULL), 2.5, 1e-12);
  options.quantiles = &quantile;
  ck_assert_double_eq_tol(pipeline_graph_loss_find("quantile", NULL)->row(&options, far, 1, first, NULL), 0.3, 1e-6);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_graph_loss_find("hinge", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "cross-entropy"));
}
END_TEST

/* --- optimisers, schedules, first weights
 * ----------------------------------------------------------------------------- */

/* One step from w = 1, g = .5 (state 0), rate .1, by hand. */
static const struct {
  const gchar *name;
  double first, second; /* w after one and two equal gradients */
} optimiser_cases[] = {{"sgd", 0.95, 0.90},
                       {"momentum", 0.95, 0.855},   /* m: .5, .95 */
                       {"nesterov", 0.905, 0.7695}, /* g + .9 m: .95, 1.355 */
                       {"rmsprop", -2.162277660168, -4.399160000},
                       {"adam", 0.9, 0.8},
                       {"adamw", 0.899, 0.798101}}; /* kept .999 each step */

START_TEST(optimisers_step_as_published)
{
  PipelineOptimiserOptions options;
  pipeline_optimiser_options_init(&options);
  const PipelineOptimiser *optimiser = pipeline_optimiser_find(optimiser_cases[_i].name, NULL);
  float w = 1, m = 0, v = 0, g = 0.5f;
  PipelineOptimiserStep step = {.w = &w, .m = &m, .v = &v, .g = &g, .n = 1, .decays = TRUE, .rate = 0.1, .step = 1};
  optimiser->step(&options, &step);
  ck_assert_double_eq_tol(w, optimiser_cases[_i].first, 2e-5 * fabs(optimiser_cases[_i].first));
  step.step = 2;
  optimiser->step(&options, &step);
  ck_assert_double_eq_tol(w, optimiser_cases[_i].second, 2e-4 * fabs(optimiser_cases[_i].second));
}
END_TEST

START_TEST(penalties_pull_weights_to_zero_and_spare_biases)
{
  PipelineOptimiserOptions options;
  pipeline_optimiser_options_init(&options);
  options.l1 = 0.2;
  options.l2 = 0.1;
  float w = 2, g = 0;
  PipelineOptimiserStep step = {.w = &w, .g = &g, .n = 1, .decays = TRUE, .rate = 0.5, .step = 1};
  pipeline_optimiser_find("sgd", NULL)->step(&options, &step);
  ck_assert_double_eq_tol(w, 2 - 0.5 * (0.2 + 0.2), 1e-6);
  step.decays = FALSE;
  pipeline_optimiser_find("sgd", NULL)->step(&options, &step);
  ck_assert_double_eq_tol(w, 1.8, 1e-6);
}
END_TEST

START_TEST(gradients_are_clipped)
{
  float g[] = {3, -4, 0};
  ck_assert_double_eq_tol(pipeline_gradient_clip(g, 3, 1, 0), 5, 1e-6);
  ck_assert_double_eq_tol(g[0], 0.6, 1e-6);
  ck_assert_double_eq_tol(pipeline_gradient_clip(g, 3, 0, 0.5), 1, 1e-6);
  ck_assert_double_eq_tol(g[1], -0.5, 1e-6);
}
END_TEST

static const struct {
  const gchar *name;
  double begin, middle, end;
} schedule_cases[] = {{"constant", 1, 1, 1},
                      {"step", 1, 0.1, 0.001},
                      {"exponential", 1, 0.316227766, 0.1},
                      {"cosine", 1, 0.505, 0.01},
                      {"one-cycle", 0.04, 0.813627, 0.01},
                      {"plateau", 0.01, 0.01, 0.01}};

START_TEST(schedules_follow_their_curves)
{
  PipelineScheduleOptions options;
  pipeline_schedule_options_init(&options);
  const PipelineSchedule *schedule = pipeline_schedule_find(schedule_cases[_i].name, NULL);
  ck_assert_double_eq_tol(pipeline_schedule_factor(schedule, &options, 0, 1000, 2), schedule_cases[_i].begin, 1e-6);
  ck_assert_double_eq_tol(pipeline_schedule_factor(schedule, &options, 500, 1000, 2), schedule_cases[_i].middle, 1e-6);
  ck_assert_double_eq_tol(pipeline_schedule_factor(schedule, &options, 1000, 1000, 2), schedule_cases[_i].end, 1e-6);
  options.warm_up = 9;
  ck_assert_double_eq_tol(pipeline_schedule_factor(schedule, &options, 4, 1000, 2), 0.5, 1e-6);
}
END_TEST

START_TEST(first_weights_have_their_spread)
{
  enum { N = 40000 };
  const PipelineInitialiser *row = &pipeline_initialisers[_i];
  g_autofree float *values = g_new(float, N);
  PipelineRandom random;
  pipeline_random_seed(&random, 9);
  pipeline_initialiser_fill(row, 50, 150, &random, values, N);
  double squares = 0, expected = row->spread(50, 150), largest = 0;
  for (guint i = 0; i < N; i++)
    squares += (double)values[i] * (double)values[i], largest = MAX(largest, fabs((double)values[i]));
  ck_assert_double_eq_tol(sqrt(squares / N), expected, 0.02 * expected + 1e-12);
  if (!row->normal) ck_assert_double_le(largest, sqrt(3) * expected + 1e-6);
}
END_TEST

/* --- a graph (tests/support/graph_world.h) --------------------------------------------------------------------------
 */

START_TEST(trainables_are_found_by_role_and_frozen_by_name)
{
  g_autoptr(OnnxGraph) graph = graph_world_new_graph();
  g_autoptr(PipelineGraphPlan) all = pipeline_graph_plan_new(graph, NULL, NULL);
  ck_assert_uint_eq(all->parameters->len, 6);
  ck_assert_uint_eq(all->n_parameters, GRAPH_WORLD_HIDDEN * GRAPH_WORLD_WIDTH + 3 * GRAPH_WORLD_HIDDEN +
                                           GRAPH_WORLD_CLASSES * GRAPH_WORLD_HIDDEN + GRAPH_WORLD_CLASSES);
  ck_assert_uint_eq(all->n_statistics, 2 * GRAPH_WORLD_HIDDEN);
  const PipelineGraphParameter *first = &g_array_index(all->parameters, PipelineGraphParameter, 0);
  ck_assert_str_eq(first->name, "first.weight");
  ck_assert(first->decays && first->fan_in == GRAPH_WORLD_WIDTH && first->fan_out == GRAPH_WORLD_HIDDEN);
  g_autoptr(PipelineGraphPlan) some =
      pipeline_graph_plan_new(graph, (const gchar *const[]){"first.*", "norm.*", NULL}, NULL);
  ck_assert_uint_eq(some->parameters->len, 2);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_graph_plan_new(graph, (const gchar *const[]){"other.*", NULL}, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "other.*"));
  g_clear_error(&error);
  ck_assert_ptr_null(pipeline_graph_plan_new(graph, (const gchar *const[]){"*", NULL}, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "frozen"));
  g_clear_error(&error);
  g_autoptr(OnnxGraph) empty = onnx_graph_new("empty");
  onnx_graph_set_opset(empty, "", 17);
  onnx_graph_add_input(empty, "x", ONNX_TYPE_FLOAT, "N,2");
  g_free(onnx_graph_add_node(empty, "", "Neg", "x", "y")->name);
  ((OnnxNode *)g_ptr_array_index(empty->nodes, 0))->name = g_strdup("turn");
  onnx_graph_add_output(empty, "y", ONNX_TYPE_FLOAT, "N,2");
  ck_assert_ptr_null(pipeline_graph_plan_new(empty, NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "Neg node 'turn'"));
}
END_TEST

/* GroupNorm as PyTorch writes it below set 21, and LayerNorm below set 17; factors elsewhere are constants. */
START_TEST(scales_behind_decomposed_normalisations_are_found)
{
  static const gchar *const expected[] = {"norm.scale", "norm.bias",    "group.weight",
                                          "group.bias", "layer.weight", "layer.bias"};
  static const gchar *const constants[] = {"group.weight", "group.bias", "layer.weight",
                                           "layer.bias",   "factors",    "terms"};
  const gint64 into[] = {0, 2, -1}, back[] = {0, 4, 3};
  g_autoptr(OnnxGraph) graph = onnx_graph_new("decomposed");
  g_autoptr(GError) error = NULL;
  onnx_graph_set_opset(graph, "", 13);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4,3");
  for (guint i = 0; i < G_N_ELEMENTS(constants); i++)
    onnx_graph_take_initialiser(
        graph, onnx_tensor_new(constants[i], ONNX_TYPE_FLOAT, 2, i < 2 ? (gint64[]){4, 1} : (gint64[]){1, 3}, NULL));
  graph_world_take_constant(graph, "norm.scale", 2, 1);
  graph_world_take_constant(graph, "norm.bias", 2, 0);
  graph_world_take_constant(graph, "half", 1, .5f);
  graph_world_take_constant(graph, "epsilon", 1, 1e-5f);
  onnx_graph_take_initialiser(graph, onnx_tensor_new("into", ONNX_TYPE_INT64, 1, (gint64[]){3}, into));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("back", ONNX_TYPE_INT64, 1, (gint64[]){3}, back));
  static const gchar *const nodes[][3] = {{"Reshape", "x,into", "groups"},
                                          {"InstanceNormalization", "groups,norm.scale,norm.bias", "normal"},
                                          {"Reshape", "normal,back", "channels"},
                                          {"Mul", "channels,group.weight", "scaled"},
                                          {"Add", "scaled,group.bias", "group"},
                                          {"Relu", "group", "relu"},
                                          {"Mul", "relu,factors", "larger"},
                                          {"Add", "larger,terms", "moved"},
                                          {"ReduceMean", "moved", "mean"},
                                          {"Sub", "moved,mean", "centred"},
                                          {"Mul", "centred,centred", "squares"},
                                          {"ReduceMean", "squares", "variance"},
                                          {"Add", "variance,epsilon", "guarded"},
                                          {"Sqrt", "guarded", "root"},
                                          {"Div", "centred,root", "one"},
                                          {"Mul", "one,half", "halved"},
                                          {"Mul", "layer.weight,one", "two"},
                                          {"Add", "two,layer.bias", "three"},
                                          {"Add", "three,halved", "y"}};
  for (guint i = 0; i < G_N_ELEMENTS(nodes); i++) onnx_graph_add_node(graph, "", nodes[i][0], nodes[i][1], nodes[i][2]);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,4,3");
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, NULL, &error);
  ck_assert_msg(plan != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(plan->parameters->len, G_N_ELEMENTS(expected));
  for (guint i = 0; i < G_N_ELEMENTS(expected); i++)
    ck_assert_str_eq(g_array_index(plan->parameters, PipelineGraphParameter, i).name, expected[i]);
}
END_TEST

START_TEST(heads_are_found_and_replaced)
{
  g_autoptr(OnnxGraph) graph = graph_world_new_graph();
  const gchar *loss;
  g_autoptr(GError) error = NULL;
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  ck_assert_str_eq(pipeline_graph_find_head(graph, "probabilities", &loss), "logits");
  ck_assert_str_eq(loss, "cross-entropy");
  ck_assert(pipeline_graph_replace_head(graph, "probabilities", 7, &random, &error));
  const OnnxTensor *weight = onnx_graph_find_initialiser(graph, "last.weight");
  ck_assert_int_eq(weight->dims[0], 7);
  ck_assert_int_eq(weight->dims[1], GRAPH_WORLD_HIDDEN);
  ck_assert_int_eq(((OnnxValue *)g_ptr_array_index(graph->outputs, 0))->dims[1].size, 7);
  ck_assert(onnx_graph_check(graph, &error));
}
END_TEST

START_TEST(a_graph_learns)
{
  GraphWorld world;
  graph_world_init(&world);
  world.options.optimiser = &pipeline_optimisers[_i];
  world.options.learning_rate = _i == 0 ? 0.2 : _i < 3 ? 0.05 : 0.01;
  g_autoptr(PipelineGraphFit) fit = graph_world_fit(&world);
  graph_world_run(fit, G_MAXUINT64);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  ck_assert_uint_eq(state->epoch, 60);
  ck_assert_double_lt(state->train_loss, 0.6 * state->first_loss);
  ck_assert_double_gt(state->best_metric, 0.75);
  graph_world_clear(&world);
}
END_TEST

static void take_weights(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims)
{
  PipelineRandom random;
  gsize n = 1;
  pipeline_random_seed(&random, 3);
  for (guint d = 0; d < n_dims; d++) n *= (gsize)dims[d];
  g_autofree float *values = g_new(float, n);
  for (gsize i = 0; i < n; i++) values[i] = (float)(pipeline_random_uniform(&random) - 0.5);
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

/* What PyTorch and Keras export beside dense layers and convolutions. */
static OnnxGraph *new_exported_graph(void)
{
  PipelineRandom random;
  OnnxGraph *graph = onnx_graph_new("exported");
  const gint64 shape[] = {-1, 4, 4}, last = 2;
  pipeline_random_seed(&random, 2);
  onnx_graph_set_opset(graph, "", 21);
  onnx_graph_add_input(graph, "features", ONNX_TYPE_FLOAT, "N,6");
  graph_world_take_random(graph, "first.weight", 16, 6, &random);
  graph_world_take_constant(graph, "first.bias", 16, 0);
  graph_world_take_constant(graph, "group.scale", 4, 1);
  graph_world_take_constant(graph, "group.bias", 4, 0);
  take_weights(graph, "up.weight", 3, (const gint64[]){4, 4, 3});
  graph_world_take_constant(graph, "up.bias", 4, 0);
  graph_world_take_constant(graph, "instance.scale", 4, 1);
  graph_world_take_constant(graph, "instance.bias", 4, 0);
  take_weights(graph, "slope", 2, (const gint64[]){4, 1});
  graph_world_take_random(graph, "last.weight", 3, 8, &random);
  graph_world_take_constant(graph, "last.bias", 3, 0);
  onnx_graph_take_initialiser(graph, onnx_tensor_new("shape", ONNX_TYPE_INT64, 1, (gint64[]){3}, shape));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("axis", ONNX_TYPE_INT64, 1, (gint64[]){1}, &last));
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "features,first.weight,first.bias", "h"), "transB", 1);
  onnx_graph_add_node(graph, "", "Mish", "h", "mish");
  onnx_graph_add_node(graph, "", "Reshape", "mish,shape", "channels");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "GroupNormalization", "channels,group.scale,group.bias", "group"),
                    "num_groups", 2);
  onnx_graph_add_node(graph, "", "Softsign", "group", "soft");
  onnx_graph_add_node(graph, "", "ConvTranspose", "soft,up.weight,up.bias", "up");
  onnx_graph_add_node(graph, "", "InstanceNormalization", "up,instance.scale,instance.bias", "instance");
  onnx_graph_add_node(graph, "", "PRelu", "instance,slope", "sloped");
  onnx_graph_add_node(graph, "", "HardSwish", "sloped", "hard");
  onnx_graph_add_node(graph, "", "Mean", "sloped,hard", "mean");
  onnx_graph_add_node(graph, "", "GlobalMaxPool", "mean", "most");
  onnx_graph_add_node(graph, "", "ReduceMin", "mean,axis", "least");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "most,least", "both"), "axis", 1);
  onnx_graph_add_node(graph, "", "Flatten", "both", "flat");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "flat,last.weight,last.bias", "logits"), "transB", 1);
  onnx_graph_add_node(graph, "", "Softmax", "logits", "probabilities");
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "N,3");
  return graph;
}

/* Each of its weights is found and moves. */
START_TEST(an_exported_graph_learns)
{
  static const gchar *const names[] = {"reference", "onednn"};
  GraphWorld world;
  g_autoptr(GError) error = NULL;
  graph_world_init(&world);
  onnx_graph_free(world.graph);
  pipeline_graph_plan_free(world.plan);
  world.graph = new_exported_graph();
  world.plan = pipeline_graph_plan_new(world.graph, NULL, NULL);
  ck_assert_uint_eq(world.plan->parameters->len, 11);
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find(names[_i], world.graph, &error);
  ck_assert_msg(backend != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(PipelineGraphFit) fit =
      pipeline_graph_fit_new(world.graph, world.plan, &world.head, 1, &world.data, &world.options, backend, &error);
  ck_assert_msg(fit != NULL, "%s", error != NULL ? error->message : "");
  graph_world_run(fit, G_MAXUINT64);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  ck_assert_double_lt(state->train_loss, 0.6 * state->first_loss);
  ck_assert_double_gt(state->best_metric, 0.7);
  const float *values = pipeline_graph_fit_get_result(fit, &(const float *){NULL});
  for (guint i = 0; i < world.plan->parameters->len; i++) {
    const PipelineGraphParameter *parameter = &g_array_index(world.plan->parameters, PipelineGraphParameter, i);
    g_autofree float *before = onnx_tensor_to_floats(onnx_graph_find_initialiser(world.graph, parameter->name), NULL);
    ck_assert_msg(memcmp(before, values + parameter->offset, parameter->n * sizeof(float)) != 0, "%s", parameter->name);
  }
  graph_world_clear(&world);
}
END_TEST

START_TEST(frozen_weights_stay_and_statistics_follow)
{
  GraphWorld world;
  graph_world_init(&world);
  pipeline_graph_plan_free(world.plan);
  world.plan = pipeline_graph_plan_new(world.graph, (const gchar *const[]){"first.*", NULL}, NULL);
  world.options.epochs = 2;
  g_autoptr(PipelineGraphFit) fit = graph_world_fit(&world);
  graph_world_run(fit, G_MAXUINT64);
  const float *statistics, *values = pipeline_graph_fit_get_result(fit, &statistics);
  g_autoptr(OnnxGraph) trained = onnx_graph_copy(world.graph);
  pipeline_graph_plan_store(world.plan, trained, values, statistics);
  g_autofree float *before = onnx_tensor_to_floats(onnx_graph_find_initialiser(world.graph, "first.weight"), NULL);
  g_autofree float *after = onnx_tensor_to_floats(onnx_graph_find_initialiser(trained, "first.weight"), NULL);
  g_autofree float *mean = onnx_tensor_to_floats(onnx_graph_find_initialiser(trained, "norm.mean"), NULL);
  ck_assert_mem_eq(before, after, GRAPH_WORLD_HIDDEN * GRAPH_WORLD_WIDTH * sizeof(float));
  double moved = 0;
  for (guint i = 0; i < GRAPH_WORLD_HIDDEN; i++) moved += fabs((double)mean[i]);
  ck_assert_double_gt(moved, 0.01);
  graph_world_clear(&world);
}
END_TEST

/* One head says which feature is largest, the other which features are positive: several labels a row. */
START_TEST(two_heads_learn_together)
{
  GraphWorld world;
  graph_world_init(&world);
  PipelineRandom random;
  pipeline_random_seed(&random, 7);
  graph_world_take_random(world.graph, "side.weight", 2, GRAPH_WORLD_HIDDEN, &random);
  graph_world_take_constant(world.graph, "side.bias", 2, 0);
  onnx_node_set_int(onnx_graph_add_node(world.graph, "", "Gemm", "d,side.weight,side.bias", "side"), "transB", 1);
  onnx_graph_add_output(world.graph, "side", ONNX_TYPE_FLOAT, "N,2");
  pipeline_graph_plan_free(world.plan);
  world.plan = pipeline_graph_plan_new(world.graph, NULL, NULL);
  ck_assert_uint_eq(world.plan->parameters->len, 8);
  g_autofree float *targets = g_new(float, GRAPH_WORLD_ROWS * 3);
  for (guint i = 0; i < GRAPH_WORLD_ROWS; i++) {
    targets[3 * i] = world.targets[i];
    for (guint k = 0; k < 2; k++) targets[3 * i + 1 + k] = world.x[i * GRAPH_WORLD_WIDTH + 3 + k] > 0;
  }
  world.data.targets = targets;
  world.data.n_targets = 3;
  PipelineGraphHead heads[2] = {
      world.head, {.value = "side", .loss = pipeline_graph_loss_find("binary", NULL), .weight = 2, .first_target = 1}};
  pipeline_graph_loss_options_init(&heads[1].options);
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(
      world.graph, world.plan, heads, 2, &world.data, &world.options, &pipeline_gradient_backend_reference, &error);
  ck_assert_msg(fit != NULL, "%s", error != NULL ? error->message : "");
  graph_world_run(fit, G_MAXUINT64);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  ck_assert_double_gt(state->first_loss, 2); /* about log 3 + 2 log 2 */
  ck_assert_double_lt(state->train_loss, 0.6 * state->first_loss);
  ck_assert_double_gt(state->best_metric, 0.75);
  graph_world_clear(&world);
}
END_TEST

START_TEST(early_stopping_ends_what_does_not_improve)
{
  GraphWorld world;
  graph_world_init(&world);
  world.options.learning_rate = 1e-30;
  world.options.patience = 3;
  /* The statistics of a normalisation would go on moving: they are frozen with its weights. */
  pipeline_graph_plan_free(world.plan);
  world.plan = pipeline_graph_plan_new(world.graph, (const gchar *const[]){"norm.*", NULL}, NULL);
  g_autoptr(PipelineGraphFit) fit = graph_world_fit(&world);
  graph_world_run(fit, G_MAXUINT64);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  ck_assert(state->finished);
  ck_assert_uint_eq(state->epoch, 4);
  ck_assert_uint_eq(state->best_epoch, 1);
  graph_world_clear(&world);
}
END_TEST

/* Every option that draws random numbers or keeps state is on. */
static void use_everything(GraphWorld *world, PipelineAverage average)
{
  world->options.epochs = 6;
  world->options.average = average;
  world->options.average_start = 0.5;
  world->options.augment.noise = 0.05;
  world->options.augment.mixup = 0.4;
  world->options.clip_norm = 1;
  world->options.schedule = pipeline_schedule_find("plateau", NULL);
}

static gchar *temporary_path(void)
{
  g_autofree gchar *folder = g_dir_make_tmp("kedge-graph-XXXXXX", NULL);
  return g_build_filename(folder, "checkpoint.safetensors", NULL);
}

static void remove_path(const gchar *path)
{
  g_autofree gchar *folder = g_path_get_dirname(path);
  g_unlink(path);
  g_rmdir(folder);
}

/* Stopped after any number of batches and continued by another process's eyes: the same bits. */
START_TEST(a_resumed_training_has_the_same_bits)
{
  GraphWorld world;
  graph_world_init(&world);
  use_everything(&world, _i % 2 == 0 ? PIPELINE_AVERAGE_EMA : PIPELINE_AVERAGE_SWA);
  g_autofree gchar *path = temporary_path(),
                   *environment = pipeline_checkpoint_environment(&pipeline_gradient_backend_reference, 1);
  g_autoptr(GError) error = NULL;
  gboolean found;
  g_autofree gchar *written_in = NULL;
  g_autoptr(PipelineGraphFit) whole = graph_world_fit(&world), stopped = graph_world_fit(&world),
                              resumed = graph_world_fit(&world);
  graph_world_run(whole, G_MAXUINT64);
  graph_world_run(stopped, (guint64)_i);
  ck_assert_msg(pipeline_graph_checkpoint_write(path, pipeline_graph_fit_get_state(stopped), world.plan, world.graph,
                                                "f", environment, &error),
                "%s", error != NULL ? error->message : "");
  ck_assert_msg(pipeline_graph_checkpoint_read(path, pipeline_graph_fit_get_state(resumed), world.plan, "f",
                                               environment, &found, &written_in, &error),
                "%s", error != NULL ? error->message : "");
  ck_assert(found && written_in == NULL);
  ck_assert(pipeline_graph_fit_restore(resumed, &error));
  graph_world_run(resumed, G_MAXUINT64);
  const float *s1, *s2, *w1 = pipeline_graph_fit_get_result(whole, &s1),
                        *w2 = pipeline_graph_fit_get_result(resumed, &s2);
  ck_assert_mem_eq(w1, w2, world.plan->n_parameters * sizeof(float));
  ck_assert_mem_eq(s1, s2, world.plan->n_statistics * sizeof(float));
  ck_assert_mem_eq(pipeline_graph_fit_get_state(whole)->parameters, pipeline_graph_fit_get_state(resumed)->parameters,
                   world.plan->n_parameters * sizeof(float));
  remove_path(path);
  graph_world_clear(&world);
}
END_TEST

START_TEST(foreign_and_damaged_checkpoints_are_refused)
{
  GraphWorld world;
  graph_world_init(&world);
  g_autofree gchar *path = temporary_path(), *contents = NULL, *written_in = NULL;
  g_autoptr(GError) error = NULL;
  gboolean found;
  gsize length;
  g_autoptr(PipelineGraphFit) fit = graph_world_fit(&world);
  PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  graph_world_run(fit, 3);
  ck_assert(pipeline_graph_checkpoint_read(path, state, world.plan, "f", "here", &found, &written_in, &error) &&
            !found);
  ck_assert(pipeline_graph_checkpoint_write(path, state, world.plan, world.graph, "f", "here", &error));
  ck_assert(!pipeline_graph_checkpoint_read(path, state, world.plan, "g", "here", &found, &written_in, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "another training"));
  g_clear_error(&error);
  ck_assert(pipeline_graph_checkpoint_read(path, state, world.plan, "f", "elsewhere", &found, &written_in, &error));
  ck_assert_str_eq(written_in, "here");
  ck_assert(g_file_get_contents(path, &contents, &length, NULL));
  for (gsize cut = 0; cut < length; cut += cut < 64 ? 1 : length / 50) {
    g_autofree gchar *foreign = NULL;
    ck_assert(g_file_set_contents(path, contents, (gssize)cut, NULL));
    ck_assert(!pipeline_graph_checkpoint_read(path, state, world.plan, "f", "here", &found, &foreign, &error));
    ck_assert_ptr_nonnull(strstr(error->message, "remove it"));
    g_clear_error(&error);
  }
  remove_path(path);
  graph_world_clear(&world);
}
END_TEST

/* --- monitors
 * --------------------------------------------------------------------------------------------------------- */

static void expect_divergence(GraphWorld *world, const gchar *reason)
{
  g_autoptr(PipelineGraphFit) fit = graph_world_fit(world);
  g_autoptr(GError) error = NULL;
  gboolean epoch_done, done = TRUE;
  while (done && !pipeline_graph_fit_is_finished(fit)) done = pipeline_graph_fit_step(fit, &epoch_done, &error);
  ck_assert_msg(!done, "not stopped: expected '%s'", reason);
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED));
  ck_assert_msg(strstr(error->message, reason) != NULL, "%s", error->message);
  const float *statistics, *values = pipeline_graph_fit_get_result(fit, &statistics);
  for (gsize i = 0; i < world->plan->n_parameters; i++) ck_assert(isfinite(values[i]));
}

START_TEST(monitors_stop_with_a_reason)
{
  GraphWorld world;
  graph_world_init(&world);
  if (_i == 0) { /* a value that is not finite */
    world.x[7 * GRAPH_WORLD_WIDTH] = NAN;
    expect_divergence(&world, "norm of the gradients");
  } else if (_i == 1) { /* every hidden unit is pushed below 0 and nothing brings it back */
    OnnxTensor *bias = onnx_graph_find_initialiser(world.graph, "norm.bias");
    float values[GRAPH_WORLD_HIDDEN];
    for (guint i = 0; i < GRAPH_WORLD_HIDDEN; i++) values[i] = -50;
    onnx_tensor_set_floats(bias, values);
    expect_divergence(&world, "dead");
  } else { /* a wild rate */
    world.options.optimiser = pipeline_optimiser_find("sgd", NULL);
    world.options.schedule = pipeline_schedule_find("constant", NULL);
    world.options.learning_rate = 1e6;
    expect_divergence(&world, "diverged");
  }
  graph_world_clear(&world);
}
END_TEST

START_TEST(a_class_that_the_head_lacks_is_named)
{
  GraphWorld world;
  graph_world_init(&world);
  world.targets[17] = 3;
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_graph_fit_new(world.graph, world.plan, &world.head, 1, &world.data, &world.options,
                                            &pipeline_gradient_backend_reference, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "row 17 has class 3"));
  graph_world_clear(&world);
}
END_TEST

/* --- augmentation
 * ------------------------------------------------------------------------------------------------------ */

START_TEST(images_are_shifted_mirrored_and_cut)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  PipelineAugmentOptions options = {.shift = 1, .channels = 1, .height = 3, .width = 3};
  gboolean moved = FALSE;
  for (guint turn = 0; turn < 50; turn++) {
    float image[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0}, sum = 0;
    pipeline_augment_rows(&options, &random, image, 1, 9);
    for (guint i = 0; i < 9; i++) sum += image[i];
    ck_assert_float_eq(sum, 1); /* the point never leaves */
    moved = moved || image[0] == 1;
  }
  ck_assert(moved);
  options = (PipelineAugmentOptions){.flip = 1, .channels = 1, .height = 1, .width = 4};
  float row[4] = {1, 2, 3, 4};
  pipeline_augment_rows(&options, &random, row, 1, 4);
  ck_assert(row[0] == 4 && row[3] == 1 && row[1] == 3);
  options = (PipelineAugmentOptions){.cutout = 2, .channels = 2, .height = 4, .width = 4};
  float ones[32], zeros = 0;
  for (guint i = 0; i < 32; i++) ones[i] = 1;
  pipeline_augment_rows(&options, &random, ones, 1, 32);
  for (guint i = 0; i < 16; i++) {
    ck_assert(ones[i] == ones[16 + i]); /* the same place in every channel */
    zeros += ones[i] == 0;
  }
  ck_assert(zeros >= 1 && zeros <= 4);
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_augment_check(&options, 31, &error));
}
END_TEST

START_TEST(mixed_rows_lie_between_their_partners)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 6);
  const PipelineAugmentOptions options = {.mixup = 0.3};
  float x[4] = {0, 10, 20, 30};
  guint64 partner[4];
  double share = pipeline_augment_mix(&options, &random, x, 4, 1, partner);
  ck_assert(share >= 0.5 && share <= 1);
  for (guint i = 0; i < 4; i++)
    ck_assert_double_eq_tol(x[i], share * 10 * i + (1 - share) * 10 * (double)partner[i], 1e-4);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("graph_fit");
  TCase *parts = tcase_create("parts"), *loop = tcase_create("loop");
  tcase_add_loop_test(parts, loss_gradients_agree_with_differences, 0, (int)G_N_ELEMENTS(loss_cases));
  tcase_add_test(parts, losses_have_known_values);
  tcase_add_loop_test(parts, optimisers_step_as_published, 0, (int)G_N_ELEMENTS(optimiser_cases));
  tcase_add_test(parts, penalties_pull_weights_to_zero_and_spare_biases);
  tcase_add_test(parts, gradients_are_clipped);
  tcase_add_loop_test(parts, schedules_follow_their_curves, 0, (int)G_N_ELEMENTS(schedule_cases));
  tcase_add_loop_test(parts, first_weights_have_their_spread, 0, 7);
  tcase_add_test(parts, images_are_shifted_mirrored_and_cut);
  tcase_add_test(parts, mixed_rows_lie_between_their_partners);
  tcase_add_test(loop, trainables_are_found_by_role_and_frozen_by_name);
  tcase_add_test(loop, scales_behind_decomposed_normalisations_are_found);
  tcase_add_test(loop, heads_are_found_and_replaced);
  tcase_add_loop_test(loop, a_graph_learns, 0, 6);
  tcase_add_loop_test(loop, an_exported_graph_learns, 0, 2);
  tcase_add_test(loop, frozen_weights_stay_and_statistics_follow);
  tcase_add_test(loop, two_heads_learn_together);
  tcase_add_test(loop, early_stopping_ends_what_does_not_improve);
  tcase_add_loop_test(loop, a_resumed_training_has_the_same_bits, 0, 49);
  tcase_add_test(loop, foreign_and_damaged_checkpoints_are_refused);
  tcase_add_loop_test(loop, monitors_stop_with_a_reason, 0, 3);
  tcase_add_test(loop, a_class_that_the_head_lacks_is_named);
  tcase_set_timeout(loop, 60);
  suite_add_tcase(suite, parts);
  suite_add_tcase(suite, loop);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
