/* Operators that move elements without looking at them: any type. */
#include <string.h>

#include "pipeline/operator_internal.h"

/* Copies n elements of `size` bytes, `step` source elements apart (may be negative). */
static void copy_elements(guint8 *to, const guint8 *from, gsize n, gint64 step, gsize size)
{
  if (step == 1) {
    if (n > 0) memcpy(to, from, n * size);
    return;
  }
  for (gsize i = 0; i < n; i++) memcpy(to + i * size, from + (gint64)i * step * (gint64)size, size);
}

/* Fills `out` from `in`, whose element for output index (i0, i1, …) lies at start + Σ i · steps. */
static void copy_strided(const PipelineTensor *in, gint64 start, const gint64 *steps, PipelineTensor *out)
{
  gsize size = pipeline_tensor_element_size(in->type);
  if (out->n == 0) return;
  guint last = out->n_dims > 0 ? out->n_dims - 1 : 0;
  gsize inner = out->n_dims > 0 ? (gsize)out->dims[last] : 1, outer = out->n / inner;
  guint8 *to = out->data;
  for (gsize row = 0; row < outer; row++, to += inner * size) {
    gint64 offset = start;
    gsize rest = row;
    for (guint d = last; d-- > 0;) {
      offset += (gint64)(rest % (gsize)out->dims[d]) * steps[d];
      rest /= (gsize)out->dims[d];
    }
    copy_elements(to, (const guint8 *)in->data + offset * (gint64)size, inner, out->n_dims > 0 ? steps[last] : 1, size);
  }
}

/* --- Transpose
 * -------------------------------------------------------------------------------------------------------- */

static gboolean read_permutation(const PipelineCall *call, guint permutation[ONNX_MAX_DIMENSIONS], GError **error)
{
  guint n_dims = call->inputs[0]->n_dims;
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "perm");
  gboolean seen[ONNX_MAX_DIMENSIONS] = {FALSE};
  if (attribute == NULL || attribute->kind != ONNX_ATTRIBUTE_INTS) {
    for (guint d = 0; d < n_dims; d++) permutation[d] = n_dims - 1 - d;
    return TRUE;
  }
  if (attribute->integers->len != n_dims)
    return pipeline_operator_fail(error, "perm does not have one entry a dimension");
  for (guint d = 0; d < n_dims; d++) {
    if (!pipeline_axis_resolve(g_array_index(attribute->integers, gint64, d), n_dims, FALSE, &permutation[d], error))
      return FALSE;
    if (seen[permutation[d]]) return pipeline_operator_fail(error, "perm names dimension %u twice", permutation[d]);
    seen[permutation[d]] = TRUE;
  }
  return TRUE;
}

gboolean pipeline_transpose_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint permutation[ONNX_MAX_DIMENSIONS];
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!read_permutation(call, permutation, error)) return FALSE;
  for (guint d = 0; d < in->n_dims; d++) dims[d] = in->dims[permutation[d]];
  return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
}

gboolean pipeline_transpose_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint permutation[ONNX_MAX_DIMENSIONS];
  gsize strides[ONNX_MAX_DIMENSIONS];
  gint64 steps[ONNX_MAX_DIMENSIONS];
  if (!read_permutation(call, permutation, error)) return FALSE;
  pipeline_strides(in, strides);
  for (guint d = 0; d < in->n_dims; d++) steps[d] = (gint64)strides[permutation[d]];
  copy_strided(in, 0, steps, call->outputs[0]);
  return TRUE;
}

/* --- Concat
 * ----------------------------------------------------------------------------------------------------------- */

gboolean pipeline_concat_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *first = call->inputs[0];
  guint axis;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  for (guint i = 0; i < call->n_inputs; i++)
    if (call->inputs[i] == NULL) return pipeline_operator_fail(error, "input %u is left out", i);
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", 1), first->n_dims, FALSE, &axis, error))
    return FALSE;
  memcpy(dims, first->dims, sizeof dims);
  dims[axis] = 0;
  for (guint i = 0; i < call->n_inputs; i++) {
    const PipelineTensor *input = call->inputs[i];
    if (input->type != first->type) return pipeline_operator_fail_type(call, i, error);
    for (guint d = 0; d < first->n_dims; d++)
      if (input->n_dims != first->n_dims || (d != axis && input->dims[d] != first->dims[d])) {
        g_autofree gchar *left = pipeline_tensor_describe(first), *right = pipeline_tensor_describe(input);
        return pipeline_operator_fail(error, "inputs %s and %s do not fit together", left, right);
      }
    dims[axis] += input->dims[axis]; /* each is a tensor in memory: the sum cannot overflow */
  }
  return pipeline_output_set(call, 0, first->type, first->n_dims, dims, error);
}

gboolean pipeline_concat_run(PipelineCall *call, GError **error)
{
  PipelineTensor *out = call->outputs[0];
  guint axis;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", 1), out->n_dims, FALSE, &axis, error)) return FALSE;
  gsize size = pipeline_tensor_element_size(out->type), outer = pipeline_dims_product(out->dims, 0, axis);
  gsize row = pipeline_dims_product(out->dims, axis, out->n_dims) * size, start = 0;
  for (guint i = 0; i < call->n_inputs; i++) {
    const PipelineTensor *in = call->inputs[i];
    gsize block = pipeline_dims_product(in->dims, axis, in->n_dims) * size;
    for (gsize o = 0; o < outer && block > 0; o++)
      memcpy((guint8 *)out->data + o * row + start, (const guint8 *)in->data + o * block, block);
    start += block;
  }
  return TRUE;
}

/* --- Split
 * ------------------------------------------------------------------------------------------------------------ */

/* The size of output `index` along the axis: given, or equal parts of which the last is smaller. */
static gboolean split_size(const PipelineCall *call, gint64 length, guint index, gint64 *size, GError **error)
{
  guint n_outputs = call->node->outputs->len;
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "split");
  const PipelineTensor *input = pipeline_input(call, 1);
  gsize n_given = attribute != NULL && attribute->kind == ONNX_ATTRIBUTE_INTS ? attribute->integers->len
                  : input != NULL                                             ? input->n
                                                                              : 0;
  if (n_given == 0) {
    gint64 part = (length + n_outputs - 1) / n_outputs;
    *size = CLAMP(length - part * (gint64)index, 0, part);
    return TRUE;
  }
  if (n_given != n_outputs)
    return pipeline_operator_fail(error, "it names %zu sizes for %u outputs", n_given, n_outputs);
  if (attribute != NULL)
    *size = g_array_index(attribute->integers, gint64, index);
  else if (input->type == ONNX_TYPE_INT64 || input->type == ONNX_TYPE_INT32)
    *size = pipeline_element_get_integer(input, index);
  else
    return pipeline_operator_fail_type(call, 1, error);
  return TRUE;
}

static gboolean split_axis(const PipelineCall *call, guint *axis, GError **error)
{
  return pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", 0), call->inputs[0]->n_dims, FALSE, axis, error);
}

gboolean pipeline_split_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint axis;
  gint64 dims[ONNX_MAX_DIMENSIONS], left;
  if (!split_axis(call, &axis, error)) return FALSE;
  memcpy(dims, in->dims, sizeof dims);
  left = in->dims[axis];
  for (guint i = 0; i < call->node->outputs->len; i++) {
    if (!split_size(call, in->dims[axis], i, &dims[axis], error)) return FALSE;
    if (dims[axis] < 0 || dims[axis] > left) return pipeline_operator_fail(error, "its sizes do not fit its input");
    left -= dims[axis];
    if (!pipeline_output_set(call, i, in->type, in->n_dims, dims, error)) return FALSE;
  }
  return left == 0 || pipeline_operator_fail(error, "its sizes leave %" G_GINT64_FORMAT " over", left);
}

gboolean pipeline_split_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint axis;
  if (!split_axis(call, &axis, error)) return FALSE;
  gsize size = pipeline_tensor_element_size(in->type), outer = pipeline_dims_product(in->dims, 0, axis), start = 0;
  gsize row = pipeline_dims_product(in->dims, axis, in->n_dims) * size;
  gsize unit = pipeline_dims_product(in->dims, axis + 1, in->n_dims) * size;
  for (guint i = 0; i < call->node->outputs->len; i++) {
    gint64 length;
    if (!split_size(call, in->dims[axis], i, &length, error)) return FALSE;
    gsize block = (gsize)length * unit;
    PipelineTensor *out = i < call->n_outputs ? call->outputs[i] : NULL;
    for (gsize o = 0; out != NULL && o < outer && block > 0; o++)
      memcpy((guint8 *)out->data + o * block, (const guint8 *)in->data + o * row + start, block);
    start += block;
  }
  return TRUE;
}

/* --- Slice
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct {
  gint64 start[ONNX_MAX_DIMENSIONS], step[ONNX_MAX_DIMENSIONS], count[ONNX_MAX_DIMENSIONS];
} SlicePlan;

static void slice_dimension(SlicePlan *plan, guint axis, gint64 size, gint64 start, gint64 end, gint64 step)
{
  /* Bounds far outside (INT64_MIN, INT64_MAX) mean "from one end to the other". */
  start = start < 0 ? MAX(start, -size) + (start < -size ? 0 : size) : start;
  end = end < 0 ? (end < -size ? -1 - size : end) + size : end;
  if (step > 0) {
    start = CLAMP(start, 0, size);
    end = CLAMP(end, 0, size);
  } else {
    start = CLAMP(start, -1, size - 1);
    end = CLAMP(end, -1, size - 1);
  }
  gint64 span = step > 0 ? end - start : start - end, stride = step > 0             ? step
                                                               : step == G_MININT64 ? G_MAXINT64
                                                                                    : -step;
  plan->start[axis] = start;
  plan->step[axis] = step;
  plan->count[axis] = span > 0 ? (span - 1) / stride + 1 : 0;
}

static gboolean slice_plan(const PipelineCall *call, SlicePlan *plan, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 starts[ONNX_MAX_DIMENSIONS], ends[ONNX_MAX_DIMENSIONS], axes[ONNX_MAX_DIMENSIONS], steps[ONNX_MAX_DIMENSIONS];
  guint n, n_ends, n_axes, n_steps;
  gboolean present, has_axes, has_steps;
  if (!pipeline_list_read(call, "starts", 1, starts, &n, &present, error) ||
      !pipeline_list_read(call, "ends", 2, ends, &n_ends, &present, error) ||
      !pipeline_list_read(call, "axes", 3, axes, &n_axes, &has_axes, error) ||
      !pipeline_list_read(call, "steps", 4, steps, &n_steps, &has_steps, error))
    return FALSE;
  if (n_ends != n || (has_axes && n_axes != n) || (has_steps && n_steps != n))
    return pipeline_operator_fail(error, "its starts, ends, axes and steps differ in length");
  for (guint d = 0; d < in->n_dims; d++) slice_dimension(plan, d, in->dims[d], 0, in->dims[d], 1);
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(has_axes ? axes[i] : (gint64)i, in->n_dims, FALSE, &axis, error)) return FALSE;
    gint64 step = has_steps ? steps[i] : 1;
    if (step == 0) return pipeline_operator_fail(error, "a step is zero");
    slice_dimension(plan, axis, in->dims[axis], starts[i], ends[i], step);
  }
  return TRUE;
}

gboolean pipeline_slice_infer(PipelineCall *call, GError **error)
{
  SlicePlan plan;
  return slice_plan(call, &plan, error) &&
         pipeline_output_set(call, 0, call->inputs[0]->type, call->inputs[0]->n_dims, plan.count, error);
}

gboolean pipeline_slice_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  SlicePlan plan;
  gsize strides[ONNX_MAX_DIMENSIONS];
  gint64 steps[ONNX_MAX_DIMENSIONS] = {0}, start = 0;
  if (!slice_plan(call, &plan, error)) return FALSE;
  if (call->outputs[0]->n == 0) return TRUE;
  pipeline_strides(in, strides);
  for (guint d = 0; d < in->n_dims; d++) {
    start += plan.start[d] * (gint64)strides[d];
    if (plan.count[d] > 1) steps[d] = plan.step[d] * (gint64)strides[d]; /* |step| < size: cannot overflow */
  }
  copy_strided(in, start, steps, call->outputs[0]);
  return TRUE;
}

/* --- Gather
 * ----------------------------------------------------------------------------------------------------------- */

static gboolean gather_axis(const PipelineCall *call, guint *axis, GError **error)
{
  return pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", 0), call->inputs[0]->n_dims, FALSE, axis, error);
}

gboolean pipeline_index_at(const PipelineTensor *indices, gsize i, gint64 length, gsize *index, GError **error)
{
  gint64 value = pipeline_element_get_integer(indices, i);
  if (value < -length || value >= length)
    return pipeline_operator_fail(error, "index %" G_GINT64_FORMAT " is not within %" G_GINT64_FORMAT " elements",
                                  value, length);
  *index = (gsize)(value < 0 ? value + length : value);
  return TRUE;
}

gboolean pipeline_gather_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *indices = call->inputs[1];
  guint axis, n_dims = 0;
  gint64 dims[2 * ONNX_MAX_DIMENSIONS];
  if (indices->type != ONNX_TYPE_INT64 && indices->type != ONNX_TYPE_INT32)
    return pipeline_operator_fail_type(call, 1, error);
  if (!gather_axis(call, &axis, error)) return FALSE;
  for (guint d = 0; d < axis; d++) dims[n_dims++] = in->dims[d];
  for (guint d = 0; d < indices->n_dims; d++) dims[n_dims++] = indices->dims[d];
  for (guint d = axis + 1; d < in->n_dims; d++) dims[n_dims++] = in->dims[d];
  return pipeline_output_set(call, 0, in->type, n_dims, dims, error);
}

gboolean pipeline_gather_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *indices = call->inputs[1];
  guint axis;
  if (!gather_axis(call, &axis, error)) return FALSE;
  gsize outer = pipeline_dims_product(in->dims, 0, axis);
  gsize block = pipeline_dims_product(in->dims, axis + 1, in->n_dims) * pipeline_tensor_element_size(in->type);
  guint8 *to = call->outputs[0]->data;
  for (gsize o = 0; o < outer; o++)
    for (gsize i = 0; i < indices->n; i++, to += block) {
      gsize index = 0;
      if (!pipeline_index_at(indices, i, in->dims[axis], &index, error)) return FALSE;
      if (block > 0) memcpy(to, (const guint8 *)in->data + (o * (gsize)in->dims[axis] + index) * block, block);
    }
  return TRUE;
}

/* --- ArrayFeatureExtractor: columns of the last dimension
 * ---------------------------------------------------------------- */

gboolean pipeline_array_feature_extractor_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *indices = call->inputs[1];
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (indices->type != ONNX_TYPE_INT64) return pipeline_operator_fail_type(call, 1, error);
  if (in->n_dims == 0) return pipeline_operator_fail(error, "its input is a scalar");
  memcpy(dims, in->dims, sizeof dims);
  dims[in->n_dims - 1] = (gint64)indices->n;
  if (in->n_dims > 1) return pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
  return pipeline_output_set(call, 0, in->type, 2, (gint64[]){1, dims[0]}, error);
}

gboolean pipeline_array_feature_extractor_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *indices = call->inputs[1];
  gint64 width = in->dims[in->n_dims - 1];
  gsize size = pipeline_tensor_element_size(in->type), rows = pipeline_dims_product(in->dims, 0, in->n_dims - 1);
  guint8 *to = call->outputs[0]->data;
  for (gsize row = 0; row < rows; row++)
    for (gsize i = 0; i < indices->n; i++, to += size) {
      gsize index = 0;
      if (!pipeline_index_at(indices, i, width, &index, error)) return FALSE;
      memcpy(to, (const guint8 *)in->data + (row * (gsize)width + index) * size, size);
    }
  return TRUE;
}

/* --- Expand
 * ----------------------------------------------------------------------------------------------------------- */

gboolean pipeline_expand_infer(PipelineCall *call, GError **error)
{
  PipelineTensor target = {0};
  guint n, n_dims;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_integers_read(call->inputs[1], target.dims, ONNX_MAX_DIMENSIONS, &n, error)) return FALSE;
  target.n_dims = n;
  for (guint d = 0; d < n; d++)
    if (target.dims[d] < 0) return pipeline_operator_fail(error, "it asks for a negative dimension");
  const PipelineTensor *pair[2] = {call->inputs[0], &target};
  return pipeline_broadcast_shape(pair, 2, dims, &n_dims, error) &&
         pipeline_output_set(call, 0, call->inputs[0]->type, n_dims, dims, error);
}

gboolean pipeline_expand_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, call->inputs, 1, out);
  guint last = walk.n_dims - 1;
  gsize size = pipeline_tensor_element_size(in->type);
  for (gsize row = 0; out->n > 0 && row < walk.outer; row++)
    copy_elements((guint8 *)out->data + row * walk.inner * size,
                  (const guint8 *)in->data + pipeline_broadcast_offset(&walk, 0, row) * size, walk.inner,
                  (gint64)walk.strides[0][last], size);
  return TRUE;
}
