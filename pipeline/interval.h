/* Prediction intervals of regressions: three quantiles in one graph, in order by construction, with a margin that gives
 * their coverage a guarantee.
 *
 *     kedge.logits z [N, 3] ─▶ z₁ − softplus(z₀), z₁, z₁ + softplus(z₂) ─▶ in the label's units: kedge.quantiles [N, 3]
 *     ─▶ value = the median; lower = min(q₀ − margin, value); upper = max(q₂ + margin, value)
 *
 * The quantiles (1 − level) / 2, ½, (1 + level) / 2 are learnt by the pinball loss (Koenker and Bassett 1978). The
 * margin is the ⌈(n + 1) level⌉-th smallest of max(q₀ − y, y − q₂) over n validation rows (conformalised quantile
 * regression: Romano, Patterson and Candès 2019): when rows to come are exchangeable with those, the interval holds the
 * label with a probability of at least `level`. The rows of a stream that drifts are not exchangeable. Weights whose
 * best epoch was chosen on the same rows bend the guarantee a little.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_INTERVAL_KEY "kedge.interval" /* {"level", "margin", "rows"} */
#define PIPELINE_INTERVAL_QUANTILES "kedge.quantiles"

/* What follows "kedge.logits" [N, 3] of a new graph; outputs "value", "lower", "upper". Mean and standard deviation are
 * those of targets[rows[i]], i < n_rows. */
void pipeline_interval_add_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows,
                                double level);
/* The same where z are the three quantiles themselves, each learnt alone (of trees): the outer ones do not cross the
 * one in the middle. */
void pipeline_interval_add_plain_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows,
                                      double level);
/* Mean and standard deviation (1 where there is none) of those targets, as the heads have them. */
void pipeline_interval_moments(const float *targets, const guint64 *rows, guint64 n_rows, double *mean, double *sd);
/* The level that the graph says it has, or NaN. */
double pipeline_interval_get_level(const OnnxGraph *graph);
/* The three quantiles of a level. */
void pipeline_interval_quantiles(double level, double quantiles[3]);

/* A margin and what it was taken from. */
typedef struct {
  double level;                   /* NaN: no interval */
  double margin, coverage_before; /* share of the rows within the quantiles as they were learnt */
  guint64 n;
} PipelineInterval;
/* INVALID: the level does not lie between 0 and 1, or the schema has classes. */
gboolean pipeline_interval_check(double level, const DriftSchema *schema, GError **error);
/* The model with the margin that the rows of the table give. DATA: fewer than level / (1 − level) rows. */
GBytes *pipeline_interval_conformalise(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                                       PipelineInterval *interval, GError **error);

G_END_DECLS
