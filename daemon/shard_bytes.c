#include "daemon/shard_bytes.h"

#include <string.h>
#include <zstd.h>

void shard_put_u8(GByteArray *out, guint8 value)
{
  g_byte_array_append(out, &value, 1);
}

void shard_put_u32(GByteArray *out, guint32 value)
{
  guint32 little = GUINT32_TO_LE(value);
  g_byte_array_append(out, (const guint8 *)&little, sizeof little);
}

void shard_put_u64(GByteArray *out, guint64 value)
{
  guint64 little = GUINT64_TO_LE(value);
  g_byte_array_append(out, (const guint8 *)&little, sizeof little);
}

void shard_put_u64s(GByteArray *out, const guint64 *values, guint n)
{
#if G_BYTE_ORDER == G_LITTLE_ENDIAN
  if (n > 0) g_byte_array_append(out, (const guint8 *)values, n * (guint)sizeof *values);
#else
  for (guint i = 0; i < n; i++) shard_put_u64(out, values[i]);
#endif
}

void shard_put_i64(GByteArray *out, gint64 value)
{
  shard_put_u64(out, (guint64)value);
}

void shard_put_bytes(GByteArray *out, const void *bytes, gsize length)
{
  shard_put_u32(out, (guint32)length);
  if (length > 0) g_byte_array_append(out, bytes, (guint)length);
}

void shard_put_value(GByteArray *out, const DriftValue *value)
{
  shard_put_u8(out, (guint8)value->kind);
  if (value->kind == DRIFT_VALUE_NUMBER) {
    guint64 bits;
    memcpy(&bits, &value->number, sizeof bits);
    shard_put_u64(out, bits);
  } else if (value->kind == DRIFT_VALUE_TEXT) {
    shard_put_bytes(out, value->text, value->length);
  }
}

void shard_reader_init(ShardReader *reader, const guint8 *bytes, gsize length)
{
  reader->at = bytes;
  reader->end = bytes == NULL ? bytes : bytes + length;
  reader->failed = FALSE;
}

const guint8 *shard_get_span(ShardReader *reader, gsize length)
{
  if (reader->failed || (gsize)(reader->end - reader->at) < length) {
    reader->failed = TRUE;
    return NULL;
  }
  const guint8 *span = reader->at;
  reader->at += length;
  return span;
}

guint8 shard_get_u8(ShardReader *reader)
{
  const guint8 *span = shard_get_span(reader, 1);
  return span == NULL ? 0 : *span;
}

guint32 shard_get_u32(ShardReader *reader)
{
  const guint8 *span = shard_get_span(reader, sizeof(guint32));
  guint32 value = 0;
  if (span != NULL) memcpy(&value, span, sizeof value);
  return GUINT32_FROM_LE(value);
}

guint64 shard_get_u64(ShardReader *reader)
{
  const guint8 *span = shard_get_span(reader, sizeof(guint64));
  guint64 value = 0;
  if (span != NULL) memcpy(&value, span, sizeof value);
  return GUINT64_FROM_LE(value);
}

gint64 shard_get_i64(ShardReader *reader)
{
  return (gint64)shard_get_u64(reader);
}

const guint8 *shard_get_bytes(ShardReader *reader, gsize *length)
{
  *length = shard_get_u32(reader);
  const guint8 *span = shard_get_span(reader, *length);
  if (span == NULL) *length = 0;
  return span;
}

DriftValue shard_get_value(ShardReader *reader)
{
  DriftValue value = {.kind = DRIFT_VALUE_MISSING};
  guint8 kind = shard_get_u8(reader);
  if (kind == DRIFT_VALUE_NUMBER) {
    guint64 bits = shard_get_u64(reader);
    memcpy(&value.number, &bits, sizeof bits);
    value.kind = DRIFT_VALUE_NUMBER;
  } else if (kind == DRIFT_VALUE_TEXT) {
    gsize length;
    value.text = (const gchar *)shard_get_bytes(reader, &length);
    value.length = (guint32)length;
    value.kind = DRIFT_VALUE_TEXT;
  } else if (kind != DRIFT_VALUE_MISSING) {
    reader->failed = TRUE;
  }
  if (reader->failed) value = (DriftValue){.kind = DRIFT_VALUE_MISSING};
  return value;
}

struct _ShardZip {
  ZSTD_CCtx *compress;
  ZSTD_DCtx *decompress;
};

/* The fastest ordinary level: rows are written once and mostly never read. */
#define ZIP_LEVEL 1

ShardZip *shard_zip_new(void)
{
  return g_new0(ShardZip, 1); /* the contexts are made at first use: most shards of a small daemon never need both */
}

void shard_zip_free(ShardZip *zip)
{
  if (zip == NULL) return;
  ZSTD_freeCCtx(zip->compress);
  ZSTD_freeDCtx(zip->decompress);
  g_free(zip);
}

guint8 *shard_zip_pack(ShardZip *zip, const guint8 *bytes, gsize length, gsize *zipped_length)
{
  if (zip->compress == NULL) zip->compress = ZSTD_createCCtx();
  gsize bound = ZSTD_compressBound(length);
  guint8 *zipped = g_malloc(bound);
  gsize size = ZSTD_compressCCtx(zip->compress, zipped, bound, bytes, length, ZIP_LEVEL);
  g_assert(!ZSTD_isError(size)); /* cannot happen: the output has the bound's room */
  *zipped_length = size;
  return g_realloc(zipped, size);
}

gboolean shard_zip_unpack(ShardZip *zip, const guint8 *zipped, gsize zipped_length, guint8 *out, gsize length)
{
  if (zip->decompress == NULL) zip->decompress = ZSTD_createDCtx();
  gsize size = ZSTD_decompressDCtx(zip->decompress, out, length, zipped, zipped_length);
  return !ZSTD_isError(size) && size == length;
}

#define ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

/* Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; 1 compression and 3 finalisation rounds. */
static inline void sip_round(guint64 v[4])
{
  v[0] += v[1];
  v[1] = ROTATE(v[1], 13) ^ v[0];
  v[0] = ROTATE(v[0], 32);
  v[2] += v[3];
  v[3] = ROTATE(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = ROTATE(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = ROTATE(v[1], 17) ^ v[2];
  v[2] = ROTATE(v[2], 32);
}

guint64 shard_hash(const gchar *text, gsize length)
{
  const guint64 key0 = G_GUINT64_CONSTANT(0x6b656467652d6a6f), key1 = G_GUINT64_CONSTANT(0x696e2d6b65792d31);
  guint64 v[4] = {key0 ^ G_GUINT64_CONSTANT(0x736f6d6570736575), key1 ^ G_GUINT64_CONSTANT(0x646f72616e646f6d),
                  key0 ^ G_GUINT64_CONSTANT(0x6c7967656e657261), key1 ^ G_GUINT64_CONSTANT(0x7465646279746573)};
  gsize whole = length & ~(gsize)7;
  for (gsize i = 0; i < whole; i += 8) {
    guint64 word;
    memcpy(&word, text + i, 8);
    word = GUINT64_FROM_LE(word);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
  }
  guint64 last = (guint64)length << 56;
  for (gsize i = whole; i < length; i++) last |= (guint64)(guint8)text[i] << (8 * (i - whole));
  v[3] ^= last;
  sip_round(v);
  v[0] ^= last;
  v[2] ^= 0xff;
  for (guint i = 0; i < 3; i++) sip_round(v);
  guint64 hash = v[0] ^ v[1] ^ v[2] ^ v[3];
  return hash == 0 ? 1 : hash;
}
