/* Training of a model on a table, ending in ONNX bytes. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/calibration.h"
#include "pipeline/clean.h"
#include "pipeline/communicator.h"
#include "pipeline/cuda_monitor.h"
#include "pipeline/interval.h"
#include "pipeline/reweigh.h"
#include "pipeline/split.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

/* Asked with the user_data of the progress: TRUE ends the training as a progress function that returns FALSE does. */
typedef gboolean (*PipelineTrainStopFunc)(gpointer user_data);

typedef struct {
  const gchar *architecture; /* "mlp:64,64", "trees", …; ignored when from is set, but for the options of trees */
  GBytes *from;              /* ONNX to fine-tune; NULL: from scratch */
  const gchar
      *backend; /* "onednn", "reference"; "cuda": on the graph (pipeline/trainer_fit_graph.h); NULL: best of the two */
  guint epochs, batch_size; /* 0: chosen from the number of rows (pipeline/README.md) */
  guint patience;           /* epochs without a better validation loss before it stops; 0: no early stopping */
  double learning_rate, weight_decay;
  /* Of architectures that are trained on the graph (pipeline/trainer_graph.h): the share of units that are dropped, 0:
   * none; and the size of a row as an image, 0: it is none. */
  double dropout;
  guint channels, height, width;
  /* The last rows (time order) unless shuffle_split; fewer than PIPELINE_MIN_VALIDATION of them: none. With validation
   * rows the weights of the best epoch on them are the result, else the last ones. */
  double validation_fraction;
  gboolean shuffle_split;
  double test_fraction;              /* only measures: the very last rows (of trees), or as `split` divides (of both) */
  const PipelineSplit *split;        /* how all rows are divided, instead of shuffle_split; NULL: see above */
  const PipelineCleanOptions *clean; /* of the training rows, after they were divided; NULL: none (pipeline/clean.h) */
  const PipelinePlan *plan;          /* transformations of a new model (pipeline/transform.h); NULL: the default ones */
  gboolean search_plan; /* instead of plan: it is searched for (pipeline/prepare_search.h) on the training rows */
  guint64 seed;
  const double *row_weights; /* [n_rows] or NULL */
  /* NULL, or NULL-terminated columns: row weights are multiplied by those that make label and group independent over
   * the training rows (pipeline/reweigh.h) */
  const gchar *const *reweigh;
  /* Of trees (pipeline/tree_trainer.h); others refuse them. */
  const gchar *const *monotone; /* "COLUMN=+1" or "COLUMN=-1", NULL-terminated; NULL: none */
  gboolean balanced;            /* classes count by the inverse of their frequency */
  double interval;              /* level of a prediction interval of a new regression (pipeline/interval.h); 0: none */
  double quantile;              /* the share of labels below the value of a new regression; 0: it is the mean */
  /* adversarial training: 0 = none. PGD, L-infinity on the numeric features in units of their standard deviations in
   * the table */
  double adversarial_epsilon;
  guint adversarial_steps;
  /* Path of a checkpoint to write and resume from, or NULL. Written when the training is stopped and, at the ends of
   * epochs, at most every checkpoint_seconds (0: after each epoch); it stays when the training is done, so that the
   * same call again gives the same result at once. The result does not depend on when it was written. */
  gchar *checkpoint;
  double checkpoint_seconds;
  /* Fitted to the validation rows (pipeline/calibration.h); what `from` has is fitted again unless it says "none". */
  PipelineCalibrationOptions calibration;
  PipelineTrainStopFunc stop; /* or NULL; asked after each epoch */
  /* The processes that train this together, each with the same call; then a network is trained on the graph
   * (pipeline/trainer_fit_graph.h). Borrowed; NULL: this one alone. */
  PipelineCommunicator *communicator;
} PipelineTrainOptions;
#define PIPELINE_MIN_VALIDATION 50
#define PIPELINE_ARCHITECTURE_AUTO "auto" /* of a retraining: as the champion */
void pipeline_train_options_init(PipelineTrainOptions *options);

typedef struct {
  guint epoch, epochs;
  guint64 rows_seen;
  double loss, validation_loss, validation_metric, learning_rate, samples_per_second, seconds;
  /* Of training on a graph (pipeline/graph_trainer.h); else NaN. */
  double test_loss, test_metric, gradient_norm, dead_share;
  double robust_metric; /* of adversarial training on a graph: the metric under PGD, on validation rows if there are */
  const PipelineCudaFigures *device;         /* at this moment; NULL: not trained on a CUDA device */
  const struct _PipelineGraphMemory *memory; /* of a device, estimated (pipeline/graph_fit.h); NULL: not known */
  guint micro_batch;                         /* rows of a pass; 0: whole batches */
  double loss_scale;                         /* of bfloat16; 0: float32 */
  guint64 skipped_steps;                     /* whose gradients were not finite */
} PipelineTrainProgress;
/* Returns FALSE to stop (cancel): the trainer leaves a checkpoint and fails with CANCELLED. */
typedef gboolean (*PipelineTrainProgressFunc)(const PipelineTrainProgress *progress, gpointer user_data);

typedef struct {
  GBytes *onnx;
  guint epochs, best_epoch;
  guint64 n_train, n_validation, n_skipped; /* skipped: rows whose label is missing or no class of the schema */
  double train_loss, validation_loss, validation_metric; /* accuracy, or -rmse */
  double seconds, samples_per_second;
  PipelineReweighing reweighing;   /* n_groups 0: none */
  PipelineCalibration calibration; /* n 0: none */
  PipelineInterval interval;       /* n 0: none */
  gchar *cleaning;                 /* report of pipeline_clean as JSON; or NULL */
  gchar *plan;                     /* of transformations as JSON (pipeline_plan_format), where there is one; or NULL */
  /* Of training on a graph, of trees or with a split; else 0, NaN, NULL. */
  guint64 n_test;
  double test_loss, test_metric;
  double robust_metric; /* of the delivered weights under PGD (pipeline/harden.h); NaN: no adversarial training */
  guint64 n_old, n_old_validation, row_visits; /* rehearsed rows; rows visited in all epochs */
  double old_validation_metric;                /* of the best epoch on the rows held back of the rehearsed ones */
  guint64 spilled_bytes; /* of the rows that lay in a temporary file (pipeline/spill.h); 0: all in memory */
  gchar *warning;        /* what the user should know about the result, or NULL */
  gchar *backend;        /* what computed: its name, library and version, instruction set or device; or NULL */
} PipelineTrainResult;
void pipeline_train_result_clear(PipelineTrainResult *result);

/* `result` is untouched on failure. DIVERGED leaves the last good checkpoint. */
gboolean pipeline_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                        PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                        GError **error);

/* Refits only the last linear layer of a model by ridge regression on the rows (targets ±1; pipeline/README.md):
 * milliseconds, a quick first model after a change. A calibration of the model is replaced by that of the refit itself,
 * a decision threshold is chosen anew by its rule, both on the same rows. */
gboolean pipeline_refit_last_layer(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, double penalty,
                                   const double *row_weights, PipelineTrainResult *result, GError **error);

G_END_DECLS
