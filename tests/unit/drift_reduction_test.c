/* The exponentiated-gradient reduction against fairlearn, and what it promises. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/fairness_reduction.h"
#include "drift/schema.h"
#include "pipeline/loss_model_xgboost.h"

enum { ROWS = 400, COLUMNS = 3 };

typedef struct {
  double values[ROWS * COLUMNS];
  gint8 label[ROWS];
  const gchar *group[ROWS];
  DriftMatrix features;
  DriftFairnessRows rows;
  DriftGrouping *grouping;
  DriftFairness *fairness;
} World;

/* Knuth's 64-bit congruential generator, so that another language draws the same rows. */
static double draw(guint64 *state)
{
  *state = *state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(*state >> 11) / 9007199254740992.0;
}

static void world_init(World *world, guint minimum_group)
{
  guint64 state = 7;
  for (guint i = 0; i < ROWS; i++) {
    gboolean b = draw(&state) < .4;
    double x1 = draw(&state) - (b ? .25 : 0), x2 = draw(&state);
    world->label[i] = draw(&state) < CLAMP(.2 + .8 * x1 + .2 * x2, 0, 1);
    world->group[i] = b ? "b" : "a";
    memcpy(world->values + i * COLUMNS, (const double[]){x1, x2, b}, sizeof(double) * COLUMNS);
  }
  world->features = (DriftMatrix){.values = world->values, .n = ROWS, .d = COLUMNS};
  world->rows = (DriftFairnessRows){.n = ROWS, .label = world->label};
  world->grouping = drift_grouping_from_texts("g", world->group, ROWS, NULL);
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.minimum_group = minimum_group;
  world->fairness = drift_fairness_new(&world->rows, world->grouping, &settings, NULL);
}

static void world_clear(World *world)
{
  drift_fairness_free(world->fairness);
  drift_grouping_free(world->grouping);
}

/* fairlearn 0.15.0: ExponentiatedGradient(LogisticRegression(tol=1e-12, solver="newton-cholesky"), PARITY(
 * difference_bound=BOUND), eps=.01, max_iter=50, run_linprog_step=False) on the rows above; the mean probability is of
 * its _pmf_predict. */
static const struct {
  DriftParity parity;
  double bound;
  guint classifiers, iterations, fits;
  double error, violation, gap, mean_probability;
} expected[] = {
    {DRIFT_PARITY_SELECTION, .01, 3, 20, 43, .243, .009974860335, .007409583896, .6745},
    {DRIFT_PARITY_SELECTION, .05, 2, 8, 19, .2275, .048896648045, .005917999069, .6725},
    {DRIFT_PARITY_ODDS, .01, 9, 50, 100, .217864583333, .010210471652, .021585939157, .64671875},
    {DRIFT_PARITY_ODDS, .05, 4, 6, 15, .215416666667, .043158613747, .009612921444, .660416666667},
    {DRIFT_PARITY_TPR, .01, 3, 12, 27, .21875, .009347507331, .008397095715, .68125},
    {DRIFT_PARITY_TPR, .05, 4, 6, 20, .2175, .013685239492, .007229555380, .678333333333},
    {DRIFT_PARITY_FPR, .01, 7, 50, 100, .2353, .005668679896, .023991555009, .6819},
    {DRIFT_PARITY_FPR, .05, 3, 8, 19, .2159375, .035793248490, .009842600629, .657187500000},
};

START_TEST(the_mixture_is_fairlearns)
{
  World world;
  world_init(&world, 1);
  DriftReductionSettings settings;
  drift_reduction_settings_init(&settings);
  settings.parity = expected[_i].parity;
  settings.bound = expected[_i].bound;
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftReduction) reduction =
      drift_reduction_fit(world.fairness, &world.features, &drift_learner_logistic, &settings, &error);
  ck_assert_msg(reduction != NULL, "%s", error ? error->message : "");
  DriftReductionSummary summary;
  drift_reduction_get_summary(reduction, &summary);
  ck_assert_double_eq_tol(summary.error, expected[_i].error, 1e-11);
  ck_assert_double_eq_tol(summary.violation, expected[_i].violation, 1e-11);
  ck_assert_double_eq_tol(summary.gap, expected[_i].gap, 1e-9);
  ck_assert_uint_eq(summary.n_classifiers, expected[_i].classifiers);
  ck_assert_uint_eq(summary.iterations, expected[_i].iterations);
  ck_assert_uint_eq(summary.n_fits, expected[_i].fits);
  double probabilities[ROWS], mean = 0;
  ck_assert(drift_reduction_predict(reduction, &world.features, probabilities, NULL));
  for (guint i = 0; i < ROWS; i++) mean += probabilities[i] / ROWS;
  ck_assert_double_eq_tol(mean, expected[_i].mean_probability, 1e-11);
  world_clear(&world);
}
END_TEST

/* Selection rates by group of the rows' probabilities. */
static double selection_gap(const World *world, const double *probabilities)
{
  double n[2] = {0}, sum[2] = {0};
  for (guint i = 0; i < ROWS; i++) {
    guint b = world->group[i][0] == 'b';
    n[b]++;
    sum[b] += probabilities[i];
  }
  return fabs(sum[0] / n[0] - sum[1] / n[1]);
}

START_TEST(trees_are_made_fair_too)
{
  World world;
  world_init(&world, 1);
  DriftReductionSettings settings;
  drift_reduction_settings_init(&settings);
  settings.max_iterations = 20;
  double plain[ROWS], fair[ROWS];
  double targets[ROWS];
  for (guint i = 0; i < ROWS; i++) targets[i] = world.label[i];
  const DriftLearner *learner = &pipeline_loss_model_xgboost;
  gpointer model = learner->fit(&world.features, targets, DRIFT_GOAL_PROBABILITY, 1, NULL);
  ck_assert(model && learner->predict(model, &world.features, plain, NULL));
  learner->free(model);
  for (guint i = 0; i < ROWS; i++) plain[i] = plain[i] > .5;
  g_autoptr(DriftReduction) reduction = drift_reduction_fit(world.fairness, &world.features, learner, &settings, NULL);
  ck_assert(reduction && drift_reduction_predict(reduction, &world.features, fair, NULL));
  ck_assert_double_gt(selection_gap(&world, plain), .2);
  ck_assert_double_lt(selection_gap(&world, fair), .05);
  world_clear(&world);
}
END_TEST

/* A weight of 2 is the row twice, 0 is no row: both learners. */
START_TEST(weights_are_rows)
{
  World world;
  world_init(&world, 1);
  const DriftLearner *const learners[] = {&drift_learner_logistic, &pipeline_loss_model_xgboost};
  for (guint l = 0; l < G_N_ELEMENTS(learners); l++) {
    double targets[ROWS], weights[ROWS], weighted[ROWS], repeated[ROWS];
    g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(double)),
                      labels = g_array_new(FALSE, FALSE, sizeof(double));
    for (guint i = 0; i < ROWS; i++) {
      targets[i] = world.label[i];
      weights[i] = i % 3;
      for (guint k = 0; k < i % 3; k++) {
        g_array_append_vals(rows, world.values + i * COLUMNS, COLUMNS);
        g_array_append_val(labels, targets[i]);
      }
    }
    const DriftMatrix copies = {(const double *)(void *)rows->data, labels->len, COLUMNS};
    gpointer a = learners[l]->fit_weighted(&world.features, targets, weights, DRIFT_GOAL_PROBABILITY, 1, NULL);
    gpointer b = learners[l]->fit(&copies, (const double *)(void *)labels->data, DRIFT_GOAL_PROBABILITY, 1, NULL);
    ck_assert(learners[l]->predict(a, &world.features, weighted, NULL));
    ck_assert(learners[l]->predict(b, &world.features, repeated, NULL));
    double mean = 0; /* trees bin weighted rows by other quantiles: close, not equal */
    for (guint i = 0; i < ROWS; i++) mean += fabs(weighted[i] - repeated[i]) / ROWS;
    ck_assert_double_lt(mean, l == 0 ? 1e-7 : .05);
    learners[l]->free(a);
    learners[l]->free(b);
  }
  world_clear(&world);
}
END_TEST

static gpointer unweighted_fit(const DriftMatrix *features, const double *targets, DriftGoal goal, guint64 seed,
                               GError **error)
{
  return drift_learner_logistic.fit(features, targets, goal, seed, error);
}

START_TEST(what_cannot_be_done_is_refused)
{
  World world;
  world_init(&world, 1);
  DriftReductionSettings settings;
  drift_reduction_settings_init(&settings);
  const DriftLearner unweighted = {.name = "unweighted", .fit = unweighted_fit};
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_reduction_fit(world.fairness, &world.features, &unweighted, &settings, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "takes no weights"));
  g_clear_error(&error);
  DriftMatrix fewer = world.features;
  fewer.n--;
  ck_assert_ptr_null(drift_reduction_fit(world.fairness, &fewer, &drift_learner_logistic, &settings, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_MISMATCH);
  g_clear_error(&error);
  settings.epsilon = 0;
  ck_assert_ptr_null(drift_reduction_fit(world.fairness, &world.features, &drift_learner_logistic, &settings, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_INVALID);
  g_clear_error(&error);
  world_clear(&world);
  world_init(&world, 300); /* no group is that large */
  drift_reduction_settings_init(&settings);
  ck_assert_ptr_null(drift_reduction_fit(world.fairness, &world.features, &drift_learner_logistic, &settings, &error));
  ck_assert_int_eq(error->code, DRIFT_ERROR_UNDEFINED);
  world_clear(&world);
}
END_TEST

/* Rows without a group take no part; the result is that of the rows that are left. */
START_TEST(rows_that_are_left_out_take_no_part)
{
  World world;
  world_init(&world, 1);
  DriftReductionSettings settings;
  drift_reduction_settings_init(&settings);
  DriftReductionSummary whole, part;
  g_autoptr(DriftReduction) all =
      drift_reduction_fit(world.fairness, &world.features, &drift_learner_logistic, &settings, NULL);
  drift_reduction_get_summary(all, &whole);
  enum { MORE = ROWS + 50 };
  static double values[MORE * COLUMNS];
  static gint8 label[MORE];
  static const gchar *group[MORE];
  memcpy(values, world.values, sizeof world.values);
  memcpy(label, world.label, sizeof world.label);
  memcpy(group, world.group, sizeof world.group);
  for (guint i = ROWS; i < MORE; i++) {
    values[i * COLUMNS] = 1e3;
    label[i] = i % 2 ? 0 : DRIFT_FAIRNESS_NONE;
    group[i] = i % 2 ? "" : "a";
  }
  const DriftMatrix features = {values, MORE, COLUMNS};
  const DriftFairnessRows rows = {.n = MORE, .label = label};
  DriftFairnessSettings fairness_settings;
  drift_fairness_settings_init(&fairness_settings);
  g_autoptr(DriftGrouping) grouping = drift_grouping_from_texts("g", group, MORE, NULL);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&rows, grouping, &fairness_settings, NULL);
  g_autoptr(DriftReduction) reduction =
      drift_reduction_fit(fairness, &features, &drift_learner_logistic, &settings, NULL);
  drift_reduction_get_summary(reduction, &part);
  ck_assert(part.error == whole.error && part.violation == whole.violation && part.n_fits == whole.n_fits);
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_reduction");
  TCase *tests = tcase_create("reduction");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, the_mixture_is_fairlearns, 0, G_N_ELEMENTS(expected));
  tcase_add_test(tests, trees_are_made_fair_too);
  tcase_add_test(tests, weights_are_rows);
  tcase_add_test(tests, what_cannot_be_done_is_refused);
  tcase_add_test(tests, rows_that_are_left_out_take_no_part);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
