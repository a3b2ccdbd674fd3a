/* Forward and backward through an ONNX graph: the plan of its nodes over numbered values, made once, run on any number
 * of rows.
 *
 *     g_autoptr(PipelineGraphPass) pass = pipeline_graph_pass_new(graph, &options, &error);
 *     pipeline_graph_pass_set_input(pass, 0, 2, (gint64[]){n, 20}, x, &error);
 *     pipeline_graph_pass_forward(pass, TRUE, &random, &error);
 *     const PipelineTensor *logits = pipeline_graph_pass_get_head(pass, 0);
 *     pipeline_graph_pass_backward(pass, (const float *[]){dlogits}, &error);
 *     const PipelineTensor *gradient = pipeline_graph_pass_get_gradient(pass, 0);    // of options.wanted[0]
 *
 * Memory grows to the largest batch and stays. One thread at a time.
 */
#pragma once

#include "pipeline/gradient.h"

G_BEGIN_DECLS

typedef struct _PipelineGraphPass PipelineGraphPass;

/* All borrowed while the pass is made. Names of values of the graph; NULL-terminated. */
typedef struct {
  const gchar *const *wanted; /* initialisers or float inputs whose gradients are asked for */
  const gchar *const *heads;  /* what is differentiated: float values */
  const PipelineGradientBackend *backend;
  PipelinePrecision precision;   /* of products; the backend must have them */
  const gchar *const *variables; /* float initialisers that change between forwards, without gradients; NULL: none */
} PipelineGraphPassOptions;

#define PIPELINE_GRAPH_MAX_BYTES ((guint64)8 << 30) /* of all values and gradients of one batch */

/* Borrows the graph, which must not change while the pass lives; call onnx_graph_simplify before. Nodes that no wanted
 * value reaches run as in prediction; those with constant inputs only, once. Errors (MODEL, UNSUPPORTED) name the node
 * that has no gradient on the way from a wanted value to a head. */
PipelineGraphPass *pipeline_graph_pass_new(const OnnxGraph *graph, const PipelineGraphPassOptions *options,
                                           GError **error);
void pipeline_graph_pass_free(PipelineGraphPass *pass);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineGraphPass, pipeline_graph_pass_free)

/* The tensor of graph->inputs[index], for the caller to fill: a host tensor (the next forward copies it where the
 * backend needs it). */
PipelineTensor *pipeline_graph_pass_get_input(PipelineGraphPass *pass, guint index);
/* The same for a float input: borrows data [product of dims] until the next call. */
gboolean pipeline_graph_pass_set_input(PipelineGraphPass *pass, guint index, guint n_dims, const gint64 *dims,
                                       const float *data, GError **error);
gsize pipeline_graph_pass_get_size(const PipelineGraphPass *pass, guint index); /* elements of wanted[index] */
/* From now on wanted[index] has its values in `values`, and backward leaves its gradient in `gradients`: host memory,
 * borrowed, [size]. The present values are copied there. A backend with memory of its own copies them in before each
 * forward and out after each backward. */
gboolean pipeline_graph_pass_bind(PipelineGraphPass *pass, guint index, float *values, float *gradients,
                                  GError **error);
/* The same in memory of the device (a backend with memory of its own), which the caller keeps and fills: nothing is
 * copied at each pass. The present values are copied there. */
gboolean pipeline_graph_pass_bind_device(PipelineGraphPass *pass, guint index, float *values, float *gradients,
                                         GError **error);
/* Copies a float initialiser out to values [its elements], or in from them: what training changes without a gradient
 * (running statistics). */
gboolean pipeline_graph_pass_copy_initialiser(PipelineGraphPass *pass, const gchar *name, float *values, gboolean out,
                                              GError **error);

/* options.variables[index] has these values from now on: host memory, borrowed (a backend with memory of its own copies
 * them now: call again when they have changed). */
gboolean pipeline_graph_pass_set_variable(PipelineGraphPass *pass, guint index, const float *values, GError **error);

/* From now on training batches are slices of what several processes compute; borrowed, NULL: no more. */
void pipeline_graph_pass_set_slice(PipelineGraphPass *pass, const PipelineGradientSlice *slice);
/* Called in backward as soon as the gradient of wanted[index] is complete (of a backend with memory of its own: after
 * all of them, when they are here). FALSE ends the backward with its error. NULL: nobody asks. */
typedef gboolean (*PipelineGraphPassReadyFunc)(guint index, gpointer data, GError **error);
void pipeline_graph_pass_set_ready(PipelineGraphPass *pass, PipelineGraphPassReadyFunc ready, gpointer data);

/* training: Dropout drops (by `random`), BatchNormalization uses and updates its statistics; else as in prediction. */
gboolean pipeline_graph_pass_forward(PipelineGraphPass *pass, gboolean training, PipelineRandom *random,
                                     GError **error);
/* heads[index] after forward; host memory, borrowed until the next forward. */
const PipelineTensor *pipeline_graph_pass_get_head(const PipelineGraphPass *pass, guint index);
/* After forward. head_gradients[i] [n elements of head i], host memory; NULL: zero. */
gboolean pipeline_graph_pass_backward(PipelineGraphPass *pass, const float *const *head_gradients, GError **error);
/* Of wanted[index] after backward, in host memory; NULL: it could not be copied there. */
const PipelineTensor *pipeline_graph_pass_get_gradient(PipelineGraphPass *pass, guint index);
/* Any value of the graph after forward, for monitors, in host memory; NULL: there is none. Of a Relu that only a
 * MaxPool reads, what the pool makes of it. */
const PipelineTensor *pipeline_graph_pass_get_value(PipelineGraphPass *pass, const gchar *name);

/* --- for a backend with memory of its own: heads and their gradients that stay there
 * ----------------------------------
 */

/* From now on forward leaves the heads on the device (get_head is not for use) until it is taken back. */
void pipeline_graph_pass_keep_heads(PipelineGraphPass *pass, gboolean keep);
/* heads[index] after forward, its elements in the memory of the device. */
const PipelineTensor *pipeline_graph_pass_get_device_head(const PipelineGraphPass *pass, guint index);
/* Where the gradient of heads[index] is to be written before backward is called with head_gradients NULL. */
float *pipeline_graph_pass_get_head_gradient(PipelineGraphPass *pass, guint index, GError **error);
gpointer pipeline_graph_pass_get_device(PipelineGraphPass *pass); /* what the backend's open made */
/* The input and the gradient of wanted[index] in the memory of the device, after a forward and a backward. */
float *pipeline_graph_pass_get_device_input(PipelineGraphPass *pass, guint index);
const float *pipeline_graph_pass_get_device_gradient(PipelineGraphPass *pass, guint index);
/* A forward and a backward were replayed behind the pass: copies of its values here are out of date. */
void pipeline_graph_pass_invalidate(PipelineGraphPass *pass);
/* All that a training forward computes here or copies in comes from the inputs, so that pipeline_graph_pass_refresh can
 * do it in front of a replay; else steps cannot be replayed. After a forward. */
gboolean pipeline_graph_pass_can_refresh(const PipelineGraphPass *pass);
/* Lets go of all memory that forward and backward take anew, and of what the device keeps for later. */
void pipeline_graph_pass_release(PipelineGraphPass *pass);
/* A piece of memory that a training step takes for the rows of the last forward. */
typedef enum { PIPELINE_PASS_VALUE, PIPELINE_PASS_GRADIENT, PIPELINE_PASS_KEPT } PipelinePassPieceKind;
typedef struct {
  PipelinePassPieceKind kind; /* kept: by a node from forward to backward */
  guint64 bytes;
} PipelinePassPiece;
/* All pieces but those of initialisers, in an order that does not depend on their sizes; new. For a backend with memory
 * of its own. */
GArray *pipeline_graph_pass_list_pieces(PipelineGraphPass *pass);
/* Bytes of workspace that a step needs for `growth` times the rows of the last forward. */
guint64 pipeline_graph_pass_find_workspace(PipelineGraphPass *pass, double growth);
/* A training forward makes the result of a row depend on the others of its batch. */
gboolean pipeline_graph_pass_uses_batch(const PipelineGraphPass *pass);
/* After pipeline_graph_pass_set_input, in the place of a training forward that is replayed or recorded next. */
gboolean pipeline_graph_pass_refresh(PipelineGraphPass *pass, PipelineRandom *random, GError **error);
/* Operators of this pass that the reference computed on copies so far, separated by commas; "" none. New. */
gchar *pipeline_graph_pass_list_mirrored(const PipelineGraphPass *pass);

G_END_DECLS
