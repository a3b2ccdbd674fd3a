/* Which rows of a table train, which validate, and their targets. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

typedef struct {
  float *targets; /* [n_rows]: class index or value; NaN: the row cannot be used */
  guint64 *rows;  /* [n]: the usable rows, training ones first */
  guint64 n, n_train, n_validation, n_skipped;
  guint64 n_test; /* behind the validation rows; only pipeline_split_rows sets rows apart for it */
} PipelineTrainerRows;

/* Every usable row trains. DATA when there is no label column or no usable row. */
PipelineTrainerRows *pipeline_trainer_rows_new(const DriftTable *table, const DriftSchema *schema, GError **error);
/* Moves `fraction` of the rows to validation: the last ones, or random ones when shuffled by `seed`. */
void pipeline_trainer_rows_split(PipelineTrainerRows *rows, double fraction, guint64 least, gboolean shuffle,
                                 guint64 seed);
/* What a plan of transformations is fitted to: the training rows. Borrows all. */
PipelinePrepareData pipeline_trainer_rows_prepare(const PipelineTrainerRows *rows, const DriftTable *table,
                                                  const DriftSchema *schema, guint64 seed);
void pipeline_trainer_rows_free(PipelineTrainerRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineTrainerRows, pipeline_trainer_rows_free)

G_END_DECLS
