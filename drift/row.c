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

/* --- rows: the hot path writes and reads one for every labelled event, so that room is made once a row ---------------
 */

static gboolean is_missing(const DriftValue *value)
{
  return value->kind == DRIFT_VALUE_MISSING || (value->kind == DRIFT_VALUE_NUMBER && isnan(value->number));
}

static gsize value_size(const DriftValue *value)
{
  if (is_missing(value)) return 1;
  return value->kind == DRIFT_VALUE_NUMBER ? 1 + sizeof(guint64) : 1 + sizeof(guint32) + value->length;
}

static guint8 *write_u64(guint8 *at, guint64 value)
{
  value = GUINT64_TO_LE(value);
  memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

static guint8 *write_double(guint8 *at, double value)
{
  guint64 bits = G_GUINT64_CONSTANT(0x7ff8000000000000); /* every NaN, as drift_put_double */
  if (!isnan(value)) memcpy(&bits, &value, sizeof bits);
  return write_u64(at, bits);
}

static guint8 *write_value(guint8 *at, const DriftValue *value)
{
  *at++ = (guint8)(is_missing(value) ? DRIFT_VALUE_MISSING : value->kind);
  if (is_missing(value)) return at;
  if (value->kind == DRIFT_VALUE_NUMBER) return write_double(at, value->number);
  guint32 length = GUINT32_TO_LE(value->length);
  memcpy(at, &length, sizeof length);
  at += sizeof length;
  if (value->length > 0) memcpy(at, value->text, value->length);
  return at + value->length;
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

#define ROW_HEAD (1 + 2 + 7 * sizeof(guint64)) /* version, number of features, five integers, two doubles */

void drift_labelled_row_append(GByteArray *out, const DriftLabelledRow *row, guint n_features)
{
  const DriftEvent *event = &row->event;
  gsize size = ROW_HEAD + value_size(&event->request_id) + value_size(&event->prediction) + value_size(&row->label);
  for (guint i = 0; i < n_features; i++) size += value_size(&event->features[i]);
  guint before = out->len;
  g_byte_array_set_size(out, before + (guint)size);
  guint8 *at = out->data + before;
  *at++ = ROW_VERSION;
  *at++ = (guint8)n_features;
  *at++ = (guint8)(n_features >> 8);
  at = write_u64(at, (guint64)row->traffic_offset);
  at = write_u64(at, (guint64)row->label_offset);
  at = write_u64(at, (guint64)row->label_time);
  at = write_u64(at, (guint64)event->event_time);
  at = write_u64(at, (guint64)event->version);
  at = write_double(at, event->score);
  at = write_double(at, event->latency_ms);
  at = write_value(at, &event->request_id);
  at = write_value(at, &event->prediction);
  at = write_value(at, &row->label);
  for (guint i = 0; i < n_features; i++) at = write_value(at, &event->features[i]);
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
