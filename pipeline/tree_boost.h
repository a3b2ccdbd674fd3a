/* The boosting loop on matrices: rounds, validation, early stopping. It knows nothing of tables and graphs.
 *
 * Rounds come in stretches of PIPELINE_TREE_STRETCH. Each stretch is a booster of its own that starts from the raw
 * outputs so far (XGBoost's base margin); at its end its trees join the ensemble. So a training that continues from a
 * checkpoint, or from an ONNX model, is the same as one that went on, bit for bit: XGBoost's generator begins anew each
 * round (seed_per_iteration) and its column sampler with each booster. */
#pragma once

#include "pipeline/network.h"
#include "pipeline/tree_ensemble.h"
#include "pipeline/tree_options.h"

G_BEGIN_DECLS

#define PIPELINE_TREE_STRETCH 50

/* Rows side by side; borrowed. */
typedef struct {
  const float *x;                 /* [n, n_columns] */
  const float *targets, *weights; /* [n]; weights NULL: all 1 */
  gsize n;
} PipelineTreeSet;

/* Everything that changes from round to round. */
typedef struct {
  guint round;                   /* finished, without those of the model it started from */
  guint best_round;              /* on the validation rows; 0: none, or the model it started from */
  double best_loss, best_metric; /* NaN: no validation rows */
  double train_loss, validation_loss, validation_metric; /* of the last round; train_loss is measured every 25th, NaN
                                                            else */
  gboolean finished;
} PipelineTreeState;

typedef struct _PipelineTreeBoost PipelineTreeBoost;
/* start (taken): an ensemble with at least base values. monotone: XGBoost's "(1,0,-1)" or NULL. train and validation (n
 * 0: none) are read now and at a resume only; they must outlive it. loss: of raw outputs. */
PipelineTreeBoost *pipeline_tree_boost_new(const PipelineTreeSet *train, const PipelineTreeSet *validation,
                                           const PipelineLoss *loss, const PipelineTreeOptions *options,
                                           const gchar *monotone, guint64 seed, PipelineTreeEnsemble *start,
                                           GError **error);
void pipeline_tree_boost_free(PipelineTreeBoost *boost);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTreeBoost, pipeline_tree_boost_free)
const PipelineTreeState *pipeline_tree_boost_get_state(const PipelineTreeBoost *boost);
/* The ensemble and the state at the end of the last whole stretch: what a checkpoint keeps. Borrowed. */
const PipelineTreeEnsemble *pipeline_tree_boost_get_ensemble(const PipelineTreeBoost *boost, PipelineTreeState *state);
/* Goes on from a checkpoint (ensemble taken). */
void pipeline_tree_boost_resume(PipelineTreeBoost *boost, PipelineTreeEnsemble *ensemble,
                                const PipelineTreeState *state);
/* One round; FALSE with error. Not after state->finished. */
gboolean pipeline_tree_boost_round(PipelineTreeBoost *boost, GError **error);
/* After the last round: the trees up to the best round (all without validation rows). New. */
PipelineTreeEnsemble *pipeline_tree_boost_steal_result(PipelineTreeBoost *boost);

G_END_DECLS
