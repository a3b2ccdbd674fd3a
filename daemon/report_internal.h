/* Shared by the daemon/report_*.c files only. */
#pragma once

#include "daemon/report.h"

G_BEGIN_DECLS

json_t *report_text(const gchar *text);   /* null for NULL; invalid UTF-8 is replaced */
json_t *report_time(gint64 microseconds); /* null for values <= 0 */
json_t *report_json(const gchar *text);   /* the parsed text; null when NULL or not JSON */
json_t *report_id(gint64 number);         /* null for 0 */
json_t *report_champion(RegistryStore *store, const gchar *model, GError **error); /* version or null; NULL: error */

G_END_DECLS
