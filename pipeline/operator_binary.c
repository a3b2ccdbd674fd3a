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
  gboolean (*u64)(const guint64 *a, gsize sa, const guint64 *b, gsize sb, guint64 *out, gsize n);
};

/* The usual strides are loops of their own, which vectorise. */
#define BINARY_LOOP(type, stride_a, stride_b, condition, expression)                                                   \
  for (gsize i = 0; i < n; i++) {                                                                                      \
    type x = a[i * (stride_a)], y = b[i * (stride_b)];                                                                 \
    if (!(condition)) return FALSE;                                                                                    \
    out[i] = (type)(expression);                                                                                       \
  }
#define BINARY(name, suffix, type, condition, expression)                                                              \
  static gboolean name##_##suffix(const type *a, gsize sa, const type *b, gsize sb, type *out, gsize n)                \
  {                                                                                                                    \
    if (sa == 1 && sb == 1) {                                                                                          \
      BINARY_LOOP(type, 1, 1, condition, expression)                                                                   \
    } else {                                                                                                           \
      BINARY_LOOP(type, sa, sb, condition, expression)                                                                 \
    }                                                                                                                  \
    return TRUE;                                                                                                       \
  }
/* Integers wrap around (in unsigned arithmetic) instead of overflowing. */
#define BINARY_ALL(name, floating, integer, wide)                                                                      \
  BINARY(name, f32, float, TRUE, floating)                                                                             \
  BINARY(name, f64, double, TRUE, floating)                                                                            \
  BINARY(name, i32, gint32, TRUE, integer)                                                                             \
  BINARY(name, i64, gint64, TRUE, wide)                                                                                \
  BINARY(name, u64, guint64, TRUE, wide)                                                                               \
  const PipelineBinary pipeline_binary_##name = {name##_f32, name##_f64, name##_i32, name##_i64, name##_u64};

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
BINARY(div, u64, guint64, y != 0, x / y)
const PipelineBinary pipeline_binary_div = {div_f32, div_f64, div_i32, div_i64, div_u64};
BINARY(prelu, f32, float, TRUE, x < 0 ? x * y : x)
BINARY(prelu, f64, double, TRUE, x < 0 ? x * y : x)
BINARY(prelu, i32, gint32, TRUE, x < 0 ? (guint32)x * (guint32)y : (guint32)x)
BINARY(prelu, i64, gint64, TRUE, x < 0 ? (guint64)x * (guint64)y : (guint64)x)
BINARY(prelu, u64, guint64, TRUE, x + 0 * y)
const PipelineBinary pipeline_binary_prelu = {prelu_f32, prelu_f64, prelu_i32, prelu_i64, prelu_u64};

/* Mod: the sign follows the divisor, as in Python; fmod: the dividend, as in C. */
static gint64 floor_modulo(gint64 x, gint64 y)
{
  if (y == -1) return 0; /* also the smallest integer, whose quotient would overflow */
  gint64 rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
static double floor_modulo_double(double x, double y)
{
  double rest = fmod(x, y);
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
BINARY(mod, f32, float, TRUE, floor_modulo_double((double)x, (double)y))
BINARY(mod, f64, double, TRUE, floor_modulo_double(x, y))
BINARY(mod, i32, gint32, y != 0, floor_modulo(x, y))
BINARY(mod, i64, gint64, y != 0, floor_modulo(x, y))
BINARY(mod, u64, guint64, y != 0, x % y)
const PipelineBinary pipeline_binary_mod = {mod_f32, mod_f64, mod_i32, mod_i64, mod_u64};
BINARY(fmod, f32, float, TRUE, fmodf(x, y))
BINARY(fmod, f64, double, TRUE, fmod(x, y))
BINARY(fmod, i32, gint32, y != 0, y == -1 ? 0 : x % y)
BINARY(fmod, i64, gint64, y != 0, y == -1 ? 0 : x % y)
static const PipelineBinary modulo_of_c = {fmod_f32, fmod_f64, fmod_i32, fmod_i64, mod_u64};

#define BITWISE(name, operation)                                                                                       \
  BINARY(name, i32, gint32, TRUE, x operation y)                                                                       \
  BINARY(name, i64, gint64, TRUE, x operation y)                                                                       \
  BINARY(name, u64, guint64, TRUE, x operation y)                                                                      \
  const PipelineBinary pipeline_binary_##name = {.i32 = name##_i32, .i64 = name##_i64, .u64 = name##_u64};
BITWISE(bitwise_and, &)
BITWISE(bitwise_or, |)
BITWISE(bitwise_xor, ^)

/* Shifts by the width or more leave nothing (or the sign); narrow types arrive widened. */
#define LEFT(x, y, bits, type) ((guint64)(y) < (bits) ? (type)(x) << (y) : 0)
#define RIGHT(x, y, bits) ((guint64)(y) < (bits) ? (x) >> (y) : ((x) < 0 ? -1 : 0))
BINARY(shift_left, i32, gint32, TRUE, LEFT(x, y, 32, guint32))
BINARY(shift_left, i64, gint64, TRUE, LEFT(x, y, 64, guint64))
BINARY(shift_left, u64, guint64, TRUE, LEFT(x, y, 64, guint64))
BINARY(shift_right, i32, gint32, TRUE, RIGHT(x, y, 32))
BINARY(shift_right, i64, gint64, TRUE, RIGHT(x, y, 64))
BINARY(shift_right, u64, guint64, TRUE, y < 64 ? x >> y : 0)
const PipelineBinary pipeline_binary_shift = {.i32 = shift_left_i32, .i64 = shift_left_i64, .u64 = shift_left_u64};
static const PipelineBinary shift_right = {.i32 = shift_right_i32, .i64 = shift_right_i64, .u64 = shift_right_u64};

/* The row's parameter; attributes of Mod and BitShift pick another function. */
static const PipelineBinary *get_binary(const PipelineCall *call)
{
  const PipelineBinary *binary = call->operator->parameter;
  if (binary == &pipeline_binary_mod && onnx_node_get_int(call->node, "fmod", 0) != 0) return &modulo_of_c;
  if (binary == &pipeline_binary_shift && !pipeline_attribute_is(call, "direction", "LEFT", "LEFT"))
    return &shift_right;
  return binary;
}

static gboolean is_arithmetic(const PipelineBinary *binary, OnnxType type)
{
  if (type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_DOUBLE) return binary == NULL || binary->f32 != NULL;
  return type == ONNX_TYPE_INT32 || type == ONNX_TYPE_INT64 || type == ONNX_TYPE_UINT64;
}

gboolean pipeline_binary_infer(PipelineCall *call, GError **error)
{
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims;
  gboolean mixed = call->operator->parameter == NULL; /* Pow: the exponent has its own type */
  for (guint i = 0; i < call->n_inputs; i++) {
    if (call->inputs[i] == NULL) return pipeline_operator_fail(error, "input %u is left out", i);
    OnnxType type = call->inputs[i]->type;
    gboolean fits = mixed && i > 0 ? pipeline_type_is_number(type) : is_arithmetic(call->operator->parameter, type);
    if (!fits || (!mixed && type != call->inputs[0]->type)) return pipeline_operator_fail_type(call, i, error);
  }
  PipelineTensor view;
  const PipelineTensor *pair[2];
  if (call->n_inputs == 2
          ? !pipeline_pair(call, pair, &view, error) || !pipeline_broadcast_shape(pair, 2, dims, &n_dims, error)
          : !pipeline_broadcast_shape(call->inputs, call->n_inputs, dims, &n_dims, error))
    return FALSE;
  return pipeline_output_set(call, 0, call->inputs[0]->type, n_dims, dims, error);
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
  else if (out->type == ONNX_TYPE_UINT64)
    RUN_ROWS(u64, guint64);
  else
    RUN_ROWS(i64, gint64);
  return defined || pipeline_operator_fail(error, "an integer is divided by zero");
}

gboolean pipeline_binary_run(PipelineCall *call, GError **error)
{
  PipelineTensor view;
  const PipelineTensor *pair[2];
  return pipeline_pair(call, pair, &view, error) && combine(get_binary(call), pair, call->outputs[0], error);
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

/* Mean: the sum over the number of inputs. */
gboolean pipeline_mean_run(PipelineCall *call, GError **error)
{
  if (!pipeline_variadic_run(call, error)) return FALSE;
  PipelineTensor *out = call->outputs[0];
  for (gsize i = 0; i < out->n; i++)
    pipeline_element_put_double(out, i, pipeline_element_get_double(out, i) / call->n_inputs);
  return TRUE;
}

/* PRelu: the slope is broadcast to the input, never the other way. */
gboolean pipeline_prelu_infer(PipelineCall *call, GError **error)
{
  if (!pipeline_binary_infer(call, error)) return FALSE;
  if (call->outputs[0]->n_dims != call->inputs[0]->n_dims || call->outputs[0]->n != call->inputs[0]->n)
    return pipeline_operator_fail(error, "its slope has a larger shape than its input");
  return TRUE;
}

/* --- Pow
 * -------------------------------------------------------------------------------------------------------------- */

static void power_row(const PipelineTensor *base, gsize b, gsize sb, const PipelineTensor *exponent, gsize e, gsize se,
                      PipelineTensor *out, gsize o, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    double power =
        pow(pipeline_element_get_double(base, b + i * sb), pipeline_element_get_double(exponent, e + i * se));
    pipeline_element_put_double(out, o + i, power);
  }
}

gboolean pipeline_pow_run(PipelineCall *call, GError **error)
{
  PipelineBroadcast walk;
  PipelineTensor view;
  const PipelineTensor *pair[2];
  if (!pipeline_pair(call, pair, &view, error)) return FALSE;
  pipeline_broadcast_init(&walk, pair, 2, call->outputs[0]);
  guint last = walk.n_dims - 1;
  if (call->outputs[0]->n == 0) return TRUE;
  for (gsize row = 0; row < walk.outer; row++)
    power_row(call->inputs[0], pipeline_broadcast_offset(&walk, 0, row), walk.strides[0][last], call->inputs[1],
              pipeline_broadcast_offset(&walk, 1, row), walk.strides[1][last], call->outputs[0], row * walk.inner,
              walk.inner);
  return TRUE;
}
