/* Derivatives element by element. */
#include <math.h>

#include "pipeline/gradient_internal.h"

struct _PipelineDerivative {
  /* dx = dy · f'(x), where y = f(x) */
  void (*run)(const float *x, const float *y, const float *dy, float *dx, gsize n, float a, float b);
  const gchar *alpha_name, *beta_name; /* attributes, or NULL */
  float alpha, beta;                   /* their defaults */
};

#define DERIVATIVE(name, expression)                                                                                   \
  static void name##_derivative(const float *px, const float *py, const float *dy, float *dx, gsize n, float a,        \
                                float b)                                                                               \
  {                                                                                                                    \
    (void)a;                                                                                                           \
    (void)b;                                                                                                           \
    (void)px;                                                                                                          \
    (void)py;                                                                                                          \
    for (gsize i = 0; i < n; i++) {                                                                                    \
      const float x = px[i], y = py[i];                                                                                \
      (void)x;                                                                                                         \
      (void)y;                                                                                                         \
      dx[i] = dy[i] * (expression);                                                                                    \
    }                                                                                                                  \
  }

/* φ(x) of the standard normal distribution. */
static float density(float x)
{
  return 0.3989422804f * expf(-0.5f * x * x);
}

static float gelu_tanh_slope(float x)
{
  float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}

/* t = tanh(softplus(x)), softplus as in prediction. */
static float mish_slope(float x)
{
  float t = tanhf((x < 0 ? 0 : x) + log1pf(expf(-fabsf(x))));
  return t + x * (1 - t * t) / (1 + expf(-x));
}

DERIVATIVE(relu, x > 0 ? 1.0f : 0.0f)
DERIVATIVE(leaky_relu, x < 0 ? a : 1.0f)
DERIVATIVE(elu, x < 0 ? y + a : 1.0f)
DERIVATIVE(selu, x <= 0 ? y + a * b : b)
DERIVATIVE(gelu, 0.5f * (1 + erff(x * (float)G_SQRT2 / 2)) + x * density(x))
DERIVATIVE(gelu_tanh, gelu_tanh_slope(x))
DERIVATIVE(sigmoid, y *(1 - y))
DERIVATIVE(hard_sigmoid, y > 0 && y < 1 ? a : 0.0f)
DERIVATIVE(tanh, 1 - y * y)
DERIVATIVE(erf, 1.1283791671f * expf(-x * x))
DERIVATIVE(softplus, 1 / (1 + expf(-x)))
DERIVATIVE(sqrt, 0.5f / y)
DERIVATIVE(reciprocal, -y *y)
DERIVATIVE(exp, y)
DERIVATIVE(log, 1 / x)
DERIVATIVE(neg, -1.0f)
DERIVATIVE(abs, x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f))
DERIVATIVE(hard_swish, x <= -3 ? 0.0f : (x >= 3 ? 1.0f : x / 3 + 0.5f))
DERIVATIVE(mish, mish_slope(x))
DERIVATIVE(softsign, 1 / ((1 + fabsf(x)) * (1 + fabsf(x))))
DERIVATIVE(celu, x < 0 ? y / a + 1 : 1.0f)
DERIVATIVE(thresholded_relu, x > a ? 1.0f : 0.0f)
DERIVATIVE(sin, cosf(x))
DERIVATIVE(cos, -sinf(x))

#define PLAIN(name) const PipelineDerivative pipeline_derivative_##name = {.run = name##_derivative}
PLAIN(relu);
PLAIN(gelu);
PLAIN(sigmoid);
PLAIN(tanh);
PLAIN(erf);
PLAIN(softplus);
PLAIN(sqrt);
PLAIN(reciprocal);
PLAIN(exp);
PLAIN(log);
PLAIN(neg);
PLAIN(abs);
PLAIN(hard_swish);
PLAIN(mish);
PLAIN(softsign);
PLAIN(sin);
PLAIN(cos);
const PipelineDerivative pipeline_derivative_leaky_relu = {
    .run = leaky_relu_derivative, .alpha_name = "alpha", .alpha = 0.01f};
const PipelineDerivative pipeline_derivative_elu = {.run = elu_derivative, .alpha_name = "alpha", .alpha = 1};
const PipelineDerivative pipeline_derivative_selu = {.run = selu_derivative,
                                                     .alpha_name = "alpha",
                                                     .beta_name = "gamma",
                                                     .alpha = 1.67326319217681884765625f,
                                                     .beta = 1.05070102214813232421875f};
const PipelineDerivative pipeline_derivative_hard_sigmoid = {
    .run = hard_sigmoid_derivative, .alpha_name = "alpha", .beta_name = "beta", .alpha = 0.2f, .beta = 0.5f};
const PipelineDerivative pipeline_derivative_celu = {.run = celu_derivative, .alpha_name = "alpha", .alpha = 1};
const PipelineDerivative pipeline_derivative_thresholded_relu = {
    .run = thresholded_relu_derivative, .alpha_name = "alpha", .alpha = 1};

gboolean pipeline_unary_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  const PipelineDerivative *derivative = call->gradient->parameter;
  const OnnxNode *node = call->call.node;
  const float *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  float a = derivative->alpha_name != NULL ? onnx_node_get_float(node, derivative->alpha_name, derivative->alpha) : 0;
  float b = derivative->beta_name != NULL ? onnx_node_get_float(node, derivative->beta_name, derivative->beta) : 0;
  if (dx == NULL) return TRUE;
  void (*run)(const float *, const float *, const float *, float *, gsize, float, float) = derivative->run;
  if (derivative == &pipeline_derivative_gelu) {
    g_autofree gchar *form = onnx_node_copy_string(node, "approximate", "none");
    if (g_str_equal(form, "tanh")) run = gelu_tanh_derivative;
  }
  run(call->call.inputs[0]->data, call->call.outputs[0]->data, dy, dx, call->call.inputs[0]->n, a, b);
  return TRUE;
}

static float bound_of(const PipelineGradientCall *call, const gchar *name, guint index, float standard)
{
  const PipelineTensor *input = pipeline_input(&call->call, index);
  return input != NULL && input->n > 0 ? (float)pipeline_element_get_double(input, 0)
                                       : onnx_node_get_float(call->call.node, name, standard);
}

gboolean pipeline_clip_backward(PipelineGradientCall *call, GError **error)
{
  (void)error;
  float low = bound_of(call, "min", 1, -INFINITY), high = bound_of(call, "max", 2, INFINITY);
  const float *x = call->call.inputs[0]->data, *dy = pipeline_gradient_of_output(call, 0);
  float *dx = pipeline_gradient_of_input(call, 0);
  for (gsize i = 0; dx != NULL && i < call->call.inputs[0]->n; i++) dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0;
  return TRUE;
}
