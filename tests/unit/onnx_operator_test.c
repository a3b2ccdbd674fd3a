/* Every row of the operator table computes its example; the backends keep their bounds. */
#include <check.h>
#include <stdlib.h>

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
  tcase_add_test(cases, test_backends);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
