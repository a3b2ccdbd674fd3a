/* Square attack: random signs at the ball's surface on random sets of features, kept when the loss rises. */
#include <math.h>
#include <string.h>

#include "pipeline/attack_internal.h"

#define FIRST_SHARE 0.8 /* of the features in the first change; on tables more than the .05 of images */

/* Halved as in the paper, whose budget is 10,000 answers. */
static double share_at(guint query, guint queries)
{
  static const guint falls[] = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000};
  double at = 10000.0 * query / queries, share = FIRST_SHARE;
  for (guint i = 0; i < G_N_ELEMENTS(falls); i++)
    if (at > falls[i]) share /= 2;
  return share;
}

static void to_surface(const PipelineAttackSearch *search, guint row, guint feature, float *point)
{
  gsize at = (gsize)row * search->bounds->n_features + feature;
  point[feature] = pipeline_random_below(search->random, 2) == 0 ? search->bounds->low[at] : search->bounds->high[at];
}

/* free [n_free]: features of the row that may move; reordered. */
static void propose(const PipelineAttackSearch *search, guint row, guint query, guint64 *free, guint n_free,
                    float *point)
{
  guint n =
      query == 0 ? n_free : (guint)CLAMP(round(share_at(query, search->options->queries) * n_free), 1, MAX(1, n_free));
  for (guint i = 0; i < n && n_free > 0; i++) {
    guint other = i + (guint)pipeline_random_below(search->random, n_free - i);
    guint64 swapped = free[i];
    free[i] = free[other];
    free[other] = swapped;
    to_surface(search, row, (guint)free[i], point);
  }
}

typedef struct {
  guint n, n_free;
  guint *rows;
  float *points;
  guint64 *free;
  double *losses;
  gboolean *fooled;
} Round;

static void round_clear(Round *round)
{
  g_free(round->rows);
  g_free(round->points);
  g_free(round->free);
  g_free(round->losses);
  g_free(round->fooled);
}

/* One proposal for every row that is still right. */
static void fill_round(PipelineAttackSearch *search, guint query, Round *round)
{
  const PipelineAttackBounds *bounds = search->bounds;
  round->n = 0;
  for (guint row = 0; row < bounds->n; row++) {
    gsize at = (gsize)row * bounds->n_features;
    if (search->fooled[row]) continue;
    float *point = round->points + (gsize)round->n * bounds->n_features;
    memcpy(point, search->best + at, bounds->n_features * sizeof(float));
    round->n_free = 0;
    for (guint f = 0; f < bounds->n_features; f++)
      if (bounds->low[at + f] < bounds->high[at + f]) round->free[round->n_free++] = f;
    propose(search, row, query, round->free, round->n_free, point);
    round->rows[round->n++] = row;
  }
}

gboolean pipeline_attack_run_square(PipelineAttackSearch *search, GError **error)
{
  const PipelineAttackBounds *bounds = search->bounds;
  gboolean done = TRUE;
  Round round = {.rows = g_new(guint, bounds->n + 1),
                 .points = g_new(float, (gsize)bounds->n * bounds->n_features + 1),
                 .free = g_new(guint64, bounds->n_features + 1),
                 .losses = g_new(double, bounds->n + 1),
                 .fooled = g_new0(gboolean, bounds->n + 1)};
  for (guint query = 0; done && query < search->options->queries; query++) {
    PipelineAttackAnswer answer = {.losses = round.losses, .fooled = round.fooled};
    fill_round(search, query, &round);
    if (round.n == 0) break;
    done = search->target->answer(search->target->self, round.points, round.rows, round.n, &answer, error);
    for (guint i = 0; done && i < round.n; i++) {
      search->queries[round.rows[i]]++;
      pipeline_attack_note(search, round.rows[i], round.points + (gsize)i * bounds->n_features, round.losses[i],
                           round.fooled[i]);
    }
  }
  round_clear(&round);
  return done;
}
