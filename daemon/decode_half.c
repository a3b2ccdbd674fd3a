#include "daemon/decode_half.h"

#include <string.h>

static void put(GByteArray *out, gconstpointer bytes, gsize length)
{
  g_byte_array_append(out, bytes, (guint)length);
}

static void put_u32(GByteArray *out, guint32 value)
{
  guint32 little = GUINT32_TO_LE(value);
  put(out, &little, sizeof little);
}

static void put_i64(GByteArray *out, gint64 value)
{
  gint64 little = GINT64_TO_LE(value);
  put(out, &little, sizeof little);
}

static void put_double(GByteArray *out, double value)
{
  gint64 bits;
  memcpy(&bits, &value, sizeof bits);
  put_i64(out, bits);
}

static void put_value(GByteArray *out, const DriftValue *value)
{
  guint8 kind = (guint8)value->kind;
  put(out, &kind, 1);
  if (value->kind == DRIFT_VALUE_NUMBER) put_double(out, value->number);
  if (value->kind != DRIFT_VALUE_TEXT) return;
  put_u32(out, value->length);
  put(out, value->text, value->length);
}

static GByteArray *begin(gint64 time, gint64 version, guint32 n_rows)
{
  GByteArray *out = g_byte_array_new();
  put_i64(out, time);
  put_i64(out, version);
  put_u32(out, n_rows);
  return out;
}

GBytes *decode_half_of_request(const DecodeRequest *request, guint n_features, gint64 time)
{
  GByteArray *out = begin(time, 0, request->n_rows);
  for (gsize i = 0; i < (gsize)request->n_rows * n_features; i++) put_value(out, &request->values[i]);
  return g_byte_array_free_to_bytes(out);
}

GBytes *decode_half_of_response(const DecodeResponse *response, gint64 time)
{
  GByteArray *out = begin(time, response->version, response->n_rows);
  for (guint32 i = 0; i < response->n_rows; i++) {
    put_value(out, &response->predictions[i]);
    put_double(out, response->scores[i]);
  }
  return g_byte_array_free_to_bytes(out);
}

/* NULL with `failed`: not so many bytes left. */
static gconstpointer get(DecodeHalfReader *reader, gsize length)
{
  if (reader->failed || (gsize)(reader->end - reader->at) < length) {
    reader->failed = TRUE;
    return NULL;
  }
  reader->at += length;
  return reader->at - length;
}

static guint32 get_u32(DecodeHalfReader *reader)
{
  guint32 value = 0;
  gconstpointer bytes = get(reader, sizeof value);
  if (bytes != NULL) memcpy(&value, bytes, sizeof value);
  return GUINT32_FROM_LE(value);
}

static gint64 get_i64(DecodeHalfReader *reader)
{
  gint64 value = 0;
  gconstpointer bytes = get(reader, sizeof value);
  if (bytes != NULL) memcpy(&value, bytes, sizeof value);
  return GINT64_FROM_LE(value);
}

double decode_half_get_double(DecodeHalfReader *reader)
{
  gint64 bits = get_i64(reader);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

DriftValue decode_half_get_value(DecodeHalfReader *reader)
{
  DriftValue value = {.kind = DRIFT_VALUE_MISSING};
  const guint8 *kind = get(reader, 1);
  if (kind == NULL || *kind == DRIFT_VALUE_MISSING) return value;
  if (*kind == DRIFT_VALUE_NUMBER) {
    value.number = decode_half_get_double(reader);
    value.kind = DRIFT_VALUE_NUMBER;
  } else if (*kind == DRIFT_VALUE_TEXT) {
    value.length = get_u32(reader);
    value.text = get(reader, value.length);
    value.kind = DRIFT_VALUE_TEXT;
  } else {
    reader->failed = TRUE;
  }
  return reader->failed ? (DriftValue){.kind = DRIFT_VALUE_MISSING} : value;
}

void decode_half_open(DecodeHalfReader *reader, GBytes *half)
{
  gsize length;
  reader->at = g_bytes_get_data(half, &length);
  if (reader->at == NULL) reader->at = (const guint8 *)""; /* empty bytes have none */
  reader->end = reader->at + length;
  reader->failed = FALSE;
  reader->time = get_i64(reader);
  reader->version = get_i64(reader);
  reader->n_rows = get_u32(reader);
}
