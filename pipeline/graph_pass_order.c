/* In which order a pass computes nodes that may change places: Relu(x) that only a MaxPool reads is computed behind it,
 * on what the pool leaves of x. Both orders give the same bits, forward and backward: Relu keeps the order of numbers
 * and changes none that is positive; where the largest of a window is not, Relu lets no gradient through. It is a pass
 * over the whole image otherwise, forward and backward. */
#include <string.h>

#include "pipeline/graph_pass_internal.h"

#define NO_READER G_MAXUINT

static const OnnxNode *get_node(const OnnxGraph *graph, guint index)
{
  return g_ptr_array_index(graph->nodes, index);
}

static gboolean is_operator(const OnnxNode *node, const gchar *op_type)
{
  return node->domain[0] == '\0' && strcmp(node->op_type, op_type) == 0;
}

/* Every window has an element of the image in it, and the largest one is all that is asked for. */
static gboolean takes_elements(const OnnxNode *pool)
{
  guint n_kernel, n_pads, n_dilations;
  const gint64 *kernel = onnx_node_get_ints(pool, "kernel_shape", &n_kernel),
               *pads = onnx_node_get_ints(pool, "pads", &n_pads);
  onnx_node_get_ints(pool, "dilations", &n_dilations);
  if (n_dilations > 0 || onnx_node_get_int(pool, "ceil_mode", 0) != 0 ||
      onnx_node_get_attribute(pool, "auto_pad") != NULL || pool->outputs->len != 1)
    return FALSE;
  for (guint i = 0; i < n_pads; i++)
    if (n_kernel == 0 || pads[i] >= kernel[i % n_kernel]) return FALSE;
  return TRUE;
}

/* The node behind `from` whose first input is the value, when nothing else reads it. */
static guint find_only_reader(const OnnxGraph *graph, guint from, const gchar *value)
{
  if (onnx_graph_count_readers(graph, value) != 1) return NO_READER;
  for (guint n = from + 1; n < graph->nodes->len; n++)
    if (g_strcmp0(onnx_node_get_input(get_node(graph, n), 0), value) == 0) return n;
  return NO_READER;
}

guint *pipeline_pass_find_order(const OnnxGraph *graph, const gchar *const *heads)
{
  guint *order = g_new(guint, graph->nodes->len + 1);
  for (guint n = 0; n < graph->nodes->len; n++) order[n] = n;
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *relu = get_node(graph, n);
    const gchar *value = onnx_node_get_output(relu, 0);
    if (!is_operator(relu, "Relu") || value == NULL || (heads != NULL && g_strv_contains(heads, value))) continue;
    guint reader = find_only_reader(graph, n, value);
    if (reader == NO_READER || !is_operator(get_node(graph, reader), "MaxPool") ||
        !takes_elements(get_node(graph, reader)))
      continue;
    order[n] = reader;
    order[reader] = n;
  }
  return order;
}

void pipeline_pass_name_moved(PipelineGraphPass *pass, const guint *order)
{
  for (guint n = 0; n < pass->n_steps; n++) {
    const OnnxNode *node = g_ptr_array_index(pass->graph->nodes, n);
    if (order[n] <= n) continue;
    guint value = pass->steps[order[n]].outputs[0];
    g_hash_table_insert(pass->value_of, (gpointer)onnx_node_get_output(node, 0), GUINT_TO_POINTER(value + 1));
  }
}
