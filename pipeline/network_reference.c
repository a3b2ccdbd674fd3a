/* The specification of what a backend computes: plain loops, sums in double, rounded once. */
#include "pipeline/network.h"

#include <string.h>

static gpointer reference_open(GError **error)
{
  static const gchar nothing[] = "";
  (void)error;
  return (gpointer)nothing;
}

static void reference_close(gpointer state)
{
  (void)state;
}

static gboolean dense_forward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                              const float *weight, const float *bias, float *y, GError **error)
{
  guint n_in = layer->n_in, n_out = layer->n_out;
  (void)state, (void)index, (void)error;
  for (guint row = 0; row < n; row++)
    for (guint j = 0; j < n_out; j++) {
      double sum = bias ? bias[j] : 0;
      for (guint k = 0; k < n_in; k++) sum += (double)x[(gsize)row * n_in + k] * weight[(gsize)j * n_in + k];
      y[(gsize)row * n_out + j] = (float)sum;
    }
  return TRUE;
}

static void input_gradient(const PipelineLayer *layer, guint n, const float *weight, const float *dy, float *dx)
{
  guint n_in = layer->n_in, n_out = layer->n_out;
  for (guint row = 0; row < n; row++)
    for (guint k = 0; k < n_in; k++) {
      double sum = 0;
      for (guint j = 0; j < n_out; j++) sum += (double)dy[(gsize)row * n_out + j] * weight[(gsize)j * n_in + k];
      dx[(gsize)row * n_in + k] = (float)sum;
    }
}

static gboolean dense_backward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                               const float *weight, const float *dy, float *dx, float *dweight, float *dbias,
                               GError **error)
{
  guint n_in = layer->n_in, n_out = layer->n_out;
  (void)state, (void)index, (void)error;
  if (dx) input_gradient(layer, n, weight, dy, dx);
  for (guint j = 0; dweight && j < n_out; j++)
    for (guint k = 0; k < n_in; k++) {
      double sum = 0;
      for (guint row = 0; row < n; row++) sum += (double)dy[(gsize)row * n_out + j] * x[(gsize)row * n_in + k];
      dweight[(gsize)j * n_in + k] = (float)sum;
    }
  for (guint j = 0; dbias && j < n_out; j++) {
    double sum = 0;
    for (guint row = 0; row < n; row++) sum += dy[(gsize)row * n_out + j];
    dbias[j] = (float)sum;
  }
  return TRUE;
}

static gboolean activation_forward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                   float *y, GError **error)
{
  gsize total = (gsize)n * layer->n_out;
  (void)state, (void)index, (void)error;
  for (gsize i = 0; i < total; i++) y[i] = (float)layer->activation->value(x[i], layer->alpha);
  return TRUE;
}

static gboolean activation_backward(gpointer state, const PipelineLayer *layer, guint index, guint n, const float *x,
                                    const float *y, const float *dy, float *dx, GError **error)
{
  gsize total = (gsize)n * layer->n_out;
  (void)state, (void)index, (void)error;
  for (gsize i = 0; i < total; i++) dx[i] = (float)(dy[i] * layer->activation->derivative(x[i], y[i], layer->alpha));
  return TRUE;
}

const PipelineNetworkBackend pipeline_network_backend_reference = {
    .name = "reference",
    .summary = "plain C loops, the specification",
    .open = reference_open,
    .close = reference_close,
    .dense_forward = dense_forward,
    .dense_backward = dense_backward,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
};
