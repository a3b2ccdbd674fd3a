/* Slices of two tables: planted ones are found, with one and with two conditions, of shares and of losses; on data
 * without change a list has an entry no more often than stated. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drift/slice_internal.h"
#include "drift/statistics.h"

#define N_NUMBERS 6
#define N_CATEGORIES 3
#define N_FEATURES (N_NUMBERS + N_CATEGORIES)

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

static const gchar *const colours[] = {"red", "green", "blue", "white", "black", "grey", "pink", "gold", "lime"};

/* What the current rows have that the reference has not. */
typedef struct {
  double shift;      /* of n0 */
  double flip;       /* n1 and n2 have the correlation .7 in the reference, .7 (1 - 2 flip) in the current rows */
  double moved;      /* share of the rows with c0 = red and n3 > .84 that have c0 = blue instead */
  double error;      /* added to the error rate .1 where c1 = green and n4 > .84, on both sides */
  double error_rise; /* the same, in the current rows alone, where c2 = blue */
  double lost;       /* share of n5's values that are missing */
} Plan;

typedef struct {
  DriftTable *table;
  double *errors, *losses;
} Side;

static Side make_side(const Plan *plan, guint n, gboolean current)
{
  Side side = {drift_table_new(), g_new(double, n), g_new(double, n)};
  DriftColumn *columns[N_FEATURES];
  for (guint f = 0; f < N_FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf(f < N_NUMBERS ? "n%u" : "c%u", f < N_NUMBERS ? f : f - N_NUMBERS);
    columns[f] = drift_table_add_column(side.table, name, f < N_NUMBERS ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  }
  for (guint i = 0; i < n; i++) {
    double x[N_NUMBERS], rho = current ? .7 * (1 - 2 * plan->flip) : .7;
    guint c[N_CATEGORIES];
    for (guint f = 0; f < N_NUMBERS; f++) x[f] = next_normal();
    for (guint f = 0; f < N_CATEGORIES; f++) c[f] = (guint)(G_N_ELEMENTS(colours) * next_uniform() * next_uniform());
    x[2] = rho * x[1] + sqrt(1 - rho * rho) * x[2];
    if (current) x[0] += plan->shift;
    if (current && c[0] == 0 && x[3] > .84 && next_uniform() < plan->moved) c[0] = 2;
    double rate = .1 + (c[1] == 1 && x[4] > .84 ? plan->error : 0) + (current && c[2] == 2 ? plan->error_rise : 0);
    side.errors[i] = next_uniform() < rate;
    side.losses[i] = rate * -log(1 - next_uniform());
    if (current && next_uniform() < plan->lost) x[5] = NAN;
    for (guint f = 0; f < N_NUMBERS; f++) drift_column_append_number(columns[f], x[f]);
    for (guint f = 0; f < N_CATEGORIES; f++) drift_column_append_text(columns[N_NUMBERS + f], colours[c[f]], -1);
  }
  side.table->n_rows = n;
  return side;
}

static void side_clear(Side *side)
{
  drift_table_free(side->table);
  g_free(side->errors);
  g_free(side->losses);
}

static DriftGrid *make_grid(const DriftTable *reference)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  for (guint f = 0; f < reference->columns->len; f++) {
    const DriftColumn *column = g_ptr_array_index(reference->columns, f);
    drift_schema_add_feature(schema, column->name, column->kind, FALSE, TRUE);
  }
  DriftGrid *grid = drift_grid_new(schema, reference, 0, NULL);
  ck_assert_ptr_nonnull(grid);
  return grid;
}

typedef enum { NO_LOSS, ERRORS, REAL_LOSSES } Losses;

static DriftSlices *find(const Plan *plan, guint n, guint m, Losses losses, const DriftSliceSettings *settings)
{
  Side reference = make_side(plan, n, FALSE), current = make_side(plan, m, TRUE);
  g_autoptr(DriftGrid) grid = make_grid(reference.table);
  DriftSliceRows rows = {.reference = reference.table, .current = current.table};
  if (losses != NO_LOSS) {
    rows.reference_losses = losses == ERRORS ? reference.errors : reference.losses;
    rows.current_losses = losses == ERRORS ? current.errors : current.losses;
  }
  DriftSlices *slices = drift_slices_find(grid, &rows, settings, NULL);
  ck_assert_ptr_nonnull(slices);
  side_clear(&reference);
  side_clear(&current);
  return slices;
}

static const DriftSlice *slice_at(const DriftSlices *slices, DriftSliceKind kind, guint index)
{
  ck_assert_uint_lt(index, slices->slices[kind]->len);
  return g_ptr_array_index(slices->slices[kind], index);
}

static guint n_runs(guint usual)
{
  const gchar *factor = g_getenv("KEDGE_CALIBRATION_RUNS");
  return factor != NULL ? usual * (guint)g_ascii_strtoull(factor, NULL, 10) : usual;
}

static void check_rate(const gchar *what, guint count, guint runs, double rate)
{
  double most = runs * rate + 4 * sqrt(runs * rate * (1 - rate));
  if (g_getenv("KEDGE_CALIBRATION_RUNS") != NULL)
    printf("%s: %u of %u, %.4f for %g\n", what, count, runs, (double)count / runs, rate);
  ck_assert_msg(count <= most, "%s: %u of %u for a rate of %g", what, count, runs, rate);
}

START_TEST(nothing_is_listed_without_a_change)
{
  const struct {
    guint n, m;
    Losses losses;
  } nulls[] = {{5000, 5000, ERRORS}, {5000, 1000, REAL_LOSSES}, {1000, 5000, ERRORS}, {1000, 300, ERRORS}};
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  guint runs = n_runs(150), listed[DRIFT_N_SLICE_KINDS] = {0}, drifts = 0;
  generator_state = 100 + (guint64)_i;
  for (guint run = 0; run < runs; run++) {
    const Plan none = {0};
    g_autoptr(DriftSlices) slices = find(&none, nulls[_i].n, nulls[_i].m, nulls[_i].losses, &settings);
    for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) listed[kind] += slices->slices[kind]->len > 0;
    drifts += slices->n_dependences > 0;
  }
  check_rate("a share is listed", listed[DRIFT_SLICE_SHARE], runs, DRIFT_SLICE_LEVEL);
  check_rate("a loss is listed", listed[DRIFT_SLICE_LOSS], runs, DRIFT_SLICE_LEVEL);
  check_rate("a rise of loss is listed", listed[DRIFT_SLICE_LOSS_RISE], runs, DRIFT_SLICE_LEVEL);
  check_rate("a dependence drifts", drifts, runs, .01);
}
END_TEST

/* One feature moved: its own slices are listed, and no pair with it says more. */
START_TEST(a_shift_is_one_feature_s)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {.shift = .6};
  generator_state = 7;
  g_autoptr(DriftSlices) slices = find(&plan, 20000, 20000, NO_LOSS, &settings);
  ck_assert_uint_eq(slices->slices[DRIFT_SLICE_SHARE]->len, 2); /* one that grew, one that shrank */
  gboolean grew = FALSE, shrank = FALSE;
  for (guint i = 0; i < 2; i++) {
    const DriftSlice *slice = slice_at(slices, DRIFT_SLICE_SHARE, i);
    ck_assert_uint_eq(slice->n_conditions, 1);
    ck_assert_str_eq(slice->features[0], "n0");
    ck_assert(slice->low <= slice->difference && slice->difference <= slice->high);
    ck_assert(slice->p_adjusted <= DRIFT_SLICE_LEVEL);
    double low = g_ascii_strtod(slice->conditions[0], NULL); /* "0.84 < n0 <= 3.9" */
    grew |= slice->difference > 0 && fabs(low - .84) < .1;
    shrank |= slice->difference < 0 && low < -3;
  }
  ck_assert(grew && shrank);
  ck_assert_uint_eq(slices->n_dependences, 0);
  ck_assert_uint_eq(slices->n_pairs, N_FEATURES * (N_FEATURES - 1) / 2);
  ck_assert_uint_eq(slices->n_pairs_left_out, 0);
}
END_TEST

/* No feature changes alone: only their dependence does. */
START_TEST(a_flipped_correlation_is_a_pair_s)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {.flip = 1};
  generator_state = 8;
  g_autoptr(DriftSlices) slices = find(&plan, 5000, 1000, NO_LOSS, &settings);
  ck_assert_uint_eq(slices->n_dependences, 1);
  const DriftDependence *dependence = g_ptr_array_index(slices->dependences, 0);
  ck_assert(dependence->drift && dependence->effect > .3);
  ck_assert_str_eq(dependence->features[0], "n1");
  ck_assert_str_eq(dependence->features[1], "n2");
  for (guint i = 0; i < slices->slices[DRIFT_SLICE_SHARE]->len; i++) {
    const DriftSlice *slice = slice_at(slices, DRIFT_SLICE_SHARE, i);
    ck_assert_uint_eq(slice->n_conditions, 2);
    ck_assert_str_eq(slice->features[0], "n1");
    ck_assert_str_eq(slice->features[1], "n2");
  }
  ck_assert_uint_ge(slices->slices[DRIFT_SLICE_SHARE]->len, 1);
}
END_TEST

/* A feature that stands still in the reference has parts too: what it is not. */
START_TEST(a_constant_that_moves_is_found)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {0};
  generator_state = 13;
  Side reference = make_side(&plan, 3000, FALSE), current = make_side(&plan, 3000, TRUE);
  DriftColumn *before = drift_table_get_column(reference.table, "n0"),
              *now = drift_table_get_column(current.table, "n0");
  for (guint i = 0; i < 3000; i++) {
    g_array_index(before->numbers, double, i) = 2;
    g_array_index(now->numbers, double, i) = i % 3 == 0 ? 2.5 : 2;
  }
  g_autoptr(DriftGrid) grid = make_grid(reference.table);
  DriftSliceRows rows = {reference.table, current.table, NULL, NULL, NULL};
  g_autoptr(DriftSlices) slices = drift_slices_find(grid, &rows, &settings, NULL);
  ck_assert_uint_eq(slices->slices[DRIFT_SLICE_SHARE]->len, 2);
  const DriftSlice *first = slice_at(slices, DRIFT_SLICE_SHARE, 0), *second = slice_at(slices, DRIFT_SLICE_SHARE, 1);
  gboolean first_grew = first->difference > 0;
  ck_assert_str_eq((first_grew ? first : second)->conditions[0], "n0 > 2");
  ck_assert_str_eq((first_grew ? second : first)->conditions[0], "n0 = 2");
  side_clear(&reference);
  side_clear(&current);
}
END_TEST

START_TEST(a_corner_is_found)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {.moved = .7, .lost = .02};
  generator_state = 9;
  g_autoptr(DriftSlices) slices = find(&plan, 20000, 20000, NO_LOSS, &settings);
  gboolean corner = FALSE, missing = FALSE;
  for (guint i = 0; i < slices->slices[DRIFT_SLICE_SHARE]->len; i++) {
    const DriftSlice *slice = slice_at(slices, DRIFT_SLICE_SHARE, i);
    missing |= g_str_equal(slice->conditions[0], "n5 has no value") && slice->n_reference == 0;
    if (slice->n_conditions < 2 || !g_str_equal(slice->conditions[1], "c0 = red")) continue;
    corner |= fabs(g_ascii_strtod(slice->conditions[0], NULL) - .84) < .1 && slice->window < slice->other;
  }
  ck_assert(corner && missing);
}
END_TEST

START_TEST(errors_are_found_where_they_are)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {.error = .4, .error_rise = .2};
  generator_state = 10;
  g_autoptr(DriftSlices) slices = find(&plan, 20000, 20000, _i == 0 ? ERRORS : REAL_LOSSES, &settings);
  gboolean corner = FALSE;
  for (guint i = 0; i < slices->slices[DRIFT_SLICE_LOSS]->len; i++) {
    const DriftSlice *slice = slice_at(slices, DRIFT_SLICE_LOSS, i);
    ck_assert(slice->window > slice->other && slice->n_window >= 30);
    if (slice->n_conditions < 2 || !g_str_equal(slice->conditions[1], "c1 = green")) continue;
    corner |= fabs(g_ascii_strtod(slice->conditions[0], NULL) - .84) < .1;
  }
  ck_assert(corner);
  const DriftSlice *worse = slice_at(slices, DRIFT_SLICE_LOSS_RISE, 0);
  ck_assert_uint_eq(worse->n_conditions, 1);
  ck_assert_str_eq(worse->conditions[0], "c2 = blue");
  ck_assert_double_eq_tol(worse->difference, .2, .05);
  ck_assert(worse->low <= worse->difference && worse->difference <= worse->high);
  ck_assert_double_eq_tol(slices->mean_loss_reference, .12, .05);
  ck_assert_uint_eq(slices->losses_current, 20000);
}
END_TEST

/* What the loss is made of is no condition of its slices. */
START_TEST(outcomes_are_no_conditions)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {.error_rise = .3};
  gboolean outcomes[N_FEATURES] = {FALSE};
  outcomes[N_FEATURES - 1] = TRUE;
  generator_state = 11;
  Side reference = make_side(&plan, 5000, FALSE), current = make_side(&plan, 5000, TRUE);
  g_autoptr(DriftGrid) grid = make_grid(reference.table);
  DriftSliceRows rows = {reference.table, current.table, reference.errors, current.errors, NULL};
  g_autoptr(DriftSlices) with = drift_slices_find(grid, &rows, &settings, NULL);
  rows.outcomes = outcomes;
  g_autoptr(DriftSlices) without = drift_slices_find(grid, &rows, &settings, NULL);
  ck_assert_str_eq(slice_at(with, DRIFT_SLICE_LOSS_RISE, 0)->features[0], "c2");
  for (guint i = 0; i < without->slices[DRIFT_SLICE_LOSS_RISE]->len; i++)
    ck_assert_str_ne(slice_at(without, DRIFT_SLICE_LOSS_RISE, i)->features[0], "c2");
  ck_assert_uint_lt(without->n_tests[DRIFT_SLICE_LOSS], with->n_tests[DRIFT_SLICE_LOSS]);
  side_clear(&reference);
  side_clear(&current);
}
END_TEST

/* With room for three pairs the changed one is among them, the others are counted and still corrected for. */
START_TEST(screening_says_what_it_leaves_out)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  settings.most_pairs = 3;
  settings.screening_rows = 2000;
  const Plan plan = {.flip = 1};
  generator_state = 12;
  g_autoptr(DriftSlices) slices = find(&plan, 10000, 10000, NO_LOSS, &settings);
  ck_assert_uint_eq(slices->n_pairs, 36);
  ck_assert_uint_eq(slices->n_pairs_left_out, 33);
  ck_assert_uint_ge(slices->n_tests[DRIFT_SLICE_SHARE], 33 * 49);
  const DriftDependence *dependence = g_ptr_array_index(slices->dependences, 0);
  ck_assert(dependence->drift && g_str_equal(dependence->features[0], "n1"));
  ck_assert_double_eq_tol(dependence->p_adjusted, fmin(1, 36 * dependence->p), 1e-12);
}
END_TEST

START_TEST(odd_tables_are_no_danger)
{
  DriftSliceSettings settings;
  drift_slice_settings_init(&settings);
  const Plan plan = {0};
  for (guint n = 1; n < 40; n += 6) {
    g_autoptr(DriftSlices) slices = find(&plan, n, 40 - n, n % 2 == 0 ? NO_LOSS : ERRORS, &settings);
    ck_assert_uint_eq(slices->slices[DRIFT_SLICE_SHARE]->len, 0);
  }
  Side reference = make_side(&plan, 50, FALSE), current = make_side(&plan, 0, TRUE);
  g_autoptr(DriftGrid) grid = make_grid(reference.table);
  DriftSliceRows rows = {reference.table, current.table, NULL, NULL, NULL};
  g_autoptr(DriftSlices) none = drift_slices_find(grid, &rows, &settings, NULL);
  ck_assert_ptr_nonnull(none);
  const DriftDependence *dependence = g_ptr_array_index(none->dependences, 0);
  ck_assert(isnan(dependence->p) && dependence->undefined != NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) empty = drift_table_new();
  rows.current = empty;
  ck_assert_ptr_null(drift_slices_find(grid, &rows, &settings, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "n0"));
  side_clear(&reference);
  side_clear(&current);
}
END_TEST

/* The slices' p against Fisher's exact test (twice the smaller tail), in the tails that corrections reach into; lowest
 * where no row of an expected dozen is there. */
START_TEST(p_of_two_rates_is_close_to_exact)
{
  const struct {
    double count, n, other, n_other;
  } cases[] = {{18, 1000, 50, 10000}, {12, 2000, 10, 20000}, {0, 1000, 100, 10000}, {300, 1000, 2000, 10000},
               {30, 500, 1, 500},     {5, 5, 100, 2000},     {60, 100, 20, 100}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    double count = cases[i].count, n = cases[i].n, other = cases[i].other, m = cases[i].n_other, total = n + m;
    double both = count + other, tail = 0;
    gboolean high = count > both / total * n;
    for (double k = fmax(0, both - m); k <= fmin(n, both); k++) {
      double log_p = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + lgamma(m + 1) - lgamma(both - k + 1) -
                     lgamma(m - both + k + 1) - lgamma(total + 1) + lgamma(both + 1) + lgamma(total - both + 1);
      if (high ? k >= count : k <= count) tail += exp(log_p);
    }
    double p = drift_slice_p_two_rates(count, n, other, m), exact = fmin(1, 2 * tail);
    ck_assert_msg(p >= .7 * exact && p <= 2.5 * exact, "case %u: %g, exact %g", i, p, exact);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_slice");
  TCase *tests = tcase_create("slices");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, nothing_is_listed_without_a_change, 0, 4);
  tcase_add_test(tests, a_shift_is_one_feature_s);
  tcase_add_test(tests, a_flipped_correlation_is_a_pair_s);
  tcase_add_test(tests, a_constant_that_moves_is_found);
  tcase_add_test(tests, a_corner_is_found);
  tcase_add_loop_test(tests, errors_are_found_where_they_are, 0, 2);
  tcase_add_test(tests, outcomes_are_no_conditions);
  tcase_add_test(tests, screening_says_what_it_leaves_out);
  tcase_add_test(tests, odd_tables_are_no_danger);
  tcase_add_test(tests, p_of_two_rates_is_close_to_exact);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
