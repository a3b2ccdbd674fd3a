#include "onnx/graph_internal.h"

static GBytes *ref_or_null(GBytes *bytes)
{
  return bytes != NULL ? g_bytes_ref(bytes) : NULL;
}

static gpointer copy_text(gconstpointer text, gpointer unused)
{
  (void)unused;
  return g_strdup(text);
}

static gpointer copy_bytes(gconstpointer bytes, gpointer unused)
{
  (void)unused;
  return g_bytes_ref((GBytes *)bytes);
}

static gpointer copy_value(gconstpointer data, gpointer unused)
{
  (void)unused;
  const OnnxValue *value = data;
  OnnxValue *copy = g_new(OnnxValue, 1);
  *copy = *value;
  copy->name = g_strdup(value->name);
  for (guint i = 0; i < value->n_dims; i++) copy->dims[i].symbol = g_strdup(value->dims[i].symbol);
  copy->preserved = ref_or_null(value->preserved);
  return copy;
}

static gpointer copy_tensor(gconstpointer tensor, gpointer unused)
{
  (void)unused;
  return onnx_tensor_copy(tensor);
}

static gpointer copy_opset(gconstpointer data, gpointer unused)
{
  (void)unused;
  const OnnxOpset *opset = data;
  return onnx_opset_new(opset->domain, opset->version);
}

static gpointer copy_metadata(gconstpointer data, gpointer unused)
{
  (void)unused;
  const OnnxMetadata *metadata = data;
  return onnx_metadata_new(metadata->key, metadata->value);
}

/* Appends a copy of every element; the target's free function owns them. */
static void append_copies(GPtrArray *into, const GPtrArray *from, GCopyFunc copy)
{
  for (guint i = 0; i < from->len; i++) g_ptr_array_add(into, copy(g_ptr_array_index(from, i), NULL));
}

static gpointer copy_attribute(gconstpointer data, gpointer unused)
{
  (void)unused;
  const OnnxAttribute *attribute = data;
  OnnxAttribute *copy = g_new(OnnxAttribute, 1);
  *copy = *attribute;
  copy->name = g_strdup(attribute->name);
  copy->text = ref_or_null(attribute->text);
  copy->tensor = attribute->tensor != NULL ? onnx_tensor_copy(attribute->tensor) : NULL;
  copy->numbers = attribute->numbers != NULL ? g_array_copy(attribute->numbers) : NULL;
  copy->integers = attribute->integers != NULL ? g_array_copy(attribute->integers) : NULL;
  if (attribute->texts != NULL) {
    copy->texts = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    append_copies(copy->texts, attribute->texts, copy_bytes);
  }
  copy->preserved = ref_or_null(attribute->preserved);
  return copy;
}

static gpointer copy_node(gconstpointer data, gpointer unused)
{
  (void)unused;
  const OnnxNode *node = data;
  OnnxNode *copy = onnx_node_new(node->domain, node->op_type);
  g_free(copy->name);
  copy->name = g_strdup(node->name);
  append_copies(copy->inputs, node->inputs, copy_text);
  append_copies(copy->outputs, node->outputs, copy_text);
  append_copies(copy->attributes, node->attributes, copy_attribute);
  copy->preserved = ref_or_null(node->preserved);
  return copy;
}

static void copy_string(gchar **into, const gchar *from)
{
  g_free(*into);
  *into = g_strdup(from);
}

OnnxGraph *onnx_graph_copy(const OnnxGraph *graph)
{
  OnnxGraph *copy = onnx_graph_new(graph->name);
  copy->ir_version = graph->ir_version;
  copy->model_version = graph->model_version;
  copy_string(&copy->producer_name, graph->producer_name);
  copy_string(&copy->producer_version, graph->producer_version);
  copy_string(&copy->domain, graph->domain);
  copy_string(&copy->doc_string, graph->doc_string);
  append_copies(copy->opsets, graph->opsets, copy_opset);
  append_copies(copy->metadata, graph->metadata, copy_metadata);
  append_copies(copy->inputs, graph->inputs, copy_value);
  append_copies(copy->outputs, graph->outputs, copy_value);
  append_copies(copy->values, graph->values, copy_value);
  append_copies(copy->initialisers, graph->initialisers, copy_tensor);
  append_copies(copy->nodes, graph->nodes, copy_node);
  copy->preserved_model = ref_or_null(graph->preserved_model);
  copy->preserved_graph = ref_or_null(graph->preserved_graph);
  return copy;
}
