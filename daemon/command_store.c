#include "daemon/command_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/stage_check.h"

#define DEFAULT_CONFIG "/etc/kedge/kedge.yaml"

static const gchar *config_path(const CommandCommon *common)
{
  if (common->config != NULL) return common->config;
  const gchar *path = g_getenv("KEDGE_CONFIG");
  return path != NULL && *path != '\0' ? path : DEFAULT_CONFIG;
}

Settings *command_load_settings(const CommandCommon *common, GError **error)
{
  return settings_load_with(config_path(common), stage_check, error);
}

static const gchar *option_or_environment(const gchar *option, const gchar *variable)
{
  if (option != NULL) return option;
  const gchar *value = g_getenv(variable);
  return value != NULL && *value != '\0' ? value : NULL;
}

gchar *command_get_store_uri(const CommandCommon *common, GError **error)
{
  const gchar *given = option_or_environment(common->store, "KEDGE_STORE");
  if (given != NULL) return g_strdup(given);
  g_autoptr(Settings) settings = command_load_settings(common, error);
  if (settings == NULL) {
    g_prefix_error(error, "no store is named (--store URI, --config FILE): ");
    return NULL;
  }
  return g_strdup(settings->store);
}

gchar *command_get_artifacts_directory(const CommandCommon *common, GError **error)
{
  const gchar *given = option_or_environment(common->artifacts, "KEDGE_ARTIFACTS");
  if (given != NULL) return g_strdup(given);
  const gchar *store = option_or_environment(common->store, "KEDGE_STORE");
  if (store != NULL && g_str_has_prefix(store, "sqlite:")) {
    g_autofree gchar *folder = g_path_get_dirname(store + strlen("sqlite:"));
    return g_build_filename(folder, "artifacts", NULL);
  }
  g_autoptr(Settings) settings = command_load_settings(common, error);
  if (settings == NULL) {
    g_prefix_error(error, "no folder of artifacts is named (--artifacts DIR, --config FILE): ");
    return NULL;
  }
  return g_strdup(settings->artifacts);
}

RegistryStore *command_open_store(const CommandCommon *common, GError **error)
{
  g_autofree gchar *uri = command_get_store_uri(common, error);
  return uri != NULL ? registry_store_open(uri, error) : NULL;
}

RegistryArtifacts *command_open_artifacts(const CommandCommon *common, GError **error)
{
  g_autofree gchar *directory = command_get_artifacts_directory(common, error);
  return directory != NULL ? registry_artifacts_open(directory, error) : NULL;
}

gchar *command_get_actor(void)
{
  return g_strdup_printf("user:%s", g_get_user_name());
}

static gboolean set_file_error(const gchar *path, int number, GError **error)
{
  g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(number), "%s: %s", path, g_strerror(number));
  return FALSE;
}

static gboolean read_all(int fd, const gchar *path, gsize limit, GByteArray *out, GError **error)
{
  guint8 buffer[65536];
  for (;;) {
    gssize n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return set_file_error(path, errno, error);
    if (n == 0) return TRUE;
    if (out->len + (gsize)n > limit) {
      g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "%s: larger than the limit of %" G_GSIZE_FORMAT " bytes",
                  path, limit);
      return FALSE;
    }
    g_byte_array_append(out, buffer, (guint)n);
  }
}

GBytes *command_read_file(const gchar *path, gsize limit, GError **error)
{
  gboolean standard_input = g_str_equal(path, "-");
  int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    set_file_error(path, errno, error);
    return NULL;
  }
  GByteArray *out = g_byte_array_new();
  gboolean done = read_all(fd, path, limit, out, error);
  if (!standard_input) close(fd);
  if (!done) {
    g_byte_array_unref(out);
    return NULL;
  }
  return g_byte_array_free_to_bytes(out);
}

gint64 command_parse_version(const gchar *text, GError **error)
{
  gint64 version = 0;
  if (g_ascii_string_to_signed(text, 10, 1, G_MAXINT64, &version, NULL)) return version;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID, "\"%s\" is not a version number (1, 2, …)", text);
  return 0;
}
