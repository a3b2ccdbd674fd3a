/* How much memory of a device a training will take, before it starts. */
#pragma once

#include "pipeline/graph_fit.h"

G_BEGIN_DECLS

/* After the pass and what lies on the device are made. rows: of a training pass; evaluation: of a chunk that is
 * measured. NULL memory->read: FALSE, and nothing is known. */
typedef struct _PipelineFitMemory PipelineFitMemory;
/* NULL without an error: the backend has no memory of its own. Runs two forwards, of one row and of two. */
gboolean pipeline_fit_memory_new(PipelineGraphFit *fit, PipelineFitMemory **made, GError **error);
void pipeline_fit_memory_free(PipelineFitMemory *memory);
void pipeline_fit_memory_estimate(const PipelineFitMemory *memory, guint rows, guint evaluation,
                                  PipelineGraphMemory *estimate);
/* "61,210,000 bytes (device 41,…, weights …)"; new. */
gchar *pipeline_graph_memory_describe(const PipelineGraphMemory *estimate);

G_END_DECLS
