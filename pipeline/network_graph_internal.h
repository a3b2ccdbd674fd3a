/* What network_graph.c (finding the chain) and network_graph_layers.c (its nodes as layers) share. */
#pragma once

#include "pipeline/network_graph.h"

G_BEGIN_DECLS

/* A graph on its way to a network: `self` fills up while the chain is walked. */
typedef struct {
  PipelineNetworkGraph *self;
  GArray *chain;          /* of guint: node indices from the first dense layer to the output */
  gboolean bias_may_come; /* the last layer is a dense one without bias */
} PipelineGraphReading;

/* MODEL: "cannot train this model: NODE why". Returns FALSE. */
gboolean pipeline_graph_fail(const PipelineGraphReading *reading, guint index, const gchar *why, GError **error);
gboolean pipeline_graph_is_op(const OnnxNode *node, const gchar *op_type); /* of the default domain */
/* Gemm or MatMul with a constant matrix on the right. */
gboolean pipeline_graph_is_dense(const OnnxGraph *graph, const OnnxNode *node);
gboolean pipeline_graph_is_pass_through(const OnnxNode *node);
/* The value that a chain node transforms, or NULL when the node is none (merges two values, is of another kind). */
const gchar *pipeline_graph_chain_input(const OnnxGraph *graph, const OnnxNode *node);
/* Appends the chain node's layer to the network. */
gboolean pipeline_graph_add_node(PipelineGraphReading *reading, guint index, GError **error);
/* Reshape and Flatten must leave [N, width] as it is; Cast must go to float32. */
gboolean pipeline_graph_check_pass_through(const PipelineGraphReading *reading, guint index, const OnnxNode *node,
                                           GError **error);
float *pipeline_matrix_transpose(const float *matrix, guint n_rows, guint n_columns); /* new */

G_END_DECLS
