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
  GPtrArray *panes; /* of RegistryPane*: of the shard that counts again */
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

static void keep_panes(Recount *recount)
{
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(recount->shard);
  GPtrArray *panes = checkpoint->content.panes;
  for (guint i = 0; panes && i < panes->len; i++)
    g_ptr_array_add(recount->panes, g_steal_pointer(&g_ptr_array_index(panes, i)));
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

/* Reads [first, next) into a pane of its own; FALSE: the records are not all there. */
static gboolean recount_range(Recount *recount, gint32 partition, gint64 from, gint64 first, gint64 next, GError **error)
{
  const SourceType *type = recount->source->type;
  gint64 low = 0, high = 0;
  if (!type->get_range(recount->source, recount->model->traffic.topic, partition, &low, &high, error)) return FALSE;
  if (low > first || high < next) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_OFFSET,
                "the source keeps offsets %" G_GINT64_FORMAT "–%" G_GINT64_FORMAT " of %s/%d, the pane needs %" G_GINT64_FORMAT
                "–%" G_GINT64_FORMAT, low, high - 1, recount->model->traffic.topic, partition, first, next - 1);
    return FALSE;
  }
  gint64 position = MAX(low, from);
  shard_set_next_offset(recount->shard, position);
  if (!type->seek(recount->source, recount->model->traffic.topic, partition, position, error)) return FALSE;
  guint quiet = 0;
  gboolean begun = position >= first;
  while (position < next && quiet < QUIET_POLLS) {
    SourceRecord record;
    if (!type->poll(recount->source, POLL_MS, &record, NULL)) {
      quiet++;
      continue;
    }
    quiet = 0;
    if (record.partition != partition || record.offset < position) continue;
    if (!begun && record.offset >= first) shard_set_next_offset(recount->shard, first); /* closes what came before */
    begun = begun || record.offset >= first;
    if (record.offset >= next) break;
    feed(recount, &record);
    position = record.offset + 1;
  }
  shard_set_next_offset(recount->shard, next);
  keep_panes(recount);
  if (quiet < QUIET_POLLS) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TIMEOUT, "%s/%d: no record after offset %" G_GINT64_FORMAT "%s%s",
              recount->model->traffic.topic, partition, position - 1, recount->problem ? ": " : "",
              recount->problem ? recount->problem : "");
  return FALSE;
}

static void compare(const Recount *recount, const RegistryPane *stored, ReplayResult *result)
{
  result->panes_compared++;
  for (guint i = 0; i < recount->panes->len; i++) {
    const RegistryPane *pane = g_ptr_array_index(recount->panes, i);
    if (pane->first_offset == stored->first_offset && pane->next_offset == stored->next_offset &&
        g_bytes_equal(pane->bytes, stored->bytes)) {
      result->panes_identical++;
      return;
    }
  }
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
  g_ptr_array_set_size(recount->panes, 0);
}

static gboolean recount_pane(RegistryStore *store, Recount *recount, const Settings *settings, const DriftSchema *schema,
                             DriftGrid *grid, gint32 partition, gint64 number, ReplayResult *result, GError **error)
{
  g_autoptr(GPtrArray) list = registry_pane_list(store, recount->model->name, partition, number, 1, TRUE, error);
  if (!list || list->len == 0) return list != NULL;
  const RegistryPane *stored = g_ptr_array_index(list, 0);
  g_autoptr(GError) local = NULL;
  gboolean good = open_recount(recount, settings, schema, grid, partition, &local) &&
                  recount_range(recount, partition, stored->first_offset - LOOK_BACK, stored->first_offset,
                                stored->next_offset, &local);
  if (good)
    compare(recount, stored, result);
  else if (!result->events)
    result->events = g_strdup(local->message);
  close_partition(recount);
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
  recount.panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  json_t *panes = json_loads(panes_json, 0, NULL), *item;
  size_t i;
  gboolean good = TRUE;
  json_array_foreach(panes, i, item)
  {
    good = good && recount_pane(store, &recount, settings, schema, grid,
                                (gint32)json_integer_value(json_array_get(item, 0)),
                                json_integer_value(json_array_get(item, 1)), result, error);
  }
  json_decref(panes);
  if (recount.source) recount.source->type->close(recount.source);
  g_ptr_array_unref(recount.panes);
  g_free(recount.problem);
  return good;
}
