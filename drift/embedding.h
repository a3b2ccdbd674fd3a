/* Embeddings: vectors of a fixed length as one feature. Its elements are numeric columns or features side by side,
 * named NAME[0], NAME[1], …, so that everything that knows numbers knows them. */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

/* "e[12]" → "e" (new) and 12; FALSE for other names and for other spellings of a number ("e[012]"). */
gboolean drift_embedding_split(const gchar *column, gchar **name, guint *element);
/* The features of `schema` from `first` on that are the elements of one embedding: their number (0: feature `first` is
 * no first element). All have the same flags; `name` gets the embedding's name (new) when there are some. */
guint drift_embedding_run(const DriftSchema *schema, guint first, gchar **name);
/* The table's columns NAME[0] … NAME[d - 1] in order, new; NULL: INVALID when there is none, one is missing below the
 * highest, or one is not numeric. */
gchar **drift_embedding_columns(const DriftTable *table, const gchar *name, GError **error);

G_END_DECLS
