/* What happens: windows, incidents, jobs, and the status of everything, as JSON. */
#include "daemon/report.h"

#include <math.h>

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

/* See "evidence_bound" in report.h. */
static json_t *evidence_bound(json_t *body, json_t *settings)
{
  json_t *bound = json_object_get(body, "evidence_bound");
  if (json_is_number(bound)) return json_incref(bound);
  double rate = json_number_value(json_object_get(settings, "false_discovery_rate"));
  return rate > 0 && rate < 1 ? json_real(-log(rate)) : json_null();
}

static json_t *copy_or_null(json_t *object, const gchar *key)
{
  json_t *value = json_object_get(object, key);
  return value != NULL ? json_incref(value) : json_null();
}

static json_t *strongest_features(json_t *body)
{
  json_t *features = json_object_get(body, "features"), *list = json_array();
  for (gsize i = 0; i < MIN(json_array_size(features), (gsize)SHOWN_FEATURES); i++)
    json_array_append(list, json_array_get(features, i));
  return list;
}

static json_t *window_to_json(const RegistryVerdict *verdict)
{
  json_t *body = report_json(verdict->body), *settings = report_json(verdict->settings);
  json_t *out = json_pack("{s:o, s:I, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", report_text(verdict->id),
                          "number", (json_int_t)verdict->number, "event_time", report_time(verdict->event_time),
                          "drift", verdict->drift, "quality", copy_or_null(body, "quality"), "bias",
                          copy_or_null(body, "bias"), "evidence", copy_or_null(body, "evidence_log"), "evidence_bound",
                          evidence_bound(body, settings), "performance", copy_or_null(body, "performance"), "features",
                          strongest_features(body), "bias_verdicts", copy_or_null(body, "bias_verdicts"));
  json_decref(body);
  json_decref(settings);
  return out;
}

json_t *report_windows(RegistryStore *store, const gchar *model, guint limit, GError **error)
{
  g_autoptr(RegistryModel) known = registry_model_get(store, model, error);
  if (known == NULL) return NULL;
  g_autoptr(GPtrArray) verdicts = registry_verdict_list(store, model, "window", limit, error);
  if (verdicts == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < verdicts->len; i++) json_array_append_new(list, window_to_json(g_ptr_array_index(verdicts, i)));
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
  json_t *windows = report_windows(store, name, 1, error);
  if (windows == NULL) return FALSE;
  json_object_set_new(model, "last_window", json_null());
  if (json_array_size(windows) > 0) json_object_set(model, "last_window", json_array_get(windows, 0));
  json_decref(windows);
  return TRUE;
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
