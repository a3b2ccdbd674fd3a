/* Profiles of data sets as JSON files that people review and edit. */
#pragma once

#include <jansson.h>

#include "drift/profile.h"

G_BEGIN_DECLS

json_t *profile_to_json(const DriftProfile *profile);
/* Any JSON: refused with the member that is wrong. */
DriftProfile *profile_from_json(const json_t *json, GError **error);
/* The same of JSON text of up to 64 MiB; errors of spelling name line and column, "LINE:COLUMN: …". */
DriftProfile *profile_from_text(const gchar *text, gsize length, GError **error);

G_END_DECLS
