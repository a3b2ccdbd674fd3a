/* Reading a stored state back: every length is checked, nothing of a damaged state is used. */
#include "daemon/shard_internal.h"

#include <string.h>

/* A state holds an accumulator, label queues and marks: far below this. Guards the allocation. */
#define MAX_PAYLOAD (512u * 1024 * 1024)

static void get_anchor(ShardReader *reader, ShardAnchor *anchor)
{
  anchor->offset = shard_get_i64(reader);
  const guint8 *digest = anchor->offset < 0 ? NULL : shard_get_span(reader, sizeof anchor->digest);
  if (digest != NULL) memcpy(anchor->digest, digest, sizeof anchor->digest);
}

static GBytes *get_optional(ShardReader *reader)
{
  gsize length;
  gboolean present = shard_get_u8(reader) != 0;
  const guint8 *data = shard_get_bytes(reader, &length);
  return present && !reader->failed ? g_bytes_new(data, length) : NULL;
}

static gboolean get_identity(Shard *shard, ShardReader *reader, GError **error)
{
  gsize length;
  const gchar *id = (const gchar *)shard_get_bytes(reader, &length);
  const gchar *own = drift_grid_get_id(shard->grid);
  guint32 partition = shard_get_u32(reader);
  if (!reader->failed && (length != strlen(own) || memcmp(id, own, length) != 0)) {
    g_set_error(
        error, DAEMON_ERROR, DAEMON_ERROR_STATE,
        "the state of partition %d was made on grid %.*s, but the model's grid is %s: register the model's reference "
        "of then, or give the model a new name",
        shard->settings.partition, (int)length, id, own);
    return FALSE;
  }
  if (!reader->failed && partition != (guint32)shard->settings.partition) reader->failed = TRUE;
  return !reader->failed;
}

static gboolean get_pane(Shard *shard, ShardReader *reader, GError **error)
{
  ShardPane *pane = &shard->pane;
  guint64 *const counts[] = {&pane->records, &pane->events,      &pane->late,   &pane->duplicates,
                             &pane->held,    &pane->sampled_out, &pane->evicted};
  pane->number = shard_get_i64(reader);
  pane->first_offset = shard_get_i64(reader);
  pane->first_time = shard_get_i64(reader);
  pane->last_time = shard_get_i64(reader);
  pane->slot = shard_get_i64(reader);
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) *counts[i] = shard_get_u64(reader);
  guint8 n_reasons = shard_get_u8(reader);
  for (guint i = 0; i < n_reasons; i++) {
    guint64 count = shard_get_u64(reader);
    if (i < DECODE_N_REASONS) pane->dead_letters[i] = count;
  }
  shard->pane_factor = MAX(shard_get_u64(reader), 1);
  shard->day = shard_get_i64(reader);
  shard->day_panes = shard_get_u64(reader);
  g_autoptr(GBytes) bytes = get_optional(reader);
  if (bytes == NULL) return !reader->failed;
  DriftAccumulator *accumulator = drift_accumulator_from_bytes(shard->grid, bytes, error);
  if (accumulator == NULL) return FALSE;
  drift_accumulator_free(shard->accumulator);
  shard->accumulator = accumulator;
  return TRUE;
}

static gboolean get_label_rows(ShardTrack *track, ShardReader *reader, GError **error)
{
  g_autoptr(GBytes) bytes = get_optional(reader);
  if (bytes == NULL) return !reader->failed;
  GArray *rows = drift_label_rows_from_bytes(bytes, error);
  if (rows == NULL) return FALSE;
  g_array_unref(track->pane.rows);
  track->pane.rows = rows;
  return TRUE;
}

static gboolean get_track(Shard *shard, ShardReader *reader, GError **error)
{
  guint32 partition = shard_get_u32(reader);
  if (reader->failed || partition >= SHARD_MAX_LABEL_PARTITIONS) return FALSE;
  ShardTrack *track = shard_make_track(shard, (gint32)partition);
  ShardLabelPane *pane = &track->pane;
  track->next = shard_get_i64(reader);
  track->watermark = shard_get_i64(reader);
  track->resolved = shard_get_i64(reader);
  get_anchor(reader, &track->anchor);
  track->next_row = shard_get_i64(reader);
  pane->number = shard_get_i64(reader);
  pane->first_row = shard_get_i64(reader);
  pane->first_offset = shard_get_i64(reader);
  pane->first_traffic = shard_get_i64(reader);
  pane->last_traffic = shard_get_i64(reader);
  pane->unmatched = shard_get_u64(reader);
  pane->duplicates = shard_get_u64(reader);
  pane->sampled_out = shard_get_u64(reader);
  pane->dead_letters = shard_get_u64(reader);
  if (!get_label_rows(track, reader, error) || !label_queue_get(track->queue, reader)) return FALSE;
  if (shard_get_u8(reader) == 0) return !reader->failed;
  g_autoptr(ShardSeen) matched = shard_seen_new(G_MAXINT64 / 4, SHARD_MATCHED_CAPACITY, FALSE);
  if (!shard_seen_get_canonical(matched, reader)) return FALSE;
  if (track->matched == NULL) return TRUE; /* more label partitions than then: marks tell duplicates now */
  shard_seen_free(track->matched);
  track->matched = g_steal_pointer(&matched);
  return TRUE;
}

static gboolean restore_chunk(Shard *shard, GBytes *chunk, gint64 number)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(chunk, &length);
  ShardReader reader;
  ShardChunk entry = {.number = number};
  shard_reader_init(&reader, bytes, length);
  if (shard_get_u8(&reader) != SHARD_CHUNK_VERSION) return FALSE;
  if (shard_get_u8(&reader) != 0) {
    ShardSeen *unused = shard->seen == NULL ? shard_seen_new(1, 1, FALSE) : NULL;
    entry.generation = shard_seen_restore_fresh(unused != NULL ? unused : shard->seen, &reader);
    shard_seen_free(unused);
  }
  if (shard_get_u8(&reader) != 0) {
    if (shard->join == NULL) return !reader.failed; /* labels were switched off */
    if (!join_restore_chunk(shard->join, &reader, &entry.next_sequence)) return FALSE;
  }
  g_array_append_val(shard->chunks, entry);
  return !reader.failed;
}

static gboolean restore_chunks(Shard *shard, const GPtrArray *chunks, const GArray *numbers)
{
  for (guint i = 0; chunks != NULL && i < chunks->len; i++)
    if (!restore_chunk(shard, chunks->pdata[i], g_array_index(numbers, gint64, i))) return FALSE;
  return TRUE;
}

static gboolean get_payload(Shard *shard, ShardReader *reader, const GPtrArray *chunks, const GArray *numbers,
                            GError **error)
{
  gsize length;
  if (!get_identity(shard, reader, error)) return FALSE;
  shard->next_offset = shard_get_i64(reader);
  shard->watermark = shard_get_i64(reader);
  shard->idle = shard_get_u8(reader) != 0;
  const gchar *cluster_id = (const gchar *)shard_get_bytes(reader, &length);
  if (length > 0) shard->cluster_id = g_strndup(cluster_id, length);
  get_anchor(reader, &shard->anchor);
  shard->decoder_state = get_optional(reader);
  if (!get_pane(shard, reader, error)) return FALSE;
  if (shard_get_u8(reader) != 0) {
    g_autoptr(ShardSeen) unused = shard->seen == NULL ? shard_seen_new(1, 1, FALSE) : NULL;
    if (!shard_seen_get_head(unused != NULL ? unused : shard->seen, reader)) return FALSE;
  }
  guint32 n_tracks = shard_get_u32(reader);
  for (guint32 i = 0; i < n_tracks; i++)
    if (!get_track(shard, reader, error)) return FALSE;
  if (!restore_chunks(shard, chunks, numbers)) return FALSE;
  gboolean had_join = shard_get_u8(reader) != 0;
  if (had_join && shard->join != NULL && !join_get_marks(shard->join, reader)) return FALSE;
  if (had_join &&
      shard->join == NULL) { /* labels were switched off: nothing after the marks is needed but the number */
    shard->next_chunk = chunks == NULL || chunks->len == 0 ? 0 : g_array_index(numbers, gint64, numbers->len - 1) + 1;
    return TRUE;
  }
  shard->next_chunk = shard_get_i64(reader);
  return !reader->failed;
}

static GBytes *unpack(ShardReader *reader, guint32 size)
{
  if (reader->failed || size > MAX_PAYLOAD) return NULL;
  guint8 *payload = g_try_malloc(MAX(size, 1u));
  g_autoptr(ShardZip) zip = shard_zip_new();
  if (payload != NULL && shard_zip_unpack(zip, reader->at, (gsize)(reader->end - reader->at), payload, size))
    return g_bytes_new_take(payload, size);
  g_free(payload);
  return NULL;
}

static void forget_anchors(Shard *shard)
{
  g_clear_pointer(&shard->cluster_id, g_free);
  shard->anchor.offset = -1;
  for (guint k = 0; k < shard->tracks->len; k++)
    if (shard->tracks->pdata[k] != NULL) ((ShardTrack *)shard->tracks->pdata[k])->anchor.offset = -1;
}

static void begin_anew(Shard *shard, gint64 next, gint64 labels)
{
  shard->news = FALSE;
  for (guint k = 0; labels != SHARD_KEEP && k < shard->tracks->len; k++)
    if (shard->tracks->pdata[k] != NULL) shard_set_next_label(shard, (gint32)k, labels);
  shard_set_next_offset(shard, next);
  shard_refresh_heads(shard);
}

gboolean shard_restore(Shard *shard, GBytes *state, const GPtrArray *chunks, const GArray *numbers, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(state, &length);
  ShardReader reader, payload_reader;
  g_autoptr(GError) reason = NULL;
  shard_reader_init(&reader, bytes, length);
  const guint8 *head = shard_get_span(&reader, 4);
  if (head == NULL || memcmp(head, "KSH", 3) != 0 || head[3] != SHARD_STATE_VERSION) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "the state of partition %d is %s", shard->settings.partition,
                head != NULL && memcmp(head, "KSH", 3) == 0 ? "of a newer release: upgrade kedge"
                                                            : "not a shard state");
    return FALSE;
  }
  gint64 next = shard_get_i64(&reader), labels = shard_get_i64(&reader);
  gboolean anchored = shard_get_u8(&reader) != 0;
  shard_get_u8(&reader);
  guint32 size = shard_get_u32(&reader);
  g_autoptr(GBytes) payload = unpack(&reader, size);
  if (payload != NULL) shard_reader_init(&payload_reader, g_bytes_get_data(payload, NULL), size);
  if (payload == NULL || !get_payload(shard, &payload_reader, chunks, numbers, &reason)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "the state of partition %d cannot be read: %s",
                shard->settings.partition,
                reason != NULL ? reason->message : "it is damaged; restore the store's backup");
    return FALSE;
  }
  if (!anchored) forget_anchors(shard);
  begin_anew(shard, next, labels);
  return TRUE;
}
