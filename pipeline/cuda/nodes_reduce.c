/* Softmax, reductions, normalisations. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

/* --- Softmax, LogSoftmax
 * ---------------------------------------------------------------------------------------------- */

static gboolean is_logarithm(const PipelineGradientCall *call)
{
  return call->gradient->parameter != NULL;
}

gboolean pipeline_cuda_softmax_node_forward(PipelineGradientCall *call, GError **error)
{
  gsize outer, length, inner;
  return pipeline_gradient_softmax_axis(&call->call, &outer, &length, &inner, error) &&
         PIPELINE_CUDA_RUN(call, softmax, outer, length, inner, is_logarithm(call), call->call.inputs[0]->data,
                           call->call.outputs[0]->data);
}

gboolean pipeline_cuda_softmax_node_backward(PipelineGradientCall *call, GError **error)
{
  gsize outer, length, inner;
  float *dx = pipeline_gradient_of_input(call, 0);
  return pipeline_gradient_softmax_axis(&call->call, &outer, &length, &inner, error) &&
         (dx == NULL || PIPELINE_CUDA_RUN(call, softmax_backward, outer, length, inner, is_logarithm(call),
                                          call->call.outputs[0]->data, pipeline_gradient_of_output(call, 0), dx));
}

/* --- ReduceSum, ReduceMean: the parameter of the row tells them apart
 * -------------------------------------------------
 */

static float factor_of(const PipelineGradientCall *call, const PipelineTensor *kept, const PipelineTensor *x)
{
  return call->gradient->parameter != NULL && x->n > 0 ? (float)kept->n / (float)x->n : 1;
}

gboolean pipeline_cuda_reduce_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor kept;
  const PipelineTensor *x = call->call.inputs[0];
  if (!pipeline_gradient_kept_shape(&call->call, &kept, error)) return FALSE;
  kept.data = call->call.outputs[0]->data;
  return pipeline_cuda_sum_to(call, x, factor_of(call, &kept, x), &kept, error);
}

gboolean pipeline_cuda_reduce_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor kept;
  const PipelineTensor *dx = call->input_gradients[0];
  if (dx == NULL) return TRUE;
  if (!pipeline_gradient_kept_shape(&call->call, &kept, error)) return FALSE;
  kept.data = call->output_gradients[0]->data;
  return pipeline_cuda_spread(call, &kept, factor_of(call, &kept, dx), dx, error);
}

/* --- ReduceMax, ReduceMin, GlobalMaxPool
 * ------------------------------------------------------------------------------
 */

gboolean pipeline_cuda_extreme_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor kept;
  PipelineCudaSum lines;
  const PipelineTensor *x = call->call.inputs[0];
  if (!pipeline_gradient_extreme_shape(&call->call, &kept, error)) return FALSE;
  guint32 *chosen = pipeline_cuda_buffer(call, 0, kept.n * sizeof(guint32), error);
  pipeline_cuda_find_lines(x, &kept, &lines);
  return chosen != NULL && PIPELINE_CUDA_RUN(call, extreme, &lines, call->gradient->parameter != NULL, x->data,
                                             call->call.outputs[0]->data, chosen);
}

gboolean pipeline_cuda_extreme_node_backward(PipelineGradientCall *call, GError **error)
{
  gsize n_lines = call->call.outputs[0]->n;
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  const guint32 *chosen = pipeline_cuda_buffer(call, 0, n_lines * sizeof(guint32), error);
  return chosen != NULL && PIPELINE_CUDA_RUN(call, extreme_backward, n_lines, call->call.inputs[0]->n, chosen,
                                             pipeline_gradient_of_output(call, 0), dx);
}

/* --- BatchNormalization
 * ------------------------------------------------------------------------------------------------ */

static PipelineCudaBatchNorm read_batch_norm(const PipelineGradientCall *call)
{
  const PipelineTensor *x = call->call.inputs[0];
  return (PipelineCudaBatchNorm){.batch = (gsize)x->dims[0],
                                 .channels = (gsize)x->dims[1],
                                 .inner = pipeline_dims_product(x->dims, 2, x->n_dims),
                                 .epsilon = onnx_node_get_float(call->call.node, "epsilon", 1e-5f),
                                 .momentum = onnx_node_get_float(call->call.node, "momentum", 0.9f),
                                 .batch_wise = call->training && !call->frozen && x->n > 0};
}

gboolean pipeline_cuda_batch_normalization_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaBatchNorm shape = read_batch_norm(call);
  const PipelineTensor *const *in = call->call.inputs;
  float *kept = pipeline_cuda_buffer(call, 0, 2 * shape.channels * sizeof(float), error);
  return kept != NULL && PIPELINE_CUDA_RUN(call, batch_norm, &shape, in[0]->data, in[1]->data, in[2]->data, in[3]->data,
                                           in[4]->data, kept, call->call.outputs[0]->data);
}

gboolean pipeline_cuda_batch_normalization_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaBatchNorm shape = read_batch_norm(call);
  const PipelineTensor *const *in = call->call.inputs;
  gsize bytes = 2 * shape.channels * sizeof(float);
  float *kept = pipeline_cuda_buffer(call, 0, bytes, error), *sums = pipeline_cuda_buffer(call, 1, bytes, error);
  return kept != NULL && sums != NULL &&
         PIPELINE_CUDA_RUN(call, batch_norm_backward, &shape, in[0]->data, in[1]->data, kept,
                           pipeline_gradient_of_output(call, 0), sums, pipeline_gradient_of_input(call, 0),
                           pipeline_gradient_of_input(call, 1), pipeline_gradient_of_input(call, 2));
}

/* --- LayerNormalization
 * ------------------------------------------------------------------------------------------------ */

gboolean pipeline_cuda_layer_normalization_node_forward(PipelineGradientCall *call, GError **error)
{
  gsize rows, width;
  const PipelineTensor *const *in = call->call.inputs;
  if (!pipeline_gradient_read_layer_norm(&call->call, &rows, &width, error)) return FALSE;
  float *kept = pipeline_cuda_buffer(call, 0, 2 * rows * sizeof(float), error);
  if (kept == NULL ||
      !PIPELINE_CUDA_RUN(call, layer_norm, rows, width, onnx_node_get_float(call->call.node, "epsilon", 1e-5f),
                         in[0]->data, in[1]->data, pipeline_gradient_input(call, 2), kept, call->call.outputs[0]->data))
    return FALSE;
  for (guint o = 1; o < MIN(call->call.n_outputs, 3); o++) /* mean and inverse deviation */
    if (call->call.outputs[o] != NULL &&
        !pipeline_cuda_copy(call, call->call.outputs[o]->data, kept + (o - 1) * rows, rows, error))
      return FALSE;
  return TRUE;
}

gboolean pipeline_cuda_layer_normalization_node_backward(PipelineGradientCall *call, GError **error)
{
  gsize rows, width;
  const PipelineTensor *const *in = call->call.inputs;
  if (!pipeline_gradient_read_layer_norm(&call->call, &rows, &width, error)) return FALSE;
  const float *kept = pipeline_cuda_buffer(call, 0, 2 * rows * sizeof(float), error);
  return kept != NULL && PIPELINE_CUDA_RUN(call, layer_norm_backward, rows, width, in[0]->data, in[1]->data, kept,
                                           pipeline_gradient_of_output(call, 0), pipeline_gradient_of_input(call, 0),
                                           pipeline_gradient_of_input(call, 1), pipeline_gradient_of_input(call, 2));
}

/* --- InstanceNormalization, GroupNormalization
 * ------------------------------------------------------------------------
 */

static gboolean read_group_norm(const PipelineGradientCall *call, PipelineCudaGroupNorm *shape, GError **error)
{
  PipelineGroupNorm read;
  if (!pipeline_gradient_read_group_norm(&call->call, &read, error)) return FALSE;
  *shape = (PipelineCudaGroupNorm){.batch = read.batch,
                                   .groups = read.groups,
                                   .each = read.each,
                                   .width = read.width,
                                   .epsilon = onnx_node_get_float(call->call.node, "epsilon", 1e-5f)};
  return TRUE;
}

gboolean pipeline_cuda_group_normalization_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaGroupNorm shape;
  const PipelineTensor *const *in = call->call.inputs;
  if (!read_group_norm(call, &shape, error)) return FALSE;
  float *kept = pipeline_cuda_buffer(call, 0, 2 * shape.batch * shape.groups * sizeof(float), error);
  return kept != NULL && PIPELINE_CUDA_RUN(call, group_norm, &shape, in[0]->data, in[1]->data, in[2]->data, kept,
                                           call->call.outputs[0]->data);
}

gboolean pipeline_cuda_group_normalization_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaGroupNorm shape;
  const PipelineTensor *const *in = call->call.inputs;
  if (!read_group_norm(call, &shape, error)) return FALSE;
  const float *kept = pipeline_cuda_buffer(call, 0, 2 * shape.batch * shape.groups * sizeof(float), error);
  return kept != NULL && PIPELINE_CUDA_RUN(call, group_norm_backward, &shape, in[0]->data, in[1]->data, kept,
                                           pipeline_gradient_of_output(call, 0), pipeline_gradient_of_input(call, 0),
                                           pipeline_gradient_of_input(call, 1), pipeline_gradient_of_input(call, 2));
}
