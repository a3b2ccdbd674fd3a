/* What can be read from an accumulator. */
#include "drift/accumulator_internal.h"

#include <math.h>

static guint64 sum_bins(const DriftCounts *counts, guint n_bins)
{
  guint64 sum = 0;
  for (guint i = 0; i < n_bins; i++) sum += drift_counts_get(counts, i);
  return sum;
}

static void summarise_numbers(const DriftTally *tally, const DriftBins *bins, DriftSummary *summary)
{
  const DriftMoments *moments = &tally->moments;
  if (bins->n_edges > 0)
    summary->out_of_range = drift_counts_get(&tally->counts, 0) + drift_counts_get(&tally->counts, bins->n_edges);
  if (moments->n == 0) return;
  double mean = (double)moments->sum / (double)moments->n;
  double square = (double)moments->sum_of_squares / (double)moments->n;
  summary->mean = bins->centre + mean / bins->unit;
  summary->deviation = sqrt(MAX(square - mean * mean, 0)) / bins->unit;
  summary->minimum = moments->minimum;
  summary->maximum = moments->maximum;
}

void drift_accumulator_summarise(const DriftAccumulator *accumulator, guint index, DriftSummary *summary)
{
  const DriftQuantity *quantity = &accumulator->grid->quantities[index];
  const DriftTally view = drift_accumulator_tally(accumulator, index), *tally = &view;
  *summary = (DriftSummary){.mean = NAN, .deviation = NAN, .minimum = NAN, .maximum = NAN};
  summary->n = sum_bins(&tally->counts, quantity->n_bins);
  summary->missing = drift_counts_get(&tally->counts, drift_quantity_missing(quantity));
  summary->unseen = drift_counts_get(&tally->counts, drift_quantity_unseen(quantity));
  if (quantity->kind == DRIFT_NUMERIC) summarise_numbers(tally, quantity->bins, summary);
}

guint drift_accumulator_n_versions(const DriftAccumulator *accumulator)
{
  return accumulator->versions->len;
}

void drift_accumulator_get_version(const DriftAccumulator *accumulator, guint index, DriftVersionCount *count)
{
  const DriftVersionTally *version = &g_array_index(accumulator->versions, DriftVersionTally, index);
  const DriftSchema *schema = accumulator->grid->schema;
  *count = (DriftVersionCount){.version = version->version};
  count->n = sum_bins(&version->predictions, version->predictions.n_cells);
  if (schema->task == DRIFT_TASK_BINARY)
    count->positive = drift_counts_get(&version->predictions, schema->positive_class);
}
