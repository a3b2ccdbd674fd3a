/* Baselines: what dependence of rows is found, what it does to a verdict, and their bytes. Seeded. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/baseline.h"
#include "drift/horizon.h"
#include "drift/window.h"

static guint64 generator_state;
static double next_uniform(void)
{
  guint64 z = generator_state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}
static double next_normal(void)
{
  return sqrt(-2 * log(1 - next_uniform())) * cos(2 * G_PI * next_uniform());
}

enum { INDEPENDENT, PERSISTENT, SWINGING, STICKY, BURSTS, N_COLUMNS };
static const gchar *const names[N_COLUMNS] = {"independent", "persistent", "swinging", "sticky", "bursts"};

typedef struct {
  guint64 row, period;
  double persistent, burst;
  guint category;
} World;

static void world_init(World *world, guint64 period, guint64 seed)
{
  generator_state = seed;
  *world = (World){.period = period, .persistent = next_normal()};
}

/* AR(1) .5; a sine in the mean; a category that stays with probability .8; missing values in runs of 20 on average. */
static void next_row(World *world, double values[N_COLUMNS])
{
  values[INDEPENDENT] = next_normal();
  world->persistent = .5 * world->persistent + sqrt(.75) * next_normal();
  values[PERSISTENT] = world->persistent;
  values[SWINGING] = next_normal() + .7 * sin(2 * G_PI * (double)world->row / (double)world->period);
  if (next_uniform() < .2) world->category = (guint)(4 * next_uniform());
  values[STICKY] = world->category;
  if (next_uniform() < .05) world->burst = next_uniform() < .2;
  values[BURSTS] = world->burst > 0 ? NAN : next_normal();
  world->row++;
}

static DriftTable *make_table(World *world, guint64 n)
{
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < N_COLUMNS; i++)
    drift_table_add_column(table, names[i], i == STICKY ? DRIFT_CATEGORICAL : DRIFT_NUMERIC);
  for (guint64 row = 0; row < n; row++) {
    double values[N_COLUMNS];
    next_row(world, values);
    for (guint i = 0; i < N_COLUMNS; i++) {
      g_autofree gchar *text = g_strdup_printf("%g", values[i]);
      if (i == STICKY)
        drift_column_append_text(g_ptr_array_index(table->columns, i), text, -1);
      else
        drift_column_append_number(g_ptr_array_index(table->columns, i), values[i]);
    }
  }
  table->n_rows = n;
  return table;
}

typedef struct {
  DriftGrid *grid;
  DriftAccumulator *profile;
  DriftBaseline *baseline;
  DriftTable *reference;
} Reference;

static void reference_init_take(Reference *reference, DriftTable *table)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  for (guint i = 0; i < N_COLUMNS; i++)
    drift_schema_add_feature(schema, names[i], i == STICKY ? DRIFT_CATEGORICAL : DRIFT_NUMERIC, FALSE, TRUE);
  reference->reference = table;
  reference->grid = drift_grid_new(schema, table, 0, NULL);
  reference->profile = drift_accumulator_from_table(reference->grid, table, NULL);
  reference->baseline = drift_baseline_new(reference->profile, table, NULL);
  ck_assert_ptr_nonnull(reference->baseline);
}

static void reference_clear(Reference *reference)
{
  drift_baseline_free(reference->baseline);
  drift_accumulator_free(reference->profile);
  drift_grid_unref(reference->grid);
  drift_table_free(reference->reference);
}

static double inflation(const Reference *reference, guint column, double rows)
{
  return drift_baseline_get_inflation(reference->baseline, column, rows);
}

/* Independent rows cost nothing; dependent ones are found as strong as they are. The category's count has the variance
 * of a chain that stays with probability .8 + .2/4: (1 + .8)/(1 - .8) = 9 times. */
START_TEST(dependence_is_measured)
{
  World world;
  Reference reference;
  world_init(&world, 7000, 1);
  reference_init_take(&reference, make_table(&world, 50000));
  ck_assert_double_lt(inflation(&reference, INDEPENDENT, 200), 1.05);
  ck_assert_double_lt(inflation(&reference, INDEPENDENT, 1e6), 1.6);
  ck_assert_double_gt(inflation(&reference, PERSISTENT, 200), 1.25);
  ck_assert_double_lt(inflation(&reference, PERSISTENT, 200), 1.5);
  ck_assert_double_gt(inflation(&reference, STICKY, 200), 7.5);
  ck_assert_double_lt(inflation(&reference, STICKY, 200), 10.5);
  /* A window of 200 rows sees one phase, longer ones more of it. */
  ck_assert_double_gt(inflation(&reference, SWINGING, 200), 4);
  ck_assert_double_gt(inflation(&reference, SWINGING, 2000), 3 * inflation(&reference, SWINGING, 200));
  for (guint i = 0; i < N_COLUMNS; i++) ck_assert(!drift_baseline_is_unsteady(reference.baseline, i));
  reference_clear(&reference);
}
END_TEST

/* Of 60 persistent columns in 500 rows some look independent by chance; the others say that they are not. */
START_TEST(columns_share_their_evidence)
{
  enum { COLUMNS = 60 };
  generator_state = 11;
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < COLUMNS; i++) {
    g_autofree gchar *name = g_strdup_printf("x%u", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    double value = next_normal();
    for (guint row = 0; row < 500; row++) {
      value = .5 * value + sqrt(.75) * next_normal();
      drift_column_append_number(column, value);
    }
  }
  table->n_rows = 500;
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, table, 0, NULL);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, table, NULL);
  g_autoptr(DriftBaseline) baseline = drift_baseline_new(profile, table, NULL);
  double least = INFINITY;
  for (guint i = 0; i < COLUMNS; i++) least = fmin(least, drift_baseline_get_inflation(baseline, i, 200));
  ck_assert_double_gt(least, 1.1);
}
END_TEST

START_TEST(shuffled_rows_show_none)
{
  World world;
  Reference ordered, shuffled;
  world_init(&world, 1000, 2);
  reference_init_take(&ordered, make_table(&world, 8000));
  g_autofree guint64 *rows = g_new(guint64, 8000);
  for (guint64 i = 0; i < 8000; i++) rows[i] = i;
  for (guint64 i = 7999; i > 0; i--) {
    guint64 j = (guint64)(next_uniform() * (double)(i + 1)), kept = rows[i];
    rows[i] = rows[j];
    rows[j] = kept;
  }
  reference_init_take(&shuffled, drift_table_select(ordered.reference, rows, 8000));
  for (guint i = 0; i < N_COLUMNS; i++) ck_assert_double_lt(inflation(&shuffled, i, 200), 1.3);
  ck_assert_double_gt(inflation(&ordered, SWINGING, 200), 4);
  reference_clear(&ordered);
  reference_clear(&shuffled);
}
END_TEST

/* A sorted column says nothing of windows to come: independent rows, and the verdict says so. */
START_TEST(a_sorted_reference_is_no_baseline)
{
  World world;
  Reference reference;
  world_init(&world, 1000, 3);
  DriftTable *table = make_table(&world, 4000);
  DriftColumn *column = drift_table_get_column(table, "independent");
  for (guint i = 0; i < 4000; i++) g_array_index(column->numbers, double, i) = i;
  reference_init_take(&reference, table);
  ck_assert(drift_baseline_is_unsteady(reference.baseline, INDEPENDENT));
  ck_assert(!drift_baseline_is_unsteady(reference.baseline, PERSISTENT));
  ck_assert_double_eq(inflation(&reference, INDEPENDENT, 200), 1);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate_with(reference.profile, reference.baseline, reference.profile, NULL, 0, &settings, NULL);
  for (guint i = 0; i < verdict->features->len; i++) {
    const DriftFeatureVerdict *feature = g_ptr_array_index(verdict->features, i);
    if (strcmp(feature->feature, "independent") == 0) ck_assert_ptr_nonnull(strstr(feature->dependence, "sorted"));
    if (strcmp(feature->feature, "persistent") == 0) ck_assert_ptr_nonnull(strstr(feature->dependence, "measured"));
  }
  reference_clear(&reference);
}
END_TEST

typedef struct {
  guint alarms[N_COLUMNS], quality;
} Alarms;

/* 200 windows of 500 rows of the reference's own law, each against one reference. */
static Alarms count_alarms(const Reference *reference, World *world, gboolean with_baseline)
{
  Alarms alarms = {0};
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  settings.minimum_effect = 0;
  settings.missing_rate_increase = 0;
  for (guint window = 0; window < 200; window++) {
    g_autoptr(DriftTable) table = make_table(world, 500);
    g_autoptr(DriftAccumulator) counts = drift_accumulator_from_table(reference->grid, table, NULL);
    g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate_with(
        reference->profile, with_baseline ? reference->baseline : NULL, counts, NULL, 0, &settings, NULL);
    for (guint i = 0; i < verdict->features->len; i++) {
      const DriftFeatureVerdict *feature = g_ptr_array_index(verdict->features, i);
      for (guint c = 0; c < N_COLUMNS; c++)
        if (strcmp(feature->feature, names[c]) == 0) alarms.alarms[c] += feature->p <= .01;
    }
    alarms.quality += verdict->quality;
  }
  return alarms;
}

/* 1 % of 200 windows is 2; without the baseline dependent columns reject tens of times as often. */
START_TEST(windows_of_dependent_rows_are_rejected_as_often_as_stated)
{
  World world;
  Reference reference;
  world_init(&world, 2800, 4);
  reference_init_take(&reference, make_table(&world, 20000));
  Alarms with = count_alarms(&reference, &world, TRUE), without = count_alarms(&reference, &world, FALSE);
  for (guint c = 0; c < N_COLUMNS; c++)
    ck_assert_msg(with.alarms[c] <= 8, "%s: %u of 200 rejected at 1 %%", names[c], with.alarms[c]);
  ck_assert_uint_le(with.quality, 8);
  ck_assert_uint_gt(without.alarms[SWINGING], 100);
  ck_assert_uint_gt(without.alarms[STICKY], 100);
  ck_assert_uint_gt(without.alarms[PERSISTENT], 4);
  ck_assert_uint_gt(without.quality, 20);
  reference_clear(&reference);
}
END_TEST

START_TEST(bytes_are_canonical_and_old_profiles_are_read)
{
  World world;
  Reference reference;
  world_init(&world, 400, 5);
  reference_init_take(&reference, make_table(&world, 3000));
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes = drift_reference_to_bytes(reference.profile, reference.baseline);
  g_autoptr(DriftBaseline) baseline = NULL, none = NULL;
  g_autoptr(DriftAccumulator) profile = drift_reference_from_bytes(reference.grid, bytes, &baseline, &error);
  ck_assert_msg(profile != NULL, "%s", error ? error->message : "");
  g_autoptr(GBytes) again = drift_reference_to_bytes(profile, baseline);
  ck_assert(g_bytes_equal(bytes, again));
  ck_assert_uint_eq(drift_baseline_get_rows(baseline), 3000);
  for (guint i = 0; i < N_COLUMNS; i++)
    ck_assert_double_eq(drift_baseline_get_inflation(baseline, i, 300), inflation(&reference, i, 300));
  g_autoptr(GBytes) counts = drift_accumulator_to_bytes(reference.profile);
  g_autoptr(GBytes) alone = drift_reference_to_bytes(reference.profile, NULL);
  ck_assert(g_bytes_equal(counts, alone));
  g_autoptr(DriftAccumulator) old = drift_reference_from_bytes(reference.grid, counts, &none, &error);
  ck_assert(old != NULL && none == NULL);
  reference_clear(&reference);
}
END_TEST

/* Every byte changed and every length cut is refused or gives a baseline that can be used; never a crash. */
START_TEST(damaged_bytes_are_refused)
{
  World world;
  Reference reference;
  world_init(&world, 100, 6);
  reference_init_take(&reference, make_table(&world, 500));
  g_autoptr(GBytes) bytes = drift_reference_to_bytes(reference.profile, reference.baseline);
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  for (gsize i = 0; i < length; i++) {
    for (guint cut = 0; cut < 2; cut++) {
      g_autofree guint8 *copy = g_memdup2(data, length);
      if (!cut) copy[i] ^= 0x41;
      g_autoptr(GBytes) damaged = g_bytes_new(copy, cut ? i : length);
      g_autoptr(DriftBaseline) baseline = NULL;
      g_autoptr(GError) error = NULL;
      g_autoptr(DriftAccumulator) profile = drift_reference_from_bytes(reference.grid, damaged, &baseline, &error);
      ck_assert(profile == NULL && error != NULL && baseline == NULL);
    }
  }
  /* of another grid */
  Reference other;
  world_init(&world, 100, 7);
  reference_init_take(&other, make_table(&world, 500));
  g_autoptr(GBytes) foreign = drift_baseline_to_bytes(other.baseline);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_baseline_from_bytes(reference.grid, foreign, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  g_autoptr(GError) mismatch = NULL;
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  ck_assert_ptr_null(
      drift_window_evaluate_with(reference.profile, other.baseline, reference.profile, NULL, 0, &settings, &mismatch));
  ck_assert(g_error_matches(mismatch, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  reference_clear(&other);
  reference_clear(&reference);
}
END_TEST

START_TEST(short_references_know_nothing)
{
  World world;
  Reference reference;
  world_init(&world, 100, 8);
  reference_init_take(&reference, make_table(&world, 63));
  for (guint i = 0; i < N_COLUMNS; i++) ck_assert_double_eq(inflation(&reference, i, 1000), 1);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) longer = make_table(&world, 64);
  ck_assert_ptr_null(drift_baseline_new(reference.profile, longer, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  reference_clear(&reference);
}
END_TEST

/* --- sums of windows ------------------------------------------------------------------------------------------------
 */

START_TEST(sums_have_the_last_windows)
{
  World world;
  Reference reference;
  world_init(&world, 100, 9);
  reference_init_take(&reference, make_table(&world, 200));
  g_autoptr(DriftHorizon) horizon = drift_horizon_new(reference.grid);
  guint64 rows[64] = {0};
  for (guint round = 0; round < 2; round++) { /* after a reset as from the start */
    for (guint i = 0; i < 64; i++) {
      rows[i] = 1 + i;
      g_autoptr(DriftTable) table = make_table(&world, rows[i]);
      g_autoptr(DriftAccumulator) counts = drift_accumulator_from_table(reference.grid, table, NULL);
      guint n = drift_horizon_add(horizon, counts, NULL);
      ck_assert_uint_eq(n, drift_horizon_closing(i));
      for (guint k = 1; k <= n; k++) {
        ck_assert_uint_eq((i + 1) % (1u << k), 0);
        guint64 sum = 0;
        for (guint back = 0; back < 1u << k; back++) sum += rows[i - back];
        ck_assert_uint_eq(drift_accumulator_get_count(drift_horizon_get(horizon, k)), sum);
      }
    }
    drift_horizon_reset(horizon);
  }
  ck_assert_uint_eq(drift_horizon_closing(31), 5);
  ck_assert_uint_eq(drift_horizon_closing(63), 5);
  ck_assert_uint_eq(drift_horizon_closing(0), 0);
  reference_clear(&reference);
}
END_TEST

/* Over 32 windows the levels of all tests add up to what the budget table says. */
START_TEST(the_budget_is_spent_as_stated)
{
  double features = 0, quality = 0, joint = 0;
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  for (guint i = 0; i < 32; i++)
    for (guint scale = 0; scale <= drift_horizon_closing(i); scale++) {
      drift_window_settings_spend(&settings, 1, 1e6, 1000, scale);
      features += settings.false_discovery_rate;
      quality += settings.quality_level;
      joint += settings.joint_level;
    }
  ck_assert_double_eq_tol(features, .032 * (DRIFT_BUDGET_WINDOW + DRIFT_BUDGET_HORIZON), 1e-12);
  ck_assert_double_eq_tol(quality, .032 * DRIFT_BUDGET_QUALITY, 1e-12);
  ck_assert_double_eq_tol(joint, .032 * DRIFT_BUDGET_JOINT, 1e-12);
  ck_assert_double_le(features + quality + joint, .032);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_baseline");
  TCase *tests = tcase_create("baseline");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, dependence_is_measured);
  tcase_add_test(tests, columns_share_their_evidence);
  tcase_add_test(tests, shuffled_rows_show_none);
  tcase_add_test(tests, a_sorted_reference_is_no_baseline);
  tcase_add_test(tests, windows_of_dependent_rows_are_rejected_as_often_as_stated);
  tcase_add_test(tests, bytes_are_canonical_and_old_profiles_are_read);
  tcase_add_test(tests, damaged_bytes_are_refused);
  tcase_add_test(tests, short_references_know_nothing);
  tcase_add_test(tests, sums_have_the_last_windows);
  tcase_add_test(tests, the_budget_is_spent_as_stated);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
