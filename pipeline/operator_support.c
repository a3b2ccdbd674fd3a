#include <string.h>

#include "pipeline/operator_internal.h"

gboolean pipeline_operator_fail(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  GError *made = g_error_new_valist(PIPELINE_ERROR, PIPELINE_ERROR_MODEL, format, arguments);
  va_end(arguments);
  g_propagate_error(error, made);
  return FALSE;
}

gboolean pipeline_operator_fail_type(const PipelineCall *call, guint input, GError **error)
{
  const PipelineTensor *tensor = pipeline_input(call, input);
  g_autofree gchar *text = tensor != NULL ? pipeline_tensor_describe(tensor) : g_strdup("nothing");
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "input %u is %s, which %s does not compute here",
              input, text, call->operator->name);
  return FALSE;
}

gboolean pipeline_output_set(PipelineCall *call, guint index, OnnxType type, guint n_dims, const gint64 *dims,
                             GError **error)
{
  if (index >= call->n_outputs || call->outputs[index] == NULL) return TRUE;
  return pipeline_tensor_set_shape(call->outputs[index], type, n_dims, dims, error);
}

gboolean pipeline_output_like(PipelineCall *call, guint index, OnnxType type, const PipelineTensor *like,
                              GError **error)
{
  return pipeline_output_set(call, index, type, like->n_dims, like->dims, error);
}

const PipelineTensor *pipeline_input(const PipelineCall *call, guint index)
{
  return index < call->n_inputs ? call->inputs[index] : NULL;
}

gboolean pipeline_axis_resolve(gint64 axis, guint n_dims, gboolean allow_end, guint *resolved, GError **error)
{
  gint64 limit = (gint64)n_dims + (allow_end ? 1 : 0), positive = axis < 0 ? axis + (gint64)n_dims : axis;
  if (axis < -(gint64)n_dims || positive >= limit)
    return pipeline_operator_fail(error, "axis %" G_GINT64_FORMAT " does not exist in %u dimensions", axis, n_dims);
  *resolved = (guint)positive;
  return TRUE;
}

gboolean pipeline_integers_read(const PipelineTensor *tensor, gint64 *values, guint capacity, guint *n, GError **error)
{
  if (tensor->type != ONNX_TYPE_INT64 && tensor->type != ONNX_TYPE_INT32)
    return pipeline_operator_fail(error, "a list of integers has type %s", onnx_type_get_name(tensor->type));
  if (tensor->n > capacity)
    return pipeline_operator_fail(error, "a list of %zu integers is too long (at most %u)", tensor->n, capacity);
  for (gsize i = 0; i < tensor->n; i++)
    values[i] = tensor->type == ONNX_TYPE_INT64 ? ((const gint64 *)tensor->data)[i] : ((const gint32 *)tensor->data)[i];
  *n = (guint)tensor->n;
  return TRUE;
}

gboolean pipeline_list_read(const PipelineCall *call, const gchar *name, guint index, gint64 *values, guint *n,
                            gboolean *present, GError **error)
{
  *n = 0;
  *present = FALSE;
  const OnnxAttribute *attribute = onnx_node_get_attribute(call->node, name);
  if (attribute != NULL && attribute->kind == ONNX_ATTRIBUTE_INTS) {
    if (attribute->integers->len > ONNX_MAX_DIMENSIONS)
      return pipeline_operator_fail(error, "attribute '%s' has more than %d entries", name, ONNX_MAX_DIMENSIONS);
    *n = attribute->integers->len;
    *present = TRUE;
    for (guint i = 0; i < *n; i++) values[i] = g_array_index(attribute->integers, gint64, i);
    return TRUE;
  }
  const PipelineTensor *input = pipeline_input(call, index);
  if (input == NULL) return TRUE;
  *present = TRUE;
  return pipeline_integers_read(input, values, ONNX_MAX_DIMENSIONS, n, error);
}

gsize pipeline_dims_product(const gint64 *dims, guint from, guint to)
{
  gsize product = 1;
  for (guint i = from; i < to; i++) product *= (gsize)dims[i];
  return product;
}

void pipeline_strides(const PipelineTensor *tensor, gsize *strides)
{
  gsize stride = 1;
  for (guint i = tensor->n_dims; i-- > 0;) {
    strides[i] = stride;
    stride *= (gsize)tensor->dims[i];
  }
}

gboolean pipeline_type_is_number(OnnxType type)
{
  return type != ONNX_TYPE_STRING && onnx_type_get_size(type) > 0;
}

gboolean pipeline_type_is_floating(OnnxType type)
{
  return type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_DOUBLE || type == ONNX_TYPE_FLOAT16 || type == ONNX_TYPE_BFLOAT16;
}

gboolean pipeline_charge_multiplications(const PipelineCall *call, double multiplications, GError **error)
{
  PipelineBudget *budget = call->budget;
  if (budget == NULL) return TRUE;
  budget->multiplications -= multiplications;
  if (budget->multiplications >= 0) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                      "the model needs more multiplications than one run may do");
  return FALSE;
}

gboolean pipeline_charge_bytes(const PipelineCall *call, guint64 bytes, GError **error)
{
  PipelineBudget *budget = call->budget;
  if (budget == NULL) return TRUE;
  if (bytes <= budget->bytes) {
    budget->bytes -= bytes;
    return TRUE;
  }
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                      "the model needs more memory than one run may use");
  return FALSE;
}

gpointer pipeline_scratch_new(const PipelineCall *call, gsize n, gsize size, GError **error)
{
  if (!pipeline_charge_bytes(call, (guint64)n * size, error)) return NULL;
  gpointer memory = g_try_malloc0(MAX(n * size, 16));
  if (memory == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "not enough memory for %zu bytes", n * size);
  return memory;
}

gboolean pipeline_attribute_is(const PipelineCall *call, const gchar *name, const gchar *fallback, const gchar *value)
{
  g_autofree gchar *text = onnx_node_copy_string(call->node, name, fallback);
  return strcmp(text, value) == 0;
}

gboolean pipeline_around(const PipelineTensor *tensor, gint64 axis, PipelineAround *around, GError **error)
{
  if (!pipeline_axis_resolve(axis, tensor->n_dims, FALSE, &around->axis, error)) return FALSE;
  around->outer = pipeline_dims_product(tensor->dims, 0, around->axis);
  around->length = (gsize)tensor->dims[around->axis];
  around->inner = pipeline_dims_product(tensor->dims, around->axis + 1, tensor->n_dims);
  return TRUE;
}

/* --- broadcasting
 * ----------------------------------------------------------------------------------------------------- */

gboolean pipeline_broadcast_shape(const PipelineTensor *const *inputs, guint n_inputs, gint64 *dims, guint *n_dims,
                                  GError **error)
{
  *n_dims = 0;
  for (guint i = 0; i < n_inputs; i++) *n_dims = MAX(*n_dims, inputs[i]->n_dims);
  for (guint d = 0; d < *n_dims; d++) dims[d] = 1;
  for (guint i = 0; i < n_inputs; i++) {
    guint shift = *n_dims - inputs[i]->n_dims;
    for (guint d = 0; d < inputs[i]->n_dims; d++) {
      gint64 size = inputs[i]->dims[d], *out = &dims[shift + d];
      if (size != 1 && *out != 1 && *out != size) {
        g_autofree gchar *first = pipeline_tensor_describe(inputs[0]), *other = pipeline_tensor_describe(inputs[i]);
        return pipeline_operator_fail(error, "shapes %s and %s do not fit together", first, other);
      }
      if (size != 1) *out = size;
    }
  }
  return TRUE;
}

/* TRUE when every input walks dimension d and d + 1 as one. */
static gboolean can_merge(const PipelineBroadcast *broadcast, guint n_inputs, guint d)
{
  if (broadcast->dims[d] == 1 || broadcast->dims[d + 1] == 1) return TRUE;
  for (guint i = 0; i < n_inputs; i++)
    if (broadcast->strides[i][d] != broadcast->strides[i][d + 1] * broadcast->dims[d + 1]) return FALSE;
  return TRUE;
}

static void merge(PipelineBroadcast *broadcast, guint n_inputs, guint d)
{
  if (broadcast->dims[d + 1] != 1)
    for (guint i = 0; i < n_inputs; i++) broadcast->strides[i][d] = broadcast->strides[i][d + 1];
  broadcast->dims[d] *= broadcast->dims[d + 1];
  for (guint e = d + 1; e + 1 < broadcast->n_dims; e++) {
    broadcast->dims[e] = broadcast->dims[e + 1];
    for (guint i = 0; i < n_inputs; i++) broadcast->strides[i][e] = broadcast->strides[i][e + 1];
  }
  broadcast->n_dims--;
}

void pipeline_broadcast_init(PipelineBroadcast *broadcast, const PipelineTensor *const *inputs, guint n_inputs,
                             const PipelineTensor *output)
{
  memset(broadcast, 0, sizeof *broadcast);
  broadcast->n_dims = MAX(output->n_dims, 1);
  broadcast->dims[0] = 1;
  for (guint d = 0; d < output->n_dims; d++) broadcast->dims[d] = (gsize)output->dims[d];
  for (guint i = 0; i < n_inputs; i++) {
    gsize strides[ONNX_MAX_DIMENSIONS];
    guint shift = output->n_dims - inputs[i]->n_dims;
    pipeline_strides(inputs[i], strides);
    for (guint d = 0; d < inputs[i]->n_dims; d++)
      broadcast->strides[i][shift + d] = inputs[i]->dims[d] == 1 ? 0 : strides[d];
  }
  for (guint d = broadcast->n_dims - 1; d-- > 0;)
    if (can_merge(broadcast, n_inputs, d)) merge(broadcast, n_inputs, d);
  broadcast->inner = broadcast->dims[broadcast->n_dims - 1];
  broadcast->outer = 1;
  for (guint d = 0; d + 1 < broadcast->n_dims; d++) broadcast->outer *= broadcast->dims[d];
}

gsize pipeline_broadcast_offset(const PipelineBroadcast *broadcast, guint input, gsize row)
{
  gsize offset = 0;
  for (guint d = broadcast->n_dims - 1; d-- > 0;) {
    offset += row % broadcast->dims[d] * broadcast->strides[input][d];
    row /= broadcast->dims[d];
  }
  return offset;
}

gboolean pipeline_pair(const PipelineCall *call, const PipelineTensor *pair[2], PipelineTensor *view, GError **error)
{
  const PipelineTensor *left = call->inputs[0], *right = call->inputs[1];
  pair[0] = left;
  pair[1] = right;
  guint axis = 0;
  gboolean slopes = call->operator->parameter == & pipeline_binary_prelu && right->n_dims == 1 && right->n> 1;
  gboolean given = slopes || onnx_node_get_attribute(call->node, "axis") != NULL; /* slopes are one a channel */
  if (call->opset >= 7 || !given || right->n_dims == 0 || left->n_dims == 0) return TRUE;
  gint64 asked = onnx_node_get_int(call->node, "axis", slopes && left->n_dims > 1 ? 1 : 0);
  if (!pipeline_axis_resolve(asked, left->n_dims, FALSE, &axis, error)) return FALSE;
  if (axis + right->n_dims > left->n_dims)
    return pipeline_operator_fail(error, "its second input has more dimensions than are left from axis %u", axis);
  *view = *right;
  view->n_dims = left->n_dims - axis;
  for (guint d = right->n_dims; d < view->n_dims; d++) view->dims[d] = 1;
  pair[1] = view;
  return TRUE;
}
