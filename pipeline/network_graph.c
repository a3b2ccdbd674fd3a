#include "pipeline/network_graph.h"

#include <math.h>
#include <string.h>

#include "pipeline/model_internal.h"

#define ML "ai.onnx.ml"

/* Operators without weights that may prepare the features. */
static const struct {
  const gchar *domain, *op_type;
} prefix_operators[] = {{"", "Add"},
                        {"", "Sub"},
                        {"", "Mul"},
                        {"", "Div"},
                        {"", "Cast"},
                        {"", "Concat"},
                        {"", "Identity"},
                        {"", "Reshape"},
                        {"", "Flatten"},
                        {"", "Squeeze"},
                        {"", "Unsqueeze"},
                        {"", "IsNaN"},
                        {"", "Where"},
                        {"", "Clip"},
                        {"", "Gather"},
                        {"", "Dropout"},
                        {"", "Transpose"},
                        {"", "Sqrt"},
                        {"", "BatchNormalization"},
                        {"", "Constant"},
                        {ML, "Scaler"},
                        {ML, "OneHotEncoder"},
                        {ML, "Imputer"},
                        {ML, "LabelEncoder"},
                        {ML, "Normalizer"},
                        {ML, "ArrayFeatureExtractor"},
                        {ML, "FeatureVectorizer"}};

/* Operators that may make the graph's outputs from the network's. */
static const struct {
  const gchar *domain, *op_type;
} suffix_operators[] = {{"", "Softmax"},     {"", "LogSoftmax"},
                        {"", "Sigmoid"},     {"", "ArgMax"},
                        {"", "Cast"},        {"", "Concat"},
                        {"", "Identity"},    {"", "Reshape"},
                        {"", "Flatten"},     {"", "Squeeze"},
                        {"", "Unsqueeze"},   {"", "Add"},
                        {"", "Sub"},         {"", "Mul"},
                        {"", "Div"},         {"", "Exp"},
                        {"", "Greater"},     {"", "Where"},
                        {ML, "Normalizer"},  {ML, "Binarizer"},
                        {ML, "ZipMap"},      {ML, "ArrayFeatureExtractor"},
                        {ML, "LabelEncoder"}};

static gboolean is_prefix_operator(const OnnxNode *node)
{
  for (guint i = 0; i < G_N_ELEMENTS(prefix_operators); i++)
    if (g_str_equal(prefix_operators[i].domain, node->domain) &&
        g_str_equal(prefix_operators[i].op_type, node->op_type))
      return TRUE;
  return FALSE;
}

static gboolean is_suffix_operator(const OnnxNode *node)
{
  for (guint i = 0; i < G_N_ELEMENTS(suffix_operators); i++)
    if (g_str_equal(suffix_operators[i].domain, node->domain) &&
        g_str_equal(suffix_operators[i].op_type, node->op_type))
      return TRUE;
  return FALSE;
}

/* Reading: `self` fills up while the chain is walked. */
typedef struct {
  PipelineNetworkGraph *self;
  GArray *chain;          /* of guint: node indices from the first dense layer to the output */
  gboolean bias_may_come; /* the last layer is a dense one without bias */
} Reading;

static gboolean fail_at(const Reading *reading, guint index, const gchar *why, GError **error)
{
  g_autofree gchar *node = onnx_node_describe(g_ptr_array_index(reading->self->graph->nodes, index), index);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "cannot train this model: %s %s", node, why);
  return FALSE;
}

static gboolean is_op(const OnnxNode *node, const gchar *op_type)
{
  return node->domain[0] == '\0' && g_str_equal(node->op_type, op_type);
}

static OnnxTensor *input_tensor(const OnnxGraph *graph, const OnnxNode *node, guint index)
{
  const gchar *name = onnx_node_get_input(node, index);
  return name ? onnx_graph_find_initialiser(graph, name) : NULL;
}

static gboolean is_dense(const OnnxGraph *graph, const OnnxNode *node)
{
  if (!is_op(node, "Gemm") && !is_op(node, "MatMul")) return FALSE;
  const OnnxTensor *weight = input_tensor(graph, node, 1);
  return weight && weight->n_dims == 2 && !input_tensor(graph, node, 0);
}

static gboolean is_elementwise(const OnnxNode *node)
{
  return is_op(node, "Add") || is_op(node, "Sub") || is_op(node, "Mul") || is_op(node, "Div");
}

static gboolean is_pass_through(const OnnxNode *node)
{
  return is_op(node, "Identity") || is_op(node, "Dropout") || is_op(node, "Cast") || is_op(node, "Flatten") ||
         is_op(node, "Reshape");
}

/* The value that a chain node transforms, or NULL when the node is none (merges two values, is of another kind). */
static const gchar *chain_input(const OnnxGraph *graph, const OnnxNode *node)
{
  if (is_dense(graph, node) || is_pass_through(node) || is_op(node, "BatchNormalization") ||
      (node->domain[0] == '\0' && pipeline_activation_find(node->op_type)))
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

static float *transpose(const float *matrix, guint n_rows, guint n_columns)
{
  float *out = g_new(float, (gsize)n_rows *n_columns);
  for (guint i = 0; i < n_rows; i++)
    for (guint j = 0; j < n_columns; j++) out[(gsize)j * n_rows + i] = matrix[(gsize)i * n_columns + j];
  return out;
}

static gboolean check_gemm(const Reading *reading, guint index, const OnnxNode *node, GError **error)
{
  if (onnx_node_get_float(node, "alpha", 1) != 1 || onnx_node_get_float(node, "beta", 1) != 1 ||
      onnx_node_get_int(node, "transA", 0) != 0)
    return fail_at(reading, index, "has alpha, beta or transA other than 1, 1, 0", error);
  return TRUE;
}

static gboolean add_dense(Reading *reading, guint index, OnnxNode *node, GError **error)
{
  OnnxGraph *graph = reading->self->graph;
  PipelineNetwork *network = reading->self->network;
  const OnnxTensor *tensor = input_tensor(graph, node, 1);
  gboolean gemm = is_op(node, "Gemm");
  if (gemm && !check_gemm(reading, index, node, error)) return FALSE;
  gboolean transposed = !gemm || onnx_node_get_int(node, "transB", 0) == 0;
  guint rows = (guint)tensor->dims[0], columns = (guint)tensor->dims[1];
  guint n_in = transposed ? rows : columns, n_out = transposed ? columns : rows;
  if (tensor->type != ONNX_TYPE_FLOAT || n_in == 0 || n_out == 0)
    return fail_at(reading, index, "has weights that are not a float32 matrix", error);
  if (network->layers->len == 0) network->n_inputs = n_in;
  if (n_in != pipeline_network_get_width(network))
    return fail_at(reading, index, "does not fit the layer before it", error);

  g_autofree float *stored = onnx_tensor_to_floats(tensor, error);
  if (!stored) return FALSE;
  g_autofree float *weight = transposed ? transpose(stored, rows, columns) : g_steal_pointer(&stored);
  g_autofree float *bias = NULL;
  const gchar *bias_name = gemm ? onnx_node_get_input(node, 2) : NULL;
  if (bias_name) {
    const OnnxTensor *bias_tensor = onnx_graph_find_initialiser(graph, bias_name);
    if (!bias_tensor || !(bias = broadcast_floats(bias_tensor, n_out)))
      return fail_at(reading, index, "has a bias that is not one float32 number per output", error);
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
static void take_bias(Reading *reading, OnnxNode *node, guint constant, const float *bias)
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

static gboolean add_elementwise(Reading *reading, guint index, OnnxNode *node, GError **error)
{
  PipelineNetwork *network = reading->self->network;
  guint width = pipeline_network_get_width(network);
  guint constant = input_tensor(reading->self->graph, node, 0) ? 0 : 1;
  const OnnxTensor *tensor = input_tensor(reading->self->graph, node, constant);
  g_autofree float *values = broadcast_floats(tensor, width);
  if (!values) return fail_at(reading, index, "has a constant that is not one float32 number per column", error);
  gboolean per_column = onnx_tensor_get_n_elements(tensor) == width;
  if (is_op(node, "Add") && reading->bias_may_come && per_column) {
    take_bias(reading, node, constant, values);
    reading->bias_may_come = FALSE;
    return TRUE;
  }
  g_autofree float *scale = g_new(float, width), *shift = g_new(float, width);
  if (is_op(node, "Div") && constant == 0) return fail_at(reading, index, "divides a constant by the network", error);
  for (guint i = 0; i < width; i++) {
    gboolean times = is_op(node, "Mul"), over = is_op(node, "Div"), minus = is_op(node, "Sub");
    scale[i] = times ? values[i] : over ? 1 / values[i] : minus && constant == 0 ? -1.0f : 1.0f;
    shift[i] = times || over ? 0 : minus && constant == 1 ? -values[i] : values[i];
  }
  pipeline_network_add_affine(network, scale, shift);
  reading->bias_may_come = FALSE;
  return TRUE;
}

static gboolean add_batch_normalization(Reading *reading, guint index, const OnnxNode *node, GError **error)
{
  PipelineNetwork *network = reading->self->network;
  guint width = pipeline_network_get_width(network);
  float epsilon = onnx_node_get_float(node, "epsilon", 1e-5f);
  float *parts[4] = {NULL};
  gboolean fits = onnx_node_get_int(node, "training_mode", 0) == 0;
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
         fail_at(reading, index, "is in training mode or its statistics are not one float32 number per column", error);
}

/* Reshape and Flatten must leave [N, width] as it is; Cast must go to float32. */
static gboolean check_pass_through(const Reading *reading, guint index, const OnnxNode *node, GError **error)
{
  gint64 width = pipeline_network_get_width(reading->self->network);
  gboolean keeps = TRUE;
  if (is_op(node, "Cast")) keeps = onnx_node_get_int(node, "to", 0) == ONNX_TYPE_FLOAT;
  if (is_op(node, "Flatten")) keeps = ABS(onnx_node_get_int(node, "axis", 1)) == 1;
  if (is_op(node, "Reshape")) {
    const OnnxTensor *shape = input_tensor(reading->self->graph, node, 1);
    const gint64 *sizes = shape && shape->type == ONNX_TYPE_INT64 && onnx_tensor_get_n_elements(shape) == 2
                              ? g_bytes_get_data(shape->bytes, NULL)
                              : NULL;
    keeps = sizes && (sizes[0] == -1 || sizes[0] == 0) && sizes[1] == width;
  }
  return keeps || fail_at(reading, index, "changes the shape or type between the layers", error);
}

static gboolean add_node(Reading *reading, guint index, GError **error)
{
  OnnxNode *node = g_ptr_array_index(reading->self->graph->nodes, index);
  if (is_dense(reading->self->graph, node)) return add_dense(reading, index, node, error);
  if (is_elementwise(node)) return add_elementwise(reading, index, node, error);
  if (is_op(node, "BatchNormalization")) return add_batch_normalization(reading, index, node, error);
  if (is_pass_through(node)) return check_pass_through(reading, index, node, error);
  const PipelineActivation *activation = pipeline_activation_find(node->op_type);
  g_autofree gchar *approximation = onnx_node_copy_string(node, "approximate", "none");
  if (!g_str_equal(approximation, "none")) return fail_at(reading, index, "approximates Gelu by tanh", error);
  float alpha =
      activation->alpha_name ? onnx_node_get_float(node, activation->alpha_name, activation->alpha_default) : 0;
  pipeline_network_add_activation(reading->self->network, activation, alpha);
  reading->bias_may_come = FALSE;
  return TRUE;
}

/* --- finding the chain -------------------------------------------------------------------------------------------- */

static gint last_dense(const OnnxGraph *graph)
{
  for (guint i = graph->nodes->len; i-- > 0;)
    if (is_dense(graph, g_ptr_array_index(graph->nodes, i))) return (gint)i;
  return -1;
}

/* Fills chain with the nodes from the first dense layer to the last one. */
static gboolean walk_back(Reading *reading, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  gint index = last_dense(graph);
  if (index < 0) {
    if (graph->nodes->len > 0)
      return fail_at(reading, graph->nodes->len - 1,
                     "has no Gemm or MatMul with constant weights before it: there is no dense layer to train", error);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "cannot train this model: it has no nodes");
    return FALSE;
  }
  guint first = 0;
  while (index >= 0) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, index);
    const gchar *input = chain_input(graph, node);
    if (!input) break;
    guint at = (guint)index;
    g_array_append_val(reading->chain, at);
    if (is_dense(graph, node)) first = reading->chain->len;
    index = onnx_graph_find_producer(graph, input);
  }
  g_array_set_size(reading->chain, first);
  for (guint i = 0; i < first / 2; i++) {
    guint *a = &g_array_index(reading->chain, guint, i), *b = &g_array_index(reading->chain, guint, first - 1 - i),
          swap = *a;
    *a = *b;
    *b = swap;
  }
  return TRUE;
}

/* Index of the one node that reads `value`, or -1 when it is a graph output or has several readers. */
static gint only_reader(const OnnxGraph *graph, const gchar *value)
{
  if (onnx_graph_count_readers(graph, value) != 1) return -1;
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (g_ptr_array_find_with_equal_func(node->inputs, value, g_str_equal, NULL)) return (gint)i;
  }
  return -1;
}

static const gchar *node_output(const Reading *reading, guint index)
{
  return onnx_node_get_output(g_ptr_array_index(reading->self->graph->nodes, index), 0);
}

/* Goes on behind the last dense layer as far as the graph stays a chain. Classifiers end in logits: a Sigmoid or
 * Softmax behind them belongs to the loss. */
static gboolean walk_forward(Reading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  for (;;) {
    const gchar *value = node_output(reading, g_array_index(reading->chain, guint, reading->chain->len - 1));
    gint index = only_reader(graph, value);
    if (index < 0) return TRUE;
    const OnnxNode *node = g_ptr_array_index(graph->nodes, index);
    if (!chain_input(graph, node) || (classifier && is_op(node, "Sigmoid"))) return TRUE;
    if (is_pass_through(node) && !check_pass_through(reading, (guint)index, node, NULL)) return TRUE;
    if (!add_node(reading, (guint)index, error)) return FALSE;
    guint at = (guint)index;
    g_array_append_val(reading->chain, at);
  }
}

static gboolean read_layers(Reading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  if (!walk_back(reading, error)) return FALSE;
  guint n = reading->chain->len;
  for (guint i = 0; i < n; i++) {
    guint index = g_array_index(reading->chain, guint, i);
    if (!add_node(reading, index, error)) return FALSE;
    if (i + 1 < n && onnx_graph_count_readers(graph, node_output(reading, index)) != 1)
      return fail_at(reading, index, "is read by more than one node: only chains can be trained", error);
  }
  if (!walk_forward(reading, classifier, error)) return FALSE;
  guint first = g_array_index(reading->chain, guint, 0);
  guint last = g_array_index(reading->chain, guint, reading->chain->len - 1);
  reading->self->features = g_strdup(chain_input(graph, g_ptr_array_index(graph->nodes, first)));
  reading->self->output = g_strdup(node_output(reading, last));
  return TRUE;
}

/* --- what surrounds the chain ------------------------------------------------------------------------------------- */

static void add_outputs(GHashTable *values, const OnnxNode *node)
{
  for (guint i = 0; i < node->outputs->len; i++) g_hash_table_add(values, g_ptr_array_index(node->outputs, i));
}

static gboolean reads_any(const OnnxNode *node, GHashTable *values)
{
  for (guint i = 0; i < node->inputs->len; i++)
    if (g_hash_table_contains(values, g_ptr_array_index(node->inputs, i))) return TRUE;
  return FALSE;
}

static gboolean keeps_values(const OnnxNode *node)
{
  return is_pass_through(node) || is_op(node, "Squeeze") || is_op(node, "Unsqueeze");
}

/* Every other node is either preprocessing or made from the output alone: a skip around the layers would make the
 * gradients wrong. */
static gboolean check_surroundings(const Reading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  g_autoptr(GHashTable) behind = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) before = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    if (onnx_graph_is_fed(graph, input)) g_hash_table_add(before, input->name);
  }
  g_hash_table_add(behind, reading->self->output);
  guint next = 0;
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (next < reading->chain->len && g_array_index(reading->chain, guint, next) == i) {
      next++;
    } else if (reads_any(node, behind)) {
      if (!is_suffix_operator(node) || reads_any(node, before) || (!classifier && !keeps_values(node)))
        return fail_at(reading, i, "does more with the network's output than this program can train through", error);
      add_outputs(behind, node);
    } else {
      if (!is_prefix_operator(node))
        return fail_at(reading, i, "is neither preprocessing nor one of its dense layers", error);
      add_outputs(before, node);
    }
  }
  return TRUE;
}

static gboolean choose_loss(const Reading *reading, const DriftSchema *schema, GError **error)
{
  PipelineNetwork *network = reading->self->network;
  guint width = pipeline_network_get_width(network);
  guint wanted = schema->task == DRIFT_TASK_REGRESSION ? 1 : schema->classes->len;
  if (width != wanted && !(schema->task == DRIFT_TASK_BINARY && width == 1)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "cannot train this model: it ends in %u outputs where label \"%s\" needs %u", width, schema->label,
                wanted);
    return FALSE;
  }
  network->loss.n_outputs = width;
  network->loss.kind = schema->task == DRIFT_TASK_REGRESSION ? PIPELINE_LOSS_SQUARED
                       : width == 1                          ? PIPELINE_LOSS_SIGMOID
                                                             : PIPELINE_LOSS_SOFTMAX;
  return TRUE;
}

static void source_free(gpointer data)
{
  PipelineDenseSource *source = data;
  g_free(source->weight);
  g_free(source->bias);
  g_free(source);
}

/* Which of the network's outputs speaks for which class, as the model reads them (pipeline/model.h). */
static void map_classes(PipelineNetworkGraph *self, const PipelineModel *model)
{
  const PipelineModelOutput *output = &model->output;
  guint n = model->schema->classes->len;
  self->column_of = g_new0(guint, n + 1);
  if (self->network->loss.kind == PIPELINE_LOSS_SIGMOID) /* p, or 1 - p and p */
    self->column_of[output->n_columns == 1 ? model->schema->positive_class : output->class_of[1]] = 1;
  else
    for (guint i = 0; i < n; i++) self->column_of[output->class_of[i]] = i;
}

PipelineNetworkGraph *pipeline_network_graph_from_model(const PipelineModel *model, GError **error)
{
  const DriftSchema *schema = model->schema;
  g_autoptr(PipelineNetworkGraph) self = g_new0(PipelineNetworkGraph, 1);
  self->sources = g_ptr_array_new_with_free_func(source_free);
  self->network = pipeline_network_new(0);
  self->graph = onnx_graph_copy(model->graph);
  g_autoptr(GArray) chain = g_array_new(FALSE, FALSE, sizeof(guint));
  Reading reading = {.self = self, .chain = chain};
  gboolean classifier = schema->task != DRIFT_TASK_REGRESSION;
  if (!read_layers(&reading, classifier, error) || !check_surroundings(&reading, classifier, error) ||
      !choose_loss(&reading, schema, error))
    return NULL;
  if (classifier) map_classes(self, model);
  return g_steal_pointer(&self);
}

PipelineNetworkGraph *pipeline_network_graph_read(GBytes *onnx, const DriftSchema *schema, GError **error)
{
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  return model ? pipeline_network_graph_from_model(model, error) : NULL;
}

void pipeline_network_graph_map_targets(const PipelineNetworkGraph *self, float *targets, guint64 n)
{
  if (!self->column_of) return;
  for (guint64 i = 0; i < n; i++)
    if (!isnan(targets[i])) targets[i] = (float)self->column_of[(guint)targets[i]];
}

void pipeline_network_graph_free(PipelineNetworkGraph *self)
{
  if (!self) return;
  onnx_graph_free(self->graph);
  g_free(self->features);
  g_free(self->output);
  pipeline_network_free(self->network);
  g_ptr_array_unref(self->sources);
  g_free(self->column_of);
  g_free(self);
}

/* --- back into the graph ------------------------------------------------------------------------------------------ */

static void write_bias(OnnxGraph *graph, const gchar *name, const float *bias, guint n)
{
  OnnxTensor *tensor = onnx_graph_find_initialiser(graph, name);
  if (onnx_tensor_get_n_elements(tensor) == n)
    onnx_tensor_set_floats(tensor, bias);
  else /* one number for all outputs: now they differ */
    onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, 1, (gint64[]){n}, bias));
}

GBytes *pipeline_network_graph_write(const PipelineNetworkGraph *self, const float *parameters, GError **error)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_copy(self->graph);
  guint next = 0;
  for (guint i = 0; i < self->network->layers->len; i++) {
    const PipelineLayer *layer = pipeline_network_get_layer(self->network, i);
    if (layer->kind != PIPELINE_LAYER_DENSE) continue;
    const PipelineDenseSource *source = g_ptr_array_index(self->sources, next++);
    const float *weight = parameters + layer->weight_offset;
    g_autofree float *turned = source->transposed ? transpose(weight, layer->n_out, layer->n_in) : NULL;
    onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, source->weight), turned ? turned : weight);
    if (source->bias) write_bias(graph, source->bias, parameters + layer->bias_offset, layer->n_out);
  }
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (!bytes) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}
