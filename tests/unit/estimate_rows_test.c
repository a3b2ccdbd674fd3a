/* Columns of CSV files as the estimators take them. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/estimate_rows.h"

/* A table from "header\nrow\n…", numbers where every cell is one. */
static DriftTable *table_from(const gchar *text)
{
  DriftTable *table = drift_table_new();
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1), names = g_strsplit(lines[0], ",", -1);
  for (guint k = 0; names[k] != NULL; k++) {
    gboolean numeric = TRUE;
    for (guint pass = 0; pass < 2; pass++) {
      DriftColumn *column =
          pass == 1 ? drift_table_add_column(table, names[k], numeric ? DRIFT_NUMERIC : DRIFT_CATEGORICAL) : NULL;
      for (guint i = 1; lines[i] != NULL && *lines[i] != '\0'; i++) {
        g_auto(GStrv) cells = g_strsplit(lines[i], ",", -1);
        gchar *end;
        double number = *cells[k] != '\0' ? g_ascii_strtod(cells[k], &end) : NAN;
        if (pass == 0)
          numeric &= *cells[k] == '\0' || *end == '\0';
        else if (numeric)
          drift_column_append_number(column, number);
        else if (*cells[k] == '\0')
          drift_column_append_missing(column);
        else
          drift_column_append_text(column, cells[k], -1);
        if (k == 0 && pass == 1) table->n_rows++;
      }
    }
  }
  return table;
}

static const gchar *const p_only[] = {"p", NULL};

START_TEST(two_classes_by_number_and_by_word)
{
  static const struct {
    const gchar *reference, *positive;
    guint first;      /* class of the first row's label */
    const gchar *why; /* part of the error */
  } cases[] = {{"p,y\n.2,0\n.7,1\n", NULL, 0, NULL},
               {"p,y\n.2,-1\n.7,3\n", NULL, 0, NULL},
               {"p,y\n.2,no\n.7,yes\n", NULL, 0, NULL},
               {"p,y\n.2,True\n.7,False\n", NULL, 1, NULL},
               {"p,y\n.2,cat\n.7,dog\n", NULL, 0, "--positive"},
               {"p,y\n.2,cat\n.7,dog\n", "cat", 1, NULL},
               {"p,y\n.2,cat\n.7,dog\n", "cow", 0, "--positive"},
               {"p,y\n.2,0\n.7,1\n.7,2\n", NULL, 0, "more than two"},
               {"p,y\n.2,1\n.7,1\n", NULL, 1, NULL},
               {"p,y\n.2,0\n.7,0\n", NULL, 0, NULL},
               {"p,y\n.2,\n.7,\n", NULL, 0, "no values"},
               {"p,z\n.2,0\n", NULL, 0, "no column \"y\""},
               {"q,y\n.2,0\n.7,1\n", NULL, 0, "no column \"p\""},
               {"p,y\nx,0\n.7,1\n", NULL, 0, "r.csv:2: column \"p\": \"x\" is not a number"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(DriftTable) table = table_from(cases[i].reference);
    const EstimateColumns columns = {.reference_name = "r.csv",
                                     .current_name = "c.csv",
                                     .probabilities = p_only,
                                     .label = "y",
                                     .positive = cases[i].positive};
    ClassificationRows rows;
    g_autoptr(GError) error = NULL;
    gboolean good = classification_rows_init(&rows, table, table, &columns, &error);
    ck_assert_msg(good == (cases[i].why == NULL), "case %u: %s", i, error ? error->message : "accepted");
    if (good) ck_assert_uint_eq(rows.reference.truth[0], cases[i].first);
    if (!good) ck_assert_msg(strstr(error->message, cases[i].why) != NULL, "case %u: %s", i, error->message);
    classification_rows_clear(&rows);
  }
}
END_TEST

START_TEST(classes_by_name)
{
  g_autoptr(DriftTable) reference = table_from("pa,pb,pc,h,y\n.2,.3,.5,c,a\n.1,.8,.1,b,\n");
  g_autoptr(DriftTable) current = table_from("pa,pb,pc,h\n.2,.3,.5,c\n"), odd = table_from("pa,pb,pc,h\n.2,.3,.5,d\n");
  const gchar *const probabilities[] = {"a=pa", "b=pb", "c=pc", NULL}, *const bad[] = {"a=pa", "pb", NULL};
  EstimateColumns columns = {.reference_name = "r.csv",
                             .current_name = "c.csv",
                             .probabilities = probabilities,
                             .prediction = "h",
                             .label = "y"};
  ClassificationRows rows;
  GError *error = NULL;
  ck_assert(classification_rows_init(&rows, reference, current, &columns, NULL));
  ck_assert_uint_eq(rows.reference.predicted[1], 1);
  ck_assert_uint_eq(rows.reference.truth[0], 0);
  ck_assert_uint_eq(rows.reference.truth[1], DRIFT_CODE_MISSING);
  ck_assert_double_eq(rows.current.scores[2][0], .5);
  ck_assert_ptr_null(rows.current.truth);
  classification_rows_clear(&rows);
  ck_assert(!classification_rows_init(&rows, reference, odd, &columns, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "c.csv:2: \"d\""));
  g_clear_error(&error);
  classification_rows_clear(&rows);
  columns.probabilities = bad;
  ck_assert(!classification_rows_init(&rows, reference, current, &columns, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "CLASS=COLUMN"));
  g_clear_error(&error);
  classification_rows_clear(&rows);
}
END_TEST

START_TEST(regression_features)
{
  g_autoptr(DriftTable) reference = table_from("a,c,h,y,r\n1,x,2,3,0\n2,z,3,4,0\n");
  g_autoptr(DriftTable) current = table_from("h,c,a\n5,z,\n6,w,8\n"), text = table_from("h,c,a\n5,z,q\n");
  EstimateColumns columns = {.reference_name = "r.csv",
                             .current_name = "c.csv",
                             .probabilities = (const gchar *const[]){NULL},
                             .prediction = "h",
                             .label = "y"};
  RegressionRows rows;
  GError *error = NULL;
  ck_assert(regression_rows_init(&rows, reference, current, &columns, NULL));
  ck_assert_uint_eq(rows.names->len, 2); /* r is in one file only */
  ck_assert_double_eq(rows.reference.features.values[3], 1);
  ck_assert(isnan(rows.current.features.values[0]));
  ck_assert_double_eq(rows.current.features.values[1], 1);
  ck_assert_double_eq(rows.current.features.values[3], -1);
  ck_assert_ptr_null(rows.current.truth);
  regression_rows_clear(&rows);
  ck_assert(!regression_rows_init(&rows, reference, text, &columns, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "c.csv:2: column \"a\": \"q\""));
  g_clear_error(&error);
  regression_rows_clear(&rows);
  columns.features = (const gchar *const[]){"r", NULL};
  ck_assert(!regression_rows_init(&rows, reference, current, &columns, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "c.csv has no column \"r\""));
  g_clear_error(&error);
  regression_rows_clear(&rows);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("estimate_rows");
  TCase *tests = tcase_create("estimate_rows");
  tcase_add_test(tests, two_classes_by_number_and_by_word);
  tcase_add_test(tests, classes_by_name);
  tcase_add_test(tests, regression_features);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
