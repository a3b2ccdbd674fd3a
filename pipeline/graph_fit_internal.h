/* What graph_fit.c (one batch) and graph_fit_epoch.c (ends of epochs) share. */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

#define PIPELINE_FIT_EVALUATION_ROWS 256u

typedef struct _PipelineFitDevice PipelineFitDevice;
typedef struct _PipelineFitParallel PipelineFitParallel;

struct _PipelineGraphFit {
  const OnnxGraph *graph;
  const PipelineGraphPlan *plan;
  const PipelineGraphHead *heads;
  guint n_heads;
  const PipelineGraphData *data;
  PipelineGraphFitOptions options;
  PipelineGraphFitState state;
  PipelineGraphPass *pass;
  const PipelineGradientBackend *backend;
  PipelineGraphMemory memory; /* rows 0: not known */
  PipelineFitDevice *device;  /* losses and steps run there; NULL: here */
  gsize row_width;
  guint64 n_order;                              /* rows of an epoch */
  guint64 *order, *partner;                     /* of an epoch before it is cut to n_order; [batch] */
  float *x, *targets, *mixed_targets, *weights; /* of one batch */
  float *gradients;                             /* [n_parameters] */
  float *sums;                                  /* of them over the passes of a batch; NULL: one pass a batch */
  GPtrArray *head_gradients;                    /* of GArray* of float, by head */
  PipelineHarden *harden;                       /* or NULL */
  PipelineFitParallel *parallel;                /* the other processes; NULL: there are none */
  gboolean wants_stop, is_stopped;
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
/* The input of n rows x [n, row_width] into a pass. */
gboolean pipeline_graph_fit_set_input(PipelineGraphFit *fit, PipelineGraphPass *pass, const float *x, guint n,
                                      GError **error);
/* Loss of head `index` after a forward of `pass`, and its gradient into head_gradients; share < 1: of mixed targets. */
double pipeline_graph_fit_evaluate_head(PipelineGraphFit *fit, PipelineGraphPass *pass, guint index, guint n,
                                        double share);
/* Forward, backward and step on the batch in x. Returns its loss before the step, *norm that of the gradient. NaN with
 * error set when a backend fails. */
double pipeline_graph_fit_learn(PipelineGraphFit *fit, guint n, double share, double *norm, GError **error);
/* After gradients are there: clips, steps. */
gboolean pipeline_graph_fit_update(PipelineGraphFit *fit, double loss, double *norm, GError **error);
/* Statistics between the pass and `values`. */
gboolean pipeline_graph_fit_copy_statistics(PipelineGraphFit *fit, float *values, gboolean out, GError **error);
/* Validation, plateau, early stopping, monitors. */
gboolean pipeline_graph_fit_end_epoch(PipelineGraphFit *fit, GError **error);

G_END_DECLS
