/* What finished jobs lead to: scores into the policy, trained versions through the gate. */
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"
#include "deploy/gate.h"

enum { UNKNOWN = 2, HISTORY_ROWS = 2500 };

/* --- scores
 * ------------------------------------------------------------------------------------------------------------- */

/* The error bits of `version` in a score job's result, one byte a row [n]; UNKNOWN where the result has none. */
static guint8 *score_errors(const json_t *result, gint64 version, guint n)
{
  guint8 *errors = g_malloc(n + 1);
  memset(errors, UNKNOWN, n);
  json_t *entry;
  size_t i;
  json_array_foreach (json_object_get(result, "versions"), i, entry) {
    if (json_integer_value(json_object_get(entry, "version")) != version) continue;
    const gchar *text = json_string_value(json_object_get(entry, "errors"));
    gsize length = 0;
    g_autofree guint8 *bits = text ? g_base64_decode(text, &length) : NULL;
    if (!bits || length < (n + 7) / 8) continue;
    for (guint row = 0; row < n; row++) errors[row] = (bits[row / 8] >> (row % 8)) & 1;
  }
  return errors;
}

static gboolean pane_scored(LeaderModel *model, LeaderContext *context, json_t *entry, const json_t *result,
                            GError **error)
{
  guint n_versions = 0, n = (guint)(json_integer_value(json_object_get(entry, "next")) -
                                    json_integer_value(json_object_get(entry, "first")));
  const gint64 *versions = adapt_get_versions(model->adapt, &n_versions);
  json_t *pane = json_object_get(entry, "pane");
  const gchar *served = json_string_value(json_object_get(pane, "served"));
  gint64 server = json_integer_value(json_object_get(entry, "champion")); /* when the pane was taken */
  g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(g_free);
  for (guint v = 0; v < n_versions; v++) {
    guint8 *bits = score_errors(result, versions[v], n);
    for (guint i = 0; served && served[i] && i < n && versions[v] == server; i++)
      if (bits[i] == UNKNOWN) bits[i] = (guint8)(served[i] - '0');
    g_ptr_array_add(errors, bits);
  }
  return leader_decide_pane(model, context, (const guint8 *const *)(void *)errors->pdata, n, pane, error);
}

static void history_scored(LeaderModel *model, const json_t *entry, const json_t *result)
{
  gint64 first = json_integer_value(json_object_get(entry, "first"));
  guint n = (guint)(json_integer_value(json_object_get(entry, "next")) - first);
  gint64 version = json_integer_value(json_array_get(json_object_get(entry, "versions"), 0));
  g_autofree guint8 *errors = score_errors(result, version, n);
  adapt_set_errors(model->adapt, version, first, errors, n);
}

/* --- trained versions
 * --------------------------------------------------------------------------------------------------- */

static gchar *findings_text(const DeployGateResult *gate)
{
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < gate->findings->len; i++) {
    const DeployGateFinding *finding = g_ptr_array_index(gate->findings, i);
    if (finding->applies && finding->passed == gate->passed)
      g_string_append_printf(text, "%s%s", text->len ? "; " : "", finding->text);
  }
  return g_string_free(text, FALSE);
}

/* Whether the version broke only rules that compare it with the champion. The pool compares it again on later rows, so
 * such a version may still prove itself; one that broke an absolute bound (bias, robustness, latency) never serves. */
static gboolean may_join_pool(const DeployGateResult *gate)
{
  static const gchar *const relative[] = {"minimum_holdout", "gain", "maximum_loss", NULL};
  for (guint i = 0; i < gate->findings->len; i++) {
    const DeployGateFinding *finding = g_ptr_array_index(gate->findings, i);
    if (finding->applies && !finding->passed && !g_strv_contains(relative, finding->rule)) return FALSE;
  }
  return TRUE;
}

/* Asks for the new version's errors on the rows before it: with them it can be compared with the pool. */
static gboolean request_history(LeaderModel *model, LeaderContext *context, gint64 version, GError **error)
{
  if (model->rows->len == 0) return TRUE;
  gint64 next = adapt_get_rows(model->adapt), oldest = g_array_index(model->rows, LeaderRows, 0).start;
  gint64 first = MAX(next - HISTORY_ROWS, oldest);
  return first >= next || leader_request_score(model, context, "history", &version, 1, first, next, NULL, error);
}

static void count_failure(LeaderModel *model)
{
  model->counters.training_failures++;
  model->learner = 0; /* the next revision begins with what serves */
}

static gboolean training_failed(LeaderModel *model, LeaderContext *context, const json_t *entry, const RegistryJob *job,
                                const gchar *why, GError **error)
{
  count_failure(model);
  return leader_note_incident(model, context, json_string_value(json_object_get(entry, "cause")),
                              json_integer_value(json_object_get(entry, "time")), job->id, error, "%s %s: %s",
                              job->kind, job->state, why);
}

/* Promotes the version, or says in the incident why it does not serve. */
static gboolean follow_gate(LeaderModel *model, LeaderContext *context, const json_t *entry, const RegistryJob *job,
                            const json_t *result, const DeployGateResult *gate, gboolean *promoted, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gint64 version = json_integer_value(json_object_get(result, "version"));
  gint64 champion = json_integer_value(json_object_get(entry, "champion"));
  gint64 time = json_integer_value(json_object_get(entry, "time"));
  const gchar *cause = json_string_value(json_object_get(entry, "cause"));
  g_autofree gchar *findings = findings_text(gate);
  if (!gate->passed) {
    model->counters.gate_refusals++;
    return leader_note_incident(model, context, cause, time, job->id, error,
                                "gate refused version %" G_GINT64_FORMAT ": %s", version, findings) &&
           leader_request_rehearsal(model, context, entry, error);
  }
  if (champion != adapt_get_champion(model->adapt)) {
    model->counters.gate_refusals++;
    return leader_note_incident(model, context, cause, time, job->id, error,
                                "version %" G_GINT64_FORMAT " was compared with version %" G_GINT64_FORMAT
                                ", which serves no longer: kept in the pool",
                                version, champion);
  }
  if (!settings->rollout.automatic) {
    model->waiting = version;
    return leader_note_incident(model, context, cause, time, job->id, error,
                                "version %" G_GINT64_FORMAT
                                " passed the gate and waits for `kedge promote %s %" G_GINT64_FORMAT "`: %s",
                                version, model->name, version, findings);
  }
  const json_t *challenger = json_object_get(json_object_get(result, "comparison"), "challenger");
  const json_t *stated = json_object_get(result, "promised_error");
  double promised = json_is_number(stated)       ? json_number_value(stated)
                    : json_is_number(challenger) ? 1 - json_number_value(challenger)
                                                 : NAN;
  g_autofree gchar *reason = g_strdup_printf("gate passed: %s", findings);
  *promoted = TRUE;
  return leader_promote(model, context, version, champion, promised, reason, error) &&
         leader_note_incident(model, context, cause, time, job->id, error, "version %" G_GINT64_FORMAT " promoted: %s",
                              version, findings);
}

static gboolean judge_version(LeaderModel *model, LeaderContext *context, const json_t *entry, const RegistryJob *job,
                              const json_t *result, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gint64 version = json_integer_value(json_object_get(result, "version"));
  const json_t *mixture = json_object_get(result, "mixture");
  model->counters.retrainings += json_integer_value(json_object_get(mixture, "trainings"));
  if (json_is_null(json_object_get(result, "version")) && mixture) return TRUE; /* not worth a version yet */
  if (version <= 0) return training_failed(model, context, entry, job, "its result names no version", error);
  g_autoptr(GError) unreadable = NULL;
  g_autoptr(DeployGateResult) gate = deploy_gate_judge(&settings->gate, job->result, &unreadable);
  if (!gate) return training_failed(model, context, entry, job, unreadable->message, error);
  gboolean promoted = FALSE;
  if (!follow_gate(model, context, entry, job, result, gate, &promoted, error)) return FALSE;
  if (!may_join_pool(gate)) return TRUE;
  AdaptSettings adapt_settings;
  leader_adapt_settings(settings, &adapt_settings);
  if (!promoted && json_integer_value(json_object_get(entry, "champion")) == adapt_get_champion(model->adapt))
    model->learner = mixture ? version : 0; /* what it knows is not learned, or trained, again */
  adapt_add_version(model->adapt, &adapt_settings, version, promoted);
  return adapt_settings.served || request_history(model, context, version, error);
}

/* A stage of a chain has ended: the next one, the gate, or nothing more. */
static gboolean follow_chain(LeaderModel *model, LeaderContext *context, json_t *entry, const RegistryJob *job,
                             const json_t *result, GError **error)
{
  g_auto(LeaderChainEnd) end = {0};
  if (!leader_follow_chain(model, context, entry, job, result, &end, error)) return FALSE;
  if (end.failed) count_failure(model);
  if (!end.judged) return TRUE;
  json_t *judged = json_loads(end.judged->result, JSON_REJECT_DUPLICATES, NULL);
  gboolean good = judge_version(model, context, entry, end.judged, judged, error);
  json_decref(judged);
  return good;
}

/* --- the step
 * ------------------------------------------------------------------------------------------------------------ */

static gboolean finish(LeaderModel *model, LeaderContext *context, json_t *entry, const RegistryJob *job,
                       GError **error)
{
  const gchar *purpose = json_string_value(json_object_get(entry, "purpose"));
  gboolean done = g_str_equal(job->state, "done"), good = TRUE;
  json_t *result = done && job->result ? json_loads(job->result, JSON_REJECT_DUPLICATES, NULL) : NULL;
  if (g_strcmp0(purpose, "pane") == 0)
    good = pane_scored(model, context, entry, result, error);
  else if (g_strcmp0(purpose, "history") == 0)
    history_scored(model, entry, result);
  else if (json_object_get(entry, "chain"))
    good = follow_chain(model, context, entry, job, result, error);
  else if (result)
    good = judge_version(model, context, entry, job, result, error);
  else
    good = training_failed(model, context, entry, job, job->error ? job->error : "no reason given", error);
  json_decref(result);
  return good;
}

/* After the commit: a job counts where its end was taken. */
static void count_job(LeaderContext *context, const LeaderModel *model, const RegistryJob *job)
{
  if (!context->metrics) return;
  g_autofree gchar *ended = metrics_label("model", model->name, "kind", job->kind, "state", job->state, NULL);
  g_autofree gchar *ran = metrics_label("model", model->name, "kind", job->kind, NULL);
  metrics_add(context->metrics, "kedge_jobs_total", ended, 1);
  if (job->started_at > 0 && job->finished_at > job->started_at)
    metrics_add(context->metrics, "kedge_job_seconds_total", ran,
                (double)(job->finished_at - job->started_at) / G_USEC_PER_SEC);
}

static gboolean finish_in_transaction(LeaderModel *model, LeaderContext *context, size_t index, const RegistryJob *job,
                                      GError **error)
{
  if (!leader_begin(context, error)) return FALSE;
  json_t *entry = json_incref(json_array_get(model->pending, index));
  json_array_remove(model->pending, index);
  gboolean good = leader_follow_champion(model, context, error) && finish(model, context, entry, job, error);
  json_decref(entry);
  if (!good) registry_store_rollback(context->store);
  good = good && leader_commit(model, context, error);
  if (good) count_job(context, model, job);
  return good;
}

gboolean leader_give_up(LeaderModel *model, LeaderContext *context, json_t *entry, GError **error)
{
  const gchar *id = json_string_value(json_object_get(entry, "id"));
  g_autoptr(RegistryJob) job = registry_job_get(context->store, id, error);
  if (!job || !leader_begin(context, error)) return FALSE;
  gboolean open = g_str_equal(job->state, "queued") || g_str_equal(job->state, "running"), good = TRUE;
  size_t index = 0;
  while (json_array_get(model->pending, index) != entry) index++;
  json_incref(entry);
  json_array_remove(model->pending, index);
  if (open) {
    good = registry_job_cancel(context->store, id, "kedged", error);
    g_free(job->state);
    job->state = g_strdup("cancelled");
  }
  good = good && leader_follow_champion(model, context, error) && finish(model, context, entry, job, error);
  json_decref(entry);
  if (good) return leader_commit(model, context, error);
  registry_store_rollback(context->store);
  return FALSE;
}

gboolean leader_step_jobs(LeaderModel *model, LeaderContext *context, gboolean *worked, GError **error)
{
  for (size_t i = 0; i < json_array_size(model->pending);) {
    const gchar *id = json_string_value(json_object_get(json_array_get(model->pending, i), "id"));
    g_autoptr(RegistryJob) job = registry_job_get(context->store, id, error);
    if (!job) return FALSE;
    if (g_str_equal(job->state, "queued") || g_str_equal(job->state, "running")) {
      i++;
      continue;
    }
    if (!finish_in_transaction(model, context, i, job, error)) return FALSE;
    *worked = TRUE;
    i = 0; /* the list has changed */
  }
  return TRUE;
}
