/* The ONNX graph around an ensemble of trees:
 *
 *   numbers (missing: NaN) ─┐   (or the transformations of a plan)
 *   texts ─▶ OneHotEncoder ─┴▶ Concat ─▶ TreeEnsembleClassifier ─▶ "probabilities" ─▶ ArgMax ─▶ "label"
 *                                      └▶ TreeEnsembleRegressor ─▶ "value"
 *
 * or a given graph with one such node, whose trees are replaced. Metadata: the schema (PIPELINE_SCHEMA_KEY) and, under
 * PIPELINE_TREE_KEY, {"columns": [NAME, …], "gain": […], "cover": […], "splits": […]}: by column of the feature matrix
 * the sums over all splits, from which importance is told. */
#pragma once

#include <jansson.h>

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/transform.h"
#include "pipeline/tree_ensemble.h"

G_BEGIN_DECLS

#define PIPELINE_TREE_KEY "kedge.trees"

typedef struct {
  OnnxGraph *graph;
  OnnxNode *node;     /* of the trees; borrowed from graph */
  gchar *features;    /* its input */
  guint n_columns;    /* width of that */
  GPtrArray *columns; /* of gchar*: their names */
} PipelineTreeGraph;
void pipeline_tree_graph_clear(PipelineTreeGraph *graph);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineTreeGraph, pipeline_tree_graph_clear)

/* rows [n_rows] of the table: the training rows. The node has no trees yet. Of a regression its output is "value"; of
 * quantiles "kedge.logits", in standard deviations of the label, for a head to follow. */
gboolean pipeline_tree_graph_build(const DriftTable *table, const DriftSchema *schema, const guint64 *rows,
                                   guint64 n_rows, gboolean quantiles, PipelineTreeGraph *out, GError **error);
/* The same behind fitted transformations. */
gboolean pipeline_tree_graph_build_prepared(const PipelinePrepared *prepared, gboolean quantiles,
                                            PipelineTreeGraph *out, GError **error);
/* A given model and its trees (new). UNSUPPORTED, MODEL with the reason why boosting cannot continue them. */
gboolean pipeline_tree_graph_read(GBytes *onnx, const DriftSchema *schema, PipelineTreeGraph *out,
                                  PipelineTreeEnsemble **ensemble, GError **error);
/* The graph with these trees, of which those from first_tree on are new. */
GBytes *pipeline_tree_graph_write(PipelineTreeGraph *graph, const DriftSchema *schema,
                                  const PipelineTreeEnsemble *ensemble, guint first_tree, GError **error);
/* [{"column", "gain", "cover", "weight"}, …] of the columns that are split by, by falling gain: means a split, and the
 * number of splits (XGBoost's names). NULL: the model carries none. New. */
json_t *pipeline_tree_importance(const OnnxGraph *graph);

G_END_DECLS
