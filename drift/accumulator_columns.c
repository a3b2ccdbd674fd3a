#include "drift/accumulator_columns.h"

#include <math.h>

#include "drift/accumulator_internal.h"

/* An amount of 0 would give an untouched set of counts its cells. */
static void add_count(DriftCounts *counts, guint cell, guint64 amount)
{
  if (amount > 0) drift_counts_add(counts, cell, amount);
}

/* The first of the ascending values [from, n) that is above x, from where the last look-up ended. */
static gsize first_above(const DriftSample *sample, gsize from, double x)
{
  gsize low = from, high = sample->n;
  while (low < high) {
    gsize middle = low + (high - low) / 2;
    if (sample->sorted[middle] <= x)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Bin b ends at edge b; the last has no edge. */
static void count_bins(DriftCounts *counts, const DriftBins *bins, const DriftSample *sample)
{
  gsize before = 0;
  for (guint bin = 0; bin < bins->n_edges && before < sample->n; bin++) {
    gsize end = first_above(sample, before, bins->edges[bin]);
    add_count(counts, bin, end - before);
    before = end;
  }
  add_count(counts, bins->n_edges, sample->n - before);
}

/* The finite values are [start, end). */
static void add_moments(DriftAccumulator *accumulator, guint i, const DriftSample *sample)
{
  const DriftBins *bins = accumulator->grid->quantities[i].bins;
  gsize start = 0, end = sample->n;
  while (start < end && isinf(sample->sorted[start])) start++;
  while (start < end && isinf(sample->sorted[end - 1])) end--;
  if (start == end) return;
  gint64 sum = 0; /* at most 2^27 values of 2^47: into 128 bits every 2^15 of them */
  DriftInt128 wide_sum = 0, sum_of_squares = 0;
  for (gsize row = start; row < end; row++) {
    gint64 q = drift_bins_quantise(bins, sample->sorted[row]);
    sum += q;
    sum_of_squares += (DriftInt128)q * q;
    if (G_UNLIKELY((row & 0x7fff) == 0)) wide_sum += sum, sum = 0;
  }
  /* + 0: one spelling of zero, as in drift_accumulator_count. */
  DriftMoments moments = {wide_sum + sum, sum_of_squares, end - start, sample->sorted[start] + 0.0,
                          sample->sorted[end - 1] + 0.0};
  drift_accumulator_add_moments(accumulator, i, &moments);
}

static void add_sample(DriftAccumulator *accumulator, guint i, const DriftSample *sample)
{
  const DriftQuantity *quantity = &accumulator->grid->quantities[i];
  count_bins(&accumulator->counts[i], quantity->bins, sample);
  add_count(&accumulator->counts[i], drift_quantity_missing(quantity), sample->n_missing);
  add_moments(accumulator, i, sample);
}

static guint category_cell(const DriftQuantity *quantity, const DriftValue *value)
{
  if (value->kind == DRIFT_VALUE_MISSING) return drift_quantity_missing(quantity);
  gint code = drift_categories_find(quantity->categories, value);
  return code < 0 ? drift_quantity_unseen(quantity) : (guint)code;
}

/* Each text of the column's dictionary is looked up once. */
static void add_codes(DriftCounts *counts, const DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows)
{
  guint n = column->dictionary->len;
  g_autofree guint64 *amounts = g_new0(guint64, (gsize)n + 1);
  for (guint64 row = 0; row < n_rows; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    amounts[code == DRIFT_CODE_MISSING ? n : code]++;
  }
  for (guint code = 0; code < n; code++) {
    if (amounts[code] == 0) continue;
    DriftValue value = drift_value_text(column->dictionary->pdata[code], -1);
    drift_counts_add(counts, category_cell(quantity, &value), amounts[code]);
  }
  add_count(counts, drift_quantity_missing(quantity), amounts[n]);
}

static void add_values(DriftCounts *counts, const DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows)
{
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    drift_counts_increment(counts, category_cell(quantity, &value));
  }
}

/* What drift_accumulator_count does for a missing prediction, score and latency. */
static void add_missing_outputs(DriftAccumulator *accumulator, guint64 n_rows)
{
  const DriftGrid *grid = accumulator->grid;
  for (guint i = grid->n_features; i < grid->n_quantities; i++)
    drift_counts_add(&accumulator->counts[i], drift_quantity_missing(&grid->quantities[i]), n_rows);
  DriftVersionTally *version = drift_accumulator_version_tally(accumulator, 0);
  drift_counts_add(&version->predictions, drift_quantity_missing(drift_grid_get_output(grid, DRIFT_OUTPUT_PREDICTION)),
                   n_rows);
  drift_counts_add(&version->scores, drift_quantity_missing(drift_grid_get_output(grid, DRIFT_OUTPUT_SCORE)), n_rows);
}

void drift_accumulator_add_columns(DriftAccumulator *accumulator, const DriftFeatureColumn *features, guint64 n_rows)
{
  const DriftGrid *grid = accumulator->grid;
  if (n_rows == 0) return;
  for (guint i = 0; i < grid->n_features; i++) {
    const DriftQuantity *quantity = &grid->quantities[i];
    DriftCounts *counts = &accumulator->counts[i];
    if (quantity->kind == DRIFT_NUMERIC)
      add_sample(accumulator, i, features[i].sample);
    else if (features[i].column->kind == DRIFT_CATEGORICAL)
      add_codes(counts, quantity, features[i].column, n_rows);
    else
      add_values(counts, quantity, features[i].column, n_rows);
  }
  add_missing_outputs(accumulator, n_rows);
  accumulator->n_events += n_rows;
}
