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

const PipelineActivation pipeline_activations[] = {
    {"Relu", NULL, 0, relu, relu_derivative},
    {"LeakyRelu", "alpha", 0.01f, leaky_relu, leaky_relu_derivative},
    {"Sigmoid", NULL, 0, sigmoid, sigmoid_derivative},
    {"Tanh", NULL, 0, hyperbolic_tangent, hyperbolic_tangent_derivative},
    {"Elu", "alpha", 1.0f, elu, elu_derivative},
    {"Gelu", NULL, 0, gelu, gelu_derivative},
    {NULL, NULL, 0, NULL, NULL},
};

const PipelineActivation *pipeline_activation_find(const gchar *op_type)
{
  for (const PipelineActivation *activation = pipeline_activations; activation->op_type; activation++)
    if (g_str_equal(activation->op_type, op_type)) return activation;
  return NULL;
}
