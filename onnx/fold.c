/* BatchNormalization into the weights of the Conv or Gemm in front of it. */
#include <math.h>
#include <string.h>

#include "onnx/compress.h"
#include "onnx/product.h"

/* Scale, shift, mean and variance as floats [n], each; NULL: one is no constant of that size. */
static gboolean read_statistics(const OnnxGraph *graph, const OnnxNode *node, gsize n, float *parts[4])
{
  for (guint i = 0; i < 4; i++) {
    const gchar *name = onnx_node_get_input(node, i + 1);
    const OnnxTensor *tensor = name != NULL ? onnx_graph_find_initialiser(graph, name) : NULL;
    if (tensor == NULL || tensor->type != ONNX_TYPE_FLOAT || onnx_tensor_get_n_elements(tensor) != n) return FALSE;
    parts[i] = onnx_tensor_to_floats(tensor, NULL);
  }
  return TRUE;
}

/* y = s (α x W + β c − μ) + shift = x (α s W) + s (β c − μ) + shift, s = γ / √(σ² + ε). */
static void fold(OnnxGraph *graph, OnnxNode *node, const OnnxProduct *product, const OnnxNode *norm, float *parts[4])
{
  gsize n = onnx_tensor_get_n_elements(product->weight), channels = (gsize)product->n_outputs;
  double epsilon = (double)onnx_node_get_float(norm, "epsilon", 1e-5f);
  gboolean gemm = onnx_node_is(node, "Gemm");
  double alpha = gemm ? (double)onnx_node_get_float(node, "alpha", 1) : 1,
         beta = gemm ? (double)onnx_node_get_float(node, "beta", 1) : 1;
  g_autofree float *weights = onnx_tensor_to_floats(product->weight, NULL);
  g_autofree float *bias = product->bias != NULL ? onnx_tensor_to_floats(product->bias, NULL) : g_new0(float, channels);
  for (gsize i = 0; i < n; i++) {
    gsize c = onnx_product_channel(product, i);
    weights[i] = (float)((double)weights[i] * alpha * (double)parts[0][c] / sqrt((double)parts[3][c] + epsilon));
  }
  for (gsize c = 0; c < channels; c++)
    bias[c] = (float)(((double)bias[c] * beta - (double)parts[2][c]) * (double)parts[0][c] /
                          sqrt((double)parts[3][c] + epsilon) +
                      (double)parts[1][c]);
  const gchar *output = onnx_node_get_output(norm, 0);
  g_autofree gchar *weight_name = g_strdup_printf("kedge.folded.%s.weight", output),
                   *bias_name = g_strdup_printf("kedge.folded.%s.bias", output);
  OnnxTensor *folded =
      onnx_tensor_new(weight_name, ONNX_TYPE_FLOAT, product->weight->n_dims, product->weight->dims, weights);
  onnx_product_take_input(graph, node, 1, folded);
  const gint64 dims = product->n_outputs;
  onnx_product_take_input(graph, node, 2, onnx_tensor_new(bias_name, ONNX_TYPE_FLOAT, 1, &dims, bias));
  if (gemm) {
    onnx_node_set_float(node, "alpha", 1);
    onnx_node_set_float(node, "beta", 1);
  }
  g_free(g_ptr_array_index(node->outputs, 0));
  g_ptr_array_index(node->outputs, 0) = g_strdup(output);
}

static gboolean fold_behind(OnnxGraph *graph, OnnxNode *node)
{
  OnnxProduct product;
  const gchar *output = onnx_node_get_output(node, 0);
  OnnxNode *norm = onnx_graph_find_only_reader(graph, output);
  if (onnx_node_is(node, "MatMul") || !onnx_product_read(graph, node, &product) || !product.own_bias) return FALSE;
  if (norm == NULL || !onnx_node_is(norm, "BatchNormalization") || onnx_node_get_int(norm, "training_mode", 0) != 0 ||
      g_strcmp0(onnx_node_get_input(norm, 0), output) != 0)
    return FALSE;
  float *parts[4] = {NULL, NULL, NULL, NULL};
  gboolean good = read_statistics(graph, norm, (gsize)product.n_outputs, parts);
  guint index;
  if (good) {
    fold(graph, node, &product, norm, parts);
    if (g_ptr_array_find(graph->nodes, norm, &index)) onnx_graph_remove_node(graph, index);
  }
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) g_free(parts[i]);
  return good;
}

guint onnx_graph_fold_normalisation(OnnxGraph *graph)
{
  guint folded = 0;
  for (guint n = 0; n < graph->nodes->len; n++) folded += fold_behind(graph, g_ptr_array_index(graph->nodes, n));
  if (folded == 0) return 0;
  g_ptr_array_set_size(graph->values, 0); /* informative only; some are gone */
  onnx_graph_simplify(graph);             /* drops what nothing reads any more */
  return folded;
}
