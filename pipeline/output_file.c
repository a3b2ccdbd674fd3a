#include "pipeline/output_file.h"

#include <errno.h>
#include <stdio.h>

#include <glib/gstdio.h>

static gboolean write_through(const gchar *path, gconstpointer bytes, gsize length, GError **error)
{
  FILE *file = g_fopen(path, "we");
  gboolean written = file != NULL && fwrite(bytes, 1, length, file) == length;
  int cause = errno;
  if (file != NULL && fclose(file) != 0 && written) {
    written = FALSE;
    cause = errno;
  }
  if (!written)
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(cause), "cannot write %s: %s", path,
                g_strerror(cause));
  return written;
}

gboolean pipeline_output_file_write(const gchar *path, gconstpointer bytes, gsize length, GError **error)
{
  GStatBuf found;
  if (g_stat(path, &found) == 0 && !S_ISREG(found.st_mode)) return write_through(path, bytes, length, error);
  return g_file_set_contents(path, bytes, (gssize)length, error);
}
