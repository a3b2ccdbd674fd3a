#include "pipeline/row_stream.h"

#include <math.h>

gboolean pipeline_row_stream_visit(PipelineRowStream *stream, PipelineRowFunc row, gpointer user_data, GError **error)
{
  return stream->visit(stream, row, user_data, error);
}

void pipeline_row_stream_free(PipelineRowStream *stream)
{
  if (stream == NULL) return;
  if (stream->free_source != NULL) stream->free_source(stream->source);
  g_strfreev(stream->names);
  g_free(stream->kinds);
  g_free(stream);
}

typedef struct {
  DriftTable *table;
  GArray *places; /* of guint: columns that are filled */
} Sketch;

static gboolean sketch_row(guint64 row, const double *numbers, const gchar *const *texts, gpointer user_data,
                           GError **error)
{
  Sketch *sketch = user_data;
  (void)error;
  for (guint i = 0; i < sketch->places->len; i++) {
    guint place = g_array_index(sketch->places, guint, i);
    DriftColumn *column = g_ptr_array_index(sketch->table->columns, place);
    if (column->kind == DRIFT_NUMERIC)
      drift_column_append_number(column, numbers[place]);
    else if (texts[place] != NULL)
      drift_column_append_text(column, texts[place], -1);
    else
      drift_column_append_missing(column);
  }
  sketch->table->n_rows = row + 1;
  return TRUE;
}

DriftTable *pipeline_row_stream_sketch(PipelineRowStream *stream, const gchar *const *filled, GError **error)
{
  g_autoptr(DriftTable) table = drift_table_new();
  g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < stream->n_columns; i++) {
    drift_table_add_column(table, stream->names[i], stream->kinds[i]);
    if (g_strv_contains(filled, stream->names[i])) g_array_append_val(places, i);
  }
  Sketch sketch = {table, places};
  return pipeline_row_stream_visit(stream, sketch_row, &sketch, error) ? g_steal_pointer(&table) : NULL;
}
