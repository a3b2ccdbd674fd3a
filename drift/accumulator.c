#include "drift/accumulator_internal.h"

#include <math.h>
#include <string.h>

static void reset_moments(DriftAccumulator *accumulator)
{
  guint n = drift_grid_n_lanes(accumulator->grid);
  memset(accumulator->moments, 0, n * sizeof *accumulator->moments);
  for (guint i = 0; i < n * DRIFT_LANES; i++) {
    DriftMomentsLanes *lanes = &accumulator->moments[i / DRIFT_LANES];
    guint lane = i % DRIFT_LANES;
    lanes->minimum[lane] = INFINITY;
    lanes->maximum[lane] = -INFINITY;
    lanes->sum_low[lane] = lanes->squares_low[lane] = DRIFT_LOW_OFFSET;
  }
}

DriftTally drift_accumulator_tally(const DriftAccumulator *accumulator, guint quantity)
{
  const DriftMomentsLanes *lanes = &accumulator->moments[quantity / DRIFT_LANES];
  guint lane = quantity % DRIFT_LANES;
  return (DriftTally){.counts = accumulator->counts[quantity],
                      .moments = {.sum = drift_wide_get(lanes->sum_low[lane], lanes->sum_high[lane]),
                                  .sum_of_squares = drift_wide_get(lanes->squares_low[lane], lanes->squares_high[lane]),
                                  .n = lanes->n[lane],
                                  .minimum = lanes->minimum[lane],
                                  .maximum = lanes->maximum[lane]}};
}

void drift_accumulator_add_moments(DriftAccumulator *accumulator, guint quantity, const DriftMoments *moments)
{
  DriftMomentsLanes *lanes = &accumulator->moments[quantity / DRIFT_LANES];
  guint lane = quantity % DRIFT_LANES;
  lanes->n[lane] += moments->n;
  drift_wide_add(&lanes->sum_low[lane], &lanes->sum_high[lane], moments->sum);
  drift_wide_add(&lanes->squares_low[lane], &lanes->squares_high[lane], moments->sum_of_squares);
  lanes->minimum[lane] = MIN(lanes->minimum[lane], moments->minimum);
  lanes->maximum[lane] = MAX(lanes->maximum[lane], moments->maximum);
}

static void version_clear(gpointer data)
{
  DriftVersionTally *version = data;
  drift_counts_clear(&version->predictions);
  drift_counts_clear(&version->scores);
}

DriftAccumulator *drift_accumulator_new(DriftGrid *grid)
{
  DriftAccumulator *accumulator = g_new0(DriftAccumulator, 1);
  accumulator->grid = drift_grid_ref(grid);
  guint n_lanes = drift_grid_n_lanes(grid), n = n_lanes * DRIFT_LANES;
  accumulator->counts = g_new0(DriftCounts, grid->n_quantities);
  for (guint i = 0; i < grid->n_quantities; i++)
    drift_counts_init(&accumulator->counts[i], drift_quantity_n_cells(&grid->quantities[i]));
  accumulator->moments = g_aligned_alloc(n_lanes, sizeof *accumulator->moments, DRIFT_ALIGNMENT);
  reset_moments(accumulator);
  accumulator->numbers = g_aligned_alloc0(n, sizeof *accumulator->numbers, DRIFT_ALIGNMENT);
  accumulator->steps = g_aligned_alloc0(n, sizeof *accumulator->steps, DRIFT_ALIGNMENT);
  accumulator->cells = g_aligned_alloc0(n, sizeof *accumulator->cells, DRIFT_ALIGNMENT);
#ifdef __x86_64__
  accumulator->wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                      __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#endif
  drift_counts_init(&accumulator->joint, grid->joint.n * DRIFT_JOINT_CELLS);
  accumulator->versions = g_array_new(FALSE, TRUE, sizeof(DriftVersionTally));
  g_array_set_clear_func(accumulator->versions, version_clear);
  return accumulator;
}

void drift_accumulator_free(DriftAccumulator *accumulator)
{
  if (accumulator == NULL) return;
  for (guint i = 0; i < accumulator->grid->n_quantities; i++) drift_counts_clear(&accumulator->counts[i]);
  g_free(accumulator->counts);
  g_aligned_free(accumulator->moments);
  g_aligned_free(accumulator->numbers);
  g_aligned_free(accumulator->steps);
  g_aligned_free(accumulator->cells);
  drift_counts_clear(&accumulator->joint);
  g_array_unref(accumulator->versions);
  drift_grid_unref(accumulator->grid);
  g_free(accumulator);
}

void drift_accumulator_reset(DriftAccumulator *accumulator)
{
  accumulator->n_events = 0;
  accumulator->last_version = 0;
  g_array_set_size(accumulator->versions, 0);
  drift_counts_reset(&accumulator->joint);
  for (guint i = 0; i < accumulator->grid->n_quantities; i++) drift_counts_reset(&accumulator->counts[i]);
  reset_moments(accumulator);
}

/* Index of the first kept version >= version. */
static guint version_position(const GArray *versions, gint64 version)
{
  guint low = 0, high = versions->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index(versions, DriftVersionTally, middle).version < version)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static DriftVersionTally *insert_version(DriftAccumulator *accumulator, guint position, gint64 version)
{
  const DriftGrid *grid = accumulator->grid;
  DriftVersionTally fresh = {.version = version};
  drift_counts_init(&fresh.predictions, drift_quantity_n_cells(drift_grid_get_output(grid, DRIFT_OUTPUT_PREDICTION)));
  drift_counts_init(&fresh.scores, drift_quantity_n_cells(drift_grid_get_output(grid, DRIFT_OUTPUT_SCORE)));
  g_array_insert_val(accumulator->versions, position, fresh);
  return &g_array_index(accumulator->versions, DriftVersionTally, position);
}

/* Versions kept apart, without the entry -1. */
static guint n_apart(const GArray *versions)
{
  return versions->len - (versions->len > 0 && g_array_index(versions, DriftVersionTally, 0).version < 0);
}

/* The smallest numbers stay: a version that leaves had 64 smaller ones and would be left out in any order of events. */
static void evict_largest(DriftAccumulator *accumulator)
{
  GArray *versions = accumulator->versions;
  DriftVersionTally *others = drift_accumulator_version_tally(accumulator, -1);
  const DriftVersionTally *largest = &g_array_index(versions, DriftVersionTally, versions->len - 1);
  drift_counts_merge(&others->predictions, &largest->predictions);
  drift_counts_merge(&others->scores, &largest->scores);
  g_array_set_size(versions, versions->len - 1);
}

DriftVersionTally *drift_accumulator_version_tally(DriftAccumulator *accumulator, gint64 version)
{
  GArray *versions = accumulator->versions;
  gint64 wanted = MAX(version, -1);
  guint cached = accumulator->last_version;
  if (cached < versions->len && g_array_index(versions, DriftVersionTally, cached).version == wanted)
    return &g_array_index(versions, DriftVersionTally, cached);
  guint position = version_position(versions, wanted);
  if (position < versions->len && g_array_index(versions, DriftVersionTally, position).version == wanted) {
    accumulator->last_version = position;
    return &g_array_index(versions, DriftVersionTally, position);
  }
  if (wanted >= 0 && n_apart(versions) == DRIFT_ACCUMULATOR_MAX_VERSIONS) {
    if (position == versions->len) return drift_accumulator_version_tally(accumulator, -1);
    evict_largest(accumulator); /* may put -1 in front */
    position = version_position(versions, wanted);
  }
  accumulator->last_version = position;
  return insert_version(accumulator, position, wanted);
}

gboolean drift_accumulator_merge(DriftAccumulator *into, const DriftAccumulator *from, GError **error)
{
  if (into->grid->digest != from->grid->digest) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "accumulators of different grids (%s and %s) cannot be added: start a new window after a new grid",
                into->grid->id, from->grid->id);
    return FALSE;
  }
  if (from->n_events > DRIFT_ACCUMULATOR_MAX_EVENTS - MIN(into->n_events, DRIFT_ACCUMULATOR_MAX_EVENTS)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "accumulators of %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                " events cannot be added: the cap is 2^33 events, use shorter windows",
                into->n_events, from->n_events);
    return FALSE;
  }
  for (guint i = 0; i < into->grid->n_quantities; i++) {
    const DriftTally tally = drift_accumulator_tally(from, i);
    drift_counts_merge(&into->counts[i], &tally.counts);
    drift_accumulator_add_moments(into, i, &tally.moments);
  }
  drift_counts_merge(&into->joint, &from->joint);
  for (guint i = 0; i < from->versions->len; i++) {
    const DriftVersionTally *version = &g_array_index(from->versions, DriftVersionTally, i);
    DriftVersionTally *target = drift_accumulator_version_tally(into, version->version);
    drift_counts_merge(&target->predictions, &version->predictions);
    drift_counts_merge(&target->scores, &version->scores);
  }
  into->n_events += from->n_events;
  return TRUE;
}

guint64 drift_accumulator_get_count(const DriftAccumulator *accumulator)
{
  return accumulator->n_events;
}

gsize drift_accumulator_get_memory(const DriftAccumulator *accumulator)
{
  guint n = accumulator->grid->n_quantities, n_lanes = drift_grid_n_lanes(accumulator->grid);
  gsize lane = sizeof *accumulator->numbers + sizeof *accumulator->steps + sizeof *accumulator->cells;
  gsize bytes = sizeof *accumulator + n * sizeof(DriftCounts) + n_lanes * sizeof(DriftMomentsLanes);
  bytes += n_lanes * DRIFT_LANES * lane;
  for (guint i = 0; i < n; i++) bytes += drift_counts_memory(&accumulator->counts[i]);
  bytes += drift_counts_memory(&accumulator->joint);
  for (guint i = 0; i < accumulator->versions->len; i++) {
    const DriftVersionTally *version = &g_array_index(accumulator->versions, DriftVersionTally, i);
    bytes += sizeof *version + drift_counts_memory(&version->predictions) + drift_counts_memory(&version->scores);
  }
  return bytes;
}

DriftAccumulator *drift_accumulator_from_table(DriftGrid *grid, const DriftTable *table, GError **error)
{
  const DriftSchema *schema = grid->schema;
  for (guint i = 0; i < grid->n_features; i++) {
    const gchar *name = drift_schema_get_feature(schema, i)->name;
    if (drift_table_get_column(table, name) != NULL) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "profile: the table has no column \"%s\"", name);
    return NULL;
  }
  const DriftColumn *prediction = drift_grid_output_column(schema, table, DRIFT_OUTPUT_PREDICTION);
  const DriftColumn *score = drift_grid_output_column(schema, table, DRIFT_OUTPUT_SCORE);
  const DriftColumn *latency = drift_grid_output_column(schema, table, DRIFT_OUTPUT_LATENCY);
  DriftAccumulator *accumulator = drift_accumulator_new(grid);
  g_autofree DriftValue *features = g_new0(DriftValue, grid->n_features + 1);
  for (guint64 row = 0; row < table->n_rows; row++) {
    DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = features};
    drift_table_get_features(table, schema, row, features);
    if (prediction != NULL) event.prediction = drift_column_get_value(prediction, row);
    DriftValue score_value = score != NULL ? drift_column_get_value(score, row) : drift_value_missing();
    DriftValue latency_value = latency != NULL ? drift_column_get_value(latency, row) : drift_value_missing();
    drift_value_to_number(&score_value, &event.score);
    drift_value_to_number(&latency_value, &event.latency_ms);
    drift_accumulator_add(accumulator, &event);
  }
  return accumulator;
}
