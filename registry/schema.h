/* The schema's steps, oldest first. A released step is never edited: a change of the schema is a new step. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* One step: statements, NULL-terminated, in which @I@, @T@, @B@ and @O@ stand for the database's integer, text and blob
 * types and its table options. Version n of the schema is the state after registry_schema[n - 1]. */
extern const gchar *const *const registry_schema[]; /* NULL-terminated */

G_END_DECLS
