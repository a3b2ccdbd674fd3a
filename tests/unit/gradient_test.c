/* The gradient table against finite differences; backends against the reference. */
#include <check.h>
#include <math.h>
#include <stdio.h>

#include "pipeline/gradient_check.h"
#include "pipeline/graph_pass.h"

static guint count_gradients(void)
{
  guint n = 0;
  while (pipeline_gradients[n].name != NULL) n++;
  return n;
}

START_TEST(gradients_agree_with_differences)
{
  const PipelineGradient *gradient = &pipeline_gradients[_i];
  g_autoptr(GError) error = NULL;
  if (gradient->inputs == 0) {
    ck_assert(gradient->backward == NULL);
    return;
  }
  ck_assert_ptr_nonnull(gradient->examples);
  double worst = pipeline_gradient_check_differences(gradient, &pipeline_gradient_backend_reference, &error);
  if (g_getenv("VERBOSE") != NULL) printf("%-22s %.1e\n", gradient->name, worst);
  ck_assert_msg(worst >= 0, "%s", error != NULL ? error->message : "");
  ck_assert_msg(worst <= gradient->tolerance, "%s: %g above %g", gradient->name, worst, gradient->tolerance);
}
END_TEST

/* A result that is no number, in front of good ones. */
static gboolean lose_first(const PipelineGemm *gemm, GError **error)
{
  if (!pipeline_backend_reference.gemm(gemm, error)) return FALSE;
  gemm->c[0] = NAN;
  return TRUE;
}

START_TEST(what_is_no_number_is_seen)
{
  const PipelineBackend losing = {.name = "losing", .gemm = lose_first};
  PipelineGradientBackend backend = pipeline_gradient_backend_reference;
  const PipelineGradient *gemm = pipeline_gradient_find("", "Gemm");
  backend.products = &losing;
  ck_assert(isinf(pipeline_gradient_check_backend(gemm, &backend, NULL)));
  double worst = pipeline_gradient_check_differences(gemm, &backend, NULL);
  ck_assert(isinf(worst) || worst < 0);
}
END_TEST

START_TEST(backends_agree_with_the_reference)
{
  const PipelineGradient *gradient = &pipeline_gradients[_i];
  for (guint b = 0; pipeline_gradient_backends[b] != NULL; b++) {
    const PipelineGradientBackend *backend = pipeline_gradient_backends[b];
    const PipelineGradientKernel *kernel = pipeline_gradient_kernel_find(backend, gradient->name);
    g_autoptr(GError) error = NULL;
    if (gradient->inputs == 0) continue;
    g_autoptr(GError) closed = NULL;
    if (pipeline_gradient_backend_find(backend->name, NULL, &closed) ==
        NULL) { /* no device: tests/gpu has its checks */
      ck_assert_msg(g_error_matches(closed, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED), "%s", closed->message);
      continue;
    }
    double worst = pipeline_gradient_check_backend(gradient, backend, &error);
    double bound = kernel != NULL ? kernel->tolerance : 1e-5; /* other products in the reference's kernels */
    if (g_getenv("VERBOSE") != NULL && kernel != NULL)
      printf("%-10s %-22s %.1e\n", backend->name, gradient->name, worst);
    ck_assert_msg(worst >= 0, "%s: %s", backend->name, error != NULL ? error->message : "");
    ck_assert_msg(worst <= bound, "%s: %s: %g above %g", backend->name, gradient->name, worst, bound);
  }
}
END_TEST

/* Which element has the gradient of each of three lines: ties and what is no number. */
static const struct {
  const gchar *op_type;
  guint chosen[3];
} choices[] = {{"GlobalMaxPool", {0, 5, 7}}, {"ReduceMax", {0, 5, 7}}, {"ReduceMin", {2, 3, 7}}};

static void check_choice(guint choice, const PipelineGradientBackend *backend)
{
  static const float x[9] = {3, 3, 1, 1, 1, 3, 0, NAN, NAN}, dy[3] = {2, 3, 5};
  const gint64 dims[3] = {1, 3, 3}, last = 2;
  const gchar *const wanted[] = {"x", NULL}, *const heads[] = {"y", NULL};
  const float *head_gradients[1] = {dy};
  float expected[9] = {0};
  g_autoptr(GError) error = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_new("choice");
  onnx_graph_set_opset(graph, "", 13);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, NULL);
  OnnxNode *node = onnx_graph_add_node(graph, "", choices[choice].op_type, "x", "y");
  if (choice > 0) onnx_node_set_ints(node, "axes", &last, 1);
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, NULL);
  const PipelineGraphPassOptions options = {.wanted = wanted, .heads = heads, .backend = backend};
  PipelineGraphPass *pass = pipeline_graph_pass_new(graph, &options, &error);
  ck_assert_msg(pass != NULL && pipeline_graph_pass_set_input(pass, 0, 3, dims, x, &error) &&
                    pipeline_graph_pass_forward(pass, TRUE, NULL, &error) &&
                    pipeline_graph_pass_backward(pass, head_gradients, &error),
                "%s", error != NULL ? error->message : "");
  const float *y = pipeline_graph_pass_get_head(pass, 0)->data, *dx = pipeline_graph_pass_get_gradient(pass, 0)->data;
  for (guint i = 0; i < 3; i++) {
    expected[choices[choice].chosen[i]] = dy[i];
    ck_assert(i < 2 ? y[i] == x[choices[choice].chosen[i]] : isnan(y[i]));
  }
  for (guint i = 0; i < 9; i++)
    ck_assert_msg(dx[i] == expected[i], "%s: %s: %u", backend->name, choices[choice].op_type, i);
  pipeline_graph_pass_free(pass);
}

START_TEST(of_equal_elements_the_first_has_the_gradient)
{
  for (guint b = 0; pipeline_gradient_backends[b] != NULL; b++)
    if (pipeline_gradient_backend_find(pipeline_gradient_backends[b]->name, NULL, NULL) != NULL)
      check_choice((guint)_i, pipeline_gradient_backends[b]);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("gradient");
  TCase *tests = tcase_create("table");
  tcase_add_loop_test(tests, gradients_agree_with_differences, 0, (int)count_gradients());
  tcase_add_test(tests, what_is_no_number_is_seen);
  tcase_add_loop_test(tests, backends_agree_with_the_reference, 0, (int)count_gradients());
  tcase_add_loop_test(tests, of_equal_elements_the_first_has_the_gradient, 0, (int)G_N_ELEMENTS(choices));
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
