/* A dense network inside an ONNX graph: preprocessing → chain of dense layers → head. What scikit-learn's MLPs (through
 * skl2onnx), torch.onnx.export of MLPs and we ourselves (pipeline/network_build.h) write.
 *
 *     inputs ─▶ prefix (Scaler, OneHotEncoder, Concat, …; frozen) ─▶ features [N, n_inputs]
 *            ─▶ Gemm | MatMul+Add, activations, inference BatchNormalization (frozen) … ─▶ output [N, n_outputs]
 *            ─▶ Softmax, ArgMax, label look-up, … (kept as they are)
 */
#pragma once

#include "onnx/graph.h"
#include "pipeline/model.h"
#include "pipeline/network.h"

G_BEGIN_DECLS

/* Where the numbers of a dense layer are in the graph. */
typedef struct {
  gchar *weight;       /* initialiser */
  gboolean transposed; /* it is [n_in, n_out] */
  gchar *bias;         /* initialiser, or NULL */
} PipelineDenseSource;

typedef struct {
  OnnxGraph *graph;         /* simplified (onnx_graph_simplify); every trainable initialiser has one reader */
  gchar *features, *output; /* value names */
  PipelineNetwork *network;
  GPtrArray *sources; /* of PipelineDenseSource*, one per DENSE layer in order */
  guint *column_of;   /* [classes]: the network's output of each class of the schema (SIGMOID: 1 the positive one);
                       * NULL for a regression */
} PipelineNetworkGraph;

/* Finds the network. MODEL errors name the node that is no part of such a chain, or the shape that does not fit the
 * schema (outputs against classes). */
PipelineNetworkGraph *pipeline_network_graph_from_model(const PipelineModel *model, GError **error);
/* The same for a model that is not loaded yet: what cannot predict is refused here as well. */
PipelineNetworkGraph *pipeline_network_graph_read(GBytes *onnx, const DriftSchema *schema, GError **error);
void pipeline_network_graph_free(PipelineNetworkGraph *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineNetworkGraph, pipeline_network_graph_free)

/* Turns class indices of the schema in targets [n] into what the network's loss takes; NaN stays, values stay. */
void pipeline_network_graph_map_targets(const PipelineNetworkGraph *self, float *targets, guint64 n);

/* The graph with `parameters` [n_parameters] as the weights of its dense layers; nothing else changes. */
GBytes *pipeline_network_graph_write(const PipelineNetworkGraph *self, const float *parameters, GError **error);

G_END_DECLS
