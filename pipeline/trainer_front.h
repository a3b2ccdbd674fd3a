/* A new model whose layers are trained on the graph (pipeline/graph_fit.h): its inputs and preprocessing are fitted and
 * stay as they are, the layers are trained on what comes out of them, and then both become one ONNX graph. For tables:
 * texts and missing numbers as in pipeline/graph_prefix.h. */
#pragma once

#include "pipeline/graph_prefix.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/trainer_rows.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

typedef struct {
  const DriftSchema *schema;  /* borrowed */
  OnnxGraph *graph;           /* inputs and preprocessing */
  PipelineGraphPrefix prefix; /* what they make: standardised columns, those that never vary */
  PipelinePrepared *prepared; /* of a plan; NULL: the preprocessing of a new model */
} PipelineTrainerFront;

/* Empty; new. UNSUPPORTED: a feature is named like a weight of the layers. */
PipelineTrainerFront *pipeline_trainer_front_new(const DriftSchema *schema, GError **error);
void pipeline_trainer_front_free(PipelineTrainerFront *front);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTrainerFront, pipeline_trainer_front_free)

/* Once, to the training rows. plan: instead of the default, with the seed of its folds; or NULL. Errors of
 * pipeline_graph_prefix_add or pipeline_plan_fit_copy. */
gboolean pipeline_trainer_front_fit(PipelineTrainerFront *front, const DriftTable *table,
                                    const PipelineTrainerRows *rows, const PipelinePlan *plan, guint64 seed,
                                    GError **error);
/* What comes out for training, validation and test rows, in their order, with their targets; features are "x[0]", …
 * New. DATA names row and column of what is not finite. */
PipelineGraphRows *pipeline_trainer_front_read(PipelineTrainerFront *front, const DriftTable *table,
                                               const PipelineTrainerRows *rows, GError **error);
/* The layers, a graph whose input is "features" [N, columns], behind the front: the whole model, with the schema and
 * the metadata of the layers. Once: the front is empty then. New; MODEL. */
GBytes *pipeline_trainer_front_join(PipelineTrainerFront *front, GBytes *layers, GError **error);

G_END_DECLS
