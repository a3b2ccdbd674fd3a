/* The gradient table against finite differences; backends against the reference. */
#include <check.h>
#include <math.h>
#include <stdio.h>

#include "pipeline/gradient_check.h"

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

int main(void)
{
  Suite *suite = suite_create("gradient");
  TCase *tests = tcase_create("table");
  tcase_add_loop_test(tests, gradients_agree_with_differences, 0, (int)count_gradients());
  tcase_add_test(tests, what_is_no_number_is_seen);
  tcase_add_loop_test(tests, backends_agree_with_the_reference, 0, (int)count_gradients());
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
