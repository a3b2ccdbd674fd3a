/* The leader thread. */
#include "daemon/leader_internal.h"

#include <unistd.h>

#include "daemon/leader.h"
#include "daemon/service_thread.h"

enum { RETRY_FIRST_MS = 200, RETRY_LAST_MS = 5000, REST_MS = 1000, SEAL_EVERY_PANES = 50, SEAL_ROWS = 5000 };

struct _Leader {
  ServiceThread service;
  Health *health;
  Metrics *metrics;
  gchar *me;
  /* the thread's own */
  GHashTable *models;  /* name → LeaderModel* */
  GHashTable *resting; /* name → Rest*: models whose step failed for a reason of their own */
  RegistryLeaseObservation lease;
  gint64 term, lease_due;
};

typedef struct {
  gint64 until; /* monotonic */
  gchar *why;
} Rest;

static void rest_free(gpointer data)
{
  Rest *rest = data;
  g_free(rest->why);
  g_free(rest);
}

Leader *leader_new(Settings *settings, Health *health, Metrics *metrics, GError **error)
{
  (void)error;
  Leader *leader = g_new0(Leader, 1);
  service_thread_init(&leader->service, settings);
  leader->health = health;
  leader->metrics = metrics;
  leader->me = g_strdup_printf("%s:%d:%08x", g_get_host_name(), (int)getpid(), g_random_int());
  leader->models = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)leader_model_free);
  leader->resting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, rest_free);
  return leader;
}

void leader_free(Leader *leader)
{
  if (!leader) return;
  g_hash_table_unref(leader->models);
  g_hash_table_unref(leader->resting);
  service_thread_clear(&leader->service);
  g_free(leader->me);
  g_free(leader);
}

/* FALSE: stop. */
static gboolean pause_thread(Leader *leader, gint64 milliseconds)
{
  gboolean reloaded, go_on = service_thread_rest(&leader->service, milliseconds, &reloaded);
  if (reloaded) {
    g_hash_table_remove_all(leader->models);
    g_hash_table_remove_all(leader->resting);
  }
  return go_on;
}

static gboolean hold_lease(Leader *leader, GError **error)
{
  gint64 now = g_get_monotonic_time(), lease_us = (gint64)leader->service.settings->leader.lease_ms * 1000;
  if (leader->term > 0 && now < leader->lease_due) return TRUE;
  gint64 term =
      registry_lease_hold(leader->service.store, LEADER_LEASE, leader->me, lease_us, now, &leader->lease, error);
  if (term < 0) return FALSE;
  if (term != leader->term) {
    g_hash_table_remove_all(leader->models);
    g_hash_table_remove_all(leader->resting);
    if (term > 0) g_info("leading with term %" G_GINT64_FORMAT, term);
    if (term == 0 && leader->term > 0) g_message("another daemon leads now");
  }
  leader->term = term;
  leader->lease_due = now + lease_us / 4;
  metrics_set(leader->metrics, "kedge_leader", NULL, term > 0);
  return TRUE;
}

/* The model's state in memory; NULL without error: not registered yet. */
static LeaderModel *get_model(Leader *leader, LeaderContext *context, const gchar *name, GError **error)
{
  LeaderModel *model = g_hash_table_lookup(leader->models, name);
  if (model) return model;
  g_autoptr(LeaderModel) fresh = leader_model_new(name);
  g_autoptr(GError) local = NULL;
  if (!leader_model_load(fresh, context, &local)) {
    if (!g_error_matches(local, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND))
      g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
  }
  model = g_steal_pointer(&fresh);
  g_hash_table_insert(leader->models, model->name, model);
  return model;
}

/* What was looked at, for `kedge wait`: written when it differs from what the store has. */
static gboolean write_progress(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean settled,
                               GError **error)
{
  json_t *seen = json_object();
  for (guint i = 0; i < shards->len; i++) {
    const RegistryShardStatus *shard = g_ptr_array_index(shards, i);
    g_autofree gchar *key = g_strdup_printf("%d", shard->partition);
    json_t *consumed = shard->consumed ? json_loads(shard->consumed, 0, NULL) : NULL;
    json_object_set_new(seen, key, consumed ? consumed : json_object());
  }
  const LeaderCounters *c = &model->counters;
  json_t *json = json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "seen", seen, "settled",
                           settled, "windows", (json_int_t)c->windows, "label_panes", (json_int_t)c->label_panes,
                           "verdicts", (json_int_t)c->verdicts, "incidents", (json_int_t)c->incidents, "retrainings",
                           (json_int_t)c->retrainings, "refits", (json_int_t)c->refits, "gate_refusals",
                           (json_int_t)c->gate_refusals, "promotions", (json_int_t)c->promotions, "rollbacks",
                           (json_int_t)c->rollbacks, "training_failures", (json_int_t)c->training_failures);
  gchar *text = verdict_dump(json);
  json_decref(json);
  if (!model->changed && g_strcmp0(text, model->progress) == 0) {
    g_free(text);
    return TRUE;
  }
  g_free(model->progress);
  model->progress = text;
  if (context->metrics) {
    g_autofree gchar *labels = metrics_label("model", model->name, NULL);
    gint64 open = registry_job_count_open(context->store, model->name, error);
    if (open < 0) return FALSE;
    metrics_set(context->metrics, "kedge_jobs_open", labels, (double)open);
  }
  return leader_begin(context, error) && leader_commit(model, context, error);
}

static gboolean seal_log(LeaderModel *model, LeaderContext *context, gint64 panes_before, GError **error)
{
  guint sealed = 0;
  if (model->counters.label_panes / SEAL_EVERY_PANES == panes_before / SEAL_EVERY_PANES) return TRUE;
  return registry_labelled_log_seal(context->store, context->artifacts, model->name, SEAL_ROWS, &sealed, error);
}

static gboolean step_model(Leader *leader, LeaderContext *context, const gchar *name, gboolean *worked, GError **error)
{
  LeaderModel *model = get_model(leader, context, name, error);
  if (!model) return error == NULL || *error == NULL;
  gboolean mine = FALSE;
  gint64 panes_before = model->counters.label_panes;
  g_autoptr(GPtrArray) shards = registry_shard_list(context->store, name, error);
  if (!shards || !leader_step_jobs(model, context, &mine, error) ||
      !leader_step_windows(model, context, shards, &mine, error) ||
      !leader_step_labels(model, context, shards, &mine, error) || !seal_log(model, context, panes_before, error))
    return FALSE;
  *worked = *worked || mine;
  if (mine) return TRUE; /* progress is written by the pass that finds nothing left to do */
  return write_progress(model, context, shards, json_array_size(model->pending) == 0, error);
}

/* Whether the error is one model's own (a damaged state, a missing artifact) and the others can go on. */
static gboolean concerns_one_model(const GError *error)
{
  static const gint shared[] = {REGISTRY_ERROR_UNAVAILABLE, REGISTRY_ERROR_UNKNOWN_COMMIT, REGISTRY_ERROR_FENCED};
  for (guint i = 0; i < G_N_ELEMENTS(shared); i++)
    if (g_error_matches(error, REGISTRY_ERROR, shared[i])) return FALSE;
  return TRUE;
}

/* What of the model is in memory may be ahead of the store after a failure: it is read again, after a rest. */
static void rest_model(Leader *leader, const gchar *name, const GError *error)
{
  const Rest *before = g_hash_table_lookup(leader->resting, name);
  if (!before || g_strcmp0(before->why, error->message) != 0) g_warning("leader: model %s: %s", name, error->message);
  Rest *rest = g_new(Rest, 1);
  *rest = (Rest){g_get_monotonic_time() + REST_MS * 1000, g_strdup(error->message)};
  g_hash_table_replace(leader->resting, g_strdup(name), rest);
  g_hash_table_remove(leader->models, name);
  if (registry_store_in_transaction(leader->service.store)) registry_store_rollback(leader->service.store);
}

/* One model's step. FALSE: an error that concerns the store, and so all models. */
static gboolean step_or_rest(Leader *leader, LeaderContext *context, const gchar *name, gboolean *worked,
                             GError **error)
{
  const Rest *rest = g_hash_table_lookup(leader->resting, name);
  if (rest && g_get_monotonic_time() < rest->until) return TRUE;
  g_autoptr(GError) local = NULL;
  if (step_model(leader, context, name, worked, &local)) {
    g_hash_table_remove(leader->resting, name);
    return TRUE;
  }
  if (concerns_one_model(local)) {
    rest_model(leader, name, local);
    return TRUE;
  }
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* One pass over the models; FALSE: an error that concerns the store. */
static gboolean pass(Leader *leader, gboolean *worked, GError **error)
{
  if (!service_thread_open(&leader->service, error) || !hold_lease(leader, error)) return FALSE;
  health_beat(leader->health, "leader");
  if (leader->term == 0) return TRUE;
  LeaderContext context = {.store = leader->service.store,
                           .artifacts = leader->service.artifacts,
                           .settings = leader->service.settings,
                           .me = leader->me,
                           .term = leader->term,
                           .metrics = leader->metrics,
                           .health = leader->health};
  for (guint i = 0; i < leader->service.settings->n_models; i++)
    if (!step_or_rest(leader, &context, leader->service.settings->models[i].name, worked, error)) return FALSE;
  return TRUE;
}

static void show_health(Leader *leader)
{
  GHashTableIter iterator;
  gpointer name, rest;
  g_hash_table_iter_init(&iterator, leader->resting);
  if (!g_hash_table_iter_next(&iterator, &name, &rest)) {
    health_set(leader->health, "leader", TRUE, leader->term > 0 ? "leading" : "following");
    return;
  }
  g_autofree gchar *why = g_strdup_printf("model %s: %s", (const gchar *)name, ((const Rest *)rest)->why);
  health_set(leader->health, "leader", FALSE, why);
}

/* What is in memory may be ahead of the store after any failure: it is read again. */
static void recover(Leader *leader, const GError *error)
{
  g_hash_table_remove_all(leader->models);
  if (leader->service.store && registry_store_in_transaction(leader->service.store))
    registry_store_rollback(leader->service.store);
  if (g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED)) {
    g_message("the lease was lost: another daemon leads");
    leader->term = 0;
    leader->lease_due = 0;
    return;
  }
  health_set(leader->health, "leader", FALSE, error->message);
  g_warning("leader: %s", error->message);
}

static gpointer run(gpointer data)
{
  Leader *leader = data;
  gint64 retry = RETRY_FIRST_MS;
  for (gint64 wait = 0; pause_thread(leader, wait);) {
    g_autoptr(GError) error = NULL;
    gboolean worked = FALSE;
    health_beat(leader->health, "leader");
    if (pass(leader, &worked, &error)) {
      show_health(leader);
      retry = RETRY_FIRST_MS;
      wait = worked ? 0 : leader->service.settings->leader.poll_ms;
      continue;
    }
    gboolean fenced = g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED);
    recover(leader, error);
    wait = fenced ? leader->service.settings->leader.poll_ms : retry;
    if (!fenced) retry = MIN(retry * 2, RETRY_LAST_MS);
  }
  if (leader->service.store && leader->term > 0)
    registry_lease_release(leader->service.store, LEADER_LEASE, leader->me, NULL);
  g_hash_table_remove_all(leader->models);
  service_thread_close(&leader->service);
  return NULL;
}

void leader_start(Leader *leader)
{
  health_set(leader->health, "leader", FALSE, "starting");
  service_thread_start(&leader->service, "kedge-leader", run, leader);
}

void leader_reload(Leader *leader, Settings *settings)
{
  service_thread_reload(&leader->service, settings);
}

void leader_stop(Leader *leader)
{
  service_thread_stop(&leader->service);
}
