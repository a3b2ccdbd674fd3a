#include "registry/decision.h"
#include "registry/model.h"
#include "registry/store_internal.h"

void registry_outbox_item_free(RegistryOutboxItem *item)
{
  if (item == NULL) return;
  g_free(item->id);
  g_free(item->kind);
  g_free(item->target);
  g_free(item->body);
  if (item->payload != NULL) g_bytes_unref(item->payload);
  g_free(item);
}

gboolean registry_outbox_put(RegistryStore *store, const RegistryOutboxItem *item, GError **error)
{
  if (!registry_check_text("the outbox item's id", item->id, error) ||
      !registry_check_text("the outbox item's kind", item->kind, error) ||
      !registry_check_text("the outbox item's target", item->target, error))
    return FALSE;
  const RegistryValue parameters[] = {REGISTRY_T(item->id),
                                      REGISTRY_T(item->kind),
                                      REGISTRY_T(item->target),
                                      REGISTRY_T(item->body),
                                      registry_value_bytes(item->payload),
                                      REGISTRY_I(item->not_before),
                                      REGISTRY_I(registry_store_now(store))};
  return registry_store_execute(
      store,
      "INSERT INTO outbox (id, kind, target, state, body, payload, attempts, not_before,"
      " created_at) VALUES ($1, $2, $3, 'due', $4, $5, 0, $6, $7) ON CONFLICT (id) DO NOTHING",
      parameters, G_N_ELEMENTS(parameters), NULL, error);
}

static RegistryOutboxItem *read_item(const RegistryRows *rows, guint i)
{
  RegistryOutboxItem *item = g_new0(RegistryOutboxItem, 1);
  item->id = registry_rows_copy_text(rows, i, 0);
  item->kind = registry_rows_copy_text(rows, i, 1);
  item->target = registry_rows_copy_text(rows, i, 2);
  item->body = registry_rows_copy_text(rows, i, 3);
  item->payload = registry_rows_get_blob(rows, i, 4);
  item->attempts = (guint)registry_rows_get_integer(rows, i, 5);
  item->not_before = registry_rows_get_integer(rows, i, 6);
  return item;
}

GPtrArray *registry_outbox_due(RegistryStore *store, const gchar *kind, gint64 now, guint limit, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(kind), REGISTRY_I(now), REGISTRY_I(registry_limit(limit))};
  g_autoptr(RegistryRows) rows = registry_store_query(
      store,
      "SELECT id, kind, target, body, payload, attempts, not_before FROM outbox WHERE state = 'due'"
      " AND (CAST($1 AS TEXT) IS NULL OR kind = CAST($1 AS TEXT)) AND not_before <= $2"
      " ORDER BY not_before, created_at, id LIMIT $3",
      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  GPtrArray *items = g_ptr_array_new_with_free_func((GDestroyNotify)registry_outbox_item_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) g_ptr_array_add(items, read_item(rows, i));
  return items;
}

gboolean registry_outbox_done(RegistryStore *store, const gchar *id, GError **error)
{
  /* What was sent stays known by its id. Dead letters are many and their offsets, which never come back, do the same
   * for them: they go. */
  const RegistryValue parameters[] = {REGISTRY_T(id)};
  RegistryStatement statements[] = {
      {.sql = "DELETE FROM outbox WHERE id = $1 AND kind = 'dead_letter'", .parameters = parameters, .n = 1},
      {.sql = "UPDATE outbox SET state = 'done', body = NULL, payload = NULL, error = NULL WHERE id = $1",
       .parameters = parameters,
       .n = 1},
  };
  return registry_store_execute_batch(store, statements, G_N_ELEMENTS(statements), error);
}

gboolean registry_outbox_retry(RegistryStore *store, const gchar *id, gint64 not_before, const gchar *error_text,
                               GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(not_before), REGISTRY_T(error_text)};
  gint64 changed;
  if (!registry_store_execute(store,
                              "UPDATE outbox SET attempts = attempts + 1, not_before = $2, error = $3"
                              " WHERE id = $1 AND state = 'due'",
                              parameters, G_N_ELEMENTS(parameters), &changed, error))
    return FALSE;
  if (changed > 0) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "the outbox has nothing to send under %s", id);
  return FALSE;
}
