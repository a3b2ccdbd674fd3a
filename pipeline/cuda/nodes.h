/* ONNX nodes as calls of the device's table: what the nodes_*.c share. In all of them float32 tensors are pointers into
 * the device's memory, other types lie in the memory of this process. */
#pragma once

#include "pipeline/cuda_plugin.h"
#include "pipeline/gradient_internal.h"
#include "pipeline/graph_device.h"

G_BEGIN_DECLS

/* What the backend's open makes: one for all passes of a thread. */
typedef struct {
  const PipelineCudaTable *table;
  PipelineCudaDevice *device;
  gint number;
  guint references; /* opened and not closed yet */
  guint64 changes;  /* of what nodes have copied there once and for all */
  gsize limit;      /* bytes that the pool holds at most; 0: any */
} PipelineCuda;

/* FALSE with the device's message: MEMORY when it lacks that, else UNSUPPORTED. */
gboolean pipeline_cuda_fail(const PipelineCuda *cuda, GError **error);

/* nodes_device.c: the backend's functions of these names. A device stays open, without the memory that nobody uses,
 * until its thread ends: CUDA's start takes longer than many trainings. */
gpointer pipeline_cuda_open(GError **error);
void pipeline_cuda_close(gpointer device);
gchar *pipeline_cuda_describe(void);
PipelineCudaMonitor *pipeline_cuda_open_monitor(void);

/* status: of a function of the table. FALSE with the device's message and the shape of the node's first input. */
gboolean pipeline_cuda_done(const PipelineGradientCall *call, int status, GError **error);
/* RUN(call, unary, …): calls a function of the table. */
#define PIPELINE_CUDA_RUN(call, function, ...)                                                                         \
  pipeline_cuda_done((call),                                                                                           \
                     ((const PipelineCuda *)(call)->device)                                                            \
                         ->table->function(((const PipelineCuda *)(call)->device)->device, __VA_ARGS__),               \
                     error)

#define PIPELINE_CUDA_BUFFERS 8
/* At least `bytes` bytes of the device, kept for this node; contents are lost when more is asked for. NULL: failed. */
gpointer pipeline_cuda_buffer(PipelineGradientCall *call, guint index, gsize bytes, GError **error);
/* Copies `data` there; nothing to do when the buffer has just these bytes already. */
gconstpointer pipeline_cuda_constant(PipelineGradientCall *call, guint index, gconstpointer data, gsize bytes,
                                     GError **error);
/* The same for what may be new in each step and is refreshed before a replay. */
gconstpointer pipeline_cuda_variable(PipelineGradientCall *call, guint index, gconstpointer data, gsize bytes,
                                     GError **error);
/* What a node has copied to the device for later has changed. */
void pipeline_cuda_changed(PipelineGradientCall *call);
/* The plan for the convolution, made once. NULL: failed. */
PipelineCudaConvolutionPlan *pipeline_cuda_find_plan(PipelineGradientCall *call, const PipelineCudaConvolution *shape,
                                                     GError **error);

/* The input's elements on the device as float32, whatever its type; uses buffer `buffer`. NULL: failed. */
const float *pipeline_cuda_floats(PipelineGradientCall *call, const PipelineTensor *tensor, guint buffer,
                                  GError **error);
/* A walk of `output` with the inputs broadcast to it. */
void pipeline_cuda_walk(PipelineCudaWalk *walk, const PipelineTensor *const *inputs, guint n_inputs,
                        const PipelineTensor *output);
/* The strides of operand `operand` become those of a dense tensor of the walk's dimensions. */
void pipeline_cuda_walk_dense(PipelineCudaWalk *walk, guint operand);
/* to = factor · from, broadcast to its shape. */
gboolean pipeline_cuda_spread(PipelineGradientCall *call, const PipelineTensor *from, float factor,
                              const PipelineTensor *to, GError **error);
/* Where the elements of `from` (operand 0) lie that one element of `to`, which is broadcast to its shape, stands for.
 */
void pipeline_cuda_find_lines(const PipelineTensor *from, const PipelineTensor *to, PipelineCudaSum *lines);
/* to = factor · the sum of from over what was repeated. */
gboolean pipeline_cuda_sum_to(PipelineGradientCall *call, const PipelineTensor *from, float factor,
                              const PipelineTensor *to, GError **error);
/* Copies n float32 elements. */
gboolean pipeline_cuda_copy(PipelineGradientCall *call, float *to, const float *from, gsize n, GError **error);
/* A dense product as the table takes it, in the node's precision; one of them. */
PipelineCudaGemm pipeline_cuda_dense_gemm(const PipelineGradientCall *call, const PipelineProduct *product);
/* c = alpha · op(a) op(b) + beta · c, dense. */
gboolean pipeline_cuda_multiply(const PipelineGradientCall *call, const PipelineProduct *product, const float *a,
                                const float *b, float *c, GError **error);

/* --- kernels, by file; each pair is a row of nodes.c
 * ------------------------------------------------------------------
 */

#define KERNEL(name) gboolean pipeline_cuda_##name(PipelineGradientCall *call, GError **error)
#define PAIR(name)                                                                                                     \
  KERNEL(name##_forward);                                                                                              \
  KERNEL(name##_backward)

/* nodes_elementwise.c */
PAIR(unary_node);
PAIR(binary_node);
PAIR(sum_node);
PAIR(where_node);
PAIR(clip_node);
PAIR(dropout_node);
PAIR(scaler_node);
KERNEL(dropout_refresh);
/* nodes_dense.c */
PAIR(gemm_node);
PAIR(matmul_node);
/* nodes_reduce.c */
PAIR(softmax_node);
PAIR(reduce_node);
PAIR(extreme_node);
PAIR(batch_normalization_node);
PAIR(layer_normalization_node);
PAIR(group_normalization_node);
/* nodes_window.c */
PAIR(convolution_node);
/* Of Conv and ConvTranspose: the gradient of input 2; zeros for all inputs. */
KERNEL(sum_bias);
KERNEL(clear_gradients);
PAIR(max_pool_node);
PAIR(average_pool_node);
PAIR(global_average_pool_node);
/* nodes_convolution_transpose.c */
PAIR(convolution_transpose_node);
/* nodes_move.c */
PAIR(copy_node);
PAIR(transpose_node);
PAIR(pick_node);
PAIR(concat_node);
PAIR(split_node);
PAIR(gather_node);
KERNEL(gather_refresh);
PAIR(expand_node);
/* nodes_recurrent.c */
PAIR(recurrent_node);

#undef KERNEL
#undef PAIR

/* nodes_memory.c and the files of the nodes: what PipelineGraphDevice.need says of a node. */
void pipeline_cuda_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need);
#define NEED(name) void pipeline_cuda_##name##_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
NEED(convolution_node);           /* nodes_window.c */
NEED(convolution_transpose_node); /* nodes_convolution_transpose.c */
NEED(recurrent_node);             /* nodes_recurrent.c */
#undef NEED

G_END_DECLS
