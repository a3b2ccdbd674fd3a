/* Conv, ConvTranspose, Col2Im: matrix products of the backend over gathered windows ("im2col"). */
#include <string.h>

#include "pipeline/operator_window.h"

/* Floats of gathered windows at a time: stays in the cache, and small whatever the image is. */
#define TILE (1u << 18)

/* X [N, C, in…], W [M, C/group, kernel…] (transposed: [C, M/group, kernel…]). */
typedef struct {
  PipelineSpatial window;
  gsize n, c, m, groups;
} ConvShape;

static gboolean read_channels(const PipelineCall *call, gboolean transposed, ConvShape *shape, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *w = call->inputs[1], *bias = pipeline_input(call, 2);
  gint64 groups = onnx_node_get_int(call->node, "group", 1);
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (w->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 1, error);
  if (x->n_dims < 3 || w->n_dims != x->n_dims) {
    g_autofree gchar *left = pipeline_tensor_describe(x), *right = pipeline_tensor_describe(w);
    return pipeline_operator_fail(error, "it convolves %s with %s", left, right);
  }
  gint64 channels = x->dims[1];
  if (groups < 1 || groups > G_MAXINT32 || (transposed ? w->dims[0] : w->dims[1] * groups) != channels ||
      channels % groups != 0 || (!transposed && w->dims[0] % groups != 0))
    return pipeline_operator_fail(
        error, "%" G_GINT64_FORMAT " channels and %" G_GINT64_FORMAT " groups do not fit its weights", channels,
        groups);
  shape->n = (gsize)x->dims[0];
  shape->c = (gsize)channels;
  shape->groups = (gsize)groups;
  shape->m = (gsize)(transposed ? w->dims[1] * groups : w->dims[0]);
  if (bias == NULL) return TRUE;
  if (bias->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 2, error);
  return bias->n == shape->m || pipeline_operator_fail(error, "its bias does not have one number an output channel");
}

static gboolean set_output(PipelineCall *call, const ConvShape *shape, GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS] = {(gint64)shape->n, (gint64)shape->m};
  memcpy(dims + 2, shape->window.out, shape->window.n * sizeof(gint64));
  return pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, shape->window.n + 2, dims, error);
}

static void fill_bias(const PipelineTensor *bias, const ConvShape *shape, float *out)
{
  for (gsize row = 0; row < shape->n * shape->m; row++)
    for (gsize p = 0; p < shape->window.n_out; p++)
      *out++ = bias != NULL ? ((const float *)bias->data)[row % shape->m] : 0;
}

/* --- Conv
 * ------------------------------------------------------------------------------------------------------------- */

static gboolean read_conv(const PipelineCall *call, ConvShape *shape, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *w = call->inputs[1];
  return read_channels(call, FALSE, shape, error) &&
         pipeline_spatial_read(call, x->n_dims - 2, x->dims + 2, w->dims + 2, &shape->window, error);
}

gboolean pipeline_conv_infer(PipelineCall *call, GError **error)
{
  ConvShape shape;
  if (!read_conv(call, &shape, error) || !set_output(call, &shape, error)) return FALSE;
  double terms = (double)(shape.c / shape.groups) * (double)shape.window.n_kernel;
  return pipeline_charge_multiplications(call, (double)call->outputs[0]->n * terms, error);
}

/* A kernel of one element at stride 1: the image is its own matrix of windows. */
static gboolean is_pointwise(const PipelineSpatial *window)
{
  for (guint d = 0; d < window->n; d++)
    if (window->kernel[d] != 1 || window->stride[d] != 1 || window->out[d] != window->in[d]) return FALSE;
  return TRUE;
}

/* One group of one image: out [m, windows] += weights [m, c · kernel] × columns. */
static gboolean convolve_group(const PipelineCall *call, const ConvShape *shape, const float *image,
                               const float *weights, float *columns, float *out, GError **error)
{
  const PipelineSpatial *window = &shape->window;
  gsize channels = shape->c / shape->groups, k = channels * window->n_kernel, tile = MAX(TILE / MAX(k, 1), 16);
  gboolean pointwise = is_pointwise(window);
  for (gsize from = 0; from < window->n_out; from += tile) {
    gsize to = MIN(from + tile, window->n_out);
    for (gsize c = 0; !pointwise && c < channels; c++)
      pipeline_spatial_gather(window, image + c * window->n_in, from, to, columns + c * window->n_kernel * (to - from));
    PipelineGemm gemm = {.m = shape->m / shape->groups,
                         .n = to - from,
                         .k = k,
                         .alpha = 1,
                         .beta = 1,
                         .a = weights,
                         .lda = k,
                         .b = pointwise ? image + from : columns,
                         .ldb = pointwise ? window->n_in : to - from,
                         .c = out + from,
                         .ldc = window->n_out};
    if (!call->backend->gemm(&gemm, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_conv_run(PipelineCall *call, GError **error)
{
  ConvShape shape;
  if (!read_conv(call, &shape, error)) return FALSE;
  const float *x = call->inputs[0]->data, *w = call->inputs[1]->data;
  float *out = call->outputs[0]->data;
  gsize channels = shape.c / shape.groups, filters = shape.m / shape.groups, k = channels * shape.window.n_kernel;
  fill_bias(pipeline_input(call, 2), &shape, out);
  if (call->outputs[0]->n == 0 || k == 0) return TRUE;
  gsize tile = MIN(MAX(TILE / k, 16), shape.window.n_out);
  g_autofree float *columns = pipeline_scratch_new(call, tile * k, sizeof(float), error);
  if (columns == NULL) return FALSE;
  for (gsize i = 0; i < shape.n * shape.groups; i++) {
    gsize group = i % shape.groups;
    if (!convolve_group(call, &shape, x + i * channels * shape.window.n_in, w + group * filters * k, columns,
                        out + i * filters * shape.window.n_out, error))
      return FALSE;
  }
  return TRUE;
}

/* --- ConvTranspose: the windows slide over the output
 * --------------------------------------------------------------------- */

/* Output size of dimension d, and the padding where the size is given instead. */
static gboolean transposed_size(const PipelineCall *call, PipelineSpatial *window, guint d, const gint64 *given,
                                gint64 extra, GError **error)
{
  gint64 in = window->in[d], stride = window->stride[d];
  gint64 whole = stride * (in - 1) + extra + (window->kernel[d] - 1) * window->dilation[d] + 1;
  gboolean upper = pipeline_attribute_is(call, "auto_pad", "NOTSET", "SAME_UPPER");
  gboolean same = upper || pipeline_attribute_is(call, "auto_pad", "NOTSET", "SAME_LOWER");
  if (pipeline_attribute_is(call, "auto_pad", "NOTSET", "VALID")) window->before[d] = window->after[d] = 0;
  if (given != NULL || same) {
    gint64 total = MAX(whole - (given != NULL ? given[d] : in * stride), 0);
    window->before[d] = upper ? total / 2 : total - total / 2;
    window->after[d] = total - window->before[d];
    window->out[d] = given != NULL ? given[d] : in * stride;
  } else {
    window->out[d] = whole - window->before[d] - window->after[d];
  }
  return (window->out[d] >= 0 && window->out[d] < G_MAXINT32) ||
         pipeline_operator_fail(error, "its output would have the size %" G_GINT64_FORMAT, window->out[d]);
}

static gboolean read_list(const PipelineCall *call, const gchar *name, guint n, gint64 *values, gboolean *present,
                          GError **error)
{
  guint n_read;
  if (!pipeline_list_read(call, name, G_MAXUINT, values, &n_read, present, error)) return FALSE;
  for (guint i = 0; i < n_read; i++)
    if (values[i] < 0 || values[i] > G_MAXINT32) return pipeline_operator_fail(error, "%s is out of range", name);
  return !*present || n_read == n || pipeline_operator_fail(error, "%s has %u entries, not %u", name, n_read, n);
}

gboolean pipeline_spatial_read_transposed(const PipelineCall *call, PipelineSpatial *window, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *w = call->inputs[1];
  gint64 extra[ONNX_MAX_DIMENSIONS] = {0}, given[ONNX_MAX_DIMENSIONS];
  gboolean has_extra, has_shape;
  if (!pipeline_spatial_read_attributes(call, x->n_dims - 2, x->dims + 2, w->dims + 2, window, error) ||
      !read_list(call, "output_padding", window->n, extra, &has_extra, error) ||
      !read_list(call, "output_shape", window->n, given, &has_shape, error))
    return FALSE;
  for (guint d = 0; d < window->n; d++)
    if (!transposed_size(call, window, d, has_shape ? given : NULL, has_extra ? extra[d] : 0, error)) return FALSE;
  return pipeline_spatial_count(window, error);
}

static gboolean read_transposed(const PipelineCall *call, ConvShape *shape, GError **error)
{
  return read_channels(call, TRUE, shape, error) && pipeline_spatial_read_transposed(call, &shape->window, error);
}

gboolean pipeline_conv_transpose_infer(PipelineCall *call, GError **error)
{
  ConvShape shape;
  if (!read_transposed(call, &shape, error) || !set_output(call, &shape, error)) return FALSE;
  double terms = (double)(shape.m / shape.groups) * (double)shape.window.n_kernel;
  return pipeline_charge_multiplications(call, (double)call->inputs[0]->n * terms, error);
}

/* The window as it slides over the output: there the input's positions are the windows. */
static PipelineSpatial reverse(const PipelineSpatial *window)
{
  PipelineSpatial reversed = *window;
  for (guint d = 0; d < window->n; d++) {
    reversed.in[d] = window->out[d];
    reversed.out[d] = window->in[d];
  }
  reversed.n_in = window->n_out;
  reversed.n_out = window->n_in;
  return reversed;
}

gboolean pipeline_conv_transpose_run(PipelineCall *call, GError **error)
{
  ConvShape shape;
  if (!read_transposed(call, &shape, error)) return FALSE;
  PipelineSpatial window = reverse(&shape.window);
  const float *x = call->inputs[0]->data, *w = call->inputs[1]->data;
  float *out = call->outputs[0]->data;
  gsize channels = shape.c / shape.groups, filters = shape.m / shape.groups, rows = filters * window.n_kernel;
  fill_bias(pipeline_input(call, 2), &shape, out);
  if (call->outputs[0]->n == 0 || call->inputs[0]->n == 0) return TRUE;
  gsize tile = MIN(MAX(TILE / MAX(rows, 1), 16), window.n_out);
  g_autofree float *columns = pipeline_scratch_new(call, tile * rows, sizeof(float), error);
  if (columns == NULL) return FALSE;
  for (gsize i = 0; i < shape.n * shape.groups; i++)
    for (gsize from = 0; from < window.n_out; from += tile) {
      gsize to = MIN(from + tile, window.n_out);
      PipelineGemm gemm = {.transpose_a = TRUE,
                           .m = rows,
                           .n = to - from,
                           .k = channels,
                           .alpha = 1,
                           .a = w + i % shape.groups * channels * rows,
                           .lda = rows,
                           .b = x + i * channels * window.n_out + from,
                           .ldb = window.n_out,
                           .c = columns,
                           .ldc = to - from};
      if (!call->backend->gemm(&gemm, error)) return FALSE;
      for (gsize f = 0; f < filters; f++)
        pipeline_spatial_scatter(&window, columns + f * window.n_kernel * (to - from), from, to,
                                 out + (i * filters + f) * window.n_in);
    }
  return TRUE;
}

/* --- Col2Im: adds the columns [N, C · kernel, windows] up to an image
 * --------------------------------------------------------- */

static gboolean read_col2im(const PipelineCall *call, PipelineSpatial *window, GError **error)
{
  const PipelineTensor *columns = call->inputs[0];
  gint64 image[ONNX_MAX_DIMENSIONS], kernel[ONNX_MAX_DIMENSIONS];
  guint n, n_kernel;
  if (columns->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_integers_read(call->inputs[1], image, PIPELINE_SPATIAL_MAX, &n, error) ||
      !pipeline_integers_read(call->inputs[2], kernel, PIPELINE_SPATIAL_MAX, &n_kernel, error))
    return FALSE;
  if (n != n_kernel || columns->n_dims != 3)
    return pipeline_operator_fail(error, "its columns, image_shape and block_shape do not fit together");
  for (guint d = 0; d < n; d++)
    if (image[d] < 0 || image[d] > G_MAXINT32 || kernel[d] > G_MAXINT32)
      return pipeline_operator_fail(error, "its image_shape or block_shape is out of range");
  if (!pipeline_spatial_read(call, n, image, kernel, window, error)) return FALSE;
  return (columns->dims[1] % (gint64)window->n_kernel == 0 && columns->dims[2] == (gint64)window->n_out) ||
         pipeline_operator_fail(error, "its columns do not fit its image");
}

gboolean pipeline_col2im_infer(PipelineCall *call, GError **error)
{
  PipelineSpatial window;
  if (!read_col2im(call, &window, error)) return FALSE;
  const PipelineTensor *columns = call->inputs[0];
  gint64 dims[ONNX_MAX_DIMENSIONS] = {columns->dims[0], columns->dims[1] / (gint64)window.n_kernel};
  memcpy(dims + 2, window.in, window.n * sizeof(gint64));
  return pipeline_output_set(call, 0, columns->type, window.n + 2, dims, error);
}

gboolean pipeline_col2im_run(PipelineCall *call, GError **error)
{
  PipelineSpatial window;
  if (!read_col2im(call, &window, error)) return FALSE;
  const float *columns = call->inputs[0]->data;
  float *out = call->outputs[0]->data;
  gsize images = call->inputs[0]->n / MAX(window.n_kernel * window.n_out, 1);
  if (call->outputs[0]->n > 0) memset(out, 0, call->outputs[0]->n * sizeof(float));
  for (gsize i = 0; i < images; i++)
    pipeline_spatial_scatter(&window, columns + i * window.n_kernel * window.n_out, 0, window.n_out,
                             out + i * window.n_in);
  return TRUE;
}
