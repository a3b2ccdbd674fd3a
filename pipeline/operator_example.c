/* The examples in the operator table: each documents its row and is run as its selftest.
 *
 *     INPUT; INPUT … { name=value name=value } => OUTPUT; OUTPUT
 *
 * A tensor is TYPE[dims] elements: f float32, i int64, j int32, u uint8, b bool, s string ("f[2,1] 0.5 nan"). An
 * attribute's value is an integer, a float (with a point, or nan), a 'text', or a list of those in brackets without
 * spaces.
 */
#include <math.h>
#include <string.h>

#include "pipeline/executor.h"
#include "pipeline/operator_internal.h"

#define MAX_TENSORS 8

static OnnxType type_of_letter(gchar letter)
{
  return letter == 'f'   ? ONNX_TYPE_FLOAT
         : letter == 'i' ? ONNX_TYPE_INT64
         : letter == 'j' ? ONNX_TYPE_INT32
         : letter == 'u' ? ONNX_TYPE_UINT8
         : letter == 'b' ? ONNX_TYPE_BOOL
         : letter == 's' ? ONNX_TYPE_STRING
                         : ONNX_TYPE_UNDEFINED;
}

OnnxTensor *pipeline_example_tensor(const gchar *text, const gchar *name)
{
  g_auto(GStrv) words = g_strsplit(text, " ", -1);
  OnnxType type = type_of_letter(words[0][0]);
  gint64 dims[ONNX_MAX_DIMENSIONS];
  guint n_dims = 0;
  gsize n = 1;
  const gchar *at = words[0] + 2;
  while (*at != ']') {
    gchar *end;
    dims[n_dims] = g_ascii_strtoll(at, &end, 10);
    n *= (gsize)dims[n_dims++];
    at = *end == ',' ? end + 1 : end;
  }
  if (type == ONNX_TYPE_UNDEFINED || g_strv_length(words) != n + 1) return NULL;
  if (type == ONNX_TYPE_STRING) return onnx_tensor_new_strings(name, n_dims, dims, (const gchar *const *)words + 1);
  gsize size = onnx_type_get_size(type);
  g_autofree guint8 *data = g_malloc0(n * size + 1);
  for (gsize i = 0; i < n; i++) {
    float number = (float)g_ascii_strtod(words[i + 1], NULL);
    gint64 integer = type == ONNX_TYPE_FLOAT ? 0 : g_ascii_strtoll(words[i + 1], NULL, 10);
    memcpy(data + i * size, type == ONNX_TYPE_FLOAT ? (gconstpointer)&number : (gconstpointer)&integer, size);
  }
  return onnx_tensor_new(name, type, n_dims, dims, data);
}

static gboolean is_float(const gchar *text)
{
  return strchr(text, '.') != NULL || strcmp(text, "nan") == 0;
}

static void parse_list(OnnxNode *node, const gchar *name, const gchar *inside)
{
  g_auto(GStrv) parts = g_strsplit(inside, ",", -1);
  guint n = g_strv_length(parts);
  g_autofree float *numbers = g_new(float, n);
  g_autofree gint64 *integers = g_new(gint64, n);
  for (guint i = 0; i < n; i++) {
    numbers[i] = (float)g_ascii_strtod(parts[i], NULL);
    integers[i] = g_ascii_strtoll(parts[i], NULL, 10);
  }
  if (parts[0][0] == '\'') {
    for (guint i = 0; i < n; i++) g_strdelimit(parts[i], "'", ' '), g_strstrip(parts[i]);
    onnx_node_set_strings(node, name, (const gchar *const *)parts, n);
  } else if (is_float(parts[0])) {
    onnx_node_set_floats(node, name, numbers, n);
  } else {
    onnx_node_set_ints(node, name, integers, n);
  }
}

void pipeline_example_attribute(OnnxNode *node, const gchar *word)
{
  const gchar *value = strchr(word, '=') + 1;
  g_autofree gchar *name = g_strndup(word, (gsize)(value - word) - 1);
  gsize length = strlen(value);
  g_autofree gchar *inside = length >= 2 ? g_strndup(value + 1, length - 2) : g_strdup("");
  if (value[0] == '[')
    parse_list(node, name, inside);
  else if (value[0] == '\'')
    onnx_node_set_string(node, name, inside);
  else if (is_float(value))
    onnx_node_set_float(node, name, (float)g_ascii_strtod(value, NULL));
  else
    onnx_node_set_int(node, name, g_ascii_strtoll(value, NULL, 10));
}

static gboolean same_element(const PipelineTensor *actual, const PipelineTensor *expected, gsize i)
{
  if (actual->type == ONNX_TYPE_STRING) {
    const PipelineText *x = (PipelineText *)actual->data + i, *y = (PipelineText *)expected->data + i;
    return x->length == y->length && (x->length == 0 || memcmp(x->text, y->text, x->length) == 0);
  }
  if (actual->type != ONNX_TYPE_FLOAT)
    return pipeline_element_get_integer(actual, i) == pipeline_element_get_integer(expected, i);
  float x = ((float *)actual->data)[i], y = ((float *)expected->data)[i];
  return (isnan(x) && isnan(y)) || x == y || fabsf(x - y) <= 1e-5f * MAX(1, fabsf(y));
}

static gboolean compare_output(const PipelineTensor *actual, const gchar *text, guint index, GError **error)
{
  g_autoptr(OnnxTensor) wanted = pipeline_example_tensor(text, "expected");
  PipelineTensor expected = {0};
  if (wanted == NULL || !pipeline_tensor_set_onnx(&expected, wanted, error)) return FALSE;
  gboolean same = actual->type == expected.type && actual->n_dims == expected.n_dims && actual->n == expected.n &&
                  memcmp(actual->dims, expected.dims, actual->n_dims * sizeof(gint64)) == 0;
  for (gsize i = 0; same && i < expected.n; i++) same = same_element(actual, &expected, i);
  pipeline_tensor_clear(&expected);
  if (same) return TRUE;
  g_autofree gchar *shape = pipeline_tensor_describe(actual);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "output %u is %s and differs from the example %s", index,
              shape, text);
  return FALSE;
}

/* A graph of one node whose inputs are graph inputs, so that nothing is folded. */
static OnnxGraph *build_graph(const PipelineOperator *operator, guint n_inputs, guint n_outputs, gchar **attributes)
{
  OnnxGraph *graph = onnx_graph_new("example");
  g_autofree gchar **inputs = g_new0(gchar *, n_inputs + 1), **outputs = g_new0(gchar *, n_outputs + 1);
  static gchar *const names[2][MAX_TENSORS] = {{"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"},
                                               {"o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7"}};
  for (guint i = 0; i < n_inputs; i++) {
    inputs[i] = names[0][i];
    onnx_graph_add_input(graph, names[0][i], ONNX_TYPE_FLOAT, NULL);
  }
  for (guint i = 0; i < n_outputs; i++) {
    outputs[i] = names[1][i];
    onnx_graph_add_output(graph, names[1][i], ONNX_TYPE_FLOAT, NULL);
  }
  onnx_graph_set_opset(graph, operator->domain, operator->since);
  OnnxNode *node = onnx_graph_add_node_strv(graph, operator->domain, operator->name, (const gchar *const *)inputs,
                                            (const gchar *const *)outputs);
  for (guint i = 0; attributes != NULL && attributes[i] != NULL; i++)
    if (attributes[i][0] != '\0') pipeline_example_attribute(node, attributes[i]);
  return graph;
}

static gboolean run_example(const OnnxGraph *graph, gchar **inputs, gchar **outputs, GError **error)
{
  g_autoptr(PipelineExecutor) executor = pipeline_executor_new(graph, &pipeline_backend_reference, error);
  if (executor == NULL) return FALSE;
  g_autoptr(GPtrArray) tensors = g_ptr_array_new_with_free_func((GDestroyNotify)onnx_tensor_free);
  for (guint i = 0; inputs[i] != NULL; i++) {
    OnnxTensor *tensor = pipeline_example_tensor(inputs[i], "input");
    if (tensor == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the example's '%s' is no tensor", inputs[i]);
      return FALSE;
    }
    g_ptr_array_add(tensors, tensor);
    if (!pipeline_tensor_set_onnx(pipeline_executor_get_input(executor, i), tensor, error)) return FALSE;
  }
  if (!pipeline_executor_run(executor, FALSE, error)) return FALSE;
  for (guint i = 0; outputs[i] != NULL; i++)
    if (!compare_output(pipeline_executor_get_output(executor, i), outputs[i], i, error)) return FALSE;
  return TRUE;
}

gboolean pipeline_operator_selftest(const PipelineOperator *operator, GError ** error)
{
  if (operator->example == NULL) return TRUE;
  g_auto(GStrv) sides = g_strsplit(operator->example, " => ", 2);
  g_auto(GStrv) left = g_strsplit(sides[0], " { ", 2);
  g_auto(GStrv) attributes = left[1] != NULL ? g_strsplit(left[1], " ", -1) : NULL;
  for (guint i = 0; attributes != NULL && attributes[i] != NULL; i++)
    if (strcmp(attributes[i], "}") == 0) attributes[i][0] = '\0';
  g_auto(GStrv) inputs = g_strsplit(left[0], "; ", MAX_TENSORS);
  g_auto(GStrv) outputs = g_strsplit(sides[1], "; ", MAX_TENSORS);
  g_autoptr(OnnxGraph) graph = build_graph(operator, g_strv_length(inputs), g_strv_length(outputs), attributes);
  if (run_example(graph, inputs, outputs, error)) return TRUE;
  g_prefix_error(error, "%s since %" G_GINT64_FORMAT ": ", operator->name, operator->since);
  return FALSE;
}
