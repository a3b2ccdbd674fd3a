/* Labels of a shard: queues, matching, and when a waiting label is given up. */
#include "daemon/shard_internal.h"

#include <string.h>

ShardTrack *shard_find_track(const Shard *shard, gint32 label_partition)
{
  if (label_partition < 0 || (guint)label_partition >= shard->tracks->len) return NULL;
  return shard->tracks->pdata[label_partition];
}

static gboolean is_only_one(const Shard *shard)
{
  return shard->n_followed == 1;
}

ShardTrack *shard_make_track(Shard *shard, gint32 label_partition)
{
  ShardTrack *track = shard_find_track(shard, label_partition);
  if (track != NULL) return track;
  if ((guint)label_partition >= shard->tracks->len) g_ptr_array_set_size(shard->tracks, label_partition + 1);
  track = g_new0(ShardTrack, 1);
  track->partition = label_partition;
  track->next = SOURCE_LATEST;
  track->watermark = track->resolved = SHARD_TIME_NONE;
  track->anchor.offset = -1;
  track->queue = label_queue_new();
  track->pane.first_offset = track->pane.first_traffic = track->pane.last_traffic = -1;
  track->pane.rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  if (is_only_one(shard) && shard_follows(shard, label_partition))
    track->matched = shard_seen_new(G_MAXINT64 / 4, SHARD_MATCHED_CAPACITY, FALSE);
  track->rows = g_byte_array_new();
  track->ends = g_array_new(FALSE, FALSE, sizeof(guint32));
  shard->tracks->pdata[label_partition] = track;
  return track;
}

void shard_track_free(ShardTrack *track)
{
  label_queue_free(track->queue);
  g_array_unref(track->pane.rows);
  shard_seen_free(track->matched);
  g_byte_array_unref(track->rows);
  g_array_unref(track->ends);
  g_free(track);
}

gboolean shard_follows(const Shard *shard, gint32 label_partition)
{
  if (label_partition < 0 || label_partition >= shard->settings.n_label_partitions) return FALSE;
  return !shard->settings.copartitioned || label_partition == shard->settings.partition;
}

gint64 shard_get_next_label(const Shard *shard, gint32 label_partition)
{
  const ShardTrack *track = shard_find_track(shard, label_partition);
  return track == NULL ? SOURCE_LATEST : track->next;
}

void shard_set_next_label(Shard *shard, gint32 label_partition, gint64 offset)
{
  ShardTrack *track = shard_find_track(shard, label_partition);
  if (track == NULL || track->next == offset) return;
  track->next = offset;
  track->anchor.offset = -1;
  shard->news = TRUE;
}

gint64 shard_join_horizon(const Shard *shard)
{
  gint64 lowest = G_MAXINT64;
  for (guint k = 0; k < shard->tracks->len; k++) {
    const ShardTrack *track = shard->tracks->pdata[k];
    if (track == NULL || !shard_follows(shard, track->partition)) continue;
    lowest = MIN(lowest, track->head_hash != 0 ? track->head_arrival : track->watermark);
  }
  return lowest == G_MAXINT64 ? G_MININT64 : lowest - shard->settings.wait_us;
}

void shard_refresh_heads(Shard *shard)
{
  shard->head_mask = 0;
  shard->next_deadline = G_MAXINT64;
  for (guint k = 0; k < shard->tracks->len; k++) {
    ShardTrack *track = shard->tracks->pdata[k];
    LabelEntry head;
    if (track == NULL) continue;
    track->head_hash = 0;
    if (!shard_follows(shard, track->partition) || !label_queue_peek(track->queue, &head)) continue;
    track->head_hash = head.hash;
    track->head_deadline = head.time + shard->settings.grace_us;
    track->head_arrival = head.arrival;
    shard->head_mask |= G_GUINT64_CONSTANT(1) << (head.hash & 63);
    shard->next_deadline = MIN(shard->next_deadline, track->head_deadline);
  }
}

static void append_row(Shard *shard, ShardTrack *track, const LabelEntry *entry, JoinRow *found)
{
  DriftLabelledRow row = found->parsed;
  row.traffic_offset = found->offset;
  row.label_offset = entry->offset;
  row.label_time = entry->label_time;
  row.label = entry->label;
  gsize before = track->rows->len;
  drift_labelled_row_append(track->rows, &row, shard->n_features);
  guint32 end = track->rows->len;
  g_array_append_val(track->ends, end);
  shard->pending_bytes += end - before;
  shard->statistics.labels++;
  if (track->matched != NULL) shard_seen_add(track->matched, entry->hash, entry->arrival);
  shard_label_pane_add(shard, track, entry, &row);
}

/* No prediction will come any more: say why not. */
static void give_up(Shard *shard, ShardTrack *track, const LabelEntry *entry)
{
  gboolean duplicate = track->matched != NULL && shard_seen_has(track->matched, entry->hash);
  if (duplicate)
    track->pane.duplicates++;
  else
    track->pane.unmatched++;
  if (duplicate)
    shard->statistics.label_duplicates++;
  else
    shard->statistics.unmatched++;
}

/* The watermark by which the partition's waiting labels are judged: its own helps when no traffic comes. */
static gint64 judging_watermark(const Shard *shard, const ShardTrack *track)
{
  return shard->idle ? MAX(shard->watermark, track->watermark) : shard->watermark;
}

/* A label that may have a prediction. FALSE: it has to wait. */
static gboolean resolve_label(Shard *shard, ShardTrack *track, const LabelEntry *entry, gboolean flush)
{
  JoinQuery query = {.hash = entry->hash,
                     .id = entry->id.text,
                     .id_length = entry->id.length,
                     .latest_arrival = entry->time + shard->settings.grace_us,
                     .earliest_time = entry->arrival - shard->settings.wait_us,
                     .label_partition = track->partition,
                     .leaves = is_only_one(shard)};
  JoinRow found;
  JoinResult result = join_match(shard->join, &query, &found);
  if (result == JOIN_NONE && !flush && judging_watermark(shard, track) <= query.latest_arrival) return FALSE;
  track->resolved = MAX(track->resolved, entry->time);
  if (result == JOIN_MATCH) {
    append_row(shard, track, entry, &found);
  } else if (result == JOIN_DUPLICATE) {
    track->pane.duplicates++;
    shard->statistics.label_duplicates++;
  } else {
    give_up(shard, track, entry);
  }
  return TRUE;
}

/* TRUE when the label is done with. */
static gboolean resolve(Shard *shard, ShardTrack *track, const LabelEntry *entry, gboolean flush)
{
  if (track->pane.first_offset < 0) track->pane.first_offset = entry->offset;
  if (entry->hash == 0) { /* it could not be decoded: no id, no time */
    track->pane.dead_letters++;
    return TRUE;
  }
  if (entry->hash >= shard->sample_below && shard->sample_below != G_MAXUINT64) {
    track->pane.sampled_out++;
    track->resolved = MAX(track->resolved, entry->time);
    return TRUE;
  }
  return resolve_label(shard, track, entry, flush);
}

void shard_track_resolve(Shard *shard, ShardTrack *track, gboolean flush)
{
  LabelEntry entry;
  while (label_queue_peek(track->queue, &entry) && resolve(shard, track, &entry, flush)) label_queue_pop(track->queue);
}

void shard_labels_advance(Shard *shard, guint64 held_hash)
{
  gboolean moved = FALSE;
  for (guint k = 0; k < shard->tracks->len; k++) {
    ShardTrack *track = shard->tracks->pdata[k];
    if (track == NULL || label_queue_get_length(track->queue) == 0 || !shard_follows(shard, track->partition)) continue;
    if (track->head_hash != 0 && track->head_hash != held_hash && shard->watermark <= track->head_deadline) continue;
    shard_track_resolve(shard, track, FALSE);
    moved = TRUE;
  }
  if (moved) shard_refresh_heads(shard);
}

/* Resolves the label at once when none waits before it; else it queues up. */
static void take_label(Shard *shard, ShardTrack *track, const LabelEntry *entry)
{
  shard->news = TRUE;
  track->next = entry->offset + 1;
  if (label_queue_get_length(track->queue) == 0 && resolve(shard, track, entry, FALSE)) return;
  label_queue_push(track->queue, entry);
  gboolean is_head = label_queue_get_length(track->queue) == 1;
  /* Without traffic the label partition's own watermark may have passed the heads. */
  if (shard->idle) shard_track_resolve(shard, track, label_queue_get_fill(track->queue) >= 1);
  if (is_head || shard->idle) shard_refresh_heads(shard);
}

void shard_feed_label(Shard *shard, const SourceRecord *record, const DecodedLabel *label)
{
  ShardTrack *track = shard_find_track(shard, record->partition);
  if (track == NULL || record->offset < track->next || !shard_follows(shard, record->partition)) return;
  gint64 time = shard_cap_time(label->time, record->timestamp, shard->settings.skew_us);
  if (time > track->watermark) track->watermark = time;
  LabelEntry entry = {.offset = record->offset,
                      .label_time = label->time,
                      .time = time,
                      .arrival = track->watermark,
                      .hash = shard_hash(label->request_id.text, label->request_id.length),
                      .id = label->request_id,
                      .label = label->label};
  take_label(shard, track, &entry);
}

void shard_feed_label_dead_letter(Shard *shard, const SourceRecord *record, DecodeReason reason, const gchar *text)
{
  ShardTrack *track = shard_find_track(shard, record->partition);
  if (track == NULL || record->offset < track->next || !shard_follows(shard, record->partition)) return;
  LabelEntry entry = {.offset = record->offset, .time = track->watermark, .arrival = track->watermark};
  take_label(shard, track, &entry);
  /* Several shards read the label; one of them reports it. */
  if (!shard->settings.copartitioned &&
      record->partition % shard->settings.n_traffic_partitions != shard->settings.partition)
    return;
  shard->statistics.dead_letters[reason]++;
  shard_add_dead_letter(shard, shard->settings.label_topic, record, reason, text);
}

void shard_set_label_idle(Shard *shard, gint32 label_partition)
{
  ShardTrack *track = shard_find_track(shard, label_partition);
  if (track == NULL || !shard_follows(shard, label_partition)) return;
  gint64 before = track->watermark;
  guint length = label_queue_get_length(track->queue);
  track->watermark = MAX(track->watermark, shard->watermark);
  if (shard->idle) shard_track_resolve(shard, track, TRUE);
  if (track->watermark == before && label_queue_get_length(track->queue) == length) return;
  shard_refresh_heads(shard);
  shard->news = TRUE;
}

double shard_get_label_fill(const Shard *shard, gint32 label_partition)
{
  const ShardTrack *track = shard_find_track(shard, label_partition);
  return track == NULL ? 0 : label_queue_get_fill(track->queue);
}
