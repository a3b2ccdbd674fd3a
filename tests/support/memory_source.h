/* A source for tests: topics in memory, everything under the test's control. Records are delivered in a seeded random
 * order over partitions (in order within each). */
#pragma once

#include "daemon/source.h"

typedef struct _MemoryBroker MemoryBroker; /* outlives its sources; one thread */

MemoryBroker *memory_broker_new(const gchar *cluster_id, guint32 seed);
void memory_broker_free(MemoryBroker *broker);
void memory_broker_create(MemoryBroker *broker, const gchar *topic, gint32 n_partitions);
void memory_broker_add_partition(MemoryBroker *broker, const gchar *topic);
/* Drops the topic's records; offsets begin at 0 again. */
void memory_broker_recreate(MemoryBroker *broker, const gchar *topic);
void memory_broker_set_cluster_id(MemoryBroker *broker, const gchar *cluster_id);
/* Returns the offset. timestamp in microseconds, -1: none. */
gint64 memory_broker_append(MemoryBroker *broker, const gchar *topic, gint32 partition, const gchar *key,
                            const gchar *value, gint64 timestamp);
void memory_broker_delete_before(MemoryBroker *broker, const gchar *topic, gint32 partition, gint64 offset);

/* Borrows broker and callbacks' targets. */
Source *memory_source_open(MemoryBroker *broker, const SourceCallbacks *callbacks, gpointer user_data);
/* What the group coordinator would say; taken over at the next poll of the source. */
void memory_source_assign(Source *source, const gchar *topic, gint32 partition);
void memory_source_revoke(Source *source, const gchar *topic, gint32 partition, gboolean lost);
/* The broker goes away or answers again: at the next poll. */
void memory_source_set_down(Source *source, gboolean down);
/* Records that wait for delivery: started, not paused. */
guint memory_source_get_ready(const Source *source);
gboolean memory_source_is_paused(const Source *source, const gchar *topic, gint32 partition);
gint64 memory_source_get_commit(const Source *source, const gchar *topic, gint32 partition); /* -1: none */
