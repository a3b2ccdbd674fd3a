/* Accuracy under PGD, as evaluations of jobs and the gate know it (pipeline/robustness.h measures more). */
#include <math.h>

#include "pipeline/evaluate.h"
#include "pipeline/robustness.h"

gboolean pipeline_evaluate_robustness(PipelineModel *model, const DriftTable *table, double epsilon, guint steps,
                                      guint64 seed, PipelineEvaluation *evaluation, GError **error)
{
  if (!(epsilon > 0 && isfinite(epsilon)) || steps == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "an attack needs an epsilon above 0 and at least one step, not %g and %u", epsilon, steps);
    return FALSE;
  }
  PipelineRobustnessOptions options;
  pipeline_robustness_options_init(&options);
  options.range = PIPELINE_RANGE_NONE;
  options.epsilon = epsilon;
  options.attack.steps = steps;
  options.seed = seed;
  PipelineRobustness robustness = {0};
  g_autoptr(GError) reason = NULL;
  gboolean measured = pipeline_robustness_measure(model, table, &options, &robustness, &reason);
  if (!measured && !g_error_matches(reason, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED)) {
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
  }
  evaluation->robust_accuracy = measured ? (double)robustness.n_robust / (double)robustness.n : NAN;
  evaluation->robust_epsilon = epsilon;
  g_free(evaluation->robust_undefined);
  evaluation->robust_undefined = measured ? NULL : g_strdup(reason->message);
  pipeline_robustness_clear(&robustness);
  return TRUE;
}
