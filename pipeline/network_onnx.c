#include "pipeline/network_onnx.h"

#include <string.h>

#include "onnx/graph.h"

#define OPSET 17
#define GELU_OPSET 20

/* What stands behind the outputs of each loss; by it the loss is found (pipeline/graph_plan.h). */
static const gchar *const links[] = {
    [PIPELINE_LOSS_SOFTMAX] = "Softmax", [PIPELINE_LOSS_SIGMOID] = "Sigmoid", [PIPELINE_LOSS_SQUARED] = "Identity"};

/* Layers are counted from 1 in names. */
static gchar *name_of(guint number, const gchar *part)
{
  return g_strdup_printf("layer_%u.%s", number, part);
}

static void take_numbers(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, const float *values)
{
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, values));
}

static void add_dense(OnnxGraph *graph, const PipelineNetwork *network, const PipelineLayer *layer, guint number,
                      const gchar *input, const gchar *output)
{
  g_autofree gchar *weight = name_of(number, "weight"), *bias = name_of(number, "bias");
  const gchar *const inputs[] = {input, weight, layer->has_bias ? bias : NULL, NULL};
  take_numbers(graph, weight, 2, (gint64[]){layer->n_out, layer->n_in}, network->parameters + layer->weight_offset);
  if (layer->has_bias) take_numbers(graph, bias, 1, (gint64[]){layer->n_out}, network->parameters + layer->bias_offset);
  OnnxNode *node = onnx_graph_add_node_strv(graph, "", "Gemm", inputs, (const gchar *const[]){output, NULL});
  onnx_node_set_int(node, "transB", 1);
}

/* Frozen: an Add is a bias only right behind a product. */
static void add_affine(OnnxGraph *graph, const PipelineLayer *layer, guint number, const gchar *input,
                       const gchar *output)
{
  g_autofree gchar *scale = name_of(number, "scale"), *shift = name_of(number, "shift"),
                   *scaled = name_of(number, "scaled");
  const gint64 width = layer->n_out;
  take_numbers(graph, scale, 1, &width, layer->scale);
  take_numbers(graph, shift, 1, &width, layer->shift);
  onnx_graph_add_node_strv(graph, "", "Mul", (const gchar *const[]){input, scale, NULL},
                           (const gchar *const[]){scaled, NULL});
  onnx_graph_add_node_strv(graph, "", "Add", (const gchar *const[]){scaled, shift, NULL},
                           (const gchar *const[]){output, NULL});
}

static void add_activation(OnnxGraph *graph, const PipelineLayer *layer, const gchar *input, const gchar *output)
{
  const PipelineActivation *activation = layer->activation;
  OnnxNode *node = onnx_graph_add_node(graph, "", activation->op_type, input, output);
  if (activation->alpha_name) onnx_node_set_float(node, activation->alpha_name, layer->alpha);
  if (!activation->approximate) return;
  onnx_node_set_string(node, "approximate", activation->approximate);
  onnx_graph_set_opset(graph, "", GELU_OPSET);
}

static gchar *add_layers(OnnxGraph *graph, const PipelineNetwork *network)
{
  gchar *value = g_strdup("features");
  for (guint i = 0; i < network->layers->len; i++) {
    const PipelineLayer *layer = pipeline_network_get_layer(network, i);
    g_autofree gchar *input = value;
    value = name_of(i + 1, "output");
    switch (layer->kind) {
    case PIPELINE_LAYER_DENSE:
      add_dense(graph, network, layer, i + 1, input, value);
      break;
    case PIPELINE_LAYER_AFFINE:
      add_affine(graph, layer, i + 1, input, value);
      break;
    case PIPELINE_LAYER_ACTIVATION:
      add_activation(graph, layer, input, value);
      break;
    }
  }
  return value;
}

GBytes *pipeline_network_to_onnx(const PipelineNetwork *network, GError **error)
{
  g_return_val_if_fail(network->loss.kind < G_N_ELEMENTS(links), NULL);
  g_autoptr(OnnxGraph) graph = onnx_graph_new("kedge");
  g_autofree gchar *input = g_strdup_printf("N,%u", network->n_inputs),
                   *output = g_strdup_printf("N,%u", pipeline_network_get_width(network));
  g_autoptr(GError) cause = NULL;
  onnx_graph_set_opset(graph, "", OPSET);
  onnx_graph_add_input(graph, "features", ONNX_TYPE_FLOAT, input);
  g_autofree gchar *value = add_layers(graph, network);
  OnnxNode *link = onnx_graph_add_node(graph, "", links[network->loss.kind], value, "output");
  if (network->loss.kind == PIPELINE_LOSS_SOFTMAX) onnx_node_set_int(link, "axis", 1);
  onnx_graph_add_output(graph, "output", ONNX_TYPE_FLOAT, output);
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (!bytes) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}

static gboolean take(const OnnxGraph *graph, guint number, const gchar *part, gsize n, float *values, GError **error)
{
  g_autofree gchar *name = name_of(number, part);
  const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, name);
  if (!tensor || tensor->type != ONNX_TYPE_FLOAT || onnx_tensor_get_n_elements(tensor) != n) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the trained layers have no \"%s\" of %zu numbers", name,
                n);
    return FALSE;
  }
  memcpy(values, g_bytes_get_data(tensor->bytes, NULL), n * sizeof(float));
  return TRUE;
}

gboolean pipeline_network_take_onnx(PipelineNetwork *network, GBytes *onnx, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (!graph) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return FALSE;
  }
  for (guint i = 0; i < network->layers->len; i++) {
    const PipelineLayer *layer = pipeline_network_get_layer(network, i);
    if (layer->kind != PIPELINE_LAYER_DENSE) continue;
    if (!take(graph, i + 1, "weight", (gsize)layer->n_in * layer->n_out, network->parameters + layer->weight_offset,
              error) ||
        (layer->has_bias && !take(graph, i + 1, "bias", layer->n_out, network->parameters + layer->bias_offset, error)))
      return FALSE;
  }
  return TRUE;
}
