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

/* Where a value belongs. */
typedef struct {
  guint cell;
  double number; /* for the moments; not finite: none */
} DriftPlace;

struct _DriftAccumulator {
  DriftGrid *grid;
  guint64 n_events;
  DriftTally *tallies; /* [grid->n_quantities] */
  DriftPlace *places;  /* [grid->n_quantities] of the event located last */
  DriftCounts joint;   /* DRIFT_JOINT_CELLS cells a pair of the grid */
  guint16 *joint_at;   /* [grid->joint.n] cells of the event located last */
  gint64 located_version;
  GArray *versions;   /* of DriftVersionTally, ascending by version */
  guint last_version; /* index found last: a cache, not contents */
};

/* The tally of that version, made when absent; may evict the largest version into -1. */
DriftVersionTally *drift_accumulator_version_tally(DriftAccumulator *accumulator, gint64 version);
void drift_moments_init(DriftMoments *moments);

G_END_DECLS
