/* What a shard hands over to be written in one transaction. */
#include "daemon/shard_internal.h"

#include <string.h>

gboolean shard_has_news(const Shard *shard)
{
  return shard->news;
}

gsize shard_get_pending_bytes(const Shard *shard)
{
  return shard->pending_bytes;
}

static void labelled_rows_free(gpointer pointer)
{
  RegistryLabelledRows *rows = pointer;
  g_bytes_unref(rows->bytes);
  g_free((guint32 *)rows->ends);
  g_free(rows);
}

static void take_labelled_rows(ShardTrack *track, GPtrArray *out)
{
  if (track->ends->len == 0) return;
  RegistryLabelledRows *rows = g_new0(RegistryLabelledRows, 1);
  rows->label_partition = track->partition;
  rows->n_rows = track->ends->len;
  rows->first_row = track->next_row - rows->n_rows;
  rows->bytes = g_byte_array_free_to_bytes(g_steal_pointer(&track->rows));
  rows->ends = g_memdup2(track->ends->data, rows->n_rows * sizeof(guint32));
  track->rows = g_byte_array_new();
  g_array_set_size(track->ends, 0);
  g_ptr_array_add(out, rows);
}

/* New predictions and new request ids since the last checkpoint; NULL: none. */
static GBytes *take_chunk(Shard *shard)
{
  gboolean ids = shard->seen != NULL && shard_seen_has_fresh(shard->seen);
  gboolean rows = shard->join != NULL && join_has_fresh(shard->join);
  if (!ids && !rows) return NULL;
  GByteArray *out = g_byte_array_new();
  ShardChunk chunk = {.number = shard->next_chunk++};
  shard_put_u8(out, SHARD_CHUNK_VERSION);
  shard_put_u8(out, (guint8)ids);
  if (ids) chunk.generation = shard_seen_take_fresh(shard->seen, out);
  shard_put_u8(out, (guint8)rows);
  if (rows) {
    join_take_chunk(shard->join, out);
    chunk.next_sequence = join_get_next_sequence(shard->join);
  }
  g_array_append_val(shard->chunks, chunk);
  return g_byte_array_free_to_bytes(out);
}

/* Chunks are dropped from the front: the first that still has a row or an id that counts stays, with all after it. */
static gint64 drop_dead_chunks(Shard *shard)
{
  guint64 live_row = shard->join == NULL ? G_MAXUINT64 : join_get_first_live(shard->join);
  guint64 live_generation = shard->seen == NULL ? G_MAXUINT64 : shard_seen_get_oldest(shard->seen);
  guint n = 0;
  while (n < shard->chunks->len) {
    const ShardChunk *chunk = &g_array_index(shard->chunks, ShardChunk, n);
    if (chunk->next_sequence > live_row || chunk->generation >= live_generation) break;
    n++;
  }
  if (n > 0) g_array_remove_range(shard->chunks, 0, n);
  return shard->chunks->len == 0 ? shard->next_chunk : g_array_index(shard->chunks, ShardChunk, 0).number;
}

/* No later label pane of the track closes below it: what orders label panes of several partitions. An idle time-out
 * lifts it, so that a silent label partition does not hold back the others. */
static gint64 label_mark(const ShardTrack *track)
{
  return label_queue_get_length(track->queue) == 0 ? track->watermark : track->resolved;
}

static void append_labels(const Shard *shard, GString *json, gboolean marks)
{
  const gchar *comma = "";
  for (guint k = 0; k < shard->tracks->len; k++) {
    const ShardTrack *track = shard->tracks->pdata[k];
    if (track == NULL || !shard_follows(shard, track->partition)) continue;
    g_string_append_printf(json, "%s\"%u\":%" G_GINT64_FORMAT, comma, k,
                           marks ? label_mark(track) : MAX(track->next, 0));
    comma = ",";
  }
}

/* {"traffic": N, "labels": {"0": N}, "label_watermarks": {"0": microseconds}} */
static gchar *consumed_json(const Shard *shard)
{
  GString *json = g_string_new(NULL);
  g_string_printf(json, "{\"traffic\":%" G_GINT64_FORMAT ",\"labels\":{", MAX(shard->next_offset, 0));
  append_labels(shard, json, FALSE);
  g_string_append(json, "},\"label_watermarks\":{");
  append_labels(shard, json, TRUE);
  g_string_append(json, "}}");
  return g_string_free(json, FALSE);
}

ShardCheckpoint *shard_take_checkpoint(Shard *shard)
{
  ShardCheckpoint *checkpoint = g_new0(ShardCheckpoint, 1);
  RegistryCheckpoint *content = &checkpoint->content;
  if (shard->join != NULL) join_expire(shard->join, shard_join_horizon(shard));
  content->partition = shard->settings.partition;
  content->next_offset = shard->next_offset;
  content->join_chunk = take_chunk(shard);
  content->join_chunk_number = shard->next_chunk - 1;
  content->join_chunk_first_live = drop_dead_chunks(shard);
  content->state = shard_state_bytes(shard); /* after the chunk: it numbers it */
  content->consumed = checkpoint->consumed = consumed_json(shard);
  content->watermark = shard->watermark;
  content->idle = shard->idle;
  content->panes = g_steal_pointer(&shard->panes);
  content->label_panes = g_steal_pointer(&shard->label_panes);
  content->dead_letters = g_steal_pointer(&shard->dead_letters);
  content->labelled_rows = g_ptr_array_new_with_free_func(labelled_rows_free);
  for (guint k = 0; k < shard->tracks->len; k++)
    if (shard->tracks->pdata[k] != NULL) take_labelled_rows(shard->tracks->pdata[k], content->labelled_rows);
  shard->panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  shard->label_panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_label_pane_free);
  shard->dead_letters = g_ptr_array_new_with_free_func((GDestroyNotify)shard_dead_letter_free);
  shard->pending_bytes = 0;
  shard->news = FALSE;
  return checkpoint;
}

void shard_checkpoint_free(ShardCheckpoint *checkpoint)
{
  if (checkpoint == NULL) return;
  RegistryCheckpoint *content = &checkpoint->content;
  g_bytes_unref(content->state);
  if (content->join_chunk != NULL) g_bytes_unref(content->join_chunk);
  g_ptr_array_unref(content->panes);
  g_ptr_array_unref(content->label_panes);
  g_ptr_array_unref(content->dead_letters);
  g_ptr_array_unref(content->labelled_rows);
  g_free(checkpoint->consumed);
  g_free(checkpoint);
}
