#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"

/* --- walking back from an output
 * -------------------------------------------------------------------------------------- */

static gboolean is_one_of(const OnnxNode *node, const gchar *const *names)
{
  return node != NULL && g_strv_contains(names, node->op_type);
}

static const gchar *output_name(const OnnxGraph *graph, guint index)
{
  return ((const OnnxValue *)g_ptr_array_index(graph->outputs, index))->name;
}

static gboolean name_contains(const gchar *name, const gchar *part)
{
  g_autofree gchar *lower = g_ascii_strdown(name, -1);
  return strstr(lower, part) != NULL;
}

/* TRUE for a last linear layer: Gemm, MatMul, or one of them plus a constant. */
static gboolean is_linear(const OnnxGraph *graph, const PipelineExecutor *executor, const OnnxNode *node)
{
  static const gchar *const products[] = {"Gemm", "MatMul", NULL}, *const sums[] = {"Add", NULL};
  if (is_one_of(node, products)) return TRUE;
  if (!is_one_of(node, sums)) return FALSE;
  for (guint i = 0; i < 2; i++)
    if (pipeline_executor_get_constant(executor, onnx_node_get_input(node, i)) != NULL)
      return is_one_of(pipeline_model_origin(graph, onnx_node_get_input(node, 1 - i)), products);
  return FALSE;
}

static PipelineModelLink find_link(const OnnxGraph *graph, const PipelineExecutor *executor, guint index,
                                   guint n_columns)
{
  static const gchar *const done[] = {"Softmax", "Sigmoid", NULL}, *const logarithms[] = {"LogSoftmax", NULL};
  const gchar *name = output_name(graph, index);
  const OnnxNode *node = pipeline_model_origin(graph, name);
  if (is_one_of(node, done)) return PIPELINE_LINK_NONE;
  if (is_one_of(node, logarithms)) return PIPELINE_LINK_EXP;
  if (!name_contains(name, "logit") && !is_linear(graph, executor, node)) return PIPELINE_LINK_NONE;
  return n_columns > 1 ? PIPELINE_LINK_SOFTMAX : PIPELINE_LINK_SIGMOID;
}

/* --- finding the output by role
 * ----------------------------------------------------------------------------------------- */

/* Columns of a float output of n_rows rows: [N] and [N, 1] have one; 0: not such an output. */
static guint float_columns(const PipelineTensor *tensor, guint n_rows)
{
  if (tensor->type != ONNX_TYPE_FLOAT && tensor->type != ONNX_TYPE_DOUBLE) return 0;
  if (tensor->n_dims == 0 || tensor->n_dims > 2 || tensor->dims[0] != n_rows) return 0;
  return tensor->n_dims == 1 ? 1 : (guint)tensor->dims[1];
}

/* How well an output fits its role; 0: not at all. */
static guint rate_output(const gchar *name, guint n_columns, const DriftSchema *schema)
{
  if (schema->task == DRIFT_TASK_REGRESSION) return n_columns != 1 ? 0 : strcmp(name, "value") == 0 ? 2 : 1;
  gboolean columns = n_columns == schema->classes->len;
  gboolean single = schema->task == DRIFT_TASK_BINARY && n_columns == 1;
  if (!columns && !single) return 0;
  return 1 + (columns ? 1 : 0) + (name_contains(name, "prob") ? 4 : 0) + (name_contains(name, "logit") ? 0 : 2);
}

static gboolean fail_role(const OnnxGraph *graph, const PipelineExecutor *executor, const DriftSchema *schema,
                          GError **error)
{
  g_autoptr(GString) list = g_string_new("");
  for (guint i = 0; i < graph->outputs->len; i++) {
    g_autofree gchar *shape = pipeline_tensor_describe(pipeline_executor_get_output(executor, i));
    g_string_append_printf(list, "%s'%s' %s", i > 0 ? ", " : "", output_name(graph, i), shape);
  }
  if (schema->task == DRIFT_TASK_REGRESSION)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model has no float output [N, 1] to serve as the predicted value; it has %s", list->str);
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model has no float output [N, %u] to serve as probabilities of the %u classes; it has %s",
                schema->classes->len, schema->classes->len, list->str);
  return FALSE;
}

/* --- which column is which class
 * ---------------------------------------------------------------------------------------- */

/* The labels of the model as classes of the schema; integers 0 … C-1 that name no class are positions. */
static gboolean map_labels(const PipelineModelLabels *labels, const DriftSchema *schema, guint *class_of,
                           GError **error)
{
  guint n = schema->classes->len, matched = 0;
  gboolean positions = labels->integers != NULL;
  g_autofree gboolean *taken = g_new0(gboolean, n + 1);
  for (guint i = 0; i < n && labels->n == n; i++) {
    DriftValue value = pipeline_model_labels_get(labels, i);
    gint class = drift_schema_class_of(schema, &value);
    positions = positions && labels->integers[i] == (gint64)i;
    if (class < 0 || taken[class]) continue;
    taken[class] = TRUE;
    class_of[i] = (guint) class;
    matched++;
  }
  if (matched == n) return TRUE;
  if (matched == 0 && positions && labels->n == n) {
    for (guint i = 0; i < n; i++) class_of[i] = i;
    return TRUE;
  }
  g_autoptr(GString) names = g_string_new("");
  for (guint i = 0; i < MIN(labels->n, 20); i++) {
    if (labels->texts != NULL)
      g_string_append_printf(names, "%s%.*s", i > 0 ? ", " : "", (int)MIN(labels->texts[i].length, 40),
                             labels->texts[i].text != NULL ? labels->texts[i].text : "");
    else
      g_string_append_printf(names, "%s%" G_GINT64_FORMAT, i > 0 ? ", " : "", labels->integers[i]);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
              "the model's classes (%s) are not the %u classes of the schema's label '%s'", names->str, n,
              schema->label);
  return FALSE;
}

static gboolean map_columns(const OnnxGraph *graph, const PipelineExecutor *executor, const DriftSchema *schema,
                            PipelineModelOutput *output, GError **error)
{
  PipelineModelLabels labels = {0};
  output->class_of = g_new(guint, output->n_columns);
  for (guint i = 0; i < output->n_columns; i++) output->class_of[i] = i;
  if (!pipeline_model_labels_find(graph, executor, output->n_columns, &labels))
    return TRUE; /* nothing says otherwise: the schema's order */
  gboolean mapped = map_labels(&labels, schema, output->class_of, error);
  pipeline_model_labels_clear(&labels);
  return mapped;
}

gboolean pipeline_model_output_find(const OnnxGraph *graph, const PipelineExecutor *executor, const DriftSchema *schema,
                                    guint n_rows, PipelineModelOutput *output, GError **error)
{
  guint best = 0;
  for (guint i = 0; i < graph->outputs->len; i++) {
    guint columns = float_columns(pipeline_executor_get_output(executor, i), n_rows);
    guint rating = columns > 0 ? rate_output(output_name(graph, i), columns, schema) : 0;
    if (rating <= best) continue;
    best = rating;
    output->index = i;
    output->n_columns = columns;
  }
  if (best == 0) return fail_role(graph, executor, schema, error);
  output->link = PIPELINE_LINK_NONE;
  if (schema->task == DRIFT_TASK_REGRESSION) return TRUE;
  output->link = find_link(graph, executor, output->index, output->n_columns);
  return output->n_columns == 1 || map_columns(graph, executor, schema, output, error);
}

/* --- reading
 * ------------------------------------------------------------------------------------------------------------ */

static void apply_link(PipelineModelLink link, float *values, guint n)
{
  if (link == PIPELINE_LINK_SIGMOID) values[0] = 1 / (1 + expf(-values[0]));
  if (link == PIPELINE_LINK_EXP)
    for (guint i = 0; i < n; i++) values[i] = expf(values[i]);
  if (link != PIPELINE_LINK_SOFTMAX) return;
  float highest = values[0];
  double sum = 0;
  for (guint i = 1; i < n; i++) highest = values[i] > highest ? values[i] : highest;
  for (guint i = 0; i < n; i++) {
    values[i] = expf(values[i] - highest);
    sum += (double)values[i];
  }
  for (guint i = 0; i < n; i++) values[i] = (float)((double)values[i] / sum);
}

static gboolean check_probability(float value, const OnnxGraph *graph, guint index, guint64 row, GError **error)
{
  if (isnan(value) || (value >= -1e-3f && value <= 1.001f)) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
              "row %" G_GUINT64_FORMAT
              ": output '%s' is %g, which is no probability; export the model with probabilities, or "
              "name the output 'logits' if it holds logits",
              row, output_name(graph, index), (double)value);
  return FALSE;
}

gboolean pipeline_model_output_read(const PipelineModel *model, guint n_rows, guint64 first_row, float *outputs,
                                    GError **error)
{
  const PipelineModelOutput *output = &model->output;
  const PipelineTensor *tensor = pipeline_executor_get_output(model->executor, output->index);
  guint n = output->n_columns, positive = model->schema->positive_class;
  gboolean regression = model->schema->task == DRIFT_TASK_REGRESSION;
  float few[16];
  g_autofree float *many = n > G_N_ELEMENTS(few) ? g_new(float, n) : NULL;
  float *values = many != NULL ? many : few;
  for (guint row = 0; row < n_rows; row++, outputs += model->n_outputs) {
    for (guint i = 0; i < n; i++) {
      gsize at = (gsize)row * n + i;
      values[i] = tensor->type == ONNX_TYPE_FLOAT ? ((const float *)tensor->data)[at]
                                                  : (float)((const double *)tensor->data)[at];
    }
    if (regression) {
      outputs[0] = values[0];
      continue;
    }
    apply_link(output->link, values, n);
    for (guint i = 0; i < n; i++)
      if (!check_probability(values[i], model->graph, output->index, first_row + row, error)) return FALSE;
    if (n == 1) {
      outputs[positive] = values[0];
      outputs[1 - positive] = 1 - values[0];
    } else {
      for (guint i = 0; i < n; i++) outputs[output->class_of[i]] = values[i];
    }
  }
  return TRUE;
}
