#include "drift/embedding.h"

#include <string.h>

#include "drift/matrix.h"

gboolean drift_embedding_split(const gchar *column, gchar **name, guint *element)
{
  const gchar *bracket = strrchr(column, '[');
  gsize length = strlen(column);
  if (bracket == NULL || bracket == column || column[length - 1] != ']') return FALSE;
  gsize n_digits = (gsize)(column + length - 1 - (bracket + 1));
  if (n_digits == 0 || n_digits > 6 || (bracket[1] == '0' && n_digits > 1)) return FALSE;
  guint number = 0;
  for (gsize i = 1; i <= n_digits; i++) {
    if (!g_ascii_isdigit(bracket[i])) return FALSE;
    number = number * 10 + (guint)(bracket[i] - '0');
  }
  *name = g_strndup(column, (gsize)(bracket - column));
  *element = number;
  return TRUE;
}

guint drift_embedding_run(const DriftSchema *schema, guint first, gchar **name)
{
  const DriftFeature *begin = drift_schema_get_feature(schema, first);
  g_autofree gchar *whole = NULL;
  guint element, n = 1;
  if (begin->kind != DRIFT_NUMERIC || !drift_embedding_split(begin->name, &whole, &element) || element != 0) return 0;
  for (; first + n < drift_schema_n_features(schema); n++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, first + n);
    g_autofree gchar *other = NULL;
    if (feature->kind != DRIFT_NUMERIC || feature->sensitive != begin->sensitive || feature->input != begin->input ||
        !drift_embedding_split(feature->name, &other, &element) || element != n || strcmp(whole, other) != 0)
      break;
  }
  *name = g_steal_pointer(&whole);
  return n;
}

gchar **drift_embedding_columns(const DriftTable *table, const gchar *name, GError **error)
{
  guint n_elements = 0, element;
  for (guint i = 0; i < table->columns->len; i++) {
    g_autofree gchar *whole = NULL;
    if (drift_embedding_split(((const DriftColumn *)table->columns->pdata[i])->name, &whole, &element) &&
        strcmp(whole, name) == 0)
      n_elements = MAX(n_elements, element + 1);
  }
  if (n_elements == 0 || n_elements > DRIFT_MATRIX_MAX_COLUMNS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "no embedding \"%s\": 1 to %u columns \"%s[0]\", \"%s[1]\", … are its elements", name,
                DRIFT_MATRIX_MAX_COLUMNS, name, name);
    return NULL;
  }
  g_auto(GStrv) columns = g_new0(gchar *, n_elements + 1);
  for (guint i = 0; i < n_elements; i++) {
    columns[i] = g_strdup_printf("%s[%u]", name, i);
    const DriftColumn *column = drift_table_get_column(table, columns[i]);
    if (column != NULL && column->kind == DRIFT_NUMERIC) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "embedding \"%s\": column \"%s\" is %s", name, columns[i],
                column == NULL ? "missing" : "not numeric");
    return NULL;
  }
  return g_steal_pointer(&columns);
}
