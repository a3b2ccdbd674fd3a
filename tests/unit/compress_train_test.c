/* Pruning and distillation: what goes, what stays, and what a student learns. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/compress.h"
#include "pipeline/compress.h"
#include "pipeline/distil.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/model_spec.h"
#include "pipeline/prune.h"
#include "pipeline/trainer_random.h"

/* Class "in" within the unit circle; without labels the column is missing. */
static DriftTable *make_rows(guint n, guint64 seed, gboolean labelled)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_NUMERIC),
              *y = labelled ? drift_table_add_column(table, "y", DRIFT_CATEGORICAL) : NULL;
  for (guint i = 0; i < n; i++) {
    double u = 3 * pipeline_random_uniform(&random) - 1.5, v = 3 * pipeline_random_uniform(&random) - 1.5;
    drift_column_append_number(a, u);
    drift_column_append_number(b, v);
    if (y != NULL) drift_column_append_text(y, u * u + v * v < 1 ? "in" : "out", -1);
    table->n_rows++;
  }
  return table;
}

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_class(schema, "in");
  drift_schema_add_class(schema, "out");
  return schema;
}

/* mlp:32,32 after a short training. */
static GBytes *train(const DriftTable *table, const DriftSchema *schema)
{
  PipelineGraphTrainOptions options;
  PipelineTrainResult result = {0};
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(table, schema, &error);
  ck_assert_msg(rows != NULL, "%s", error ? error->message : "");
  pipeline_graph_train_options_init(&options);
  options.architecture = "mlp:32,32";
  options.dropout = 0;
  options.fit.epochs = 12;
  options.fit.learning_rate = 1e-2;
  ck_assert_msg(pipeline_graph_train(rows, &options, NULL, NULL, &result, &error), "%s", error ? error->message : "");
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

typedef struct {
  DriftTable *table, *fresh;
  DriftSchema *schema;
  GBytes *onnx;
} World;

static World world;

static void setup(void)
{
  world = (World){make_rows(1500, 1, TRUE), make_rows(1000, 2, TRUE), make_schema(), NULL};
  world.onnx = train(world.table, world.schema);
}

static void teardown(void)
{
  drift_table_free(world.table);
  drift_table_free(world.fresh);
  drift_schema_free(world.schema);
  g_bytes_unref(world.onnx);
}

static PipelineCompressComparison compare(GBytes *small)
{
  PipelineCompressComparison comparison;
  g_autoptr(GError) error = NULL;
  ck_assert_msg(pipeline_compress_compare(world.onnx, small, world.schema, world.fresh, &comparison, &error), "%s",
                error ? error->message : "");
  return comparison;
}

static GBytes *prune(const PipelinePruneOptions *options, PipelinePruned *result)
{
  g_autoptr(GError) error = NULL;
  GBytes *small = pipeline_prune(world.onnx, world.schema, world.table, options, NULL, NULL, result, &error);
  ck_assert_msg(small != NULL, "%s", error ? error->message : "");
  return small;
}

/* Weights of mlp:32,32 on 2 features and 2 classes: 64, 1,024, 64. */
START_TEST(the_share_is_exact)
{
  const struct {
    gboolean global;
    guint epochs;
    guint64 left[3];
  } cases[] = {{FALSE, 0, {16, 256, 16}}, {FALSE, 10, {16, 256, 16}}, {TRUE, 0, {0, 0, 0}}, {TRUE, 2, {0, 0, 0}}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    PipelinePruneOptions options;
    PipelinePruned result;
    pipeline_prune_options_init(&options);
    options.share = 0.75;
    options.global = cases[i].global;
    options.epochs = cases[i].epochs;
    options.learning_rate = 1e-2;
    g_autoptr(GBytes) small = prune(&options, &result);
    ck_assert_uint_eq(result.layers->len, 3);
    ck_assert_uint_eq(result.n, 1152);
    ck_assert_uint_eq(result.n_left, 288);
    for (guint l = 0; l < 3 && !cases[i].global; l++)
      ck_assert_uint_eq(((PipelinePrunedLayer *)g_ptr_array_index(result.layers, l))->n_left, cases[i].left[l]);
    PipelineCompressComparison comparison = compare(small);
    ck_assert_uint_eq(comparison.after.n_nonzero, 288);
    ck_assert_uint_eq(comparison.before.n_nonzero, 1152);
    if (cases[i].epochs > 2) ck_assert_double_gt(comparison.after.accuracy, comparison.before.accuracy - 0.05);
    pipeline_pruned_clear(&result);
  }
}
END_TEST

/* The weights that go are those of least magnitude. */
START_TEST(the_smallest_go)
{
  PipelinePruneOptions options;
  PipelinePruned result;
  pipeline_prune_options_init(&options);
  options.epochs = 0;
  g_autoptr(GBytes) small = prune(&options, &result);
  g_autoptr(OnnxGraph) before = onnx_graph_from_bytes(world.onnx, NULL), after = onnx_graph_from_bytes(small, NULL);
  for (guint l = 0; l < result.layers->len; l++) {
    const gchar *name = ((PipelinePrunedLayer *)g_ptr_array_index(result.layers, l))->name;
    const OnnxTensor *tensor = onnx_graph_find_initialiser(before, name);
    g_autofree float *old = onnx_tensor_to_floats(tensor, NULL),
                     *new = onnx_tensor_to_floats(onnx_graph_find_initialiser(after, name), NULL);
    float largest_gone = 0, smallest_left = INFINITY;
    for (gsize i = 0; i < onnx_tensor_get_n_elements(tensor); i++) {
      if (new[i] == 0) largest_gone = MAX(largest_gone, fabsf(old[i]));
      if (new[i] != 0) smallest_left = MIN(smallest_left, fabsf(old[i]));
      if (new[i] != 0) ck_assert_float_eq(new[i], old[i]);
    }
    ck_assert_float_le(largest_gone, smallest_left);
  }
  pipeline_pruned_clear(&result);
}
END_TEST

START_TEST(units_leave_the_graph)
{
  for (guint i = 0; i < 4; i++) {
    PipelinePruneOptions options;
    PipelinePruned result;
    pipeline_prune_options_init(&options);
    options.structured = TRUE;
    options.learning_rate = 1e-2;
    options.activation = i % 2 == 1;
    options.global = i >= 2;
    g_autoptr(GBytes) small = prune(&options, &result);
    ck_assert_uint_eq(result.layers->len, 2);
    ck_assert_uint_eq(result.n, 64);
    ck_assert_uint_eq(result.n_left, 32);
    PipelineCompressComparison comparison = compare(small);
    if (!options.global) ck_assert_uint_eq(comparison.after.n_weights, 2 * 16 + 16 * 16 + 16 * 2);
    ck_assert_uint_lt(comparison.after.bytes, comparison.before.bytes);
    ck_assert_double_gt(comparison.after.accuracy, comparison.before.accuracy - 0.05);
    pipeline_pruned_clear(&result);
  }
}
END_TEST

static void fill(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, const float *values)
{
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

/* A channel whose Conv, normalisation and bias make 0 can go without a trace, also behind Flatten; what the graph
 * outputs or a skip reads cannot. */
START_TEST(a_dead_channel_leaves_no_trace)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("channels");
  const float kernel[2] = {1, -3}, one[2] = {1, 1}, zero[2] = {0, 0}, w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1,2,2");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,1");
  fill(graph, "k", 4, (gint64[]){2, 1, 1, 1}, kernel);
  fill(graph, "gamma", 1, (gint64[]){2}, one);
  fill(graph, "beta", 1, (gint64[]){2}, zero);
  fill(graph, "mean", 1, (gint64[]){2}, zero);
  fill(graph, "variance", 1, (gint64[]){2}, one);
  fill(graph, "w", 2, (gint64[]){8, 1}, w);
  onnx_graph_add_node(graph, "", "Conv", "x,k", "c");
  onnx_graph_add_node(graph, "", "BatchNormalization", "c,gamma,beta,mean,variance", "n");
  onnx_graph_add_node(graph, "", "Relu", "n", "r");
  onnx_graph_add_node(graph, "", "Flatten", "r", "f");
  onnx_graph_add_node(graph, "", "MatMul", "f,w", "y");
  g_autoptr(GPtrArray) layers = onnx_graph_find_units(graph);
  ck_assert_uint_eq(layers->len, 1);
  const OnnxUnits *units = g_ptr_array_index(layers, 0);
  ck_assert_uint_eq(units->n_units, 2);
  ck_assert_str_eq(units->activation, "r");
  ck_assert(units->image);
  ck_assert_uint_eq(units->slices->len, 6);
  g_autofree double *norms = onnx_units_norms(graph, units);
  ck_assert_double_eq(norms[0], 1);
  ck_assert_double_eq(norms[1], 3);
  onnx_graph_keep_units(graph, units, (const gboolean[]){FALSE, TRUE});
  g_autofree float *left = onnx_tensor_to_floats(onnx_graph_find_initialiser(graph, "w"), NULL);
  const OnnxTensor *matrix = onnx_graph_find_initialiser(graph, "w"), *small = onnx_graph_find_initialiser(graph, "k");
  ck_assert_int_eq(matrix->dims[0], 4);
  ck_assert_int_eq(small->dims[0], 1);
  for (guint i = 0; i < 4; i++) ck_assert_float_eq(left[i], (float)(5 + i));
  ck_assert_int_eq(onnx_graph_find_initialiser(graph, "mean")->dims[0], 1);
  /* read by a graph output */
  onnx_graph_add_output(graph, "r", ONNX_TYPE_FLOAT, "N,?,2,2");
  g_autoptr(GPtrArray) none = onnx_graph_find_units(graph);
  ck_assert_uint_eq(none->len, 0);
}
END_TEST

START_TEST(refusals_of_pruning_say_why)
{
  const struct {
    double share;
    gboolean structured, activation, labelled;
    guint epochs;
    gint code;
    const gchar *says;
  } cases[] = {{0, FALSE, FALSE, TRUE, 0, PIPELINE_ERROR_INVALID, "between 0 and 1"},
               {1, FALSE, FALSE, TRUE, 0, PIPELINE_ERROR_INVALID, "between 0 and 1"},
               {.5, FALSE, TRUE, TRUE, 0, PIPELINE_ERROR_INVALID, "structured"},
               {.5, FALSE, FALSE, FALSE, 1, PIPELINE_ERROR_DATA, "0 epochs do without"},
               {1e-5, FALSE, FALSE, TRUE, 0, PIPELINE_ERROR_UNSUPPORTED, "less than one"},
               {1e-5, TRUE, FALSE, TRUE, 0, PIPELINE_ERROR_UNSUPPORTED, "less than one"}};
  g_autoptr(DriftTable) bare = make_rows(100, 3, FALSE);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    PipelinePruneOptions options;
    PipelinePruned result;
    g_autoptr(GError) error = NULL;
    pipeline_prune_options_init(&options);
    options.share = cases[i].share;
    options.structured = cases[i].structured;
    options.activation = cases[i].activation;
    options.epochs = cases[i].epochs;
    options.learning_rate = 1e-2;
    ck_assert_ptr_null(pipeline_prune(world.onnx, world.schema, cases[i].labelled ? world.table : bare, &options, NULL,
                                      NULL, &result, &error));
    ck_assert(g_error_matches(error, PIPELINE_ERROR, cases[i].code));
    ck_assert_msg(strstr(error->message, cases[i].says) != NULL, "%s", error->message);
    pipeline_pruned_clear(&result);
  }
}
END_TEST

/* Against differences, at several temperatures and shares; T 1 without labels is cross-entropy with q. */
START_TEST(the_loss_of_distillation)
{
  const float outputs[3] = {.5f, -1, 2}, q[3] = {.2f, .3f, .5f};
  for (guint i = 0; i < 8; i++) {
    PipelineGraphLossOptions options;
    pipeline_graph_loss_options_init(&options);
    options.temperature = i < 4 ? 1 : 5;
    options.label_share = i % 2 == 0 ? 0 : .3;
    const float targets[4] = {q[0], q[1], q[2], i % 4 < 2 ? -1 : 1};
    float gradient[3];
    double loss = pipeline_graph_loss_evaluate(&pipeline_distil_loss, &options, outputs, 3, targets, NULL, 1, gradient);
    for (guint k = 0; k < 3; k++) {
      const double h = 1e-2;
      float up[3], down[3];
      memcpy(up, outputs, sizeof up);
      memcpy(down, outputs, sizeof down);
      up[k] += (float)h;
      down[k] -= (float)h;
      double slope = (pipeline_graph_loss_evaluate(&pipeline_distil_loss, &options, up, 3, targets, NULL, 1, NULL) -
                      pipeline_graph_loss_evaluate(&pipeline_distil_loss, &options, down, 3, targets, NULL, 1, NULL)) /
                     (2 * h);
      ck_assert_double_eq_tol((double)gradient[k], slope, 1e-4);
    }
    if (i > 1) continue;
    double total = log(exp(.5) + exp(-1) + exp(2));
    ck_assert_double_eq_tol(loss, -(.2 * (.5 - total) + .3 * (-1 - total) + .5 * (2 - total)), 1e-6);
  }
}
END_TEST

START_TEST(a_student_learns_without_labels)
{
  g_autoptr(DriftTable) bare = make_rows(3000, 4, FALSE);
  const DriftTable *tables[] = {bare, world.table};
  for (guint i = 0; i < 2; i++) {
    PipelineDistilOptions options;
    PipelineDistilled result;
    g_autoptr(GError) error = NULL;
    pipeline_distil_options_init(&options);
    options.architecture = "mlp:12";
    options.learning_rate = 2e-2;
    g_autoptr(GBytes) small =
        pipeline_distil(world.onnx, world.schema, tables[i], &options, NULL, NULL, &result, &error);
    ck_assert_msg(small != NULL, "%s", error ? error->message : "");
    ck_assert_uint_eq(result.n_labelled, i == 0 ? 0 : 1500);
    ck_assert_uint_eq(result.n_train + result.n_validation, tables[i]->n_rows);
    PipelineCompressComparison comparison = compare(small);
    ck_assert_uint_eq(comparison.after.n_weights, 2 * 12 + 12 * 2);
    ck_assert_double_gt(comparison.agreement, 0.93);
    ck_assert_uint_eq(comparison.n_labelled, 1000);
  }
}
END_TEST

START_TEST(the_same_seed_gives_the_same_student)
{
  PipelineDistilOptions options;
  PipelineDistilled result;
  pipeline_distil_options_init(&options);
  options.architecture = "mlp:4";
  options.epochs = 2;
  g_autoptr(GBytes) one = pipeline_distil(world.onnx, world.schema, world.table, &options, NULL, NULL, &result, NULL),
                    two = pipeline_distil(world.onnx, world.schema, world.table, &options, NULL, NULL, &result, NULL);
  ck_assert(g_bytes_equal(one, two));
  options.seed = 2;
  g_autoptr(GBytes) other = pipeline_distil(world.onnx, world.schema, world.table, &options, NULL, NULL, &result, NULL);
  ck_assert(!g_bytes_equal(one, other));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("compress_train");
  TCase *tests = tcase_create("compress_train");
  tcase_add_unchecked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, the_share_is_exact);
  tcase_add_test(tests, the_smallest_go);
  tcase_add_test(tests, units_leave_the_graph);
  tcase_add_test(tests, a_dead_channel_leaves_no_trace);
  tcase_add_test(tests, refusals_of_pruning_say_why);
  tcase_add_test(tests, the_loss_of_distillation);
  tcase_add_test(tests, a_student_learns_without_labels);
  tcase_add_test(tests, the_same_seed_gives_the_same_student);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
