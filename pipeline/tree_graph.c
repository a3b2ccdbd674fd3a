#include "pipeline/tree_graph.h"

#include <string.h>

#include "pipeline/executor_shapes.h"
#include "pipeline/graph_prefix.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"

#define ML "ai.onnx.ml"

void pipeline_tree_graph_clear(PipelineTreeGraph *graph)
{
  g_clear_pointer(&graph->graph, onnx_graph_free);
  g_clear_pointer(&graph->features, g_free);
  g_clear_pointer(&graph->columns, g_ptr_array_unref);
}

/* --- new ---------------------------------------------------------------------------------------------------------- */

static void add_classifier(PipelineTreeGraph *graph, const DriftSchema *schema)
{
  guint n = schema->classes->len;
  g_autofree gint64 *numbers = g_new(gint64, n);
  for (guint i = 0; i < n; i++) numbers[i] = i;
  graph->node = onnx_graph_add_node_strv(graph->graph, ML, "TreeEnsembleClassifier",
                                         (const gchar *const[]){graph->features, NULL},
                                         (const gchar *const[]){"kedge.best_class", "probabilities", NULL});
  onnx_node_set_ints(graph->node, "classlabels_int64s", numbers, n);
  pipeline_network_add_label(graph->graph, schema);
}

static void add_regressor(PipelineTreeGraph *graph, gboolean quantiles)
{
  const gchar *output = quantiles ? "kedge.logits" : "value";
  graph->node =
      onnx_graph_add_node_strv(graph->graph, ML, "TreeEnsembleRegressor", (const gchar *const[]){graph->features, NULL},
                               (const gchar *const[]){output, NULL});
  if (!quantiles) onnx_graph_add_output(graph->graph, output, ONNX_TYPE_FLOAT, "N,1");
}

/* table NULL: prepared is there instead. */
typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const guint64 *rows;
  guint64 n_rows;
  const PipelinePrepared *prepared;
  gboolean quantiles;
} Source;

static gboolean build(const Source *source, PipelineTreeGraph *out, GError **error)
{
  g_auto(PipelineTreeGraph) made = {.graph = onnx_graph_new("kedge")};
  g_auto(PipelineGraphPrefix) prefix = {.features = NULL};
  onnx_graph_set_opset(made.graph, "", 17);
  onnx_graph_set_opset(made.graph, ML, 3);
  if (source->prepared != NULL ? !pipeline_prepared_add_prefix(source->prepared, made.graph, &prefix, error)
                               : !pipeline_graph_prefix_add(made.graph, source->table, source->schema, source->rows,
                                                            source->n_rows, FALSE, &prefix, error))
    return FALSE;
  made.features = g_steal_pointer(&prefix.features);
  made.columns = g_steal_pointer(&prefix.columns);
  made.n_columns = made.columns->len;
  if (source->schema->task == DRIFT_TASK_REGRESSION)
    add_regressor(&made, source->quantiles);
  else
    add_classifier(&made, source->schema);
  *out = made;
  made = (PipelineTreeGraph){.graph = NULL};
  return TRUE;
}

gboolean pipeline_tree_graph_build(const DriftTable *table, const DriftSchema *schema, const guint64 *rows,
                                   guint64 n_rows, gboolean quantiles, PipelineTreeGraph *out, GError **error)
{
  const Source source = {.table = table, .schema = schema, .rows = rows, .n_rows = n_rows, .quantiles = quantiles};
  return build(&source, out, error);
}

gboolean pipeline_tree_graph_build_prepared(const PipelinePrepared *prepared, gboolean quantiles,
                                            PipelineTreeGraph *out, GError **error)
{
  const Source source = {.schema = prepared->schema, .prepared = prepared, .quantiles = quantiles};
  return build(&source, out, error);
}

/* --- given -------------------------------------------------------------------------------------------------------- */

/* The document under PIPELINE_TREE_KEY when its lists have n_columns entries (0: any number), else NULL. New. */
static json_t *read_document(const OnnxGraph *graph, guint n_columns)
{
  const gchar *text = onnx_graph_get_metadata(graph, PIPELINE_TREE_KEY);
  json_t *document = text != NULL ? json_loads(text, 0, NULL) : NULL;
  gsize n = json_array_size(json_object_get(document, "columns"));
  gboolean good = n > 0 && (n_columns == 0 || n == n_columns);
  static const gchar *const lists[] = {"gain", "cover", "splits"};
  for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
    good = good && json_array_size(json_object_get(document, lists[i])) == n;
  if (good) return document;
  json_decref(document);
  return NULL;
}

static GPtrArray *name_columns(const OnnxGraph *graph, guint n_columns)
{
  json_t *document = read_document(graph, n_columns), *names = json_object_get(document, "columns");
  GPtrArray *columns = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n_columns; i++) {
    const gchar *name = json_string_value(json_array_get(names, i));
    g_ptr_array_add(columns, name != NULL ? g_strdup(name) : g_strdup_printf("column %u", i));
  }
  json_decref(document);
  return columns;
}

/* The node's classes are the schema's, in its order: the outputs of boosting are class numbers. */
static gboolean check_classes(const OnnxNode *node, const DriftSchema *schema, guint n_outputs, GError **error)
{
  gboolean regressor = g_str_equal(node->op_type, "TreeEnsembleRegressor");
  guint n, n_classes = schema->classes->len;
  gboolean good = regressor == (schema->task == DRIFT_TASK_REGRESSION) &&
                  n_outputs == (regressor || n_classes == 2 ? 1 : n_classes);
  const gint64 *numbers = onnx_node_get_ints(node, "classlabels_int64s", &n);
  const OnnxAttribute *texts = onnx_node_get_attribute(node, "classlabels_strings");
  gboolean positions = TRUE, names = TRUE;
  for (guint i = 0; good && !regressor && numbers != NULL && i < MIN(n, n_classes); i++) {
    const DriftValue value = drift_value_number((double)numbers[i]);
    positions = positions && numbers[i] == i;
    names = names && drift_schema_class_of(schema, &value) == (gint)i;
  }
  for (guint i = 0; good && !regressor && numbers == NULL && texts != NULL && i < MIN(texts->texts->len, n_classes);
       i++) {
    gsize length;
    const gchar *text = g_bytes_get_data(g_ptr_array_index(texts->texts, i), &length);
    const DriftValue value = drift_value_text(text, (gssize)length);
    positions = FALSE;
    names = names && drift_schema_class_of(schema, &value) == (gint)i;
  }
  if (good && (names || positions)) return TRUE;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
      "boosting cannot continue these trees: their outputs are not the schema's classes in its order; train new "
      "ones by --arch trees");
  return FALSE;
}

/* A regression's trees are its output: what follows them, such as quantiles in order, is not what boosting learns. */
static gboolean check_output(const PipelineTreeGraph *graph, GError **error)
{
  if (!g_str_equal(graph->node->op_type, "TreeEnsembleRegressor")) return TRUE;
  for (guint i = 0; i < graph->graph->outputs->len; i++)
    if (g_strcmp0(((const OnnxValue *)g_ptr_array_index(graph->graph->outputs, i))->name,
                  onnx_node_get_output(graph->node, 0)) == 0)
      return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "boosting cannot continue these trees: their sums are no output of the model, other operators follow "
              "(quantiles and intervals are trained anew: --arch trees)");
  return FALSE;
}

static gboolean find_width(PipelineTreeGraph *graph, GError **error)
{
  g_autoptr(OnnxGraph) copy = onnx_graph_copy(graph->graph);
  if (!pipeline_shapes_declare(copy, error)) return FALSE;
  const OnnxValue *value = onnx_graph_find_value(copy, graph->features);
  if (value != NULL && value->type == ONNX_TYPE_FLOAT && value->has_shape && value->n_dims == 2 &&
      value->dims[1].size > 0) {
    graph->n_columns = (guint)MIN(value->dims[1].size, PIPELINE_MAX_COLUMNS);
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "boosting cannot continue these trees: the model does not say how many float32 features they take");
  return FALSE;
}

gboolean pipeline_tree_graph_read(GBytes *onnx, const DriftSchema *schema, PipelineTreeGraph *out,
                                  PipelineTreeEnsemble **ensemble, GError **error)
{
  g_auto(PipelineTreeGraph) read = {.graph = onnx_graph_from_bytes(onnx, error)};
  if (read.graph == NULL) return FALSE;
  onnx_graph_simplify(read.graph);
  gint at = pipeline_tree_onnx_find(read.graph);
  if (at < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the model has not one ensemble of trees that boosting "
                "could continue");
    return FALSE;
  }
  read.node = g_ptr_array_index(read.graph->nodes, at);
  read.features = g_strdup(onnx_node_get_input(read.node, 0));
  if (read.features == NULL || !check_output(&read, error) || !find_width(&read, error)) return FALSE;
  read.columns = name_columns(read.graph, read.n_columns);
  g_autoptr(PipelineTreeEnsemble) trees = pipeline_tree_onnx_read(read.node, read.n_columns, error);
  if (trees == NULL || !check_classes(read.node, schema, trees->n_outputs, error)) {
    g_autofree gchar *where = onnx_node_describe(read.node, (guint)at);
    g_prefix_error(error, "%s: ", where);
    return FALSE;
  }
  *ensemble = g_steal_pointer(&trees);
  *out = read;
  read = (PipelineTreeGraph){.graph = NULL};
  return TRUE;
}

/* --- importance --------------------------------------------------------------------------------------------------- */

static json_t *real_array(const double *values, guint n)
{
  json_t *array = json_array();
  for (guint i = 0; i < n; i++) json_array_append_new(array, json_real(values[i]));
  return array;
}

/* What the graph says already, plus the new trees. */
static void note_importance(PipelineTreeGraph *graph, const PipelineTreeEnsemble *ensemble, guint first_tree)
{
  guint n = graph->n_columns;
  json_t *old = read_document(graph->graph, n), *names = json_array();
  static const gchar *const lists[] = {"gain", "cover", "splits"};
  g_autofree double *sums = g_new0(double, (gsize)n *G_N_ELEMENTS(lists));
  for (guint l = 0; old != NULL && l < G_N_ELEMENTS(lists); l++)
    for (guint i = 0; i < n; i++)
      sums[l * n + i] = json_number_value(json_array_get(json_object_get(old, lists[l]), i));
  pipeline_tree_ensemble_add_importance(ensemble, first_tree, sums, sums + n, sums + (gsize)2 * n);
  for (guint i = 0; i < n; i++) json_array_append_new(names, json_string(g_ptr_array_index(graph->columns, i)));
  json_t *document = json_pack("{s:o}", "columns", names);
  for (guint l = 0; l < G_N_ELEMENTS(lists); l++)
    json_object_set_new(document, lists[l], real_array(sums + (gsize)l * n, n));
  char *text = json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(9));
  onnx_graph_set_metadata(graph->graph, PIPELINE_TREE_KEY, text);
  free(text);
  json_decref(document);
  json_decref(old);
}

static int compare_gain(const void *a, const void *b)
{
  double x = json_real_value(json_object_get(*(json_t *const *)a, "gain")),
         y = json_real_value(json_object_get(*(json_t *const *)b, "gain"));
  return (x < y) - (x > y);
}

json_t *pipeline_tree_importance(const OnnxGraph *graph)
{
  json_t *document = read_document(graph, 0), *names = json_object_get(document, "columns");
  if (document == NULL) return NULL;
  g_autoptr(GPtrArray) rows = g_ptr_array_new();
  for (gsize i = 0; i < json_array_size(names); i++) {
    const gchar *name = json_string_value(json_array_get(names, i));
    double splits = json_number_value(json_array_get(json_object_get(document, "splits"), i)),
           gain = json_number_value(json_array_get(json_object_get(document, "gain"), i)),
           cover = json_number_value(json_array_get(json_object_get(document, "cover"), i));
    if (name == NULL || !(splits > 0)) continue;
    g_ptr_array_add(rows, json_pack("{s:s, s:f, s:f, s:I}", "column", name, "gain", gain / splits, "cover",
                                    cover / splits, "weight", (json_int_t)splits));
  }
  if (rows->len > 0) qsort(rows->pdata, rows->len, sizeof(gpointer), compare_gain);
  json_t *list = json_array();
  for (guint i = 0; i < rows->len; i++) json_array_append_new(list, g_ptr_array_index(rows, i));
  json_decref(document);
  return list;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

GBytes *pipeline_tree_graph_write(PipelineTreeGraph *graph, const DriftSchema *schema,
                                  const PipelineTreeEnsemble *ensemble, guint first_tree, GError **error)
{
  pipeline_tree_onnx_write(ensemble, g_str_equal(graph->node->op_type, "TreeEnsembleClassifier"), graph->node);
  note_importance(graph, ensemble, first_tree);
  if (onnx_graph_get_metadata(graph->graph, PIPELINE_SCHEMA_KEY) == NULL) {
    g_autofree gchar *spec = pipeline_model_spec_format(schema);
    onnx_graph_set_metadata(graph->graph, PIPELINE_SCHEMA_KEY, spec);
  }
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph->graph, &cause);
  if (bytes == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s; fewer rounds or shallower trees give a smaller model",
                cause->message);
  return bytes;
}
