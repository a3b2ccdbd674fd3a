/* The mean of several models as one graph. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/ensemble.h"
#include "pipeline/network_build.h"
#include "tests/support/tree_world.h"

#define MEMBERS 3

/* Boosted trees, a chain of dense layers (opset 17) and a network with Gelu (opset 20). */
static const gchar *const architectures[MEMBERS] = {"trees:depth=3", "mlp:8", "mlp:8+gelu+layer-norm"};

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  GBytes *models[MEMBERS];
} World;

static World new_world(TreeTask task)
{
  World world = {.table = tree_table(400, 7, task)};
  world.schema = tree_infer(world.table);
  for (guint i = 0; i < MEMBERS; i++) {
    PipelineTrainOptions options = tree_options(architectures[i]);
    PipelineTrainResult result = {0};
    options.epochs = 3;
    tree_train(world.table, world.schema, &options, &result);
    world.models[i] = g_bytes_ref(result.onnx);
    pipeline_train_result_clear(&result);
  }
  return world;
}

static void world_clear(World *world)
{
  drift_table_free(world->table);
  drift_schema_free(world->schema);
  for (guint i = 0; i < MEMBERS; i++) g_bytes_unref(world->models[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static GBytes *merge(const World *world, guint n)
{
  GError *error = NULL;
  GBytes *onnx = pipeline_ensemble_new(world->models, n, world->schema, &error);
  ck_assert_msg(onnx != NULL, "%s", error != NULL ? error->message : "");
  return onnx;
}

START_TEST(it_says_the_mean_of_its_members)
{
  g_auto(World) world = new_world((TreeTask)_i);
  guint n_outputs = 0, same = 0;
  g_autoptr(GBytes) onnx = merge(&world, MEMBERS);
  g_autofree float *said = tree_predict(onnx, world.table, world.schema, &n_outputs);
  gsize n = (gsize)world.table->n_rows * n_outputs;
  g_autofree double *mean = g_new0(double, n);
  for (guint m = 0; m < MEMBERS; m++) {
    g_autofree float *own = tree_predict(world.models[m], world.table, world.schema, &n_outputs);
    for (gsize i = 0; i < n; i++) {
      mean[i] += own[i] / (double)MEMBERS;
      same += own[i] == said[i];
    }
  }
  for (gsize i = 0; i < n; i++) ck_assert_double_eq_tol(said[i], mean[i], 2e-6 * MAX(1, fabs(mean[i])));
  ck_assert_uint_lt(same, n / 10); /* members differ */
  ck_assert_uint_eq(n_outputs, _i == TREE_VALUE ? 1 : world.schema->classes->len);
}
END_TEST

START_TEST(the_file_is_like_that_of_one_model)
{
  g_auto(World) world = new_world(TREE_BINARY);
  g_autoptr(GBytes) onnx = merge(&world, MEMBERS);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL), one = onnx_graph_from_bytes(world.models[0], NULL);
  ck_assert_ptr_nonnull(graph);
  ck_assert_uint_eq(graph->inputs->len, one->inputs->len);
  ck_assert_uint_eq(graph->outputs->len, 2);
  ck_assert_ptr_nonnull(onnx_graph_find_value(graph, "label"));
  ck_assert_int_eq(onnx_graph_get_opset(graph, ""), 20); /* the highest */
  ck_assert_str_eq(onnx_graph_get_metadata(graph, PIPELINE_ENSEMBLE_KEY), "3");
  ck_assert_str_eq(onnx_graph_get_metadata(graph, PIPELINE_SCHEMA_KEY),
                   onnx_graph_get_metadata(one, PIPELINE_SCHEMA_KEY));
}
END_TEST

START_TEST(the_mean_of_one_is_that_one)
{
  g_auto(World) world = new_world(TREE_BINARY);
  g_autoptr(GBytes) onnx = merge(&world, 1);
  ck_assert(g_bytes_equal(onnx, world.models[0]));
  ck_assert(pipeline_ensemble_check_single(onnx, NULL));
}
END_TEST

START_TEST(other_inputs_are_refused)
{
  g_auto(World) world = new_world(TREE_BINARY);
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(world.models[1], NULL);
  ck_assert(onnx_graph_rename_value(graph, "b", "c", NULL));
  g_autoptr(GBytes) other = onnx_graph_to_bytes(graph, NULL);
  ck_assert(pipeline_ensemble_new((GBytes *[]){world.models[0], other}, 2, world.schema, &error) == NULL);
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL));
  ck_assert_ptr_nonnull(strstr(error->message, "the inputs of \"member_2\" are not those of the first model"));
}
END_TEST

START_TEST(models_without_the_output_are_refused)
{
  g_auto(World) world = new_world(TREE_VALUE);
  g_autoptr(DriftSchema) classes = drift_schema_new(DRIFT_TASK_BINARY, "y");
  g_autoptr(GError) error = NULL;
  ck_assert(pipeline_ensemble_new(world.models, 2, classes, &error) == NULL);
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL));
  ck_assert_ptr_nonnull(strstr(error->message, "\"member_1\" has no float output \"probabilities\""));
}
END_TEST

/* A Split has its number of parts as an attribute from opset 18 on. */
START_TEST(an_operator_that_opsets_read_differently_is_refused)
{
  g_auto(World) world = new_world(TREE_BINARY);
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(world.models[1], NULL);
  OnnxNode *node = g_ptr_array_index(graph->nodes, onnx_graph_find_producer(graph, "probabilities"));
  g_free(node->op_type);
  node->op_type = g_strdup("Split");
  g_autoptr(GBytes) bound = onnx_graph_to_bytes(graph, NULL);
  ck_assert(pipeline_ensemble_new((GBytes *[]){world.models[2], bound}, 2, world.schema, &error) == NULL);
  ck_assert_msg(strstr(error->message, "\"member_2\" is written for opset 17 of \"\", the first model for 20") != NULL,
                "%s", error->message);
}
END_TEST

START_TEST(it_cannot_be_trained_on)
{
  g_auto(World) world = new_world(TREE_BINARY);
  g_autoptr(GBytes) onnx = merge(&world, 2);
  PipelineTrainOptions options = tree_options(NULL);
  options.from = onnx;
  tree_refused(world.table, world.schema, &options, "the model is the mean of 2 models and cannot be trained on");
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("ensemble");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, it_says_the_mean_of_its_members, TREE_BINARY, TREE_VALUE + 1);
  tcase_add_test(tests, the_file_is_like_that_of_one_model);
  tcase_add_test(tests, the_mean_of_one_is_that_one);
  tcase_add_test(tests, other_inputs_are_refused);
  tcase_add_test(tests, models_without_the_output_are_refused);
  tcase_add_test(tests, an_operator_that_opsets_read_differently_is_refused);
  tcase_add_test(tests, it_cannot_be_trained_on);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
