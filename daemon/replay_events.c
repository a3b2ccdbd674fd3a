/* Counting a verdict's traffic panes again from the events that the source still has. */
#include <jansson.h>

#include "daemon/decode.h"
#include "daemon/leader_internal.h"
#include "daemon/replay.h"
#include "daemon/shard.h"
#include "daemon/source.h"
#include "pipeline/model_spec.h"

/* Duplicates are known only from the events before a pane: so many earlier records are read again with it. */
enum { LOOK_BACK = 100000, POLL_MS = 200, QUIET_POLLS = 50 };

typedef struct {
  const SettingsModel *model;
  Source *source;
  Shard *shard;
  Decoder *decoder;
  GPtrArray *stored; /* of RegistryPane*: the partition's panes of the verdict, ascending */
  guint next;        /* of them, the first that is not compared yet */
  gboolean inside;   /* its first record has been fed */
  gchar *problem;
} Recount;

static void assigned(gpointer user_data, const gchar *topic, gint32 partition)
{
  (void)user_data;
  (void)topic;
  (void)partition;
}

static void revoked(gpointer user_data, const gchar *topic, gint32 partition, gboolean lost)
{
  (void)lost;
  assigned(user_data, topic, partition);
}

static void failed(gpointer user_data, const gchar *topic, gint32 partition, const GError *error)
{
  Recount *recount = user_data;
  (void)topic;
  (void)partition;
  g_free(recount->problem);
  recount->problem = g_strdup(error->message);
}

/* The pane that ends here, or NULL when nothing was fed since the last cut; the caller frees it. */
static RegistryPane *cut(Recount *recount)
{
  shard_cut_pane(recount->shard);
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(recount->shard);
  GPtrArray *panes = checkpoint->content.panes;
  return panes->len > 0 ? g_ptr_array_steal_index(panes, panes->len - 1) : NULL;
}

/* Cuts at the bounds of the stored panes that lie at or before `offset`, and compares what lies between. */
static void pass_bounds(Recount *recount, gint64 offset, ReplayResult *result)
{
  while (recount->next < recount->stored->len) {
    const RegistryPane *stored = g_ptr_array_index(recount->stored, recount->next);
    if (offset < (recount->inside ? stored->next_offset : stored->first_offset)) return;
    RegistryPane *pane = cut(recount);
    if (recount->inside) {
      result->panes_compared++;
      if (pane && g_bytes_equal(pane->bytes, stored->bytes)) result->panes_identical++;
      recount->next++;
    }
    recount->inside = !recount->inside;
    if (pane) registry_pane_free(pane);
  }
}

static void feed(Recount *recount, const SourceRecord *record)
{
  g_autoptr(GError) error = NULL;
  DecodedTraffic decoded = {0};
  DecodeReason reason = recount->decoder->type->traffic(recount->decoder, record, &decoded, &error);
  if (reason == DECODE_OK)
    shard_feed_traffic(recount->shard, record, &decoded);
  else
    shard_feed_dead_letter(recount->shard, record, reason, error ? error->message : "", 0);
}

/* Where reading begins; -1: the records are not all there (*why is new text then), or an error. */
static gint64 begin(Recount *recount, gint32 partition, gchar **why, GError **error)
{
  const RegistryPane *first = g_ptr_array_index(recount->stored, 0);
  const RegistryPane *last = g_ptr_array_index(recount->stored, recount->stored->len - 1);
  const gchar *topic = recount->model->traffic.topic;
  gint64 low = 0, high = 0;
  if (!recount->source->type->get_range(recount->source, topic, partition, &low, &high, error)) return -1;
  if (low > first->first_offset || high < last->next_offset) {
    *why = g_strdup_printf("the source keeps offsets %" G_GINT64_FORMAT "–%" G_GINT64_FORMAT
                           " of %s/%d, the panes need %" G_GINT64_FORMAT "–%" G_GINT64_FORMAT,
                           low, high - 1, topic, partition, first->first_offset, last->next_offset - 1);
    return -1;
  }
  gint64 position = MAX(low, first->first_offset - LOOK_BACK);
  shard_set_next_offset(recount->shard, position);
  return recount->source->type->seek(recount->source, topic, partition, position, error) ? position : -1;
}

/* One pass over the partition's records, from LOOK_BACK before the first pane to the end of the last. */
static gboolean read_partition(Recount *recount, gint32 partition, ReplayResult *result, gchar **why, GError **error)
{
  gint64 position = begin(recount, partition, why, error);
  const RegistryPane *last = g_ptr_array_index(recount->stored, recount->stored->len - 1);
  for (guint quiet = 0; position >= 0 && position < last->next_offset && quiet < QUIET_POLLS;) {
    SourceRecord record;
    if (!recount->source->type->poll(recount->source, POLL_MS, &record, NULL)) {
      quiet++;
      continue;
    }
    quiet = 0;
    if (record.partition != partition || record.offset < position) continue;
    pass_bounds(recount, record.offset, result);
    if (record.offset < last->next_offset) feed(recount, &record);
    position = record.offset + 1;
  }
  if (position < 0) return *why != NULL;
  recount->source->type->stop(recount->source, recount->model->traffic.topic, partition, NULL);
  pass_bounds(recount, position, result);
  if (recount->next < recount->stored->len)
    *why = g_strdup_printf("%s/%d: no record after offset %" G_GINT64_FORMAT "%s%s", recount->model->traffic.topic,
                           partition, position - 1, recount->problem ? ": " : "",
                           recount->problem ? recount->problem : "");
  return TRUE;
}

static gboolean open_recount(Recount *recount, const Settings *settings, const DriftSchema *schema, DriftGrid *grid,
                             gint32 partition, GError **error)
{
  static const SourceCallbacks callbacks = {assigned, revoked, failed, NULL};
  const SourceType *type = source_type_find(settings->broker.source);
  const DecoderType *decoder = decoder_type_find(recount->model->traffic.format);
  if (!recount->source && !(recount->source = type->open(&settings->broker, TRUE, &callbacks, recount, error)))
    return FALSE;
  ShardSettings shard_settings;
  shard_settings_init(&shard_settings, recount->model, partition, 1, 0);
  shard_settings.pane_events = G_MAXUINT;
  shard_settings.pane_us = 0;
  shard_settings.panes_per_day = 0;
  recount->shard = shard_new(&shard_settings, grid);
  shard_settings_clear(&shard_settings);
  recount->decoder = decoder->create(&recount->model->traffic, &recount->model->traffic.fields, schema, error);
  return recount->decoder != NULL;
}

static void close_partition(Recount *recount)
{
  if (recount->decoder) recount->decoder->type->free(recount->decoder);
  recount->decoder = NULL;
  g_clear_pointer(&recount->shard, shard_free);
  g_clear_pointer(&recount->stored, g_ptr_array_unref);
  recount->next = 0;
  recount->inside = FALSE;
}

static gint by_number(gconstpointer a, gconstpointer b)
{
  const RegistryPane *x = *(RegistryPane *const *)a, *y = *(RegistryPane *const *)b;
  return (x->number > y->number) - (x->number < y->number);
}

/* The verdict's panes of one partition as they are stored; NULL with error. */
static GPtrArray *stored_panes(RegistryStore *store, const gchar *model, const json_t *panes, gint32 partition,
                               GError **error)
{
  g_autoptr(GPtrArray) stored = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  json_t *item;
  size_t i;
  json_array_foreach ((json_t *)panes, i, item) {
    if (json_integer_value(json_array_get(item, 0)) != partition) continue;
    g_autoptr(GPtrArray) list =
        registry_pane_list(store, model, partition, json_integer_value(json_array_get(item, 1)), 1, TRUE, error);
    if (!list) return NULL;
    if (list->len > 0) g_ptr_array_add(stored, g_ptr_array_steal_index(list, 0));
  }
  g_ptr_array_sort(stored, by_number);
  return g_steal_pointer(&stored);
}

/* A source that is away or has dropped the records is no error: result->events says so. */
static gboolean recount_partition(RegistryStore *store, Recount *recount, const Settings *settings,
                                  const DriftSchema *schema, DriftGrid *grid, const json_t *panes, gint32 partition,
                                  ReplayResult *result, GError **error)
{
  recount->stored = stored_panes(store, recount->model->name, panes, partition, error);
  if (!recount->stored) return FALSE;
  g_autoptr(GError) local = NULL;
  g_autofree gchar *why = NULL;
  if (recount->stored->len > 0 && (!open_recount(recount, settings, schema, grid, partition, &local) ||
                                   !read_partition(recount, partition, result, &why, &local)))
    why = g_strdup(local ? local->message : "the source gives no reason");
  if (!result->events) result->events = g_steal_pointer(&why);
  close_partition(recount);
  return TRUE;
}

/* Each partition once. */
static gboolean recount_all(RegistryStore *store, Recount *recount, const Settings *settings, const DriftSchema *schema,
                            DriftGrid *grid, const json_t *panes, ReplayResult *result, GError **error)
{
  g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);
  json_t *item;
  size_t i;
  json_array_foreach ((json_t *)panes, i, item) {
    gint32 partition = (gint32)json_integer_value(json_array_get(item, 0));
    if (!g_hash_table_add(done, GINT_TO_POINTER(partition))) continue;
    if (!recount_partition(store, recount, settings, schema, grid, panes, partition, result, error)) return FALSE;
  }
  return TRUE;
}

static DriftGrid *load_grid(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, GError **error)
{
  g_autoptr(RegistryVersion) version = registry_version_get(store, model, 1, error);
  g_autoptr(GBytes) bytes =
      version && version->grid_digest ? registry_artifacts_get(artifacts, version->grid_digest, error) : NULL;
  return bytes ? drift_grid_from_bytes(bytes, error) : NULL;
}

gboolean replay_events(RegistryStore *store, RegistryArtifacts *artifacts, const Settings *settings, const gchar *model,
                       const gchar *panes_json, ReplayResult *result, GError **error)
{
  Recount recount = {.model = settings_find_model(settings, model)};
  if (!recount.model) {
    result->events = g_strdup_printf("the settings have no model %s", model);
    return TRUE;
  }
  g_autoptr(RegistryModel) registered = registry_model_get(store, model, error);
  g_autoptr(DriftSchema) schema = registered ? pipeline_model_spec_parse(registered->spec, error) : NULL;
  g_autoptr(DriftGrid) grid = schema ? load_grid(store, artifacts, model, error) : NULL;
  if (!grid) return FALSE;
  json_t *panes = json_loads(panes_json, 0, NULL);
  gboolean good = recount_all(store, &recount, settings, schema, grid, panes, result, error);
  json_decref(panes);
  if (recount.source) recount.source->type->close(recount.source);
  g_free(recount.problem);
  return good;
}
