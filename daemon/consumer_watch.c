/* What happens a few times a second: idle time-outs, metrics, and what health says of the consumer. */
#include "daemon/consumer_internal.h"

#define WATCH_US 500000
#define COUNT_US 30000000

/* --- metrics --------------------------------------------------------------------------------------------------------
 */

static void add(ConsumerShard *shard, const gchar *name, guint64 now, guint64 before)
{
  if (now > before) metrics_add(shard->consumer->metrics, name, shard->labels, (double)(now - before));
}

static void count_dead_letters(ConsumerShard *shard, const ShardStatistics *now)
{
  for (guint i = 0; i < DECODE_N_REASONS; i++) {
    guint64 more = now->dead_letters[i] - shard->reported.dead_letters[i];
    if (more == 0) continue;
    g_autofree gchar *labels =
        metrics_label("model", shard->model->settings->name, "reason", decode_reason_text((DecodeReason)i), NULL);
    metrics_add(shard->consumer->metrics, "kedge_dead_letters_total", labels, (double)more);
  }
}

static void report(ConsumerShard *shard)
{
  ShardStatistics now;
  shard_get_statistics(shard->shard, &now);
  const ShardStatistics *before = &shard->reported;
  add(shard, "kedge_events_total", now.events, before->events);
  add(shard, "kedge_labels_total", now.labels, before->labels);
  add(shard, "kedge_duplicates_total", now.duplicates, before->duplicates);
  add(shard, "kedge_late_total", now.late, before->late);
  count_dead_letters(shard, &now);
  metrics_set(shard->consumer->metrics, "kedge_join_waiting", shard->labels, (double)now.waiting);
  if (now.watermark != SHARD_TIME_NONE)
    metrics_set(shard->consumer->metrics, "kedge_watermark_seconds", shard->labels, (double)now.watermark / 1e6);
  shard->reported = now;
}

void consumer_count_checkpoint(ConsumerShard *shard, gint64 began_at)
{
  Consumer *consumer = shard->consumer;
  gint64 took = consumer->parts.clock(consumer->parts.user_data) - began_at;
  metrics_observe(consumer->metrics, "kedge_checkpoint_seconds", shard->model_label, (double)took / 1e6);
  metrics_add(consumer->metrics, "kedge_checkpoints_total", shard->model_label, 1);
  guint panes = shard->unwritten->content.panes->len;
  if (panes > 0) metrics_add(consumer->metrics, "kedge_panes_total", shard->model_label, panes);
  report(shard);
}

/* --- idle ------------------------------------------------------------------------------------------------------------
 */

/* At its end, delivered to us in full, and silent since: a paused feed or a broker that is away is not idle. One record
 * of lag is allowed for: a transaction's commit marker is an offset that is never delivered. */
static gboolean is_silent(const Consumer *consumer, ConsumerFeed *feed, gint64 idle_us)
{
  if (feed->paused || consumer->broker_down || consumer->now - feed->silent_since < idle_us) return FALSE;
  gint64 mark = consumer->source->type->get_high_mark(consumer->source, feed->topic, feed->partition);
  return mark >= 0 && feed->position >= mark - 1;
}

static void watch_feed(Consumer *consumer, ConsumerFeed *feed)
{
  if (feed->active) feed->silent_since = consumer->now;
  feed->active = FALSE;
  for (guint s = 0; s < feed->subscriptions->len; s++) {
    ConsumerSubscription *subscription = &g_array_index(feed->subscriptions, ConsumerSubscription, s);
    ConsumerShard *shard = subscription->shard;
    if (shard->state != CONSUMER_SHARD_ACTIVE || subscription->verifying) continue;
    gint64 idle_us = shard->model->settings->traffic.idle_ms * 1000;
    if (!is_silent(consumer, feed, idle_us)) continue;
    if (subscription->is_traffic)
      shard_set_idle(shard->shard);
    else
      shard_set_label_idle(shard->shard, feed->partition);
  }
}

/* A label topic that got more partitions: the model's shards begin again and follow them too. */
static void watch_partitions(Consumer *consumer, const ConsumerModel *model)
{
  const SettingsModel *settings = model->settings;
  if (settings->labels.topic == NULL || settings->labels.topic[0] == '\0' || model->grid == NULL) return;
  gint32 n = consumer->source->type->count_partitions(consumer->source, settings->labels.topic, NULL);
  for (guint i = 0; i < consumer->shards->len; i++) {
    ConsumerShard *shard = consumer->shards->pdata[i];
    if (shard->model != model || shard->state != CONSUMER_SHARD_ACTIVE || n <= shard->n_label_partitions) continue;
    if (consumer_checkpoint(shard)) consumer_shard_drop(shard, 0, NULL);
  }
}

static void watch_topics(Consumer *consumer)
{
  if (consumer->source == NULL || consumer->broker_down || consumer->store_down) return;
  if (consumer->now - consumer->counted_at < COUNT_US) return;
  consumer->counted_at = consumer->now;
  for (guint i = 0; i < consumer->models->len; i++) watch_partitions(consumer, consumer->models->pdata[i]);
}

static void watch_lag(Consumer *consumer, ConsumerShard *shard)
{
  const gchar *topic = shard->model->settings->traffic.topic;
  if (shard->state != CONSUMER_SHARD_ACTIVE || consumer->source == NULL) return;
  gint64 mark = consumer->source->type->get_high_mark(consumer->source, topic, shard->partition);
  if (mark < 0) return;
  gint64 lag = mark - shard_get_next_offset(shard->shard);
  metrics_set(consumer->metrics, "kedge_lag_records", shard->labels, (double)MAX(lag, 0));
}

/* --- health ----------------------------------------------------------------------------------------------------------
 */

static void add_line(GString *text, const gchar *prefix, const gchar *line)
{
  if (line == NULL) return;
  if (text->len > 0) g_string_append(text, "; ");
  g_string_append(text, prefix);
  g_string_append(text, line);
}

static gchar *describe(const Consumer *consumer)
{
  GString *text = g_string_new(NULL);
  add_line(text, "the store is unavailable, partitions are paused: ", consumer->store_problem);
  add_line(text, "the broker is unavailable: ", consumer->source_problem);
  for (guint i = 0; i < consumer->models->len; i++)
    add_line(text, "", ((ConsumerModel *)consumer->models->pdata[i])->problem);
  for (guint i = 0; i < consumer->shards->len; i++)
    add_line(text, "", ((ConsumerShard *)consumer->shards->pdata[i])->problem);
  return g_string_free(text, FALSE);
}

/* Models whose partitions are not ours (yet) are looked at too, so that /readyz says what is missing. */
static void prepare_models(Consumer *consumer)
{
  for (guint i = 0; i < consumer->models->len && consumer->store != NULL && !consumer->store_down; i++)
    consumer_model_prepare(consumer, consumer->models->pdata[i]);
}

static void tell_health(Consumer *consumer)
{
  gchar *text = describe(consumer);
  if (consumer->said != NULL && strcmp(consumer->said, text) == 0) {
    g_free(text);
    return;
  }
  health_set(consumer->health, "consumer", text[0] == '\0', text[0] == '\0' ? NULL : text);
  consumer_set_text(&consumer->said, text);
}

void consumer_watch(Consumer *consumer, gboolean now)
{
  if (!now && consumer->now - consumer->watched_at < WATCH_US) return;
  consumer->watched_at = consumer->now;
  prepare_models(consumer);
  for (guint i = 0; i < consumer->feeds->len && consumer->source != NULL; i++)
    watch_feed(consumer, consumer->feeds->pdata[i]);
  for (guint i = 0; i < consumer->shards->len; i++) watch_lag(consumer, consumer->shards->pdata[i]);
  watch_topics(consumer);
  tell_health(consumer);
}
