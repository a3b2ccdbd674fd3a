/* The gate: every rule passes, refuses and fails on undefined figures; nothing passes by accident. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/gate.h"
#include "deploy/target.h"

static const char good[] =
    "{\"rows\": 800, \"holdout\": 1204,"
    " \"comparison\": {\"n\": 1204, \"champion\": 0.7, \"challenger\": 0.75, \"gain\": 0.05, \"low\": 0.02,"
    "                  \"high\": 0.08, \"confidence\": 0.95},"
    " \"challenger\": {\"n\": 1204, \"accuracy\": 0.75, \"disparate_impact_worst\": 0.61,"
    "                  \"disparate_impact_group\": \"race=African-American vs Caucasian\","
    "                  \"robust_accuracy\": 0.55, \"robust_epsilon\": 0.1, \"latency_p99_us\": 40, \"bytes\": 4000}}";

static const DeployGateFinding *find(const DeployGateResult *result, const char *rule)
{
  for (guint i = 0; i < result->findings->len; i++) {
    const DeployGateFinding *finding = g_ptr_array_index(result->findings, i);
    if (strcmp(finding->rule, rule) == 0) return finding;
  }
  ck_abort_msg("no rule %s", rule);
  return NULL;
}

static DeployGatePolicy strict_policy(void)
{
  DeployGatePolicy policy;
  deploy_gate_policy_init(&policy);
  policy.minimum_gain = .01;
  policy.require_significance = TRUE;
  policy.maximum_loss = .01;
  policy.disparate_impact_bound = .6;
  policy.robust_accuracy_bound = .5;
  policy.latency_p99_bound_us = 100;
  policy.size_bound_bytes = 4000;
  policy.minimum_holdout = 1000;
  return policy;
}

static void expect(const DeployGatePolicy *policy, const char *measured, const char *rule, gboolean passed,
                   const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DeployGateResult) result = deploy_gate_judge(policy, measured, &error);
  ck_assert_msg(result != NULL, "%s", error != NULL ? error->message : "");
  const DeployGateFinding *finding = find(result, rule);
  ck_assert_msg(finding->passed == passed, "%s: %s", rule, finding->text);
  ck_assert_msg(strstr(finding->text, text) != NULL, "%s: \"%s\" lacks \"%s\"", rule, finding->text, text);
  if (!passed) ck_assert(!result->passed);
}

START_TEST(all_rules_pass)
{
  DeployGatePolicy policy = strict_policy();
  g_autoptr(DeployGateResult) result = deploy_gate_judge(&policy, good, NULL);
  ck_assert(result != NULL && result->passed);
  ck_assert_uint_eq(result->findings->len, 7);
  expect(&policy, good, "disparate_impact", TRUE, "disparate impact .610 (race=African-American vs Caucasian) keeps");
}
END_TEST

START_TEST(each_rule_refuses_with_figures)
{
  DeployGatePolicy policy = strict_policy();
  policy.minimum_holdout = 1205;
  expect(&policy, good, "minimum_holdout", FALSE, "1,204 held-out rows are fewer than the 1,205");
  policy.minimum_gain = .03;
  expect(&policy, good, "gain", FALSE,
         "gain .050 (95 % interval .020 to .080; champion .700, challenger .750), n = 1,204");
  policy.require_significance = FALSE;
  expect(&policy, good, "gain", TRUE, "reaches the minimum gain .030");
  policy.minimum_gain = .06;
  expect(&policy, good, "gain", FALSE, "is below the minimum gain .060");
  policy.disparate_impact_bound = .8;
  expect(&policy, good, "disparate_impact", FALSE,
         "disparate impact .610 (race=African-American vs Caucasian) is below the bound .800, n = 1,204");
  policy.robust_accuracy_bound = .56;
  expect(&policy, good, "robust_accuracy", FALSE, "robust accuracy .550 (epsilon .100) is below the bound .560");
  policy.latency_p99_bound_us = 39;
  expect(&policy, good, "latency_p99", FALSE, "latency p99 40 us is above the bound 39 us");
  policy.size_bound_bytes = 3999;
  expect(&policy, good, "size", FALSE, "size 4,000 bytes is above the bound 3,999 bytes");
}
END_TEST

START_TEST(maximum_loss_looks_at_the_lower_end)
{
  DeployGatePolicy policy;
  deploy_gate_policy_init(&policy);
  policy.minimum_gain = -1;
  policy.maximum_loss = .02;
  expect(&policy, "{\"comparison\":{\"n\":100,\"gain\":0,\"low\":-0.02,\"high\":0.02}}", "maximum_loss", FALSE,
         "does not rule out a loss of .020 or more");
  expect(&policy, "{\"comparison\":{\"n\":100,\"gain\":0,\"low\":-0.019,\"high\":0.02}}", "maximum_loss", TRUE,
         "rules out a loss of .020");
}
END_TEST

START_TEST(bounds_of_zero_do_not_apply)
{
  DeployGatePolicy policy;
  deploy_gate_policy_init(&policy);
  g_autoptr(DeployGateResult) result =
      deploy_gate_judge(&policy, "{\"comparison\":{\"n\":100,\"gain\":0,\"low\":-1,\"high\":1}}", NULL);
  ck_assert(result->passed);
  ck_assert(!find(result, "disparate_impact")->applies && !find(result, "latency_p99")->applies);
  ck_assert(find(result, "gain")->applies);
}
END_TEST

/* Figures that a broken job might write; each must fail every rule that needs them, saying so. */
START_TEST(undefined_figures_fail)
{
  static const char *const bad[] = {
      "{}",
      "{\"comparison\": null, \"challenger\": null}",
      "{\"comparison\": [], \"challenger\": 3}",
      "{\"comparison\": {\"n\": null, \"gain\": null, \"low\": null, \"high\": null},"
      " \"challenger\": {\"disparate_impact_worst\": null, \"robust_accuracy\": null, \"latency_p99_us\": null}}",
      "{\"comparison\": {\"n\": \"1204\", \"gain\": \"0.05\", \"low\": true, \"high\": {}},"
      " \"challenger\": {\"disparate_impact_worst\": \"1\", \"robust_accuracy\": true, \"latency_p99_us\": \"1\"}}",
      "{\"comparison\": {\"n\": -1, \"gain\": 0.5, \"low\": 0.6, \"high\": 0.4},"
      " \"challenger\": {\"disparate_impact_worst\": -1, \"robust_accuracy\": 2, \"latency_p99_us\": -4}}",
  };
  static const char *const figures[] = {"gain",        "maximum_loss",   "disparate_impact", "robust_accuracy",
                                        "latency_p99", "minimum_holdout"};
  DeployGatePolicy policy = strict_policy();
  policy.minimum_gain = -1;
  for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
    for (size_t j = 0; j < G_N_ELEMENTS(figures); j++) expect(&policy, bad[i], figures[j], FALSE, "undefined");
}
END_TEST

START_TEST(a_result_or_policy_that_is_none_is_an_error)
{
  static const char *const bad[] = {"", "[]", "nonsense", "{\"a\": 1, \"a\": 2}"};
  DeployGatePolicy policy = strict_policy();
  for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(deploy_gate_judge(&policy, bad[i], &error));
    ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
  }
  policy.disparate_impact_bound = NAN;
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(deploy_gate_judge(&policy, good, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "disparate_impact_bound"));
}
END_TEST

START_TEST(json_says_the_same)
{
  DeployGatePolicy policy = strict_policy();
  policy.latency_p99_bound_us = 1;
  g_autoptr(DeployGateResult) result = deploy_gate_judge(&policy, good, NULL);
  g_autofree gchar *json = deploy_gate_result_to_json(result);
  ck_assert_ptr_nonnull(strstr(json, "{\"passed\":false,\"findings\":[{\"rule\":\"minimum_holdout\",\"passed\":true"));
  ck_assert_ptr_nonnull(strstr(json, "\"text\":\"latency p99 40 us is above the bound 1 us, n = 1,204\""));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("deploy_gate");
  TCase *tests = tcase_create("rules");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, all_rules_pass);
  tcase_add_test(tests, each_rule_refuses_with_figures);
  tcase_add_test(tests, maximum_loss_looks_at_the_lower_end);
  tcase_add_test(tests, bounds_of_zero_do_not_apply);
  tcase_add_test(tests, undefined_figures_fail);
  tcase_add_test(tests, a_result_or_policy_that_is_none_is_an_error);
  tcase_add_test(tests, json_says_the_same);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
