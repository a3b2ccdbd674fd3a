/* Computing narrow element types in a wider one: a row of the table then needs kernels for float32, float64, int32,
 * int64 and uint64 only. Rounding happens once, at the end, which is at least as exact as computing in the narrow type;
 * narrow integers wrap around as they would in their own type, because the low bits of sums and products are the same.
 */
#include "pipeline/operator_internal.h"

struct _PipelineWiden {
  PipelineTensor *inputs, *outputs;   /* [n_inputs], [n_outputs]; unused ones are empty */
  const PipelineTensor **wide_inputs; /* what the row's functions see */
  PipelineTensor **wide_outputs;
  OnnxType narrow, wide; /* of input 0, or of the first input that was widened */
  gboolean active;
};

static OnnxType wide_type(const PipelineCall *call, OnnxType type)
{
  guint flags = call->operator->widen;
  switch (type) {
  case ONNX_TYPE_FLOAT16:
  case ONNX_TYPE_BFLOAT16:
    return flags & (PIPELINE_WIDEN_HALF | PIPELINE_WIDEN_HALF_ALL) ? ONNX_TYPE_FLOAT : type;
  case ONNX_TYPE_INT8:
  case ONNX_TYPE_INT16:
  case ONNX_TYPE_UINT8:
  case ONNX_TYPE_UINT16:
  case ONNX_TYPE_UINT32:
    return flags & PIPELINE_WIDEN_INTEGERS ? ONNX_TYPE_INT64 : type;
  default:
    return type;
  }
}

static void convert(const PipelineTensor *from, PipelineTensor *to)
{
  gboolean integers = !pipeline_type_is_floating(from->type);
  for (gsize i = 0; i < from->n; i++) {
    if (integers)
      pipeline_element_put_integer(to, i, pipeline_element_get_integer(from, i));
    else
      pipeline_element_put_double(to, i, pipeline_element_get_double(from, i));
  }
}

static PipelineWiden *widen_new(const PipelineCall *call)
{
  PipelineWiden *widen = g_new0(PipelineWiden, 1);
  widen->inputs = g_new0(PipelineTensor, call->n_inputs + 1);
  widen->outputs = g_new0(PipelineTensor, call->n_outputs + 1);
  widen->wide_inputs = g_new0(const PipelineTensor *, call->n_inputs + 1);
  widen->wide_outputs = g_new0(PipelineTensor *, call->n_outputs + 1);
  return widen;
}

static gboolean widen_inputs(PipelineCall *call, GError **error)
{
  PipelineWiden *widen = call->widen;
  widen->narrow = ONNX_TYPE_UNDEFINED;
  for (guint i = 0; i < call->n_inputs; i++) {
    const PipelineTensor *input = call->inputs[i];
    widen->wide_inputs[i] = input;
    if (input == NULL) continue;
    OnnxType wide = wide_type(call, input->type);
    if (wide == input->type) {
      if (i == 0) widen->narrow = widen->wide = wide; /* output 0 has this type: nothing to narrow */
      continue;
    }
    PipelineTensor *copy = &widen->inputs[i];
    if (widen->narrow == ONNX_TYPE_UNDEFINED) widen->narrow = input->type, widen->wide = wide;
    if (!pipeline_tensor_set_shape(copy, wide, input->n_dims, input->dims, error) ||
        !pipeline_charge_bytes(call, copy->n * onnx_type_get_size(wide), error) ||
        !pipeline_tensor_allocate(copy, error))
      return FALSE;
    convert(input, copy);
    widen->wide_inputs[i] = copy;
  }
  for (guint i = 0; i < call->n_outputs; i++)
    widen->wide_outputs[i] = call->outputs[i] != NULL ? &widen->outputs[i] : NULL;
  return TRUE;
}

static gboolean needs_widening(const PipelineCall *call)
{
  if (call->operator->widen == PIPELINE_WIDEN_NONE) return FALSE;
  for (guint i = 0; i < call->n_inputs; i++)
    if (call->inputs[i] != NULL && wide_type(call, call->inputs[i]->type) != call->inputs[i]->type) return TRUE;
  return FALSE;
}

/* Calls `function` on the wide tensors. */
static gboolean call_wide(PipelineCall *call, gboolean (*function)(PipelineCall *, GError **), GError **error)
{
  const PipelineTensor **inputs = call->inputs;
  PipelineTensor **outputs = call->outputs;
  call->inputs = call->widen->wide_inputs;
  call->outputs = call->widen->wide_outputs;
  gboolean done = function(call, error);
  call->inputs = inputs;
  call->outputs = outputs;
  return done;
}

static OnnxType narrow_type(const PipelineCall *call, guint output)
{
  const PipelineWiden *widen = call->widen;
  OnnxType type = widen->outputs[output].type;
  gboolean all = (call->operator->widen & PIPELINE_WIDEN_HALF_ALL) != 0 && widen->wide == ONNX_TYPE_FLOAT;
  return (output == 0 || all) && type == widen->wide ? widen->narrow : type;
}

gboolean pipeline_call_infer(PipelineCall *call, GError **error)
{
  gboolean wide = needs_widening(call);
  if (wide && call->widen == NULL) call->widen = widen_new(call);
  if (call->widen != NULL) call->widen->active = wide;
  if (!wide) return call->operator->infer(call, error);
  if (!widen_inputs(call, error) || !call_wide(call, call->operator->infer, error)) return FALSE;
  for (guint i = 0; i < call->n_outputs; i++) {
    const PipelineTensor *from = &call->widen->outputs[i];
    if (call->outputs[i] == NULL) continue;
    if (!pipeline_tensor_set_shape(call->outputs[i], narrow_type(call, i), from->n_dims, from->dims, error))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_call_run(PipelineCall *call, GError **error)
{
  if (call->widen == NULL || !call->widen->active) return call->operator->run(call, error);
  for (guint i = 0; i < call->n_outputs; i++) {
    PipelineTensor *output = &call->widen->outputs[i];
    if (call->outputs[i] == NULL) continue;
    if (!pipeline_charge_bytes(call, output->n * pipeline_tensor_element_size(output->type), error) ||
        !pipeline_tensor_allocate(output, error))
      return FALSE;
  }
  if (!call_wide(call, call->operator->run, error)) return FALSE;
  for (guint i = 0; i < call->n_outputs; i++)
    if (call->outputs[i] != NULL) convert(&call->widen->outputs[i], call->outputs[i]);
  return TRUE;
}

void pipeline_call_clear(PipelineCall *call)
{
  if (call->state != NULL && call->state_free != NULL) call->state_free(call->state);
  call->state = NULL;
  PipelineWiden *widen = g_steal_pointer(&call->widen);
  if (widen == NULL) return;
  for (guint i = 0; i < call->n_inputs; i++) pipeline_tensor_clear(&widen->inputs[i]);
  for (guint i = 0; i < call->n_outputs; i++) pipeline_tensor_clear(&widen->outputs[i]);
  g_free(widen->inputs);
  g_free(widen->outputs);
  g_free(widen->wide_inputs);
  g_free(widen->wide_outputs);
  g_free(widen);
}
