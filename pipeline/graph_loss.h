/* Losses of a head of a graph: one visible table (graph_loss.c). Sums run in double. */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct _PipelineGraphLoss PipelineGraphLoss;

typedef struct {
  double label_smoothing;          /* ε in [0, 1): of the target's probability, shared by all classes */
  double focal_gamma;              /* ≥ 0; 2 */
  double huber_delta;              /* > 0; 1 */
  double target_scale;             /* squared, huber, quantile: differences are divided by it; 1 */
  const float *class_weights;      /* [width] or NULL: cross-entropy and focal by the target, binary by the output */
  const double *quantiles;         /* [width] each in (0, 1), for the quantile loss */
  double temperature, label_share; /* of pipeline_distil_loss (pipeline/distil.h) */
} PipelineGraphLossOptions;
void pipeline_graph_loss_options_init(PipelineGraphLossOptions *options);

struct _PipelineGraphLoss {
  const gchar *name, *summary;
  gboolean is_class; /* one target a row, the index of a class; else `width` of them (quantile: one) */
  gboolean one_target;
  /* Loss of one row; gradient [width] of it, or NULL. */
  double (*row)(const PipelineGraphLossOptions *options, const float *outputs, guint width, const float *targets,
                float *gradient);
  /* Merit of one row, larger is better: right or wrong, or minus the squared error. */
  double (*merit)(const float *outputs, guint width, const float *targets);
  const gchar *metric; /* what the mean of merits is called */
  guint extra_targets; /* a row, behind those of the outputs */
};

extern const PipelineGraphLoss pipeline_graph_losses[]; /* ends with name NULL */
/* INVALID lists the known ones. */
const PipelineGraphLoss *pipeline_graph_loss_find(const gchar *name, GError **error);
/* Targets a row for outputs of that width. */
guint pipeline_graph_loss_n_targets(const PipelineGraphLoss *loss, guint width);
/* Mean over n rows weighted by row_weights (NULL: all 1) and, for classes, class_weights. outputs [n, width], targets
 * [n, n_targets], gradient [n, width] of the mean or NULL. 0 when all weights are 0. */
double pipeline_graph_loss_evaluate(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options,
                                    const float *outputs, guint width, const float *targets, const float *row_weights,
                                    guint n, float *gradient);
/* The share that rows first to first + n have of the weights of `all` rows, which is what their mean counts in the mean
 * of all; 1 for all of them. targets [all, n_targets], of each row the first of this head first; row_weights [all] or
 * NULL. */
double pipeline_graph_loss_share(const PipelineGraphLoss *loss, const PipelineGraphLossOptions *options,
                                 guint n_targets, const float *targets, const float *row_weights, guint first, guint n,
                                 guint all);
/* Sum of weighted merits; *weight gets the sum of weights. */
double pipeline_graph_loss_merit(const PipelineGraphLoss *loss, const float *outputs, guint width, const float *targets,
                                 const float *row_weights, guint n, double *weight);

G_END_DECLS
