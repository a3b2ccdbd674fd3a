/* Softmax, LogSoftmax, ReduceSum, ReduceMean, ReduceMax, ReduceMin, GlobalMaxPool. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"

gboolean pipeline_gradient_softmax_axis(const PipelineCall *call, gsize *outer, gsize *length, gsize *inner,
                                        GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gboolean flat = call->opset < 13;
  guint axis = 0;
  *outer = *length = *inner = 1;
  if (x->n_dims == 0) return TRUE;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", flat ? 1 : -1), x->n_dims, flat, &axis, error))
    return FALSE;
  *outer = pipeline_dims_product(x->dims, 0, axis);
  *length = flat ? pipeline_dims_product(x->dims, axis, x->n_dims) : (gsize)x->dims[axis];
  *inner = flat ? 1 : pipeline_dims_product(x->dims, axis + 1, x->n_dims);
  return TRUE;
}

/* Softmax: dx = y (dy − Σ dy y). Its logarithm: dx = dy − eʸ Σ dy. */
gboolean pipeline_softmax_backward(PipelineGradientCall *call, GError **error)
{
  gsize outer, length, inner;
  gboolean logarithm = call->gradient->parameter != NULL;
  if (!pipeline_gradient_softmax_axis(&call->call, &outer, &length, &inner, error)) return FALSE;
  if (call->input_gradients[0] == NULL) return TRUE;
  for (gsize line = 0; line < outer * inner; line++) {
    gsize start = line / inner * length * inner + line % inner;
    const float *y = (const float *)call->call.outputs[0]->data + start;
    const float *dy = pipeline_gradient_of_output(call, 0) + start;
    float *dx = pipeline_gradient_of_input(call, 0) + start;
    double sum = 0;
    for (gsize i = 0; i < length * inner; i += inner) sum += (double)dy[i] * (logarithm ? 1 : (double)y[i]);
    for (gsize i = 0; i < length * inner; i += inner)
      dx[i] = logarithm ? dy[i] - expf(y[i]) * (float)sum : y[i] * (dy[i] - (float)sum);
  }
  return TRUE;
}

const gint pipeline_reduce_mean_gradient = 1;

gboolean pipeline_gradient_kept_shape(const PipelineCall *call, PipelineTensor *kept, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  gint64 axes[ONNX_MAX_DIMENSIONS];
  guint n;
  gboolean present;
  if (!pipeline_list_read(call, "axes", 1, axes, &n, &present, error)) return FALSE;
  gboolean none = n == 0 && onnx_node_get_int(call->node, "noop_with_empty_axes", 0) != 0;
  *kept = (PipelineTensor){.type = ONNX_TYPE_FLOAT, .n_dims = x->n_dims};
  memcpy(kept->dims, x->dims, sizeof x->dims);
  for (guint d = 0; d < x->n_dims && n == 0 && !none; d++) kept->dims[d] = 1;
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(axes[i], x->n_dims, FALSE, &axis, error)) return FALSE;
    kept->dims[axis] = 1;
  }
  kept->n = pipeline_dims_product(kept->dims, 0, kept->n_dims);
  return TRUE;
}

gboolean pipeline_reduce_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor kept, *dx = call->input_gradients[0];
  if (dx == NULL) return TRUE;
  if (!pipeline_gradient_kept_shape(&call->call, &kept, error)) return FALSE;
  float factor = call->gradient->parameter != NULL && dx->n > 0 ? (float)kept.n / (float)dx->n : 1;
  const PipelineTensor *source = &kept;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, &source, 1, dx);
  gsize step = walk.strides[0][walk.n_dims - 1];
  for (gsize row = 0; dx->n > 0 && row < walk.outer; row++) {
    const float *dy = pipeline_gradient_of_output(call, 0) + pipeline_broadcast_offset(&walk, 0, row);
    float *to = (float *)dx->data + row * walk.inner;
    for (gsize i = 0; i < walk.inner; i++) to[i] = factor * dy[i * step];
  }
  return TRUE;
}

/* --- the largest or smallest of each line: ReduceMax, ReduceMin, GlobalMaxPool --------------------------------------
 */

const gint pipeline_smallest_gradient = 1;

gboolean pipeline_gradient_extreme_shape(const PipelineCall *call, PipelineTensor *kept, GError **error)
{
  const PipelineTensor *y = call->outputs[0];
  if (strcmp(call->node->op_type, "GlobalMaxPool") != 0) return pipeline_gradient_kept_shape(call, kept, error);
  *kept = (PipelineTensor){.type = ONNX_TYPE_FLOAT, .n_dims = y->n_dims, .n = y->n};
  memcpy(kept->dims, y->dims, sizeof y->dims);
  return TRUE;
}

/* What is no number goes before all others, as in prediction. */
static gboolean goes_before(float a, float b, gboolean smallest)
{
  return isnan(a) ? !isnan(b) : (smallest ? a < b : a > b);
}

/* chosen: for each line which element of x is its result, the first of equal ones; G_MAXSIZE: the line is empty. */
static void choose_extremes(const PipelineTensor *x, const PipelineTensor *kept, gboolean smallest, gsize *chosen)
{
  const float *values = x->data;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, &kept, 1, x);
  gsize step = walk.strides[0][walk.n_dims - 1];
  for (gsize i = 0; i < kept->n; i++) chosen[i] = G_MAXSIZE;
  for (gsize row = 0; x->n > 0 && row < walk.outer; row++) {
    gsize *line = chosen + pipeline_broadcast_offset(&walk, 0, row);
    for (gsize i = 0; i < walk.inner; i++) {
      gsize at = row * walk.inner + i, *best = line + i * step;
      if (*best == G_MAXSIZE || goes_before(values[at], values[*best], smallest)) *best = at;
    }
  }
}

/* The whole gradient goes to one element, also where several are equal: as MaxPool's. */
gboolean pipeline_extreme_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor kept;
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  if (!pipeline_gradient_extreme_shape(&call->call, &kept, error)) return FALSE;
  gsize *chosen = pipeline_gradient_memory(call, 0, kept.n * sizeof(gsize));
  choose_extremes(call->call.inputs[0], &kept, call->gradient->parameter != NULL, chosen);
  memset(dx, 0, call->call.inputs[0]->n * sizeof(float));
  for (gsize i = 0; i < kept.n; i++)
    if (chosen[i] != G_MAXSIZE) dx[chosen[i]] = dy[i];
  return TRUE;
}
