/* External data is a classic way out of a folder (CVE-2022-25882, CVE-2024-27318, CVE-2025-51480): the kernel resolves
 * the path beneath the model's folder, and what it opened is looked at, not what the name said. */
#include "onnx/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static gboolean fail(GError **error, OnnxError code, const gchar *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean fail(GError **error, OnnxError code, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  GError *made = g_error_new_valist(ONNX_ERROR, (gint)code, format, arguments);
  va_end(arguments);
  g_propagate_error(error, made);
  return FALSE;
}

/* A regular file's size. one_name: a hard link could bring in a file from elsewhere. */
static gboolean regular_size(int file, const gchar *name, gboolean one_name, guint64 *size, GError **error)
{
  struct stat status;
  if (fstat(file, &status) != 0) return fail(error, ONNX_ERROR_INVALID, "%s: %s", name, g_strerror(errno));
  *size = (guint64)status.st_size;
  if (!S_ISREG(status.st_mode)) return fail(error, ONNX_ERROR_INVALID, "%s is no regular file", name);
  return !one_name || status.st_nlink == 1 ||
         fail(error, ONNX_ERROR_INVALID, "%s has %lu names (hard links); copy it", name,
              (unsigned long)status.st_nlink);
}

static GBytes *read_range(int file, guint64 offset, gsize length, const gchar *name, GError **error)
{
  guint8 *data = g_try_malloc(MAX(length, 1));
  gsize done = 0;
  if (data == NULL) {
    fail(error, ONNX_ERROR_LIMIT, "%s: not enough memory for %zu bytes", name, length);
    return NULL;
  }
  while (done < length) {
    ssize_t n = pread(file, data + done, length - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fail(error, ONNX_ERROR_INVALID, "%s: %s", name,
           n < 0 ? g_strerror(errno) : "it became shorter while it was read");
      g_free(data);
      return NULL;
    }
    done += (gsize)n;
  }
  return g_bytes_new_take(data, length);
}

/* --- data beside the model
 * -------------------------------------------------------------------------------------------- */

typedef struct {
  int folder;
  gboolean used;
} Beside;

static int open_beneath(int folder, const gchar *location)
{
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, folder, location, &how, sizeof how);
}

static GBytes *read_open(int file, const OnnxExternal *external, GError **error)
{
  guint64 size;
  if (!regular_size(file, external->location, TRUE, &size, error)) return NULL;
  guint64 left = external->offset <= size ? size - external->offset : 0;
  gboolean fits =
      external->offset <= size && (external->to_the_end ? external->length == left : external->length <= left);
  if (fits) return read_range(file, external->offset, external->length, external->location, error);
  fail(error, ONNX_ERROR_INVALID,
       "'%s' has %" G_GUINT64_FORMAT " bytes; %zu from byte %" G_GUINT64_FORMAT " on do not fit%s", external->location,
       size, external->length, external->offset, external->to_the_end ? " to its end" : "");
  return NULL;
}

static GBytes *read_beside(const OnnxExternal *external, gpointer data, GError **error)
{
  Beside *beside = data;
  beside->used = TRUE;
  int file = open_beneath(beside->folder, external->location);
  if (file < 0) {
    fail(error, ONNX_ERROR_INVALID, "'%s' cannot be opened within the model's folder without symbolic links: %s",
         external->location, g_strerror(errno));
    return NULL;
  }
  GBytes *bytes = read_open(file, external, error);
  close(file);
  return bytes;
}

/* --- the model
 * -------------------------------------------------------------------------------------------------------- */

static GBytes *read_whole(const gchar *path, const OnnxLimits *limits, GError **error)
{
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    fail(error, ONNX_ERROR_INVALID, "%s: %s", path, g_strerror(errno));
    return NULL;
  }
  guint64 size;
  GBytes *bytes = NULL;
  if (!regular_size(file, path, FALSE, &size, error))
    ;
  else if (size > limits->max_bytes)
    fail(error, ONNX_ERROR_LIMIT, "%s is larger than %zu MiB", path, limits->max_bytes >> 20);
  else
    bytes = read_range(file, 0, (gsize)size, path, error);
  close(file);
  return bytes;
}

/* The key that every entry of external data needs; a model without that word has none, and is spared a decoding. */
static gboolean may_have_external(GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  return memmem(data, length, "location", strlen("location")) != NULL;
}

/* The model with all of its data; the bytes themselves when nothing lies elsewhere. */
static GBytes *pack(GBytes *bytes, const gchar *path, const OnnxLimits *limits, GError **error)
{
  g_autofree gchar *folder_path = g_path_get_dirname(path);
  Beside beside = {.folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (beside.folder < 0) {
    fail(error, ONNX_ERROR_INVALID, "%s: %s", folder_path, g_strerror(errno));
    return NULL;
  }
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes_with(bytes, limits, read_beside, &beside, error);
  close(beside.folder);
  GBytes *packed = NULL;
  if (graph != NULL) packed = beside.used ? onnx_graph_to_bytes(graph, error) : g_bytes_ref(bytes);
  if (packed == NULL) g_prefix_error(error, "%s: ", path);
  return packed;
}

GBytes *onnx_file_read(const gchar *path, const OnnxLimits *limits, GError **error)
{
  static const OnnxLimits usual = ONNX_LIMITS_INIT;
  if (limits == NULL) limits = &usual;
  g_autoptr(GBytes) bytes = read_whole(path, limits, error);
  if (bytes == NULL) return NULL;
  return may_have_external(bytes) ? pack(bytes, path, limits, error) : g_steal_pointer(&bytes);
}
