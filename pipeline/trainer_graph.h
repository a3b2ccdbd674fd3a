/* pipeline_train of architectures that are no chain of dense layers (pipeline/graph_architecture.h): the rows go
 * through the fitted preprocessing of a new model (texts and missing numbers as there), the layers are trained on the
 * graph (pipeline/graph_trainer.h) on what comes out of it, and both become one ONNX graph. Rows that are images (the
 * size of which the options give) have no preprocessing: every column is a number and none is missing. */
#pragma once

#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* The architecture, of a new model, is of that kind. */
gboolean pipeline_trainer_graph_is_asked(const PipelineTrainOptions *options);
/* As pipeline_train. INVALID: adversarial_epsilon, which is for chains of dense layers. */
gboolean pipeline_trainer_graph_run(const DriftTable *table, const DriftSchema *schema,
                                    const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                    gpointer user_data, PipelineTrainResult *result, GError **error);

/* Batch size and epochs, chosen where the options do not say them (pipeline/README.md, "Defaults"). */
void pipeline_trainer_choose_schedule(const PipelineTrainOptions *options, guint64 n_train, guint *batch_size,
                                      guint *epochs);
/* The plan that is searched for on the training rows; *plan NULL: nothing was found, the default is best. */
gboolean pipeline_trainer_search_plan(const DriftTable *table, const DriftSchema *schema,
                                      const PipelineTrainOptions *options, const guint64 *rows, guint64 n_rows,
                                      PipelinePlan **plan, GError **error);

G_END_DECLS
