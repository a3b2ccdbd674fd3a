#include "pipeline/graph_merge.h"

#include <string.h>

OnnxGraph *pipeline_graph_read(GBytes *onnx, GError **error)
{
  g_autoptr(GError) cause = NULL;
  OnnxGraph *graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return graph;
}

GBytes *pipeline_graph_write(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}

void pipeline_graph_keep_output(OnnxGraph *graph, const gchar *name)
{
  for (guint i = graph->outputs->len; i-- > 0;) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    if (!g_str_equal(output->name, name)) g_ptr_array_remove_index(graph->outputs, i);
  }
  g_ptr_array_set_size(graph->values, 0);
  onnx_graph_simplify(graph);
}

gboolean pipeline_graph_check_inputs(const OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error)
{
  gboolean same = graph->inputs->len == other->inputs->len;
  for (guint i = 0; same && i < graph->inputs->len; i++) {
    const OnnxValue *a = g_ptr_array_index(graph->inputs, i), *b = g_ptr_array_index(other->inputs, i);
    same = g_str_equal(a->name, b->name) && a->type == b->type;
  }
  if (!same)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the inputs of \"%s\" are not those of the first model: both must be made by `kedge train` for the "
                "same columns",
                name);
  return same;
}

gboolean pipeline_graph_share_opsets(OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error)
{
  for (guint i = 0; i < other->opsets->len; i++) {
    const OnnxOpset *opset = g_ptr_array_index(other->opsets, i);
    gint64 there = onnx_graph_get_opset(graph, opset->domain);
    if (there == 0) onnx_graph_set_opset(graph, opset->domain, opset->version);
    if (there == 0 || there == opset->version) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "\"%s\" is written for opset %" G_GINT64_FORMAT " of \"%s\", the first model for %" G_GINT64_FORMAT,
                name, opset->version, opset->domain, there);
    return FALSE;
  }
  return TRUE;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static gboolean is_input(const OnnxGraph *graph, const gchar *name)
{
  for (guint i = 0; i < graph->inputs->len; i++)
    if (g_str_equal(((const OnnxValue *)g_ptr_array_index(graph->inputs, i))->name, name)) return TRUE;
  return FALSE;
}

/* With prefix, or (strip) without; inputs of the graph and omitted inputs keep their name. */
static gchar *renamed(const OnnxGraph *graph, const gchar *name, const gchar *prefix, gboolean strip)
{
  if (*name == '\0' || is_input(graph, name)) return g_strdup(name);
  if (strip) return g_strdup(g_str_has_prefix(name, prefix) ? name + strlen(prefix) : name);
  return g_strconcat(prefix, name, NULL);
}

static void rename_all(const OnnxGraph *graph, GPtrArray *names, const gchar *prefix, gboolean strip)
{
  for (guint i = 0; i < names->len; i++) {
    gchar *before = g_ptr_array_index(names, i);
    g_ptr_array_index(names, i) = renamed(graph, before, prefix, strip);
    g_free(before);
  }
}

static void rename_text(const OnnxGraph *graph, gchar **name, const gchar *prefix, gboolean strip)
{
  gchar *before = *name;
  *name = renamed(graph, before, prefix, strip);
  g_free(before);
}

void pipeline_graph_move_parts(OnnxGraph *into, OnnxGraph *from, const gchar *prefix, gboolean strip)
{
  for (guint i = 0; i < from->nodes->len; i++) {
    OnnxNode *node = g_ptr_array_index(from->nodes, i);
    rename_all(from, node->inputs, prefix, strip);
    rename_all(from, node->outputs, prefix, strip);
    rename_text(from, &node->name, prefix, strip);
  }
  while (from->nodes->len > 0) g_ptr_array_add(into->nodes, g_ptr_array_steal_index(from->nodes, 0));
  while (from->initialisers->len > 0) {
    OnnxTensor *tensor = g_ptr_array_steal_index(from->initialisers, 0);
    rename_text(from, &tensor->name, prefix, strip);
    onnx_graph_take_initialiser(into, tensor);
  }
}
