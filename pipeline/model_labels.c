/* The labels that a model itself names, in the order of its columns. */
#include <string.h>

#include "pipeline/model_internal.h"

static const OnnxNode *producer(const OnnxGraph *graph, const gchar *value)
{
  gint index = value != NULL ? onnx_graph_find_producer(graph, value) : -1;
  return index >= 0 ? g_ptr_array_index(graph->nodes, index) : NULL;
}

static gboolean is_one_of(const OnnxNode *node, const gchar *const *names)
{
  return node != NULL && g_strv_contains(names, node->op_type);
}

const OnnxNode *pipeline_model_origin(const OnnxGraph *graph, const gchar *value)
{
  static const gchar *const wrappers[] = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
                                          "Cast",     "ZipMap",  "Dropout", NULL};
  const OnnxNode *node = producer(graph, value);
  while (is_one_of(node, wrappers)) node = producer(graph, onnx_node_get_input(node, 0));
  return node;
}

void pipeline_model_labels_clear(PipelineModelLabels *labels)
{
  g_clear_pointer(&labels->texts, g_free);
  g_clear_pointer(&labels->integers, g_free);
  labels->n = 0;
}

static gboolean labels_from_node(const OnnxNode *node, PipelineModelLabels *labels)
{
  static const gchar *const names[] = {"classlabels_strings", "classlabels_ints", "classlabels_int64s"};
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
    const OnnxAttribute *attribute = onnx_node_get_attribute(node, names[i]);
    if (attribute == NULL) continue;
    if (attribute->kind == ONNX_ATTRIBUTE_INTS && attribute->integers->len > 0) {
      labels->n = attribute->integers->len;
      labels->integers = g_memdup2(attribute->integers->data, labels->n * sizeof(gint64));
      return TRUE;
    }
    if (attribute->kind != ONNX_ATTRIBUTE_STRINGS || attribute->texts->len == 0) continue;
    labels->n = attribute->texts->len;
    labels->texts = g_new0(PipelineText, labels->n);
    for (guint t = 0; t < labels->n; t++)
      labels->texts[t].text = g_bytes_get_data(g_ptr_array_index(attribute->texts, t), &labels->texts[t].length);
    return TRUE;
  }
  return FALSE;
}

static gboolean labels_from_constant(const PipelineTensor *tensor, PipelineModelLabels *labels)
{
  if (tensor == NULL || tensor->n == 0 || tensor->n > G_MAXUINT16) return FALSE;
  labels->n = (guint)tensor->n;
  if (tensor->type == ONNX_TYPE_STRING) {
    labels->texts = g_memdup2(tensor->data, tensor->n * sizeof(PipelineText));
    return TRUE;
  }
  if (tensor->type != ONNX_TYPE_INT64 && tensor->type != ONNX_TYPE_INT32) return FALSE;
  labels->integers = g_new(gint64, labels->n);
  for (guint i = 0; i < labels->n; i++)
    labels->integers[i] =
        tensor->type == ONNX_TYPE_INT64 ? ((const gint64 *)tensor->data)[i] : ((const gint32 *)tensor->data)[i];
  return TRUE;
}

/* Of a label output: of the classifier operator that makes it, or of the list that it is looked up in. */
static gboolean labels_from_output(const OnnxGraph *graph, const PipelineExecutor *executor, guint index,
                                   PipelineModelLabels *labels)
{
  static const gchar *const look_ups[] = {"ArrayFeatureExtractor", "Gather", NULL};
  const OnnxValue *value = g_ptr_array_index(graph->outputs, index);
  OnnxType type = pipeline_executor_get_output(executor, index)->type;
  if (type == ONNX_TYPE_UNDEFINED) type = value->type; /* nothing was run yet */
  if (type != ONNX_TYPE_INT64 && type != ONNX_TYPE_INT32 && type != ONNX_TYPE_STRING) return FALSE;
  const OnnxNode *node = pipeline_model_origin(graph, value->name);
  if (node != NULL && labels_from_node(node, labels)) return TRUE;
  return is_one_of(node, look_ups) &&
         labels_from_constant(pipeline_executor_get_constant(executor, onnx_node_get_input(node, 0)), labels);
}

gboolean pipeline_model_labels_find(const OnnxGraph *graph, const PipelineExecutor *executor, guint n_classes,
                                    PipelineModelLabels *labels)
{
  for (guint n = graph->nodes->len; n-- > 0;) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (strcmp(node->op_type, "ZipMap") == 0 && labels_from_node(node, labels)) return TRUE;
  }
  for (guint i = 0; i < graph->outputs->len; i++)
    if (labels_from_output(graph, executor, i, labels)) return TRUE;
  for (guint n = graph->nodes->len; n-- > 0;) {
    if (!labels_from_node(g_ptr_array_index(graph->nodes, n), labels)) continue;
    if (labels->n == n_classes) return TRUE;
    pipeline_model_labels_clear(labels);
  }
  return FALSE;
}

DriftValue pipeline_model_labels_get(const PipelineModelLabels *labels, guint i)
{
  if (labels->texts != NULL)
    return (DriftValue){
        .kind = DRIFT_VALUE_TEXT, .length = (guint32)labels->texts[i].length, .text = labels->texts[i].text};
  return (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = (double)labels->integers[i]};
}
