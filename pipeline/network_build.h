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
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_SCHEMA_KEY "kedge.schema"
#define PIPELINE_MAX_ONE_HOT 256 /* categories of a feature, the most frequent ones; the others are as unseen ones */

/* architecture: "mlp:64,64" (widths of the hidden layers; "mlp:" is a linear model). rows [n_rows] of the table are the
 * training rows. targets [table->n_rows]: the value of each row's label (regression), else NULL. */
GBytes *pipeline_network_build(const gchar *architecture, const DriftTable *table, const DriftSchema *schema,
                               const guint64 *rows, guint64 n_rows, const float *targets, guint64 seed, GError **error);

G_END_DECLS
