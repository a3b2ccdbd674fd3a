/* For the files of this folder only. */
#pragma once

#include "registry/artifact.h"

G_BEGIN_DECLS

/* Re-hashes a file without holding it in memory. CORRUPT, NOT_FOUND. */
gboolean registry_artifacts_check(RegistryArtifacts *artifacts, const gchar *digest, GError **error);

G_END_DECLS
