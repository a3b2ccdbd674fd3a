/* HopSkipJump: from some wrong point to the boundary by bisection, the boundary's normal from random votes, a jump
 * along it, and again. It asks for classes only. A row ends when a wrong point lies in its ball. */
#include <math.h>
#include <string.h>

#include "pipeline/attack_internal.h"
#include "pipeline/graph_optimiser.h"

#define GAMMA 0.01      /* of the paper: relative width of bisections */
#define FIRST_VOTES 100 /* in the first round; times the root of the round after it */
#define MOST_VOTES 1000
#define FIRST_TRIES 100 /* random points to start from */
#define WIDEST 64       /* scales that a start is away from the row, where the range is open */

/* The walk of one row, in units of scale: z = (x - row) / scale over the features that may move. */
typedef struct {
  PipelineAttackSearch *search;
  guint row, n_free;
  guint *free;    /* features */
  double *z;      /* [n_free]: the present wrong point */
  double *other;  /* [n_free]: candidates */
  double *normal; /* [n_free] */
  double *votes;  /* [MOST_VOTES, n_free] */
  float *points;  /* [MOST_VOTES, n_features] */
  guint *rows;    /* [MOST_VOTES]: all `row` */
  double *losses;
  gboolean *fooled; /* [MOST_VOTES] */
} Walk;

static void walk_clear(Walk *walk)
{
  gpointer arrays[] = {walk->free,   walk->z,    walk->other,  walk->normal, walk->votes,
                       walk->points, walk->rows, walk->losses, walk->fooled};
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) g_free(arrays[i]);
}

static void walk_init(Walk *walk, PipelineAttackSearch *search)
{
  gsize n = search->bounds->n_features;
  *walk = (Walk){.search = search,
                 .free = g_new(guint, n + 1),
                 .z = g_new0(double, n + 1),
                 .other = g_new0(double, n + 1),
                 .normal = g_new0(double, n + 1),
                 .votes = g_new(double, MOST_VOTES *n + 1),
                 .points = g_new(float, MOST_VOTES *n + 1),
                 .rows = g_new(guint, MOST_VOTES),
                 .losses = g_new(double, MOST_VOTES),
                 .fooled = g_new0(gboolean, MOST_VOTES)};
}

/* A point of the model from z: in range and of whole numbers, but not bound to the ball. */
static void make_point(const Walk *walk, const double *z, float *point)
{
  const PipelineAttackBall *ball = walk->search->ball;
  gsize at = (gsize)walk->row * ball->n_features;
  const double *row = walk->search->bounds->rows + at;
  memcpy(point, walk->search->bounds->base + at, ball->n_features * sizeof(float));
  for (guint i = 0; i < walk->n_free; i++) {
    guint f = walk->free[i];
    double x = row[f] + z[i] * pipeline_attack_scale(ball, f);
    if (ball->integer != NULL && ball->integer[f]) x = row[f] + trunc(x - row[f]);
    if (ball->low != NULL && !isnan(ball->low[f])) x = MAX(x, MIN(ball->low[f], row[f]));
    if (ball->high != NULL && !isnan(ball->high[f])) x = MIN(x, MAX(ball->high[f], row[f]));
    point[f] = (float)x;
  }
}

static guint64 queries_left(const Walk *walk)
{
  guint64 asked = walk->search->queries[walk->row], most = walk->search->options->queries;
  return asked < most ? most - asked : 0;
}

/* fooled [n] of points [n, n_features]. A wrong one in the ball ends the row. */
static gboolean ask(Walk *walk, guint n, GError **error)
{
  PipelineAttackSearch *search = walk->search;
  PipelineAttackAnswer answer = {.losses = walk->losses, .fooled = walk->fooled};
  for (guint i = 0; i < n; i++) walk->rows[i] = walk->row;
  if (!search->target->answer(search->target->self, walk->points, walk->rows, n, &answer, error)) return FALSE;
  search->queries[walk->row] += n;
  const double *row = search->bounds->rows + (gsize)walk->row * search->bounds->n_features;
  for (guint i = 0; i < n; i++) {
    const float *point = walk->points + (gsize)i * search->bounds->n_features;
    if (walk->fooled[i] && pipeline_attack_holds(search->ball, row, point))
      pipeline_attack_note(search, walk->row, point, walk->losses[i], TRUE);
  }
  return TRUE;
}

static gboolean is_over(const Walk *walk)
{
  return walk->search->fooled[walk->row] || queries_left(walk) == 0;
}

static gboolean is_wrong(Walk *walk, const double *z, gboolean *wrong, GError **error)
{
  make_point(walk, z, walk->points);
  if (!ask(walk, 1, error)) return FALSE;
  *wrong = walk->fooled[0];
  return TRUE;
}

static double length(const Walk *walk, const double *z)
{
  double squares = 0, largest = 0;
  for (guint i = 0; i < walk->n_free; i++) {
    squares += z[i] * z[i];
    largest = MAX(largest, fabs(z[i]));
  }
  return walk->search->ball->norm == PIPELINE_NORM_2 ? sqrt(squares) : largest;
}

/* z drawn to the row: scaled (Euclidean), or cut to a box of half width `radius`. */
static void draw_in(const Walk *walk, const double *z, double radius, double *drawn)
{
  double from = length(walk, z);
  for (guint i = 0; i < walk->n_free; i++)
    drawn[i] = walk->search->ball->norm == PIPELINE_NORM_2 ? (from > 0 ? z[i] * MIN(1, radius / from) : 0)
                                                           : CLAMP(z[i], -radius, radius);
}

/* --- the three parts of a round ----------------------------------------------------------------------------------- */

/* A wrong point anywhere: random ones, farther and farther away. */
static gboolean find_start(Walk *walk, gboolean *found, GError **error)
{
  *found = FALSE;
  for (guint i = 0; i < FIRST_TRIES && !*found && !is_over(walk); i++) {
    double spread = WIDEST * pow(2, -6.0 * (1 - (double)i / FIRST_TRIES));
    spread = MAX(spread, walk->search->ball->epsilon);
    for (guint k = 0; k < walk->n_free; k++)
      walk->z[k] = spread * (2 * pipeline_random_uniform(walk->search->random) - 1);
    if (!is_wrong(walk, walk->z, found, error)) return FALSE;
  }
  return TRUE;
}

/* The wrong end of the boundary between the row and z. The ball itself is tried first. */
static gboolean bisect(Walk *walk, GError **error)
{
  gboolean euclidean = walk->search->ball->norm == PIPELINE_NORM_2;
  double n = walk->n_free, width = GAMMA / (euclidean ? n * sqrt(n) : n * n);
  double right = 0, wrong_at = length(walk, walk->z), tolerance = MAX(width, 1e-6) * wrong_at;
  double middle = MIN(walk->search->ball->epsilon * (1 - 1e-6), wrong_at);
  while (wrong_at - right > tolerance && !is_over(walk)) {
    gboolean wrong;
    draw_in(walk, walk->z, middle, walk->other);
    if (!is_wrong(walk, walk->other, &wrong, error)) return FALSE;
    if (wrong)
      wrong_at = middle;
    else
      right = middle;
    middle = (right + wrong_at) / 2;
  }
  draw_in(walk, walk->z, wrong_at, walk->z);
  return TRUE;
}

/* normal: the direction into the wrong side, from votes of random neighbours. */
static gboolean vote(Walk *walk, guint round, double *step, GError **error)
{
  gboolean euclidean = walk->search->ball->norm == PIPELINE_NORM_2;
  guint n_votes = (guint)MIN(MIN(FIRST_VOTES * sqrt(round), MOST_VOTES), (double)queries_left(walk));
  double distance = length(walk, walk->z), n = walk->n_free, mean = 0, squares = 0;
  double radius = distance * (euclidean ? sqrt(n) * GAMMA / (n * sqrt(n)) : n * GAMMA / (n * n));
  *step = 0;
  if (n_votes == 0) return TRUE;
  for (guint v = 0; v < n_votes; v++) {
    double *direction = walk->votes + (gsize)v * walk->n_free, norm = 0;
    for (guint i = 0; i < walk->n_free; i++) {
      direction[i] = euclidean ? pipeline_random_normal(walk->search->random)
                               : 2 * pipeline_random_uniform(walk->search->random) - 1;
      norm += direction[i] * direction[i];
    }
    for (guint i = 0; i < walk->n_free; i++) {
      direction[i] /= MAX(sqrt(norm), 1e-12);
      walk->other[i] = walk->z[i] + MAX(radius, 1e-5 * distance) * direction[i];
    }
    make_point(walk, walk->other, walk->points + (gsize)v * walk->search->bounds->n_features);
  }
  if (!ask(walk, n_votes, error)) return FALSE;
  for (guint v = 0; v < n_votes; v++) mean += (walk->fooled[v] ? 1.0 : -1.0) / n_votes;
  memset(walk->normal, 0, walk->n_free * sizeof(double));
  for (guint v = 0; v < n_votes; v++)
    for (guint i = 0; i < walk->n_free; i++) {
      double weight = fabs(mean) < 1 ? (walk->fooled[v] ? 1.0 : -1.0) - mean : mean;
      walk->normal[i] += weight * walk->votes[(gsize)v * walk->n_free + i];
    }
  for (guint i = 0; i < walk->n_free; i++) {
    if (!euclidean) walk->normal[i] = (walk->normal[i] > 0) - (walk->normal[i] < 0);
    squares += walk->normal[i] * walk->normal[i];
  }
  for (guint i = 0; euclidean && squares > 0 && i < walk->n_free; i++) walk->normal[i] /= sqrt(squares);
  *step = squares > 0 ? distance / sqrt(round) : 0;
  return TRUE;
}

/* As far along the normal as the point stays wrong. */
static gboolean jump(Walk *walk, double step, GError **error)
{
  for (gboolean wrong = FALSE; !wrong && step > 1e-6 && !is_over(walk); step /= 2) {
    for (guint i = 0; i < walk->n_free; i++) walk->other[i] = walk->z[i] + step * walk->normal[i];
    if (!is_wrong(walk, walk->other, &wrong, error)) return FALSE;
    if (wrong) memcpy(walk->z, walk->other, walk->n_free * sizeof(double));
  }
  return TRUE;
}

static gboolean walk_row(Walk *walk, guint row, GError **error)
{
  const PipelineAttackBounds *bounds = walk->search->bounds;
  gsize at = (gsize)row * bounds->n_features;
  gboolean found;
  walk->row = row;
  walk->n_free = 0;
  for (guint f = 0; f < bounds->n_features; f++)
    if (bounds->low[at + f] < bounds->high[at + f]) walk->free[walk->n_free++] = f;
  if (walk->n_free == 0) return TRUE;
  if (!find_start(walk, &found, error)) return FALSE;
  for (guint round = 1; found && !is_over(walk); round++) {
    double step;
    if (!bisect(walk, error)) return FALSE;
    if (is_over(walk)) break;
    if (!vote(walk, round, &step, error) || !jump(walk, step, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_attack_run_hopskipjump(PipelineAttackSearch *search, GError **error)
{
  Walk walk;
  gboolean done = TRUE;
  walk_init(&walk, search);
  for (guint row = 0; done && row < search->bounds->n; row++) done = walk_row(&walk, row, error);
  walk_clear(&walk);
  return done;
}
