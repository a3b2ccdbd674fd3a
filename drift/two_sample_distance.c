/* Wasserstein and energy distance of raw samples, and their permutation test. */
#include "drift/binned.h"
#include "drift/two_sample_internal.h"

/* F - G times n m between neighbours of the pooled values: one step a value without a branch that depends on the data.
 * Ties make steps of length 0. */
typedef struct {
  double area, squares; /* integrals of |F - G| and (F - G)^2, times n m and its square */
} Integrals;

static Integrals integrate(const DriftSample *reference, const DriftSample *current)
{
  const double *a = reference->sorted, *b = current->sorted;
  gsize n = reference->n, m = current->n, i = 0, j = 0;
  double before = a[0] < b[0] ? a[0] : b[0];
  gint64 level = 0, up = (gint64)m, down = (gint64)n;
  Integrals sums = {0, 0};
  while (i < n && j < m) {
    gint64 from_a = a[i] <= b[j];
    double x = from_a ? a[i] : b[j], length = x - before, height = (double)level;
    sums.area += fabs(height) * length;
    sums.squares += height * height * length;
    level += (up & -from_a) - (down & (from_a - 1));
    before = x;
    i += (gsize)from_a;
    j += (gsize)!from_a;
  }
  for (; i < n || j < m; before = i < n ? a[i++] : b[j++]) {
    double length = (i < n ? a[i] : b[j]) - before, height = (double)level;
    sums.area += fabs(height) * length;
    sums.squares += height * height * length;
    level += i < n ? up : -down;
  }
  return sums;
}

static gboolean is_defined(const DriftSample *reference, const DriftSample *current)
{
  return reference->n > 0 && current->n > 0 && reference->n_infinite + current->n_infinite == 0;
}

double drift_wasserstein(const DriftSample *reference, const DriftSample *current)
{
  if (!is_defined(reference, current)) return NAN;
  return integrate(reference, current).area / ((double)reference->n * (double)current->n);
}

double drift_wasserstein_scale(const DriftSample *reference)
{
  DriftSampleMoments moments = drift_sample_moments(reference);
  return isnan(moments.squares) ? NAN : fmax(.001, sqrt(moments.squares / (double)reference->n));
}

double drift_energy_squared(const DriftSample *reference, const DriftSample *current)
{
  if (!is_defined(reference, current)) return NAN;
  double scale = (double)reference->n * (double)current->n;
  return 2 * integrate(reference, current).squares / scale / scale;
}

/* Steps of all draws together, so that a test takes about a second at most. */
#define MAX_STEPS 2e8
#define FEWEST_DRAWS 99

static guint draws_for(const DriftSample *reference, const DriftSample *current,
                       const DriftPermutationSettings *settings)
{
  double most = CLAMP(MAX_STEPS / (double)(reference->n + current->n), FEWEST_DRAWS, 1e9);
  return MIN(settings->permutations, (guint)most);
}

typedef struct {
  double *gaps; /* [n_pooled] from each pooled value to the next; 0 between ties */
  gsize n, m;
  guint64 state;
} Relabelling;

static gboolean relabelling_init(Relabelling *labels, const DriftSample *reference, const DriftSample *current)
{
  gsize i = 0, j = 0, at = 0;
  labels->n = reference->n;
  labels->m = current->n;
  labels->gaps = g_try_new(double, labels->n + labels->m + 1);
  if (labels->gaps == NULL) return FALSE;
  while (i < labels->n || j < labels->m) {
    gboolean first = j >= labels->m || (i < labels->n && reference->sorted[i] <= current->sorted[j]);
    double value = first ? reference->sorted[i++] : current->sorted[j++];
    if (at > 0) labels->gaps[at - 1] = value - labels->gaps[at - 1];
    labels->gaps[at++] = value; /* until the next value is known */
  }
  labels->gaps[at - 1] = 0;
  return TRUE;
}

/* Which pooled values are the reference's is drawn on the way: with r of it left among k, the next is with r/k. The
 * distance with F - G in units of 1/(nm). */
static double draw_distance(Relabelling *labels, DriftDistance distance)
{
  guint64 left = labels->n + labels->m, reference_left = labels->n;
  double level = 0, sum = 0, up = (double)labels->m, down = (double)labels->n;
  for (const double *gap = labels->gaps; left > 1; left--, gap++) {
    gboolean is_reference = ((drift_random_next(&labels->state) >> 32) * left) >> 32 < reference_left;
    reference_left -= is_reference != 0;
    level += is_reference ? up : -down;
    sum += (distance == DRIFT_DISTANCE_ENERGY ? level * level : fabs(level)) * *gap;
  }
  return sum;
}

double drift_distance_permutation_p(const DriftSample *reference, const DriftSample *current, DriftDistance distance,
                                    const DriftPermutationSettings *settings)
{
  Relabelling labels = {.state = settings->seed};
  if (!is_defined(reference, current) || settings->permutations == 0 || !relabelling_init(&labels, reference, current))
    return NAN;
  Integrals sums = integrate(reference, current);
  double observed = distance == DRIFT_DISTANCE_ENERGY ? sums.squares : sums.area;
  guint extreme = 0, draws = 0;
  for (guint limit = draws_for(reference, current, settings); draws < limit && extreme < DRIFT_ENOUGH_EXTREME; draws++)
    /* Equal splits give equal sums up to rounding: those are as extreme. */
    if (draw_distance(&labels, distance) >= observed * (1 - 1e-12)) extreme++;
  g_free(labels.gaps);
  return draws > 0 ? drift_permutation_p(extreme, draws) : NAN;
}

/* --- numbers in cells --------------------------------------------------------------------------------------------- */

typedef struct {
  const double *pooled; /* [n + m] ascending */
  DriftSample reference, current;
  double *edges, *counts; /* counts: of the reference's cells, then of the current side's */
  guint n_cells;
} Redrawn;

/* Deals the pooled values to the two sides, each ascending. */
static void deal(Redrawn *redrawn, guint64 *state)
{
  gsize i = 0, j = 0;
  guint64 reference_left = redrawn->reference.n, left = redrawn->reference.n + redrawn->current.n;
  for (const double *value = redrawn->pooled; left > 0; left--, value++) {
    gboolean is_reference = ((drift_random_next(state) >> 32) * left) >> 32 < reference_left;
    reference_left -= is_reference != 0;
    if (is_reference)
      redrawn->reference.sorted[i++] = *value;
    else
      redrawn->current.sorted[j++] = *value;
  }
}

static double binned_statistic(const Redrawn *redrawn, DriftCountStatistic statistic)
{
  guint n_edges = drift_quantile_edges(&redrawn->reference, redrawn->n_cells, redrawn->edges);
  double *current = redrawn->counts + redrawn->n_cells;
  drift_bin_sample(&redrawn->reference, redrawn->edges, n_edges, redrawn->counts);
  drift_bin_sample(&redrawn->current, redrawn->edges, n_edges, current);
  return statistic(redrawn->counts, current, n_edges + 1);
}

static guint count_extreme(Redrawn *redrawn, DriftCountStatistic statistic, double observed, guint limit, guint64 state,
                           guint *draws)
{
  guint extreme = 0;
  for (*draws = 0; *draws < limit && extreme < DRIFT_ENOUGH_EXTREME; (*draws)++) {
    deal(redrawn, &state);
    double drawn = binned_statistic(redrawn, statistic);
    /* A draw without a statistic (one cell, of ties) counts as extreme: never in favour of drift. */
    if (isnan(drawn) || drawn >= observed * (1 - 1e-12)) extreme++;
  }
  return extreme;
}

double drift_binned_permutation_p(const DriftSample *reference, const DriftSample *current, guint n_cells,
                                  DriftCountStatistic statistic, const DriftPermutationSettings *settings)
{
  gsize n = reference->n, m = current->n;
  if (n == 0 || m == 0 || n_cells < 2 || settings->permutations == 0) return NAN;
  g_autofree double *values = g_try_new(double, 2 * (n + m));
  g_autofree double *cells = g_new(double, 3 * (gsize)n_cells);
  if (values == NULL) return NAN;
  double *pooled = values, *dealt = values + n + m;
  for (gsize i = 0, j = 0; i + j < n + m;) {
    gboolean first = j >= m || (i < n && reference->sorted[i] <= current->sorted[j]);
    pooled[i + j] = first ? reference->sorted[i] : current->sorted[j];
    i += first != 0;
    j += first == 0;
  }
  Redrawn redrawn = {.pooled = pooled, .edges = cells, .counts = cells + n_cells, .n_cells = n_cells};
  redrawn.reference = *reference;
  redrawn.current = *current;
  double observed = binned_statistic(&redrawn, statistic);
  redrawn.reference.sorted = dealt;
  redrawn.current.sorted = dealt + n;
  if (isnan(observed)) return NAN;
  guint draws, limit = draws_for(reference, current, settings);
  guint extreme = count_extreme(&redrawn, statistic, observed, limit, settings->seed, &draws);
  return drift_permutation_p(extreme, draws);
}
