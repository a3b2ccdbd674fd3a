/* Slices and dependences in window verdicts: what is planted is found, and what is not there is not. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drift/statistics.h"
#include "drift/window_internal.h"

static guint64 generator_state = 1;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}
static double next_normal(void)
{
  return sqrt(-2 * log(1 - next_uniform())) * cos(2 * G_PI * next_uniform());
}

/* Rows of a law: x and y are normal with a correlation, z is normal and alone, city is drawn by x, the prediction by z;
 * all of them with an autocorrelation in time. */
typedef struct {
  double correlation, autocorrelation, shift, spread_of_city;
  double state[3];
} Law;

typedef struct {
  double x, y, z;
  guint city;
  gboolean positive;
} Row;

static Row next_row(Law *law)
{
  const double a = law->autocorrelation, noise = sqrt(1 - a * a);
  for (guint i = 0; i < 3; i++) law->state[i] = a * law->state[i] + noise * next_normal();
  Row row = {.x = law->state[0] + law->shift, .z = law->state[2]};
  row.y = law->correlation * law->state[0] + sqrt(1 - law->correlation * law->correlation) * law->state[1];
  double by_x = law->state[0] + law->spread_of_city * next_normal();
  row.city = by_x < -.7 ? 0 : by_x < 0 ? 1 : by_x < .8 ? 2 : 3 + (guint)(next_uniform() * 8);
  row.positive = row.z + next_normal() > .5;
  return row;
}

static const gchar *const cities[] = {"Oslo", "Rome", "Bern", "Kyiv", "Lima", "Cork",
                                      "Nice", "Pisa", "Riga", "Bari", "Como"};

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "label");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "y", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "z", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "city", DRIFT_CATEGORICAL, FALSE, TRUE);
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "yes");
  schema->positive_class = 1;
  return schema;
}

static DriftTable *make_table(Law *law, guint n)
{
  DriftTable *table = drift_table_new();
  static const gchar *const names[] = {"x", "y", "z"};
  DriftColumn *columns[5];
  for (guint i = 0; i < 3; i++) columns[i] = drift_table_add_column(table, names[i], DRIFT_NUMERIC);
  columns[3] = drift_table_add_column(table, "city", DRIFT_CATEGORICAL);
  columns[4] = drift_table_add_column(table, "prediction", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    Row row = next_row(law);
    drift_column_append_number(columns[0], row.x);
    drift_column_append_number(columns[1], row.y);
    drift_column_append_number(columns[2], row.z);
    drift_column_append_text(columns[3], cities[row.city], -1);
    drift_column_append_text(columns[4], row.positive ? "yes" : "no", -1);
  }
  table->n_rows = n;
  return table;
}

typedef struct {
  DriftGrid *grid;
  DriftAccumulator *profile;
} World;

static void world_init(World *world, Law *law, guint n)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_table(law, n);
  world->grid = drift_grid_new_with_pairs(schema, table, 0, DRIFT_GRID_DEFAULT_PAIRS, NULL);
  ck_assert_ptr_nonnull(world->grid);
  world->profile = drift_accumulator_from_table(world->grid, table, NULL);
}

static void world_clear(World *world)
{
  drift_accumulator_free(world->profile);
  drift_grid_unref(world->grid);
}

static DriftWindowVerdict *judge(const World *world, Law *law, guint m)
{
  g_autoptr(DriftTable) table = make_table(law, m);
  g_autoptr(DriftAccumulator) window = drift_accumulator_from_table(world->grid, table, NULL);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  DriftWindowVerdict *verdict = drift_window_evaluate(world->profile, window, NULL, 0, &settings, NULL);
  ck_assert_ptr_nonnull(verdict);
  ck_assert_ptr_nonnull(verdict->slices);
  return verdict;
}

static guint n_runs(guint usual)
{
  const gchar *factor = g_getenv("KEDGE_CALIBRATION_RUNS");
  return factor != NULL ? usual * (guint)g_ascii_strtoull(factor, NULL, 10) : usual;
}

/* More than the rate allows by four standard errors. */
static void check_rate(const gchar *what, guint count, guint runs, double rate)
{
  double most = runs * rate + 4 * sqrt(runs * rate * (1 - rate));
  if (g_getenv("KEDGE_CALIBRATION_RUNS") != NULL)
    printf("%s: %u of %u, %.4f for %g\n", what, count, runs, (double)count / runs, rate);
  ck_assert_msg(count <= most, "%s: %u of %u for a rate of %g", what, count, runs, rate);
}

typedef struct {
  const gchar *name;
  double correlation, autocorrelation;
  guint n, m;
} Null;
static const Null nulls[] = {
    {"iid, 5,000 and 1,000", .6, 0, 5000, 1000},       {"iid, 1,000 and 4,000", .6, 0, 1000, 4000},
    {"iid, 2,000 and 200", .6, 0, 2000, 200},          {"iid, .95, 4,000 and 4,000", .95, 0, 4000, 4000},
    {"AR(1) .5, 5,000 and 1,000", .6, .5, 5000, 1000}, {"iid, 500 and 500", 0, 0, 500, 500}};

START_TEST(nothing_is_found_where_nothing_is)
{
  const Null *null = &nulls[_i];
  guint runs = n_runs(200), listed = 0, pairs = 0, p05 = 0, p001 = 0, any01 = 0;
  double inflation = 0;
  generator_state = 1000 + (guint64)_i;
  for (guint run = 0; run < runs; run++) {
    Law law = {.correlation = null->correlation, .autocorrelation = null->autocorrelation, .spread_of_city = .5};
    World world;
    world_init(&world, &law, null->n);
    g_autoptr(DriftWindowVerdict) verdict = judge(&world, &law, null->m);
    listed += verdict->slices->len > 0;
    gboolean any = FALSE;
    for (guint i = 0; i < verdict->dependences->len; i++) {
      const DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
      if (isnan(dependence->p)) continue;
      pairs++;
      p05 += dependence->p <= .05;
      p001 += dependence->p <= .001;
      any |= dependence->p_adjusted <= .01;
      inflation += dependence->inflation;
    }
    any01 += any;
    world_clear(&world);
  }
  if (g_getenv("KEDGE_CALIBRATION_RUNS") != NULL) printf("%s: mean inflation %.3f\n", null->name, inflation / pairs);
  check_rate("a slice is listed", null->autocorrelation > 0 ? 0 : listed, runs, .01);
  check_rate("p <= .05", p05, pairs, .05);
  check_rate("p <= .001", p001, pairs, .001);
  check_rate("any adjusted p <= .01", any01, runs, .01);
}
END_TEST

/* Both features keep their laws; no feature's test can see it. */
START_TEST(a_flipped_correlation_raises_drift)
{
  generator_state = 50;
  Law before = {.correlation = .6, .spread_of_city = .5}, after = {.correlation = -.6, .spread_of_city = .5};
  World world;
  world_init(&world, &before, 5000);
  g_autoptr(DriftWindowVerdict) verdict = judge(&world, &after, 1000);
  ck_assert(verdict->drift);
  for (guint i = 0; i < verdict->features->len; i++)
    ck_assert(!((const DriftFeatureVerdict *)g_ptr_array_index(verdict->features, i))->drift);
  const DriftDependence *first = g_ptr_array_index(verdict->dependences, 0);
  ck_assert(first->drift && first->effect > .3);
  ck_assert_str_eq(first->features[0], "x");
  ck_assert_str_eq(first->features[1], "y");
  ck_assert_double_gt(verdict->evidence_log, -log(.01));
  const DriftSlice *slice = g_ptr_array_index(verdict->slices, 0);
  ck_assert_uint_eq(slice->n_conditions, 2);
  ck_assert_double_eq(slice->difference, slice->window - slice->reference);
  world_clear(&world);
}
END_TEST

/* How often a change of the correlation of x and y from .6 raises drift, at a level of .0025 over ten pairs. */
START_TEST(changed_correlations_are_found)
{
  const struct {
    double after;
    guint m;
    double least; /* what must be found at least */
  } cases[] = {{-.6, 200, .9}, {0, 200, 0}, {0, 1000, .95}, {.3, 1000, 0}, {.3, 10000, .9}};
  guint runs = n_runs(20), found = 0;
  generator_state = 60 + (guint64)_i;
  for (guint run = 0; run < runs; run++) {
    Law before = {.correlation = .6, .spread_of_city = .5}, after = before;
    after.correlation = cases[_i].after;
    World world;
    world_init(&world, &before, 5000);
    g_autoptr(DriftWindowVerdict) verdict = judge(&world, &after, cases[_i].m);
    for (guint i = 0; i < verdict->dependences->len; i++) {
      const DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
      if (!(dependence->p_adjusted <= .0025 && dependence->effect >= .1)) continue;
      found++;
      break;
    }
    world_clear(&world);
  }
  if (g_getenv("KEDGE_CALIBRATION_RUNS") != NULL)
    printf(".6 to %g, window of %u: %u of %u\n", cases[_i].after, cases[_i].m, found, runs);
  ck_assert_uint_ge(found, (guint)(cases[_i].least * runs));
}
END_TEST

/* Margins that move without their association moving are no change of dependence, however strong it is. */
START_TEST(moved_margins_are_no_changed_dependence)
{
  generator_state = 51;
  Law before = {.correlation = .7, .spread_of_city = .5},
      after = {.correlation = .7, .shift = .8, .spread_of_city = .5};
  World world;
  world_init(&world, &before, 20000);
  g_autoptr(DriftWindowVerdict) verdict = judge(&world, &after, 20000);
  ck_assert(verdict->drift);
  for (guint i = 0; i < verdict->dependences->len; i++) {
    const DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
    ck_assert_msg(!dependence->drift, "%s and %s: effect %g, p %g", dependence->features[0], dependence->features[1],
                  dependence->effect, dependence->p);
  }
  const DriftSlice *slice = g_ptr_array_index(verdict->slices, 0);
  ck_assert_uint_eq(slice->n_conditions, 1);
  ck_assert_str_eq(slice->features[0], "x");
  world_clear(&world);
}
END_TEST

/* A grid without pairs says nothing of slices, as verdicts did before there were any; so does a level of 0. */
START_TEST(without_pairs_there_are_no_slices)
{
  generator_state = 52;
  Law law = {.correlation = .6, .spread_of_city = .5};
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_table(&law, 1000);
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, table, 0, NULL);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, table, NULL);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate(profile, profile, NULL, 0, &settings, NULL);
  ck_assert(verdict->slices == NULL && verdict->dependences == NULL);
  World world;
  world_init(&world, &law, 1000);
  settings.joint_level = 0;
  g_autoptr(DriftWindowVerdict) other = drift_window_evaluate(world.profile, world.profile, NULL, 0, &settings, NULL);
  ck_assert(other->slices == NULL && other->dependences == NULL);
  world_clear(&world);
}
END_TEST

/* The pairs: up to four with the prediction, then features, none in more than four; strongest first where there are
 * more than wanted. */
START_TEST(pairs_are_chosen_by_association)
{
  generator_state = 53;
  Law law = {.correlation = .8, .spread_of_city = .5};
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_table(&law, 3000);
  g_autoptr(DriftGrid) all = drift_grid_new_with_pairs(schema, table, 0, 16, NULL);
  g_autoptr(DriftGrid) few = drift_grid_new_with_pairs(schema, table, 0, 1, NULL);
  g_autoptr(DriftGrid) again = drift_grid_new_with_pairs(schema, table, 0, 16, NULL);
  ck_assert_uint_eq(drift_grid_n_pairs(all), 10); /* 4 with the prediction, 6 of 4 features */
  ck_assert_uint_eq(drift_grid_n_pairs(few), 1);
  ck_assert_uint_eq(few->joint.pairs[0].first, 2); /* the prediction is made of z */
  ck_assert_uint_eq(few->joint.pairs[0].second, 4 + DRIFT_OUTPUT_PREDICTION);
  ck_assert_str_eq(drift_grid_get_id(all), drift_grid_get_id(again));
  ck_assert_str_ne(drift_grid_get_id(all), drift_grid_get_id(few));
}
END_TEST

/* Traffic with a memory that is long against a window: the reference shows it, and p does not believe the window. */
START_TEST(scatter_of_the_reference_is_believed)
{
  generator_state = 54;
  guint runs = 40, found = 0;
  for (guint run = 0; run < runs; run++) {
    Law law = {.correlation = .3, .autocorrelation = .98, .spread_of_city = .5};
    World world;
    world_init(&world, &law, 20000);
    g_autoptr(DriftWindowVerdict) verdict = judge(&world, &law, 1000);
    for (guint i = 0; i < verdict->dependences->len; i++) {
      const DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
      if (dependence->p_adjusted > .01) continue;
      found++;
      break;
    }
    world_clear(&world);
  }
  if (g_getenv("KEDGE_CALIBRATION_RUNS") != NULL) printf("AR(1) .98: %u of %u\n", found, runs);
  ck_assert_uint_le(found, 3);
}
END_TEST

/* Labelled rows are known by their groups of sensitive features alone. */
START_TEST(label_rows_have_slices_of_groups)
{
  generator_state = 55;
  g_autoptr(DriftSchema) schema = make_schema();
  ((DriftFeature *)g_ptr_array_index(schema->features, 0))->sensitive = TRUE;
  ((DriftFeature *)g_ptr_array_index(schema->features, 3))->sensitive = TRUE;
  Law law = {.correlation = .6, .spread_of_city = 3};
  g_autoptr(DriftTable) table = make_table(&law, 6000);
  g_autoptr(DriftGrid) grid = drift_grid_new_with_pairs(schema, table, 0, 16, NULL);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, table, NULL);
  g_autoptr(DriftAccumulator) empty = drift_accumulator_new(grid);
  g_autofree DriftLabelRow *rows = g_new0(DriftLabelRow, 6000);
  DriftValue features[4];
  for (guint i = 0; i < 6000; i++) {
    drift_table_get_features(table, schema, i, features);
    gboolean corner = features[0].number > .7 && strncmp(features[3].text, "Rome", 4) == 0;
    DriftLabelledRow row = {.label = drift_value_text(next_uniform() < (corner ? .5 : .1) ? "no" : "yes", -1)};
    row.event = (DriftEvent){.prediction = drift_value_text("yes", -1), .score = NAN, .features = features};
    drift_label_row_from(grid, &row, &rows[i]);
  }
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate(profile, empty, rows, 6000, &settings, NULL);
  ck_assert_uint_ge(verdict->slices->len, 1);
  const DriftSlice *slice = g_ptr_array_index(verdict->slices, 0);
  ck_assert_int_eq(slice->kind, DRIFT_SLICE_LOSS);
  ck_assert_uint_eq(slice->n_conditions, 2);
  ck_assert(g_str_has_prefix(slice->conditions[0], "x > ") && g_str_equal(slice->conditions[1], "city = Rome"));
  ck_assert_double_eq_tol(slice->window, .5, .1);
  ck_assert(isnan(slice->reference) && slice->n_reference == 0);
  ck_assert_uint_eq(verdict->dependences->len, 0);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_slice_window");
  TCase *tests = tcase_create("slices");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, nothing_is_found_where_nothing_is, 0, (int)G_N_ELEMENTS(nulls));
  tcase_add_test(tests, a_flipped_correlation_raises_drift);
  tcase_add_loop_test(tests, changed_correlations_are_found, 0, 5);
  tcase_add_test(tests, moved_margins_are_no_changed_dependence);
  tcase_add_test(tests, without_pairs_there_are_no_slices);
  tcase_add_test(tests, pairs_are_chosen_by_association);
  tcase_add_test(tests, scatter_of_the_reference_is_believed);
  tcase_add_test(tests, label_rows_have_slices_of_groups);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
