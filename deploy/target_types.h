/* The target types, and their placement alone (without the load call) with the steps that tests stop at. */
#pragma once

#include "deploy/place.h"

G_BEGIN_DECLS

extern const DeployTargetType deploy_target_directory, deploy_target_triton;

gboolean deploy_directory_place(const DeployTargetSettings *settings, const DeployRelease *release,
                                const DeploySteps *steps, GError **error);
gboolean deploy_triton_place(const DeployTargetSettings *settings, const DeployRelease *release,
                             const DeploySteps *steps, GError **error);
/* config.pbtxt of the release (new). INVALID: a tensor whose type Triton does not know. */
gchar *deploy_triton_config(const DeployRelease *release, GError **error);
/* POST URL/v2/repository/models/MODEL/load; TRUE at once when settings->url is NULL or "". */
gboolean deploy_load_call(const DeployTargetSettings *settings, const gchar *model, GError **error);

G_END_DECLS
