/* pipeline_train of architectures that are no chain of dense layers (pipeline/graph_architecture.h): the rows go
 * through the fitted preprocessing of a new model (texts and missing numbers as there), the layers are trained on the
 * graph (pipeline/graph_trainer.h) on what comes out of it, and both become one ONNX graph. Rows that are images (the
 * size of which the options give) have no preprocessing: every column is a number and none is missing. */
#pragma once

#include "pipeline/graph_trainer.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

/* The architecture, of a new model, is of that kind. */
gboolean pipeline_trainer_graph_is_asked(const PipelineTrainOptions *options);
/* As pipeline_train. INVALID: adversarial_epsilon, which is for chains of dense layers. */
gboolean pipeline_trainer_graph_run(const DriftTable *table, const DriftSchema *schema,
                                    const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                    gpointer user_data, PipelineTrainResult *result, GError **error);

/* As pipeline_train of a model given that is no chain of dense layers, as a whole: numbers only, none missing. INVALID:
 * an option that comes before or beside such a graph. */
gboolean pipeline_trainer_graph_tune(const DriftTable *table, const DriftSchema *schema,
                                     const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                                     gpointer user_data, PipelineTrainResult *result, GError **error);

/* --- what trainings of tables on a graph share -------------------------------------------------------------------- */

/* The task, with `width` numbers as features. New. */
DriftSchema *pipeline_trainer_graph_schema(const DriftSchema *schema, guint width);
/* The first n of the rows, out of the matrix x of `width` columns: a row of the table lies at places[row], NULL: at
 * row. Takes the schema. */
PipelineGraphRows *pipeline_trainer_graph_rows(DriftSchema *schema, const float *x, gsize width, const guint64 *places,
                                               const PipelineTrainerRows *rows, guint64 n, GError **error);
/* weights [rows of the table], or NULL: all count alike. */
void pipeline_trainer_graph_take_weights(PipelineGraphRows *rows, const float *weights);
/* But rows, their division, architecture and calibration. */
void pipeline_trainer_graph_options(const PipelineTrainOptions *options, guint64 n_train,
                                    PipelineGraphTrainOptions *graph);

/* Batch size and epochs, chosen where the options do not say them (pipeline/README.md, "Defaults"). */
void pipeline_trainer_choose_schedule(const PipelineTrainOptions *options, guint64 n_train, guint *batch_size,
                                      guint *epochs);
/* The plan that is searched for on the training rows; *plan NULL: nothing was found, the default is best. */
gboolean pipeline_trainer_search_plan(const DriftTable *table, const DriftSchema *schema,
                                      const PipelineTrainOptions *options, const guint64 *rows, guint64 n_rows,
                                      PipelinePlan **plan, GError **error);

G_END_DECLS
