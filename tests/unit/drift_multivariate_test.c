/* Samples of several features. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/multivariate.h"

static double normal(GRand *random)
{
  return sqrt(-2 * log(1 - g_rand_double(random))) * cos(2 * G_PI * g_rand_double(random));
}

/* [n][d] normal rows of that mean. */
static double *rows_new(GRand *random, gsize n, guint d, double mean)
{
  double *values = g_new(double, n *d);
  for (gsize i = 0; i < n * d; i++) values[i] = mean + normal(random);
  return values;
}

/* Every method by name: rarely below .1 when nothing changed, small when the mean moved. */
START_TEST(tests_hold_their_level_and_see_a_shift)
{
  enum { ROUNDS = 40, ROWS = 40 };
  const DriftMultivariateMethod *method = &drift_multivariate_methods[_i];
  GRand *random = g_rand_new_with_seed(17);
  guint low = 0;
  for (guint round = 0; round < ROUNDS; round++) {
    g_autofree double *a = rows_new(random, ROWS, 3, 0), *b = rows_new(random, ROWS - 10, 3, 0),
                      *c = rows_new(random, ROWS - 10, 3, 1.2);
    const DriftMatrix reference = {a, ROWS, 3}, same = {b, ROWS - 10, 3}, moved = {c, ROWS - 10, 3};
    const DriftPermutationSettings settings = {.permutations = 59, .seed = round};
    DriftTestResult result;
    ck_assert(method->test(&reference, &same, &settings, &result, NULL));
    ck_assert(result.p > 0 && result.p <= 1);
    if (result.p <= .1) low++;
    if (round > 4 || method->test == drift_pca_test || method->test == drift_mahalanobis_test) continue; /* below */
    ck_assert(method->test(&reference, &moved, &settings, &result, NULL));
    ck_assert_msg(result.p <= .05, "%s: p %g", method->name, result.p);
  }
  g_rand_free(random);
  /* binomial(40, .1): above 10 with probability .0015 */
  ck_assert_msg(low <= 10, "%s: %u of %u below .1", method->name, low, ROUNDS);
}
END_TEST

START_TEST(mmd_is_symmetric_and_features_come_near)
{
  GRand *random = g_rand_new_with_seed(18);
  g_autofree double *a = rows_new(random, 80, 4, 0), *b = rows_new(random, 60, 4, .5);
  g_rand_free(random);
  const DriftMatrix x = {a, 80, 4}, y = {b, 60, 4};
  DriftMmd one, other, near;
  ck_assert(drift_mmd(&x, &y, 0, NULL, &one, NULL) && drift_mmd(&y, &x, 0, NULL, &other, NULL));
  ck_assert_double_eq(one.sigma, other.sigma);
  ck_assert_double_eq_tol(one.unbiased, other.unbiased, 1e-14);
  ck_assert(one.biased > one.unbiased && isnan(one.p));
  for (guint seed = 0; seed < 10; seed++) {
    const DriftPermutationSettings settings = {.permutations = 19, .seed = seed};
    ck_assert(drift_mmd_features(&x, &y, one.sigma, 400, &settings, &near, NULL));
    ck_assert(near.standard_error > 0 && near.standard_error <= 2 / sqrt(400));
    ck_assert_double_eq_tol(near.biased, one.biased, 4 * near.standard_error);
    ck_assert_double_eq_tol(near.unbiased, one.unbiased, 4 * near.standard_error);
  }
}
END_TEST

START_TEST(energy_of_equal_samples_is_zero)
{
  GRand *random = g_rand_new_with_seed(19);
  g_autofree double *a = rows_new(random, 50, 2, 0);
  g_rand_free(random);
  const DriftMatrix x = {a, 50, 2};
  const DriftPermutationSettings settings = {.permutations = 99, .seed = 1};
  DriftEnergy energy;
  ck_assert(drift_energy_distance(&x, &x, &settings, &energy, NULL));
  ck_assert_double_eq_tol(energy.squared, 0, 1e-12);
  ck_assert(energy.p > .9);
}
END_TEST

START_TEST(p_repeats_and_is_never_zero)
{
  GRand *random = g_rand_new_with_seed(20);
  g_autofree double *a = rows_new(random, 60, 2, 0), *b = rows_new(random, 60, 2, 3);
  g_rand_free(random);
  const DriftMatrix x = {a, 60, 2}, y = {b, 60, 2};
  const DriftPermutationSettings settings = {.permutations = 199, .seed = 5};
  for (const DriftMultivariateMethod *m = drift_multivariate_methods; m->name != NULL; m++) {
    DriftTestResult first, second;
    ck_assert(m->test(&x, &y, &settings, &first, NULL) && m->test(&x, &y, &settings, &second, NULL));
    ck_assert_double_eq(first.p, second.p);
    ck_assert(first.p > 0);
    if (g_strcmp0(first.p_from, "permutation") == 0) ck_assert_double_eq_tol(first.p, 1. / 200, 1e-15);
  }
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
  const double constant[] = {1, 2, 1, 3, 1, 5, 1, 4}, hole[] = {1, NAN, 1, 3}, far[] = {1, 2, 3};
  const DriftMatrix flat = {constant, 4, 2}, broken = {hole, 2, 2}, narrow = {far, 3, 1}, one = {constant, 1, 2};
  DriftHotelling hotelling = {7, 7, 7, 7, 7};
  GError *error = NULL;
  double distances[4] = {7, 7, 7, 7};
  ck_assert(!drift_hotelling(&flat, &flat, &hotelling, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED));
  ck_assert_double_eq(hotelling.p, 7);
  g_clear_error(&error);
  ck_assert(!drift_mahalanobis(&flat, &flat, distances, &error));
  ck_assert_double_eq(distances[0], 7);
  g_clear_error(&error);
  for (const DriftMultivariateMethod *m = drift_multivariate_methods; m->name != NULL; m++) {
    const DriftMatrix *const bad[] = {&broken, &narrow, &one};
    for (guint b = 0; b < G_N_ELEMENTS(bad); b++) {
      DriftTestResult result = {.p = 7};
      ck_assert(!m->test(&flat, bad[b], NULL, &result, &error) || (b == 2 && strcmp(m->name, "energy") == 0));
      ck_assert(error == NULL || *error->message != '\0');
      if (error != NULL) ck_assert_double_eq(result.p, 7);
      g_clear_error(&error);
    }
  }
  const double equal[] = {2, 2, 2, 2};
  const DriftMatrix same = {equal, 4, 1};
  DriftMmd mmd;
  ck_assert(!drift_mmd(&same, &same, 0, NULL, &mmd, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED));
  g_clear_error(&error);
  ck_assert(drift_mmd(&same, &same, 1, NULL, &mmd, NULL));
}
END_TEST

START_TEST(components_rebuild_what_they_span)
{
  enum { ROWS = 200 };
  double values[ROWS * 3];
  GRand *random = g_rand_new_with_seed(21);
  for (guint i = 0; i < ROWS; i++) {
    double u = normal(random), v = normal(random);
    values[3 * i] = u, values[3 * i + 1] = v, values[3 * i + 2] = u + v;
  }
  g_rand_free(random);
  const DriftMatrix reference = {values, ROWS, 3};
  g_autoptr(DriftPca) pca = drift_pca_new(&reference, 0, .999, NULL);
  double errors[ROWS];
  ck_assert_uint_eq(drift_pca_get_n_components(pca), 2);
  drift_pca_errors(pca, &reference, errors);
  for (guint i = 0; i < ROWS; i++) ck_assert_double_lt(errors[i], 1e-12);
  /* the third column no longer is the sum of the others: no single feature changed */
  double broken[ROWS * 3];
  memcpy(broken, values, sizeof broken);
  for (guint i = 0; i < ROWS; i++) broken[3 * i + 2] = values[3 * ((i + 50) % ROWS) + 2];
  const DriftMatrix analysis = {broken, ROWS, 3};
  g_autoptr(GPtrArray) estimate = drift_pca_chunks(pca, &reference, &analysis, 50, NULL);
  const DriftMetricSeries *series = drift_estimate_find(estimate, "reconstruction_error");
  ck_assert_uint_eq(series->chunks->len, 4);
  for (guint c = 0; c < 4; c++) ck_assert(g_array_index(series->chunks, DriftChunkEstimate, c).alert);
}
END_TEST

/* Two columns that went together stop doing so: means and deviations stay, the reconstruction fails. */
START_TEST(row_figures_see_broken_correlations)
{
  GRand *random = g_rand_new_with_seed(26);
  g_autofree double *a = rows_new(random, 200, 3, 0), *b = rows_new(random, 100, 3, 0),
                    *c = rows_new(random, 100, 3, 0);
  g_rand_free(random);
  for (guint i = 0; i < 200; i++) a[3 * i + 1] = a[3 * i] + .1 * a[3 * i + 1];
  for (guint i = 0; i < 100; i++) b[3 * i + 1] = b[3 * i] + .1 * b[3 * i + 1];
  const DriftMatrix reference = {a, 200, 3}, same = {b, 100, 3}, broken = {c, 100, 3};
  const DriftPermutationSettings settings = {.seed = 3};
  for (const gchar *const *name = (const gchar *const[]){"pca", "mahalanobis", NULL}; *name != NULL; name++) {
    const DriftMultivariateMethod *method = drift_multivariate_find(*name);
    DriftTestResult quiet, loud;
    ck_assert(method->test(&reference, &same, &settings, &quiet, NULL));
    ck_assert(method->test(&reference, &broken, &settings, &loud, NULL));
    ck_assert_msg(quiet.p > .01 && loud.p < 1e-6, "%s: p %g and %g", *name, quiet.p, loud.p);
  }
}
END_TEST

START_TEST(logistic_finds_the_optimum)
{
  /* one balanced binary feature: stationarity 4 (p - .75) + w/1 ... checked by the gradient of the penalised loss */
  const double x[] = {-1, -1, -1, -1, 1, 1, 1, 1}, y[] = {0, 0, 0, 1, 0, 1, 1, 1};
  const DriftMatrix features = {x, 8, 1};
  double p[8];
  gpointer model = drift_learner_logistic.fit(&features, y, DRIFT_GOAL_PROBABILITY, 0, NULL);
  ck_assert(drift_learner_logistic.predict(model, &features, p, NULL));
  double weight = (log(p[4] / (1 - p[4])) - log(p[0] / (1 - p[0]))) / 2, gradient = weight, intercept = 0;
  for (guint i = 0; i < 8; i++) gradient += (p[i] - y[i]) * x[i], intercept += p[i] - y[i];
  ck_assert_double_eq_tol(gradient, 0, 1e-9);
  ck_assert_double_eq_tol(intercept, 0, 1e-9);
  drift_learner_logistic.free(model);
}
END_TEST

START_TEST(table_rows_with_holes_are_counted)
{
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_NUMERIC);
  for (guint i = 0; i < 5; i++) {
    drift_column_append_number(a, i);
    drift_column_append_number(b, i == 2 ? NAN : 10 + i);
  }
  table->n_rows = 5;
  gsize n, left_out;
  GError *error = NULL;
  g_autofree double *values =
      drift_matrix_from_table(table, (const gchar *const[]){"b", "a", NULL}, &n, &left_out, NULL);
  ck_assert_uint_eq(n, 4);
  ck_assert_uint_eq(left_out, 1);
  ck_assert_double_eq(values[4], 13);
  ck_assert_double_eq(values[5], 3);
  ck_assert_ptr_null(drift_matrix_from_table(table, (const gchar *const[]){"c", NULL}, &n, &left_out, &error));
  ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, "\"c\""));
  g_clear_error(&error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("multivariate");
  TCase *tests = tcase_create("multivariate");
  int n_methods = 0;
  while (drift_multivariate_methods[n_methods].name != NULL) n_methods++;
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, tests_hold_their_level_and_see_a_shift, 0, n_methods);
  tcase_add_test(tests, mmd_is_symmetric_and_features_come_near);
  tcase_add_test(tests, energy_of_equal_samples_is_zero);
  tcase_add_test(tests, p_repeats_and_is_never_zero);
  tcase_add_test(tests, what_cannot_be_is_refused);
  tcase_add_test(tests, components_rebuild_what_they_span);
  tcase_add_test(tests, row_figures_see_broken_correlations);
  tcase_add_test(tests, logistic_finds_the_optimum);
  tcase_add_test(tests, table_rows_with_holes_are_counted);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
