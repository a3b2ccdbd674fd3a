/* Reweighing: what the weights are, which rows they are counted on, and that a model trained with them chooses the
 * groups more alike. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

enum { ROWS = 2000 };

/* x is fair evidence, "proxy" tells the group; group b is labelled yes far less often than its x says. */
static DriftTable *make_table(guint n)
{
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC);
  DriftColumn *proxy = drift_table_add_column(table, "proxy", DRIFT_NUMERIC);
  DriftColumn *group = drift_table_add_column(table, "group", DRIFT_CATEGORICAL);
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  PipelineRandom random;
  pipeline_random_seed(&random, 11);
  for (guint i = 0; i < n; i++) {
    gboolean b = pipeline_random_below(&random, 10) < 4;
    double merit = (double)pipeline_random_below(&random, 1000) / 1000;
    double noise = (double)pipeline_random_below(&random, 1000) / 1000;
    drift_column_append_number(x, merit);
    drift_column_append_number(proxy, b ? 1 : 0);
    if (i % 50 == 7)
      drift_column_append_missing(group);
    else
      drift_column_append_text(group, b ? "b" : "a", -1);
    drift_column_append_text(y, noise < .1 + .8 * merit - (b ? .25 : 0) ? "yes" : "no", -1);
  }
  table->n_rows = n;
  return table;
}

static DriftSchema *make_schema(guint n_classes)
{
  static const gchar *const classes[] = {"no", "yes", "perhaps"};
  DriftSchema *schema = drift_schema_new(n_classes == 2 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS, "y");
  for (guint i = 0; i < n_classes; i++) drift_schema_add_class(schema, classes[i]);
  schema->positive_class = 1;
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "proxy", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "group", DRIFT_CATEGORICAL, TRUE, FALSE);
  return schema;
}

static const gchar *const by_group[] = {"group", NULL};

/* 0 a, 1 b, -1 missing. */
static gint group_of(const DriftTable *table, guint64 row)
{
  DriftValue value = drift_column_get_value(drift_table_get_column(table, "group"), row);
  return value.kind == DRIFT_VALUE_TEXT ? *value.text == 'b' : -1;
}

static gboolean is_yes(const DriftTable *table, guint64 row)
{
  DriftValue value = drift_column_get_value(drift_table_get_column(table, "y"), row);
  return *value.text == 'y';
}

START_TEST(label_and_group_are_independent_over_the_training_rows)
{
  g_autoptr(DriftTable) table = make_table(ROWS);
  g_autoptr(DriftSchema) schema = make_schema(2);
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, NULL);
  pipeline_trainer_rows_split(rows, .25, 10, FALSE, 1);
  g_autofree double *weights = g_new(double, ROWS);
  for (guint i = 0; i < ROWS; i++) weights[i] = 2; /* given ones are multiplied */
  PipelineReweighing result;
  ck_assert(pipeline_reweigh(table, schema, by_group, rows, weights, &result, NULL));
  double n[2][2] = {{0}}, sum[2][2] = {{0}}, total = 0, missing = 0;
  for (guint64 i = 0; i < rows->n_train; i++) {
    guint64 row = rows->rows[i];
    gint group = group_of(table, row);
    total += weights[row];
    if (group < 0) {
      missing++;
      ck_assert_double_eq(weights[row], 2);
      continue;
    }
    n[group][is_yes(table, row)]++;
    sum[group][is_yes(table, row)] += weights[row];
  }
  ck_assert_double_eq_tol(sum[0][1] / (sum[0][0] + sum[0][1]), sum[1][1] / (sum[1][0] + sum[1][1]), 1e-12);
  ck_assert_double_eq_tol(total, 2. * (double)rows->n_train, 1e-9);
  ck_assert_uint_eq(result.n_groups, 2);
  ck_assert_uint_eq(result.n_without_group, (guint64)missing);
  ck_assert(result.largest > 2.2 && result.smallest < 2);
  /* b is favoured too seldom: the weight of its yes is n_b n_yes / (n n_b,yes), of training rows only */
  double known = n[0][0] + n[0][1] + n[1][0] + n[1][1];
  double expected = (n[1][0] + n[1][1]) * (n[0][1] + n[1][1]) / known / n[1][1];
  for (guint64 i = 0; i < rows->n; i++) {
    guint64 row = rows->rows[i];
    if (group_of(table, row) == 1 && is_yes(table, row)) ck_assert_double_eq_tol(weights[row], 2 * expected, 1e-12);
  }
}
END_TEST

/* Share chosen in group a less that in group b; and how often the label is met. */
static double train_and_compare(const gchar *const *reweigh, double *accuracy)
{
  g_autoptr(DriftTable) table = make_table(ROWS);
  g_autoptr(DriftSchema) schema = make_schema(2);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  options.architecture = "mlp:8";
  options.epochs = 20;
  options.backend = "reference";
  options.reweigh = reweigh;
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &result, &error), "%s",
                error ? error->message : "");
  ck_assert_uint_eq(result.reweighing.n_groups, reweigh ? 2 : 0);
  PipelineModel *model = pipeline_model_load(result.onnx, schema, "reference", &error);
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  g_autofree float *outputs = g_new(float, ROWS * 2);
  ck_assert(pipeline_model_predict_table(model, table, outputs, NULL));
  double n[2] = {0}, chosen[2] = {0}, right = 0;
  for (guint i = 0; i < ROWS; i++) {
    gint group = group_of(table, i);
    guint decision = pipeline_model_decide(model, outputs + (gsize)i * 2);
    right += decision == (guint)is_yes(table, i);
    if (group < 0) continue;
    n[group]++;
    chosen[group] += decision;
  }
  pipeline_model_free(model);
  pipeline_train_result_clear(&result);
  *accuracy = right / ROWS;
  return chosen[0] / n[0] - chosen[1] / n[1];
}

START_TEST(a_reweighed_model_chooses_the_groups_more_alike)
{
  double accuracy, fair_accuracy;
  double difference = train_and_compare(NULL, &accuracy), fair = train_and_compare(by_group, &fair_accuracy);
  ck_assert_double_gt(difference, .2);
  ck_assert_msg(fair < .6 * difference, "%g against %g", fair, difference);
  ck_assert_double_gt(fair_accuracy, accuracy - .06);
}
END_TEST

START_TEST(what_cannot_be_reweighed_says_why)
{
  g_autoptr(DriftTable) table = make_table(200);
  g_autoptr(DriftSchema) schema = make_schema(2), three = make_schema(3);
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, NULL);
  g_autofree double *weights = g_new0(double, 200);
  PipelineReweighing result;
  g_autoptr(GError) error = NULL;
  const gchar *const unknown[] = {"colour", NULL};
  ck_assert(!pipeline_reweigh(table, schema, unknown, rows, weights, &result, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "\"colour\": the data have no such column"));
  g_clear_error(&error);
  ck_assert(!pipeline_reweigh(table, three, by_group, rows, weights, &result, &error));
  ck_assert_int_eq(error->code, PIPELINE_ERROR_INVALID);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("reweigh");
  TCase *tests = tcase_create("reweigh");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, label_and_group_are_independent_over_the_training_rows);
  tcase_add_test(tests, a_reweighed_model_chooses_the_groups_more_alike);
  tcase_add_test(tests, what_cannot_be_reweighed_says_why);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
