#include "daemon/source_kafka_internal.h"

#include <string.h>

/* Kept quiet: what matters reaches the caller as an error; the rest is for G_MESSAGES_DEBUG=kedge-kafka. */
static void take_log(const rd_kafka_t *client G_GNUC_UNUSED, int level G_GNUC_UNUSED, const char *facility,
                     const char *text)
{
  g_log("kedge-kafka", G_LOG_LEVEL_DEBUG, "%s: %s", facility, text);
}

typedef struct {
  const gchar *key, *value;
} Property;

/* Guards that the counts rest on (settings_check.c keeps users from changing them). */
static const Property consumer_properties[] = {
    {"auto.offset.reset", "error"}, /* a lost offset is an incident, never a silent jump */
    {"check.crcs", "true"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"partition.assignment.strategy", "cooperative-sticky"},
    {"fetch.wait.max.ms", "100"},                    /* a seek and a question wait behind the fetch that is open */
    {"topic.metadata.refresh.interval.ms", "10000"}, /* new partitions are noticed within that */
    {NULL, NULL}};
static const Property producer_properties[] = {
    {"enable.idempotence", "true"}, {"partitioner", "murmur2_random"}, {"message.timeout.ms", "30000"}, {NULL, NULL}};

static gboolean set_property(rd_kafka_conf_t *conf, const gchar *key, const gchar *value, GError **error)
{
  gchar text[512];
  if (rd_kafka_conf_set(conf, key, value, text, sizeof text) == RD_KAFKA_CONF_OK) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "broker.properties: librdkafka refuses %s: %s", key, text);
  return FALSE;
}

static gboolean set_number(rd_kafka_conf_t *conf, const gchar *key, guint64 value, GError **error)
{
  g_autofree gchar *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
  return set_property(conf, key, text, error);
}

static gboolean set_table(rd_kafka_conf_t *conf, const Property *table, GError **error)
{
  for (; table->key != NULL; table++)
    if (!set_property(conf, table->key, table->value, error)) return FALSE;
  return TRUE;
}

static gboolean set_consumer(rd_kafka_conf_t *conf, const SettingsBroker *settings, GError **error)
{
  guint64 queue = settings->queue_kilobytes;
  return set_table(conf, consumer_properties, error) && set_property(conf, "group.id", settings->group, error) &&
         set_number(conf, "queued.max.messages.kbytes", queue, error) &&
         set_number(conf, "fetch.max.bytes", CLAMP(queue * 1024, 1 << 20, 52428800), error) &&
         set_number(conf, "session.timeout.ms", settings->session_timeout_ms, error) &&
         set_number(conf, "heartbeat.interval.ms", MIN(settings->session_timeout_ms / 3, 3000), error);
}

static gboolean set_users(rd_kafka_conf_t *conf, const SettingsBroker *settings, GError **error)
{
  for (guint i = 0; settings->properties != NULL && settings->properties[i] != NULL; i++) {
    g_auto(GStrv) parts = g_strsplit(settings->properties[i], "=", 2);
    if (!set_property(conf, parts[0], parts[1] != NULL ? parts[1] : "", error)) return FALSE;
  }
  return TRUE;
}

static rd_kafka_conf_t *make_conf(KafkaSource *source, KafkaRole role, GError **error)
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_opaque(conf, source);
  rd_kafka_conf_set_log_cb(conf, take_log);
  rd_kafka_conf_set_error_cb(conf, kafka_source_take_error);
  if (role == KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, kafka_delivered);
  if (role == KAFKA_MEMBER) rd_kafka_conf_set_rebalance_cb(conf, kafka_positions_rebalance);
  gboolean good = set_property(conf, "bootstrap.servers", source->settings.brokers, error) &&
                  set_property(conf, "client.id", "kedge", error) &&
                  (role == KAFKA_PRODUCER ? set_table(conf, producer_properties, error)
                                          : set_consumer(conf, &source->settings, error)) &&
                  set_users(conf, &source->settings, error);
  if (!good) g_clear_pointer(&conf, rd_kafka_conf_destroy);
  return conf;
}

gboolean kafka_client_check(KafkaSource *source, GError **error)
{
  rd_kafka_conf_t *conf = make_conf(source, KAFKA_MEMBER, error);
  if (conf == NULL) return FALSE;
  rd_kafka_conf_destroy(conf);
  return TRUE;
}

/* Consumers tell of new records through the source's eventfd, so that one wait covers both. */
static void wake_by_queue(KafkaSource *source, rd_kafka_t *client)
{
  static const guint64 one = 1;
  rd_kafka_poll_set_consumer(client);
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
  rd_kafka_queue_io_event_enable(queue, source->wake, &one, sizeof one);
  rd_kafka_queue_destroy(queue);
}

rd_kafka_t *kafka_client_new(KafkaSource *source, KafkaRole role, GError **error)
{
  rd_kafka_conf_t *conf = make_conf(source, role, error);
  if (conf == NULL) return NULL;
  gchar text[512];
  rd_kafka_type_t type = role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
  rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
  if (client == NULL) {
    rd_kafka_conf_destroy(conf);
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "broker: librdkafka cannot start: %s", text);
    return NULL;
  }
  if (role != KAFKA_PRODUCER) wake_by_queue(source, client);
  return client;
}

static const struct {
  rd_kafka_resp_err_t native;
  DaemonError code;
} codes[] = {
    {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, DAEMON_ERROR_OFFSET},
    {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, DAEMON_ERROR_OFFSET},
    {RD_KAFKA_RESP_ERR__NO_OFFSET, DAEMON_ERROR_OFFSET},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, DAEMON_ERROR_TOPIC},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, DAEMON_ERROR_TOPIC},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, DAEMON_ERROR_TOPIC},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, DAEMON_ERROR_TOPIC},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, DAEMON_ERROR_TOPIC},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, DAEMON_ERROR_TIMEOUT},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, DAEMON_ERROR_TIMEOUT},
    {RD_KAFKA_RESP_ERR__FATAL, DAEMON_ERROR_FATAL},
};

DaemonError kafka_error_code(rd_kafka_resp_err_t code)
{
  for (guint i = 0; i < G_N_ELEMENTS(codes); i++)
    if (codes[i].native == code) return codes[i].code;
  return DAEMON_ERROR_BROKER;
}

void kafka_set_error(GError **error, rd_kafka_resp_err_t code, const gchar *doing)
{
  g_set_error(error, DAEMON_ERROR, (gint)kafka_error_code(code), "%s: %s", doing, rd_kafka_err2str(code));
}

gint32 kafka_client_count(rd_kafka_t *client, const gchar *topic, int timeout_ms, GError **error)
{
  rd_kafka_topic_t *native = rd_kafka_topic_new(client, topic, NULL);
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code =
      native == NULL ? rd_kafka_last_error() : rd_kafka_metadata(client, 0, native, &metadata, timeout_ms);
  if (native != NULL) rd_kafka_topic_destroy(native);
  gint32 count = 0;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1) {
    code = metadata->topics[0].err;
    count = metadata->topics[0].partition_cnt;
  }
  if (metadata != NULL) rd_kafka_metadata_destroy(metadata);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return count;
  if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) return 0;
  g_autofree gchar *doing = g_strdup_printf("cannot count the partitions of topic '%s'", topic);
  kafka_set_error(error, code, doing);
  return -1;
}
