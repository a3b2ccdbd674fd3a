#include "registry/decision.h"
#include "registry/digest.h"
#include "registry/model.h"
#include "registry/shard_internal.h"
#include "registry/store_internal.h"

void registry_incident_free(RegistryIncident *incident)
{
  if (incident == NULL) return;
  gchar *const texts[] = {incident->id,      incident->model,   incident->kind, incident->state,
                          incident->verdict, incident->summary, incident->body};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_free(incident);
}

static gboolean check_incident(const RegistryIncident *incident, GError **error)
{
  const gchar *const states[] = {"open", "closed", NULL};
  if (!registry_check_text("the incident's id", incident->id, error) ||
      !registry_check_name("model", incident->model, error) || !registry_check_name("kind", incident->kind, error))
    return FALSE;
  if (incident->state != NULL && g_strv_contains(states, incident->state)) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "an incident is open or closed");
  return FALSE;
}

gboolean registry_incident_put(RegistryStore *store, const RegistryIncident *incident, GError **error)
{
  if (!check_incident(incident, error)) return FALSE;
  RegistryValue row[] = {REGISTRY_T(incident->id),
                         REGISTRY_T(incident->model),
                         REGISTRY_T(incident->kind),
                         REGISTRY_T(incident->state),
                         REGISTRY_I(incident->opened_at),
                         REGISTRY_I(incident->updated_at),
                         REGISTRY_I(incident->closed_at),
                         REGISTRY_T(incident->verdict),
                         REGISTRY_T(incident->summary),
                         REGISTRY_T(incident->body),
                         REGISTRY_N};
  g_autofree gchar *digest = registry_digest_values(row, 10);
  row[10] = REGISTRY_T(digest);
  return registry_store_execute(
      store,
      "INSERT INTO incident (id, model, kind, state, opened_at, updated_at, closed_at, verdict, summary, body, digest)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE SET model = excluded.model,"
      " kind = excluded.kind, state = excluded.state, opened_at = excluded.opened_at,"
      " updated_at = excluded.updated_at, closed_at = excluded.closed_at, verdict = excluded.verdict,"
      " summary = excluded.summary, body = excluded.body, digest = excluded.digest",
      row, G_N_ELEMENTS(row), NULL, error);
}

#define INCIDENT_COLUMNS                                                                                               \
  "SELECT digest, id, model, kind, state, opened_at, updated_at, closed_at, verdict, summary, body FROM incident "

static RegistryIncident *read_incident(const RegistryRows *rows, guint i, GError **error)
{
  g_autofree gchar *what = g_strdup_printf("incident %s", registry_rows_get_text(rows, i, 1));
  if (!registry_check_row(rows, i, 0, 1, 10, what, error)) return NULL;
  RegistryIncident *incident = g_new0(RegistryIncident, 1);
  incident->id = registry_rows_copy_text(rows, i, 1);
  incident->model = registry_rows_copy_text(rows, i, 2);
  incident->kind = registry_rows_copy_text(rows, i, 3);
  incident->state = registry_rows_copy_text(rows, i, 4);
  incident->opened_at = registry_rows_get_integer(rows, i, 5);
  incident->updated_at = registry_rows_get_integer(rows, i, 6);
  incident->closed_at = registry_rows_get_integer(rows, i, 7);
  incident->verdict = registry_rows_copy_text(rows, i, 8);
  incident->summary = registry_rows_copy_text(rows, i, 9);
  incident->body = registry_rows_copy_text(rows, i, 10);
  return incident;
}

RegistryIncident *registry_incident_get(RegistryStore *store, const gchar *id, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id)};
  g_autoptr(RegistryRows) rows = registry_store_query(store, INCIDENT_COLUMNS "WHERE id = $1", parameters, 1, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) > 0) return read_incident(rows, 0, error);
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND,
              "there is no incident %s: `kedge incidents` names those there are", id);
  return NULL;
}

GPtrArray *registry_incident_list(RegistryStore *store, const gchar *model, gboolean open_only, guint limit,
                                  GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(model), REGISTRY_I(open_only ? 1 : 0),
                                      REGISTRY_I(registry_limit(limit))};
  /* The newest `limit`, then turned round. */
  g_autoptr(RegistryRows) rows = registry_store_query(
      store,
      INCIDENT_COLUMNS "WHERE (CAST($1 AS TEXT) IS NULL OR model = CAST($1 AS TEXT))"
                       " AND (CAST($2 AS BIGINT) = 0 OR state = 'open') ORDER BY opened_at DESC, id DESC LIMIT $3",
      parameters, G_N_ELEMENTS(parameters), error);
  if (rows == NULL) return NULL;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)registry_incident_free);
  for (guint i = registry_rows_get_count(rows); i > 0; i--) {
    RegistryIncident *incident = read_incident(rows, i - 1, error);
    if (incident == NULL) return NULL;
    g_ptr_array_add(list, incident);
  }
  return g_steal_pointer(&list);
}
