/* Students of tables: behind the preprocessing of a new model, from teachers of every kind. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/compress.h"
#include "pipeline/distil.h"
#include "pipeline/ensemble.h"
#include "pipeline/network_build.h"
#include "tests/support/tree_world.h"

#define ROWS 1000
#define FRESH 1000

typedef struct {
  DriftTable *table, *fresh;
  DriftSchema *schema;
} World;

static World new_world(TreeTask task)
{
  World world = {tree_table(ROWS, 3, task), tree_table(FRESH, 4, task), NULL};
  world.schema = tree_infer(world.table);
  return world;
}

static void world_clear(World *world)
{
  drift_table_free(world->table);
  drift_table_free(world->fresh);
  drift_schema_free(world->schema);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static GBytes *train(const World *world, const gchar *architecture)
{
  PipelineTrainOptions options = tree_options(architecture);
  PipelineTrainResult result = {0};
  tree_train(world->table, world->schema, &options, &result);
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

static GBytes *mean_of_trees_and_network(const World *world)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) trees = train(world, "trees:depth=3,rounds=40"), network = train(world, "mlp:16");
  GBytes *onnx = pipeline_ensemble_new((GBytes *[]){trees, network}, 2, world->schema, &error);
  ck_assert_msg(onnx != NULL, "%s", error != NULL ? error->message : "");
  return onnx;
}

static PipelineDistilOptions new_options(const gchar *architecture)
{
  PipelineDistilOptions options;
  pipeline_distil_options_init(&options);
  options.architecture = architecture;
  return options;
}

static GBytes *distil(GBytes *teacher, const DriftSchema *schema, const DriftTable *table,
                      const PipelineDistilOptions *options, PipelineDistilled *result)
{
  g_autoptr(GError) error = NULL;
  GBytes *student = pipeline_distil(teacher, schema, table, options, NULL, NULL, result, &error);
  ck_assert_msg(student != NULL, "%s", error != NULL ? error->message : "");
  return student;
}

/* --- what a student is -------------------------------------------------------------------------------------------- */

static void expect_inputs_of(GBytes *teacher, GBytes *student)
{
  g_autoptr(OnnxGraph) one = onnx_graph_from_bytes(teacher, NULL), other = onnx_graph_from_bytes(student, NULL);
  ck_assert_uint_eq(one->inputs->len, 5);
  ck_assert_uint_eq(other->inputs->len, 5);
  for (guint i = 0; i < one->inputs->len; i++) {
    const OnnxValue *wanted = g_ptr_array_index(one->inputs, i), *had = g_ptr_array_index(other->inputs, i);
    ck_assert_str_eq(had->name, wanted->name);
    ck_assert_int_eq(had->type, wanted->type);
  }
  ck_assert_str_eq(onnx_graph_get_metadata(other, PIPELINE_SCHEMA_KEY),
                   onnx_graph_get_metadata(one, PIPELINE_SCHEMA_KEY));
  ck_assert_uint_lt(g_bytes_get_size(student), g_bytes_get_size(teacher) / 4);
}

/* As the teacher decides; a constant answer would agree on half of the rows, and its difference would be 1. */
static void expect_agreement(const World *world, GBytes *teacher, GBytes *student, double least, double most)
{
  PipelineCompressComparison c;
  g_autoptr(GError) error = NULL;
  ck_assert_msg(pipeline_compress_compare(teacher, student, world->schema, world->fresh, &c, &error), "%s",
                error != NULL ? error->message : "");
  if (world->schema->task != DRIFT_TASK_REGRESSION) ck_assert_double_ge(c.agreement, least);
  ck_assert_double_le(c.difference, most);
}

/* Rows a, b, noise, empty, colour: all numbers missing and a known text, an unseen text, another one. */
static DriftTable *odd_rows(void)
{
  static const gchar *const names[] = {"a", "b", "noise", "empty"}, *const colours[] = {"red", "mauve", "ochre"};
  DriftTable *table = drift_table_new();
  for (guint c = 0; c < G_N_ELEMENTS(names); c++) {
    DriftColumn *column = drift_table_add_column(table, names[c], DRIFT_NUMERIC);
    for (guint i = 0; i < G_N_ELEMENTS(colours); i++) drift_column_append_number(column, NAN);
  }
  DriftColumn *colour = drift_table_add_column(table, "colour", DRIFT_CATEGORICAL);
  for (guint i = 0; i < G_N_ELEMENTS(colours); i++) drift_column_append_text(colour, colours[i], -1);
  table->n_rows = G_N_ELEMENTS(colours);
  return table;
}

/* Unseen texts are all the same, a known one is another thing. */
static void expect_answers_to_odd_rows(const World *world, GBytes *student)
{
  g_autoptr(DriftTable) table = odd_rows();
  guint n = 0;
  g_autofree float *said = tree_predict(student, table, world->schema, &n);
  for (guint i = 0; i < 3 * n; i++) ck_assert(isfinite(said[i]));
  ck_assert_float_eq(said[n], said[2 * n]);
  ck_assert_float_ne(said[0], said[n]);
}

static const struct {
  double least, most; /* agreement, difference */
} bounds[] = {[TREE_BINARY] = {.91, .08}, [TREE_CLASSES] = {.86, .11}, [TREE_VALUE] = {0, .2}};

START_TEST(a_student_of_trees_takes_texts_and_missing_numbers)
{
  g_auto(World) world = new_world((TreeTask)_i);
  const PipelineDistilOptions options = new_options("mlp:16");
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = train(&world, "trees:depth=3,rounds=60");
  g_autoptr(GBytes) student = distil(teacher, world.schema, world.table, &options, &result);
  ck_assert_uint_eq(result.n_train, ROWS * 9 / 10);
  ck_assert_uint_eq(result.n_labelled, ROWS);
  expect_inputs_of(teacher, student);
  expect_agreement(&world, teacher, student, bounds[_i].least, bounds[_i].most);
  expect_answers_to_odd_rows(&world, student);
}
END_TEST

START_TEST(a_student_of_a_mean_of_models)
{
  g_auto(World) world = new_world((TreeTask)_i);
  const PipelineDistilOptions options = new_options("mlp:16");
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = mean_of_trees_and_network(&world);
  g_autoptr(GBytes) student = distil(teacher, world.schema, world.table, &options, &result);
  expect_inputs_of(teacher, student);
  expect_agreement(&world, teacher, student, bounds[_i].least, bounds[_i].most);
  expect_answers_to_odd_rows(&world, student);
}
END_TEST

START_TEST(a_student_of_layers_that_are_no_dense_chain)
{
  g_auto(World) world = new_world(TREE_CLASSES);
  const PipelineDistilOptions options = new_options("mlp:16+gelu+layer-norm");
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = train(&world, "trees:depth=3,rounds=60");
  g_autoptr(GBytes) student = distil(teacher, world.schema, world.table, &options, &result);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(student, NULL);
  ck_assert_int_eq(onnx_graph_get_opset(graph, ""), 20); /* of Gelu */
  expect_agreement(&world, teacher, student, bounds[TREE_CLASSES].least, bounds[TREE_CLASSES].most);
}
END_TEST

/* --- which rows teach --------------------------------------------------------------------------------------------- */

/* The table with every other label missing, or without the column. */
static DriftTable *forget_labels(const DriftTable *table, gboolean all)
{
  g_autofree guint64 *rows = g_new(guint64, table->n_rows);
  for (guint64 i = 0; i < table->n_rows; i++) rows[i] = i;
  DriftTable *copy = drift_table_select(table, rows, table->n_rows);
  g_ptr_array_remove(copy->columns, drift_table_get_column(copy, "y"));
  DriftColumn *y = all ? NULL : drift_table_add_column(copy, "y", DRIFT_NUMERIC);
  for (guint64 i = 0; i < table->n_rows && y != NULL; i++)
    drift_column_append_number(y, i % 2 == 0 ? NAN
                                             : g_array_index(drift_table_get_column(table, "y")->numbers, double, i));
  return copy;
}

START_TEST(rows_without_a_label_teach)
{
  g_auto(World) world = new_world(TREE_BINARY);
  PipelineDistilOptions options = new_options("mlp:16");
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = train(&world, "trees:depth=3,rounds=60");
  for (guint all = 0; all < 2; all++) {
    g_autoptr(DriftTable) table = forget_labels(world.table, all == 1);
    options.label_share = all == 1 ? 1 : .1; /* 1: where there is no label, the teacher is all there is */
    g_autoptr(GBytes) student = distil(teacher, world.schema, table, &options, &result);
    ck_assert_uint_eq(result.n_labelled, all == 1 ? 0 : ROWS / 2);
    ck_assert_uint_eq(result.n_train + result.n_validation, ROWS);
    expect_agreement(&world, teacher, student, bounds[TREE_BINARY].least, bounds[TREE_BINARY].most);
  }
}
END_TEST

/* Of rows that do not train nothing is learnt: a text that only they have is as an unseen one. */
START_TEST(the_preprocessing_is_that_of_the_training_rows)
{
  g_auto(World) world = new_world(TREE_BINARY);
  const PipelineDistilOptions options = new_options("mlp:16");
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = train(&world, "trees:rounds=10");
  DriftColumn *old = drift_table_get_column(world.table, "colour");
  g_autoptr(DriftTable) table = forget_labels(world.table, TRUE);
  g_ptr_array_remove(table->columns, drift_table_get_column(table, "colour"));
  DriftColumn *colour = drift_table_add_column(table, "colour", DRIFT_CATEGORICAL);
  for (guint64 i = 0; i < ROWS; i++) {
    guint32 code = g_array_index(old->codes, guint32, i);
    if (i >= ROWS - 20)
      drift_column_append_text(colour, "mauve", -1);
    else if (code == DRIFT_CODE_MISSING)
      drift_column_append_missing(colour);
    else
      drift_column_append_text(colour, g_ptr_array_index(old->dictionary, code), -1);
  }
  g_autoptr(GBytes) student = distil(teacher, world.schema, table, &options, &result);
  ck_assert_uint_ge(result.n_validation, 20);
  expect_answers_to_odd_rows(&world, student);
}
END_TEST

/* --- images ------------------------------------------------------------------------------------------------------- */

/* 4 × 4 pixels, class "left" where the left half is the brighter one. */
static DriftTable *pixel_table(guint n)
{
  DriftTable *table = drift_table_new();
  for (guint p = 0; p < 16; p++) {
    g_autofree gchar *name = g_strdup_printf("x[%u]", p);
    drift_table_add_column(table, name, DRIFT_NUMERIC);
  }
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    for (guint p = 0; p < 16; p++)
      drift_column_append_number(g_ptr_array_index(table->columns, p),
                                 (i * 7 + p * 5) % 11 + ((p % 4 < 2) == (i % 2 == 0) ? 20 : 0));
    drift_column_append_text(y, i % 2 == 0 ? "left" : "right", -1);
    table->n_rows++;
  }
  return table;
}

static gboolean has_operator(GBytes *onnx, const gchar *operator)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  for (guint i = 0; i < graph->nodes->len; i++)
    if (strcmp(((const OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type, operator) == 0) return TRUE;
  return FALSE;
}

/* All pixels together are standardised, in front of the convolutions; a dense student has columns, as of a table. */
START_TEST(a_student_of_images_takes_pixels)
{
  static const gchar *const architectures[] = {"cnn:4", "mlp:4"};
  World world = {pixel_table(300), pixel_table(300), NULL};
  world.schema = tree_infer(world.table);
  PipelineDistilled result;
  g_autoptr(GBytes) teacher = train(&world, "mlp:8");
  for (guint i = 0; i < 2; i++) {
    PipelineDistilOptions options = new_options(architectures[i]);
    options.channels = 1;
    options.height = options.width = 4;
    g_autoptr(GBytes) student = distil(teacher, world.schema, world.table, &options, &result);
    ck_assert(has_operator(student, "Conv") == (i == 0));
    ck_assert(has_operator(student, "Sub") == (i == 0));
    ck_assert(has_operator(student, "Imputer") == (i == 1));
    expect_agreement(&world, teacher, student, .95, .2);
  }
  world_clear(&world);
}
END_TEST

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static void expect_refusal(GBytes *teacher, const DriftSchema *schema, const DriftTable *table,
                           const PipelineDistilOptions *options, gint code, const gchar *says)
{
  g_autoptr(GError) error = NULL;
  PipelineDistilled result;
  ck_assert_ptr_null(pipeline_distil(teacher, schema, table, options, NULL, NULL, &result, &error));
  ck_assert_msg(g_error_matches(error, PIPELINE_ERROR, code), "%d: %s", error->code, error->message);
  ck_assert_msg(strstr(error->message, says) != NULL, "%s", error->message);
}

START_TEST(options_and_images_of_texts_are_refused)
{
  g_auto(World) world = new_world(TREE_BINARY);
  PipelineDistilOptions image = new_options("cnn:4"), unknown = new_options("tree:8"), rate = new_options("mlp:8"),
                        backend = new_options("mlp:8");
  g_autoptr(GBytes) teacher = train(&world, "trees:rounds=5");
  rate.learning_rate = -1;
  backend.backend = "abacus";
  expect_refusal(teacher, world.schema, world.table, &image, PIPELINE_ERROR_DATA,
                 "\"cnn:4\" is for images, rows of numbers of which none is missing: write mlp:16 for a table");
  expect_refusal(teacher, world.schema, world.table, &unknown, PIPELINE_ERROR_INVALID, "mlp:64,64");
  expect_refusal(teacher, world.schema, world.table, &rate, PIPELINE_ERROR_INVALID, "learning rate");
  expect_refusal(teacher, world.schema, world.table, &backend, PIPELINE_ERROR_INVALID, "abacus");
}
END_TEST

/* value = x: a missing number is answered by none. */
START_TEST(rows_without_a_finite_answer_are_named)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("echo");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_output(graph, "value", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_node(graph, "", "Identity", "x", "value");
  g_autoptr(GBytes) teacher = onnx_graph_to_bytes(graph, NULL);
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC);
  for (table->n_rows = 0; table->n_rows < 40; table->n_rows++)
    drift_column_append_number(x, table->n_rows == 7 || table->n_rows == 30 ? NAN : (double)table->n_rows);
  const PipelineDistilOptions options = new_options("mlp:4");
  expect_refusal(teacher, schema, table, &options, PIPELINE_ERROR_DATA,
                 "2 of the 40 rows by no finite number, the first of them row 8: leave these rows out");
}
END_TEST

START_TEST(a_column_named_like_a_weight_is_refused)
{
  g_auto(World) world = new_world(TREE_BINARY);
  const PipelineDistilOptions options = new_options("mlp:8");
  DriftColumn *noise = drift_table_get_column(world.table, "noise");
  g_free(noise->name);
  noise->name = g_strdup("layer_1.bias");
  drift_schema_free(world.schema);
  world.schema = tree_infer(world.table);
  g_autoptr(GBytes) teacher = train(&world, "trees:rounds=5");
  expect_refusal(teacher, world.schema, world.table, &options, PIPELINE_ERROR_UNSUPPORTED, "rename the column");
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("distil");
  TCase *tests = tcase_create("distil");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, a_student_of_trees_takes_texts_and_missing_numbers, 0, 3);
  tcase_add_loop_test(tests, a_student_of_a_mean_of_models, 0, 3);
  tcase_add_test(tests, a_student_of_layers_that_are_no_dense_chain);
  tcase_add_test(tests, rows_without_a_label_teach);
  tcase_add_test(tests, the_preprocessing_is_that_of_the_training_rows);
  tcase_add_test(tests, a_student_of_images_takes_pixels);
  tcase_add_test(tests, options_and_images_of_texts_are_refused);
  tcase_add_test(tests, rows_without_a_finite_answer_are_named);
  tcase_add_test(tests, a_column_named_like_a_weight_is_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
