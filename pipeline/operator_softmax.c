/* Softmax, LogSoftmax, Hardmax, ArgMax, ArgMin: along one axis. */
#include <math.h>

#include "pipeline/operator_internal.h"

const gint pipeline_softmax_logarithm = 1;
const gint pipeline_arg_min = 1;

/* Before operator set 13 everything from the axis on is one dimension. */
static gboolean softmax_around(const PipelineCall *call, PipelineAround *around, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gboolean flat = call->opset < 13;
  guint axis;
  if (in->n_dims == 0) {
    *around = (PipelineAround){0, 1, 1, 1};
    return TRUE;
  }
  if (!pipeline_axis_resolve(onnx_node_get_int(call->node, "axis", flat ? 1 : -1), in->n_dims, flat, &axis, error))
    return FALSE;
  around->outer = pipeline_dims_product(in->dims, 0, axis);
  around->length = flat ? pipeline_dims_product(in->dims, axis, in->n_dims) : (gsize)in->dims[axis];
  around->inner = flat ? 1 : pipeline_dims_product(in->dims, axis + 1, in->n_dims);
  return TRUE;
}

gboolean pipeline_softmax_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around;
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  return softmax_around(call, &around, error) && pipeline_output_like(call, 0, in->type, in, error);
}

/* One line of `length` elements `step` apart. The sum runs in double. */
#define SOFTMAX(name, type, exp_function)                                                                              \
  static void name(const type *in, type *out, gsize length, gsize step, gboolean logarithm)                            \
  {                                                                                                                    \
    type highest = -INFINITY;                                                                                          \
    double sum = 0;                                                                                                    \
    for (gsize i = 0; i < length; i++) highest = in[i * step] > highest ? in[i * step] : highest;                      \
    for (gsize i = 0; i < length; i++) {                                                                               \
      type power = exp_function(in[i * step] - highest);                                                               \
      sum += (double)power;                                                                                            \
      out[i * step] = power;                                                                                           \
    }                                                                                                                  \
    for (gsize i = 0; i < length; i++)                                                                                 \
      out[i * step] =                                                                                                  \
          logarithm ? (type)((double)(in[i * step] - highest) - log(sum)) : (type)((double)out[i * step] / sum);       \
  }
SOFTMAX(softmax_float, float, expf)
SOFTMAX(softmax_double, double, exp)

static double rounded(OnnxType type, double value)
{
  guint16 bits = 0;
  PipelineTensor scalar = {.type = type, .data = &bits};
  pipeline_element_put_double(&scalar, 0, value);
  return pipeline_element_get_double(&scalar, 0);
}

/* 16-bit floats are rounded after every step of the operator's definition (Sub, Exp, ReduceSum, Div), so that the whole
 * agrees with its parts. */
static void softmax_half(const PipelineTensor *in, PipelineTensor *out, gsize start, const PipelineAround *around,
                         gboolean logarithm)
{
  double highest = -INFINITY, sum = 0;
  for (gsize i = 0; i < around->length; i++)
    highest = MAX(highest, pipeline_element_get_double(in, start + i * around->inner));
  for (gsize i = 0; i < around->length; i++) {
    gsize at = start + i * around->inner;
    double shifted = rounded(in->type, pipeline_element_get_double(in, at) - highest);
    pipeline_element_put_double(out, at, logarithm ? shifted : exp(shifted));
    sum += rounded(in->type, exp(shifted));
  }
  double scale = rounded(in->type, logarithm ? log(rounded(in->type, sum)) : sum);
  for (gsize i = 0; i < around->length; i++) {
    gsize at = start + i * around->inner;
    double value = pipeline_element_get_double(out, at);
    pipeline_element_put_double(out, at, logarithm ? value - scale : value / scale);
  }
}

gboolean pipeline_softmax_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gboolean logarithm = call->operator->parameter != NULL;
  PipelineAround around;
  if (!softmax_around(call, &around, error)) return FALSE;
  for (gsize o = 0; o < around.outer; o++)
    for (gsize i = 0; i < around.inner; i++) {
      gsize start = o * around.length * around.inner + i;
      if (in->type == ONNX_TYPE_FLOAT)
        softmax_float((const float *)in->data + start, (float *)call->outputs[0]->data + start, around.length,
                      around.inner, logarithm);
      else if (in->type != ONNX_TYPE_DOUBLE)
        softmax_half(in, call->outputs[0], start, &around, logarithm);
      else
        softmax_double((const double *)in->data + start, (double *)call->outputs[0]->data + start, around.length,
                       around.inner, logarithm);
    }
  return TRUE;
}

/* Hardmax: 1 at the first largest element, 0 elsewhere. */
gboolean pipeline_hardmax_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around;
  if (!softmax_around(call, &around, error)) return FALSE;
  for (gsize line = 0; line < around.outer * around.inner && around.length > 0; line++) {
    gsize start = line / around.inner * around.length * around.inner + line % around.inner, best = 0;
    for (gsize i = 0; i < around.length; i++) {
      gsize at = start + i * around.inner;
      if (pipeline_element_get_double(in, at) > pipeline_element_get_double(in, start + best * around.inner)) best = i;
      pipeline_element_put_double(call->outputs[0], at, 0);
    }
    pipeline_element_put_double(call->outputs[0], start + best * around.inner, 1);
  }
  return TRUE;
}

/* --- ArgMax, ArgMin
 * ---------------------------------------------------------------------------------------------------- */

static gboolean arg_around(const PipelineCall *call, PipelineAround *around, GError **error)
{
  if (!pipeline_around(call->inputs[0], onnx_node_get_int(call->node, "axis", 0), around, error)) return FALSE;
  return around->length > 0 || pipeline_operator_fail(error, "its axis has no elements");
}

gboolean pipeline_arg_max_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  PipelineAround around;
  guint n_dims = 0;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_type_is_number(in->type) || in->type == ONNX_TYPE_BOOL)
    return pipeline_operator_fail_type(call, 0, error);
  if (!arg_around(call, &around, error)) return FALSE;
  gboolean keep = onnx_node_get_int(call->node, "keepdims", 1) != 0;
  for (guint d = 0; d < in->n_dims; d++)
    if (d != around.axis || keep) dims[n_dims++] = d == around.axis ? 1 : in->dims[d];
  return pipeline_output_set(call, 0, ONNX_TYPE_INT64, n_dims, dims, error);
}

gboolean pipeline_arg_max_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gint64 *out = call->outputs[0]->data;
  double sign = call->operator->parameter == & pipeline_arg_min ? -1 : 1;
  gboolean last = onnx_node_get_int(call->node, "select_last_index", 0) != 0;
  PipelineAround around;
  if (!arg_around(call, &around, error)) return FALSE;
  for (gsize o = 0; o < around.outer; o++)
    for (gsize i = 0; i < around.inner; i++) {
      gsize start = o * around.length * around.inner + i, best = 0;
      double highest = sign * pipeline_element_get_double(in, start);
      for (gsize k = 1; k < around.length; k++) {
        double value = sign * pipeline_element_get_double(in, start + k * around.inner);
        if (!(value > highest || (last && value == highest))) continue;
        highest = value;
        best = k;
      }
      out[o * around.inner + i] = (gint64)best;
    }
  return TRUE;
}
