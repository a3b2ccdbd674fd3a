#include "pipeline/model_arrays.h"

#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"

#define BATCH_BYTES (64u << 20)

static void array_free(gpointer data)
{
  PipelineModelArray *array = data;
  g_free(array->name);
  g_clear_pointer(&array->elements, g_array_unref);
  g_clear_pointer(&array->texts, g_ptr_array_unref);
  g_free(array);
}

const PipelineModelArray *pipeline_model_array_find(const GPtrArray *arrays, const gchar *name)
{
  for (guint i = 0; i < arrays->len; i++) {
    const PipelineModelArray *array = g_ptr_array_index(arrays, i);
    if (strcmp(array->name, name) == 0) return array;
  }
  return NULL;
}

/* --- collecting outputs ------------------------------------------------------------------------------------------- */

static OnnxType kept_type(OnnxType type)
{
  if (type == ONNX_TYPE_DOUBLE || type == ONNX_TYPE_STRING) return type;
  return type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_FLOAT16 || type == ONNX_TYPE_BFLOAT16 ? ONNX_TYPE_FLOAT
                                                                                            : ONNX_TYPE_INT64;
}

static void begin_array(PipelineModelArray *array, const PipelineTensor *tensor)
{
  gsize sizes[] = {
      [ONNX_TYPE_FLOAT] = sizeof(float), [ONNX_TYPE_DOUBLE] = sizeof(double), [ONNX_TYPE_INT64] = sizeof(gint64)};
  array->type = kept_type(tensor->type);
  array->n_dims = tensor->n_dims;
  for (guint d = 1; d < tensor->n_dims; d++) array->dims[d] = (guint64)tensor->dims[d];
  if (array->type == ONNX_TYPE_STRING)
    array->texts = g_ptr_array_new_with_free_func(g_free);
  else
    array->elements = g_array_new(FALSE, FALSE, (guint)sizes[array->type]);
}

static void append_element(PipelineModelArray *array, const PipelineTensor *tensor, gsize i)
{
  if (array->type == ONNX_TYPE_STRING) {
    const PipelineText *text = &((const PipelineText *)tensor->data)[i];
    g_ptr_array_add(array->texts, g_strndup(text->text != NULL ? text->text : "", text->length));
  } else if (array->type == ONNX_TYPE_INT64) {
    gint64 integer = pipeline_element_get_integer(tensor, i);
    g_array_append_val(array->elements, integer);
  } else {
    double number = pipeline_element_get_double(tensor, i);
    float narrow = (float)number;
    g_array_append_vals(array->elements, array->type == ONNX_TYPE_FLOAT ? (gconstpointer)&narrow : &number, 1);
  }
}

/* Adds n_rows of the `padded` rows that the tensor holds. */
static gboolean append_rows(PipelineModelArray *array, const PipelineTensor *tensor, guint n_rows, guint padded,
                            GError **error)
{
  gboolean good = tensor->n_dims > 0 && tensor->dims[0] == padded;
  if (good && array->elements == NULL && array->texts == NULL) begin_array(array, tensor);
  good = good && tensor->n_dims == array->n_dims && kept_type(tensor->type) == array->type;
  for (guint d = 1; good && d < tensor->n_dims; d++) good = (guint64)tensor->dims[d] == array->dims[d];
  if (!good) {
    g_autofree gchar *shape = pipeline_tensor_describe(tensor);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "output '%s' is %s for %u rows: it is no array with a row for each of them", array->name, shape,
                padded);
    return FALSE;
  }
  gsize n = padded > 0 ? tensor->n / padded * n_rows : 0;
  for (gsize i = 0; i < n; i++) append_element(array, tensor, i);
  array->dims[0] += n_rows;
  return TRUE;
}

static GPtrArray *new_outputs(const OnnxGraph *graph)
{
  GPtrArray *outputs = g_ptr_array_new_with_free_func(array_free);
  for (guint i = 0; i < graph->outputs->len; i++) {
    PipelineModelArray *array = g_new0(PipelineModelArray, 1);
    array->name = g_strdup(((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
    g_ptr_array_add(outputs, array);
  }
  return outputs;
}

static gboolean collect(GPtrArray *outputs, const PipelineExecutor *executor, guint n_rows, guint padded,
                        GError **error)
{
  for (guint i = 0; i < outputs->len; i++)
    if (!append_rows(g_ptr_array_index(outputs, i), pipeline_executor_get_output(executor, i), n_rows, padded, error))
      return FALSE;
  return TRUE;
}

/* --- rows of a table ---------------------------------------------------------------------------------------------- */

static gboolean run_table(PipelineModel *model, const DriftTable *table, GPtrArray *outputs, GError **error)
{
  guint n_features = drift_schema_n_features(model->schema);
  guint step = model->fixed_batch != 0 ? MIN(model->fixed_batch, PIPELINE_MODEL_BATCH) : PIPELINE_MODEL_BATCH;
  g_autofree DriftValue *values = g_new0(DriftValue, (gsize)step * n_features + 1);
  for (guint64 row = 0; row < table->n_rows; row += step) {
    guint n = (guint)MIN(step, table->n_rows - row), padded = model->fixed_batch != 0 ? model->fixed_batch : n;
    for (guint i = 0; i < n; i++)
      drift_table_get_features(table, model->schema, row + i, values + (gsize)i * n_features);
    if (!pipeline_model_inputs_fill(model, values, n, padded, row, error) ||
        !pipeline_executor_run(model->executor, FALSE, error) || !collect(outputs, model->executor, n, padded, error))
      return FALSE;
  }
  return TRUE;
}

GPtrArray *pipeline_model_run_table(PipelineModel *model, const DriftTable *table, GError **error)
{
  guint n = model->graph->outputs->len;
  g_autofree gboolean *wanted = g_new(gboolean, n + 1);
  g_autoptr(GPtrArray) outputs = new_outputs(model->graph);
  if (!pipeline_model_check_table(model, table, error)) return NULL;
  for (guint i = 0; i < n; i++) wanted[i] = TRUE;
  pipeline_executor_want_outputs(model->executor, wanted);
  gboolean done = run_table(model, table, outputs, error);
  for (guint i = 0; i < n; i++) wanted[i] = i == model->output.index;
  pipeline_executor_want_outputs(model->executor, wanted);
  return done ? g_steal_pointer(&outputs) : NULL;
}

/* --- arrays ------------------------------------------------------------------------------------------------------- */

typedef struct {
  guint index; /* of the graph's input */
  const OnnxValue *value;
  const gchar *name; /* of the array */
  const PipelineArray *array;
  guint n_dims;
  gint64 dims[ONNX_MAX_DIMENSIONS];
} Binding;

static gchar *describe_array(const PipelineArray *array)
{
  GString *text = g_string_new("[");
  g_string_append_printf(text, "%" G_GUINT64_FORMAT, array->n_rows);
  for (guint d = 0; d < array->n_row_dims; d++) g_string_append_printf(text, ",%" G_GUINT64_FORMAT, array->row_dims[d]);
  if (array->n_row_dims == 0 && array->n_dimensions > 1)
    g_string_append_printf(text, ",%" G_GUINT64_FORMAT, array->n_columns);
  g_string_append_c(text, ']');
  return g_string_free(text, FALSE);
}

static gchar *describe_value(const OnnxValue *value)
{
  GString *text = g_string_new(onnx_type_get_name(value->type));
  g_string_append_c(text, '[');
  for (guint d = 0; d < value->n_dims; d++) {
    if (d > 0) g_string_append_c(text, ',');
    if (value->dims[d].size >= 0)
      g_string_append_printf(text, "%" G_GINT64_FORMAT, value->dims[d].size);
    else
      g_string_append(text, value->dims[d].symbol != NULL ? value->dims[d].symbol : "?");
  }
  g_string_append_c(text, ']');
  return g_string_free(text, FALSE);
}

/* The dimensions that the array has behind its rows: of its own, else of a flat row. */
static guint own_dims(const PipelineArray *array, gint64 *dims)
{
  guint n = 1;
  for (guint d = 0; d < array->n_row_dims; d++) dims[n++] = (gint64)array->row_dims[d];
  if (array->n_row_dims == 0 && array->n_dimensions > 1) dims[n++] = (gint64)array->n_columns;
  return n;
}

static gboolean fits(const OnnxValue *value, const gint64 *dims, guint n_dims)
{
  gboolean good = !value->has_shape || value->n_dims == n_dims;
  for (guint d = 1; good && value->has_shape && d < n_dims; d++)
    good = value->dims[d].size < 0 || value->dims[d].size == dims[d];
  return good;
}

/* A flat row takes the input's dimensions when all are given and their product is its length. */
static gboolean unfold(Binding *binding)
{
  const OnnxValue *value = binding->value;
  guint64 n = 1;
  if (!value->has_shape || value->n_dims < 2 || binding->n_dims != 2) return FALSE;
  for (guint d = 1; d < value->n_dims; d++) {
    if (value->dims[d].size < 1) return FALSE;
    n *= (guint64)value->dims[d].size;
    binding->dims[d] = value->dims[d].size;
  }
  binding->n_dims = value->n_dims;
  return n == binding->array->n_columns;
}

static gboolean check_binding(Binding *binding, GError **error)
{
  g_autofree gchar *has = describe_array(binding->array), *wants = describe_value(binding->value);
  binding->n_dims = own_dims(binding->array, binding->dims);
  if (binding->value->type == ONNX_TYPE_STRING || pipeline_tensor_element_size(binding->value->type) == 0)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "input '%s' is %s: arrays of numbers cannot be fed to it; give a CSV", binding->value->name, wants);
  else if (!fits(binding->value, binding->dims, binding->n_dims) && !unfold(binding))
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "the array '%s' is %s, the model's input '%s' is %s",
                binding->name, has, binding->value->name, wants);
  else
    return TRUE;
  return FALSE;
}

static const PipelineNamedArray *find_array(const PipelineNamedArray *inputs, guint n_inputs, guint n_fed,
                                            const gchar *name)
{
  for (guint i = 0; i < n_inputs; i++)
    if (strcmp(inputs[i].name, name) == 0) return &inputs[i];
  return n_inputs == 1 && n_fed == 1 ? &inputs[0] : NULL;
}

static GArray *bind_arrays(const OnnxGraph *graph, const PipelineNamedArray *inputs, guint n_inputs, GError **error)
{
  g_autoptr(GArray) bindings = g_array_new(FALSE, TRUE, sizeof(Binding));
  guint n_fed = 0;
  for (guint i = 0; i < graph->inputs->len; i++) n_fed += onnx_graph_is_fed(graph, g_ptr_array_index(graph->inputs, i));
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *value = g_ptr_array_index(graph->inputs, i);
    if (!onnx_graph_is_fed(graph, value)) continue;
    const PipelineNamedArray *found = find_array(inputs, n_inputs, n_fed, value->name);
    if (found == NULL) {
      g_autofree gchar *wants = describe_value(value);
      g_autoptr(GString) known = g_string_new("");
      for (guint k = 0; k < n_inputs; k++) g_string_append_printf(known, "%s%s", k > 0 ? ", " : "", inputs[k].name);
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no array for the model's input '%s' (%s); there are: %s",
                  value->name, wants, known->str);
      return NULL;
    }
    Binding binding = {.index = i, .value = value, .name = found->name, .array = found->array};
    if (!check_binding(&binding, error)) return NULL;
    g_array_append_val(bindings, binding);
  }
  return g_steal_pointer(&bindings);
}

/* Rows of all arrays, rows of a batch (0 in the graph: free). */
static gboolean plan_batches(const GArray *bindings, guint64 *n_rows, guint *batch, guint *fixed, GError **error)
{
  gsize row_bytes = 1;
  *fixed = 0;
  for (guint b = 0; b < bindings->len; b++) {
    const Binding *binding = &g_array_index(bindings, Binding, b), *first = &g_array_index(bindings, Binding, 0);
    row_bytes += binding->array->n_columns * sizeof(double);
    if (binding->value->has_shape && binding->value->n_dims > 0 && binding->value->dims[0].size > 0)
      *fixed = (guint)MIN(binding->value->dims[0].size, 65536);
    if (binding->array->n_rows == first->array->n_rows) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "the array '%s' has %" G_GUINT64_FORMAT " rows, '%s' has %" G_GUINT64_FORMAT, binding->name,
                binding->array->n_rows, first->name, first->array->n_rows);
    return FALSE;
  }
  *n_rows = bindings->len > 0 ? g_array_index(bindings, Binding, 0).array->n_rows : 0;
  *batch = *fixed != 0 ? *fixed : (guint)CLAMP(BATCH_BYTES / row_bytes, 1, PIPELINE_MODEL_BATCH);
  return TRUE;
}

static gboolean holds(OnnxType type, double value)
{
  gboolean real =
      type == ONNX_TYPE_FLOAT || type == ONNX_TYPE_DOUBLE || type == ONNX_TYPE_FLOAT16 || type == ONNX_TYPE_BFLOAT16;
  return real || value == floor(value);
}

/* Rows first … of the array; the last one is repeated up to `padded`. */
static gboolean fill(PipelineExecutor *executor, Binding *binding, guint64 first, guint n, guint padded, GError **error)
{
  PipelineTensor *tensor = pipeline_executor_get_input(executor, binding->index);
  gsize width = binding->array->n_columns;
  binding->dims[0] = padded;
  if (!pipeline_tensor_set_shape(tensor, binding->value->type, binding->n_dims, binding->dims, error) ||
      !pipeline_tensor_allocate(tensor, error))
    return FALSE;
  for (guint row = 0; row < padded; row++) {
    const double *values = binding->array->values + (first + MIN(row, n - 1)) * width;
    for (gsize k = 0; k < width; k++) {
      pipeline_element_put_double(tensor, row * width + k, values[k]);
      if (holds(tensor->type, values[k]) &&
          (tensor->type == ONNX_TYPE_FLOAT || !isfinite(values[k]) ||
           fabs(pipeline_element_get_double(tensor, row * width + k) - values[k]) <= 1e-2 * fabs(values[k])))
        continue;
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "the array '%s', row %" G_GUINT64_FORMAT ", element %" G_GSIZE_FORMAT
                  ": %g is no %s, which the model's input '%s' takes",
                  binding->name, first + row + 1, k, values[k], onnx_type_get_name(tensor->type), binding->value->name);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean run_arrays(PipelineExecutor *executor, GArray *bindings, GPtrArray *outputs, GError **error)
{
  guint64 n_rows;
  guint batch, fixed;
  if (!plan_batches(bindings, &n_rows, &batch, &fixed, error)) return FALSE;
  for (guint64 row = 0; row < n_rows; row += batch) {
    guint n = (guint)MIN(batch, n_rows - row), padded = fixed != 0 ? fixed : n;
    for (guint b = 0; b < bindings->len; b++)
      if (!fill(executor, &g_array_index(bindings, Binding, b), row, n, padded, error)) return FALSE;
    if (!pipeline_executor_run(executor, FALSE, error) || !collect(outputs, executor, n, padded, error)) return FALSE;
  }
  return TRUE;
}

GPtrArray *pipeline_graph_run_arrays(GBytes *onnx, const PipelineNamedArray *inputs, guint n_inputs, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
    return NULL;
  }
  onnx_graph_simplify(graph);
  const PipelineBackend *backend = pipeline_backend_find(NULL, TRUE, error);
  g_autoptr(GArray) bindings = backend != NULL ? bind_arrays(graph, inputs, n_inputs, error) : NULL;
  g_autoptr(PipelineExecutor) executor = bindings != NULL ? pipeline_executor_new(graph, backend, error) : NULL;
  if (executor == NULL) return NULL;
  g_autoptr(GPtrArray) outputs = new_outputs(graph);
  return run_arrays(executor, bindings, outputs, error) ? g_steal_pointer(&outputs) : NULL;
}
