/* Libraries that are loaded at run time, so that the programs link nothing of what they need. Each exports one function
 * that returns a table of plain C functions, which begins with two uint32_t: its version and its size in bytes. */
#pragma once

#include <glib.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *library;  /* "libkedge-cuda.so" */
  const gchar *variable; /* of the environment, which can name another file */
  const gchar *symbol;   /* of the function */
  guint32 abi, size;     /* that the table must have */
} PipelinePlugin;

gboolean pipeline_plugin_is_installed(const PipelinePlugin *plugin); /* there is a file; it need not load */
/* The first that is there of: $variable; the library beside the program; in ../lib/kedge/ from there. Stays loaded.
 * NULL with UNSUPPORTED in one line: it is not there, a library that it needs is not, or it belongs to another version.
 */
gconstpointer pipeline_plugin_load(const PipelinePlugin *plugin, GError **error);

G_END_DECLS
