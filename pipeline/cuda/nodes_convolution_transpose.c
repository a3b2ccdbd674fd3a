/* ConvTranspose: the convolution of cuDNN from right to left, its result ours to take in. Where that convolution would
 * have another size (paddings that differ, output_padding of a stride and more), the result is cut out of a wide one.
 */
#include <string.h>

#include "pipeline/cuda/nodes.h"

typedef struct {
  PipelineCudaConvolution shape;
  gboolean wide;           /* the result is a part of a larger image without padding */
  PipelineCudaWalk inside; /* of y (operand 0) in that (operand 1); n 0: nothing */
  gsize n_wide, offset;    /* its elements; where y begins */
} Transposed;

enum { WIDE }; /* the buffer of a node */

static void place_inside(const PipelineGradientWindow *w, Transposed *t)
{
  gsize images = w->batch * w->channels;
  gint64 part[2];
  for (guint d = 0; d < 2; d++) {
    t->shape.in[d] = (w->out[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1;
    t->shape.pad[d] = 0;
    part[d] = MAX(MIN((gint64)w->in[d], (gint64)t->shape.in[d] - w->before[d]), 0);
  }
  const gsize *wide = t->shape.in;
  t->inside = (PipelineCudaWalk){.n = images * (gsize)(part[0] * part[1]),
                                 .n_dims = 3,
                                 .dims = {(guint32)images, (guint32)part[0], (guint32)part[1]},
                                 .strides = {{(gint64)(w->in[0] * w->in[1]), (gint64)w->in[1], 1},
                                             {(gint64)(wide[0] * wide[1]), (gint64)wide[1], 1}}};
  t->n_wide = images * wide[0] * wide[1];
  t->offset = t->inside.n > 0 ? (gsize)w->before[0] * wide[1] + (gsize)w->before[1] : 0;
}

static gboolean read_transposed(const PipelineGradientCall *call, Transposed *t, GError **error)
{
  PipelineConvolution read;
  if (!pipeline_gradient_read_transposed(&call->call, &read, error)) return FALSE;
  const PipelineGradientWindow *w = &read.window;
  memset(t, 0, sizeof *t); /* shapes are compared byte by byte */
  t->shape.batch = w->batch;
  t->shape.channels = w->channels;
  t->shape.filters = read.m;
  t->shape.group = read.group;
  for (guint d = 0; d < 2; d++) {
    gsize reach = (w->kernel[d] - 1) * w->dilation[d] + 1, padded = w->in[d] + 2 * (gsize)w->before[d];
    t->shape.in[d] = w->in[d];
    t->shape.out[d] = w->out[d];
    t->shape.pad[d] = (gsize)w->before[d];
    t->shape.kernel[d] = w->kernel[d];
    t->shape.stride[d] = w->stride[d];
    t->shape.dilation[d] = w->dilation[d];
    t->wide = t->wide || padded < reach || (padded - reach) / w->stride[d] + 1 != w->out[d];
  }
  if (t->wide) place_inside(w, t);
  return TRUE;
}

static gboolean add_bias(PipelineGradientCall *call, PipelineTensor *y, GError **error)
{
  const PipelineTensor *bias = pipeline_input(&call->call, 2);
  PipelineCudaWalk walk;
  if (bias == NULL) return TRUE;
  PipelineTensor channels = *bias;
  channels.n_dims = y->n_dims;
  for (guint d = 0; d < y->n_dims; d++) channels.dims[d] = d == 1 ? y->dims[1] : 1;
  const PipelineTensor *pair[2] = {y, &channels};
  pipeline_cuda_walk(&walk, pair, 2, y);
  return PIPELINE_CUDA_RUN(call, binary, PIPELINE_CUDA_add_of, &walk, y->data, bias->data, y->data);
}

gboolean pipeline_cuda_convolution_transpose_node_forward(PipelineGradientCall *call, GError **error)
{
  Transposed t;
  PipelineTensor *y = call->call.outputs[0];
  const float *x = call->call.inputs[0]->data, *w = call->call.inputs[1]->data;
  if (!read_transposed(call, &t, error)) return FALSE;
  if (y->n == 0) return TRUE;
  float *image = t.wide ? pipeline_cuda_buffer(call, WIDE, t.n_wide * sizeof(float), error) : y->data;
  PipelineCudaConvolutionPlan *plan = image != NULL ? pipeline_cuda_find_plan(call, &t.shape, error) : NULL;
  /* its own input is read for the gradient of the weights only */
  if (plan == NULL || !PIPELINE_CUDA_RUN(call, convolution_backward, plan, NULL, w, x, image, NULL)) return FALSE;
  if (t.wide) {
    PipelineCudaWalk out = t.inside;
    memcpy(out.strides[0], t.inside.strides[1], sizeof out.strides[0]);
    memcpy(out.strides[1], t.inside.strides[0], sizeof out.strides[1]);
    if (!PIPELINE_CUDA_RUN(call, clear, y->data, y->n * sizeof(float)) ||
        !PIPELINE_CUDA_RUN(call, move, &out, 1, image + t.offset, y->data))
      return FALSE;
  }
  return add_bias(call, y, error);
}

/* dy as the convolution's input. NULL: failed. */
static const float *widen(PipelineGradientCall *call, const Transposed *t, GError **error)
{
  const float *dy = pipeline_gradient_of_output(call, 0);
  if (!t->wide) return dy;
  float *image = pipeline_cuda_buffer(call, WIDE, t->n_wide * sizeof(float), error);
  if (image == NULL || !PIPELINE_CUDA_RUN(call, clear, image, t->n_wide * sizeof(float)) ||
      !PIPELINE_CUDA_RUN(call, move, &t->inside, 1, dy, image + t->offset))
    return NULL;
  return image;
}

gboolean pipeline_cuda_convolution_transpose_node_backward(PipelineGradientCall *call, GError **error)
{
  Transposed t;
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1);
  const float *x = call->call.inputs[0]->data, *w = call->call.inputs[1]->data;
  if (!read_transposed(call, &t, error)) return FALSE;
  if (call->call.outputs[0]->n == 0) return pipeline_cuda_clear_gradients(call, error);
  if (!pipeline_cuda_sum_bias(call, error)) return FALSE;
  const float *image = widen(call, &t, error);
  PipelineCudaConvolutionPlan *plan = image != NULL ? pipeline_cuda_find_plan(call, &t.shape, error) : NULL;
  return plan != NULL && (dx == NULL || PIPELINE_CUDA_RUN(call, convolution_forward, plan, image, w, NULL, dx)) &&
         (dw == NULL || PIPELINE_CUDA_RUN(call, convolution_backward, plan, image, w, x, NULL, dw));
}

void pipeline_cuda_convolution_transpose_node_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  const PipelineCuda *cuda = call->device;
  Transposed t;
  if (!read_transposed(call, &t, NULL) || call->call.outputs[0]->n == 0) return;
  t.shape.batch = (gsize)((double)t.shape.batch * growth);
  PipelineCudaConvolutionPlan *plan = cuda->table->convolution_plan(cuda->device, &t.shape);
  if (plan == NULL) return;
  need->workspace = cuda->table->convolution_bytes(plan);
  cuda->table->convolution_free(cuda->device, plan);
  need->kept = (gsize)((double)(t.n_wide * sizeof(float)) * growth);
}
