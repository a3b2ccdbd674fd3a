/* Hash-chained audit: h_i = SHA-256(h_{i-1} || record). Edit, delete, reorder and truncation are found by verify. */
#pragma once

#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

gboolean registry_audit_append(RegistryStore *store, const gchar *actor, const gchar *action, const gchar *subject,
                               const gchar *detail, GError **error);
/* Walks chain, versions, segments and artifacts; each finding is a line of text in `findings` (of gchar*, owned).
 * FALSE only when the walk itself could not be done. */
gboolean registry_verify(RegistryStore *store, RegistryArtifacts *artifacts, GPtrArray *findings, guint64 *checked,
                         GError **error);

G_END_DECLS
