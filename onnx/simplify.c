/* Linear in the size of the graph: hostile files have many nodes. */
#include <string.h>

#include "onnx/graph_internal.h"

typedef struct {
  OnnxGraph *graph;
  GHashTable *outputs;      /* names of graph outputs */
  GHashTable *initialisers; /* name -> OnnxTensor* */
  GHashTable *read;         /* names that some node reads */
  GHashTable *alias;        /* name that disappears -> name to read instead; both owned */
  gboolean training;        /* Dropout stays */
} Simplify;

typedef gboolean (*KeepFunc)(gpointer element, Simplify *simplify);

/* Keeps the elements for which `keep` holds, in order, and frees the others. */
static void filter(GPtrArray *array, GDestroyNotify free_element, KeepFunc keep, Simplify *simplify)
{
  guint kept = 0;
  g_ptr_array_set_free_func(array, NULL);
  for (guint i = 0; i < array->len; i++) {
    gpointer element = g_ptr_array_index(array, i);
    if (keep(element, simplify))
      g_ptr_array_index(array, kept++) = element;
    else
      free_element(element);
  }
  g_ptr_array_set_size(array, (gint)kept);
  g_ptr_array_set_free_func(array, free_element);
}

static OnnxTensor *renamed_copy(const OnnxTensor *tensor, const gchar *name)
{
  OnnxTensor *copy = onnx_tensor_copy(tensor);
  g_free(copy->name);
  copy->name = g_strdup(name);
  return copy;
}

static OnnxTensor *strings_value(const gchar *name, guint n_dims, GBytes *const *texts, gsize n)
{
  OnnxTensor *tensor = g_new0(OnnxTensor, 1);
  tensor->name = g_strdup(name);
  tensor->type = ONNX_TYPE_STRING;
  tensor->n_dims = n_dims;
  tensor->dims[0] = n_dims > 0 ? (gint64)n : 0;
  tensor->strings = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (gsize i = 0; i < n; i++) g_ptr_array_add(tensor->strings, g_bytes_ref(texts[i]));
  return tensor;
}

/* The value of a Constant node as an initialiser named `name`, or NULL (a sparse one). */
static OnnxTensor *constant_value(const OnnxNode *node, const gchar *name)
{
  if (node->attributes->len != 1) return NULL;
  const OnnxAttribute *attribute = g_ptr_array_index(node->attributes, 0);
  gint64 n;
  switch (attribute->kind) {
  case ONNX_ATTRIBUTE_TENSOR:
    return renamed_copy(attribute->tensor, name);
  case ONNX_ATTRIBUTE_FLOAT:
    return onnx_tensor_new(name, ONNX_TYPE_FLOAT, 0, NULL, &attribute->number);
  case ONNX_ATTRIBUTE_INT:
    return onnx_tensor_new(name, ONNX_TYPE_INT64, 0, NULL, &attribute->integer);
  case ONNX_ATTRIBUTE_FLOATS:
    n = attribute->numbers->len;
    return onnx_tensor_new(name, ONNX_TYPE_FLOAT, 1, &n, attribute->numbers->data);
  case ONNX_ATTRIBUTE_INTS:
    n = attribute->integers->len;
    return onnx_tensor_new(name, ONNX_TYPE_INT64, 1, &n, attribute->integers->data);
  case ONNX_ATTRIBUTE_STRING:
    return strings_value(name, 0, &attribute->text, 1);
  case ONNX_ATTRIBUTE_STRINGS:
    return strings_value(name, 1, (GBytes *const *)attribute->texts->pdata, attribute->texts->len);
  default:
    return NULL;
  }
}

static gboolean is_operator(const OnnxNode *node, const gchar *op_type)
{
  return node->domain[0] == '\0' && strcmp(node->op_type, op_type) == 0;
}

/* Nodes that hand their first input on unchanged when a model predicts. */
static gboolean is_pass_through(const Simplify *simplify, const OnnxNode *node)
{
  if (is_operator(node, "Identity")) return TRUE;
  if (simplify->training || !is_operator(node, "Dropout")) return FALSE;
  const gchar *mask = onnx_node_get_output(node, 1);
  return mask == NULL ||
         (!g_hash_table_contains(simplify->read, mask) && !g_hash_table_contains(simplify->outputs, mask));
}

static void put_initialiser(Simplify *simplify, OnnxTensor *tensor)
{
  g_ptr_array_add(simplify->graph->initialisers, tensor);
  g_hash_table_insert(simplify->initialisers, tensor->name, tensor);
}

static gboolean keep_node(gpointer element, Simplify *simplify)
{
  OnnxNode *node = element;
  for (guint i = 0; i < node->inputs->len; i++) {
    const gchar *alias = g_hash_table_lookup(simplify->alias, g_ptr_array_index(node->inputs, i));
    if (alias == NULL) continue;
    g_free(g_ptr_array_index(node->inputs, i));
    g_ptr_array_index(node->inputs, i) = g_strdup(alias);
  }
  const gchar *output = onnx_node_get_output(node, 0), *input = onnx_node_get_input(node, 0);
  if (output == NULL) return TRUE;
  if (is_operator(node, "Constant")) {
    OnnxTensor *tensor = constant_value(node, output);
    if (tensor != NULL) put_initialiser(simplify, tensor);
    return tensor == NULL;
  }
  if (input == NULL || g_hash_table_contains(simplify->outputs, output) || !is_pass_through(simplify, node))
    return TRUE;
  const OnnxTensor *initialiser = g_hash_table_lookup(simplify->initialisers, input);
  if (initialiser != NULL)
    put_initialiser(simplify, renamed_copy(initialiser, output));
  else
    g_hash_table_insert(simplify->alias, g_strdup(output), g_strdup(input));
  return FALSE;
}

static gboolean keep_input(gpointer input, Simplify *simplify)
{
  return !g_hash_table_contains(simplify->initialisers, ((const OnnxValue *)input)->name);
}

static gboolean keep_value(gpointer value, Simplify *simplify)
{
  return g_hash_table_contains(simplify->read, ((const OnnxValue *)value)->name);
}

static gboolean keep_initialiser(gpointer tensor, Simplify *simplify)
{
  return g_hash_table_contains(simplify->read, ((const OnnxTensor *)tensor)->name);
}

static void add_all(GHashTable *names, const GPtrArray *list)
{
  for (guint i = 0; i < list->len; i++) g_hash_table_add(names, g_ptr_array_index(list, i));
}

/* Removes nodes none of whose outputs is used, then initialisers and declared shapes that lost their value. */
static void remove_unused(Simplify *simplify)
{
  OnnxGraph *graph = simplify->graph;
  g_autofree gboolean *needed = g_new0(gboolean, graph->nodes->len + 1);
  for (guint i = 0; i < graph->outputs->len; i++)
    g_hash_table_add(simplify->read, ((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
  for (guint n = graph->nodes->len; n-- > 0;) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->outputs->len; i++)
      needed[n] = needed[n] || g_hash_table_contains(simplify->read, g_ptr_array_index(node->outputs, i));
    if (!needed[n]) continue;
    add_all(simplify->read, node->inputs);
    add_all(simplify->read, node->outputs);
  }
  /* The names in `read` belong to nodes that stay, so they outlive the removal. */
  guint kept = 0;
  g_ptr_array_set_free_func(graph->nodes, NULL);
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (needed[n])
      g_ptr_array_index(graph->nodes, kept++) = node;
    else
      onnx_node_free(node);
  }
  g_ptr_array_set_size(graph->nodes, (gint)kept);
  g_ptr_array_set_free_func(graph->nodes, (GDestroyNotify)onnx_node_free);
  filter(graph->values, (GDestroyNotify)onnx_value_free, keep_value, simplify);
  filter(graph->initialisers, (GDestroyNotify)onnx_tensor_free, keep_initialiser, simplify);
}

/* Names as owned copies: node inputs change while the pass runs. */
static GHashTable *names_read(const OnnxGraph *graph)
{
  GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->inputs->len; i++) g_hash_table_add(names, g_strdup(g_ptr_array_index(node->inputs, i)));
  }
  return names;
}

static void simplify_graph(OnnxGraph *graph, gboolean training)
{
  if (onnx_graph_has_subgraphs(graph)) return; /* they may read any name */
  g_autoptr(GHashTable) outputs = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) initialisers = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) read = names_read(graph);
  g_autoptr(GHashTable) used = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) alias = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  Simplify simplify = {graph, outputs, initialisers, read, alias, training};
  for (guint i = 0; i < graph->outputs->len; i++)
    g_hash_table_add(outputs, ((const OnnxValue *)g_ptr_array_index(graph->outputs, i))->name);
  for (guint i = 0; i < graph->initialisers->len; i++) {
    OnnxTensor *tensor = g_ptr_array_index(graph->initialisers, i);
    g_hash_table_insert(initialisers, tensor->name, tensor);
  }
  /* Initialisers listed as inputs (required before IR 4, overridable defaults since) become plain constants. */
  filter(graph->inputs, (GDestroyNotify)onnx_value_free, keep_input, &simplify);
  graph->ir_version = MAX(graph->ir_version, 4);
  filter(graph->nodes, (GDestroyNotify)onnx_node_free, keep_node, &simplify);
  simplify.read = used;
  remove_unused(&simplify);
}

void onnx_graph_simplify(OnnxGraph *graph)
{
  simplify_graph(graph, FALSE);
}

void onnx_graph_simplify_for_training(OnnxGraph *graph)
{
  simplify_graph(graph, TRUE);
}
