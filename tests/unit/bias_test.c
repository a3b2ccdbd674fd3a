/* `kedge bias`: the report, its page, the exit status. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bias.h"
#include "daemon/command.h"

extern const Command command_bias;

/* 200 rows: of m half are selected, of f a tenth; the third group has five rows and no positive label. */
static DriftTable *make_table(void)
{
  DriftTable *table = drift_table_new();
  DriftColumn *sex = drift_table_add_column(table, "sex", DRIFT_CATEGORICAL);
  DriftColumn *age = drift_table_add_column(table, "age", DRIFT_NUMERIC);
  DriftColumn *label = drift_table_add_column(table, "paid", DRIFT_CATEGORICAL);
  DriftColumn *prediction = drift_table_add_column(table, "granted", DRIFT_CATEGORICAL);
  DriftColumn *score = drift_table_add_column(table, "score", DRIFT_NUMERIC);
  for (guint i = 0; i < 205; i++) {
    gboolean third = i >= 200, female = i % 2 == 1;
    drift_column_append_text(sex, third ? "<b>&" : female ? "f" : "m", -1);
    drift_column_append_number(age, 20 + i % 3 * 10);
    drift_column_append_text(label, !third && i % 3 == 0 ? "yes" : "no", -1);
    drift_column_append_text(prediction, !third && (female ? i % 20 == 1 : i % 4 == 0) ? "yes" : "no", -1);
    drift_column_append_number(score, (i % 10) / 10.0);
  }
  table->n_rows = 205;
  return table;
}

static const gchar *const sex_only[] = {"sex", NULL}, *const sex_and_age[] = {"sex", "age", NULL};

static BiasRequest make_request(const DriftTable *table)
{
  return (BiasRequest){.data = table,
                       .data_name = "D.csv",
                       .label = "paid",
                       .prediction = "granted",
                       .sensitive = sex_only,
                       .confidence = .95,
                       .minimum_group = 5};
}

static json_t *find_group(json_t *report, const gchar *name)
{
  gsize i;
  json_t *group;
  json_array_foreach (json_object_get(json_array_get(json_object_get(report, "groupings"), 0), "groups"), i, group)
    if (strcmp(json_string_value(json_object_get(group, "name")), name) == 0) return group;
  return NULL;
}

static json_t *get(json_t *object, const gchar *first, const gchar *second, const gchar *third)
{
  json_t *value = json_object_get(json_object_get(object, first), second);
  return third != NULL ? json_object_get(value, third) : value;
}

START_TEST(the_report_has_rates_intervals_and_reasons)
{
  g_autoptr(DriftTable) table = make_table();
  BiasRequest request = make_request(table);
  g_autoptr(GError) error = NULL;
  json_t *report = bias_report(&request, &error);
  ck_assert_msg(report != NULL, "%s", error ? error->message : "");
  ck_assert_str_eq(json_string_value(json_object_get(report, "favourable")), "yes");
  json_t *m = find_group(report, "m"), *third = find_group(report, "<b>&");
  ck_assert_int_eq(json_integer_value(json_object_get(m, "n")), 100);
  ck_assert_double_eq(json_number_value(get(m, "rates", "selection_rate", "value")), .5);
  ck_assert_double_lt(json_number_value(get(m, "rates", "selection_rate", "low")), .5);
  /* The TPR of a group without positives: null with a reason, never 0. */
  ck_assert(json_is_null(get(third, "rates", "tpr", "value")));
  ck_assert_str_eq(json_string_value(get(third, "rates", "tpr", "undefined")), "no row is labelled favourable (n = 0)");
  ck_assert(json_is_false(json_object_get(report, "breached")));
  json_decref(report);
}
END_TEST

START_TEST(attributes_and_their_crossings)
{
  g_autoptr(DriftTable) table = make_table();
  BiasRequest request = make_request(table);
  request.sensitive = sex_and_age;
  request.reference = (const gchar *const[]){"age=30", "sex|age=m|20", NULL};
  request.strata = "age";
  request.score = "score";
  json_t *report = bias_report(&request, NULL), *groupings = json_object_get(report, "groupings");
  const gchar *const expected[] = {"sex", "age", "sex|age"}, *const references[] = {"f", "30", "m|20"};
  ck_assert_uint_eq(json_array_size(groupings), 3);
  for (guint i = 0; i < 3; i++) {
    json_t *grouping = json_array_get(groupings, i);
    ck_assert_str_eq(json_string_value(json_object_get(grouping, "attribute")), expected[i]);
    ck_assert_str_eq(json_string_value(json_object_get(grouping, "reference")), references[i]);
    json_int_t n = 0;
    gsize j;
    json_t *group;
    json_array_foreach (json_object_get(grouping, "groups"), j, group)
      n += json_integer_value(json_object_get(group, "n"));
    ck_assert_int_eq(n, 205);
  }
  json_decref(report);
}
END_TEST

/* The page asks for nothing from a network, and a group's name is text, not markup. */
START_TEST(the_page_is_self_contained)
{
  g_autoptr(DriftTable) table = make_table();
  BiasRequest request = make_request(table);
  request.score = "score";
  request.bounds = (const gchar *const[]){"disparate_impact=0.8", NULL};
  json_t *report = bias_report(&request, NULL);
  g_autofree gchar *page = bias_html(report);
  ck_assert_ptr_null(strstr(page, "http"));
  ck_assert_ptr_null(strstr(page, "<script"));
  ck_assert_ptr_null(strstr(page, "<b>&"));
  ck_assert_ptr_nonnull(strstr(page, "&lt;b&gt;&amp;"));
  ck_assert_ptr_nonnull(strstr(page, "A bound is breached"));
  ck_assert_ptr_nonnull(strstr(page, "no row is labelled favourable (n = 0)"));
  json_decref(report);
}
END_TEST

static const struct {
  const gchar *bound;
  gint minimum_group;
  gboolean certain, breached;
} bounds[] = {
    {"disparate_impact=0.8", 30, FALSE, TRUE},
    {"disparate_impact=0.8", 30, TRUE, TRUE}, /* .1 against .5: certain */
    {"disparate_impact=0.1", 30, FALSE, FALSE},
    {"demographic_parity_difference=0.35", 30, FALSE, TRUE},
    {"demographic_parity_difference=0.35", 30, TRUE, FALSE}, /* .4, but the interval reaches below */
    {"selection_rate_difference=0.45", 30, FALSE, FALSE},
    {"accuracy_difference=1", 30, FALSE, FALSE},
    {"calibration_difference=0.9", 30, FALSE, TRUE}, /* no score: undefined, and so not shown to hold */
};

START_TEST(bounds_are_kept_or_breached)
{
  g_autoptr(DriftTable) table = make_table();
  BiasRequest request = make_request(table);
  request.minimum_group = bounds[_i].minimum_group;
  request.certain = bounds[_i].certain;
  request.reference = (const gchar *const[]){"sex=m", NULL};
  request.bounds = (const gchar *const[]){bounds[_i].bound, NULL};
  json_t *report = bias_report(&request, NULL);
  ck_assert_int_eq(json_is_true(json_object_get(report, "breached")), bounds[_i].breached);
  json_decref(report);
}
END_TEST

static void refuses(BiasRequest request, const gchar *part)
{
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(bias_report(&request, &error));
  ck_assert_msg(error != NULL && strstr(error->message, part) != NULL, "\"%s\" in \"%s\"", part,
                error != NULL ? error->message : "no error");
}

START_TEST(mistakes_are_named)
{
  g_autoptr(DriftTable) table = make_table();
  BiasRequest request = make_request(table);
  request.label = "nothing";
  refuses(request, "--label nothing");
  request = make_request(table);
  request.sensitive = (const gchar *const[]){"sex", "sex", NULL};
  refuses(request, "twice");
  request = make_request(table);
  request.score = "sex";
  refuses(request, "--score sex");
  request = make_request(table);
  request.prediction = "score";
  refuses(request, "--positive");
  request = make_request(table);
  request.favourable = "perhaps";
  refuses(request, "--positive perhaps");
  request = make_request(table);
  request.reference = (const gchar *const[]){"sex=x", NULL};
  refuses(request, "--reference sex=x");
  const gchar *const wrong[] = {"nothing=1",          "disparate_impact",       "disparate_impact=x",
                                "disparate_impact=0", "accuracy_difference=-1", "accuracy_difference=nan"};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    request = make_request(table);
    request.bounds = (const gchar *const[]){wrong[i], NULL};
    refuses(request, wrong[i]);
  }
}
END_TEST

static int run(const gchar *path, const gchar *bound)
{
  gchar *argv[] = {(gchar *)"bias", (gchar *)"--data",       (gchar *)path,  (gchar *)"--label",
                   (gchar *)"y",    (gchar *)"--prediction", (gchar *)"p",   (gchar *)"--sensitive",
                   (gchar *)"g",    (gchar *)"--bound",      (gchar *)bound, NULL};
  return command_bias.run(11, argv);
}

START_TEST(exit_statuses)
{
  g_autoptr(GString) text = g_string_new("y,p,g\n");
  for (guint i = 0; i < 200; i++)
    g_string_append_printf(text, "%u,%u,%s\n", i % 2, i % 2 ? i % 4 == 1 : i % 4 == 0, i < 100 ? "a" : "b");
  g_autofree gchar *path = NULL;
  int file = g_file_open_tmp("bias-XXXXXX.csv", &path, NULL);
  close(file);
  ck_assert(g_file_set_contents(path, text->str, -1, NULL));
  int quiet = open("/dev/null", O_WRONLY);
  fflush(stdout);
  dup2(quiet, STDOUT_FILENO);
  dup2(quiet, STDERR_FILENO);
  ck_assert_int_eq(run(path, "disparate_impact=0.8"), COMMAND_DONE);
  ck_assert_int_eq(run(path, "theil_index=0.0001"), COMMAND_NO);
  ck_assert_int_eq(run(path, "nothing=1"), COMMAND_FAILED);
  gchar *argv[] = {(gchar *)"bias", NULL};
  ck_assert_int_eq(command_bias.run(1, argv), COMMAND_USAGE);
  unlink(path);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("bias");
  TCase *tests = tcase_create("bias");
  tcase_add_test(tests, the_report_has_rates_intervals_and_reasons);
  tcase_add_test(tests, attributes_and_their_crossings);
  tcase_add_test(tests, the_page_is_self_contained);
  tcase_add_loop_test(tests, bounds_are_kept_or_breached, 0, G_N_ELEMENTS(bounds));
  tcase_add_test(tests, mistakes_are_named);
  tcase_add_test(tests, exit_statuses);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
