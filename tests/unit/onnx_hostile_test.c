/* Files that must be refused: quickly, with a message, without harm (run this one under ASan too). */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/model.h"

static void append_varint(GByteArray *out, guint64 value)
{
  do {
    guint8 byte = (guint8)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
    g_byte_array_append(out, &byte, 1);
    value >>= 7;
  } while (value != 0);
}

/* Field `number`, length-delimited, holding `inside`, in a new array that replaces it. */
static GByteArray *wrap(guint number, GByteArray *inside)
{
  GByteArray *out = g_byte_array_new();
  append_varint(out, number << 3 | 2);
  append_varint(out, inside->len);
  g_byte_array_append(out, inside->data, inside->len);
  g_byte_array_unref(inside);
  return out;
}

static void append_number(GByteArray *out, guint number, guint64 value)
{
  append_varint(out, number << 3);
  append_varint(out, value);
}

/* The model's message must hold `expected`. Takes the array. */
static void assert_refused(GByteArray *model, const gchar *expected)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(model);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, &error);
  ck_assert_ptr_eq(graph, NULL);
  ck_assert_msg(strstr(error->message, expected) != NULL, "'%s' instead of '%s'", error->message, expected);
  g_error_free(error);
}

START_TEST(test_nested_subgraphs)
{
  GByteArray *graph = g_byte_array_new();
  for (guint depth = 0; depth < 3000; depth++) /* graph in attribute in node in graph … */
    graph = wrap(1, wrap(5, wrap(6, graph)));
  assert_refused(wrap(7, graph), "nest too deeply");
}
END_TEST

START_TEST(test_nested_types)
{
  GByteArray *type = g_byte_array_new();
  for (guint depth = 0; depth < 3000; depth++) type = wrap(4, wrap(1, type));
  assert_refused(wrap(7, wrap(11, wrap(2, type))), "nest too deeply");
}
END_TEST

START_TEST(test_many_messages)
{
  GByteArray *nodes = g_byte_array_new();
  for (guint i = 0; i < 1000001; i++) g_byte_array_append(nodes, (const guint8[]){0x0a, 0x00}, 2);
  assert_refused(wrap(7, nodes), "1000000 parts");
}
END_TEST

START_TEST(test_memory)
{
  /* 20 million packed ints of one byte each decode to 160 MB, seven times that is too much. */
  GByteArray *graph = g_byte_array_new();
  for (guint i = 0; i < 8; i++) {
    GByteArray *numbers = g_byte_array_new();
    g_byte_array_set_size(numbers, 20000000);
    memset(numbers->data, 1, numbers->len);
    GByteArray *node = wrap(1, wrap(5, wrap(8, numbers)));
    g_byte_array_append(graph, node->data, node->len);
    g_byte_array_unref(node);
  }
  assert_refused(wrap(7, graph), "1024 MiB");
}
END_TEST

START_TEST(test_repeated_singular_field)
{
  GByteArray *model = g_byte_array_new();
  for (guint i = 0; i < 2; i++) g_byte_array_append(model, (const guint8[]){0x3a, 0x00}, 2);
  assert_refused(model, "appears twice");
}
END_TEST

/* ir 8, opset 13, y = Relu(x), and whatever `extra` adds to the graph. */
static GByteArray *relu_model(GByteArray *extra)
{
  static const guint8 body[] = {0x0a, 12,   0x0a, 1,    'x',  0x12, 1,    'y',  0x22, 4,    'R',  'e',
                                'l',  'u',  0x5a, 9,    0x0a, 1,    'x',  0x12, 4,    0x0a, 2,    0x08,
                                1,    0x62, 9,    0x0a, 1,    'y',  0x12, 4,    0x0a, 2,    0x08, 1};
  GByteArray *graph = g_byte_array_new();
  g_byte_array_append(graph, body, sizeof body);
  if (extra != NULL) {
    g_byte_array_append(graph, extra->data, extra->len);
    g_byte_array_unref(extra);
  }
  graph = wrap(7, graph);
  append_number(graph, 1, 8);
  GByteArray *opset = g_byte_array_new();
  append_number(opset, 2, 13);
  opset = wrap(8, opset);
  g_byte_array_append(graph, opset->data, opset->len);
  g_byte_array_unref(opset);
  return graph;
}

/* An initialiser 'w' of the given dims, type, and `n` raw bytes. */
static GByteArray *tensor(const gint64 *dims, guint n_dims, guint type, guint n)
{
  GByteArray *out = g_byte_array_new(), *name = g_byte_array_new(), *raw = g_byte_array_new();
  for (guint i = 0; i < n_dims; i++) append_number(out, 1, (guint64)dims[i]);
  append_number(out, 2, type);
  g_byte_array_append(name, (const guint8 *)"w", 1);
  g_byte_array_set_size(raw, n);
  if (n > 0) memset(raw->data, 0, n);
  name = wrap(8, name);
  raw = wrap(9, raw);
  g_byte_array_append(out, name->data, name->len);
  g_byte_array_append(out, raw->data, raw->len);
  g_byte_array_unref(name);
  g_byte_array_unref(raw);
  return wrap(5, out);
}

/* The texts would have been kept beside the numbers, and the file that we wrote have been refused. */
START_TEST(test_tensor_with_elements_of_two_types)
{
  static const guint8 body[] = {0x08, 1, 0x10, 1, 0x22, 4, 0, 0, 0x80, 0x3f, 0x32, 1, 't', 0x42, 1, 'w'};
  GByteArray *initialiser = g_byte_array_new();
  g_byte_array_append(initialiser, body, sizeof body);
  assert_refused(relu_model(wrap(5, initialiser)), "2 elements, its dimensions ask for 1");
}
END_TEST

START_TEST(test_tensors)
{
  static const struct {
    gint64 dims[9];
    guint n_dims, type, n;
    const gchar *message;
  } cases[] = {
      {{2, 2}, 2, 1, 17, "17 bytes, its dimensions ask for 16"},
      {{2, 2}, 2, 1, 15, "15 bytes, its dimensions ask for 16"},
      {{2, 2}, 2, 1, 0, "0 elements, its dimensions ask for 4"},
      {{-1}, 1, 1, 4, "negative"},
      {{G_MAXINT64, G_MAXINT64}, 2, 1, 4, "multiply to more than"},
      {{4294967296, 4294967296}, 2, 1, 0, "multiply to more than"},
      {{1 << 30}, 1, 1, 4, "multiply to more than"},
      {{1}, 1, 99, 4, "element type number 99"},
      {{1}, 1, 8, 4, "it holds 0 texts"},
      {{1, 1, 1, 1, 1, 1, 1, 1, 1}, 9, 1, 4, "9 dimensions"},
  };
  assert_refused(relu_model(tensor(cases[_i].dims, cases[_i].n_dims, cases[_i].type, cases[_i].n)), cases[_i].message);
}
END_TEST

START_TEST(test_duplicate_initialiser)
{
  gint64 one = 1;
  GByteArray *twice = tensor(&one, 1, 1, 4), *again = tensor(&one, 1, 1, 4);
  g_byte_array_append(twice, again->data, again->len);
  g_byte_array_unref(again);
  assert_refused(relu_model(twice), "initialiser 'w' is declared twice");
}
END_TEST

START_TEST(test_no_model)
{
  static const gchar *const texts[] = {"", "hello world, this is text", "\x08", "\x08\x08", "{\"a\": 1}"};
  GError *error = NULL;
  g_autoptr(GBytes) bytes = g_bytes_new(texts[_i], strlen(texts[_i]));
  ck_assert_ptr_eq(onnx_graph_from_bytes(bytes, &error), NULL);
  ck_assert_uint_gt(strlen(error->message), 20);
  g_error_free(error);
}
END_TEST

/* A classifier of two numbers and a text that really works. */
static GBytes *working_model(void)
{
  static const float weights[] = {1, -1, 0.5f, 0.25f, 0, 1, 1, 0}, bias[] = {0.1f, 0.2f};
  g_autoptr(OnnxGraph) graph = onnx_graph_new("works");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  onnx_graph_add_input(graph, "a", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_input(graph, "b", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_add_input(graph, "t", ONNX_TYPE_STRING, "N,1");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){4, 2}, weights));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("c", ONNX_TYPE_FLOAT, 1, (gint64[]){2}, bias));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("shape", ONNX_TYPE_INT64, 1, (gint64[]){2}, (gint64[]){-1, 2}));
  onnx_node_set_strings(onnx_graph_add_node(graph, "ai.onnx.ml", "OneHotEncoder", "t", "hot"), "cats_strings",
                        (const gchar *const[]){"red", "green"}, 2);
  onnx_graph_add_node(graph, "", "Reshape", "hot,shape", "flat");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Concat", "a,b,flat", "x"), "axis", 1);
  onnx_graph_add_node(graph, "", "Gemm", "x,w,c", "z");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "z", "p"), "axis", -1);
  onnx_graph_add_output(graph, "p", ONNX_TYPE_FLOAT, "N,2");
  return onnx_graph_to_bytes(graph, NULL);
}

static DriftSchema *working_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "t", DRIFT_CATEGORICAL, FALSE, TRUE);
  schema->positive_class = 1;
  return schema;
}

/* Loads and, when that works, predicts; either may be refused, with a message. */
static gboolean try_model(const guint8 *data, gsize length, const DriftSchema *schema)
{
  GError *error = NULL;
  g_autoptr(GBytes) bytes = g_bytes_new(data, length);
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, &error);
  if (model == NULL) {
    ck_assert_ptr_nonnull(error);
    g_error_free(error);
    return FALSE;
  }
  DriftValue rows[6] = {drift_value_number(1),  drift_value_missing(),  drift_value_text("red", -1),
                        drift_value_number(-2), drift_value_number(.5), drift_value_missing()};
  float outputs[4];
  gboolean done = pipeline_model_predict(model, rows, 2, outputs, &error);
  ck_assert(done == (error == NULL));
  g_clear_error(&error);
  return TRUE;
}

START_TEST(test_truncated)
{
  g_autoptr(GBytes) bytes = working_model();
  g_autoptr(DriftSchema) schema = working_schema();
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  ck_assert(try_model(data, length, schema));
  for (gsize n = 0; n < length; n++) try_model(data, n, schema);
}
END_TEST

START_TEST(test_flipped_bytes)
{
  g_autoptr(GBytes) bytes = working_model();
  g_autoptr(DriftSchema) schema = working_schema();
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_autofree guint8 *changed = g_malloc(length);
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  for (guint i = 0; i < 2000; i++) {
    memcpy(changed, data, length);
    for (gint n = g_rand_int_range(random, 1, 4); n > 0; n--)
      changed[g_rand_int_range(random, 0, (gint32)length)] = (guint8)g_rand_int_range(random, 0, 256);
    try_model(changed, length, schema);
  }
}
END_TEST

/* Sizes that a few bytes can ask for. */
START_TEST(test_huge_at_run_time)
{
  static const gint64 huge[][2] = {{1 << 20, 1 << 20}, {G_MAXINT64, 2}, {-5, 2}, {60000, 1000}};
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("huge");
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("shape", ONNX_TYPE_INT64, 1, (gint64[]){2}, huge[_i]));
  onnx_graph_add_node(graph, "", "ConstantOfShape", "shape", "zeros");
  onnx_graph_add_node(graph, "", "Transpose", "zeros", "turned");
  onnx_graph_add_node(graph, "", "MatMul", "zeros,turned", "square");
  onnx_graph_add_node(graph, "", "ReduceSum", "square", "sum");
  onnx_graph_add_node(graph, "", "Add", "x,sum", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,1");
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_ptr_nonnull(bytes);
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, &error);
  ck_assert_ptr_eq(model, NULL);
  ck_assert_ptr_nonnull(strstr(error->message, " node "));
  g_error_free(error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("onnx_hostile");
  TCase *cases = tcase_create("hostile");
  tcase_set_timeout(cases, 60);
  tcase_add_test(cases, test_nested_subgraphs);
  tcase_add_test(cases, test_nested_types);
  tcase_add_test(cases, test_many_messages);
  tcase_add_test(cases, test_memory);
  tcase_add_test(cases, test_repeated_singular_field);
  tcase_add_loop_test(cases, test_tensors, 0, 10);
  tcase_add_test(cases, test_duplicate_initialiser);
  tcase_add_test(cases, test_tensor_with_elements_of_two_types);
  tcase_add_loop_test(cases, test_no_model, 0, 5);
  tcase_add_test(cases, test_truncated);
  tcase_add_test(cases, test_flipped_bytes);
  tcase_add_loop_test(cases, test_huge_at_run_time, 0, 4);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
