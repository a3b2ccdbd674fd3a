/* What graph_fit.c (one batch) and graph_fit_epoch.c (ends of epochs) share. */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

#define PIPELINE_FIT_EVALUATION_ROWS 256u

typedef struct _PipelineFitDevice PipelineFitDevice;

struct _PipelineGraphFit {
  const OnnxGraph *graph;
  const PipelineGraphPlan *plan;
  const PipelineGraphHead *heads;
  guint n_heads;
  const PipelineGraphData *data;
  PipelineGraphFitOptions options;
  PipelineGraphFitState state;
  PipelineGraphPass *pass;
  PipelineFitDevice *device; /* losses and steps run there; NULL: here */
  gsize row_width;
  guint64 *order, *partner;                     /* [n_train], [batch] */
  float *x, *targets, *mixed_targets, *weights; /* of one batch */
  float *gradients;                             /* [n_parameters] */
  GPtrArray *head_gradients;                    /* of GArray* of float, by head */
};

/* Rows into x, targets, weights. */
void pipeline_graph_fit_gather(PipelineGraphFit *fit, const guint64 *rows, guint n);
gboolean pipeline_graph_fit_forward(PipelineGraphFit *fit, guint n, gboolean training, GError **error);
/* The results of a step of n rows, in the order of the steps; DIVERGED when they are not finite. */
gboolean pipeline_graph_fit_count(PipelineGraphFit *fit, guint n, guint64 step, double loss, double norm,
                                  GError **error);
/* Of the running mean of weights at this step, which it counts. */
float pipeline_graph_fit_average_decay(PipelineGraphFit *fit);
/* After the state was changed here: the device's copy follows. */
gboolean pipeline_graph_fit_push(PipelineGraphFit *fit, GError **error);
/* Statistics between the pass and `values`. */
gboolean pipeline_graph_fit_copy_statistics(PipelineGraphFit *fit, float *values, gboolean out, GError **error);
/* Validation, plateau, early stopping, monitors. */
gboolean pipeline_graph_fit_end_epoch(PipelineGraphFit *fit, GError **error);

G_END_DECLS
