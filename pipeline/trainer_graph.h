/* Dense networks of numeric columns on a device: the same new model as pipeline_train makes, trained by
 * pipeline_graph_train. */
#pragma once

#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* The backend is one that only graphs know. */
gboolean pipeline_train_needs_graph(const PipelineTrainOptions *options);
/* As pipeline_train. INVALID: an option that graphs do not have; DATA: a column that is no number. */
gboolean pipeline_train_on_graph(const DriftTable *table, const DriftSchema *schema,
                                 const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                 gpointer user_data, PipelineTrainResult *result, GError **error);

G_END_DECLS
