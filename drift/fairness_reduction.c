/* Algorithm 1 of the paper: theta is the sum of the gradients. The constants are fairlearn's, whose results the tests
 * repeat. */
#include "drift/fairness_reduction.h"

#include <math.h>
#include <string.h>

#include "drift/fairness_reduction_internal.h"
#include "drift/schema.h"

#define MINIMUM_ITERATIONS 5
#define STOP 0.5      /* standard errors of the first classifier's error */
#define FIRST_CHECK 5 /* of the regret; the next ones 1.6 times as late */
#define CHECK_LATER 1.6
#define SHRINK 0.8 /* the step, when the gap has not shrunk as much */

struct _DriftReduction {
  const DriftLearner *learner;
  guint d;
  GPtrArray *classifiers;
  double *mixture; /* [classifiers->len] */
  DriftReductionSummary summary;
};

void drift_reduction_settings_init(DriftReductionSettings *settings)
{
  *settings = (DriftReductionSettings){
      .parity = DRIFT_PARITY_SELECTION, .bound = .01, .epsilon = .01, .step = 2, .max_iterations = 50, .seed = 1};
}

/* --- the game -----------------------------------------------------------------------------------------------------
 */

/* The best response to the mean prices, and to them made dearer, bounds the game's value from below. */
static gboolean find_gap(DriftReductionGame *game, const double *mixture, guint length, const double *lambda, double nu,
                         DriftReductionStanding *standing, GError **error)
{
  static const double dearer[] = {1, 2, 5, 10};
  guint n = 2 * game->cells->len;
  g_autofree double *prices = g_new(double, n);
  drift_reduction_evaluate(game, mixture, length, lambda, standing);
  for (guint i = 0; i < G_N_ELEMENTS(dearer); i++) {
    DriftReductionStanding alone;
    for (guint c = 0; c < n; c++) prices[c] = dearer[i] * lambda[c];
    gint best = drift_reduction_best_response(game, prices, error);
    if (best < 0) return FALSE;
    g_autofree double *only = g_new0(double, game->classifiers->len);
    only[best] = 1;
    drift_reduction_evaluate(game, only, game->classifiers->len, lambda, &alone);
    standing->lowest = fmin(standing->lowest, alone.lagrangian);
    if (drift_reduction_gap(standing) > nu + DRIFT_REDUCTION_PRECISION) break;
  }
  return TRUE;
}

typedef struct {
  double *theta, *lambda, *sum, *mean; /* [2 n_cells]: prices, their sum over the iterations, their mean */
  GArray *counts;                      /* of double: how often each classifier was the answer */
  double *mixture;                     /* the best one so far, [length] */
  guint length, iterations;
  double step, nu, best_gap, checked_gap;
  guint checked_at;
  DriftReductionStanding best;
} Play;

static void set_prices(const DriftReductionGame *game, Play *play, guint t)
{
  guint n = 2 * game->cells->len;
  double largest = 0;
  for (guint c = 0; c < n; c++) largest = fmax(largest, play->theta[c]);
  double total = exp(-largest); /* the price of none */
  for (guint c = 0; c < n; c++) total += exp(play->theta[c] - largest);
  for (guint c = 0; c < n; c++) {
    play->lambda[c] = exp(play->theta[c] - largest) / total / game->settings.epsilon;
    play->sum[c] += play->lambda[c];
    play->mean[c] = play->sum[c] / (t + 1);
  }
}

/* Half a standard error of the first classifier's error: closer than that the data do not tell. */
static double stop_at(const DriftReductionGame *game, const DriftReductionClassifier *first)
{
  double n = (double)game->features.n, variance = first->error * (1 - first->error) * n / fmax(n - 1, 1);
  return STOP * sqrt(variance) / sqrt(n);
}

static void keep_if_best(Play *play, const double *mixture, guint length, const DriftReductionStanding *standing)
{
  double gap = drift_reduction_gap(standing);
  if (gap > play->best_gap + DRIFT_REDUCTION_PRECISION) return;
  play->best_gap = fmin(gap, play->best_gap);
  g_free(play->mixture);
  play->mixture = g_memdup2(mixture, length * sizeof *mixture);
  play->length = length;
  play->best = *standing;
}

static void shrink_step(Play *play, guint t)
{
  if (t < play->checked_at * CHECK_LATER) return;
  if (play->best_gap > play->checked_gap * SHRINK) play->step *= SHRINK;
  play->checked_at = t;
  play->checked_gap = play->best_gap;
}

/* One iteration; *over: the gap is small enough. */
static gboolean iterate(DriftReductionGame *game, Play *play, guint t, gboolean *over, GError **error)
{
  set_prices(game, play, t);
  gint answer = drift_reduction_best_response(game, play->lambda, error);
  if (answer < 0) return FALSE;
  if (t == 0) play->nu = stop_at(game, g_ptr_array_index(game->classifiers, 0));
  if ((guint)answer >= play->counts->len) g_array_set_size(play->counts, (guint)answer + 1);
  g_array_index(play->counts, double, answer)++;
  guint length = play->counts->len, n_cells = game->cells->len;
  g_autofree double *mixture = g_new(double, length);
  for (guint i = 0; i < length; i++) mixture[i] = g_array_index(play->counts, double, i) / (t + 1);
  DriftReductionStanding standing;
  if (!find_gap(game, mixture, length, play->mean, play->nu, &standing, error)) return FALSE;
  keep_if_best(play, mixture, length, &standing);
  play->iterations = t + 1;
  *over = drift_reduction_gap(&standing) < play->nu && t >= MINIMUM_ITERATIONS;
  if (*over) return TRUE;
  shrink_step(play, t);
  const DriftReductionClassifier *classifier = g_ptr_array_index(game->classifiers, (guint)answer);
  for (guint c = 0; c < n_cells; c++) {
    play->theta[c] += play->step * (classifier->gamma[c] - game->settings.bound);
    play->theta[n_cells + c] += play->step * (-classifier->gamma[c] - game->settings.bound);
  }
  return TRUE;
}

static gboolean run(DriftReductionGame *game, Play *play, GError **error)
{
  guint n = 2 * game->cells->len;
  gboolean over = FALSE;
  play->theta = g_new0(double, n);
  play->lambda = g_new0(double, n);
  play->sum = g_new0(double, n);
  play->mean = g_new0(double, n);
  play->counts = g_array_new(FALSE, TRUE, sizeof(double));
  play->step = game->settings.step * game->settings.epsilon;
  play->best_gap = play->checked_gap = INFINITY;
  play->checked_at = FIRST_CHECK;
  for (guint t = 0; t < game->settings.max_iterations && !over; t++)
    if (!iterate(game, play, t, &over, error)) return FALSE;
  return TRUE;
}

static void play_clear(Play *play)
{
  double *const blocks[] = {play->theta, play->lambda, play->sum, play->mean, play->mixture};
  for (guint i = 0; i < G_N_ELEMENTS(blocks); i++) g_free(blocks[i]);
  if (play->counts != NULL) g_array_unref(play->counts);
}

/* --- the call ----------------------------------------------------------------------------------------------------- */

static gboolean check(const DriftFairness *fairness, const DriftMatrix *features, const DriftLearner *learner,
                      const DriftReductionSettings *settings, GError **error)
{
  if (!(settings->bound >= 0 && settings->bound < 1) || !(settings->epsilon > 0 && settings->epsilon <= 1) ||
      !(settings->step > 0) || settings->max_iterations == 0)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "fairness reduction: the bound lies in [0, 1), epsilon in (0, 1], the step above 0, iterations from 1");
  else if (learner->fit_weighted == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "fairness reduction: the learner %s takes no weights",
                learner->name);
  else if (features->n != fairness->rows->n)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "features of %" G_GSIZE_FORMAT " rows for a table of %" G_GUINT64_FORMAT " rows", features->n,
                fairness->rows->n);
  else
    return TRUE;
  return FALSE;
}

/* Two groups must meet in some event. */
static gboolean has_pair(const DriftReductionGame *game)
{
  guint n[2] = {0};
  for (guint c = 0; c < game->cells->len; c++) n[drift_reduction_cell(game, c)->event]++;
  return n[0] >= 2 || n[1] >= 2;
}

static DriftReduction *reduction_new(DriftReductionGame *game, const Play *play)
{
  DriftReduction *reduction = g_new0(DriftReduction, 1);
  reduction->learner = game->learner;
  reduction->d = game->features.d;
  reduction->classifiers = g_steal_pointer(&game->classifiers);
  reduction->mixture = g_new0(double, reduction->classifiers->len);
  memcpy(reduction->mixture, play->mixture, play->length * sizeof(double));
  reduction->summary = (DriftReductionSummary){.n_fits = game->n_fits,
                                               .iterations = play->iterations,
                                               .n_unconstrained = game->n_unconstrained,
                                               .error = play->best.error,
                                               .violation = play->best.violation,
                                               .gap = drift_reduction_gap(&play->best)};
  for (guint i = 0; i < play->length; i++) reduction->summary.n_classifiers += play->mixture[i] > 0;
  return reduction;
}

DriftReduction *drift_reduction_fit(const DriftFairness *fairness, const DriftMatrix *features,
                                    const DriftLearner *learner, const DriftReductionSettings *settings, GError **error)
{
  if (!check(fairness, features, learner, settings, error)) return NULL;
  DriftReductionGame game = {.learner = learner, .settings = *settings, .classifiers = g_ptr_array_new()};
  Play play = {0};
  DriftReduction *reduction = NULL;
  drift_reduction_game_init(&game, fairness, features);
  if (!has_pair(&game))
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
                "fairness reduction: no two groups of %s have enough rows to be made equal",
                fairness->grouping->attribute);
  else if (run(&game, &play, error))
    reduction = reduction_new(&game, &play);
  play_clear(&play);
  drift_reduction_game_clear(&game);
  return reduction;
}

void drift_reduction_free(DriftReduction *reduction)
{
  if (reduction == NULL) return;
  drift_reduction_classifiers_free(reduction->classifiers, reduction->learner);
  g_free(reduction->mixture);
  g_free(reduction);
}

void drift_reduction_get_summary(const DriftReduction *reduction, DriftReductionSummary *summary)
{
  *summary = reduction->summary;
}

gboolean drift_reduction_predict(const DriftReduction *reduction, const DriftMatrix *features, double *probabilities,
                                 GError **error)
{
  g_autofree double *scores = g_new(double, features->n + 1), *sums = g_new0(double, features->n + 1);
  if (features->d != reduction->d) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "%u columns, the classifiers were fitted to %u", features->d,
                reduction->d);
    return FALSE;
  }
  for (guint k = 0; k < reduction->classifiers->len; k++) {
    const DriftReductionClassifier *classifier = g_ptr_array_index(reduction->classifiers, k);
    if (reduction->mixture[k] == 0) continue;
    if (classifier->model != NULL && !reduction->learner->predict(classifier->model, features, scores, error))
      return FALSE;
    for (gsize i = 0; i < features->n; i++)
      if (classifier->model != NULL ? scores[i] > .5 : classifier->constant) sums[i] += reduction->mixture[k];
  }
  memcpy(probabilities, sums, features->n * sizeof *sums);
  return TRUE;
}
