#include "pipeline/operator_window.h"

#include <string.h>

/* Beyond this nothing is a network any more; keeps the arithmetic below far from overflow. */
#define MAX_SIZE (G_GINT64_CONSTANT(1) << 31)

static gboolean read_sizes(const PipelineCall *call, const gchar *name, guint n, gint64 lowest, gint64 *values,
                           gint64 default_value, GError **error)
{
  gint64 read[ONNX_MAX_DIMENSIONS];
  guint n_read;
  gboolean present;
  for (guint d = 0; d < n; d++) values[d] = default_value;
  if (!pipeline_list_read(call, name, G_MAXUINT, read, &n_read, &present, error)) return FALSE;
  if (!present) return TRUE;
  if (n_read != n) return pipeline_operator_fail(error, "%s has %u entries, not %u", name, n_read, n);
  for (guint d = 0; d < n; d++) {
    if (read[d] < lowest || read[d] >= MAX_SIZE)
      return pipeline_operator_fail(error, "%s has the entry %" G_GINT64_FORMAT, name, read[d]);
    values[d] = read[d];
  }
  return TRUE;
}

/* pads: all beginnings, then all ends; up to 2 · 6 entries. Negative ones crop; only Pad has those. */
static gboolean read_pads(const PipelineCall *call, guint n, PipelineSpatial *window, GError **error)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "pads");
  for (guint d = 0; d < n; d++) window->before[d] = window->after[d] = 0;
  if (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_INTS) return TRUE;
  if (attribute->integers->len != 2 * n)
    return pipeline_operator_fail(error, "pads has %u entries, not %u", attribute->integers->len, 2 * n);
  for (guint d = 0; d < 2 * n; d++) {
    gint64 pad = g_array_index(attribute->integers, gint64, d);
    if (pad < 0 || pad >= MAX_SIZE) return pipeline_operator_fail(error, "pads has the entry %" G_GINT64_FORMAT, pad);
    if (d < n)
      window->before[d] = pad;
    else
      window->after[d - n] = pad;
  }
  return TRUE;
}

gboolean pipeline_spatial_read_attributes(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                                          PipelineSpatial *window, GError **error)
{
  memset(window, 0, sizeof *window);
  if (n == 0 || n > PIPELINE_SPATIAL_MAX) return pipeline_operator_fail(error, "its input has no spatial dimensions");
  window->n = n;
  memcpy(window->in, in, n * sizeof(gint64));
  if (kernel == NULL && onnx_node_get_attribute(call->node, "kernel_shape") == NULL)
    return pipeline_operator_fail(error, "it has no kernel_shape");
  if (!read_sizes(call, "kernel_shape", n, 1, window->kernel, 1, error) ||
      !read_sizes(call, "strides", n, 1, window->stride, 1, error) ||
      !read_sizes(call, "dilations", n, 1, window->dilation, 1, error) || !read_pads(call, n, window, error))
    return FALSE;
  for (guint d = 0; d < n; d++) {
    if (kernel != NULL && onnx_node_get_attribute(call->node, "kernel_shape") != NULL && kernel[d] != window->kernel[d])
      return pipeline_operator_fail(error, "kernel_shape differs from the shape of its weights");
    if (kernel != NULL) window->kernel[d] = kernel[d];
    if (window->kernel[d] < 1 || in[d] < 0) return pipeline_operator_fail(error, "its kernel is empty");
  }
  return TRUE;
}

static gboolean set_sizes(const PipelineCall *call, PipelineSpatial *window, GError **error)
{
  g_autofree gchar *pad = onnx_node_copy_string(call->node, "auto_pad", "NOTSET");
  gboolean upper = strcmp(pad, "SAME_UPPER") == 0, same = upper || strcmp(pad, "SAME_LOWER") == 0;
  gboolean ceiling = onnx_node_get_int(call->node, "ceil_mode", 0) != 0;
  if (!same && strcmp(pad, "NOTSET") != 0 && strcmp(pad, "VALID") != 0)
    return pipeline_operator_fail(error, "auto_pad '%s' is unknown", pad);
  for (guint d = 0; d < window->n; d++) {
    gint64 reach = (window->kernel[d] - 1) * window->dilation[d] + 1, stride = window->stride[d], in = window->in[d];
    if (strcmp(pad, "VALID") == 0) window->before[d] = window->after[d] = 0;
    if (same) {
      window->out[d] = (in + stride - 1) / stride;
      gint64 total = MAX((window->out[d] - 1) * stride + reach - in, 0);
      window->before[d] = upper ? total / 2 : total - total / 2;
      window->after[d] = total - window->before[d];
      continue;
    }
    gint64 room = in + window->before[d] + window->after[d] - reach;
    if (room < 0) return pipeline_operator_fail(error, "its window is larger than its padded input");
    window->out[d] = (ceiling ? room + stride - 1 : room) / stride + 1;
    /* A window that would begin in the padding at the end is left out. */
    if (ceiling && (window->out[d] - 1) * stride >= in + window->before[d]) window->out[d]--;
  }
  return TRUE;
}

gboolean pipeline_spatial_count(PipelineSpatial *window, GError **error)
{
  double products[3] = {1, 1, 1};
  window->n_kernel = window->n_in = window->n_out = 1;
  for (guint d = 0; d < window->n; d++) {
    products[0] *= (double)window->kernel[d];
    products[1] *= (double)window->in[d];
    products[2] *= (double)window->out[d];
    window->n_kernel *= (gsize)window->kernel[d];
    window->n_in *= (gsize)window->in[d];
    window->n_out *= (gsize)window->out[d];
  }
  for (guint i = 0; i < 3; i++)
    if (products[i] >= 0x1p40) return pipeline_operator_fail(error, "its windows are too large");
  return TRUE;
}

gboolean pipeline_spatial_read(const PipelineCall *call, guint n, const gint64 *in, const gint64 *kernel,
                               PipelineSpatial *window, GError **error)
{
  return pipeline_spatial_read_attributes(call, n, in, kernel, window, error) && set_sizes(call, window, error) &&
         pipeline_spatial_count(window, error);
}

/* A stretch of windows that differ in the last dimension only, for one kernel element. */
typedef struct {
  gsize n;         /* windows */
  gboolean inside; /* the other dimensions hit the image */
  gsize base;      /* offset of that line of the image */
  gint64 first;    /* position of the first window within the line; the next ones lie `stride` further */
} Stretch;

static Stretch find_stretch(const PipelineSpatial *window, const gint64 *offset, gsize p, gsize to)
{
  guint last = window->n - 1;
  gsize column = p % (gsize)window->out[last], rest = p / (gsize)window->out[last], stride = (gsize)window->in[last];
  Stretch stretch = {.n = MIN((gsize)window->out[last] - column, to - p), .inside = TRUE};
  for (guint d = last; d-- > 0;) {
    gint64 at = (gint64)(rest % (gsize)window->out[d]) * window->stride[d] - window->before[d] + offset[d];
    rest /= (gsize)window->out[d];
    stretch.inside = stretch.inside && at >= 0 && at < window->in[d];
    if (stretch.inside) stretch.base += (gsize)at * stride;
    stride *= (gsize)window->in[d];
  }
  stretch.first = (gint64)column * window->stride[last] - window->before[last] + offset[last];
  return stretch;
}

static void kernel_offset(const PipelineSpatial *window, gsize k, gint64 *offset)
{
  for (guint d = window->n; d-- > 0;) {
    offset[d] = (gint64)(k % (gsize)window->kernel[d]) * window->dilation[d];
    k /= (gsize)window->kernel[d];
  }
}

void pipeline_spatial_gather(const PipelineSpatial *window, const float *image, gsize from, gsize to, float *columns)
{
  gint64 offset[PIPELINE_SPATIAL_MAX], step = window->stride[window->n - 1], width = window->in[window->n - 1];
  for (gsize k = 0; k < window->n_kernel; k++) {
    kernel_offset(window, k, offset);
    for (gsize p = from; p < to;) {
      Stretch stretch = find_stretch(window, offset, p, to);
      gint64 at = stretch.first;
      for (gsize i = 0; i < stretch.n; i++, at += step)
        *columns++ = stretch.inside && at >= 0 && at < width ? image[stretch.base + (gsize)at] : 0;
      p += stretch.n;
    }
  }
}

void pipeline_spatial_scatter(const PipelineSpatial *window, const float *columns, gsize from, gsize to, float *image)
{
  gint64 offset[PIPELINE_SPATIAL_MAX], step = window->stride[window->n - 1], width = window->in[window->n - 1];
  for (gsize k = 0; k < window->n_kernel; k++) {
    kernel_offset(window, k, offset);
    for (gsize p = from; p < to;) {
      Stretch stretch = find_stretch(window, offset, p, to);
      gint64 at = stretch.first;
      for (gsize i = 0; i < stretch.n; i++, at += step, columns++)
        if (stretch.inside && at >= 0 && at < width) image[stretch.base + (gsize)at] += *columns;
      p += stretch.n;
    }
  }
}
