#include "pipeline/network_graph.h"

#include <math.h>
#include <string.h>

#include "pipeline/linear_graph.h"
#include "pipeline/model_internal.h"
#include "pipeline/network_graph_internal.h"

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
                        {"", "Abs"},
                        {"", "And"},
                        {"", "Cos"},
                        {"", "Equal"},
                        {"", "Floor"},
                        {"", "GreaterOrEqual"},
                        {"", "LessOrEqual"},
                        {"", "Log"},
                        {"", "Min"},
                        {"", "Mod"},
                        {"", "Neg"},
                        {"", "Not"},
                        {"", "Pow"},
                        {"", "ReduceSum"},
                        {"", "Relu"},
                        {"", "Sign"},
                        {"", "Sin"},
                        {"", "ArgMax"},
                        {"", "ArgMin"},
                        {"", "Ceil"},
                        {"", "Compress"},
                        {"", "ConstantOfShape"},
                        {"", "CumSum"},
                        {"", "Erf"},
                        {"", "Exp"},
                        {"", "Expand"},
                        {"", "GatherElements"},
                        {"", "GatherND"},
                        {"", "Greater"},
                        {"", "IsInf"},
                        {"", "Less"},
                        {"", "Max"},
                        {"", "Mean"},
                        {"", "NonZero"},
                        {"", "OneHot"},
                        {"", "Or"},
                        {"", "Range"},
                        {"", "Reciprocal"},
                        {"", "ReduceL1"},
                        {"", "ReduceL2"},
                        {"", "ReduceMax"},
                        {"", "ReduceMean"},
                        {"", "ReduceMin"},
                        {"", "ReduceProd"},
                        {"", "ReduceSumSquare"},
                        {"", "Round"},
                        {"", "ScatterElements"},
                        {"", "Shape"},
                        {"", "Sigmoid"},
                        {"", "Size"},
                        {"", "Slice"},
                        {"", "Split"},
                        {"", "Sum"},
                        {"", "Tanh"},
                        {"", "Tile"},
                        {"", "TopK"},
                        {"", "Trilu"},
                        {"", "Xor"},
                        {ML, "Scaler"},
                        {ML, "OneHotEncoder"},
                        {ML, "Imputer"},
                        {ML, "Binarizer"},
                        {ML, "CategoryMapper"},
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

/* --- finding the chain -------------------------------------------------------------------------------------------- */

static gint last_dense(const OnnxGraph *graph)
{
  for (guint i = graph->nodes->len; i-- > 0;)
    if (pipeline_graph_is_dense(graph, g_ptr_array_index(graph->nodes, i))) return (gint)i;
  return -1;
}

/* No activation among the first `end` nodes: products there are linear preprocessing (PCA, one part of a FeatureUnion),
 * which stays as it is, and no layers. */
static gboolean front_is_linear(const OnnxGraph *graph, guint end)
{
  static const gchar *const activations[] = {
      "Relu",     "LeakyRelu",          "PRelu",   "Elu",  "Selu", "Celu", "Gelu",
      "Sigmoid",  "HardSigmoid",        "Tanh",    "Erf",  "Mish", "Exp",  "Softplus",
      "Softsign", "LayerNormalization", "Softmax", "Conv", "LSTM", "GRU",  NULL};
  for (guint i = 0; i < end; i++)
    if (g_strv_contains(activations, ((const OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type)) return FALSE;
  return TRUE;
}

/* The walk has come to a node that is no link: fine in front of the first layer, else it is what cannot be trained. */
static gboolean check_end(const PipelineGraphReading *reading, guint end, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  if (front_is_linear(graph, end + 1)) return TRUE;
  for (guint i = 0; i < end; i++)
    if (pipeline_graph_is_dense(graph, g_ptr_array_index(graph->nodes, i)))
      return pipeline_graph_fail(reading, end, "cannot be trained through, and there are layers before it", error);
  return TRUE;
}

/* Fills chain with the nodes from the first dense layer to the last one. */
static gboolean walk_back(PipelineGraphReading *reading, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  gint index = last_dense(graph);
  if (index < 0) {
    if (graph->nodes->len > 0)
      return pipeline_graph_fail(
          reading, graph->nodes->len - 1,
          "has no Gemm or MatMul with constant weights before it: there is no dense layer to train", error);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "cannot train this model: it has no nodes");
    return FALSE;
  }
  guint first = 0;
  while (index >= 0) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, index);
    const gchar *input = pipeline_graph_chain_input(graph, node);
    if (!input && !check_end(reading, (guint)index, error)) return FALSE;
    if (!input) break;
    guint at = (guint)index;
    g_array_append_val(reading->chain, at);
    if (pipeline_graph_is_dense(graph, node)) first = reading->chain->len;
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

static const gchar *node_output(const PipelineGraphReading *reading, guint index)
{
  return onnx_node_get_output(g_ptr_array_index(reading->self->graph->nodes, index), 0);
}

/* Goes on behind the last dense layer as far as the graph stays a chain. Classifiers end in logits: a Sigmoid or
 * Softmax behind them belongs to the loss. */
static gboolean walk_forward(PipelineGraphReading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  for (;;) {
    const gchar *value = node_output(reading, g_array_index(reading->chain, guint, reading->chain->len - 1));
    gint index = only_reader(graph, value);
    if (index < 0) return TRUE;
    const OnnxNode *node = g_ptr_array_index(graph->nodes, index);
    if (!pipeline_graph_chain_input(graph, node) || (classifier && pipeline_graph_is_op(node, "Sigmoid"))) return TRUE;
    if (pipeline_graph_is_pass_through(node) && !pipeline_graph_check_pass_through(reading, (guint)index, node, NULL))
      return TRUE;
    if (!pipeline_graph_add_node(reading, (guint)index, error)) return FALSE;
    guint at = (guint)index;
    g_array_append_val(reading->chain, at);
  }
}

static gboolean read_layers(PipelineGraphReading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  if (!walk_back(reading, error)) return FALSE;
  guint n = reading->chain->len;
  for (guint i = 0; i < n; i++) {
    guint index = g_array_index(reading->chain, guint, i);
    if (!pipeline_graph_add_node(reading, index, error)) return FALSE;
    if (i + 1 < n && onnx_graph_count_readers(graph, node_output(reading, index)) != 1)
      return pipeline_graph_fail(reading, index, "is read by more than one node: only chains can be trained", error);
  }
  if (!walk_forward(reading, classifier, error)) return FALSE;
  guint first = g_array_index(reading->chain, guint, 0);
  guint last = g_array_index(reading->chain, guint, reading->chain->len - 1);
  reading->self->features = g_strdup(pipeline_graph_chain_input(graph, g_ptr_array_index(graph->nodes, first)));
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
  return pipeline_graph_is_pass_through(node) || pipeline_graph_is_op(node, "Squeeze") ||
         pipeline_graph_is_op(node, "Unsqueeze");
}

/* Every other node is either preprocessing or made from the output alone: a skip around the layers would make the
 * gradients wrong. */
static gboolean check_surroundings(const PipelineGraphReading *reading, gboolean classifier, GError **error)
{
  const OnnxGraph *graph = reading->self->graph;
  g_autoptr(GHashTable) behind = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) before = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    if (onnx_graph_is_fed(graph, input)) g_hash_table_add(before, input->name);
  }
  g_hash_table_add(behind, reading->self->output);
  guint next = 0, first = g_array_index(reading->chain, guint, 0);
  gboolean linear = front_is_linear(graph, first);
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (next < reading->chain->len && g_array_index(reading->chain, guint, next) == i) {
      next++;
    } else if (reads_any(node, behind)) {
      if (!is_suffix_operator(node) || reads_any(node, before) || (!classifier && !keeps_values(node)))
        return pipeline_graph_fail(reading, i,
                                   "does more with the network's output than this program can train through", error);
      add_outputs(behind, node);
    } else {
      gboolean prepares = linear && i < first && pipeline_graph_is_dense(graph, node);
      if (!prepares && !is_prefix_operator(node))
        return pipeline_graph_fail(reading, i, "is neither preprocessing nor one of its dense layers", error);
      add_outputs(before, node);
    }
  }
  return TRUE;
}

static gboolean choose_loss(const PipelineGraphReading *reading, const DriftSchema *schema, GError **error)
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
  pipeline_linear_graph_expand(self->graph);
  g_autoptr(GArray) chain = g_array_new(FALSE, FALSE, sizeof(guint));
  PipelineGraphReading reading = {.self = self, .chain = chain};
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
    g_autofree float *turned = source->transposed ? pipeline_matrix_transpose(weight, layer->n_out, layer->n_in) : NULL;
    onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, source->weight), turned ? turned : weight);
    if (source->bias) write_bias(graph, source->bias, parameters + layer->bias_offset, layer->n_out);
  }
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (!bytes) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}
