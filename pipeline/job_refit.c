/* "refit": only the last linear layer of a version, in closed form: milliseconds, the quick first model of a new world.
 */
#include "pipeline/job_training.h"

static gboolean learn(PipelineTraining *training, GError **error)
{
  double penalty = 1;
  if (!pipeline_job_spec_real(training->spec, "penalty", 0, 1e12, &penalty, error)) return FALSE;
  if (training->from == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "a refit needs \"from\" in its spec: the version whose last layer is fitted again");
    return FALSE;
  }
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
