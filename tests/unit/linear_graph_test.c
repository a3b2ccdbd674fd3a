/* Linear models of ai.onnx.ml written as layers: the same answers, and those that no layer gives stay. */
#include <check.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/linear_graph.h"

#define ROWS 40
#define FEATURES 3

typedef struct {
  const gchar *op_type, *transform;
  guint n_outputs, n_rows; /* classes or targets, rows of weights */
  gboolean mirrored, texts, normalised, integers, stays;
} Form;

static const Form forms[] = {
    {"LinearRegressor", "NONE", 1, 1, .stays = FALSE},
    {"LinearRegressor", "NONE", 2, 2, .integers = TRUE},
    {"LinearClassifier", "SOFTMAX", 3, 3, .normalised = TRUE},
    {"LinearClassifier", "SOFTMAX", 2, 2, .texts = TRUE},
    {"LinearClassifier", "LOGISTIC", 2, 2, .mirrored = TRUE, .texts = TRUE, .normalised = TRUE},
    {"LinearClassifier", "LOGISTIC", 2, 2, .mirrored = TRUE, .integers = TRUE},
    {"LinearClassifier", "LOGISTIC", 2, 1, .stays = FALSE},
    {"LinearClassifier", "LOGISTIC", 2, 2, .stays = TRUE},
    {"LinearClassifier", "LOGISTIC", 3, 3, .stays = TRUE},
    {"LinearClassifier", "NONE", 3, 3, .stays = TRUE}};

static OnnxGraph *make_graph(const Form *form)
{
  OnnxGraph *graph = onnx_graph_new("linear");
  gboolean classifier = strcmp(form->op_type, "LinearClassifier") == 0;
  onnx_graph_set_opset(graph, "", 13);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 1);
  onnx_graph_add_input(graph, "x", form->integers ? ONNX_TYPE_INT64 : ONNX_TYPE_FLOAT, "N,3");
  const gchar *scores = form->normalised ? "raw" : "scores";
  g_autofree gchar *made = classifier ? g_strdup_printf("label,%s", scores) : g_strdup(scores);
  OnnxNode *node = onnx_graph_add_node(graph, "ai.onnx.ml", form->op_type, "x", made);
  float weights[FEATURES * FEATURES], bias[FEATURES];
  for (guint o = 0; o < form->n_rows; o++) {
    for (guint i = 0; i < FEATURES; i++)
      weights[o * FEATURES + i] = form->mirrored && o == 1 ? -weights[i] : (float)((o * 5 + i * 3) % 7) / 4 - .6f;
    bias[o] = form->mirrored && o == 1 ? -bias[0] : .1f - (float)o / 5;
  }
  onnx_node_set_floats(node, "coefficients", weights, form->n_rows * FEATURES);
  onnx_node_set_floats(node, "intercepts", bias, form->n_rows);
  onnx_node_set_string(node, "post_transform", form->transform);
  if (!classifier) {
    onnx_node_set_int(node, "targets", form->n_outputs);
  } else if (form->texts) {
    onnx_node_set_strings(node, "classlabels_strings", (const gchar *const[]){"no", "yes", "perhaps"}, form->n_outputs);
  } else {
    onnx_node_set_ints(node, "classlabels_ints", (const gint64[]){7, -2, 40}, form->n_outputs);
  }
  if (form->normalised)
    onnx_node_set_string(onnx_graph_add_node(graph, "ai.onnx.ml", "Normalizer", "raw", "scores"), "norm", "L1");
  if (classifier) onnx_graph_add_output(graph, "label", form->texts ? ONNX_TYPE_STRING : ONNX_TYPE_INT64, "N");
  onnx_graph_add_output(graph, "scores", ONNX_TYPE_FLOAT, NULL);
  return graph;
}

static PipelineExecutor *run(const OnnxGraph *graph, const Form *form)
{
  g_autoptr(GError) error = NULL;
  ck_assert_msg(onnx_graph_check(graph, &error), "%s", error ? error->message : "");
  PipelineExecutor *executor = pipeline_executor_new(graph, &pipeline_backend_reference, &error);
  ck_assert_msg(executor != NULL, "%s", error ? error->message : "");
  PipelineTensor *input = pipeline_executor_get_input(executor, 0);
  OnnxType type = form->integers ? ONNX_TYPE_INT64 : ONNX_TYPE_FLOAT;
  ck_assert(pipeline_tensor_set_shape(input, type, 2, (gint64[]){ROWS, FEATURES}, NULL));
  ck_assert(pipeline_tensor_allocate(input, NULL));
  for (gsize i = 0; i < ROWS * FEATURES; i++)
    pipeline_element_put_double(input, i, form->integers ? (double)(i * 37 % 11) - 5 : (double)(i * 37 % 101) / 25 - 2);
  ck_assert_msg(pipeline_executor_run(executor, FALSE, &error), "%s", error ? error->message : "");
  return executor;
}

static void compare(const PipelineTensor *a, const PipelineTensor *b)
{
  ck_assert_uint_eq(a->type, b->type);
  ck_assert_uint_eq(a->n, b->n);
  for (gsize i = 0; i < a->n; i++) {
    if (a->type == ONNX_TYPE_STRING) {
      const PipelineText *left = (PipelineText *)a->data + i, *right = (PipelineText *)b->data + i;
      ck_assert_uint_eq(left->length, right->length);
      ck_assert_mem_eq(left->text, right->text, left->length);
    } else {
      ck_assert_double_eq_tol(pipeline_element_get_double(a, i), pipeline_element_get_double(b, i), 2e-6);
    }
  }
}

START_TEST(layers_say_the_same)
{
  const Form *form = &forms[_i];
  g_autoptr(OnnxGraph) given = make_graph(form), graph = make_graph(form);
  g_autoptr(PipelineExecutor) before = run(given, form);
  pipeline_linear_graph_expand(graph);
  gboolean left = FALSE;
  for (guint i = 0; i < graph->nodes->len; i++)
    left = left || strcmp(((OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type, form->op_type) == 0;
  ck_assert_int_eq(left, form->stays);
  g_autoptr(PipelineExecutor) after = run(graph, form);
  for (guint i = 0; i < graph->outputs->len; i++)
    compare(pipeline_executor_get_output(before, i), pipeline_executor_get_output(after, i));
}
END_TEST

START_TEST(readers_in_between_stay_in_order)
{
  const Form *form = &forms[4];
  g_autoptr(OnnxGraph) graph = make_graph(form);
  onnx_graph_add_node(graph, "", "Identity", "label", "again");
  onnx_graph_add_output(graph, "again", ONNX_TYPE_STRING, "N");
  pipeline_linear_graph_expand(graph);
  g_autoptr(PipelineExecutor) after = run(graph, form);
  compare(pipeline_executor_get_output(after, 0), pipeline_executor_get_output(after, 2));
}
END_TEST

int main(void)
{
  TCase *tests = tcase_create("linear_graph");
  tcase_add_loop_test(tests, layers_say_the_same, 0, G_N_ELEMENTS(forms));
  tcase_add_test(tests, readers_in_between_stay_in_order);
  Suite *suite = suite_create("linear_graph");
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
