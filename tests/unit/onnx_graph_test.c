/* The graph: building, reading, writing, rewriting. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/float16.h"
#include "onnx/graph.h"

/* x [N,2] -> MatMul(w) -> Identity -> Add(bias behind Identity and Constant) -> Dropout -> Softmax -> p */
static OnnxGraph *build(void)
{
  static const float weights[] = {1, 2, 3, 4}, bias[] = {0.5f, -0.5f};
  OnnxGraph *graph = onnx_graph_new("small");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_metadata(graph, "author", "test");
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,2");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){2, 2}, weights));
  OnnxNode *constant =
      onnx_graph_add_node_strv(graph, "", "Constant", (const gchar *const[]){NULL}, (const gchar *const[]){"b", NULL});
  onnx_node_take_tensor(constant, "value", onnx_tensor_new("", ONNX_TYPE_FLOAT, 1, (gint64[]){2}, bias));
  onnx_graph_add_node(graph, "", "Identity", "b", "b2");
  onnx_graph_add_node(graph, "", "MatMul", "x,w", "product");
  onnx_graph_add_node(graph, "", "Identity", "product", "same");
  onnx_graph_add_node(graph, "", "Add", "same,b2", "sum");
  onnx_graph_add_node(graph, "", "Dropout", "sum", "kept,mask");
  onnx_graph_add_node(graph, "", "Relu", "sum", "unused");
  OnnxNode *softmax = onnx_graph_add_node(graph, "", "Softmax", "kept", "p");
  onnx_node_set_int(softmax, "axis", 1);
  onnx_graph_add_output(graph, "p", ONNX_TYPE_FLOAT, "N,2");
  return graph;
}

static GBytes *write_graph(const OnnxGraph *graph)
{
  GError *error = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error != NULL ? error->message : "");
  return bytes;
}

static OnnxGraph *read_graph(GBytes *bytes)
{
  GError *error = NULL;
  OnnxGraph *graph = onnx_graph_from_bytes(bytes, &error);
  ck_assert_msg(graph != NULL, "%s", error != NULL ? error->message : "");
  return graph;
}

START_TEST(test_round_trip)
{
  g_autoptr(OnnxGraph) graph = build();
  g_autoptr(GBytes) first = write_graph(graph);
  g_autoptr(OnnxGraph) back = read_graph(first);
  g_autoptr(GBytes) second = write_graph(back);
  g_autoptr(OnnxGraph) copy = onnx_graph_copy(back);
  g_autoptr(GBytes) third = write_graph(copy);
  ck_assert(g_bytes_equal(first, second));
  ck_assert(g_bytes_equal(first, third));
  ck_assert_uint_eq(back->nodes->len, 8);
  ck_assert_str_eq(onnx_graph_get_metadata(back, "author"), "test");
  ck_assert_int_eq(onnx_graph_get_opset(back, ""), 17);
  const OnnxValue *input = onnx_graph_find_value(back, "x");
  ck_assert_str_eq(input->dims[0].symbol, "N");
  ck_assert_int_eq(input->dims[1].size, 2);
  const OnnxTensor *weights = onnx_graph_find_initialiser(back, "w");
  ck_assert_float_eq(((const float *)g_bytes_get_data(weights->bytes, NULL))[3], 4);
}
END_TEST

/* Appends a field of a number unknown to the schema (1000, a text) to a message. */
static void append_unknown(GByteArray *bytes)
{
  static const guint8 field[] = {0xc2, 0x3e, 0x03, 'n', 'e', 'w'}; /* (1000 << 3) | 2 = 8002 */
  g_byte_array_append(bytes, field, sizeof field);
}

START_TEST(test_unknown_fields_survive)
{
  /* A model with a field of the future at the top and in its only node; node doc string 6. */
  g_autoptr(GByteArray) node = g_byte_array_new(), graph = g_byte_array_new(), model = g_byte_array_new();
  static const guint8 relu[] = {0x0a, 1, 'x', 0x12, 1, 'y', 0x22, 4, 'R', 'e', 'l', 'u', 0x32, 3, 'd', 'o', 'c'};
  g_byte_array_append(node, relu, sizeof relu);
  append_unknown(node);
  g_byte_array_append(graph, (const guint8[]){0x0a, (guint8)node->len}, 2);
  g_byte_array_append(graph, node->data, node->len);
  static const guint8 values[] = {0x12, 1,    'g', 0x5a, 9, 0x0a, 1,    'x', 0x12, 4, 0x0a, 2, 0x08,
                                  1,    0x62, 9,   0x0a, 1, 'y',  0x12, 4,   0x0a, 2, 0x08, 1};
  g_byte_array_append(graph, values, sizeof values);
  static const guint8 head[] = {0x08, 0x08, 0x42, 0x04, 0x0a, 0x00, 0x10, 0x0d};
  g_byte_array_append(model, head, sizeof head);
  g_byte_array_append(model, (const guint8[]){0x3a, (guint8)graph->len}, 2);
  g_byte_array_append(model, graph->data, graph->len);
  append_unknown(model);
  g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&model));
  g_autoptr(OnnxGraph) read = read_graph(bytes);
  g_autoptr(GBytes) written = write_graph(read);
  gsize length;
  const gchar *data = g_bytes_get_data(written, &length);
  guint found = 0;
  for (gsize i = 0; i + 3 <= length; i++) found += memcmp(data + i, "new", 3) == 0;
  ck_assert_uint_eq(found, 2);
  ck_assert_ptr_nonnull(memmem(data, length, "doc", 3));
}
END_TEST

START_TEST(test_simplify)
{
  g_autoptr(OnnxGraph) graph = build();
  onnx_graph_simplify(graph);
  ck_assert_uint_eq(graph->nodes->len, 3); /* MatMul, Add, Softmax */
  ck_assert_int_eq(onnx_graph_find_producer(graph, "unused"), -1);
  const OnnxNode *add = g_ptr_array_index(graph->nodes, 1);
  ck_assert_str_eq(onnx_node_get_input(add, 0), "product");
  ck_assert_str_eq(onnx_node_get_input(add, 1), "b2");
  ck_assert_ptr_nonnull(onnx_graph_find_initialiser(graph, "b2"));
  ck_assert_ptr_eq(onnx_graph_find_initialiser(graph, "b"), NULL);
  ck_assert_str_eq(onnx_node_get_input(g_ptr_array_index(graph->nodes, 2), 0), "sum");
  g_bytes_unref(write_graph(graph));
}
END_TEST

START_TEST(test_shared_initialisers_are_untied)
{
  static const float zeros[2] = {0};
  g_autoptr(OnnxGraph) graph = onnx_graph_new("tied");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,2");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "N,2");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("b", ONNX_TYPE_FLOAT, 1, (gint64[]){2}, zeros));
  onnx_graph_add_node(graph, "", "Identity", "b", "b2");
  onnx_graph_add_node(graph, "", "Add", "x,b", "first");
  onnx_graph_add_node(graph, "", "Add", "first,b2", "y");
  onnx_graph_simplify(graph);
  ck_assert_uint_eq(graph->initialisers->len, 2);
  onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, "b"), (const float[]){1, 1});
  const OnnxTensor *other = onnx_graph_find_initialiser(graph, "b2");
  ck_assert_float_eq(((const float *)g_bytes_get_data(other->bytes, NULL))[0], 0);
}
END_TEST

START_TEST(test_rename)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = build();
  ck_assert(onnx_graph_rename_value(graph, "x", "features", &error));
  ck_assert(onnx_graph_rename_value(graph, "w", "weights", &error));
  ck_assert(onnx_graph_rename_value(graph, "p", "probabilities", &error));
  ck_assert(!onnx_graph_rename_value(graph, "sum", "kept", &error));
  ck_assert(g_error_matches(error, ONNX_ERROR, ONNX_ERROR_INVALID));
  g_clear_error(&error);
  ck_assert(onnx_graph_check(graph, &error));
  const OnnxNode *product = g_ptr_array_index(graph->nodes, onnx_graph_find_producer(graph, "product"));
  ck_assert_str_eq(onnx_node_get_input(product, 0), "features");
  ck_assert_str_eq(onnx_node_get_input(product, 1), "weights");
}
END_TEST

START_TEST(test_check_names_the_node)
{
  static const struct {
    const gchar *inputs, *outputs, *message;
  } cases[] = {{"x,nowhere", "z", "Add node number 9 (output 'z') reads 'nowhere'"},
               {"x,x", "sum", "a name that is taken"},
               {"x,x", "x", "a name that is taken"},
               {"x,x", "", "has no output"}};
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = build();
  onnx_graph_add_node(graph, "", "Add", cases[_i].inputs, cases[_i].outputs);
  ck_assert(!onnx_graph_check(graph, &error));
  ck_assert_msg(strstr(error->message, cases[_i].message) != NULL, "%s", error->message);
  g_clear_error(&error);
  ck_assert_ptr_eq(onnx_graph_to_bytes(graph, &error), NULL);
  g_clear_error(&error);
}
END_TEST

START_TEST(test_float16)
{
  for (guint bits = 0; bits < 0x10000; bits++) {
    float value = onnx_float16_to_float((guint16)bits);
    if (isnan(value)) continue;
    ck_assert_uint_eq(onnx_float16_from_float(value), bits);
  }
  ck_assert_uint_eq(onnx_float16_from_float(65519.99f), 0x7bff);
  ck_assert_uint_eq(onnx_float16_from_float(65520.0f), 0x7c00);
  ck_assert_uint_eq(onnx_float16_from_float(1.0f + 0x1p-11f), 0x3c00); /* a tie goes to even */
  ck_assert_uint_eq(onnx_bfloat16_from_float(1.0f + 0x1p-8f), 0x3f80);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("onnx_graph");
  TCase *cases = tcase_create("graph");
  tcase_add_test(cases, test_round_trip);
  tcase_add_test(cases, test_unknown_fields_survive);
  tcase_add_test(cases, test_simplify);
  tcase_add_test(cases, test_shared_initialisers_are_untied);
  tcase_add_test(cases, test_rename);
  tcase_add_loop_test(cases, test_check_names_the_node, 0, 4);
  tcase_add_test(cases, test_float16);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
