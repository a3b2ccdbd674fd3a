#include "registry/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/artifact_internal.h"
#include "registry/digest.h"
#include "registry/store_internal.h"

/* Everything is opened relative to the folder's descriptor and never through a symbolic link, so that nobody who may
 * write elsewhere can redirect a name. */
struct _RegistryArtifacts {
  gchar *directory;
  int root; /* DIR/sha256 */
};

#define ARTIFACT_MAXIMUM ((gsize)4 << 30) /* bytes; more than any model or segment kedge makes */
#define STALE_SECONDS (24 * 3600)         /* temporary files older than this were left by a killed process */

static gboolean fail(const RegistryArtifacts *artifacts, const gchar *doing, const gchar *name, GError **error)
{
  int reason = errno;
  const gchar *advice = reason == ENOSPC || reason == EDQUOT ? "; free some space, it will be tried again"
                        : reason == EACCES || reason == EPERM || reason == EROFS
                            ? "; the folder must be writable for this user"
                        : reason == ELOOP || reason == ENOTDIR ? "; symbolic links are not followed there"
                                                               : "";
  g_set_error(error, REGISTRY_ERROR, reason == ENOENT ? REGISTRY_ERROR_NOT_FOUND : REGISTRY_ERROR_UNAVAILABLE,
              "artifacts %s: %s %s: %s%s", artifacts->directory, doing, name, g_strerror(reason), advice);
  return FALSE;
}

/* --- the folder -------------------------------------------------------------------------------------------------- */

static void remove_stale(int root)
{
  int copy = fcntl(root, F_DUPFD_CLOEXEC, 0);
  DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
  if (folder == NULL) {
    if (copy >= 0) close(copy);
    return;
  }
  gint64 now = g_get_real_time() / G_USEC_PER_SEC;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    struct stat status;
    if (g_str_has_prefix(entry->d_name, ".new-") && fstatat(root, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        now - status.st_mtime > STALE_SECONDS)
      unlinkat(root, entry->d_name, 0);
  }
  closedir(folder);
}

RegistryArtifacts *registry_artifacts_open(const gchar *directory, GError **error)
{
  RegistryArtifacts *artifacts = g_new0(RegistryArtifacts, 1);
  artifacts->directory = g_strdup(directory);
  artifacts->root = -1;
  int base = -1;
  gboolean ok = g_mkdir_with_parents(directory, 0700) == 0;
  if (ok) base = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ok = ok && base >= 0 && (mkdirat(base, "sha256", 0700) == 0 || errno == EEXIST);
  if (ok) artifacts->root = openat(base, "sha256", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  ok = ok && artifacts->root >= 0 && fsync(base) == 0;
  if (!ok) fail(artifacts, "opening", "sha256", error);
  if (base >= 0) close(base);
  if (ok) remove_stale(artifacts->root);
  if (!ok) g_clear_pointer(&artifacts, registry_artifacts_close);
  return artifacts;
}

void registry_artifacts_close(RegistryArtifacts *artifacts)
{
  if (artifacts == NULL) return;
  if (artifacts->root >= 0) close(artifacts->root);
  g_free(artifacts->directory);
  g_free(artifacts);
}

/* Descriptor of DIR/sha256/ab, or -1 with errno. */
static int open_folder(const RegistryArtifacts *artifacts, const gchar *digest, gboolean create)
{
  const gchar name[3] = {digest[0], digest[1], '\0'};
  if (create) {
    if (mkdirat(artifacts->root, name, 0700) == 0) {
      if (fsync(artifacts->root) != 0) return -1;
    } else if (errno != EEXIST)
      return -1;
  }
  return openat(artifacts->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static int open_artifact(const RegistryArtifacts *artifacts, const gchar *digest, gsize *size, GError **error)
{
  if (!registry_digest_is_valid(digest)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "an artifact is named by 64 hex digits");
    return -1;
  }
  int folder = open_folder(artifacts, digest, FALSE), descriptor = -1;
  struct stat status = {0};
  if (folder >= 0) descriptor = openat(folder, digest, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  gboolean ok = descriptor >= 0 && fstat(descriptor, &status) == 0;
  if (!ok) fail(artifacts, "opening", digest, error);
  if (folder >= 0) close(folder);
  if (ok && (!S_ISREG(status.st_mode) || (guint64)status.st_size > ARTIFACT_MAXIMUM)) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT, "artifacts %s: %s is not a regular file of a sane size",
                artifacts->directory, digest);
    ok = FALSE;
  }
  if (!ok && descriptor >= 0) close(descriptor);
  *size = (gsize)status.st_size;
  return ok ? descriptor : -1;
}

static gssize read_some(int descriptor, guint8 *buffer, gsize length)
{
  gssize n;
  do n = read(descriptor, buffer, length);
  while (n < 0 && errno == EINTR);
  return n;
}

static gboolean check_digest(const RegistryArtifacts *artifacts, const gchar *wanted, const gchar *found,
                             GError **error)
{
  if (strcmp(wanted, found) == 0) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT,
              "artifacts %s: the bytes of %s have SHA-256 %s: the file was changed or damaged; restore it",
              artifacts->directory, wanted, found);
  return FALSE;
}

gboolean registry_artifacts_check(RegistryArtifacts *artifacts, const gchar *digest, GError **error)
{
  gsize size;
  int descriptor = open_artifact(artifacts, digest, &size, error);
  if (descriptor < 0) return FALSE;
  RegistryDigest *sum = registry_digest_new();
  g_autofree guint8 *buffer = g_malloc(1 << 16);
  gssize n;
  while ((n = read_some(descriptor, buffer, 1 << 16)) > 0) registry_digest_update(sum, buffer, (gsize)n);
  g_autofree gchar *found = registry_digest_finish(sum);
  gboolean ok = n == 0 || fail(artifacts, "reading", digest, error);
  close(descriptor);
  return ok && check_digest(artifacts, digest, found, error);
}

GBytes *registry_artifacts_get(RegistryArtifacts *artifacts, const gchar *digest, GError **error)
{
  gsize size, length = 0;
  int descriptor = open_artifact(artifacts, digest, &size, error);
  if (descriptor < 0) return NULL;
  guint8 *data = g_try_malloc(MAX(size, 1));
  gssize n = 1;
  if (data == NULL) errno = ENOMEM;
  while (data != NULL && length < size && (n = read_some(descriptor, data + length, size - length)) > 0)
    length += (gsize)n;
  gboolean ok = (data != NULL && n >= 0) || fail(artifacts, "reading", digest, error);
  close(descriptor);
  g_autofree gchar *found = ok ? registry_digest_bytes(data, length) : NULL;
  if (!ok || !check_digest(artifacts, digest, found, error)) {
    g_free(data);
    return NULL;
  }
  return g_bytes_new_take(data, length);
}

gboolean registry_artifacts_has(RegistryArtifacts *artifacts, const gchar *digest)
{
  gsize size;
  int descriptor = open_artifact(artifacts, digest, &size, NULL);
  if (descriptor >= 0) close(descriptor);
  return descriptor >= 0;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static gboolean write_all(int descriptor, const guint8 *data, gsize length)
{
  while (length > 0) {
    gssize n = write(descriptor, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FALSE;
    data += n;
    length -= (gsize)n;
  }
  return TRUE;
}

/* The temporary file lies beside the folders, on the same file system, where remove_stale finds what a kill left. */
static gboolean write_artifact(RegistryArtifacts *artifacts, int folder, const gchar *digest, GBytes *bytes,
                               GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_autofree gchar *temporary = g_strdup_printf(".new-%d-%08x%08x", (int)getpid(), g_random_int(), g_random_int());
  int descriptor = openat(artifacts->root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return fail(artifacts, "writing", digest, error);
  gboolean ok = write_all(descriptor, data, length) && fsync(descriptor) == 0;
  int reason = errno;
  if (close(descriptor) != 0 && ok) {
    ok = FALSE;
    reason = errno;
  }
  if (ok && renameat(artifacts->root, temporary, folder, digest) != 0) {
    ok = FALSE;
    reason = errno;
  }
  if (!ok) unlinkat(artifacts->root, temporary, 0);
  errno = reason;
  return ok || fail(artifacts, "writing", digest, error);
}

gchar *registry_artifacts_put(RegistryArtifacts *artifacts, GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  if (length > ARTIFACT_MAXIMUM) {
    g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "an artifact has at most %" G_GSIZE_FORMAT " bytes",
                ARTIFACT_MAXIMUM);
    return NULL;
  }
  g_autofree gchar *digest = registry_digest_bytes(data, length);
  int folder = open_folder(artifacts, digest, TRUE);
  if (folder < 0) {
    fail(artifacts, "opening the folder of", digest, error);
    return NULL;
  }
  /* A damaged file of that name is replaced: the bytes at hand are right. The folder is synced even when the file is
   * there: whoever wrote it may have died before doing so. */
  gboolean ok =
      registry_artifacts_check(artifacts, digest, NULL) || write_artifact(artifacts, folder, digest, bytes, error);
  if (ok && fsync(folder) != 0) ok = fail(artifacts, "syncing the folder of", digest, error);
  close(folder);
  return ok ? g_steal_pointer(&digest) : NULL;
}
