/* Conv by cuDNN, which pads both ends alike: other paddings are done by hand first. Pools with kernels of our own. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

/* --- Conv -----------------------------------------------------------------------------------------------------------
 */

typedef struct {
  PipelineCudaConvolution shape;
  gboolean padded;         /* the input is copied into a larger one first */
  PipelineCudaWalk inside; /* of the input (operand 0) in that (operand 1) */
  gsize n_padded, offset;  /* its elements; where the input begins */
} Convolution;

/* The buffers of a node. */
enum { PADDED, PADDED_GRADIENT };

static void place_inside(const PipelineGradientWindow *w, Convolution *c)
{
  const gsize *wide = c->shape.in;
  PipelineCudaWalk *walk = &c->inside;
  *walk = (PipelineCudaWalk){.n = w->batch * w->channels * w->in[0] * w->in[1],
                             .n_dims = 3,
                             .dims = {(guint32)(w->batch * w->channels), (guint32)w->in[0], (guint32)w->in[1]}};
  pipeline_cuda_walk_dense(walk, 0);
  walk->strides[1][0] = (gint64)(wide[0] * wide[1]);
  walk->strides[1][1] = (gint64)wide[1];
  walk->strides[1][2] = 1;
  c->n_padded = w->batch * w->channels * wide[0] * wide[1];
  c->offset = (gsize)w->before[0] * wide[1] + (gsize)w->before[1];
}

static gboolean read_convolution(const PipelineGradientCall *call, Convolution *c, GError **error)
{
  PipelineConvolution read;
  if (!pipeline_gradient_read_convolution(&call->call, &read, error)) return FALSE;
  const PipelineGradientWindow *w = &read.window;
  memset(c, 0, sizeof *c); /* shapes are compared byte by byte */
  c->shape.batch = w->batch;
  c->shape.channels = w->channels;
  c->shape.filters = read.m;
  c->shape.group = read.group;
  c->shape.narrow = call->precision == PIPELINE_PRECISION_BFLOAT16;
  c->padded = w->before[0] != w->after[0] || w->before[1] != w->after[1];
  for (guint d = 0; d < 2; d++) {
    c->shape.in[d] = w->in[d] + (c->padded ? (gsize)(w->before[d] + w->after[d]) : 0);
    c->shape.pad[d] = c->padded ? 0 : (gsize)w->before[d];
    c->shape.out[d] = w->out[d];
    c->shape.kernel[d] = w->kernel[d];
    c->shape.stride[d] = w->stride[d];
    c->shape.dilation[d] = w->dilation[d];
  }
  if (c->padded) place_inside(w, c);
  return TRUE;
}

static const float *pad_input(PipelineGradientCall *call, const Convolution *c, GError **error)
{
  const float *x = call->call.inputs[0]->data;
  if (!c->padded) return x;
  float *wide = pipeline_cuda_buffer(call, PADDED, c->n_padded * sizeof(float), error);
  if (wide == NULL || !PIPELINE_CUDA_RUN(call, clear, wide, c->n_padded * sizeof(float)) ||
      !PIPELINE_CUDA_RUN(call, move, &c->inside, 1, x, wide + c->offset))
    return NULL;
  return wide;
}

gboolean pipeline_cuda_convolution_node_forward(PipelineGradientCall *call, GError **error)
{
  Convolution c;
  if (!read_convolution(call, &c, error)) return FALSE;
  if (call->call.outputs[0]->n == 0) return TRUE;
  const float *x = pad_input(call, &c, error);
  PipelineCudaConvolutionPlan *plan = x != NULL ? pipeline_cuda_find_plan(call, &c.shape, error) : NULL;
  return plan != NULL && PIPELINE_CUDA_RUN(call, convolution_forward, plan, x, call->call.inputs[1]->data,
                                           pipeline_gradient_input(call, 2), call->call.outputs[0]->data);
}

/* The bias is one number a channel of dy. */
gboolean pipeline_cuda_sum_bias(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dy = call->output_gradients[0];
  if (call->call.n_inputs < 3 || call->input_gradients[2] == NULL) return TRUE;
  PipelineTensor bias = *call->input_gradients[2];
  bias.n_dims = dy->n_dims;
  for (guint d = 0; d < dy->n_dims; d++) bias.dims[d] = d == 1 ? dy->dims[1] : 1;
  return pipeline_cuda_sum_to(call, dy, 1, &bias, error);
}

gboolean pipeline_cuda_clear_gradients(PipelineGradientCall *call, GError **error)
{
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->input_gradients[i] != NULL &&
        !PIPELINE_CUDA_RUN(call, clear, call->input_gradients[i]->data, call->input_gradients[i]->n * sizeof(float)))
      return FALSE;
  return TRUE;
}

gboolean pipeline_cuda_convolution_node_backward(PipelineGradientCall *call, GError **error)
{
  Convolution c;
  if (!read_convolution(call, &c, error)) return FALSE;
  if (call->call.outputs[0]->n == 0) return pipeline_cuda_clear_gradients(call, error);
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1), *wide = dx;
  const float *x = dw != NULL ? pad_input(call, &c, error) : call->call.inputs[0]->data;
  PipelineCudaConvolutionPlan *plan = pipeline_cuda_find_plan(call, &c.shape, error);
  if (x == NULL || plan == NULL || !pipeline_cuda_sum_bias(call, error)) return FALSE;
  if (c.padded && dx != NULL) {
    wide = pipeline_cuda_buffer(call, PADDED_GRADIENT, c.n_padded * sizeof(float), error);
    if (wide == NULL) return FALSE;
  }
  if (!PIPELINE_CUDA_RUN(call, convolution_backward, plan, x, call->call.inputs[1]->data,
                         pipeline_gradient_of_output(call, 0), wide, dw))
    return FALSE;
  if (wide == dx) return TRUE;
  PipelineCudaWalk back = c.inside;
  memcpy(back.strides[0], c.inside.strides[1], sizeof back.strides[0]);
  memcpy(back.strides[1], c.inside.strides[0], sizeof back.strides[1]);
  return PIPELINE_CUDA_RUN(call, move, &back, 1, wide + c.offset, dx);
}

/* --- pools
 * ------------------------------------------------------------------------------------------------------------ */

static gboolean read_pool(const PipelineGradientCall *call, PipelineCudaPool *pool, GError **error)
{
  PipelineGradientWindow w;
  if (!pipeline_gradient_window_read(&call->call, NULL, &w, error)) return FALSE;
  *pool = (PipelineCudaPool){.images = w.batch * w.channels,
                             .with_padding = onnx_node_get_int(call->call.node, "count_include_pad", 0) != 0};
  for (guint d = 0; d < 2; d++) {
    pool->in[d] = (gint64)w.in[d];
    pool->out[d] = (gint64)w.out[d];
    pool->kernel[d] = (gint64)w.kernel[d];
    pool->stride[d] = (gint64)w.stride[d];
    pool->dilation[d] = (gint64)w.dilation[d];
    pool->before[d] = w.before[d];
    pool->after[d] = w.after[d];
  }
  return TRUE;
}

gboolean pipeline_cuda_max_pool_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaPool pool;
  PipelineTensor *y = call->call.outputs[0];
  if (!read_pool(call, &pool, error)) return FALSE;
  guint32 *chosen = pipeline_cuda_buffer(call, 0, y->n * sizeof(guint32), error);
  return chosen != NULL && PIPELINE_CUDA_RUN(call, max_pool, &pool, call->call.inputs[0]->data, y->data, chosen);
}

gboolean pipeline_cuda_max_pool_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaPool pool;
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  if (!read_pool(call, &pool, error)) return FALSE;
  const guint32 *chosen = pipeline_cuda_buffer(call, 0, call->call.outputs[0]->n * sizeof(guint32), error);
  return chosen != NULL &&
         PIPELINE_CUDA_RUN(call, max_pool_backward, &pool, chosen, pipeline_gradient_of_output(call, 0), dx);
}

gboolean pipeline_cuda_average_pool_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaPool pool;
  return read_pool(call, &pool, error) &&
         PIPELINE_CUDA_RUN(call, average_pool, &pool, call->call.inputs[0]->data, call->call.outputs[0]->data);
}

gboolean pipeline_cuda_average_pool_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaPool pool;
  float *dx = pipeline_gradient_of_input(call, 0);
  return dx == NULL || (read_pool(call, &pool, error) && PIPELINE_CUDA_RUN(call, average_pool_backward, &pool,
                                                                           pipeline_gradient_of_output(call, 0), dx));
}

/* --- GlobalAveragePool: y has the input's rank, with 1 for every spatial dimension
 * ------------------------------------
 */

gboolean pipeline_cuda_global_average_pool_node_forward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0], *y = call->call.outputs[0];
  return pipeline_cuda_sum_to(call, x, x->n > 0 ? (float)y->n / (float)x->n : 1, y, error);
}

gboolean pipeline_cuda_global_average_pool_node_backward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dx = call->input_gradients[0], *dy = call->output_gradients[0];
  return dx == NULL || pipeline_cuda_spread(call, dy, dx->n > 0 ? (float)dy->n / (float)dx->n : 1, dx, error);
}

void pipeline_cuda_convolution_node_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  const PipelineCuda *cuda = call->device;
  Convolution c;
  if (!read_convolution(call, &c, NULL) || call->call.outputs[0]->n == 0) return;
  c.shape.batch = (gsize)((double)c.shape.batch * growth);
  PipelineCudaConvolutionPlan *plan = cuda->table->convolution_plan(cuda->device, &c.shape);
  if (plan == NULL) return;
  need->workspace = cuda->table->convolution_bytes(plan);
  cuda->table->convolution_free(cuda->device, plan);
  if (c.padded) need->kept = (gsize)(2 * (double)(c.n_padded * sizeof(float)) * growth);
}
