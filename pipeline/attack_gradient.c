/* FGSM and PGD: up the gradient of the loss, and the climb that adversarial training makes with it. */
#include <math.h>
#include <string.h>

#include "pipeline/attack_internal.h"

/* The rows that are still searched, side by side. */
typedef struct {
  const PipelineAttackSearch *search;
  guint n, n_features;
  guint *rows;      /* [n]: of the batch */
  float *moves;     /* [n, n_features]: where the search stands */
  float *points;    /* the same with whole numbers, inside the ball: what is asked for */
  float *reach;     /* [n_features]: one step in the maximum norm */
  double size;      /* one step, in units of scale */
  gboolean settles; /* points differ from moves */
  double *losses;
  gboolean *fooled;
} Climb;

static void climb_init(Climb *climb, const PipelineAttackSearch *search, double size)
{
  gsize n = search->bounds->n, features = search->bounds->n_features;
  *climb = (Climb){.search = search, .n_features = (guint)features, .size = size};
  climb->rows = g_new(guint, n + 1);
  climb->moves = g_new(float, n *features + 1);
  climb->losses = g_new(double, n + 1);
  climb->fooled = g_new0(gboolean, n + 1);
  climb->reach = g_new(float, features + 1);
  climb->settles = search->ball->norm == PIPELINE_NORM_2 || pipeline_attack_has_integers(search->ball);
  climb->points = climb->settles ? g_new(float, n *features + 1) : climb->moves;
  for (guint f = 0; f < features; f++) climb->reach[f] = (float)(size * pipeline_attack_scale(search->ball, f));
}

static void climb_clear(Climb *climb)
{
  g_free(climb->rows);
  if (climb->settles) g_free(climb->points);
  g_free(climb->moves);
  g_free(climb->losses);
  g_free(climb->fooled);
  g_free(climb->reach);
}

static float *place(const Climb *climb, float *array, guint index)
{
  return array + (gsize)index * climb->n_features;
}

/* Every row, or those that are not wrong yet; at random or where they are. */
static void climb_start(Climb *climb, gboolean only_right, gboolean at_random)
{
  const PipelineAttackSearch *search = climb->search;
  climb->n = 0;
  for (guint row = 0; row < search->bounds->n; row++) {
    if (only_right && search->fooled != NULL && search->fooled[row]) continue;
    float *move = place(climb, climb->moves, climb->n);
    climb->rows[climb->n++] = row;
    if (at_random)
      pipeline_attack_start(search, row, move);
    else
      memcpy(move, place(climb, search->bounds->base, row), climb->n_features * sizeof(float));
  }
}

static gboolean climb_ask(Climb *climb, gboolean want_gradient, PipelineAttackAnswer *answer, GError **error)
{
  const PipelineAttackTarget *target = climb->search->target;
  *answer = (PipelineAttackAnswer){.want_gradient = want_gradient, .losses = climb->losses, .fooled = climb->fooled};
  for (guint i = 0; climb->settles && i < climb->n; i++)
    pipeline_attack_settle(climb->search, climb->rows[i], place(climb, climb->moves, i),
                           place(climb, climb->points, i));
  return target->answer(target->self, climb->points, climb->rows, climb->n, answer, error);
}

static void step_infinity(float *restrict move, const float *restrict gradient, const float *restrict reach,
                          const float *restrict low, const float *restrict high, guint n)
{
  for (guint f = 0; f < n; f++) {
    float sign = (gradient[f] > 0 ? 1.0f : 0.0f) - (gradient[f] < 0 ? 1.0f : 0.0f);
    float value = move[f] + reach[f] * sign;
    value = value < low[f] ? low[f] : value;
    move[f] = value > high[f] ? high[f] : value;
  }
}

/* Along the gradient in units of scale, whose direction alone counts. */
static void step_euclidean(const Climb *climb, guint row, const float *gradient, float *move)
{
  const PipelineAttackSearch *search = climb->search;
  const float *low = place(climb, search->bounds->low, row), *high = place(climb, search->bounds->high, row);
  double squares = 0;
  for (guint f = 0; f < climb->n_features; f++) {
    double slope = (double)gradient[f] * pipeline_attack_scale(search->ball, f);
    if (low[f] < high[f]) squares += slope * slope;
  }
  if (!(squares > 0)) return;
  double factor = climb->size / sqrt(squares);
  for (guint f = 0; f < climb->n_features; f++) {
    double scale = pipeline_attack_scale(search->ball, f);
    if (low[f] < high[f]) move[f] = (float)((double)move[f] + factor * (double)gradient[f] * scale * scale);
  }
  pipeline_attack_project(search, row, move);
}

static void climb_step(const Climb *climb, guint row, const float *gradient, float *move)
{
  const PipelineAttackBounds *bounds = climb->search->bounds;
  if (climb->search->ball->norm == PIPELINE_NORM_2)
    step_euclidean(climb, row, gradient, move);
  else
    step_infinity(move, gradient, climb->reach, place(climb, bounds->low, row), place(climb, bounds->high, row),
                  climb->n_features);
}

/* Notes what was found, leaves wrong rows alone if asked, moves the others. */
static void climb_on(Climb *climb, PipelineAttackSearch *search, const PipelineAttackAnswer *answer)
{
  guint kept = 0;
  for (guint i = 0; i < climb->n; i++) {
    guint row = climb->rows[i];
    search->queries[row]++;
    gboolean fooled =
        pipeline_attack_note(search, row, place(climb, climb->points, i), climb->losses[i], climb->fooled[i]);
    if (fooled && search->options->early_exit) continue;
    float *move = place(climb, climb->moves, kept);
    if (kept != i) memcpy(move, place(climb, climb->moves, i), climb->n_features * sizeof(float));
    if (answer->want_gradient) climb_step(climb, row, answer->gradient + (gsize)i * climb->n_features, move);
    climb->rows[kept++] = row;
  }
  climb->n = kept;
}

static double step_size(const PipelineAttackSearch *search)
{
  const PipelineAttackOptions *options = search->options;
  return options->step_size > 0 ? options->step_size : 2.5 * search->ball->epsilon / options->steps;
}

static gboolean climb_once(Climb *climb, PipelineAttackSearch *search, guint steps, GError **error)
{
  PipelineAttackAnswer answer;
  for (guint i = 0; i <= steps && climb->n > 0; i++) {
    if (!climb_ask(climb, i < steps, &answer, error)) return FALSE;
    climb_on(climb, search, &answer);
  }
  return TRUE;
}

gboolean pipeline_attack_run_fgsm(PipelineAttackSearch *search, GError **error)
{
  Climb climb;
  climb_init(&climb, search, search->ball->epsilon);
  climb_start(&climb, FALSE, FALSE);
  gboolean done = climb_once(&climb, search, 1, error);
  climb_clear(&climb);
  return done;
}

gboolean pipeline_attack_run_pgd(PipelineAttackSearch *search, GError **error)
{
  Climb climb;
  gboolean done = TRUE;
  climb_init(&climb, search, step_size(search));
  for (guint r = 0; done && r < search->options->restarts; r++) {
    climb_start(&climb, search->options->early_exit, r > 0 || search->options->random_start);
    done = climb_once(&climb, search, search->options->steps, error);
  }
  climb_clear(&climb);
  return done;
}

gboolean pipeline_attack_climb(const PipelineAttackOptions *options, const PipelineAttackTarget *target,
                               const PipelineAttackBall *ball, const PipelineAttackBounds *bounds,
                               PipelineRandom *random, float *points, GError **error)
{
  const PipelineAttackSearch search = {
      .options = options, .target = target, .ball = ball, .bounds = bounds, .random = random};
  Climb climb;
  PipelineAttackAnswer answer;
  gboolean done = TRUE;
  climb_init(&climb, &search, step_size(&search));
  climb_start(&climb, FALSE, options->random_start);
  for (guint step = 0; done && step < options->steps; step++) {
    done = climb_ask(&climb, TRUE, &answer, error);
    for (guint i = 0; done && i < climb.n; i++)
      climb_step(&climb, i, answer.gradient + (gsize)i * climb.n_features, place(&climb, climb.moves, i));
  }
  for (guint i = 0; done && i < climb.n; i++)
    pipeline_attack_settle(&search, i, place(&climb, climb.moves, i), place(&climb, points, i));
  climb_clear(&climb);
  return done;
}
