/* A new ONNX graph for a schema, with its preprocessing learnt from rows and random first weights:
 *
 *   numbers ─▶ Imputer (missing → mean) ─▶ Scaler (mean 0, sd 1) ─┐
 *   texts   ─▶ OneHotEncoder (unseen → zeros) ────────────────────┴▶ Concat ─▶ (Gemm ─▶ Relu)* ─▶ Gemm ─▶ head
 *
 * The head of a classifier is Softmax → "probabilities" and ArgMax → "label"; of a regression Mul, Add → "value" in
 * the label's units. A column that never varies keeps its place: the weights from it start at zero. The inputs follow
 * pipeline/model.h; the schema is stored under the metadata key PIPELINE_SCHEMA_KEY.
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/graph.h"
#include "pipeline/error.h"
#include "pipeline/graph_prefix.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

#define PIPELINE_SCHEMA_KEY "kedge.schema"

/* architecture: "mlp:64,64" (widths of the hidden layers; "mlp:" is a linear model). rows [n_rows] of the table are the
 * training rows. targets [table->n_rows]: the value of each row's label (regression), else NULL. */
GBytes *pipeline_network_build(const gchar *architecture, const DriftTable *table, const DriftSchema *schema,
                               const guint64 *rows, guint64 n_rows, const float *targets, guint64 seed, GError **error);
/* The same behind the fitted transformations (pipeline/transform.h) of those rows. */
GBytes *pipeline_network_build_prepared(const gchar *architecture, const PipelinePrepared *prepared,
                                        const guint64 *rows, guint64 n_rows, const float *targets, guint64 seed,
                                        GError **error);

/* What follows the value "probabilities" of a new graph, which imports ai.onnx.ml: the label of the most probable
 * class; declares both as outputs. */
void pipeline_network_add_label(OnnxGraph *graph, const DriftSchema *schema);
/* What follows the value "kedge.logits": probabilities and label of the schema's classes; or the value in the label's
 * units, by mean and standard deviation of the targets of those rows. Outputs are declared. */
void pipeline_network_add_classifier_head(OnnxGraph *graph, const DriftSchema *schema);
void pipeline_network_add_regression_head(OnnxGraph *graph, const float *targets, const guint64 *rows, guint64 n_rows);

G_END_DECLS
