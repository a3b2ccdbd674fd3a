#include "pipeline/network.h"

#include <string.h>

/* --- the network -------------------------------------------------------------------------------------------------- */

PipelineNetwork *pipeline_network_new(guint n_inputs)
{
  PipelineNetwork *network = g_new0(PipelineNetwork, 1);
  network->n_inputs = n_inputs;
  network->layers = g_array_new(FALSE, TRUE, sizeof(PipelineLayer));
  network->loss.target_scale = 1;
  return network;
}

void pipeline_network_free(PipelineNetwork *network)
{
  if (!network) return;
  for (guint i = 0; i < network->layers->len; i++) {
    PipelineLayer *layer = &g_array_index(network->layers, PipelineLayer, i);
    g_free(layer->scale);
    g_free(layer->shift);
  }
  g_array_unref(network->layers);
  g_free(network->parameters);
  g_free(network);
}

guint pipeline_network_get_width(const PipelineNetwork *network)
{
  guint n = network->layers->len;
  return n == 0 ? network->n_inputs : pipeline_network_get_layer(network, n - 1)->n_out;
}

const PipelineLayer *pipeline_network_get_layer(const PipelineNetwork *network, guint index)
{
  return &g_array_index(network->layers, PipelineLayer, index);
}

void pipeline_network_add_dense(PipelineNetwork *network, guint n_out, const float *weight, const float *bias)
{
  guint n_in = pipeline_network_get_width(network);
  gsize n_weights = (gsize)n_in * n_out, old = network->n_parameters;
  PipelineLayer layer = {.kind = PIPELINE_LAYER_DENSE,
                         .n_in = n_in,
                         .n_out = n_out,
                         .has_bias = bias != NULL,
                         .weight_offset = old,
                         .bias_offset = old + n_weights};
  network->n_parameters = old + n_weights + (bias ? n_out : 0);
  network->parameters = g_renew(float, network->parameters, network->n_parameters);
  memcpy(network->parameters + layer.weight_offset, weight, n_weights * sizeof(float));
  if (bias) memcpy(network->parameters + layer.bias_offset, bias, n_out * sizeof(float));
  g_array_append_val(network->layers, layer);
}

void pipeline_network_add_affine(PipelineNetwork *network, const float *scale, const float *shift)
{
  guint width = pipeline_network_get_width(network);
  PipelineLayer layer = {.kind = PIPELINE_LAYER_AFFINE,
                         .n_in = width,
                         .n_out = width,
                         .scale = g_memdup2(scale, width * sizeof(float)),
                         .shift = g_memdup2(shift, width * sizeof(float))};
  g_array_append_val(network->layers, layer);
}

void pipeline_network_add_activation(PipelineNetwork *network, const PipelineActivation *activation, float alpha)
{
  guint width = pipeline_network_get_width(network);
  PipelineLayer layer = {
      .kind = PIPELINE_LAYER_ACTIVATION, .n_in = width, .n_out = width, .activation = activation, .alpha = alpha};
  g_array_append_val(network->layers, layer);
}

/* --- one batch, forward and backward ------------------------------------------------------------------------------ */

struct _PipelinePass {
  const PipelineNetwork *network;
  const PipelineNetworkBackend *backend;
  gpointer state;
  guint max_rows, n;
  const float *x;      /* of the last forward; borrowed */
  float **values;      /* [layers]: output of each layer [max_rows, n_out] */
  float *gradients[2]; /* [max_rows, widest]: of a layer's output and of its input, swapped layer by layer */
};

static float *new_buffer(gsize rows, gsize columns, GError **error)
{
  float *buffer =
      rows > 0 && columns > G_MAXSIZE / sizeof(float) / rows ? NULL : g_try_new(float, MAX(1, rows * columns));
  if (!buffer)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for a batch of %" G_GSIZE_FORMAT " rows of width %" G_GSIZE_FORMAT, rows, columns);
  return buffer;
}

PipelinePass *pipeline_pass_new(const PipelineNetwork *network, const PipelineNetworkBackend *backend, guint max_rows,
                                GError **error)
{
  g_return_val_if_fail(network->layers->len > 0 && max_rows > 0, NULL);
  g_autoptr(PipelinePass) pass = g_new0(PipelinePass, 1);
  guint widest = network->n_inputs;
  pass->network = network;
  pass->max_rows = max_rows;
  pass->values = g_new0(float *, network->layers->len);
  for (guint i = 0; i < network->layers->len; i++) {
    guint width = pipeline_network_get_layer(network, i)->n_out;
    widest = MAX(widest, width);
    if (!(pass->values[i] = new_buffer(max_rows, width, error))) return NULL;
  }
  for (guint i = 0; i < 2; i++)
    if (!(pass->gradients[i] = new_buffer(max_rows, widest, error))) return NULL;
  pass->state = backend->open(error);
  if (!pass->state) return NULL;
  pass->backend = backend;
  return g_steal_pointer(&pass);
}

void pipeline_pass_free(PipelinePass *pass)
{
  if (!pass) return;
  if (pass->backend) pass->backend->close(pass->state);
  for (guint i = 0; pass->values && i < pass->network->layers->len; i++) g_free(pass->values[i]);
  g_free(pass->values);
  g_free(pass->gradients[0]);
  g_free(pass->gradients[1]);
  g_free(pass);
}

guint pipeline_pass_get_max_rows(const PipelinePass *pass)
{
  return pass->max_rows;
}

const float *pipeline_pass_get_layer_input(const PipelinePass *pass, guint index)
{
  return index == 0 ? pass->x : pass->values[index - 1];
}

static void affine_forward(const PipelineLayer *layer, guint n, const float *x, float *y)
{
  for (guint row = 0; row < n; row++)
    for (guint j = 0; j < layer->n_out; j++) {
      gsize at = (gsize)row * layer->n_out + j;
      y[at] = x[at] * layer->scale[j] + layer->shift[j];
    }
}

static void affine_backward(const PipelineLayer *layer, guint n, const float *dy, float *dx)
{
  for (guint row = 0; row < n; row++)
    for (guint j = 0; j < layer->n_out; j++) {
      gsize at = (gsize)row * layer->n_out + j;
      dx[at] = dy[at] * layer->scale[j];
    }
}

const float *pipeline_pass_forward(PipelinePass *pass, const float *x, guint n, GError **error)
{
  g_return_val_if_fail(n > 0 && n <= pass->max_rows, NULL);
  const PipelineNetwork *network = pass->network;
  pass->x = x;
  pass->n = n;
  for (guint i = 0; i < network->layers->len; i++) {
    const PipelineLayer *layer = pipeline_network_get_layer(network, i);
    const float *input = pipeline_pass_get_layer_input(pass, i);
    gboolean done = TRUE;
    switch (layer->kind) {
    case PIPELINE_LAYER_DENSE:
      done = pass->backend->dense_forward(pass->state, layer, i, n, input, network->parameters + layer->weight_offset,
                                          layer->has_bias ? network->parameters + layer->bias_offset : NULL,
                                          pass->values[i], error);
      break;
    case PIPELINE_LAYER_AFFINE:
      affine_forward(layer, n, input, pass->values[i]);
      break;
    case PIPELINE_LAYER_ACTIVATION:
      done = pass->backend->activation_forward(pass->state, layer, i, n, input, pass->values[i], error);
      break;
    }
    if (!done) return NULL;
  }
  return pass->values[network->layers->len - 1];
}

/* dy is the gradient of the layer's output; dx (NULL: not wanted) receives that of its input. */
static gboolean layer_backward(PipelinePass *pass, guint index, const float *dy, float *dx, float *parameter_gradient,
                               GError **error)
{
  const PipelineNetwork *network = pass->network;
  const PipelineLayer *layer = pipeline_network_get_layer(network, index);
  const float *x = pipeline_pass_get_layer_input(pass, index);
  switch (layer->kind) {
  case PIPELINE_LAYER_DENSE:
    if (!dx && !parameter_gradient) return TRUE;
    return pass->backend->dense_backward(
        pass->state, layer, index, pass->n, x, network->parameters + layer->weight_offset, dy, dx,
        parameter_gradient ? parameter_gradient + layer->weight_offset : NULL,
        parameter_gradient && layer->has_bias ? parameter_gradient + layer->bias_offset : NULL, error);
  case PIPELINE_LAYER_AFFINE:
    if (dx) affine_backward(layer, pass->n, dy, dx);
    return TRUE;
  case PIPELINE_LAYER_ACTIVATION:
    return !dx || pass->backend->activation_backward(pass->state, layer, index, pass->n, x, pass->values[index], dy, dx,
                                                     error);
  }
  g_return_val_if_reached(FALSE);
}

gboolean pipeline_pass_backward(PipelinePass *pass, const float *output_gradient, float *parameter_gradient,
                                float *input_gradient, GError **error)
{
  const float *dy = output_gradient;
  for (guint i = pass->network->layers->len; i-- > 0;) {
    float *dx = i == 0 ? input_gradient : pass->gradients[i % 2];
    if (!layer_backward(pass, i, dy, dx, parameter_gradient, error)) return FALSE;
    dy = dx;
  }
  return TRUE;
}
