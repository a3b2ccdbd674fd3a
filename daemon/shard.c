/* Traffic of a shard: watermark, late, duplicates, the accumulator, and what is held for its label. */
#include "daemon/shard_internal.h"

#include <string.h>

static gint64 to_us(gint64 milliseconds)
{
  return CLAMP(milliseconds, 0, G_GINT64_CONSTANT(1) << 47) * 1000;
}

static gint64 greatest_common_divisor(gint64 a, gint64 b)
{
  while (b != 0) {
    gint64 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

void shard_settings_init(ShardSettings *settings, const SettingsModel *model, gint32 partition,
                         gint32 n_traffic_partitions, gint32 n_label_partitions)
{
  const SettingsWindow *window = &model->window;
  gboolean has_labels = model->labels.topic != NULL && model->labels.topic[0] != '\0';
  memset(settings, 0, sizeof *settings);
  settings->partition = partition;
  settings->n_traffic_partitions = MAX(n_traffic_partitions, 1);
  settings->n_label_partitions = has_labels ? MIN(n_label_partitions, SHARD_MAX_LABEL_PARTITIONS) : 0;
  settings->copartitioned = model->labels.copartitioned;
  settings->skew_us = to_us(model->traffic.skew_ms);
  settings->late_us = to_us(model->traffic.late_ms);
  settings->dedupe_us = to_us(model->traffic.dedupe_ms);
  settings->grace_us = to_us(model->labels.grace_ms);
  settings->wait_us = to_us(model->labels.wait_ms);
  settings->sample = model->labels.sample;
  settings->label_rows = MAX(window->label_rows, 1);
  settings->panes_per_day = window->panes_per_day;
  settings->max_waiting = JOIN_MAX_WAITING;
  settings->max_waiting_bytes = JOIN_MAX_BYTES;
  settings->traffic_topic = g_strdup(model->traffic.topic);
  settings->label_topic = g_strdup(has_labels ? model->labels.topic : "");
  settings->dead_letter_topic = g_strdup(model->dead_letter_topic);
  if (window->events > 0) {
    guint shortest = window->slide_events > 0 ? MIN(window->slide_events, window->events) : window->events;
    settings->pane_events = window->pane_events > 0 ? window->pane_events : MAX(shortest / 10, 1);
    return;
  }
  gint64 duration = MAX(to_us(window->duration_ms), 1000), slide = to_us(window->slide_ms);
  settings->pane_limit_us = slide > 0 ? greatest_common_divisor(duration, slide) : duration;
  settings->pane_us = settings->pane_limit_us / 10; /* whole milliseconds: ten divides them */
}

void shard_settings_clear(ShardSettings *settings)
{
  g_clear_pointer(&settings->traffic_topic, g_free);
  g_clear_pointer(&settings->label_topic, g_free);
  g_clear_pointer(&settings->dead_letter_topic, g_free);
}

static guint64 sample_limit(double sample)
{
  if (!(sample < 1)) return G_MAXUINT64;
  return sample <= 0 ? 0 : (guint64)(sample * 18446744073709551615.0);
}

static void free_track(gpointer track)
{
  if (track != NULL) shard_track_free(track);
}

Shard *shard_new(const ShardSettings *settings, DriftGrid *grid)
{
  Shard *shard = g_new0(Shard, 1);
  shard->settings = *settings;
  shard->settings.traffic_topic = g_strdup(settings->traffic_topic);
  shard->settings.label_topic = g_strdup(settings->label_topic);
  shard->settings.dead_letter_topic = g_strdup(settings->dead_letter_topic);
  shard->grid = drift_grid_ref(grid);
  shard->n_features = drift_schema_n_features(drift_grid_get_schema(grid));
  shard->next_offset = SOURCE_LATEST;
  shard->watermark = SHARD_TIME_NONE;
  shard->anchor.offset = -1;
  shard->accumulator = drift_accumulator_new(grid);
  shard->pane_factor = 1;
  shard->day = G_MININT64;
  shard->next_deadline = G_MAXINT64;
  shard->sample_below = sample_limit(settings->sample);
  if (settings->dedupe_us > 0) shard->seen = shard_seen_new(settings->dedupe_us, SHARD_SEEN_CAPACITY, TRUE);
  shard->tracks = g_ptr_array_new_with_free_func(free_track);
  shard->chunks = g_array_new(FALSE, FALSE, sizeof(ShardChunk));
  shard->panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  shard->label_panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_label_pane_free);
  shard->dead_letters = g_ptr_array_new_with_free_func((GDestroyNotify)shard_dead_letter_free);
  shard_pane_reset(shard);
  if (settings->n_label_partitions > 0) {
    shard->join = join_new(shard->n_features, settings->max_waiting, settings->max_waiting_bytes);
    shard->n_followed = settings->copartitioned ? 1 : (guint)settings->n_label_partitions;
    for (gint32 k = 0; k < settings->n_label_partitions; k++)
      if (shard_follows(shard, k)) shard_make_track(shard, k);
  }
  return shard;
}

void shard_free(Shard *shard)
{
  if (shard == NULL) return;
  g_ptr_array_unref(shard->tracks);
  g_array_unref(shard->chunks);
  g_ptr_array_unref(shard->panes);
  g_ptr_array_unref(shard->label_panes);
  g_ptr_array_unref(shard->dead_letters);
  g_clear_pointer(&shard->decoder_state, g_bytes_unref);
  shard_seen_free(shard->seen);
  join_free(shard->join);
  drift_accumulator_free(shard->accumulator);
  drift_grid_unref(shard->grid);
  g_free(shard->cluster_id);
  shard_settings_clear(&shard->settings);
  g_free(shard);
}

/* --- feeding ----------------------------------------------------------------------------------------------------- */

static void hold(Shard *shard, const DriftEvent *event, guint64 hash, gint64 offset, gint64 time)
{
  if (hash >= shard->sample_below && shard->sample_below != G_MAXUINT64) {
    shard->pane.sampled_out++;
    return;
  }
  /* What no label can match any more goes first, so that only rows that still count are evicted. */
  if (join_get_waiting(shard->join) >= shard->settings.max_waiting) join_expire(shard->join, shard_join_horizon(shard));
  guint evicted = join_add(shard->join, hash, event, offset, time, shard->watermark);
  shard->pane.held++;
  shard->pane.evicted += evicted;
  shard->statistics.evicted += evicted;
}

static void take_event(Shard *shard, const DriftEvent *event, gint64 offset, gint64 time)
{
  if (time > shard->watermark) shard->watermark = time;
  guint64 hash = 0, held_hash = 0;
  gboolean late = time < shard->watermark - shard->settings.late_us, duplicate = FALSE;
  /* without an id: counted, but never joined */
  if (!late && event->request_id.kind == DRIFT_VALUE_TEXT && (shard->seen != NULL || shard->join != NULL))
    hash = shard_hash(event->request_id.text, event->request_id.length);
  if (hash != 0 && shard->seen != NULL) shard_seen_prefetch(shard->seen, hash);
  if (!late) drift_accumulator_locate(shard->accumulator, event); /* takes about as long as the fetch */
  if (hash != 0) {
    duplicate = shard->seen != NULL && shard_seen_add(shard->seen, hash, shard->watermark);
    if (!duplicate && shard->join != NULL) hold(shard, event, held_hash = hash, offset, time);
  }
  if (late) {
    shard->pane.late++;
    shard->statistics.late++;
  } else if (duplicate) {
    shard->pane.duplicates++;
    shard->statistics.duplicates++;
  } else {
    drift_accumulator_count(shard->accumulator);
    if (shard->pane.events == 0 || time < shard->pane.first_time) shard->pane.first_time = time;
    if (shard->pane.events == 0 || time > shard->pane.last_time) shard->pane.last_time = time;
    shard->pane.events++;
    shard->statistics.events++;
  }
  if (shard->watermark > shard->next_deadline || (held_hash != 0 && (shard->head_mask >> (held_hash & 63) & 1) != 0))
    shard_labels_advance(shard, held_hash);
}

static void begin_record(Shard *shard, const SourceRecord *record, guint n_expired)
{
  if (shard->pane.first_offset < 0)
    shard->pane.first_offset = shard->next_offset < 0 ? record->offset : shard->next_offset;
  shard->idle = FALSE;
  shard->news = TRUE;
  shard->pane.records++;
  shard->pane.dead_letters[DECODE_HALF_EXPIRED] += n_expired;
  shard->statistics.dead_letters[DECODE_HALF_EXPIRED] += n_expired;
}

void shard_feed_traffic(Shard *shard, const SourceRecord *record, const DecodedTraffic *decoded)
{
  if (record->offset < shard->next_offset) return;
  gint64 skew = shard->settings.skew_us;
  if (shard->settings.pane_events == 0) {
    gint64 newest = shard->watermark;
    for (guint i = 0; i < decoded->n_events; i++)
      newest = MAX(newest, shard_cap_time(decoded->events[i].event_time, record->timestamp, skew));
    shard_pane_before_record(shard, record->offset, newest);
  }
  begin_record(shard, record, decoded->n_expired);
  for (guint i = 0; i < decoded->n_events; i++)
    take_event(shard, &decoded->events[i], record->offset,
               shard_cap_time(decoded->events[i].event_time, record->timestamp, skew));
  shard->next_offset = record->offset + 1;
  shard_pane_after_record(shard);
}

void shard_feed_dead_letter(Shard *shard, const SourceRecord *record, DecodeReason reason, const gchar *text,
                            guint n_expired)
{
  if (record->offset < shard->next_offset) return;
  begin_record(shard, record, n_expired);
  shard->pane.dead_letters[reason]++;
  shard->statistics.dead_letters[reason]++;
  shard_add_dead_letter(shard, shard->settings.traffic_topic, record, reason, text);
  shard->next_offset = record->offset + 1;
}

void shard_set_idle(Shard *shard)
{
  if (shard->idle) return;
  shard->idle = shard->news = TRUE;
  for (guint k = 0; k < shard->tracks->len; k++) {
    ShardTrack *track = shard->tracks->pdata[k];
    if (track != NULL && shard_follows(shard, track->partition))
      shard_track_resolve(shard, track, label_queue_get_fill(track->queue) >= 1);
  }
  shard_refresh_heads(shard);
}

/* --- where it stands --------------------------------------------------------------------------------------------- */

gint64 shard_get_next_offset(const Shard *shard)
{
  return shard->next_offset;
}

void shard_set_next_offset(Shard *shard, gint64 offset)
{
  if (offset == shard->next_offset) return;
  if (shard->next_offset >= 0 && shard->pane.events > 0) shard_pane_close(shard, shard->next_offset);
  shard->pane.first_offset = -1; /* a pane covers one unbroken stretch */
  shard->next_offset = offset;
  shard->anchor.offset = -1;
  shard->news = TRUE;
}

void shard_cut_pane(Shard *shard)
{
  if (shard->pane.records > 0) shard_pane_close(shard, shard->next_offset);
  shard->news = TRUE;
}

const ShardAnchor *shard_get_anchor(const Shard *shard, gint32 label_partition)
{
  if (label_partition == SHARD_TRAFFIC) return &shard->anchor;
  const ShardTrack *track = shard_find_track(shard, label_partition);
  return track == NULL ? NULL : &track->anchor;
}

void shard_set_anchor(Shard *shard, gint32 label_partition, const ShardAnchor *anchor)
{
  ShardTrack *track = label_partition == SHARD_TRAFFIC ? NULL : shard_find_track(shard, label_partition);
  if (label_partition == SHARD_TRAFFIC)
    shard->anchor = *anchor;
  else if (track != NULL)
    track->anchor = *anchor;
}

const gchar *shard_get_cluster_id(const Shard *shard)
{
  return shard->cluster_id;
}

void shard_set_cluster_id(Shard *shard, const gchar *cluster_id)
{
  if (g_strcmp0(shard->cluster_id, cluster_id) == 0) return;
  g_free(shard->cluster_id);
  shard->cluster_id = g_strdup(cluster_id);
}

GBytes *shard_get_decoder_state(const Shard *shard)
{
  return shard->decoder_state;
}

void shard_set_decoder_state(Shard *shard, GBytes *bytes)
{
  if (bytes != NULL) g_bytes_ref(bytes);
  g_clear_pointer(&shard->decoder_state, g_bytes_unref);
  shard->decoder_state = bytes;
}

gboolean shard_is_idle(const Shard *shard)
{
  return shard->idle;
}

void shard_get_statistics(const Shard *shard, ShardStatistics *out)
{
  *out = shard->statistics;
  out->watermark = shard->watermark;
  out->waiting = shard->join == NULL ? 0 : join_get_waiting(shard->join);
  out->memory = sizeof *shard + drift_accumulator_get_memory(shard->accumulator) + shard_get_pending_bytes(shard);
  if (shard->join != NULL) out->memory += join_get_memory(shard->join);
  if (shard->seen != NULL) out->memory += shard_seen_get_memory(shard->seen);
  for (guint k = 0; k < shard->tracks->len; k++) {
    const ShardTrack *track = shard->tracks->pdata[k];
    if (track == NULL) continue;
    out->queued += label_queue_get_length(track->queue);
    out->memory += label_queue_get_memory(track->queue) + track->pane.rows->len * sizeof(DriftLabelRow);
  }
}
