/* Shard state: a shard is one partition of a model's traffic topic. State, panes, label rows and all offsets are
 * written in one transaction that checks the epoch and the base offset: zero rows changed means fenced. */
#pragma once

#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  gint64 epoch;
  GBytes *state;      /* opaque to the registry; NULL: never written */
  gint64 next_offset; /* first traffic offset not consumed; -1: never written */
  gchar *owner;
} RegistryShard;
void registry_shard_free(RegistryShard *shard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryShard, registry_shard_free)

typedef struct {
  gint64 number; /* per (model, partition), from 0 without gaps */
  gchar *grid_id;
  gint64 first_offset, next_offset; /* traffic offsets [first, next) */
  gint64 first_time, last_time;     /* event times, microseconds */
  gint64 watermark;                 /* closing watermark */
  guint64 count;                    /* events in the accumulator */
  gchar *coverage;                  /* JSON counts: decoded, dead-lettered by reason, duplicates, late, … */
  GBytes *bytes;                    /* drift accumulator bytes */
} RegistryPane;
typedef struct {
  gint32 label_partition;
  gint64 number;                    /* per (model, partition, label_partition), from 0 without gaps */
  gint64 first_row, next_row;       /* sequence numbers in the labelled log of (partition, label_partition) */
  gint64 first_offset, next_offset; /* label offsets */
  gint64 watermark;                 /* closing watermark of the label partition */
  gint64 first_traffic_offset, last_traffic_offset;
  guint64 count;
  gchar *coverage; /* JSON: matched, unmatched, duplicate, late */
  GBytes *bytes;   /* drift label rows bytes */
} RegistryLabelPane;
void registry_pane_free(RegistryPane *pane);
void registry_label_pane_free(RegistryLabelPane *pane);

/* Rows appended to the labelled log of (partition, label_partition), consecutive from first_row. A row's bytes are
 * opaque to the registry, so the caller says where each one ends. */
typedef struct {
  gint32 label_partition;
  gint64 first_row;
  guint n_rows;
  GBytes *bytes;       /* concatenated drift_labelled_row_append bytes */
  const guint32 *ends; /* [n_rows], borrowed: offset in bytes just past each row; ascending, the last is the size */
} RegistryLabelledRows;

typedef struct {
  gchar *id;    /* deterministic: topic/partition/offset */
  gchar *topic; /* dead-letter topic */
  gchar *reason;
  gchar *source; /* "topic/partition/offset" */
  GBytes *payload;
} RegistryDeadLetter;

/* One checkpoint. Arrays may be NULL. */
typedef struct {
  const gchar *model;
  gint32 partition;
  gint64 epoch;
  gint64 base_offset; /* next_offset of the state this one follows; -1 for the first */
  gint64 next_offset;
  GBytes *state;
  const gchar *consumed;    /* JSON for status and `kedge wait`: {"traffic": N, "labels": {"0": N, …}} */
  gint64 watermark;         /* traffic watermark, for the leader's lowest active watermark */
  gboolean idle;            /* the partition has been idle past its time-out */
  GPtrArray *panes;         /* of RegistryPane* */
  GPtrArray *label_panes;   /* of RegistryLabelPane* */
  GPtrArray *labelled_rows; /* of RegistryLabelledRows* */
  GBytes *join_chunk;       /* predictions added to the join buffer by this checkpoint, or NULL */
  gint64 join_chunk_number;
  gint64 join_chunk_first_live; /* chunks below this number are dropped */
  GPtrArray *dead_letters;      /* of RegistryDeadLetter*: go to the outbox in the same transaction */
} RegistryCheckpoint;

/* epoch = epoch + 1, owner = me, RETURNING state: fences the former owner. */
RegistryShard *registry_shard_acquire(RegistryStore *store, const gchar *model, gint32 partition, const gchar *owner,
                                      GError **error);
/* FENCED: another owner has the shard: drop the memory. Own transaction. */
gboolean registry_shard_checkpoint(RegistryStore *store, const RegistryCheckpoint *checkpoint, GError **error);
/* Chunks [first_live, …) as GBytes in order of number; numbers in `numbers` (GArray of gint64) when not NULL. */
GPtrArray *registry_shard_join_chunks(RegistryStore *store, const gchar *model, gint32 partition, GArray **numbers,
                                      GError **error);

typedef struct {
  gint32 partition;
  gint64 epoch, next_offset, watermark;
  gboolean idle;
  gchar *owner, *consumed;
} RegistryShardStatus;
void registry_shard_status_free(RegistryShardStatus *status);
GPtrArray *registry_shard_list(RegistryStore *store, const gchar *model, GError **error); /* by partition */

/* Panes of one partition with number >= from, in order, at most limit (0: all). with_bytes FALSE leaves bytes NULL. */
GPtrArray *registry_pane_list(RegistryStore *store, const gchar *model, gint32 partition, gint64 from, guint limit,
                              gboolean with_bytes, GError **error);
GPtrArray *registry_label_pane_list(RegistryStore *store, const gchar *model, gint32 partition, gint32 label_partition,
                                    gint64 from, guint limit, gboolean with_bytes, GError **error);

/* The labelled log: rows [first, next) of (partition, label_partition) as bytes in row order (concatenated row bytes).
 * Reads sealed segments through `artifacts` (may be NULL when none is sealed) and the open tail from the store. */

GBytes *registry_labelled_log_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                   gint32 partition, gint32 label_partition, gint64 first_row, gint64 next_row,
                                   GError **error);
gint64 registry_labelled_log_next(RegistryStore *store, const gchar *model, gint32 partition, gint32 label_partition,
                                  GError **error);
/* Seals full stretches of the tail into immutable artifacts (upload first, then the manifest). Leader's housekeeping.
 */
gboolean registry_labelled_log_seal(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                    gint64 rows_per_segment, guint *n_sealed, GError **error);

G_END_DECLS
