/* Element by element on one input. */
#include <math.h>

#include "pipeline/operator_internal.h"

struct _PipelineUnary {
  void (*f32)(const float *in, float *out, gsize n, float alpha, float beta);
  void (*f64)(const double *in, double *out, gsize n, double alpha, double beta);
  void (*i32)(const gint32 *in, gint32 *out, gsize n); /* NULL: not on integers */
  void (*i64)(const gint64 *in, gint64 *out, gsize n);
  void (*u64)(const guint64 *in, guint64 *out, gsize n);
  const gchar *alpha_name, *beta_name; /* attributes, or NULL */
  float alpha, beta;                   /* their defaults */
};

/* NaN goes in, NaN comes out: comparisons are written so that NaN takes the branch that returns x. */
#define UNARY_FLOAT(name, suffix, type, expression)                                                                    \
  static void name##_##suffix(const type *in, type *out, gsize n, type alpha, type beta)                               \
  {                                                                                                                    \
    (void)alpha;                                                                                                       \
    (void)beta;                                                                                                        \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      type x = in[i];                                                                                                  \
      out[i] = (expression);                                                                                           \
    }                                                                                                                  \
  }
#define UNARY(name, f, d) UNARY_FLOAT(name, f32, float, f) UNARY_FLOAT(name, f64, double, d)

#define UNARY_INT(name, suffix, type, expression)                                                                      \
  static void name##_##suffix(const type *in, type *out, gsize n)                                                      \
  {                                                                                                                    \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      type x = in[i];                                                                                                  \
      out[i] = (expression);                                                                                           \
    }                                                                                                                  \
  }
#define UNARY_INTS(name, e32, e64) UNARY_INT(name, i32, gint32, e32) UNARY_INT(name, i64, gint64, e64)

#define NEGATE32(x) (gint32)(0u - (guint32)(x)) /* the smallest integer wraps instead of overflowing */
#define NEGATE64(x) (gint64)(0ul - (guint64)(x))

/* Softplus without overflow: max(x, 0) + log1p(exp(-|x|)). */
UNARY(relu, x < 0 ? 0 : x, x < 0 ? 0 : x)
UNARY(leaky_relu, x < 0 ? alpha * x : x, x < 0 ? alpha * x : x)
UNARY(elu, x < 0 ? alpha * expm1f(x) : x, x < 0 ? alpha * expm1(x) : x)
UNARY(selu, beta *(x <= 0 ? alpha * expm1f(x) : x), beta *(x <= 0 ? alpha * expm1(x) : x))
UNARY(gelu, 0.5f * x * (1 + erff(x * (float)G_SQRT2 / 2)), 0.5 * x * (1 + erf(x * G_SQRT2 / 2)))
UNARY(gelu_tanh, 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x))),
      0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x))))
UNARY(sigmoid, 1 / (1 + expf(-x)), 1 / (1 + exp(-x)))
UNARY(hard_sigmoid, alpha *x + beta < 0 ? 0 : (alpha * x + beta > 1 ? 1 : alpha * x + beta),
      alpha *x + beta < 0 ? 0 : (alpha * x + beta > 1 ? 1 : alpha * x + beta))
UNARY(tanh, tanhf(x), tanh(x))
UNARY(erf, erff(x), erf(x))
UNARY(softplus, (x < 0 ? 0 : x) + log1pf(expf(-fabsf(x))), (x < 0 ? 0 : x) + log1p(exp(-fabs(x))))
UNARY(sqrt, sqrtf(x), sqrt(x))
UNARY(reciprocal, 1 / x, 1 / x)
UNARY(exp, expf(x), exp(x))
UNARY(log, logf(x), log(x))
UNARY(neg, -x, -x)
UNARY(abs, fabsf(x), fabs(x))
UNARY(floor, floorf(x), floor(x))
UNARY(ceil, ceilf(x), ceil(x))
UNARY(round, nearbyintf(x), nearbyint(x)) /* halves to even: the rounding mode of the process */
UNARY(sin, sinf(x), sin(x))
UNARY(cos, cosf(x), cos(x))
UNARY(tan, tanf(x), tan(x))
UNARY(asin, asinf(x), asin(x))
UNARY(acos, acosf(x), acos(x))
UNARY(atan, atanf(x), atan(x))
UNARY(sinh, sinhf(x), sinh(x))
UNARY(cosh, coshf(x), cosh(x))
UNARY(asinh, asinhf(x), asinh(x))
UNARY(acosh, acoshf(x), acosh(x))
UNARY(atanh, atanhf(x), atanh(x))
UNARY(softsign, x / (1 + fabsf(x)), x / (1 + fabs(x)))
UNARY(mish, x *tanhf((x < 0 ? 0 : x) + log1pf(expf(-fabsf(x)))), x *tanh((x < 0 ? 0 : x) + log1p(exp(-fabs(x)))))
UNARY(swish, x / (1 + expf(-alpha * x)), x / (1 + exp(-alpha * x)))
UNARY(hard_swish, x *(x <= -3 ? 0 : (x >= 3 ? 1 : x / 6 + 0.5f)), x *(x <= -3 ? 0 : (x >= 3 ? 1 : x / 6 + 0.5)))
UNARY(thresholded_relu, x > alpha || x != x ? x : 0, x > alpha || x != x ? x : 0)
UNARY(celu, x < 0 ? alpha * expm1f(x / alpha) : x, x < 0 ? alpha * expm1(x / alpha) : x)
UNARY(shrink, x < -alpha ? x + beta : (x > alpha ? x - beta : (x != x ? x : 0)),
      x < -alpha ? x + beta : (x > alpha ? x - beta : (x != x ? x : 0)))
UNARY(sign, x > 0 ? 1 : (x < 0 ? -1 : x), x > 0 ? 1 : (x < 0 ? -1 : x))
UNARY_INTS(relu, x < 0 ? 0 : x, x < 0 ? 0 : x)
UNARY_INTS(neg, NEGATE32(x), NEGATE64(x))
UNARY_INTS(abs, x < 0 ? NEGATE32(x) : x, x < 0 ? NEGATE64(x) : x)
UNARY_INTS(sign, (x > 0) - (x < 0), (x > 0) - (x < 0))

UNARY_INTS(bitwise_not, ~x, ~x)
UNARY_INT(relu, u64, guint64, x)
UNARY_INT(abs, u64, guint64, x)
UNARY_INT(sign, u64, guint64, x > 0)
UNARY_INT(bitwise_not, u64, guint64, ~x)

#define PLAIN(name) const PipelineUnary pipeline_unary_##name = {.f32 = name##_f32, .f64 = name##_f64}
#define WITH_INTS(name)                                                                                                \
  const PipelineUnary pipeline_unary_##name = {                                                                        \
      .f32 = name##_f32, .f64 = name##_f64, .i32 = name##_i32, .i64 = name##_i64}

#define WITH_ALL(name)                                                                                                 \
  const PipelineUnary pipeline_unary_##name = {                                                                        \
      .f32 = name##_f32, .f64 = name##_f64, .i32 = name##_i32, .i64 = name##_i64, .u64 = name##_u64}

WITH_ALL(relu);
WITH_INTS(neg);
WITH_ALL(abs);
WITH_ALL(sign);
const PipelineUnary pipeline_unary_bitwise_not = {
    .i32 = bitwise_not_i32, .i64 = bitwise_not_i64, .u64 = bitwise_not_u64};
PLAIN(gelu);
PLAIN(sigmoid);
PLAIN(tanh);
PLAIN(erf);
PLAIN(softplus);
PLAIN(sqrt);
PLAIN(reciprocal);
PLAIN(exp);
PLAIN(log);
PLAIN(floor);
PLAIN(ceil);
PLAIN(round);
PLAIN(sin);
PLAIN(cos);
PLAIN(tan);
PLAIN(asin);
PLAIN(acos);
PLAIN(atan);
PLAIN(sinh);
PLAIN(cosh);
PLAIN(asinh);
PLAIN(acosh);
PLAIN(atanh);
PLAIN(softsign);
PLAIN(mish);
PLAIN(hard_swish);
const PipelineUnary pipeline_unary_leaky_relu = {
    .f32 = leaky_relu_f32, .f64 = leaky_relu_f64, .alpha_name = "alpha", .alpha = 0.01f};
const PipelineUnary pipeline_unary_elu = {.f32 = elu_f32, .f64 = elu_f64, .alpha_name = "alpha", .alpha = 1.0f};
const PipelineUnary pipeline_unary_selu = {.f32 = selu_f32,
                                           .f64 = selu_f64,
                                           .alpha_name = "alpha",
                                           .beta_name = "gamma",
                                           .alpha = 1.67326319217681884765625f,
                                           .beta = 1.05070102214813232421875f};
const PipelineUnary pipeline_unary_hard_sigmoid = {.f32 = hard_sigmoid_f32,
                                                   .f64 = hard_sigmoid_f64,
                                                   .alpha_name = "alpha",
                                                   .beta_name = "beta",
                                                   .alpha = 0.2f,
                                                   .beta = 0.5f};
#define WITH_ALPHA(name, default_alpha)                                                                                \
  const PipelineUnary pipeline_unary_##name = {                                                                        \
      .f32 = name##_f32, .f64 = name##_f64, .alpha_name = "alpha", .alpha = (default_alpha)}
WITH_ALPHA(swish, 1.0f);
WITH_ALPHA(thresholded_relu, 1.0f);
WITH_ALPHA(celu, 1.0f);
const PipelineUnary pipeline_unary_shrink = {
    .f32 = shrink_f32, .f64 = shrink_f64, .alpha_name = "lambd", .beta_name = "bias", .alpha = 0.5f, .beta = 0.0f};
static const PipelineUnary gelu_by_tanh = {.f32 = gelu_tanh_f32, .f64 = gelu_tanh_f64};

/* The row's parameter, but Gelu's attribute `approximate` picks another function. */
static const PipelineUnary *get_unary(const PipelineCall *call)
{
  const PipelineUnary *unary = call->operator->parameter;
  if (unary != &pipeline_unary_gelu) return unary;
  g_autofree gchar *approximate = onnx_node_copy_string(call->node, "approximate", "none");
  return g_str_equal(approximate, "tanh") ? &gelu_by_tanh : unary;
}

gboolean pipeline_unary_infer(PipelineCall *call, GError **error)
{
  const PipelineUnary *unary = call->operator->parameter;
  const PipelineTensor *input = call->inputs[0];
  gboolean known = (unary->f32 != NULL && (input->type == ONNX_TYPE_FLOAT || input->type == ONNX_TYPE_DOUBLE)) ||
                   (unary->i32 != NULL && (input->type == ONNX_TYPE_INT32 || input->type == ONNX_TYPE_INT64)) ||
                   (unary->u64 != NULL && input->type == ONNX_TYPE_UINT64);
  if (!known) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, input->type, input, error);
}

gboolean pipeline_unary_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineUnary *unary = get_unary(call);
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  float alpha = unary->alpha_name != NULL ? onnx_node_get_float(call->node, unary->alpha_name, unary->alpha) : 0;
  float beta = unary->beta_name != NULL ? onnx_node_get_float(call->node, unary->beta_name, unary->beta) : 0;
  if (in->type == ONNX_TYPE_FLOAT)
    unary->f32(in->data, out->data, in->n, alpha, beta);
  else if (in->type == ONNX_TYPE_DOUBLE)
    unary->f64(in->data, out->data, in->n, (double)alpha, (double)beta);
  else if (in->type == ONNX_TYPE_INT32)
    unary->i32(in->data, out->data, in->n);
  else if (in->type == ONNX_TYPE_UINT64)
    unary->u64(in->data, out->data, in->n);
  else
    unary->i64(in->data, out->data, in->n);
  return TRUE;
}

gboolean pipeline_not_infer(PipelineCall *call, GError **error)
{
  if (call->inputs[0]->type != ONNX_TYPE_BOOL) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, ONNX_TYPE_BOOL, call->inputs[0], error);
}

gboolean pipeline_not_run(PipelineCall *call, GError **error)
{
  (void)error;
  const guint8 *in = call->inputs[0]->data;
  guint8 *out = call->outputs[0]->data;
  for (gsize i = 0; i < call->inputs[0]->n; i++) out[i] = !in[i];
  return TRUE;
}

gboolean pipeline_is_nan_infer(PipelineCall *call, GError **error)
{
  OnnxType type = call->inputs[0]->type;
  if (!pipeline_type_is_floating(type)) return pipeline_operator_fail_type(call, 0, error);
  return pipeline_output_like(call, 0, ONNX_TYPE_BOOL, call->inputs[0], error);
}

gboolean pipeline_is_nan_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  guint8 *out = call->outputs[0]->data;
  for (gsize i = 0; i < in->n; i++) out[i] = isnan(pipeline_element_get_double(in, i)) != 0;
  return TRUE;
}

gboolean pipeline_is_inf_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0];
  gboolean negative = onnx_node_get_int(call->node, "detect_negative", 1) != 0,
           positive = onnx_node_get_int(call->node, "detect_positive", 1) != 0;
  guint8 *out = call->outputs[0]->data;
  for (gsize i = 0; i < in->n; i++) {
    double value = pipeline_element_get_double(in, i);
    out[i] = isinf(value) && (value > 0 ? positive : negative);
  }
  return TRUE;
}

/* --- Clip
 * ------------------------------------------------------------------------------------------------------------- */

gboolean pipeline_clip_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *input = call->inputs[0];
  gboolean known = input->type == ONNX_TYPE_FLOAT || input->type == ONNX_TYPE_DOUBLE ||
                   input->type == ONNX_TYPE_INT32 || input->type == ONNX_TYPE_INT64 || input->type == ONNX_TYPE_UINT64;
  if (!known) return pipeline_operator_fail_type(call, 0, error);
  for (guint i = 1; i <= 2; i++) {
    const PipelineTensor *bound = pipeline_input(call, i);
    if (bound != NULL && (bound->n != 1 || bound->type != input->type))
      return pipeline_operator_fail_type(call, i, error);
  }
  return pipeline_output_like(call, 0, input->type, input, error);
}

/* min first, then max: where min > max the result is max, as ONNX says. */
#define CLIP(type, lowest, highest)                                                                                    \
  {                                                                                                                    \
    const type *x = in->data;                                                                                          \
    type *y = out->data, low = min != NULL ? *(const type *)min->data : (lowest),                                      \
         high = max != NULL ? *(const type *)max->data : (highest);                                                    \
    for (gsize i = 0; i < in->n; i++) {                                                                                \
      type bounded = x[i] < low ? low : x[i];                                                                          \
      y[i] = bounded > high ? high : bounded;                                                                          \
    }                                                                                                                  \
  }

gboolean pipeline_clip_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *in = call->inputs[0], *min = pipeline_input(call, 1), *max = pipeline_input(call, 2);
  PipelineTensor *out = call->outputs[0];
  if (in->type == ONNX_TYPE_FLOAT) /* the attributes are those of sets before 11 */
    CLIP(float, onnx_node_get_float(call->node, "min", -INFINITY), onnx_node_get_float(call->node, "max", INFINITY))
  else if (in->type == ONNX_TYPE_DOUBLE)
    CLIP(double, (double)onnx_node_get_float(call->node, "min", -INFINITY),
         (double)onnx_node_get_float(call->node, "max", INFINITY))
  else if (in->type == ONNX_TYPE_INT32)
    CLIP(gint32, G_MININT32, G_MAXINT32)
  else if (in->type == ONNX_TYPE_UINT64)
    CLIP(guint64, 0, G_MAXUINT64)
  else
    CLIP(gint64, G_MININT64, G_MAXINT64)
  return TRUE;
}
