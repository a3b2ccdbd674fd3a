/* Everything else that `kedge evaluate` says of a model on labelled rows: what pipeline/evaluate.h does not need for a
 * gate. NaN: undefined, as each figure says. */
#pragma once

#include "pipeline/evaluate_metrics.h"
#include "pipeline/model.h"

G_BEGIN_DECLS

#define PIPELINE_RELIABILITY_BINS 15u

/* One class against all others. */
typedef struct {
  guint64 n, decided, right;     /* rows of the class, rows decided as it, both */
  double precision, recall, f1;  /* undefined without decided rows, without rows, without either */
  double auc, average_precision; /* of its probability; undefined without rows (auc: or without others) */
} PipelineClassFigures;

typedef struct {
  guint64 n;
  guint n_classes; /* 0: a regression */
  /* Classifiers. */
  double average_precision;     /* two classes: of the positive one */
  double precision, recall, f1; /* the same */
  double macro_f1;              /* mean over the classes whose F1 is defined */
  double brier; /* mean squared distance of the probabilities from the outcome (Brier 1950), with two classes that of
                 * the positive one alone */
  double ece, ece_equal_mass; /* pipeline_metric_ece over PIPELINE_RELIABILITY_BINS */
  PipelineReliabilityBin reliability[PIPELINE_RELIABILITY_BINS], reliability_equal_mass[PIPELINE_RELIABILITY_BINS];
  PipelineClassFigures *classes; /* [n_classes] */
  guint64 *confusion;            /* [n_classes, n_classes]: rows of class (row) decided as class (column) */
  /* Regressions. */
  double r2;   /* undefined with fewer than two rows or a label that does not vary */
  double mape; /* mean |error| / |label|, a share; undefined when a label is 0 */
  double median_absolute_error;
  /* Of an interval (pipeline/interval.h); level NaN: none. */
  double interval_level, interval_coverage, interval_width; /* share of labels within [lower, upper]; mean width */
  double pinball[3]; /* mean pinball loss of lower, value and upper as quantiles (1 − level) / 2, ½, (1 + level) / 2 */
} PipelineEvaluationDetail;
void pipeline_evaluation_detail_clear(PipelineEvaluationDetail *detail);

gboolean pipeline_evaluate_detail(PipelineModel *model, const DriftTable *table, PipelineEvaluationDetail *detail,
                                  GError **error);

G_END_DECLS
