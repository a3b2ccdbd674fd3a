/* Inside of the Kafka source: the only header that shows librdkafka's types.
 *
 * Threads: everything belongs to the source's thread, except KafkaMarks, whose side thread shares only what its lock
 * guards. Order of life: marks are stopped before the handles that they ask are destroyed. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "daemon/source.h"

G_BEGIN_DECLS

typedef struct _KafkaSource KafkaSource;

/* --- source_kafka_client.c: handles, properties, errors ------------------------------------------------------------
 */
typedef enum { KAFKA_MEMBER, KAFKA_FOLLOWER, KAFKA_PRODUCER } KafkaRole;
/* NULL: a property is refused (DAEMON_ERROR_SETTINGS) or no memory. Does not wait for the broker. */
rd_kafka_t *kafka_client_new(KafkaSource *source, KafkaRole role, GError **error);
/* Whether the settings' properties are good, without making anything. */
gboolean kafka_client_check(KafkaSource *source, GError **error);
/* The DaemonError that a librdkafka code stands for. */
DaemonError kafka_error_code(rd_kafka_resp_err_t code);
void kafka_set_error(GError **error, rd_kafka_resp_err_t code, const gchar *doing);
/* Partitions of the topic; 0: it does not exist; -1: error. */
gint32 kafka_client_count(rd_kafka_t *client, const gchar *topic, int timeout_ms, GError **error);

/* --- source_kafka_marks.c: the side thread -------------------------------------------------------------------------
 */
/* It asks for the end marks of the partitions read, in turn: every few ms while records flow (which on librdkafka 2.0
 * wakes the broker thread, that otherwise looks at a queue that was full only once a second), rarely when idle. In
 * manual mode it also counts the partitions of the traffic topics, and it notices that a lost broker answers again. */
typedef struct _KafkaMarks KafkaMarks;
typedef struct {
  rd_kafka_t *client;
  const gchar *topic; /* interned */
  gint32 partition;
} KafkaMarksItem;
/* wake: an eventfd that is written when there is something new to look at. */
KafkaMarks *kafka_marks_new(int wake);
void kafka_marks_stop(KafkaMarks *marks); /* joins the thread; what is known stays */
void kafka_marks_free(KafkaMarks *marks); /* after stop */
/* What to ask about: KafkaMarksItem. Copies. */
void kafka_marks_set_items(KafkaMarks *marks, const GArray *items);
/* Topics whose partitions are to be counted through `client` (manual mode); interned names. */
void kafka_marks_set_topics(KafkaMarks *marks, rd_kafka_t *client, gchar **topics);
gint64 kafka_marks_get_high(KafkaMarks *marks, const gchar *topic, gint32 partition); /* -1: unknown */
gint32 kafka_marks_get_count(KafkaMarks *marks, const gchar *topic);                  /* 0: unknown or none */
void kafka_marks_note_record(KafkaMarks *marks);                                      /* records flow */
void kafka_marks_note_failure(KafkaMarks *marks); /* from now on an answer counts as recovery */
gboolean kafka_marks_has_recovered(KafkaMarks *marks);
guint kafka_marks_get_changes(KafkaMarks *marks); /* grows when a count changes */

/* --- source_kafka_positions.c: partitions, assignment, seek ---------------------------------------------------------
 */
typedef struct {
  const gchar *topic; /* interned */
  gint32 partition;
  gboolean is_traffic;
  gboolean assigned; /* in its handle's assignment */
  gboolean started;  /* told where to begin, and not stopped since */
  gboolean paused;
  gboolean pending; /* the handle does not know `target` yet: whatever comes is older and dropped */
  gboolean broken;  /* the handle gave up on it (offset out of range): only a new assignment starts it again */
  gboolean held;    /* paused in the handle */
  gint64 target;    /* offset or SOURCE_…, which become an offset before anything is read */
  gint64 expected;  /* lowest offset to deliver; -1: any */
  gconstpointer native_topic; /* librdkafka's, when a record of it has been seen: a faster key */
} KafkaPosition;

KafkaPosition *kafka_position_find(KafkaSource *source, const gchar *topic, gint32 partition);
KafkaPosition *kafka_position_get(KafkaSource *source, const gchar *topic, gint32 partition);
/* Brings the handles' assignments and offsets in line with the positions that changed. */
void kafka_positions_apply(KafkaSource *source);
void kafka_position_seek(KafkaSource *source, KafkaPosition *position, gint64 offset);
void kafka_position_stop(KafkaSource *source, KafkaPosition *position);
void kafka_position_pause(KafkaSource *source, KafkaPosition *position, gboolean paused);
/* Manual mode: tells the caller of traffic partitions that the marks thread has found. */
void kafka_positions_discover(KafkaSource *source);
/* librdkafka's rebalance callback (opaque: the source). */
void kafka_positions_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                               void *opaque);

/* --- source_kafka_produce.c ------------------------------------------------------------------------------------------
 */
gboolean kafka_send(KafkaSource *source, const gchar *topic, gint32 partition, const gchar *key, GBytes *value,
                    const gchar *const *headers, GError **error);
gboolean kafka_flush(KafkaSource *source, guint timeout_ms, GError **error);
void kafka_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);

/* --- source_kafka.c
 * ---------------------------------------------------------------------------------------------------- */
struct _KafkaSource {
  Source base;
  SettingsBroker settings; /* own copy */
  gboolean manual;
  SourceCallbacks callbacks;
  gpointer user_data;

  rd_kafka_t *member;   /* joins the group; NULL in manual mode and before subscribe */
  rd_kafka_t *follower; /* assigns itself: label partitions, and everything in manual mode */
  rd_kafka_t *producer;
  int wake; /* eventfd: one of the consumers' queues is no longer empty */

  gchar **traffic_topics; /* interned */
  GHashTable *positions;  /* set of KafkaPosition, owned */
  guint n_pending;
  gboolean items_changed; /* the marks thread must be told */
  KafkaMarks *marks;
  guint seen_changes;

  rd_kafka_message_t *message; /* given last */
  KafkaPosition *last;
  rd_kafka_t *turn;    /* the handle asked first */
  guint burst;         /* records taken from it in a row */
  gboolean has_failed; /* the broker; told once */
  GError *fatal;

  guint in_delivery;
  GError *delivery_error; /* the first since the last flush */
};
/* Makes the follower, or gives it. NULL: error. */
rd_kafka_t *kafka_source_get_follower(KafkaSource *source, GError **error);
void kafka_source_report(KafkaSource *source, const gchar *topic, gint32 partition, const GError *error);
/* librdkafka's error callback (opaque: the source). */
void kafka_source_take_error(rd_kafka_t *client, int code, const char *reason, void *opaque);

G_END_DECLS
