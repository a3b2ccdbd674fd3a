#include "pipeline/plugin.h"

#include <dlfcn.h>
#include <string.h>

static gchar *find_library(const PipelinePlugin *plugin)
{
  const gchar *given = g_getenv(plugin->variable);
  if (given != NULL && *given != '\0') return g_strdup(given);
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", NULL);
  if (program == NULL) return NULL;
  g_autofree gchar *folder = g_path_get_dirname(program);
  gchar *beside = g_build_filename(folder, plugin->library, NULL);
  if (g_file_test(beside, G_FILE_TEST_EXISTS)) return beside;
  g_free(beside);
  gchar *installed = g_build_filename(folder, "..", "lib", "kedge", plugin->library, NULL);
  if (g_file_test(installed, G_FILE_TEST_EXISTS)) return installed;
  g_free(installed);
  return NULL;
}

gboolean pipeline_plugin_is_installed(const PipelinePlugin *plugin)
{
  g_autofree gchar *path = find_library(plugin);
  return path != NULL;
}

/* "libcudnn.so.9: cannot open shared object file: …" */
static void explain(const gchar *path, const gchar *why, GError **error)
{
  const gchar *end = why != NULL ? strstr(why, ": cannot open shared object file") : NULL;
  if (end == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s cannot be loaded: %s", path,
                why != NULL ? why : "unknown");
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%.*s cannot be loaded", (gint)(end - why), why);
}

gconstpointer pipeline_plugin_load(const PipelinePlugin *plugin, GError **error)
{
  g_autofree gchar *path = find_library(plugin);
  if (path == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s is not installed; %s can name it",
                plugin->library, plugin->variable);
    return NULL;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* counted: a second load is the first one's */
  if (library == NULL) {
    explain(path, dlerror(), error);
    return NULL;
  }
  union {
    void *object;
    gconstpointer (*function)(void);
  } symbol = {.object = dlsym(library, plugin->symbol)};
  const guint32 *table = symbol.object != NULL ? symbol.function() : NULL;
  if (table != NULL && table[0] == plugin->abi && table[1] == plugin->size) return table;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%s belongs to another version (its table is %u of %u bytes, not %u of %u)", path,
              table != NULL ? table[0] : 0, table != NULL ? table[1] : 0, plugin->abi, plugin->size);
  dlclose(library);
  return NULL;
}
