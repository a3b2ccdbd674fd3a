/* For the files of this folder only. */
#pragma once

#include "registry/audit.h"

G_BEGIN_DECLS

/* As registry_audit_append, with the digest (registry/digest.h) of the row that the change left under `subject`; NULL:
 * the row is gone. The last record of a subject says what must be found there. */
gboolean registry_audit_append_row(RegistryStore *store, const gchar *actor, const gchar *action, const gchar *subject,
                                   const gchar *detail, const gchar *row_digest, GError **error);

G_END_DECLS
