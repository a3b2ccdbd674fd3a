#include <string.h>

#include "pipeline/gradient_internal.h"

const float *pipeline_gradient_of_output(const PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = index < call->call.n_outputs ? call->output_gradients[index] : NULL;
  return tensor != NULL ? tensor->data : NULL;
}

float *pipeline_gradient_of_input(const PipelineGradientCall *call, guint index)
{
  PipelineTensor *tensor = index < call->call.n_inputs ? call->input_gradients[index] : NULL;
  return tensor != NULL ? tensor->data : NULL;
}

const float *pipeline_gradient_input(const PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = pipeline_input(&call->call, index);
  return tensor != NULL ? tensor->data : NULL;
}

gpointer pipeline_gradient_memory(PipelineGradientCall *call, guint index, gsize bytes)
{
  g_return_val_if_fail(index < PIPELINE_GRADIENT_MEMORIES, NULL);
  if (bytes > call->capacities[index] || call->memories[index] == NULL) {
    call->memories[index] = g_realloc(call->memories[index], MAX(bytes, 1));
    call->capacities[index] = MAX(bytes, 1);
  }
  return call->memories[index];
}

void pipeline_gradient_call_clear(PipelineGradientCall *call)
{
  for (guint i = 0; i < PIPELINE_GRADIENT_MEMORIES; i++) {
    g_clear_pointer(&call->memories[i], g_free);
    call->capacities[i] = 0;
  }
  if (call->cached_free != NULL && call->cached != NULL) call->cached_free(call->cached);
  call->cached = NULL;
}

/* Sums run in double: a bias of a large batch adds up many small terms. */
void pipeline_gradient_sum_to(const PipelineTensor *from, float factor, PipelineTensor *to)
{
  const float *in = from->data;
  float *out = to->data;
  if (from->n == to->n) {
    for (gsize i = 0; i < to->n; i++) out[i] = factor * in[i];
    return;
  }
  PipelineBroadcast walk;
  const PipelineTensor *source = to;
  pipeline_broadcast_init(&walk, &source, 1, from);
  g_autofree double *sums = g_new0(double, MAX(to->n, 1));
  gsize step = walk.strides[0][walk.n_dims - 1];
  for (gsize row = 0; from->n > 0 && row < walk.outer; row++, in += walk.inner) {
    double *sum = sums + pipeline_broadcast_offset(&walk, 0, row);
    for (gsize i = 0; i < walk.inner; i++) sum[i * step] += (double)in[i];
  }
  for (gsize i = 0; i < to->n; i++) out[i] = (float)((double)factor * sums[i]);
}

gboolean pipeline_gradient_multiply(const PipelineGradientCall *call, const PipelineProduct *product, const float *a,
                                    const float *b, float *c, GError **error)
{
  const PipelineProduct *p = product;
  if (p->m == 0 || p->n == 0) return TRUE;
  if (p->k == 0) {
    for (gsize i = 0; p->beta == 0 && i < p->m * p->n; i++) c[i] = 0;
    return TRUE;
  }
  const PipelineGemm gemm = {.transpose_a = p->transpose_a,
                             .transpose_b = p->transpose_b,
                             .m = p->m,
                             .n = p->n,
                             .k = p->k,
                             .alpha = p->alpha,
                             .beta = p->beta,
                             .a = a,
                             .lda = p->transpose_a ? p->m : p->k,
                             .b = b,
                             .ldb = p->transpose_b ? p->k : p->n,
                             .c = c,
                             .ldc = p->n};
  return call->call.backend->gemm(&gemm, error);
}

/* --- windows ------------------------------------------------------------------------------------------------------ */

/* Attribute `name` of `per_dimension` entries a spatial dimension; what is absent is `standard`. */
static gboolean read_sizes(const PipelineCall *call, const gchar *name, guint n, gint64 standard, gint64 *values,
                           GError **error)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, name);
  gboolean given = attribute != NULL && attribute->kind == ONNX_ATTRIBUTE_INTS;
  for (guint i = 0; i < n; i++) values[i] = standard;
  if (!given) return TRUE;
  if (attribute->integers->len != n)
    return pipeline_operator_fail(error, "attribute %s has %u entries, not %u", name, attribute->integers->len, n);
  for (guint i = 0; i < n; i++) {
    values[i] = g_array_index(attribute->integers, gint64, i);
    if (values[i] < 0 || values[i] > G_MAXINT32)
      return pipeline_operator_fail(error, "attribute %s has %" G_GINT64_FORMAT, name, values[i]);
  }
  return TRUE;
}

/* One spatial dimension: how many places, and the padding that auto_pad means. */
static gboolean place_window(const PipelineCall *call, const gchar *automatic, PipelineGradientWindow *window, guint d,
                             GError **error)
{
  gint64 in = (gint64)window->in[d], stride = (gint64)window->stride[d];
  gint64 extent = ((gint64)window->kernel[d] - 1) * (gint64)window->dilation[d] + 1;
  gboolean upper = g_str_equal(automatic, "SAME_UPPER"), lower = g_str_equal(automatic, "SAME_LOWER");
  if (upper || lower) {
    gint64 total = MAX(((in + stride - 1) / stride - 1) * stride + extent - in, 0);
    window->before[d] = upper ? total / 2 : total - total / 2;
    window->after[d] = total - window->before[d];
  } else if (g_str_equal(automatic, "VALID")) {
    window->before[d] = window->after[d] = 0;
  }
  gint64 span = in + window->before[d] + window->after[d] - extent;
  if (span < 0 || window->kernel[d] == 0)
    return pipeline_operator_fail(
        error, "its window of %" G_GINT64_FORMAT " does not fit into %" G_GINT64_FORMAT " elements and their padding",
        extent, in);
  gint64 places = span / stride + 1;
  /* With ceil_mode a last place counts when it begins inside of the input or the padding before it. */
  if (onnx_node_get_int(call->node, "ceil_mode", 0) != 0 && span % stride != 0 &&
      places * stride < in + window->before[d])
    places++;
  window->out[d] = (gsize)places;
  return TRUE;
}

gboolean pipeline_gradient_window_read(const PipelineCall *call, const gint64 *kernel, PipelineGradientWindow *window,
                                       GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  guint spatial = x->n_dims >= 2 ? x->n_dims - 2 : 0;
  gint64 size[2], stride[2], dilation[2], pads[4];
  if (x->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (spatial < 1 || spatial > 2) {
    g_autofree gchar *shape = pipeline_tensor_describe(x);
    return pipeline_operator_fail(error, "its input %s does not have one or two spatial dimensions", shape);
  }
  if (!read_sizes(call, "kernel_shape", spatial, 0, size, error) ||
      !read_sizes(call, "strides", spatial, 1, stride, error) ||
      !read_sizes(call, "dilations", spatial, 1, dilation, error) ||
      !read_sizes(call, "pads", 2 * spatial, 0, pads, error))
    return FALSE;
  *window = (PipelineGradientWindow){.batch = (gsize)x->dims[0], .channels = (gsize)x->dims[1]};
  g_autofree gchar *automatic = onnx_node_copy_string(call->node, "auto_pad", "NOTSET");
  for (guint d = 0; d < 2; d++) {
    gboolean real = d + spatial >= 2;
    guint i = real ? d + spatial - 2 : 0;
    window->in[d] = real ? (gsize)x->dims[2 + i] : 1;
    window->kernel[d] = real ? (gsize)(kernel != NULL ? kernel[i] : size[i]) : 1;
    window->stride[d] = real ? (gsize)MAX(stride[i], 1) : 1;
    window->dilation[d] = real ? (gsize)MAX(dilation[i], 1) : 1;
    window->before[d] = real ? pads[i] : 0;
    window->after[d] = real ? pads[spatial + i] : 0;
    if (!place_window(call, real ? automatic : "NOTSET", window, d, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_gradient_window_output(PipelineCall *call, guint index, OnnxType type,
                                         const PipelineGradientWindow *window, gsize channels, GError **error)
{
  gint64 dims[4] = {(gint64)window->batch, (gint64)channels, (gint64)window->out[0], (gint64)window->out[1]};
  if (call->inputs[0]->n_dims == 3) dims[2] = dims[3];
  return pipeline_output_set(call, index, type, call->inputs[0]->n_dims, dims, error);
}
