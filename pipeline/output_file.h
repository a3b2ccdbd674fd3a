/* Files that a user named for output. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

/* A regular file, or none, is replaced as a whole: a temporary file beside it and a rename, so that a reader never sees
 * half of it and a full disk leaves the old one. What is no regular file (a device such as /dev/null, a pipe) is
 * written to instead: a rename would put a file in its place. G_FILE_ERROR, naming the path. */
gboolean pipeline_output_file_write(const gchar *path, gconstpointer bytes, gsize length, GError **error);

G_END_DECLS
