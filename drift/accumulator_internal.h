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
  DriftTally *tallies; /* [grid->n_quantities] */
  DriftCounts joint;   /* DRIFT_JOINT_CELLS cells a pair of the grid */
  /* Of the event located last: of each quantity (and one more where they are odd) its number, NaN or infinite when it
   * adds nothing to the moments; its fixed point before the fraction is cut off; the cell it is counted in. */
  double *numbers, *steps;
  gint32 *cells;
  gboolean wide; /* this processor compares four numbers at once */
  gint64 located_version;
  GArray *versions;   /* of DriftVersionTally, ascending by version */
  guint last_version; /* index found last: a cache, not contents */
};

/* The tally of that version, made when absent; may evict the largest version into -1. */
DriftVersionTally *drift_accumulator_version_tally(DriftAccumulator *accumulator, gint64 version);
void drift_moments_init(DriftMoments *moments);

G_END_DECLS
