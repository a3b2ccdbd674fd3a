/* From a plan and training rows to fitted chains: each step is learnt from what the executor makes of the steps before
 * it, one column at a time. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/transform_internal.h"

#define CHUNK_ROWS 4096u

/* --- columns of the table ----------------------------------------------------------------------------------------- */

static PipelineValues *values_new(OnnxType type, guint width, guint64 n_rows)
{
  PipelineValues *values = g_new0(PipelineValues, 1);
  *values = (PipelineValues){.type = type, .width = width, .n_rows = n_rows};
  if (type == ONNX_TYPE_STRING)
    values->texts = g_new0(const gchar *, MAX(n_rows, 1));
  else
    values->numbers = g_new(double, MAX(n_rows * width, 1));
  return values;
}

static PipelineValues *load_column(const DriftTable *table, const gchar *name, OnnxType type, GError **error)
{
  const DriftColumn *column = drift_table_get_column(table, name);
  gboolean text = type == ONNX_TYPE_STRING;
  if (!column || (column->kind == DRIFT_CATEGORICAL) != text) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s", name,
                !column ? "not in the data"
                : text  ? "numeric in the data and categorical in the schema"
                        : "categorical in the data and numeric in the schema");
    return NULL;
  }
  g_autoptr(PipelineValues) values = values_new(type, 1, table->n_rows);
  for (guint64 row = 0; row < table->n_rows; row++) {
    if (text) {
      guint32 code = g_array_index(column->codes, guint32, row);
      values->texts[row] = code == DRIFT_CODE_MISSING ? "" : g_ptr_array_index(column->dictionary, code);
      continue;
    }
    double number = g_array_index(column->numbers, double, row);
    if (type == ONNX_TYPE_FLOAT && isfinite(number) && fabs(number) > FLT_MAX) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "column \"%s\", row %" G_GUINT64_FORMAT ": %g is no float32", name, row, number);
      return NULL;
    }
    values->numbers[row] = type == ONNX_TYPE_FLOAT ? (double)(float)number : number;
  }
  return g_steal_pointer(&values);
}

/* --- one step, run by the executor -------------------------------------------------------------------------------- */

static gboolean fill_input(PipelineTensor *tensor, const PipelineValues *values, guint64 start, guint n, GError **error)
{
  if (!pipeline_tensor_set_shape(tensor, values->type, 2, (const gint64[]){n, values->width}, error) ||
      !pipeline_tensor_allocate(tensor, error))
    return FALSE;
  for (gsize i = 0; i < (gsize)n * values->width; i++) {
    if (values->type == ONNX_TYPE_STRING) {
      const gchar *text = values->texts[start + i];
      ((PipelineText *)tensor->data)[i] = (PipelineText){text, strlen(text)};
    } else {
      pipeline_element_put_double(tensor, i, values->numbers[start * values->width + i]);
    }
  }
  return TRUE;
}

static void read_output(const PipelineTensor *tensor, PipelineValues *values, guint64 start)
{
  for (gsize i = 0; i < tensor->n; i++) {
    if (values->type != ONNX_TYPE_STRING) {
      values->numbers[start * values->width + i] = pipeline_element_get_double(tensor, i);
      continue;
    }
    const PipelineText *text = (const PipelineText *)tensor->data + i;
    g_autofree gchar *copy = g_strndup(text->text, text->length);
    values->texts[start + i] = g_string_chunk_insert_const(values->chunk, copy);
  }
}

/* A graph of this step alone. */
static OnnxGraph *step_graph(const PipelineTransformation *row, const PipelineTransformState *state,
                             const PipelineValues *const *inputs)
{
  static const gchar *const names[] = {"x", "y"};
  OnnxGraph *graph = onnx_graph_new("step");
  g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
  PipelineEmit emit = {.graph = graph, .prefix = "kedge", .names = owned};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  for (guint i = 0; i < row->n_inputs; i++) onnx_graph_add_input(graph, names[i], inputs[i]->type, "N,1");
  const gchar *output = row->emit(&emit, state, names);
  g_autofree gchar *shape = g_strdup_printf("N,%u", state->width);
  onnx_graph_add_output(graph, output, row->gives, shape);
  onnx_graph_simplify(graph);
  return graph;
}

PipelineValues *pipeline_transform_run(const PipelineTransformation *row, const PipelineTransformState *state,
                                       const PipelineValues *const *inputs, GError **error)
{
  g_autoptr(OnnxGraph) graph = step_graph(row, state, inputs);
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, &pipeline_backend_reference, error);
  if (!executor) return NULL;
  guint64 n_rows = inputs[0]->n_rows;
  g_autoptr(PipelineValues) values = values_new(row->gives, state->width, n_rows);
  if (row->gives == ONNX_TYPE_STRING) values->chunk = g_string_chunk_new(4096);
  for (guint64 start = 0; start < n_rows; start += CHUNK_ROWS) {
    guint n = (guint)MIN(CHUNK_ROWS, n_rows - start);
    for (guint i = 0; i < row->n_inputs; i++)
      if (!fill_input(pipeline_executor_get_input(executor, i), inputs[i], start, n, error)) return NULL;
    if (!pipeline_executor_run(executor, FALSE, error)) return NULL;
    const PipelineTensor *output = pipeline_executor_get_output(executor, 0);
    if (output->n != (gsize)n * state->width) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "\"%s\" makes %zu values of %u rows, not %u columns",
                  row->name, output->n, n, state->width);
      return NULL;
    }
    read_output(output, values, start);
  }
  return g_steal_pointer(&values);
}

/* --- one chain ---------------------------------------------------------------------------------------------------- */

static void fitted_chain_free(gpointer data)
{
  PipelineFittedChain *fitted = data;
  g_ptr_array_unref(fitted->states);
  g_ptr_array_unref(fitted->names);
  g_free(fitted);
}

typedef struct {
  PipelineFittedChain *fitted;
  PipelineTransformFit fit;
  PipelineValues *values; /* what the steps so far make, owned */
  gboolean own;           /* the training rows have values of their own */
} ChainFit;

/* Learns the step from what there is and moves on to what it makes. */
static gboolean fit_step(ChainFit *chain, const PipelineTransformation *row, const PipelineValues *second,
                         GError **error)
{
  PipelineTransformFit *fit = &chain->fit;
  PipelineTransformState *state = pipeline_transform_state_new();
  g_ptr_array_add(chain->fitted->states, state);
  fit->inputs[0] = chain->values, fit->inputs[1] = second;
  if (!row->fit(fit, state, error)) return FALSE;
  PipelineValues *made = pipeline_transform_run(row, state, fit->inputs, error);
  if (!made) return FALSE;
  for (guint64 i = 0; state->training && i < fit->n_rows; i++)
    memcpy(made->numbers + fit->rows[i] * state->width, state->training + i * state->width,
           state->width * sizeof(double));
  chain->own = chain->own || state->training != NULL;
  pipeline_values_free(chain->values);
  chain->values = made;
  return TRUE;
}

static void name_columns(PipelineFittedChain *fitted, guint width)
{
  const PipelineChain *chain = fitted->chain;
  const PipelineTransformState *last = g_ptr_array_index(fitted->states, fitted->states->len - 1);
  g_autofree gchar *base =
      chain->columns[1] ? g_strdup_printf("%s*%s", chain->columns[0], chain->columns[1]) : g_strdup(chain->columns[0]);
  const PipelineStep *step = &g_array_index(chain->steps, PipelineStep, chain->steps->len - 1);
  if (chain->steps->len == 1 && g_str_equal(step->transformation->name, PIPELINE_PLAN_KEEP)) {
    g_ptr_array_add(fitted->names, g_steal_pointer(&base)); /* it is the column */
    return;
  }
  for (guint i = 0; i < width; i++)
    g_ptr_array_add(fitted->names, last->labels->len == width
                                       ? g_strdup_printf("%s=%s", base, (gchar *)last->labels->pdata[i])
                                   : width > 1 ? g_strdup_printf("%s.%s[%u]", base, step->transformation->name, i)
                                               : g_strdup_printf("%s.%s", base, step->transformation->name));
}

static gboolean fit_chain(ChainFit *chain, const PipelinePrepareData *data, GError **error)
{
  const PipelineChain *plan = chain->fitted->chain;
  const PipelineTransformation *first = g_array_index(plan->steps, PipelineStep, 0).transformation;
  gboolean text = drift_table_get_column(data->table, plan->columns[0]) != NULL &&
                  drift_table_get_column(data->table, plan->columns[0])->kind == DRIFT_CATEGORICAL;
  OnnxType type = text ? ONNX_TYPE_STRING : plan->columns[1] ? ONNX_TYPE_FLOAT : first->takes;
  g_autoptr(PipelineValues) second = NULL;
  chain->values = load_column(data->table, plan->columns[0], type, error);
  if (!chain->values) return FALSE;
  if (plan->columns[1]) {
    second = load_column(data->table, plan->columns[1], type, error);
    if (!second || !fit_step(chain, pipeline_transformation_pair(type), second, error)) return FALSE;
  }
  for (guint i = 0; i < plan->steps->len; i++) {
    const PipelineStep *step = &g_array_index(plan->steps, PipelineStep, i);
    chain->fit.parameter = step->parameter;
    if (!fit_step(chain, step->transformation, NULL, error)) return FALSE;
  }
  name_columns(chain->fitted, chain->values->width);
  return TRUE;
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

static void take_chain(PipelinePrepared *prepared, const ChainFit *chain, GArray *constant, GArray *own_values)
{
  const PipelineTransformFit *fit = &chain->fit;
  const PipelineValues *values = chain->values;
  for (guint k = 0; k < values->width; k++) {
    guint column = prepared->names->len;
    double first = values->numbers[fit->rows[0] * values->width + k];
    gboolean varies = FALSE;
    g_ptr_array_add(prepared->names, g_ptr_array_index(chain->fitted->names, k));
    if (chain->own) g_array_append_val(prepared->own_columns, column);
    for (guint64 i = 0; i < fit->n_rows; i++) {
      float value = (float)values->numbers[fit->rows[i] * values->width + k];
      varies = varies || (double)value != first;
      if (chain->own) g_array_append_val(own_values, value);
    }
    gboolean same = !varies;
    g_array_append_val(constant, same);
  }
}

static gboolean fit_plan_chain(PipelinePrepared *prepared, const PipelineChain *plan, const PipelinePrepareData *data,
                               GArray *constant, GArray *own_values, GError **error)
{
  const DriftSchema *schema = data->schema;
  PipelineFittedChain *fitted = g_new0(PipelineFittedChain, 1);
  fitted->chain = plan;
  fitted->states = g_ptr_array_new_with_free_func(pipeline_transform_state_free);
  fitted->names = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(prepared->chains, fitted);
  ChainFit chain = {.fitted = fitted,
                    .fit = {.column = plan->columns[0],
                            .rows = data->rows,
                            .n_rows = data->n_rows,
                            .targets = data->targets,
                            .n_classes = schema->task == DRIFT_TASK_REGRESSION ? 0 : schema->classes->len,
                            .positive = schema->positive_class,
                            .class_names = (const gchar *const *)schema->classes->pdata,
                            .seed = data->seed}};
  gboolean done = fit_chain(&chain, data, error);
  if (done) take_chain(prepared, &chain, constant, own_values);
  pipeline_values_free(chain.values);
  return done;
}

PipelinePrepared *pipeline_plan_fit(const PipelinePlan *plan, const PipelinePrepareData *data, GError **error)
{
  g_return_val_if_fail(data->n_rows > 0, NULL);
  g_autoptr(PipelinePrepared) prepared = g_new0(PipelinePrepared, 1);
  g_autoptr(GArray) constant = g_array_new(FALSE, FALSE, sizeof(gboolean));
  g_autoptr(GArray) own_values = g_array_new(FALSE, FALSE, sizeof(float));
  prepared->schema = drift_schema_copy(data->schema);
  prepared->plan = pipeline_plan_copy(plan);
  prepared->chains = g_ptr_array_new_with_free_func(fitted_chain_free);
  prepared->names = g_ptr_array_new();
  prepared->own_columns = g_array_new(FALSE, FALSE, sizeof(guint));
  prepared->n_rows = data->n_rows;
  for (guint i = 0; i < plan->chains->len; i++) {
    const PipelineChain *chain = g_ptr_array_index(prepared->plan->chains, i);
    if (chain->steps->len > 0 && !fit_plan_chain(prepared, chain, data, constant, own_values, error)) return NULL;
  }
  prepared->constant = (gboolean *)(gpointer)g_array_free(g_steal_pointer(&constant), FALSE);
  prepared->own_values = (float *)(gpointer)g_array_free(g_steal_pointer(&own_values), FALSE);
  return g_steal_pointer(&prepared);
}

PipelinePrepared *pipeline_plan_fit_copy(const PipelinePlan *plan, const PipelinePrepareData *data,
                                         const gchar *numbers, GError **error)
{
  g_autoptr(PipelinePlan) copy = pipeline_plan_copy(plan);
  return pipeline_plan_complete(copy, data->schema, numbers, error) ? pipeline_plan_fit(copy, data, error) : NULL;
}

void pipeline_prepared_free(PipelinePrepared *prepared)
{
  if (!prepared) return;
  drift_schema_free(prepared->schema);
  pipeline_plan_free(prepared->plan);
  g_ptr_array_unref(prepared->names);
  g_ptr_array_unref(prepared->chains);
  g_array_unref(prepared->own_columns);
  g_free(prepared->own_values);
  g_free(prepared->constant);
  g_free(prepared);
}

gchar *pipeline_prepared_format_plan(const PipelinePrepared *prepared)
{
  return pipeline_plan_format(prepared->plan);
}

void pipeline_prepared_overwrite(const PipelinePrepared *prepared, const guint64 *rows, float *matrix)
{
  for (guint k = 0; k < prepared->own_columns->len; k++)
    for (guint64 i = 0; i < prepared->n_rows; i++)
      matrix[rows[i] * prepared->names->len + g_array_index(prepared->own_columns, guint, k)] =
          prepared->own_values[k * prepared->n_rows + i];
}
