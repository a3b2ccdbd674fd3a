/* Label-free estimates of a regression's errors, with a table for a loss model and with boosted trees. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "drift/dle.h"
#include "pipeline/loss_model_xgboost.h"

#define N 2000

/* The mean target of rows with the first feature below 0, and of the others. */
static gpointer halves_fit(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed,
                           GError **error)
{
  (void)goal, (void)seed, (void)error;
  double *means = g_new0(double, 2), counts[2] = {0, 0};
  for (gsize i = 0; i < features->n; i++) {
    guint half = features->values[i * features->d] >= 0;
    means[half] += targets[i];
    counts[half]++;
  }
  for (guint h = 0; h < 2; h++) means[h] /= fmax(1, counts[h]);
  return means;
}

static gboolean halves_predict(gconstpointer model, const DriftMatrix *features, double *predictions, GError **error)
{
  (void)error;
  const double *means = model;
  for (gsize i = 0; i < features->n; i++) predictions[i] = means[features->values[i * features->d] >= 0];
  return TRUE;
}

static const DriftLearner halves = {"halves", "", FALSE, halves_fit, halves_predict, g_free, NULL};

typedef struct {
  double features[N], predicted[N], truth[N];
} Regression;

/* The error is three times as large where the feature is positive; `share` of the rows are there. */
static Regression *regression_new(guint32 seed, double share, DriftDleRows *rows)
{
  Regression *r = g_new(Regression, 1);
  GRand *random = g_rand_new_with_seed(seed);
  for (guint i = 0; i < N; i++) {
    r->features[i] = g_rand_double(random) < share ? 1 : -1;
    r->predicted[i] = 10 + g_rand_double(random);
    r->truth[i] = r->predicted[i] + (g_rand_double(random) - .5) * (r->features[i] > 0 ? 3 : 1);
  }
  g_rand_free(random);
  *rows = (DriftDleRows){{r->features, N, 1}, r->predicted, r->truth};
  return r;
}

static const DriftChunkEstimate *chunk_of(const DriftEstimate *estimate, const gchar *name, guint chunk)
{
  const DriftMetricSeries *series = drift_estimate_find(estimate, name);
  ck_assert_msg(series != NULL, "no series %s", name);
  return &g_array_index(series->chunks, DriftChunkEstimate, chunk);
}

static const DriftLearner *const learners[] = {&halves, &pipeline_loss_model_xgboost};

START_TEST(follows_the_mixture)
{
  DriftDleRows reference, analysis;
  g_autofree G_GNUC_UNUSED Regression *a = regression_new(1, .3, &reference), *b = regression_new(2, .8, &analysis);
  const DriftDleSettings settings = {.chunk_size = 500, .seed = 1};
  g_autoptr(DriftDle) dle = drift_dle_new(&reference, learners[_i], &settings, NULL);
  g_autoptr(GPtrArray) estimate = drift_dle_estimate(dle, &analysis, NULL);
  ck_assert_uint_eq(estimate->len, 6);
  for (const gchar *const *name = drift_dle_metric_names; *name != NULL; name++)
    for (guint c = 0; c < N / 500; c++) {
      const DriftChunkEstimate *chunk = chunk_of(estimate, *name, c);
      ck_assert_double_eq_tol(chunk->value, chunk->realized, 4 * chunk->sampling_error + .04 * chunk->realized);
      ck_assert(chunk->alert);
    }
  ck_assert_double_eq_tol(chunk_of(estimate, "rmse", 1)->value, sqrt(chunk_of(estimate, "mse", 1)->value), 1e-12);
  analysis.truth = NULL;
  g_autoptr(GPtrArray) blind = drift_dle_estimate(dle, &analysis, NULL);
  ck_assert_double_eq(chunk_of(blind, "mae", 0)->value, chunk_of(estimate, "mae", 0)->value);
  ck_assert(isnan(chunk_of(blind, "mae", 0)->realized));
  g_autoptr(GPtrArray) itself = drift_dle_estimate(dle, &reference, NULL);
  for (guint c = 0; c < N / 500; c++)
    ck_assert_double_eq_tol(chunk_of(itself, "mae", c)->value, chunk_of(itself, "mae", c)->realized,
                            4 * chunk_of(itself, "mae", c)->sampling_error);
}
END_TEST

START_TEST(undefined_metrics_are_left_out_or_refused)
{
  DriftDleRows reference;
  g_autofree Regression *a = regression_new(3, .5, &reference);
  GError *error = NULL;
  a->truth[4] = 0;
  a->truth[5] = -3;
  const DriftDleSettings all = {.chunk_size = 500};
  g_autoptr(DriftDle) dle = drift_dle_new(&reference, &halves, &all, NULL);
  g_autoptr(GPtrArray) estimate = drift_dle_estimate(dle, &reference, NULL);
  ck_assert_uint_eq(estimate->len, 3);
  ck_assert_ptr_null(drift_estimate_find(estimate, "mape"));
  const struct {
    const gchar *metric, *text;
  } bad[] = {{"mape", "row 5"}, {"rmsle", "row 6"}, {"mad", "rmsle"}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    const gchar *const names[] = {"mae", bad[i].metric, NULL};
    const DriftDleSettings named = {.chunk_size = 500, .metrics = names};
    ck_assert_ptr_null(drift_dle_new(&reference, &halves, &named, &error));
    ck_assert_msg(g_strstr_len(error->message, -1, bad[i].text) != NULL, "%s", error->message);
    g_clear_error(&error);
  }
}
END_TEST

START_TEST(missing_values)
{
  DriftDleRows reference, analysis;
  g_autofree G_GNUC_UNUSED Regression *a = regression_new(4, .5, &reference), *b = regression_new(5, .5, &analysis);
  const DriftDleSettings settings = {.chunk_size = 1000};
  g_autoptr(DriftDle) dle = drift_dle_new(&reference, &halves, &settings, NULL);
  GError *error = NULL;
  for (guint i = 0; i < 1000; i++) b->predicted[i] = NAN;
  g_autoptr(GPtrArray) estimate = drift_dle_estimate(dle, &analysis, NULL);
  ck_assert(isnan(chunk_of(estimate, "mae", 0)->value));
  ck_assert_ptr_nonnull(chunk_of(estimate, "mae", 0)->undefined);
  ck_assert(isfinite(chunk_of(estimate, "mae", 1)->value));
  b->features[7] = NAN;
  ck_assert_ptr_null(drift_dle_estimate(dle, &analysis, &error));
  ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, "row 8"));
  g_clear_error(&error);
  g_autoptr(DriftDle) trees = drift_dle_new(&reference, &pipeline_loss_model_xgboost, &settings, NULL);
  g_autoptr(GPtrArray) with_hole = drift_dle_estimate(trees, &analysis, NULL);
  ck_assert_ptr_nonnull(with_hole);
}
END_TEST

START_TEST(trees_repeat_and_classify)
{
  DriftDleRows rows;
  g_autofree Regression *a = regression_new(6, .5, &rows);
  g_autofree double *sides = g_new(double, N), *first = g_new(double, N), *second = g_new(double, N);
  for (guint i = 0; i < N; i++) sides[i] = a->features[i] > 0;
  for (guint round = 0; round < 2; round++) {
    gpointer model = pipeline_loss_model_xgboost.fit(&rows.features, sides, DRIFT_GOAL_PROBABILITY, 3, NULL);
    ck_assert(pipeline_loss_model_xgboost.predict(model, &rows.features, round == 0 ? first : second, NULL));
    pipeline_loss_model_xgboost.free(model);
  }
  for (guint i = 0; i < N; i++) {
    ck_assert_double_eq(first[i], second[i]);
    ck_assert((first[i] > .5) == (sides[i] > .5));
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("dle");
  TCase *tests = tcase_create("dle");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, follows_the_mixture, 0, G_N_ELEMENTS(learners));
  tcase_add_test(tests, undefined_metrics_are_left_out_or_refused);
  tcase_add_test(tests, missing_values);
  tcase_add_test(tests, trees_repeat_and_classify);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
