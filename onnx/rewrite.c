#include <string.h>

#include "onnx/graph_internal.h"

gint onnx_graph_find_producer(const OnnxGraph *graph, const gchar *value)
{
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->outputs->len; i++)
      if (strcmp(g_ptr_array_index(node->outputs, i), value) == 0) return (gint)n;
  }
  return -1;
}

static gboolean is_output(const OnnxGraph *graph, const gchar *value)
{
  for (guint i = 0; i < graph->outputs->len; i++) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    if (strcmp(output->name, value) == 0) return TRUE;
  }
  return FALSE;
}

guint onnx_graph_count_readers(const OnnxGraph *graph, const gchar *value)
{
  guint count = is_output(graph, value);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->inputs->len; i++) count += strcmp(g_ptr_array_index(node->inputs, i), value) == 0;
  }
  return count;
}

static void replace_name(gchar **name, const gchar *from, const gchar *to)
{
  if (strcmp(*name, from) != 0) return;
  g_free(*name);
  *name = g_strdup(to);
}

static void replace_names(GPtrArray *names, const gchar *from, const gchar *to)
{
  for (guint i = 0; i < names->len; i++) {
    gchar *name = g_ptr_array_index(names, i);
    replace_name(&name, from, to);
    g_ptr_array_index(names, i) = name;
  }
}

void onnx_graph_redirect(OnnxGraph *graph, const gchar *from, const gchar *to)
{
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    replace_names(node->inputs, from, to);
  }
}

gboolean onnx_graph_rename_value(OnnxGraph *graph, const gchar *from, const gchar *to, GError **error)
{
  if (onnx_graph_find_value(graph, to) != NULL || onnx_graph_find_initialiser(graph, to) != NULL ||
      onnx_graph_find_producer(graph, to) >= 0) {
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_INVALID, "cannot rename '%s': the graph has a value '%s' already", from,
                to);
    return FALSE;
  }
  if (onnx_graph_has_subgraphs(graph)) {
    g_set_error(error, ONNX_ERROR, ONNX_ERROR_UNSUPPORTED,
                "cannot rename '%s': the graph has nodes with subgraphs, whose names are not followed", from);
    return FALSE;
  }
  GPtrArray *lists[] = {graph->inputs, graph->outputs, graph->values};
  for (gsize l = 0; l < G_N_ELEMENTS(lists); l++)
    for (guint i = 0; i < lists[l]->len; i++)
      replace_name(&((OnnxValue *)g_ptr_array_index(lists[l], i))->name, from, to);
  for (guint i = 0; i < graph->initialisers->len; i++)
    replace_name(&((OnnxTensor *)g_ptr_array_index(graph->initialisers, i))->name, from, to);
  for (guint n = 0; n < graph->nodes->len; n++)
    replace_names(((OnnxNode *)g_ptr_array_index(graph->nodes, n))->outputs, from, to);
  onnx_graph_redirect(graph, from, to);
  return TRUE;
}
