#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/metrics.h"

static void assert_has(const gchar *text, const gchar *line)
{
  ck_assert_msg(strstr(text, line) != NULL, "no line \"%s\" in:\n%s", line, text);
}

START_TEST(counters_gauges_and_help)
{
  Metrics *metrics = metrics_new();
  metrics_add(metrics, "kedge_events_total", "model=\"m\",partition=\"0\"", 3);
  metrics_add(metrics, "kedge_events_total", "model=\"m\",partition=\"0\"", 4);
  metrics_set(metrics, "kedge_accuracy", "model=\"m\"", NAN);
  g_autofree gchar *text = metrics_format(metrics);
  assert_has(text, "# TYPE kedge_events_total counter\n");
  assert_has(text, "\nkedge_events_total{model=\"m\",partition=\"0\"} 7\n");
  assert_has(text, "\nkedge_accuracy{model=\"m\"} NaN\n");
  assert_has(text, "\nkedge_leader 0\n");
  ck_assert(strstr(text, "kedge_labels_total") == NULL); /* never used: no empty family */
  ck_assert(strstr(text, "\nprocess_resident_memory_bytes 0\n") == NULL);
  assert_has(text, "\nprocess_resident_memory_bytes ");
  metrics_free(metrics);
}
END_TEST

START_TEST(histogram_is_cumulative)
{
  Metrics *metrics = metrics_new();
  const double values[] = {.0005, .001, .3, 60};
  for (guint i = 0; i < G_N_ELEMENTS(values); i++)
    metrics_observe(metrics, "kedge_checkpoint_seconds", NULL, values[i]);
  g_autofree gchar *text = metrics_format(metrics);
  assert_has(text, "\nkedge_checkpoint_seconds_bucket{le=\"0.001\"} 2\n");
  assert_has(text, "\nkedge_checkpoint_seconds_bucket{le=\"0.25\"} 2\n");
  assert_has(text, "\nkedge_checkpoint_seconds_bucket{le=\"0.5\"} 3\n");
  assert_has(text, "\nkedge_checkpoint_seconds_bucket{le=\"10\"} 3\n");
  assert_has(text, "\nkedge_checkpoint_seconds_bucket{le=\"+Inf\"} 4\n");
  assert_has(text, "\nkedge_checkpoint_seconds_count 4\n");
  metrics_free(metrics);
}
END_TEST

START_TEST(label_values_are_escaped)
{
  g_autofree gchar *label = metrics_label("model", "a\"b\\c\nd", "reason", "bad\xff", NULL);
  ck_assert_str_eq(label, "model=\"a\\\"b\\\\c\\nd\",reason=\"bad\xef\xbf\xbd\"");
}
END_TEST

/* The rules of the naming scheme hold for every row of the table. */
START_TEST(definition_is_well_named)
{
  const MetricsDefinition *definition = &metrics_definitions[_i];
  if (definition->name == NULL) return;
  ck_assert(g_str_has_prefix(definition->name, "kedge_") || g_str_has_prefix(definition->name, "process_"));
  ck_assert_int_eq(g_str_has_suffix(definition->name, "_total"), definition->type == METRICS_COUNTER);
  ck_assert(g_str_has_suffix(definition->help, "."));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("metrics");
  TCase *tcase = tcase_create("metrics");
  tcase_add_test(tcase, counters_gauges_and_help);
  tcase_add_test(tcase, histogram_is_cumulative);
  tcase_add_test(tcase, label_values_are_escaped);
  guint n = 0;
  while (metrics_definitions[n].name != NULL) n++;
  tcase_add_loop_test(tcase, definition_is_well_named, 0, (int)n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
