#include <string.h>

#include "onnx/graph_internal.h"

/* --- parts ------------------------------------------------------------------------------------------------------ */

OnnxValue *onnx_value_new(const gchar *name, OnnxType type)
{
  OnnxValue *value = g_new0(OnnxValue, 1);
  value->name = g_strdup(name);
  value->type = type;
  return value;
}

void onnx_value_free(OnnxValue *value)
{
  if (value == NULL) return;
  g_free(value->name);
  for (guint i = 0; i < value->n_dims; i++) g_free(value->dims[i].symbol);
  g_clear_pointer(&value->preserved, g_bytes_unref);
  g_free(value);
}

OnnxOpset *onnx_opset_new(const gchar *domain, gint64 version)
{
  OnnxOpset *opset = g_new0(OnnxOpset, 1);
  opset->domain = g_strdup(domain);
  opset->version = version;
  return opset;
}

static void opset_free(OnnxOpset *opset)
{
  g_free(opset->domain);
  g_free(opset);
}

OnnxMetadata *onnx_metadata_new(const gchar *key, const gchar *value)
{
  OnnxMetadata *metadata = g_new0(OnnxMetadata, 1);
  metadata->key = g_strdup(key);
  metadata->value = g_strdup(value);
  return metadata;
}

static void metadata_free(OnnxMetadata *metadata)
{
  g_free(metadata->key);
  g_free(metadata->value);
  g_free(metadata);
}

/* --- the graph -------------------------------------------------------------------------------------------------- */

OnnxGraph *onnx_graph_new(const gchar *name)
{
  OnnxGraph *graph = g_new0(OnnxGraph, 1);
  graph->ir_version = 8;
  graph->opsets = g_ptr_array_new_with_free_func((GDestroyNotify)opset_free);
  graph->producer_name = g_strdup("kedge");
  graph->producer_version = g_strdup("");
  graph->domain = g_strdup("");
  graph->doc_string = g_strdup("");
  graph->metadata = g_ptr_array_new_with_free_func((GDestroyNotify)metadata_free);
  graph->name = g_strdup(name);
  graph->inputs = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_value_free);
  graph->outputs = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_value_free);
  graph->values = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_value_free);
  graph->initialisers = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_tensor_free);
  graph->nodes = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_node_free);
  return graph;
}

void onnx_graph_free(OnnxGraph *graph)
{
  if (graph == NULL) return;
  g_ptr_array_unref(graph->opsets);
  g_free(graph->producer_name);
  g_free(graph->producer_version);
  g_free(graph->domain);
  g_free(graph->doc_string);
  g_ptr_array_unref(graph->metadata);
  g_free(graph->name);
  g_ptr_array_unref(graph->inputs);
  g_ptr_array_unref(graph->outputs);
  g_ptr_array_unref(graph->values);
  g_ptr_array_unref(graph->initialisers);
  g_ptr_array_unref(graph->nodes);
  g_clear_pointer(&graph->preserved_model, g_bytes_unref);
  g_clear_pointer(&graph->preserved_graph, g_bytes_unref);
  g_free(graph);
}

void onnx_graph_set_opset(OnnxGraph *graph, const gchar *domain, gint64 version)
{
  for (guint i = 0; i < graph->opsets->len; i++) {
    OnnxOpset *opset = g_ptr_array_index(graph->opsets, i);
    if (strcmp(opset->domain, domain) != 0) continue;
    opset->version = version;
    return;
  }
  g_ptr_array_add(graph->opsets, onnx_opset_new(domain, version));
}

gint64 onnx_graph_get_opset(const OnnxGraph *graph, const gchar *domain)
{
  for (guint i = 0; i < graph->opsets->len; i++) {
    const OnnxOpset *opset = g_ptr_array_index(graph->opsets, i);
    if (strcmp(opset->domain, domain) == 0) return opset->version;
  }
  return 0;
}

void onnx_graph_set_metadata(OnnxGraph *graph, const gchar *key, const gchar *value)
{
  for (guint i = 0; i < graph->metadata->len; i++) {
    OnnxMetadata *metadata = g_ptr_array_index(graph->metadata, i);
    if (strcmp(metadata->key, key) != 0) continue;
    if (value == NULL) {
      g_ptr_array_remove_index(graph->metadata, i);
      return;
    }
    g_free(metadata->value);
    metadata->value = g_strdup(value);
    return;
  }
  if (value != NULL) g_ptr_array_add(graph->metadata, onnx_metadata_new(key, value));
}

const gchar *onnx_graph_get_metadata(const OnnxGraph *graph, const gchar *key)
{
  for (guint i = 0; i < graph->metadata->len; i++) {
    const OnnxMetadata *metadata = g_ptr_array_index(graph->metadata, i);
    if (strcmp(metadata->key, key) == 0) return metadata->value;
  }
  return NULL;
}

static void set_shape(OnnxValue *value, const gchar *shape)
{
  value->has_shape = shape != NULL;
  if (shape == NULL || shape[0] == '\0') return;
  g_auto(GStrv) parts = g_strsplit(shape, ",", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    g_assert(i < ONNX_MAX_DIMENSIONS);
    OnnxDimension *dimension = &value->dims[value->n_dims++];
    gboolean number = g_ascii_isdigit(parts[i][0]);
    dimension->size = number ? g_ascii_strtoll(parts[i], NULL, 10) : -1;
    dimension->symbol = number || strcmp(parts[i], "?") == 0 ? NULL : g_strdup(parts[i]);
  }
}

static OnnxValue *add_value(GPtrArray *values, const gchar *name, OnnxType type, const gchar *shape)
{
  OnnxValue *value = onnx_value_new(name, type);
  set_shape(value, shape);
  g_ptr_array_add(values, value);
  return value;
}

OnnxValue *onnx_graph_add_input(OnnxGraph *graph, const gchar *name, OnnxType type, const gchar *shape)
{
  return add_value(graph->inputs, name, type, shape);
}

OnnxValue *onnx_graph_add_output(OnnxGraph *graph, const gchar *name, OnnxType type, const gchar *shape)
{
  return add_value(graph->outputs, name, type, shape);
}

const OnnxValue *onnx_graph_find_value(const OnnxGraph *graph, const gchar *name)
{
  const GPtrArray *lists[] = {graph->inputs, graph->outputs, graph->values};
  for (gsize l = 0; l < G_N_ELEMENTS(lists); l++)
    for (guint i = 0; i < lists[l]->len; i++) {
      const OnnxValue *value = g_ptr_array_index(lists[l], i);
      if (strcmp(value->name, name) == 0) return value;
    }
  return NULL;
}

gboolean onnx_graph_is_fed(const OnnxGraph *graph, const OnnxValue *input)
{
  return onnx_graph_find_initialiser(graph, input->name) == NULL;
}

/* Index of the initialiser of that name, or -1. */
static gint initialiser_index(const OnnxGraph *graph, const gchar *name)
{
  for (guint i = 0; i < graph->initialisers->len; i++) {
    const OnnxTensor *tensor = g_ptr_array_index(graph->initialisers, i);
    if (strcmp(tensor->name, name) == 0) return (gint)i;
  }
  return -1;
}

void onnx_graph_take_initialiser(OnnxGraph *graph, OnnxTensor *tensor)
{
  gint index = initialiser_index(graph, tensor->name);
  if (index < 0) {
    g_ptr_array_add(graph->initialisers, tensor);
    return;
  }
  if (g_ptr_array_index(graph->initialisers, index) == tensor) return;
  onnx_tensor_free(g_ptr_array_index(graph->initialisers, index));
  g_ptr_array_index(graph->initialisers, index) = tensor;
}

OnnxTensor *onnx_graph_find_initialiser(const OnnxGraph *graph, const gchar *name)
{
  gint index = initialiser_index(graph, name);
  return index < 0 ? NULL : g_ptr_array_index(graph->initialisers, index);
}

gboolean onnx_graph_remove_initialiser(OnnxGraph *graph, const gchar *name)
{
  gint index = initialiser_index(graph, name);
  if (index >= 0) g_ptr_array_remove_index(graph->initialisers, (guint)index);
  return index >= 0;
}

OnnxNode *onnx_graph_add_node(OnnxGraph *graph, const gchar *domain, const gchar *op_type, const gchar *inputs,
                              const gchar *outputs)
{
  g_auto(GStrv) input_names = g_strsplit(inputs, ",", -1);
  g_auto(GStrv) output_names = g_strsplit(outputs, ",", -1);
  return onnx_graph_add_node_strv(graph, domain, op_type, (const gchar *const *)input_names,
                                  (const gchar *const *)output_names);
}

OnnxNode *onnx_graph_add_node_strv(OnnxGraph *graph, const gchar *domain, const gchar *op_type,
                                   const gchar *const *inputs, const gchar *const *outputs)
{
  OnnxNode *node = onnx_node_new(domain, op_type);
  for (guint i = 0; inputs[i] != NULL; i++) g_ptr_array_add(node->inputs, g_strdup(inputs[i]));
  for (guint i = 0; outputs[i] != NULL; i++) g_ptr_array_add(node->outputs, g_strdup(outputs[i]));
  g_ptr_array_add(graph->nodes, node);
  return node;
}

void onnx_graph_remove_node(OnnxGraph *graph, guint index)
{
  g_ptr_array_remove_index(graph->nodes, index);
}

gboolean onnx_graph_has_subgraphs(const OnnxGraph *graph)
{
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint a = 0; a < node->attributes->len; a++) {
      const OnnxAttribute *attribute = g_ptr_array_index(node->attributes, a);
      if (attribute->kind == ONNX_ATTRIBUTE_OTHER) return TRUE;
    }
  }
  return FALSE;
}
