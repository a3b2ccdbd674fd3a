/* The training loop on a graph: batches of rows, losses of heads, optimiser steps, validation, monitors. It knows
 * nothing of tables and files. Bit for bit the same for the same inputs, seed, backend and machine, also across a stop
 * at any batch and a resume (pipeline/graph_checkpoint.h). */
#pragma once

#include "pipeline/graph_augment.h"
#include "pipeline/graph_loss.h"
#include "pipeline/graph_optimiser.h"
#include "pipeline/graph_pass.h"
#include "pipeline/graph_plan.h"
#include "pipeline/harden.h"

G_BEGIN_DECLS

/* Borrowed by a fit. */
typedef struct {
  const float *x; /* [n_rows, product of dims] */
  guint n_dims;   /* of one row, as the graph's input has it behind the batch */
  gint64 dims[ONNX_MAX_DIMENSIONS];
  const float *targets; /* [n_rows, n_targets] */
  guint n_targets;
  const float *weights;                     /* [n_rows] or NULL */
  const guint64 *train, *validation, *test; /* row numbers; test: only measured, nothing is chosen by them */
  guint64 n_rows, n_train, n_validation, n_test;
  const guint64 *old, *old_validation; /* rows to rehearse, and rows that tell what is forgotten; NULL: none */
  guint64 n_old, n_old_validation;
} PipelineGraphData;

/* One output that is learnt. */
typedef struct {
  const gchar *value; /* of the graph: logits or values [n, width] */
  const PipelineGraphLoss *loss;
  PipelineGraphLossOptions options;
  double weight;      /* of its loss in the sum */
  guint first_target; /* its first column in targets */
} PipelineGraphHead;

typedef enum { PIPELINE_AVERAGE_NONE, PIPELINE_AVERAGE_EMA, PIPELINE_AVERAGE_SWA } PipelineAverage;

typedef struct {
  guint epochs, batch_size;
  /* Rows of one pass at the most: the gradients of a batch's passes are added up, which gives the step of the whole
   * batch but for rounding and the masks of Dropout. 0: the whole batch, where the memory of a device has room for it.
   * Not for models that normalise over their batch. */
  guint micro_batch;
  gsize device_memory; /* bytes of a device that this training may take; 0: what is free */
  /* Of products: with bfloat16 weights and optimiser stay float32, and losses are scaled (pipeline/graph_fit_scale.h)
   */
  PipelinePrecision precision;
  double loss_scale;  /* the first one; 65536 */
  guint growth_steps; /* after so many good ones it doubles; 2000 */
  guint patience;     /* epochs without a better validation loss, of new or of old rows, before it stops; 0: no early
                       * stopping */
  double rehearsal_share; /* of each batch that is old rows (pipeline/rehearsal.h); .5 */
  guint64 row_visits;     /* at most, old rows too: fewer and shorter epochs; 0: as many as the epochs ask for */
  double learning_rate;
  const PipelineOptimiser *optimiser;
  PipelineOptimiserOptions optimiser_options;
  const PipelineSchedule *schedule;
  PipelineScheduleOptions schedule_options;
  double clip_norm, clip_value; /* 0: none */
  /* ema: w̄ = decay w̄ + (1 − decay) w each step (with the usual warm-up min(decay, (1 + t) / (10 + t))); swa: the mean
   * of the weights at the ends of epochs from average_start of the training on (Izmailov et al. 2018). Averaged weights
   * are what is validated and delivered; the running statistics are averaged alike. */
  PipelineAverage average;
  double average_decay, average_start;
  PipelineAugmentOptions augment;
  PipelineHardenOptions harden;
  /* Processes that make this fit together, all with the same data and options: each computes its slice of every batch,
   * and all have the weights of the whole one. NULL: this process alone. Borrowed. */
  PipelineCommunicator *communicator;
  /* After each step of the optimiser (number `step`, from 1), on the parameters as the plan lays them out: what
   * training must not undo, such as weights that were pruned. NULL: nothing. */
  void (*project)(const PipelineGraphPlan *plan, float *parameters, guint64 step, gpointer data);
  gpointer project_data;
  guint64 seed;
} PipelineGraphFitOptions;
void pipeline_graph_fit_options_init(PipelineGraphFitOptions *options);

/* Everything that changes: what a checkpoint keeps. Arrays [n_parameters] or [n_statistics]; NULL: not used. */
typedef struct {
  gsize n_parameters, n_statistics;
  float *parameters, *m, *v, *average, *best;
  float *statistics, *average_statistics, *best_statistics;
  guint64 steps, n_averaged;
  guint epoch;                   /* finished */
  guint64 position;              /* rows done in the present epoch */
  double epoch_loss;             /* sum over those rows */
  double epoch_norm;             /* sum of gradient norms of the present epoch's steps */
  double first_loss, first_norm; /* of the first epoch; NaN: not yet */
  double train_loss, validation_loss, validation_metric, test_loss, test_metric, gradient_norm,
      dead_share;              /* of the last epoch */
  double old_loss, old_metric; /* of the last epoch on the old validation rows; NaN: none */
  guint best_epoch;            /* 0: none yet; by the mean of the losses of new and old validation rows */
  double best_loss, best_metric, best_old_metric, plateau_loss;
  double least_loss, least_old_loss; /* ever, each for itself */
  guint improved_epoch;              /* the last one in which one of them fell */
  guint plateau_falls, plateau_epochs;
  /* Of adversarial training: loss and metric under PGD at the end of the last epoch, the best metric so far, that of
   * the best epoch, and the epoch in which the metric collapsed, which ended it (0: none); NaN: not measured. */
  double robust_loss, robust_metric, best_robust_metric, best_attacked_metric;
  guint collapsed_epoch;
  gsize n_perturbation;
  float *perturbation;                 /* of free adversarial training, from batch to batch */
  gboolean finished;                   /* early stopping has ended it */
  double loss_scale;                   /* 1: not used */
  guint64 epoch_skipped;               /* rows of the present epoch's steps without finite gradients */
  guint64 scaled_steps, skipped_steps; /* steps since it changed; steps without finite gradients, ever */
  guint micro_batch, evaluation_rows;  /* rows of a pass at the most, as asked for or as memory allows; 0: any */
  PipelineRandom random, epoch_random; /* now; when the present epoch began */
} PipelineGraphFitState;

/* Bytes of a device's memory that a training takes, estimated before it starts. */
typedef struct _PipelineGraphMemory {
  guint64 device; /* what the device keeps for itself: buffers of its libraries */
  guint64 weights, gradients, optimiser;
  guint64 activations, activation_gradients, kept; /* of one pass; kept: by operators from forward to backward */
  guint64 workspace;                               /* that all operators share */
  guint64 other;                                   /* constants of the graph, targets, row weights */
  guint64 total, available;
  guint rows, evaluation_rows; /* of a training pass, and of a chunk of rows that is measured */
} PipelineGraphMemory;

typedef struct _PipelineGraphFit PipelineGraphFit;
/* Borrows all but the options. heads: n_heads of them. */
PipelineGraphFit *pipeline_graph_fit_new(const OnnxGraph *graph, const PipelineGraphPlan *plan,
                                         const PipelineGraphHead *heads, guint n_heads, const PipelineGraphData *data,
                                         const PipelineGraphFitOptions *options, const PipelineGradientBackend *backend,
                                         GError **error);
void pipeline_graph_fit_free(PipelineGraphFit *fit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineGraphFit, pipeline_graph_fit_free)
PipelineGraphFitState *pipeline_graph_fit_get_state(PipelineGraphFit *fit);
gboolean pipeline_graph_fit_is_finished(const PipelineGraphFit *fit);
double pipeline_graph_fit_learning_rate(const PipelineGraphFit *fit); /* of the next step */
guint pipeline_graph_fit_epochs(const PipelineGraphFit *fit);         /* that row_visits leave */
guint64 pipeline_graph_fit_epoch_rows(const PipelineGraphFit *fit);   /* rows that an epoch visits, old ones too */
/* One batch; the last one of an epoch also validates and watches (*epoch_done). With adversarial training the best
 * weights are those of the lowest loss under PGD on the validation rows, and a collapse of the accuracy under PGD ends
 * the training (pipeline/harden.h). DIVERGED, naming the reason: loss or
 * weights not finite, loss 10,000 times the first one, gradients 1,000,000 times those of the first epoch, gradients
 * that have vanished (below 1e-12 of them), a Relu layer of which every unit is dead. The best weights stay. */
gboolean pipeline_graph_fit_step(PipelineGraphFit *fit, gboolean *epoch_done, GError **error);
/* The training is to end after a batch. Several processes end after the same one: the next that they compute. */
void pipeline_graph_fit_ask_stop(PipelineGraphFit *fit);
gboolean pipeline_graph_fit_is_stopped(const PipelineGraphFit *fit);
/* Several processes have the same weights and the same place in the training; else INVALID on all of them. Called at
 * the end of each epoch, and to be called after a restore. */
gboolean pipeline_graph_fit_compare(PipelineGraphFit *fit, GError **error);
/* Before the state's arrays are read in the middle of an epoch: brings them here from a device. */
gboolean pipeline_graph_fit_pull(PipelineGraphFit *fit, GError **error);
/* The estimate for the passes that it began with; NULL: the backend has no memory of its own. */
const PipelineGraphMemory *pipeline_graph_fit_get_memory(const PipelineGraphFit *fit);
/* Steps so far that a device replayed from a recording. */
guint64 pipeline_graph_fit_get_replayed(const PipelineGraphFit *fit);
/* After a checkpoint was read into the state: makes memory agree with it. */
gboolean pipeline_graph_fit_restore(PipelineGraphFit *fit, GError **error);
/* The best weights on the validation rows, else the averaged, else the last ones. Borrowed. */
const float *pipeline_graph_fit_get_result(const PipelineGraphFit *fit, const float **statistics);
/* Loss and metric of the delivered weights (pipeline_graph_fit_get_result) on given rows. */
gboolean pipeline_graph_fit_measure(PipelineGraphFit *fit, const guint64 *rows, guint64 n, double *loss, double *metric,
                                    GError **error);
/* Outputs of head 0 for the given rows [n, width of head], as in prediction with the present weights; appended. */
gboolean pipeline_graph_fit_predict(PipelineGraphFit *fit, const guint64 *rows, guint64 n, GArray *outputs,
                                    GError **error);

G_END_DECLS
