#include "onnx/product.h"

#include <string.h>

gboolean onnx_node_is(const OnnxNode *node, const gchar *op_type)
{
  return node->domain[0] == '\0' && strcmp(node->op_type, op_type) == 0;
}

static const OnnxTensor *find_floats(const OnnxGraph *graph, const OnnxNode *node, guint index)
{
  const gchar *name = onnx_node_get_input(node, index);
  const OnnxTensor *tensor = name != NULL ? onnx_graph_find_initialiser(graph, name) : NULL;
  return tensor != NULL && tensor->type == ONNX_TYPE_FLOAT && onnx_tensor_get_n_elements(tensor) > 0 ? tensor : NULL;
}

gboolean onnx_product_read(const OnnxGraph *graph, const OnnxNode *node, OnnxProduct *product)
{
  gboolean conv = onnx_node_is(node, "Conv"), gemm = onnx_node_is(node, "Gemm");
  *product = (OnnxProduct){.weight = find_floats(graph, node, 1), .own_bias = TRUE};
  if (!conv && !gemm && !onnx_node_is(node, "MatMul")) return FALSE;
  const gchar *input = onnx_node_get_input(node, 0);
  if (product->weight == NULL || input == NULL || onnx_graph_find_initialiser(graph, input) != NULL) return FALSE;
  if (conv ? product->weight->n_dims < 3 : product->weight->n_dims != 2) return FALSE;
  if (gemm && onnx_node_get_int(node, "transA", 0) != 0) return FALSE;
  gboolean out_first = conv || (gemm && onnx_node_get_int(node, "transB", 0) != 0);
  product->axis = out_first ? 0 : 1;
  product->input_axis = 1 - product->axis;
  product->n_outputs = product->weight->dims[product->axis];
  product->n_inputs = product->weight->dims[product->input_axis];
  if ((conv || gemm) && onnx_node_get_input(node, 2) != NULL) {
    product->bias = find_floats(graph, node, 2);
    product->own_bias = product->bias != NULL && product->bias->n_dims >= 1 &&
                        product->bias->dims[product->bias->n_dims - 1] == product->n_outputs &&
                        onnx_tensor_get_n_elements(product->bias) == (gsize)product->n_outputs;
  }
  return TRUE;
}

gsize onnx_product_channel(const OnnxProduct *product, gsize index)
{
  gsize inner = 1;
  for (guint d = product->axis + 1; d < product->weight->n_dims; d++) inner *= (gsize)product->weight->dims[d];
  return index / inner % (gsize)product->n_outputs;
}

void onnx_product_take_input(OnnxGraph *graph, OnnxNode *node, guint index, OnnxTensor *tensor)
{
  while (node->inputs->len <= index) g_ptr_array_add(node->inputs, g_strdup(""));
  g_free(g_ptr_array_index(node->inputs, index));
  g_ptr_array_index(node->inputs, index) = g_strdup(tensor->name);
  onnx_graph_take_initialiser(graph, tensor);
}

OnnxNode *onnx_graph_find_only_reader(const OnnxGraph *graph, const gchar *value)
{
  if (value == NULL || onnx_graph_count_readers(graph, value) != 1) return NULL;
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->inputs->len; i++)
      if (strcmp(g_ptr_array_index(node->inputs, i), value) == 0) return node;
  }
  return NULL;
}
