#include <stdlib.h>
#include <string.h>

#include "pipeline/job_internal.h"
#include "pipeline/model_cache.h"
#include "pipeline/worker_child.h"
#include "pipeline/worker_rescue.h"

#define CACHE_CAPACITY 64
#define BACKOFF_MAXIMUM_MS 5000
#define KILL_MS 30000
#define CHILD_LOOK_MS 500 /* between looks at the claim of the running child */
#define KINDS_MAXIMUM 16

typedef struct {
  const PipelineWorkerOptions *options;
  GCancellable *stop;
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  PipelineModelCache *cache;
  PipelineHeartbeat *heartbeat;
  PipelineRescue *rescue;
  gchar *state_directory;
  const gchar *kinds[KINDS_MAXIMUM + 1], *warm_kinds[KINDS_MAXIMUM + 1]; /* NULL-terminated */
  PipelineChild *child;                                                  /* the one exec'd job; NULL: none */
  RegistryJob *child_job;
  gint64 child_looked_at, term_at; /* monotonic; term_at 0: not asked to end */
  gint64 rescued_at;
  guint backoff_ms; /* 0: the store answers */
} Worker;

static void worker_clear(Worker *worker)
{
  pipeline_child_free(worker->child);
  registry_job_free(worker->child_job);
  pipeline_heartbeat_free(worker->heartbeat);
  pipeline_rescue_free(worker->rescue);
  pipeline_model_cache_free(worker->cache);
  registry_artifacts_close(worker->artifacts);
  registry_store_close(worker->store);
  g_free(worker->state_directory);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Worker, worker_clear)

static void list_kinds(Worker *worker)
{
  guint n = 0, n_warm = 0;
  for (guint i = 0; pipeline_job_kinds[i] != NULL && i < KINDS_MAXIMUM; i++) {
    worker->kinds[n++] = pipeline_job_kinds[i]->kind;
    if (pipeline_job_kinds[i]->warm) worker->warm_kinds[n_warm++] = pipeline_job_kinds[i]->kind;
  }
}

/* --- the exec'd job -------------------------------------------------------------------------------------------------
 */

/* A URI with a password must not be seen in the process list: it goes by the environment (KEDGE_STORE). */
static gboolean holds_password(const gchar *uri)
{
  const gchar *host = strstr(uri, "://");
  const gchar *at = host != NULL ? strchr(host + 3, '@') : NULL;
  return strstr(uri, "password") != NULL || (at != NULL && memchr(host + 3, ':', (gsize)(at - host - 3)) != NULL);
}

static gboolean start_child(Worker *worker, RegistryJob *job, GError **error)
{
  const PipelineWorkerOptions *options = worker->options;
  g_autofree gchar *token = g_strdup_printf("%" G_GINT64_FORMAT, job->token);
  g_autofree gchar *heartbeat = g_strdup_printf("%u", options->heartbeat_ms);
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  const gchar *const first[] = {options->program,   "job",         "run",    job->id, "--token", token, "--artifacts",
                                options->artifacts, "--heartbeat", heartbeat};
  for (guint i = 0; i < G_N_ELEMENTS(first); i++) g_ptr_array_add(argv, (gpointer)first[i]);
  gboolean secret = holds_password(options->store_uri);
  if (!secret) g_ptr_array_add(argv, (gpointer) "--store");
  if (!secret) g_ptr_array_add(argv, (gpointer)options->store_uri);
  if (options->settings_path != NULL) g_ptr_array_add(argv, (gpointer) "--config");
  if (options->settings_path != NULL) g_ptr_array_add(argv, (gpointer)options->settings_path);
  g_ptr_array_add(argv, NULL);
  g_auto(GStrv) environment = g_get_environ();
  if (secret) environment = g_environ_setenv(environment, "KEDGE_STORE", options->store_uri, TRUE);
  worker->child = pipeline_child_spawn((const gchar *const *)argv->pdata, (const gchar *const *)environment, error);
  if (worker->child == NULL) return FALSE;
  worker->child_job = job;
  worker->child_looked_at = g_get_monotonic_time();
  worker->term_at = 0;
  return TRUE;
}

/* Back to the queue, or "failed" when its attempts are used up, or "cancelled" when that was asked for. */
static gboolean put_back(Worker *worker, const RegistryJob *job, const gchar *why, GError **error)
{
  g_autoptr(RegistryJob) now = registry_job_get(worker->store, job->id, error);
  if (now == NULL) return FALSE;
  if (now->token != job->token || g_strcmp0(now->state, "running") != 0) return TRUE;
  g_autofree gchar *line = g_strdup_printf("attempt %u: %s", now->attempts, why);
  g_message("job %s, %s", job->id, line);
  registry_job_log_append(worker->store, job->id, job->token, line, NULL);
  g_autoptr(GError) fault = NULL;
  if (registry_job_rescue(worker->store, job->id, job->token, now->heartbeat, &fault)) return TRUE;
  if (g_error_matches(fault, REGISTRY_ERROR, REGISTRY_ERROR_FENCED)) return TRUE;
  g_propagate_error(error, g_steal_pointer(&fault));
  return FALSE;
}

/* TERM, and KILL when that did not help within kill_ms. */
static void press_child(Worker *worker, gint64 now)
{
  guint kill_ms = worker->options->kill_ms > 0 ? worker->options->kill_ms : KILL_MS;
  if (worker->term_at == 0) {
    worker->term_at = now;
    pipeline_child_terminate(worker->child);
  } else if (now - worker->term_at >= (gint64)kill_ms * 1000) {
    pipeline_child_kill(worker->child);
  }
}

/* What became of the child, and of its claim. */
static gboolean look_at_child(Worker *worker, GError **error)
{
  if (worker->child == NULL) return TRUE;
  g_autofree gchar *how = NULL;
  if (pipeline_child_wait(worker->child, 0, &how)) {
    /* Ended in order, its job is settled and there is nothing to put back. The child is only forgotten after that, so
     * that a store that is away just now does not strand the job. */
    g_autofree gchar *why = g_strdup_printf("its process %s", how);
    if (!put_back(worker, worker->child_job, why, error)) return FALSE;
    g_clear_pointer(&worker->child, pipeline_child_free);
    g_clear_pointer(&worker->child_job, registry_job_free);
    return TRUE;
  }
  gint64 now = g_get_monotonic_time();
  if (worker->term_at != 0 || g_cancellable_is_cancelled(worker->stop)) press_child(worker, now);
  if (now - worker->child_looked_at < CHILD_LOOK_MS * 1000) return TRUE;
  worker->child_looked_at = now;
  g_autoptr(RegistryJob) job = registry_job_get(worker->store, worker->child_job->id, error);
  if (job == NULL) return FALSE;
  if (job->token != worker->child_job->token || g_strcmp0(job->state, "running") != 0)
    pipeline_child_kill(worker->child); /* the claim is over: whatever it still does is in vain */
  else if (job->cancel_requested && worker->term_at == 0)
    press_child(worker, now);
  return TRUE;
}

/* --- warm jobs ------------------------------------------------------------------------------------------------------
 */

static gboolean run_warm(Worker *worker, RegistryJob *job, GError **error)
{
  g_autoptr(GCancellable) cancel = g_cancellable_new();
  PipelineJobContext context = {.store = worker->store,
                                .artifacts = worker->artifacts,
                                .job = job,
                                .cancel = cancel,
                                .cache = worker->cache,
                                .heartbeat = worker->heartbeat,
                                .state_directory = worker->state_directory};
  pipeline_heartbeat_begin(worker->heartbeat, job->id, job->token, cancel);
  g_autoptr(GError) fault = NULL;
  gboolean done = pipeline_job_execute(&context, &fault);
  pipeline_heartbeat_end(worker->heartbeat);
  if (done || g_error_matches(fault, REGISTRY_ERROR, REGISTRY_ERROR_FENCED)) return TRUE;
  if (registry_store_reconnect(worker->store, NULL) && put_back(worker, job, fault->message, NULL)) return TRUE;
  g_propagate_error(error, g_steal_pointer(&fault)); /* its heartbeat stands still now: it will be rescued */
  return FALSE;
}

static gboolean run_job(Worker *worker, RegistryJob *job, GError **error)
{
  const PipelineJobKind *kind = pipeline_job_kind_find(job->kind);
  if (kind == NULL || kind->warm) {
    gboolean done = run_warm(worker, job, error);
    registry_job_free(job);
    return done;
  }
  g_autoptr(GError) fault = NULL;
  if (start_child(worker, job, &fault)) return TRUE;
  gboolean settled = registry_job_finish(worker->store, job->id, job->token, "failed", NULL, fault->message, error);
  registry_job_free(job);
  return settled;
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static gboolean rescue(Worker *worker, GError **error)
{
  gint64 now = g_get_monotonic_time(), interval = (gint64)worker->options->lost_ms * 1000 / 8;
  if (now - worker->rescued_at < interval) return TRUE;
  worker->rescued_at = now;
  guint n = 0;
  if (!pipeline_rescue_look(worker->rescue, worker->store, NULL, now, &n, error)) return FALSE;
  if (n > 0) g_message("%u jobs without a heartbeat went back to the queue", n);
  return TRUE;
}

/* One turn: *busy when there may be more to do at once. */
static gboolean turn(Worker *worker, gboolean *busy, GError **error)
{
  *busy = FALSE;
  if (!look_at_child(worker, error) || !rescue(worker, error)) return FALSE;
  if (g_cancellable_is_cancelled(worker->stop)) return TRUE;
  g_autoptr(GError) fault = NULL;
  RegistryJob *job = registry_job_claim(worker->store, worker->options->name,
                                        worker->child != NULL ? worker->warm_kinds : worker->kinds, &fault);
  if (job == NULL) {
    if (fault != NULL) g_propagate_error(error, g_steal_pointer(&fault));
    return *error == NULL;
  }
  *busy = TRUE;
  return run_job(worker, job, error);
}

/* Until stopped, the child ends, or the time is over. */
static void idle(Worker *worker, guint timeout_ms)
{
  GPollFD watched[2];
  guint n = 0;
  gboolean listens = !g_cancellable_is_cancelled(worker->stop) && g_cancellable_make_pollfd(worker->stop, &watched[n]);
  if (listens) n++;
  if (worker->child != NULL) watched[n++] = (GPollFD){.fd = pipeline_child_get_fd(worker->child), .events = G_IO_IN};
  g_poll(watched, n, (gint)MIN(timeout_ms, G_MAXINT));
  if (listens) g_cancellable_release_fd(worker->stop);
}

static gboolean may_pass(const GError *error)
{
  return g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE) ||
         g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT) ||
         g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED) ||
         g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL);
}

/* The store is away: wait longer each time, with jitter so that many workers do not come back at one moment. */
static void back_off(Worker *worker, const GError *error)
{
  if (worker->backoff_ms == 0) g_message("%s; trying again", error->message);
  worker->backoff_ms = CLAMP(worker->backoff_ms * 2, 100, BACKOFF_MAXIMUM_MS);
  idle(worker, worker->backoff_ms / 2 + (guint)g_random_int_range(0, (gint32)worker->backoff_ms));
  registry_store_reconnect(worker->store, NULL);
}

static gboolean loop(Worker *worker, GError **error)
{
  while (!g_cancellable_is_cancelled(worker->stop) || worker->child != NULL) {
    g_autoptr(GError) fault = NULL;
    gboolean busy = FALSE;
    if (!turn(worker, &busy, &fault)) {
      if (!may_pass(fault)) {
        g_propagate_error(error, g_steal_pointer(&fault));
        return FALSE;
      }
      if (g_cancellable_is_cancelled(worker->stop)) return TRUE; /* what is left is rescued by its heartbeat */
      back_off(worker, fault);
      continue;
    }
    worker->backoff_ms = 0;
    if (busy) continue;
    if (worker->options->once && worker->child == NULL) return TRUE;
    idle(worker, worker->options->poll_ms);
  }
  return TRUE;
}

static gboolean check_options(const PipelineWorkerOptions *options, GError **error)
{
  const gchar *fault = NULL;
  if (options->name == NULL || options->name[0] == '\0')
    fault = "it has no name";
  else if (options->program == NULL)
    fault = "it does not know the path of kedge";
  else if (options->poll_ms == 0 || options->heartbeat_ms == 0)
    fault = "poll_ms and heartbeat_ms must be at least 1";
  else if (options->lost_ms < 2 * options->heartbeat_ms)
    fault = "lost_ms must be at least twice heartbeat_ms";
  if (fault == NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the worker cannot run: %s", fault);
  return FALSE;
}

gboolean pipeline_worker_run(const PipelineWorkerOptions *options, GCancellable *stop, GError **error)
{
  if (!check_options(options, error)) return FALSE;
  g_auto(Worker) worker = {.options = options, .stop = stop};
  list_kinds(&worker);
  worker.store = registry_store_open(options->store_uri, error);
  if (worker.store == NULL) return FALSE;
  worker.artifacts = registry_artifacts_open(options->artifacts, error);
  if (worker.artifacts == NULL) return FALSE;
  guint n = 0;
  if (!pipeline_rescue_orphans(worker.store, options->name, &n, error)) return FALSE;
  if (n > 0) g_message("%u jobs of a former process of this worker went back to the queue", n);
  worker.cache = pipeline_model_cache_new(CACHE_CAPACITY);
  worker.heartbeat = pipeline_heartbeat_new(options->store_uri, options->heartbeat_ms);
  worker.rescue = pipeline_rescue_new(options->lost_ms);
  worker.state_directory = pipeline_job_state_directory(options->artifacts);
  return loop(&worker, error);
}
