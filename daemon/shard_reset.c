#include "daemon/shard_reset.h"

#include <jansson.h>
#include <stdlib.h>

#include "daemon/shard.h"
#include "registry/audit.h"

/* Finds what the row says besides its state, which acquiring does not change. */
static RegistryShardStatus *find_status(const GPtrArray *list, gint32 partition)
{
  for (guint i = 0; i < list->len; i++)
    if (((RegistryShardStatus *)list->pdata[i])->partition == partition) return list->pdata[i];
  return NULL;
}

static gchar *describe(gint64 offset)
{
  if (offset == SHARD_KEEP) return g_strdup("kept");
  if (offset == SOURCE_EARLIEST) return g_strdup("earliest");
  if (offset == SOURCE_LATEST) return g_strdup("latest");
  return g_strdup_printf("%" G_GINT64_FORMAT, offset);
}

/* What counts as consumed from now on, so that nobody who waits for offsets is told that they were read before: 0 until
 * the daemon has resolved earliest or latest. New text. */
static gchar *reset_consumed(const gchar *consumed, gint64 traffic, gint64 labels)
{
  json_t *json = consumed != NULL ? json_loads(consumed, 0, NULL) : NULL, *label;
  const char *key;
  if (json == NULL) json = json_object();
  if (traffic != SHARD_KEEP) json_object_set_new(json, "traffic", json_integer((json_int_t)MAX(traffic, 0)));
  json_object_foreach (json_object_get(json, "labels"), key, label)
    if (labels != SHARD_KEEP) json_integer_set(label, (json_int_t)MAX(labels, 0));
  char *text = json_dumps(json, JSON_COMPACT);
  json_decref(json);
  gchar *copy = g_strdup(text);
  free(text);
  return copy;
}

static gboolean write_reset(RegistryStore *store, const gchar *model, const RegistryShardStatus *status, gint64 traffic,
                            gint64 labels, const gchar *actor, GError **error)
{
  g_autoptr(RegistryShard) row = registry_shard_acquire(store, model, status->partition, actor, error);
  if (row == NULL) return FALSE;
  g_autoptr(GBytes) state = shard_state_reset(row->state, traffic, labels, error);
  if (state == NULL) return FALSE;
  g_autofree gchar *consumed = reset_consumed(status->consumed, traffic, labels);
  RegistryCheckpoint checkpoint = {.model = model,
                                   .partition = status->partition,
                                   .epoch = row->epoch,
                                   .base_offset = row->next_offset,
                                   .next_offset = traffic >= 0 ? traffic : row->next_offset,
                                   .state = state,
                                   .consumed = consumed,
                                   .watermark = status->watermark,
                                   .idle = status->idle};
  g_autofree gchar *from = describe(traffic), *labels_from = describe(labels);
  g_autofree gchar *subject = g_strdup_printf("%s/%d", model, status->partition);
  g_autofree gchar *detail =
      g_strdup_printf("traffic: %s (was at %" G_GINT64_FORMAT "), labels: %s", from, row->next_offset, labels_from);
  return registry_shard_checkpoint(store, &checkpoint, error) &&
         registry_audit_append(store, actor, "shard.reset", subject, detail, error);
}

gboolean shard_reset_stored(RegistryStore *store, const gchar *model, gint32 partition, gint64 traffic, gint64 labels,
                            const gchar *actor, GError **error)
{
  g_autoptr(GPtrArray) list = registry_shard_list(store, model, error);
  if (list == NULL) return FALSE;
  const RegistryShardStatus *status = find_status(list, partition);
  if (status == NULL || status->next_offset < 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
                "model %s has no stored state of partition %d: it begins where traffic.start says", model, partition);
    return FALSE;
  }
  if (!registry_store_begin(store, error)) return FALSE;
  if (write_reset(store, model, status, traffic, labels, actor, error)) return registry_store_commit(store, error);
  registry_store_rollback(store);
  return FALSE;
}
