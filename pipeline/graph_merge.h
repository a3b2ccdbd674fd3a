/* Several models with the same inputs in one graph: each one's values get a prefix, its inputs do not. For graphs
 * without subgraphs, as pipeline_train writes them. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

/* To and from bytes; new. MODEL with what onnx/ says. */
OnnxGraph *pipeline_graph_read(GBytes *onnx, GError **error);
GBytes *pipeline_graph_write(const OnnxGraph *graph, GError **error);

/* Cuts all outputs but that one, and what nothing reads then. */
void pipeline_graph_keep_output(OnnxGraph *graph, const gchar *output);
/* MODEL unless both have inputs of the same names and types in the same order; `name` says whose `other` is. */
gboolean pipeline_graph_check_inputs(const OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error);
/* Adds the opsets that `other` imports and `graph` does not. MODEL: another version of one that both import. */
gboolean pipeline_graph_share_opsets(OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error);
/* Moves nodes and initialisers of `from` into `into`, values and nodes renamed with the prefix or (strip) without it.
 */
void pipeline_graph_move_parts(OnnxGraph *into, OnnxGraph *from, const gchar *prefix, gboolean strip);

G_END_DECLS
