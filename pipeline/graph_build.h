/* New graphs for rows that are vectors or images of numbers, with random first weights:
 *
 *   "mlp:64,64"   features [N, F] ─▶ Sub, Mul (mean 0, sd 1) ─▶ (Gemm ─▶ Relu ─▶ Dropout)* ─▶ Gemm ─▶ head
 *   "cnn:32,64"   features [N, F] ─▶ Sub, Mul ─▶ Reshape ─▶ (Conv 3×3 ─▶ BatchNormalization ─▶ Relu ─▶ MaxPool 2×2)*
 *                 ─▶ Flatten ─▶ Gemm 128 ─▶ BatchNormalization ─▶ Relu ─▶ Dropout ─▶ Gemm ─▶ head
 *
 * Activations, normalisation, shortcuts and the like: pipeline/graph_architecture.h.
 * Heads as in pipeline/network_build.h. "cnn" is "cnn:32,64". He uniform weights, Glorot uniform in the last layer.
 */
#pragma once

#include "drift/schema.h"
#include "onnx/graph.h"
#include "pipeline/graph_architecture.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *architecture;
  double dropout; /* share of units dropped while training; 0: no Dropout nodes */
  guint64 seed;
  guint channels, height, width; /* of a row as an image; 0: it is none */
  gchar *const *labels;          /* several labels (pipeline/multi_label.h); NULL: that of the schema */
  double interval;               /* level of a regression's interval (pipeline/interval.h); 0: none */
  /* mlp: one mean and standard deviation for all features, so that none of them magnifies a change of the same size */
  gboolean common_scale;
  /* mlp: [n_features]; the features are standardised already, and where TRUE one never varies: the weights from it
   * begin with 0. NULL: they are standardised by the graph */
  const gboolean *standardised;
} PipelineGraphBuildOptions;

/* x [*, n_features] and targets [*] of the given training rows: mean and standard deviation, of all pixels together for
 * images, else by feature. INVALID names what is wrong with architecture or image size. */
OnnxGraph *pipeline_graph_build(const PipelineGraphBuildOptions *options, const DriftSchema *schema, const float *x,
                                gsize n_features, const float *targets, const guint64 *rows, guint64 n_rows,
                                GError **error);

G_END_DECLS
