/* The bytes of a shard's state. A short fixed head (so that an operator's reset need not know the rest), then the
 * compressed payload:
 *
 *   head     "KSH", version; next offset; what to do with the labels (SHARD_KEEP, or where they begin anew);
 *            1 when the anchors hold; u32 size of the payload
 *   payload  grid id, partition, watermark, idle, cluster id, anchor, decoder state, open pane, seen ids, label
 * partitions, marks of the join buffer
 */
#include "daemon/shard_internal.h"

#include <string.h>

static const guint8 magic[4] = {'K', 'S', 'H', SHARD_STATE_VERSION};

static void put_anchor(GByteArray *out, const ShardAnchor *anchor)
{
  shard_put_i64(out, anchor->offset);
  if (anchor->offset >= 0) g_byte_array_append(out, anchor->digest, sizeof anchor->digest);
}

static void put_text(GByteArray *out, const gchar *text)
{
  shard_put_bytes(out, text, text == NULL ? 0 : strlen(text));
}

static void put_optional(GByteArray *out, GBytes *bytes)
{
  gsize length = 0;
  const void *data = bytes == NULL ? NULL : g_bytes_get_data(bytes, &length);
  shard_put_u8(out, bytes != NULL);
  shard_put_bytes(out, data, length);
}

static void put_pane(const Shard *shard, GByteArray *out)
{
  const ShardPane *pane = &shard->pane;
  const guint64 counts[] = {pane->records, pane->events,      pane->late,   pane->duplicates,
                            pane->held,    pane->sampled_out, pane->evicted};
  shard_put_i64(out, pane->number);
  shard_put_i64(out, pane->first_offset);
  shard_put_i64(out, pane->first_time);
  shard_put_i64(out, pane->last_time);
  shard_put_i64(out, pane->slot);
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) shard_put_u64(out, counts[i]);
  shard_put_u8(out, DECODE_N_REASONS);
  for (guint i = 0; i < DECODE_N_REASONS; i++) shard_put_u64(out, pane->dead_letters[i]);
  shard_put_u64(out, shard->pane_factor);
  shard_put_i64(out, shard->day);
  shard_put_u64(out, shard->day_panes);
  g_autoptr(GBytes) bytes = pane->events == 0 ? NULL : drift_accumulator_to_bytes(shard->accumulator);
  put_optional(out, bytes);
}

static void put_track(const ShardTrack *track, GByteArray *out)
{
  const ShardLabelPane *pane = &track->pane;
  shard_put_u32(out, (guint32)track->partition);
  shard_put_i64(out, track->next);
  shard_put_i64(out, track->watermark);
  shard_put_i64(out, track->resolved);
  put_anchor(out, &track->anchor);
  shard_put_i64(out, track->next_row);
  shard_put_i64(out, pane->number);
  shard_put_i64(out, pane->first_row);
  shard_put_i64(out, pane->first_offset);
  shard_put_i64(out, pane->first_traffic);
  shard_put_i64(out, pane->last_traffic);
  shard_put_u64(out, pane->unmatched);
  shard_put_u64(out, pane->duplicates);
  shard_put_u64(out, pane->sampled_out);
  shard_put_u64(out, pane->dead_letters);
  g_autoptr(GBytes) rows = NULL;
  if (pane->rows->len > 0)
    rows = drift_label_rows_to_bytes((const DriftLabelRow *)(const void *)pane->rows->data, pane->rows->len);
  put_optional(out, rows);
  label_queue_put(track->queue, out);
  shard_put_u8(out, track->matched != NULL);
  if (track->matched != NULL) shard_seen_put_canonical(track->matched, out);
}

void shard_put_payload(Shard *shard, GByteArray *out, gboolean canonical)
{
  put_text(out, drift_grid_get_id(shard->grid));
  shard_put_u32(out, (guint32)shard->settings.partition);
  shard_put_i64(out, shard->next_offset); /* the head's differs after a reset */
  shard_put_i64(out, shard->watermark);
  shard_put_u8(out, (guint8)shard->idle);
  put_text(out, shard->cluster_id);
  put_anchor(out, &shard->anchor);
  put_optional(out, shard->decoder_state);
  put_pane(shard, out);
  shard_put_u8(out, shard->seen != NULL);
  if (shard->seen != NULL && canonical)
    shard_seen_put_canonical(shard->seen, out);
  else if (shard->seen != NULL)
    shard_seen_put_head(shard->seen, out);
  guint n_tracks = 0;
  for (guint k = 0; k < shard->tracks->len; k++) n_tracks += shard->tracks->pdata[k] != NULL;
  shard_put_u32(out, n_tracks);
  for (guint k = 0; k < shard->tracks->len; k++)
    if (shard->tracks->pdata[k] != NULL) put_track(shard->tracks->pdata[k], out);
  shard_put_u8(out, shard->join != NULL);
  if (shard->join != NULL && canonical)
    join_put_canonical(shard->join, shard_join_horizon(shard), out);
  else if (shard->join != NULL)
    join_put_marks(shard->join, out);
  if (!canonical) shard_put_i64(out, shard->next_chunk);
}

static void put_head(GByteArray *out, gint64 next, gint64 labels, gboolean anchored, guint32 size)
{
  g_byte_array_append(out, magic, sizeof magic);
  shard_put_i64(out, next);
  shard_put_i64(out, labels);
  shard_put_u8(out, (guint8)anchored);
  shard_put_u8(out, 0);
  shard_put_u32(out, size);
}

GBytes *shard_state_bytes(Shard *shard)
{
  g_autoptr(GByteArray) payload = g_byte_array_new();
  g_autoptr(ShardZip) zip = shard_zip_new();
  gsize length;
  shard_put_payload(shard, payload, FALSE);
  g_autofree guint8 *zipped = shard_zip_pack(zip, payload->data, payload->len, &length);
  GByteArray *out = g_byte_array_sized_new(SHARD_HEAD_BYTES + (guint)length);
  put_head(out, shard->next_offset, SHARD_KEEP, TRUE, payload->len);
  g_byte_array_append(out, zipped, (guint)length);
  return g_byte_array_free_to_bytes(out);
}

GBytes *shard_canonical_bytes(Shard *shard)
{
  GByteArray *out = g_byte_array_new();
  shard_put_payload(shard, out, TRUE);
  return g_byte_array_free_to_bytes(out);
}

GBytes *shard_state_reset(GBytes *state, gint64 traffic, gint64 labels, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(state, &length);
  ShardReader reader;
  shard_reader_init(&reader, bytes, length);
  const guint8 *head = shard_get_span(&reader, sizeof magic);
  gint64 next = shard_get_i64(&reader), old_labels = shard_get_i64(&reader);
  gboolean anchored = shard_get_u8(&reader) != 0;
  shard_get_u8(&reader);
  guint32 size = shard_get_u32(&reader);
  if (reader.failed || memcmp(head, magic, sizeof magic) != 0) {
    g_set_error_literal(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
                        "the stored shard state is not one of this release; upgrade kedge first");
    return NULL;
  }
  GByteArray *out = g_byte_array_sized_new((guint)length);
  put_head(out, traffic == SHARD_KEEP ? next : traffic, labels == SHARD_KEEP ? old_labels : labels,
           anchored && traffic == SHARD_KEEP && labels == SHARD_KEEP, size);
  g_byte_array_append(out, reader.at, (guint)(reader.end - reader.at));
  return g_byte_array_free_to_bytes(out);
}
