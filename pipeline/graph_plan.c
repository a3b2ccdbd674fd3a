#include "pipeline/graph_plan.h"

#include <math.h>
#include <string.h>

/* Only when the other operand comes from there: a constant is added and multiplied by for other reasons, too. */
typedef enum {
  ANYWHERE,
  BEHIND_PRODUCT,
  BEHIND_NORMALISED, /* what was divided by a root, or normalised with constants: GroupNorm and old LayerNorm */
  BEHIND_SCALED      /* that times its scale */
} Place;

/* Which inputs are what: one table. */
static const struct {
  const gchar *op_type;
  guint input;
  const gchar *role;
  gboolean decays;
  Place place;
} roles[] = {
    {"Gemm", 1, "weight", TRUE, ANYWHERE},
    {"Gemm", 2, "bias", FALSE, ANYWHERE},
    {"MatMul", 0, "weight", TRUE, ANYWHERE},
    {"MatMul", 1, "weight", TRUE, ANYWHERE},
    {"Conv", 1, "weight", TRUE, ANYWHERE},
    {"Conv", 2, "bias", FALSE, ANYWHERE},
    {"ConvTranspose", 1, "weight", TRUE, ANYWHERE},
    {"ConvTranspose", 2, "bias", FALSE, ANYWHERE},
    {"BatchNormalization", 1, "scale", FALSE, ANYWHERE},
    {"BatchNormalization", 2, "bias", FALSE, ANYWHERE},
    {"LayerNormalization", 1, "scale", FALSE, ANYWHERE},
    {"LayerNormalization", 2, "bias", FALSE, ANYWHERE},
    {"InstanceNormalization", 1, "scale", FALSE, ANYWHERE},
    {"InstanceNormalization", 2, "bias", FALSE, ANYWHERE},
    {"GroupNormalization", 1, "scale", FALSE, ANYWHERE},
    {"GroupNormalization", 2, "bias", FALSE, ANYWHERE},
    {"PRelu", 1, "slope", FALSE, ANYWHERE},
    {"Gather", 0, "embedding", FALSE, ANYWHERE},
    {"LSTM", 1, "weight", TRUE, ANYWHERE},
    {"LSTM", 2, "weight", TRUE, ANYWHERE},
    {"LSTM", 3, "bias", FALSE, ANYWHERE},
    {"GRU", 1, "weight", TRUE, ANYWHERE},
    {"GRU", 2, "weight", TRUE, ANYWHERE},
    {"GRU", 3, "bias", FALSE, ANYWHERE},
    {"Add", 0, "bias", FALSE, BEHIND_PRODUCT},
    {"Add", 1, "bias", FALSE, BEHIND_PRODUCT},
    {"Mul", 0, "scale", FALSE, BEHIND_NORMALISED},
    {"Mul", 1, "scale", FALSE, BEHIND_NORMALISED},
    {"Add", 0, "bias", FALSE, BEHIND_SCALED},
    {"Add", 1, "bias", FALSE, BEHIND_SCALED},
};

static const gchar *const seen_through[] = {"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", NULL};
static const gchar *const products[] = {"MatMul", "Conv", "ConvTranspose", "Gemm", NULL};

static const OnnxNode *find_producer(const OnnxGraph *graph, const gchar *value)
{
  gint index = value != NULL ? onnx_graph_find_producer(graph, value) : -1;
  return index >= 0 ? g_ptr_array_index(graph->nodes, index) : NULL;
}

/* The float initialiser that the value is, or is a view of; or NULL. */
static const OnnxTensor *trace_initialiser(const OnnxGraph *graph, const gchar *value)
{
  for (guint depth = 0; value != NULL && depth < 8; depth++) {
    const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, value);
    if (tensor != NULL) return tensor->type == ONNX_TYPE_FLOAT ? tensor : NULL;
    const OnnxNode *node = find_producer(graph, value);
    if (node == NULL || node->domain[0] != '\0' || !g_strv_contains(seen_through, node->op_type)) return NULL;
    value = onnx_node_get_input(node, 0);
  }
  return NULL;
}

/* The node behind those that only move elements. */
static const OnnxNode *find_origin(const OnnxGraph *graph, const gchar *value)
{
  const OnnxNode *node = find_producer(graph, value);
  for (guint depth = 0; node != NULL && depth < 8 && g_strv_contains(seen_through, node->op_type); depth++)
    node = find_producer(graph, onnx_node_get_input(node, 0));
  return node;
}

static gboolean is_normalised(const OnnxGraph *graph, const gchar *value)
{
  const OnnxNode *node = find_origin(graph, value);
  if (node == NULL) return FALSE;
  if (g_str_equal(node->op_type, "InstanceNormalization")) return TRUE;
  const OnnxNode *divisor =
      g_str_equal(node->op_type, "Div") ? find_producer(graph, onnx_node_get_input(node, 1)) : NULL;
  return divisor != NULL && g_str_equal(divisor->op_type, "Sqrt");
}

static gboolean is_scaled(const OnnxGraph *graph, const gchar *value)
{
  const OnnxNode *node = find_producer(graph, value);
  if (node == NULL || !g_str_equal(node->op_type, "Mul")) return FALSE;
  for (guint i = 0; i < 2; i++)
    if (trace_initialiser(graph, onnx_node_get_input(node, i)) != NULL &&
        is_normalised(graph, onnx_node_get_input(node, 1 - i)))
      return TRUE;
  return FALSE;
}

/* other: the operand beside the constant. */
static gboolean is_in_place(const OnnxGraph *graph, Place place, const gchar *other)
{
  const OnnxNode *producer = find_producer(graph, other);
  switch (place) {
  case ANYWHERE:
    return TRUE;
  case BEHIND_PRODUCT:
    return producer != NULL && g_strv_contains(products, producer->op_type);
  case BEHIND_NORMALISED:
    return is_normalised(graph, other);
  case BEHIND_SCALED:
    return is_scaled(graph, other);
  }
  return FALSE;
}

static gboolean is_frozen(const gchar *const *freeze, gboolean *used, const OnnxTensor *tensor, const OnnxNode *node)
{
  gboolean frozen = FALSE;
  for (guint i = 0; freeze != NULL && freeze[i] != NULL; i++)
    if (g_pattern_match_simple(freeze[i], tensor->name) || g_pattern_match_simple(freeze[i], node->name))
      frozen = used[i] = TRUE;
  return frozen;
}

/* Connections into and out of a unit: of [out, in, kernel…], or of a matrix either way round. */
static void count_fans(const OnnxNode *node, const OnnxTensor *tensor, PipelineGraphParameter *parameter)
{
  gsize receptive = 1;
  for (guint d = 2; d < tensor->n_dims; d++) receptive *= (gsize)tensor->dims[d];
  gsize rows = tensor->n_dims > 0 ? (gsize)tensor->dims[0] : 1,
        columns = tensor->n_dims > 1 ? (gsize)tensor->dims[1] : 1;
  gboolean out_first = g_str_equal(node->op_type, "Conv") || onnx_node_get_int(node, "transB", 0) != 0;
  parameter->fan_in = MAX((out_first ? columns : rows) * receptive, 1);
  parameter->fan_out = MAX((out_first ? rows : columns) * receptive, 1);
}

static gboolean is_known(const PipelineGraphPlan *plan, const gchar *name)
{
  for (guint i = 0; i < plan->parameters->len; i++)
    if (g_str_equal(g_array_index(plan->parameters, PipelineGraphParameter, i).name, name)) return TRUE;
  return FALSE;
}

static void add_parameter(PipelineGraphPlan *plan, const OnnxNode *node, guint number, const OnnxTensor *tensor,
                          guint role)
{
  PipelineGraphParameter parameter = {.name = tensor->name,
                                      .role = roles[role].role,
                                      .offset = plan->n_parameters,
                                      .n = onnx_tensor_get_n_elements(tensor),
                                      .decays = roles[role].decays,
                                      .node = number,
                                      .rate = 1};
  count_fans(node, tensor, &parameter);
  plan->n_parameters += parameter.n;
  g_array_append_val(plan->parameters, parameter);
}

static void add_statistics(PipelineGraphPlan *plan, const OnnxGraph *graph, const OnnxNode *node)
{
  for (guint i = 3; i < 5; i++) {
    const gchar *name = onnx_node_get_input(node, i);
    const OnnxTensor *tensor = name != NULL ? onnx_graph_find_initialiser(graph, name) : NULL;
    if (tensor == NULL) continue;
    PipelineGraphStatistic statistic = {
        .name = tensor->name, .offset = plan->n_statistics, .n = onnx_tensor_get_n_elements(tensor)};
    plan->n_statistics += statistic.n;
    g_array_append_val(plan->statistics, statistic);
  }
}

static void look_at_node(PipelineGraphPlan *plan, const OnnxGraph *graph, guint number, const gchar *const *freeze,
                         gboolean *used)
{
  const OnnxNode *node = g_ptr_array_index(graph->nodes, number);
  for (guint r = 0; r < G_N_ELEMENTS(roles); r++) {
    if (!g_str_equal(roles[r].op_type, node->op_type)) continue;
    const OnnxTensor *tensor = trace_initialiser(graph, onnx_node_get_input(node, roles[r].input));
    if (tensor == NULL || onnx_tensor_get_n_elements(tensor) == 0) continue;
    gboolean by_channel = roles[r].place >= BEHIND_NORMALISED;
    if (by_channel && onnx_tensor_get_n_elements(tensor) == 1) continue; /* a factor, as .5 of a tanh's Gelu */
    if (roles[r].place != ANYWHERE &&
        !is_in_place(graph, roles[r].place, onnx_node_get_input(node, 1 - roles[r].input)))
      continue;
    if (!is_frozen(freeze, used, tensor, node) && !is_known(plan, tensor->name))
      add_parameter(plan, node, number, tensor, r);
  }
  if (g_str_equal(node->op_type, "BatchNormalization")) add_statistics(plan, graph, node);
}

static gpointer fail_frozen(GError **error)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "every weight of the model is frozen");
  return NULL;
}

/* The node that makes the output is named: there the user recognises the kind of the model. */
static gpointer fail_without_weights(const OnnxGraph *graph, GError **error)
{
  const OnnxValue *output = graph->outputs->len > 0 ? g_ptr_array_index(graph->outputs, graph->outputs->len - 1) : NULL;
  gint last = output != NULL ? onnx_graph_find_producer(graph, output->name) : -1;
  g_autofree gchar *where =
      last >= 0 ? onnx_node_describe(g_ptr_array_index(graph->nodes, last), (guint)last) : g_strdup("the output");
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
              "the model has no weights to train: neither %s nor a node in front of it multiplies by float constants; "
              "train a new model, or the one from which this was made",
              where);
  return NULL;
}

PipelineGraphPlan *pipeline_graph_plan_new(const OnnxGraph *graph, const gchar *const *freeze, GError **error)
{
  g_autoptr(PipelineGraphPlan) plan = g_new0(PipelineGraphPlan, 1);
  guint n_patterns = freeze != NULL ? g_strv_length((gchar **)freeze) : 0;
  g_autofree gboolean *used = g_new0(gboolean, n_patterns + 1);
  plan->parameters = g_array_new(FALSE, TRUE, sizeof(PipelineGraphParameter));
  plan->statistics = g_array_new(FALSE, TRUE, sizeof(PipelineGraphStatistic));
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (node->domain[0] == '\0') look_at_node(plan, graph, n, freeze, used);
  }
  for (guint i = 0; i < n_patterns; i++) {
    if (used[i]) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no weight of the model matches '%s'", freeze[i]);
    return NULL;
  }
  if (plan->n_parameters > 0) return g_steal_pointer(&plan);
  return n_patterns > 0 ? fail_frozen(error) : fail_without_weights(graph, error);
}

void pipeline_graph_plan_free(PipelineGraphPlan *plan)
{
  if (plan == NULL) return;
  g_array_free(plan->parameters, TRUE);
  g_array_free(plan->statistics, TRUE);
  g_free(plan);
}

const gchar **pipeline_graph_plan_list_names(const PipelineGraphPlan *plan)
{
  const gchar **names = g_new0(const gchar *, plan->parameters->len + 1);
  for (guint i = 0; i < plan->parameters->len; i++)
    names[i] = g_array_index(plan->parameters, PipelineGraphParameter, i).name;
  return names;
}

void pipeline_graph_plan_store(const PipelineGraphPlan *plan, OnnxGraph *graph, const float *values,
                               const float *statistics)
{
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *parameter = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, parameter->name), values + parameter->offset);
  }
  for (guint i = 0; i < plan->statistics->len; i++) {
    const PipelineGraphStatistic *statistic = &g_array_index(plan->statistics, PipelineGraphStatistic, i);
    onnx_tensor_set_floats(onnx_graph_find_initialiser(graph, statistic->name), statistics + statistic->offset);
  }
}

void pipeline_graph_set_prediction(OnnxGraph *graph)
{
  for (guint n = 0; n < graph->nodes->len; n++) {
    OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    if (node->domain[0] != '\0') continue;
    if (g_str_equal(node->op_type, "BatchNormalization") && onnx_node_get_int(node, "training_mode", 0) != 0) {
      onnx_node_set_int(node, "training_mode", 0);
      g_ptr_array_set_size(node->outputs, 1); /* the others are statistics, which nothing may read */
    }
    if (g_str_equal(node->op_type, "Dropout") && node->inputs->len > 2) g_ptr_array_set_size(node->inputs, 2);
  }
  /* What said that they train is read by nothing now. */
  for (guint i = graph->initialisers->len; i-- > 0;) {
    g_autofree gchar *name = g_strdup(((const OnnxTensor *)g_ptr_array_index(graph->initialisers, i))->name);
    if (onnx_graph_count_readers(graph, name) == 0) onnx_graph_remove_initialiser(graph, name);
  }
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

static const struct {
  const gchar *op_type, *loss;
} links[] = {{"Softmax", "cross-entropy"}, {"LogSoftmax", "cross-entropy"}, {"Sigmoid", "binary"}};

/* Concat(1 − p, p), as scikit-learn's binary models end: the value p, or NULL. */
static const gchar *find_pair(const OnnxGraph *graph, const OnnxNode *node)
{
  if (node == NULL || !g_str_equal(node->op_type, "Concat") || node->inputs->len != 2) return NULL;
  const gchar *p = onnx_node_get_input(node, 1);
  const OnnxNode *rest = find_producer(graph, onnx_node_get_input(node, 0));
  if (rest == NULL || !g_str_equal(rest->op_type, "Sub") || g_strcmp0(onnx_node_get_input(rest, 1), p) != 0)
    return NULL;
  const OnnxTensor *one = onnx_graph_find_initialiser(graph, onnx_node_get_input(rest, 0));
  if (one == NULL || one->type != ONNX_TYPE_FLOAT || onnx_tensor_get_n_elements(one) != 1) return NULL;
  g_autofree float *value = onnx_tensor_to_floats(one, NULL);
  return value != NULL && value[0] == 1 ? p : NULL;
}

const gchar *pipeline_graph_find_head(const OnnxGraph *graph, const gchar *output, const gchar **loss)
{
  const OnnxNode *node = find_producer(graph, output);
  *loss = NULL;
  while (node != NULL && g_str_equal(node->op_type, "Identity")) {
    output = onnx_node_get_input(node, 0);
    node = find_producer(graph, output);
  }
  if (find_pair(graph, node) != NULL) node = find_producer(graph, output = find_pair(graph, node));
  for (guint i = 0; node != NULL && i < G_N_ELEMENTS(links); i++) {
    if (node->domain[0] != '\0' || !g_str_equal(node->op_type, links[i].op_type)) continue;
    *loss = links[i].loss;
    return onnx_node_get_input(node, 0);
  }
  return output;
}

static void take_uniform(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, double bound,
                         PipelineRandom *random)
{
  OnnxTensor *tensor = onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, NULL);
  gsize n = onnx_tensor_get_n_elements(tensor);
  g_autofree float *values = g_new(float, n + 1);
  for (gsize i = 0; i < n; i++) values[i] = (float)(bound * (2 * pipeline_random_uniform(random) - 1));
  onnx_tensor_set_floats(tensor, values);
  onnx_graph_take_initialiser(graph, tensor);
}

static void replace_declared(OnnxGraph *graph, gint64 from, guint to)
{
  for (guint i = 0; i < graph->outputs->len; i++) {
    OnnxValue *value = g_ptr_array_index(graph->outputs, i);
    if (value->has_shape && value->n_dims > 0 && value->dims[value->n_dims - 1].size == from)
      value->dims[value->n_dims - 1].size = (gint64)to;
  }
  g_ptr_array_set_size(graph->values, 0); /* informative only, and no longer true */
}

gboolean pipeline_graph_replace_head(OnnxGraph *graph, const gchar *output, guint n_outputs, PipelineRandom *random,
                                     GError **error)
{
  const gchar *loss, *value = pipeline_graph_find_head(graph, output, &loss), *bias = NULL;
  const OnnxNode *node = find_producer(graph, value);
  if (node != NULL && g_str_equal(node->op_type, "Add")) {
    guint side = onnx_graph_find_initialiser(graph, onnx_node_get_input(node, 1)) != NULL ? 1 : 0;
    bias = onnx_node_get_input(node, side);
    node = find_producer(graph, onnx_node_get_input(node, 1 - side));
  }
  gboolean gemm = node != NULL && g_str_equal(node->op_type, "Gemm");
  if (gemm && bias == NULL) bias = onnx_node_get_input(node, 2);
  const OnnxTensor *weight = gemm || (node != NULL && g_str_equal(node->op_type, "MatMul"))
                                 ? onnx_graph_find_initialiser(graph, onnx_node_get_input(node, 1))
                                 : NULL;
  if (weight == NULL || weight->n_dims != 2 || (bias != NULL && onnx_graph_find_initialiser(graph, bias) == NULL)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "there is no last Gemm or MatMul with own weights in front of the output '%s'", output);
    return FALSE;
  }
  gboolean turned = gemm && onnx_node_get_int(node, "transB", 0) != 0;
  gint64 n_in = weight->dims[turned ? 1 : 0], before = weight->dims[turned ? 0 : 1];
  const gint64 dims[2] = {turned ? (gint64)n_outputs : n_in, turned ? n_in : (gint64)n_outputs};
  g_autofree gchar *weight_name = g_strdup(weight->name), *bias_name = g_strdup(bias);
  take_uniform(graph, weight_name, 2, dims, sqrt(6.0 / (double)MAX(n_in, 1)), random);
  if (bias_name != NULL) take_uniform(graph, bias_name, 1, (gint64[]){n_outputs}, 0, random);
  replace_declared(graph, before, n_outputs);
  return TRUE;
}
