/* What evaluate.c and evaluate_detail.c share. */
#pragma once

#include "pipeline/evaluate.h"
#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

/* The rows whose label can be used, with what the model makes of them. */
typedef struct {
  const DriftSchema *schema;
  PipelineTrainerRows *rows;
  DriftTable *table; /* the usable rows */
  gsize n;
  guint n_outputs;
  float *outputs; /* [n, n_outputs] */
} PipelinePredictions;

/* Clear it also after a failure. */
gboolean pipeline_predictions_make(PipelinePredictions *predictions, PipelineModel *model, const DriftTable *table,
                                   GError **error);
void pipeline_predictions_clear(PipelinePredictions *predictions);
double pipeline_predictions_target(const PipelinePredictions *predictions, gsize i);
guint pipeline_predictions_decide(const PipelinePredictions *predictions, const PipelineModel *model, gsize i);

G_END_DECLS
