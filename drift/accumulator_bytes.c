/* An accumulator as canonical bytes: the grid's digest, then every quantity's non-zero cells and moments, then the
 * versions, then (version 2, on a grid with pairs) the joint histograms. Nothing of how it came about (order, widths,
 * caches) is written. */
#include "drift/accumulator_internal.h"

#include <math.h>

#include "drift/bytes_internal.h"

#define ACCUMULATOR_MAGIC "KDAC"
#define ACCUMULATOR_VERSION 1
#define ACCUMULATOR_VERSION_WITH_PAIRS 2

static void put_int128(GByteArray *out, DriftInt128 value)
{
  drift_put_u64(out, (guint64)value);
  drift_put_i64(out, (gint64)(value >> 64));
}

static DriftInt128 get_int128(DriftReader *reader)
{
  guint64 low = drift_get_u64(reader);
  gint64 high = drift_get_i64(reader);
  return (DriftInt128)high * ((DriftInt128)1 << 64) + low;
}

/* The cells [first, first + n_cells) as pairs (gap from the cell before, count), both varints. */
static void put_cells(GByteArray *out, const DriftCounts *counts, guint first, guint n_cells)
{
  guint n = 0, previous = first;
  for (guint cell = first; cell < first + n_cells; cell++) n += drift_counts_get(counts, cell) != 0;
  drift_put_varint(out, n);
  for (guint cell = first; cell < first + n_cells; cell++) {
    guint64 count = drift_counts_get(counts, cell);
    if (count == 0) continue;
    drift_put_varint(out, cell - previous);
    drift_put_varint(out, count);
    previous = cell;
  }
}

static void put_counts(GByteArray *out, const DriftCounts *counts)
{
  put_cells(out, counts, 0, counts->n_cells);
}

/* Fails unless the cells are distinct, in order, non-zero and add up to `total`. */
static void get_cells(DriftReader *reader, DriftCounts *counts, guint first, guint n_cells, guint64 total)
{
  guint64 n = drift_get_varint(reader), cell = 0, sum = 0;
  for (guint64 i = 0; i < n && !reader->failed; i++) {
    guint64 gap = drift_get_varint(reader), count = drift_get_varint(reader);
    gboolean repeats = i > 0 && gap == 0;
    if (gap >= n_cells || cell + gap >= n_cells || repeats || count == 0 || count > total - sum) reader->failed = TRUE;
    if (reader->failed) return;
    cell += gap;
    sum += count;
    drift_counts_add(counts, first + (guint)cell, count);
  }
  if (sum != total) reader->failed = TRUE;
}

static void get_counts(DriftReader *reader, DriftCounts *counts, guint64 total)
{
  get_cells(reader, counts, 0, counts->n_cells, total);
}

static void put_moments(GByteArray *out, const DriftMoments *moments)
{
  drift_put_varint(out, moments->n);
  if (moments->n == 0) return;
  put_int128(out, moments->sum);
  put_int128(out, moments->sum_of_squares);
  drift_put_double(out, moments->minimum);
  drift_put_double(out, moments->maximum);
}

static void get_moments(DriftReader *reader, DriftAccumulator *accumulator, guint quantity)
{
  DriftMoments read = {.n = drift_get_varint(reader)};
  if (read.n > accumulator->n_events) reader->failed = TRUE;
  if (reader->failed || read.n == 0) return;
  read.sum = get_int128(reader);
  read.sum_of_squares = get_int128(reader);
  read.minimum = drift_get_double(reader);
  read.maximum = drift_get_double(reader);
  const DriftInt128 largest = (DriftInt128)read.n * ((DriftInt128)1 << 47);
  const DriftInt128 largest_square = largest * ((DriftInt128)1 << 47);
  gboolean ordered = isfinite(read.minimum) && isfinite(read.maximum) && read.minimum <= read.maximum;
  gboolean bounded =
      read.sum >= -largest && read.sum <= largest && read.sum_of_squares >= 0 && read.sum_of_squares <= largest_square;
  if (!ordered || !bounded) reader->failed = TRUE;
  if (!reader->failed) drift_accumulator_add_moments(accumulator, quantity, &read);
}

static guint64 total_of(const DriftCounts *counts)
{
  guint64 total = 0;
  for (guint cell = 0; cell < counts->n_cells; cell++) total += drift_counts_get(counts, cell);
  return total;
}

/* The grid decides: on one without pairs nothing was added to version 1. */
static guint8 version_of(const DriftGrid *grid)
{
  return grid->joint.n == 0 ? ACCUMULATOR_VERSION : ACCUMULATOR_VERSION_WITH_PAIRS;
}

GBytes *drift_accumulator_to_bytes(const DriftAccumulator *accumulator)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_u64(raw, accumulator->grid->digest);
  drift_put_varint(raw, accumulator->n_events);
  for (guint i = 0; i < accumulator->grid->n_quantities; i++) {
    put_counts(raw, &accumulator->counts[i]);
    if (accumulator->grid->quantities[i].kind != DRIFT_NUMERIC) continue;
    const DriftTally tally = drift_accumulator_tally(accumulator, i);
    put_moments(raw, &tally.moments);
  }
  drift_put_varint(raw, accumulator->versions->len);
  for (guint i = 0; i < accumulator->versions->len; i++) {
    const DriftVersionTally *version = &g_array_index(accumulator->versions, DriftVersionTally, i);
    drift_put_i64(raw, version->version);
    drift_put_varint(raw, total_of(&version->predictions));
    put_counts(raw, &version->predictions);
    put_counts(raw, &version->scores);
  }
  for (guint i = 0; i < accumulator->grid->joint.n; i++)
    put_cells(raw, &accumulator->joint, i * DRIFT_JOINT_CELLS, DRIFT_JOINT_CELLS);
  return drift_frame_pack(ACCUMULATOR_MAGIC, version_of(accumulator->grid), raw);
}

/* The most bytes an accumulator of this grid can take uncompressed: 13 a cell, 58 for moments, 64 for heads. */
static gsize largest_raw(const DriftGrid *grid)
{
  gsize cells = 0, by_version = 0;
  for (guint i = 0; i < grid->n_quantities; i++) cells += drift_quantity_n_cells(&grid->quantities[i]);
  by_version += drift_quantity_n_cells(drift_grid_get_output(grid, DRIFT_OUTPUT_PREDICTION));
  by_version += drift_quantity_n_cells(drift_grid_get_output(grid, DRIFT_OUTPUT_SCORE));
  gsize n_versions = DRIFT_ACCUMULATOR_MAX_VERSIONS + 1;
  cells += grid->joint.n * DRIFT_JOINT_CELLS;
  return 13 * (cells + n_versions * by_version) + 64 * (grid->n_quantities + grid->joint.n + n_versions + 1);
}

static void get_versions(DriftReader *reader, DriftAccumulator *accumulator)
{
  guint64 n = drift_get_varint(reader), left = accumulator->n_events;
  gint64 previous = G_MININT64;
  if (n > DRIFT_ACCUMULATOR_MAX_VERSIONS + 1) reader->failed = TRUE;
  for (guint64 i = 0; i < n && !reader->failed; i++) {
    gint64 number = drift_get_i64(reader);
    guint64 total = drift_get_varint(reader);
    gboolean too_many = n == DRIFT_ACCUMULATOR_MAX_VERSIONS + 1 && i == 0 && number != -1;
    if (number < -1 || number <= previous || total == 0 || total > left || too_many) reader->failed = TRUE;
    if (reader->failed) return;
    DriftVersionTally *version = drift_accumulator_version_tally(accumulator, number);
    get_counts(reader, &version->predictions, total);
    get_counts(reader, &version->scores, total);
    previous = number;
    left -= total;
  }
  if (left != 0) reader->failed = TRUE;
}

/* Events by the parts of one side of a pair: from the joint histogram less from the quantity's own cells. */
static gboolean margin_fits(const DriftAccumulator *accumulator, guint pair, gboolean second)
{
  const DriftGridPairs *joint = &accumulator->grid->joint;
  guint quantity = second ? joint->pairs[pair].second : joint->pairs[pair].first;
  const DriftPartition *partition = &joint->partitions[quantity];
  const DriftCounts *counts = &accumulator->counts[quantity];
  guint64 margin[DRIFT_MAX_PARTS] = {0};
  for (guint cell = 0; cell < counts->n_cells; cell++)
    margin[partition->part_of[cell]] += drift_counts_get(counts, cell);
  for (guint cell = 0; cell < DRIFT_JOINT_CELLS; cell++)
    margin[second ? cell % DRIFT_MAX_PARTS : cell / DRIFT_MAX_PARTS] -=
        drift_counts_get(&accumulator->joint, pair * DRIFT_JOINT_CELLS + cell);
  for (guint part = 0; part < DRIFT_MAX_PARTS; part++)
    if (margin[part] != 0) return FALSE;
  return TRUE;
}

static void get_joint(DriftReader *reader, DriftAccumulator *accumulator)
{
  for (guint i = 0; i < accumulator->grid->joint.n && !reader->failed; i++) {
    get_cells(reader, &accumulator->joint, i * DRIFT_JOINT_CELLS, DRIFT_JOINT_CELLS, accumulator->n_events);
    if (!reader->failed && (!margin_fits(accumulator, i, FALSE) || !margin_fits(accumulator, i, TRUE)))
      reader->failed = TRUE;
  }
}

static void get_contents(DriftReader *reader, DriftAccumulator *accumulator)
{
  accumulator->n_events = drift_get_varint(reader);
  if (accumulator->n_events > DRIFT_ACCUMULATOR_MAX_EVENTS) reader->failed = TRUE;
  for (guint i = 0; i < accumulator->grid->n_quantities && !reader->failed; i++) {
    get_counts(reader, &accumulator->counts[i], accumulator->n_events);
    if (accumulator->grid->quantities[i].kind == DRIFT_NUMERIC) get_moments(reader, accumulator, i);
  }
  get_versions(reader, accumulator);
  get_joint(reader, accumulator);
  if (drift_reader_left(reader) != 0) reader->failed = TRUE;
}

DriftAccumulator *drift_accumulator_from_bytes(DriftGrid *grid, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw =
      drift_frame_unpack(ACCUMULATOR_MAGIC, version_of(grid), largest_raw(grid), "accumulator", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  guint64 digest = drift_get_u64(&reader);
  if (!reader.failed && digest != grid->digest) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "accumulator: made on grid %016" G_GINT64_MODIFIER "x, read with grid %s: use the grid it names",
                digest, grid->id);
    return NULL;
  }
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  if (!reader.failed) get_contents(&reader, accumulator);
  if (reader.failed) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "accumulator: contents that an accumulator cannot have, before offset %" G_GSIZE_FORMAT
                " of %" G_GSIZE_FORMAT " uncompressed bytes",
                (gsize)(reader.at - data), length);
    return NULL;
  }
  return g_steal_pointer(&accumulator);
}
