#include <string.h>

#include "registry/job.h"
#include "registry/store_internal.h"

#define LINE_MAXIMUM 65536 /* bytes; a longer line is cut and says so */

gboolean registry_job_log_append(RegistryStore *store, const gchar *id, gint64 token, const gchar *line, GError **error)
{
  /* Whatever a job prints is kept: bytes that are no text are shown as such. */
  gssize length = (gssize)strnlen(line, LINE_MAXIMUM + 1);
  g_autofree gchar *valid = g_utf8_make_valid(line, MIN(length, LINE_MAXIMUM));
  g_autofree gchar *text = length > LINE_MAXIMUM ? g_strconcat(valid, " […]", NULL) : g_steal_pointer(&valid);
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(token), REGISTRY_T(text)};
  gint64 changed;
  if (!registry_store_execute(store,
                              "INSERT INTO job_log (job, number, line) SELECT CAST($1 AS TEXT), COALESCE((SELECT"
                              " MAX(number) + 1 FROM job_log WHERE job = CAST($1 AS TEXT)), 0), CAST($3 AS TEXT)"
                              " WHERE EXISTS (SELECT 1 FROM job WHERE id = CAST($1 AS TEXT) AND token = $2"
                              " AND state = 'running')",
                              parameters, G_N_ELEMENTS(parameters), &changed, error))
    return FALSE;
  if (changed > 0) return TRUE;
  g_set_error(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED, "job %s: claim %" G_GINT64_FORMAT " is over: no more log",
              id, token);
  return FALSE;
}

GPtrArray *registry_job_log_list(RegistryStore *store, const gchar *id, gint64 from, GError **error)
{
  const RegistryValue parameters[] = {REGISTRY_T(id), REGISTRY_I(from)};
  g_autoptr(RegistryRows) rows = registry_store_query(
      store, "SELECT line FROM job_log WHERE job = $1 AND number >= $2 ORDER BY number", parameters, 2, error);
  if (rows == NULL) return NULL;
  GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < registry_rows_get_count(rows); i++) g_ptr_array_add(lines, registry_rows_copy_text(rows, i, 0));
  return lines;
}
