#include "pipeline/network_features.h"

#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"

#define CHUNK_ROWS 1024u
#define PROBE_ROWS 16u
#define MAX_MATRIX_BYTES ((gsize)8 << 30)

/* A model that ends where the layers begin: rows enter it as they enter the whole one. */
struct _PipelineFeatureReader {
  PipelineModel *prefix;
  gboolean takes_missing; /* NaN is a feature like others */
  guint n_inputs;         /* width of the feature matrix */
  DriftValue *values;     /* [CHUNK_ROWS, features of the schema] */
  const GPtrArray *names; /* of gchar*: of the features, borrowed; or NULL */
};

/* The part of the graph that makes the features; everything behind them is cut off. */
static OnnxGraph *cut_prefix(const OnnxGraph *whole, const gchar *features, guint n_inputs)
{
  OnnxGraph *graph = onnx_graph_copy(whole);
  g_ptr_array_set_size(graph->outputs, 0);
  g_autofree gchar *shape = g_strdup_printf("N,%u", n_inputs);
  const gchar *output = features;
  if (onnx_graph_find_producer(graph, output) < 0) { /* the input itself: an output must have a producer */
    output = "kedge.prefix";
    if (onnx_graph_get_opset(graph, "") == 0) onnx_graph_set_opset(graph, "", 13); /* models of ai.onnx.ml alone */
    onnx_graph_add_node_strv(graph, "", "Identity", (const gchar *const[]){features, NULL},
                             (const gchar *const[]){output, NULL});
  }
  onnx_graph_add_output(graph, output, ONNX_TYPE_FLOAT, shape);
  onnx_graph_simplify(graph);
  return graph;
}

PipelineFeatureReader *pipeline_feature_reader_new_at(const OnnxGraph *graph, const gchar *features, guint n_inputs,
                                                      gboolean takes_missing, const DriftSchema *schema, GError **error)
{
  g_autoptr(PipelineFeatureReader) reader = g_new0(PipelineFeatureReader, 1);
  PipelineModel *prefix = reader->prefix = g_new0(PipelineModel, 1);
  reader->n_inputs = n_inputs;
  reader->takes_missing = takes_missing;
  reader->values = g_new0(DriftValue, (gsize)CHUNK_ROWS * drift_schema_n_features(schema) + 1);
  prefix->schema = drift_schema_copy(schema);
  prefix->texts = g_string_chunk_new(256);
  prefix->graph = cut_prefix(graph, features, n_inputs);
  prefix->executor = pipeline_executor_new(prefix->graph, &pipeline_backend_reference, error);
  if (!prefix->executor) return NULL;
  prefix->inputs = pipeline_model_inputs_bind(prefix->graph, schema, &prefix->fixed_batch, error);
  return prefix->inputs ? g_steal_pointer(&reader) : NULL;
}

PipelineFeatureReader *pipeline_feature_reader_new(const PipelineNetworkGraph *network, const DriftSchema *schema,
                                                   GError **error)
{
  return pipeline_feature_reader_new_at(network->graph, network->features, network->network->n_inputs, FALSE, schema,
                                        error);
}

void pipeline_feature_reader_set_names(PipelineFeatureReader *reader, const GPtrArray *names)
{
  reader->names = names;
}

void pipeline_feature_reader_free(PipelineFeatureReader *reader)
{
  if (!reader) return;
  pipeline_model_free(reader->prefix);
  g_free(reader->values);
  g_free(reader);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean check_finite(const PipelineFeatureReader *reader, const float *matrix, guint64 n_rows, GError **error)
{
  guint width = reader->n_inputs;
  for (gsize i = 0; i < n_rows * width; i++) {
    if (isfinite(matrix[i]) || (reader->takes_missing && isnan(matrix[i]))) continue;
    g_autofree gchar *name = reader->names ? g_strdup_printf(", %s", (gchar *)reader->names->pdata[i % width]) : NULL;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GSIZE_FORMAT ": the model's preprocessing makes %g of it (feature column %" G_GSIZE_FORMAT
                "%s); remove missing, infinite and extreme values",
                i / width, (double)matrix[i], i % width, name ? name : "");
    return FALSE;
  }
  return TRUE;
}

static gboolean check_columns(const PipelineFeatureReader *reader, const DriftTable *table, GError **error)
{
  const DriftSchema *schema = reader->prefix->schema;
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input || drift_table_get_column(table, feature->name)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is not in the data", feature->name);
    return FALSE;
  }
  return TRUE;
}

/* Rows [start, start + n) of the table into their rows of the matrix. */
static gboolean read_chunk(PipelineFeatureReader *reader, const DriftTable *table, guint64 start, guint n,
                           float *matrix, GError **error)
{
  PipelineModel *prefix = reader->prefix;
  guint n_features = drift_schema_n_features(prefix->schema), padded = prefix->fixed_batch ? prefix->fixed_batch : n;
  for (guint i = 0; i < n; i++)
    drift_table_get_features(table, prefix->schema, start + i, reader->values + (gsize)i * n_features);
  if (!pipeline_model_inputs_fill(prefix, reader->values, n, padded, start, error) ||
      !pipeline_executor_run(prefix->executor, FALSE, error))
    return FALSE;
  const PipelineTensor *output = pipeline_executor_get_output(prefix->executor, 0);
  if (output->type != ONNX_TYPE_FLOAT || output->n != (gsize)padded * reader->n_inputs) {
    g_autofree gchar *shape = pipeline_tensor_describe(output);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model's preprocessing gives %s for %u rows where what it feeds takes float32[%u,%u]", shape,
                padded, padded, reader->n_inputs);
    return FALSE;
  }
  memcpy(matrix + start * reader->n_inputs, output->data, (gsize)n * reader->n_inputs * sizeof(float));
  return TRUE;
}

/* matrix [table->n_rows, n_inputs]. */
static gboolean read_all(PipelineFeatureReader *reader, const DriftTable *table, float *matrix, GError **error)
{
  guint64 n_rows = table->n_rows;
  guint step = reader->prefix->fixed_batch ? MIN(reader->prefix->fixed_batch, CHUNK_ROWS) : CHUNK_ROWS;
  if (!check_columns(reader, table, error)) return FALSE;
  for (guint64 start = 0; start < n_rows; start += step)
    if (!read_chunk(reader, table, start, (guint)MIN(step, n_rows - start), matrix, error)) return FALSE;
  return check_finite(reader, matrix, n_rows, error);
}

float *pipeline_feature_reader_read(PipelineFeatureReader *reader, const DriftTable *table, GError **error)
{
  guint64 n_rows = table->n_rows;
  gboolean fits = n_rows <= MAX_MATRIX_BYTES / sizeof(float) / MAX(1, reader->n_inputs);
  g_autofree float *matrix = fits ? g_try_new(float, MAX(1, n_rows * reader->n_inputs)) : NULL;
  if (!matrix) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for %" G_GUINT64_FORMAT
                " rows of %u features; use fewer rows, or a network that is trained on "
                "a graph, whose rows need not fit into memory",
                n_rows, reader->n_inputs);
    return NULL;
  }
  return read_all(reader, table, matrix, error) ? g_steal_pointer(&matrix) : NULL;
}

PipelineSpill *pipeline_feature_reader_spill(PipelineFeatureReader *reader, const DriftTable *table, GError **error)
{
  g_autoptr(PipelineSpill) spill =
      pipeline_spill_new(table->n_rows * reader->n_inputs * sizeof(float), PIPELINE_SPILL_LARGE, error);
  return spill && read_all(reader, table, pipeline_spill_get_data(spill), error) ? g_steal_pointer(&spill) : NULL;
}

/* --- how features follow inputs ----------------------------------------------------------------------------------- */

GArray *pipeline_feature_reader_list_numeric(const PipelineFeatureReader *reader)
{
  GArray *numeric = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < drift_schema_n_features(reader->prefix->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(reader->prefix->schema, i);
    if (feature->input && feature->kind == DRIFT_NUMERIC) g_array_append_val(numeric, i);
  }
  return numeric;
}

double pipeline_column_sd(const DriftColumn *column)
{
  double sum = 0, squares = 0;
  guint n = 0;
  for (guint i = 0; i < column->numbers->len; i++) {
    double value = g_array_index(column->numbers, double, i);
    if (isfinite(value)) sum += value, n++;
  }
  for (guint i = 0; i < column->numbers->len; i++) {
    double value = g_array_index(column->numbers, double, i);
    if (isfinite(value)) squares += (value - sum / n) * (value - sum / n);
  }
  return n > 0 ? sqrt(squares / n) : 0;
}

/* The first rows without a missing number (a missing one does not move). */
static DriftTable *choose_probes(const DriftTable *table, const DriftSchema *schema, const GArray *numeric)
{
  guint64 rows[PROBE_ROWS], n = 0;
  for (guint64 row = 0; row < table->n_rows && n < PROBE_ROWS; row++) {
    gboolean whole = TRUE;
    for (guint f = 0; f < numeric->len && whole; f++) {
      const gchar *name = drift_schema_get_feature(schema, g_array_index(numeric, guint, f))->name;
      const DriftColumn *column = drift_table_get_column(table, name);
      whole = column && column->kind == DRIFT_NUMERIC && isfinite(g_array_index(column->numbers, double, row));
    }
    if (whole) rows[n++] = row;
  }
  return n > 0 ? drift_table_select(table, rows, n) : NULL;
}

static void shift_column(DriftColumn *column, double shift)
{
  for (guint i = 0; i < column->numbers->len; i++) g_array_index(column->numbers, double, i) += shift;
}

/* The matrix of the probes with one column moved. */
static float *read_shifted(PipelineFeatureReader *reader, DriftTable *probes, const gchar *name, double shift,
                           GError **error)
{
  DriftColumn *column = drift_table_get_column(probes, name);
  g_autofree double *kept = g_memdup2(column->numbers->data, column->numbers->len * sizeof(double));
  shift_column(column, shift);
  float *matrix = pipeline_feature_reader_read(reader, probes, error);
  memcpy(column->numbers->data, kept, column->numbers->len * sizeof(double));
  return matrix;
}

/* Adds the columns that feature `number` moves. `up` and `down`: the probes with it moved by +1 and -1/2 sd. */
static gboolean add_gains(PipelineAttackSpace *space, guint number, guint width, guint64 n_rows, const float *base,
                          const float *up, const float *down)
{
  for (guint j = 0; j < width; j++) {
    double gain = 0;
    for (guint64 i = 0; i < n_rows; i++) gain += ((double)up[i * width + j] - base[i * width + j]) / (double)n_rows;
    for (guint64 i = 0; i < n_rows; i++) {
      double there = (double)up[i * width + j] - base[i * width + j],
             back = (double)base[i * width + j] - down[i * width + j];
      double tolerance = 1e-3 * MAX(1, fabs(gain));
      if (fabs(there - gain) > tolerance || fabs(2 * back - gain) > 2 * tolerance) return FALSE;
    }
    if (fabs(gain) > 1e-6) pipeline_attack_space_add(space, number, j, (float)gain);
  }
  return TRUE;
}

PipelineAttackSpace *pipeline_feature_reader_find_space(PipelineFeatureReader *reader, const DriftTable *table,
                                                        GError **error)
{
  g_autoptr(GArray) numeric = pipeline_feature_reader_list_numeric(reader);
  g_autoptr(DriftTable) probes = choose_probes(table, reader->prefix->schema, numeric);
  g_autoptr(PipelineAttackSpace) space = pipeline_attack_space_new(0, NULL);
  space->n_features = numeric->len;
  if (!probes || numeric->len == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "nothing to attack: %s",
                numeric->len == 0 ? "the model has no numeric input" : "no row is complete");
    return NULL;
  }
  g_autofree float *base = pipeline_feature_reader_read(reader, probes, error);
  if (!base) return NULL;
  for (guint f = 0; f < numeric->len; f++) {
    const gchar *name = drift_schema_get_feature(reader->prefix->schema, g_array_index(numeric, guint, f))->name;
    double sd = pipeline_column_sd(drift_table_get_column(table, name));
    if (sd == 0) continue; /* a ball of radius zero */
    g_autofree float *up = read_shifted(reader, probes, name, sd, error);
    g_autofree float *down = up ? read_shifted(reader, probes, name, -sd / 2, error) : NULL;
    if (!down) return NULL;
    if (!add_gains(space, f, reader->n_inputs, probes->n_rows, base, up, down)) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "the model's preprocessing is not linear in \"%s\"; it cannot be attacked", name);
      return NULL;
    }
  }
  return g_steal_pointer(&space);
}
