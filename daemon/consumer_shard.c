/* A shard's life: wait for what it needs, acquire, restore, start reading; drop and begin again. */
#include "daemon/consumer_internal.h"

ConsumerShard *consumer_shard_new(Consumer *consumer, ConsumerModel *model, gint32 partition)
{
  ConsumerShard *shard = g_new0(ConsumerShard, 1);
  g_autofree gchar *number = g_strdup_printf("%d", partition);
  shard->consumer = consumer;
  shard->model = model;
  shard->partition = partition;
  shard->labels = metrics_label("model", model->settings->name, "partition", number, NULL);
  shard->model_label = metrics_label("model", model->settings->name, NULL);
  return shard;
}

static void forget(ConsumerShard *shard)
{
  g_clear_pointer(&shard->shard, shard_free);
  g_clear_pointer(&shard->unwritten, shard_checkpoint_free);
  if (shard->decoder != NULL) shard->decoder->type->free(g_steal_pointer(&shard->decoder));
  shard->records_since = 0;
  shard->reported = (ShardStatistics){0};
}

void consumer_shard_free(ConsumerShard *shard)
{
  forget(shard);
  g_free(shard->problem);
  g_free(shard->labels);
  g_free(shard->model_label);
  g_free(shard);
}

void consumer_shard_drop(ConsumerShard *shard, gint64 delay_us, gchar *problem)
{
  consumer_unsubscribe(shard->consumer, shard);
  forget(shard);
  shard->state = CONSUMER_SHARD_WAITING;
  shard->retry_at = shard->consumer->now + delay_us;
  consumer_set_text(&shard->problem, problem);
}

/* --- starting --------------------------------------------------------------------------------------------------------
 */

typedef struct {
  gint32 n_traffic, n_labels;
} Partitions;

static gboolean count_partitions(ConsumerShard *shard, Partitions *out, GError **error)
{
  Consumer *consumer = shard->consumer;
  const SettingsModel *model = shard->model->settings;
  out->n_traffic = consumer->source->type->count_partitions(consumer->source, model->traffic.topic, error);
  if (out->n_traffic < 1) return FALSE;
  out->n_labels = 0;
  if (model->labels.topic == NULL || model->labels.topic[0] == '\0') return TRUE;
  out->n_labels = consumer->source->type->count_partitions(consumer->source, model->labels.topic, error);
  if (out->n_labels < 1) return FALSE;
  if (out->n_labels > SHARD_MAX_LABEL_PARTITIONS ||
      (model->labels.copartitioned && shard->partition >= out->n_labels)) {
    g_set_error(
        error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS,
        "topic %s has %d partitions: at most %d are followed, and with `copartitioned: true` at least one for each "
        "traffic partition is needed",
        model->labels.topic, out->n_labels, SHARD_MAX_LABEL_PARTITIONS);
    return FALSE;
  }
  return TRUE;
}

static gboolean restore(ConsumerShard *shard, const RegistryShard *row, GError **error)
{
  g_autoptr(GArray) numbers = NULL;
  const DecoderType *type = shard->model->label_decoder->type;
  shard->decoder =
      type->create(&shard->model->settings->traffic, NULL, drift_grid_get_schema(shard->model->grid), error);
  if (shard->decoder == NULL) return FALSE;
  if (row->state == NULL) return TRUE;
  g_autoptr(GPtrArray) chunks = registry_shard_join_chunks(shard->consumer->store, shard->model->settings->name,
                                                           shard->partition, &numbers, error);
  if (chunks == NULL || !shard_restore(shard->shard, row->state, chunks, numbers, error)) return FALSE;
  GBytes *decoder_state = shard_get_decoder_state(shard->shard);
  return decoder_state == NULL || type->restore == NULL || type->restore(shard->decoder, decoder_state, error);
}

static gboolean acquire(ConsumerShard *shard, const Partitions *partitions, GError **error)
{
  Consumer *consumer = shard->consumer;
  const SettingsModel *model = shard->model->settings;
  g_autoptr(RegistryShard) row =
      registry_shard_acquire(consumer->store, model->name, shard->partition, consumer->owner, error);
  if (row == NULL) return FALSE;
  ShardSettings settings;
  shard_settings_init(&settings, model, shard->partition, partitions->n_traffic, partitions->n_labels);
  shard->shard = shard_new(&settings, shard->model->grid);
  shard_settings_clear(&settings);
  shard->epoch = row->epoch;
  shard->stored_next = row->next_offset;
  shard->n_label_partitions = partitions->n_labels;
  return restore(shard, row, error);
}

/* Where nothing is stored yet: earliest or latest becomes an offset now, and is stored with the first checkpoint. */
static gint64 resolve_start(const SettingsModel *model, gint64 next, gboolean fresh, gint64 low, gint64 high)
{
  if (next >= 0) return next;
  if (fresh) return g_strcmp0(model->traffic.start, "latest") == 0 ? high : low;
  return next == SOURCE_EARLIEST ? low : high;
}

/* label_partition SHARD_TRAFFIC: the traffic. FALSE: error, or stopped by an incident (no error). */
static gboolean start_stream(ConsumerShard *shard, gint32 label_partition, gboolean fresh, GError **error)
{
  Consumer *consumer = shard->consumer;
  const SettingsModel *model = shard->model->settings;
  gboolean is_traffic = label_partition == SHARD_TRAFFIC;
  const gchar *topic = is_traffic ? model->traffic.topic : model->labels.topic;
  gint32 partition = is_traffic ? shard->partition : label_partition;
  gint64 low, high;
  if (!consumer->source->type->get_range(consumer->source, topic, partition, &low, &high, error)) return FALSE;
  gint64 next = is_traffic ? shard_get_next_offset(shard->shard) : shard_get_next_label(shard->shard, label_partition);
  if (next >= 0 && !consumer_check_range(shard, topic, partition, next, low, high)) return FALSE;
  gint64 from = resolve_start(model, next, fresh, low, high);
  if (is_traffic)
    shard_set_next_offset(shard->shard, from);
  else
    shard_set_next_label(shard->shard, label_partition, from);
  const ShardAnchor *anchor = shard_get_anchor(shard->shard, label_partition);
  gboolean verify = anchor->offset >= low && anchor->offset < high;
  return consumer_subscribe(consumer, shard, topic, partition, is_traffic, from, verify ? anchor : NULL, error);
}

static gboolean start_streams(ConsumerShard *shard, GError **error)
{
  gboolean fresh = shard->stored_next < 0;
  g_autofree gchar *cluster_id = shard->consumer->source->type->get_cluster_id(shard->consumer->source);
  if (cluster_id != NULL && !consumer_check_cluster(shard, cluster_id)) return FALSE;
  if (cluster_id != NULL) shard_set_cluster_id(shard->shard, cluster_id);
  if (!start_stream(shard, SHARD_TRAFFIC, fresh, error)) return FALSE;
  for (gint32 k = 0; k < shard->n_label_partitions; k++) {
    if (!shard_follows(shard->shard, k)) continue;
    /* A label partition that the state does not know is new: none of its labels was seen. */
    if (!fresh && shard_get_next_label(shard->shard, k) == SOURCE_LATEST &&
        shard_get_anchor(shard->shard, k)->offset < 0)
      shard_set_next_label(shard->shard, k, SOURCE_EARLIEST);
    if (!start_stream(shard, k, fresh, error)) return FALSE;
  }
  return TRUE;
}

static gboolean start(ConsumerShard *shard, GError **error)
{
  Partitions partitions;
  if (!count_partitions(shard, &partitions, error)) return FALSE;
  if (!acquire(shard, &partitions, error)) return FALSE;
  shard->state = CONSUMER_SHARD_ACTIVE;
  shard->incidents_closed = FALSE;
  shard->written_at = shard->consumer->now;
  if (!start_streams(shard, error)) return FALSE;
  consumer_set_text(&shard->problem, NULL);
  shard->failures = 0;
  consumer_close_incidents(shard);
  /* The first checkpoint pins where a new shard begins. */
  if (shard->stored_next < 0) consumer_checkpoint(shard);
  return TRUE;
}

/* An operator's reset, or another owner, moves the epoch on. */
static void tend_stopped(ConsumerShard *shard)
{
  Consumer *consumer = shard->consumer;
  consumer_unsubscribe(consumer, shard);
  forget(shard);
  if (consumer->now < shard->retry_at || consumer->store == NULL || consumer->store_down) return;
  shard->retry_at = consumer->now + (gint64)consumer->settings->broker.session_timeout_ms * 1000 / 3;
  g_autoptr(GPtrArray) list = registry_shard_list(consumer->store, shard->model->settings->name, NULL);
  for (guint i = 0; list != NULL && i < list->len; i++) {
    const RegistryShardStatus *status = list->pdata[i];
    if (status->partition == shard->partition && status->epoch != shard->epoch)
      consumer_shard_drop(shard, 0, g_strdup(shard->problem));
  }
}

void consumer_shard_tend(ConsumerShard *shard)
{
  Consumer *consumer = shard->consumer;
  if (shard->state == CONSUMER_SHARD_STOPPED) tend_stopped(shard);
  if (shard->state != CONSUMER_SHARD_WAITING || consumer->now < shard->retry_at || consumer->store == NULL ||
      consumer->store_down || consumer->source == NULL || !consumer_model_prepare(consumer, shard->model))
    return;
  g_autoptr(GError) error = NULL;
  if (start(shard, &error) || shard->state == CONSUMER_SHARD_STOPPED) return;
  gboolean store = g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE) ||
                   g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT);
  consumer_shard_drop(shard, consumer_backoff(consumer, shard->failures++),
                      error == NULL ? NULL
                                    : g_strdup_printf("model %s, partition %d: %s", shard->model->settings->name,
                                                      shard->partition, error->message));
  if (store) consumer_store_failed(consumer, error);
}
