/* Archives of arrays as tables. */
#include "pipeline/error.h"
#include "pipeline/npz.h"

static gboolean is_flat(const PipelineArray *array)
{
  return array->n_dimensions == 1 && array->n_row_dims == 0;
}

static void add_columns(DriftTable *table, const PipelineArray *array, const gchar *name)
{
  for (guint64 c = 0; c < array->n_columns; c++) {
    g_autofree gchar *element = is_flat(array) ? g_strdup(name) : g_strdup_printf("%s[%" G_GUINT64_FORMAT "]", name, c);
    DriftColumn *column = drift_table_add_column(table, element, DRIFT_NUMERIC);
    for (guint64 i = 0; i < array->n_rows; i++)
      drift_column_append_number(column, array->values[i * array->n_columns + c]);
  }
  table->n_rows = array->n_rows;
}

static GPtrArray *read_all(const PipelineNpz *npz, GError **error)
{
  g_autoptr(GPtrArray) arrays = g_ptr_array_new_with_free_func((GDestroyNotify)pipeline_array_free);
  for (guint i = 0; i < pipeline_npz_get_n_arrays(npz); i++) {
    PipelineArray *array = pipeline_npz_read(npz, pipeline_npz_get_name(npz, i), error);
    if (array == NULL) return NULL;
    g_ptr_array_add(arrays, array);
  }
  return g_steal_pointer(&arrays);
}

static gboolean check_sizes(const PipelineNpz *npz, const GPtrArray *arrays, const gchar *path, GError **error)
{
  const PipelineArray *first = g_ptr_array_index(arrays, 0);
  guint64 columns = 0;
  for (guint i = 0; i < arrays->len; i++) {
    const PipelineArray *array = g_ptr_array_index(arrays, i);
    columns += array->n_columns;
    if (array->n_rows == first->n_rows) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%s: the array '%s' has %" G_GUINT64_FORMAT " rows, '%s' has %" G_GUINT64_FORMAT, path,
                pipeline_npz_get_name(npz, 0), first->n_rows, pipeline_npz_get_name(npz, i), array->n_rows);
    return FALSE;
  }
  if (columns <= PIPELINE_NPY_MAX_COLUMNS) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "%s: %" G_GUINT64_FORMAT " columns; at most %u are read as a table", path, columns,
              PIPELINE_NPY_MAX_COLUMNS);
  return FALSE;
}

DriftTable *pipeline_npz_read_table(const gchar *path, GError **error)
{
  g_autoptr(PipelineNpz) npz = pipeline_npz_open(path, error);
  g_autoptr(GPtrArray) arrays = npz != NULL ? read_all(npz, error) : NULL;
  guint wide = 0;
  if (arrays == NULL || !check_sizes(npz, arrays, path, error)) return NULL;
  for (guint i = 0; i < arrays->len; i++) wide += !is_flat(g_ptr_array_index(arrays, i));
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < arrays->len; i++) {
    const PipelineArray *array = g_ptr_array_index(arrays, i);
    add_columns(table, array, wide == 1 && !is_flat(array) ? "x" : pipeline_npz_get_name(npz, i));
  }
  return table;
}
