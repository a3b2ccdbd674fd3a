/* Cleaning of training rows: what is changed, what is dropped, what is only said; nothing else is touched. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clean.h"
#include "pipeline/prepare_search.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

enum { ROWS = 1200, TRAINING = 1000, FLIPPED = 60 };

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  PipelineTrainerRows *rows;
  gboolean flipped[ROWS];
} World;

/* y is decided by x (and FLIPPED training rows lie); s is a smooth series with spikes; g a text; n noise. */
static World make_world(void)
{
  World world = {.table = drift_table_new(), .schema = drift_schema_new(DRIFT_TASK_BINARY, "y")};
  PipelineRandom random;
  pipeline_random_seed(&random, 21);
  DriftColumn *x = drift_table_add_column(world.table, "x", DRIFT_NUMERIC);
  DriftColumn *s = drift_table_add_column(world.table, "s", DRIFT_NUMERIC);
  DriftColumn *g = drift_table_add_column(world.table, "g", DRIFT_CATEGORICAL);
  DriftColumn *n = drift_table_add_column(world.table, "n", DRIFT_NUMERIC);
  DriftColumn *y = drift_table_add_column(world.table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    double number = 2 * pipeline_random_uniform(&random) - 1;
    gboolean yes = number > 0;
    world.flipped[i] = i < TRAINING && i % (TRAINING / FLIPPED) == 3 && fabs(number) > .2;
    drift_column_append_number(x, number);
    drift_column_append_number(s, i % 100 == 50 ? 40 : i % 100 == 70 ? NAN : sin(i / 30.) + .01 * (i % 3));
    drift_column_append_text(g, i % 4 == 0 ? "a" : "b", -1);
    drift_column_append_number(n, pipeline_random_uniform(&random));
    drift_column_append_text(y, yes != world.flipped[i] ? "yes" : "no", -1);
  }
  world.table->n_rows = ROWS;
  drift_schema_add_class(world.schema, "no");
  drift_schema_add_class(world.schema, "yes");
  world.schema->positive_class = 1;
  for (guint i = 0; i < 4; i++) {
    const DriftColumn *column = g_ptr_array_index(world.table->columns, i);
    drift_schema_add_feature(world.schema, column->name, column->kind, FALSE, TRUE);
  }
  return world;
}

static void divide(World *world)
{
  PipelineSplit split;
  world->rows = pipeline_trainer_rows_new(world->table, world->schema, NULL);
  ck_assert(pipeline_split_parse("time", &split, NULL));
  ck_assert(pipeline_split_rows(&split, world->table, world->schema, world->rows, 0, (ROWS - TRAINING) / (double)ROWS,
                                0, 1, NULL));
  ck_assert_uint_eq(world->rows->n_train, TRAINING);
  pipeline_split_clear(&split);
}

static void world_clear(World *world)
{
  drift_table_free(world->table);
  drift_schema_free(world->schema);
  pipeline_trainer_rows_free(world->rows);
}

static json_t *clean(World *world, const gchar *what)
{
  PipelineCleanOptions options;
  GError *error = NULL;
  pipeline_clean_options_init(&options);
  ck_assert(pipeline_clean_options_parse(what, &options, NULL));
  json_t *report = pipeline_clean(world->table, world->schema, world->rows, &options, &error);
  ck_assert_msg(report != NULL, "%s", error ? error->message : "");
  pipeline_clean_options_clear(&options);
  return report;
}

static json_int_t number(json_t *report, const gchar *part, const gchar *key)
{
  return json_integer_value(json_object_get(json_object_get(report, part), key));
}

static double *numbers(const World *world, const gchar *name)
{
  return (double *)(gpointer)drift_table_get_column(world->table, name)->numbers->data;
}

START_TEST(duplicates_of_training_rows_go)
{
  World world = make_world();
  for (guint i = 0; i < 4; i++) { /* rows 500 to 509 and a test row are row 7 again */
    DriftColumn *column = g_ptr_array_index(world.table->columns, i);
    for (guint row = 500; row < 511; row++) {
      guint to = row == 510 ? ROWS - 1 : row;
      if (column->kind == DRIFT_NUMERIC)
        g_array_index(column->numbers, double, to) = g_array_index(column->numbers, double, 7);
      else
        g_array_index(column->codes, guint32, to) = g_array_index(column->codes, guint32, 7);
    }
  }
  DriftColumn *y = drift_table_get_column(world.table, "y");
  for (guint row = 500; row < 509; row++) g_array_index(y->codes, guint32, row) = g_array_index(y->codes, guint32, 7);
  g_array_index(y->codes, guint32, 509) = 1 - g_array_index(y->codes, guint32, 7); /* another label: no duplicate */
  g_array_index(y->codes, guint32, ROWS - 1) = g_array_index(y->codes, guint32, 7);
  divide(&world);
  json_t *report = clean(&world, "duplicates,leaks");
  ck_assert_int_eq(number(report, "duplicates", "dropped"), 9);
  ck_assert_int_eq(json_integer_value(json_object_get(report, "rows_dropped")), 9);
  ck_assert_int_eq(number(report, "leaks", "test_rows_in_training"), 1);
  ck_assert_uint_eq(world.rows->n_train, TRAINING - 9);
  ck_assert_uint_eq(world.rows->n_test, ROWS - TRAINING);
  ck_assert_uint_eq(world.rows->rows[world.rows->n_train], TRAINING); /* the test rows have moved up whole */
  ck_assert_uint_eq(world.rows->rows[world.rows->n - 1], ROWS - 1);
  json_decref(report);
  world_clear(&world);
}
END_TEST

START_TEST(spikes_become_the_median_of_their_window)
{
  World world = make_world();
  divide(&world);
  g_autofree double *before = g_memdup2(numbers(&world, "s"), ROWS * sizeof(double));
  json_t *report = clean(&world, "hampel:s");
  json_t *column = json_array_get(json_object_get(report, "hampel"), 0);
  const double *after = numbers(&world, "s");
  guint changed = 0;
  for (guint i = 0; i < ROWS; i++) {
    if (i % 100 == 70) ck_assert(isnan(after[i]));
    if (isnan(before[i]) || after[i] == before[i]) continue;
    changed++;
    ck_assert_uint_lt(i, TRAINING);
  }
  for (guint i = 50; i < ROWS; i += 100) {
    if (i >= TRAINING)
      ck_assert_double_eq(after[i], 40); /* what is measured on stays as it is */
    else
      ck_assert_double_eq_tol(after[i], sin(i / 30.), .15);
  }
  ck_assert_int_eq(json_integer_value(json_object_get(column, "changed")), changed);
  ck_assert_uint_ge(changed, TRAINING / 100);
  ck_assert_uint_le(changed, TRAINING / 100 + TRAINING / 20);
  json_decref(report);
  world_clear(&world);
}
END_TEST

START_TEST(the_median_of_a_window_is_the_median)
{
  World world = make_world();
  divide(&world);
  g_autofree double *before = g_memdup2(numbers(&world, "n"), ROWS * sizeof(double));
  json_decref(clean(&world, "median:n"));
  const double *after = numbers(&world, "n");
  for (guint i = 3; i < TRAINING - 3; i += 53) {
    guint below = 0, above = 0;
    for (guint j = i - 3; j <= i + 3; j++) below += before[j]<after[i], above += before[j]> after[i];
    ck_assert_uint_eq(below, 3);
    ck_assert_uint_eq(above, 3);
  }
  ck_assert_mem_eq(after + TRAINING, before + TRAINING, (ROWS - TRAINING) * sizeof(double));
  world_clear(&world);
}
END_TEST

START_TEST(labels_that_lie_are_found)
{
  World world = make_world();
  divide(&world);
  json_t *report = clean(&world, _i ? "drop-labels" : "labels");
  json_int_t issues = number(report, "labels", "issues"), dropped = number(report, "labels", "dropped");
  guint lies = 0, left = 0, of_pairs = 0;
  for (guint i = 0; i < ROWS; i++) lies += world.flipped[i];
  for (guint64 i = 0; i < world.rows->n_train; i++) left += world.flipped[world.rows->rows[i]];
  for (gsize i = 0; i < 2; i++)
    of_pairs += (guint)json_integer_value(
        json_object_get(json_array_get(json_object_get(json_object_get(report, "labels"), "pairs"), i), "rows"));
  ck_assert_uint_ge(lies, FLIPPED / 2);
  ck_assert_int_ge(issues, lies * 9 / 10);
  ck_assert_int_le(issues, lies + 30); /* near x = 0 nobody knows */
  ck_assert_int_eq(of_pairs, issues);
  ck_assert_int_eq(dropped, _i ? issues : 0);
  ck_assert_uint_eq(world.rows->n_train, TRAINING - (guint64)dropped);
  if (_i) ck_assert_uint_le(left, lies / 10);
  json_decref(report);
  world_clear(&world);
}
END_TEST

START_TEST(leaks_are_named)
{
  World world = make_world();
  DriftColumn *same = drift_table_add_column(world.table, "same", DRIFT_CATEGORICAL);
  DriftColumn *score = drift_table_add_column(world.table, "score", DRIFT_NUMERIC);
  DriftColumn *id = drift_table_add_column(world.table, "id", DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    DriftValue y = drift_column_get_value(drift_table_get_column(world.table, "y"), i);
    g_autofree gchar *name = g_strdup_printf("id%u", i);
    drift_column_append_text(same, y.text, y.length);
    drift_column_append_number(score, *y.text == 'y' ? i % 100 : -1 - (gdouble)(i % 3));
    drift_column_append_text(id, name, -1);
  }
  drift_schema_add_feature(world.schema, "same", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_feature(world.schema, "score", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(world.schema, "id", DRIFT_CATEGORICAL, FALSE, TRUE);
  divide(&world);
  json_t *report = clean(&world, "leaks"), *leaks = json_object_get(report, "leaks");
  json_t *columns = json_object_get(leaks, "columns");
  ck_assert_uint_eq(json_array_size(columns), 2);
  ck_assert_str_eq(json_string_value(json_object_get(json_array_get(columns, 0), "column")), "same");
  ck_assert_str_eq(json_string_value(json_object_get(json_array_get(columns, 0), "why")), "it is the label");
  ck_assert_str_eq(json_string_value(json_object_get(json_array_get(columns, 1), "column")), "score");
  ck_assert_int_eq(json_integer_value(json_object_get(leaks, "columns_checked")), 7);
  json_decref(report);
  world_clear(&world);
}
END_TEST

/* What training cleans is what is trained on: the same bytes as from a table that was cleaned before. */
START_TEST(trainings_clean_their_rows)
{
  static const gchar *const architectures[] = {"trees:rounds=10", "mlp:4"};
  g_autoptr(GError) error = NULL;
  World world = make_world();
  PipelineCleanOptions clean;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0}, wanted = {0};
  pipeline_clean_options_init(&clean);
  ck_assert(pipeline_clean_options_parse("hampel:s,drop-labels", &clean, NULL));
  pipeline_train_options_init(&options);
  options.architecture = architectures[_i];
  options.epochs = 5;
  options.validation_fraction = 0;
  options.clean = &clean;
  double spike = g_array_index(drift_table_get_column(world.table, "s")->numbers, double, 50);
  ck_assert_msg(pipeline_train(world.table, world.schema, &options, NULL, NULL, &result, &error), "%s",
                error ? error->message : "");
  ck_assert_double_eq(g_array_index(drift_table_get_column(world.table, "s")->numbers, double, 50), spike);
  ck_assert_uint_lt(result.n_train, ROWS - FLIPPED / 2);
  ck_assert_ptr_nonnull(strstr(result.cleaning, "\"hampel\""));

  world.rows = pipeline_trainer_rows_new(world.table, world.schema, NULL);
  json_decref(pipeline_clean(world.table, world.schema, world.rows, &clean, NULL));
  g_autoptr(DriftTable) cleaned = drift_table_select(world.table, world.rows->rows, world.rows->n);
  options.clean = NULL;
  ck_assert(pipeline_train(cleaned, world.schema, &options, NULL, NULL, &wanted, NULL));
  ck_assert_ptr_null(wanted.cleaning);
  ck_assert_uint_eq(wanted.n_train, result.n_train);
  ck_assert(g_bytes_equal(wanted.onnx, result.onnx));
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&wanted);
  pipeline_clean_options_clear(&clean);
  world_clear(&world);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
  static const gchar *const bad[] = {"", "dust", "hampel", "hampel:", "duplicates:x", "labels,,leaks"};
  PipelineCleanOptions options;
  World world = make_world();
  divide(&world);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    pipeline_clean_options_init(&options);
    ck_assert_msg(!pipeline_clean_options_parse(bad[i], &options, &error), "%s", bad[i]);
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
    pipeline_clean_options_clear(&options);
  }
  g_autoptr(GError) error = NULL;
  pipeline_clean_options_init(&options);
  ck_assert(pipeline_clean_options_parse("median:g", &options, NULL));
  ck_assert_ptr_null(pipeline_clean(world.table, world.schema, world.rows, &options, &error));
  ck_assert_str_eq(error->message, "cleaning: column \"g\" is no number");
  pipeline_clean_options_clear(&options);
  world_clear(&world);
}
END_TEST

/* --- the search --------------------------------------------------------------------------------------------------- */

/* x decides by its logarithm's wave, or (noise) nothing decides anything. */
/* declared: the order of the rows, or NULL. */
static PipelinePlan *search(gboolean noise, guint trials, const gchar *declared, json_t **report)
{
  g_autoptr(DriftTable) table = drift_table_new();
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  PipelineRandom random;
  pipeline_random_seed(&random, noise ? 5 : 6);
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC),
              *z = drift_table_add_column(table, "z", DRIFT_NUMERIC);
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  guint64 rows[1500];
  for (guint i = 0; i < 1500; i++) {
    double u = pipeline_random_uniform(&random), other = pipeline_random_uniform(&random);
    gboolean yes =
        noise ? pipeline_random_uniform(&random) < .5 : pipeline_random_uniform(&random) < (u > .5 ? .9 : .1);
    drift_column_append_number(x, exp(20 * u)); /* standardised, all but the last is one point */
    drift_column_append_number(z, other);
    drift_column_append_text(y, yes ? "yes" : "no", -1);
    rows[i] = i;
  }
  table->n_rows = 1500;
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "yes");
  schema->positive_class = 1;
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "z", DRIFT_NUMERIC, FALSE, TRUE);
  PipelinePlanSearchOptions options;
  pipeline_plan_search_options_init(&options);
  options.trials = trials;
  PipelineSplit split = {0};
  if (declared) ck_assert(pipeline_split_parse(declared, &split, NULL));
  options.split = declared ? &split : NULL;
  options.epochs = 5;
  GError *error = NULL;
  PipelinePlan *plan = pipeline_plan_search(table, schema, rows, 1500, &options, NULL, NULL, report, &error);
  ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
  pipeline_split_clear(&split);
  return plan;
}

START_TEST(noise_is_not_chosen)
{
  json_t *report = NULL;
  pipeline_plan_free(search(TRUE, 100, NULL, &report));
  ck_assert_uint_eq(json_array_size(json_object_get(report, "chosen")), 0);
  ck_assert_str_eq(json_string_value(json_object_get(report, "stopped")), "done");
  ck_assert_uint_ge(json_array_size(json_object_get(report, "tried")), 10);
  json_decref(report);
}
END_TEST

START_TEST(folds_follow_the_order_of_the_rows)
{
  static const gchar *const declared[] = {NULL, "time", "blocks", "shuffle", "stratified", "grouped:z"};
  static const gchar *const folds[] = {"time", "time", "blocks", "stratified", "stratified", "grouped:z"};
  json_t *report = NULL;
  pipeline_plan_free(search(FALSE, 1, declared[_i], &report));
  ck_assert_str_eq(json_string_value(json_object_get(report, "split")), folds[_i]);
  json_decref(report);
}
END_TEST

START_TEST(what_helps_is_chosen_and_again)
{
  json_t *report = NULL, *again_report = NULL;
  g_autoptr(PipelinePlan) plan = search(FALSE, 4, NULL, &report), again = search(FALSE, 4, NULL, &again_report);
  g_autofree gchar *text = pipeline_plan_format(plan), *again_text = pipeline_plan_format(again);
  ck_assert_uint_ge(json_array_size(json_object_get(report, "chosen")), 1);
  const gchar *chain =
      json_string_value(json_object_get(json_array_get(json_object_get(report, "chosen"), 0), "chain"));
  ck_assert_msg(g_str_has_prefix(chain, "x="), "%s", chain);
  ck_assert_str_eq(json_string_value(json_object_get(report, "stopped")), "trials");
  ck_assert_double_lt(json_real_value(json_object_get(report, "loss")),
                      json_real_value(json_object_get(report, "loss_before")) - .1);
  ck_assert_str_eq(text, again_text);
  json_decref(report);
  json_decref(again_report);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("clean");
  TCase *tests = tcase_create("clean");
  suite_add_tcase(suite, tests);
  tcase_set_timeout(tests, 240);
  tcase_add_test(tests, duplicates_of_training_rows_go);
  tcase_add_test(tests, spikes_become_the_median_of_their_window);
  tcase_add_test(tests, the_median_of_a_window_is_the_median);
  tcase_add_loop_test(tests, labels_that_lie_are_found, 0, 2);
  tcase_add_test(tests, leaks_are_named);
  tcase_add_loop_test(tests, trainings_clean_their_rows, 0, 2);
  tcase_add_test(tests, what_cannot_be_is_refused);
  tcase_add_test(tests, noise_is_not_chosen);
  tcase_add_loop_test(tests, folds_follow_the_order_of_the_rows, 0, 6);
  tcase_add_test(tests, what_helps_is_chosen_and_again);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
