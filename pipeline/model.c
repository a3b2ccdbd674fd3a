#include "pipeline/model.h"

#include <math.h>
#include <string.h>

#include "pipeline/calibration.h"
#include "pipeline/interval.h"
#include "pipeline/model_internal.h"

#define PROBE_ROWS 3

/* --- probing: shapes, roles, independence of rows
 * ------------------------------------------------------------------------ */

/* Made-up rows: numbers that differ, empty texts. */
static DriftValue *make_probe(const DriftSchema *schema, guint n_rows)
{
  guint n = drift_schema_n_features(schema);
  DriftValue *values = g_new0(DriftValue, (gsize)n_rows * n + 1);
  for (guint row = 0; row < n_rows; row++)
    for (guint f = 0; f < n; f++) {
      gboolean numeric = drift_schema_get_feature(schema, f)->kind == DRIFT_NUMERIC;
      values[row * n + f] = numeric ? (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = row + f % 3}
                                    : (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = 0};
    }
  return values;
}

static gboolean run_rows(PipelineModel *model, const DriftValue *features, guint n_rows, guint64 first_row,
                         gboolean lenient, GError **error)
{
  guint padded = model->fixed_batch != 0 ? model->fixed_batch : n_rows;
  return pipeline_model_inputs_fill(model, features, n_rows, padded, first_row, error) &&
         pipeline_executor_run(model->executor, lenient, error);
}

/* The chosen output of the first n_rows rows as they lie in the tensor, as floats. */
static void copy_output(const PipelineModel *model, guint n_rows, float *out)
{
  const PipelineTensor *tensor = pipeline_executor_get_output(model->executor, model->output.index);
  for (gsize i = 0; i < (gsize)n_rows * model->output.n_columns; i++)
    out[i] =
        tensor->type == ONNX_TYPE_FLOAT ? ((const float *)tensor->data)[i] : (float)((const double *)tensor->data)[i];
}

/* Each row alone must give what it gives in the batch: the same bits where the backend promises them. */
static gboolean check_independence(PipelineModel *model, const DriftValue *probe, GError **error)
{
  guint columns = model->output.n_columns, n_features = drift_schema_n_features(model->schema);
  g_autofree float *batch = g_new(float, PROBE_ROWS *columns), *alone = g_new(float, columns);
  copy_output(model, PROBE_ROWS, batch);
  for (guint row = 0; row < PROBE_ROWS; row++) {
    if (!run_rows(model, probe + (gsize)row * n_features, 1, row, TRUE, error)) return FALSE;
    copy_output(model, 1, alone);
    for (guint i = 0; i < columns; i++) {
      float a = alone[i], b = batch[row * columns + i];
      float bound = model->row_exact ? 0 : 1e-4f * MAX(1, fabsf(b));
      if (a == b || fabsf(a - b) <= bound || (isnan(a) && isnan(b))) continue;
      g_set_error_literal(
          error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
          "the rows of a batch influence each other in this model: a row alone gets another prediction");
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean probe_with(PipelineModel *model, guint n_rows, GError **error)
{
  g_autofree DriftValue *probe = make_probe(model->schema, MAX(n_rows, 1));
  if (!run_rows(model, probe, n_rows, 0, TRUE, error)) return FALSE;
  guint rows = model->fixed_batch != 0 ? model->fixed_batch : n_rows;
  g_clear_pointer(&model->output.class_of, g_free);
  if (!pipeline_model_output_find(model->graph, model->executor, model->schema, rows, &model->output, error))
    return FALSE;
  return model->fixed_batch != 0 || check_independence(model, probe, error);
}

/* Tries a batch; a graph that has one row built into its reshapes is run row by row. */
static gboolean probe(PipelineModel *model, GError **error)
{
  g_autoptr(GError) first = NULL;
  if (model->fixed_batch != 0) return probe_with(model, 1, error);
  if (probe_with(model, PROBE_ROWS, &first)) return TRUE;
  model->fixed_batch = 1;
  gboolean alone = g_error_matches(first, PIPELINE_ERROR, PIPELINE_ERROR_MODEL) && probe_with(model, 1, NULL);
  if (!alone) g_propagate_error(error, g_steal_pointer(&first));
  return alone;
}

static gboolean has_value(const PipelineModel *model, const gchar *name)
{
  const PipelineTensor *tensor = pipeline_executor_get_value(model->executor, name);
  return tensor != NULL && tensor->type == ONNX_TYPE_FLOAT && tensor->n_dims == 2 && tensor->dims[1] == 1;
}

/* The interval that the metadata says and the outputs have. */
static double find_interval(const PipelineModel *model)
{
  gboolean whole = model->schema->task == DRIFT_TASK_REGRESSION && has_value(model, "lower") &&
                   has_value(model, "value") && has_value(model, "upper");
  return whole ? pipeline_interval_get_level(model->graph) : NAN;
}

/* --- loading
 * -------------------------------------------------------------------------------------------------------------- */

static gboolean check_schema(const DriftSchema *schema, GError **error)
{
  guint n = schema->classes->len;
  gboolean fits = schema->task == DRIFT_TASK_REGRESSION || (schema->task == DRIFT_TASK_BINARY && n == 2) ||
                  (schema->task == DRIFT_TASK_MULTICLASS && n >= 2);
  if (fits && (schema->task != DRIFT_TASK_BINARY || schema->positive_class < 2)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "the schema of label '%s' has %u classes, which its task does "
              "not fit",
              schema->label, n);
  return FALSE;
}

static gboolean load_graph(PipelineModel *model, GBytes *onnx, const PipelineBackend *backend, GError **error)
{
  GError *cause = NULL;
  model->graph = onnx_graph_from_bytes(onnx, &cause);
  if (model->graph == NULL) {
    gboolean limit = cause->code == ONNX_ERROR_LIMIT || cause->code == ONNX_ERROR_UNSUPPORTED;
    g_set_error_literal(error, PIPELINE_ERROR, limit ? PIPELINE_ERROR_UNSUPPORTED : PIPELINE_ERROR_MODEL,
                        cause->message);
    g_error_free(cause);
    return FALSE;
  }
  onnx_graph_simplify(model->graph);
  model->executor = pipeline_executor_new(model->graph, backend, error);
  if (model->executor == NULL) return FALSE;
  model->inputs = pipeline_model_inputs_bind(model->graph, model->schema, &model->fixed_batch, error);
  return model->inputs != NULL;
}

PipelineModel *pipeline_model_load(GBytes *onnx, const DriftSchema *schema, const gchar *backend, GError **error)
{
  const PipelineBackend *found = pipeline_backend_find(backend, TRUE, error);
  if (found == NULL || !check_schema(schema, error)) return NULL;
  g_autoptr(PipelineModel) model = g_new0(PipelineModel, 1);
  model->schema = drift_schema_copy(schema);
  model->onnx = g_bytes_ref(onnx);
  model->row_exact = found->row_exact;
  model->texts = g_string_chunk_new(256);
  model->n_outputs = schema->task == DRIFT_TASK_REGRESSION ? 1 : schema->classes->len;
  if (!load_graph(model, onnx, found, error) || !probe(model, error)) return NULL;
  model->threshold = schema->task == DRIFT_TASK_BINARY ? pipeline_calibration_get_threshold(model->graph) : NAN;
  model->interval = find_interval(model);
  g_autofree gboolean *wanted = g_new0(gboolean, model->graph->outputs->len);
  wanted[model->output.index] = TRUE; /* labels are not computed: decide() names the class */
  pipeline_executor_want_outputs(model->executor, wanted);
  return g_steal_pointer(&model);
}

void pipeline_model_free(PipelineModel *model)
{
  if (model == NULL) return;
  g_clear_pointer(&model->executor, pipeline_executor_free);
  g_clear_pointer(&model->graph, onnx_graph_free);
  g_clear_pointer(&model->inputs, g_ptr_array_unref);
  g_free(model->output.class_of);
  g_free(model->row_values);
  g_string_chunk_free(model->texts);
  drift_schema_free(model->schema);
  g_clear_pointer(&model->onnx, g_bytes_unref);
  g_free(model);
}

GBytes *pipeline_model_get_onnx(const PipelineModel *model)
{
  return model->onnx;
}

const DriftSchema *pipeline_model_get_schema(const PipelineModel *model)
{
  return model->schema;
}

double pipeline_model_get_interval(const PipelineModel *model)
{
  return model->interval;
}

guint pipeline_model_get_n_outputs(const PipelineModel *model)
{
  return model->n_outputs;
}

/* --- predicting
 * ------------------------------------------------------------------------------------------------------------ */

static gboolean predict_batch(PipelineModel *model, const DriftValue *features, guint n_rows, guint64 first_row,
                              float *outputs, GError **error)
{
  return run_rows(model, features, n_rows, first_row, FALSE, error) &&
         pipeline_model_output_read(model, n_rows, first_row, outputs, error);
}

static guint batch_rows(const PipelineModel *model)
{
  return model->fixed_batch != 0 ? MIN(model->fixed_batch, PIPELINE_MODEL_BATCH) : PIPELINE_MODEL_BATCH;
}

/* Outputs stay untouched on failure, so whatever spans several batches is computed aside first. */
gboolean pipeline_model_predict(PipelineModel *model, const DriftValue *features, guint n_rows, float *outputs,
                                GError **error)
{
  guint n_features = drift_schema_n_features(model->schema), step = batch_rows(model);
  if (n_rows == 0) return TRUE;
  gsize size = (gsize)n_rows * model->n_outputs;
  float few[64];
  g_autofree float *many = size > G_N_ELEMENTS(few) ? g_new(float, size) : NULL;
  float *made = many != NULL ? many : few;
  for (guint row = 0; row < n_rows; row += step)
    if (!predict_batch(model, features + (gsize)row * n_features, MIN(step, n_rows - row), row,
                       made + (gsize)row * model->n_outputs, error))
      return FALSE;
  memcpy(outputs, made, size * sizeof(float));
  return TRUE;
}

gboolean pipeline_model_check_table(const PipelineModel *model, const DriftTable *table, GError **error)
{
  for (guint f = 0; f < drift_schema_n_features(model->schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(model->schema, f);
    if (!feature->input || drift_table_get_column(table, feature->name) != NULL) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "the table has no column '%s', which the model takes",
                feature->name);
    return FALSE;
  }
  return TRUE;
}

gboolean pipeline_model_predict_table(PipelineModel *model, const DriftTable *table, float *outputs, GError **error)
{
  guint n_features = drift_schema_n_features(model->schema), step = batch_rows(model);
  if (!pipeline_model_check_table(model, table, error)) return FALSE;
  if (table->n_rows == 0) return TRUE;
  if (model->row_values == NULL) model->row_values = g_new0(DriftValue, (gsize)PIPELINE_MODEL_BATCH * n_features + 1);
  g_autofree float *made = g_new(float, table->n_rows * model->n_outputs);
  for (guint64 row = 0; row < table->n_rows; row += step) {
    guint n = (guint)MIN(step, table->n_rows - row);
    for (guint i = 0; i < n; i++)
      drift_table_get_features(table, model->schema, row + i, model->row_values + (gsize)i * n_features);
    if (!predict_batch(model, model->row_values, n, row, made + row * model->n_outputs, error)) return FALSE;
  }
  memcpy(outputs, made, table->n_rows * model->n_outputs * sizeof(float));
  return TRUE;
}

guint pipeline_model_decide(const PipelineModel *model, const float *outputs)
{
  guint best = 0, positive = model->schema->positive_class;
  if (!isnan(model->threshold)) return outputs[positive] < model->threshold ? 1 - positive : positive;
  for (guint i = 1; i < model->n_outputs; i++)
    if (outputs[i] > outputs[best]) best = i;
  return best;
}
