/* Decision transactions, incidents and notifications. */
#include <math.h>

#include "daemon/leader_internal.h"
#include "deploy/rollout.h"
#include "registry/audit.h"

gboolean leader_begin(LeaderContext *context, GError **error)
{
  if (!registry_store_begin(context->store, error)) return FALSE;
  if (registry_lease_check(context->store, LEADER_LEASE, context->me, context->term, error)) return TRUE;
  registry_store_rollback(context->store);
  return FALSE;
}

gboolean leader_commit(LeaderModel *model, LeaderContext *context, GError **error)
{
  g_autoptr(GBytes) state = leader_model_to_bytes(model);
  if (!registry_leader_state_put(context->store, model->name, state, model->progress ? model->progress : "{}", error)) {
    registry_store_rollback(context->store);
    return FALSE;
  }
  if (!registry_store_commit(context->store, error)) return FALSE;
  model->changed = FALSE;
  return TRUE;
}

const gchar *leader_open_incident(const LeaderModel *model, const gchar *kind)
{
  return json_string_value(json_object_get(json_object_get(model->incidents, kind), "id"));
}

gboolean leader_notify(LeaderModel *model, LeaderContext *context, const gchar *type, const gchar *id, json_t *data,
                       GError **error)
{
  for (guint i = 0; i < context->settings->n_webhooks; i++) {
    const SettingsWebhook *webhook = &context->settings->webhooks[i];
    g_autofree gchar *item_id = g_strdup_printf("%s/%s", id, webhook->name);
    json_t *json = json_pack("{s:s, s:s, s:O}", "type", type, "model", model->name, "data", data);
    g_autofree gchar *body = verdict_dump(json);
    json_decref(json);
    RegistryOutboxItem item = {.id = item_id, .kind = (gchar *)"webhook", .target = webhook->name, .body = body};
    if (!registry_outbox_put(context->store, &item, error)) return FALSE;
  }
  return TRUE;
}

/* Findings that open an incident of another kind than their own name. */
static const struct {
  const gchar *finding, *kind;
} finding_kinds[] = {{"bias-audit", "bias"}};

const gchar *leader_incident_kind(const gchar *finding)
{
  for (guint i = 0; i < G_N_ELEMENTS(finding_kinds); i++)
    if (g_str_equal(finding_kinds[i].finding, finding)) return finding_kinds[i].kind;
  return finding;
}

/* After the model's incidents have changed. */
static void count_incident(LeaderContext *context, const LeaderModel *model, const gchar *finding, gboolean opened)
{
  const gchar *kind = leader_incident_kind(finding);
  const char *key;
  json_t *entry;
  guint open = 0;
  if (!context->metrics) return;
  json_object_foreach (model->incidents, key, entry) open += g_str_equal(leader_incident_kind(key), kind);
  g_autofree gchar *labels = metrics_label("model", model->name, "kind", kind, NULL);
  if (opened) metrics_add(context->metrics, "kedge_incidents_total", labels, 1);
  metrics_set(context->metrics, "kedge_incidents_open", labels, open);
}

static gboolean open_incident(LeaderModel *model, LeaderContext *context, const LeaderFinding *finding, json_t *body,
                              GError **error)
{
  g_autofree gchar *id = g_strdup_printf("%s/%s/%" G_GINT64_FORMAT, model->name, finding->kind, finding->number);
  json_object_set_new(body, "updates", json_integer(0));
  json_object_set_new(body, "verdicts", json_pack("[s]", finding->verdict));
  json_object_set_new(body, "jobs", json_array());
  json_object_set_new(body, "notes", json_array());
  g_autofree gchar *text = verdict_dump(body);
  RegistryIncident incident = {.id = id,
                               .model = model->name,
                               .kind = (gchar *)leader_incident_kind(finding->kind),
                               .state = (gchar *)"open",
                               .opened_at = finding->event_time,
                               .updated_at = finding->event_time,
                               .verdict = (gchar *)finding->verdict,
                               .summary = (gchar *)finding->summary,
                               .body = text};
  if (!registry_incident_put(context->store, &incident, error)) return FALSE;
  json_object_set_new(model->incidents, finding->kind, json_pack("{s:s, s:i}", "id", id, "clear", finding->clear_from));
  model->counters.incidents++;
  count_incident(context, model, finding->kind, TRUE);
  g_info("model %s: incident %s opened: %s", model->name, id, finding->summary);
  g_autofree gchar *notification = g_strdup_printf("incident/%s/opened", id);
  json_t *data = json_pack("{s:s, s:s, s:s}", "incident", id, "kind", incident.kind, "summary", finding->summary);
  gboolean good = leader_notify(model, context, "kedge.incident.opened", notification, data, error);
  json_decref(data);
  return good;
}

/* Loads the incident and its body; both NULL on error. */
static RegistryIncident *load_incident(LeaderContext *context, const gchar *id, json_t **body, GError **error)
{
  RegistryIncident *incident = registry_incident_get(context->store, id, error);
  *body = incident ? json_loads(incident->body, JSON_REJECT_DUPLICATES, NULL) : NULL;
  if (incident && !*body) *body = json_object();
  return incident;
}

static gboolean store_incident(LeaderContext *context, RegistryIncident *incident, json_t *body, GError **error)
{
  g_free(incident->body);
  incident->body = verdict_dump(body);
  json_decref(body);
  return registry_incident_put(context->store, incident, error);
}

static gboolean close_incident(LeaderModel *model, LeaderContext *context, const gchar *id,
                               const LeaderFinding *finding, GError **error)
{
  json_t *body = NULL;
  g_autoptr(RegistryIncident) incident = load_incident(context, id, &body, error);
  if (!incident) return FALSE;
  g_free(incident->state);
  incident->state = g_strdup("closed");
  incident->closed_at = incident->updated_at = finding->event_time;
  g_autofree gchar *notification = g_strdup_printf("incident/%s/closed", id);
  json_t *data = json_pack("{s:s, s:s}", "incident", id, "kind", incident->kind);
  gboolean good = store_incident(context, incident, body, error) &&
                  leader_notify(model, context, "kedge.incident.closed", notification, data, error);
  json_decref(data);
  if (!good) return FALSE;
  g_info("model %s: incident %s closed: recovered", model->name, id);
  json_object_del(model->incidents, finding->kind);
  count_incident(context, model, finding->kind, FALSE);
  return TRUE;
}

static gboolean update_incident(LeaderContext *context, const gchar *id, const LeaderFinding *finding, json_t *body,
                                GError **error)
{
  json_t *stored = NULL;
  g_autoptr(RegistryIncident) incident = load_incident(context, id, &stored, error);
  if (!incident) return FALSE;
  json_object_set_new(stored, "updates", json_integer(json_integer_value(json_object_get(stored, "updates")) + 1));
  json_object_set_new(stored, "last_verdict", json_string(finding->verdict));
  json_object_set_new(stored, "last_summary", json_string(finding->summary));
  json_object_set(stored, "last", body);
  incident->updated_at = finding->event_time;
  return store_incident(context, incident, stored, error);
}

gboolean leader_follow_incident(LeaderModel *model, LeaderContext *context, const LeaderFinding *finding, json_t *body,
                                GError **error)
{
  json_t *entry = json_object_get(model->incidents, finding->kind);
  g_autofree gchar *id = g_strdup(json_string_value(json_object_get(entry, "id")));
  gboolean good = TRUE;
  if (finding->found && !id) {
    good = open_incident(model, context, finding, body, error) &&
           leader_act_on_incident(model, context, finding->kind, finding->event_time, error);
  } else if (finding->found) {
    json_int_t clear = json_integer_value(json_object_get(entry, "clear"));
    json_object_set_new(entry, "clear", json_integer(MIN(MIN(clear, 0), finding->clear_from)));
    good = update_incident(context, id, finding, body, error);
  } else if (id) {
    json_int_t clear = json_integer_value(json_object_get(entry, "clear")) + 1;
    json_object_set_new(entry, "clear", json_integer(clear));
    if (clear >= finding->clear_after) good = close_incident(model, context, id, finding, error);
  }
  json_decref(body);
  return good;
}

gboolean leader_note_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 event_time,
                              const gchar *job, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_info("model %s: %s", model->name, text);
  const gchar *id = leader_open_incident(model, kind);
  if (!id) return TRUE;
  json_t *body = NULL;
  g_autoptr(RegistryIncident) incident = load_incident(context, id, &body, error);
  if (!incident) return FALSE;
  json_t *notes = json_object_get(body, "notes"), *jobs = json_object_get(body, "jobs");
  if (json_array_size(notes) < 500) json_array_append_new(notes, json_string(text));
  gboolean known = FALSE;
  for (size_t i = 0; job && i < json_array_size(jobs); i++)
    known = known || g_strcmp0(json_string_value(json_array_get(jobs, i)), job) == 0;
  if (job && !known && json_array_size(jobs) < 500) json_array_append_new(jobs, json_string(job));
  incident->updated_at = MAX(incident->updated_at, event_time);
  return store_incident(context, incident, body, error);
}

gboolean leader_extend_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, const gchar *member,
                                json_t *item, GError **error)
{
  const gchar *id = leader_open_incident(model, kind);
  if (!id) return TRUE;
  json_t *body = NULL;
  g_autoptr(RegistryIncident) incident = load_incident(context, id, &body, error);
  if (!incident) return FALSE;
  if (!json_is_array(json_object_get(body, member))) json_object_set_new(body, member, json_array());
  json_t *list = json_object_get(body, member);
  if (json_array_size(list) < 500) json_array_append(list, item);
  return store_incident(context, incident, body, error);
}

gboolean leader_follow_champion(LeaderModel *model, LeaderContext *context, GError **error)
{
  if (!model->adapt) return TRUE;
  g_autoptr(GError) lookup = NULL;
  gint64 champion = registry_alias_get(context->store, model->name, "champion", &lookup);
  if (champion == 0 && !g_error_matches(lookup, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&lookup));
    return FALSE;
  }
  if (champion == 0 || champion == adapt_get_champion(model->adapt)) return TRUE;
  AdaptSettings settings;
  leader_adapt_settings(settings_find_model(context->settings, model->name), &settings);
  adapt_set_champion(model->adapt, &settings, champion);
  json_decref(model->watch);
  model->watch = json_null();
  model->waiting = model->learner = 0;
  return TRUE;
}

gboolean leader_promote(LeaderModel *model, LeaderContext *context, gint64 version, gint64 expected,
                        double promised_error, const gchar *reason, GError **error)
{
  if (!deploy_promote(context->store, model->name, version, expected, "kedged", reason, error)) return FALSE;
  json_decref(model->watch);
  model->watch = json_pack("{s:I, s:I, s:o, s:i, s:i}", "version", (json_int_t)version, "previous",
                           (json_int_t)expected, "promised", verdict_number(promised_error), "rows", 0, "errors", 0);
  model->waiting = model->learner = 0;
  model->counters.promotions++;
  if (context->metrics) {
    g_autofree gchar *labels = metrics_label("model", model->name, NULL);
    metrics_add(context->metrics, "kedge_promotions_total", labels, 1);
  }
  g_autofree gchar *id = g_strdup_printf("promotion/%s/%" G_GINT64_FORMAT, model->name, model->counters.promotions);
  json_t *data =
      json_pack("{s:I, s:I, s:s}", "version", (json_int_t)version, "previous", (json_int_t)expected, "reason", reason);
  gboolean good = leader_notify(model, context, "kedge.version.promoted", id, data, error);
  json_decref(data);
  return good;
}
