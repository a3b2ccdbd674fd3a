/* Where events come from: Kafka or files, behind one table. Offsets are the caller's: a source never commits. */
#pragma once

#include <glib.h>

#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct _Source Source;

/* One record; everything borrowed until the next poll. */
typedef struct _SourceRecord SourceRecord;
struct _SourceRecord {
  const gchar *topic;
  gint32 partition;
  gint64 offset;
  gint64 timestamp; /* microseconds, the broker's; -1: none */
  const guint8 *key, *value;
  gsize key_length, value_length;
  gpointer native; /* for header look-up */
  /* The last header of that name, not NUL-terminated; NULL: absent. The same as SourceType's; NULL: no headers at all.
   */
  const gchar *(*get_header)(const SourceRecord *record, const gchar *name, gsize *length);
};

/* Called from poll, in the consumer thread. */
typedef struct {
  /* traffic partitions gained: load the state, answer by source_seek for traffic and label partitions */
  void (*assigned)(gpointer user_data, const gchar *topic, gint32 partition);
  /* lost TRUE: somebody else may own it already: drop, do not flush */
  void (*revoked)(gpointer user_data, const gchar *topic, gint32 partition, gboolean lost);
  /* offset out of range, cluster changed, broker unreachable, … text says what to do */
  /* topic NULL and partition -1: the whole source. Codes: DAEMON_ERROR_OFFSET, _TOPIC, _BROKER. */
  void (*failed)(gpointer user_data, const gchar *topic, gint32 partition, const GError *error);
  /* the broker answers again after a failure of the whole source; may be NULL */
  void (*recovered)(gpointer user_data);
} SourceCallbacks;

/* A source belongs to one thread; open one for each thread that needs it (opening does not connect yet). */
typedef struct {
  const gchar *name, *summary;
  Source *(*open)(const SettingsBroker *settings, gboolean manual_assignment, const SourceCallbacks *callbacks,
                  gpointer user_data, GError **error);
  /* Traffic topics take part in the group (or are assigned whole when manual); label topics are followed by seek. */
  gboolean (*subscribe)(Source *source, const gchar *const *traffic_topics, GError **error);
  /* Starts or moves a partition: offset >= 0, or SOURCE_EARLIEST / SOURCE_LATEST. The next record of it is the first
   * one at or after the offset, nothing that was on its way before. Does not wait for the broker. */
  gboolean (*seek)(Source *source, const gchar *topic, gint32 partition, gint64 offset, GError **error);
  /* Delivers nothing more of the partition until the next seek. */
  gboolean (*stop)(Source *source, const gchar *topic, gint32 partition, GError **error);
  gboolean (*pause)(Source *source, const gchar *topic, gint32 partition, gboolean paused, GError **error);
  gint32 (*count_partitions)(Source *source, const gchar *topic, GError **error);
  gboolean (*get_range)(Source *source, const gchar *topic, gint32 partition, gint64 *low, gint64 *high,
                        GError **error);
  /* The last end mark heard of (lag = mark - next offset), without asking anybody; -1: not known yet. */
  gint64 (*get_high_mark)(Source *source, const gchar *topic, gint32 partition);
  gchar *(*get_cluster_id)(Source *source); /* new; NULL: unknown yet */
  /* TRUE with a record, FALSE with nothing within timeout (error set only for fatal conditions). */
  gboolean (*poll)(Source *source, guint timeout_ms, SourceRecord *record, GError **error);
  const gchar *(*get_header)(const SourceRecord *record, const gchar *name, gsize *length); /* NULL: absent */
  /* Informational commit of the group's offsets after a checkpoint. */
  void (*commit)(Source *source, const gchar *topic, gint32 partition, gint64 next_offset);
  gboolean (*produce)(Source *source, const gchar *topic, const gchar *key, GBytes *value, const gchar *const *headers,
                      GError **error); /* headers: name, value, …, NULL; synchronous, at least once */
  /* The same without waiting, for many records: partition -1 chooses by key (murmur2, as Java's producers do; round
   * robin without a key). FALSE only when it could not be queued. flush waits until all are stored, or says why one is
   * not. */
  gboolean (*send)(Source *source, const gchar *topic, gint32 partition, const gchar *key, GBytes *value,
                   const gchar *const *headers, GError **error);
  gboolean (*flush)(Source *source, guint timeout_ms, GError **error);
  void (*close)(Source *source);
} SourceType;

#define SOURCE_EARLIEST ((gint64)-2)
#define SOURCE_LATEST ((gint64)-1)

struct _Source {
  const SourceType *type;
};

extern const SourceType *const source_types[]; /* NULL-terminated: kafka, file */
const SourceType *source_type_find(const gchar *name);
/* The partition of `n` that a key belongs to: murmur2, the same as Java's and (here) librdkafka's producers choose. */
gint32 source_partition_of(const gchar *key, gint32 n);

G_END_DECLS
