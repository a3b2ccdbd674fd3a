/* What other libraries get wrong on plain data, each with its measured failure, and that kedge does not. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "drift/accumulator.h"
#include "drift/binned.h"
#include "drift/two_sample_internal.h"
#include "drift/two_sample_method.h"
#include "drift/window.h"

static double next_normal(guint64 *state)
{
  double u = drift_random_uniform(state), v = drift_random_uniform(state);
  return sqrt(-2 * log(1 - u)) * cos(2 * G_PI * v);
}

static void fill_counts(guint64 *state, double *counts, guint k, guint n)
{
  for (guint c = 0; c < k; c++) counts[c] = 0;
  for (guint i = 0; i < n; i++) counts[(guint)(drift_random_uniform(state) * k)]++;
}

/* evidently's chi-squared takes the reference's shares as exact: on 800 + 800 rows of one law it alarms at 5 % in 31 %
 * (5 categories) and 75 % (20) of runs. */
START_TEST(chi_squared_counts_both_sides_as_samples)
{
  guint64 state = 1;
  for (guint k = 5; k <= 20; k += 15) {
    guint alarms = 0, runs = 1000;
    for (guint run = 0; run < runs; run++) {
      double reference[20], current[20];
      fill_counts(&state, reference, k, 800);
      fill_counts(&state, current, k, 800);
      DriftTestResult result;
      drift_chi_squared_test(reference, current, k, &result);
      alarms += result.p <= .05;
    }
    ck_assert_msg(alarms >= 25 && alarms <= 78, "%u categories: %u alarms in %u runs", k, alarms, runs);
  }
}
END_TEST

/* A table with one column drawn from the law. */
static DriftTable *table_of(guint64 *state, gboolean numeric, guint k, guint n)
{
  DriftTable *table = drift_table_new();
  DriftColumn *column = drift_table_add_column(table, "x", numeric ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    g_autofree gchar *name = g_strdup_printf("c%u", (guint)(drift_random_uniform(state) * k));
    if (numeric)
      drift_column_append_number(column, next_normal(state));
    else
      drift_column_append_text(column, name, -1);
  }
  table->n_rows = n;
  return table;
}

static gboolean window_alarms(const DriftTable *reference, const DriftTable *current)
{
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  settings.false_discovery_rate = .05;
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  drift_schema_add_feature(schema, "x", ((DriftColumn *)reference->columns->pdata[0])->kind, FALSE, TRUE);
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, reference, 0, NULL);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, reference, NULL),
                              window = drift_accumulator_from_table(grid, current, NULL);
  g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate(profile, window, NULL, 0, &settings, NULL);
  ck_assert_ptr_nonnull(verdict);
  return verdict->drift;
}

/* Fixed thresholds on distances: Jensen-Shannon >= .1 alarms on null data in 85 % of runs at 50 categories and 1,000
 * rows, in all of them at 200; Wasserstein over the standard deviation >= .1 in 40 % with 200 rows. */
START_TEST(distances_are_held_against_their_null)
{
  guint64 state = 2;
  static const guint rows[] = {1000, 200, 200};
  for (guint setting = 0; setting < 3; setting++) {
    gboolean numeric = setting == 2;
    guint by_threshold = 0, by_verdict = 0, runs = 120;
    for (guint run = 0; run < runs; run++) {
      g_autoptr(DriftTable) reference = table_of(&state, numeric, 50, rows[setting]),
                            current = table_of(&state, numeric, 50, rows[setting]);
      const DriftColumn *a = reference->columns->pdata[0], *b = current->columns->pdata[0];
      if (numeric) {
        g_autoptr(DriftSample) x = drift_sample_new((double *)(gpointer)a->numbers->data, a->numbers->len, NULL);
        g_autoptr(DriftSample) y = drift_sample_new((double *)(gpointer)b->numbers->data, b->numbers->len, NULL);
        by_threshold += drift_wasserstein(x, y) / drift_wasserstein_scale(x) >= .1;
      } else {
        g_autoptr(DriftCategoryCounts) counts = drift_category_counts_new(a, 0, rows[setting], b, 0, rows[setting]);
        by_threshold += drift_js_distance(counts->reference, counts->current, counts->n_cells) >= .1;
      }
      by_verdict += window_alarms(reference, current);
    }
    ck_assert_msg(by_threshold > runs / 4, "setting %u: the threshold alarms in only %u", setting, by_threshold);
    ck_assert_msg(by_verdict <= 14, "setting %u: %u verdicts of drift in %u null runs", setting, by_verdict, runs);
  }
}
END_TEST

/* The permutation p of the same distances: right without a threshold. */
START_TEST(permutation_p_is_right_with_many_categories)
{
  guint64 state = 3;
  const DriftPermutationSettings settings = {199, 1};
  guint alarms = 0, runs = 300;
  for (guint run = 0; run < runs; run++) {
    double reference[50], current[50];
    fill_counts(&state, reference, 50, 200);
    fill_counts(&state, current, 50, 200);
    alarms += drift_count_permutation_p(reference, current, 50, drift_js_distance, &settings) <= .05;
  }
  ck_assert_msg(alarms <= 30, "%u of %u", alarms, runs);
}
END_TEST

static double psi_of(const double *reference, gsize n, const double *current, gsize m, double *p)
{
  g_autoptr(DriftSample) a = drift_sample_new(reference, n, NULL), b = drift_sample_new(current, m, NULL);
  const DriftTwoSampleData data = {a, b, NULL};
  const DriftTwoSampleMethod *method = drift_two_sample_find("psi");
  DriftTestResult result;
  ck_assert(method->run(method, &data, NULL, &result, NULL));
  *p = result.p;
  return result.statistic;
}

/* Bins over both samples or of equal width: one value of 1e4 takes PSI from .209 to .0006 (evidently), or from .015 to
 * .705 (frouros). A NaN makes the distance NaN (evidently) or "no drift" (alibi). */
START_TEST(one_outlier_or_nan_changes_little)
{
  enum { ROWS = 1000 };
  guint64 state = 4;
  double reference[ROWS], shifted[ROWS + 1], calm[ROWS + 1], p, p_outlier;
  for (guint i = 0; i < ROWS; i++) {
    reference[i] = next_normal(&state);
    shifted[i] = next_normal(&state) + .45;
    calm[i] = next_normal(&state);
  }
  static const double odd[] = {1e4, -1e4, NAN, INFINITY};
  double shifted_psi = psi_of(reference, ROWS, shifted, ROWS, &p);
  ck_assert(shifted_psi > .1 && p < .01);
  double calm_psi = psi_of(reference, ROWS, calm, ROWS, &p);
  ck_assert(calm_psi < .05 && p > .01);
  for (guint k = 0; k < G_N_ELEMENTS(odd); k++) {
    shifted[ROWS] = calm[ROWS] = odd[k];
    ck_assert_double_eq_tol(psi_of(reference, ROWS, shifted, ROWS + 1, &p_outlier), shifted_psi, .01);
    ck_assert(p_outlier < .01);
    ck_assert_double_eq_tol(psi_of(reference, ROWS, calm, ROWS + 1, &p_outlier), calm_psi, .01);
    ck_assert(p_outlier > .01);
  }
}
END_TEST

/* whylogs' KS from random sketches: p from 3e-7 to .74 on the same data. */
START_TEST(the_same_data_have_one_p)
{
  enum { ROWS = 3000 };
  guint64 state = 5;
  double reference[ROWS], current[ROWS], first = NAN;
  for (guint i = 0; i < ROWS; i++) reference[i] = next_normal(&state), current[i] = next_normal(&state) + .05;
  for (guint order = 0; order < 5; order++) {
    for (guint i = ROWS - 1; i > 0; i--) {
      guint j = (guint)(drift_random_uniform(&state) * (i + 1));
      double swap = current[i];
      current[i] = current[j];
      current[j] = swap;
    }
    g_autoptr(DriftSample) a = drift_sample_new(reference, ROWS, NULL), b = drift_sample_new(current, ROWS, NULL);
    const DriftTwoSampleData data = {a, b, NULL};
    const DriftTwoSampleMethod *method = drift_two_sample_find("ks");
    DriftTestResult result;
    ck_assert(method->run(method, &data, NULL, &result, NULL));
    if (order == 0) first = result.p;
    ck_assert(result.p == first);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("peers' mistakes");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, chi_squared_counts_both_sides_as_samples);
  tcase_add_test(tests, distances_are_held_against_their_null);
  tcase_add_test(tests, permutation_p_is_right_with_many_categories);
  tcase_add_test(tests, one_outlier_or_nan_changes_little);
  tcase_add_test(tests, the_same_data_have_one_p);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
