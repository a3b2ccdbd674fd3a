/* Architectures of new graphs (pipeline/graph_build.h) as text: a kind, its widths, and what differs from the usual,
 * each behind a "+":
 *
 *     mlp:64,64+gelu+layer-norm+residual      cnn:32,64+silu+kernel=5+blocks=2+average-pool+residual+dense=0
 *
 *   activation        relu (usual), leaky-relu, elu, gelu, tanh, silu
 *   normalisation     no-norm (usual of mlp), batch-norm (usual of cnn), layer-norm; in front of the activation
 *   residual          mlp: every hidden layer but the first adds its input to its output; cnn: every stage does, in
 *                     front of its last activation (He et al. 2016). Where the widths differ the input goes through a
 *                     linear map (a 1×1 convolution) first
 *   of cnn            kernel=1|3|5|7 (3), blocks=1..4 convolutions a stage (1), max-pool (usual) or average-pool
 *                     behind each stage, dense=0..4096 units behind the last (128); 0: the means of its channels */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_GRAPH_MAX_LAYERS 16u

typedef struct {
  const gchar *name, *op_type;
  gboolean gates; /* its input times the operator's output: silu is x · sigmoid(x) */
  guint opset;    /* of ai.onnx, at least */
} PipelineGraphActivation;

typedef enum { PIPELINE_GRAPH_NORM_NONE, PIPELINE_GRAPH_NORM_BATCH, PIPELINE_GRAPH_NORM_LAYER } PipelineGraphNorm;

typedef struct {
  gboolean image; /* "cnn" */
  guint widths[PIPELINE_GRAPH_MAX_LAYERS], n_widths;
  const PipelineGraphActivation *activation;
  guint norm; /* of PipelineGraphNorm */
  guint residual, average_pool;
  guint kernel, blocks, dense;
} PipelineGraphArchitecture;

/* INVALID names what is unknown and what can be written. */
gboolean pipeline_graph_architecture_parse(const gchar *text, PipelineGraphArchitecture *architecture, GError **error);
gboolean pipeline_graph_is_architecture(const gchar *text); /* "cnn", "cnn:…": only the builder of graphs knows it */
/* The same, or a "mlp:…+…": what the chain of dense layers (pipeline/network_build.h) is not. */
gboolean pipeline_graph_architecture_needs_graph(const gchar *text);

G_END_DECLS
