#include "drift/isotonic.h"

#include <math.h>

#include "drift/order.h"
#include "drift/schema.h"

/* A run of neighbouring scores with one fitted value. */
typedef struct {
  double first, last; /* scores */
  double sum, weight;
} Pool;

static double value_of(const Pool *pool)
{
  return pool->sum / pool->weight;
}

/* Adds a score and pools backwards while the value before is not below. */
static gsize push(Pool *pools, gsize n_pools, Pool pool)
{
  while (n_pools > 0 && value_of(&pools[n_pools - 1]) >= value_of(&pool)) {
    const Pool *before = &pools[--n_pools];
    pool = (Pool){before->first, pool.last, before->sum + pool.sum, before->weight + pool.weight};
  }
  pools[n_pools] = pool;
  return n_pools + 1;
}

static gsize pool_violators(const double *scores, const double *outcomes, const guint32 *order, gsize n, Pool *pools)
{
  gsize n_pools = 0;
  for (gsize i = 0; i < n;) {
    Pool pool = {scores[order[i]], scores[order[i]], 0, 0};
    for (; i < n && scores[order[i]] == pool.first; i++) {
      pool.sum += outcomes[order[i]];
      pool.weight++;
    }
    n_pools = push(pools, n_pools, pool);
  }
  return n_pools;
}

static DriftIsotonic *knots_of(const Pool *pools, gsize n_pools)
{
  DriftIsotonic *isotonic = g_new0(DriftIsotonic, 1);
  isotonic->x = g_new(double, 2 * n_pools);
  isotonic->y = g_new(double, 2 * n_pools);
  for (gsize i = 0; i < n_pools; i++)
    for (guint end = 0; end < (pools[i].last > pools[i].first ? 2u : 1u); end++) {
      isotonic->x[isotonic->n_knots] = end == 0 ? pools[i].first : pools[i].last;
      isotonic->y[isotonic->n_knots++] = value_of(&pools[i]);
    }
  return isotonic;
}

/* Pools of zeros and ones: rows [first, last] of those taken. */
typedef struct {
  guint32 first, last, sum, weight;
} CountPool;

/* Products of whole numbers say what the quotients of `push` say: two quotients of weights below 2^26 differ by more
 * than their rounding. */
static gsize push_counts(CountPool *pools, gsize n_pools, CountPool pool)
{
  while (n_pools > 0 &&
         (guint64)pools[n_pools - 1].sum * pool.weight >= (guint64)pool.sum * pools[n_pools - 1].weight) {
    const CountPool *before = &pools[--n_pools];
    pool = (CountPool){before->first, pool.last, before->sum + pool.sum, before->weight + pool.weight};
  }
  pools[n_pools] = pool;
  return n_pools + 1;
}

/* Where a stretch of ones and then zeros begins (rows may begin with zeros), and the ones before it. */
typedef struct {
  guint32 at, ones;
} Rise;

/* The stretches from one rise of the outcome to the next, and behind them their end: [n + 1]. Found without a branch
 * that hangs on the outcomes. Returns how many; 0 when there are equal scores. */
static gsize find_rises(const double *scores, const guint8 *outcomes, const guint32 *rows, gsize n, Rise *rises)
{
  gsize n_rises = 1;
  guint32 before = outcomes[rows[0]], ones = before, ties = 0;
  rises[0] = (Rise){0, 0};
  for (gsize i = 1; i < n; i++) {
    guint32 outcome = outcomes[rows[i]];
    rises[n_rises] = (Rise){(guint32)i, ones};
    n_rises += outcome & (before ^ 1);
    ones += outcome;
    before = outcome;
    ties |= scores[rows[i]] == scores[rows[i - 1]];
  }
  rises[n_rises] = (Rise){(guint32)n, ones};
  return ties != 0 ? 0 : n_rises;
}

/* Every stretch ends up in one pool, so that it is pushed as one: a quarter of the rows or fewer. */
static gsize pool_stretches(const guint32 *rows, const Rise *rises, gsize n_rises, CountPool *pools)
{
  gsize n_pools = 0;
  for (gsize r = 0; r < n_rises; r++) {
    const Rise *rise = &rises[r];
    CountPool pool = {rows[rise[0].at], rows[rise[1].at - 1], rise[1].ones - rise[0].ones, rise[1].at - rise[0].at};
    n_pools = push_counts(pools, n_pools, pool);
  }
  return n_pools;
}

/* Rows of equal score are one pool from the start. */
static gsize pool_groups(const double *scores, const guint8 *outcomes, const guint32 *rows, gsize n, CountPool *pools)
{
  gsize n_pools = 0;
  for (gsize i = 0; i < n;) {
    double score = scores[rows[i]];
    CountPool pool = {rows[i], rows[i], 0, 0};
    for (; i < n && scores[rows[i]] == score; i++, pool.weight++) pool.sum += outcomes[rows[i]];
    n_pools = push_counts(pools, n_pools, pool);
  }
  return n_pools;
}

DriftIsotonic *drift_isotonic_fit_sorted(const double *scores, const guint8 *outcomes, const guint32 *rows, gsize n)
{
  if (n == 0) return NULL;
  g_autofree CountPool *counts = g_new(CountPool, n);
  g_autofree Rise *rises = g_new(Rise, n + 1);
  gsize n_rises = find_rises(scores, outcomes, rows, n, rises);
  gsize n_pools =
      n_rises > 0 ? pool_stretches(rows, rises, n_rises, counts) : pool_groups(scores, outcomes, rows, n, counts);
  g_autofree Pool *pools = g_new(Pool, n_pools);
  for (gsize i = 0; i < n_pools; i++)
    pools[i] = (Pool){scores[counts[i].first], scores[counts[i].last], counts[i].sum, counts[i].weight};
  return knots_of(pools, n_pools);
}

DriftIsotonic *drift_isotonic_fit(const double *scores, const double *outcomes, gsize n, GError **error)
{
  g_autofree double *x = g_try_new(double, n + 1), *y = g_try_new(double, n + 1);
  g_autofree guint32 *order = g_try_new(guint32, n + 1);
  g_autofree Pool *pools = g_try_new(Pool, n + 1);
  gsize kept = 0;
  for (gsize i = 0; x != NULL && y != NULL && i < n; i++) {
    if (isnan(scores[i]) || isnan(outcomes[i])) continue;
    x[kept] = scores[i];
    y[kept++] = outcomes[i];
  }
  if (x == NULL || y == NULL || order == NULL || pools == NULL || !drift_order(x, kept, order)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory to calibrate on %zu rows", n);
    return NULL;
  }
  if (kept == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "no row has both a score and an outcome to calibrate on");
    return NULL;
  }
  return knots_of(pools, pool_violators(x, y, order, kept, pools));
}

/* knot: the last whose x is not above the score, which lies within the knots. */
static double between(const DriftIsotonic *isotonic, gsize knot, double score)
{
  const double *x = isotonic->x + knot, *y = isotonic->y + knot;
  return y[0] == y[1] ? y[0] : y[0] + (y[1] - y[0]) * ((score - x[0]) / (x[1] - x[0]));
}

static double apply(const DriftIsotonic *isotonic, double score)
{
  gsize knot = 0, last = isotonic->n_knots - 1;
  const double *x = isotonic->x, *y = isotonic->y;
  if (isnan(score)) return NAN;
  if (score <= x[0]) return y[0];
  if (score >= x[last]) return y[last];
  for (gsize left = last; left > 1; left -= left / 2) /* no branch hangs on the score */
    knot += x[knot + left / 2] <= score ? left / 2 : 0;
  return between(isotonic, knot, score);
}

void drift_isotonic_apply(const DriftIsotonic *isotonic, const double *scores, gsize n, double *calibrated)
{
  for (gsize i = 0; i < n; i++) calibrated[i] = apply(isotonic, scores[i]);
}

void drift_isotonic_apply_sorted(const DriftIsotonic *isotonic, const double *scores, gsize n, double *calibrated)
{
  gsize knot = 0, last = isotonic->n_knots - 1;
  const double *x = isotonic->x, *y = isotonic->y;
  for (gsize i = 0; i < n; i++) {
    double score = scores[i];
    while (knot < last && x[knot + 1] <= score) knot++;
    calibrated[i] = score <= x[0] ? y[0] : knot == last ? y[last] : between(isotonic, knot, score);
  }
}

void drift_isotonic_free(DriftIsotonic *isotonic)
{
  if (isotonic == NULL) return;
  g_free(isotonic->x);
  g_free(isotonic->y);
  g_free(isotonic);
}
