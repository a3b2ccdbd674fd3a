#include "pipeline/cuda_plugin.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libkedge-cuda.so"

static gchar *find_library(void)
{
  const gchar *given = g_getenv("KEDGE_CUDA_PLUGIN");
  if (given != NULL && *given != '\0') return g_strdup(given);
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", NULL);
  if (program == NULL) return NULL;
  g_autofree gchar *folder = g_path_get_dirname(program);
  gchar *beside = g_build_filename(folder, LIBRARY, NULL);
  if (g_file_test(beside, G_FILE_TEST_EXISTS)) return beside;
  g_free(beside);
  gchar *installed = g_build_filename(folder, "..", "lib", "kedge", LIBRARY, NULL);
  if (g_file_test(installed, G_FILE_TEST_EXISTS)) return installed;
  g_free(installed);
  return NULL;
}

gboolean pipeline_cuda_plugin_is_installed(void)
{
  g_autofree gchar *path = find_library();
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

const PipelineCudaTable *pipeline_cuda_plugin_load(GError **error)
{
  g_autofree gchar *path = find_library();
  if (path == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                        LIBRARY " is not installed; KEDGE_CUDA_PLUGIN can name it");
    return NULL;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* counted: a second load is the first one's */
  if (library == NULL) {
    explain(path, dlerror(), error);
    return NULL;
  }
  union {
    void *object;
    PipelineCudaGetTable function;
  } symbol = {.object = dlsym(library, PIPELINE_CUDA_SYMBOL)};
  const PipelineCudaTable *table = symbol.object != NULL ? symbol.function() : NULL;
  if (table != NULL && table->abi == PIPELINE_CUDA_ABI && table->size == sizeof *table) return table;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%s belongs to another version (its table is %u of %u bytes, not %u of %zu)", path,
              table != NULL ? table->abi : 0, table != NULL ? table->size : 0, PIPELINE_CUDA_ABI, sizeof *table);
  dlclose(library);
  return NULL;
}
