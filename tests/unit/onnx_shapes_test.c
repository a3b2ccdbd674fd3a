/* Shape inference with symbolic dimensions; what one run may cost. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/executor_shapes.h"

static gchar *shape_text(const OnnxGraph *graph, const gchar *name)
{
  const OnnxValue *value = onnx_graph_find_value(graph, name);
  if (value == NULL || !value->has_shape) return g_strdup("unknown");
  GString *text = g_string_new("");
  for (guint d = 0; d < value->n_dims; d++) {
    if (d > 0) g_string_append_c(text, ',');
    if (value->dims[d].symbol != NULL)
      g_string_append(text, value->dims[d].symbol);
    else if (value->dims[d].size >= 0)
      g_string_append_printf(text, "%" G_GINT64_FORMAT, value->dims[d].size);
    else
      g_string_append_c(text, '?');
  }
  return g_string_free(text, FALSE);
}

static void assert_shape(const OnnxGraph *graph, const gchar *name, const gchar *wanted)
{
  g_autofree gchar *text = shape_text(graph, name);
  ck_assert_msg(strcmp(text, wanted) == 0, "%s is %s, not %s", name, text, wanted);
}

static void take_integers(OnnxGraph *graph, const gchar *name, gint64 n, const gint64 *values)
{
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_INT64, 1, &n, values));
}

START_TEST(test_symbols)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,T,6");
  onnx_graph_add_input(graph, "w", ONNX_TYPE_FLOAT, "?,2");
  take_integers(graph, "flat", 2, (gint64[]){-1, 3});
  take_integers(graph, "zero", 1, (gint64[]){0});
  onnx_graph_add_node(graph, "", "Transpose", "x", "turned");
  onnx_graph_add_node(graph, "", "Shape", "x", "shape");
  onnx_graph_add_node(graph, "", "Gather", "shape,zero", "rows");
  onnx_graph_add_node(graph, "", "ConstantOfShape", "rows", "zeros");
  OnnxNode *sum = onnx_graph_add_node(graph, "", "ReduceSum", "x,zero", "sum");
  onnx_node_set_int(sum, "keepdims", 0);
  onnx_graph_add_node(graph, "", "Reshape", "sum,flat", "folded");
  onnx_graph_add_node(graph, "", "NonZero", "sum", "places");
  onnx_graph_add_node(graph, "", "Neg", "places", "down");
  onnx_graph_add_node(graph, "", "Relu", "w", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  ck_assert_msg(pipeline_shapes_declare(graph, &error), "%s", error != NULL ? error->message : "");
  assert_shape(graph, "turned", "6,T,N");
  assert_shape(graph, "shape", "3");
  assert_shape(graph, "zeros", "N");
  assert_shape(graph, "sum", "T,6");
  assert_shape(graph, "folded", "2*T,3");
  assert_shape(graph, "places", "unknown");
  assert_shape(graph, "down", "unknown");
  assert_shape(graph, "y", "N,2");
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  g_autoptr(OnnxGraph) again = bytes != NULL ? onnx_graph_from_bytes(bytes, &error) : NULL;
  ck_assert_msg(again != NULL, "%s", error != NULL ? error->message : "");
  assert_shape(again, "folded", "2*T,3");
}
END_TEST

/* y = x · x, x float32[64,64]: 64³ products, 16 KiB. */
static PipelineExecutor *make_square(const OnnxGraph *graph, const PipelineExecutorOptions *options)
{
  GError *error = NULL;
  PipelineExecutor *executor = pipeline_executor_new_with_options(graph, &pipeline_backend_reference, options, &error);
  ck_assert_msg(executor != NULL, "%s", error != NULL ? error->message : "");
  PipelineTensor *x = pipeline_executor_get_input(executor, 0);
  ck_assert(pipeline_tensor_set_shape(x, ONNX_TYPE_FLOAT, 2, (gint64[]){64, 64}, NULL));
  ck_assert(pipeline_tensor_allocate(x, NULL));
  memset(x->data, 0, x->n * sizeof(float));
  return executor;
}

START_TEST(test_budget)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,64");
  onnx_graph_add_node(graph, "", "MatMul", "x,x", "y");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  PipelineExecutorOptions options = PIPELINE_EXECUTOR_OPTIONS_INIT;
  g_autoptr(PipelineExecutor) usual = make_square(graph, &options);
  for (guint i = 0; i < 3; i++) ck_assert(pipeline_executor_run(usual, FALSE, NULL));
  options.max_multiplications = 64 * 64 * 64 - 1;
  g_autoptr(PipelineExecutor) slow = make_square(graph, &options);
  ck_assert(!pipeline_executor_run(slow, FALSE, &error));
  ck_assert_msg(strstr(error->message, "MatMul") != NULL && strstr(error->message, "multiplications") != NULL, "%s",
                error->message);
  g_clear_error(&error);
  options = (PipelineExecutorOptions)PIPELINE_EXECUTOR_OPTIONS_INIT;
  options.max_bytes = 64 * 64 * sizeof(float) - 1;
  g_autoptr(PipelineExecutor) large = make_square(graph, &options);
  ck_assert(!pipeline_executor_run(large, FALSE, &error));
  ck_assert_msg(strstr(error->message, "memory") != NULL, "%s", error->message);
  g_clear_error(&error);
}
END_TEST

/* What no tensor can be fed to is refused when the model is loaded, not when it runs. */
START_TEST(test_inputs_that_are_no_tensors)
{
  GError *error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", (OnnxType)17, "N"); /* float8e4m3fn */
  onnx_graph_add_node(graph, "", "Identity", "x", "y");
  onnx_graph_add_output(graph, "y", (OnnxType)17, "N");
  ck_assert_ptr_eq(pipeline_executor_new(graph, &pipeline_backend_reference, &error), NULL);
  ck_assert_msg(strstr(error->message, "'x'") != NULL && strstr(error->message, "17") != NULL, "%s", error->message);
  g_clear_error(&error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("onnx_shapes");
  TCase *cases = tcase_create("shapes");
  tcase_add_test(cases, test_symbols);
  tcase_add_test(cases, test_budget);
  tcase_add_test(cases, test_inputs_that_are_no_tensors);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
