/* Out-of-fold predictions of our own models: what confident learning and the search for transformations judge by. */
#pragma once

#include "pipeline/split.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* Trains a model a fold (fold [table->n_rows] as pipeline_split_folds gives it) and predicts the fold's rows into
 * outputs [table->n_rows][classes or 1]; rows that no fold validates stay NaN. The options' own split and checkpoint
 * are not used. Folds that diverge fail. */
gboolean pipeline_predict_folds(const DriftTable *table, const DriftSchema *schema, const PipelineSplit *split,
                                const guint8 *fold, guint k, const PipelineTrainOptions *options, float *outputs,
                                GError **error);

G_END_DECLS
