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
  gboolean add; /* to the loss in the slot: not the first head */
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
  double rate, clip_norm, clip_value;
  guint64 step; /* from 1 */
} PipelineGraphDeviceUpdate;

typedef struct _PipelineGraphDevice {
  guint group, n_groups; /* slots are numbered from 0; group · n_groups of them, a group is sent at once */
  gboolean (*supports)(const PipelineGraphLoss *loss, const PipelineOptimiser *optimiser);
  gboolean (*loss)(gpointer device, const PipelineGraphDeviceLoss *loss, guint slot, GError **error);
  gboolean (*update)(gpointer device, const PipelineGraphDeviceUpdate *update, guint slot, GError **error);
  /* to = (1 − share) to + share from */
  gboolean (*average)(gpointer device, float *to, const float *from, float share, gsize n, GError **error);
  gboolean (*send)(gpointer device, guint group, GError **error); /* queues the copy of a group's results */
  /* Waits for it: loss and norm of each slot of the group; host. */
  gboolean (*receive)(gpointer device, guint group, double (*results)[2], GError **error);
} PipelineGraphDevice;

G_END_DECLS
