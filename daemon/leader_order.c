/* The one order in which panes are taken: closing watermark, partition, label partition, number, up to the lowest
 * watermark that an active stream still stands at. So a second leader, or the same after a crash, takes them alike. */
#include "daemon/leader_internal.h"

enum { BATCH = 32, SILENT = -2 };

/* One partition's traffic, or one (partition, label partition). */
typedef struct {
  gint32 partition, label_partition;
  gint64 watermark; /* no later pane of this stream closes below it */
  gboolean holds;   /* active: others wait for it */
  GPtrArray *panes; /* RegistryPane* or RegistryLabelPane*, owned */
  guint next;
  gboolean cut; /* the list met the limit: more may follow */
} Stream;

static void stream_free(gpointer data)
{
  Stream *stream = data;
  if (stream->panes) g_ptr_array_unref(stream->panes);
  g_free(stream);
}

static gint64 head_watermark(const Stream *stream, gboolean label)
{
  gpointer pane = g_ptr_array_index(stream->panes, stream->next);
  return label ? ((RegistryLabelPane *)pane)->watermark : ((RegistryPane *)pane)->watermark;
}

static void taken_free(gpointer data)
{
  LeaderTaken *taken = data;
  if (taken->traffic) registry_pane_free(taken->traffic);
  if (taken->labels) registry_label_pane_free(taken->labels);
  g_free(taken);
}

/* Whether (watermark, stream a) comes before (watermark, stream b). */
static gboolean comes_before(gint64 wa, const Stream *a, gint64 wb, const Stream *b)
{
  if (wa != wb) return wa < wb;
  if (a->partition != b->partition) return a->partition < b->partition;
  return a->label_partition < b->label_partition;
}

static Stream *add_stream(GPtrArray *streams, const RegistryShardStatus *shard, gint32 label_partition,
                          gint64 watermark)
{
  Stream *stream = g_new0(Stream, 1);
  stream->partition = shard->partition;
  stream->label_partition = label_partition;
  stream->watermark = watermark;
  stream->holds = !shard->idle;
  g_ptr_array_add(streams, stream);
  return stream;
}

/* A shard's label streams, from its consumed JSON: {"labels": {"0": next}, "label_watermarks": {"0": µs}}. A shard that
 * has not said yet which label partitions it follows holds back all others. */
static void add_label_streams(GPtrArray *streams, const RegistryShardStatus *shard)
{
  json_t *consumed = shard->consumed ? json_loads(shard->consumed, 0, NULL) : NULL;
  const json_t *marks = json_object_get(consumed, "label_watermarks");
  const char *key;
  json_t *value;
  if (!consumed) add_stream(streams, shard, SILENT, G_MININT64);
  json_object_foreach (json_object_get(consumed, "labels"), key, value) {
    const json_t *mark = json_object_get(marks, key);
    Stream *stream = add_stream(streams, shard, (gint32)g_ascii_strtoll(key, NULL, 10),
                                json_is_integer(mark) ? json_integer_value(mark) : G_MININT64);
    stream->holds = stream->holds && json_is_integer(mark);
  }
  json_decref(consumed);
}

static gboolean fill(LeaderModel *model, LeaderContext *context, Stream *stream, gboolean label, GError **error)
{
  if (stream->label_partition == SILENT) {
    stream->panes = g_ptr_array_new();
    return TRUE;
  }
  gint64 from = *leader_model_cursor(model, stream->partition, label ? stream->label_partition : -1);
  stream->panes = label ? registry_label_pane_list(context->store, model->name, stream->partition,
                                                   stream->label_partition, from, BATCH, TRUE, error)
                        : registry_pane_list(context->store, model->name, stream->partition, from, BATCH, FALSE, error);
  if (!stream->panes) return FALSE;
  stream->cut = stream->panes->len >= BATCH;
  return TRUE;
}

/* The stream whose head comes first, or NULL when none may be taken yet. */
static Stream *first_stream(const GPtrArray *streams, gboolean label)
{
  Stream *best = NULL;
  gint64 best_watermark = 0;
  for (guint i = 0; i < streams->len; i++) {
    Stream *stream = g_ptr_array_index(streams, i);
    if (stream->next >= stream->panes->len) continue;
    gint64 watermark = head_watermark(stream, label);
    if (best && !comes_before(watermark, stream, best_watermark, best)) continue;
    best = stream;
    best_watermark = watermark;
  }
  for (guint i = 0; best && i < streams->len; i++) {
    const Stream *stream = g_ptr_array_index(streams, i);
    if (stream == best || stream->next < stream->panes->len || !stream->holds) continue;
    if (!comes_before(best_watermark, best, stream->watermark, stream)) return NULL;
  }
  return best;
}

GPtrArray *leader_take_order(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean label,
                             gboolean *more, GError **error)
{
  g_autoptr(GPtrArray) streams = g_ptr_array_new_with_free_func(stream_free);
  for (guint i = 0; i < shards->len; i++) {
    const RegistryShardStatus *shard = g_ptr_array_index(shards, i);
    if (label)
      add_label_streams(streams, shard);
    else
      add_stream(streams, shard, -1, shard->watermark);
  }
  for (guint i = 0; i < streams->len; i++)
    if (!fill(model, context, g_ptr_array_index(streams, i), label, error)) return NULL;
  GPtrArray *order = g_ptr_array_new_with_free_func(taken_free);
  *more = FALSE;
  for (Stream *stream; (stream = first_stream(streams, label));) {
    LeaderTaken *taken = g_new0(LeaderTaken, 1);
    gpointer pane = g_steal_pointer(&g_ptr_array_index(stream->panes, stream->next));
    taken->partition = stream->partition;
    if (label)
      taken->labels = pane;
    else
      taken->traffic = pane;
    g_ptr_array_add(order, taken);
    stream->next++;
    if (stream->next >= stream->panes->len && stream->cut) { /* what follows is not known: stop here */
      *more = TRUE;
      break;
    }
  }
  return order;
}
