#include "pipeline/job_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "drift/schema.h"
#include "onnx/error.h"

#define HEARTBEAT_MS 10000

/* Errors that the same spec on the same data would meet again. */
static gboolean is_final(const GError *error)
{
  static const gint registry_codes[] = {REGISTRY_ERROR_NOT_FOUND, REGISTRY_ERROR_INVALID, REGISTRY_ERROR_CORRUPT,
                                        REGISTRY_ERROR_CONFLICT};
  if (error->domain == PIPELINE_ERROR) return error->code != PIPELINE_ERROR_CANCELLED;
  if (error->domain == DRIFT_ERROR || error->domain == ONNX_ERROR) return TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(registry_codes); i++)
    if (g_error_matches(error, REGISTRY_ERROR, registry_codes[i])) return TRUE;
  return FALSE;
}

/* After a broken connection: did the outcome get through? */
static gboolean is_settled(PipelineJobContext *context)
{
  if (!registry_store_reconnect(context->store, NULL)) return FALSE;
  g_autoptr(RegistryJob) now = registry_job_get(context->store, context->job->id, NULL);
  return now != NULL && now->token == context->job->token && g_strcmp0(now->state, "running") != 0 &&
         g_strcmp0(now->state, "queued") != 0;
}

static gboolean was_cancelled(PipelineJobContext *context)
{
  g_autoptr(RegistryJob) now = registry_job_get(context->store, context->job->id, NULL);
  return now != NULL && now->token == context->job->token && now->cancel_requested;
}

static gboolean settle(PipelineJobContext *context, const gchar *state, GError *fault, GError **error)
{
  gboolean finished =
      registry_job_finish(context->store, context->job->id, context->job->token, state, NULL, fault->message, error);
  g_error_free(fault);
  return finished;
}

gboolean pipeline_job_execute(PipelineJobContext *context, GError **error)
{
  GError *fault = NULL;
  const PipelineJobKind *kind = pipeline_job_kind_find(context->job->kind);
  if (kind == NULL)
    fault = g_error_new(PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "this program knows no job kind \"%s\"",
                        context->job->kind);
  else if (kind->run(context, &fault))
    return TRUE;
  if (g_error_matches(fault, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT) && is_settled(context)) {
    g_error_free(fault);
    return TRUE;
  }
  pipeline_job_log(context, "%s", fault->message);
  if (is_final(fault)) return settle(context, "failed", fault, error);
  if (g_error_matches(fault, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED) && was_cancelled(context))
    return settle(context, "cancelled", fault, error);
  g_propagate_error(error, fault);
  return FALSE;
}

static gboolean set_limit(int resource, const gchar *name, gint64 value, GError **error)
{
  struct rlimit limit = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
  if (setrlimit(resource, &limit) == 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "limits.%s of the job's spec cannot be set: %s", name,
              g_strerror(errno));
  return FALSE;
}

/* A memory limit only where the spec asks for one: address space limits break CUDA, whose workers are limited by their
 * control group instead. */
static gboolean set_limits(const RegistryJob *job, GError **error)
{
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none); /* a dump would hold the training data */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  json_t *spec = pipeline_job_spec_load(job, NULL); /* a spec that is none is its kind's to report */
  const json_t *limits = json_object_get(spec, "limits");
  gint64 cpu = 0, memory = 0;
  gboolean set = pipeline_job_spec_integer(limits, "cpu_seconds", 1, G_MAXINT32, &cpu, error) &&
                 pipeline_job_spec_integer(limits, "memory_bytes", 1 << 20, G_MAXINT64, &memory, error) &&
                 (cpu == 0 || set_limit(RLIMIT_CPU, "cpu_seconds", cpu, error)) &&
                 (memory == 0 || set_limit(RLIMIT_AS, "memory_bytes", memory, error));
  json_decref(spec);
  return set;
}

static RegistryJob *get_claimed(RegistryStore *store, const gchar *id, gint64 token, GError **error)
{
  g_autoptr(RegistryJob) job = registry_job_get(store, id, error);
  if (job == NULL) return NULL;
  if (g_strcmp0(job->state, "running") != 0 || job->token != token) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED,
                "job %s is %s with token %" G_GINT64_FORMAT ", not running with token %" G_GINT64_FORMAT
                ": it was claimed again or has ended",
                id, job->state, job->token, token);
    return NULL;
  }
  return g_steal_pointer(&job);
}

static void forward_stop(GCancellable *stop, gpointer cancel)
{
  (void)stop;
  g_cancellable_cancel(cancel);
}

gboolean pipeline_job_run(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *id, gint64 token,
                          const PipelineJobRunOptions *options, GCancellable *stop, GError **error)
{
  g_autoptr(RegistryJob) job = get_claimed(store, id, token, error);
  if (job == NULL) return FALSE;
  g_autoptr(GError) fault = NULL;
  if (!set_limits(job, &fault)) return registry_job_finish(store, id, token, "failed", NULL, fault->message, error);
  g_autoptr(PipelineHeartbeat) heartbeat =
      pipeline_heartbeat_new(options->store_uri, options->heartbeat_ms > 0 ? options->heartbeat_ms : HEARTBEAT_MS);
  g_autoptr(GCancellable) cancel = g_cancellable_new();
  gulong handler = stop != NULL ? g_cancellable_connect(stop, G_CALLBACK(forward_stop), cancel, NULL) : 0;
  PipelineJobContext context = {.store = store,
                                .artifacts = artifacts,
                                .job = job,
                                .cancel = cancel,
                                .heartbeat = heartbeat,
                                .state_directory = options->state_directory};
  pipeline_heartbeat_begin(heartbeat, id, token, cancel);
  gboolean done = pipeline_job_execute(&context, error);
  pipeline_heartbeat_end(heartbeat);
  if (handler != 0) g_cancellable_disconnect(stop, handler);
  return done;
}
