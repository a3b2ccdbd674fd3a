/* Verdicts, and the leader's state that they follow from. */
#include "registry/decision.h"
#include "registry/digest.h"
#include "registry/model.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

/* --- leader state ------------------------------------------------------------------------------------------------ */

GBytes *registry_leader_state_get(RegistryStore *store, const gchar *model, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  g_autoptr(RegistryRows) rows = registry_store_query(
      store, "SELECT digest, model, state, progress FROM leader_state WHERE model = $1", parameters, 1, error);
  if (rows == NULL || registry_rows_get_count(rows) == 0) return NULL;
  g_autofree gchar *what = g_strdup_printf("the leader's state of %s", model);
  return registry_check_row(rows, 0, 0, 1, 3, what, error) ? registry_rows_get_blob(rows, 0, 2) : NULL;
}

gchar *registry_leader_progress_get(RegistryStore *store, const gchar *model, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model)};
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, "SELECT progress FROM leader_state WHERE model = $1", parameters, 1, error);
  return rows != NULL ? registry_rows_copy_text(rows, 0, 0) : NULL;
}

gboolean registry_leader_state_put(RegistryStore *store, const gchar *model, GBytes *state, const gchar *progress_json,
                                   GError **error)
{
  if (!registry_check_name("model", model, error)) return FALSE;
  RegistryValue row[] = {REGISTRY_T(model), registry_value_bytes(state), REGISTRY_T(progress_json), REGISTRY_N};
  g_autofree gchar *digest = registry_digest_values(row, 3);
  row[3] = REGISTRY_T(digest);
  return registry_store_execute(store,
                                "INSERT INTO leader_state (model, state, progress, digest) VALUES ($1, $2, $3, $4)"
                                " ON CONFLICT (model) DO UPDATE SET state = excluded.state,"
                                " progress = excluded.progress, digest = excluded.digest",
                                row, G_N_ELEMENTS(row), NULL, error);
}

/* --- verdicts ---------------------------------------------------------------------------------------------------- */

void registry_verdict_free(RegistryVerdict *verdict)
{
  if (verdict == NULL) return;
  gchar *const texts[] = {verdict->id, verdict->model, verdict->kind, verdict->panes, verdict->settings, verdict->body};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_free(verdict);
}

static gboolean insert_verdict(RegistryStore *store, const RegistryVerdict *verdict, GError **error)
{
  RegistryValue row[] = {REGISTRY_T(verdict->id),         REGISTRY_T(verdict->model),
                         REGISTRY_T(verdict->kind),       REGISTRY_I(verdict->number),
                         REGISTRY_I(verdict->event_time), REGISTRY_I(verdict->drift ? 1 : 0),
                         REGISTRY_T(verdict->panes),      REGISTRY_T(verdict->settings),
                         REGISTRY_T(verdict->body),       REGISTRY_N};
  g_autofree gchar *digest = registry_digest_values(row, 9);
  row[9] = REGISTRY_T(digest);
  gint64 changed;
  if (!registry_store_execute(store,
                              "INSERT INTO verdict (id, model, kind, number, event_time, drift, panes, settings, body,"
                              " digest) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE $4 = COALESCE("
                              "(SELECT MAX(number) + 1 FROM verdict WHERE model = $2 AND kind = $3), 0)"
                              " ON CONFLICT DO NOTHING",
                              row, G_N_ELEMENTS(row), &changed, error))
    return FALSE;
  if (changed > 0) return TRUE;
  g_autoptr(RegistryRows) known =
      registry_store_query(store, "SELECT digest FROM verdict WHERE id = $1", row, 1, error);
  if (known == NULL) return FALSE;
  if (g_strcmp0(registry_rows_get_text(known, 0, 0), digest) == 0) return TRUE;
  gboolean exists = registry_rows_get_count(known) > 0;
  g_set_error(error, REGISTRY_ERROR, exists ? REGISTRY_ERROR_CONFLICT : REGISTRY_ERROR_INVALID,
              exists ? "verdict %s exists with another content: the same panes must give the same verdict"
                     : "verdict %s does not follow the last one stored of its model and kind",
              verdict->id);
  return FALSE;
}

gboolean registry_verdict_put(RegistryStore *store, const RegistryVerdict *verdict, GError **error)
{
  gboolean own;
  if (!registry_check_text("the verdict's id", verdict->id, error) ||
      !registry_check_name("model", verdict->model, error) || !registry_check_name("kind", verdict->kind, error) ||
      !registry_transaction_enter(store, &own, error))
    return FALSE;
  return registry_transaction_leave(store, own, insert_verdict(store, verdict, error), error);
}

#define VERDICT_COLUMNS "SELECT digest, id, model, kind, number, event_time, drift, panes, settings, body FROM verdict "

static RegistryVerdict *read_verdict(const RegistryRows *rows, guint i, GError **error)
{
  g_autofree gchar *what = g_strdup_printf("verdict %s", registry_rows_get_text(rows, i, 1));
  if (!registry_check_row(rows, i, 0, 1, 9, what, error)) return NULL;
  RegistryVerdict *verdict = g_new0(RegistryVerdict, 1);
  verdict->id = registry_rows_copy_text(rows, i, 1);
  verdict->model = registry_rows_copy_text(rows, i, 2);
  verdict->kind = registry_rows_copy_text(rows, i, 3);
  verdict->number = registry_rows_get_integer(rows, i, 4);
  verdict->event_time = registry_rows_get_integer(rows, i, 5);
  verdict->drift = registry_rows_get_integer(rows, i, 6) != 0;
  verdict->panes = registry_rows_copy_text(rows, i, 7);
  verdict->settings = registry_rows_copy_text(rows, i, 8);
  verdict->body = registry_rows_copy_text(rows, i, 9);
  return verdict;
}

RegistryVerdict *registry_verdict_get(RegistryStore *store, const gchar *id, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id)};
  g_autoptr(RegistryRows) rows = registry_store_query(store, VERDICT_COLUMNS "WHERE id = $1", parameters, 1, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) > 0) return read_verdict(rows, 0, error);
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "there is no verdict %s", id);
  return NULL;
}

GPtrArray *registry_verdict_list(RegistryStore *store, const gchar *model, const gchar *kind, guint limit,
                                 GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(registry_limit(limit)), REGISTRY_T(kind)};
  const gchar *sql = kind != NULL ? VERDICT_COLUMNS "WHERE model = $1 AND kind = $3 ORDER BY number DESC LIMIT $2"
                                  : VERDICT_COLUMNS
                         "WHERE model = $1 ORDER BY event_time DESC, kind DESC, number DESC LIMIT $2";
  g_autoptr(RegistryRows) rows = registry_store_query(store, sql, parameters, kind != NULL ? 3 : 2, error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_verdict_free);
  for (guint i = registry_rows_get_count(rows); i > 0; i--) {
    RegistryVerdict *verdict = read_verdict(rows, i - 1, error);
    if (verdict == NULL) return NULL;
    g_ptr_array_add(list, verdict);
  }
  return g_steal_pointer(&list);
}
