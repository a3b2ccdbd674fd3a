/* Conv, Gemm and MatMul with constant weights: what the rewrites of onnx/compress.h share; nobody else includes it. */
#pragma once

#include "onnx/graph.h"

G_BEGIN_DECLS

typedef struct {
  const OnnxTensor *weight; /* float; [out, in, kernel…] or a matrix; borrowed */
  const OnnxTensor *bias;   /* or NULL */
  gboolean own_bias;        /* there is no bias, or a constant one of one number an output channel */
  guint axis, input_axis;   /* of the weight: output and input channels */
  gint64 n_outputs, n_inputs;
} OnnxProduct;

/* FALSE: the node is none, or its weights are not constant floats; a Gemm with transA is none. */
gboolean onnx_product_read(const OnnxGraph *graph, const OnnxNode *node, OnnxProduct *product);
/* Element `index` of the weight belongs to this output channel. */
gsize onnx_product_channel(const OnnxProduct *product, gsize index);
/* The node's input `index` becomes the initialiser `tensor` (taken); an optional input in between is left out. */
void onnx_product_take_input(OnnxGraph *graph, OnnxNode *node, guint index, OnnxTensor *tensor);
/* The only node that reads `value`, or NULL when there are none, several, or the graph outputs it. */
OnnxNode *onnx_graph_find_only_reader(const OnnxGraph *graph, const gchar *value);
gboolean onnx_node_is(const OnnxNode *node, const gchar *op_type); /* of ai.onnx */

G_END_DECLS
