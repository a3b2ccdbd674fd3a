/* Ownership of shards, and what others may see of them. The checkpoint itself is in checkpoint.c. */
#include "registry/shard.h"

#include "registry/digest.h"
#include "registry/model.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

void registry_shard_free(RegistryShard *shard)
{
  if (shard == NULL) return;
  if (shard->state != NULL) g_bytes_unref(shard->state);
  g_free(shard->owner);
  g_free(shard);
}

void registry_shard_status_free(RegistryShardStatus *status)
{
  if (status == NULL) return;
  g_free(status->owner);
  g_free(status->consumed);
  g_free(status);
}

gboolean registry_check_row(const RegistryRows *rows, guint row, guint digest_column, guint first, guint n,
                            const gchar *what, GError **error)
{
  g_autofree gchar *digest = registry_digest_row(rows, row, first, n);
  if (g_strcmp0(digest, registry_rows_get_text(rows, row, digest_column)) == 0) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT,
              "%s was changed in the store: its content does not match its digest; `kedge verify` lists what else is "
              "damaged; restore from a backup",
              what);
  return FALSE;
}

RegistryShard *registry_shard_acquire(RegistryStore *store, const gchar *model, gint32 partition, const gchar *owner,
                                      GError **error)
{
  if (!registry_check_name("model", model, error) || !registry_check_text("owner", owner, error)) return NULL;
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(partition), REGISTRY_T(owner)};
  /* The columns after the digest are what it covers (checkpoint.c). */
  g_autoptr(RegistryRows) rows = registry_store_query(
      store,
      "INSERT INTO shard (model, partition, epoch, owner, next_offset, watermark, idle)"
      " VALUES ($1, $2, 1, $3, -1, 0, 0)"
      " ON CONFLICT (model, partition) DO UPDATE SET epoch = shard.epoch + 1, owner = excluded.owner"
      " RETURNING epoch, owner, digest, model, partition, next_offset, watermark, idle, consumed, state",
      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autofree gchar *what = g_strdup_printf("state of shard %s/%d", model, partition);
  if (!registry_rows_is_null(rows, 0, 2) && !registry_check_row(rows, 0, 2, 3, 7, what, error)) return NULL;
  RegistryShard *shard = g_new0(RegistryShard, 1);
  shard->epoch = registry_rows_get_integer(rows, 0, 0);
  shard->owner = registry_rows_copy_text(rows, 0, 1);
  shard->next_offset = registry_rows_get_integer(rows, 0, 5);
  shard->state = registry_rows_get_blob(rows, 0, 9);
  return shard;
}

GPtrArray *registry_shard_list(RegistryStore *store, const gchar *model, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "SELECT partition, epoch, next_offset, watermark, idle, owner, consumed FROM shard"
                           " WHERE model = $1 ORDER BY partition",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_shard_status_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    RegistryShardStatus *status = g_new0(RegistryShardStatus, 1);
    status->partition = (gint32)registry_rows_get_integer(rows, i, 0);
    status->epoch = registry_rows_get_integer(rows, i, 1);
    status->next_offset = registry_rows_get_integer(rows, i, 2);
    status->watermark = registry_rows_get_integer(rows, i, 3);
    status->idle = registry_rows_get_integer(rows, i, 4) != 0;
    status->owner = registry_rows_copy_text(rows, i, 5);
    status->consumed = registry_rows_copy_text(rows, i, 6);
    g_ptr_array_add(list, status);
  }
  return list;
}

GPtrArray *registry_shard_join_chunks(RegistryStore *store, const gchar *model, gint32 partition, GArray **numbers,
                                      GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(partition)};
  g_autoptr(RegistryRows) rows = registry_store_query(store,
                                                      "SELECT digest, model, partition, number, bytes FROM join_chunk"
                                                      " WHERE model = $1 AND partition = $2 ORDER BY number",
                                                      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) chunks = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    gint64 number = registry_rows_get_integer(rows, i, 3);
    g_autofree gchar *what = g_strdup_printf("join chunk %" G_GINT64_FORMAT " of %s/%d", number, model, partition);
    if (!registry_check_row(rows, i, 0, 1, 4, what, error)) return NULL;
    g_ptr_array_add(chunks, registry_rows_get_blob(rows, i, 4));
    g_array_append_val(found, number);
  }
  if (numbers != NULL) *numbers = g_steal_pointer(&found);
  return g_steal_pointer(&chunks);
}
