#include "pipeline/operator.h"

#include <string.h>

const PipelineOperator *pipeline_operator_find(const gchar *domain, const gchar *name, gint64 opset)
{
  const PipelineOperator *found = NULL;
  for (const PipelineOperator *row = pipeline_operators; row->name != NULL; row++)
    if (row->since <= opset && strcmp(row->name, name) == 0 && strcmp(row->domain, domain) == 0) found = row;
  return found;
}

static gboolean check_arity(const PipelineOperator *operator, const OnnxNode * node, guint index, GError **error)
{
  guint given = node->inputs->len;
  while (given > 0 && onnx_node_get_input(node, given - 1) == NULL) given--; /* trailing optional inputs left out */
  gboolean fits = given >= operator->min_inputs && given <= operator->max_inputs && node->outputs->len >= 1 &&
                           node->outputs->len <=
                           operator->max_outputs;
  for (guint i = 0; i < operator->min_inputs && fits; i++) fits = onnx_node_get_input(node, i) != NULL;
  if (fits) return TRUE;
  g_autofree gchar *where = onnx_node_describe(node, index);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "%s has %u inputs and %u outputs, which %s does not have",
              where, given, node->outputs->len, node->op_type);
  return FALSE;
}

/* Why an operator is not in the table and will not be, where there is more to say than its name. */
static const gchar *reason_of(const gchar *name)
{
  static const struct {
    const gchar *prefix, *reason;
  } reasons[] = {{"If", "control flow"},           {"Loop", "control flow"},
                 {"Scan", "control flow"},         {"Sequence", "sequences"},
                 {"SplitToSequence", "sequences"}, {"ConcatFromSequence", "sequences"},
                 {"Optional", "optional values"},  {"Random", "random numbers"},
                 {"Bernoulli", "random numbers"},  {"Multinomial", "random numbers"},
                 {"ImageDecoder", "image files"}};
  for (gsize i = 0; i < G_N_ELEMENTS(reasons); i++)
    if (strlen(reasons[i].prefix) > 2 ? g_str_has_prefix(name, reasons[i].prefix)
                                      : strcmp(name, reasons[i].prefix) == 0)
      return reasons[i].reason;
  return NULL;
}

gboolean pipeline_operator_check_graph(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    gint64 opset = onnx_graph_get_opset(graph, node->domain);
    if (pipeline_operator_find(node->domain, node->op_type, opset) != NULL) continue;
    const gchar *reason = node->domain[0] == '\0' ? reason_of(node->op_type) : NULL;
    g_autofree gchar *where = onnx_node_describe(node, n);
    gchar *name = g_strdup_printf("%s.%s %" G_GINT64_FORMAT, node->domain, node->op_type, opset);
    if (!g_hash_table_add(seen, name)) continue; /* the first node of each is named */
    g_ptr_array_add(unknown, g_strdup_printf("%s%s%s (set %" G_GINT64_FORMAT "%s%s; %s)", node->domain,
                                             node->domain[0] != '\0' ? "." : "", node->op_type, opset,
                                             reason != NULL ? ": " : "", reason != NULL ? reason : "", where));
  }
  if (unknown->len > 0) {
    g_ptr_array_add(unknown, NULL);
    g_autofree gchar *list = g_strjoinv(", ", (gchar **)unknown->pdata);
    g_set_error(
        error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
        "the model uses operators that are not supported: %s; export it without them (onnx/README.md lists what is)",
        list);
    return FALSE;
  }
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    gint64 opset = onnx_graph_get_opset(graph, node->domain);
    if (!check_arity(pipeline_operator_find(node->domain, node->op_type, opset), node, n, error)) return FALSE;
  }
  return TRUE;
}
