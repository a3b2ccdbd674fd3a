/* What the oneDNN kernels of the gradient table share. dnnl.h is included here, in onednn.c and in backend_onednn.c
 * only: the C API of oneDNN 3 names its descriptions differently.
 *
 * A kernel makes a plan (primitives and the layouts that they want) for each shape it meets and keeps it with its node.
 * Activations travel between kernels in the layouts that primitives prefer, as dnnl_memory_desc_t of a plan; weights
 * and their gradients are plain.
 */
#pragma once

#include <dnnl.h>

#include "pipeline/gradient_internal.h"
#include "pipeline/onednn.h"

G_BEGIN_DECLS

typedef struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
} PipelineOnednn;

#define PIPELINE_ONEDNN_ARGUMENTS 8

/* A primitive and the memory objects of its arguments, whose shapes never change; handles are set at each run. */
typedef struct {
  dnnl_primitive_t primitive;
  dnnl_memory_t memories[PIPELINE_ONEDNN_ARGUMENTS];
} PipelineOnednnPrimitive;

/* A change of layout, made again only when its ends change. */
typedef struct {
  dnnl_memory_desc_t from, to;
  PipelineOnednnPrimitive change;
  gpointer buffer; /* for pipeline_onednn_convert */
  gsize capacity;
} PipelineOnednnReorder;

enum { REORDER_X, REORDER_W, REORDER_W_BACK, REORDER_X_BACK, REORDER_DY, REORDER_DY_WEIGHTS, REORDER_DW, N_REORDERS };

/* Primitives of one node at one shape. What a kernel has no use for stays NULL. */
typedef struct {
  dnnl_memory_desc_t given;                 /* the input it was made for */
  gint64 weights[ONNX_MAX_DIMENSIONS];      /* dimensions of the weights */
  guint flags;                              /* what else it depends on */
  dnnl_memory_desc_t x, w, b, y, workspace; /* as forward wants them */
  dnnl_memory_desc_t plain_w;
  dnnl_memory_desc_t dx, dx_w, dx_dy; /* as backward by data wants them */
  dnnl_memory_desc_t dw, dw_x, dw_dy; /* as backward by weights wants them */
  PipelineOnednnPrimitive forward, backward_data, backward_weights;
  PipelineOnednnReorder reorders[N_REORDERS];
} PipelineOnednnPlan;

gboolean pipeline_onednn_check(dnnl_status_t status, const gchar *what, GError **error);
/* The layout, or row by row when it is NULL. */
gboolean pipeline_onednn_describe(const PipelineTensor *tensor, gconstpointer layout, dnnl_memory_desc_t *shape,
                                  GError **error);
gboolean pipeline_onednn_describe_dims(guint n, const gint64 *dims, gboolean any, dnnl_memory_desc_t *shape,
                                       GError **error);
/* NULL when the tensor's layout is row by row already: what output_layouts take. */
gconstpointer pipeline_onednn_layout(const PipelineTensor *tensor, const dnnl_memory_desc_t *shape);

typedef gboolean (*PipelineOnednnMake)(const PipelineGradientCall *call, PipelineOnednnPlan *plan, GError **error);
/* The node's plan for an input of that layout, made by `make` where there is none yet; NULL with error. */
PipelineOnednnPlan *pipeline_onednn_plan_for(PipelineGradientCall *call, const dnnl_memory_desc_t *given, guint flags,
                                             PipelineOnednnMake make, GError **error);
/* For the layout that the first input has. */
PipelineOnednnPlan *pipeline_onednn_plan_of_input(PipelineGradientCall *call, guint flags, PipelineOnednnMake make,
                                                  GError **error);

/* `description` is an operation descriptor; hint is the forward one or NULL. New; NULL with error set. */
dnnl_primitive_desc_t pipeline_onednn_new_descriptor(const PipelineOnednn *onednn, gconstpointer description,
                                                     dnnl_primitive_desc_t hint, const gchar *what, GError **error);
/* Copies the layout that the primitive wants. */
void pipeline_onednn_query(dnnl_primitive_desc_t descriptor, dnnl_query_t what, dnnl_memory_desc_t *shape);

typedef struct {
  int argument;
  const dnnl_memory_desc_t *shape;
  gconstpointer data; /* the API has one non-const handle; NULL with a shape: left out */
} PipelineOnednnArgument;
gboolean pipeline_onednn_create(PipelineOnednnPrimitive *primitive, dnnl_primitive_desc_t descriptor, const gchar *what,
                                GError **error);
void pipeline_onednn_primitive_clear(PipelineOnednnPrimitive *primitive);
/* The same arguments in the same order in each run; at most PIPELINE_ONEDNN_ARGUMENTS. */
gboolean pipeline_onednn_execute(const PipelineOnednn *onednn, PipelineOnednnPrimitive *primitive,
                                 const PipelineOnednnArgument *arguments, guint n, GError **error);
/* data in layout `to`: itself, or a copy in the reorder's buffer that lives until its next use. NULL with error set. */
gconstpointer pipeline_onednn_convert(const PipelineOnednn *onednn, PipelineOnednnReorder *reorder,
                                      const dnnl_memory_desc_t *from, gconstpointer data, const dnnl_memory_desc_t *to,
                                      GError **error);
/* The same into given memory. */
gboolean pipeline_onednn_copy(const PipelineOnednn *onednn, PipelineOnednnReorder *reorder,
                              const dnnl_memory_desc_t *from, gconstpointer data, const dnnl_memory_desc_t *to,
                              gpointer into, GError **error);
/* Memory of the reorder for a result in layout `shape` that is copied elsewhere afterwards. */
gpointer pipeline_onednn_buffer(PipelineOnednnReorder *reorder, const dnnl_memory_desc_t *shape);

#define KERNEL(name) gboolean name(PipelineGradientCall *call, GError **error)
gboolean pipeline_onednn_supports_convolution(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_convolution_forward);
KERNEL(pipeline_onednn_convolution_backward);
/* The gradients of the weights are those of onednn_convolution_narrow.c. */
gboolean pipeline_onednn_is_narrow(const PipelineGradientCall *call, const PipelineOnednnPlan *plan);
/* x row by row, dy in the layout of the plan's y; dw row by row and db, or NULL. Takes the memories 1 and 2. */
gboolean pipeline_onednn_differentiate_narrow(PipelineGradientCall *call, const PipelineOnednnPlan *plan,
                                              const float *x, const float *dy, float *dw, float *db, GError **error);
gboolean pipeline_onednn_supports_pool(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_pool_forward);
KERNEL(pipeline_onednn_pool_backward);
/* A max pool by loops of our own (onednn_max_pool.c) computes this node in the layouts of the plan. */
gboolean pipeline_onednn_has_max_pool(const PipelineGradientCall *call, const PipelineOnednnPlan *plan);
/* Forward, dy NULL; or backward for dy in the layout of the plan's y. Places of the maxima are kept in memory 0. */
gboolean pipeline_onednn_max_pool(PipelineGradientCall *call, const PipelineOnednnPlan *plan, const float *dy,
                                  GError **error);
gboolean pipeline_onednn_supports_batch_normalization(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_batch_normalization_forward);
KERNEL(pipeline_onednn_batch_normalization_backward);
gboolean pipeline_onednn_supports_eltwise(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_eltwise_forward);
KERNEL(pipeline_onednn_eltwise_backward);
gboolean pipeline_onednn_supports_add(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_add_forward);
KERNEL(pipeline_onednn_add_backward);
gboolean pipeline_onednn_supports_gemm(const PipelineGradientCall *call);
KERNEL(pipeline_onednn_gemm_forward);
KERNEL(pipeline_onednn_gemm_backward);
#undef KERNEL

G_END_DECLS
