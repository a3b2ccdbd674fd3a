/* The parts of one training on a graph, shared by pipeline/graph_trainer*.c. */
#pragma once

#include "pipeline/graph_trainer.h"

G_BEGIN_DECLS

typedef struct {
  const PipelineGraphRows *rows;
  const PipelineGraphTrainOptions *options;
  OnnxGraph *graph;
  PipelineGraphPlan *plan;
  PipelineGraphHead head;
  PipelineGraphData data;
  guint64 *order;        /* training rows, then validation, then test; then the old rows, training ones first */
  PipelineSpill *joined; /* x of new rows and old ones; NULL: nothing is rehearsed */
  float *joined_targets;
  float *class_weights;
  double *harden_scale, *harden_low, *harden_high; /* [n_features]; NULL: no adversarial training */
  const PipelineGradientBackend *backend;
  PipelineGraphFit *fit;
  gchar *fingerprint, *environment, *written_in;
  GBytes *from; /* without its calibration, or NULL */
  PipelineCalibrationBefore before;
  double level, quantiles[3]; /* of an interval; level NaN: none */
  gchar *note;                /* why a faster backend is not used, or NULL */
  gint64 started, written;    /* monotonic microseconds */
  guint64 rows_done;          /* by this process */
} PipelineGraphTraining;

/* Loss, targets and weights of the output that is trained; INVALID or MODEL, saying what does not go together. */
gboolean pipeline_graph_training_prepare_head(PipelineGraphTraining *training, GError **error);
/* Units and ranges of adversarial training, from the training rows. */
void pipeline_graph_training_prepare_ball(PipelineGraphTraining *training, PipelineHardenOptions *harden);
/* With the fit made: a class output without Softmax or Sigmoid is taken as logits, probabilities made in another way
 * are refused; one quantile for each output, as the loss reads them. MODEL. */
gboolean pipeline_graph_training_check_logits(PipelineGraphTraining *training, GError **error);
gboolean pipeline_graph_training_check_quantiles(PipelineGraphTraining *training, GError **error);

G_END_DECLS
