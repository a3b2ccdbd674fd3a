/* Slices in the report of `kedge drift test`: JSON, page, losses, and what is refused. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/drift_test.h"

static guint64 generator_state = 1;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

/* x and y in [0, 1); current: y = x. The model errs in one row of ten, and in the current rows with x > .8 in half. */
static DriftTable *make_table(guint n, gboolean current)
{
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x <&>", DRIFT_NUMERIC),
              *y = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  DriftColumn *label = drift_table_add_column(table, "label", DRIFT_NUMERIC);
  DriftColumn *prediction = drift_table_add_column(table, "class", DRIFT_CATEGORICAL);
  DriftColumn *score = drift_table_add_column(table, "score", DRIFT_NUMERIC);
  DriftColumn *value = drift_table_add_column(table, "value", DRIFT_NUMERIC);
  for (guint i = 0; i < n; i++) {
    double u = next_uniform(), v = next_uniform();
    gboolean truth = next_uniform() < .5, wrong = next_uniform() < (current && u > .8 ? .5 : .1);
    drift_column_append_number(x, u);
    drift_column_append_number(y, current ? u : v);
    drift_column_append_number(label, truth);
    drift_column_append_text(prediction, truth != wrong ? "1" : "0", -1);
    drift_column_append_number(score, truth != wrong ? .9 : .1);
    drift_column_append_number(value, truth + (wrong ? .5 : .05));
  }
  table->n_rows = n;
  return table;
}

static json_t *report_of(const gchar *label, const gchar *prediction, const gchar *score, GError **error)
{
  g_autoptr(DriftTable) reference = make_table(4000, FALSE), current = make_table(4000, TRUE);
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const gchar *columns[] = {"x <&>", "y", label != NULL && strcmp(label, "nothing") != 0 ? label : NULL, NULL};
  const DriftTestRequest request = {.reference = reference,
                                    .current = current,
                                    .reference_name = "R.csv",
                                    .current_name = "C.csv",
                                    .columns = columns,
                                    .options = options,
                                    .slices = 5,
                                    .label = label,
                                    .prediction = prediction,
                                    .score = score};
  return drift_test_report(&request, error);
}

START_TEST(a_dependence_alone_is_drift)
{
  json_t *report = report_of(NULL, NULL, NULL, NULL);
  const json_t *slices = json_object_get(report, "slices");
  ck_assert(json_is_true(json_object_get(report, "drift")));
  ck_assert_int_ge((int)json_integer_value(json_object_get(report, "dependences_drifted")), 1);
  const json_t *first = json_array_get(json_object_get(report, "dependences"), 0);
  ck_assert_str_eq(json_string_value(json_array_get(json_object_get(first, "features"), 0)), "x <&>");
  ck_assert_str_eq(json_string_value(json_array_get(json_object_get(first, "features"), 1)), "y");
  ck_assert(json_array_size(json_object_get(slices, "share")) > 0 &&
            json_array_size(json_object_get(slices, "share")) <= 5);
  ck_assert_ptr_null(json_object_get(slices, "loss"));
  g_autofree gchar *page = drift_test_html(report);
  ck_assert(strstr(page, "No drift in") == NULL);
  ck_assert_ptr_nonnull(strstr(page, "dependence of x &lt;&amp;&gt; and y: effect"));
  ck_assert_ptr_nonnull(strstr(page, "where the changes of x &lt;&amp;&gt; and of y alone make"));
  json_decref(report);
}
END_TEST

START_TEST(losses_are_found_by_label)
{
  static const struct {
    const gchar *prediction, *score, *name;
  } cases[] = {{"class", NULL, "error"}, {NULL, "score", "Brier score"}, {"value", NULL, "squared error"}};
  json_t *report = report_of("label", cases[_i].prediction, cases[_i].score, NULL);
  ck_assert_ptr_nonnull(report);
  const json_t *slices = json_object_get(report, "slices");
  ck_assert_str_eq(json_string_value(json_object_get(slices, "loss_is")), cases[_i].name);
  static const gchar *const lists[] = {"loss", "loss_rise"};
  for (guint i = 0; i < G_N_ELEMENTS(lists); i++) {
    const json_t *first = json_array_get(json_object_get(slices, lists[i]), 0),
                 *conditions = json_object_get(first, "conditions");
    ck_assert_str_eq(json_string_value(json_object_get(first, "kind")), lists[i]);
    ck_assert_double_eq_tol(g_ascii_strtod(json_string_value(json_array_get(conditions, 0)), NULL), .8, .02);
    for (gsize c = 0; c < json_array_size(conditions); c++)
      ck_assert_ptr_null(strstr(json_string_value(json_array_get(conditions, c)), "label"));
  }
  const json_t *mean = json_object_get(slices, "mean_loss");
  ck_assert_int_eq((int)json_integer_value(json_object_get(mean, "n_current")), 4000);
  if (_i == 0) ck_assert_double_eq_tol(json_number_value(json_object_get(mean, "current")), .18, .03);
  g_autofree gchar *page = drift_test_html(report);
  ck_assert_ptr_nonnull(strstr(page, "Slices with the highest loss"));
  json_decref(report);
}
END_TEST

START_TEST(what_cannot_be_a_loss_is_refused)
{
  static const struct {
    const gchar *label, *prediction, *score, *message;
  } cases[] = {{"nothing", "class", NULL, "R.csv:1: no column \"nothing\" (named by --label)"},
               {"label", "nothing", NULL, "R.csv:1: no column \"nothing\" (named by --prediction)"},
               {"label", NULL, "value", "with --score labels are 0 and 1"},
               {"value", NULL, "score", "R.csv:2: column \"value\""}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(report_of(cases[i].label, cases[i].prediction, cases[i].score, &error));
    ck_assert_msg(strstr(error->message, cases[i].message) != NULL, "%s", error->message);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_slice_report");
  TCase *tests = tcase_create("report");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, a_dependence_alone_is_drift);
  tcase_add_loop_test(tests, losses_are_found_by_label, 0, 3);
  tcase_add_test(tests, what_cannot_be_a_loss_is_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
