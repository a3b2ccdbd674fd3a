/* Splits: shares, strata, groups, folds; the same again for the same seed. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/split.h"

enum { ROWS = 1000, GROUPS = 37 };

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  PipelineTrainerRows *rows;
} World;

/* y: "yes" in a tenth of the rows, missing in every 50th; g: 37 groups of unlike sizes, some rows without one. */
static World make_world(DriftTask task)
{
  World world = {drift_table_new(), drift_schema_new(task, "y"), NULL};
  DriftColumn *g = drift_table_add_column(world.table, "g", DRIFT_NUMERIC);
  DriftColumn *y =
      drift_table_add_column(world.table, "y", task == DRIFT_TASK_REGRESSION ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    if (i % 91 == 5)
      drift_column_append_missing(g);
    else
      drift_column_append_number(g, (i * i) % GROUPS);
    if (i % 50 == 7)
      drift_column_append_missing(y);
    else if (task == DRIFT_TASK_REGRESSION)
      drift_column_append_number(y, (i * 7919) % ROWS);
    else
      drift_column_append_text(y, i % 10 == 3 ? "yes" : "no", -1);
  }
  world.table->n_rows = ROWS;
  if (task != DRIFT_TASK_REGRESSION) {
    drift_schema_add_class(world.schema, "no");
    drift_schema_add_class(world.schema, "yes");
  }
  drift_schema_add_feature(world.schema, "g", DRIFT_NUMERIC, FALSE, TRUE);
  world.rows = pipeline_trainer_rows_new(world.table, world.schema, NULL);
  return world;
}

static void world_clear(World *world)
{
  drift_table_free(world->table);
  drift_schema_free(world->schema);
  pipeline_trainer_rows_free(world->rows);
}

static const gchar *const kinds[] = {"time", "blocks", "shuffle", "stratified", "grouped:g"};

static void divide(const gchar *text, World *world, guint64 seed, guint8 *part)
{
  PipelineSplit split;
  GError *error = NULL;
  ck_assert(pipeline_split_parse(text, &split, NULL));
  g_autofree gchar *again = pipeline_split_format(&split);
  ck_assert_str_eq(again, text);
  gboolean done = pipeline_split_parts(&split, world->table, world->schema, world->rows, (const double[]){.6, .1, .3},
                                       3, seed, part, &error);
  ck_assert_msg(done, "%s", error ? error->message : "");
  pipeline_split_clear(&split);
}

START_TEST(shares_are_kept_and_seeds_repeat)
{
  World world = make_world(DRIFT_TASK_BINARY);
  guint8 part[ROWS], again[ROWS], other[ROWS];
  guint64 counts[3] = {0};
  divide(kinds[_i], &world, 4, part);
  divide(kinds[_i], &world, 4, again);
  divide(kinds[_i], &world, 5, other);
  ck_assert_mem_eq(part, again, ROWS);
  ck_assert_int_eq(memcmp(part, other, ROWS) == 0, _i <= 1);
  for (guint i = 0; i < ROWS; i++) {
    if (i % 50 == 7)
      ck_assert_uint_eq(part[i], PIPELINE_SPLIT_NONE);
    else
      counts[part[i]]++;
  }
  guint64 off = _i == 4 ? 30 : 2;
  ck_assert_uint_le(counts[0] > 588 ? counts[0] - 588 : 588 - counts[0], off);
  ck_assert_uint_le(counts[1] > 98 ? counts[1] - 98 : 98 - counts[1], off);
  ck_assert_uint_eq(counts[0] + counts[1] + counts[2], world.rows->n);
  world_clear(&world);
}
END_TEST

START_TEST(time_keeps_the_order)
{
  World world = make_world(DRIFT_TASK_BINARY);
  guint8 part[ROWS], last = 0;
  divide("time", &world, 1, part);
  for (guint i = 0; i < ROWS; i++) {
    if (part[i] == PIPELINE_SPLIT_NONE) continue;
    ck_assert_uint_ge(part[i], last);
    last = part[i];
  }
  world_clear(&world);
}
END_TEST

START_TEST(strata_have_their_share_in_every_part)
{
  World world = make_world(_i ? DRIFT_TASK_REGRESSION : DRIFT_TASK_BINARY);
  guint8 part[ROWS];
  double high[3] = {0}, n[3] = {0};
  divide("stratified", &world, 9, part);
  for (guint i = 0; i < ROWS; i++) {
    if (part[i] == PIPELINE_SPLIT_NONE) continue;
    n[part[i]]++;
    high[part[i]] += _i ? (double)world.rows->targets[i] >= ROWS * .8 : (double)world.rows->targets[i];
  }
  for (guint p = 0; p < 3; p++) ck_assert_double_eq_tol(high[p] / n[p], _i ? .2 : .1, .012);
  world_clear(&world);
}
END_TEST

static gint group_of(const World *world, guint row)
{
  double g = g_array_index(drift_table_get_column(world->table, "g")->numbers, double, row);
  return isnan(g) ? GROUPS : (gint)g;
}

START_TEST(no_group_is_on_two_sides)
{
  World world = make_world(DRIFT_TASK_BINARY);
  guint8 part[ROWS];
  gint of_group[GROUPS + 1];
  divide("grouped:g", &world, 3, part);
  memset(of_group, -1, sizeof of_group);
  for (guint i = 0; i < ROWS; i++) {
    if (part[i] == PIPELINE_SPLIT_NONE) continue;
    gint *seen = &of_group[group_of(&world, i)];
    ck_assert(*seen < 0 || *seen == part[i]);
    *seen = part[i];
  }
  world_clear(&world);
}
END_TEST

START_TEST(folds_validate_every_row_once_and_never_look_ahead)
{
  World world = make_world(DRIFT_TASK_BINARY);
  guint8 fold[ROWS];
  guint validated[ROWS] = {0};
  PipelineSplit split;
  ck_assert(pipeline_split_parse(kinds[_i], &split, NULL));
  ck_assert(pipeline_split_folds(&split, world.table, world.schema, world.rows, 4, 2, fold, NULL));
  for (guint f = 0; f < 4; f++) {
    guint first = ROWS, last_trained = 0;
    for (guint i = 0; i < ROWS; i++) {
      PipelineSplitUse use = pipeline_split_use(&split, fold[i], f);
      validated[i] += use == PIPELINE_USE_VALIDATE;
      if (use == PIPELINE_USE_VALIDATE && first == ROWS) first = i;
      if (use == PIPELINE_USE_TRAIN) last_trained = i;
    }
    if (pipeline_split_is_ordered(&split)) ck_assert_uint_lt(last_trained, first);
  }
  for (guint i = 0; i < ROWS; i++)
    ck_assert_uint_eq(validated[i], fold[i] != PIPELINE_SPLIT_NONE && (_i > 0 || fold[i] > 0));
  pipeline_split_clear(&split);
  world_clear(&world);
}
END_TEST

START_TEST(rows_are_ordered_for_the_trainer)
{
  World world = make_world(DRIFT_TASK_BINARY);
  PipelineSplit split;
  ck_assert(pipeline_split_parse(kinds[_i], &split, NULL));
  ck_assert(pipeline_split_rows(&split, world.table, world.schema, world.rows, .1, .3, 50, 7, NULL));
  const PipelineTrainerRows *rows = world.rows;
  ck_assert_uint_eq(rows->n_train + rows->n_validation + rows->n_test, rows->n);
  ck_assert_uint_gt(rows->n_test, rows->n_validation);
  gboolean seen[ROWS] = {FALSE};
  for (guint64 i = 0; i < rows->n; i++) {
    ck_assert(!seen[rows->rows[i]]);
    seen[rows->rows[i]] = TRUE;
    if (i > 0 && i != rows->n_train && i != rows->n_train + rows->n_validation)
      ck_assert_uint_lt(rows->rows[i - 1], rows->rows[i]);
  }
  pipeline_split_clear(&split);
  world_clear(&world);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
  static const gchar *const bad[] = {"", "weeks", "time:g", "grouped", "grouped:", "stratified:"};
  World world = make_world(DRIFT_TASK_BINARY);
  guint8 part[ROWS];
  PipelineSplit split = {0};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert(!pipeline_split_parse(bad[i], &split, &error));
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  }
  const struct {
    const gchar *split, *says;
    guint k;
  } refused[] = {{"grouped:h", "no column \"h\"", 3}, {"grouped:y", "gets none of the", 5}, {"time", "2 to 31", 1}};
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert(pipeline_split_parse(refused[i].split, &split, NULL));
    ck_assert(!pipeline_split_folds(&split, world.table, world.schema, world.rows, refused[i].k, 1, part, &error));
    ck_assert_msg(strstr(error->message, refused[i].says) != NULL, "%s", error->message);
    pipeline_split_clear(&split);
  }
  g_autoptr(GError) error = NULL;
  ck_assert(pipeline_split_parse("time", &split, NULL));
  ck_assert(!pipeline_split_rows(&split, world.table, world.schema, world.rows, .5, .5, 0, 1, &error));
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("split");
  TCase *tests = tcase_create("split");
  suite_add_tcase(suite, tests);
  tcase_add_loop_test(tests, shares_are_kept_and_seeds_repeat, 0, G_N_ELEMENTS(kinds));
  tcase_add_test(tests, time_keeps_the_order);
  tcase_add_loop_test(tests, strata_have_their_share_in_every_part, 0, 2);
  tcase_add_test(tests, no_group_is_on_two_sides);
  tcase_add_loop_test(tests, folds_validate_every_row_once_and_never_look_ahead, 0, G_N_ELEMENTS(kinds));
  tcase_add_loop_test(tests, rows_are_ordered_for_the_trainer, 0, G_N_ELEMENTS(kinds));
  tcase_add_test(tests, what_cannot_be_is_refused);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
