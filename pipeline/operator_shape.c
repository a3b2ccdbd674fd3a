/* Operators that look at, set or make shapes. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

gboolean pipeline_copy_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  if (in->n > 0) memcpy(call->outputs[0]->data, in->data, in->n * pipeline_tensor_element_size(in->type));
  return TRUE;
}

gboolean pipeline_identity_infer(PipelineCall *call, GError **error)
{
  return pipeline_output_like(call, 0, call->inputs[0]->type, call->inputs[0], error);
}

/* What is dropped at random cannot be computed: refused where training_mode is to be obeyed and the ratio is not 0. */
static gboolean drops(const PipelineCall *call)
{
  const PipelineTensor *ratio = pipeline_input(call, 1), *training = pipeline_input(call, 2);
  if (!call->as_written || training == NULL || pipeline_element_get_double(training, 0) == 0) return FALSE;
  return ratio == NULL || ratio->n == 0 || pipeline_element_get_double(ratio, 0) != 0;
}

/* Inference: the input, and a mask of ones. Before set 10 the mask has the input's type. */
gboolean pipeline_dropout_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *training = pipeline_input(call, 2);
  OnnxType mask = call->opset < 10 ? in->type : ONNX_TYPE_BOOL;
  if (training != NULL && training->n != 1) return pipeline_operator_fail_type(call, 2, error);
  if (drops(call)) return pipeline_operator_fail(error, "it drops elements at random: export the model for inference");
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, in->type, in, error) && pipeline_output_like(call, 1, mask, in, error);
}

gboolean pipeline_dropout_run(PipelineCall *call, GError **error)
{
  PipelineTensor *mask = call->n_outputs > 1 ? call->outputs[1] : NULL;
  for (gsize i = 0; mask != NULL && i < mask->n; i++) pipeline_element_put_double(mask, i, 1);
  return pipeline_copy_run(call, error);
}

gboolean pipeline_flatten_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  guint axis;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", 1), in->n_dims, TRUE, &axis, error)) return FALSE;
  gint64 dims[2] = {(gint64)pipeline_dims_product(in->dims, 0, axis),
                    (gint64)pipeline_dims_product(in->dims, axis, in->n_dims)};
  return pipeline_output_set(call, 0, in->type, 2, dims, error);
}

gboolean pipeline_reshape_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims, unknown = G_MAXUINT;
  gsize known = 1;
  gboolean allow_zero = onnx_node_get_int(call->node, "allowzero", 0) != 0;
  if (!pipeline_integers_read(call->inputs[1], dims, ONNX_MAX_DIMENSIONS, &n_dims, error)) return FALSE;
  for (guint d = 0; d < n_dims; d++) {
    if (dims[d] == 0 && !allow_zero) {
      if (d >= in->n_dims) return pipeline_operator_fail(error, "its shape copies dimension %u, which is not there", d);
      dims[d] = in->dims[d];
    }
    if (dims[d] == -1 && unknown == G_MAXUINT)
      unknown = d;
    else if (dims[d] < 0)
      return pipeline_operator_fail(error, "dimension %u of its shape is %" G_GINT64_FORMAT, d, dims[d]);
    else if (dims[d] > 0 && known > G_MAXSIZE / (gsize)dims[d])
      return pipeline_operator_fail(error, "its shape is too large");
    else
      known *= (gsize)dims[d];
  }
  if (unknown != G_MAXUINT) dims[unknown] = known > 0 && in->n % known == 0 ? (gint64)(in->n / known) : -1;
  if (unknown != G_MAXUINT ? dims[unknown] < 0 : known != in->n)
    return pipeline_operator_fail(error, "%zu elements do not fit the shape that it asks for", in->n);
  return pipeline_output_set(call, 0, in->type, n_dims, dims, error);
}

gboolean pipeline_squeeze_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 axes[ONNX_MAX_DIMENSIONS], dims[ONNX_MAX_DIMENSIONS];
  gboolean present, remove[ONNX_MAX_DIMENSIONS] = {FALSE};
  guint n, n_dims = 0;
  if (!pipeline_list_read(call, "axes", 1, axes, &n, &present, error)) return FALSE;
  for (guint d = 0; !present && d < in->n_dims; d++) remove[d] = in->dims[d] == 1;
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(axes[i], in->n_dims, FALSE, &axis, error)) return FALSE;
    if (in->dims[axis] != 1) return pipeline_operator_fail(error, "dimension %u is not 1", axis);
    remove[axis] = TRUE;
  }
  for (guint d = 0; d < in->n_dims; d++)
    if (!remove[d]) dims[n_dims++] = in->dims[d];
  return pipeline_output_set(call, 0, in->type, n_dims, dims, error);
}

gboolean pipeline_unsqueeze_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 axes[ONNX_MAX_DIMENSIONS], dims[ONNX_MAX_DIMENSIONS];
  gboolean present, insert[ONNX_MAX_DIMENSIONS] = {FALSE};
  guint n, next = 0;
  if (!pipeline_list_read(call, "axes", 1, axes, &n, &present, error)) return FALSE;
  guint n_dims = in->n_dims + n;
  if (n_dims > ONNX_MAX_DIMENSIONS) return pipeline_operator_fail(error, "it asks for %u dimensions", n_dims);
  for (guint i = 0; i < n; i++) {
    guint axis;
    if (!pipeline_axis_resolve(axes[i], n_dims, FALSE, &axis, error)) return FALSE;
    if (insert[axis]) return pipeline_operator_fail(error, "axis %u is named twice", axis);
    insert[axis] = TRUE;
  }
  for (guint d = 0; d < n_dims; d++) dims[d] = insert[d] ? 1 : in->dims[next++];
  return pipeline_output_set(call, 0, in->type, n_dims, dims, error);
}

/* --- Shape, Size
 * ------------------------------------------------------------------------------------------------------- */

/* The dimensions [start, end) that Shape reports; out-of-range bounds are clamped. */
static void shape_range(const PipelineCall *call, gint64 *start, gint64 *end)
{
  gint64 n = call->inputs[0]->n_dims;
  *start = onnx_node_get_int(call->node, "start", 0);
  *end = onnx_node_get_int(call->node, "end", n);
  *start = CLAMP(*start < 0 ? *start + n : *start, 0, n);
  *end = CLAMP(*end < 0 ? *end + n : *end, 0, n);
}

gboolean pipeline_shape_infer(PipelineCall *call, GError **error)
{
  gint64 start, end;
  shape_range(call, &start, &end);
  return pipeline_output_set(call, 0, ONNX_TYPE_INT64, 1, (gint64[]){MAX(end - start, 0)}, error);
}

gboolean pipeline_shape_run(PipelineCall *call, GError **error)
{
  (void)error;
  gint64 start, end, *out = call->outputs[0]->data;
  shape_range(call, &start, &end);
  for (gint64 d = start; d < end; d++) *out++ = call->inputs[0]->dims[d];
  return TRUE;
}

gboolean pipeline_size_infer(PipelineCall *call, GError **error)
{
  return pipeline_output_set(call, 0, ONNX_TYPE_INT64, 0, NULL, error);
}

gboolean pipeline_size_run(PipelineCall *call, GError **error)
{
  (void)error;
  *(gint64 *)call->outputs[0]->data = (gint64)call->inputs[0]->n;
  return TRUE;
}

/* --- Constant, ConstantOfShape, Range
 * ---------------------------------------------------------------------------------- */

/* onnx_graph_simplify makes initialisers of Constant nodes; what arrives here are those of graphs that were not. */
static const OnnxTensor *constant_tensor(const PipelineCall *call)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, "value");
  return attribute != NULL ? attribute->tensor : NULL;
}

gboolean pipeline_constant_infer(PipelineCall *call, GError **error)
{
  const OnnxTensor *tensor = constant_tensor(call);
  if (tensor == NULL) return pipeline_operator_fail(error, "its value is of a kind that is not read (sparse?)");
  return pipeline_output_set(call, 0, tensor->type, tensor->n_dims, tensor->dims, error);
}

gboolean pipeline_constant_run(PipelineCall *call, GError **error)
{
  return pipeline_tensor_set_onnx(call->outputs[0], constant_tensor(call), error);
}

gboolean pipeline_constant_of_shape_infer(PipelineCall *call, GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  const OnnxTensor *value = constant_tensor(call);
  if (value != NULL && (onnx_tensor_get_n_elements(value) != 1 || value->type == ONNX_TYPE_STRING))
    return pipeline_operator_fail(error, "its value is not one number");
  return pipeline_integers_read(call->inputs[0], dims, ONNX_MAX_DIMENSIONS, &n_dims, error) &&
         pipeline_output_set(call, 0, value != NULL ? value->type : ONNX_TYPE_FLOAT, n_dims, dims, error);
}

gboolean pipeline_constant_of_shape_run(PipelineCall *call, GError **error)
{
  (void)error;
  const OnnxTensor *value = constant_tensor(call);
  PipelineTensor *out = call->outputs[0];
  gsize size = pipeline_tensor_element_size(out->type);
  static const guint64 zero = 0;
  gconstpointer element = value != NULL ? g_bytes_get_data(value->bytes, NULL) : &zero;
  if (out->n == 0) return TRUE;
  /* Hundreds of megabytes in some models: what is filled is copied behind itself. */
  gsize bytes = out->n * size, filled = size;
  memcpy(out->data, element, size);
  for (; filled < bytes; filled += MIN(filled, bytes - filled))
    memcpy((guint8 *)out->data + filled, out->data, MIN(filled, bytes - filled));
  return TRUE;
}

gboolean pipeline_range_infer(PipelineCall *call, GError **error)
{
  OnnxType type = call->inputs[0]->type;
  double bounds[3];
  for (guint i = 0; i < 3; i++) {
    const PipelineTensor *input = call->inputs[i];
    if (input->type != type || input->n != 1) return pipeline_operator_fail_type(call, i, error);
    bounds[i] = pipeline_element_get_double(input, 0);
  }
  if (type != ONNX_TYPE_FLOAT && type != ONNX_TYPE_DOUBLE && type != ONNX_TYPE_INT32 && type != ONNX_TYPE_INT64)
    return pipeline_operator_fail_type(call, 0, error);
  double n = ceil((bounds[1] - bounds[0]) / bounds[2]);
  if (!(bounds[2] != 0) || !(n < 1e9)) return pipeline_operator_fail(error, "its step is zero or its range too long");
  return pipeline_output_set(call, 0, type, 1, (gint64[]){n > 0 ? (gint64)n : 0}, error);
}

/* Integers in unsigned arithmetic: a product may leave the range although the sum does not. */
#define RANGE(type, wide)                                                                                              \
  {                                                                                                                    \
    type start = *(const type *)call->inputs[0]->data, step = *(const type *)call->inputs[2]->data;                    \
    for (gsize i = 0; i < out->n; i++) ((type *)out->data)[i] = (type)((wide)start + (wide)i * (wide)step);            \
  }

gboolean pipeline_range_run(PipelineCall *call, GError **error)
{
  (void)error;
  PipelineTensor *out = call->outputs[0];
  if (out->type == ONNX_TYPE_FLOAT)
    RANGE(float, float)
  else if (out->type == ONNX_TYPE_DOUBLE)
    RANGE(double, double)
  else if (out->type == ONNX_TYPE_INT32)
    RANGE(gint32, guint32)
  else
    RANGE(gint64, guint64)
  return TRUE;
}
