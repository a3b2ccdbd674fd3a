#include "pipeline/network_features.h"

#include <math.h>
#include <string.h>

#include "pipeline/executor.h"

#define CHUNK_ROWS 1024u
#define PROBE_ROWS 16u
#define MAX_MATRIX_BYTES ((gsize)8 << 30)

/* Where one input of the graph gets its values. */
typedef struct {
  guint input; /* of the graph */
  OnnxType type;
  guint n_dims;   /* 1 or 2 */
  guint first, n; /* features[first .. first + n) of the reader's list fill its columns */
} Feed;

struct _PipelineFeatureReader {
  const DriftSchema *schema;
  OnnxGraph *graph; /* from the inputs to the features */
  PipelineExecutor *executor;
  guint n_inputs;   /* width of the feature matrix */
  GArray *features; /* of guint: schema indices of the input features, in order */
  GArray *feeds;    /* of Feed */
};

/* --- which input takes which features ----------------------------------------------------------------------------- */

static gint find_input_feature(const PipelineFeatureReader *reader, const gchar *name)
{
  for (guint i = 0; i < reader->features->len; i++) {
    guint index = g_array_index(reader->features, guint, i);
    if (g_str_equal(drift_schema_get_feature(reader->schema, index)->name, name)) return (gint)i;
  }
  return -1;
}

/* By name, else all features at once for the only input, else by position. */
static gboolean match_input(PipelineFeatureReader *reader, guint index, guint position, guint n_fed, GError **error)
{
  const OnnxValue *input = g_ptr_array_index(reader->graph->inputs, index);
  gint named = find_input_feature(reader, input->name);
  gint64 width = input->has_shape && input->n_dims == 2 ? input->dims[1].size : 1;
  Feed feed = {.input = index, .type = input->type, .n_dims = MAX(1, input->n_dims), .n = 1};
  if (named >= 0 && width <= 1) {
    feed.first = (guint)named;
  } else if (n_fed == 1 && input->n_dims == 2 && (width < 0 || width == reader->features->len)) {
    feed.n = reader->features->len;
  } else if (n_fed == reader->features->len && width <= 1) {
    feed.first = position;
  } else {
    g_set_error(
        error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
        "input \"%s\" of the model is no input feature of the schema, and the model has %u inputs for %u features",
        input->name, n_fed, reader->features->len);
    return FALSE;
  }
  g_array_append_val(reader->feeds, feed);
  return TRUE;
}

static gboolean match_inputs(PipelineFeatureReader *reader, GError **error)
{
  const OnnxGraph *graph = reader->graph;
  guint n_fed = 0, position = 0;
  for (guint i = 0; i < graph->inputs->len; i++)
    if (onnx_graph_is_fed(graph, g_ptr_array_index(graph->inputs, i))) n_fed++;
  for (guint i = 0; i < graph->inputs->len; i++) {
    if (!onnx_graph_is_fed(graph, g_ptr_array_index(graph->inputs, i))) continue;
    if (!match_input(reader, i, position++, n_fed, error)) return FALSE;
  }
  return TRUE;
}

/* The part of the graph that makes the features; everything behind them is cut off. */
static OnnxGraph *cut_prefix(const PipelineNetworkGraph *network)
{
  OnnxGraph *graph = onnx_graph_copy(network->graph);
  g_ptr_array_set_size(graph->outputs, 0);
  g_autofree gchar *shape = g_strdup_printf("N,%u", network->network->n_inputs);
  if (onnx_graph_find_producer(graph, network->features) < 0) {
    /* The layers read the graph's input itself: an output must have a producer. */
    onnx_graph_add_node_strv(graph, "", "Identity", (const gchar *const[]){network->features, NULL},
                             (const gchar *const[]){"kedge.prefix", NULL});
    onnx_graph_add_output(graph, "kedge.prefix", ONNX_TYPE_FLOAT, shape);
  } else {
    onnx_graph_add_output(graph, network->features, ONNX_TYPE_FLOAT, shape);
  }
  onnx_graph_simplify(graph);
  return graph;
}

PipelineFeatureReader *pipeline_feature_reader_new(const PipelineNetworkGraph *network, const DriftSchema *schema,
                                                   GError **error)
{
  g_autoptr(PipelineFeatureReader) reader = g_new0(PipelineFeatureReader, 1);
  reader->schema = schema;
  reader->n_inputs = network->network->n_inputs;
  reader->features = g_array_new(FALSE, FALSE, sizeof(guint));
  reader->feeds = g_array_new(FALSE, FALSE, sizeof(Feed));
  for (guint i = 0; i < drift_schema_n_features(schema); i++)
    if (drift_schema_get_feature(schema, i)->input) g_array_append_val(reader->features, i);
  reader->graph = cut_prefix(network);
  if (!match_inputs(reader, error)) return NULL;
  reader->executor = pipeline_executor_new(reader->graph, &pipeline_backend_reference, error);
  return reader->executor ? g_steal_pointer(&reader) : NULL;
}

void pipeline_feature_reader_free(PipelineFeatureReader *reader)
{
  if (!reader) return;
  pipeline_executor_free(reader->executor);
  onnx_graph_free(reader->graph);
  g_array_unref(reader->features);
  g_array_unref(reader->feeds);
  g_free(reader);
}

/* --- filling inputs ----------------------------------------------------------------------------------------------- */

/* Everything that a cell can be for. texts keeps spellings of numbers alive until the run is over. */
static gboolean put_cell(PipelineTensor *tensor, gsize at, const DriftValue *value, GStringChunk *texts)
{
  if (tensor->type == ONNX_TYPE_STRING) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length = 0;
    const gchar *text = drift_value_to_text(value, buffer, &length);
    if (text == buffer) text = g_string_chunk_insert_len(texts, text, (gssize)length);
    ((PipelineText *)tensor->data)[at] = (PipelineText){text ? text : "", length};
    return TRUE;
  }
  double number = NAN;
  if (!drift_value_to_number(value, &number)) number = NAN;
  switch (tensor->type) {
  case ONNX_TYPE_FLOAT:
    ((float *)tensor->data)[at] = (float)number;
    return TRUE;
  case ONNX_TYPE_DOUBLE:
    ((double *)tensor->data)[at] = number;
    return TRUE;
  case ONNX_TYPE_INT64:
    if (isnan(number) || fabs(number) > 0x1p53) return FALSE;
    ((gint64 *)tensor->data)[at] = (gint64)number;
    return TRUE;
  case ONNX_TYPE_INT32:
    if (isnan(number) || fabs(number) > G_MAXINT32) return FALSE;
    ((gint32 *)tensor->data)[at] = (gint32)number;
    return TRUE;
  default:
    return FALSE;
  }
}

static gboolean fill_input(PipelineFeatureReader *reader, const Feed *feed, const DriftTable *table, guint64 start,
                           guint n, GStringChunk *texts, GError **error)
{
  PipelineTensor *tensor = pipeline_executor_get_input(reader->executor, feed->input);
  if (!pipeline_tensor_set_shape(tensor, feed->type, feed->n_dims, (gint64[]){n, feed->n}, error) ||
      !pipeline_tensor_allocate(tensor, error))
    return FALSE;
  for (guint j = 0; j < feed->n; j++) {
    const DriftFeature *feature =
        drift_schema_get_feature(reader->schema, g_array_index(reader->features, guint, feed->first + j));
    const DriftColumn *column = drift_table_get_column(table, feature->name);
    if (!column) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is not in the data", feature->name);
      return FALSE;
    }
    for (guint i = 0; i < n; i++) {
      DriftValue value = drift_column_get_value(column, start + i);
      if (put_cell(tensor, (gsize)i * feed->n + j, &value, texts)) continue;
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "column \"%s\", row %" G_GUINT64_FORMAT ": the value is missing or no number, and the model takes %s",
                  feature->name, start + i, onnx_type_get_name(feed->type));
      return FALSE;
    }
  }
  return TRUE;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean check_finite(const float *matrix, guint64 n_rows, guint width, GError **error)
{
  for (gsize i = 0; i < n_rows * width; i++) {
    if (isfinite(matrix[i])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GSIZE_FORMAT ": the model's preprocessing makes %g of it (feature column %" G_GSIZE_FORMAT
                "); remove missing, infinite and extreme values",
                i / width, (double)matrix[i], i % width);
    return FALSE;
  }
  return TRUE;
}

static gboolean read_chunk(PipelineFeatureReader *reader, const DriftTable *table, guint64 start, guint n,
                           float *matrix, GError **error)
{
  g_autoptr(GStringChunk) texts = g_string_chunk_new(1024);
  for (guint i = 0; i < reader->feeds->len; i++)
    if (!fill_input(reader, &g_array_index(reader->feeds, Feed, i), table, start, n, texts, error)) return FALSE;
  if (!pipeline_executor_run(reader->executor, FALSE, error)) return FALSE;
  const PipelineTensor *output = pipeline_executor_get_output(reader->executor, 0);
  if (output->type != ONNX_TYPE_FLOAT || output->n != (gsize)n * reader->n_inputs) {
    g_autofree gchar *shape = pipeline_tensor_describe(output);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model's preprocessing gives %s for %u rows where its first dense layer takes float32[%u,%u]",
                shape, n, n, reader->n_inputs);
    return FALSE;
  }
  memcpy(matrix + start * reader->n_inputs, output->data, output->n * sizeof(float));
  return TRUE;
}

float *pipeline_feature_reader_read(PipelineFeatureReader *reader, const DriftTable *table, GError **error)
{
  guint64 n_rows = table->n_rows;
  gboolean fits = n_rows <= MAX_MATRIX_BYTES / sizeof(float) / MAX(1, reader->n_inputs);
  g_autofree float *matrix = fits ? g_try_new(float, MAX(1, n_rows * reader->n_inputs)) : NULL;
  if (!matrix) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for %" G_GUINT64_FORMAT " rows of %u features; use fewer rows", n_rows, reader->n_inputs);
    return NULL;
  }
  for (guint64 start = 0; start < n_rows; start += CHUNK_ROWS)
    if (!read_chunk(reader, table, start, (guint)MIN(CHUNK_ROWS, n_rows - start), matrix, error)) return NULL;
  return check_finite(matrix, n_rows, reader->n_inputs, error) ? g_steal_pointer(&matrix) : NULL;
}

/* --- how features follow inputs ----------------------------------------------------------------------------------- */

GArray *pipeline_feature_reader_list_numeric(const PipelineFeatureReader *reader)
{
  GArray *numeric = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < reader->features->len; i++) {
    guint index = g_array_index(reader->features, guint, i);
    if (drift_schema_get_feature(reader->schema, index)->kind == DRIFT_NUMERIC) g_array_append_val(numeric, index);
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
  g_autoptr(DriftTable) probes = choose_probes(table, reader->schema, numeric);
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
    const gchar *name = drift_schema_get_feature(reader->schema, g_array_index(numeric, guint, f))->name;
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
