/* Content-addressed files: DIR/sha256/ab/abcd…; written as temp + fsync + rename + fsync of the folder, checked by
 * SHA-256 on write and on read. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _RegistryArtifacts RegistryArtifacts;
RegistryArtifacts *registry_artifacts_open(const gchar *directory, GError **error);
void registry_artifacts_close(RegistryArtifacts *artifacts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RegistryArtifacts, registry_artifacts_close)
/* Returns the hex SHA-256 (new). Writing what exists is a no-op. */
gchar *registry_artifacts_put(RegistryArtifacts *artifacts, GBytes *bytes, GError **error);
/* CORRUPT when the bytes do not match. */
GBytes *registry_artifacts_get(RegistryArtifacts *artifacts, const gchar *digest, GError **error);
gboolean registry_artifacts_has(RegistryArtifacts *artifacts, const gchar *digest);

G_END_DECLS
