/* Losses and optimisers that a backend with memory of its own computes there, so that a training step waits for
 * nothing: the table behind PipelineGradientBackend.graph. All pointers are memory of the device unless they say host.
 */
#pragma once

#include "pipeline/gradient.h"
#include "pipeline/graph_loss.h"
#include "pipeline/graph_optimiser.h"

G_BEGIN_DECLS

/* One head: the loss of a batch, times `weight`, into a slot; its gradient. */
typedef struct {
  const PipelineGraphLoss *loss;
  const PipelineGraphLossOptions *options; /* host; its arrays are replaced by the two below */
  const float *class_weights, *quantiles;  /* [width] or NULL */
  const float *outputs, *targets;          /* [n, width], [n, n_targets] */
  const float *row_weights;                /* [n] or NULL */
  float *gradient;                         /* [n, width] */
  double weight;
  gsize n, width, n_targets, first_target;
  gboolean add;    /* to the loss in the slot: not the first head */
  gboolean scaled; /* the gradient is times the device's scale */
} PipelineGraphDeviceLoss;

/* A step for all parameters at once; the norm of g before it is clipped into the slot. Nothing changes unless loss and
 * norm in the slot are finite. */
typedef struct {
  const PipelineOptimiser *optimiser;
  const PipelineOptimiserOptions *options; /* host */
  gsize n;
  float *w, *m, *v;
  const float *g;
  const guint8 *decays; /* [n]: regularised */
  double clip_norm, clip_value;
  guint growth_steps; /* > 0: g is times the scale, which follows pipeline/graph_fit_scale.h; 0: it is not */
} PipelineGraphDeviceUpdate;

/* What changes from step to step. */
typedef struct {
  const PipelineOptimiserOptions *options; /* host */
  double rate;
  guint64 step; /* from 1 */
  guint slot;   /* of its results */
} PipelineGraphDeviceStep;

/* Bytes: kept from forward to backward; workspace that all nodes share. */
typedef struct {
  gsize kept, workspace;
} PipelineGraphNeed;

typedef struct _PipelineGraphDevice {
  guint group, n_groups; /* slots are numbered from 0; group · n_groups of them, a group is sent at once */
  gboolean (*supports)(const PipelineGraphLoss *loss, const PipelineOptimiser *optimiser);
  gboolean (*begin)(gpointer device, const PipelineGraphDeviceStep *step, GError **error); /* before the other two */
  gboolean (*loss)(gpointer device, const PipelineGraphDeviceLoss *loss, GError **error);
  gboolean (*update)(gpointer device, const PipelineGraphDeviceUpdate *update, GError **error);
  gboolean (*set_scale)(gpointer device, double scale, guint64 steps, GError **error); /* steps: since it changed */
  /* to = (1 − share) to + share from */
  gboolean (*average)(gpointer device, float *to, const float *from, float share, gsize n, GError **error);
  gboolean (*send)(gpointer device, guint group, GError **error); /* queues the copy of a group's results */
  /* Waits for it: loss and norm of each slot of the group; host. */
  gboolean (*receive)(gpointer device, guint group, double (*results)[2], GError **error);
  /* What is queued the same way each time: between the two it is only recorded (copies between the memories and new
   * memory are refused); then it is replayed, as long as `changes` has the number it had at the end. */
  guint64 (*changes)(gpointer device);
  gboolean (*record_begin)(gpointer device, GError **error);
  gpointer (*record_end)(gpointer device, GError **error); /* NULL: failed */
  gboolean (*replay)(gpointer device, gpointer recording, GError **error);
  void (*forget)(gpointer device, gpointer recording);
  /* Memory that a node takes beside its values and their gradients, at the shapes of its last forward with `growth`
   * times as many rows. */
  void (*need)(PipelineGradientCall *call, double growth, PipelineGraphNeed *need);
  /* Before a replay, in the order of the nodes: what the node's forward would copy to the device or draw afresh. */
  gboolean (*refresh)(PipelineGradientCall *call, GError **error);
} PipelineGraphDevice;

G_END_DECLS
