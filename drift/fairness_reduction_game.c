#include <math.h>
#include <string.h>

#include "drift/fairness_reduction_internal.h"

#define NO_EVENT G_MAXUINT8

/* --- rows --------------------------------------------------------------------------------------------------------- */

static guint8 event_of(DriftParity parity, gint8 label)
{
  static const guint8 events[][2] = {/* by label */
                                     [DRIFT_PARITY_SELECTION] = {0, 0},
                                     [DRIFT_PARITY_TPR] = {NO_EVENT, 0},
                                     [DRIFT_PARITY_FPR] = {0, NO_EVENT},
                                     [DRIFT_PARITY_ODDS] = {0, 1}};
  return events[parity][label];
}

#define NO_CELL G_MAXUINT16

/* cell_of[2 group + event]. */
static void make_cells(DriftReductionGame *game, const DriftFairness *fairness, const double *n_by_cell,
                       guint16 *cell_of)
{
  guint n_events = game->settings.parity == DRIFT_PARITY_ODDS ? 2 : 1;
  game->cells = g_array_new(FALSE, TRUE, sizeof(DriftReductionCell));
  game->complete[0] = game->complete[1] = TRUE;
  for (guint i = 0; i < 2 * fairness->n_groups; i++) {
    DriftReductionCell cell = {.group = i / 2, .event = (guint8)(i % 2), .n = n_by_cell[i]};
    gboolean constrained = cell.n > 0 && drift_fairness_is_compared(fairness, cell.group);
    cell_of[i] = constrained ? (guint16)game->cells->len : NO_CELL;
    if (constrained)
      g_array_append_val(game->cells, cell);
    else
      game->n_unconstrained += cell.event < n_events;
    if (!constrained && cell.n > 0) game->complete[cell.event] = FALSE;
  }
}

static void take_row(DriftReductionGame *game, const DriftFairness *fairness, const DriftMatrix *features, guint64 row,
                     double *n_by_cell)
{
  gsize at = game->features.n++;
  guint8 event = event_of(game->settings.parity, fairness->rows->label[row]);
  memcpy(game->values + at * features->d, features->values + row * features->d, features->d * sizeof(double));
  game->label[at] = fairness->rows->label[row];
  game->event[at] = event;
  game->cell[at] = (guint16)(2 * fairness->grouping->group[row] + (event == NO_EVENT ? 0 : event));
  if (event == NO_EVENT) return;
  n_by_cell[game->cell[at]]++;
  game->event_rows[event]++;
}

void drift_reduction_game_init(DriftReductionGame *game, const DriftFairness *fairness, const DriftMatrix *features)
{
  const DriftFairnessRows *rows = fairness->rows;
  gsize n = features->n;
  game->values = g_new(double, n * features->d + 1);
  game->label = g_new(gint8, n + 1);
  game->event = g_new(guint8, n + 1);
  game->cell = g_new(guint16, n + 1);
  game->features = (DriftMatrix){.values = game->values, .d = features->d};
  g_autofree double *n_by_cell = g_new0(double, 2 * fairness->n_groups);
  g_autofree guint16 *cell_of = g_new(guint16, 2 * fairness->n_groups);
  for (guint64 i = 0; i < rows->n; i++)
    if (fairness->grouping->group[i] != DRIFT_GROUP_NONE && rows->label[i] >= 0 &&
        drift_fairness_rows_prediction(rows, i) >= 0)
      take_row(game, fairness, features, i, n_by_cell);
  make_cells(game, fairness, n_by_cell, cell_of);
  for (gsize i = 0; i < game->features.n; i++)
    game->cell[i] = game->event[i] == NO_EVENT ? NO_CELL : cell_of[game->cell[i]];
  game->targets = g_new(double, game->features.n + 1);
  game->weights = g_new(double, game->features.n + 1);
  game->scores = g_new(double, game->features.n + 1);
}

static void classifier_free(gpointer data, const DriftLearner *learner)
{
  DriftReductionClassifier *classifier = data;
  if (classifier->model != NULL) learner->free(classifier->model);
  g_free(classifier->gamma);
  g_free(classifier);
}

void drift_reduction_classifiers_free(GPtrArray *classifiers, const DriftLearner *learner)
{
  for (guint i = 0; classifiers != NULL && i < classifiers->len; i++)
    classifier_free(g_ptr_array_index(classifiers, i), learner);
  if (classifiers != NULL) g_ptr_array_unref(classifiers);
}

void drift_reduction_game_clear(DriftReductionGame *game)
{
  drift_reduction_classifiers_free(game->classifiers, game->learner);
  if (game->cells != NULL) g_array_unref(game->cells);
  gpointer const blocks[] = {game->values,  game->label,   game->event, game->cell,
                             game->targets, game->weights, game->scores};
  for (guint i = 0; i < G_N_ELEMENTS(blocks); i++) g_free(blocks[i]);
}

/* --- the learner's answer ----------------------------------------------------------------------------------------- */

const DriftReductionCell *drift_reduction_cell(const DriftReductionGame *game, guint i)
{
  return &g_array_index(game->cells, DriftReductionCell, i);
}

/* What a favourable decision is worth on a row at these prices: its label's side of the error, and the prices of its
 * event less those of its group. Sign and size become label and weight. lambda[2 n_cells]: from above, from below. */
static gboolean price_rows(DriftReductionGame *game, const double *lambda)
{
  guint n_cells = game->cells->len;
  gsize n = game->features.n;
  double of_event[2] = {0}, total = 0;
  gboolean any[2] = {FALSE, FALSE};
  g_autofree double *of_cell = g_new(double, n_cells);
  for (guint c = 0; c < n_cells; c++) {
    double difference = lambda[c] - lambda[n_cells + c];
    of_event[drift_reduction_cell(game, c)->event] += difference;
    of_cell[c] = difference * (double)n / drift_reduction_cell(game, c)->n;
  }
  for (gsize i = 0; i < n; i++) {
    double worth = game->label[i] ? 1 : -1;
    guint8 event = game->event[i];
    if (event != NO_EVENT) worth += of_event[event] * (double)n / game->event_rows[event];
    if (game->cell[i] != NO_CELL) worth -= of_cell[game->cell[i]];
    game->targets[i] = worth > 0;
    game->weights[i] = fabs(worth);
    total += game->weights[i];
    any[worth > 0] = TRUE;
  }
  for (gsize i = 0; i < n; i++) game->weights[i] *= (double)n / total;
  return any[0] && any[1];
}

static void measure(const DriftReductionGame *game, DriftReductionClassifier *classifier)
{
  guint n_cells = game->cells->len;
  double selected[2] = {0}, wrong = 0;
  classifier->gamma = g_new0(double, n_cells);
  for (gsize i = 0; i < game->features.n; i++) {
    gboolean decision = classifier->model != NULL ? game->scores[i] > .5 : classifier->constant;
    wrong += decision != game->label[i];
    if (game->event[i] == NO_EVENT) continue;
    selected[game->event[i]] += decision;
    if (game->cell[i] != NO_CELL) classifier->gamma[game->cell[i]] += decision;
  }
  classifier->error = wrong / (double)game->features.n;
  for (guint c = 0; c < n_cells; c++) {
    const DriftReductionCell *cell = drift_reduction_cell(game, c);
    classifier->gamma[c] = classifier->gamma[c] / cell->n - selected[cell->event] / game->event_rows[cell->event];
  }
}

static double value_at(const DriftReductionGame *game, const DriftReductionClassifier *classifier, const double *lambda)
{
  double value = classifier->error;
  guint n_cells = game->cells->len;
  for (guint c = 0; c < n_cells; c++) value += classifier->gamma[c] * (lambda[c] - lambda[n_cells + c]);
  return value;
}

/* The best classifier at these prices, of those known and the learner's answer; -1 with error. */
gint drift_reduction_best_response(DriftReductionGame *game, const double *lambda, GError **error)
{
  DriftReductionClassifier *answer = g_new0(DriftReductionClassifier, 1);
  gboolean mixed = price_rows(game, lambda), done = TRUE;
  game->n_fits++;
  answer->constant = game->features.n > 0 && game->targets[0] > 0;
  if (mixed) {
    answer->model = game->learner->fit_weighted(&game->features, game->targets, game->weights, DRIFT_GOAL_PROBABILITY,
                                                game->settings.seed, error);
    done = answer->model != NULL && game->learner->predict(answer->model, &game->features, game->scores, error);
  }
  if (!done) {
    classifier_free(answer, game->learner);
    return -1;
  }
  measure(game, answer);
  gint best = -1;
  double least = INFINITY;
  for (guint i = 0; i < game->classifiers->len; i++) {
    double value = value_at(game, g_ptr_array_index(game->classifiers, i), lambda);
    if (!(value < least)) continue;
    least = value;
    best = (gint)i;
  }
  if (value_at(game, answer, lambda) < least - DRIFT_REDUCTION_PRECISION) {
    g_ptr_array_add(game->classifiers, answer);
    return (gint)game->classifiers->len - 1;
  }
  classifier_free(answer, game->learner);
  return best;
}

/* --- what a mixture is worth -------------------------------------------------------------------------------------- */

typedef struct {
  double normalised, share; /* price over the group's share of the event; that share */
  guint cell;
} Priced;

static gint compare_priced(gconstpointer a, gconstpointer b)
{
  const Priced *left = a, *right = b;
  if (left->normalised != right->normalised) return left->normalised < right->normalised ? -1 : 1;
  return left->cell < right->cell ? -1 : 1;
}

/* Prices that make the Lagrangian no smaller for any classifier: opposite ones are set against each other, and since
 * the violations of an event, weighted by their shares, sum to 0, all may be shifted by a multiple of the shares: by
 * the weighted median, which leaves the smallest sum. (fairlearn 0.15) */
static void project(const DriftReductionGame *game, const double *lambda, double *price)
{
  guint n_cells = game->cells->len;
  g_autofree Priced *priced = g_new(Priced, n_cells);
  for (guint c = 0; c < n_cells; c++) price[c] = lambda[c] - lambda[n_cells + c];
  for (guint event = 0; event < 2; event++) {
    guint n = 0, median = 0;
    for (guint c = 0; c < n_cells; c++) {
      double share = drift_reduction_cell(game, c)->n / game->event_rows[event];
      if (drift_reduction_cell(game, c)->event == event) priced[n++] = (Priced){price[c] / share, share, c};
    }
    if (n == 0 || !game->complete[event]) continue;
    qsort(priced, n, sizeof *priced, compare_priced);
    for (double below = priced[0].share; below < .5 && median + 1 < n;) below += priced[++median].share;
    for (guint i = 0; i < n; i++) price[priced[i].cell] -= priced[i].share * priced[median].normalised;
  }
}

void drift_reduction_evaluate(const DriftReductionGame *game, const double *mixture, guint length, const double *lambda,
                              DriftReductionStanding *standing)
{
  guint n_cells = game->cells->len;
  double bound = game->settings.bound, error = 0;
  g_autofree double *gamma = g_new0(double, n_cells), *price = g_new(double, n_cells);
  for (guint i = 0; i < length; i++) {
    const DriftReductionClassifier *classifier = g_ptr_array_index(game->classifiers, i);
    if (mixture[i] == 0) continue;
    error += mixture[i] * classifier->error;
    for (guint c = 0; c < n_cells; c++) gamma[c] += mixture[i] * classifier->gamma[c];
  }
  *standing = (DriftReductionStanding){.error = error, .lagrangian = error};
  project(game, lambda, price);
  for (guint c = 0; c < n_cells; c++) {
    standing->lagrangian += fabs(price[c]) * (copysign(1, price[c]) * gamma[c] - bound);
    standing->violation = fmax(standing->violation, fabs(gamma[c]));
  }
  standing->highest = error + fmax(standing->violation - bound, 0) / game->settings.epsilon;
  standing->lowest = standing->lagrangian;
}

double drift_reduction_gap(const DriftReductionStanding *standing)
{
  return fmax(standing->lagrangian - standing->lowest, standing->highest - standing->lagrangian);
}
