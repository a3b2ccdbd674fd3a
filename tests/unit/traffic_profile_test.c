/* Profiles of traffic: JSON lines as a table, and what an accumulator knows against what the rows say. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <glib/gstdio.h>

#include "drift/accumulator_profile.h"
#include "pipeline/csv.h"
#include "pipeline/json_lines.h"

static gchar *path;

static void set_up(void)
{
  path = g_build_filename(g_get_tmp_dir(), "traffic_profile_XXXXXX", NULL);
  g_close(g_mkstemp(path), NULL);
}

static void tear_down(void)
{
  g_unlink(path);
  g_free(path);
}

/* The lines as CSV, or the message. */
static gchar *as_csv(const gchar *text)
{
  g_autoptr(GError) error = NULL;
  ck_assert(g_file_set_contents(path, text, -1, NULL));
  g_autoptr(DriftTable) table = pipeline_json_lines_read(path, &error);
  ck_assert((table == NULL) == (error != NULL));
  if (table == NULL) {
    ck_assert(g_utf8_validate(error->message, -1, NULL));
    ck_assert(g_str_has_prefix(error->message, path));
    return g_strdup(error->message + strlen(path));
  }
  gchar *csv = NULL;
  ck_assert(pipeline_csv_write(path, table, NULL) && g_file_get_contents(path, &csv, NULL, NULL));
  return csv;
}

START_TEST(lines_become_rows)
{
  static const gchar *const cases[][2] = {
      {"{\"a\": 1, \"b\": \"x\"}\n\n{\"b\": \"y\", \"c\": true}\r\n{\"a\": null, \"c\": 2.50}",
       "a,b,c\n1,x,\n,y,true\n,,2.5\n"},
      {"{\"a\": 1}\n{\"a\": \"1.0\"}\n{\"a\": \"t\"}\n", "a\n1\n1.0\nt\n"}, /* texts as they are */
      {"{\"request_id\": \"r\", \"ts\": 5, \"features\": {\"x\": 3}, \"score\": 0.25, \"prediction\": \"p\"}\n",
       "x,prediction,score\n3,p,0.25\n"},
      {"{\"e\": [1, null, 3], \"f\": 2}\n{\"f\": 1}\n", "e[0],e[1],e[2],f\n1,,3,2\n,,,1\n"},
      {"", "\n"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *csv = as_csv(cases[i][0]);
    ck_assert_str_eq(csv, cases[i][1]);
  }
}
END_TEST

START_TEST(wrong_lines_are_named)
{
  static const gchar *const cases[][2] = {{"{\"a\": 1}\n{\"a\": }\n", ":2: column 7: "},
                                          {"{\"a\": 1}\n\n[1]\n", ":3: not a JSON object"},
                                          {"{\"a\": {\"b\": 1}}\n", ":1: \"a\" is an object"},
                                          {"{\"a\": [1, \"x\"]}\n", ":1: \"a[1]\" is not a number"},
                                          {"{\"a\": 1, \"a\": 2}\n", ":1: column "},
                                          {"{\"a[0]\": 1, \"a\": [2]}\n", ":1: two values of \"a[0]\""},
                                          {"{\"\": 1}\n", ":1: a member without a name"},
                                          {"{\"a\": \"\xff\"}\n", ":1: column "},
                                          {"{\"a\": \"\\u0\xd6\x9a\"}\n", ":1: column "}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *message = as_csv(cases[i][0]);
    ck_assert_msg(g_str_has_prefix(message, cases[i][1]), "%s", message);
  }
  g_autofree gchar *long_text = g_strnfill((1 << 20) + 1, ' ');
  g_autofree gchar *message = as_csv(long_text);
  ck_assert_ptr_nonnull(strstr(message, "longer than 1 MiB"));
  g_unlink(path);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_json_lines_read(path, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "cannot open"));
}
END_TEST

/* --- accumulators ------------------------------------------------------------------------------------------------- */

static DriftTable *make_table(guint n, double shift, const gchar *extra)
{
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC),
              *g = drift_table_add_column(table, "g", DRIFT_CATEGORICAL);
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  GRand *random = g_rand_new_with_seed(n);
  for (guint i = 0; i < n; i++) {
    if (i % 20 == 19)
      drift_column_append_missing(x);
    else
      drift_column_append_number(x, shift + g_rand_double_range(random, -2, 3));
    drift_column_append_text(g, extra != NULL && i % 10 == 0 ? extra : i % 3 == 0 ? "a" : "b", -1);
    drift_column_append_text(y, i % 2 == 0 ? "0" : "1", -1);
  }
  table->n_rows = n;
  g_rand_free(random);
  return table;
}

static DriftGrid *make_grid(const DriftTable *table)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "g", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  return drift_grid_new(schema, table, 0, NULL);
}

START_TEST(an_accumulator_knows_what_the_rows_say)
{
  g_autoptr(DriftTable) table = make_table(3000, 0, NULL), other = make_table(2000, 0, NULL);
  g_autoptr(DriftGrid) grid = make_grid(table);
  g_autoptr(DriftAccumulator) sum = drift_accumulator_from_table(grid, other, NULL);
  g_autoptr(DriftProfile) exact = drift_profile_new(other, NULL), known = drift_profile_from_accumulator(sum);
  ck_assert_uint_eq(known->n_rows, 2000);
  for (guint i = 0; i < 2; i++) {
    const DriftColumnProfile *a = exact->columns->pdata[i], *b = known->columns->pdata[i];
    ck_assert_str_eq(a->name, b->name);
    ck_assert_uint_eq(a->n, b->n);
    ck_assert_uint_eq(a->n_missing, b->n_missing);
    ck_assert_double_eq(a->missing_limit, b->missing_limit);
    ck_assert_uint_le(b->n_distinct, a->n_distinct);
    if (i == 1) {
      ck_assert_uint_eq(b->categories->len, a->categories->len);
      const DriftProfileCategory *first = a->categories->pdata[0], *same = b->categories->pdata[0];
      ck_assert_str_eq(first->text, same->text);
      ck_assert_uint_eq(first->count, same->count);
      ck_assert(!b->open);
      continue;
    }
    ck_assert(a->minimum == b->minimum && a->maximum == b->maximum);
    ck_assert_double_eq_tol(a->mean, b->mean, 1e-8);
    ck_assert_double_eq_tol(a->deviation, b->deviation, 1e-3);
    for (guint q = 0; q < 3; q++) ck_assert_double_eq_tol(a->quartiles[q], b->quartiles[q], .05);
  }
}
END_TEST

static guint64 count_of(const GPtrArray *violations, DriftViolationKind kind, const gchar *column)
{
  for (guint i = 0; i < violations->len; i++) {
    const DriftViolation *violation = violations->pdata[i];
    if (violation->kind == kind && g_strcmp0(violation->column, column) == 0) return violation->count;
  }
  return 0;
}

START_TEST(traffic_is_held_against_a_profile)
{
  g_autoptr(DriftTable) table = make_table(3000, 0, NULL), moved = make_table(2000, 4, "c");
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  g_autoptr(DriftGrid) grid = make_grid(table);
  g_autoptr(DriftAccumulator) same = drift_accumulator_from_table(grid, table, NULL),
                              other = drift_accumulator_from_table(grid, moved, NULL);
  g_autoptr(GPtrArray) none = drift_profile_check_accumulator(profile, same),
                       some = drift_profile_check_accumulator(profile, other),
                       exact = drift_profile_check(profile, moved, NULL);
  ck_assert_uint_eq(none->len, 0);
  ck_assert_uint_eq(some->len, 2);
  ck_assert_uint_eq(count_of(some, DRIFT_VIOLATION_UNSEEN, "g"), count_of(exact, DRIFT_VIOLATION_UNSEEN, "g"));
  guint64 out_of_range = count_of(some, DRIFT_VIOLATION_RANGE, "x");
  ck_assert(out_of_range > 1000 && out_of_range <= count_of(exact, DRIFT_VIOLATION_RANGE, "x"));
  /* A narrower profile: the bin that its end lies in is not counted. */
  ((DriftColumnProfile *)profile->columns->pdata[0])->maximum = 1;
  g_autoptr(GPtrArray) narrow = drift_profile_check_accumulator(profile, same),
                       rows = drift_profile_check(profile, table, NULL);
  double found = (double)count_of(narrow, DRIFT_VIOLATION_RANGE, "x"),
         truth = (double)count_of(rows, DRIFT_VIOLATION_RANGE, "x");
  ck_assert(found <= truth && found > .95 * truth);
}
END_TEST

START_TEST(kinds_of_violations_without_rows)
{
  g_autoptr(DriftTable) table = make_table(500, 0, NULL);
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  g_autoptr(DriftGrid) grid = make_grid(table);
  g_autoptr(DriftAccumulator) sum = drift_accumulator_new(grid);
  drift_profile_add_column(profile, "gone", DRIFT_NUMERIC);
  for (guint i = 0; i < 40; i++) { /* text and gaps where numbers were, one category */
    const DriftValue features[] = {i % 2 == 0 ? drift_value_text("x7", -1) : drift_value_missing(),
                                   drift_value_text("a", -1)};
    const DriftEvent event = {
        .prediction = drift_value_missing(), .score = .5, .latency_ms = NAN, .features = features};
    drift_accumulator_add(sum, &event);
  }
  g_autoptr(GPtrArray) violations = drift_profile_check_accumulator(profile, sum);
  ck_assert_uint_eq(count_of(violations, DRIFT_VIOLATION_TYPE, "x"), 20);
  ck_assert_uint_eq(count_of(violations, DRIFT_VIOLATION_MISSING, "x"), 20);
  ck_assert_uint_eq(count_of(violations, DRIFT_VIOLATION_CONSTANT, "g"), 40);
  ck_assert_uint_eq(count_of(violations, DRIFT_VIOLATION_NO_COLUMN, "gone"), 40);
  ck_assert_uint_eq(count_of(violations, DRIFT_VIOLATION_NEW_COLUMN, "score"), 40);
  ck_assert_uint_eq(violations->len, 5);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("traffic_profile");
  TCase *all = tcase_create("all");
  tcase_add_checked_fixture(all, set_up, tear_down);
  tcase_add_test(all, lines_become_rows);
  tcase_add_test(all, wrong_lines_are_named);
  tcase_add_test(all, an_accumulator_knows_what_the_rows_say);
  tcase_add_test(all, traffic_is_held_against_a_profile);
  tcase_add_test(all, kinds_of_violations_without_rows);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
