/* The training loop on a feature matrix: Adam on shuffled mini-batches, validation, early stopping. It knows nothing of
 * tables and graphs. Bit for bit the same for the same inputs, seed and backend, also across a stop and a resume
 * (pipeline/trainer_checkpoint.h). */
#pragma once

#include "pipeline/attack_network.h"
#include "pipeline/network.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

/* Borrowed by a fit. */
typedef struct {
  const float *x;                    /* [n_rows, n_inputs] */
  const float *targets;              /* [n_rows] */
  const float *weights;              /* [n_rows] or NULL */
  const guint64 *train, *validation; /* row numbers */
  guint64 n_rows, n_train, n_validation;
} PipelineFitData;

typedef struct {
  guint epochs, batch_size, patience;
  double learning_rate, weight_decay;
  double adversarial_epsilon; /* 0: none */
  guint adversarial_steps;
  guint64 seed;
} PipelineFitOptions;

/* Everything that changes from epoch to epoch: what a checkpoint keeps. Arrays are [n_parameters]. */
typedef struct {
  gsize n_parameters;
  float *parameters; /* borrowed from the network */
  float *moment, *square, *best;
  guint64 steps;                                                     /* of Adam */
  guint epoch;                                                       /* finished */
  guint best_epoch;                                                  /* of `best`; 0: none yet */
  double best_loss, best_metric;                                     /* on the validation rows */
  double first_loss, train_loss, validation_loss, validation_metric; /* of the last epoch; NaN: none */
  gboolean finished;                                                 /* early stopping has ended it */
  PipelineRandom random;
} PipelineFitState;

typedef struct _PipelineFit PipelineFit;
/* space: what adversarial training may move; NULL without it. Trains network->parameters in place. */
PipelineFit *pipeline_fit_new(PipelineNetwork *network, const PipelineNetworkBackend *backend,
                              const PipelineFitData *data, const PipelineFitOptions *options,
                              const PipelineAttackSpace *space, GError **error);
void pipeline_fit_free(PipelineFit *fit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineFit, pipeline_fit_free)
PipelineFitState *pipeline_fit_get_state(PipelineFit *fit);
gboolean pipeline_fit_is_finished(const PipelineFit *fit);
/* One pass over the training rows. DIVERGED: the loss is not finite or exploded; `best` still holds the last good ones.
 */
gboolean pipeline_fit_epoch(PipelineFit *fit, GError **error);
double pipeline_fit_learning_rate(const PipelineFit *fit); /* of the next step */
/* Loss and metric (as in pipeline/trainer.h) of the network over rows of the data, each counted alike, by the
 * reference. */
gboolean pipeline_fit_measure(const PipelineNetwork *network, const PipelineFitData *data, const guint64 *rows,
                              guint64 n_rows, double *loss, double *metric, GError **error);
/* The best parameters on the validation rows, else the last. Borrowed. */
const float *pipeline_fit_get_result(const PipelineFit *fit);

G_END_DECLS
