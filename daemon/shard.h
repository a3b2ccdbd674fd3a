/* A shard: one partition of a model's traffic topic, with the labels that belong to it. A pure state machine: no I/O,
 * no clock, no locks, one thread. Records are fed in; checkpoints come out.
 *
 * Traffic records are fed in offset order, label records in offset order of each label partition; how the two are
 * interleaved changes nothing: at the same consumed offsets the state, the panes, the label panes and the labelled log
 * are the same bytes (as long as nothing is evicted from the join buffer and no idle time-out strikes; both are counted
 * or recorded).
 *
 * Time: microseconds. The watermark is the running maximum of event time, event time capped at the broker's time + skew
 * (uncapped when the broker's time is unknown, -1).
 *   late       an event older than watermark - late_us is counted late: not in the accumulator, not joined.
 *   duplicate  a request id again within dedupe_us (shard_seen.h) is counted: not in the accumulator, not joined.
 *   pair       join.h says which label belongs to which prediction.
 * A label waits in its partition's queue until its prediction is here (match) or the traffic watermark has passed label
 * time + grace (it is not ours, or never will be). So rows enter the labelled log of (partition, label partition) in
 * label-offset order, and a waiting label holds back only its own label partition.
 */
#pragma once

#include "daemon/decode.h"
#include "daemon/settings.h"
#include "drift/accumulator.h"
#include "registry/shard.h"

G_BEGIN_DECLS

/* The watermark before any event. Event times are clamped to +- this, so that sums with limits cannot overflow. */
#define SHARD_TIME_NONE (-(G_GINT64_CONSTANT(1) << 60))
/* Bytes of a dead-lettered record that are kept. */
#define SHARD_DEAD_LETTER_BYTES 65536u
#define SHARD_MAX_LABEL_PARTITIONS 4096

typedef struct _Shard Shard;

typedef struct {
  gint32 partition;            /* of the traffic topic */
  gint32 n_traffic_partitions; /* 1: a label without prediction is "unmatched", else it may be "foreign" */
  gint32 n_label_partitions;   /* 0: no labels, no join buffer */
  gboolean copartitioned;      /* follow only the label partition of our own number */
  gint64 skew_us, late_us, dedupe_us, grace_us, wait_us;
  double sample;        /* fraction of predictions held for their label */
  guint pane_events;    /* events of a pane; 0: by time */
  gint64 pane_us;       /* event time of a pane when pane_events is 0 … */
  gint64 pane_limit_us; /* … and the length it may double to: panes must add up to windows */
  guint label_rows;     /* rows of a label pane */
  guint panes_per_day;  /* a pane's length doubles when a day of event time has more; 0: no bound */
  guint max_waiting;    /* predictions in the join buffer */
  gsize max_waiting_bytes;
  gchar *traffic_topic, *label_topic, *dead_letter_topic; /* owned */
} ShardSettings;

/* Panes by event count: pane_events. By time: the longest length that divides window and slide into at least ten panes
 * (or the longest below that). */
void shard_settings_init(ShardSettings *settings, const SettingsModel *model, gint32 partition,
                         gint32 n_traffic_partitions, gint32 n_label_partitions);
void shard_settings_clear(ShardSettings *settings);

/* References the grid, copies the settings. */
Shard *shard_new(const ShardSettings *settings, DriftGrid *grid);
void shard_free(Shard *shard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shard, shard_free)

/* Takes over a stored state and the join chunks that belong to it (of GBytes; numbers: of gint64) into a new shard.
 * DAEMON_ERROR_STATE: damaged, of another grid, or of a newer format; the shard must be freed then. */
gboolean shard_restore(Shard *shard, GBytes *state, const GPtrArray *chunks, const GArray *numbers, GError **error);
/* The state with its traffic (and labels) set to begin elsewhere, for an operator's reset: to SOURCE_EARLIEST,
 * SOURCE_LATEST or an offset; SHARD_KEEP leaves it. What the state knows of the old records is forgotten. */
#define SHARD_KEEP ((gint64)-3)
GBytes *shard_state_reset(GBytes *state, gint64 traffic, gint64 labels, GError **error);

/* --- where it stands: -1 or -2 (SOURCE_LATEST, SOURCE_EARLIEST): not begun, the caller resolves it and sets it
 * -------- */
gint64 shard_get_next_offset(const Shard *shard);
void shard_set_next_offset(Shard *shard, gint64 offset); /* closes the pane that is open */
/* Closes the open pane, if it has any record, where it stands: for replay, which cuts panes where they were cut before.
 */
void shard_cut_pane(Shard *shard);
/* The label partitions it follows: [0, n), or just one. */
gboolean shard_follows(const Shard *shard, gint32 label_partition);
gint64 shard_get_next_label(const Shard *shard, gint32 label_partition);
void shard_set_next_label(Shard *shard, gint32 label_partition, gint64 offset);

/* What proves that a partition is still the one that was read: offset and digest of the record consumed last. */
typedef struct {
  gint64 offset; /* -1: none */
  guint8 digest[32];
} ShardAnchor;
#define SHARD_TRAFFIC ((gint32)-1)
const ShardAnchor *shard_get_anchor(const Shard *shard, gint32 label_partition); /* SHARD_TRAFFIC: of the traffic */
void shard_set_anchor(Shard *shard, gint32 label_partition, const ShardAnchor *anchor);
const gchar *shard_get_cluster_id(const Shard *shard); /* NULL: not known */
void shard_set_cluster_id(Shard *shard, const gchar *cluster_id);
/* The decoder's state travels with the shard's; NULL: none. */
GBytes *shard_get_decoder_state(const Shard *shard); /* borrowed */
void shard_set_decoder_state(Shard *shard, GBytes *bytes);

/* --- feeding: records below the next offset are ignored
 * --------------------------------------------------------------- */
void shard_feed_traffic(Shard *shard, const SourceRecord *record, const DecodedTraffic *decoded);
/* n_expired: halves the decoder gave up during this record. */
void shard_feed_dead_letter(Shard *shard, const SourceRecord *record, DecodeReason reason, const gchar *text,
                            guint n_expired);
void shard_feed_label(Shard *shard, const SourceRecord *record, const DecodedLabel *label);
void shard_feed_label_dead_letter(Shard *shard, const SourceRecord *record, DecodeReason reason, const gchar *text);
/* The traffic partition has been silent past its time-out; recorded until its next record. Waiting labels are resolved
 * by the watermark of their own label partition; a full queue is resolved altogether. */
void shard_set_idle(Shard *shard);
/* A label partition has been silent past its time-out: it no longer keeps predictions waiting, its watermark rises to
 * the traffic's. If the traffic is idle too, its waiting labels are resolved. */
void shard_set_label_idle(Shard *shard, gint32 label_partition);
gboolean shard_is_idle(const Shard *shard);
/* How full the label partition's queue is: from 1 on it should be paused, until it is half empty; changes no result. */
double shard_get_label_fill(const Shard *shard, gint32 label_partition);

/* --- checkpoints
 * -------------------------------------------------------------------------------------------------------- */
typedef struct {
  RegistryCheckpoint content; /* model and epoch are the caller's to set; all else is owned */
  gchar *consumed;
} ShardCheckpoint;
gboolean shard_has_news(const Shard *shard);       /* anything consumed or recorded since the last take */
gsize shard_get_pending_bytes(const Shard *shard); /* memory that the next checkpoint will hand over */
/* All that happened since the last one. The shard goes on from there: write it, or drop the shard. */
ShardCheckpoint *shard_take_checkpoint(Shard *shard);
void shard_checkpoint_free(ShardCheckpoint *checkpoint);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShardCheckpoint, shard_checkpoint_free)

typedef struct {
  guint64 events, late, duplicates, labels, unmatched, label_duplicates, evicted; /* since shard_new */
  guint64 dead_letters[DECODE_N_REASONS];
  guint64 waiting;  /* predictions in the join buffer */
  guint64 queued;   /* labels waiting */
  gint64 watermark; /* SHARD_TIME_NONE: none yet */
  gsize memory;     /* bytes held, about */
} ShardStatistics;
void shard_get_statistics(const Shard *shard, ShardStatistics *out);

/* The logical state, free of everything that depends on where checkpoints were cut: for tests. */
GBytes *shard_canonical_bytes(Shard *shard);

G_END_DECLS
