#include "drift/bytes_internal.h"

#include <math.h>
#include <string.h>
#include <zstd.h>

#include "drift/schema.h"

/* Level 3 is zstd's default: the gain of higher levels on bin counts is small and a pane is closed on the hot thread.
 */
#define FRAME_LEVEL 3
#define FRAME_HEADER 17

void drift_reader_init(DriftReader *reader, const guint8 *bytes, gsize length)
{
  static const guint8 nothing = 0; /* NULL + 0 is undefined, and GBytes of no bytes have NULL */
  reader->at = bytes != NULL ? bytes : &nothing;
  reader->end = reader->at + length;
  reader->failed = FALSE;
}

gsize drift_reader_left(const DriftReader *reader)
{
  return reader->failed ? 0 : (gsize)(reader->end - reader->at);
}

const guint8 *drift_get_block(DriftReader *reader, gsize length)
{
  if (reader->failed || length > (gsize)(reader->end - reader->at)) {
    reader->failed = TRUE;
    return NULL;
  }
  const guint8 *block = reader->at;
  reader->at += length;
  return block;
}

/* `width` is a constant everywhere: the compiler makes one load of it. */
static inline guint64 get_little_endian(DriftReader *reader, guint width)
{
  const guint8 *block = drift_get_block(reader, width);
  guint64 value = 0;
  if (block != NULL) memcpy(&value, block, width);
#if G_BYTE_ORDER == G_LITTLE_ENDIAN
  return value;
#else
  return GUINT64_FROM_LE(value);
#endif
}

guint8 drift_get_u8(DriftReader *reader)
{
  return (guint8)get_little_endian(reader, 1);
}

guint16 drift_get_u16(DriftReader *reader)
{
  return (guint16)get_little_endian(reader, 2);
}

guint32 drift_get_u32(DriftReader *reader)
{
  return (guint32)get_little_endian(reader, 4);
}

guint64 drift_get_u64(DriftReader *reader)
{
  return get_little_endian(reader, 8);
}

gint64 drift_get_i64(DriftReader *reader)
{
  guint64 bits = drift_get_u64(reader);
  gint64 value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

double drift_get_double(DriftReader *reader)
{
  guint64 bits = drift_get_u64(reader);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

guint64 drift_get_varint(DriftReader *reader)
{
  guint64 value = 0;
  for (guint shift = 0; shift < 64; shift += 7) {
    guint8 byte = drift_get_u8(reader);
    if (reader->failed) return 0;
    gboolean overflows = shift == 63 && byte > 1;
    gboolean padded = shift > 0 && byte == 0;
    if (overflows || padded) break;
    value |= (guint64)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  reader->failed = TRUE;
  return 0;
}

gchar *drift_get_string(DriftReader *reader, gsize cap)
{
  gsize length = drift_get_u32(reader);
  const guint8 *block = length <= cap ? drift_get_block(reader, length) : NULL;
  if (block == NULL || !g_utf8_validate_len((const gchar *)block, length, NULL)) {
    reader->failed = TRUE;
    return NULL;
  }
  return g_strndup((const gchar *)block, length);
}

static void put_little_endian(GByteArray *out, guint64 value, guint width)
{
  guint8 bytes[8];
  for (guint i = 0; i < width; i++) bytes[i] = (guint8)(value >> (8 * i));
  g_byte_array_append(out, bytes, width);
}

void drift_put_u8(GByteArray *out, guint8 value)
{
  put_little_endian(out, value, 1);
}

void drift_put_u16(GByteArray *out, guint16 value)
{
  put_little_endian(out, value, 2);
}

void drift_put_u32(GByteArray *out, guint32 value)
{
  put_little_endian(out, value, 4);
}

void drift_put_u64(GByteArray *out, guint64 value)
{
  put_little_endian(out, value, 8);
}

void drift_put_i64(GByteArray *out, gint64 value)
{
  guint64 bits;
  memcpy(&bits, &value, sizeof bits);
  drift_put_u64(out, bits);
}

void drift_put_double(GByteArray *out, double value)
{
  guint64 bits = G_GUINT64_CONSTANT(0x7ff8000000000000);
  if (!isnan(value)) memcpy(&bits, &value, sizeof bits);
  drift_put_u64(out, bits);
}

void drift_put_varint(GByteArray *out, guint64 value)
{
  guint8 bytes[10];
  guint length = 0;
  do {
    guint8 low = value & 0x7f;
    value >>= 7;
    bytes[length++] = value != 0 ? low | 0x80 : low;
  } while (value != 0);
  g_byte_array_append(out, bytes, length);
}

void drift_put_string(GByteArray *out, const gchar *text)
{
  gsize length = strlen(text);
  drift_put_u32(out, (guint32)length);
  g_byte_array_append(out, (const guint8 *)text, (guint)length);
}

guint64 drift_digest(const guint8 *bytes, gsize length)
{
  guint64 hash = G_GUINT64_CONSTANT(0xcbf29ce484222325);
  for (gsize i = 0; i < length; i++) hash = (hash ^ bytes[i]) * G_GUINT64_CONSTANT(0x100000001b3);
  hash ^= hash >> 32;
  hash *= G_GUINT64_CONSTANT(0xd6e8feb86659fd93);
  return hash ^ hash >> 32;
}

GBytes *drift_frame_pack(const gchar magic[4], guint8 version, const GByteArray *raw)
{
  g_autoptr(GByteArray) out = g_byte_array_new();
  g_byte_array_append(out, (const guint8 *)magic, 4);
  drift_put_u8(out, version);
  drift_put_u32(out, raw->len);
  drift_put_u64(out, drift_digest(raw->data, raw->len));
  gsize bound = ZSTD_compressBound(raw->len);
  g_byte_array_set_size(out, FRAME_HEADER + (guint)bound);
  gsize used = ZSTD_compress(out->data + FRAME_HEADER, bound, raw->data, raw->len, FRAME_LEVEL);
  /* With a destination of compressBound bytes the only failure left is that of its small work space. */
  g_return_val_if_fail(!ZSTD_isError(used), NULL);
  g_byte_array_set_size(out, FRAME_HEADER + (guint)used);
  return g_byte_array_free_to_bytes(g_steal_pointer(&out));
}

guint8 drift_frame_version(GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  return length > 4 ? data[4] : 0;
}

/* Decompresses and checks length and digest; `raw` has room for `raw_length`. */
static gboolean frame_body_matches(const DriftReader *body, guint8 *raw, gsize raw_length, guint64 digest)
{
  gsize used = ZSTD_decompress(raw, raw_length, body->at, drift_reader_left(body));
  return !ZSTD_isError(used) && used == raw_length && drift_digest(raw, raw_length) == digest;
}

GBytes *drift_frame_unpack(const gchar magic[4], guint8 version, gsize cap, const gchar *what, GBytes *bytes,
                           GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  const guint8 *found_magic = drift_get_block(&reader, 4);
  guint8 found_version = drift_get_u8(&reader);
  gsize raw_length = drift_get_u32(&reader);
  guint64 digest = drift_get_u64(&reader);
  if (reader.failed || memcmp(found_magic, magic, 4) != 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "%s: these %" G_GSIZE_FORMAT " bytes are not one (no \"%.4s\" at offset 0)", what, length, magic);
    return NULL;
  }
  if (found_version != version) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "%s: format version %u at offset 4, this program reads version %u: use the program that wrote it", what,
                found_version, version);
    return NULL;
  }
  if (raw_length > cap) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "%s: claims %" G_GSIZE_FORMAT " bytes at offset 5, more than the cap of %" G_GSIZE_FORMAT, what,
                raw_length, cap);
    return NULL;
  }
  guint8 *raw = g_try_malloc(MAX(raw_length, 1));
  if (raw == NULL || !frame_body_matches(&reader, raw, raw_length, digest)) {
    g_free(raw);
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "%s: damaged: the compressed part at offset %d does not give the %" G_GSIZE_FORMAT
                " bytes and the digest that the header states",
                what, FRAME_HEADER, raw_length);
    return NULL;
  }
  return g_bytes_new_take(raw, raw_length);
}
