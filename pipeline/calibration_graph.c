/* Calibration and decision as nodes of an ONNX graph, and their removal. */
#include <math.h>
#include <string.h>

#include "pipeline/calibration_internal.h"
#include "pipeline/model_internal.h"

#define THRESHOLD PIPELINE_CALIBRATION_PREFIX "threshold"
#define SMALLEST_OPSET 9 /* Where, and Less and Gather as they are used here */

gchar *pipeline_calibration_name(const PipelineCalibrationNodes *nodes, const gchar *suffix)
{
  return g_strdup_printf(PIPELINE_CALIBRATION_PREFIX "%u.%s", nodes->graph->nodes->len, suffix);
}

OnnxNode *pipeline_calibration_add(PipelineCalibrationNodes *nodes, const gchar *op_type, const gchar *const *inputs)
{
  gchar *name = pipeline_calibration_name(nodes, op_type);
  OnnxNode *node = onnx_graph_add_node_strv(nodes->graph, "", op_type, inputs, (const gchar *const[]){name, NULL});
  g_free(node->name);
  node->name = g_strdup(name);
  g_free(nodes->value);
  nodes->value = name;
  return node;
}

/* Takes the tensor, whose name is a new one of the added parts. */
static const gchar *take(PipelineCalibrationNodes *nodes, OnnxTensor *tensor)
{
  onnx_graph_take_initialiser(nodes->graph, tensor);
  return tensor->name;
}

static gchar *constant_name(const PipelineCalibrationNodes *nodes)
{
  return g_strdup_printf(PIPELINE_CALIBRATION_PREFIX "constant_%u", nodes->graph->initialisers->len);
}

const gchar *pipeline_calibration_constant(PipelineCalibrationNodes *nodes, gint64 rows, gint64 columns,
                                           const double *values)
{
  gsize n = (gsize)(MAX(rows, 1) * columns);
  g_autofree float *narrow = g_new(float, n);
  g_autofree gchar *name = constant_name(nodes);
  for (gsize i = 0; i < n; i++) narrow[i] = (float)values[i];
  const gint64 dims[2] = {rows > 0 ? rows : columns, columns};
  return take(nodes, onnx_tensor_new(name, ONNX_TYPE_FLOAT, rows > 0 ? 2 : 1, dims, narrow));
}

static const gchar *integer_constant(PipelineCalibrationNodes *nodes, guint n_dims, gint64 value)
{
  g_autofree gchar *name = constant_name(nodes);
  return take(nodes, onnx_tensor_new(name, ONNX_TYPE_INT64, n_dims, (gint64[]){1}, &value));
}

/* --- removal ------------------------------------------------------------------------------------------------------ */

static gboolean is_ours(const gchar *name)
{
  return name != NULL && g_str_has_prefix(name, PIPELINE_CALIBRATION_PREFIX);
}

static OnnxValue *take_value(GPtrArray *values, const gchar *name)
{
  for (guint i = 0; i < values->len; i++) {
    const OnnxValue *value = g_ptr_array_index(values, i);
    if (strcmp(value->name, name) == 0) return g_ptr_array_steal_index(values, i);
  }
  return NULL;
}

static gboolean remove_nodes(OnnxGraph *graph)
{
  gboolean found = FALSE;
  for (guint n = graph->nodes->len; n-- > 0;) {
    if (!is_ours(((const OnnxNode *)g_ptr_array_index(graph->nodes, n))->name)) continue;
    onnx_graph_remove_node(graph, n);
    found = TRUE;
  }
  for (guint i = graph->initialisers->len; found && i-- > 0;)
    if (is_ours(((const OnnxTensor *)g_ptr_array_index(graph->initialisers, i))->name))
      g_ptr_array_remove_index(graph->initialisers, i);
  return found;
}

gboolean pipeline_calibration_strip(OnnxGraph *graph, GError **error)
{
  g_autoptr(GError) cause = NULL;
  if (!remove_nodes(graph)) return TRUE;
  for (guint i = graph->outputs->len; i-- > 0;) {
    g_autofree gchar *name = g_strdup(((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
    g_autofree gchar *raw = g_strconcat(PIPELINE_CALIBRATION_RAW, name, NULL);
    OnnxValue *kept = take_value(graph->values, raw);
    gboolean produced = onnx_graph_find_producer(graph, name) >= 0 || onnx_graph_find_initialiser(graph, name) != NULL;
    if (kept == NULL && produced) continue; /* an output of the model itself */
    g_ptr_array_remove_index(graph->outputs, i);
    if (kept == NULL) continue; /* one that was added */
    g_ptr_array_insert(graph->outputs, (gint)i, kept);
    if (!onnx_graph_rename_value(graph, raw, name, &cause)) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the calibration cannot be taken off: %s",
                  cause->message);
      return FALSE;
    }
  }
  onnx_graph_set_metadata(graph, PIPELINE_CALIBRATION_KEY, NULL);
  return TRUE;
}

float pipeline_calibration_get_threshold(const OnnxGraph *graph)
{
  const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, THRESHOLD);
  gsize size = 0;
  const float *value =
      tensor != NULL && tensor->type == ONNX_TYPE_FLOAT ? g_bytes_get_data(tensor->bytes, &size) : NULL;
  return size == sizeof(float) ? *value : NAN;
}

/* --- taking outputs over ------------------------------------------------------------------------------------------ */

/* The output `index` is made by new nodes from now on: its present value is renamed and its declaration kept among the
 * values; the last added value gets its name. */
static gboolean take_over(PipelineCalibrationNodes *nodes, guint index, OnnxType type, const gchar *shape,
                          GError **error)
{
  OnnxGraph *graph = nodes->graph;
  g_autoptr(GError) cause = NULL;
  g_autofree gchar *name = g_strdup(((const OnnxValue *)g_ptr_array_index(graph->outputs, index))->name);
  g_autofree gchar *raw = g_strconcat(PIPELINE_CALIBRATION_RAW, name, NULL);
  if (!onnx_graph_rename_value(graph, name, raw, &cause) ||
      !onnx_graph_rename_value(graph, nodes->value, name, &cause)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "output '%s' cannot be calibrated: %s", name,
                cause->message);
    return FALSE;
  }
  g_ptr_array_add(graph->values, g_ptr_array_steal_index(graph->outputs, index));
  onnx_graph_add_output(graph, name, type, shape);
  g_ptr_array_insert(graph->outputs, (gint)index, g_ptr_array_steal_index(graph->outputs, graph->outputs->len - 1));
  g_free(nodes->value);
  nodes->value = g_steal_pointer(&name);
  return TRUE;
}

/* The last added value becomes a new output named `name`, or "kedge_NAME" where the model has a value of that name. */
static gboolean add_output(PipelineCalibrationNodes *nodes, const gchar *name, OnnxType type, const gchar *shape,
                           GError **error)
{
  g_autofree gchar *other = g_strconcat("kedge_", name, NULL);
  if (!onnx_graph_rename_value(nodes->graph, nodes->value, name, NULL)) {
    g_autoptr(GError) cause = NULL;
    name = other;
    if (!onnx_graph_rename_value(nodes->graph, nodes->value, name, &cause)) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the model cannot be calibrated: %s",
                  cause->message);
      return FALSE;
    }
  }
  onnx_graph_add_output(nodes->graph, name, type, shape);
  g_free(nodes->value);
  nodes->value = g_strdup(name);
  return TRUE;
}

/* --- probabilities ------------------------------------------------------------------------------------------------ */

/* nodes->value: the probabilities of the model as float [N, n_columns]. */
static void read_probabilities(PipelineCalibrationNodes *nodes, const PipelineModel *model, const gchar *name,
                               OnnxType type)
{
  static const gchar *const links[] = {
      [PIPELINE_LINK_SOFTMAX] = "Softmax", [PIPELINE_LINK_SIGMOID] = "Sigmoid", [PIPELINE_LINK_EXP] = "Exp"};
  const PipelineModelOutput *output = &model->output;
  const OnnxNode *node;
  gint producer;
  while ((producer = onnx_graph_find_producer(nodes->graph, name)) >= 0 &&
         strcmp((node = g_ptr_array_index(nodes->graph->nodes, producer))->op_type, "ZipMap") == 0)
    name = onnx_node_get_input(node, 0);
  nodes->value = g_strdup(name);
  if (type == ONNX_TYPE_DOUBLE)
    onnx_node_set_int(pipeline_calibration_add(nodes, "Cast", (const gchar *const[]){nodes->value, NULL}), "to",
                      ONNX_TYPE_FLOAT);
  if (output->link != PIPELINE_LINK_NONE) {
    node = pipeline_calibration_add(nodes, links[output->link], (const gchar *const[]){nodes->value, NULL});
    if (output->link == PIPELINE_LINK_SOFTMAX) onnx_node_set_int((OnnxNode *)node, "axis", 1);
  }
  if (output->n_columns > 1) return;
  const gint64 shape[] = {-1, 1};
  const double one = 1;
  g_autofree gchar *target = constant_name(nodes);
  const gchar *column = take(nodes, onnx_tensor_new(target, ONNX_TYPE_INT64, 1, (gint64[]){2}, shape));
  pipeline_calibration_add(nodes, "Reshape", (const gchar *const[]){nodes->value, column, NULL});
  g_autofree gchar *positive = g_strdup(nodes->value);
  const gchar *whole = pipeline_calibration_constant(nodes, 0, 1, &one);
  pipeline_calibration_add(nodes, "Sub", (const gchar *const[]){whole, positive, NULL});
  g_autofree gchar *negative = g_strdup(nodes->value);
  onnx_node_set_int(pipeline_calibration_add(nodes, "Concat", (const gchar *const[]){negative, positive, NULL}), "axis",
                    1);
}

/* The calibrated probabilities nodes->value become an output. *whole: the value of all columns, new. */
static gboolean write_probabilities(PipelineCalibrationNodes *nodes, const PipelineModel *model, guint n_dims,
                                    gchar **whole, GError **error)
{
  const PipelineModelOutput *output = &model->output;
  g_autofree gchar *shape = g_strdup_printf("N,%u", nodes->n_columns);
  gboolean single = output->n_columns == 1;
  if (output->link != PIPELINE_LINK_NONE) {
    /* The name of an added value may still change, so that the copy is what is named. */
    *whole = g_strdup(nodes->value);
    pipeline_calibration_add(nodes, "Identity", (const gchar *const[]){nodes->value, NULL});
    return add_output(nodes, "probabilities", ONNX_TYPE_FLOAT, shape, error);
  }
  *whole = g_strdup(nodes->value);
  if (single) {
    const gchar *at = integer_constant(nodes, n_dims == 1 ? 0 : 1, 1);
    onnx_node_set_int(pipeline_calibration_add(nodes, "Gather", (const gchar *const[]){nodes->value, at, NULL}), "axis",
                      1);
  } else {
    pipeline_calibration_add(nodes, "Identity", (const gchar *const[]){nodes->value, NULL});
  }
  return take_over(nodes, output->index, ONNX_TYPE_FLOAT, !single ? shape : n_dims == 1 ? "N" : "N,1", error);
}

/* --- the label ---------------------------------------------------------------------------------------------------- */

/* The first output that is one label a row; -1: none. */
static gint find_label(const PipelineModel *model)
{
  for (guint i = 0; i < model->graph->outputs->len; i++) {
    const PipelineTensor *tensor = pipeline_executor_get_output(model->executor, i);
    gboolean label =
        tensor->type == ONNX_TYPE_INT64 || tensor->type == ONNX_TYPE_INT32 || tensor->type == ONNX_TYPE_STRING;
    if (label && (tensor->n_dims == 1 || (tensor->n_dims == 2 && tensor->dims[1] == 1))) return (gint)i;
  }
  return -1;
}

/* The classes in the order of the columns: integers when all names are (or an integer output has to be kept), else
 * texts. */
static const gchar *class_constant(PipelineCalibrationNodes *nodes, const DriftSchema *schema, OnnxType wanted,
                                   OnnxType *type)
{
  const gint64 n = nodes->n_columns;
  g_autofree gint64 *numbers = g_new(gint64, nodes->n_columns);
  g_autofree const gchar **texts = g_new0(const gchar *, nodes->n_columns + 1);
  g_autofree gchar *name = constant_name(nodes);
  gboolean spelled = TRUE;
  for (guint c = 0; c < nodes->n_columns; c++) {
    texts[c] = g_ptr_array_index(schema->classes, nodes->class_of[c]);
    numbers[c] = g_ascii_strtoll(texts[c], NULL, 10);
    g_autofree gchar *text = g_strdup_printf("%" G_GINT64_FORMAT, numbers[c]);
    spelled = spelled && strcmp(text, texts[c]) == 0;
  }
  for (guint c = 0; c < nodes->n_columns && !spelled; c++) numbers[c] = c;
  *type = wanted != ONNX_TYPE_UNDEFINED ? wanted : spelled ? ONNX_TYPE_INT64 : ONNX_TYPE_STRING;
  return take(nodes, *type == ONNX_TYPE_STRING ? onnx_tensor_new_strings(name, 1, &n, texts)
                                               : onnx_tensor_new(name, ONNX_TYPE_INT64, 1, &n, numbers));
}

/* nodes->value: the column of the class of each row, int64 [N]. */
static void write_decision(PipelineCalibrationNodes *nodes, const gchar *whole, float threshold)
{
  if (isnan(threshold)) {
    OnnxNode *best = pipeline_calibration_add(nodes, "ArgMax", (const gchar *const[]){whole, NULL});
    onnx_node_set_int(best, "axis", 1);
    onnx_node_set_int(best, "keepdims", 0);
    return;
  }
  const gchar *positive = integer_constant(nodes, 0, nodes->positive),
              *negative = integer_constant(nodes, 0, 1 - nodes->positive);
  const gchar *limit = take(nodes, onnx_tensor_new(THRESHOLD, ONNX_TYPE_FLOAT, 0, NULL, &threshold));
  onnx_node_set_int(pipeline_calibration_add(nodes, "Gather", (const gchar *const[]){whole, positive, NULL}), "axis",
                    1);
  pipeline_calibration_add(nodes, "Less", (const gchar *const[]){nodes->value, limit, NULL});
  pipeline_calibration_add(nodes, "Where", (const gchar *const[]){nodes->value, negative, positive, NULL});
}

static gboolean write_label(PipelineCalibrationNodes *nodes, const PipelineModel *model, const gchar *whole,
                            float threshold, GError **error)
{
  gint index = find_label(model);
  const PipelineTensor *old = index >= 0 ? pipeline_executor_get_output(model->executor, (guint)index) : NULL;
  OnnxType type;
  const gchar *classes = class_constant(nodes, model->schema, old != NULL ? old->type : ONNX_TYPE_UNDEFINED, &type);
  write_decision(nodes, whole, threshold);
  pipeline_calibration_add(nodes, "Gather", (const gchar *const[]){classes, nodes->value, NULL});
  if (type == ONNX_TYPE_INT32)
    onnx_node_set_int(pipeline_calibration_add(nodes, "Cast", (const gchar *const[]){nodes->value, NULL}), "to", type);
  if (old == NULL) return add_output(nodes, "label", type, "N", error);
  if (old->n_dims == 2) {
    const gint64 shape[] = {-1, 1};
    g_autofree gchar *name = constant_name(nodes);
    const gchar *column = take(nodes, onnx_tensor_new(name, ONNX_TYPE_INT64, 1, (gint64[]){2}, shape));
    pipeline_calibration_add(nodes, "Reshape", (const gchar *const[]){nodes->value, column, NULL});
  }
  return take_over(nodes, (guint)index, type, old->n_dims == 2 ? "N,1" : "N", error);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static gboolean check_opset(OnnxGraph *graph, GError **error)
{
  gint64 opset = onnx_graph_get_opset(graph, "");
  if (opset == 0) onnx_graph_set_opset(graph, "", SMALLEST_OPSET); /* only ai.onnx.ml was imported */
  if (opset == 0 || opset >= SMALLEST_OPSET) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "the model is of opset %" G_GINT64_FORMAT "; calibration is written for opset %d and newer: export the "
              "model anew",
              opset, SMALLEST_OPSET);
  return FALSE;
}

static gboolean attach(PipelineCalibrationNodes *nodes, const PipelineModel *model, const PipelineCalibrationFit *fit,
                       float threshold, GError **error)
{
  guint index = model->output.index;
  const PipelineTensor *tensor = pipeline_executor_get_output(model->executor, index);
  const guint n_dims = tensor->n_dims;
  g_autofree gchar *name = g_strdup(((const OnnxValue *)g_ptr_array_index(nodes->graph->outputs, index))->name);
  g_autofree gchar *whole = NULL;
  read_probabilities(nodes, model, name, tensor->type);
  if (fit->map != NULL) fit->map->write(fit, nodes);
  return write_probabilities(nodes, model, n_dims, &whole, error) && write_label(nodes, model, whole, threshold, error);
}

GBytes *pipeline_calibration_attach(GBytes *onnx, const DriftSchema *schema, const PipelineCalibrationFit *fit,
                                    float threshold, const gchar *metadata, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  g_autoptr(OnnxGraph) graph = model != NULL ? onnx_graph_from_bytes(onnx, error) : NULL;
  if (graph == NULL || !check_opset(graph, error)) return NULL;
  const guint pair[2] = {1 - schema->positive_class, schema->positive_class};
  PipelineCalibrationNodes nodes = {.graph = graph,
                                    .n_columns = schema->classes->len,
                                    .class_of = model->output.n_columns == 1 ? pair : model->output.class_of};
  while (schema->task == DRIFT_TASK_BINARY && nodes.class_of[nodes.positive] != schema->positive_class)
    nodes.positive++;
  gboolean done = attach(&nodes, model, fit, threshold, error);
  g_free(nodes.value);
  if (!done) return NULL;
  onnx_graph_set_metadata(graph, PIPELINE_CALIBRATION_KEY, metadata);
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}
