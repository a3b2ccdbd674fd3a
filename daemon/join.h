/* The join buffer: predictions that wait for their label. Bounded, compressed, persisted as append-only chunks.
 *
 * Rows are numbered in the order in which they come (`sequence`). They gather in a raw tail; 256 of them (or 64 KiB, or
 * what there is at a checkpoint) become a compressed block. A chunk is the blocks made since the last checkpoint. The
 * index maps 32 bits of the request id's hash to the sequence; the id itself is compared before a match.
 *
 * What a label may match depends on the pair alone, so no order of feeding shows:
 *   same request id;  prediction's arrival watermark <= label time + grace;  label's arrival watermark <= prediction
 *   time + wait (label time <= its arrival watermark, so this includes label time <= prediction time + wait).
 * Of several such predictions the one with the lowest offset is meant.
 * With one followed label partition a prediction leaves at its match; with several each label partition matches it
 * once.
 */
#pragma once

#include "daemon/shard_bytes.h"

G_BEGIN_DECLS

#define JOIN_MAX_WAITING 1000000u                 /* predictions held, at most … */
#define JOIN_MAX_BYTES ((gsize)128 * 1024 * 1024) /* … and bytes of memory */

typedef struct _Join Join;

typedef struct {
  gint64 offset;       /* traffic offset */
  gint64 time;         /* event time, capped at the broker's time + skew */
  gint64 arrival;      /* the shard's watermark once it had arrived */
  const guint8 *bytes; /* drift_labelled_row_append bytes without a label; borrowed until the next call */
  gsize length;
  DriftLabelledRow parsed; /* of a match only: borrows from bytes and from the buffer, until the next call */
} JoinRow;

typedef struct {
  guint64 hash; /* shard_hash of the id */
  const gchar *id;
  gsize id_length;
  gint64 latest_arrival; /* label time + grace: a prediction that arrived later does not match */
  gint64 earliest_time;  /* label's arrival watermark - wait: a prediction before it does not match */
  gint32 label_partition;
  gboolean leaves; /* TRUE: the only followed label partition: the match removes the row */
} JoinQuery;

typedef enum { JOIN_NONE, JOIN_MATCH, JOIN_DUPLICATE /* this label partition has matched it before */ } JoinResult;

/* Rows have n_features features. max_waiting >= 1. */
Join *join_new(guint n_features, guint max_waiting, gsize max_bytes);
void join_free(Join *join);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Join, join_free)

/* Holds an event; offsets never fall. Returns how many of the oldest rows had to be evicted for it. */
guint join_add(Join *join, guint64 hash, const DriftEvent *event, gint64 offset, gint64 time, gint64 arrival);
JoinResult join_match(Join *join, const JoinQuery *query, JoinRow *out);
/* Frees blocks none of whose rows any label can still match: all have left or are older than `earliest_time`. */
void join_expire(Join *join, gint64 earliest_time);
guint64 join_get_waiting(const Join *join); /* rows in memory that have not left */
gsize join_get_memory(const Join *join);
guint64 join_get_next_sequence(const Join *join);
/* Lowest sequence of a row that has not left; join_get_next_sequence when there is none. */
guint64 join_get_first_live(const Join *join);

/* Persistence. Order: take_chunk (seals the tail), then put_marks; restoring: every chunk in order, then get_marks. */
gboolean join_has_fresh(const Join *join);
void join_take_chunk(Join *join, GByteArray *out);
/* Adds the blocks of one section written by join_take_chunk. *next_sequence: the first sequence after it. */
gboolean join_restore_chunk(Join *join, ShardReader *reader, guint64 *next_sequence);
void join_put_marks(const Join *join, GByteArray *out); /* which rows have left or were matched */
gboolean join_get_marks(Join *join, ShardReader *reader);
/* Rows that can still match (time >= earliest_time), independent of blocks and chunks: for shard_canonical_bytes. */
void join_put_canonical(Join *join, gint64 earliest_time, GByteArray *out);

G_END_DECLS
