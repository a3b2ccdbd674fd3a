/* Feeds: which shards want the records of a partition. A label partition, and a traffic topic that several models
 * share, is read once; each shard ignores what lies below its own next offset. */
#include "daemon/consumer_internal.h"

#include <string.h>

/* A shard with this much to hand over is checkpointed whatever the settings say: bounds memory. */
#define MAX_PENDING_BYTES ((gsize)8 * 1024 * 1024)

void consumer_feed_free(ConsumerFeed *feed)
{
  g_array_unref(feed->subscriptions);
  g_byte_array_unref(feed->last.bytes);
  g_free(feed->topic);
  g_free(feed);
}

ConsumerFeed *consumer_find_feed(Consumer *consumer, const gchar *topic, gint32 partition)
{
  ConsumerFeed *recent = consumer->recent;
  if (recent != NULL && recent->partition == partition && (recent->topic == topic || strcmp(recent->topic, topic) == 0))
    return recent;
  for (guint i = 0; i < consumer->feeds->len; i++) {
    ConsumerFeed *feed = consumer->feeds->pdata[i];
    if (feed->partition == partition && strcmp(feed->topic, topic) == 0) return feed;
  }
  return NULL;
}

static ConsumerFeed *make_feed(Consumer *consumer, const gchar *topic, gint32 partition)
{
  ConsumerFeed *feed = g_new0(ConsumerFeed, 1);
  feed->topic = g_strdup(topic);
  feed->partition = partition;
  feed->position = -1;
  feed->silent_since = consumer->now;
  feed->last.offset = -1;
  feed->last.bytes = g_byte_array_new();
  feed->subscriptions = g_array_new(FALSE, TRUE, sizeof(ConsumerSubscription));
  g_ptr_array_add(consumer->feeds, feed);
  return feed;
}

gboolean consumer_subscribe(Consumer *consumer, ConsumerShard *shard, const gchar *topic, gint32 partition,
                            gboolean is_traffic, gint64 from, const ShardAnchor *verify, GError **error)
{
  ConsumerFeed *feed = consumer_find_feed(consumer, topic, partition);
  if (feed == NULL) feed = make_feed(consumer, topic, partition);
  ConsumerSubscription subscription = {.shard = shard, .is_traffic = is_traffic};
  if (verify != NULL) {
    subscription.verifying = TRUE;
    subscription.anchor = *verify;
    from = verify->offset;
  }
  g_array_append_val(feed->subscriptions, subscription);
  /* Others that have read further ignore what comes again. */
  if (feed->position >= 0 && feed->position <= from) return TRUE;
  if (!consumer->source->type->seek(consumer->source, topic, partition, from, error)) return FALSE;
  feed->position = from;
  feed->silent_since = consumer->now;
  return TRUE;
}

static void remove_feed(Consumer *consumer, ConsumerFeed *feed)
{
  if (consumer->source != NULL) consumer->source->type->stop(consumer->source, feed->topic, feed->partition, NULL);
  if (consumer->recent == feed) consumer->recent = NULL;
  g_ptr_array_remove(consumer->feeds, feed);
}

void consumer_unsubscribe(Consumer *consumer, ConsumerShard *shard)
{
  for (guint i = consumer->feeds->len; i-- > 0;) {
    ConsumerFeed *feed = consumer->feeds->pdata[i];
    for (guint s = feed->subscriptions->len; s-- > 0;)
      if (g_array_index(feed->subscriptions, ConsumerSubscription, s).shard == shard)
        g_array_remove_index(feed->subscriptions, s);
    if (feed->subscriptions->len == 0) remove_feed(consumer, feed);
  }
}

/* --- dispatch
 * --------------------------------------------------------------------------------------------------------- */

static void keep_last(ConsumerFeed *feed, const SourceRecord *record)
{
  ConsumerLast *last = &feed->last;
  last->offset = record->offset;
  last->timestamp = record->timestamp;
  last->key_length = record->key_length;
  last->digested = FALSE;
  g_byte_array_set_size(last->bytes, (guint)(record->key_length + record->value_length));
  if (record->key_length > 0) memcpy(last->bytes->data, record->key, record->key_length);
  if (record->value_length > 0) memcpy(last->bytes->data + record->key_length, record->value, record->value_length);
  feed->position = record->offset + 1;
  feed->active = TRUE;
}

const guint8 *consumer_last_digest(ConsumerFeed *feed)
{
  ConsumerLast *last = &feed->last;
  if (!last->digested)
    consumer_digest(last->timestamp, last->bytes->data, last->key_length, last->bytes->data + last->key_length,
                    last->bytes->len - last->key_length, last->digest);
  last->digested = TRUE;
  return last->digest;
}

static void feed_traffic(ConsumerShard *shard, const SourceRecord *record)
{
  DecodedTraffic decoded = {0};
  g_autoptr(GError) error = NULL;
  if (record->offset < shard_get_next_offset(shard->shard)) return; /* before decoding: a decoder may have state */
  DecodeReason reason = shard->decoder->type->traffic(shard->decoder, record, &decoded, &error);
  if (reason == DECODE_OK)
    shard_feed_traffic(shard->shard, record, &decoded);
  else
    shard_feed_dead_letter(shard->shard, record, reason, error == NULL ? NULL : error->message, decoded.n_expired);
}

static void feed_label(ConsumerShard *shard, const SourceRecord *record)
{
  ConsumerModel *model = shard->model;
  if (record->offset < shard_get_next_label(shard->shard, record->partition)) return;
  if (model->decoded_serial != shard->consumer->serial) {
    g_autoptr(GError) error = NULL;
    model->decoded_serial = shard->consumer->serial;
    model->decoded_reason = model->label_decoder->type->label(model->label_decoder, record, &model->decoded, &error);
    consumer_set_text(&model->decoded_text, error == NULL ? NULL : g_strdup(error->message));
  }
  if (model->decoded_reason == DECODE_OK)
    shard_feed_label(shard->shard, record, &model->decoded);
  else
    shard_feed_label_dead_letter(shard->shard, record, model->decoded_reason, model->decoded_text);
}

void consumer_dispatch(Consumer *consumer, const SourceRecord *record)
{
  ConsumerFeed *feed = consumer_find_feed(consumer, record->topic, record->partition);
  if (feed == NULL || record->offset < feed->position) return; /* nobody's (any more), or not what was asked for */
  consumer->recent = feed;
  consumer->serial++;
  keep_last(feed, record);
  for (guint i = 0; i < feed->subscriptions->len; i++) {
    ConsumerSubscription *subscription = &g_array_index(feed->subscriptions, ConsumerSubscription, i);
    ConsumerShard *shard = subscription->shard;
    if (shard->state != CONSUMER_SHARD_ACTIVE) continue;
    if (subscription->verifying && !consumer_check_record(subscription, feed, record)) continue;
    if (subscription->is_traffic)
      feed_traffic(shard, record);
    else
      feed_label(shard, record);
    if (++shard->records_since >= consumer->settings->checkpoint.events ||
        shard_get_pending_bytes(shard->shard) >= MAX_PENDING_BYTES ||
        (!subscription->is_traffic && shard_get_label_fill(shard->shard, record->partition) >= 1))
      consumer->must_tend = TRUE;
  }
}

/* --- pausing
 * ------------------------------------------------------------------------------------------------------------ */

/* A paused label partition goes on when the queue is half empty: each change makes the client fetch anew. */
static gboolean should_pause(const Consumer *consumer, const ConsumerFeed *feed)
{
  if (consumer->store_down) return TRUE;
  for (guint i = 0; i < feed->subscriptions->len; i++) {
    const ConsumerSubscription *subscription = &g_array_index(feed->subscriptions, ConsumerSubscription, i);
    const ConsumerShard *shard = subscription->shard;
    if (!subscription->is_traffic && shard->state == CONSUMER_SHARD_ACTIVE &&
        shard_get_label_fill(shard->shard, feed->partition) >= (feed->paused ? .5 : 1))
      return TRUE;
  }
  return FALSE;
}

void consumer_set_pauses(Consumer *consumer)
{
  for (guint i = 0; i < consumer->feeds->len && consumer->source != NULL; i++) {
    ConsumerFeed *feed = consumer->feeds->pdata[i];
    gboolean pause = should_pause(consumer, feed);
    if (pause == feed->paused) continue;
    if (!consumer->source->type->pause(consumer->source, feed->topic, feed->partition, pause, NULL)) continue;
    feed->paused = pause;
    feed->silent_since = consumer->now;
  }
}
