#include "drift/row.h"

#include <math.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/schema.h"

#define ROW_VERSION 1

DriftValue drift_value_number(double number)
{
  DriftValue value = {.kind = isnan(number) ? DRIFT_VALUE_MISSING : DRIFT_VALUE_NUMBER};
  if (value.kind == DRIFT_VALUE_NUMBER) value.number = number;
  return value;
}

DriftValue drift_value_text(const gchar *text, gssize length)
{
  gsize bytes = length < 0 ? strlen(text) : (gsize)length;
  return (DriftValue){.kind = DRIFT_VALUE_TEXT, .length = (guint32)bytes, .text = text};
}

DriftValue drift_value_missing(void)
{
  return (DriftValue){.kind = DRIFT_VALUE_MISSING};
}

static const gchar *skip_digits(const gchar *at)
{
  while (g_ascii_isdigit(*at)) at++;
  return at;
}

/* JSON's grammar: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)? */
static gboolean is_json_number(const gchar *text)
{
  const gchar *at = text + (*text == '-');
  if (!g_ascii_isdigit(*at)) return FALSE;
  at = *at == '0' ? at + 1 : skip_digits(at);
  if (*at == '.') {
    if (!g_ascii_isdigit(at[1])) return FALSE;
    at = skip_digits(at + 1);
  }
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') at++;
    if (!g_ascii_isdigit(*at)) return FALSE;
    at = skip_digits(at);
  }
  return *at == '\0';
}

gboolean drift_value_to_number(const DriftValue *value, double *number)
{
  if (value->kind == DRIFT_VALUE_NUMBER) {
    *number = value->number;
    return TRUE;
  }
  gchar copy[64];
  if (value->kind != DRIFT_VALUE_TEXT || value->length == 0 || value->length >= sizeof copy) return FALSE;
  memcpy(copy, value->text, value->length);
  copy[value->length] = '\0';
  if (strlen(copy) != value->length || !is_json_number(copy)) return FALSE;
  *number = g_ascii_strtod(copy, NULL);
  return TRUE;
}

/* Integers of up to 15 digits print and read back exactly, and they are nearly all the numbers used as categories. */
static void format_number(double number, gchar buffer[DRIFT_NUMBER_TEXT_SIZE])
{
  if (number == 0) number = 0; /* -0 and 0 are one category */
  for (gint digits = 15; digits <= 17; digits++) {
    gchar format[] = "%.15g";
    format[3] = (gchar)('0' + digits % 10);
    g_ascii_formatd(buffer, DRIFT_NUMBER_TEXT_SIZE, format, number);
    if (g_ascii_strtod(buffer, NULL) == number) return;
  }
}

const gchar *drift_value_to_text(const DriftValue *value, gchar buffer[DRIFT_NUMBER_TEXT_SIZE], gsize *length)
{
  double number;
  if (value->kind == DRIFT_VALUE_MISSING) return NULL;
  if (drift_value_to_number(value, &number)) {
    format_number(number, buffer);
    *length = strlen(buffer);
    return buffer;
  }
  *length = value->length;
  return value->text;
}

static void append_value(GByteArray *out, const DriftValue *value)
{
  gboolean missing = value->kind == DRIFT_VALUE_NUMBER && isnan(value->number);
  DriftValueKind kind = missing ? DRIFT_VALUE_MISSING : value->kind;
  drift_put_u8(out, (guint8)kind);
  if (kind == DRIFT_VALUE_NUMBER) drift_put_double(out, value->number);
  if (kind == DRIFT_VALUE_TEXT) {
    drift_put_u32(out, value->length);
    g_byte_array_append(out, (const guint8 *)value->text, value->length);
  }
}

static DriftValue parse_value(DriftReader *reader)
{
  DriftValue value = {.kind = DRIFT_VALUE_MISSING};
  guint8 kind = drift_get_u8(reader);
  if (kind == DRIFT_VALUE_NUMBER) {
    value.kind = DRIFT_VALUE_NUMBER;
    value.number = drift_get_double(reader);
    if (isnan(value.number)) reader->failed = TRUE;
  } else if (kind == DRIFT_VALUE_TEXT) {
    value.kind = DRIFT_VALUE_TEXT;
    value.length = drift_get_u32(reader);
    value.text = (const gchar *)drift_get_block(reader, value.length);
  } else if (kind != DRIFT_VALUE_MISSING) {
    reader->failed = TRUE;
  }
  return value;
}

void drift_labelled_row_append(GByteArray *out, const DriftLabelledRow *row, guint n_features)
{
  drift_put_u8(out, ROW_VERSION);
  drift_put_u16(out, (guint16)n_features);
  drift_put_i64(out, row->traffic_offset);
  drift_put_i64(out, row->label_offset);
  drift_put_i64(out, row->label_time);
  drift_put_i64(out, row->event.event_time);
  drift_put_i64(out, row->event.version);
  drift_put_double(out, row->event.score);
  drift_put_double(out, row->event.latency_ms);
  append_value(out, &row->event.request_id);
  append_value(out, &row->event.prediction);
  append_value(out, &row->label);
  for (guint i = 0; i < n_features; i++) append_value(out, &row->event.features[i]);
}

/* Everything after the version and the number of features. */
static void parse_body(DriftReader *reader, DriftLabelledRow *row, DriftValue *features, guint n_features)
{
  row->traffic_offset = drift_get_i64(reader);
  row->label_offset = drift_get_i64(reader);
  row->label_time = drift_get_i64(reader);
  row->event.event_time = drift_get_i64(reader);
  row->event.version = drift_get_i64(reader);
  row->event.score = drift_get_double(reader);
  row->event.latency_ms = drift_get_double(reader);
  row->event.request_id = parse_value(reader);
  row->event.prediction = parse_value(reader);
  row->label = parse_value(reader);
  for (guint i = 0; i < n_features; i++) features[i] = parse_value(reader);
  row->event.features = features;
}

gsize drift_labelled_row_parse(const guint8 *bytes, gsize length, DriftLabelledRow *row, DriftValue *features,
                               guint capacity, guint *n_features, GError **error)
{
  DriftReader reader;
  drift_reader_init(&reader, bytes, length);
  guint8 version = drift_get_u8(&reader);
  guint count = drift_get_u16(&reader);
  if (!reader.failed && version != ROW_VERSION) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "labelled row: format version %u at offset 0, this program reads version %u", version, ROW_VERSION);
    return 0;
  }
  if (!reader.failed && count > capacity) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "labelled row: %u features, there is room for %u", count,
                capacity);
    return 0;
  }
  DriftLabelledRow parsed;
  if (!reader.failed) parse_body(&reader, &parsed, features, count);
  if (reader.failed) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "labelled row: truncated or damaged at offset %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT,
                (gsize)(reader.at - bytes), length);
    return 0;
  }
  *row = parsed;
  if (n_features != NULL) *n_features = count;
  return (gsize)(reader.at - bytes);
}
