/* What the consumer consists of. One thread owns all of it; only `pending`, `stopping` and the wake-up are shared.
 *
 *   consumer.c             the thread, its loop, taking over reloaded settings
 *   consumer_source.c      opening the source, its callbacks
 *   consumer_model.c       is the model registered; its grid and decoder
 *   consumer_feed.c        (topic, partition) → the shards that want its records; dispatch
 *   consumer_shard.c       a shard's life: acquire, restore, start, drop
 *   consumer_checkpoint.c  writing, and what follows from each way a write can fail
 *   consumer_guard.c       is it still the same topic: ranges, anchors, incidents
 *   consumer_watch.c       idle time-outs, metrics, what health says
 */
#pragma once

#include "daemon/consumer.h"
#include "daemon/decode.h"
#include "daemon/shard.h"
#include "daemon/source.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

/* What a test replaces: where store and source come from, the monotonic clock (us), jitter in [0, 1). */
typedef struct {
  RegistryStore *(*open_store)(const Settings *settings, gpointer user_data, GError **error);
  Source *(*open_source)(const Settings *settings, const SourceCallbacks *callbacks, gpointer consumer,
                         gpointer user_data, GError **error);
  gint64 (*clock)(gpointer user_data);
  double (*random)(gpointer user_data);
  gpointer user_data;
} ConsumerParts;

typedef struct {
  const SettingsModel *settings; /* borrowed from the consumer's settings */
  DriftGrid *grid;               /* NULL: not ready, `problem` says why */
  Decoder *label_decoder;
  gchar *problem;
  gint64 retry_at;
  /* The label decoded last: once a record, however many shards read it. */
  guint64 decoded_serial;
  DecodeReason decoded_reason;
  DecodedLabel decoded;
  gchar *decoded_text;
} ConsumerModel;

typedef enum {
  CONSUMER_SHARD_WAITING, /* for its model, its topics, the store, or the end of a back-off */
  CONSUMER_SHARD_ACTIVE,
  CONSUMER_SHARD_STOPPED /* by an incident, until an operator resets it */
} ConsumerShardState;

typedef struct {
  Consumer *consumer;
  ConsumerModel *model; /* borrowed */
  gint32 partition;
  ConsumerShardState state;
  gchar *problem; /* why it does not run; NULL: nothing to say */
  gint64 retry_at;
  guint failures; /* in a row */
  gint64 epoch;
  gint64 stored_next; /* base offset of the next checkpoint */
  Shard *shard;       /* NULL unless active */
  Decoder *decoder;
  ShardCheckpoint *unwritten; /* taken but not yet written: the store is away */
  gint64 written_at;
  guint records_since; /* the last checkpoint */
  gint64 n_label_partitions;
  gboolean incidents_closed;
  ShardStatistics reported;    /* what the metrics have been told */
  gchar *labels, *model_label; /* of metrics */
} ConsumerShard;

typedef struct {
  ConsumerShard *shard; /* borrowed */
  gboolean is_traffic;
  gboolean verifying; /* the record at anchor.offset is still to be compared; nothing is fed before */
  ShardAnchor anchor;
} ConsumerSubscription;

/* The record delivered last, kept for its digest. */
typedef struct {
  gint64 offset; /* -1: none */
  gint64 timestamp;
  gsize key_length;
  GByteArray *bytes; /* key, value */
  gboolean digested;
  guint8 digest[32];
} ConsumerLast;

typedef struct {
  gchar *topic;
  gint32 partition;
  gint64 position; /* next offset to be delivered */
  gboolean paused;
  gboolean active; /* a record came since the last watch */
  gint64 silent_since;
  ConsumerLast last;
  GArray *subscriptions; /* of ConsumerSubscription */
} ConsumerFeed;

typedef struct {
  gchar *topic;
  gint32 partition;
} ConsumerAssignment;

struct _Consumer {
  Settings *settings;
  Health *health;
  Metrics *metrics;
  ConsumerParts parts;
  gchar *owner;
  gint64 now;

  GThread *thread;
  GMutex mutex; /* guards pending and stopping */
  GCond wake;
  Settings *pending;
  gboolean stopping;

  RegistryStore *store;
  RegistryArtifacts *artifacts;
  gboolean store_down;
  gchar *store_problem;
  guint store_failures;
  gint64 store_retry_at;

  Source *source;
  gboolean broker_down;
  gchar *source_problem;
  guint source_failures;
  gint64 source_retry_at;

  GPtrArray *models;      /* of ConsumerModel* */
  GPtrArray *assignments; /* of ConsumerAssignment* */
  GPtrArray *shards;      /* of ConsumerShard* */
  GPtrArray *feeds;       /* of ConsumerFeed* */
  ConsumerFeed *recent;   /* of the last record: most come in runs */
  guint64 serial;         /* of the record being dispatched */
  gboolean must_tend;     /* a checkpoint is due or a shard has stopped: leave the poll loop */
  gint64 watched_at, counted_at;
  gchar *said;
};

/* consumer.c */
Consumer *consumer_new_with(Settings *settings, Health *health, Metrics *metrics, const ConsumerParts *parts);
void consumer_step(Consumer *consumer, guint timeout_ms); /* one turn of the loop; not beside a running thread */
void consumer_finish(Consumer *consumer);                 /* last checkpoints, closes source and store */
gint64 consumer_backoff(const Consumer *consumer, guint failures); /* us, with jitter */
void consumer_set_text(gchar **text, gchar *value);                /* takes value */

/* consumer_source.c */
Source *consumer_open_real_source(const Settings *settings, const SourceCallbacks *callbacks, gpointer consumer,
                                  gpointer user_data, GError **error);
void consumer_tend_source(Consumer *consumer); /* opens and subscribes when there is none and it is time */
void consumer_close_source(Consumer *consumer);
void consumer_source_failed(Consumer *consumer, const GError *error);

/* consumer_model.c */
ConsumerModel *consumer_model_new(const SettingsModel *settings);
void consumer_model_free(ConsumerModel *model);
gboolean consumer_model_prepare(Consumer *consumer, ConsumerModel *model); /* FALSE: model->problem says why */

/* consumer_feed.c */
ConsumerFeed *consumer_find_feed(Consumer *consumer, const gchar *topic, gint32 partition);
/* Adds the shard to the feed's readers and makes it deliver from the offset on. */
gboolean consumer_subscribe(Consumer *consumer, ConsumerShard *shard, const gchar *topic, gint32 partition,
                            gboolean is_traffic, gint64 from, const ShardAnchor *verify, GError **error);
void consumer_unsubscribe(Consumer *consumer, ConsumerShard *shard);
void consumer_dispatch(Consumer *consumer, const SourceRecord *record);
void consumer_set_pauses(Consumer *consumer); /* what should be paused now is, what should not is not */
const guint8 *consumer_last_digest(ConsumerFeed *feed);
void consumer_feed_free(ConsumerFeed *feed);

/* consumer_shard.c */
ConsumerShard *consumer_shard_new(Consumer *consumer, ConsumerModel *model, gint32 partition);
void consumer_shard_free(ConsumerShard *shard);
void consumer_shard_tend(ConsumerShard *shard); /* starts it when it is time */
/* Forgets the memory; it is acquired again after delay_us. problem (taken) may be NULL. */
void consumer_shard_drop(ConsumerShard *shard, gint64 delay_us, gchar *problem);

/* consumer_checkpoint.c */
/* FALSE: it was not written; what had to follow has been done (kept for later, or dropped). */
gboolean consumer_checkpoint(ConsumerShard *shard);
void consumer_checkpoint_due(Consumer *consumer);
/* The store is away: pause, and come back to it later. */
void consumer_store_failed(Consumer *consumer, const GError *error);
void consumer_tend_store(Consumer *consumer); /* opens, reconnects, writes what was kept */

/* consumer_guard.c */
void consumer_digest(gint64 timestamp, const guint8 *key, gsize key_length, const guint8 *value, gsize value_length,
                     guint8 digest[32]);
/* FALSE: the shard has been stopped by an incident. */
gboolean consumer_check_range(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 next, gint64 low,
                              gint64 high);
gboolean consumer_check_cluster(ConsumerShard *shard, const gchar *cluster_id);
gboolean consumer_check_record(ConsumerSubscription *subscription, ConsumerFeed *feed, const SourceRecord *record);
void consumer_stop_gap(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 offset, const gchar *what);
void consumer_close_incidents(ConsumerShard *shard);

/* consumer_watch.c */
void consumer_watch(Consumer *consumer, gboolean now);
void consumer_count_checkpoint(ConsumerShard *shard, gint64 began_at);

G_END_DECLS
