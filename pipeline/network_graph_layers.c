/* From nodes to layers: what each operator of the chain means. To train through another one: a row in the conditions of
 * pipeline_graph_chain_input and its layer in pipeline_graph_add_node. */
#include <math.h>
#include <string.h>

#include "pipeline/network_graph_internal.h"

gboolean pipeline_graph_fail(const PipelineGraphReading *reading, guint index, const gchar *why, GError **error)
{
  g_autofree gchar *node = onnx_node_describe(g_ptr_array_index(reading->self->graph->nodes, index), index);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "cannot train this model: %s %s", node, why);
  return FALSE;
}

gboolean pipeline_graph_is_op(const OnnxNode *node, const gchar *op_type)
{
  return node->domain[0] == '\0' && g_str_equal(node->op_type, op_type);
}

static OnnxTensor *input_tensor(const OnnxGraph *graph, const OnnxNode *node, guint index)
{
  const gchar *name = onnx_node_get_input(node, index);
  return name ? onnx_graph_find_initialiser(graph, name) : NULL;
}

gboolean pipeline_graph_is_dense(const OnnxGraph *graph, const OnnxNode *node)
{
  if (!pipeline_graph_is_op(node, "Gemm") && !pipeline_graph_is_op(node, "MatMul")) return FALSE;
  const OnnxTensor *weight = input_tensor(graph, node, 1);
  return weight && weight->n_dims == 2 && !input_tensor(graph, node, 0);
}

static gboolean is_elementwise(const OnnxNode *node)
{
  return pipeline_graph_is_op(node, "Add") || pipeline_graph_is_op(node, "Sub") || pipeline_graph_is_op(node, "Mul") ||
         pipeline_graph_is_op(node, "Div");
}

gboolean pipeline_graph_is_pass_through(const OnnxNode *node)
{
  return pipeline_graph_is_op(node, "Identity") || pipeline_graph_is_op(node, "Dropout") ||
         pipeline_graph_is_op(node, "Cast") || pipeline_graph_is_op(node, "Flatten") ||
         pipeline_graph_is_op(node, "Reshape");
}

static const PipelineActivation *find_activation(const OnnxNode *node)
{
  g_autofree gchar *approximate = onnx_node_copy_string(node, "approximate", "none");
  return node->domain[0] == '\0' ? pipeline_activation_find(node->op_type, approximate) : NULL;
}

/* The value that a chain node transforms, or NULL when the node is none (merges two values, is of another kind). */
const gchar *pipeline_graph_chain_input(const OnnxGraph *graph, const OnnxNode *node)
{
  if (pipeline_graph_is_dense(graph, node) || pipeline_graph_is_pass_through(node) ||
      pipeline_graph_is_op(node, "BatchNormalization") || find_activation(node))
    return onnx_node_get_input(node, 0);
  if (!is_elementwise(node)) return NULL;
  gboolean first = input_tensor(graph, node, 0) != NULL, second = input_tensor(graph, node, 1) != NULL;
  return first == second ? NULL : onnx_node_get_input(node, first ? 1 : 0);
}

/* --- from nodes to layers ----------------------------------------------------------------------------------------- */

/* `tensor` as `width` floats (a single element is repeated), or NULL when it has another shape or type. */
static float *broadcast_floats(const OnnxTensor *tensor, guint width)
{
  gsize n = onnx_tensor_get_n_elements(tensor);
  gboolean fits = n == 1 || (n == width && tensor->n_dims > 0 && tensor->dims[tensor->n_dims - 1] == width);
  g_autofree float *values = fits && tensor->type == ONNX_TYPE_FLOAT ? onnx_tensor_to_floats(tensor, NULL) : NULL;
  if (!values) return NULL;
  float *all = g_new(float, width);
  for (guint i = 0; i < width; i++) all[i] = values[n == 1 ? 0 : i];
  return all;
}

/* Gives the node an initialiser of its own where exporters share equal ones. Returns its name. */
static const gchar *own_initialiser(OnnxGraph *graph, OnnxNode *node, guint input)
{
  const gchar *name = g_ptr_array_index(node->inputs, input);
  if (onnx_graph_count_readers(graph, name) <= 1) return name;
  OnnxTensor *copy = onnx_tensor_copy(onnx_graph_find_initialiser(graph, name));
  g_free(copy->name);
  copy->name = NULL;
  for (guint i = 2; !copy->name || onnx_graph_find_initialiser(graph, copy->name) ||
                    onnx_graph_find_producer(graph, copy->name) >= 0 || onnx_graph_find_value(graph, copy->name);
       i++) {
    g_free(copy->name);
    copy->name = g_strdup_printf("%s_%u", name, i);
  }
  g_free(node->inputs->pdata[input]);
  node->inputs->pdata[input] = g_strdup(copy->name);
  onnx_graph_take_initialiser(graph, copy);
  return node->inputs->pdata[input];
}

float *pipeline_matrix_transpose(const float *matrix, guint n_rows, guint n_columns)
{
  float *out = g_new(float, (gsize)n_rows *n_columns);
  for (guint i = 0; i < n_rows; i++)
    for (guint j = 0; j < n_columns; j++) out[(gsize)j * n_rows + i] = matrix[(gsize)i * n_columns + j];
  return out;
}

static gboolean check_gemm(const PipelineGraphReading *reading, guint index, const OnnxNode *node, GError **error)
{
  if (onnx_node_get_float(node, "alpha", 1) != 1 || onnx_node_get_float(node, "beta", 1) != 1 ||
      onnx_node_get_int(node, "transA", 0) != 0)
    return pipeline_graph_fail(reading, index, "has alpha, beta or transA other than 1, 1, 0", error);
  return TRUE;
}

static gboolean add_dense(PipelineGraphReading *reading, guint index, OnnxNode *node, GError **error)
{
  OnnxGraph *graph = reading->self->graph;
  PipelineNetwork *network = reading->self->network;
  const OnnxTensor *tensor = input_tensor(graph, node, 1);
  gboolean gemm = pipeline_graph_is_op(node, "Gemm");
  if (gemm && !check_gemm(reading, index, node, error)) return FALSE;
  gboolean transposed = !gemm || onnx_node_get_int(node, "transB", 0) == 0;
  guint rows = (guint)tensor->dims[0], columns = (guint)tensor->dims[1];
  guint n_in = transposed ? rows : columns, n_out = transposed ? columns : rows;
  if (tensor->type != ONNX_TYPE_FLOAT || n_in == 0 || n_out == 0)
    return pipeline_graph_fail(reading, index, "has weights that are not a float32 matrix", error);
  if (network->layers->len == 0) network->n_inputs = n_in;
  if (n_in != pipeline_network_get_width(network))
    return pipeline_graph_fail(reading, index, "does not fit the layer before it", error);

  g_autofree float *stored = onnx_tensor_to_floats(tensor, error);
  if (!stored) return FALSE;
  g_autofree float *weight = transposed ? pipeline_matrix_transpose(stored, rows, columns) : g_steal_pointer(&stored);
  g_autofree float *bias = NULL;
  const gchar *bias_name = gemm ? onnx_node_get_input(node, 2) : NULL;
  if (bias_name) {
    const OnnxTensor *bias_tensor = onnx_graph_find_initialiser(graph, bias_name);
    if (!bias_tensor || !(bias = broadcast_floats(bias_tensor, n_out)))
      return pipeline_graph_fail(reading, index, "has a bias that is not one float32 number per output", error);
    bias_name = own_initialiser(graph, node, 2);
  }
  PipelineDenseSource *source = g_new0(PipelineDenseSource, 1);
  source->weight = g_strdup(own_initialiser(graph, node, 1));
  source->transposed = transposed;
  source->bias = g_strdup(bias_name);
  g_ptr_array_add(reading->self->sources, source);
  pipeline_network_add_dense(network, n_out, weight, bias);
  reading->bias_may_come = bias == NULL;
  return TRUE;
}

/* The Add behind a MatMul is the layer's bias: the last layer is made again with it. */
static void take_bias(PipelineGraphReading *reading, OnnxNode *node, guint constant, const float *bias)
{
  PipelineNetwork *network = reading->self->network;
  PipelineLayer *layer = &g_array_index(network->layers, PipelineLayer, network->layers->len - 1);
  PipelineDenseSource *source = g_ptr_array_index(reading->self->sources, reading->self->sources->len - 1);
  layer->has_bias = TRUE;
  layer->bias_offset = network->n_parameters;
  network->n_parameters += layer->n_out;
  network->parameters = g_renew(float, network->parameters, network->n_parameters);
  memcpy(network->parameters + layer->bias_offset, bias, layer->n_out * sizeof(float));
  source->bias = g_strdup(own_initialiser(reading->self->graph, node, constant));
}

static gboolean add_elementwise(PipelineGraphReading *reading, guint index, OnnxNode *node, GError **error)
{
  PipelineNetwork *network = reading->self->network;
  guint width = pipeline_network_get_width(network);
  guint constant = input_tensor(reading->self->graph, node, 0) ? 0 : 1;
  const OnnxTensor *tensor = input_tensor(reading->self->graph, node, constant);
  g_autofree float *values = broadcast_floats(tensor, width);
  if (!values)
    return pipeline_graph_fail(reading, index, "has a constant that is not one float32 number per column", error);
  gboolean per_column = onnx_tensor_get_n_elements(tensor) == width;
  if (pipeline_graph_is_op(node, "Add") && reading->bias_may_come && per_column) {
    take_bias(reading, node, constant, values);
    reading->bias_may_come = FALSE;
    return TRUE;
  }
  g_autofree float *scale = g_new(float, width), *shift = g_new(float, width);
  if (pipeline_graph_is_op(node, "Div") && constant == 0)
    return pipeline_graph_fail(reading, index, "divides a constant by the network", error);
  for (guint i = 0; i < width; i++) {
    gboolean times = pipeline_graph_is_op(node, "Mul"), over = pipeline_graph_is_op(node, "Div"),
             minus = pipeline_graph_is_op(node, "Sub");
    scale[i] = times ? values[i] : over ? 1 / values[i] : minus && constant == 0 ? -1.0f : 1.0f;
    shift[i] = times || over ? 0 : minus && constant == 1 ? -values[i] : values[i];
  }
  pipeline_network_add_affine(network, scale, shift);
  reading->bias_may_come = FALSE;
  return TRUE;
}

/* Frozen, also when it was exported in training mode: its statistics are the model's. */
static gboolean add_batch_normalization(PipelineGraphReading *reading, guint index, const OnnxNode *node,
                                        GError **error)
{
  PipelineNetwork *network = reading->self->network;
  guint width = pipeline_network_get_width(network);
  float epsilon = onnx_node_get_float(node, "epsilon", 1e-5f);
  float *parts[4] = {NULL};
  gboolean fits = TRUE;
  for (guint i = 0; fits && i < 4; i++) {
    const OnnxTensor *tensor = input_tensor(reading->self->graph, node, i + 1);
    fits = tensor && onnx_tensor_get_n_elements(tensor) == width && (parts[i] = broadcast_floats(tensor, width));
  }
  if (fits) {
    float *scale = parts[0], *shift = parts[1], *mean = parts[2], *variance = parts[3];
    for (guint i = 0; i < width; i++) {
      scale[i] = scale[i] / sqrtf(variance[i] + epsilon);
      shift[i] -= mean[i] * scale[i];
    }
    pipeline_network_add_affine(network, scale, shift);
    reading->bias_may_come = FALSE;
  }
  for (guint i = 0; i < 4; i++) g_free(parts[i]);
  return fits ||
         pipeline_graph_fail(reading, index, "has statistics that are not one float32 number per column", error);
}

/* Reshape and Flatten must leave [N, width] as it is; Cast must go to float32. */
gboolean pipeline_graph_check_pass_through(const PipelineGraphReading *reading, guint index, const OnnxNode *node,
                                           GError **error)
{
  gint64 width = pipeline_network_get_width(reading->self->network);
  gboolean keeps = TRUE;
  if (pipeline_graph_is_op(node, "Cast")) keeps = onnx_node_get_int(node, "to", 0) == ONNX_TYPE_FLOAT;
  if (pipeline_graph_is_op(node, "Flatten")) keeps = ABS(onnx_node_get_int(node, "axis", 1)) == 1;
  if (pipeline_graph_is_op(node, "Reshape")) {
    const OnnxTensor *shape = input_tensor(reading->self->graph, node, 1);
    const gint64 *sizes = shape && shape->type == ONNX_TYPE_INT64 && onnx_tensor_get_n_elements(shape) == 2
                              ? g_bytes_get_data(shape->bytes, NULL)
                              : NULL;
    keeps = sizes && (sizes[0] == -1 || sizes[0] == 0) && sizes[1] == width;
  }
  return keeps || pipeline_graph_fail(reading, index, "changes the shape or type between the layers", error);
}

gboolean pipeline_graph_add_node(PipelineGraphReading *reading, guint index, GError **error)
{
  OnnxNode *node = g_ptr_array_index(reading->self->graph->nodes, index);
  if (pipeline_graph_is_dense(reading->self->graph, node)) return add_dense(reading, index, node, error);
  if (is_elementwise(node)) return add_elementwise(reading, index, node, error);
  if (pipeline_graph_is_op(node, "BatchNormalization")) return add_batch_normalization(reading, index, node, error);
  if (pipeline_graph_is_pass_through(node)) return pipeline_graph_check_pass_through(reading, index, node, error);
  const PipelineActivation *activation = find_activation(node);
  float alpha =
      activation->alpha_name ? onnx_node_get_float(node, activation->alpha_name, activation->alpha_default) : 0;
  pipeline_network_add_activation(reading->self->network, activation, alpha);
  reading->bias_may_come = FALSE;
  return TRUE;
}
