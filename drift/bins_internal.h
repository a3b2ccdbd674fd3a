/* Bins of one numeric quantity: sorted edges and a hint table that makes the look-up a multiplication and a short scan.
 *
 * Bin b holds edges[b-1] < x <= edges[b]. edges[0] lies just below the smallest reference value and the last edge is
 * the largest, so bin 0 and bin n_edges are the two sides out of the reference's range (infinities fall there too).
 * Hints: cell(x) = (x - low) * scale, clamped, never falls as x rises. hint[c] = number of edges in cells below c, so
 * the bin of x lies in [hint[cell(x)], hint[cell(x) + 1]].
 */
#pragma once

#include <glib.h>
#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

G_BEGIN_DECLS

typedef struct {
  guint n_edges; /* 0: no finite reference value; everything is bin 0 */
  guint n_cells;
  double low, scale;
  double last_cell;    /* n_cells - 1 as a double */
  double centre, unit; /* fixed point: q = (x - centre) * unit, see drift_bins_quantise */
  double *edges;       /* [n_edges + DRIFT_BINS_SCAN] */
  guint16 *hints;      /* [n_cells + 1] */
} DriftBins;

/* Copies `edges` (strictly ascending, no NaN). */
DriftBins *drift_bins_new(const double *edges, guint n_edges);
void drift_bins_free(DriftBins *bins);
/* Quantile bins of `sorted` (ascending, finite), at most max_bins of them. A value that alone holds a bin's share or
 * more gets a bin of its own, so that nothing is lost on discrete data. */
DriftBins *drift_bins_new_quantiles(const double *sorted, guint64 n, guint max_bins);

static inline guint drift_bins_n(const DriftBins *bins)
{
  return bins->n_edges + 1;
}

#define DRIFT_BINS_SCAN 4 /* edges looked at without a branch; so many +infinities follow the last edge */

/* Two doubles at once. */
typedef double DriftPair __attribute__((vector_size(16)));

static inline DriftPair drift_pair_load(const double *values)
{
  DriftPair pair;
  memcpy(&pair, values, sizeof pair);
  return pair;
}

/* a > b ? a : b and a < b ? a : b of each lane, b where one is NaN: one instruction, no branch. */
static inline DriftPair drift_pair_larger(DriftPair a, DriftPair b)
{
#ifdef __SSE2__
  return _mm_max_pd(a, b);
#else
  return (DriftPair){a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1]};
#endif
}
static inline DriftPair drift_pair_smaller(DriftPair a, DriftPair b)
{
#ifdef __SSE2__
  return _mm_min_pd(a, b);
#else
  return (DriftPair){a[0] < b[0] ? a[0] : b[0], a[1] < b[1] ? a[1] : b[1]};
#endif
}

/* `size` (not negative) with the sign of `sign`. */
static inline DriftPair drift_pair_signed(DriftPair size, DriftPair sign)
{
#ifdef __SSE2__
  return _mm_or_pd(_mm_and_pd(_mm_set1_pd(-0.0), sign), size);
#else
  return (DriftPair){copysign(size[0], sign[0]), copysign(size[1], sign[1])};
#endif
}

/* What a look-up reads beside its constants. */
typedef struct {
  const double *edges;
  const guint16 *hints;
} DriftEdges;

/* The number of edges below x, which is known to be in [low, high]. */
guint drift_edges_search(const double *edges, double x, guint low, guint high);

static inline guint drift_bins_search(const DriftBins *bins, double x, guint low, guint high)
{
  return drift_edges_search(bins->edges, x, low, high);
}

/* The bin of x (not NaN), which lies in hint cell `cell`. Edges of later cells are above x, so counting past the cell's
 * own edges does no harm, and the common case has no branch that depends on the data. */
static inline guint drift_edges_find(DriftEdges bins, double x, guint cell)
{
  guint low = bins.hints[cell];
  DriftPair first, second, pair = {x, x};
  memcpy(&first, bins.edges + low, sizeof first);
  memcpy(&second, bins.edges + low + 2, sizeof second);
#ifdef __SSE2__
  /* A bit for each edge below, which are the first ones. */
  __m128 both = _mm_shuffle_ps(_mm_castpd_ps(_mm_cmplt_pd(first, pair)), _mm_castpd_ps(_mm_cmplt_pd(second, pair)),
                               _MM_SHUFFLE(2, 0, 2, 0));
  guint below = (guint)__builtin_ctz(~(guint)_mm_movemask_ps(both));
#else
  __typeof__(first < pair) minus = (first < pair) + (second < pair); /* -1 for each edge below */
  guint below = (guint) - (minus[0] + minus[1]);
#endif
  if (G_LIKELY(below < DRIFT_BINS_SCAN)) return low + below;
  return drift_edges_search(bins.edges, x, low + below, bins.hints[cell + 1]);
}

/* The bin of x (not NaN). */
static inline guint drift_bins_find(const DriftBins *bins, double x)
{
  double position = (x - bins->low) * bins->scale;
  position = position > 0 ? position : 0;
  guint cell = (guint)(gint)(position < bins->last_cell ? position : bins->last_cell);
  return drift_edges_find((DriftEdges){bins->edges, bins->hints}, x, cell);
}

/* Fixed point of a finite x: the reference's span is about 2^31 units; clamped to +-2^47 (65,536 spans), so that sums
 * of 2^33 events of q and q^2 stay inside 128 bits. */
#define DRIFT_QUANTUM_LIMIT 140737488355328.0 /* 2^47 */
static inline gint64 drift_bins_quantise(const DriftBins *bins, double x)
{
  double q = (x - bins->centre) * bins->unit;
  if (!(q > -DRIFT_QUANTUM_LIMIT)) return -(gint64)DRIFT_QUANTUM_LIMIT;
  if (!(q < DRIFT_QUANTUM_LIMIT)) return (gint64)DRIFT_QUANTUM_LIMIT;
  return (gint64)(q + copysign(.5, q)); /* half away from 0 */
}

G_END_DECLS
