/* For the files of this folder only. */
#pragma once

#include "registry/model.h"

G_BEGIN_DECLS

/* Locks the model's row until the transaction ends: everything numbered or compared per model comes after it. */
gboolean registry_model_lock(RegistryStore *store, const gchar *name, GError **error); /* NOT_FOUND */
gboolean registry_version_exists(RegistryStore *store, const gchar *model, gint64 version,
                                 GError **error); /* NOT_FOUND */

G_END_DECLS
