/* "refit": only the last linear layer of a version, in closed form: milliseconds, the quick first model of a new world.
 */
#include "pipeline/job_training.h"

#include "pipeline/tree_ensemble.h"

/* Trees have no last layer. A few hundred rows carry a small ensemble, which takes milliseconds too. */
#define FEW_ROWS_TREES "trees:depth=3,rounds=100"

static gboolean learn_trees(PipelineTraining *training, GError **error)
{
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = FEW_ROWS_TREES;
  options.seed = (guint64)training->seed;
  return pipeline_train(training->train, training->schema, &options, NULL, NULL, &training->trained, error);
}

static gboolean learn(PipelineTraining *training, GError **error)
{
  double penalty = 1;
  if (!pipeline_job_spec_real(training->spec, "penalty", 0, 1e12, &penalty, error)) return FALSE;
  if (!pipeline_training_need_from(training, "a refit", error)) return FALSE;
  if (pipeline_tree_onnx_is_ensemble(training->from)) return learn_trees(training, error);
  return pipeline_refit_last_layer(training->from, training->train, training->schema, penalty, NULL, &training->trained,
                                   error);
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  return pipeline_training_run(context, learn, error);
}

const PipelineJobKind pipeline_job_kind_refit = {
    .kind = "refit",
    .summary = "fit the last layer of a version again",
    .run = run,
};
