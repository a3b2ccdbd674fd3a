/* For the files of this folder only. */
#pragma once

#include "registry/audit.h"

G_BEGIN_DECLS

/* As registry_audit_append, with the digest (registry/digest.h) of the row that the change left. The table is the part
 * of `action` before the dot, the row is named by `subject` (verify.c selects the same names); the last record of a
 * row says what must be found there. */
gboolean registry_audit_append_row(RegistryStore *store, const gchar *actor, const gchar *action, const gchar *subject,
                                   const gchar *detail, const gchar *row_digest, GError **error);
#define REGISTRY_AUDIT_ROW_GONE "gone" /* as row_digest: the change removed the row */

G_END_DECLS
