/* What a shard consists of: shared by shard.c (traffic), shard_pane.c, shard_label.c (labels), shard_state.c and
 * shard_restore.c (bytes), shard_checkpoint.c. */
#pragma once

#include "daemon/join.h"
#include "daemon/label_queue.h"
#include "daemon/shard.h"
#include "daemon/shard_seen.h"
#include "drift/window.h"

G_BEGIN_DECLS

#define SHARD_STATE_VERSION 1
#define SHARD_CHUNK_VERSION 1
/* Matches remembered to tell a second label from one that never had a prediction: counts only. */
#define SHARD_MATCHED_CAPACITY 4096u

/* The open traffic pane, but for its accumulator. */
typedef struct {
  gint64 number;
  gint64 first_offset;          /* -1: no record yet */
  gint64 first_time, last_time; /* of accepted events */
  gint64 slot;                  /* by time: which stretch of event time it covers; G_MININT64: none yet */
  guint64 records, events, late, duplicates, held, sampled_out, evicted;
  guint64 dead_letters[DECODE_N_REASONS];
} ShardPane;

/* The open label pane. */
typedef struct {
  gint64 number;
  gint64 first_row;
  gint64 first_offset;                /* -1: nothing resolved yet */
  gint64 first_traffic, last_traffic; /* lowest and highest traffic offset of its rows; -1: none */
  guint64 unmatched, duplicates, sampled_out, dead_letters;
  GArray *rows; /* of DriftLabelRow */
} ShardLabelPane;

/* One label partition as this shard sees it. */
typedef struct {
  gint32 partition;
  gint64 next;      /* label offset; < 0: not begun */
  gint64 watermark; /* of what was read, lifted by idle time-outs */
  gint64 resolved;  /* of what was resolved, by the labels' own times only: no idle time-out shows in a label pane */
  ShardAnchor anchor;
  LabelQueue *queue;
  guint64 head_hash;    /* of the waiting head; 0: none waits */
  gint64 head_deadline; /* traffic watermark beyond which the head cannot match any more */
  gint64 head_arrival;
  ShardLabelPane pane;
  gint64 next_row;    /* sequence number of the next row of the labelled log */
  ShardSeen *matched; /* only when this is the only label partition; else NULL */
  GByteArray *rows;   /* labelled rows since the last checkpoint … */
  GArray *ends;       /* of guint32: … and where each ends */
} ShardTrack;

/* A join chunk in the store that may still be needed. */
typedef struct {
  gint64 number;
  guint64 next_sequence; /* of the join buffer, after it */
  guint64 generation;    /* newest of the seen request ids in it; 0: none */
} ShardChunk;

struct _Shard {
  ShardSettings settings;
  DriftGrid *grid;
  guint n_features;
  gint64 next_offset;
  gint64 watermark;
  gboolean idle, news;
  gchar *cluster_id;
  ShardAnchor anchor;
  GBytes *decoder_state;

  DriftAccumulator *accumulator; /* of the open pane */
  ShardPane pane;
  guint64 pane_factor; /* panes are that many times longer than the settings say */
  gint64 day;          /* of event time, in which panes are counted */
  guint64 day_panes;
  ShardSeen *seen; /* NULL: duplicates are not looked for */

  Join *join;        /* NULL: no labels */
  GPtrArray *tracks; /* of ShardTrack* or NULL, by label partition; owned */
  guint n_followed;
  guint64 head_mask;    /* bit (hash & 63) of every waiting head */
  gint64 next_deadline; /* lowest head_deadline; G_MAXINT64: none waits */
  guint64 sample_below; /* hashes from here on are not held */

  GArray *chunks; /* of ShardChunk, by number */
  gint64 next_chunk;
  GPtrArray *panes, *label_panes, *dead_letters; /* closed since the last checkpoint */
  gsize pending_bytes;
  ShardStatistics statistics;
};

static inline gint64 shard_cap_time(gint64 time, gint64 broker_time, gint64 skew_us)
{
  if (broker_time >= 0 && time > broker_time + skew_us) time = broker_time + skew_us;
  return CLAMP(time, SHARD_TIME_NONE, -SHARD_TIME_NONE);
}

/* shard_pane.c */
void shard_pane_reset(Shard *shard);
/* By time: closes the open pane when this record would lift the watermark into another stretch of event time. */
void shard_pane_before_record(Shard *shard, gint64 offset, gint64 newest_time);
void shard_pane_after_record(Shard *shard);
void shard_pane_close(Shard *shard, gint64 next_offset);
/* shard_dead_letter.c */
void shard_dead_letter_free(RegistryDeadLetter *letter);
void shard_add_dead_letter(Shard *shard, const gchar *topic, const SourceRecord *record, DecodeReason reason,
                           const gchar *text);

/* shard_label.c */
ShardTrack *shard_find_track(const Shard *shard, gint32 label_partition); /* NULL: none */
ShardTrack *shard_make_track(Shard *shard, gint32 label_partition);
void shard_track_free(ShardTrack *track);
/* To be called when an event was taken: hash of a prediction just held, or 0. Resolves the heads that can be now. */
void shard_labels_advance(Shard *shard, guint64 held_hash);
/* Resolves labels from the head of the queue as far as can be; `flush`: all of them, matched or not. */
void shard_track_resolve(Shard *shard, ShardTrack *track, gboolean flush);
void shard_refresh_heads(Shard *shard);
/* Predictions older than this no label can match any more. */
gint64 shard_join_horizon(const Shard *shard);
/* shard_label_pane.c */
void shard_label_pane_add(Shard *shard, ShardTrack *track, const LabelEntry *entry, const DriftLabelledRow *row);

/* shard_state.c: canonical leaves out what depends on where checkpoints were cut. */
void shard_put_payload(Shard *shard, GByteArray *out, gboolean canonical);
GBytes *shard_state_bytes(Shard *shard);
/* Fixed head of a state: magic, next offset, what to do with the labels, whether anchors hold. */
#define SHARD_HEAD_BYTES 26u

G_END_DECLS
