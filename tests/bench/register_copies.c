/* Registers copies of a model's first version under new names, all of them sharing its artifacts: a hundred models
 * within a second. usage: register_copies STORE MODEL PREFIX COUNT (PREFIX000, PREFIX001, …) */
#include <stdio.h>
#include <stdlib.h>

#include "registry/model.h"

static gboolean copy_one(RegistryStore *store, const RegistryModel *model, const RegistryVersion *from, gchar *name,
                         GError **error)
{
  RegistryVersion version = *from;
  version.model = name;
  return registry_model_create(store, name, model->spec, "bench", error) &&
         registry_version_create(store, &version, "bench", error) > 0 &&
         registry_alias_set(store, name, "champion", 1, 0, "bench", "copy for the benchmark", error);
}

static gboolean copy_all(const gchar *uri, const gchar *source, const gchar *prefix, guint n, GError **error)
{
  RegistryStore *store = registry_store_open(uri, error);
  g_autoptr(RegistryModel) model = store == NULL ? NULL : registry_model_get(store, source, error);
  g_autoptr(RegistryVersion) version = model == NULL ? NULL : registry_version_get(store, source, 1, error);
  gboolean good = version != NULL;
  for (guint i = 0; good && i < n; i++) {
    g_autofree gchar *name = g_strdup_printf("%s%03u", prefix, i);
    good = copy_one(store, model, version, name, error);
  }
  if (store != NULL) registry_store_close(store);
  return good;
}

int main(int argc, char **argv)
{
  if (argc != 5) {
    fputs("usage: register_copies STORE MODEL PREFIX COUNT\n", stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  if (copy_all(argv[1], argv[2], argv[3], (guint)strtoul(argv[4], NULL, 10), &error)) return EXIT_SUCCESS;
  fprintf(stderr, "register_copies: %s\n", error->message);
  return EXIT_FAILURE;
}
