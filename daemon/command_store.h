/* Where commands find the settings, the store and the artifacts. In this order: the option (--store, --artifacts), the
 * environment (KEDGE_STORE, KEDGE_ARTIFACTS), the settings file (--config, KEDGE_CONFIG, /etc/kedge/kedge.yaml); for
 * the artifacts of an SQLite store at last the folder "artifacts" beside the database. */
#pragma once

#include "daemon/command.h"
#include "daemon/settings.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

Settings *command_load_settings(const CommandCommon *common, GError **error);
gchar *command_get_store_uri(const CommandCommon *common, GError **error);           /* new */
gchar *command_get_artifacts_directory(const CommandCommon *common, GError **error); /* new */
RegistryStore *command_open_store(const CommandCommon *common, GError **error);
RegistryArtifacts *command_open_artifacts(const CommandCommon *common, GError **error);
/* Who the audit says did it: "user:NAME"; new. */
gchar *command_get_actor(void);
/* The whole file; refused above `limit` bytes; errors name the path. "-" is standard input. */
GBytes *command_read_file(const gchar *path, gsize limit, GError **error);
/* A positive version number; INVALID with the text that was given. 0: error. */
gint64 command_parse_version(const gchar *text, GError **error);

G_END_DECLS
