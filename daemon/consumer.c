#include "daemon/consumer_internal.h"

#include <unistd.h>

#define COMPONENT "consumer"
/* Records taken before checkpoints, idle time-outs and health get their turn. */
#define RECORDS_A_TURN 4096u
#define POLL_MS 50u
#define FIRST_BACKOFF_US 250000
#define MAX_BACKOFF_US 30000000

static RegistryStore *open_real_store(const Settings *settings, gpointer user_data G_GNUC_UNUSED, GError **error)
{
  return registry_store_open(settings->store, error);
}

static gint64 real_clock(gpointer user_data G_GNUC_UNUSED)
{
  return g_get_monotonic_time();
}

static double real_random(gpointer user_data G_GNUC_UNUSED)
{
  return g_random_double();
}

void consumer_set_text(gchar **text, gchar *value)
{
  g_free(*text);
  *text = value;
}

gint64 consumer_backoff(const Consumer *consumer, guint failures)
{
  gint64 delay = MIN((gint64)FIRST_BACKOFF_US << MIN(failures, 16u), MAX_BACKOFF_US);
  return (gint64)((double)delay * (.5 + .5 * consumer->parts.random(consumer->parts.user_data)));
}

static void assignment_free(gpointer data)
{
  ConsumerAssignment *assignment = data;
  g_free(assignment->topic);
  g_free(assignment);
}

static void make_models(Consumer *consumer)
{
  for (guint i = 0; i < consumer->settings->n_models; i++)
    g_ptr_array_add(consumer->models, consumer_model_new(&consumer->settings->models[i]));
}

Consumer *consumer_new_with(Settings *settings, Health *health, Metrics *metrics, const ConsumerParts *parts)
{
  Consumer *consumer = g_new0(Consumer, 1);
  consumer->settings = settings_ref(settings);
  consumer->health = health;
  consumer->metrics = metrics;
  consumer->parts = *parts;
  consumer->owner = g_strdup_printf("%s:%d:%08x", g_get_host_name(), (int)getpid(), g_random_int());
  g_mutex_init(&consumer->mutex);
  g_cond_init(&consumer->wake);
  consumer->models = g_ptr_array_new_with_free_func((GDestroyNotify)consumer_model_free);
  consumer->assignments = g_ptr_array_new_with_free_func(assignment_free);
  consumer->shards = g_ptr_array_new_with_free_func((GDestroyNotify)consumer_shard_free);
  consumer->feeds = g_ptr_array_new_with_free_func((GDestroyNotify)consumer_feed_free);
  consumer->watched_at = G_MININT64 / 2;
  make_models(consumer);
  return consumer;
}

Consumer *consumer_new(Settings *settings, Health *health, Metrics *metrics, GError **error)
{
  const ConsumerParts parts = {open_real_store, consumer_open_real_source, real_clock, real_random, NULL};
  if (source_type_find(settings->broker.source) == NULL) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s: broker.source: there is no source \"%s\"",
                settings->path != NULL ? settings->path : "settings", settings->broker.source);
    return NULL;
  }
  return consumer_new_with(settings, health, metrics, &parts);
}

void consumer_free(Consumer *consumer)
{
  if (consumer == NULL) return;
  consumer_stop(consumer);
  g_ptr_array_unref(consumer->shards);
  g_ptr_array_unref(consumer->feeds);
  g_ptr_array_unref(consumer->assignments);
  g_ptr_array_unref(consumer->models);
  settings_unref(consumer->settings);
  if (consumer->pending != NULL) settings_unref(consumer->pending);
  g_mutex_clear(&consumer->mutex);
  g_cond_clear(&consumer->wake);
  g_free(consumer->owner);
  g_free(consumer->store_problem);
  g_free(consumer->source_problem);
  g_free(consumer->said);
  g_free(consumer);
}

/* --- reloading ------------------------------------------------------------------------------------------------------
 */

void consumer_reload(Consumer *consumer, Settings *settings)
{
  g_mutex_lock(&consumer->mutex);
  if (consumer->pending != NULL) settings_unref(consumer->pending);
  consumer->pending = settings_ref(settings);
  g_mutex_unlock(&consumer->mutex);
}

static gboolean same_list(gchar *const *a, gchar *const *b)
{
  return a == NULL || b == NULL ? a == b : g_strv_equal((const gchar *const *)a, (const gchar *const *)b);
}

/* The source can stay: same broker, same traffic topics. */
static gboolean same_source(const Settings *a, const Settings *b)
{
  if (g_strcmp0(a->broker.source, b->broker.source) != 0 || g_strcmp0(a->broker.brokers, b->broker.brokers) != 0 ||
      g_strcmp0(a->broker.group, b->broker.group) != 0 || g_strcmp0(a->broker.directory, b->broker.directory) != 0 ||
      !same_list(a->broker.properties, b->broker.properties) ||
      a->broker.queue_kilobytes != b->broker.queue_kilobytes ||
      a->broker.session_timeout_ms != b->broker.session_timeout_ms || a->n_models != b->n_models)
    return FALSE;
  for (guint i = 0; i < a->n_models; i++)
    if (g_strcmp0(a->models[i].traffic.topic, b->models[i].traffic.topic) != 0) return FALSE;
  return TRUE;
}

static void close_store(Consumer *consumer)
{
  g_clear_pointer(&consumer->store, registry_store_close);
  g_clear_pointer(&consumer->artifacts, registry_artifacts_close);
}

/* Everything is written, dropped and taken up again under the new settings; partitions that stay assigned stay. */
static void take_reload(Consumer *consumer)
{
  g_mutex_lock(&consumer->mutex);
  Settings *settings = g_steal_pointer(&consumer->pending);
  g_mutex_unlock(&consumer->mutex);
  if (settings == NULL) return;
  for (guint i = 0; i < consumer->shards->len; i++) consumer_checkpoint(consumer->shards->pdata[i]);
  for (guint i = 0; i < consumer->shards->len; i++) consumer_unsubscribe(consumer, consumer->shards->pdata[i]);
  g_ptr_array_set_size(consumer->shards, 0);
  g_ptr_array_set_size(consumer->models, 0);
  if (!same_source(consumer->settings, settings)) consumer_close_source(consumer);
  if (g_strcmp0(consumer->settings->store, settings->store) != 0 ||
      g_strcmp0(consumer->settings->artifacts, settings->artifacts) != 0)
    close_store(consumer);
  settings_unref(consumer->settings);
  consumer->settings = settings;
  make_models(consumer);
  for (guint a = 0; a < consumer->assignments->len; a++) {
    const ConsumerAssignment *assignment = consumer->assignments->pdata[a];
    for (guint m = 0; m < consumer->models->len; m++) {
      ConsumerModel *model = consumer->models->pdata[m];
      if (g_strcmp0(model->settings->traffic.topic, assignment->topic) == 0)
        g_ptr_array_add(consumer->shards, consumer_shard_new(consumer, model, assignment->partition));
    }
  }
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static void wait_a_little(Consumer *consumer, guint timeout_ms)
{
  if (timeout_ms == 0) return;
  gint64 until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  g_mutex_lock(&consumer->mutex);
  while (!consumer->stopping && g_cond_wait_until(&consumer->wake, &consumer->mutex, until)) continue;
  g_mutex_unlock(&consumer->mutex);
}

static void take_records(Consumer *consumer, guint timeout_ms)
{
  consumer->must_tend = FALSE;
  if (consumer->source == NULL) {
    wait_a_little(consumer, timeout_ms);
    return;
  }
  for (guint i = 0; i < RECORDS_A_TURN && !consumer->must_tend; i++) {
    SourceRecord record;
    g_autoptr(GError) error = NULL;
    if (!consumer->source->type->poll(consumer->source, i == 0 ? timeout_ms : 0, &record, &error)) {
      if (error != NULL) consumer_source_failed(consumer, error);
      return;
    }
    consumer_dispatch(consumer, &record);
  }
}

void consumer_step(Consumer *consumer, guint timeout_ms)
{
  health_beat(consumer->health, COMPONENT);
  consumer->now = consumer->parts.clock(consumer->parts.user_data);
  take_reload(consumer);
  consumer_tend_store(consumer);
  consumer_tend_source(consumer);
  for (guint i = 0; i < consumer->shards->len; i++) consumer_shard_tend(consumer->shards->pdata[i]);
  take_records(consumer, timeout_ms);
  consumer->now = consumer->parts.clock(consumer->parts.user_data);
  consumer_checkpoint_due(consumer);
  consumer_set_pauses(consumer);
  consumer_watch(consumer, FALSE);
}

void consumer_finish(Consumer *consumer)
{
  for (guint i = 0; i < consumer->shards->len; i++) consumer_checkpoint(consumer->shards->pdata[i]);
  consumer_close_source(consumer);
  close_store(consumer);
}

static gboolean is_stopping(Consumer *consumer)
{
  g_mutex_lock(&consumer->mutex);
  gboolean stopping = consumer->stopping;
  g_mutex_unlock(&consumer->mutex);
  return stopping;
}

static gpointer run(gpointer data)
{
  Consumer *consumer = data;
  while (!is_stopping(consumer)) consumer_step(consumer, POLL_MS);
  consumer_finish(consumer);
  return NULL;
}

void consumer_start(Consumer *consumer)
{
  if (consumer->thread == NULL) consumer->thread = g_thread_new("kedge-consumer", run, consumer);
}

void consumer_stop(Consumer *consumer)
{
  g_mutex_lock(&consumer->mutex);
  consumer->stopping = TRUE;
  g_cond_signal(&consumer->wake);
  g_mutex_unlock(&consumer->mutex);
  if (consumer->thread != NULL)
    g_thread_join(g_steal_pointer(&consumer->thread));
  else if (consumer->source != NULL || consumer->store != NULL)
    consumer_finish(consumer);
}
