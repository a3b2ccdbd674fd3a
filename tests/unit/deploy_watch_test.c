/* The watch's binomial test against the sum of its definition, and its edges. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "deploy/rollout.h"

static double tail_by_definition(guint errors, guint rows, double p)
{
  double sum = 0, choose = 1;
  for (guint k = 0; k <= rows; k++) {
    if (k >= errors) sum += choose * pow(p, k) * pow(1 - p, rows - k);
    choose *= (double)(rows - k) / (k + 1);
  }
  return sum;
}

START_TEST(exact_tail)
{
  for (guint rows = 1; rows <= 60; rows += 7)
    for (guint errors = 0; errors <= rows; errors++) {
      double p = NAN, expected = tail_by_definition(errors, rows, .3);
      deploy_watch_disappoints(errors, rows, .25, .05, .01, &p);
      ck_assert_msg(fabs(p - expected) <= 1e-12, "%u of %u: %.17g, by definition %.17g", errors, rows, p, expected);
    }
}
END_TEST

START_TEST(verdict_at_the_level)
{
  double p = 0;
  ck_assert(!deploy_watch_disappoints(3, 3, .2, .05, .01, &p)); /* .25^3 = .0156: too few rows to say */
  ck_assert_double_eq_tol(p, .015625, 1e-15);
  ck_assert(deploy_watch_disappoints(4, 4, .2, .05, .01, &p));
  ck_assert(!deploy_watch_disappoints(250, 1000, .2, .05, .01, &p));
  ck_assert(deploy_watch_disappoints(300, 1000, .2, .05, .01, NULL));
}
END_TEST

START_TEST(edges)
{
  double p = 0;
  ck_assert(!deploy_watch_disappoints(0, 0, .2, .05, .05, &p));
  ck_assert_double_eq(p, 1);
  ck_assert(!deploy_watch_disappoints(10, 10, .99, .05, .05, &p)); /* anything was promised */
  ck_assert_double_eq(p, 1);
  ck_assert(deploy_watch_disappoints(1, 10, 0, 0, .05, &p)); /* no error was promised */
  ck_assert_double_eq(p, 0);
  ck_assert(!deploy_watch_disappoints(5, 4, .2, .05, .05, &p));
  ck_assert(isnan(p));
  ck_assert(!deploy_watch_disappoints(1, 4, NAN, .05, .05, &p));
  ck_assert(isnan(p));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("deploy_watch");
  TCase *tests = tcase_create("watch");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, exact_tail);
  tcase_add_test(tests, verdict_at_the_level);
  tcase_add_test(tests, edges);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
