/* What happens: windows, incidents, jobs, and the status of everything, as JSON. */
#include "daemon/report.h"

#include "daemon/report_internal.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/model.h"
#include "registry/shard.h"

enum { SHOWN_FEATURES = 5, SHOWN_OPEN = 100 };

static json_t *incident_to_json(const RegistryIncident *incident)
{
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", report_text(incident->id), "model",
                   report_text(incident->model), "kind", report_text(incident->kind), "state",
                   report_text(incident->state), "opened_at", report_time(incident->opened_at), "updated_at",
                   report_time(incident->updated_at), "closed_at", report_time(incident->closed_at), "verdict",
                   report_text(incident->verdict), "summary", report_text(incident->summary), "body",
                   report_json(incident->body));
}

json_t *report_incidents(RegistryStore *store, const gchar *model, gboolean open_only, guint limit, GError **error)
{
  g_autoptr(GPtrArray) incidents = registry_incident_list(store, model, open_only, limit, error);
  if (incidents == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = incidents->len; i > 0; i--)
    json_array_append_new(list, incident_to_json(g_ptr_array_index(incidents, i - 1)));
  return list;
}

json_t *report_incident(RegistryStore *store, const gchar *id, GError **error)
{
  RegistryIncident *incident = registry_incident_get(store, id, error);
  if (incident == NULL) return NULL;
  json_t *out = incident_to_json(incident);
  registry_incident_free(incident);
  return out;
}

static json_t *copy_or_null(json_t *object, const gchar *key)
{
  json_t *value = json_object_get(object, key);
  return value != NULL ? json_incref(value) : json_null();
}

static void copy_fields(json_t *out, json_t *body, const gchar *const *names)
{
  for (guint i = 0; names[i] != NULL; i++) json_object_set_new(out, names[i], copy_or_null(body, names[i]));
}

static void add_window(json_t *out, json_t *body)
{
  static const gchar *const names[] = {"quality", "n", "windows", "evidence_bound", "slices", NULL};
  json_t *features = json_object_get(body, "features"), *strongest = json_array();
  for (gsize i = 0; i < MIN(json_array_size(features), (gsize)SHOWN_FEATURES); i++)
    json_array_append(strongest, json_array_get(features, i));
  copy_fields(out, body, names);
  json_object_set_new(out, "evidence", copy_or_null(body, "evidence_log"));
  json_object_set_new(out, "features", strongest);
}

static void add_performance(json_t *out, json_t *body)
{
  static const gchar *const names[] = {"n", "performance", "bias", "bias_verdicts", "bias_undefined", "slices", NULL};
  copy_fields(out, body, names);
}

static void add_label(json_t *out, json_t *body)
{
  static const gchar *const names[] = {"alarm",   "opened",      "closed",   "error_before", "error_after",
                                       "promote", "promote_why", "training", "audit",        NULL};
  copy_fields(out, body, names);
  /* what is compared with the threshold: the likelihood ratio less what autocorrelation explains */
  const json_t *ratio = json_object_get(body, "glr"), *tau = json_object_get(body, "autocorrelation");
  gboolean known = json_is_number(ratio) && json_number_value(tau) > 0;
  json_object_set_new(out, "evidence",
                      known ? json_real(json_number_value(ratio) / json_number_value(tau)) : json_null());
  json_object_set_new(out, "evidence_bound", copy_or_null(body, "threshold"));
}

static const struct {
  const gchar *kind;
  void (*add)(json_t *out, json_t *body);
} verdict_kinds[] = {
    {"window", add_window}, {"horizon", add_window}, {"performance", add_performance}, {"label", add_label}};

json_t *report_verdicts(RegistryStore *store, const gchar *model, const gchar *kind, guint limit, GError **error)
{
  g_autoptr(RegistryModel) known = registry_model_get(store, model, error);
  if (known == NULL) return NULL;
  guint k = 0;
  while (k < G_N_ELEMENTS(verdict_kinds) && !g_str_equal(verdict_kinds[k].kind, kind)) k++;
  if (k == G_N_ELEMENTS(verdict_kinds)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "kind is one of window, horizon, performance, label");
    return NULL;
  }
  g_autoptr(GPtrArray) verdicts = registry_verdict_list(store, model, kind, limit, error);
  if (verdicts == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < verdicts->len; i++) {
    const RegistryVerdict *verdict = g_ptr_array_index(verdicts, i);
    json_t *body = report_json(verdict->body);
    json_t *out =
        json_pack("{s:o, s:I, s:o, s:b}", "id", report_text(verdict->id), "number", (json_int_t)verdict->number,
                  "event_time", report_time(verdict->event_time), "drift", verdict->drift);
    verdict_kinds[k].add(out, body);
    json_decref(body);
    json_array_append_new(list, out);
  }
  return list;
}

static json_t *job_to_json(const RegistryJob *job)
{
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", report_text(job->id),
                   "model", report_text(job->model), "kind", report_text(job->kind), "state", report_text(job->state),
                   "incident", report_text(job->incident), "worker", report_text(job->worker), "attempts",
                   (json_int_t)job->attempts, "progress", report_json(job->progress), "result",
                   report_json(job->result), "error", report_text(job->error), "created_at",
                   report_time(job->created_at), "started_at", report_time(job->started_at), "finished_at",
                   report_time(job->finished_at), "predicted_seconds",
                   job->predicted_us > 0 ? json_real((double)job->predicted_us / G_USEC_PER_SEC) : json_null());
}

json_t *report_jobs(RegistryStore *store, const gchar *model, const gchar *state, guint limit, GError **error)
{
  g_autoptr(GPtrArray) jobs = registry_job_list(store, model, state, limit, error);
  if (jobs == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = jobs->len; i > 0; i--) json_array_append_new(list, job_to_json(g_ptr_array_index(jobs, i - 1)));
  return list;
}

json_t *report_job(RegistryStore *store, const gchar *id, GError **error)
{
  g_autoptr(RegistryJob) job = registry_job_get(store, id, error);
  if (job == NULL) return NULL;
  g_autoptr(GPtrArray) lines = registry_job_log_list(store, id, 0, error);
  if (lines == NULL) return NULL;
  json_t *log = json_array();
  for (guint i = 0; i < lines->len; i++) json_array_append_new(log, report_text(g_ptr_array_index(lines, i)));
  json_t *object = job_to_json(job);
  json_object_set_new(object, "spec", report_json(job->spec));
  json_object_set_new(object, "log", log);
  return object;
}

static json_t *shards_to_json(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GPtrArray) shards = registry_shard_list(store, model, error);
  if (shards == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < shards->len; i++) {
    const RegistryShardStatus *shard = g_ptr_array_index(shards, i);
    json_array_append_new(
        list, json_pack("{s:i, s:o, s:I, s:o, s:o, s:o, s:b}", "partition", (int)shard->partition, "owner",
                        report_text(shard->owner), "epoch", (json_int_t)shard->epoch, "next_offset",
                        shard->next_offset >= 0 ? json_integer(shard->next_offset) : json_null(), "consumed",
                        report_json(shard->consumed), "watermark", report_time(shard->watermark), "idle", shard->idle));
  }
  return list;
}

static gboolean add_last(RegistryStore *store, json_t *model, const gchar *name, const gchar *kind, const gchar *key,
                         GError **error)
{
  json_t *verdicts = report_verdicts(store, name, kind, 1, error);
  if (verdicts == NULL) return FALSE;
  json_object_set_new(model, key, json_null());
  if (json_array_size(verdicts) > 0) json_object_set(model, key, json_array_get(verdicts, 0));
  json_decref(verdicts);
  return TRUE;
}

/* Adds what happens to the model's entry of report_models. */
static gboolean add_activity(RegistryStore *store, json_t *model, GError **error)
{
  const gchar *name = json_string_value(json_object_get(model, "name"));
  json_t *shards = shards_to_json(store, name, error);
  if (shards == NULL) return FALSE;
  json_object_set_new(model, "shards", shards);
  g_autoptr(GError) failure = NULL;
  g_autofree gchar *progress = registry_leader_progress_get(store, name, &failure);
  if (failure != NULL) {
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
  }
  json_object_set_new(model, "progress", report_json(progress));
  g_autoptr(GPtrArray) incidents = registry_incident_list(store, name, TRUE, 0, error);
  if (incidents == NULL) return FALSE;
  json_object_set_new(model, "incidents_open", json_integer(incidents->len));
  gint64 jobs = registry_job_count_open(store, name, error);
  if (jobs < 0) return FALSE;
  json_object_set_new(model, "jobs_open", json_integer(jobs));
  return add_last(store, model, name, "window", "last_window", error) &&
         add_last(store, model, name, "performance", "last_performance", error);
}

static json_t *open_jobs(RegistryStore *store, GError **error)
{
  json_t *running = report_jobs(store, NULL, "running", SHOWN_OPEN, error);
  json_t *queued = running != NULL ? report_jobs(store, NULL, "queued", SHOWN_OPEN, error) : NULL;
  if (queued == NULL)
    g_clear_pointer(&running, json_decref);
  else
    json_array_extend(running, queued);
  json_decref(queued);
  return running;
}

/* Who decides: the owner of the lease as last written; null before the first leader. */
static json_t *leader_to_json(RegistryStore *store, GError **error)
{
  g_autoptr(RegistryRows) rows =
      registry_store_query(store, "SELECT name, owner, term FROM lease ORDER BY name LIMIT 1", NULL, 0, error);
  if (rows == NULL) return NULL;
  if (registry_rows_get_count(rows) == 0) return json_null();
  return json_pack("{s:o, s:I}", "owner", report_text(registry_rows_get_text(rows, 0, 1)), "term",
                   (json_int_t)registry_rows_get_integer(rows, 0, 2));
}

json_t *report_status(RegistryStore *store, GError **error)
{
  json_t *models = report_models(store, error);
  if (models == NULL) return NULL;
  gsize i;
  json_t *model, *incidents = NULL, *jobs = NULL, *leader = NULL;
  json_array_foreach (models, i, model) {
    if (!add_activity(store, model, error)) goto failed;
  }
  incidents = report_incidents(store, NULL, TRUE, SHOWN_OPEN, error);
  if (incidents == NULL) goto failed;
  jobs = open_jobs(store, error);
  if (jobs == NULL) goto failed;
  leader = leader_to_json(store, error);
  if (leader == NULL) goto failed;
  return json_pack("{s:s, s:o, s:o, s:o, s:o}", "backend", registry_store_get_backend(store), "leader", leader,
                   "models", models, "incidents", incidents, "jobs", jobs);
failed:
  json_decref(models);
  json_decref(incidents);
  json_decref(jobs);
  return NULL;
}
