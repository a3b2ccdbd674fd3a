/* Opening the source, and what it tells. */
#include "daemon/consumer_internal.h"

Source *consumer_open_real_source(const Settings *settings, const SourceCallbacks *callbacks, gpointer consumer,
                                  gpointer user_data G_GNUC_UNUSED, GError **error)
{
  const SourceType *type = source_type_find(settings->broker.source);
  if (type == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "there is no source \"%s\"", settings->broker.source);
    return NULL;
  }
  /* SQLite is one host and one daemon: it takes every partition itself. */
  gboolean manual = g_str_has_prefix(settings->store, "sqlite:");
  return type->open(&settings->broker, manual, callbacks, consumer, error);
}

static void add_shards(Consumer *consumer, const gchar *topic, gint32 partition)
{
  for (guint m = 0; m < consumer->models->len; m++) {
    ConsumerModel *model = consumer->models->pdata[m];
    if (g_strcmp0(model->settings->traffic.topic, topic) == 0)
      g_ptr_array_add(consumer->shards, consumer_shard_new(consumer, model, partition));
  }
}

static gint find_assignment(const Consumer *consumer, const gchar *topic, gint32 partition)
{
  for (guint i = 0; i < consumer->assignments->len; i++) {
    const ConsumerAssignment *assignment = consumer->assignments->pdata[i];
    if (assignment->partition == partition && g_strcmp0(assignment->topic, topic) == 0) return (gint)i;
  }
  return -1;
}

/* The state is loaded by the loop: a broker's callback is no place for a database. */
static void on_assigned(gpointer user_data, const gchar *topic, gint32 partition)
{
  Consumer *consumer = user_data;
  if (find_assignment(consumer, topic, partition) >= 0) return;
  ConsumerAssignment *assignment = g_new0(ConsumerAssignment, 1);
  assignment->topic = g_strdup(topic);
  assignment->partition = partition;
  g_ptr_array_add(consumer->assignments, assignment);
  add_shards(consumer, topic, partition);
  consumer->must_tend = TRUE;
}

static void on_revoked(gpointer user_data, const gchar *topic, gint32 partition, gboolean lost)
{
  Consumer *consumer = user_data;
  gint index = find_assignment(consumer, topic, partition);
  if (index < 0) return;
  for (guint i = consumer->shards->len; i-- > 0;) {
    ConsumerShard *shard = consumer->shards->pdata[i];
    if (shard->partition != partition || g_strcmp0(shard->model->settings->traffic.topic, topic) != 0) continue;
    if (!lost) consumer_checkpoint(shard);
    consumer_unsubscribe(consumer, shard);
    g_ptr_array_remove_index(consumer->shards, i);
  }
  g_ptr_array_remove_index(consumer->assignments, (guint)index);
}

static gboolean concerns(const ConsumerShard *shard, const gchar *topic, gint32 partition)
{
  const SettingsModel *model = shard->model->settings;
  if (g_strcmp0(model->traffic.topic, topic) == 0 && (partition < 0 || shard->partition == partition)) return TRUE;
  return g_strcmp0(model->labels.topic, topic) == 0 &&
         (partition < 0 || shard->shard == NULL || shard_follows(shard->shard, partition));
}

static void on_failed(gpointer user_data, const gchar *topic, gint32 partition, const GError *error)
{
  Consumer *consumer = user_data;
  if (topic == NULL) {
    consumer->broker_down = TRUE;
    consumer_set_text(&consumer->source_problem, g_strdup(error->message));
    return;
  }
  ConsumerFeed *feed = consumer_find_feed(consumer, topic, partition);
  gint64 position = feed == NULL ? -1 : feed->position; /* the feed may go with its last shard */
  for (guint i = 0; i < consumer->shards->len; i++) {
    ConsumerShard *shard = consumer->shards->pdata[i];
    if (!concerns(shard, topic, partition)) continue;
    if (g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_OFFSET) && shard->state == CONSUMER_SHARD_ACTIVE)
      consumer_stop_gap(shard, topic, partition, position, error->message);
    else if (shard->state != CONSUMER_SHARD_STOPPED)
      consumer_shard_drop(shard, consumer_backoff(consumer, shard->failures++), g_strdup(error->message));
  }
}

/* Nothing was heard while the broker was away: silence counts from now. */
static void on_recovered(gpointer user_data)
{
  Consumer *consumer = user_data;
  consumer->broker_down = FALSE;
  consumer_set_text(&consumer->source_problem, NULL);
  for (guint i = 0; i < consumer->feeds->len; i++)
    ((ConsumerFeed *)consumer->feeds->pdata[i])->silent_since = consumer->now;
}

void consumer_source_failed(Consumer *consumer, const GError *error)
{
  consumer_set_text(&consumer->source_problem, g_strdup(error->message));
  consumer_close_source(consumer);
  consumer->source_retry_at = consumer->now + consumer_backoff(consumer, consumer->source_failures++);
}

static gboolean subscribe(Consumer *consumer, GError **error)
{
  g_autoptr(GPtrArray) topics = g_ptr_array_new();
  for (guint i = 0; i < consumer->settings->n_models; i++) {
    const gchar *topic = consumer->settings->models[i].traffic.topic;
    if (!g_ptr_array_find_with_equal_func(topics, topic, g_str_equal, NULL)) g_ptr_array_add(topics, (gpointer)topic);
  }
  g_ptr_array_add(topics, NULL);
  return consumer->source->type->subscribe(consumer->source, (const gchar *const *)topics->pdata, error);
}

void consumer_tend_source(Consumer *consumer)
{
  static const SourceCallbacks callbacks = {on_assigned, on_revoked, on_failed, on_recovered};
  if (consumer->source != NULL || consumer->now < consumer->source_retry_at || consumer->settings->n_models == 0)
    return;
  g_autoptr(GError) error = NULL;
  consumer->source =
      consumer->parts.open_source(consumer->settings, &callbacks, consumer, consumer->parts.user_data, &error);
  if (consumer->source == NULL || !subscribe(consumer, &error)) {
    consumer_source_failed(consumer, error);
    return;
  }
  consumer->broker_down = FALSE;
  consumer->source_failures = 0;
  consumer_set_text(&consumer->source_problem, NULL);
}

/* Without a source there are no partitions: whoever opens one gets them assigned anew. Writes nothing. */
void consumer_close_source(Consumer *consumer)
{
  if (consumer->source == NULL) return;
  for (guint i = 0; i < consumer->shards->len; i++) consumer_unsubscribe(consumer, consumer->shards->pdata[i]);
  g_ptr_array_set_size(consumer->shards, 0);
  g_ptr_array_set_size(consumer->feeds, 0);
  g_ptr_array_set_size(consumer->assignments, 0);
  consumer->recent = NULL;
  Source *source = g_steal_pointer(&consumer->source);
  source->type->close(source);
}
