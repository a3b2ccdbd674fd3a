/* The job kinds: what the leader asks for and what workers answer, as JSON. One visible table of implementations.
 *
 * A data range names rows of the labelled log in the leader's order:
 *   "data": [{"partition": 0, "label_partition": 0, "first_row": 4100, "next_row": 5200}, …]
 * Every result echoes its ranges with "sha256" (over the concatenated row bytes) and the offsets covered.
 *
 * "retrain": spec {"model", "data": […], "architecture", "from": VERSION|0, "rehearsal": [ranges] (optional),
 *                  "epochs", "batch_size", "patience", "learning_rate", "seed", "adversarial_epsilon", "adversarial_steps",
 *                  "holdout_fraction" (last rows in time, for the gate), "champion": VERSION,
 *                  "gate": {"confidence", "robust_epsilon"}, "incident": ID}
 *            result {"version": N, "rows": n, "holdout": n, "data": […], "comparison": {"n","champion","challenger",
 *                    "gain","low","high"}, "champion": EVALUATION, "challenger": EVALUATION, "seconds": {"load","train",
 *                    "evaluate","register"}}
 *            The version is registered (no alias) in the transaction that finishes the job.
 * "refit":   as retrain, by pipeline_refit_last_layer on version "from"; spec adds "penalty".
 * "score":   spec {"model", "data": […], "versions": [V, …]}
 *            result {"rows": n, "data": […], "versions": [{"version": V, "errors": "BASE64 of one bit a row", "accuracy": a,
 *                    "log_loss": l}], "seconds": s}; done inside the warm worker, models cached by version.
 */
#pragma once

#include <gio/gio.h>

#include "registry/artifact.h"
#include "registry/job.h"

G_BEGIN_DECLS

typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  RegistryJob *job;
  GCancellable *cancel; /* set when the job was cancelled or fenced */
  gpointer cache;       /* PipelineModelCache* of a warm worker, or NULL */
} PipelineJobContext;

typedef struct {
  const gchar *kind;
  const gchar *summary;
  gboolean warm; /* runs inside the worker; else in `kedge job run ID` */
  /* Does the work and finishes the job (registry_job_finish) in the transaction that stores its outcome. */
  gboolean (*run)(PipelineJobContext *context, GError **error);
} PipelineJobKind;

extern const PipelineJobKind *const pipeline_job_kinds[]; /* NULL-terminated */
const PipelineJobKind *pipeline_job_kind_find(const gchar *kind);

/* `kedge job run ID`: heartbeat thread, limits, progress, the kind's run; the claim's token comes from the caller. */
gboolean pipeline_job_run(RegistryStore *store, const gchar *store_uri, RegistryArtifacts *artifacts, const gchar *id,
                          gint64 token, GError **error);

typedef struct {
  const gchar *store_uri, *artifacts, *name; /* name: unique, e.g. host:pid */
  const gchar *program;                      /* path of `kedge` for exec of job run; the settings path to hand on */
  const gchar *settings_path;
  guint poll_ms;                             /* between looks at the queue when idle */
  guint heartbeat_ms, lost_ms;               /* 10 s, 30 s */
} PipelineWorkerOptions;
/* Claims and runs jobs until `stop` is cancelled. Rescues jobs whose heartbeat stands still. */
gboolean pipeline_worker_run(const PipelineWorkerOptions *options, GCancellable *stop, GError **error);

G_END_DECLS
