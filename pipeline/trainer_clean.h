/* How a training divides its rows, and cleans those that train. */
#pragma once

#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* The usable rows, divided as the options ask: by split, else by validation_fraction. New. */
PipelineTrainerRows *pipeline_trainer_divide(const DriftTable *table, const DriftSchema *schema,
                                             const PipelineTrainOptions *options, GError **error);

typedef struct {
  DriftTable *table; /* a copy with the cleaned values, owned; NULL: nothing was asked for */
  gchar *report;     /* as JSON, or NULL */
} PipelineTrainerCleaning;
void pipeline_trainer_cleaning_clear(PipelineTrainerCleaning *cleaning);
/* Does what options->clean asks for: *table is then the copy, whose rows have the same numbers, and dropped rows have
 * left `rows`, which have been divided. */
gboolean pipeline_trainer_clean(const DriftTable **table, const DriftSchema *schema, PipelineTrainerRows *rows,
                                const PipelineTrainOptions *options, PipelineTrainerCleaning *cleaning, GError **error);

G_END_DECLS
