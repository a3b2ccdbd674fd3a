/* Little-endian bytes of shard state and join chunks: writers that append, one reader that never reads past its end,
 * and compression. Internal to the shard, join and label-queue files. */
#pragma once

#include <glib.h>

#include "drift/row.h"

G_BEGIN_DECLS

void shard_put_u8(GByteArray *out, guint8 value);
void shard_put_u32(GByteArray *out, guint32 value);
void shard_put_u64(GByteArray *out, guint64 value);
void shard_put_u64s(GByteArray *out, const guint64 *values, guint n);
void shard_put_i64(GByteArray *out, gint64 value);
void shard_put_bytes(GByteArray *out, const void *bytes, gsize length); /* u32 length, then the bytes */
void shard_put_value(GByteArray *out, const DriftValue *value);

/* `failed` sticks: after it every read gives zero, so that a caller checks once at the end. */
typedef struct {
  const guint8 *at, *end;
  gboolean failed;
} ShardReader;

void shard_reader_init(ShardReader *reader, const guint8 *bytes, gsize length);
guint8 shard_get_u8(ShardReader *reader);
guint32 shard_get_u32(ShardReader *reader);
guint64 shard_get_u64(ShardReader *reader);
gint64 shard_get_i64(ShardReader *reader);
const guint8 *shard_get_span(ShardReader *reader, gsize length);   /* borrowed; NULL when too short */
const guint8 *shard_get_bytes(ShardReader *reader, gsize *length); /* what shard_put_bytes wrote; borrowed */
DriftValue shard_get_value(ShardReader *reader);                   /* text is borrowed */

/* A compressor with its working memory, so that the hot path does not allocate it anew. One thread at a time. */
typedef struct _ShardZip ShardZip;
ShardZip *shard_zip_new(void);
void shard_zip_free(ShardZip *zip);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShardZip, shard_zip_free)
/* New memory of *zipped_length bytes. */
guint8 *shard_zip_pack(ShardZip *zip, const guint8 *bytes, gsize length, gsize *zipped_length);
/* Unpacks exactly `length` bytes into out; FALSE when the bytes are not that. */
gboolean shard_zip_unpack(ShardZip *zip, const guint8 *zipped, gsize zipped_length, guint8 *out, gsize length);

/* SipHash-1-3 with a fixed key, never 0: equal on every machine and in every release. */
guint64 shard_hash(const gchar *text, gsize length);

G_END_DECLS
