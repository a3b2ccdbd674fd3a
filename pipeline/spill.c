#include "pipeline/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <glib/gstdio.h>

#define FOLDER "/var/tmp" /* on a disk, where /tmp may be memory */
#define MIB ((guint64)1 << 20)

struct _PipelineSpill {
  gpointer data;
  guint64 size;
  gboolean filed;
};

static const gchar *choose_folder(void)
{
  const gchar *folder = g_getenv("TMPDIR");
  return folder != NULL && *folder != '\0' ? folder : FOLDER;
}

static gboolean fail(const gchar *folder, guint64 n_bytes, const gchar *what, GError **error)
{
  struct statvfs room;
  g_autofree gchar *there = statvfs(folder, &room) == 0 ? g_strdup_printf(" (%" G_GUINT64_FORMAT " MiB are free there)",
                                                                          (guint64)room.f_bavail * room.f_frsize / MIB)
                                                        : g_strdup("");
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%" G_GUINT64_FORMAT " MiB of rows cannot be kept in a temporary file in %s: %s%s; name a folder with "
              "more room by TMPDIR, or give fewer rows",
              (n_bytes + MIB - 1) / MIB, folder, what, there);
  return FALSE;
}

/* A file without a name; where the file system has none such, one that is unlinked at once. */
static int open_nameless(const gchar *folder)
{
  int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return file;
  g_autofree gchar *path = g_build_filename(folder, "kedge-rows-XXXXXX", NULL);
  file = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) g_unlink(path);
  return file;
}

static gboolean map_file(PipelineSpill *spill, guint64 n_bytes, GError **error)
{
  const gchar *folder = choose_folder();
  int file = open_nameless(folder);
  if (file < 0) return fail(folder, n_bytes, g_strerror(errno), error);
  int code = posix_fallocate(file, 0, (off_t)n_bytes);
  gpointer data = MAP_FAILED;
  if (code == 0) {
    data = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) code = errno;
  }
  close(file); /* the mapping keeps it */
  if (data == MAP_FAILED) return fail(folder, n_bytes, g_strerror(code), error);
  spill->data = data;
  spill->filed = TRUE;
  return TRUE;
}

PipelineSpill *pipeline_spill_new(guint64 n_bytes, PipelineSpillUse use, GError **error)
{
  g_autoptr(PipelineSpill) spill = g_new0(PipelineSpill, 1);
  spill->size = n_bytes;
  if (n_bytes > 0 && (use == PIPELINE_SPILL_ALWAYS || n_bytes > PIPELINE_SPILL_BYTES))
    return map_file(spill, n_bytes, error) ? g_steal_pointer(&spill) : NULL;
  spill->data = g_try_malloc0(MAX(n_bytes, 1));
  if (spill->data != NULL) return g_steal_pointer(&spill);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GUINT64_FORMAT " bytes of rows",
              n_bytes);
  return NULL;
}

PipelineSpill *pipeline_spill_read(const gchar *path, PipelineSpillUse use, GError **error)
{
  GStatBuf status;
  FILE *file = g_fopen(path, "rbe");
  if (file == NULL || g_stat(path, &status) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot open %s: %s", path, g_strerror(errno));
    if (file != NULL) fclose(file);
    return NULL;
  }
  guint64 size = (guint64)status.st_size;
  g_autoptr(PipelineSpill) spill = pipeline_spill_new(size, use, error);
  guint64 n = spill != NULL ? fread(spill->data, 1, size, file) : 0;
  fclose(file);
  if (spill == NULL) return NULL;
  if (n == size) return g_steal_pointer(&spill);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes could be read; was it cut meanwhile?", path, n,
              size);
  return NULL;
}

void pipeline_spill_free(PipelineSpill *spill)
{
  if (spill == NULL) return;
  if (spill->filed)
    munmap(spill->data, spill->size);
  else
    g_free(spill->data);
  g_free(spill);
}

gpointer pipeline_spill_get_data(const PipelineSpill *spill)
{
  return spill->data;
}

guint64 pipeline_spill_get_size(const PipelineSpill *spill)
{
  return spill->size;
}

guint64 pipeline_spill_get_filed(const PipelineSpill *spill)
{
  return spill != NULL && spill->filed ? spill->size : 0;
}
