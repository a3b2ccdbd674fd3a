#include "tests/support/memory_source.h"

#include <string.h>

typedef struct {
  gchar *key, *value;
  gint64 timestamp;
} Record;

typedef struct {
  gchar *topic;
  gint32 number;
  gint64 low;
  GPtrArray *records; /* of Record*, by offset; NULL: deleted */
} Partition;

struct _MemoryBroker {
  gchar *cluster_id;
  GPtrArray *partitions; /* of Partition* */
  GRand *random;
};

typedef struct {
  gchar *topic;
  gint32 number;
  gint64 position, commit;
  gboolean started, paused;
} Reader;

typedef struct {
  gchar *topic;
  gint32 number;
  gchar kind; /* 'a'ssign, 'r'evoke, 'l'ost, 'd'own, 'u'p */
} Notice;

typedef struct {
  Source source;
  MemoryBroker *broker;
  SourceCallbacks callbacks;
  gpointer user_data;
  gchar **topics;
  GPtrArray *readers; /* of Reader* */
  GQueue notices;     /* of Notice* */
  gboolean down;
} MemorySource;

static const SourceType memory_source;

/* --- broker ----------------------------------------------------------------------------------------------------------
 */

static void record_free(gpointer data)
{
  Record *record = data;
  if (record == NULL) return;
  g_free(record->key);
  g_free(record->value);
  g_free(record);
}

static void partition_free(gpointer data)
{
  Partition *partition = data;
  g_ptr_array_unref(partition->records);
  g_free(partition->topic);
  g_free(partition);
}

MemoryBroker *memory_broker_new(const gchar *cluster_id, guint32 seed)
{
  MemoryBroker *broker = g_new0(MemoryBroker, 1);
  broker->cluster_id = g_strdup(cluster_id);
  broker->partitions = g_ptr_array_new_with_free_func(partition_free);
  broker->random = g_rand_new_with_seed(seed);
  return broker;
}

void memory_broker_free(MemoryBroker *broker)
{
  g_ptr_array_unref(broker->partitions);
  g_rand_free(broker->random);
  g_free(broker->cluster_id);
  g_free(broker);
}

static Partition *find(const MemoryBroker *broker, const gchar *topic, gint32 number)
{
  for (guint i = 0; i < broker->partitions->len; i++) {
    Partition *partition = broker->partitions->pdata[i];
    if (partition->number == number && strcmp(partition->topic, topic) == 0) return partition;
  }
  return NULL;
}

void memory_broker_add_partition(MemoryBroker *broker, const gchar *topic)
{
  gint32 number = 0;
  while (find(broker, topic, number) != NULL) number++;
  Partition *partition = g_new0(Partition, 1);
  partition->topic = g_strdup(topic);
  partition->number = number;
  partition->records = g_ptr_array_new_with_free_func(record_free);
  g_ptr_array_add(broker->partitions, partition);
}

void memory_broker_create(MemoryBroker *broker, const gchar *topic, gint32 n_partitions)
{
  for (gint32 number = 0; number < n_partitions; number++) memory_broker_add_partition(broker, topic);
}

void memory_broker_recreate(MemoryBroker *broker, const gchar *topic)
{
  for (guint i = 0; i < broker->partitions->len; i++) {
    Partition *partition = broker->partitions->pdata[i];
    if (strcmp(partition->topic, topic) != 0) continue;
    g_ptr_array_set_size(partition->records, 0);
    partition->low = 0;
  }
}

void memory_broker_set_cluster_id(MemoryBroker *broker, const gchar *cluster_id)
{
  g_free(broker->cluster_id);
  broker->cluster_id = g_strdup(cluster_id);
}

gint64 memory_broker_append(MemoryBroker *broker, const gchar *topic, gint32 partition, const gchar *key,
                            const gchar *value, gint64 timestamp)
{
  Partition *found = find(broker, topic, partition);
  Record *record = g_new0(Record, 1);
  record->key = g_strdup(key);
  record->value = g_strdup(value);
  record->timestamp = timestamp;
  g_ptr_array_add(found->records, record);
  return (gint64)found->records->len - 1;
}

void memory_broker_delete_before(MemoryBroker *broker, const gchar *topic, gint32 partition, gint64 offset)
{
  find(broker, topic, partition)->low = offset;
}

/* --- source ----------------------------------------------------------------------------------------------------------
 */

static MemorySource *of(Source *source)
{
  return (MemorySource *)source;
}

static void reader_free(gpointer data)
{
  Reader *reader = data;
  g_free(reader->topic);
  g_free(reader);
}

Source *memory_source_open(MemoryBroker *broker, const SourceCallbacks *callbacks, gpointer user_data)
{
  MemorySource *source = g_new0(MemorySource, 1);
  source->source.type = &memory_source;
  source->broker = broker;
  source->callbacks = *callbacks;
  source->user_data = user_data;
  source->readers = g_ptr_array_new_with_free_func(reader_free);
  g_queue_init(&source->notices);
  return &source->source;
}

static void notice_free(gpointer data)
{
  Notice *notice = data;
  g_free(notice->topic);
  g_free(notice);
}

static void close_source(Source *base)
{
  MemorySource *source = of(base);
  g_queue_clear_full(&source->notices, notice_free);
  g_ptr_array_unref(source->readers);
  g_strfreev(source->topics);
  g_free(source);
}

static void notify(Source *base, gchar kind, const gchar *topic, gint32 number)
{
  Notice *notice = g_new0(Notice, 1);
  notice->kind = kind;
  notice->topic = g_strdup(topic);
  notice->number = number;
  g_queue_push_tail(&of(base)->notices, notice);
}

void memory_source_assign(Source *source, const gchar *topic, gint32 partition)
{
  notify(source, 'a', topic, partition);
}

void memory_source_revoke(Source *source, const gchar *topic, gint32 partition, gboolean lost)
{
  notify(source, lost ? 'l' : 'r', topic, partition);
}

void memory_source_set_down(Source *source, gboolean down)
{
  notify(source, down ? 'd' : 'u', NULL, -1);
}

static void deliver_notice(MemorySource *source, const Notice *notice)
{
  const SourceCallbacks *callbacks = &source->callbacks;
  if (notice->kind == 'a') callbacks->assigned(source->user_data, notice->topic, notice->number);
  if (notice->kind == 'r' || notice->kind == 'l')
    callbacks->revoked(source->user_data, notice->topic, notice->number, notice->kind == 'l');
  if (notice->kind == 'u' || notice->kind == 'd') source->down = notice->kind == 'd';
  if (notice->kind == 'u') callbacks->recovered(source->user_data);
  if (notice->kind != 'd') return;
  g_autoptr(GError) error = g_error_new_literal(DAEMON_ERROR, DAEMON_ERROR_BROKER, "no broker answers");
  callbacks->failed(source->user_data, NULL, -1, error);
}

static gboolean subscribe(Source *base, const gchar *const *topics, GError **error)
{
  (void)error;
  g_strfreev(of(base)->topics);
  of(base)->topics = g_strdupv((gchar **)topics);
  return TRUE;
}

static Reader *find_reader(const MemorySource *source, const gchar *topic, gint32 number)
{
  for (guint i = 0; i < source->readers->len; i++) {
    Reader *reader = source->readers->pdata[i];
    if (reader->number == number && strcmp(reader->topic, topic) == 0) return reader;
  }
  return NULL;
}

static gboolean seek(Source *base, const gchar *topic, gint32 number, gint64 offset, GError **error)
{
  MemorySource *source = of(base);
  Partition *partition = find(source->broker, topic, number);
  if (partition == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "topic %s has no partition %d", topic, number);
    return FALSE;
  }
  Reader *reader = find_reader(source, topic, number);
  if (reader == NULL) {
    reader = g_new0(Reader, 1);
    reader->topic = g_strdup(topic);
    reader->number = number;
    reader->commit = -1;
    g_ptr_array_add(source->readers, reader);
  }
  reader->position = offset == SOURCE_EARLIEST ? partition->low
                     : offset == SOURCE_LATEST ? partition->records->len
                                               : offset;
  reader->started = TRUE;
  return TRUE;
}

static gboolean stop(Source *base, const gchar *topic, gint32 number, GError **error)
{
  (void)error;
  Reader *reader = find_reader(of(base), topic, number);
  if (reader != NULL) reader->started = reader->paused = FALSE;
  return TRUE;
}

static gboolean pause_partition(Source *base, const gchar *topic, gint32 number, gboolean paused, GError **error)
{
  (void)error;
  Reader *reader = find_reader(of(base), topic, number);
  if (reader != NULL) reader->paused = paused;
  return reader != NULL;
}

static gint32 count_partitions(Source *base, const gchar *topic, GError **error)
{
  const MemoryBroker *broker = of(base)->broker;
  gint32 n = 0;
  while (find(broker, topic, n) != NULL) n++;
  if (n == 0) g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "topic %s does not exist: create it", topic);
  return n == 0 ? -1 : n;
}

static gboolean get_range(Source *base, const gchar *topic, gint32 number, gint64 *low, gint64 *high, GError **error)
{
  const Partition *partition = find(of(base)->broker, topic, number);
  if (partition == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "topic %s has no partition %d", topic, number);
    return FALSE;
  }
  *low = partition->low;
  *high = partition->records->len;
  return TRUE;
}

static gint64 get_high_mark(Source *base, const gchar *topic, gint32 number)
{
  const Partition *partition = find(of(base)->broker, topic, number);
  return partition == NULL ? -1 : (gint64)partition->records->len;
}

static gchar *get_cluster_id(Source *base)
{
  return g_strdup(of(base)->broker->cluster_id);
}

static gboolean is_ready(const MemorySource *source, const Reader *reader)
{
  const Partition *partition = find(source->broker, reader->topic, reader->number);
  return reader->started && !reader->paused && reader->position < (gint64)partition->records->len;
}

static gboolean poll_source(Source *base, guint timeout_ms, SourceRecord *out, GError **error)
{
  MemorySource *source = of(base);
  (void)timeout_ms;
  (void)error;
  for (Notice *notice; (notice = g_queue_pop_head(&source->notices)) != NULL; notice_free(notice))
    deliver_notice(source, notice);
  g_autoptr(GPtrArray) ready = g_ptr_array_new();
  for (guint i = 0; i < source->readers->len && !source->down; i++)
    if (is_ready(source, source->readers->pdata[i])) g_ptr_array_add(ready, source->readers->pdata[i]);
  if (ready->len == 0) return FALSE;
  Reader *reader = ready->pdata[g_rand_int_range(source->broker->random, 0, (gint32)ready->len)];
  const Partition *partition = find(source->broker, reader->topic, reader->number);
  reader->position = MAX(reader->position, partition->low);
  if (reader->position >= (gint64)partition->records->len) return FALSE;
  const Record *record = partition->records->pdata[reader->position];
  *out = (SourceRecord){.topic = partition->topic,
                        .partition = partition->number,
                        .offset = reader->position++,
                        .timestamp = record->timestamp,
                        .key = (const guint8 *)record->key,
                        .key_length = record->key == NULL ? 0 : strlen(record->key),
                        .value = (const guint8 *)record->value,
                        .value_length = strlen(record->value)};
  return TRUE;
}

static const gchar *get_header(const SourceRecord *record, const gchar *name, gsize *length)
{
  (void)record;
  (void)name;
  (void)length;
  return NULL;
}

static void commit(Source *base, const gchar *topic, gint32 number, gint64 next_offset)
{
  Reader *reader = find_reader(of(base), topic, number);
  if (reader != NULL) reader->commit = next_offset;
}

static gboolean send_record(Source *base, const gchar *topic, gint32 number, const gchar *key, GBytes *value,
                            const gchar *const *headers, GError **error)
{
  (void)headers;
  (void)error;
  g_autofree gchar *text = g_strndup(g_bytes_get_data(value, NULL), g_bytes_get_size(value));
  memory_broker_append(of(base)->broker, topic, MAX(number, 0), key, text, -1);
  return TRUE;
}

static gboolean produce(Source *base, const gchar *topic, const gchar *key, GBytes *value, const gchar *const *headers,
                        GError **error)
{
  return send_record(base, topic, 0, key, value, headers, error);
}

static gboolean flush(Source *base, guint timeout_ms, GError **error)
{
  (void)base;
  (void)timeout_ms;
  (void)error;
  return TRUE;
}

static const SourceType memory_source = {.name = "memory",
                                         .summary = "topics in memory, for tests",
                                         .subscribe = subscribe,
                                         .seek = seek,
                                         .stop = stop,
                                         .pause = pause_partition,
                                         .count_partitions = count_partitions,
                                         .get_range = get_range,
                                         .get_high_mark = get_high_mark,
                                         .get_cluster_id = get_cluster_id,
                                         .poll = poll_source,
                                         .get_header = get_header,
                                         .commit = commit,
                                         .produce = produce,
                                         .send = send_record,
                                         .flush = flush,
                                         .close = close_source};

guint memory_source_get_ready(const Source *base)
{
  const MemorySource *source = (const MemorySource *)base;
  guint n = 0;
  for (guint i = 0; i < source->readers->len; i++) {
    const Reader *reader = source->readers->pdata[i];
    if (is_ready(source, reader))
      n += (guint)(find(source->broker, reader->topic, reader->number)->records->len - (guint)reader->position);
  }
  return n;
}

gboolean memory_source_is_paused(const Source *base, const gchar *topic, gint32 partition)
{
  const Reader *reader = find_reader((const MemorySource *)base, topic, partition);
  return reader != NULL && reader->paused;
}

gint64 memory_source_get_commit(const Source *base, const gchar *topic, gint32 partition)
{
  const Reader *reader = find_reader((const MemorySource *)base, topic, partition);
  return reader == NULL ? -1 : reader->commit;
}
