/* Shape inference with symbolic dimensions. The operators' own inference runs on made-up sizes, once for all symbols
 * and once more for each with another size: what a dimension does then says which symbol it follows. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

/* Declares type and shape of every value that the nodes of the graph make (graph->values is replaced; outputs that say
 * less than is known are filled in). Dimensions are sizes, an input's symbol ("N"), a multiple of one ("4*N"), or
 * unknown; shapes that depend on the data fed are left out. A first dimension without size and symbol is the batch,
 * "N"; other input dimensions without both make unknown ones. Call onnx_graph_simplify before. Errors are those of
 * running the graph: a model that runs on one size only is one. */
gboolean pipeline_shapes_declare(OnnxGraph *graph, GError **error);

G_END_DECLS
