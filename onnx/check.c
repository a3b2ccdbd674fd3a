#include <string.h>

#include "onnx/graph_internal.h"

typedef struct {
  const OnnxGraph *graph;
  GHashTable *known;    /* names of values that exist so far; borrowed */
  GHashTable *produced; /* name -> index + 1 of the node that outputs it, over all nodes */
} Check;

#define invalid(error, ...) (g_set_error(error, ONNX_ERROR, ONNX_ERROR_INVALID, __VA_ARGS__), FALSE)

static gboolean check_versions(const OnnxGraph *graph, GError **error)
{
  if (graph->ir_version < ONNX_IR_MIN || graph->ir_version > ONNX_IR_MAX) {
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                "the model has IR version %" G_GINT64_FORMAT "; versions %d to %d are read", graph->ir_version,
                ONNX_IR_MIN, ONNX_IR_MAX);
    return FALSE;
  }
  g_autoptr(GHashTable) domains = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < graph->opsets->len; i++) {
    const OnnxOpset *opset = g_ptr_array_index(graph->opsets, i);
    if (!g_hash_table_add(domains, opset->domain))
      return invalid(error, "operator set '%s' is imported twice", opset->domain);
    if (opset->version < 1)
      return invalid(error, "operator set '%s' has version %" G_GINT64_FORMAT, opset->domain, opset->version);
    if (opset->domain[0] == '\0' && (opset->version < ONNX_OPSET_MIN || opset->version > ONNX_OPSET_MAX)) {
      g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                  "the model uses operator set %" G_GINT64_FORMAT "; sets %d to %d are read. Export it with another "
                  "opset or convert it with onnx.version_converter",
                  opset->version, ONNX_OPSET_MIN, ONNX_OPSET_MAX);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean check_declared(const GPtrArray *values, const gchar *what, GError **error)
{
  g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < values->len; i++) {
    const OnnxValue *value = g_ptr_array_index(values, i);
    if (value->name[0] == '\0') return invalid(error, "%s number %u has no name", what, i + 1);
    if (!g_hash_table_add(names, value->name)) return invalid(error, "%s '%s' is declared twice", what, value->name);
    if (value->type == ONNX_TYPE_UNDEFINED && value->preserved == NULL)
      return invalid(error, "%s '%s' has no type", what, value->name);
  }
  return TRUE;
}

static gboolean check_initialisers(Check *check, GError **error)
{
  g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < check->graph->initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(check->graph->initialisers, i);
    if (tensor->name[0] == '\0') return invalid(error, "initialiser number %u has no name", i + 1);
    if (!g_hash_table_add(names, tensor->name))
      return invalid(error, "initialiser '%s' is declared twice", tensor->name);
    g_hash_table_add(check->known, tensor->name);
  }
  return TRUE;
}

/* Says whether the value comes too late (order, cycle) or never. */
static gboolean refuse_unknown_input(const Check *check, const gchar *where, const gchar *name, GError **error)
{
  guint later = GPOINTER_TO_UINT(g_hash_table_lookup(check->produced, name));
  if (later == 0) return invalid(error, "%s reads '%s', which no input, initialiser or node provides", where, name);
  g_autofree gchar *producer = onnx_node_describe(g_ptr_array_index(check->graph->nodes, later - 1), later - 1);
  return invalid(error, "%s reads '%s', which %s provides only later: the nodes are out of order or form a cycle",
                 where, name, producer);
}

static gboolean check_node(Check *check, guint index, GError **error)
{
  const OnnxNode *node = g_ptr_array_index(check->graph->nodes, index);
  g_autofree gchar *where = onnx_node_describe(node, index);
  if (node->op_type[0] == '\0') return invalid(error, "node number %u has no operator", index + 1);
  if (onnx_graph_get_opset(check->graph, node->domain) == 0)
    return invalid(error, "%s: the model imports no operator set of domain '%s'", where,
                   node->domain[0] != '\0' ? node->domain : "ai.onnx");
  for (guint i = 0; i < node->inputs->len; i++) {
    const gchar *name = g_ptr_array_index(node->inputs, i);
    if (name[0] != '\0' && !g_hash_table_contains(check->known, name))
      return refuse_unknown_input(check, where, name, error);
  }
  guint named = 0;
  for (guint i = 0; i < node->outputs->len; i++) {
    const gchar *name = g_ptr_array_index(node->outputs, i);
    if (name[0] == '\0') continue;
    if (!g_hash_table_add(check->known, (gpointer)name))
      return invalid(error, "%s outputs '%s', a name that is taken already", where, name);
    named++;
  }
  if (named == 0) return invalid(error, "%s has no output", where);
  g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < node->attributes->len; i++) {
    const OnnxAttribute *attribute = g_ptr_array_index(node->attributes, i);
    if (!g_hash_table_add(names, attribute->name))
      return invalid(error, "%s has attribute '%s' twice", where, attribute->name);
  }
  return TRUE;
}

static void index_producers(Check *check)
{
  for (guint n = 0; n < check->graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(check->graph->nodes, n);
    for (guint i = 0; i < node->outputs->len; i++)
      g_hash_table_insert(check->produced, g_ptr_array_index(node->outputs, i), GUINT_TO_POINTER(n + 1));
  }
}

static gboolean check_all(Check *check, GError **error)
{
  const OnnxGraph *graph = check->graph;
  if (!check_versions(graph, error) || !check_declared(graph->inputs, "input", error) ||
      !check_declared(graph->outputs, "output", error) || !check_initialisers(check, error))
    return FALSE;
  if (graph->outputs->len == 0) return invalid(error, "the graph has no output");
  for (guint i = 0; i < graph->inputs->len; i++)
    g_hash_table_add(check->known, ((const OnnxValue *)g_ptr_array_index(graph->inputs, i))->name);
  index_producers(check);
  for (guint n = 0; n < graph->nodes->len; n++)
    if (!check_node(check, n, error)) return FALSE;
  for (guint i = 0; i < graph->outputs->len; i++) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    if (!g_hash_table_contains(check->known, output->name))
      return invalid(error, "output '%s' is provided by no node", output->name);
  }
  return TRUE;
}

gboolean onnx_graph_check(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) produced = g_hash_table_new(g_str_hash, g_str_equal);
  Check check = {.graph = graph, .known = known, .produced = produced};
  return check_all(&check, error);
}
