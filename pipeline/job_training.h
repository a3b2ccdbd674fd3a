/* What "retrain" and "refit" share: load the rows, let a learner make ONNX, judge it on held-out rows, register it. */
#pragma once

#include "pipeline/data_range.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/job_fields.h"
#include "pipeline/job_internal.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

#define PIPELINE_TRAINING_MIN_ROWS 20 /* usable rows of "data" below which a job fails */

typedef struct _PipelineTraining PipelineTraining;

/* Makes training->trained from training->train (and training->from). */
typedef gboolean (*PipelineLearner)(PipelineTraining *training, GError **error);
/* The stages of a job that are its kind's own. */
typedef struct {
  gboolean (*load)(PipelineTraining *training, GError **error);
  PipelineLearner learn;
  gboolean (*judge)(PipelineTraining *training, GError **error);
  /* Of a kind that makes no version: what else is stored in the transaction that ends the job; or NULL. */
  gboolean (*settle)(PipelineTraining *training, GError **error);
  gpointer own; /* into training->own */
} PipelineTrainingStages;

struct _PipelineTraining {
  PipelineJobContext *context;
  json_t *spec;
  const gchar *model; /* borrowed from spec or job */
  DriftSchema *schema;
  GBytes *from, *champion; /* ONNX of the versions named; NULL: none */
  gint64 from_version, champion_version;
  gint64 seed;
  double holdout_fraction, confidence, robust_epsilon;
  gint64 robust_steps;
  GArray *data, *rehearsal;    /* of PipelineDataRange */
  DriftTable *train, *holdout; /* rehearsal rows, then the early rows; the last rows in time */
  guint64 n_data, n_unusable;  /* usable and unusable rows of data and rehearsal together */
  PipelineTrainResult trained;
  gboolean unchanged;   /* a kind's judge: no version is worth making; the job is done without one */
  gboolean judges_from; /* a learner: the version it began with is judged on the same rows, too */
  json_t *evaluation;   /* {"comparison", "champion", "challenger"} and what a kind adds to the result */
  json_t *results;      /* object: what a learner adds to the evaluation */
  gpointer own;         /* of a kind's stages; borrowed */
  gboolean (*settle)(PipelineTraining *training, GError **error); /* as in the stages */
  double seconds_load, seconds_train, seconds_evaluate;
};

/* The job from beginning to end with that learner, or with stages of its own. */
gboolean pipeline_training_run(PipelineJobContext *context, PipelineLearner learner, GError **error);
gboolean pipeline_training_run_stages(PipelineJobContext *context, const PipelineTrainingStages *stages,
                                      GError **error);

/* The stages: job_training_load.c, job_training_judge.c, job_training_register.c. */
gboolean pipeline_training_load(PipelineTraining *training, GError **error);
/* Its first half: the spec, the schema, the versions named. */
gboolean pipeline_training_read_spec(PipelineTraining *training, GError **error);
gboolean pipeline_training_judge(PipelineTraining *training, GError **error);
/* Instead of it: the evaluation says that nothing was measured. */
void pipeline_training_judge_nothing(PipelineTraining *training);
gboolean pipeline_training_register(PipelineTraining *training, GError **error);
/* The job ends with a result whose "version" is null. */
gboolean pipeline_training_finish_unchanged(PipelineTraining *training, GError **error);
/* The last `n` rows of the held-out ones (new), or NULL when that is all of them. */
DriftTable *pipeline_training_last_rows(const DriftTable *table, guint64 n);
/* A learner's call of a trainer that may find a checkpoint of an earlier attempt at that path (NULL: none are kept).
 * One that cannot be used (damaged, of another program version) costs the work it held, not the job. */
typedef gboolean (*PipelineTrainingCall)(PipelineTraining *training, gconstpointer options, GError **error);
gboolean pipeline_training_resume(PipelineTraining *training, const gchar *checkpoint, PipelineTrainingCall call,
                                  gconstpointer options, GError **error);
/* Tells the job's progress; FALSE when the job shall stop. user_data: the training. */
gboolean pipeline_training_tell(const PipelineTrainProgress *progress, gpointer user_data);
/* Trains options->from on against attacks, on its graph, into training->trained (job_harden.c). */
gboolean pipeline_training_harden(PipelineTraining *training, const PipelineGraphTrainOptions *options, GError **error);
/* The error says that the graph is none for these rows or this training; another trainer may do. */
gboolean pipeline_training_graph_refused(const GError *error);
/* A folder of the job for what its processes exchange, which outlives an attempt where checkpoints do; new. */
gchar *pipeline_training_make_folder(const PipelineTraining *training, const gchar *name, GError **error);
void pipeline_training_remove_folder(const gchar *folder); /* and the files in it; one without folders in it */
/* "from" must name a version; `what` needs it: "a refit". */
gboolean pipeline_training_need_from(const PipelineTraining *training, const gchar *what, GError **error);
/* {"stage", "fraction"} and what `members` (taken; may be NULL) adds. */
void pipeline_training_progress(PipelineTraining *training, const gchar *stage, double fraction, json_t *members);

G_END_DECLS
