/* ConvTranspose of one or two spatial dimensions: a convolution from right to left, whose windows slide over the
 * result. With the patches of gradient_convolution.c, taken of y: y = Wᵀ · x laid back onto the image, dx = W ·
 * patches(dy), dW = x · patches(dy)ᵀ; weights [channels of x, channels of y / group, kernel…]. */
#include <string.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_gradient_read_transposed(const PipelineCall *call, PipelineConvolution *c, GError **error)
{
  const PipelineTensor *w = call->inputs[1];
  gint64 group = onnx_node_get_int(call->node, "group", 1);
  if (!pipeline_gradient_transposed_window_read(call, &c->window, error)) return FALSE;
  c->m = (gsize)w->dims[0];
  c->group = (gsize)group;
  c->window.channels = (gsize)(w->dims[1] * group);
  c->depth = (gsize)w->dims[1] * c->window.kernel[0] * c->window.kernel[1];
  c->width = c->window.out[0] * c->window.out[1];
  return TRUE;
}

/* The operator's own checks, then ours. */
gboolean pipeline_gradient_convolution_transpose_infer(PipelineCall *call, GError **error)
{
  PipelineConvolution c;
  return call->operator->infer(call, error) && pipeline_gradient_read_transposed(call, &c, error);
}

/* The bias is one number a channel of dy. */
static void sum_bias(PipelineGradientCall *call)
{
  const PipelineTensor *dy = call->output_gradients[0];
  if (call->call.n_inputs < 3 || call->input_gradients[2] == NULL) return;
  PipelineTensor bias = *call->input_gradients[2];
  bias.n_dims = dy->n_dims;
  for (guint d = 0; d < dy->n_dims; d++) bias.dims[d] = d == 1 ? dy->dims[1] : 1;
  pipeline_gradient_sum_to(dy, 1, &bias);
}

gboolean pipeline_convolution_transpose_backward(PipelineGradientCall *call, GError **error)
{
  PipelineConvolution c;
  if (!pipeline_gradient_read_transposed(&call->call, &c, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *weights = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1),
        *patches = pipeline_gradient_memory(call, 0, c.depth * c.width * sizeof(float));
  gsize image = c.window.channels / c.group * c.window.in[0] * c.window.in[1], rows = c.m / c.group;
  const PipelineProduct of_input = {FALSE, FALSE, rows, c.width, c.depth, 1, 0};
  const PipelineProduct of_weights = {FALSE, TRUE, rows, c.depth, c.width, 1, 1};
  sum_bias(call);
  if (dw != NULL) memset(dw, 0, call->call.inputs[1]->n * sizeof(float));
  for (gsize i = 0; i < c.window.batch * c.group; i++) {
    gsize offset = i % c.group * rows * c.depth, place = i * rows * c.width;
    pipeline_gradient_walk_patches(&c, (float *)dy + i * image, patches, FALSE); /* only read */
    if ((dx != NULL && !pipeline_gradient_multiply(call, &of_input, weights + offset, patches, dx + place, error)) ||
        (dw != NULL && !pipeline_gradient_multiply(call, &of_weights, x + place, patches, dw + offset, error)))
      return FALSE;
  }
  return TRUE;
}
