/* Writing checkpoints, and what follows when one cannot be written:
 *
 *   FENCED          another owner has the shard: drop the memory; acquire it again after about a heartbeat, if it is
 * still assigned then (an old owner that woke up may have fenced the rightful one) UNKNOWN_COMMIT  it may have been
 * written or not: drop the memory and read back UNAVAILABLE     keep it, pause every partition, go on polling, write it
 * once the store is back anything else   drop the memory and begin again from what is stored, with back-off and the
 * reason in /readyz
 */
#include "daemon/consumer_internal.h"

static void set_anchor(ConsumerShard *shard, gint32 label_partition, const gchar *topic, gint32 partition, gint64 next)
{
  ConsumerFeed *feed = consumer_find_feed(shard->consumer, topic, partition);
  /* While the feed repeats older records for another shard, the anchor known from before holds. */
  if (feed == NULL || feed->last.offset < 0 || feed->last.offset != next - 1) return;
  ShardAnchor anchor = {.offset = feed->last.offset};
  memcpy(anchor.digest, consumer_last_digest(feed), sizeof anchor.digest);
  shard_set_anchor(shard->shard, label_partition, &anchor);
}

static void set_anchors(ConsumerShard *shard)
{
  const SettingsModel *model = shard->model->settings;
  set_anchor(shard, SHARD_TRAFFIC, model->traffic.topic, shard->partition, shard_get_next_offset(shard->shard));
  for (gint32 k = 0; k < shard->n_label_partitions; k++)
    if (shard_follows(shard->shard, k))
      set_anchor(shard, k, model->labels.topic, k, shard_get_next_label(shard->shard, k));
}

static void take(ConsumerShard *shard)
{
  const DecoderType *type = shard->decoder->type;
  g_autoptr(GBytes) decoder_state = type->to_bytes == NULL ? NULL : type->to_bytes(shard->decoder);
  shard_set_decoder_state(shard->shard, decoder_state);
  set_anchors(shard);
  shard->unwritten = shard_take_checkpoint(shard->shard);
  shard->unwritten->content.model = shard->model->settings->name;
  shard->unwritten->content.epoch = shard->epoch;
  shard->unwritten->content.base_offset = shard->stored_next;
  shard->records_since = 0;
}

static gint64 heartbeat_us(const Consumer *consumer)
{
  return (gint64)consumer->settings->broker.session_timeout_ms * 1000 / 3;
}

static void follow_failure(ConsumerShard *shard, const GError *error)
{
  Consumer *consumer = shard->consumer;
  const gchar *name = shard->model->settings->name;
  double jitter = .5 + consumer->parts.random(consumer->parts.user_data);
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED)) {
    metrics_add(consumer->metrics, "kedge_fenced_total", shard->model_label, 1);
    g_message("model %s, partition %d: %s", name, shard->partition, error->message);
    gint64 delay = (gint64)((double)heartbeat_us(consumer) * jitter) << MIN(shard->failures, 4u);
    shard->failures++;
    consumer_shard_drop(shard, delay, NULL);
  } else if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT)) {
    consumer_shard_drop(shard, 0, NULL);
    consumer_store_failed(consumer, error);
  } else if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE)) {
    consumer_store_failed(consumer, error);
  } else {
    g_warning("model %s, partition %d: the checkpoint was refused: %s", name, shard->partition, error->message);
    consumer_shard_drop(shard, consumer_backoff(consumer, shard->failures++),
                        g_strdup_printf("model %s, partition %d: %s", name, shard->partition, error->message));
  }
}

static gboolean write_unwritten(ConsumerShard *shard)
{
  Consumer *consumer = shard->consumer;
  g_autoptr(GError) error = NULL;
  gint64 began_at = consumer->parts.clock(consumer->parts.user_data);
  const RegistryCheckpoint *content = &shard->unwritten->content;
  if (!registry_shard_checkpoint(consumer->store, content, &error)) {
    follow_failure(shard, error);
    return FALSE;
  }
  shard->stored_next = content->next_offset;
  shard->written_at = consumer->now;
  shard->failures = 0;
  if (consumer->source != NULL)
    consumer->source->type->commit(consumer->source, shard->model->settings->traffic.topic, shard->partition,
                                   content->next_offset);
  consumer_count_checkpoint(shard, began_at);
  g_clear_pointer(&shard->unwritten, shard_checkpoint_free);
  return TRUE;
}

gboolean consumer_checkpoint(ConsumerShard *shard)
{
  if (shard->state != CONSUMER_SHARD_ACTIVE || shard->consumer->store == NULL) return FALSE;
  if (shard->unwritten != NULL && !write_unwritten(shard)) return FALSE;
  if (!shard_has_news(shard->shard)) return TRUE;
  take(shard);
  return write_unwritten(shard);
}

/* A shard that hands over much is written before its time. */
#define MAX_PENDING_BYTES ((gsize)8 * 1024 * 1024)

static gboolean is_due(const ConsumerShard *shard)
{
  const Consumer *consumer = shard->consumer;
  if (shard->state != CONSUMER_SHARD_ACTIVE || !shard_has_news(shard->shard)) return FALSE;
  return shard->records_since >= consumer->settings->checkpoint.events ||
         shard_get_pending_bytes(shard->shard) >= MAX_PENDING_BYTES ||
         consumer->now - shard->written_at >= (gint64)consumer->settings->checkpoint.milliseconds * 1000;
}

void consumer_checkpoint_due(Consumer *consumer)
{
  for (guint i = 0; i < consumer->shards->len && !consumer->store_down; i++)
    if (is_due(consumer->shards->pdata[i])) consumer_checkpoint(consumer->shards->pdata[i]);
}

/* --- the store
 * ----------------------------------------------------------------------------------------------------------- */

void consumer_store_failed(Consumer *consumer, const GError *error)
{
  if (!consumer->store_down) g_warning("the store is unavailable, all partitions are paused: %s", error->message);
  consumer->store_down = TRUE;
  consumer_set_text(&consumer->store_problem, g_strdup(error->message));
  consumer->store_retry_at = consumer->now + consumer_backoff(consumer, consumer->store_failures++);
  consumer_set_pauses(consumer);
}

static gboolean open_or_reconnect(Consumer *consumer, GError **error)
{
  if (consumer->store != NULL) return registry_store_reconnect(consumer->store, error);
  consumer->store = consumer->parts.open_store(consumer->settings, consumer->parts.user_data, error);
  return consumer->store != NULL;
}

/* What was kept is written first, in its order; only then is anything read again. */
static gboolean write_kept(Consumer *consumer)
{
  for (guint i = 0; i < consumer->shards->len; i++) {
    ConsumerShard *shard = consumer->shards->pdata[i];
    if (shard->unwritten != NULL && !write_unwritten(shard) && shard->unwritten != NULL) return FALSE;
  }
  return TRUE;
}

void consumer_tend_store(Consumer *consumer)
{
  if (consumer->store != NULL && !consumer->store_down) return;
  if (consumer->now < consumer->store_retry_at) return;
  g_autoptr(GError) error = NULL;
  if (!open_or_reconnect(consumer, &error)) {
    consumer_store_failed(consumer, error);
    return;
  }
  if (!write_kept(consumer)) return;
  if (consumer->store_down && consumer->store_problem != NULL) g_message("the store is available again");
  consumer->store_down = FALSE;
  consumer->store_failures = 0;
  consumer_set_text(&consumer->store_problem, NULL);
  consumer_set_pauses(consumer);
}
