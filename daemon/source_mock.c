#include "daemon/source_mock.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "daemon/settings.h"

struct _SourceMock {
  rd_kafka_t *host; /* the mock cluster lives inside a client instance */
  rd_kafka_mock_cluster_t *cluster;
};

static void take_log(const rd_kafka_t *client G_GNUC_UNUSED, int level G_GNUC_UNUSED, const char *facility,
                     const char *text)
{
  g_log("kedge-kafka", G_LOG_LEVEL_DEBUG, "%s: %s", facility, text);
}

SourceMock *source_mock_new(GError **error)
{
  gchar text[512] = "no mock cluster";
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(conf, take_log);
  rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  rd_kafka_mock_cluster_t *cluster = host == NULL ? NULL : rd_kafka_mock_cluster_new(host, 1);
  if (cluster == NULL) {
    if (host != NULL)
      rd_kafka_destroy(host);
    else
      rd_kafka_conf_destroy(conf);
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "the embedded broker cannot start: %s", text);
    return NULL;
  }
  SourceMock *mock = g_new0(SourceMock, 1);
  mock->host = host;
  mock->cluster = cluster;
  return mock;
}

void source_mock_free(SourceMock *mock)
{
  if (mock == NULL) return;
  rd_kafka_mock_cluster_destroy(mock->cluster);
  rd_kafka_destroy(mock->host);
  g_free(mock);
}

const gchar *source_mock_get_bootstrap(const SourceMock *mock)
{
  return rd_kafka_mock_cluster_bootstraps(mock->cluster);
}

gboolean source_mock_create_topic(SourceMock *mock, const gchar *name, gint partitions, GError **error)
{
  rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(mock->cluster, name, partitions, 1);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "topic '%s' with %d partitions: %s", name, partitions,
              rd_kafka_err2str(code));
  return FALSE;
}

void source_mock_set_down(SourceMock *mock, gboolean down)
{
  if (down)
    rd_kafka_mock_broker_set_down(mock->cluster, 1);
  else
    rd_kafka_mock_broker_set_up(mock->cluster, 1);
}
