/* Conv of one or two spatial dimensions: patches of a sample as a matrix ("im2col"), one product a sample and group.
 * weights [m, channels / group, kernel…]; y = W · patches + b, dW = dY · patchesᵀ, d(patches) = Wᵀ · dY. */
#include <string.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_gradient_read_convolution(const PipelineCall *call, PipelineConvolution *c, GError **error)
{
  const PipelineTensor *w = call->inputs[1], *b = pipeline_input(call, 2);
  if (w->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 1, error);
  if (w->n_dims != call->inputs[0]->n_dims)
    return pipeline_operator_fail(error, "its weights do not have the dimensions of its input");
  if (!pipeline_gradient_window_read(call, w->dims + 2, &c->window, error)) return FALSE;
  gint64 group = onnx_node_get_int(call->node, "group", 1);
  c->m = (gsize)w->dims[0];
  c->group = (gsize)MAX(group, 1);
  if (c->m % c->group != 0 || (gsize)w->dims[1] * c->group != c->window.channels)
    return pipeline_operator_fail(error, "%zu channels do not fit weights of %" G_GINT64_FORMAT " in %zu groups",
                                  c->window.channels, w->dims[1], c->group);
  if (b != NULL && (b->type != ONNX_TYPE_FLOAT || b->n != c->m))
    return pipeline_operator_fail(error, "its bias does not have one number a channel");
  c->depth = (gsize)w->dims[1] * c->window.kernel[0] * c->window.kernel[1];
  c->width = c->window.out[0] * c->window.out[1];
  return TRUE;
}

gboolean pipeline_gradient_convolution_infer(PipelineCall *call, GError **error)
{
  PipelineConvolution c;
  return pipeline_gradient_read_convolution(call, &c, error) &&
         pipeline_gradient_window_output(call, 0, ONNX_TYPE_FLOAT, &c.window, c.m, error);
}

/* Row `row` of the patch matrix, of image [height, width] `x` of its channel: into patches, or back into the image. */
static void walk_row(const PipelineGradientWindow *w, gsize row, float *x, float *patches, gboolean back)
{
  gsize kx = row % w->kernel[1], ky = row / w->kernel[1] % w->kernel[0];
  for (gsize oy = 0; oy < w->out[0]; oy++) {
    gint64 iy = (gint64)(oy * w->stride[0] + ky * w->dilation[0]) - w->before[0];
    gboolean inside = iy >= 0 && iy < (gint64)w->in[0];
    for (gsize ox = 0; ox < w->out[1]; ox++, patches++) {
      gint64 ix = (gint64)(ox * w->stride[1] + kx * w->dilation[1]) - w->before[1];
      gboolean hit = inside && ix >= 0 && ix < (gint64)w->in[1];
      float *place = hit ? x + iy * (gint64)w->in[1] + ix : NULL;
      if (!back)
        *patches = hit ? *place : 0;
      else if (hit)
        *place += *patches;
    }
  }
}

void pipeline_gradient_walk_patches(const PipelineConvolution *c, float *x, float *patches, gboolean back)
{
  const PipelineGradientWindow *w = &c->window;
  gsize kernel = w->kernel[0] * w->kernel[1], image = w->in[0] * w->in[1];
  for (gsize row = 0; row < c->depth; row++) walk_row(w, row, x + row / kernel * image, patches + row * c->width, back);
}

gboolean pipeline_convolution_forward(PipelineGradientCall *call, GError **error)
{
  PipelineConvolution c;
  if (!pipeline_gradient_read_convolution(&call->call, &c, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *weights = call->call.inputs[1]->data,
              *bias = pipeline_gradient_input(call, 2);
  float *y = call->call.outputs[0]->data,
        *patches = pipeline_gradient_memory(call, 0, c.depth * c.width * sizeof(float));
  gsize image = c.window.channels / c.group * c.window.in[0] * c.window.in[1], rows = c.m / c.group;
  const PipelineProduct product = {FALSE, FALSE, rows, c.width, c.depth, 1, 1};
  for (gsize i = 0; i < c.window.batch * c.group; i++, y += rows * c.width) {
    gsize g = i % c.group;
    for (gsize r = 0; r < rows; r++)
      for (gsize p = 0; p < c.width; p++) y[r * c.width + p] = bias != NULL ? bias[g * rows + r] : 0;
    pipeline_gradient_walk_patches(&c, (float *)x + i * image, patches, FALSE); /* only read */
    if (!pipeline_gradient_multiply(call, &product, weights + g * rows * c.depth, patches, y, error)) return FALSE;
  }
  return TRUE;
}

static void sum_bias(const PipelineConvolution *c, const float *dy, float *db)
{
  for (gsize m = 0; m < c->m; m++) {
    double sum = 0;
    for (gsize i = 0; i < c->window.batch; i++)
      for (gsize p = 0; p < c->width; p++) sum += (double)dy[(i * c->m + m) * c->width + p];
    db[m] = (float)sum;
  }
}

gboolean pipeline_convolution_backward(PipelineGradientCall *call, GError **error)
{
  PipelineConvolution c;
  if (!pipeline_gradient_read_convolution(&call->call, &c, error)) return FALSE;
  const float *x = call->call.inputs[0]->data, *weights = call->call.inputs[1]->data,
              *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0), *dw = pipeline_gradient_of_input(call, 1),
        *db = pipeline_gradient_of_input(call, 2),
        *patches = pipeline_gradient_memory(call, 0, c.depth * c.width * sizeof(float));
  gsize image = c.window.channels / c.group * c.window.in[0] * c.window.in[1], rows = c.m / c.group;
  const PipelineProduct of_weights = {FALSE, TRUE, rows, c.depth, c.width, 1, 1};
  const PipelineProduct of_patches = {TRUE, FALSE, c.depth, c.width, rows, 1, 0};
  if (db != NULL) sum_bias(&c, dy, db);
  if (dw != NULL) memset(dw, 0, call->call.inputs[1]->n * sizeof(float));
  if (dx != NULL) memset(dx, 0, call->call.inputs[0]->n * sizeof(float));
  for (gsize i = 0; i < c.window.batch * c.group; i++, dy += rows * c.width) {
    gsize offset = i % c.group * rows * c.depth;
    if (dw != NULL) {
      pipeline_gradient_walk_patches(&c, (float *)x + i * image, patches, FALSE);
      if (!pipeline_gradient_multiply(call, &of_weights, dy, patches, dw + offset, error)) return FALSE;
    }
    if (dx == NULL) continue;
    if (!pipeline_gradient_multiply(call, &of_patches, weights + offset, dy, patches, error)) return FALSE;
    pipeline_gradient_walk_patches(&c, dx + i * image, patches, TRUE);
  }
  return TRUE;
}
