/* Brings a store's schema forward, under a lock, in one transaction. */
#include "registry/schema.h"
#include "registry/store_internal.h"

static gint64 newest_version(void)
{
  gint64 n = 0;
  while (registry_schema[n] != NULL) n++;
  return n;
}

/* The statement in the database's own words for types. */
static gchar *expand(const RegistryBackend *backend, const gchar *text)
{
  GString *sql = g_string_new(text);
  g_string_replace(sql, "@I@", backend->type_integer, 0);
  g_string_replace(sql, "@T@", backend->type_text, 0);
  g_string_replace(sql, "@B@", backend->type_blob, 0);
  g_string_replace(sql, "@O@", backend->table_options, 0);
  return g_string_free(sql, FALSE);
}

static gboolean apply_step(RegistryStore *store, gint64 version, GError **error)
{
  const gchar *const *step = registry_schema[version - 1];
  const RegistryBackend *backend = registry_store_get_backend_table(store);
  g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GArray) statements = g_array_new(FALSE, TRUE, sizeof(RegistryStatement));
  for (guint i = 0; step[i] != NULL; i++) {
    RegistryStatement statement = {.sql = expand(backend, step[i])};
    g_ptr_array_add(texts, (gpointer)statement.sql);
    g_array_append_val(statements, statement);
  }
  RegistryValue parameters[] = {REGISTRY_I(version)};
  return registry_store_execute_batch(store, (RegistryStatement *)(gpointer)statements->data, statements->len, error) &&
         registry_store_execute(store, "UPDATE schema_version SET version = $1", parameters, 1, NULL, error);
}

static gboolean check_version(gint64 found, GError **error)
{
  if (found <= newest_version()) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SCHEMA,
              "the store's schema is version %" G_GINT64_FORMAT ", this program knows up to %" G_GINT64_FORMAT
              ": use a kedge at least as new as the one that wrote it",
              found, newest_version());
  return FALSE;
}

static gboolean migrate_locked(RegistryStore *store, GError **error)
{
  const gchar *lock = registry_store_get_backend_table(store)->migration_lock;
  g_autofree gchar *create =
      expand(registry_store_get_backend_table(store),
             "CREATE TABLE IF NOT EXISTS schema_version (id @I@ PRIMARY KEY NOT NULL, version @I@ NOT NULL)@O@");
  gint64 found;
  if ((lock != NULL && !registry_store_execute(store, lock, NULL, 0, NULL, error)) ||
      !registry_store_execute(store, create, NULL, 0, NULL, error) ||
      !registry_store_execute(store, "INSERT INTO schema_version (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING",
                              NULL, 0, NULL, error) ||
      !registry_query_integer(store, "SELECT version FROM schema_version WHERE id = 1", NULL, 0, 0, &found, error) ||
      !check_version(found, error))
    return FALSE;
  for (gint64 version = found + 1; version <= newest_version(); version++)
    if (!apply_step(store, version, error)) return FALSE;
  return TRUE;
}

gboolean registry_migrate(RegistryStore *store, GError **error)
{
  /* Without the lock first: opening a store that is up to date must not wait for its writers. */
  gint64 found;
  g_autoptr(GError) reason = NULL;
  if (registry_query_integer(store, "SELECT version FROM schema_version WHERE id = 1", NULL, 0, 0, &found, &reason)) {
    if (found == newest_version()) return TRUE;
  } else if (!g_error_matches(reason, REGISTRY_ERROR, REGISTRY_ERROR_SQL)) { /* SQL: no such table yet */
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  return registry_transaction_leave(store, own, migrate_locked(store, error), error);
}
