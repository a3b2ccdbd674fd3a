/* Aliases: the row says what an alias points to now; the history, which never changes, says who moved it, when, why. */
#include "registry/audit_internal.h"
#include "registry/digest.h"
#include "registry/model_internal.h"
#include "registry/store_internal.h"

void registry_alias_change_free(RegistryAliasChange *change)
{
  if (change == NULL) return;
  g_free(change->model);
  g_free(change->alias);
  g_free(change->actor);
  g_free(change->reason);
  g_free(change);
}

gint64 registry_alias_get(RegistryStore *store, const gchar *model, const gchar *alias, GError **error)
{
  if (!registry_check_name("model", model, error) || !registry_check_name("alias", alias, error)) return 0;
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_T(alias)};
  gint64 version;
  if (!registry_query_integer(store, "SELECT version FROM alias WHERE model = $1 AND alias = $2", parameters, 2, 0,
                              &version, error))
    return 0;
  if (version == 0)
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
                "there is no %s@%s: `kedge history %s` shows its aliases", model, alias, model);
  return version;
}

/* --- setting ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *model, *alias, *actor, *reason;
  gint64 version, expected;
} Change;

/* What the alias is now and was last: under the model's lock. */
static gboolean read_last(RegistryStore *store, const Change *change, gint64 *current, gint64 *revision, gint64 *at,
                          GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(change->model), REGISTRY_T(change->alias)};
  g_autoptr(RegistryRows) rows = registry_store_query(
      store,
      "SELECT COALESCE((SELECT version FROM alias WHERE model = $1 AND alias = $2), 0), h.revision, h.at"
      " FROM alias_history h WHERE h.model = $1 AND h.alias = $2 ORDER BY h.revision DESC LIMIT 1",
      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return FALSE;
  *current = registry_rows_get_integer(rows, 0, 0);
  *revision = registry_rows_get_integer(rows, 0, 1);
  *at = registry_rows_get_integer(rows, 0, 2);
  return TRUE;
}

static gboolean check_expected(const Change *change, gint64 current, GError **error)
{
  if (change->version == 0 && current == 0) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "there is no %s@%s to delete", change->model,
                change->alias);
    return FALSE;
  }
  if (change->expected == -1 || change->expected == current) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT,
              "%s@%s is version %" G_GINT64_FORMAT " (0: none), not %" G_GINT64_FORMAT
              " as expected: somebody moved it; look again and repeat",
              change->model, change->alias, current, change->expected);
  return FALSE;
}

static gboolean write_change(RegistryStore *store, const Change *change, gint64 current, gint64 revision, gint64 at,
                             GError **error)
{
  const RegistryValue now[] = {REGISTRY_T(change->model), REGISTRY_T(change->alias), REGISTRY_I(change->version)};
  const RegistryValue history[] = {now[0],
                                   now[1],
                                   REGISTRY_I(revision),
                                   now[2],
                                   REGISTRY_I(current),
                                   REGISTRY_T(change->actor),
                                   REGISTRY_T(change->reason),
                                   REGISTRY_I(at)};
  RegistryStatement statements[] = {
      {.sql = "INSERT INTO alias_history (model, alias, revision, version, previous, actor, reason, at)"
              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
       .parameters = history,
       .n = G_N_ELEMENTS(history)},
      {.sql = change->version == 0 ? "DELETE FROM alias WHERE model = $1 AND alias = $2"
                                   : "INSERT INTO alias (model, alias, version) VALUES ($1, $2, $3)"
                                     " ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
       .parameters = now,
       .n = change->version == 0 ? 2 : 3},
  };
  if (!registry_store_execute_batch(store, statements, G_N_ELEMENTS(statements), error)) return FALSE;
  g_autofree gchar *digest = registry_digest_values(history, G_N_ELEMENTS(history));
  g_autofree gchar *subject = g_strdup_printf("%s@%s#%" G_GINT64_FORMAT, change->model, change->alias, revision);
  g_autofree gchar *detail =
      g_strdup_printf("%" G_GINT64_FORMAT " -> %" G_GINT64_FORMAT "%s%s", current, change->version,
                      change->reason != NULL ? ": " : "", change->reason != NULL ? change->reason : "");
  return registry_audit_append_row(store, change->actor, "alias.set", subject, detail, digest, error);
}

static gboolean set_locked(RegistryStore *store, const Change *change, GError **error)
{
  gint64 current, revision, last_at;
  if (!registry_model_lock(store, change->model, error) ||
      (change->version != 0 && !registry_version_exists(store, change->model, change->version, error)) ||
      !read_last(store, change, &current, &revision, &last_at, error) || !check_expected(change, current, error))
    return FALSE;
  /* A clock set back must not make two revisions claim one moment in the wrong order. */
  gint64 at = MAX(registry_store_now(store), last_at);
  return write_change(store, change, current, revision + 1, at, error);
}

gboolean registry_alias_set(RegistryStore *store, const gchar *model, const gchar *alias, gint64 version,
                            gint64 expected, const gchar *actor, const gchar *reason, GError **error)
{
  const Change change = {model, alias, actor, reason, version, expected};
  gboolean own;
  if (!registry_check_name("model", model, error) || !registry_check_name("alias", alias, error) ||
      !registry_check_text("actor", actor, error) || !registry_transaction_enter(store, &own, error))
    return FALSE;
  return registry_transaction_leave(store, own, set_locked(store, &change, error), error);
}

/* --- history ----------------------------------------------------------------------------------------------------- */

GPtrArray *registry_alias_history(RegistryStore *store, const gchar *model, const gchar *alias, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_T(alias)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store,
                           "SELECT model, alias, revision, version, previous, actor, reason, at FROM alias_history"
                           " WHERE model = $1 AND (CAST($2 AS TEXT) IS NULL OR alias = CAST($2 AS TEXT))"
                           " ORDER BY at, alias, revision",
                           parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_alias_change_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) {
    RegistryAliasChange *change = g_new0(RegistryAliasChange, 1);
    change->model = registry_rows_copy_text(rows, i, 0);
    change->alias = registry_rows_copy_text(rows, i, 1);
    change->revision = registry_rows_get_integer(rows, i, 2);
    change->version = registry_rows_get_integer(rows, i, 3);
    change->previous = registry_rows_get_integer(rows, i, 4);
    change->actor = registry_rows_copy_text(rows, i, 5);
    change->reason = registry_rows_copy_text(rows, i, 6);
    change->at = registry_rows_get_integer(rows, i, 7);
    g_ptr_array_add(list, change);
  }
  return list;
}

gint64 registry_alias_at(RegistryStore *store, const gchar *model, const gchar *alias, gint64 at, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_T(alias), REGISTRY_I(at)};
  gint64 version;
  gboolean ok = registry_query_integer(store,
                                       "SELECT version FROM alias_history WHERE model = $1 AND alias = $2 AND at <= $3"
                                       " ORDER BY revision DESC LIMIT 1",
                                       parameters, G_N_ELEMENTS(parameters), 0, &version, error);
  return ok ? version : 0;
}
