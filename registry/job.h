/* The job queue. Workers pull; a claim gives a fencing token; a result is accepted once, by that token. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  gchar *id;       /* deterministic, given by the creator */
  gchar *model;    /* or NULL */
  gchar *kind;     /* "retrain", "score", … (pipeline's table of job kinds) */
  gchar *state;    /* "queued", "running", "done", "failed", "cancelled" */
  gint priority;   /* larger first; then deadline (EDF), then order of creation (FIFO) */
  gint64 deadline; /* microseconds, wall clock; 0: none */
  gchar *spec;     /* JSON */
  gchar *result;   /* JSON, or NULL */
  gchar *progress; /* JSON, or NULL: {"stage", "rows", "epoch", "epochs", "loss", "metric", "fraction", …} */
  gchar *error;    /* text when failed */
  gchar *incident; /* or NULL */
  gchar *worker;
  gint64 token;     /* fencing token of the current claim */
  gint64 heartbeat; /* counter */
  guint attempts, maximum_attempts;
  gint64 created_at, started_at, finished_at; /* wall clock, microseconds; 0: not yet */
  gint64 predicted_us;                        /* predicted run time; 0: unknown */
  gboolean cancel_requested;
} RegistryJob;
void registry_job_free(RegistryJob *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryJob, registry_job_free)

/* No-op (TRUE) when a job of that id exists. Fields used: id, model, kind, priority, deadline, spec, incident,
 * maximum_attempts (0: 3), predicted_us. */
gboolean registry_job_create(RegistryStore *store, const RegistryJob *job, GError **error);
/* The best queued job of one of `kinds` (NULL-terminated; NULL: any), now running for `worker`; NULL without error:
 * none. Skips jobs of models that already have a running job of the same kind. */
RegistryJob *registry_job_claim(RegistryStore *store, const gchar *worker, const gchar *const *kinds, GError **error);
/* FENCED: the claim was lost. Sets *cancel when cancellation was requested. progress NULL: keep. */
gboolean registry_job_heartbeat(RegistryStore *store, const gchar *id, gint64 token, const gchar *progress,
                                gboolean *cancel, GError **error);
/* state: "done", "failed", "cancelled". FENCED: late; the result is refused. May be called inside a transaction in
 * which the version was registered. */
gboolean registry_job_finish(RegistryStore *store, const gchar *id, gint64 token, const gchar *state,
                             const gchar *result, const gchar *error_text, GError **error);
/* Back to the queue (or failed when attempts are used up), unless the heartbeat counter moved since `heartbeat`. */
gboolean registry_job_rescue(RegistryStore *store, const gchar *id, gint64 token, gint64 heartbeat, GError **error);
gboolean registry_job_cancel(RegistryStore *store, const gchar *id, const gchar *actor, GError **error);
RegistryJob *registry_job_get(RegistryStore *store, const gchar *id, GError **error);
GPtrArray *registry_job_list(RegistryStore *store, const gchar *model /* NULL: all */, const gchar *state /* NULL */,
                             guint limit, GError **error); /* oldest first */
/* Queued or running jobs of the model. */
gint64 registry_job_count_open(RegistryStore *store, const gchar *model, GError **error);
/* Log lines of a job, appended in order. */
gboolean registry_job_log_append(RegistryStore *store, const gchar *id, gint64 token, const gchar *line,
                                 GError **error);
GPtrArray *registry_job_log_list(RegistryStore *store, const gchar *id, gint64 from, GError **error); /* of gchar* */

G_END_DECLS
