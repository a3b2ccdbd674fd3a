/* A plain folder: PATH/MODEL/VERSION/model.onnx, and PATH/MODEL/current, a link that is swapped by rename. */
#include "deploy/target_types.h"

#include <unistd.h>

gboolean deploy_directory_place(const DeployTargetSettings *settings, const DeployRelease *release,
                                const DeploySteps *steps, GError **error)
{
  int folder = deploy_place_open_model(settings->path, release->model, steps, error);
  if (folder < 0) return FALSE;
  g_autofree gchar *name = g_strdup_printf("%" G_GINT64_FORMAT, release->version);
  gboolean placed = deploy_place_version(folder, release->version, release->onnx, steps, error) &&
                    deploy_place_link(folder, "current", name, steps, error) &&
                    deploy_place_prune(folder, release->version, settings->keep_versions, steps, error);
  close(folder);
  return placed;
}

static gboolean apply(const DeployTargetSettings *settings, const DeployRelease *release, GError **error)
{
  return deploy_directory_place(settings, release, NULL, error) && deploy_load_call(settings, release->model, error);
}

const DeployTargetType deploy_target_directory = {
    .type = "directory",
    .summary = "PATH/MODEL/VERSION/model.onnx and the link PATH/MODEL/current",
    .apply = apply,
};
