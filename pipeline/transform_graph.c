/* Fitted chains as the prefix of a graph. */
#include "pipeline/transform_internal.h"

/* Whether a chain wants the column as seconds. */
static gboolean wants_seconds(const PipelinePrepared *prepared, const gchar *column)
{
  for (guint i = 0; i < prepared->chains->len; i++) {
    const PipelineChain *chain = ((PipelineFittedChain *)g_ptr_array_index(prepared->chains, i))->chain;
    const PipelineTransformation *first = g_array_index(chain->steps, PipelineStep, 0).transformation;
    if (first->takes == ONNX_TYPE_DOUBLE && g_str_equal(chain->columns[0], column)) return TRUE;
  }
  return FALSE;
}

/* Every input is a float: they come as one matrix (pipeline/model.h). */
static gboolean comes_as_matrix(const PipelinePrepared *prepared)
{
  for (guint i = 0; i < drift_schema_n_features(prepared->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(prepared->schema, i);
    if (feature->input && (feature->kind == DRIFT_CATEGORICAL || wants_seconds(prepared, feature->name))) return FALSE;
  }
  return TRUE;
}

typedef struct {
  const PipelinePrepared *prepared;
  PipelineEmit emit;
  GHashTable *columns; /* feature name -> value name of its [N, 1] */
} Prefix;

static void add_matrix(Prefix *prefix)
{
  const DriftSchema *schema = prefix->prepared->schema;
  guint n = 0;
  for (guint i = 0; i < drift_schema_n_features(schema); i++) n += drift_schema_get_feature(schema, i)->input != FALSE;
  g_autofree gchar *shape = g_strdup_printf("N,%u", n);
  onnx_graph_add_input(prefix->emit.graph, "features", ONNX_TYPE_FLOAT, shape);
  for (guint i = 0, at = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input) continue;
    OnnxNode *node;
    const gchar *inputs[] = {"features", pipeline_emit_integers(&prefix->emit, (const gint64[]){at++}, 1)};
    const gchar *column = pipeline_emit_node(&prefix->emit, "", "Gather", inputs, 2, &node);
    onnx_node_set_int(node, "axis", 1);
    g_hash_table_insert(prefix->columns, feature->name, (gpointer)column);
  }
}

static void add_inputs(Prefix *prefix)
{
  const DriftSchema *schema = prefix->prepared->schema;
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input) continue;
    OnnxType type = feature->kind == DRIFT_CATEGORICAL               ? ONNX_TYPE_STRING
                    : wants_seconds(prefix->prepared, feature->name) ? ONNX_TYPE_INT64
                                                                     : ONNX_TYPE_FLOAT;
    onnx_graph_add_input(prefix->emit.graph, feature->name, type, "N,1");
    const gchar *column = type == ONNX_TYPE_INT64 ? pipeline_emit_seconds(&prefix->emit, feature->name) : feature->name;
    g_hash_table_insert(prefix->columns, feature->name, (gpointer)column);
  }
}

static const gchar *emit_chain(Prefix *prefix, const PipelineFittedChain *fitted)
{
  const PipelineChain *chain = fitted->chain;
  const gchar *inputs[2] = {NULL};
  guint next = 0;
  gboolean seconds = g_array_index(chain->steps, PipelineStep, 0).transformation->takes == ONNX_TYPE_DOUBLE;
  for (guint i = 0; i < 2 && chain->columns[i]; i++) {
    inputs[i] = g_hash_table_lookup(prefix->columns, chain->columns[i]);
    if (!seconds && wants_seconds(prefix->prepared, chain->columns[i]))
      inputs[i] = pipeline_emit_cast(&prefix->emit, inputs[i], ONNX_TYPE_FLOAT);
  }
  if (chain->columns[1]) {
    gint index = drift_schema_find_feature(prefix->prepared->schema, chain->columns[0]);
    gboolean text = drift_schema_get_feature(prefix->prepared->schema, (guint)index)->kind == DRIFT_CATEGORICAL;
    const PipelineTransformation *pair = pipeline_transformation_pair(text ? ONNX_TYPE_STRING : ONNX_TYPE_FLOAT);
    inputs[0] = pair->emit(&prefix->emit, g_ptr_array_index(fitted->states, next++), inputs);
  }
  for (guint i = 0; i < chain->steps->len; i++) {
    const PipelineStep *step = &g_array_index(chain->steps, PipelineStep, i);
    inputs[0] = step->transformation->emit(&prefix->emit, g_ptr_array_index(fitted->states, next++), inputs);
  }
  return inputs[0];
}

void pipeline_prepared_emit(const PipelinePrepared *prepared, OnnxGraph *graph)
{
  g_autoptr(GHashTable) columns = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free), parts = g_ptr_array_new();
  Prefix prefix = {
      .prepared = prepared, .emit = {.graph = graph, .prefix = "kedge.t", .names = names}, .columns = columns};
  if (comes_as_matrix(prepared))
    add_matrix(&prefix);
  else
    add_inputs(&prefix);
  for (guint i = 0; i < prepared->chains->len; i++)
    g_ptr_array_add(parts, (gpointer)emit_chain(&prefix, g_ptr_array_index(prepared->chains, i)));
  g_ptr_array_add(parts, NULL);
  /* With one part too: a Concat is no link of a chain of layers, where training could take it for one. */
  OnnxNode *node = onnx_graph_add_node_strv(graph, "", "Concat", (const gchar *const *)parts->pdata,
                                            (const gchar *const[]){PIPELINE_PREPARED_FEATURES, NULL});
  onnx_node_set_int(node, "axis", 1);
}

gboolean pipeline_prepared_add_prefix(const PipelinePrepared *prepared, OnnxGraph *graph, PipelineGraphPrefix *prefix,
                                      GError **error)
{
  guint n = prepared->names->len;
  for (guint i = 0; i < drift_schema_n_features(prepared->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(prepared->schema, i);
    if (feature->input && !pipeline_graph_check_feature_name(feature->name, error)) return FALSE;
  }
  if (n > PIPELINE_MAX_COLUMNS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "%u columns after the transformations; at most %u are supported", n, PIPELINE_MAX_COLUMNS);
    return FALSE;
  }
  pipeline_prepared_emit(prepared, graph);
  g_autofree gchar *plan = pipeline_prepared_format_plan(prepared);
  onnx_graph_set_metadata(graph, PIPELINE_PLAN_KEY, plan);
  prefix->features = g_strdup(PIPELINE_PREPARED_FEATURES);
  prefix->columns = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n; i++) g_ptr_array_add(prefix->columns, g_strdup(g_ptr_array_index(prepared->names, i)));
  prefix->constant = g_array_new(FALSE, FALSE, sizeof(gboolean));
  g_array_append_vals(prefix->constant, prepared->constant, n);
  return TRUE;
}
