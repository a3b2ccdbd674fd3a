/* Grid, accumulator, profile: what is remembered of traffic. Source: drift/README.md, "What is remembered".
 *
 * A grid fixes bins once from reference data. An accumulator counts events into the bins with integers and
 * fixed-point sums: merging is addition, so it is associative, commutative and independent of arrival order.
 * A profile is an accumulator of a named reference. Nothing here allocates per event once the sets are warm,
 * except on the first sight of a new bin of a sparse accumulator.
 */
#pragma once

#include <glib.h>

#include "drift/row.h"
#include "drift/schema.h"
#include "drift/table.h"

G_BEGIN_DECLS

typedef struct _DriftGrid DriftGrid;               /* immutable after creation; shared by reference count */
typedef struct _DriftAccumulator DriftAccumulator; /* one thread at a time */

#define DRIFT_GRID_MAX_BINS 1024 /* quantile bins per numeric feature */
#define DRIFT_GRID_MAX_CATEGORIES 1024
#define DRIFT_GRID_MAX_FEATURES 4096

/* Makes the grid from `reference` (columns named as in schema; score and latency_ms, prediction optional columns).
 * Bins: at most `max_bins` quantile bins per numeric feature (0: a default fitting the number of rows). */
DriftGrid *drift_grid_new(const DriftSchema *schema, const DriftTable *reference, guint max_bins, GError **error);
/* The same with joint histograms of at most `max_pairs` pairs of features and of features and the prediction, for
 * verdicts about slices and dependences: up to 4 with the prediction, then the most strongly associated features
 * (mutual information less its bias), no feature in more than 4. A feature with a single part is in none. */
#define DRIFT_GRID_MAX_PAIRS 64
#define DRIFT_GRID_DEFAULT_PAIRS 16
DriftGrid *drift_grid_new_with_pairs(const DriftSchema *schema, const DriftTable *reference, guint max_bins,
                                     guint max_pairs, GError **error);
guint drift_grid_n_pairs(const DriftGrid *grid);
DriftGrid *drift_grid_ref(DriftGrid *grid);
void drift_grid_unref(DriftGrid *grid);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftGrid, drift_grid_unref)
const gchar *drift_grid_get_id(const DriftGrid *grid); /* 16 hex digits of a hash of its bytes */
const DriftSchema *drift_grid_get_schema(const DriftGrid *grid);
GBytes *drift_grid_to_bytes(const DriftGrid *grid);
DriftGrid *drift_grid_from_bytes(GBytes *bytes, GError **error);

DriftAccumulator *drift_accumulator_new(DriftGrid *grid);
void drift_accumulator_free(DriftAccumulator *accumulator);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftAccumulator, drift_accumulator_free)
void drift_accumulator_add(DriftAccumulator *accumulator, const DriftEvent *event);
/* The two halves of add, for a caller that waits for memory in between: locate finds the cells and changes no count;
 * count counts the event located last, exactly once. */
void drift_accumulator_locate(DriftAccumulator *accumulator, const DriftEvent *event);
void drift_accumulator_count(DriftAccumulator *accumulator);
/* into += from. Refused, into untouched: MISMATCH when the grids differ, LIMIT above 2^33 events. */
gboolean drift_accumulator_merge(DriftAccumulator *into, const DriftAccumulator *from, GError **error);
void drift_accumulator_reset(DriftAccumulator *accumulator);
guint64 drift_accumulator_get_count(const DriftAccumulator *accumulator);
gsize drift_accumulator_get_memory(const DriftAccumulator *accumulator); /* bytes held */

/* What an accumulator says of one quantity: a feature (its index in the schema) or, from n_features on, the outputs
 * prediction, score, latency in this order. Moments are of finite numbers within 65,536 spans of the reference (farther
 * ones count as that far), to 2^-31 of the span; NaN for categories or when n is 0. */
typedef struct {
  guint64 n; /* values that are neither missing nor unseen */
  guint64 missing;
  guint64 unseen;       /* categories the reference lacks; text in a numeric feature */
  guint64 out_of_range; /* numbers outside the reference's range */
  double mean, deviation, minimum, maximum;
} DriftSummary;
void drift_accumulator_summarise(const DriftAccumulator *accumulator, guint quantity, DriftSummary *summary);

/* Prediction and score counts by serving version: at most this many versions are kept apart, the smallest numbers; the
 * rest (and negative numbers) are together as version -1. Which ones does not depend on the order of events. */
#define DRIFT_ACCUMULATOR_MAX_VERSIONS 64
typedef struct {
  gint64 version;
  guint64 n;        /* events */
  guint64 positive; /* predictions of the positive class; binary only */
} DriftVersionCount;
guint drift_accumulator_n_versions(const DriftAccumulator *accumulator);
/* Ascending by version, -1 first. */
void drift_accumulator_get_version(const DriftAccumulator *accumulator, guint index, DriftVersionCount *count);

/* Compressed, canonical: equal contents give equal bytes. */
GBytes *drift_accumulator_to_bytes(const DriftAccumulator *accumulator);
DriftAccumulator *drift_accumulator_from_bytes(DriftGrid *grid, GBytes *bytes, GError **error);
/* All rows of a table as one accumulator: the profile of a reference. */
DriftAccumulator *drift_accumulator_from_table(DriftGrid *grid, const DriftTable *table, GError **error);

G_END_DECLS
