/* What a row counts in a training: its given weight, times what makes label and group independent, times what makes
 * classes count alike. */
#pragma once

#include "pipeline/trainer.h"
#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

/* *weights: new [table->n_rows], NULL when every row counts 1. INVALID: a weight that is negative or no number, or no
 * training row that counts; otherwise as pipeline_reweigh. */
gboolean pipeline_trainer_weights(const DriftTable *table, const DriftSchema *schema,
                                  const PipelineTrainOptions *options, const PipelineTrainerRows *rows,
                                  PipelineReweighing *reweighing, float **weights, GError **error);

G_END_DECLS
