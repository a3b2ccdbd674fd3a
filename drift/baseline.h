/* How much the traffic behind a reference swings by itself: what its rows, in their order of time, say of dependence
 * and of seasons. Source: drift/README.md, "The verdict over a window".
 *
 * For every quantity of a grid and every block size 8, 16, 32, … up to an eighth of the rows: the variance of what
 * blocks of neighbouring rows count in coarse cells, as a multiple of what independent rows would give. A window's
 * p-values and effects are corrected by the multiple for windows of its size. */
#pragma once

#include "drift/accumulator.h"

G_BEGIN_DECLS

typedef struct _DriftBaseline DriftBaseline; /* immutable */

/* Of the reference that `profile` counts, rows in the order of time. MISMATCH when it has not as many rows, INVALID
 * when a column is missing. A reference below 64 rows gives a baseline that knows nothing (independent rows). */
DriftBaseline *drift_baseline_new(const DriftAccumulator *profile, const DriftTable *reference, GError **error);
void drift_baseline_free(DriftBaseline *baseline);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftBaseline, drift_baseline_free)
guint64 drift_baseline_get_rows(const DriftBaseline *baseline);
/* Variance of the window's cell counts as a multiple of that of independent rows, averaged over cells, for a window of
 * `rows` rows; at least 1. 1 where no dependence was found. */
double drift_baseline_get_inflation(const DriftBaseline *baseline, guint quantity, double rows);
/* TRUE: the reference's halves differ so much that it is no stretch of one law (it drifts, or is sorted); then its
 * swings say nothing and rows are taken as independent. */
gboolean drift_baseline_is_unsteady(const DriftBaseline *baseline, guint quantity);

/* Canonical: equal contents give equal bytes. */
GBytes *drift_baseline_to_bytes(const DriftBaseline *baseline);
DriftBaseline *drift_baseline_from_bytes(const DriftGrid *grid, GBytes *bytes, GError **error);

/* A profile with its baseline (NULL: none) as one artifact, and back. An accumulator's bytes alone, as profiles were
 * before there were baselines, are read too: *baseline is NULL then. */
GBytes *drift_reference_to_bytes(const DriftAccumulator *profile, const DriftBaseline *baseline);
DriftAccumulator *drift_reference_from_bytes(DriftGrid *grid, GBytes *bytes, DriftBaseline **baseline, GError **error);

G_END_DECLS
