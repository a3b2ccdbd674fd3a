#include "pipeline/embedding.h"

#include <math.h>
#include <string.h>
#include <jansson.h>

#include "drift/matrix.h"
#include "pipeline/error.h"

#define MAX_VALUES ((guint64)1 << 28)

static gboolean fail(const gchar *file, guint64 row, const gchar *name, GError **error, const gchar *format, ...)
    G_GNUC_PRINTF(5, 6);
static gboolean fail(const gchar *file, guint64 row, const gchar *name, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s:%" G_GUINT64_FORMAT ": column \"%s\": %s", file, row + 2,
              name, what);
  return FALSE;
}

/* The elements of one cell; the first cell's number of them holds for all. */
static gboolean read_cell(const json_t *array, const gchar *file, guint64 row, const gchar *name, GArray *values,
                          guint *n_elements, GError **error)
{
  gsize n = json_array_size(array);
  if (*n_elements == 0) *n_elements = (guint)MIN(n, DRIFT_MATRIX_MAX_COLUMNS + 1);
  if (n == 0 || n > DRIFT_MATRIX_MAX_COLUMNS)
    return fail(file, row, name, error, "%" G_GSIZE_FORMAT " elements; an embedding has 1 to %u", n,
                DRIFT_MATRIX_MAX_COLUMNS);
  if (n != *n_elements)
    return fail(file, row, name, error, "%" G_GSIZE_FORMAT " elements where the rows before have %u", n, *n_elements);
  if (values->len + n > MAX_VALUES) return fail(file, row, name, error, "more than %u values", (guint)MAX_VALUES);
  for (gsize i = 0; i < n; i++) {
    const json_t *element = json_array_get(array, i);
    double number = json_is_number(element) ? json_number_value(element) : NAN;
    if (!json_is_number(element) && !json_is_null(element))
      return fail(file, row, name, error, "element %" G_GSIZE_FORMAT " is not a number", i);
    g_array_append_val(values, number);
  }
  return TRUE;
}

/* Row after row, [n_filled][n_elements]; `filled` says which rows have a vector. */
static gboolean read_column(const DriftColumn *column, guint64 n_rows, const gchar *file, GArray *values,
                            GArray *filled, guint *n_elements, GError **error)
{
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    gboolean has_vector = value.kind == DRIFT_VALUE_TEXT;
    g_array_append_val(filled, has_vector);
    if (!has_vector) continue;
    json_error_t problem;
    json_t *array = json_loadb(value.text, value.length, JSON_REJECT_DUPLICATES, &problem);
    g_autofree gchar *shown = g_utf8_make_valid(value.text, MIN(value.length, 20));
    gboolean good = json_is_array(array)
                        ? read_cell(array, file, row, column->name, values, n_elements, error)
                        : fail(file, row, column->name, error, "\"%s\" is not a JSON array of numbers", shown);
    json_decref(array);
    if (!good) return FALSE;
  }
  return *n_elements > 0 || fail(file, 0, column->name, error, "no row has a vector");
}

gboolean pipeline_embedding_expand(DriftTable *table, const gchar *name, const gchar *file, GError **error)
{
  DriftColumn *column = drift_table_get_column(table, name);
  if (column == NULL || column->kind != DRIFT_CATEGORICAL) return TRUE;
  g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(double)),
                    filled = g_array_new(FALSE, FALSE, sizeof(gboolean));
  guint n_elements = 0;
  if (!read_column(column, table->n_rows, file, values, filled, &n_elements, error)) return FALSE;
  for (guint i = 0; i < n_elements; i++) {
    g_autofree gchar *element = g_strdup_printf("%s[%u]", name, i);
    if (drift_table_get_column(table, element) != NULL)
      return fail(file, 0, name, error, "there is a column \"%s\" as well", element);
  }
  for (guint i = 0; i < n_elements; i++) {
    g_autofree gchar *element = g_strdup_printf("%s[%u]", name, i);
    DriftColumn *out = drift_table_add_column(table, element, DRIFT_NUMERIC);
    gsize vector = 0;
    for (guint64 row = 0; row < table->n_rows; row++) {
      if (g_array_index(filled, gboolean, row))
        drift_column_append_number(out, g_array_index(values, double, n_elements *vector++ + i));
      else
        drift_column_append_missing(out);
    }
  }
  g_ptr_array_remove(table->columns, column);
  return TRUE;
}
