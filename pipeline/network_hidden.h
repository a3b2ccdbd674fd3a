/* What enters the last dense layer of a network: the features that a last layer alone is fitted to. */
#pragma once

#include "drift/table.h"
#include "pipeline/network_graph.h"

G_BEGIN_DECLS

#define PIPELINE_HIDDEN_MAX 8192u /* columns */

typedef struct _PipelineHiddenReader PipelineHiddenReader;
/* Borrows the graph. layer: index of the last dense layer in graph->network. backend_name: of network_backend.c; NULL:
 * the fastest; with "reference" a row's values do not depend on the rows beside it. */
PipelineHiddenReader *pipeline_hidden_reader_new(const PipelineNetworkGraph *graph, guint layer,
                                                 const DriftSchema *schema, const gchar *backend_name, GError **error);
void pipeline_hidden_reader_free(PipelineHiddenReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineHiddenReader, pipeline_hidden_reader_free)
guint pipeline_hidden_reader_n_columns(const PipelineHiddenReader *reader);
/* New [table->n_rows, n_columns]; free with g_free. */
float *pipeline_hidden_reader_read(PipelineHiddenReader *reader, const DriftTable *table, GError **error);

G_END_DECLS
