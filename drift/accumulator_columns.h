/* Many rows at once, column by column, for a caller that holds them sorted already. */
#pragma once

#include "drift/accumulator.h"
#include "drift/sample.h"

G_BEGIN_DECLS

/* One feature of the rows: `sample` when the quantity is numeric (its missing values count as missing), else `column`,
 * whose first n_rows cells are taken. Borrowed. */
typedef struct {
  const DriftSample *sample;
  const DriftColumn *column;
} DriftFeatureColumn;

/* Adds n_rows events without prediction, score, latency and version: the same contents as drift_accumulator_add of
 * each, at a fraction of the time, because every feature is counted by itself and the order of events does not matter.
 * features: [number of features of the grid]; every sample has n + n_missing = n_rows. */
void drift_accumulator_add_columns(DriftAccumulator *accumulator, const DriftFeatureColumn *features, guint64 n_rows);

G_END_DECLS
