/* Element by element on two inputs, broadcast. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

struct _PipelineBinary {
  /* out[i] = a[i · sa] ∘ b[i · sb]; FALSE: undefined (an integer divided by zero). */
  gboolean (*f32)(const float *a, gsize sa, const float *b, gsize sb, float *out, gsize n);
  gboolean (*f64)(const double *a, gsize sa, const double *b, gsize sb, double *out, gsize n);
  gboolean (*i32)(const gint32 *a, gsize sa, const gint32 *b, gsize sb, gint32 *out, gsize n);
  gboolean (*i64)(const gint64 *a, gsize sa, const gint64 *b, gsize sb, gint64 *out, gsize n);
};

#define BINARY(name, suffix, type, condition, expression)                                                              \
  static gboolean name##_##suffix(const type *a, gsize sa, const type *b, gsize sb, type *out, gsize n)                \
  {                                                                                                                    \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      type x = a[i * sa], y = b[i * sb];                                                                               \
      if (!(condition)) return FALSE;                                                                                  \
      out[i] = (type)(expression);                                                                                     \
    }                                                                                                                  \
    return TRUE;                                                                                                       \
  }
/* Integers wrap around (in unsigned arithmetic) instead of overflowing. */
#define BINARY_ALL(name, floating, integer, wide)                                                                      \
  BINARY(name, f32, float, TRUE, floating)                                                                             \
  BINARY(name, f64, double, TRUE, floating)                                                                            \
  BINARY(name, i32, gint32, TRUE, integer)                                                                             \
  BINARY(name, i64, gint64, TRUE, wide)                                                                                \
  const PipelineBinary pipeline_binary_##name = {name##_f32, name##_f64, name##_i32, name##_i64};

BINARY_ALL(add, x + y, (guint32)x + (guint32)y, (guint64)x + (guint64)y)
BINARY_ALL(sub, x - y, (guint32)x - (guint32)y, (guint64)x - (guint64)y)
BINARY_ALL(mul, x *y, (guint32)x *(guint32)y, (guint64)x *(guint64)y)
/* NaN on either side wins. */
BINARY_ALL(min, x != x || x < y ? x : y, MIN(x, y), MIN(x, y))
BINARY_ALL(max, x != x || x > y ? x : y, MAX(x, y), MAX(x, y))
BINARY(div, f32, float, TRUE, x / y)
BINARY(div, f64, double, TRUE, x / y)
BINARY(div, i32, gint32, y != 0, y == -1 ? 0u - (guint32)x : (guint32)(x / y))
BINARY(div, i64, gint64, y != 0, y == -1 ? 0ul - (guint64)x : (guint64)(x / y))
const PipelineBinary pipeline_binary_div = {div_f32, div_f64, div_i32, div_i64};

static gboolean is_arithmetic(OnnxType type)
{
  return type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_DOUBLE || type == ONNX_TYPE_INT32 || type == ONNX_TYPE_INT64;
}

gboolean pipeline_binary_infer(PipelineCall *call, GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  gboolean mixed = call->operator->parameter == NULL; /* Pow: the exponent has its own type */
  for (guint i = 0; i < call->n_inputs; i++) {
    if (call->inputs[i] == NULL) return pipeline_operator_fail(error, "input %u is left out", i);
    OnnxType type = call->inputs[i]->type;
    gboolean fits = mixed && i > 0 ? pipeline_type_is_number(type) : is_arithmetic(type);
    if (!fits || (!mixed && type != call->inputs[0]->type)) return pipeline_operator_fail_type(call, i, error);
  }
  return pipeline_broadcast_shape(call->inputs, call->n_inputs, dims, &n_dims, error) &&
         pipeline_output_set(call, 0, call->inputs[0]->type, n_dims, dims, error);
}

#define RUN_ROWS(kernel, type)                                                                                         \
  for (gsize row = 0; row < walk.outer && defined; row++)                                                              \
  defined =                                                                                                            \
      binary->kernel((const type *)inputs[0]->data + pipeline_broadcast_offset(&walk, 0, row), walk.strides[0][last],  \
                     (const type *)inputs[1]->data + pipeline_broadcast_offset(&walk, 1, row), walk.strides[1][last],  \
                     (type *)out->data + row * walk.inner, walk.inner)

static gboolean combine(const PipelineBinary *binary, const PipelineTensor *const inputs[2], PipelineTensor *out,
                        GError **error)
{
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, inputs, 2, out);
  guint last = walk.n_dims - 1;
  gboolean defined = TRUE;
  if (out->n == 0) return TRUE;
  if (out->type == ONNX_TYPE_FLOAT)
    RUN_ROWS(f32, float);
  else if (out->type == ONNX_TYPE_DOUBLE)
    RUN_ROWS(f64, double);
  else if (out->type == ONNX_TYPE_INT32)
    RUN_ROWS(i32, gint32);
  else
    RUN_ROWS(i64, gint64);
  return defined || pipeline_operator_fail(error, "an integer is divided by zero");
}

gboolean pipeline_binary_run(PipelineCall *call, GError **error)
{
  return combine(call->operator->parameter, call->inputs, call->outputs[0], error);
}

/* Min, Max, Sum of any number of inputs: the output so far is combined with each in order. */
gboolean pipeline_variadic_run(PipelineCall *call, GError **error)
{
  PipelineTensor *out = call->outputs[0];
  PipelineTensor zero = {0};
  gint64 number = 0;
  /* The first input enters through a copy that is broadcast to the output's shape: x ∘ x for min and max, x + 0. */
  gboolean is_sum = call->operator->parameter == & pipeline_binary_add;
  if (!pipeline_tensor_set_shape(&zero, out->type, 0, NULL, error)) return FALSE;
  zero.data = &number;
  const PipelineTensor *first[2] = {call->inputs[0], is_sum ? &zero : call->inputs[0]};
  if (!combine(call->operator->parameter, first, out, error)) return FALSE;
  for (guint i = 1; i < call->n_inputs; i++) {
    const PipelineTensor *pair[2] = {out, call->inputs[i]};
    if (!combine(call->operator->parameter, pair, out, error)) return FALSE;
  }
  return TRUE;
}

/* --- Pow
 * -------------------------------------------------------------------------------------------------------------- */

static gint64 to_int64(double value)
{
  if (isnan(value)) return 0;
  if (value >= 0x1p63) return G_MAXINT64;
  if (value < -0x1p63) return G_MININT64;
  return (gint64)value;
}

static void power_row(const PipelineTensor *base, gsize b, gsize sb, const PipelineTensor *exponent, gsize e, gsize se,
                      PipelineTensor *out, gsize o, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double power =
        pow(pipeline_element_get_double(base, b + i * sb), pipeline_element_get_double(exponent, e + i * se));
    if (out->type == ONNX_TYPE_FLOAT)
      ((float *)out->data)[o + i] = (float)power;
    else if (out->type == ONNX_TYPE_DOUBLE)
      ((double *)out->data)[o + i] = power;
    else if (out->type == ONNX_TYPE_INT32)
      ((gint32 *)out->data)[o + i] = (gint32)CLAMP(to_int64(power), G_MININT32, G_MAXINT32);
    else
      ((gint64 *)out->data)[o + i] = to_int64(power);
  }
}

gboolean pipeline_pow_run(PipelineCall *call, GError **error)
{
  (void)error;
  PipelineBroadcast walk;
  pipeline_broadcast_init(&walk, call->inputs, 2, call->outputs[0]);
  guint last = walk.n_dims - 1;
  if (call->outputs[0]->n == 0) return TRUE;
  for (gsize row = 0; row < walk.outer; row++)
    power_row(call->inputs[0], pipeline_broadcast_offset(&walk, 0, row), walk.strides[0][last], call->inputs[1],
              pipeline_broadcast_offset(&walk, 1, row), walk.strides[1][last], call->outputs[0], row * walk.inner,
              walk.inner);
  return TRUE;
}
