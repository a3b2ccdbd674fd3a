/* The job kinds: what the leader asks for and what workers answer, as JSON. One visible table of implementations.
 *
 * A data range names rows of the labelled log in the leader's order:
 *   "data": [{"partition": 0, "label_partition": 0, "first_row": 4100, "next_row": 5200}, …]
 * Every result echoes its ranges with "sha256" (over the concatenated row bytes) and the offsets and event times
 * covered: "first_traffic_offset", "last_traffic_offset", "first_label_offset", "last_label_offset", "first_time",
 * "last_time" (microseconds).
 *
 * "retrain": spec {"model", "data": […], "architecture", "from": VERSION|0, "rehearsal": [ranges] (optional),
 *                  "epochs", "batch_size", "patience", "learning_rate", "seed", "adversarial_epsilon",
 *                  "adversarial_steps", "holdout_fraction" (last rows in time, for the gate), "champion": VERSION,
 *                  "gate": {"confidence", "robust_epsilon", "robust_steps"}, "incident": ID}
 *            Optional: "backend", "weight_decay", "validation_fraction", "checkpoint_seconds",
 *                  "reweigh" (true: by all sensitive features crossed),
 *                  "limits": {"cpu_seconds", "memory_bytes"}; members that are not known are left alone.
 *            "architecture" may be "auto": trees when the champion is an ensemble of trees, else the default network.
 *            Of trees "epochs" are rounds; "batch_size", "learning_rate" and "weight_decay" are of networks.
 *            result {"version": N, "rows": n, "holdout": n, "data": […], "rehearsal": […],
 *                    "unusable": n (rows without a label of a known class),
 *                    "comparison": {"n", "champion", "challenger", "gain", "low", "high", "confidence"},
 *                    "champion": EVALUATION, "challenger": EVALUATION,
 *                    "training": {"epochs", "best_epoch", "train_loss", "validation_loss", "validation_metric",
 *                    "samples_per_second"}, "seconds": {"load", "train", "evaluate", "register"}}
 *            EVALUATION {"n", "accuracy", "balanced_accuracy", "auc", "log_loss", "mae", "rmse", "robust_accuracy",
 *                    "robust_epsilon", "latency_p50_us", "latency_p99_us", "disparate_impact_worst",
 *                    "disparate_impact_group", "bytes" (of the ONNX file), "robust_n" (rows attacked)}; what is
 * undefined or was not measured is null. The version is registered (no alias) in the transaction that finishes the job;
 * its tag "signature" says its inputs and outputs.
 *
 * "refit":   as retrain, by pipeline_refit_last_layer on version "from"; spec adds "penalty". Trees have no last layer:
 *            of an ensemble of trees a small new one is trained.
 *
 * "search":  as retrain, by a search (pipeline/search.h) on the training rows; spec adds "trials", "seconds" (one of
 *            them at least), "workers" (1), "space", "validation_fraction". Result adds "search": {"trials", "failed",
 *            "seconds", "rows_validation", "winner": as in the leaderboard of `kedge search`}. Killed, it goes on with
 *            the journal in the folder of checkpoints.
 *
 * "harden":  version "from" trained on against attacks (pipeline/harden.h); spec adds "epsilon" (above 0), "method"
 *            (pgd), "steps", "epochs", "norm", "unit", "range", "learning_rate", …: the table in job_harden.c. Result
 *            as of retrain, with accuracy under attack measured at epsilon, and "before": EVALUATION of "from",
 *            "change": comparison in which "champion" is "from", both on the held-out rows.
 *
 * "compress": version "from" made smaller (pipeline/compress_plan.h); spec adds "int8", "prune", "distill" (one at
 * least), …: the table in job_compress.c. Result as of harden, and "compression": {"steps", "before" and "after":
 *            {"bytes", "weights", "weights_not_zero", "accuracy", "latency_p50_us"}, "size_ratio", "agreement",
 *            "difference"}.
 *
 * "attack":  version "from" attacked on the held-out rows; spec adds "epsilon" (above 0), "attacks" ("pgd"), "queries",
 *            "rows" (500), "immutable", …: the table in job_attack.c. Makes no version: result {"version": null,
 *            "attacked": N, "robustness": REPORT of pipeline/robustness_report.h}; the report is also the version's tag
 *            "robustness", written in the transaction that finishes the job.
 *
 * "mixture": spec {"model", "data": […] (labelled rows in the leader's order without gaps), "first_row": number of the
 *                  first of them, "from": VERSION, "champion": VERSION, "architecture" ("auto": mlp:64,64), "seed",
 *                  "gate": {…, "minimum_gain", "minimum_holdout"}, "incident"}
 *            The version "from" as an online mixture (pipeline/mixture.h; any dense classifier begins one) learns the
 *            rows that it does not know yet. Result as of retrain; the comparison is of the rows learned, each judged
 *            before it was: by the champion and by the mixture as it learned. Adds "promised_error" (the larger of the
 *            errors on those and on the latest 1,000 rows) and "mixture": {"rows": learned, "first_row", "alarms",
 *            "takeovers", "trainings", "change_row", "experts": {NAME: weight}}. "version" is null when the mixture did
 *            not train, learned fewer than 2,000 rows and got fewer of them right than the champion, or as many
 *            with the same answers to all but 4, or gained less than "minimum_gain" (0); and always below
 *            "minimum_holdout" (0) usable rows: the next job learns them again, and more. Then "champion" and
 *            "challenger" are null, too: nothing else was measured.
 *
 * "score":   spec {"model", "data": […], "versions": [V, …]}
 *            result {"rows": n, "data": […], "versions": [{"version": V, "errors": "BASE64 of one bit a row",
 *                    "accuracy": a, "log_loss": l}], "seconds": s}
 *            Done inside the warm worker, models cached by version. Row i is bit i % 8 (from the lowest) of byte
 *            i / 8; a row whose label is of no known class counts as wrong. A version that cannot run has
 *            "error": TEXT and "errors": null. Regression: "errors" and "accuracy" are null, "mse" is given.
 *
 * Progress: {"stage": "load"|"train"|"search"|"attack"|"evaluate"|"register", "rows", "epoch", "epochs", "loss",
 * "metric", "fraction", "samples_per_second", "seconds"}.
 */
#pragma once

#include <gio/gio.h>
#include <jansson.h>

#include "registry/artifact.h"
#include "registry/job.h"

G_BEGIN_DECLS

typedef struct _PipelineHeartbeat PipelineHeartbeat; /* pipeline/job_heartbeat.h */
typedef struct _PipelineJobField PipelineJobField;   /* pipeline/job_fields.h */

typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  RegistryJob *job;
  GCancellable *cancel;         /* set when the job was cancelled or fenced */
  gpointer cache;               /* PipelineModelCache* of a warm worker, or NULL */
  PipelineHeartbeat *heartbeat; /* takes the progress; or NULL */
  const gchar *state_directory; /* where training checkpoints live; or NULL: none are kept */
} PipelineJobContext;

typedef struct {
  const gchar *kind;
  const gchar *summary;
  gboolean warm; /* runs inside the worker; else in `kedge job run ID` */
  /* Options of a kind that can be started by hand: ends with name NULL; NULL: only the leader asks for it. */
  const PipelineJobField *fields;
  /* Whether the options of a spec are whole and possible, before any row is read; NULL: not looked at. */
  gboolean (*check)(const json_t *spec, GError **error);
  /* Does the work and finishes the job (registry_job_finish) in the transaction that stores its outcome. FALSE: the
   * caller decides by the error whether the job failed, was cancelled, or goes back to the queue. */
  gboolean (*run)(PipelineJobContext *context, GError **error);
} PipelineJobKind;

extern const PipelineJobKind *const pipeline_job_kinds[]; /* NULL-terminated */
const PipelineJobKind *pipeline_job_kind_find(const gchar *kind);

/* Runs the context's job and settles what its kind leaves open: bad data, a bad model or a bad spec end it as "failed"
 * (TRUE); a cancelled one as "cancelled" (TRUE); what may pass (store not available, stopped worker) is an error
 * (FALSE) and the job stays claimed, for the worker to put back. */
gboolean pipeline_job_execute(PipelineJobContext *context, GError **error);

typedef struct {
  const gchar *store_uri;       /* for the heartbeat's own connection */
  const gchar *state_directory; /* training checkpoints; NULL: none are kept */
  guint heartbeat_ms;           /* 0: 10000 */
} PipelineJobRunOptions;
/* `kedge job run ID`: heartbeat thread, limits, progress, the kind's run; the claim's token comes from the caller. Sets
 * limits of this process (no core dumps; it dies with the process that started it). `stop`: SIGTERM arrived. */
gboolean pipeline_job_run(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *id, gint64 token,
                          const PipelineJobRunOptions *options, GCancellable *stop, GError **error);
/* ARTIFACTS/../jobs, where job run and worker keep checkpoints (new). */
gchar *pipeline_job_state_directory(const gchar *artifacts);

typedef struct {
  const gchar *store_uri, *artifacts, *name; /* name: unique among live workers, e.g. host:pid; a worker that is started
                                                again under its former name takes its orphaned jobs back at once */
  const gchar *program;                      /* path of `kedge` for exec of job run; the settings path to hand on */
  const gchar *settings_path;                /* NULL: none */
  guint poll_ms;                             /* between looks at the queue when idle */
  guint heartbeat_ms, lost_ms;               /* 10 s, 30 s */
  guint kill_ms;                             /* TERM, then KILL after this; 0: 30 s */
  gboolean once;                             /* end when the queue is empty and nothing runs */
} PipelineWorkerOptions;
/* Claims and runs jobs until `stop` is cancelled. Rescues jobs whose heartbeat stands still. Warm jobs go on while one
 * exec'd job runs. */
gboolean pipeline_worker_run(const PipelineWorkerOptions *options, GCancellable *stop, GError **error);

/* {"inputs": [{"name", "type", "dimensions"}], "outputs": […]} of an ONNX model (new): what a version's tag "signature"
 * holds, from which the targets write their configuration. */
gchar *pipeline_job_signature(GBytes *onnx, GError **error);

/* Run time predicted from the newest finished jobs of the kind: median seconds a row times rows, in microseconds; 0:
 * nothing to go by. */
gint64 pipeline_job_predict_us(RegistryStore *store, const gchar *kind, guint64 rows, GError **error);

G_END_DECLS
