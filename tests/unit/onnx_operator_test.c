/* Every row of the operator table computes its example; the backends keep their bounds. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/operator.h"

START_TEST(test_example)
{
  GError *error = NULL;
  const PipelineOperator *operator= & pipeline_operators[_i];
  ck_assert_msg(pipeline_operator_selftest(operator, & error), "%s", error != NULL ? error->message : "");
}
END_TEST

START_TEST(test_newest_row_is_found)
{
  ck_assert_ptr_eq(pipeline_operator_find("", "NoSuchOperator", 20), NULL);
  ck_assert_int_eq(pipeline_operator_find("", "Softmax", 12)->since, 1);
  ck_assert_int_eq(pipeline_operator_find("", "Softmax", 22)->since, 13);
  ck_assert_ptr_eq(pipeline_operator_find("", "Gelu", 19), NULL);
  ck_assert_ptr_eq(pipeline_operator_find("ai.onnx.ml", "Gemm", 19), NULL);
}
END_TEST

/* Inputs float32 by shape ("2,1"), the last one int64 where `last_integer`; attributes name=integer. The run is
 * refused. */
static const struct {
  const gchar *operator, * shapes;
  gboolean last_integer;
  const gchar *attribute;
  gint64 value;
} bad_shapes[] = {
    /* fewer sines than cosines */
    {"RotaryEmbedding", "1,1,1,2;3,1;1,1;1,1", TRUE, "interleaved", 1},
    /* a block size, but one scale for two blocks */
    {"QuantizeLinear", "1,4;3", FALSE, "block_size", 2},
    {"Conv", "1,1,3;1,1,2", FALSE, "group", G_MAXINT64},
    {"Attention", "1,1,1,2;1,1,3,2;1,1,2,2", FALSE, "is_causal", 1},
};

static PipelineExecutor *make_node(OnnxGraph *graph, guint row)
{
  g_auto(GStrv) shapes = g_strsplit(bad_shapes[row].shapes, ";", -1);
  guint n = g_strv_length(shapes);
  g_autoptr(GString) names = g_string_new("");
  for (guint i = 0; i < n; i++) {
    g_autofree gchar *name = g_strdup_printf("i%u", i);
    g_string_append_printf(names, "%s%s", i > 0 ? "," : "", name);
    onnx_graph_add_input(graph, name, bad_shapes[row].last_integer && i + 1 == n ? ONNX_TYPE_INT64 : ONNX_TYPE_FLOAT,
                         shapes[i]);
  }
  onnx_graph_set_opset(graph, "", 25);
  OnnxNode *node = onnx_graph_add_node(graph, "", bad_shapes[row].operator, names->str, "y");
  onnx_node_set_int(node, bad_shapes[row].attribute, bad_shapes[row].value);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  return pipeline_executor_new(graph, &pipeline_backend_reference, NULL);
}

START_TEST(test_bad_shapes_are_refused)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  g_autoptr(PipelineExecutor) executor = make_node(graph, (guint)_i);
  ck_assert_ptr_nonnull(executor);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    gint64 dims[ONNX_MAX_DIMENSIONS];
    for (guint d = 0; d < input->n_dims; d++) dims[d] = input->dims[d].size;
    PipelineTensor *tensor = pipeline_executor_get_input(executor, i);
    ck_assert(pipeline_tensor_set_shape(tensor, input->type, input->n_dims, dims, NULL));
    ck_assert(pipeline_tensor_allocate(tensor, NULL));
    for (gsize k = 0; k < tensor->n; k++) pipeline_element_put_double(tensor, k, 2);
  }
  GError *error = NULL;
  ck_assert(!pipeline_executor_run(executor, FALSE, &error));
  ck_assert_msg(strstr(error->message, bad_shapes[_i].operator) != NULL, "%s", error->message);
  g_error_free(error);
}
END_TEST

START_TEST(test_backends)
{
  for (guint i = 0; pipeline_backends[i] != NULL; i++) {
    GError *error = NULL;
    ck_assert_msg(pipeline_backends[i]->selftest(&error), "%s", error != NULL ? error->message : "");
  }
  GError *error = NULL;
  ck_assert_ptr_eq(pipeline_backend_find("abacus", FALSE, &error), NULL);
  ck_assert_ptr_nonnull(g_strrstr(error->message, "reference"));
  g_error_free(error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("onnx_operator");
  TCase *cases = tcase_create("operators");
  int n = 0;
  while (pipeline_operators[n].name != NULL) n++;
  tcase_add_loop_test(cases, test_example, 0, n);
  tcase_add_test(cases, test_newest_row_is_found);
  tcase_add_loop_test(cases, test_bad_shapes_are_refused, 0, G_N_ELEMENTS(bad_shapes));
  tcase_add_test(cases, test_backends);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
