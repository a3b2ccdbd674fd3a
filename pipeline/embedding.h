/* Embeddings as people write them in a CSV: one column whose cells are JSON arrays of numbers. */
#pragma once

#include "drift/table.h"

G_BEGIN_DECLS

/* Replaces the text column `name` by its elements, numeric columns NAME[0], NAME[1], … at the end of the table
 * (drift/embedding.h). Every cell is empty (all elements missing) or an array of the same number of numbers, null for a
 * missing one; 1 to 4096 elements. DATA naming `file`, line (which holds when no cell before spans lines) and element;
 * the table is untouched then. Nothing to do, and TRUE, when there is no such column. */
gboolean pipeline_embedding_expand(DriftTable *table, const gchar *name, const gchar *file, GError **error);

G_END_DECLS
