/* Which request ids were seen lately: a two-generation set of 64-bit hashes with bounded memory.
 *
 * A generation ends when the watermark has moved `span_us` since it began, or when it holds `capacity` hashes. An id is
 * therefore remembered while the watermark moves by at least span_us (less than twice that), but never for more than
 * 2 x capacity ids. A new id is taken for a seen one with a probability of at most 2 x capacity / 2^64 (capacity 2^18:
 * 3e-14). What was added since the last checkpoint is kept aside, so that a checkpoint writes only that.
 */
#pragma once

#include "daemon/shard_bytes.h"

G_BEGIN_DECLS

#define SHARD_SEEN_CAPACITY (1u << 18)

typedef struct _ShardSeen ShardSeen;
/* keep_fresh: remember what was added for take_fresh; FALSE: the whole set is written each time (put_canonical). */
ShardSeen *shard_seen_new(gint64 span_us, guint capacity, gboolean keep_fresh);
void shard_seen_free(ShardSeen *seen);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShardSeen, shard_seen_free)
gboolean shard_seen_has(const ShardSeen *seen, guint64 hash);
/* Fetches what a look-up of the hash will read, so that the caller can do something else while memory answers. */
void shard_seen_prefetch(const ShardSeen *seen, guint64 hash);
/* TRUE when the hash was in the set already; else adds it. hash is not 0. watermark never falls. */
gboolean shard_seen_add(ShardSeen *seen, guint64 hash, gint64 watermark);
guint shard_seen_get_count(const ShardSeen *seen);
guint64 shard_seen_get_oldest(const ShardSeen *seen); /* number of the oldest generation still looked up */
gsize shard_seen_get_memory(const ShardSeen *seen);

/* Persistence: the small head goes into every state; the hashes added since the last take go into a chunk. */
void shard_seen_put_head(const ShardSeen *seen, GByteArray *out);
gboolean shard_seen_get_head(ShardSeen *seen, ShardReader *reader);
gboolean shard_seen_has_fresh(const ShardSeen *seen);
/* Appends and forgets the fresh hashes; returns the newest generation among them. */
guint64 shard_seen_take_fresh(ShardSeen *seen, GByteArray *out);
/* Reads one such section; keeps the hashes of the two current generations. Returns the newest generation in it. */
guint64 shard_seen_restore_fresh(ShardSeen *seen, ShardReader *reader);
/* The whole set with its head, sorted: the same set gives the same bytes. */
void shard_seen_put_canonical(const ShardSeen *seen, GByteArray *out);
gboolean shard_seen_get_canonical(ShardSeen *seen, ShardReader *reader);

G_END_DECLS
