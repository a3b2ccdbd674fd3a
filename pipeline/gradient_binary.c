/* Derivatives of two operands that are broadcast together: the gradient of an operand is summed over where it was
 * repeated. */
#include <math.h>
#include <string.h>

#include "pipeline/gradient_internal.h"

/* out[i] = dy[i] · ∂y/∂operand, for a row of n places; a and b advance by their steps (0: repeated). */
typedef void (*PartialFunc)(const float *a, gsize step_a, const float *b, gsize step_b, const float *dy, float *out,
                            gsize n);

struct _PipelinePartial {
  PartialFunc operands[2];
};

#define PARTIAL(name, expression)                                                                                      \
  static void name(const float *pa, gsize step_a, const float *pb, gsize step_b, const float *dy, float *out, gsize n) \
  {                                                                                                                    \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      const float a = pa[i * step_a], b = pb[i * step_b];                                                              \
      (void)a;                                                                                                         \
      (void)b;                                                                                                         \
      out[i] = dy[i] * (expression);                                                                                   \
    }                                                                                                                  \
  }
PARTIAL(one, 1.0f)
PARTIAL(minus_one, -1.0f)
PARTIAL(first, a)
PARTIAL(second, b)
PARTIAL(div_first, 1 / b)
PARTIAL(div_second, -a / (b * b))
/* x^y where a derivative does not exist (x = 0 or x < 0 with a fractional y): powf's own NaN or infinity. */
PARTIAL(pow_first, b == 0 ? 0.0f : b * powf(a, b - 1))
PARTIAL(pow_second, a == 0 && b > 0 ? 0.0f : powf(a, b) * logf(a))
/* Of equal operands the first one is chosen. */
PARTIAL(min_first, a <= b ? 1.0f : 0.0f)
PARTIAL(min_second, a <= b ? 0.0f : 1.0f)
PARTIAL(max_first, a >= b ? 1.0f : 0.0f)
PARTIAL(max_second, a >= b ? 0.0f : 1.0f)
/* At 0 the side of the input itself, as Relu's family; slopes below 0 are multiplied like others. */
PARTIAL(prelu_first, a < 0 ? b : 1.0f)
PARTIAL(prelu_second, a < 0 ? a : 0.0f)

const PipelinePartial pipeline_partial_add = {{one, one}};
const PipelinePartial pipeline_partial_sub = {{one, minus_one}};
const PipelinePartial pipeline_partial_mul = {{second, first}};
const PipelinePartial pipeline_partial_div = {{div_first, div_second}};
const PipelinePartial pipeline_partial_pow = {{pow_first, pow_second}};
const PipelinePartial pipeline_partial_min = {{min_first, min_second}};
const PipelinePartial pipeline_partial_max = {{max_first, max_second}};
const PipelinePartial pipeline_partial_prelu = {{prelu_first, prelu_second}};

/* The operands as floats: an exponent may be an integer. */
static const float *as_floats(PipelineGradientCall *call, guint index)
{
  const PipelineTensor *tensor = call->call.inputs[index];
  if (tensor->type == ONNX_TYPE_FLOAT) return tensor->data;
  float *values = pipeline_gradient_memory(call, 1 + index, tensor->n * sizeof(float));
  for (gsize i = 0; i < tensor->n; i++) values[i] = (float)pipeline_element_get_double(tensor, i);
  return values;
}

/* pair: the inputs as they are broadcast; dx has the shape of its operand there. */
static void differentiate(PipelineGradientCall *call, const PipelineTensor *const pair[2], PartialFunc partial,
                          PipelineTensor *dx)
{
  const PipelineTensor *dy = call->output_gradients[0];
  const float *a = as_floats(call, 0), *b = as_floats(call, 1), *in = dy->data;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, pair, 2, dy);
  guint last = walk.n_dims - 1;
  gboolean direct = dx->n == dy->n; /* nothing was repeated */
  float *out = direct ? dx->data : pipeline_gradient_memory(call, 0, dy->n * sizeof(float));
  for (gsize row = 0; dy->n > 0 && row < walk.outer; row++)
    partial(a + pipeline_broadcast_offset(&walk, 0, row), walk.strides[0][last],
            b + pipeline_broadcast_offset(&walk, 1, row), walk.strides[1][last], in + row * walk.inner,
            out + row * walk.inner, walk.inner);
  if (direct) return;
  PipelineTensor whole = *dy;
  whole.data = out;
  pipeline_gradient_sum_to(&whole, 1, dx);
}

gboolean pipeline_binary_backward(PipelineGradientCall *call, GError **error)
{
  const PipelinePartial *partial = call->gradient->parameter;
  const PipelineTensor *pair[2];
  PipelineTensor view;
  if (call->call.n_inputs != 2)
    return pipeline_operator_fail(error, "only two inputs are trained through, not %u", call->call.n_inputs);
  if (!pipeline_pair(&call->call, pair, &view, error)) return FALSE;
  for (guint i = 0; i < 2; i++) {
    if (call->input_gradients[i] == NULL) continue;
    PipelineTensor dx = *pair[i]; /* before set 7 its shape is not the gradient's own */
    dx.data = call->input_gradients[i]->data;
    if (partial->operands[i] == one)
      pipeline_gradient_sum_to(call->output_gradients[0], 1, &dx);
    else
      differentiate(call, pair, partial->operands[i], &dx);
  }
  return TRUE;
}

const gint pipeline_mean_gradient = 1;

/* Sum, and Mean (parameter non-NULL): a share of it. */
gboolean pipeline_sum_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  float share = call->gradient->parameter != NULL ? 1 / (float)call->call.n_inputs : 1;
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->input_gradients[i] != NULL)
      pipeline_gradient_sum_to(call->output_gradients[0], share, call->input_gradients[i]);
  return TRUE;
}

gboolean pipeline_where_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *dy = call->output_gradients[0];
  const guint8 *condition = call->call.inputs[0]->data;
  float *part = pipeline_gradient_memory(call, 0, dy->n * sizeof(float));
  PipelineTensor whole = *dy;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, call->call.inputs, 1, dy);
  gsize step = walk.strides[0][walk.n_dims - 1];
  whole.data = part;
  for (guint operand = 1; operand < 3; operand++) {
    if (call->input_gradients[operand] == NULL) continue;
    for (gsize row = 0; dy->n > 0 && row < walk.outer; row++) {
      const guint8 *chosen = condition + pipeline_broadcast_offset(&walk, 0, row);
      const float *in = (const float *)dy->data + row * walk.inner;
      for (gsize i = 0; i < walk.inner; i++)
        part[row * walk.inner + i] = (chosen[i * step] != 0) == (operand == 1) ? in[i] : 0;
    }
    pipeline_gradient_sum_to(&whole, 1, call->input_gradients[operand]);
  }
  return TRUE;
}
