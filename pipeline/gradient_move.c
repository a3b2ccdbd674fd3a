/* Operators that move elements: their gradients move them back. And Dropout, Cast. */
#include <string.h>

#include "pipeline/gradient_internal.h"

/* Output 0 has the elements of input 0 in another shape. */
gboolean pipeline_copy_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  PipelineTensor *dx = call->input_gradients[0];
  if (dx != NULL && dx->n > 0) memcpy(dx->data, call->output_gradients[0]->data, dx->n * sizeof(float));
  return TRUE;
}

/* To float32 and from it; other types do not depend smoothly on their input. */
gboolean pipeline_cast_backward(PipelineGradientCall *call, GError **error)
{
  if (call->call.outputs[0]->type == ONNX_TYPE_FLOAT && call->call.inputs[0]->type == ONNX_TYPE_FLOAT)
    return pipeline_copy_backward(call, error);
  PipelineTensor *dx = call->input_gradients[0];
  if (dx != NULL) memset(dx->data, 0, dx->n * sizeof(float));
  return TRUE;
}

/* --- Slice, Transpose, Pad: where did each element come from? ------------------------------------------------------
 */

GByteArray *pipeline_gradient_describe_move(const PipelineCall *call)
{
  GByteArray *key = g_byte_array_new();
  const PipelineTensor *x = call->inputs[0];
  g_byte_array_append(key, (const guint8 *)x->dims, (guint)(x->n_dims * sizeof(gint64)));
  for (guint i = 1; i < call->n_inputs; i++) {
    const PipelineTensor *input = call->inputs[i];
    guint bytes = input != NULL ? (guint)(input->n * pipeline_tensor_element_size(input->type)) : 0;
    g_byte_array_append(key, (const guint8 *)&bytes, sizeof bytes);
    if (bytes > 0) g_byte_array_append(key, input->data, bytes);
  }
  return key;
}

/* The operator itself is run on the numbers in the place of the elements. */
gboolean pipeline_gradient_find_origins(const PipelineCall *call, gint64 *origins, GError **error)
{
  PipelineCall moved = *call;
  PipelineTensor numbers = *call->inputs[0], result = *call->outputs[0];
  g_autofree gint64 *elements = g_new(gint64, numbers.n + 1);
  g_autofree const PipelineTensor **inputs = g_memdup2(call->inputs, (call->n_inputs + 1) * sizeof *call->inputs);
  PipelineTensor *outputs[] = {&result};
  for (gsize i = 0; i < numbers.n; i++) elements[i] = (gint64)i + 1;
  numbers.type = result.type = ONNX_TYPE_INT64;
  numbers.data = elements;
  result.data = origins;
  inputs[0] = &numbers;
  for (guint i = 1; i < call->n_inputs; i++) /* a value to fill in would have another type */
    if (inputs[i] != NULL && inputs[i]->type == ONNX_TYPE_FLOAT) inputs[i] = NULL;
  moved.inputs = inputs;
  moved.outputs = outputs;
  moved.n_outputs = 1;
  return call->operator->run(&moved, error);
}

gboolean pipeline_move_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor *dx = call->input_gradients[0];
  gsize n = call->call.outputs[0]->n;
  if (dx == NULL) return TRUE;
  g_autoptr(GByteArray) key = pipeline_gradient_describe_move(&call->call);
  gboolean known = call->capacities[1] == key->len && memcmp(call->memories[1], key->data, key->len) == 0;
  gint64 *origins = pipeline_gradient_memory(call, 0, n * sizeof(gint64));
  if (!known) {
    g_clear_pointer(&call->memories[1], g_free);
    call->capacities[1] = 0;
    if (!pipeline_gradient_find_origins(&call->call, origins, error)) return FALSE;
    memcpy(pipeline_gradient_memory(call, 1, key->len), key->data, key->len);
  }
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *to = dx->data;
  memset(to, 0, dx->n * sizeof(float));
  for (gsize i = 0; i < n; i++)
    if (origins[i] > 0) to[origins[i] - 1] += dy[i];
  return TRUE;
}

/* --- Concat, Split ------------------------------------------------------------------------------------------------ */

/* Copies [outer] blocks between a part and the whole along an axis. */
static void copy_part(float *part, const float *whole, gsize outer, gsize block, gsize row, gsize start)
{
  for (gsize o = 0; o < outer && block > 0; o++)
    memcpy(part + o * block, whole + o * row + start, block * sizeof(float));
}

gboolean pipeline_concat_backward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dy = call->output_gradients[0];
  guint axis;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->call.node, "axis", 1), dy->n_dims, FALSE, &axis, error))
    return FALSE;
  gsize outer = pipeline_dims_product(dy->dims, 0, axis), row = pipeline_dims_product(dy->dims, axis, dy->n_dims);
  gsize start = 0;
  for (guint i = 0; i < call->call.n_inputs; i++) {
    const PipelineTensor *x = call->call.inputs[i];
    gsize block = pipeline_dims_product(x->dims, axis, x->n_dims);
    float *dx = pipeline_gradient_of_input(call, i);
    if (dx != NULL) copy_part(dx, dy->data, outer, block, row, start);
    start += block;
  }
  return TRUE;
}

gboolean pipeline_split_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor *dx = call->input_gradients[0];
  guint axis;
  if (dx == NULL) return TRUE;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->call.node, "axis", 0), dx->n_dims, FALSE, &axis, error))
    return FALSE;
  gsize outer = pipeline_dims_product(dx->dims, 0, axis), row = pipeline_dims_product(dx->dims, axis, dx->n_dims);
  gsize start = 0;
  for (guint i = 0; i < call->call.n_outputs; i++) {
    const PipelineTensor *y = call->call.outputs[i];
    if (y == NULL) return pipeline_operator_fail(error, "a part of it that nobody reads has no name");
    gsize block = pipeline_dims_product(y->dims, axis, y->n_dims);
    const float *dy = pipeline_gradient_of_output(call, i);
    for (gsize o = 0; o < outer && block > 0; o++) {
      float *to = (float *)dx->data + o * row + start;
      if (dy != NULL)
        memcpy(to, dy + o * block, block * sizeof(float));
      else
        memset(to, 0, block * sizeof(float));
    }
    start += block;
  }
  return TRUE;
}

/* --- Gather: an embedding is one; rows that were looked up twice add up --------------------------------------------
 */

gboolean pipeline_gather_backward(PipelineGradientCall *call, GError **error)
{
  PipelineTensor *dx = call->input_gradients[0];
  const PipelineTensor *indices = call->call.inputs[1];
  guint axis;
  if (dx == NULL) return TRUE;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->call.node, "axis", 0), dx->n_dims, FALSE, &axis, error))
    return FALSE;
  gsize outer = pipeline_dims_product(dx->dims, 0, axis), length = (gsize)dx->dims[axis];
  gsize block = pipeline_dims_product(dx->dims, axis + 1, dx->n_dims);
  const float *dy = pipeline_gradient_of_output(call, 0);
  memset(dx->data, 0, dx->n * sizeof(float));
  for (gsize o = 0; o < outer; o++)
    for (gsize i = 0; i < indices->n; i++, dy += block) {
      gint64 index = (gint64)pipeline_element_get_double(indices, i);
      float *to = (float *)dx->data + (o * length + (gsize)(index < 0 ? index + (gint64)length : index)) * block;
      for (gsize k = 0; k < block; k++) to[k] += dy[k];
    }
  return TRUE;
}

gboolean pipeline_expand_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  if (call->input_gradients[0] != NULL)
    pipeline_gradient_sum_to(call->output_gradients[0], 1, call->input_gradients[0]);
  return TRUE;
}

/* --- Dropout (Srivastava et al. 2014): kept elements grow by 1 / (1 − ratio), so that prediction does nothing -------
 */

float pipeline_gradient_dropout_ratio(const PipelineCall *call, const PipelineTensor *input)
{
  double ratio = input != NULL && input->n > 0 ? pipeline_element_get_double(input, 0)
                                               : (double)onnx_node_get_float(call->node, "ratio", 0.5f);
  return (float)CLAMP(ratio, 0, 1);
}

/* Elements of the whole batch in front of those here. A value that has nothing to do with rows begins at 0. */
static guint64 elements_before(const PipelineGradientSlice *slice, gsize n)
{
  gsize rows = slice != NULL ? (gsize)MAX(slice->n, 1) : 1;
  return slice == NULL || n % rows != 0 ? 0 : slice->first * (n / rows);
}

/* One number is drawn; element i of the batch gets the i-th of a stream that begins there (SplitMix64, Steele et al.
 * 2014), whichever process computes it. */
void pipeline_gradient_dropout_mask(PipelineGradientCall *call, float ratio, float *mask, gsize n)
{
  float kept = ratio < 1 ? 1 / (1 - ratio) : 0;
  guint32 bound = (guint32)((double)ratio * 0x1p24);
  guint8 *shown = call->call.n_outputs > 1 && call->call.outputs[1] != NULL ? call->call.outputs[1]->data : NULL;
  guint64 begin = pipeline_random_next(call->random), element = elements_before(call->slice, n), bits = 0;
  for (gsize i = 0; i < n; i++, element++) {
    if (i == 0 || element % 2 == 0) bits = pipeline_random_at(begin, element / 2);
    mask[i] = ((bits >> (element % 2 == 0 ? 8 : 40)) & 0xffffff) >= bound ? kept : 0;
    if (shown != NULL) shown[i] = mask[i] != 0;
  }
}

gboolean pipeline_gradient_dropout_forward(PipelineGradientCall *call, GError **error)
{
  float ratio = pipeline_gradient_dropout_ratio(&call->call, pipeline_input(&call->call, 1));
  if (!call->training || call->random == NULL || ratio == 0) return call->call.operator->run(&call->call, error);
  const float *x = call->call.inputs[0]->data;
  gsize n = call->call.inputs[0]->n;
  float *y = call->call.outputs[0]->data, *mask = pipeline_gradient_memory(call, 0, n * sizeof(float));
  pipeline_gradient_dropout_mask(call, ratio, mask, n);
  for (gsize i = 0; i < n; i++) y[i] = x[i] * mask[i];
  return TRUE;
}

gboolean pipeline_dropout_backward(PipelineGradientCall *call, GError **error)
{
  if (!call->training || call->random == NULL ||
      pipeline_gradient_dropout_ratio(&call->call, pipeline_input(&call->call, 1)) == 0)
    return pipeline_copy_backward(call, error);
  const float *mask = call->memories[0], *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  for (gsize i = 0; dx != NULL && i < call->call.inputs[0]->n; i++) dx[i] = dy[i] * mask[i];
  return TRUE;
}
