/* The store seen by everybody: picks the database by the URI's scheme, keeps the state of the transaction. */
#include "registry/store.h"

#include <string.h>

#include "registry/model.h"
#include "registry/store_internal.h"

G_DEFINE_QUARK(registry - error - quark, registry_error)

const RegistryBackend *const registry_backends[] = {&registry_backend_sqlite, &registry_backend_postgresql, NULL};

struct _RegistryStore {
  const RegistryBackend *backend;
  gchar *uri;
  gpointer connection; /* NULL after a failed reconnect */
  gboolean in_transaction;
  gboolean doomed; /* a write failed inside the open transaction */
  RegistryClock clock;
  gpointer clock_data;
};

static gint64 wall_clock(gpointer user_data G_GNUC_UNUSED)
{
  return g_get_real_time();
}

void registry_store_set_clock(RegistryStore *store, RegistryClock clock, gpointer user_data)
{
  store->clock = clock != NULL ? clock : wall_clock;
  store->clock_data = user_data;
}

gint64 registry_store_now(const RegistryStore *store)
{
  return store->clock(store->clock_data);
}

RegistryStore *registry_store_open(const gchar *uri, GError **error)
{
  const RegistryBackend *backend = NULL;
  for (guint i = 0; registry_backends[i] != NULL && uri != NULL; i++)
    if (g_str_has_prefix(uri, registry_backends[i]->scheme)) backend = registry_backends[i];
  if (backend == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "the store's URI must begin with sqlite: (sqlite:/var/lib/kedge/kedge.db) or postgresql: "
                "(postgresql:host=… dbname=… or postgresql://…)");
    return NULL;
  }
  gpointer connection = backend->connect(uri, error);
  if (connection == NULL) return NULL;
  RegistryStore *store = g_new0(RegistryStore, 1);
  store->backend = backend;
  store->uri = g_strdup(uri);
  store->connection = connection;
  registry_store_set_clock(store, NULL, NULL);
  if (!registry_migrate(store, error)) g_clear_pointer(&store, registry_store_close);
  return store;
}

void registry_store_close(RegistryStore *store)
{
  if (store == NULL) return;
  registry_store_rollback(store);
  if (store->connection != NULL) store->backend->disconnect(store->connection);
  g_free(store->uri);
  g_free(store);
}

const gchar *registry_store_get_backend(const RegistryStore *store)
{
  return store->backend->name;
}

const RegistryBackend *registry_store_get_backend_table(const RegistryStore *store)
{
  return store->backend;
}

gboolean registry_store_reconnect(RegistryStore *store, GError **error)
{
  if (store->connection != NULL && store->backend->is_healthy(store->connection)) return TRUE;
  registry_store_rollback(store);
  if (store->connection != NULL) store->backend->disconnect(store->connection);
  store->connection = store->backend->connect(store->uri, error);
  if (store->connection == NULL) return FALSE;
  /* A newer program may have migrated the store meanwhile. */
  return registry_migrate(store, error);
}

static gboolean is_usable(const RegistryStore *store, GError **error)
{
  if (store->connection == NULL) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE, "the store is not connected: reconnect first");
    return FALSE;
  }
  if (store->doomed) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL,
                "an earlier step of this transaction failed: it must be rolled back");
    return FALSE;
  }
  return TRUE;
}

gboolean registry_store_in_transaction(const RegistryStore *store)
{
  return store->in_transaction;
}

gboolean registry_store_begin(RegistryStore *store, GError **error)
{
  if (store->in_transaction) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "a transaction is open already");
    return FALSE;
  }
  if (!is_usable(store, error) || !store->backend->begin(store->connection, error)) return FALSE;
  store->in_transaction = TRUE;
  return TRUE;
}

gboolean registry_store_commit(RegistryStore *store, GError **error)
{
  if (!store->in_transaction) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "no transaction is open");
    return FALSE;
  }
  if (!is_usable(store, error)) {
    registry_store_rollback(store);
    return FALSE;
  }
  gboolean ok = store->backend->commit(store->connection, error);
  if (!ok) store->backend->rollback(store->connection);
  store->in_transaction = FALSE;
  return ok;
}

void registry_store_rollback(RegistryStore *store)
{
  if (store->in_transaction && store->connection != NULL) store->backend->rollback(store->connection);
  store->in_transaction = store->doomed = FALSE;
}

static gboolean check_value(const RegistryValue *value, guint number, GError **error)
{
  if (value->type == REGISTRY_TEXT && !g_utf8_validate(value->data, -1, NULL)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "text of parameter $%u is not valid UTF-8", number);
    return FALSE;
  }
  if (value->type == REGISTRY_BLOB && value->length > REGISTRY_BLOB_MAXIMUM) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
                "parameter $%u has %" G_GSIZE_FORMAT " bytes; the store takes at most %" G_GSIZE_FORMAT, number,
                value->length, REGISTRY_BLOB_MAXIMUM);
    return FALSE;
  }
  return TRUE;
}

static gboolean run(RegistryStore *store, RegistryStatement *statements, guint n, RegistryRows **rows, GError **error)
{
  if (!is_usable(store, error)) return FALSE;
  gboolean ok = TRUE;
  for (guint i = 0; ok && i < n; i++)
    for (guint k = 0; ok && k < statements[i].n; k++) ok = check_value(&statements[i].parameters[k], k + 1, error);
  ok = ok && store->backend->run(store->connection, statements, n, rows, error);
  if (!ok && store->in_transaction) store->doomed = TRUE;
  return ok;
}

gboolean registry_store_execute(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                gint64 *changed, GError **error)
{
  RegistryStatement statement = {.sql = sql, .parameters = parameters, .n = n};
  if (!run(store, &statement, 1, NULL, error)) return FALSE;
  if (changed != NULL) *changed = statement.changed;
  return TRUE;
}

RegistryRows *registry_store_query(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                   GError **error)
{
  RegistryStatement statement = {.sql = sql, .parameters = parameters, .n = n};
  RegistryRows *rows = NULL;
  return run(store, &statement, 1, &rows, error) ? rows : NULL;
}

/* libpq sends a pipeline in blocking mode: with few statements the answers fit the socket buffers, so that neither
 * side can wait for the other. */
#define BATCH_MAXIMUM 64

gboolean registry_store_execute_batch(RegistryStore *store, RegistryStatement *statements, guint n, GError **error)
{
  gboolean own;
  if (!registry_transaction_enter(store, &own, error)) return FALSE;
  gboolean ok = TRUE;
  for (guint first = 0; ok && first < n; first += BATCH_MAXIMUM)
    ok = run(store, statements + first, MIN(BATCH_MAXIMUM, n - first), NULL, error);
  return registry_transaction_leave(store, own, ok, error);
}

gboolean registry_store_check_integrity(RegistryStore *store, GPtrArray *findings, GError **error)
{
  if (store->backend->check == NULL) return TRUE;
  return is_usable(store, error) && store->backend->check(store->connection, findings, error);
}

/* --- transactions of domain functions ---------------------------------------------------------------------------- */

gboolean registry_transaction_enter(RegistryStore *store, gboolean *own, GError **error)
{
  *own = !store->in_transaction;
  return *own ? registry_store_begin(store, error) : is_usable(store, error);
}

gboolean registry_transaction_leave(RegistryStore *store, gboolean own, gboolean ok, GError **error)
{
  if (own && ok) return registry_store_commit(store, error);
  if (own)
    registry_store_rollback(store);
  else if (!ok)
    store->doomed = TRUE;
  return ok;
}

/* --- small things ------------------------------------------------------------------------------------------------ */

RegistryValue registry_value_bytes(GBytes *bytes)
{
  if (bytes == NULL) return REGISTRY_N;
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return REGISTRY_B(data, length);
}

gint64 registry_limit(guint limit)
{
  return limit == 0 ? G_MAXINT64 : (gint64)limit;
}

gboolean registry_query_integer(RegistryStore *store, const gchar *sql, const RegistryValue *parameters, guint n,
                                gint64 missing, gint64 *value, GError **error)
{
  g_autoptr(RegistryRows) rows = registry_store_query(store, sql, parameters, n, error);
  if (rows == NULL) return FALSE;
  *value = registry_rows_is_null(rows, 0, 0) ? missing : registry_rows_get_integer(rows, 0, 0);
  return TRUE;
}

gboolean registry_name_is_valid(const gchar *name)
{
  if (name == NULL || !g_ascii_isalnum(name[0])) return FALSE;
  gsize length = 1;
  while (g_ascii_isalnum(name[length]) || (name[length] != '\0' && strchr("._-", name[length]) != NULL)) length++;
  return name[length] == '\0' && length <= 128;
}

gboolean registry_check_name(const gchar *what, const gchar *name, GError **error)
{
  if (registry_name_is_valid(name)) return TRUE;
  /* The name itself may be hostile or huge: shown escaped and cut. */
  g_autofree gchar *shown = g_strndup(name != NULL ? name : "", 64);
  g_autofree gchar *escaped = g_strescape(shown, NULL);
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
              "%s \"%s\" is not a name: 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit",
              what, escaped);
  return FALSE;
}

gboolean registry_check_text(const gchar *what, const gchar *text, GError **error)
{
  if (text != NULL && text[0] != '\0') return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "%s is missing", what);
  return FALSE;
}
