/* What a model is worth on labelled rows, and how two compare on the same rows. */
#pragma once

#include "drift/window.h"
#include "pipeline/model.h"

G_BEGIN_DECLS

typedef struct {
  guint64 n;
  double accuracy, auc, log_loss, balanced_accuracy; /* NaN: undefined */
  double mae, rmse;
  double robust_accuracy; /* under PGD at robust_epsilon; NaN: not measured */
  double robust_epsilon;
  gchar *robust_undefined;               /* why PGD cannot be measured (regression, no gradients, …), or NULL */
  double latency_p50_us, latency_p99_us; /* one row at a time; NaN: not measured */
  double disparate_impact_worst;         /* NaN: undefined or no sensitive features */
  gchar *disparate_impact_group;         /* "race=African-American vs Caucasian" or NULL */
} PipelineEvaluation;
void pipeline_evaluation_clear(PipelineEvaluation *evaluation);

gboolean pipeline_evaluate(PipelineModel *model, const DriftTable *table, PipelineEvaluation *evaluation,
                           GError **error);
/* L-infinity PGD in units of each feature's standard deviation in `table`, once against the cross-entropy and once
 * against the margin: rows that both leave right count. Fills robust_*.
 * A model that cannot be attacked is no error: robust_accuracy is NaN and robust_undefined says why. */
gboolean pipeline_evaluate_robustness(PipelineModel *model, const DriftTable *table, double epsilon, guint steps,
                                      guint64 seed, PipelineEvaluation *evaluation, GError **error);
#define PIPELINE_EVALUATION_LATENCY_ROWS 1000u /* that are timed, one at a time */
gboolean pipeline_evaluate_latency(PipelineModel *model, const DriftTable *table, PipelineEvaluation *evaluation,
                                   GError **error);

/* Paired bootstrap of the mean difference challenger - champion of a per-row score (accuracy 0/1; -squared error). */
typedef struct {
  guint64 n;
  double champion, challenger, gain, low, high; /* means and the percentile interval of the gain */
  double confidence;
} PipelineComparison;
gboolean pipeline_compare(PipelineModel *champion, PipelineModel *challenger, const DriftTable *table,
                          double confidence, guint64 seed, PipelineComparison *comparison, GError **error);
/* The same of scores [n] that are known already. */
void pipeline_compare_scores(const double *champion, const double *challenger, gsize n, double confidence, guint64 seed,
                             PipelineComparison *comparison);

G_END_DECLS
