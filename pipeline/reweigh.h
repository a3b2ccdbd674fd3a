/* Reweighing before training (Kamiran and Calders 2012): rows get the weights that make label and group independent. */
#pragma once

#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

typedef struct {
  guint n_groups;
  guint64 n_without_group;  /* training rows with a missing attribute: their weight stays */
  double smallest, largest; /* weight of a training row */
} PipelineReweighing;

/* Multiplies weights [table->n_rows] of the rows that are used by n_g n_y / (n n_gy), counted over the training rows;
 * rows of a pair that does not train keep theirs. attributes: NULL-terminated columns of the table, crossed when
 * several (groups as in drift/fairness_group.h). DATA for a column that is not there, INVALID when the model does not
 * decide between two classes. */
gboolean pipeline_reweigh(const DriftTable *table, const DriftSchema *schema, const gchar *const *attributes,
                          const PipelineTrainerRows *rows, double *weights, PipelineReweighing *out, GError **error);

G_END_DECLS
