/* Placing versions in a folder so that a reader never sees half of one, whatever moment the writer dies.
 *
 * Everything is written under a name beginning with ".kedge-", synced, renamed into place, and the folder is synced.
 * All paths are single validated names below an open folder (openat, no symbolic links followed).
 * A failed or killed placement leaves its temporary names; the next one removes them (deploy_place_open_model).
 */
#pragma once

#include "deploy/target.h"

G_BEGIN_DECLS

/* Called before each step with its name; FALSE stops there as a kill would, without any clearing up. For tests. */
typedef struct {
  gboolean (*before)(const gchar *step, gpointer user_data);
  gpointer user_data;
} DeploySteps;

/* Opens (or makes) PATH and PATH/MODEL, removes leftovers of a placement that died; the caller closes the folder.
 * -1 on error. PATH itself is made when its parent exists. */
int deploy_place_open_model(const gchar *path, const gchar *model, const DeploySteps *steps, GError **error);
/* folder/NAME holds `bytes`, replaced as a whole; nothing is written when it already does. */
gboolean deploy_place_file(int folder, const gchar *name, GBytes *bytes, const DeploySteps *steps, GError **error);
/* folder/VERSION/model.onnx holds `onnx`; the version's folder appears complete. */
gboolean deploy_place_version(int folder, gint64 version, GBytes *onnx, const DeploySteps *steps, GError **error);
/* folder/NAME is a symbolic link to `to` (a name in the same folder). */
gboolean deploy_place_link(int folder, const gchar *name, const gchar *to, const DeploySteps *steps, GError **error);
gboolean deploy_place_has(int folder, const gchar *name);
/* Version folders present (of gint64, ascending); NULL on error. */
GArray *deploy_place_list_versions(int folder, GError **error);
/* The folder disappears at once (rename), then its contents. */
gboolean deploy_place_remove_version(int folder, gint64 version, const DeploySteps *steps, GError **error);
/* Removes versions below `version`, but the newest `keep` of them. */
gboolean deploy_place_prune(int folder, gint64 version, guint keep, const DeploySteps *steps, GError **error);

G_END_DECLS
