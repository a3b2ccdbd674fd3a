/* What the commands that train and attack share: rows from an .npz of arrays. */
#pragma once

#include "pipeline/graph_trainer.h"

G_BEGIN_DECLS

/* The array `label` and the one named `features`, or the only other one (NULL). weights: name of an array of row
 * weights, or NULL. streamed: row by row, of any number, into a file (pipeline/spill.h). Errors name the file and its
 * arrays. */
PipelineGraphRows *command_read_arrays(const gchar *path, const gchar *label, const gchar *features,
                                       const gchar *weights, gboolean streamed, GError **error);
/* The same rows as a table that a model of `schema` takes: numeric inputs in schema order, and the label. DATA: other
 * widths, or inputs that are texts. */
DriftTable *command_tabulate_arrays(const PipelineGraphRows *rows, const DriftSchema *schema, GError **error);

G_END_DECLS
