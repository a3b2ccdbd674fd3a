#include "daemon/command_arrays.h"

#include <string.h>

#include "pipeline/npz.h"

static const gchar *find_features(const PipelineNpz *npz, const gchar *path, const gchar *label, const gchar *weights,
                                  GError **error)
{
  const gchar *found = NULL;
  guint others = 0;
  gboolean labelled = FALSE;
  for (guint i = 0; i < pipeline_npz_get_n_arrays(npz); i++) {
    const gchar *name = pipeline_npz_get_name(npz, i);
    if (strcmp(name, label) == 0) {
      labelled = TRUE;
      continue;
    }
    if (g_strcmp0(name, weights) == 0) continue;
    found = name;
    others++;
  }
  if (!labelled) { /* reading it lists what there is */
    pipeline_array_free(pipeline_npz_read(npz, label, error));
    return NULL;
  }
  if (others == 1) return found;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: %u arrays besides '%s'; name the rows by --features",
              path, others, label);
  return NULL;
}

static gboolean set_weights(PipelineGraphRows *rows, const PipelineNpz *npz, const gchar *name, guint64 n,
                            GError **error)
{
  g_autoptr(PipelineArray) weights = pipeline_npz_read(npz, name, error);
  if (weights == NULL) return FALSE;
  if (weights->n_columns == 1 && weights->n_rows == n)
    return pipeline_graph_rows_set_weights(rows, weights->values, n, error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "weights '%s': %" G_GUINT64_FORMAT " × %" G_GUINT64_FORMAT " of them for %" G_GUINT64_FORMAT " rows",
              name, weights->n_rows, weights->n_columns, n);
  return FALSE;
}

static PipelineGraphRows *read_rows(const PipelineNpz *npz, const gchar *features, const PipelineArray *labels,
                                    const gchar *label, gboolean streamed, GError **error)
{
  if (streamed) {
    g_autoptr(PipelineRowStream) stream = pipeline_npz_open_rows(npz, features, error);
    return stream != NULL ? pipeline_graph_rows_from_array_stream(stream, labels, label, error) : NULL;
  }
  g_autoptr(PipelineArray) x = pipeline_npz_read(npz, features, error);
  return x != NULL ? pipeline_graph_rows_from_arrays(x, labels, label, error) : NULL;
}

PipelineGraphRows *command_read_arrays(const gchar *path, const gchar *label, const gchar *features,
                                       const gchar *weights, gboolean streamed, GError **error)
{
  g_autoptr(PipelineNpz) npz = pipeline_npz_open(path, error);
  if (npz == NULL || (features == NULL && (features = find_features(npz, path, label, weights, error)) == NULL))
    return NULL;
  g_autoptr(PipelineArray) labels = pipeline_npz_read(npz, label, error);
  if (labels == NULL) return NULL;
  g_autoptr(PipelineGraphRows) rows = read_rows(npz, features, labels, label, streamed, error);
  gboolean done = rows != NULL && (weights == NULL || set_weights(rows, npz, weights, labels->n_rows, error));
  return done ? g_steal_pointer(&rows) : NULL;
}

static guint count_inputs(const DriftSchema *schema, gboolean *numeric)
{
  guint n = 0;
  *numeric = TRUE;
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (!feature->input) continue;
    n++;
    *numeric = *numeric && feature->kind == DRIFT_NUMERIC;
  }
  return n;
}

DriftTable *command_tabulate_arrays(const PipelineGraphRows *rows, const DriftSchema *schema, GError **error)
{
  gboolean numeric;
  guint n = count_inputs(schema, &numeric);
  if (!numeric || n != rows->n_features || rows->schema->task == DRIFT_TASK_REGRESSION) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "the model takes %u inputs%s and the array has rows of %zu numbers with %s", n,
                numeric ? "" : ", some of them texts,", rows->n_features,
                rows->schema->task == DRIFT_TASK_REGRESSION ? "labels that are no classes" : "classes");
    return NULL;
  }
  g_autoptr(DriftTable) table = drift_table_new();
  guint column = 0;
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (!feature->input) continue;
    DriftColumn *numbers = drift_table_add_column(table, feature->name, DRIFT_NUMERIC);
    for (guint64 i = 0; i < rows->n_rows; i++)
      drift_column_append_number(numbers, (double)rows->x[i * rows->n_features + column]);
    column++;
  }
  DriftColumn *label = drift_table_add_column(table, schema->label, DRIFT_CATEGORICAL);
  for (guint64 i = 0; i < rows->n_rows; i++)
    drift_column_append_text(label, g_ptr_array_index(rows->schema->classes, (guint)rows->targets[i]), -1);
  table->n_rows = rows->n_rows;
  return g_steal_pointer(&table);
}
