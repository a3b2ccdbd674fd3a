/* Rows added column by column: the bytes that adding them one by one gives. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "drift/accumulator_columns.h"

#define N_FEATURES 4

static guint64 generator_state = 1;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

/* Numbers with all that may happen to them, when odd; a discrete number; categories; a number where the schema has
 * categories. */
static DriftTable *make_table(guint n, gboolean odd)
{
  const double oddities[] = {INFINITY, -INFINITY, DBL_MAX, -DBL_MAX, 5e-324, -0.0, 0.0, 1e6, NAN};
  const gchar *const texts[] = {"a", "b", "1.0", "1", "zebra", ""};
  DriftTable *table = drift_table_new();
  DriftColumn *number = drift_table_add_column(table, "number", DRIFT_NUMERIC);
  DriftColumn *count = drift_table_add_column(table, "count", DRIFT_NUMERIC);
  DriftColumn *group = drift_table_add_column(table, "group", DRIFT_CATEGORICAL);
  DriftColumn *code = drift_table_add_column(table, "code", odd ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(number,
                               odd && i % 11 == 0 ? oddities[i / 11 % G_N_ELEMENTS(oddities)] : next_uniform() - .5);
    drift_column_append_number(count, i % 5 == 0 ? NAN : floor(7 * next_uniform()));
    if (i % 9 == 0)
      drift_column_append_missing(group);
    else
      drift_column_append_text(group, texts[(guint)((odd ? 6 : 3) * next_uniform())], -1);
    if (odd)
      drift_column_append_number(code, i % 7 == 0 ? NAN : floor(4 * next_uniform()));
    else
      drift_column_append_text(code, i % 2 == 0 ? "1" : "2", -1);
  }
  table->n_rows = n;
  return table;
}

static DriftGrid *make_grid(void)
{
  static const gchar *const names[N_FEATURES] = {"number", "count", "group", "code"};
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  g_autoptr(DriftTable) table = make_table(5000, FALSE);
  for (guint i = 0; i < N_FEATURES; i++)
    drift_schema_add_feature(schema, names[i], i < 2 ? DRIFT_NUMERIC : DRIFT_CATEGORICAL, FALSE, TRUE);
  DriftGrid *grid = drift_grid_new(schema, table, 0, NULL);
  ck_assert_ptr_nonnull(grid);
  return grid;
}

static void add_rows(DriftAccumulator *accumulator, const DriftTable *table)
{
  DriftValue values[N_FEATURES];
  DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = values};
  for (guint64 row = 0; row < table->n_rows; row++) {
    for (guint i = 0; i < N_FEATURES; i++) values[i] = drift_column_get_value(table->columns->pdata[i], row);
    drift_accumulator_add(accumulator, &event);
  }
}

static void add_columns(DriftAccumulator *accumulator, const DriftTable *table)
{
  DriftFeatureColumn features[N_FEATURES] = {{NULL, NULL}};
  for (guint i = 0; i < N_FEATURES; i++) {
    const DriftColumn *column = table->columns->pdata[i];
    if (i >= 2)
      features[i].column = column;
    else
      features[i].sample =
          drift_sample_new((const double *)(gpointer)column->numbers->data, column->numbers->len, NULL);
  }
  drift_accumulator_add_columns(accumulator, features, table->n_rows);
  for (guint i = 0; i < 2; i++) drift_sample_free((DriftSample *)features[i].sample);
}

/* Sizes around the summation's blocks and the width of counts, twice into the same accumulator. */
START_TEST(columns_give_the_bytes_of_rows)
{
  static const guint sizes[] = {0, 1, 2, 37, 5000, 32768, 32769, 140000};
  g_autoptr(DriftGrid) grid = make_grid();
  g_autoptr(DriftTable) first = make_table(1000, FALSE), table = make_table(sizes[_i], TRUE);
  g_autoptr(DriftAccumulator) by_rows = drift_accumulator_new(grid), by_columns = drift_accumulator_new(grid);
  add_rows(by_rows, first);
  add_columns(by_columns, first);
  add_rows(by_rows, table);
  add_columns(by_columns, table);
  g_autoptr(GBytes) expected = drift_accumulator_to_bytes(by_rows), got = drift_accumulator_to_bytes(by_columns);
  ck_assert(g_bytes_equal(expected, got));
  ck_assert_uint_eq(drift_accumulator_get_count(by_columns), 1000 + sizes[_i]);
  ck_assert_uint_eq(drift_accumulator_get_memory(by_rows), drift_accumulator_get_memory(by_columns));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift accumulator columns");
  TCase *tests = tcase_create("columns");
  tcase_add_loop_test(tests, columns_give_the_bytes_of_rows, 0, 8);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
