#include "pipeline/attack.h"

#include <math.h>
#include <string.h>

#include "pipeline/attack_internal.h"
#include "pipeline/graph_optimiser.h"

#define SHRINK 1e-6 /* of the radius, for the rounding to float32 */

/* --- the table ---------------------------------------------------------------------------------------------------- */

const PipelineAttackType pipeline_attack_types[] = {
    {"fgsm", "one step along the gradient's sign to the ball's surface", TRUE, TRUE, pipeline_attack_run_fgsm},
    {"pgd", "projected gradient steps from random starts", TRUE, TRUE, pipeline_attack_run_pgd},
    {"square", "random search on the model's probabilities; no gradients", FALSE, FALSE, pipeline_attack_run_square},
    {"hopskipjump", "walks along the decision boundary; asks for classes only", FALSE, TRUE,
     pipeline_attack_run_hopskipjump},
    {.name = NULL}};

const PipelineAttackType *pipeline_attack_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineAttackType *type = pipeline_attack_types; type->name != NULL; type++) {
    if (strcmp(type->name, name) == 0) return type;
    g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", type->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no attack '%s'; known are %s", name, known->str);
  return NULL;
}

void pipeline_attack_options_init(PipelineAttackOptions *options)
{
  *options = (PipelineAttackOptions){.type = pipeline_attack_find("pgd", NULL),
                                     .steps = 40,
                                     .restarts = 1,
                                     .random_start = TRUE,
                                     .early_exit = TRUE,
                                     .queries = 1000};
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

double pipeline_attack_scale(const PipelineAttackBall *ball, guint feature)
{
  return ball->scale != NULL ? ball->scale[feature] : 1;
}

gboolean pipeline_attack_has_integers(const PipelineAttackBall *ball)
{
  for (guint f = 0; ball->integer != NULL && f < ball->n_features; f++)
    if (ball->integer[f]) return TRUE;
  return FALSE;
}

/* The range of one feature of a row: the ball's, or as far as the row itself is outside of it. */
static void find_range(const PipelineAttackBall *ball, guint feature, double x, double *low, double *high)
{
  *low = ball->low != NULL && !isnan(ball->low[feature]) ? MIN(ball->low[feature], x) : -INFINITY;
  *high = ball->high != NULL && !isnan(ball->high[feature]) ? MAX(ball->high[feature], x) : INFINITY;
}

/* The neighbour above; the arguments are finite. */
static float next_up(float value)
{
  gint32 bits;
  if (value == 0) return 0x1p-149f;
  memcpy(&bits, &value, sizeof bits);
  bits += value > 0 ? 1 : -1;
  memcpy(&value, &bits, sizeof bits);
  return value;
}

static void bound(const PipelineAttackBall *ball, guint feature, double x, float *low, float *high)
{
  double reach = ball->epsilon * pipeline_attack_scale(ball, feature), least, most;
  *low = *high = (float)x;
  if (!isfinite(x) || !(reach > 0)) return;
  find_range(ball, feature, x, &least, &most);
  least = MAX(least, x - reach);
  most = MIN(most, x + reach);
  if (ball->integer != NULL && ball->integer[feature]) {
    if (x != floor(x)) return;
    least = ceil(least);
    most = floor(most);
  }
  float from = (float)least, to = (float)most;
  while ((double)from < least || x - (double)from > reach) from = next_up(from);
  while ((double)to > most || (double)to - x > reach) to = -next_up(-to);
  if (from > to) return; /* no float32 number is in reach */
  *low = from;
  *high = to;
}

PipelineAttackBounds *pipeline_attack_bounds_new(const PipelineAttackBall *ball, const double *rows, guint n)
{
  PipelineAttackBounds *bounds = g_new0(PipelineAttackBounds, 1);
  gsize total = (gsize)n * ball->n_features;
  bounds->n = n;
  bounds->n_features = ball->n_features;
  bounds->rows = g_memdup2(rows, total * sizeof(double));
  bounds->base = g_new(float, total + 1);
  bounds->low = g_new(float, total + 1);
  bounds->high = g_new(float, total + 1);
  for (gsize i = 0; i < total; i++) {
    bounds->base[i] = (float)rows[i];
    bound(ball, (guint)(i % ball->n_features), rows[i], &bounds->low[i], &bounds->high[i]);
  }
  return bounds;
}

PipelineAttackBounds *pipeline_attack_bounds_new_float(const PipelineAttackBall *ball, const float *rows, guint n)
{
  gsize total = (gsize)n * ball->n_features;
  g_autofree double *exact = g_new(double, total + 1);
  for (gsize i = 0; i < total; i++) exact[i] = (double)rows[i];
  return pipeline_attack_bounds_new(ball, exact, n);
}

void pipeline_attack_bounds_free(PipelineAttackBounds *bounds)
{
  if (bounds == NULL) return;
  g_free(bounds->rows);
  g_free(bounds->base);
  g_free(bounds->low);
  g_free(bounds->high);
  g_free(bounds);
}

/* --- distances ---------------------------------------------------------------------------------------------------- */

static gboolean has_moved(double x, float point)
{
  return !((float)x == point || (isnan(x) && isnan(point)));
}

double pipeline_attack_distance(const PipelineAttackBall *ball, const double *row, const float *point)
{
  double largest = 0, squares = 0;
  for (guint f = 0; f < ball->n_features; f++) {
    double scale = pipeline_attack_scale(ball, f);
    if (!has_moved(row[f], point[f])) continue;
    if (!(scale > 0) || !isfinite(point[f]) || !isfinite(row[f])) return INFINITY;
    double moved = fabs((double)point[f] - row[f]);
    largest = MAX(largest, moved / scale);
    squares += moved / scale * (moved / scale);
  }
  return ball->norm == PIPELINE_NORM_2 ? sqrt(squares) : largest;
}

/* The radius is asked for feature by feature: |x' - x| <= epsilon scale, which a division could round away. */
gboolean pipeline_attack_holds(const PipelineAttackBall *ball, const double *row, const float *point)
{
  for (guint f = 0; f < ball->n_features; f++) {
    double low, high, reach = ball->epsilon * pipeline_attack_scale(ball, f);
    if (!has_moved(row[f], point[f])) continue;
    find_range(ball, f, row[f], &low, &high);
    if (!(fabs((double)point[f] - row[f]) <= reach) || !((double)point[f] >= low) || !((double)point[f] <= high))
      return FALSE;
    if (ball->integer != NULL && ball->integer[f] && point[f] != floorf(point[f])) return FALSE;
  }
  return ball->norm == PIPELINE_NORM_INFINITY || pipeline_attack_distance(ball, row, point) <= ball->epsilon;
}

/* --- moving within them ------------------------------------------------------------------------------------------- */

static float into(float value, float low, float high)
{
  return value < low ? low : value > high ? high : value;
}

void pipeline_attack_start(const PipelineAttackSearch *search, guint row, float *point)
{
  const PipelineAttackBounds *bounds = search->bounds;
  gsize at = (gsize)row * bounds->n_features;
  const float *base = bounds->base + at, *low = bounds->low + at, *high = bounds->high + at;
  gboolean euclidean = search->ball->norm == PIPELINE_NORM_2;
  double squares = 0, n_free = 0;
  for (guint f = 0; f < bounds->n_features; f++) {
    point[f] = base[f];
    if (!(low[f] < high[f])) continue;
    if (!euclidean) {
      float share = (float)pipeline_random_uniform(search->random);
      point[f] = into(low[f] + share * (high[f] - low[f]), low[f], high[f]);
      continue;
    }
    double normal = pipeline_random_normal(search->random);
    squares += normal * normal;
    n_free++;
    point[f] = (float)normal; /* a direction, for now */
  }
  if (!euclidean || n_free == 0) return;
  double radius = search->ball->epsilon * pow(pipeline_random_uniform(search->random), 1 / n_free) / sqrt(squares);
  for (guint f = 0; f < bounds->n_features; f++)
    if (low[f] < high[f])
      point[f] = (float)((double)base[f] + radius * (double)point[f] * pipeline_attack_scale(search->ball, f));
  pipeline_attack_project(search, row, point);
}

static double euclidean(const PipelineAttackBall *ball, const float *base, const float *point)
{
  double squares = 0;
  for (guint f = 0; f < ball->n_features; f++) {
    double scale = pipeline_attack_scale(ball, f);
    double moved = scale > 0 && point[f] != base[f] ? ((double)point[f] - (double)base[f]) / scale : 0;
    if (isfinite(moved)) squares += moved * moved;
  }
  return sqrt(squares);
}

static void shrink(const PipelineAttackSearch *search, guint row, double factor, float *point)
{
  gsize at = (gsize)row * search->bounds->n_features;
  const float *base = search->bounds->base + at;
  for (guint f = 0; f < search->bounds->n_features; f++)
    if (point[f] != base[f] && isfinite(point[f]))
      point[f] = (float)((double)base[f] + factor * ((double)point[f] - (double)base[f]));
}

void pipeline_attack_project(const PipelineAttackSearch *search, guint row, float *point)
{
  const PipelineAttackBounds *bounds = search->bounds;
  gsize at = (gsize)row * bounds->n_features;
  if (search->ball->norm == PIPELINE_NORM_2) {
    double length = euclidean(search->ball, bounds->base + at, point), radius = search->ball->epsilon * (1 - SHRINK);
    if (length > radius) shrink(search, row, radius / length, point);
  }
  for (guint f = 0; f < bounds->n_features; f++) point[f] = into(point[f], bounds->low[at + f], bounds->high[at + f]);
}

/* Whole numbers between the row and the point in the Euclidean norm (nearer, so still inside), else the nearest. */
static void round_integers(const PipelineAttackSearch *search, guint row, float *point)
{
  const PipelineAttackBounds *bounds = search->bounds;
  gsize at = (gsize)row * bounds->n_features;
  for (guint f = 0; f < bounds->n_features; f++) {
    if (search->ball->integer == NULL || !search->ball->integer[f] || !isfinite(point[f])) continue;
    float base = bounds->base[at + f], moved = point[f] - base;
    moved = search->ball->norm == PIPELINE_NORM_2 ? truncf(moved) : roundf(moved);
    point[f] = moved == 0 ? base : into(base + moved, bounds->low[at + f], bounds->high[at + f]);
  }
}

void pipeline_attack_settle(const PipelineAttackSearch *search, guint row, const float *point, float *settled)
{
  const PipelineAttackBounds *bounds = search->bounds;
  gsize at = (gsize)row * bounds->n_features;
  if (settled != point) memcpy(settled, point, bounds->n_features * sizeof(float));
  round_integers(search, row, settled);
  if (search->ball->norm != PIPELINE_NORM_2) return;
  double step = SHRINK;
  for (guint i = 0; i < 40 && !pipeline_attack_holds(search->ball, bounds->rows + at, settled); i++, step *= 2) {
    shrink(search, row, MAX(0, 1 - step), settled);
    for (guint f = 0; f < bounds->n_features; f++)
      settled[f] = into(settled[f], bounds->low[at + f], bounds->high[at + f]);
    round_integers(search, row, settled);
  }
  if (!pipeline_attack_holds(search->ball, bounds->rows + at, settled))
    memcpy(settled, bounds->base + at, bounds->n_features * sizeof(float));
}

gboolean pipeline_attack_note(PipelineAttackSearch *search, guint row, const float *point, double loss, gboolean fooled)
{
  gboolean better = fooled != search->fooled[row] ? fooled : loss > search->highest[row];
  if (!better) return search->fooled[row];
  search->highest[row] = loss;
  search->fooled[row] = fooled;
  memcpy(search->best + (gsize)row * search->bounds->n_features, point, search->bounds->n_features * sizeof(float));
  return fooled;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static gboolean check_attack(const PipelineAttackOptions *options, const PipelineAttackTarget *target,
                             const PipelineAttackBall *ball, GError **error)
{
  const PipelineAttackType *type = options->type;
  const gchar *why = NULL;
  PipelineError code = PIPELINE_ERROR_INVALID;
  if (!(ball->epsilon > 0 && isfinite(ball->epsilon)))
    why = "needs a finite epsilon above 0";
  else if (options->steps == 0 || options->restarts == 0 || options->queries == 0)
    why = "needs at least one step, restart and query";
  else if (!(options->step_size >= 0 && isfinite(options->step_size)))
    why = "needs a finite step size that is not negative";
  else if (type->needs_gradient && !target->has_gradient)
    why = "needs gradients, which this model has not; square and hopskipjump do without",
    code = PIPELINE_ERROR_UNSUPPORTED;
  else if (ball->norm == PIPELINE_NORM_2 && !type->norm_2)
    why = "works in the maximum norm only", code = PIPELINE_ERROR_UNSUPPORTED;
  if (why != NULL) g_set_error(error, PIPELINE_ERROR, code, "the attack %s %s", type->name, why);
  return why == NULL;
}

gboolean pipeline_attack_run(const PipelineAttackOptions *options, const PipelineAttackTarget *target,
                             const PipelineAttackBall *ball, const PipelineAttackBounds *bounds, PipelineRandom *random,
                             float *points, gboolean *fooled, guint64 *queries, GError **error)
{
  if (!check_attack(options, target, ball, error)) return FALSE;
  g_autofree double *highest = g_new(double, bounds->n + 1);
  g_autofree gboolean *wrong = g_new0(gboolean, bounds->n + 1);
  g_autofree guint64 *asked = g_new0(guint64, bounds->n + 1);
  PipelineAttackSearch search = {.options = options,
                                 .target = target,
                                 .ball = ball,
                                 .bounds = bounds,
                                 .random = random,
                                 .best = points,
                                 .highest = highest,
                                 .fooled = wrong,
                                 .queries = asked};
  memcpy(points, bounds->base, (gsize)bounds->n * bounds->n_features * sizeof(float));
  for (guint i = 0; i < bounds->n; i++) highest[i] = -INFINITY;
  if (!options->type->run(&search, error)) return FALSE;
  if (fooled != NULL) memcpy(fooled, wrong, bounds->n * sizeof(gboolean));
  if (queries != NULL) memcpy(queries, asked, bounds->n * sizeof(guint64));
  return TRUE;
}
