#pragma once

#include "drift/counts_internal.h"
#include "drift/grid_internal.h"

G_BEGIN_DECLS

__extension__ typedef __int128 DriftInt128;

/* So many events an accumulator may hold: with |q| <= 2^47 their sum of q^2 stays below 2^127. */
#define DRIFT_ACCUMULATOR_MAX_EVENTS (G_GUINT64_CONSTANT(1) << 33)

/* Fixed-point sums of q and q^2 (drift_bins_quantise) over finite numbers. */
typedef struct {
  DriftInt128 sum, sum_of_squares;
  guint64 n;
  double minimum, maximum; /* of all finite numbers; +inf and -inf when n is 0 */
} DriftMoments;

/* The same of neighbouring quantities side by side, as they are counted. The lower halves of the sums stand 2^63 too
 * high: a carry is then seen by comparing signed numbers, the only ones that AVX2 compares. */
typedef struct {
  double minimum[DRIFT_LANES], maximum[DRIFT_LANES];
  guint64 n[DRIFT_LANES], sum_low[DRIFT_LANES], squares_low[DRIFT_LANES];
  gint64 sum_high[DRIFT_LANES], squares_high[DRIFT_LANES];
} DriftMomentsLanes;
#define DRIFT_LOW_OFFSET (G_GUINT64_CONSTANT(1) << 63)

static inline DriftInt128 drift_wide_get(guint64 low, gint64 high)
{
  return (DriftInt128)high * ((DriftInt128)1 << 64) + (low ^ DRIFT_LOW_OFFSET);
}
static inline void drift_wide_add(guint64 *low, gint64 *high, DriftInt128 amount)
{
  DriftInt128 sum = drift_wide_get(*low, *high) + amount;
  *low = (guint64)sum ^ DRIFT_LOW_OFFSET;
  *high = (gint64)(sum >> 64);
}

/* What is known of one quantity, to read; the cells stay the accumulator's. */
typedef struct {
  DriftCounts counts;
  DriftMoments moments; /* numeric quantities only */
} DriftTally;

typedef struct {
  gint64 version; /* -1: all others */
  DriftCounts predictions, scores;
} DriftVersionTally;

struct _DriftAccumulator {
  DriftGrid *grid;
  guint64 n_events;
  DriftCounts *counts;        /* [grid->n_quantities] */
  DriftMomentsLanes *moments; /* [drift_grid_n_lanes(grid)] */
  DriftCounts joint;          /* DRIFT_JOINT_CELLS cells a pair of the grid */
  /* Of the event located last: of each quantity (and behind them to a full set of lanes) its number, NaN or infinite
   * when it adds nothing to the moments; its fixed point before the fraction is cut off; the cell it is counted in. */
  double *numbers, *steps;
  gint32 *cells;
  gboolean wide; /* this processor compares four numbers at once */
  gint64 located_version;
  GArray *versions;   /* of DriftVersionTally, ascending by version */
  guint last_version; /* index found last: a cache, not contents */
};

/* The tally of that version, made when absent; may evict the largest version into -1. */
DriftVersionTally *drift_accumulator_version_tally(DriftAccumulator *accumulator, gint64 version);
DriftTally drift_accumulator_tally(const DriftAccumulator *accumulator, guint quantity);
/* What has been counted elsewhere of that quantity. */
void drift_accumulator_add_moments(DriftAccumulator *accumulator, guint quantity, const DriftMoments *moments);

G_END_DECLS
