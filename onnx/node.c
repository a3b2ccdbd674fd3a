#include <string.h>

#include "onnx/graph_internal.h"

OnnxAttribute *onnx_attribute_new(const gchar *name, OnnxAttributeKind kind)
{
  OnnxAttribute *attribute = g_new0(OnnxAttribute, 1);
  attribute->name = g_strdup(name);
  attribute->kind = kind;
  return attribute;
}

void onnx_attribute_free(OnnxAttribute *attribute)
{
  if (attribute == NULL) return;
  g_free(attribute->name);
  g_clear_pointer(&attribute->text, g_bytes_unref);
  g_clear_pointer(&attribute->tensor, onnx_tensor_free);
  g_clear_pointer(&attribute->numbers, g_array_unref);
  g_clear_pointer(&attribute->integers, g_array_unref);
  g_clear_pointer(&attribute->texts, g_ptr_array_unref);
  g_clear_pointer(&attribute->preserved, g_bytes_unref);
  g_free(attribute);
}

OnnxNode *onnx_node_new(const gchar *domain, const gchar *op_type)
{
  OnnxNode *node = g_new0(OnnxNode, 1);
  node->domain = g_strdup(domain);
  node->op_type = g_strdup(op_type);
  node->name = g_strdup("");
  node->inputs = g_ptr_array_new_with_free_func(g_free);
  node->outputs = g_ptr_array_new_with_free_func(g_free);
  node->attributes = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_attribute_free);
  return node;
}

void onnx_node_free(OnnxNode *node)
{
  if (node == NULL) return;
  g_free(node->domain);
  g_free(node->op_type);
  g_free(node->name);
  g_ptr_array_unref(node->inputs);
  g_ptr_array_unref(node->outputs);
  g_ptr_array_unref(node->attributes);
  g_clear_pointer(&node->preserved, g_bytes_unref);
  g_free(node);
}

const OnnxAttribute *onnx_node_get_attribute(const OnnxNode *node, const gchar *name)
{
  for (guint i = 0; i < node->attributes->len; i++) {
    const OnnxAttribute *attribute = g_ptr_array_index(node->attributes, i);
    if (strcmp(attribute->name, name) == 0) return attribute;
  }
  return NULL;
}

/* The attribute when it is of the kind, else NULL. */
static const OnnxAttribute *get_of_kind(const OnnxNode *node, const gchar *name, OnnxAttributeKind kind)
{
  const OnnxAttribute *attribute = onnx_node_get_attribute(node, name);
  return attribute != NULL && attribute->kind == kind ? attribute : NULL;
}

gint64 onnx_node_get_int(const OnnxNode *node, const gchar *name, gint64 default_value)
{
  const OnnxAttribute *attribute = get_of_kind(node, name, ONNX_ATTRIBUTE_INT);
  return attribute != NULL ? attribute->integer : default_value;
}

const gint64 *onnx_node_get_ints(const OnnxNode *node, const gchar *name, guint *n)
{
  const OnnxAttribute *attribute = get_of_kind(node, name, ONNX_ATTRIBUTE_INTS);
  *n = attribute != NULL ? attribute->integers->len : 0;
  return attribute != NULL ? (const gint64 *)(gpointer)attribute->integers->data : NULL;
}

const float *onnx_node_get_floats(const OnnxNode *node, const gchar *name, guint *n)
{
  const OnnxAttribute *attribute = get_of_kind(node, name, ONNX_ATTRIBUTE_FLOATS);
  *n = attribute != NULL ? attribute->numbers->len : 0;
  return attribute != NULL ? (const float *)(gpointer)attribute->numbers->data : NULL;
}

float onnx_node_get_float(const OnnxNode *node, const gchar *name, float default_value)
{
  const OnnxAttribute *attribute = get_of_kind(node, name, ONNX_ATTRIBUTE_FLOAT);
  return attribute != NULL ? attribute->number : default_value;
}

gchar *onnx_node_copy_string(const OnnxNode *node, const gchar *name, const gchar *default_value)
{
  const OnnxAttribute *attribute = get_of_kind(node, name, ONNX_ATTRIBUTE_STRING);
  if (attribute == NULL) return g_strdup(default_value);
  gsize length;
  const gchar *text = g_bytes_get_data(attribute->text, &length);
  return g_strndup(text != NULL ? text : "", length);
}

static const gchar *name_at(const GPtrArray *names, guint index)
{
  if (index >= names->len) return NULL;
  const gchar *name = g_ptr_array_index(names, index);
  return name[0] != '\0' ? name : NULL;
}

const gchar *onnx_node_get_input(const OnnxNode *node, guint index)
{
  return name_at(node->inputs, index);
}

const gchar *onnx_node_get_output(const OnnxNode *node, guint index)
{
  return name_at(node->outputs, index);
}

/* A fresh attribute in the place of the one of that name, or appended. */
static OnnxAttribute *put_attribute(OnnxNode *node, const gchar *name, OnnxAttributeKind kind)
{
  OnnxAttribute *fresh = onnx_attribute_new(name, kind);
  for (guint i = 0; i < node->attributes->len; i++) {
    OnnxAttribute *old = g_ptr_array_index(node->attributes, i);
    if (strcmp(old->name, name) != 0) continue;
    onnx_attribute_free(old);
    g_ptr_array_index(node->attributes, i) = fresh;
    return fresh;
  }
  g_ptr_array_add(node->attributes, fresh);
  return fresh;
}

void onnx_node_set_int(OnnxNode *node, const gchar *name, gint64 value)
{
  put_attribute(node, name, ONNX_ATTRIBUTE_INT)->integer = value;
}

void onnx_node_set_float(OnnxNode *node, const gchar *name, float value)
{
  put_attribute(node, name, ONNX_ATTRIBUTE_FLOAT)->number = value;
}

void onnx_node_set_string(OnnxNode *node, const gchar *name, const gchar *value)
{
  put_attribute(node, name, ONNX_ATTRIBUTE_STRING)->text = g_bytes_new(value, strlen(value));
}

void onnx_node_set_ints(OnnxNode *node, const gchar *name, const gint64 *values, guint n)
{
  GArray *array = g_array_sized_new(FALSE, FALSE, sizeof(gint64), n);
  if (n > 0) g_array_append_vals(array, values, n);
  put_attribute(node, name, ONNX_ATTRIBUTE_INTS)->integers = array;
}

void onnx_node_set_floats(OnnxNode *node, const gchar *name, const float *values, guint n)
{
  GArray *array = g_array_sized_new(FALSE, FALSE, sizeof(float), n);
  if (n > 0) g_array_append_vals(array, values, n);
  put_attribute(node, name, ONNX_ATTRIBUTE_FLOATS)->numbers = array;
}

void onnx_node_set_strings(OnnxNode *node, const gchar *name, const gchar *const *values, guint n)
{
  GPtrArray *texts = g_ptr_array_new_full(n, (GDestroyNotify)g_bytes_unref);
  for (guint i = 0; i < n; i++) g_ptr_array_add(texts, g_bytes_new(values[i], strlen(values[i])));
  put_attribute(node, name, ONNX_ATTRIBUTE_STRINGS)->texts = texts;
}

void onnx_node_take_tensor(OnnxNode *node, const gchar *name, OnnxTensor *tensor)
{
  put_attribute(node, name, ONNX_ATTRIBUTE_TENSOR)->tensor = tensor;
}

gchar *onnx_node_describe(const OnnxNode *node, guint index)
{
  if (node->name[0] != '\0') return g_strdup_printf("%s node '%s'", node->op_type, node->name);
  const gchar *output = onnx_node_get_output(node, 0);
  return g_strdup_printf("%s node number %u (output '%s')", node->op_type, index + 1, output != NULL ? output : "");
}
