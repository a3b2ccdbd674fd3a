/* "kafka": a consumer group through librdkafka. Traffic topics are shared out by the group (or all taken, in manual
 * mode); label topics are followed by a second handle that assigns itself, because one handle cannot do both. */
#include "daemon/source_kafka_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

extern const SourceType source_kafka;

enum { BURST = 256, ANSWER_MS = 5000, PRODUCE_MS = 35000, NAP_MS = 100 };

static guint position_hash(gconstpointer data)
{
  const KafkaPosition *position = data;
  return g_direct_hash(position->topic) * 31 + (guint)position->partition;
}

static gboolean position_equal(gconstpointer a, gconstpointer b)
{
  const KafkaPosition *x = a, *y = b;
  return x->topic == y->topic && x->partition == y->partition;
}

static Source *open_source(const SettingsBroker *settings, gboolean manual_assignment, const SourceCallbacks *callbacks,
                           gpointer user_data, GError **error)
{
  int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake < 0) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "cannot make an eventfd: %s", g_strerror(errno));
    return NULL;
  }
  KafkaSource *self = g_new0(KafkaSource, 1);
  self->base.type = &source_kafka;
  self->settings = *settings;
  self->settings.brokers = g_strdup(settings->brokers);
  self->settings.group = g_strdup(settings->group);
  self->settings.properties = g_strdupv(settings->properties);
  self->manual = manual_assignment;
  if (callbacks != NULL) self->callbacks = *callbacks;
  self->user_data = user_data;
  self->wake = wake;
  self->traffic_topics = g_new0(gchar *, 1);
  self->positions = g_hash_table_new_full(position_hash, position_equal, g_free, NULL);
  self->marks = kafka_marks_new(wake);
  if (kafka_client_check(self, error)) return &self->base;
  self->base.type->close(&self->base);
  return NULL;
}

static void close_source(Source *source)
{
  KafkaSource *self = (KafkaSource *)source;
  if (self->message != NULL) rd_kafka_message_destroy(self->message);
  kafka_marks_stop(self->marks);
  if (self->member != NULL) {
    rd_kafka_consumer_close(self->member); /* gives the partitions back: `revoked` is called */
    rd_kafka_destroy(self->member);
  }
  if (self->follower != NULL) rd_kafka_destroy_flags(self->follower, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  if (self->producer != NULL) {
    rd_kafka_flush(self->producer, ANSWER_MS);
    rd_kafka_destroy(self->producer);
  }
  close(self->wake);
  kafka_marks_free(self->marks);
  g_hash_table_unref(self->positions);
  g_free(self->traffic_topics);
  g_free(self->settings.brokers);
  g_free(self->settings.group);
  g_strfreev(self->settings.properties);
  g_clear_error(&self->fatal);
  g_clear_error(&self->delivery_error);
  g_free(self);
}

rd_kafka_t *kafka_source_get_follower(KafkaSource *source, GError **error)
{
  if (source->follower == NULL) source->follower = kafka_client_new(source, KAFKA_FOLLOWER, error);
  return source->follower;
}

/* --- failures --------------------------------------------------------------------------------------------------------
 */

void kafka_source_report(KafkaSource *source, const gchar *topic, gint32 partition, const GError *error)
{
  if (source->callbacks.failed != NULL) source->callbacks.failed(source->user_data, topic, partition, error);
}

static void take_fatal(KafkaSource *self, rd_kafka_t *client)
{
  gchar text[512];
  if (self->fatal != NULL || rd_kafka_fatal_error(client, text, sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  g_set_error(&self->fatal, DAEMON_ERROR, DAEMON_ERROR_FATAL, "the Kafka client cannot go on: %s", text);
}

static void take_broker_failure(KafkaSource *self, const gchar *reason)
{
  if (self->has_failed) return;
  self->has_failed = TRUE;
  kafka_marks_note_failure(self->marks);
  g_autoptr(GError) error = NULL;
  g_set_error(&error, DAEMON_ERROR, DAEMON_ERROR_BROKER,
              "no broker of %s answers (%s); kedge goes on trying: start it, or correct broker.brokers",
              self->settings.brokers, reason);
  kafka_source_report(self, NULL, -1, error);
}

void kafka_source_take_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
  KafkaSource *self = opaque;
  if (code == RD_KAFKA_RESP_ERR__FATAL && client != self->producer) take_fatal(self, client);
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
      code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__RESOLVE)
    take_broker_failure(self, reason);
}

static void check_recovery(KafkaSource *self)
{
  if (!self->has_failed || !kafka_marks_has_recovered(self->marks)) return;
  self->has_failed = FALSE;
  if (self->callbacks.recovered != NULL) self->callbacks.recovered(self->user_data);
}

static gchar *explain_offset(KafkaSource *self, const KafkaPosition *position, const gchar *native_text)
{
  gint64 low = -1, high = -1;
  rd_kafka_t *client = position->is_traffic && !self->manual ? self->member : self->follower;
  rd_kafka_get_watermark_offsets(client, position->topic, position->partition, &low, &high);
  gint64 known = kafka_marks_get_high(self->marks, position->topic, position->partition);
  return g_strdup_printf("offset %" G_GINT64_FORMAT
                         " of %s/%d is not in the partition any more (its end is %" G_GINT64_FORMAT
                         "): records were deleted before they were read, or the topic was made anew (%s)",
                         position->expected >= 0 ? position->expected : position->target, position->topic,
                         position->partition, MAX(high, known), native_text);
}

/* A record-shaped error: of a topic, a partition, or the consumer. */
static void take_consumer_error(KafkaSource *self, rd_kafka_t *client, const rd_kafka_message_t *message)
{
  DaemonError code = kafka_error_code(message->err);
  const gchar *topic = message->rkt == NULL ? NULL : rd_kafka_topic_name(message->rkt);
  gint32 partition = topic == NULL ? -1 : message->partition;
  const gchar *text = rd_kafka_message_errstr(message);
  if (code == DAEMON_ERROR_FATAL) {
    take_fatal(self, client);
    return;
  }
  g_autoptr(GError) error = NULL;
  KafkaPosition *position = topic == NULL ? NULL : kafka_position_find(self, topic, partition);
  if (code == DAEMON_ERROR_OFFSET) {
    if (position == NULL || position->pending || !position->started) return; /* of a seek that is already over */
    g_autofree gchar *explained = explain_offset(self, position, text);
    position->started = FALSE;
    position->broken = TRUE;
    g_set_error(&error, DAEMON_ERROR, (gint)code, "%s", explained);
  } else {
    g_set_error(&error, DAEMON_ERROR, (gint)code, "%s%s%s", topic != NULL ? topic : "", topic != NULL ? ": " : "",
                text);
  }
  kafka_source_report(self, topic, partition, error);
}

/* --- reading ---------------------------------------------------------------------------------------------------------
 */

static gboolean subscribe(Source *source, const gchar *const *traffic_topics, GError **error)
{
  KafkaSource *self = (KafkaSource *)source;
  guint n = g_strv_length((gchar **)traffic_topics);
  gchar **interned = g_new0(gchar *, n + 1);
  for (guint i = 0; i < n; i++) interned[i] = (gchar *)g_intern_string(traffic_topics[i]);
  g_free(self->traffic_topics);
  self->traffic_topics = interned;
  if (self->manual) {
    rd_kafka_t *follower = kafka_source_get_follower(self, error);
    if (follower == NULL) return FALSE;
    kafka_marks_set_topics(self->marks, follower, interned);
    return TRUE;
  }
  if (self->member == NULL && (self->member = kafka_client_new(self, KAFKA_MEMBER, error)) == NULL) return FALSE;
  kafka_marks_set_topics(self->marks, self->member, interned); /* tells recovery even without partitions */
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
  for (guint i = 0; i < n; i++) rd_kafka_topic_partition_list_add(list, interned[i], RD_KAFKA_PARTITION_UA);
  rd_kafka_resp_err_t code = rd_kafka_subscribe(self->member, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return TRUE;
  kafka_set_error(error, code, "cannot subscribe to the traffic topics");
  return FALSE;
}

static gboolean seek(Source *source, const gchar *topic, gint32 partition, gint64 offset, GError **error G_GNUC_UNUSED)
{
  KafkaSource *self = (KafkaSource *)source;
  kafka_position_seek(self, kafka_position_get(self, topic, partition), offset);
  return TRUE;
}

static gboolean stop(Source *source, const gchar *topic, gint32 partition, GError **error G_GNUC_UNUSED)
{
  KafkaSource *self = (KafkaSource *)source;
  KafkaPosition *position = kafka_position_find(self, topic, partition);
  if (position != NULL) kafka_position_stop(self, position);
  return TRUE;
}

static gboolean pause_partition(Source *source, const gchar *topic, gint32 partition, gboolean paused,
                                GError **error G_GNUC_UNUSED)
{
  KafkaSource *self = (KafkaSource *)source;
  kafka_position_pause(self, kafka_position_get(self, topic, partition), paused);
  return TRUE;
}

/* The next record-shaped thing of either handle; they take turns so that a flood of one does not starve the other. */
static rd_kafka_message_t *take_message(KafkaSource *self, rd_kafka_t **from)
{
  rd_kafka_t *handles[] = {self->member, self->follower};
  if (self->turn == NULL || self->burst >= BURST) {
    self->turn = self->turn == self->member && self->follower != NULL ? self->follower : self->member;
    if (self->turn == NULL) self->turn = self->follower;
    self->burst = 0;
  }
  rd_kafka_message_t *message = self->turn == NULL ? NULL : rd_kafka_consumer_poll(self->turn, 0);
  *from = self->turn;
  for (guint i = 0; message == NULL && i < G_N_ELEMENTS(handles); i++) {
    if (handles[i] == NULL || handles[i] == self->turn) continue;
    message = rd_kafka_consumer_poll(handles[i], 0);
    if (message == NULL) continue;
    *from = self->turn = handles[i];
    self->burst = 0;
  }
  self->burst++;
  return message;
}

static KafkaPosition *position_of(KafkaSource *self, const rd_kafka_message_t *message)
{
  KafkaPosition *last = self->last;
  if (last != NULL && last->native_topic == message->rkt && last->partition == message->partition) return last;
  KafkaPosition *position = kafka_position_find(self, rd_kafka_topic_name(message->rkt), message->partition);
  if (position != NULL) position->native_topic = message->rkt;
  return self->last = position;
}

static const gchar *get_header(const SourceRecord *record, const gchar *name, gsize *length)
{
  rd_kafka_headers_t *headers;
  gconstpointer value;
  size_t size;
  if (record->native == NULL || rd_kafka_message_headers(record->native, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
      rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR || value == NULL)
    return NULL;
  *length = size;
  return value;
}

/* FALSE: not wanted (any more). */
static gboolean accept_record(KafkaSource *self, rd_kafka_message_t *message, SourceRecord *record)
{
  KafkaPosition *position = position_of(self, message);
  if (position == NULL || position->pending || !position->started || position->paused ||
      message->offset < position->expected)
    return FALSE;
  position->expected = message->offset + 1;
  rd_kafka_timestamp_type_t type;
  gint64 milliseconds = rd_kafka_message_timestamp(message, &type);
  *record = (SourceRecord){.topic = position->topic,
                           .partition = position->partition,
                           .offset = message->offset,
                           .timestamp = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : milliseconds * 1000,
                           .key = message->key,
                           .key_length = message->key_len,
                           .value = message->payload,
                           .value_length = message->len,
                           .native = message,
                           .get_header = get_header};
  kafka_marks_note_record(self->marks);
  return TRUE;
}

static void wait_for_records(KafkaSource *self, gint64 milliseconds)
{
  struct pollfd watched = {.fd = self->wake, .events = POLLIN};
  guint64 count;
  if (poll(&watched, 1, (int)MIN(milliseconds, NAP_MS)) > 0 && read(self->wake, &count, sizeof count) < 0) return;
}

/* One step: TRUE with a record; FALSE with *idle when there was nothing at all. */
static gboolean step(KafkaSource *self, SourceRecord *record, gboolean *idle)
{
  rd_kafka_t *from;
  rd_kafka_message_t *message = take_message(self, &from);
  *idle = message == NULL;
  if (message == NULL) return FALSE;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && accept_record(self, message, record)) {
    self->message = message;
    return TRUE;
  }
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) take_consumer_error(self, from, message);
  rd_kafka_message_destroy(message);
  return FALSE;
}

static gboolean poll_source(Source *source, guint timeout_ms, SourceRecord *record, GError **error)
{
  KafkaSource *self = (KafkaSource *)source;
  if (self->message != NULL) rd_kafka_message_destroy(self->message);
  self->message = NULL;
  gint64 deadline = -1; /* the clock is asked only when nothing is at hand */
  for (guint steps = 1;; steps++) {
    kafka_positions_apply(self);
    gboolean idle = FALSE;
    if (step(self, record, &idle)) return TRUE;
    if (self->fatal != NULL) {
      if (error != NULL) *error = g_error_copy(self->fatal);
      return FALSE;
    }
    if (!idle && steps % 1024 != 0) continue;
    kafka_positions_discover(self);
    check_recovery(self);
    gint64 now = g_get_monotonic_time();
    if (deadline < 0) deadline = now + (gint64)timeout_ms * 1000;
    if (now >= deadline && (idle || steps > 1024)) return FALSE;
    if (idle && self->n_pending == 0)
      wait_for_records(self, (deadline - now + 999) / 1000);
    else if (idle)
      wait_for_records(self, 1); /* a seek is refused while a partition is being started */
  }
}

static void commit(Source *source, const gchar *topic, gint32 partition, gint64 next_offset)
{
  KafkaSource *self = (KafkaSource *)source;
  KafkaPosition *position = kafka_position_find(self, topic, partition);
  rd_kafka_t *client = self->manual ? self->follower : self->member;
  if (position == NULL || !position->is_traffic || client == NULL) return;
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic, partition)->offset = next_offset;
  rd_kafka_commit(client, list, 1); /* informational: nobody waits for it, nobody reads it back */
  rd_kafka_topic_partition_list_destroy(list);
}

/* --- asking ----------------------------------------------------------------------------------------------------------
 */

static rd_kafka_t *any_client(KafkaSource *self, GError **error)
{
  if (self->member != NULL) return self->member;
  if (self->follower == NULL && self->producer != NULL) return self->producer;
  return kafka_source_get_follower(self, error);
}

static gint32 count_partitions(Source *source, const gchar *topic, GError **error)
{
  rd_kafka_t *client = any_client((KafkaSource *)source, error);
  return client == NULL ? -1 : kafka_client_count(client, topic, ANSWER_MS, error);
}

static gboolean get_range(Source *source, const gchar *topic, gint32 partition, gint64 *low, gint64 *high,
                          GError **error)
{
  rd_kafka_t *client = any_client((KafkaSource *)source, error);
  if (client == NULL) return FALSE;
  gint64 first, last;
  rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(client, topic, partition, &first, &last, ANSWER_MS);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    g_autofree gchar *doing = g_strdup_printf("cannot ask for the offsets of %s/%d", topic, partition);
    kafka_set_error(error, code, doing);
    return FALSE;
  }
  *low = first;
  *high = last;
  return TRUE;
}

static gint64 get_high_mark(Source *source, const gchar *topic, gint32 partition)
{
  return kafka_marks_get_high(((KafkaSource *)source)->marks, topic, partition);
}

static gchar *get_cluster_id(Source *source)
{
  rd_kafka_t *client = any_client((KafkaSource *)source, NULL);
  char *native = client == NULL ? NULL : rd_kafka_clusterid(client, 0);
  gchar *id = g_strdup(native);
  if (native != NULL) rd_kafka_mem_free(client, native);
  return id;
}

static gboolean send_record(Source *source, const gchar *topic, gint32 partition, const gchar *key, GBytes *value,
                            const gchar *const *headers, GError **error)
{
  return kafka_send((KafkaSource *)source, topic, partition, key, value, headers, error);
}

static gboolean flush(Source *source, guint timeout_ms, GError **error)
{
  return kafka_flush((KafkaSource *)source, timeout_ms, error);
}

static gboolean produce(Source *source, const gchar *topic, const gchar *key, GBytes *value,
                        const gchar *const *headers, GError **error)
{
  return send_record(source, topic, -1, key, value, headers, error) && flush(source, PRODUCE_MS, error);
}

const SourceType source_kafka = {
    .name = "kafka",
    .summary = "a Kafka cluster, by a consumer group (with an SQLite store: by one daemon that takes everything)",
    .open = open_source,
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
    .close = close_source,
};
