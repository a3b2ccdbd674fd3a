#include "pipeline/ensemble.h"

#include "pipeline/graph_merge.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"

static const gchar *output_name(const DriftSchema *schema)
{
  return schema->task == DRIFT_TASK_REGRESSION ? "value" : "probabilities";
}

/* The member as a graph of that output alone; new. */
static OnnxGraph *read_member(GBytes *onnx, const gchar *output, const gchar *name, GError **error)
{
  g_autoptr(OnnxGraph) graph = pipeline_graph_read(onnx, error);
  if (graph == NULL) return NULL;
  const OnnxValue *value = onnx_graph_find_value(graph, output);
  if (value == NULL || value->type != ONNX_TYPE_FLOAT || onnx_graph_find_producer(graph, output) < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "\"%s\" has no float output \"%s\": an ensemble is made of models of `kedge train`", name, output);
    return NULL;
  }
  pipeline_graph_keep_output(graph, output);
  return g_steal_pointer(&graph);
}

/* --- opsets ------------------------------------------------------------------------------------------------------- */

#define OPSETS_LOWEST 13
#define OPSETS_HIGHEST 20

/* Whether the node means something else under another opset of that range. */
static gboolean is_bound_to_opset(const OnnxNode *node)
{
  static const gchar *const changed[] = {"Split", "Resize", "Pad", "GridSample", "DFT", NULL};
  return *node->domain == '\0' &&
         (g_str_has_prefix(node->op_type, "Reduce") || g_strv_contains(changed, node->op_type));
}

static gboolean may_change_opset(const OnnxGraph *graph, gint64 from, gint64 to)
{
  if (from == to) return TRUE;
  if (MIN(from, to) < OPSETS_LOWEST || MAX(from, to) > OPSETS_HIGHEST) return FALSE;
  for (guint i = 0; i < graph->nodes->len; i++)
    if (is_bound_to_opset(g_ptr_array_index(graph->nodes, i))) return FALSE;
  return TRUE;
}

/* A network with Gelu is written for opset 20, the others for 17: all get the highest one, where that changes nothing.
 * What cannot be changed stays, and is refused where it is put beside the others. */
static void raise_opsets(GPtrArray *graphs)
{
  gint64 highest = 0;
  for (guint i = 0; i < graphs->len; i++)
    highest = MAX(highest, onnx_graph_get_opset(g_ptr_array_index(graphs, i), ""));
  for (guint i = 0; i < graphs->len; i++) {
    OnnxGraph *graph = g_ptr_array_index(graphs, i);
    if (may_change_opset(graph, onnx_graph_get_opset(graph, ""), highest)) onnx_graph_set_opset(graph, "", highest);
  }
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

/* Inputs, opsets and schema of the first member, and nothing else; new. */
static OnnxGraph *begin_graph(const OnnxGraph *first, guint n, const DriftSchema *schema)
{
  OnnxGraph *graph = onnx_graph_copy(first);
  const gchar *own = onnx_graph_get_metadata(first, PIPELINE_SCHEMA_KEY);
  g_autofree gchar *spec = own != NULL ? g_strdup(own) : pipeline_model_spec_format(schema);
  g_autofree gchar *count = g_strdup_printf("%u", n);
  GPtrArray *const parts[] = {graph->nodes, graph->initialisers, graph->outputs, graph->values, graph->metadata};
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) g_ptr_array_set_size(parts[i], 0);
  onnx_graph_set_metadata(graph, PIPELINE_SCHEMA_KEY, spec);
  onnx_graph_set_metadata(graph, PIPELINE_ENSEMBLE_KEY, count);
  if (onnx_graph_get_opset(graph, "ai.onnx.ml") == 0) onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  return graph;
}

/* Takes the member's parts; the name of its answer, new, NULL with error. */
static gchar *add_member(OnnxGraph *graph, OnnxGraph *member, const gchar *output, const gchar *name, GError **error)
{
  g_autofree gchar *prefix = g_strconcat(name, "/", NULL);
  if (!pipeline_graph_check_inputs(graph, member, name, error) ||
      !pipeline_graph_share_opsets(graph, member, name, error))
    return NULL;
  pipeline_graph_move_parts(graph, member, prefix, FALSE);
  return g_strconcat(prefix, output, NULL);
}

static GPtrArray *read_members(GBytes *const *members, guint n, const gchar *output, GError **error)
{
  g_autoptr(GPtrArray) graphs = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_graph_free);
  for (guint i = 0; i < n; i++) {
    g_autofree gchar *name = g_strdup_printf("member_%u", i + 1);
    OnnxGraph *graph = read_member(members[i], output, name, error);
    if (graph == NULL) return NULL;
    g_ptr_array_add(graphs, graph);
  }
  raise_opsets(graphs);
  return g_steal_pointer(&graphs);
}

GBytes *pipeline_ensemble_new(GBytes *const *members, guint n, const DriftSchema *schema, GError **error)
{
  g_return_val_if_fail(n >= 1 && n <= PIPELINE_MAX_ENSEMBLE, NULL);
  if (n == 1) return g_bytes_ref(members[0]);
  const gchar *output = output_name(schema);
  g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) graphs = read_members(members, n, output, error);
  if (graphs == NULL) return NULL;
  g_autoptr(OnnxGraph) graph = begin_graph(g_ptr_array_index(graphs, 0), n, schema);
  for (guint i = 0; i < n; i++) {
    g_autofree gchar *name = g_strdup_printf("member_%u", i + 1);
    gchar *answer = add_member(graph, g_ptr_array_index(graphs, i), output, name, error);
    if (answer == NULL) return NULL;
    g_ptr_array_add(answers, answer);
  }
  g_ptr_array_add(answers, NULL);
  onnx_graph_add_node_strv(graph, "", "Mean", (const gchar *const *)answers->pdata,
                           (const gchar *const[]){output, NULL});
  if (schema->task == DRIFT_TASK_REGRESSION)
    onnx_graph_add_output(graph, output, ONNX_TYPE_FLOAT, "N,1");
  else
    pipeline_network_add_label(graph, schema);
  return pipeline_graph_write(graph, error);
}

gboolean pipeline_ensemble_check_single(GBytes *onnx, GError **error)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL); /* what is no model is refused by its reader */
  const gchar *count = graph != NULL ? onnx_graph_get_metadata(graph, PIPELINE_ENSEMBLE_KEY) : NULL;
  if (count == NULL) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "the model is the mean of %s models and cannot be trained on: `kedge search --resume DIR --ensemble 1` "
              "writes the winner alone, `kedge compress --distill` makes one network of all",
              count);
  return FALSE;
}
