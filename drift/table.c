#include "drift/table.h"

#include <math.h>
#include <string.h>

static void column_free(gpointer data)
{
  DriftColumn *column = data;
  g_free(column->name);
  g_clear_pointer(&column->numbers, g_array_unref);
  g_clear_pointer(&column->codes, g_array_unref);
  g_clear_pointer(&column->code_of, g_hash_table_unref);
  g_clear_pointer(&column->dictionary, g_ptr_array_unref);
  g_free(column);
}

static DriftColumn *column_new(const gchar *name, DriftFeatureKind kind)
{
  DriftColumn *column = g_new0(DriftColumn, 1);
  column->name = g_strdup(name);
  column->kind = kind;
  if (kind == DRIFT_NUMERIC) {
    column->numbers = g_array_new(FALSE, FALSE, sizeof(double));
  } else {
    column->codes = g_array_new(FALSE, FALSE, sizeof(guint32));
    column->dictionary = g_ptr_array_new_with_free_func(g_free);
    column->code_of = g_hash_table_new(g_str_hash, g_str_equal);
  }
  return column;
}

DriftTable *drift_table_new(void)
{
  DriftTable *table = g_new0(DriftTable, 1);
  table->columns = g_ptr_array_new_with_free_func(column_free);
  return table;
}

void drift_table_free(DriftTable *table)
{
  if (table == NULL) return;
  g_ptr_array_unref(table->columns);
  g_free(table);
}

DriftColumn *drift_table_add_column(DriftTable *table, const gchar *name, DriftFeatureKind kind)
{
  DriftColumn *column = column_new(name, kind);
  g_ptr_array_add(table->columns, column);
  return column;
}

/* The index of the column of that name, looking from `start` onwards and round: features mostly follow the columns. */
static gint find_column(const DriftTable *table, const gchar *name, guint start)
{
  guint n = table->columns->len;
  for (guint i = 0; i < n; i++) {
    guint index = (start + i) % n;
    const DriftColumn *column = g_ptr_array_index(table->columns, index);
    if (strcmp(column->name, name) == 0) return (gint)index;
  }
  return -1;
}

DriftColumn *drift_table_get_column(const DriftTable *table, const gchar *name)
{
  gint index = find_column(table, name, 0);
  return index < 0 ? NULL : g_ptr_array_index(table->columns, index);
}

static guint32 intern(DriftColumn *column, const gchar *text)
{
  gpointer found = g_hash_table_lookup(column->code_of, text);
  if (found != NULL) return GPOINTER_TO_UINT(found) - 1;
  gchar *owned = g_strdup(text);
  g_ptr_array_add(column->dictionary, owned);
  g_hash_table_insert(column->code_of, owned, GUINT_TO_POINTER(column->dictionary->len));
  return column->dictionary->len - 1;
}

void drift_column_append_number(DriftColumn *column, double number)
{
  if (column->kind == DRIFT_NUMERIC) {
    g_array_append_val(column->numbers, number);
    return;
  }
  DriftValue value = drift_value_number(number);
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(&value, buffer, &length);
  if (text == NULL)
    drift_column_append_missing(column);
  else
    drift_column_append_text(column, text, (gssize)length);
}

void drift_column_append_text(DriftColumn *column, const gchar *text, gssize length)
{
  if (column->kind == DRIFT_NUMERIC) {
    DriftValue value = drift_value_text(text, length);
    double number = NAN;
    if (!drift_value_to_number(&value, &number)) number = NAN;
    g_array_append_val(column->numbers, number);
    return;
  }
  gchar small[256];
  gsize bytes = length < 0 ? strlen(text) : (gsize)length;
  g_autofree gchar *large = bytes < sizeof small ? NULL : g_malloc(bytes + 1);
  gchar *copy = large != NULL ? large : small;
  if (bytes > 0) memcpy(copy, text, bytes);
  copy[bytes] = '\0';
  guint32 code = intern(column, copy);
  g_array_append_val(column->codes, code);
}

void drift_column_append_missing(DriftColumn *column)
{
  const double nan_number = NAN;
  const guint32 missing = DRIFT_CODE_MISSING;
  if (column->kind == DRIFT_NUMERIC)
    g_array_append_val(column->numbers, nan_number);
  else
    g_array_append_val(column->codes, missing);
}

DriftValue drift_column_get_value(const DriftColumn *column, guint64 row)
{
  if (column->kind == DRIFT_NUMERIC) return drift_value_number(g_array_index(column->numbers, double, row));
  guint32 code = g_array_index(column->codes, guint32, row);
  if (code == DRIFT_CODE_MISSING) return drift_value_missing();
  return drift_value_text(g_ptr_array_index(column->dictionary, code), -1);
}

static void select_cells(const DriftColumn *from, const guint64 *rows, guint64 n_rows, DriftColumn *to)
{
  if (from->kind == DRIFT_NUMERIC) {
    g_array_set_size(to->numbers, (guint)n_rows);
    for (guint64 i = 0; i < n_rows; i++)
      g_array_index(to->numbers, double, i) = g_array_index(from->numbers, double, rows[i]);
    return;
  }
  for (guint i = 0; i < from->dictionary->len; i++) intern(to, g_ptr_array_index(from->dictionary, i));
  g_array_set_size(to->codes, (guint)n_rows);
  for (guint64 i = 0; i < n_rows; i++)
    g_array_index(to->codes, guint32, i) = g_array_index(from->codes, guint32, rows[i]);
}

DriftTable *drift_table_select(const DriftTable *table, const guint64 *rows, guint64 n_rows)
{
  DriftTable *selected = drift_table_new();
  for (guint i = 0; i < table->columns->len; i++) {
    const DriftColumn *from = g_ptr_array_index(table->columns, i);
    select_cells(from, rows, n_rows, drift_table_add_column(selected, from->name, from->kind));
  }
  selected->n_rows = n_rows;
  return selected;
}

void drift_table_get_features(const DriftTable *table, const DriftSchema *schema, guint64 row, DriftValue *features)
{
  guint next = 0;
  for (guint i = 0; i < schema->features->len; i++) {
    gint index = find_column(table, drift_schema_get_feature(schema, i)->name, next);
    if (index < 0) {
      features[i] = drift_value_missing();
      continue;
    }
    features[i] = drift_column_get_value(g_ptr_array_index(table->columns, index), row);
    next = (guint)index + 1;
  }
}
