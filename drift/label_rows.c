/* The few bytes a labelled row that label panes keep. */
#include "drift/window.h"

#include <math.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/grid_internal.h"

#define LABEL_ROWS_MAGIC "KDLR"
#define LABEL_ROWS_VERSION 1
#define MAX_ROWS (1u << 22)
/* version, offset, time, two classes, three doubles, number of groups, groups */
#define MAX_ROW_BYTES (3 * 8 + 2 * 4 + 3 * 8 + 1 + 2 * DRIFT_MAX_SENSITIVE)

void drift_label_row_from(const DriftGrid *grid, const DriftLabelledRow *row, DriftLabelRow *out)
{
  const DriftQuantity *prediction = drift_grid_get_output(grid, DRIFT_OUTPUT_PREDICTION);
  DriftLabelRow made = {.version = row->event.version,
                        .label_offset = row->label_offset,
                        .label_time = row->label_time,
                        .predicted_class = -1,
                        .label_class = -1,
                        .score = row->event.score,
                        .predicted_value = NAN,
                        .label_value = NAN,
                        .n_groups = (guint8)grid->n_sensitive};
  if (prediction->kind == DRIFT_CATEGORICAL) {
    made.predicted_class = drift_categories_find(prediction->categories, &row->event.prediction);
    made.label_class = drift_categories_find(prediction->categories, &row->label);
  } else {
    drift_value_to_number(&row->event.prediction, &made.predicted_value);
    drift_value_to_number(&row->label, &made.label_value);
  }
  for (guint i = 0; i < grid->n_sensitive; i++) {
    guint feature = grid->sensitive[i];
    made.groups[i] = drift_quantity_group_of(&grid->quantities[feature], &row->event.features[feature]);
  }
  *out = made;
}

double drift_label_row_error(const DriftSchema *schema, const DriftLabelRow *row)
{
  if (schema->task == DRIFT_TASK_REGRESSION) {
    double difference = row->predicted_value - row->label_value;
    return difference * difference;
  }
  if (row->label_class < 0) return NAN;
  return row->predicted_class == row->label_class ? 0 : 1;
}

/* Column by column: like values side by side compress to a fraction. */
GBytes *drift_label_rows_to_bytes(const DriftLabelRow *rows, guint n)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_u32(raw, n);
  for (guint i = 0; i < n; i++) drift_put_i64(raw, rows[i].version);
  for (guint i = 0; i < n; i++) drift_put_i64(raw, rows[i].label_offset);
  for (guint i = 0; i < n; i++) drift_put_i64(raw, rows[i].label_time);
  for (guint i = 0; i < n; i++) drift_put_u32(raw, (guint32)rows[i].predicted_class);
  for (guint i = 0; i < n; i++) drift_put_u32(raw, (guint32)rows[i].label_class);
  for (guint i = 0; i < n; i++) drift_put_double(raw, rows[i].score);
  for (guint i = 0; i < n; i++) drift_put_double(raw, rows[i].predicted_value);
  for (guint i = 0; i < n; i++) drift_put_double(raw, rows[i].label_value);
  for (guint i = 0; i < n; i++) drift_put_u8(raw, rows[i].n_groups);
  for (guint i = 0; i < n; i++)
    for (guint j = 0; j < rows[i].n_groups; j++) drift_put_u16(raw, rows[i].groups[j]);
  return drift_frame_pack(LABEL_ROWS_MAGIC, LABEL_ROWS_VERSION, raw);
}

static gint32 get_class(DriftReader *reader)
{
  guint32 code = drift_get_u32(reader);
  if (code == G_MAXUINT32) return -1;
  if (code >= DRIFT_GRID_MAX_CATEGORIES) reader->failed = TRUE;
  return (gint32)(code & 0x7fffffff);
}

static void get_rows(DriftReader *reader, DriftLabelRow *rows, guint n)
{
  for (guint i = 0; i < n; i++) rows[i].version = drift_get_i64(reader);
  for (guint i = 0; i < n; i++) rows[i].label_offset = drift_get_i64(reader);
  for (guint i = 0; i < n; i++) rows[i].label_time = drift_get_i64(reader);
  for (guint i = 0; i < n; i++) rows[i].predicted_class = get_class(reader);
  for (guint i = 0; i < n; i++) rows[i].label_class = get_class(reader);
  for (guint i = 0; i < n; i++) rows[i].score = drift_get_double(reader);
  for (guint i = 0; i < n; i++) rows[i].predicted_value = drift_get_double(reader);
  for (guint i = 0; i < n; i++) rows[i].label_value = drift_get_double(reader);
  for (guint i = 0; i < n; i++) {
    rows[i].n_groups = drift_get_u8(reader);
    if (rows[i].n_groups > DRIFT_MAX_SENSITIVE) reader->failed = TRUE;
    if (reader->failed) return;
  }
  for (guint i = 0; i < n; i++)
    for (guint j = 0; j < rows[i].n_groups; j++) rows[i].groups[j] = drift_get_u16(reader);
}

GArray *drift_label_rows_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(LABEL_ROWS_MAGIC, LABEL_ROWS_VERSION, 4 + (gsize)MAX_ROWS * MAX_ROW_BYTES,
                                             "label rows", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  guint n = drift_get_u32(&reader);
  g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(DriftLabelRow));
  /* A row takes at least the bytes of its fixed part: this bounds n by the bytes that are there. */
  if (n > drift_reader_left(&reader) / (MAX_ROW_BYTES - 2 * DRIFT_MAX_SENSITIVE)) reader.failed = TRUE;
  if (!reader.failed) {
    g_array_set_size(rows, n);
    get_rows(&reader, (DriftLabelRow *)rows->data, n);
  }
  if (reader.failed || drift_reader_left(&reader) != 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "label rows: contents that label rows cannot have, before offset %" G_GSIZE_FORMAT
                " of %" G_GSIZE_FORMAT " uncompressed bytes",
                (gsize)(reader.at - data), length);
    return NULL;
  }
  return g_steal_pointer(&rows);
}
