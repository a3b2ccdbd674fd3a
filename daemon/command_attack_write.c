/* The points that an attack found, as a CSV or an archive of arrays. */
#include "daemon/command_attack_internal.h"
#include "pipeline/csv.h"
#include "pipeline/npz_write.h"

/* The attacked rows with what the attack did to them. */
static gboolean write_csv(const gchar *path, const PipelineRobustness *robustness, const DriftSchema *schema,
                          const DriftTable *table, GError **error)
{
  g_autoptr(DriftTable) moved = pipeline_robustness_tabulate(robustness, schema, table);
  DriftColumn *decision = drift_table_add_column(moved, "attack.decision", DRIFT_CATEGORICAL),
              *fooled = drift_table_add_column(moved, "attack.fooled", DRIFT_NUMERIC),
              *distance = drift_table_add_column(moved, "attack.distance", DRIFT_NUMERIC),
              *queries = drift_table_add_column(moved, "attack.queries", DRIFT_NUMERIC);
  for (guint64 i = 0; i < robustness->n; i++) {
    drift_column_append_text(decision, g_ptr_array_index(schema->classes, robustness->decisions[i]), -1);
    drift_column_append_number(fooled, robustness->right[i] && !robustness->robust[i] ? 1 : 0);
    drift_column_append_number(distance, robustness->distances[i]);
    drift_column_append_number(queries, (double)robustness->queries[i]);
  }
  return pipeline_csv_write(path, moved, error);
}

/* Whole numbers where every class is one, so that the archive trains and is attacked again; else texts. */
static void add_labels(PipelineNpzWriter *writer, const PipelineRobustness *robustness, const DriftSchema *schema)
{
  guint64 n = robustness->n;
  gboolean whole = TRUE;
  g_autofree gint64 *numbers = g_new0(gint64, schema->classes->len + 1), *labels = g_new(gint64, n + 1);
  g_autofree const gchar **texts = g_new0(const gchar *, n + 1);
  for (guint c = 0; c < schema->classes->len; c++)
    whole = whole && g_ascii_string_to_signed(g_ptr_array_index(schema->classes, c), 10, G_MININT64, G_MAXINT64,
                                              &numbers[c], NULL);
  for (guint64 i = 0; i < n; i++) {
    labels[i] = numbers[robustness->labels[i]];
    texts[i] = g_ptr_array_index(schema->classes, robustness->labels[i]);
  }
  if (whole)
    pipeline_npz_writer_add_integers(writer, schema->label, 1, &n, labels);
  else
    pipeline_npz_writer_add_texts(writer, schema->label, texts, n);
}

static gboolean write_arrays(const gchar *path, const PipelineRobustness *robustness, const DriftSchema *schema,
                             const DriftTable *table, GError **error)
{
  g_autoptr(DriftTable) moved = pipeline_robustness_tabulate(robustness, schema, table);
  g_autoptr(PipelineNpzWriter) writer = pipeline_npz_writer_new();
  guint64 width = robustness->features->len, dims[] = {robustness->n, width};
  g_autofree double *x = g_new(double, robustness->n *width + 1);
  g_autofree gint64 *fooled = g_new(gint64, robustness->n + 1), *queries = g_new(gint64, robustness->n + 1);
  for (guint f = 0; f < width; f++) {
    guint feature = g_array_index(robustness->features, guint, f);
    const DriftColumn *column = drift_table_get_column(moved, drift_schema_get_feature(schema, feature)->name);
    for (guint64 i = 0; i < robustness->n; i++) x[i * width + f] = g_array_index(column->numbers, double, i);
  }
  for (guint64 i = 0; i < robustness->n; i++) {
    fooled[i] = robustness->right[i] && !robustness->robust[i];
    queries[i] = (gint64)robustness->queries[i];
  }
  pipeline_npz_writer_add_doubles(writer, "x", 2, dims, x);
  add_labels(writer, robustness, schema);
  pipeline_npz_writer_add_integers(writer, "fooled", 1, dims, fooled);
  pipeline_npz_writer_add_doubles(writer, "distance", 1, dims, robustness->distances);
  pipeline_npz_writer_add_integers(writer, "queries", 1, dims, queries);
  return pipeline_npz_writer_write(writer, path, error);
}

gboolean command_attack_write(const gchar *path, const PipelineRobustness *robustness, const DriftSchema *schema,
                              const DriftTable *table, GError **error)
{
  gboolean arrays = g_str_has_suffix(path, ".npz");
  return (arrays ? write_arrays : write_csv)(path, robustness, schema, table, error);
}
