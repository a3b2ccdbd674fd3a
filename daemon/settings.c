#include "daemon/settings_internal.h"

#include <string.h>

/* The count stays out of the public structure, so that loaded settings are plain values. */
typedef struct {
  gatomicrefcount references;
  Settings settings;
} Shared;

static Shared *shared_of(Settings *settings)
{
  return (Shared *)((guint8 *)settings - G_STRUCT_OFFSET(Shared, settings));
}

Settings *settings_new(void)
{
  Shared *shared = g_new0(Shared, 1);
  g_atomic_ref_count_init(&shared->references);
  return &shared->settings;
}

Settings *settings_ref(Settings *settings)
{
  g_atomic_ref_count_inc(&shared_of(settings)->references);
  return settings;
}

void settings_unref(Settings *settings)
{
  if (settings == NULL || !g_atomic_ref_count_dec(&shared_of(settings)->references)) return;
  settings_record_clear(settings_options, settings);
  g_free(settings->path);
  g_free(shared_of(settings));
}

const SettingsModel *settings_find_model(const Settings *settings, const gchar *name)
{
  for (guint i = 0; i < settings->n_models; i++)
    if (strcmp(settings->models[i].name, name) == 0) return &settings->models[i];
  return NULL;
}

gboolean settings_policy_has_chain(const SettingsPolicy *policy)
{
  return policy->chain != NULL && policy->chain[0] != NULL;
}
