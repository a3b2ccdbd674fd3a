#include "pipeline/network.h"

#include <math.h>

static double relu(double x, double alpha)
{
  (void)alpha;
  return x > 0 ? x : 0;
}

static double relu_derivative(double x, double y, double alpha)
{
  (void)y, (void)alpha;
  return x > 0 ? 1 : 0;
}

static double leaky_relu(double x, double alpha)
{
  return x > 0 ? x : alpha * x;
}

static double leaky_relu_derivative(double x, double y, double alpha)
{
  (void)y;
  return x > 0 ? 1 : alpha;
}

static double sigmoid(double x, double alpha)
{
  (void)alpha;
  return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static double sigmoid_derivative(double x, double y, double alpha)
{
  (void)x, (void)alpha;
  return y * (1 - y);
}

static double hyperbolic_tangent(double x, double alpha)
{
  (void)alpha;
  return tanh(x);
}

static double hyperbolic_tangent_derivative(double x, double y, double alpha)
{
  (void)x, (void)alpha;
  return 1 - y * y;
}

static double elu(double x, double alpha)
{
  return x > 0 ? x : alpha * expm1(x);
}

static double elu_derivative(double x, double y, double alpha)
{
  (void)y;
  return x > 0 ? 1 : alpha * exp(x);
}

static double gelu(double x, double alpha)
{
  (void)alpha;
  return 0.5 * x * (1 + erf(x * G_SQRT2 / 2));
}

static double gelu_derivative(double x, double y, double alpha)
{
  (void)y, (void)alpha;
  return 0.5 * (1 + erf(x * G_SQRT2 / 2)) + x * exp(-x * x / 2) / sqrt(2 * G_PI);
}

#define GELU_CUBIC 0.044715

static double gelu_inner(double x)
{
  return sqrt(2 / G_PI) * (x + GELU_CUBIC * x * x * x);
}

static double gelu_tanh(double x, double alpha)
{
  (void)alpha;
  return 0.5 * x * (1 + tanh(gelu_inner(x)));
}

static double gelu_tanh_derivative(double x, double y, double alpha)
{
  double t = tanh(gelu_inner(x));
  (void)y, (void)alpha;
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / G_PI) * (1 + 3 * GELU_CUBIC * x * x);
}

const PipelineActivation pipeline_activations[] = {
    {"Relu", NULL, NULL, 0, relu, relu_derivative},
    {"LeakyRelu", NULL, "alpha", 0.01f, leaky_relu, leaky_relu_derivative},
    {"Sigmoid", NULL, NULL, 0, sigmoid, sigmoid_derivative},
    {"Tanh", NULL, NULL, 0, hyperbolic_tangent, hyperbolic_tangent_derivative},
    {"Elu", NULL, "alpha", 1.0f, elu, elu_derivative},
    {"Gelu", "none", NULL, 0, gelu, gelu_derivative},
    {"Gelu", "tanh", NULL, 0, gelu_tanh, gelu_tanh_derivative},
    {NULL, NULL, NULL, 0, NULL, NULL},
};

const PipelineActivation *pipeline_activation_find(const gchar *op_type, const gchar *approximate)
{
  for (const PipelineActivation *activation = pipeline_activations; activation->op_type; activation++)
    if (g_str_equal(activation->op_type, op_type) &&
        (!activation->approximate || g_str_equal(activation->approximate, approximate ? approximate : "none")))
      return activation;
  return NULL;
}
