/* How the join buffer lies in memory: shared by join.c (what it does) and join_chunk.c (its bytes). */
#pragma once

#include "daemon/join.h"

G_BEGIN_DECLS

#define JOIN_BLOCK_ROWS 256u
#define JOIN_BLOCK_BYTES 65536u
#define JOIN_CACHE_BLOCKS 8u
/* Rows between the oldest waiting one and the newest: bounds what the store must keep for one old row. */
#define JOIN_MAX_SPAN(max_waiting) ((guint64)(max_waiting)*4)

/* A matched bitmap of one label partition (several followed). */
typedef struct {
  gint32 label_partition;
  guint8 *bits;
} JoinMarks;

typedef struct {
  guint64 first; /* sequence of the first row */
  guint32 n_rows, n_live;
  gint64 newest_time; /* of its rows */
  guint32 raw_length, zipped_length;
  guint8 *zipped;  /* NULL: dropped, nothing of it is alive */
  guint32 *tags;   /* [n_rows] */
  guint8 *left;    /* bitmap [n_rows]; NULL: none has left */
  GArray *matched; /* of JoinMarks; NULL: none */
} JoinBlock;

/* Raw rows: of the open tail, or of an unpacked block. Row i is bytes[ends[i-1] .. ends[i]). */
typedef struct {
  guint64 first;
  guint32 n_rows;
  guint32 *ends;
  guint8 *bytes;
  guint64 used; /* clock of the last use; 0: empty */
} JoinPage;

/* Open addressing by tag / 2. The sequence is kept modulo 2^32: fewer rows than that are alive at a time. */
typedef struct {
  guint32 tag; /* 32 bits of the hash, the lowest set; 0: empty */
  guint32 sequence;
} JoinSlot;

struct _Join {
  guint n_features;
  DriftValue *features; /* [n_features]: of the row that matched last */
  guint max_waiting;
  gsize max_bytes;
  guint64 next; /* sequence of the next row */
  guint64 n_waiting;
  gsize block_bytes; /* memory of the blocks */

  GPtrArray *blocks; /* of JoinBlock*, by first; dropped ones leave from the front */
  guint n_fresh;     /* blocks at the end that no chunk holds yet */

  GByteArray *tail;      /* raw rows not yet in a block */
  GArray *tail_ends;     /* of guint32 */
  GArray *tail_tags;     /* of guint32 */
  GByteArray *tail_left; /* one byte a row */
  GArray *tail_matched;  /* of JoinMarks with one byte a row in `bits`, JOIN_BLOCK_ROWS long */
  gint64 tail_newest;
  guint32 tail_live;

  JoinSlot *slots;
  guint32 slot_mask;
  guint32 n_slots;

  JoinPage cache[JOIN_CACHE_BLOCKS];
  guint64 clock;
  ShardZip *zip;
};

#define JOIN_ROW_HEAD 24u /* offset, time, arrival */

static inline gboolean join_bit(const guint8 *bits, guint32 i)
{
  return bits != NULL && (bits[i >> 3] >> (i & 7) & 1) != 0;
}

static inline gsize join_bitmap_size(guint32 n_rows)
{
  return (n_rows + 7) / 8;
}

static inline guint32 join_tag(guint64 hash)
{
  return (guint32)(hash >> 32) | 1u;
}

void join_block_free(JoinBlock *block);
/* Counts the block's memory and appends it; takes it. */
void join_add_block(Join *join, JoinBlock *block);
gsize join_block_memory(const JoinBlock *block);
void join_index_add(Join *join, guint32 tag, guint64 sequence);
void join_index_remove(Join *join, guint32 tag, guint64 sequence);
/* Turns the tail into a block; no-op when it is empty. */
void join_seal(Join *join);
/* Frees the block's rows; it stays in the list, empty, until it is at the front. */
void join_drop_block(Join *join, JoinBlock *block);
void join_trim(Join *join);
/* Raw rows of the block through the cache; borrowed until eight other blocks were read. NULL: damaged. */
const JoinPage *join_read_block(Join *join, const JoinBlock *block);
JoinRow join_page_row(const JoinPage *page, guint32 i);
/* The matched bitmap of a label partition, made when `make`; else NULL when there is none. */
guint8 *join_matched_bits(GArray **list, gint32 label_partition, gsize size, gboolean make);
void join_free_matched(GArray *list);

G_END_DECLS
