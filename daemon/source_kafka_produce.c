#include "daemon/source_kafka_internal.h"

#include <string.h>

enum { QUEUE_WAIT_MS = 30000 };

void kafka_delivered(rd_kafka_t *client G_GNUC_UNUSED, const rd_kafka_message_t *message, void *opaque)
{
  KafkaSource *source = opaque;
  source->in_delivery--;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR || source->delivery_error != NULL) return;
  g_autofree gchar *doing =
      g_strdup_printf("a record for topic '%s' was not stored", rd_kafka_topic_name(message->rkt));
  kafka_set_error(&source->delivery_error, message->err, doing);
}

/* After a fatal error a producer does nothing any more: the next record gets a new one. */
static rd_kafka_t *get_producer(KafkaSource *source, GError **error)
{
  if (source->producer != NULL && rd_kafka_fatal_error(source->producer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rd_kafka_purge(source->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(source->producer, 1000);
    g_clear_pointer(&source->producer, rd_kafka_destroy);
    source->in_delivery = 0;
  }
  if (source->producer == NULL) source->producer = kafka_client_new(source, KAFKA_PRODUCER, error);
  return source->producer;
}

static rd_kafka_headers_t *make_headers(const gchar *const *headers)
{
  if (headers == NULL || *headers == NULL) return NULL;
  rd_kafka_headers_t *native = rd_kafka_headers_new(8);
  for (; headers[0] != NULL && headers[1] != NULL; headers += 2)
    rd_kafka_header_add(native, headers[0], -1, headers[1], (gssize)strlen(headers[1]));
  return native;
}

static rd_kafka_resp_err_t send_once(rd_kafka_t *producer, const gchar *topic, gint32 partition, const gchar *key,
                                     GBytes *value, rd_kafka_headers_t *headers)
{
  gsize length;
  gconstpointer bytes = g_bytes_get_data(value, &length);
  gint32 number = partition < 0 ? RD_KAFKA_PARTITION_UA : partition;
  gsize key_length = key == NULL ? 0 : strlen(key);
  return rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(number),
                           RD_KAFKA_V_KEY(key, key_length), RD_KAFKA_V_VALUE((gpointer)bytes, length),
                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
}

gboolean kafka_send(KafkaSource *source, const gchar *topic, gint32 partition, const gchar *key, GBytes *value,
                    const gchar *const *headers, GError **error)
{
  rd_kafka_t *producer = get_producer(source, error);
  if (producer == NULL) return FALSE;
  rd_kafka_headers_t *native = make_headers(headers);
  rd_kafka_resp_err_t code;
  gint64 deadline = g_get_monotonic_time() + QUEUE_WAIT_MS * G_GINT64_CONSTANT(1000);
  while ((code = send_once(producer, topic, partition, key, value, native)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
         g_get_monotonic_time() < deadline)
    rd_kafka_poll(producer, 100); /* delivery reports make room */
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    source->in_delivery++;
    rd_kafka_poll(producer, 0);
    return TRUE;
  }
  if (native != NULL) rd_kafka_headers_destroy(native); /* taken only on success */
  g_autofree gchar *doing = g_strdup_printf("cannot send to topic '%s'", topic);
  kafka_set_error(error, code, doing);
  return FALSE;
}

gboolean kafka_flush(KafkaSource *source, guint timeout_ms, GError **error)
{
  if (source->producer == NULL) return TRUE;
  rd_kafka_resp_err_t code = rd_kafka_flush(source->producer, (int)MIN(timeout_ms, G_MAXINT));
  if (source->delivery_error != NULL) {
    g_propagate_error(error, g_steal_pointer(&source->delivery_error));
    return FALSE;
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TIMEOUT,
              "%u records are not stored after %u ms; they are still being sent", source->in_delivery, timeout_ms);
  return FALSE;
}
