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
  /* The cross-entropy's gradient vanishes where a model is sure, the margin's does not: the worst of both counts. */
  const PipelineAttackLoss losses[] = {PIPELINE_ATTACK_CROSS_ENTROPY, PIPELINE_ATTACK_MARGIN};
  PipelineRobustness robustness[G_N_ELEMENTS(losses)] = {{0}};
  g_autoptr(GError) reason = NULL;
  gboolean measured = TRUE;
  for (guint i = 0; measured && i < G_N_ELEMENTS(losses); i++) {
    options.loss = losses[i];
    measured = pipeline_robustness_measure(model, table, &options, &robustness[i], &reason);
  }
  gboolean failed = !measured && !g_error_matches(reason, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED);
  if (failed) g_propagate_error(error, g_steal_pointer(&reason));
  if (!failed) {
    const PipelineRobustness *const both[] = {&robustness[0], &robustness[1]};
    evaluation->robust_accuracy =
        measured ? (double)pipeline_robustness_count_worst(both, 2) / (double)robustness[0].n : NAN;
    evaluation->robust_epsilon = epsilon;
    g_free(evaluation->robust_undefined);
    evaluation->robust_undefined = measured ? NULL : g_strdup(reason->message);
  }
  for (guint i = 0; i < G_N_ELEMENTS(losses); i++) pipeline_robustness_clear(&robustness[i]);
  return !failed;
}
