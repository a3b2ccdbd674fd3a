/* Inputs and preprocessing of a new graph for a schema, learnt from rows:
 *
 *   numbers ─▶ [Imputer (missing → mean) ─▶ Scaler (mean 0, sd 1)] ─┐
 *   texts   ─▶ OneHotEncoder (unseen → zeros) ──────────────────────┴▶ Concat
 *
 * The part in brackets is left out for models that take numbers as they are, missing ones as NaN. Inputs follow
 * pipeline/model.h. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_MAX_ONE_HOT 256 /* categories of a feature, the most frequent ones; the others are as unseen ones */
#define PIPELINE_MAX_COLUMNS 65536u

typedef struct {
  gchar *features;    /* name of the value [N, columns] */
  GPtrArray *columns; /* of gchar*: "age", "colour=red" */
  GArray *constant;   /* of gboolean, one a column: it never varies in the rows */
} PipelineGraphPrefix;
void pipeline_graph_prefix_clear(PipelineGraphPrefix *prefix);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineGraphPrefix, pipeline_graph_prefix_clear)

/* rows [n_rows] of the table are the training rows. The caller clears `prefix` on failure too. DATA for a column that
 * is not there or of the other kind, or a number beyond float32; UNSUPPORTED for names that outputs need, too many
 * columns. */
gboolean pipeline_graph_prefix_add(OnnxGraph *graph, const DriftTable *table, const DriftSchema *schema,
                                   const guint64 *rows, guint64 n_rows, gboolean standardise,
                                   PipelineGraphPrefix *prefix, GError **error);

/* UNSUPPORTED: the graph uses that name for something else. */
gboolean pipeline_graph_check_feature_name(const gchar *name, GError **error);

G_END_DECLS
