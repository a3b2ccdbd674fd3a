/* Wasserstein and energy distance of raw samples, and their permutation test. */
#include "drift/two_sample_internal.h"

/* The pooled values as steps: where each distinct one is reached, and the gap to the next. */
double drift_wasserstein(const DriftSample *reference, const DriftSample *current)
{
  if (reference->n == 0 || current->n == 0 || reference->n_infinite + current->n_infinite > 0) return NAN;
  DriftPooled pooled = {.reference = reference, .current = current};
  double n = (double)reference->n, m = (double)current->n, sum = 0, before = 0, level = 0;
  while (drift_pooled_next(&pooled)) {
    sum += fabs(level) * (pooled.value - before);
    before = pooled.value;
    level = (double)(pooled.i + pooled.n_here) / n - (double)(pooled.j + pooled.m_here) / m;
  }
  return sum;
}

double drift_wasserstein_scale(const DriftSample *reference)
{
  DriftMoments moments = drift_sample_moments(reference);
  return isnan(moments.squares) ? NAN : fmax(.001, sqrt(moments.squares / (double)reference->n));
}

double drift_energy_squared(const DriftSample *reference, const DriftSample *current)
{
  if (reference->n == 0 || current->n == 0 || reference->n_infinite + current->n_infinite > 0) return NAN;
  DriftPooled pooled = {.reference = reference, .current = current};
  double n = (double)reference->n, m = (double)current->n, sum = 0, before = 0, level = 0;
  while (drift_pooled_next(&pooled)) {
    sum += level * level * (pooled.value - before);
    before = pooled.value;
    level = (double)(pooled.i + pooled.n_here) / n - (double)(pooled.j + pooled.m_here) / m;
  }
  return 2 * sum;
}

/* Steps of all draws together, so that a test takes about a second at most. */
#define MAX_STEPS 2e8
#define FEWEST_DRAWS 99

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
  double n = (double)reference->n, m = (double)current->n;
  double observed = distance == DRIFT_DISTANCE_ENERGY ? drift_energy_squared(reference, current) / 2 * (n * m) * (n * m)
                                                      : drift_wasserstein(reference, current) * n * m;
  Relabelling labels = {.state = settings->seed};
  if (isnan(observed) || !relabelling_init(&labels, reference, current)) return NAN;
  guint extreme = 0, draws = 0, most = (guint)CLAMP(MAX_STEPS / (n + m), FEWEST_DRAWS, 1e9);
  for (guint limit = MIN(settings->permutations, most); draws < limit && extreme < DRIFT_ENOUGH_EXTREME; draws++)
    /* Equal splits give equal sums up to rounding: those are as extreme. */
    if (draw_distance(&labels, distance) >= observed * (1 - 1e-12)) extreme++;
  g_free(labels.gaps);
  return draws > 0 ? drift_permutation_p(extreme, draws) : NAN;
}
