#include "deploy/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_PREFIX ".kedge-"
#define MODEL_FILE "model.onnx"
#define MAXIMUM_DEPTH 8 /* of a folder that is removed */

static gboolean fail(const gchar *doing, const gchar *name, GError **error)
{
  int saved = errno;
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_IO, "%s \"%s\": %s%s", doing, name, g_strerror(saved),
              saved == ENOSPC || saved == EDQUOT                    ? "; free space, the placement is tried again"
              : saved == EACCES || saved == EPERM || saved == EROFS ? "; give the kedge user write permission there"
                                                                    : "");
  return FALSE;
}

static gboolean before(const DeploySteps *steps, const gchar *step, GError **error)
{
  if (steps == NULL || steps->before == NULL || steps->before(step, steps->user_data)) return TRUE;
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_IO, "stopped before step \"%s\"", step);
  return FALSE;
}

static gboolean sync_folder(int folder, const gchar *name, const DeploySteps *steps, GError **error)
{
  if (!before(steps, "sync folder", error)) return FALSE;
  return fsync(folder) == 0 || fail("cannot sync the folder of", name, error);
}

/* Removes NAME below `folder`, whatever it is, without following links. Best effort: what stays is tried again. */
static void remove_all(int folder, const gchar *name, guint depth)
{
  if (unlinkat(folder, name, 0) == 0 || depth >= MAXIMUM_DEPTH) return;
  int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (inner < 0) return;
  DIR *entries = fdopendir(inner);
  if (entries == NULL) {
    close(inner);
    return;
  }
  for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      remove_all(dirfd(entries), entry->d_name, depth + 1);
  closedir(entries);
  unlinkat(folder, name, AT_REMOVEDIR);
}

static DIR *open_entries(int folder)
{
  int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *entries = again >= 0 ? fdopendir(again) : NULL;
  if (entries == NULL && again >= 0) close(again);
  return entries;
}

static void remove_leftovers(int folder)
{
  DIR *entries = open_entries(folder);
  if (entries == NULL) return;
  for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
    if (g_str_has_prefix(entry->d_name, TEMPORARY_PREFIX)) remove_all(folder, entry->d_name, 0);
  closedir(entries);
}

/* Explicit modes: the service's umask hides what it makes, but a model server of another user must read this. */
static gboolean make_folder(int parent, const gchar *name, const DeploySteps *steps, GError **error)
{
  if (!before(steps, "make folder", error)) return FALSE;
  if (mkdirat(parent, name, 0755) != 0) return errno == EEXIST || fail("cannot make the folder", name, error);
  if (fchmodat(parent, name, 0755, 0) != 0) return fail("cannot set the mode of", name, error);
  return sync_folder(parent, name, steps, error);
}

static int open_folder(int parent, const gchar *name, GError **error)
{
  int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0 && (errno == ELOOP || errno == ENOTDIR))
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_IO,
                "\"%s\" is not a folder (symbolic links are not followed there): remove it or choose another path",
                name);
  else if (folder < 0)
    fail("cannot open the folder", name, error);
  return folder;
}

/* The configured path is the operator's own word: links in it are followed. */
static int open_root(const gchar *path, GError **error)
{
  if (mkdir(path, 0755) == 0) {
    if (chmod(path, 0755) != 0) return fail("cannot set the mode of", path, error), -1;
  } else if (errno != EEXIST) {
    return fail("cannot make the target's folder", path, error), -1;
  }
  int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("cannot open the target's folder", path, error);
  return root;
}

int deploy_place_open_model(const gchar *path, const gchar *model, const DeploySteps *steps, GError **error)
{
  int root = open_root(path, error);
  if (root < 0) return -1;
  int folder = make_folder(root, model, steps, error) ? open_folder(root, model, error) : -1;
  close(root);
  if (folder >= 0) remove_leftovers(folder);
  return folder;
}

gboolean deploy_place_has(int folder, const gchar *name)
{
  struct stat status;
  return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

static gboolean read_whole(int file, guint8 *buffer, gsize length)
{
  for (gsize done = 0; done < length;) {
    gssize got = read(file, buffer + done, length - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return FALSE;
    done += (gsize)got;
  }
  return TRUE;
}

static gboolean file_holds(int folder, const gchar *name, GBytes *bytes)
{
  int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return FALSE;
  struct stat status;
  gsize length = 0;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  gboolean equal = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && (gsize)status.st_size == length;
  guint8 buffer[65536];
  for (gsize done = 0; equal && done < length;) {
    gsize part = MIN(sizeof buffer, length - done);
    equal = read_whole(file, buffer, part) && memcmp(buffer, data + done, part) == 0;
    done += part;
  }
  close(file);
  return equal;
}

static gboolean write_whole(int file, GBytes *bytes)
{
  gsize length = 0;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  for (gsize done = 0; done < length;) {
    gssize put = write(file, data + done, length - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FALSE;
    done += (gsize)put;
  }
  return TRUE;
}

static gboolean write_new(int folder, const gchar *name, GBytes *bytes, const DeploySteps *steps, GError **error)
{
  if (!before(steps, "write file", error)) return FALSE;
  int file = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file < 0) return fail("cannot create", name, error);
  gboolean written = fchmod(file, 0644) == 0 && write_whole(file, bytes);
  if (!written) fail("cannot write", name, error);
  if (written) written = before(steps, "sync file", error);
  if (written && fsync(file) != 0) written = fail("cannot sync", name, error);
  if (close(file) != 0 && written) written = fail("cannot close", name, error);
  return written;
}

static gboolean rename_in(int folder, const gchar *from, const gchar *to, const DeploySteps *steps, GError **error)
{
  if (!before(steps, "rename", error)) return FALSE;
  if (renameat(folder, from, folder, to) != 0) return fail("cannot rename into", to, error);
  return sync_folder(folder, to, steps, error);
}

gboolean deploy_place_file(int folder, const gchar *name, GBytes *bytes, const DeploySteps *steps, GError **error)
{
  if (file_holds(folder, name, bytes)) return TRUE;
  g_autofree gchar *temporary = g_strconcat(TEMPORARY_PREFIX, name, NULL);
  return write_new(folder, temporary, bytes, steps, error) && rename_in(folder, temporary, name, steps, error);
}

/* A version whose folder exists already (placed before, or damaged since): its file is replaced as a whole. */
static gboolean place_into_existing(int folder, const gchar *name, GBytes *onnx, const DeploySteps *steps,
                                    GError **error)
{
  int inner = open_folder(folder, name, error);
  if (inner < 0) return FALSE;
  remove_leftovers(inner);
  gboolean placed = deploy_place_file(inner, MODEL_FILE, onnx, steps, error);
  close(inner);
  return placed;
}

gboolean deploy_place_version(int folder, gint64 version, GBytes *onnx, const DeploySteps *steps, GError **error)
{
  g_autofree gchar *name = g_strdup_printf("%" G_GINT64_FORMAT, version);
  if (deploy_place_has(folder, name)) return place_into_existing(folder, name, onnx, steps, error);
  g_autofree gchar *temporary = g_strconcat(TEMPORARY_PREFIX, name, NULL);
  if (!make_folder(folder, temporary, steps, error)) return FALSE;
  int inner = open_folder(folder, temporary, error);
  if (inner < 0) return FALSE;
  gboolean written = write_new(inner, MODEL_FILE, onnx, steps, error) && sync_folder(inner, MODEL_FILE, steps, error);
  close(inner);
  return written && rename_in(folder, temporary, name, steps, error);
}

gboolean deploy_place_link(int folder, const gchar *name, const gchar *to, const DeploySteps *steps, GError **error)
{
  gchar present[256];
  gssize length = readlinkat(folder, name, present, sizeof present);
  if (length >= 0 && (gsize)length == strlen(to) && memcmp(present, to, (gsize)length) == 0) return TRUE;
  g_autofree gchar *temporary = g_strconcat(TEMPORARY_PREFIX, name, NULL);
  if (!before(steps, "make link", error)) return FALSE;
  if (symlinkat(to, folder, temporary) != 0) return fail("cannot make the link", name, error);
  return rename_in(folder, temporary, name, steps, error);
}

static gint compare_versions(gconstpointer a, gconstpointer b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return left < right ? -1 : left > right;
}

GArray *deploy_place_list_versions(int folder, GError **error)
{
  DIR *entries = open_entries(folder);
  if (entries == NULL) {
    fail("cannot list", "the versions", error);
    return NULL;
  }
  GArray *versions = g_array_new(FALSE, FALSE, sizeof(gint64));
  for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
    guint64 version = 0;
    if (entry->d_name[0] == '0' || !g_ascii_string_to_unsigned(entry->d_name, 10, 1, G_MAXINT64, &version, NULL))
      continue;
    gint64 number = (gint64)version;
    g_array_append_val(versions, number);
  }
  closedir(entries);
  g_array_sort(versions, compare_versions);
  return versions;
}

gboolean deploy_place_remove_version(int folder, gint64 version, const DeploySteps *steps, GError **error)
{
  g_autofree gchar *name = g_strdup_printf("%" G_GINT64_FORMAT, version);
  g_autofree gchar *temporary = g_strconcat(TEMPORARY_PREFIX "gone-", name, NULL);
  if (!rename_in(folder, name, temporary, steps, error)) return FALSE;
  if (!before(steps, "remove folder", error)) return FALSE;
  remove_all(folder, temporary, 0);
  return TRUE;
}

gboolean deploy_place_prune(int folder, gint64 version, guint keep, const DeploySteps *steps, GError **error)
{
  g_autoptr(GArray) present = deploy_place_list_versions(folder, error);
  if (present == NULL) return FALSE;
  guint older = 0;
  while (older < present->len && g_array_index(present, gint64, older) < version) older++;
  for (guint i = 0; i + keep < older; i++)
    if (!deploy_place_remove_version(folder, g_array_index(present, gint64, i), steps, error)) return FALSE;
  return TRUE;
}
