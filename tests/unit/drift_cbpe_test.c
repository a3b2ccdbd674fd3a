/* Label-free estimates of a classifier's metrics. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "drift/cbpe.h"
#include "drift/mersenne_twister.h"
#include "drift/order.h"

#define N 4000

typedef struct {
  double scores[N];
  const double *columns[1];
  guint32 predicted[N], truth[N];
  DriftCbpeRows rows;
} Binary;

/* The label is 1 with probability s / (s + (1 - s) odds): calibrated for odds 1. */
static Binary *binary_new(guint32 seed, double odds)
{
  Binary *binary = g_new0(Binary, 1);
  GRand *random = g_rand_new_with_seed(seed);
  for (guint i = 0; i < N; i++) {
    double s = binary->scores[i] = g_rand_double(random);
    binary->predicted[i] = s >= .5;
    binary->truth[i] = g_rand_double(random) < s / (s + (1 - s) * odds);
  }
  g_rand_free(random);
  binary->columns[0] = binary->scores;
  binary->rows = (DriftCbpeRows){N, 1, binary->columns, binary->predicted, binary->truth};
  return binary;
}

static DriftEstimate *estimate_with(const DriftCbpeRows *reference, const DriftCbpeRows *analysis,
                                    const DriftCbpeSettings *settings)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(reference, settings, &error);
  ck_assert_msg(cbpe != NULL, "%s", error ? error->message : "");
  DriftEstimate *estimate = drift_cbpe_estimate(cbpe, analysis, &error);
  ck_assert_msg(estimate != NULL, "%s", error ? error->message : "");
  return estimate;
}

static const DriftChunkEstimate *chunk_of(const DriftEstimate *estimate, const gchar *name, guint chunk)
{
  const DriftMetricSeries *series = drift_estimate_find(estimate, name);
  ck_assert_msg(series != NULL, "no series %s", name);
  return &g_array_index(series->chunks, DriftChunkEstimate, chunk);
}

START_TEST(expected_confusion_by_hand)
{
  const double p[] = {.9, .6, .3, .2};
  const guint32 predicted[] = {1, 1, 1, 0};
  DriftConfusion c = drift_cbpe_confusion(p, predicted, 1, 4);
  ck_assert_double_eq_tol(c.true_positive, 1.8, 1e-15);
  ck_assert_double_eq_tol(c.false_positive, 1.2, 1e-15);
  ck_assert_double_eq_tol(c.false_negative, .2, 1e-15);
  ck_assert_double_eq_tol(c.true_negative, .8, 1e-15);
  ck_assert_double_eq_tol(drift_confusion_accuracy(&c), .65, 1e-15);
  ck_assert_double_eq_tol(drift_confusion_precision(&c), .6, 1e-15);
  ck_assert_double_eq_tol(drift_confusion_recall(&c), .9, 1e-15);
  ck_assert_double_eq_tol(drift_confusion_f1(&c), 1.8 / 2.5, 1e-15);
  ck_assert_double_eq_tol(drift_confusion_specificity(&c), .4, 1e-15);
}
END_TEST

START_TEST(areas_have_no_row_order)
{
  const double score[] = {.1, .5, .5, .5, .9, .9}, truth[] = {0, 1, 0, 1, 1, 0};
  const double turned_score[] = {.9, .9, .5, .5, .5, .1}, turned_truth[] = {0, 1, 1, 1, 0, 0};
  guint32 order[6], turned_order[6];
  ck_assert(drift_order(score, 6, order) && drift_order(turned_score, 6, turned_order));
  double auc = drift_expected_roc_auc(truth, score, order, 6);
  /* pairs: 3 x 3; (.5, .9) loses, equal scores half: 2 * (1 + .5 + 0) + 1 * (1 + 1 + .5) */
  ck_assert_double_eq_tol(auc, 5.5 / 9, 1e-15);
  ck_assert_double_eq(auc, drift_expected_roc_auc(turned_truth, turned_score, turned_order, 6));
  for (guint by_row = 0; by_row < 2; by_row++)
    ck_assert_double_eq_tol(drift_expected_average_precision(truth, score, order, 6, by_row != 0),
                            drift_expected_average_precision(turned_truth, turned_score, turned_order, 6, by_row != 0),
                            1e-15);
  const double none[] = {0, 0, 0, 0, 0, 0};
  ck_assert(isnan(drift_expected_roc_auc(none, score, order, 6)));
  ck_assert(isnan(drift_expected_average_precision(none, score, order, 6, TRUE)));
}
END_TEST

START_TEST(order_is_stable_and_sorts)
{
  enum { COUNT = 1000 };
  double values[COUNT];
  guint32 order[COUNT];
  GRand *random = g_rand_new_with_seed(3);
  for (guint round = 0; round < 2; round++) {
    gsize n = round == 0 ? 20 : COUNT; /* both algorithms */
    for (gsize i = 0; i < n; i++) values[i] = g_rand_int_range(random, -20, 20) * .25;
    values[3] = -0.0;
    values[4] = 0.0;
    values[5] = -INFINITY;
    ck_assert(drift_order(values, n, order));
    for (gsize i = 1; i < n; i++) {
      ck_assert(values[order[i - 1]] <= values[order[i]]);
      if (values[order[i - 1]] == values[order[i]]) ck_assert_uint_lt(order[i - 1], order[i]);
    }
  }
  g_rand_free(random);
}
END_TEST

/* Values that the sort by places takes (spread, with some ties), and values that it must leave (a crowd). */
START_TEST(large_orders_are_stable_and_sorted)
{
  enum { COUNT = 30000 };
  g_autofree double *values = g_new(double, COUNT);
  g_autofree guint32 *order = g_new(guint32, COUNT);
  GRand *random = g_rand_new_with_seed(4);
  for (guint round = 0; round < 3; round++) {
    for (gsize i = 0; i < COUNT; i++) {
      double u = g_rand_double(random);
      values[i] = round == 2 ? pow(u, 400) : u - .5;
      if (i % 100 == 0) values[i] = floor(values[i] * 100) / 100;
      if (i % 1000 < 2) values[i] = i % 1000 == 0 ? 0. : -0.;
    }
    if (round == 1) values[7] = INFINITY;
    ck_assert(drift_order(values, COUNT, order));
    for (gsize i = 1; i < COUNT; i++) {
      ck_assert(values[order[i - 1]] <= values[order[i]]);
      if (values[order[i - 1]] == values[order[i]]) ck_assert_uint_lt(order[i - 1], order[i]);
    }
  }
  g_rand_free(random);
}
END_TEST

START_TEST(twister_draws_as_glib)
{
  static const guint32 seeds[] = {0, 1, 42, 4294967295u};
  for (guint s = 0; s < G_N_ELEMENTS(seeds); s++) {
    GRand *random = g_rand_new_with_seed(seeds[s]);
    DriftTwister twister;
    drift_twister_init(&twister, seeds[s]);
    for (guint i = 0; i < 3 * DRIFT_TWISTER_WORDS; i++)
      ck_assert_uint_eq(drift_twister_next(&twister), g_rand_int(random));
    g_rand_free(random);
  }
}
END_TEST

/* The fit of zeros and ones on rows in order is the general one of the same rows, with and without equal scores. */
START_TEST(sorted_isotonic_is_the_general_one)
{
  enum { COUNT = 2000 };
  double scores[COUNT], chosen[COUNT], chosen_outcomes[COUNT], grid[COUNT], here[COUNT], there[COUNT];
  guint8 outcomes[COUNT];
  guint32 rows[COUNT];
  GRand *random = g_rand_new_with_seed(5);
  for (guint round = 0; round < 60; round++) {
    gsize n = 0, count = round < 20 ? 1 + round : COUNT;
    for (gsize i = 0; i < count; i++) {
      scores[i] = ((double)i + 1) / ((double)count + 1);
      if (round % 3 == 1) scores[i] = floor(scores[i] * 40) / 40;
      outcomes[i] = g_rand_double(random) < (round % 2 == 0 ? scores[i] : .5);
      if (count == COUNT && g_rand_double(random) < .1) continue;
      rows[n] = (guint32)i;
      chosen[n] = scores[i];
      chosen_outcomes[n++] = outcomes[i];
    }
    g_autoptr(DriftIsotonic) sorted = drift_isotonic_fit_sorted(scores, outcomes, rows, n);
    g_autoptr(DriftIsotonic) general = drift_isotonic_fit(chosen, chosen_outcomes, n, NULL);
    ck_assert_uint_eq(sorted->n_knots, general->n_knots);
    ck_assert_mem_eq(sorted->x, general->x, sorted->n_knots * sizeof(double));
    ck_assert_mem_eq(sorted->y, general->y, sorted->n_knots * sizeof(double));
    for (gsize i = 0; i < COUNT; i++) grid[i] = (double)i / (COUNT - 1);
    drift_isotonic_apply(general, grid, COUNT, here);
    drift_isotonic_apply_sorted(general, grid, COUNT, there);
    ck_assert_mem_eq(here, there, sizeof here);
  }
  ck_assert_ptr_null(drift_isotonic_fit_sorted(scores, outcomes, rows, 0));
  g_rand_free(random);
}
END_TEST

START_TEST(isotonic_pools_violators)
{
  const double x[] = {3, 1, 2, 4, 1, NAN}, y[] = {0, 0, 1, 1, 1, 1};
  g_autoptr(DriftIsotonic) isotonic = drift_isotonic_fit(x, y, 6, NULL);
  /* at 1: mean .5; 2 and 3 pool to .5 and join it; 4 is 1 */
  ck_assert_uint_eq(isotonic->n_knots, 3);
  ck_assert_double_eq(isotonic->x[1], 3);
  ck_assert_double_eq(isotonic->y[0], .5);
  ck_assert_double_eq(isotonic->y[2], 1);
  const double asked[] = {-5, 2.5, 3.5, 9, NAN};
  double got[5];
  drift_isotonic_apply(isotonic, asked, 5, got);
  ck_assert_double_eq(got[0], .5);
  ck_assert_double_eq(got[1], .5);
  ck_assert_double_eq(got[2], .75);
  ck_assert_double_eq(got[3], 1);
  ck_assert(isnan(got[4]));
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_isotonic_fit(x + 5, y, 1, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED));
}
END_TEST

/* Estimates of calibrated and of miscalibrated models are near what is realised on other rows of the same law. */
START_TEST(estimates_what_is_realised)
{
  static const double odds[] = {1, 3, .2};
  static const gchar *const names[] = {"roc_auc",        "average_precision", "f1",           "precision",
                                       "recall",         "specificity",       "accuracy",     "true_positive",
                                       "false_positive", "false_negative",    "true_negative"};
  const DriftCbpeSettings settings = {.chunk_size = 500, .seed = 1};
  for (guint o = 0; o < G_N_ELEMENTS(odds); o++) {
    g_autofree Binary *reference = binary_new(1 + o, odds[o]), *analysis = binary_new(100 + o, odds[o]);
    g_autoptr(GPtrArray) estimate = estimate_with(&reference->rows, &analysis->rows, &settings);
    for (guint m = 0; m < G_N_ELEMENTS(names); m++)
      for (guint c = 0; c < N / 500; c++) {
        const DriftChunkEstimate *chunk = chunk_of(estimate, names[m], c);
        ck_assert_ptr_null(chunk->undefined);
        ck_assert(chunk->band_low <= chunk->value && chunk->value <= chunk->band_high);
        /* 264 comparisons; the calibration's own error is small beside a chunk's */
        ck_assert_msg(fabs(chunk->realized - chunk->value) < 4 * chunk->sampling_error, "%s, odds %g, chunk %u: %g, %g",
                      names[m], odds[o], c, chunk->value, chunk->realized);
      }
  }
}
END_TEST

START_TEST(miscalibration_is_noticed)
{
  const DriftCbpeSettings settings = {.chunk_size = 500};
  g_autofree Binary *wrong = binary_new(5, 4);
  g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(&wrong->rows, &settings, NULL);
  ck_assert_ptr_nonnull(drift_cbpe_get_calibration(cbpe, 0));
  const DriftCbpeSettings never = {.chunk_size = 500, .calibration = DRIFT_CALIBRATE_NEVER};
  g_autoptr(DriftCbpe) as_it_is = drift_cbpe_new(&wrong->rows, &never, NULL);
  ck_assert_ptr_null(drift_cbpe_get_calibration(as_it_is, 0));
  for (guint i = 0; i < N; i++) wrong->truth[i] = 1; /* a single class cannot be calibrated */
  g_autoptr(DriftCbpe) alone = drift_cbpe_new(&wrong->rows, &settings, NULL);
  ck_assert_ptr_null(drift_cbpe_get_calibration(alone, 0));
}
END_TEST

START_TEST(alerts_when_scores_move_to_the_middle)
{
  const DriftCbpeSettings settings = {.chunk_size = 500};
  g_autofree Binary *reference = binary_new(7, 1), *analysis = binary_new(8, 1);
  for (guint i = 0; i < 1000; i++) analysis->scores[i] = .4 + .2 * analysis->scores[i];
  g_autoptr(GPtrArray) estimate = estimate_with(&reference->rows, &analysis->rows, &settings);
  for (guint c = 0; c < N / 500; c++) ck_assert_int_eq(chunk_of(estimate, "accuracy", c)->alert, c < 2);
  ck_assert_uint_ge(drift_estimate_count_alerts(estimate), 2);
}
END_TEST

START_TEST(missing_values_are_left_out)
{
  const DriftCbpeSettings settings = {.chunk_size = N, .calibration = DRIFT_CALIBRATE_NEVER};
  g_autofree Binary *whole = binary_new(9, 1), *holes = binary_new(9, 1);
  for (guint i = 0; i < N; i += 2) holes->scores[i] = NAN;
  for (guint i = 1; i < N; i += 4) holes->predicted[i] = DRIFT_CODE_MISSING;
  g_autoptr(GPtrArray) estimate = estimate_with(&whole->rows, &holes->rows, &settings);
  double sum = 0;
  for (guint i = 3; i < N; i += 4) sum += whole->predicted[i] ? whole->scores[i] : 1 - whole->scores[i];
  ck_assert_double_eq_tol(chunk_of(estimate, "accuracy", 0)->value, sum / (N / 4), 1e-12);
  for (guint i = 0; i < N; i++) holes->scores[i] = NAN;
  g_autoptr(GPtrArray) nothing = estimate_with(&whole->rows, &holes->rows, &settings);
  ck_assert(isnan(chunk_of(nothing, "roc_auc", 0)->value));
  ck_assert_ptr_nonnull(chunk_of(nothing, "roc_auc", 0)->undefined);
  ck_assert_int_eq(chunk_of(nothing, "roc_auc", 0)->alert, FALSE);
}
END_TEST

START_TEST(undefined_is_said)
{
  const DriftCbpeSettings settings = {.chunk_size = 100};
  g_autofree Binary *reference = binary_new(10, 1), *analysis = binary_new(11, 1);
  for (guint i = 0; i < 100; i++) analysis->predicted[i] = 0;
  g_autoptr(GPtrArray) estimate = estimate_with(&reference->rows, &analysis->rows, &settings);
  ck_assert(isnan(chunk_of(estimate, "precision", 0)->value));
  ck_assert_ptr_nonnull(chunk_of(estimate, "precision", 0)->undefined);
  ck_assert(isfinite(chunk_of(estimate, "recall", 0)->value));
  ck_assert(isfinite(chunk_of(estimate, "precision", 1)->value));
}
END_TEST

START_TEST(bad_input_is_refused)
{
  const DriftCbpeSettings settings = {.chunk_size = 100}, no_chunk = {.chunk_size = 0};
  g_autofree Binary *binary = binary_new(12, 1);
  GError *error = NULL;
  ck_assert_ptr_null(drift_cbpe_new(&binary->rows, &no_chunk, &error));
  g_clear_error(&error);
  g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(&binary->rows, &settings, NULL);
  const gchar *const unknown[] = {"roc", NULL}, *const value[] = {"business_value", NULL};
  const DriftCbpeSettings asks_unknown = {.chunk_size = 100, .metrics = unknown};
  const DriftCbpeSettings asks_value = {.chunk_size = 100, .metrics = value};
  ck_assert_ptr_null(drift_cbpe_new(&binary->rows, &asks_unknown, &error));
  ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, "average_precision"));
  g_clear_error(&error);
  ck_assert_ptr_null(drift_cbpe_new(&binary->rows, &asks_value, &error));
  g_clear_error(&error);
  binary->predicted[6] = 2;
  ck_assert_ptr_null(drift_cbpe_estimate(cbpe, &binary->rows, &error));
  ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, "row 7"));
  g_clear_error(&error);
  binary->scores[2] = 1.5;
  ck_assert_ptr_null(drift_cbpe_new(&binary->rows, &settings, &error));
  ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, "row 3"));
  g_clear_error(&error);
}
END_TEST

START_TEST(confusion_and_value_agree)
{
  const double worth[] = {1, -2, -5, 10}; /* truth 0: predicted 0, 1; truth 1: predicted 0, 1 */
  DriftCbpeSettings settings = {.chunk_size = N, .business_value = worth};
  g_autofree Binary *reference = binary_new(13, 1), *analysis = binary_new(14, 1);
  g_autoptr(GPtrArray) estimate = estimate_with(&reference->rows, &analysis->rows, &settings);
  double tn = chunk_of(estimate, "true_negative", 0)->value, fp = chunk_of(estimate, "false_positive", 0)->value;
  double fn = chunk_of(estimate, "false_negative", 0)->value, tp = chunk_of(estimate, "true_positive", 0)->value;
  ck_assert_double_eq_tol(tn + fp + fn + tp, N, 1e-8);
  ck_assert_double_eq_tol(chunk_of(estimate, "business_value", 0)->value, tn - 2 * fp - 5 * fn + 10 * tp, 1e-8);
  settings.confusion_scale = DRIFT_CONFUSION_TRUE;
  g_autoptr(GPtrArray) shares = estimate_with(&reference->rows, &analysis->rows, &settings);
  ck_assert_double_eq_tol(chunk_of(shares, "true_positive", 0)->value, tp / (tp + fn), 1e-12);
  ck_assert_double_eq_tol(chunk_of(shares, "true_positive", 0)->value, chunk_of(shares, "recall", 0)->value, 1e-12);
  settings.confusion_scale = DRIFT_CONFUSION_PREDICTED;
  g_autoptr(GPtrArray) predicted = estimate_with(&reference->rows, &analysis->rows, &settings);
  ck_assert_double_eq_tol(chunk_of(predicted, "true_positive", 0)->value, tp / (tp + fp), 1e-12);
}
END_TEST

START_TEST(several_classes)
{
  enum { K = 3 };
  static double scores[K][N];
  static guint32 predicted[N], truth[N];
  const double *columns[K] = {scores[0], scores[1], scores[2]};
  const gchar *const names[K] = {"a", "b", "c"};
  GRand *random = g_rand_new_with_seed(15);
  for (guint i = 0; i < N; i++) {
    double sum = 0, lot = g_rand_double(random);
    for (guint c = 0; c < K; c++) sum += scores[c][i] = -log(1 - g_rand_double(random));
    for (guint c = 0; c < K; c++) scores[c][i] /= sum;
    truth[i] = lot < scores[0][i] ? 0 : lot < scores[0][i] + scores[1][i] ? 1 : 2;
    predicted[i] = scores[0][i] > scores[1][i] ? 0 : 1;
    if (scores[2][i] > scores[predicted[i]][i]) predicted[i] = 2;
  }
  g_rand_free(random);
  const DriftCbpeRows rows = {N, K, columns, predicted, truth};
  const DriftCbpeSettings settings = {.chunk_size = 1000, .class_names = names, .seed = 1};
  g_autoptr(GPtrArray) estimate = estimate_with(&rows, &rows, &settings);
  static const gchar *const metrics[] = {"roc_auc", "average_precision", "f1",      "precision",
                                         "recall",  "specificity",       "accuracy"};
  for (guint m = 0; m < G_N_ELEMENTS(metrics); m++)
    for (guint c = 0; c < N / 1000; c++) {
      const DriftChunkEstimate *chunk = chunk_of(estimate, metrics[m], c);
      ck_assert_double_eq_tol(chunk->value, chunk->realized, 4 * chunk->sampling_error);
    }
  double sum = 0;
  for (guint t = 0; t < K; t++)
    for (guint p = 0; p < K; p++) {
      g_autofree gchar *name = g_strdup_printf("true_%s_pred_%s", names[t], names[p]);
      sum += chunk_of(estimate, name, 1)->value;
    }
  ck_assert_double_eq_tol(sum, 1000, 1e-8);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("cbpe");
  TCase *tests = tcase_create("cbpe");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, expected_confusion_by_hand);
  tcase_add_test(tests, areas_have_no_row_order);
  tcase_add_test(tests, order_is_stable_and_sorts);
  tcase_add_test(tests, large_orders_are_stable_and_sorted);
  tcase_add_test(tests, twister_draws_as_glib);
  tcase_add_test(tests, sorted_isotonic_is_the_general_one);
  tcase_add_test(tests, isotonic_pools_violators);
  tcase_add_test(tests, estimates_what_is_realised);
  tcase_add_test(tests, miscalibration_is_noticed);
  tcase_add_test(tests, alerts_when_scores_move_to_the_middle);
  tcase_add_test(tests, missing_values_are_left_out);
  tcase_add_test(tests, undefined_is_said);
  tcase_add_test(tests, bad_input_is_refused);
  tcase_add_test(tests, confusion_and_value_agree);
  tcase_add_test(tests, several_classes);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
