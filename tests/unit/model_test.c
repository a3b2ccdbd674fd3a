/* Loading and predicting: binding of inputs, roles of outputs, missing values, batches against single rows. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/model.h"

static DriftSchema *make_schema(DriftTask task, guint n_classes, guint n_features)
{
  DriftSchema *schema = drift_schema_new(task, "y");
  for (guint i = 0; i < n_classes; i++) {
    gchar name[2] = {(gchar)('a' + (gint)i), '\0'};
    drift_schema_add_class(schema, name);
  }
  for (guint i = 0; i < n_features; i++) {
    gchar name[4];
    g_snprintf(name, sizeof name, "f%u", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  schema->positive_class = task == DRIFT_TASK_BINARY ? 1 : 0;
  return schema;
}

/* Takes the graph. */
static PipelineModel *load(OnnxGraph *graph, const DriftSchema *schema, GError **error)
{
  g_autoptr(OnnxGraph) owned = graph;
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(owned, error);
  ck_assert_ptr_nonnull(bytes);
  return pipeline_model_load(bytes, schema, NULL, error);
}

static PipelineModel *load_well(OnnxGraph *graph, const DriftSchema *schema)
{
  GError *error = NULL;
  PipelineModel *model = load(graph, schema, &error);
  ck_assert_msg(model != NULL, "%s", error != NULL ? error->message : "");
  return model;
}

static void assert_error(GError *error, PipelineError code, const gchar *text)
{
  ck_assert_ptr_nonnull(error);
  ck_assert_msg(error->code == (gint)code && strstr(error->message, text) != NULL, "%d: %s", error->code,
                error->message);
  g_error_free(error);
}

static void add_floats(OnnxGraph *graph, const gchar *name, guint rows, guint columns, guint seed)
{
  g_autofree float *values = g_new(float, rows *columns);
  for (guint i = 0; i < rows * columns; i++) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = (float)(seed >> 8) * 0x1p-23f - 1;
  }
  gint64 dims[2] = {rows, columns};
  guint n_dims = rows > 1 ? 2 : 1;
  onnx_graph_take_initialiser(graph,
                              onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, rows > 1 ? dims : dims + 1, values));
}

/* An MLP n-37-c as PyTorch writes it. */
static OnnxGraph *mlp(guint n_features, guint n_classes)
{
  OnnxGraph *graph = onnx_graph_new("mlp");
  onnx_graph_set_opset(graph, "", 17);
  g_autofree gchar *in = g_strdup_printf("N,%u", n_features), *out = g_strdup_printf("N,%u", n_classes);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, in);
  add_floats(graph, "w0", 37, n_features, 1);
  add_floats(graph, "b0", 1, 37, 2);
  add_floats(graph, "w1", n_classes, 37, 3);
  add_floats(graph, "b1", 1, n_classes, 4);
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "x,w0,b0", "h"), "transB", 1);
  onnx_graph_add_node(graph, "", "Tanh", "h", "t");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "t,w1,b1", "z"), "transB", 1);
  onnx_graph_add_node(graph, "", "Softmax", "z", "p");
  onnx_graph_add_output(graph, "p", ONNX_TYPE_FLOAT, out);
  return graph;
}

START_TEST(test_batch_is_rows)
{
  enum { ROWS = 1000, FEATURES = 11, CLASSES = 5 };
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_MULTICLASS, CLASSES, FEATURES);
  g_autoptr(PipelineModel) model = load_well(mlp(FEATURES, CLASSES), schema);
  ck_assert_uint_eq(pipeline_model_get_n_outputs(model), CLASSES);
  static DriftValue rows[ROWS * FEATURES];
  static float batch[ROWS * CLASSES];
  for (guint i = 0; i < ROWS * FEATURES; i++) rows[i] = drift_value_number(sin(i));
  ck_assert(pipeline_model_predict(model, rows, ROWS, batch, &error));
  for (guint row = 0; row < ROWS; row++) {
    float single[CLASSES], sum = 0;
    ck_assert(pipeline_model_predict(model, rows + row * FEATURES, 1, single, &error));
    ck_assert_int_eq(memcmp(single, batch + row * CLASSES, sizeof single), 0);
    for (guint i = 0; i < CLASSES; i++) sum += single[i];
    ck_assert_float_eq_tol(sum, 1, 1e-5f);
  }
}
END_TEST

START_TEST(test_table_is_rows)
{
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_BINARY, 2, 2);
  g_autoptr(PipelineModel) model = load_well(mlp(2, 2), schema);
  g_autoptr(DriftTable) table = drift_table_new();
  drift_table_add_column(table, "f1", DRIFT_NUMERIC);
  drift_table_add_column(table, "f0", DRIFT_NUMERIC);
  g_autofree DriftValue *rows = g_new(DriftValue, 600);
  for (guint row = 0; row < 300; row++) {
    rows[2 * row] = drift_value_number(row * 0.01);
    rows[2 * row + 1] = drift_value_number(1 - row * 0.02);
    drift_column_append_number(drift_table_get_column(table, "f0"), rows[2 * row].number);
    drift_column_append_number(drift_table_get_column(table, "f1"), rows[2 * row + 1].number);
  }
  table->n_rows = 300;
  float expected[600], actual[600];
  ck_assert(pipeline_model_predict(model, rows, 300, expected, &error));
  ck_assert(pipeline_model_predict_table(model, table, actual, &error));
  ck_assert_int_eq(memcmp(expected, actual, sizeof actual), 0);
  g_autoptr(DriftTable) other = drift_table_new();
  drift_table_add_column(other, "f0", DRIFT_NUMERIC);
  other->n_rows = 1;
  ck_assert(!pipeline_model_predict_table(model, other, actual, &error));
  assert_error(error, PIPELINE_ERROR_DATA, "'f1'");
}
END_TEST

START_TEST(test_missing_and_text)
{
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_REGRESSION, 0, 1);
  OnnxGraph *graph = onnx_graph_new("double");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_node(graph, "", "Add", "x,x", "value");
  onnx_graph_add_output(graph, "value", ONNX_TYPE_FLOAT, "N,1");
  g_autoptr(PipelineModel) model = load_well(graph, schema);
  DriftValue rows[4] = {drift_value_number(2), drift_value_missing(), drift_value_text("3", -1),
                        drift_value_text("three", -1)};
  float outputs[4];
  ck_assert(pipeline_model_predict(model, rows, 4, outputs, &error));
  ck_assert_float_eq(outputs[0], 4);
  ck_assert(isnan(outputs[1]));
  ck_assert_float_eq(outputs[2], 6);
  ck_assert(isnan(outputs[3]));
}
END_TEST

/* One tensor a feature, in another order and spelling; an int64 tensor; unseen and missing categories. */
START_TEST(test_inputs_by_name)
{
  static const float weights[] = {1, 10, 100, 1000};
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_REGRESSION, 0, 0);
  drift_schema_add_feature(schema, "hair colour", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_feature(schema, "note", DRIFT_CATEGORICAL, TRUE, FALSE);
  drift_schema_add_feature(schema, "my age", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "my pay", DRIFT_NUMERIC, FALSE, TRUE);
  OnnxGraph *graph = onnx_graph_new("named");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  onnx_graph_add_input(graph, "my_pay", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_input(graph, "hair_colour", ONNX_TYPE_STRING, "N,1");
  onnx_graph_add_input(graph, "my_age", ONNX_TYPE_INT64, "N,1");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){4, 1}, weights));
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Cast", "my_age", "years"), "to", 1);
  onnx_node_set_strings(onnx_graph_add_node(graph, "ai.onnx.ml", "OneHotEncoder", "hair_colour", "hot"), "cats_strings",
                        (const gchar *const[]){"red", "7"}, 2);
  onnx_graph_add_node(graph, "", "Flatten", "hot", "flat");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "flat,years,my_pay", "x"), "axis", 1);
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "value");
  onnx_graph_add_output(graph, "value", ONNX_TYPE_FLOAT, "N,1");
  g_autoptr(PipelineModel) model = load_well(graph, schema);
  DriftValue missing = drift_value_missing();
  DriftValue rows[16] = {drift_value_text("red", -1),
                         missing,
                         drift_value_number(2),
                         drift_value_number(3),
                         drift_value_number(7),
                         missing,
                         drift_value_number(0),
                         drift_value_number(0),
                         drift_value_text("blue", -1),
                         missing,
                         drift_value_number(1),
                         drift_value_number(0),
                         missing,
                         missing,
                         drift_value_number(0),
                         drift_value_number(1)};
  float outputs[4] = {0};
  ck_assert(pipeline_model_predict(model, rows, 4, outputs, &error));
  ck_assert_float_eq(outputs[0], 3201);
  ck_assert_float_eq(outputs[1], 10);
  ck_assert_float_eq(outputs[2], 100);
  ck_assert_float_eq(outputs[3], 1000);
  rows[6] = missing;
  ck_assert(!pipeline_model_predict(model, rows, 4, outputs, &error));
  assert_error(error, PIPELINE_ERROR_DATA, "row 1, feature 'my age'");
  ck_assert_float_eq(outputs[0], 3201); /* untouched */
}
END_TEST

/* A classifier whose labels come in another order, and both kinds of binary outputs. */
static OnnxGraph *linear(const gchar *last, const gchar *output, guint n)
{
  OnnxGraph *graph = onnx_graph_new("linear");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,2");
  add_floats(graph, "w", 2, n, 9);
  g_autofree gchar *shape = g_strdup_printf("N,%u", n);
  onnx_graph_add_node(graph, "", "MatMul", "x,w", last != NULL ? "z" : output);
  if (last != NULL) onnx_graph_add_node(graph, "", last, "z", output);
  onnx_graph_add_output(graph, output, ONNX_TYPE_FLOAT, shape);
  return graph;
}

START_TEST(test_binary_forms)
{
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_BINARY, 2, 2);
  DriftValue row[2] = {drift_value_number(1), drift_value_number(-2)};
  float with_sigmoid[2], with_logit[2], swapped[2];
  g_autoptr(PipelineModel) sigmoid = load_well(linear("Sigmoid", "y", 1), schema);
  g_autoptr(PipelineModel) logit = load_well(linear(NULL, "y", 1), schema);
  schema->positive_class = 0;
  g_autoptr(PipelineModel) other = load_well(linear("Sigmoid", "y", 1), schema);
  ck_assert(pipeline_model_predict(sigmoid, row, 1, with_sigmoid, &error));
  ck_assert(pipeline_model_predict(logit, row, 1, with_logit, &error));
  ck_assert(pipeline_model_predict(other, row, 1, swapped, &error));
  ck_assert_float_eq_tol(with_sigmoid[0] + with_sigmoid[1], 1, 1e-6f);
  ck_assert_float_eq(with_sigmoid[1], with_logit[1]);
  ck_assert_float_eq(with_sigmoid[1], swapped[0]);
  ck_assert_uint_eq(pipeline_model_decide(sigmoid, with_sigmoid), with_sigmoid[1] > with_sigmoid[0]);
}
END_TEST

START_TEST(test_refusals)
{
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_MULTICLASS, 3, 2);
  ck_assert_ptr_eq(load(linear("Softmax", "y", 4), schema, &error), NULL);
  assert_error(error, PIPELINE_ERROR_MODEL, "[N, 3]");
  error = NULL;
  g_autoptr(PipelineModel) model = load_well(linear("Neg", "y", 3), schema); /* only the values tell */
  DriftValue row[2] = {drift_value_number(100), drift_value_number(100)};
  float outputs[3];
  ck_assert(!pipeline_model_predict(model, row, 1, outputs, &error));
  assert_error(error, PIPELINE_ERROR_MODEL, "no probability");
  error = NULL;
  OnnxGraph *across = linear("Softmax", "y", 3);
  onnx_node_set_int(g_ptr_array_index(across->nodes, 1), "axis", 0);
  ck_assert_ptr_eq(load(across, schema, &error), NULL);
  assert_error(error, PIPELINE_ERROR_UNSUPPORTED, "influence each other");
  error = NULL;
  OnnxGraph *exotic = linear("RandomNormalLike", "y", 3);
  onnx_graph_add_node(exotic, "", "SequenceInsert", "z,z", "q");
  onnx_graph_add_node(exotic, "", "Mul", "q,z", "r");
  onnx_graph_add_output(exotic, "r", ONNX_TYPE_FLOAT, "N,3");
  ck_assert_ptr_eq(load(exotic, schema, &error), NULL);
  assert_error(error, PIPELINE_ERROR_UNSUPPORTED,
               "RandomNormalLike (set 17: random numbers; RandomNormalLike node number 2 (output 'y')), "
               "SequenceInsert (set 17: sequences; SequenceInsert node");
  error = NULL;
  drift_schema_add_feature(schema, "extra", DRIFT_NUMERIC, FALSE, TRUE);
  ck_assert_ptr_eq(load(linear("Softmax", "y", 3), schema, &error), NULL);
  assert_error(error, PIPELINE_ERROR_MODEL, "'extra'");
}
END_TEST

/* A graph of two inputs a, b [N, 1] and the labels 3, 5, 9; or without the labels. */
static GBytes *named_columns(gboolean labels)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("named");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  onnx_graph_add_input(graph, "a", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_input(graph, "b", ONNX_TYPE_FLOAT, "N,1");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "a,b", "x"), "axis", 1);
  add_floats(graph, "w", 2, 3, 5);
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "z");
  onnx_graph_add_node(graph, "", "Softmax", "z", labels ? "s" : "p");
  if (labels) {
    OnnxNode *map = onnx_graph_add_node(graph, "ai.onnx.ml", "ZipMap", "s", "p");
    onnx_node_set_ints(map, "classlabels_int64s", (const gint64[]){3, 5, 9}, 3);
  }
  onnx_graph_add_output(graph, "p", ONNX_TYPE_FLOAT, "N,3");
  return onnx_graph_to_bytes(graph, NULL);
}

/* y of two rows; the table has the columns id, a, b as well. */
static DriftSchema *infer(GBytes *onnx, const gchar *label, double first, double second, GError **error)
{
  static const gchar *const names[] = {"id", "a", "b", "y"};
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    DriftColumn *column = drift_table_add_column(table, names[i], DRIFT_NUMERIC);
    drift_column_append_number(column, i == 3 ? first : i);
    drift_column_append_number(column, i == 3 ? second : i + 10);
  }
  table->n_rows = 2;
  return pipeline_model_infer_schema(onnx, table, label, error);
}

START_TEST(test_schema_is_what_the_model_says)
{
  GError *error = NULL;
  g_autoptr(GBytes) named = named_columns(TRUE), plain = named_columns(FALSE);
  g_autoptr(DriftSchema) few = infer(named, "y", 9, 3, &error);
  ck_assert_msg(few != NULL, "%s", error ? error->message : "");
  ck_assert_int_eq(few->task, DRIFT_TASK_MULTICLASS); /* though the rows show two of three classes */
  ck_assert_uint_eq(few->classes->len, 3);
  ck_assert_str_eq(g_ptr_array_index(few->classes, 1), "5");
  ck_assert_int_eq(drift_schema_get_feature(few, 0)->input, FALSE); /* id is no input of the graph */
  ck_assert_int_eq(drift_schema_get_feature(few, 2)->input, TRUE);
  g_autoptr(DriftSchema) one = infer(named, "y", 5, 5, &error);
  ck_assert_uint_eq(one->classes->len, 3);
  g_autoptr(DriftSchema) none = infer(named, NULL, 0, 0, &error);
  ck_assert_uint_eq(none->classes->len, 3);
  g_autoptr(DriftSchema) positions = infer(plain, "y", 0, 2, &error);
  ck_assert_uint_eq(positions->classes->len, 3);
  ck_assert_str_eq(g_ptr_array_index(positions->classes, 2), "2");
  g_autoptr(DriftSchema) others = infer(named, "y", 3, 4, &error); /* 4 is none of the model's: the table's classes */
  ck_assert_int_eq(others->task, DRIFT_TASK_BINARY);
  ck_assert_ptr_null(infer(named, "no such", 3, 5, &error));
  assert_error(error, PIPELINE_ERROR_DATA, "no such");
}
END_TEST

START_TEST(test_one_column_is_a_regression)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("value");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,3");
  add_floats(graph, "w", 3, 1, 5);
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "v");
  onnx_graph_add_output(graph, "v", ONNX_TYPE_FLOAT, "N,1");
  g_autoptr(GBytes) onnx = onnx_graph_to_bytes(graph, &error);
  g_autoptr(DriftTable) table = drift_table_new();
  static const gchar *const names[] = {"a", "b", "c", "count"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    DriftColumn *column = drift_table_add_column(table, names[i], DRIFT_NUMERIC);
    for (guint row = 0; row < 3; row++) drift_column_append_number(column, row);
  }
  table->n_rows = 3;
  g_autoptr(DriftSchema) counts = pipeline_model_infer_schema(onnx, table, "count", &error);
  ck_assert_msg(counts != NULL, "%s", error ? error->message : "");
  ck_assert_int_eq(counts->task, DRIFT_TASK_REGRESSION); /* three whole numbers are no classes of one column */
}
END_TEST

/* Two values a row of one operator, or of two side by side, are no scores of two classes. */
START_TEST(test_several_values_are_no_classes)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("values");
  static const float weights[] = {1, 0, 0, 0, 1, 0};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,3");
  for (guint i = 0; i < 2; i++) {
    OnnxNode *node = onnx_graph_add_node(graph, "ai.onnx.ml", "LinearRegressor", "x",
                                         _i == 0 ? (i == 0 ? "v" : "unused") : (i == 0 ? "first" : "second"));
    onnx_node_set_floats(node, "coefficients", weights, _i == 0 ? 6 : 3);
    onnx_node_set_int(node, "targets", _i == 0 ? 2 : 1);
  }
  if (_i == 1) onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "first,second", "v"), "axis", 1);
  onnx_graph_add_output(graph, "v", ONNX_TYPE_FLOAT, "N,2");
  g_autoptr(GBytes) onnx = onnx_graph_to_bytes(graph, &error);
  ck_assert_ptr_null(infer(onnx, NULL, 0, 1, &error));
  assert_error(error, PIPELINE_ERROR_MODEL, "a regression of 2 values a row");
  error = NULL;
  ck_assert_ptr_null(infer(onnx, "y", 0, 1, &error)); /* as if the label were a class */
  assert_error(error, PIPELINE_ERROR_MODEL, "a regression of 2 values a row");
}
END_TEST

START_TEST(test_backend_names)
{
  GError *error = NULL;
  g_autoptr(DriftSchema) schema = make_schema(DRIFT_TASK_MULTICLASS, 3, 2);
  g_autoptr(OnnxGraph) graph = linear("Softmax", "y", 3);
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, "reference", &error);
  ck_assert_ptr_nonnull(model);
  g_autoptr(PipelineModel) other = pipeline_model_load(bytes, schema, "onednn", &error);
  ck_assert_msg(other != NULL, "%s", error != NULL ? error->message : "");
  DriftValue row[2] = {drift_value_number(.5), drift_value_number(-2)};
  float expected[3], actual[3];
  ck_assert(pipeline_model_predict(model, row, 1, expected, &error));
  ck_assert(pipeline_model_predict(other, row, 1, actual, &error));
  for (guint i = 0; i < 3; i++) ck_assert_float_eq_tol(actual[i], expected[i], 1e-6f);
  ck_assert_ptr_eq(pipeline_model_load(bytes, schema, "abacus", &error), NULL);
  assert_error(error, PIPELINE_ERROR_INVALID, "abacus");
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("model");
  TCase *cases = tcase_create("model");
  tcase_add_test(cases, test_batch_is_rows);
  tcase_add_test(cases, test_table_is_rows);
  tcase_add_test(cases, test_missing_and_text);
  tcase_add_test(cases, test_inputs_by_name);
  tcase_add_test(cases, test_binary_forms);
  tcase_add_test(cases, test_refusals);
  tcase_add_test(cases, test_schema_is_what_the_model_says);
  tcase_add_test(cases, test_one_column_is_a_regression);
  tcase_add_loop_test(cases, test_several_values_are_no_classes, 0, 2);
  tcase_add_test(cases, test_backend_names);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
