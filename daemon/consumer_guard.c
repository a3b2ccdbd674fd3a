/* Is it still the topic that was read? Another cluster, another record at the offset consumed last, or offsets that are
 * gone are an incident: the shard stops until an operator has decided (`kedge shard reset`). Never a silent gap.
 *
 * The record consumed last is fetched again and its digest compared. Where it is gone by compaction or retention while
 * the records after it are all there, nothing can be compared and nothing is missing: reading goes on, and the log says
 * so. */
#include "daemon/consumer_internal.h"

#include <jansson.h>
#include <string.h>

#include "registry/decision.h"

void consumer_digest(gint64 timestamp, const guint8 *key, gsize key_length, const guint8 *value, gsize value_length,
                     guint8 digest[32])
{
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  const gint64 head[2] = {GINT64_TO_LE(timestamp), GINT64_TO_LE((gint64)key_length)};
  gsize length = 32;
  g_checksum_update(checksum, (const guint8 *)head, sizeof head);
  if (key_length > 0) g_checksum_update(checksum, key, (gssize)key_length);
  if (value_length > 0) g_checksum_update(checksum, value, (gssize)value_length);
  g_checksum_get_digest(checksum, digest, &length);
}

static gchar *incident_prefix(const ConsumerShard *shard)
{
  return g_strdup_printf("%s/ingest/%d/", shard->model->settings->name, shard->partition);
}

static gint64 event_time(const ConsumerShard *shard)
{
  ShardStatistics statistics = {.watermark = SHARD_TIME_NONE};
  if (shard->shard != NULL) shard_get_statistics(shard->shard, &statistics);
  return statistics.watermark == SHARD_TIME_NONE ? 0 : statistics.watermark;
}

static gboolean put_incident(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 offset,
                             const gchar *summary, GError **error)
{
  g_autofree gchar *prefix = incident_prefix(shard);
  json_t *body = json_pack("{s:s, s:i, s:I, s:i}", "topic", topic, "topic_partition", (int)partition, "offset",
                           (json_int_t)offset, "partition", (int)shard->partition);
  char *body_text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
  RegistryIncident incident = {.model = shard->model->settings->name,
                               .kind = (gchar *)"ingest",
                               .state = (gchar *)"open",
                               .summary = (gchar *)summary,
                               .body = body_text};
  g_autofree gchar *id = g_strdup_printf("%s%s/%d/%" G_GINT64_FORMAT, prefix, topic, partition, offset);
  incident.id = id;
  incident.opened_at = incident.updated_at = event_time(shard);
  gboolean done = registry_incident_put(shard->consumer->store, &incident, error);
  json_decref(body);
  free(body_text);
  return done;
}

/* Takes summary. The reader's subscriptions go at the next turn: this may be called while records are handed out. */
static void stop(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 offset, gchar *summary)
{
  Consumer *consumer = shard->consumer;
  g_autoptr(GError) error = NULL;
  g_warning("model %s, partition %d stops: %s", shard->model->settings->name, shard->partition, summary);
  if (!put_incident(shard, topic, partition, offset, summary, &error)) {
    /* Without the incident on record it does not stay stopped: it comes here again. */
    g_warning("the incident could not be written: %s", error->message);
    shard->epoch = -1;
  }
  g_clear_pointer(&shard->unwritten, shard_checkpoint_free);
  shard->state = CONSUMER_SHARD_STOPPED;
  shard->retry_at = consumer->now;
  consumer_set_text(&shard->problem, summary);
  consumer->must_tend = TRUE;
}

static gchar *what_to_do(const ConsumerShard *shard)
{
  return g_strdup_printf("nothing more is read until `kedge shard reset %s %d --to earliest|latest|OFFSET`",
                         shard->model->settings->name, shard->partition);
}

void consumer_stop_gap(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 offset, const gchar *what)
{
  g_autofree gchar *advice = what_to_do(shard);
  stop(shard, topic, partition, offset,
       g_strdup_printf("topic %s, partition %d, offset %" G_GINT64_FORMAT ": %s; %s", topic, partition, offset, what,
                       advice));
}

gboolean consumer_check_range(ConsumerShard *shard, const gchar *topic, gint32 partition, gint64 next, gint64 low,
                              gint64 high)
{
  g_autofree gchar *what = NULL;
  if (high < next)
    what = g_strdup_printf("the partition now ends at %" G_GINT64_FORMAT
                           ", before what was consumed already: the topic was recreated or has lost records",
                           high);
  else if (low > next)
    what = g_strdup_printf("the records up to %" G_GINT64_FORMAT " were deleted before they were consumed", low - 1);
  if (what == NULL) return TRUE;
  consumer_stop_gap(shard, topic, partition, next, what);
  return FALSE;
}

gboolean consumer_check_cluster(ConsumerShard *shard, const gchar *cluster_id)
{
  const gchar *known = shard_get_cluster_id(shard->shard);
  if (known == NULL || strcmp(known, cluster_id) == 0) return TRUE;
  g_autofree gchar *what =
      g_strdup_printf("the state was made on cluster %s, but this is cluster %s", known, cluster_id);
  consumer_stop_gap(shard, shard->model->settings->traffic.topic, shard->partition, shard_get_next_offset(shard->shard),
                    what);
  return FALSE;
}

gboolean consumer_check_record(ConsumerSubscription *subscription, ConsumerFeed *feed, const SourceRecord *record)
{
  const ShardAnchor *anchor = &subscription->anchor;
  if (record->offset < anchor->offset) return FALSE;
  if (record->offset == anchor->offset &&
      memcmp(consumer_last_digest(feed), anchor->digest, sizeof anchor->digest) != 0) {
    consumer_stop_gap(subscription->shard, feed->topic, feed->partition, anchor->offset,
                      "another record is there than the one that was consumed: the topic was recreated");
    return FALSE;
  }
  subscription->verifying = FALSE;
  if (record->offset > anchor->offset)
    g_message("topic %s, partition %d: record %" G_GINT64_FORMAT
              " was compacted away and cannot be compared with the one consumed; going on at %" G_GINT64_FORMAT,
              feed->topic, feed->partition, anchor->offset, record->offset);
  consumer_close_incidents(subscription->shard);
  return record->offset > anchor->offset;
}

static gboolean is_verifying(const ConsumerShard *shard)
{
  for (guint i = 0; i < shard->consumer->feeds->len; i++) {
    const ConsumerFeed *feed = shard->consumer->feeds->pdata[i];
    for (guint s = 0; s < feed->subscriptions->len; s++) {
      const ConsumerSubscription *subscription = &g_array_index(feed->subscriptions, ConsumerSubscription, s);
      if (subscription->shard == shard && subscription->verifying) return TRUE;
    }
  }
  return FALSE;
}

/* Once a shard reads again, what stopped it is over. */
void consumer_close_incidents(ConsumerShard *shard)
{
  if (shard->incidents_closed || is_verifying(shard)) return;
  g_autoptr(GError) error = NULL;
  g_autofree gchar *prefix = incident_prefix(shard);
  g_autoptr(GPtrArray) list =
      registry_incident_list(shard->consumer->store, shard->model->settings->name, TRUE, 0, &error);
  shard->incidents_closed = list != NULL;
  for (guint i = 0; list != NULL && i < list->len; i++) {
    RegistryIncident *incident = list->pdata[i];
    if (!g_str_has_prefix(incident->id, prefix)) continue;
    gchar *closed = g_strdup("closed");
    g_free(incident->state);
    incident->state = closed;
    incident->updated_at = incident->closed_at = MAX(event_time(shard), 1);
    if (!registry_incident_put(shard->consumer->store, incident, &error)) shard->incidents_closed = FALSE;
    g_clear_error(&error);
  }
}
