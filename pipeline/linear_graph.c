/* Linear models of ai.onnx.ml as ordinary operators. */
#include "pipeline/linear_graph.h"

#include <string.h>

#include "pipeline/executor_shapes.h"

#define ML "ai.onnx.ml"

typedef enum { FORM_NONE, FORM_VALUE, FORM_SOFTMAX, FORM_SIGMOID } Form;

typedef struct {
  OnnxGraph *graph;
  const OnnxNode *node;
  const gchar *input;                 /* x */
  guint n_outputs, n_features;        /* rows and columns of the weights that are kept */
  const float *weights, *bias;        /* [n_outputs, n_features] and [n_outputs] or NULL, borrowed */
  const gchar *label, *scores, *stem; /* names of its outputs (label may be NULL) and what new names begin with */
} Linear;

static gboolean is_ml(const OnnxNode *node, const gchar *op_type)
{
  return g_str_equal(node->domain, ML) && g_str_equal(node->op_type, op_type);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean read_weights(Linear *linear, guint n_outputs)
{
  guint n, n_bias;
  linear->weights = onnx_node_get_floats(linear->node, "coefficients", &n);
  linear->bias = onnx_node_get_floats(linear->node, "intercepts", &n_bias);
  linear->n_outputs = n_outputs;
  if (linear->weights == NULL || n_outputs == 0 || n % n_outputs != 0 || n == 0) return FALSE;
  linear->n_features = n / n_outputs;
  if (n_bias == 0) linear->bias = NULL;
  return n_bias == 0 || n_bias == n_outputs;
}

static guint count_classes(const OnnxNode *node)
{
  guint n = 0;
  const OnnxAttribute *names = onnx_node_get_attribute(node, "classlabels_strings");
  onnx_node_get_ints(node, "classlabels_ints", &n);
  return n > 0 ? n : names != NULL && names->kind == ONNX_ATTRIBUTE_STRINGS ? names->texts->len : 0;
}

/* Of [2, F] that are each other's negative the second row is kept. */
static gboolean keep_second(Linear *linear)
{
  const float *first = linear->weights, *second = linear->weights + linear->n_features;
  for (guint i = 0; i < linear->n_features; i++)
    if (first[i] != -second[i]) return FALSE;
  if (linear->bias != NULL && linear->bias[0] != -linear->bias[1]) return FALSE;
  linear->weights = second;
  if (linear->bias != NULL) linear->bias++;
  linear->n_outputs = 1;
  return TRUE;
}

static Form read_classifier(Linear *linear)
{
  g_autofree gchar *transform = onnx_node_copy_string(linear->node, "post_transform", "NONE");
  guint n_classes = count_classes(linear->node), n_bias;
  linear->label = onnx_node_get_output(linear->node, 0);
  linear->scores = onnx_node_get_output(linear->node, 1);
  if (linear->scores == NULL || n_classes < 2) return FORM_NONE;
  onnx_node_get_floats(linear->node, "intercepts", &n_bias);
  gboolean single = n_classes == 2 && n_bias == 1;
  if (!read_weights(linear, single ? 1 : n_classes)) return FORM_NONE;
  if (g_str_equal(transform, "SOFTMAX") && !single) return FORM_SOFTMAX;
  if (g_str_equal(transform, "LOGISTIC") && n_classes == 2 && (single || keep_second(linear))) return FORM_SIGMOID;
  return FORM_NONE;
}

static Form read_regressor(Linear *linear)
{
  g_autofree gchar *transform = onnx_node_copy_string(linear->node, "post_transform", "NONE");
  gint64 n = onnx_node_get_int(linear->node, "targets", 1);
  linear->scores = onnx_node_get_output(linear->node, 0);
  gboolean good = linear->scores != NULL && n > 0 && n <= G_MAXINT && g_str_equal(transform, "NONE");
  return good && read_weights(linear, (guint)n) ? FORM_VALUE : FORM_NONE;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static gchar *name_of(const Linear *linear, const gchar *part)
{
  return g_strdup_printf("%s.%s", linear->stem, part);
}

static OnnxNode *add(const Linear *linear, const gchar *domain, const gchar *op_type, const gchar *first,
                     const gchar *second, const gchar *third, const gchar *output)
{
  return onnx_graph_add_node_strv(linear->graph, domain, op_type, (const gchar *const[]){first, second, third, NULL},
                                  (const gchar *const[]){output, NULL});
}

/* Gemm(x, W, b); x of another type is cast. */
static void add_product(const Linear *linear, gboolean cast, const gchar *output)
{
  gint64 n_in = linear->n_features, n_out = linear->n_outputs;
  g_autofree gchar *weight = name_of(linear, "weight"), *bias = name_of(linear, "bias"), *x = name_of(linear, "x");
  g_autofree float *turned = g_new(float, (gsize)n_in *n_out);
  for (gint64 i = 0; i < n_in; i++)
    for (gint64 o = 0; o < n_out; o++) turned[i * n_out + o] = linear->weights[o * n_in + i];
  onnx_graph_take_initialiser(linear->graph,
                              onnx_tensor_new(weight, ONNX_TYPE_FLOAT, 2, (gint64[]){n_in, n_out}, turned));
  onnx_graph_take_initialiser(linear->graph, onnx_tensor_new(bias, ONNX_TYPE_FLOAT, 1, &n_out, linear->bias));
  if (cast) onnx_node_set_int(add(linear, "", "Cast", linear->input, NULL, NULL, x), "to", ONNX_TYPE_FLOAT);
  add(linear, "", "Gemm", cast ? x : linear->input, weight, bias, output);
}

static void add_probabilities(const Linear *linear, Form form, gboolean cast)
{
  g_autofree gchar *logits = name_of(linear, "logits"), *p = name_of(linear, "p"), *rest = name_of(linear, "rest"),
                   *one = name_of(linear, "one");
  const float unit = 1;
  add_product(linear, cast, logits);
  if (form == FORM_SOFTMAX) {
    onnx_node_set_int(add(linear, "", "Softmax", logits, NULL, NULL, linear->scores), "axis", 1);
    return;
  }
  onnx_graph_take_initialiser(linear->graph, onnx_tensor_new(one, ONNX_TYPE_FLOAT, 1, (gint64[]){1}, &unit));
  add(linear, "", "Sigmoid", logits, NULL, NULL, p);
  add(linear, "", "Sub", one, p, NULL, rest);
  onnx_node_set_int(add(linear, "", "Concat", rest, p, NULL, linear->scores), "axis", 1);
}

static OnnxTensor *make_classes(const OnnxNode *node, const gchar *name)
{
  guint n;
  const gint64 *numbers = onnx_node_get_ints(node, "classlabels_ints", &n);
  gint64 size = n;
  if (numbers != NULL && n > 0) return onnx_tensor_new(name, ONNX_TYPE_INT64, 1, &size, numbers);
  const GPtrArray *texts = onnx_node_get_attribute(node, "classlabels_strings")->texts;
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < texts->len; i++) {
    gsize length;
    const gchar *text = g_bytes_get_data(g_ptr_array_index(texts, i), &length);
    g_ptr_array_add(names, g_strndup(text != NULL ? text : "", length));
  }
  size = names->len;
  return onnx_tensor_new_strings(name, 1, &size, (const gchar *const *)names->pdata);
}

static void add_label(const Linear *linear)
{
  g_autofree gchar *best = name_of(linear, "best"), *classes = name_of(linear, "classes"),
                   *flat = name_of(linear, "flat"), *named = name_of(linear, "named");
  const gint64 all = -1;
  if (linear->label == NULL) return;
  OnnxNode *node = add(linear, "", "ArgMax", linear->scores, NULL, NULL, best);
  onnx_node_set_int(node, "axis", 1);
  onnx_node_set_int(node, "keepdims", 0);
  onnx_graph_take_initialiser(linear->graph, make_classes(linear->node, classes));
  onnx_graph_take_initialiser(linear->graph, onnx_tensor_new(flat, ONNX_TYPE_INT64, 1, (gint64[]){1}, &all));
  add(linear, ML, "ArrayFeatureExtractor", classes, best, NULL, named);
  add(linear, "", "Reshape", named, flat, NULL, linear->label);
}

/* --- the graph ---------------------------------------------------------------------------------------------------- */

/* A Normalizer that only divides probabilities by their sum: its output takes over their name. */
static const gchar *skip_normalizer(OnnxGraph *graph, const gchar *scores)
{
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (!is_ml(node, "Normalizer") || g_strcmp0(onnx_node_get_input(node, 0), scores) != 0) continue;
    g_autofree gchar *norm = onnx_node_copy_string(node, "norm", "MAX");
    const gchar *output = onnx_node_get_output(node, 0);
    if (!g_str_equal(norm, "L1") || output == NULL || onnx_graph_count_readers(graph, scores) != 1) return scores;
    const gchar *kept = g_intern_string(output);
    onnx_graph_remove_node(graph, i);
    return kept;
  }
  return scores;
}

/* The nodes from `first` on move to `place`: the list is in topological order. */
static void move_nodes(OnnxGraph *graph, guint first, guint place)
{
  for (guint i = first; i < graph->nodes->len; i++) {
    OnnxNode *node = g_ptr_array_steal_index(graph->nodes, i);
    g_ptr_array_insert(graph->nodes, (gint)place++, node);
  }
}

static gboolean is_float(const OnnxGraph *declared, const gchar *name)
{
  const OnnxValue *value = declared != NULL ? onnx_graph_find_value(declared, name) : NULL;
  return value != NULL && value->type == ONNX_TYPE_FLOAT;
}

static void expand_node(OnnxGraph *graph, guint index, const OnnxGraph *declared)
{
  OnnxNode *node = g_ptr_array_index(graph->nodes, index);
  Linear linear = {.graph = graph, .node = node, .input = onnx_node_get_input(node, 0)};
  gboolean classifier = is_ml(node, "LinearClassifier");
  if (linear.input == NULL || (!classifier && !is_ml(node, "LinearRegressor"))) return;
  Form form = classifier ? read_classifier(&linear) : read_regressor(&linear);
  if (form == FORM_NONE) return;
  if (onnx_graph_get_opset(graph, "") == 0) onnx_graph_set_opset(graph, "", 13); /* a model of ai.onnx.ml alone */
  g_ptr_array_steal_index(graph->nodes, index);
  linear.stem = linear.scores;
  if (classifier) linear.scores = skip_normalizer(graph, linear.scores);
  guint first = graph->nodes->len;
  gboolean cast = !is_float(declared, linear.input);
  if (classifier) {
    add_probabilities(&linear, form, cast);
    add_label(&linear);
  } else {
    add_product(&linear, cast, linear.scores);
  }
  move_nodes(graph, first, index);
  g_ptr_array_add(graph->nodes, node); /* frees the node in the list's own way */
  g_ptr_array_remove_index(graph->nodes, graph->nodes->len - 1);
}

void pipeline_linear_graph_expand(OnnxGraph *graph)
{
  gint64 opset = onnx_graph_get_opset(graph, "");
  gboolean any = FALSE;
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    any = any || is_ml(node, "LinearClassifier") || is_ml(node, "LinearRegressor");
  }
  if (!any || (opset > 0 && opset < 7)) return;
  g_autoptr(OnnxGraph) declared = onnx_graph_copy(graph);
  onnx_graph_simplify(declared);
  if (!pipeline_shapes_declare(declared, NULL)) g_clear_pointer(&declared, onnx_graph_free);
  for (guint i = graph->nodes->len; i-- > 0;) expand_node(graph, i, declared);
}
