/* Corrections for many tests, columns over chunks, profiles of data sets, the report of `kedge drift test`. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/drift_test.h"
#include "daemon/profile_json.h"
#include "drift/multiple_testing.h"
#include "drift/univariate.h"

/* --- corrections -------------------------------------------------------------------------------------------------- */

START_TEST(corrections_leave_out_undefined_tests)
{
  const double p[] = {.01, NAN, .04, .03, NAN}, without[] = {.01, .04, .03};
  for (const DriftAdjustment *adjustment = drift_adjustments; adjustment->name != NULL; adjustment++) {
    double adjusted[5], expected[3];
    adjustment->adjust(p, 5, adjusted);
    adjustment->adjust(without, 3, expected);
    ck_assert(isnan(adjusted[1]) && isnan(adjusted[4]));
    ck_assert_double_eq(adjusted[0], expected[0]);
    ck_assert_double_eq(adjusted[2], expected[1]);
    ck_assert_double_eq(adjusted[3], expected[2]);
    adjustment->adjust(p, 0, adjusted);
  }
  double holm[3], statistic;
  drift_adjust_holm(without, 3, holm);
  ck_assert_double_eq_tol(holm[0], .03, 1e-15);
  ck_assert_double_eq_tol(holm[1], .06, 1e-15);
  ck_assert_double_eq_tol(holm[2], .06, 1e-15);
  ck_assert(isnan(drift_fisher_combination(p + 1, 1, &statistic)) && isnan(statistic));
  ck_assert_ptr_null(drift_adjustment_find("sidak"));
}
END_TEST

/* --- tables ------------------------------------------------------------------------------------------------------- */

/* x: 0 … n-1 in a mixed order, plus shift; c: a, b, c in turn; whole numbers and no repeats. */
static DriftTable *plain_table(guint n, double shift)
{
  static const gchar *const names[] = {"a", "b", "c"};
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC),
              *c = drift_table_add_column(table, "c <&>", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(x, i * 37 % n + shift);
    drift_column_append_text(c, names[i % 3], -1);
  }
  table->n_rows = n;
  return table;
}

START_TEST(chunks_use_the_references_threshold)
{
  g_autoptr(DriftTable) reference = plain_table(300, 0), analysis = plain_table(150, 5000);
  for (const DriftUnivariateMethod *method = drift_univariate_methods; method->name != NULL; method++) {
    g_autoptr(GError) error = NULL;
    guint column = method->kind == DRIFT_NUMERIC ? 0 : 1;
    const DriftColumn *a = reference->columns->pdata[column], *b = analysis->columns->pdata[column];
    g_autoptr(DriftChunkSeries) series = drift_univariate_chunks(method, a, b, 100, &error);
    ck_assert_msg(series != NULL, "%s", error != NULL ? error->message : "");
    ck_assert_uint_eq(series->n_chunks, 2);
    ck_assert_int_eq(series->alerts[0], column == 0);
    ck_assert_ptr_null(drift_univariate_chunks(method, a, b, 0, NULL));
    ck_assert_ptr_null(drift_univariate_chunks(method, reference->columns->pdata[1 - column], b, 100, NULL));
  }
}
END_TEST

/* --- profiles ----------------------------------------------------------------------------------------------------- */

static const DriftViolation *find_violation(const GPtrArray *violations, DriftViolationKind kind)
{
  for (guint i = 0; i < violations->len; i++) {
    const DriftViolation *violation = violations->pdata[i];
    if (violation->kind == kind) return violation;
  }
  return NULL;
}

START_TEST(a_table_holds_to_its_own_profile)
{
  g_autoptr(DriftTable) table = plain_table(60, 0);
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  const DriftColumnProfile *x = profile->columns->pdata[0], *c = profile->columns->pdata[1];
  ck_assert(x->whole && x->n == 60 && x->n_distinct == 60 && x->minimum == 0 && x->maximum == 59);
  ck_assert_double_eq_tol(x->mean, 29.5, 1e-12);
  ck_assert(c->n_distinct == 3 && c->categories->len == 3 && !c->open);
  g_autoptr(GPtrArray) violations = drift_profile_check(profile, table, NULL);
  ck_assert_uint_eq(violations->len, 0);
}
END_TEST

START_TEST(violations_are_found_by_kind)
{
  g_autoptr(DriftTable) good = plain_table(60, 0), bad = drift_table_new();
  g_autoptr(DriftProfile) profile = drift_profile_new(good, NULL);
  drift_profile_add_column(profile, "gone", DRIFT_NUMERIC);
  DriftColumn *x = drift_table_add_column(bad, "x", DRIFT_NUMERIC),
              *c = drift_table_add_column(bad, "c <&>", DRIFT_CATEGORICAL),
              *more = drift_table_add_column(bad, "more", DRIFT_NUMERIC);
  const double values[] = {1, 2.5, 60, INFINITY, NAN, 1, 1, 3, 4, 5, 6, 7};
  for (guint i = 0; i < G_N_ELEMENTS(values); i++) {
    drift_column_append_number(x, values[i]);
    drift_column_append_text(c, i == 7 ? "z" : "a", -1);
    drift_column_append_number(more, 1);
  }
  bad->n_rows = G_N_ELEMENTS(values);
  g_autoptr(GPtrArray) violations = drift_profile_check(profile, bad, NULL);
  const DriftViolation *v = find_violation(violations, DRIFT_VIOLATION_RANGE);
  ck_assert(v->count == 2 && v->row == 2);
  ck_assert_str_eq(v->example, "60");
  v = find_violation(violations, DRIFT_VIOLATION_NOT_WHOLE);
  ck_assert(v->count == 1 && v->row == 1);
  ck_assert_uint_eq(find_violation(violations, DRIFT_VIOLATION_INFINITE)->row, 3);
  ck_assert_uint_eq(find_violation(violations, DRIFT_VIOLATION_MISSING)->count, 1);
  v = find_violation(violations, DRIFT_VIOLATION_UNSEEN);
  ck_assert(v->count == 1 && v->row == 7);
  ck_assert_str_eq(v->example, "z");
  ck_assert_str_eq(find_violation(violations, DRIFT_VIOLATION_NO_COLUMN)->column, "gone");
  ck_assert_str_eq(find_violation(violations, DRIFT_VIOLATION_NEW_COLUMN)->column, "more");
  v = find_violation(violations, DRIFT_VIOLATION_DUPLICATES);
  ck_assert(v->count == 2 && v->row == 5);
  ck_assert_ptr_null(find_violation(violations, DRIFT_VIOLATION_CONSTANT));
  ck_assert_ptr_null(find_violation(violations, DRIFT_VIOLATION_TYPE));
}
END_TEST

START_TEST(text_and_constants_are_violations)
{
  g_autoptr(DriftTable) good = plain_table(60, 0), bad = drift_table_new();
  g_autoptr(DriftProfile) profile = drift_profile_new(good, NULL);
  DriftColumn *x = drift_table_add_column(bad, "x", DRIFT_CATEGORICAL),
              *c = drift_table_add_column(bad, "c <&>", DRIFT_CATEGORICAL);
  for (guint i = 0; i < 20; i++) {
    drift_column_append_text(x, i == 11 ? "x7" : "5", -1);
    drift_column_append_text(c, "b", -1);
  }
  bad->n_rows = 20;
  g_autoptr(GPtrArray) violations = drift_profile_check(profile, bad, NULL);
  const DriftViolation *v = find_violation(violations, DRIFT_VIOLATION_TYPE);
  ck_assert(v->count == 1 && v->row == 11);
  ck_assert_str_eq(v->example, "x7");
  v = find_violation(violations, DRIFT_VIOLATION_CONSTANT);
  ck_assert_str_eq(v->column, "c <&>");
  ck_assert_uint_eq(v->count, 20);
}
END_TEST

START_TEST(profiles_survive_json)
{
  g_autoptr(DriftTable) table = plain_table(60, .25);
  drift_column_append_number(drift_table_get_column(table, "x"), INFINITY);
  drift_column_append_missing(drift_table_get_column(table, "c <&>"));
  table->n_rows++;
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  json_t *json = profile_to_json(profile);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftProfile) read = profile_from_json(json, &error);
  ck_assert_msg(read != NULL, "%s", error != NULL ? error->message : "");
  json_t *again = profile_to_json(read);
  ck_assert(json_equal(json, again));
  json_decref(json);
  json_decref(again);
}
END_TEST

/* Each member in turn is taken out or replaced: refused with its name or, where a number may be null, accepted. */
START_TEST(damaged_profiles_are_refused)
{
  g_autoptr(DriftTable) table = plain_table(9, 0);
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  json_t *json = profile_to_json(profile);
  for (gsize c = 0; c < 2; c++) {
    json_t *column = json_array_get(json_object_get(json, "columns"), c), *copy = json_deep_copy(column), *value;
    const gchar *key;
    json_object_foreach (copy, key, value) {
      g_autoptr(GError) error = NULL;
      if (strcmp(key, "constant") == 0) continue; /* for people */
      json_object_set_new(column, key, json_pack("{s:[]}", "x"));
      if (strcmp(key, "categories") == 0) json_object_set_new(column, key, json_pack("{s:i}", "a", -1));
      ck_assert_msg(profile_from_json(json, &error) == NULL, "%s", key);
      ck_assert_ptr_nonnull(error);
      json_object_set(column, key, value);
    }
    json_decref(copy);
  }
  json_decref(json);
  static const gchar *const texts[] = {"{}",
                                       "[]",
                                       "3",
                                       "{\"profile_version\":1}",
                                       "{\"profile_version\":2,\"rows\":0}",
                                       "{\"profile_version\":1,\"rows\":1,\"duplicates\":0,\"duplicate_limit\":7}"};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
    ck_assert_ptr_null(profile_from_json(json, &error));
    ck_assert_ptr_nonnull(error);
    json_decref(json);
  }
}
END_TEST

/* --- the report --------------------------------------------------------------------------------------------------- */

static json_t *report_of(const DriftTable *reference, const DriftTable *current, const gchar *method, const gchar *key,
                         const gchar *value, GError **error)
{
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const gchar *const methods[] = {method, NULL};
  if (key != NULL) g_hash_table_insert(options, (gpointer)key, (gpointer)value);
  const DriftTestRequest request = {.reference = reference,
                                    .current = current,
                                    .reference_name = "R.csv",
                                    .current_name = "C.csv",
                                    .methods = methods,
                                    .options = options,
                                    .timeline = TRUE};
  return drift_test_report(&request, error);
}

START_TEST(reports_tell_drift_from_none)
{
  static const gchar *const methods[] = {"auto", "ks", "chi2", "energy", NULL};
  g_autoptr(DriftTable) reference = plain_table(600, 0), shifted = plain_table(600, 400);
  for (guint i = 0; methods[i] != NULL; i++) {
    json_t *same = report_of(reference, reference, methods[i], NULL, NULL, NULL),
           *far = report_of(reference, shifted, methods[i], NULL, NULL, NULL);
    ck_assert(json_is_false(json_object_get(same, "drift")));
    ck_assert(json_is_true(json_object_get(far, "drift")));
    json_t *columns = json_object_get(far, "columns");
    ck_assert(json_is_true(json_object_get(json_array_get(columns, 0), "drift")));
    ck_assert(json_is_false(json_object_get(json_array_get(columns, 1), "drift")));
    g_autofree gchar *page = drift_test_html(far);
    ck_assert(strstr(page, "c &lt;&amp;&gt;") != NULL && strstr(page, "c <&>") == NULL);
    ck_assert(strstr(page, "http") == NULL && strstr(page, "<script") == NULL);
    ck_assert(strstr(page, "Drift in 1 of 2 columns") != NULL);
    json_decref(same);
    json_decref(far);
  }
}
END_TEST

START_TEST(reports_name_what_is_wrong)
{
  g_autoptr(DriftTable) reference = plain_table(5, 0), text = drift_table_new(), less = drift_table_new();
  drift_table_add_column(less, "x", DRIFT_NUMERIC);
  DriftColumn *x = drift_table_add_column(text, "x", DRIFT_CATEGORICAL),
              *c = drift_table_add_column(text, "c <&>", DRIFT_CATEGORICAL);
  for (guint i = 0; i < 3; i++) {
    drift_column_append_text(x, i == 1 ? "x7" : "3", -1);
    drift_column_append_text(c, "a", -1);
  }
  text->n_rows = 3;
  const struct {
    const DriftTable *current;
    const gchar *method, *key, *value, *message;
  } cases[] = {{text, "auto", NULL, NULL, "C.csv:3: column \"x\": \"x7\" is not a number"},
               {less, "auto", NULL, NULL, "C.csv:1: no column \"c <&>\""},
               {reference, "nothing", NULL, NULL, "no method \"nothing\""},
               {reference, "ks", "seed", "1", "no chosen method has an option \"seed\""},
               {reference, "ks", "level", "2", "level=2"},
               {reference, "ks", "adjust", "sidak", "adjust=sidak"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_ptr_null(report_of(reference, cases[i].current, cases[i].method, cases[i].key, cases[i].value, &error));
    ck_assert_msg(strstr(error->message, cases[i].message) != NULL, "%s", error->message);
  }
}
END_TEST

/* Sides without rows, without values, with one row. */
START_TEST(reports_of_little_data_do_not_guess)
{
  g_autoptr(DriftTable) one = plain_table(1, 250), reference = plain_table(500, 0);
  json_t *report = report_of(reference, one, "ks", NULL, NULL, NULL);
  ck_assert(json_is_false(json_object_get(report, "drift")));
  json_decref(report);
  g_autoptr(DriftTable) none = plain_table(0, 0);
  report = report_of(reference, none, "ks", NULL, NULL, NULL);
  const json_t *test =
      json_array_get(json_object_get(json_array_get(json_object_get(report, "columns"), 0), "tests"), 0);
  ck_assert(json_is_null(json_object_get(test, "p")));
  ck_assert_str_eq(json_string_value(json_object_get(test, "undefined")), "a side has no values");
  g_autofree gchar *page = drift_test_html(report);
  ck_assert(strstr(page, "a side has no values") != NULL);
  json_decref(report);
  report = report_of(reference, none, "auto", NULL, NULL, NULL);
  ck_assert(json_is_null(json_object_get(report, "drift")));
  json_decref(report);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("profiles and reports");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, corrections_leave_out_undefined_tests);
  tcase_add_test(tests, chunks_use_the_references_threshold);
  tcase_add_test(tests, a_table_holds_to_its_own_profile);
  tcase_add_test(tests, violations_are_found_by_kind);
  tcase_add_test(tests, text_and_constants_are_violations);
  tcase_add_test(tests, profiles_survive_json);
  tcase_add_test(tests, damaged_profiles_are_refused);
  tcase_add_test(tests, reports_tell_drift_from_none);
  tcase_add_test(tests, reports_name_what_is_wrong);
  tcase_add_test(tests, reports_of_little_data_do_not_guess);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
