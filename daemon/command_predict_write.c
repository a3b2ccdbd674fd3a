/* Predictions as arrays: .npz, .npy, CSV. */
#include "daemon/command_predict_internal.h"
#include "pipeline/csv.h"
#include "pipeline/npz_write.h"

static gboolean add_array(PipelineNpzWriter *writer, const PipelineModelArray *array, GError **error)
{
  if (array->n_dims == 0) return TRUE; /* no rows: nothing was predicted */
  if (array->type == ONNX_TYPE_FLOAT)
    pipeline_npz_writer_add_floats(writer, array->name, array->n_dims, array->dims,
                                   (const float *)array->elements->data);
  else if (array->type == ONNX_TYPE_DOUBLE)
    pipeline_npz_writer_add_doubles(writer, array->name, array->n_dims, array->dims,
                                    (const double *)array->elements->data);
  else if (array->type == ONNX_TYPE_INT64)
    pipeline_npz_writer_add_integers(writer, array->name, array->n_dims, array->dims,
                                     (const gint64 *)array->elements->data);
  else if (array->n_dims == 1)
    pipeline_npz_writer_add_texts(writer, array->name, (const gchar *const *)array->texts->pdata, array->texts->len);
  else {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "output '%s' holds texts of %u dimensions; arrays of texts are written with one: write a CSV",
                array->name, array->n_dims);
    return FALSE;
  }
  return TRUE;
}

gboolean command_predict_write_npz(const gchar *path, const GPtrArray *arrays, GError **error)
{
  g_autoptr(PipelineNpzWriter) writer = pipeline_npz_writer_new();
  for (guint i = 0; i < arrays->len; i++)
    if (!add_array(writer, g_ptr_array_index(arrays, i), error)) return FALSE;
  return pipeline_npz_writer_write(writer, path, error);
}

gboolean command_predict_write_npy(const gchar *path, const PipelineModelArray *array, GError **error)
{
  g_autoptr(PipelineNpzWriter) writer = pipeline_npz_writer_new();
  return add_array(writer, array, error) && pipeline_npz_writer_write_npy(writer, path, error);
}

static void append(DriftColumn *column, const PipelineModelArray *array, guint64 at)
{
  if (array->type == ONNX_TYPE_STRING)
    drift_column_append_text(column, g_ptr_array_index(array->texts, (guint)at), -1);
  else
    drift_column_append_number(column,
                               array->type == ONNX_TYPE_FLOAT    ? (double)g_array_index(array->elements, float, at)
                               : array->type == ONNX_TYPE_DOUBLE ? g_array_index(array->elements, double, at)
                                                                 : (double)g_array_index(array->elements, gint64, at));
}

gboolean command_predict_write_csv(const gchar *path, const GPtrArray *arrays, GError **error)
{
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < arrays->len; i++) {
    const PipelineModelArray *array = g_ptr_array_index(arrays, i);
    guint64 width = 1;
    for (guint d = 1; d < array->n_dims; d++) width *= array->dims[d];
    for (guint64 k = 0; k < width; k++) {
      g_autofree gchar *name =
          array->n_dims > 1 ? g_strdup_printf("%s[%" G_GUINT64_FORMAT "]", array->name, k) : g_strdup(array->name);
      DriftColumn *column =
          drift_table_add_column(table, name, array->type == ONNX_TYPE_STRING ? DRIFT_CATEGORICAL : DRIFT_NUMERIC);
      for (guint64 row = 0; row < array->dims[0]; row++) append(column, array, row * width + k);
    }
    table->n_rows = array->dims[0];
  }
  return pipeline_csv_write(path, table, error);
}
