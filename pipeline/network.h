/* A dense network in memory: what training, refitting and attacks compute with. It is a chain of layers whose numbers
 * come from an ONNX graph (pipeline/network_graph.h) and go back into it. Rows are row-major float32 throughout.
 *
 *     g_autoptr(PipelinePass) pass = pipeline_pass_new(network, backend, 128, &error);
 *     const float *outputs = pipeline_pass_forward(pass, x, n, &error);              // logits or values
 *     double loss = pipeline_loss_evaluate(&network->loss, outputs, targets, NULL, n, gradient);
 *     pipeline_pass_backward(pass, gradient, parameter_gradient, NULL, &error);
 */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

/* --- activations: one table, network_activation.c ------------------------------------------------------------------
 */

typedef struct {
  const gchar *op_type;     /* ONNX operator of the default domain */
  const gchar *approximate; /* value of the attribute of that name that this row computes, or NULL: it has none */
  const gchar *alpha_name;  /* its attribute, or NULL */
  float alpha_default;
  double (*value)(double x, double alpha);                /* the specification */
  double (*derivative)(double x, double y, double alpha); /* at x, where y = value(x) */
} PipelineActivation;
extern const PipelineActivation pipeline_activations[]; /* ends with op_type NULL */
/* approximate NULL: exact. NULL: none. */
const PipelineActivation *pipeline_activation_find(const gchar *op_type, const gchar *approximate);

/* --- layers ------------------------------------------------------------------------------------------------------- */

typedef enum {
  PIPELINE_LAYER_DENSE,     /* y = x Wᵀ + b */
  PIPELINE_LAYER_AFFINE,    /* y = x ⊙ scale + shift; frozen (an inference BatchNormalization, a rescaled output) */
  PIPELINE_LAYER_ACTIVATION /* y = f(x) */
} PipelineLayerKind;

typedef struct {
  PipelineLayerKind kind;
  guint n_in, n_out;
  gboolean has_bias;    /* DENSE */
  gsize weight_offset;  /* DENSE: of W [n_out, n_in] in parameters */
  gsize bias_offset;    /* DENSE with bias: of b [n_out] in parameters */
  float *scale, *shift; /* AFFINE: [n_out], owned */
  const PipelineActivation *activation;
  float alpha;
} PipelineLayer;

/* --- the loss at the end ------------------------------------------------------------------------------------------ */

typedef enum {
  PIPELINE_LOSS_SOFTMAX,
  PIPELINE_LOSS_SIGMOID,
  PIPELINE_LOSS_SQUARED,
  PIPELINE_LOSS_QUANTILE /* of trees alone (pipeline/tree_quantile.h) */
} PipelineLossKind;

typedef struct {
  PipelineLossKind kind;
  guint n_outputs;     /* SOFTMAX: classes; QUANTILE: quantiles, 1 or 3; else 1 */
  double target_scale; /* SQUARED: loss is ((y - t) / target_scale)². QUANTILE: targets are in units of it */
  double quantiles[3]; /* QUANTILE: the pinball losses of the outputs for these shares are added */
} PipelineLoss;

/* Mean loss over n rows weighted by row_weights (NULL: all 1). outputs [n, n_outputs] are what the last layer gives:
 * logits for the classifiers. targets [n]: class index, 0/1 for SIGMOID, or the value. gradient [n, n_outputs] of the
 * mean, or NULL. */
double pipeline_loss_evaluate(const PipelineLoss *loss, const float *outputs, const float *targets,
                              const float *row_weights, guint n, float *gradient);
/* Each row's own loss into losses [n]. */
void pipeline_loss_rows(const PipelineLoss *loss, const float *outputs, const float *targets, guint n, double *losses);
/* Accuracy, or -rmse: larger is better. */
double pipeline_loss_metric(const PipelineLoss *loss, const float *outputs, const float *targets,
                            const float *row_weights, guint n);

/* --- the network -------------------------------------------------------------------------------------------------- */

typedef struct {
  guint n_inputs;    /* width of the feature matrix */
  GArray *layers;    /* of PipelineLayer */
  float *parameters; /* [n_parameters]: the trainable numbers of every DENSE layer, in layer order */
  gsize n_parameters;
  PipelineLoss loss;
} PipelineNetwork;

PipelineNetwork *pipeline_network_new(guint n_inputs);
void pipeline_network_free(PipelineNetwork *network);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineNetwork, pipeline_network_free)
guint pipeline_network_get_width(const PipelineNetwork *network); /* of the last layer so far */
const PipelineLayer *pipeline_network_get_layer(const PipelineNetwork *network, guint index);
/* weight [n_out, n_in] and bias [n_out] (NULL: the layer has none) are copied. */
void pipeline_network_add_dense(PipelineNetwork *network, guint n_out, const float *weight, const float *bias);
/* scale and shift [width] are copied. */
void pipeline_network_add_affine(PipelineNetwork *network, const float *scale, const float *shift);
void pipeline_network_add_activation(PipelineNetwork *network, const PipelineActivation *activation, float alpha);

/* --- who computes: one table, network_backend.c ------------------------------------------------------------------- */

/* One instance serves one network in one thread. Weights are the plain W [n_out, n_in]. */
typedef struct {
  const gchar *name, *summary;
  gpointer (*open)(GError **error);
  void (*close)(gpointer state);
  /* y [n, n_out] = x [n, n_in] Wᵀ + b; bias may be NULL. `index` tells layers apart for what is cached. */
  gboolean (*dense_forward)(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                            const float *weight, const float *bias, float *y, GError **error);
  /* From dy [n, n_out]: dx [n, n_in] unless NULL; dweight, dbias unless NULL (both or dweight alone). */
  gboolean (*dense_backward)(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                             const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                             GError **error);
  gboolean (*activation_forward)(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                 float *y, GError **error);
  /* dx may be dy. */
  gboolean (*activation_backward)(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                  const float *y, const float *dy, float *dx, GError **error);
} PipelineNetworkBackend;

extern const PipelineNetworkBackend *const pipeline_network_backends[]; /* best first, NULL-terminated */
extern const PipelineNetworkBackend pipeline_network_backend_reference;
/* name NULL: the first of the table that opens on this machine. */
const PipelineNetworkBackend *pipeline_network_backend_find(const gchar *name, GError **error);

/* --- forward and backward ----------------------------------------------------------------------------------------- */

/* The buffers of one batch; borrows the network. */
typedef struct _PipelinePass PipelinePass;
PipelinePass *pipeline_pass_new(const PipelineNetwork *network, const PipelineNetworkBackend *backend, guint max_rows,
                                GError **error);
void pipeline_pass_free(PipelinePass *pass);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelinePass, pipeline_pass_free)
guint pipeline_pass_get_max_rows(const PipelinePass *pass);
/* x [n, n_inputs], n <= max_rows; x must stay until backward. Returns the last layer's values, borrowed until the next
 * forward, or NULL. */
const float *pipeline_pass_forward(PipelinePass *pass, const float *x, guint n, GError **error);
/* The input [n, n_in] of layer `index` in the last forward; borrowed. */
const float *pipeline_pass_get_layer_input(const PipelinePass *pass, guint index);
/* After forward. output_gradient [n, n_outputs]; parameter_gradient [n_parameters] and input_gradient [n, n_inputs]
 * are set unless NULL. */
gboolean pipeline_pass_backward(PipelinePass *pass, const float *output_gradient, float *parameter_gradient,
                                float *input_gradient, GError **error);

G_END_DECLS
