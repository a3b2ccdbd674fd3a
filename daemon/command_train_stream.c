/* Rows of `kedge train` that need not fit into memory: read one after another into a file that is mapped. */
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "daemon/command_arrays.h"
#include "daemon/command_train_internal.h"
#include "pipeline/csv.h"
#include "pipeline/npy.h"

static gboolean is_lines(const gchar *path)
{
  return g_str_has_suffix(path, ".jsonl") || g_str_has_suffix(path, ".ndjson");
}

gboolean command_train_streams(const TrainArguments *arguments, const gchar *path)
{
  GStatBuf status;
  return !is_lines(path) && g_stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
         (arguments->graph.spill || (guint64)status.st_size > PIPELINE_SPILL_BYTES);
}

gboolean command_train_stream_check(const TrainArguments *arguments, GError **error)
{
  if (!arguments->graph.spill || !(g_str_equal(arguments->data, "-") || is_lines(arguments->data))) return TRUE;
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                      "--spill reads its --data more than once: a file .csv, .npy or .npz, not standard input or JSON "
                      "lines");
  return FALSE;
}

static PipelineRowStream *open_rows(const gchar *path, GError **error)
{
  return g_str_has_suffix(path, ".npy") ? pipeline_npy_open_rows(path, error) : pipeline_csv_open_rows(path, error);
}

static DriftTable *sketch(PipelineRowStream *stream, const gchar *label, const gchar *weights, GError **error)
{
  const gchar *filled[] = {label, weights, NULL};
  return pipeline_row_stream_sketch(stream, filled, error);
}

/* The schema is that of the whole table: labels and the kinds of columns are all that it takes. */
static gboolean load_start(const CommandCommon *common, const TrainArguments *arguments, const DriftTable *table,
                           CommandModel *start, GError **error)
{
  g_autofree gchar *excluded = command_train_excluded(arguments);
  if (arguments->from != NULL)
    return command_load_model(common, arguments->from, table, arguments->label, start, error);
  start->schema =
      command_infer_schema(table, arguments->label, arguments->sensitive, excluded, arguments->positive, error);
  return start->schema != NULL;
}

static PipelineGraphRows *read_rows(const TrainArguments *arguments, PipelineRowStream *stream, DriftTable **table,
                                    const DriftSchema *schema, GError **error)
{
  g_autofree double *weights = NULL;
  if (!g_str_equal(schema->label, arguments->label)) { /* of --from */
    drift_table_free(*table);
    if ((*table = sketch(stream, schema->label, arguments->weights, error)) == NULL) return NULL;
  }
  if (arguments->weights != NULL && (weights = command_train_read_weights(arguments, *table, error)) == NULL)
    return NULL;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_stream(stream, *table, schema, error);
  if (rows != NULL && weights != NULL && !pipeline_graph_rows_set_weights(rows, weights, (*table)->n_rows, error))
    return NULL;
  return g_steal_pointer(&rows);
}

PipelineGraphRows *command_train_stream_read(const CommandCommon *common, const TrainArguments *arguments,
                                             GBytes **model, GError **error)
{
  CommandModel start = {0};
  g_autoptr(PipelineRowStream) stream = open_rows(arguments->data, error);
  g_autoptr(DriftTable) table = stream != NULL ? sketch(stream, arguments->label, arguments->weights, error) : NULL;
  PipelineGraphRows *rows = table != NULL && load_start(common, arguments, table, &start, error)
                                ? read_rows(arguments, stream, &table, start.schema, error)
                                : NULL;
  if (rows != NULL && start.onnx != NULL) *model = g_bytes_ref(start.onnx);
  command_model_clear(&start);
  return rows;
}

PipelineGraphRows *command_train_stream_read_old(const gchar *path, const DriftSchema *schema, GError **error)
{
  g_autoptr(PipelineRowStream) stream = open_rows(path, error);
  g_autoptr(DriftTable) table = stream != NULL ? sketch(stream, schema->label, NULL, error) : NULL;
  return table != NULL ? pipeline_graph_rows_from_stream(stream, table, schema, error) : NULL;
}
