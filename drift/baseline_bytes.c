/* A baseline as canonical bytes, and a profile with its baseline as one artifact. */
#include <math.h>
#include <string.h>

#include "drift/baseline_internal.h"
#include "drift/bytes_internal.h"

#define BASELINE_MAGIC "KDBL"
#define BASELINE_VERSION 1
#define REFERENCE_MAGIC "KDRF"
#define REFERENCE_VERSION 1
#define MAX_BASELINE_BYTES (64u << 20)
#define MAX_REFERENCE_BYTES (512u << 20)

GBytes *drift_baseline_to_bytes(const DriftBaseline *baseline)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_u64(raw, baseline->grid_digest);
  drift_put_u64(raw, baseline->n_rows);
  drift_put_u32(raw, baseline->n_quantities);
  for (guint q = 0; q < baseline->n_quantities; q++) {
    const DriftBaselineQuantity *quantity = &baseline->quantities[q];
    drift_put_u8(raw, (guint8)quantity->freedom);
    drift_put_double(raw, quantity->halves);
    for (guint s = 0; s < baseline->n_scales; s++) {
      drift_put_double(raw, quantity->scales[s].cells);
      drift_put_double(raw, quantity->scales[s].squares);
      drift_put_double(raw, quantity->scales[s].steps);
      drift_put_double(raw, quantity->scales[s].missing);
    }
  }
  return drift_frame_pack(BASELINE_MAGIC, BASELINE_VERSION, raw);
}

/* A finite number not below 0. */
static double get_size(DriftReader *reader)
{
  double value = drift_get_double(reader);
  if (!isfinite(value) || value < 0) reader->failed = TRUE;
  return value;
}

static void get_quantity(DriftReader *reader, guint n_scales, DriftBaselineQuantity *quantity)
{
  quantity->freedom = drift_get_u8(reader);
  quantity->halves = get_size(reader);
  for (guint s = 0; s < n_scales && !reader->failed; s++) {
    quantity->scales[s].cells = get_size(reader);
    quantity->scales[s].squares = drift_get_double(reader); /* free of bias: may be below 0 */
    quantity->scales[s].steps = get_size(reader);
    quantity->scales[s].missing = get_size(reader);
    if (!isfinite(quantity->scales[s].squares)) reader->failed = TRUE;
  }
  if (quantity->freedom >= DRIFT_BASELINE_CELLS) reader->failed = TRUE;
}

DriftBaseline *drift_baseline_from_bytes(const DriftGrid *grid, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw =
      drift_frame_unpack(BASELINE_MAGIC, BASELINE_VERSION, MAX_BASELINE_BYTES, "baseline", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  guint64 digest = drift_get_u64(&reader), n_rows = drift_get_u64(&reader);
  guint n_quantities = drift_get_u32(&reader);
  if (!reader.failed && digest != grid->digest) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "baseline: it is not of grid %s", grid->id);
    return NULL;
  }
  g_autoptr(DriftBaseline) baseline = g_new0(DriftBaseline, 1);
  *baseline = (DriftBaseline){.grid_digest = digest,
                              .n_rows = n_rows,
                              .n_quantities = grid->n_quantities,
                              .n_scales = drift_baseline_n_scales(n_rows),
                              .quantities = g_new0(DriftBaselineQuantity, grid->n_quantities)};
  if (n_quantities != grid->n_quantities || n_rows > DRIFT_ACCUMULATOR_MAX_EVENTS) reader.failed = TRUE;
  for (guint q = 0; q < n_quantities && !reader.failed; q++)
    get_quantity(&reader, baseline->n_scales, &baseline->quantities[q]);
  if (!reader.failed && drift_reader_left(&reader) == 0) {
    drift_baseline_finish(baseline);
    return g_steal_pointer(&baseline);
  }
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
              "baseline: contents that a baseline cannot have, before offset %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT
              " uncompressed bytes",
              (gsize)(reader.at - data), length);
  return NULL;
}

static void put_part(GByteArray *raw, GBytes *part)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(part, &length);
  drift_put_u64(raw, length);
  g_byte_array_append(raw, data, (guint)length);
}

GBytes *drift_reference_to_bytes(const DriftAccumulator *profile, const DriftBaseline *baseline)
{
  g_autoptr(GBytes) counts = drift_accumulator_to_bytes(profile);
  if (baseline == NULL) return g_steal_pointer(&counts);
  g_autoptr(GByteArray) raw = g_byte_array_new();
  g_autoptr(GBytes) swings = drift_baseline_to_bytes(baseline);
  put_part(raw, counts);
  put_part(raw, swings);
  return drift_frame_pack(REFERENCE_MAGIC, REFERENCE_VERSION, raw);
}

static GBytes *get_part(DriftReader *reader)
{
  guint64 length = drift_get_u64(reader);
  const guint8 *data = reader->failed ? NULL : drift_get_block(reader, length);
  return data != NULL ? g_bytes_new(data, length) : NULL;
}

static gboolean is_reference(GBytes *bytes)
{
  gsize length;
  const gchar *data = g_bytes_get_data(bytes, &length);
  return length >= 4 && strncmp(data, REFERENCE_MAGIC, 4) == 0;
}

DriftAccumulator *drift_reference_from_bytes(DriftGrid *grid, GBytes *bytes, DriftBaseline **baseline, GError **error)
{
  *baseline = NULL;
  if (!is_reference(bytes)) return drift_accumulator_from_bytes(grid, bytes, error);
  g_autoptr(GBytes) raw =
      drift_frame_unpack(REFERENCE_MAGIC, REFERENCE_VERSION, MAX_REFERENCE_BYTES, "profile", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  g_autoptr(GBytes) counts = get_part(&reader), swings = get_part(&reader);
  if (swings == NULL || drift_reader_left(&reader) != 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "profile: contents that a profile cannot have, before offset %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT
                " uncompressed bytes",
                (gsize)(reader.at - data), length);
    return NULL;
  }
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_bytes(grid, counts, error);
  *baseline = profile != NULL ? drift_baseline_from_bytes(grid, swings, error) : NULL;
  return *baseline != NULL ? g_steal_pointer(&profile) : NULL;
}
