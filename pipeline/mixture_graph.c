/* A mixture as one ONNX graph, and its experts out of it again. Values of an expert carry its name as prefix:
 *
 *     inputs ─▶ base/… ─▶ base/probabilities ─────────────▶ Mul base/weight ──┐
 *                └─ last hidden layer ─▶ steady/Gemm ─▶ Clip ─▶ Mul steady/weight ─▶ Sum ─▶ probabilities ─▶ label
 *     inputs ─▶ trained_3/… ─▶ trained_3/probabilities ───▶ Mul trained_3/weight ──┘
 */
#include "pipeline/mixture_internal.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"

#include <string.h>

#define PROBABILITIES "probabilities"

static GBytes *to_bytes(const OnnxGraph *graph, GError **error)
{
  g_autoptr(GError) cause = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return bytes;
}

static OnnxGraph *from_bytes(GBytes *onnx, GError **error)
{
  g_autoptr(GError) cause = NULL;
  OnnxGraph *graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return graph;
}

/* --- one expert --------------------------------------------------------------------------------------------------- */

/* Only "probabilities" stays an output; what nothing reads then goes. */
static void keep_probabilities(OnnxGraph *graph)
{
  for (guint i = graph->outputs->len; i-- > 0;) {
    const OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    if (!g_str_equal(output->name, PROBABILITIES)) g_ptr_array_remove_index(graph->outputs, i);
  }
  g_ptr_array_set_size(graph->values, 0);
  onnx_graph_simplify(graph);
}

GBytes *pipeline_mixture_canonical(GBytes *onnx, GError **error)
{
  g_autoptr(OnnxGraph) graph = from_bytes(onnx, error);
  if (graph == NULL) return NULL;
  const OnnxValue *output = onnx_graph_find_value(graph, PROBABILITIES);
  if (output == NULL || output->type != ONNX_TYPE_FLOAT || onnx_graph_find_producer(graph, PROBABILITIES) < 0) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                        "a mixture cannot be made of this model: it has no float output \"" PROBABILITIES
                        "\" (models of `kedge train` have one)");
    return NULL;
  }
  keep_probabilities(graph);
  onnx_graph_set_metadata(graph, PIPELINE_MIXTURE_KEY, NULL);
  return to_bytes(graph, error);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static gboolean is_input(const OnnxGraph *graph, const gchar *name)
{
  for (guint i = 0; i < graph->inputs->len; i++)
    if (g_str_equal(((const OnnxValue *)g_ptr_array_index(graph->inputs, i))->name, name)) return TRUE;
  return FALSE;
}

/* With prefix, or (strip) without; inputs of the graph and omitted inputs keep their name. */
static gchar *renamed(const OnnxGraph *graph, const gchar *name, const gchar *prefix, gboolean strip)
{
  if (*name == '\0' || is_input(graph, name)) return g_strdup(name);
  if (strip) return g_strdup(g_str_has_prefix(name, prefix) ? name + strlen(prefix) : name);
  return g_strconcat(prefix, name, NULL);
}

static void rename_all(const OnnxGraph *graph, GPtrArray *names, const gchar *prefix, gboolean strip)
{
  for (guint i = 0; i < names->len; i++) {
    gchar *before = g_ptr_array_index(names, i);
    g_ptr_array_index(names, i) = renamed(graph, before, prefix, strip);
    g_free(before);
  }
}

static void rename_text(const OnnxGraph *graph, gchar **name, const gchar *prefix, gboolean strip)
{
  gchar *before = *name;
  *name = renamed(graph, before, prefix, strip);
  g_free(before);
}

/* Moves the nodes and initialisers of `from` into `into`. */
static void move_parts(OnnxGraph *into, OnnxGraph *from, const gchar *prefix, gboolean strip)
{
  for (guint i = 0; i < from->nodes->len; i++) {
    OnnxNode *node = g_ptr_array_index(from->nodes, i);
    rename_all(from, node->inputs, prefix, strip);
    rename_all(from, node->outputs, prefix, strip);
    rename_text(from, &node->name, prefix, strip);
  }
  while (from->nodes->len > 0) g_ptr_array_add(into->nodes, g_ptr_array_steal_index(from->nodes, 0));
  while (from->initialisers->len > 0) {
    OnnxTensor *tensor = g_ptr_array_steal_index(from->initialisers, 0);
    rename_text(from, &tensor->name, prefix, strip);
    onnx_graph_take_initialiser(into, tensor);
  }
}

/* --- out of one graph --------------------------------------------------------------------------------------------- */

/* What the mixture itself adds to an expert: its weight, and the product with it. */
static gboolean is_own(const gchar *name, const gchar *prefix)
{
  static const gchar *const added[] = {"weight", "weighted", NULL};
  return g_str_has_prefix(name, prefix) && !g_strv_contains(added, name + strlen(prefix));
}

GBytes *pipeline_mixture_split(const OnnxGraph *merged, const gchar *name, GError **error)
{
  g_autofree gchar *prefix = g_strconcat(name, "/", NULL), *answer = g_strconcat(prefix, PROBABILITIES, NULL);
  g_autoptr(OnnxGraph) graph = onnx_graph_copy(merged), expert = onnx_graph_copy(merged);
  if (onnx_graph_find_producer(merged, answer) < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the mixture's expert \"%s\" is not in its graph: the file is damaged", name);
    return NULL;
  }
  for (guint i = graph->nodes->len; i-- > 0;) {
    const gchar *output = onnx_node_get_output(g_ptr_array_index(graph->nodes, i), 0);
    if (output == NULL || !is_own(output, prefix)) onnx_graph_remove_node(graph, i);
  }
  for (guint i = graph->initialisers->len; i-- > 0;)
    if (!is_own(((const OnnxTensor *)g_ptr_array_index(graph->initialisers, i))->name, prefix))
      g_ptr_array_remove_index(graph->initialisers, i);
  g_ptr_array_set_size(expert->nodes, 0);
  g_ptr_array_set_size(expert->initialisers, 0);
  move_parts(expert, graph, prefix, TRUE);
  keep_probabilities(expert);
  onnx_graph_set_metadata(expert, PIPELINE_MIXTURE_KEY, NULL);
  return to_bytes(expert, error);
}

/* --- into one graph ----------------------------------------------------------------------------------------------- */

static void take_floats(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, const double *values,
                        gsize n)
{
  g_autofree float *narrow = g_new(float, n + 1);
  for (gsize i = 0; i < n; i++) narrow[i] = (float)values[i];
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, narrow));
}

/* Two models that are fed alike. */
static gboolean check_inputs(const OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error)
{
  gboolean same = graph->inputs->len == other->inputs->len;
  for (guint i = 0; same && i < graph->inputs->len; i++) {
    const OnnxValue *a = g_ptr_array_index(graph->inputs, i), *b = g_ptr_array_index(other->inputs, i);
    same = g_str_equal(a->name, b->name) && a->type == b->type;
  }
  if (!same)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "the inputs of \"%s\" are not those of the base: a mixture needs a base made by `kedge train`", name);
  return same;
}

/* Opsets that the other does not import are added. */
static gboolean share_opsets(OnnxGraph *graph, const OnnxGraph *other, const gchar *name, GError **error)
{
  for (guint i = 0; i < other->opsets->len; i++) {
    const OnnxOpset *opset = g_ptr_array_index(other->opsets, i);
    gint64 there = onnx_graph_get_opset(graph, opset->domain);
    if (there == 0) onnx_graph_set_opset(graph, opset->domain, opset->version);
    if (there == 0 || there == opset->version) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                "\"%s\" is written for opset %" G_GINT64_FORMAT " of \"%s\", the base for %" G_GINT64_FORMAT, name,
                opset->version, opset->domain, there);
    return FALSE;
  }
  return TRUE;
}

gboolean pipeline_mixture_fits(GBytes *base, GBytes *other)
{
  g_autoptr(OnnxGraph) graph = from_bytes(base, NULL), own = from_bytes(other, NULL);
  return graph != NULL && own != NULL && check_inputs(graph, own, "", NULL) && share_opsets(graph, own, "", NULL);
}

static gboolean add_model(OnnxGraph *graph, const PipelineExpert *expert, GError **error)
{
  g_autoptr(OnnxGraph) own = from_bytes(expert->onnx, error);
  if (own == NULL || !check_inputs(graph, own, expert->name, error) || !share_opsets(graph, own, expert->name, error))
    return FALSE;
  g_autofree gchar *prefix = g_strconcat(expert->name, "/", NULL);
  move_parts(graph, own, prefix, FALSE);
  return TRUE;
}

/* The value that enters the base's last layer. */
static gchar *find_hidden(const OnnxGraph *graph, GError **error)
{
  const gchar *value = "base/" PROBABILITIES;
  static const gchar *const passed[] = {"Softmax", "Add", NULL}, *const ends[] = {"Gemm", "MatMul", NULL};
  for (guint depth = 0; depth < 4; depth++) {
    gint index = onnx_graph_find_producer(graph, value);
    const OnnxNode *node = index >= 0 ? g_ptr_array_index(graph->nodes, index) : NULL;
    if (node == NULL || !(g_strv_contains(passed, node->op_type) || g_strv_contains(ends, node->op_type))) break;
    gboolean constant = onnx_graph_find_initialiser(graph, onnx_node_get_input(node, 0)) != NULL;
    value = onnx_node_get_input(node, constant ? 1 : 0);
    if (g_strv_contains(ends, node->op_type)) return g_strdup(value);
  }
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                      "a mixture cannot be made of this model: it does not end in a Gemm and a Softmax");
  return NULL;
}

/* p = clip(hidden · w / 2 + (b + 1) / 2, .01, .99). */
static void add_head(OnnxGraph *graph, const PipelineExpert *expert, const gchar *hidden)
{
  const PipelineMixtureHead *head = expert->head;
  const guint width = head->size - 1, classes = head->n_classes;
  const double limits[] = {.01, .99};
  const gchar *n = expert->name;
  g_autofree double *weights = g_new(double, (gsize)width *classes + 1), *bias = g_new(double, classes + 1);
  for (guint c = 0; c < classes; c++) {
    for (guint k = 0; k < width; k++) weights[(gsize)c * width + k] = head->coefficients[(gsize)c * head->size + k] / 2;
    bias[c] = (head->coefficients[(gsize)c * head->size + width] + 1) / 2;
  }
  g_autofree gchar *w = g_strconcat(n, "/coefficients", NULL), *b = g_strconcat(n, "/intercept", NULL),
                   *low = g_strconcat(n, "/lowest", NULL), *high = g_strconcat(n, "/highest", NULL),
                   *score = g_strconcat(n, "/score", NULL), *clipped = g_strconcat(n, "/clipped", NULL),
                   *sum = g_strconcat(n, "/sum", NULL), *answer = g_strconcat(n, "/" PROBABILITIES, NULL);
  take_floats(graph, w, 2, (gint64[]){classes, width}, weights, (gsize)width * classes);
  take_floats(graph, b, 1, (gint64[]){classes}, bias, classes);
  take_floats(graph, low, 0, NULL, &limits[0], 1);
  take_floats(graph, high, 0, NULL, &limits[1], 1);
  OnnxNode *gemm = onnx_graph_add_node_strv(graph, "", "Gemm", (const gchar *const[]){hidden, w, b, NULL},
                                            (const gchar *const[]){score, NULL});
  onnx_node_set_int(gemm, "transB", 1);
  onnx_graph_add_node_strv(graph, "", "Clip", (const gchar *const[]){score, low, high, NULL},
                           (const gchar *const[]){classes > 2 ? clipped : answer, NULL});
  if (classes <= 2) return; /* they add up to 1 */
  OnnxNode *reduce = onnx_graph_add_node_strv(
      graph, "", "ReduceSum", (const gchar *const[]){clipped, "last_axis", NULL}, (const gchar *const[]){sum, NULL});
  onnx_node_set_int(reduce, "keepdims", 1);
  onnx_graph_add_node_strv(graph, "", "Div", (const gchar *const[]){clipped, sum, NULL},
                           (const gchar *const[]){answer, NULL});
}

/* NAME/weighted = NAME/probabilities · NAME/weight; returns it. */
static gchar *add_weight(OnnxGraph *graph, const PipelineExpert *expert)
{
  gchar *weighted = g_strconcat(expert->name, "/weighted", NULL);
  g_autofree gchar *weight = g_strconcat(expert->name, "/weight", NULL),
                   *answer = g_strconcat(expert->name, "/" PROBABILITIES, NULL);
  take_floats(graph, weight, 0, NULL, &expert->weight, 1);
  onnx_graph_add_node_strv(graph, "", "Mul", (const gchar *const[]){answer, weight, NULL},
                           (const gchar *const[]){weighted, NULL});
  return weighted;
}

/* An empty graph with the inputs of the base. */
static OnnxGraph *begin_graph(const PipelineMixture *mixture, GError **error)
{
  OnnxGraph *graph = from_bytes(pipeline_mixture_get_expert(mixture, 0)->onnx, error);
  if (graph == NULL) return NULL;
  g_ptr_array_set_size(graph->nodes, 0);
  g_ptr_array_set_size(graph->initialisers, 0);
  g_ptr_array_set_size(graph->outputs, 0);
  if (onnx_graph_get_metadata(graph, PIPELINE_SCHEMA_KEY) == NULL) {
    g_autofree gchar *spec = pipeline_model_spec_format(mixture->schema);
    onnx_graph_set_metadata(graph, PIPELINE_SCHEMA_KEY, spec);
  }
  return graph;
}

OnnxGraph *pipeline_mixture_merge(const PipelineMixture *mixture, GError **error)
{
  g_autoptr(OnnxGraph) graph = begin_graph(mixture, error);
  g_autofree gchar *hidden = NULL;
  g_autoptr(GPtrArray) weighted = g_ptr_array_new_with_free_func(g_free);
  const gint64 last_axis = 1;
  if (graph == NULL) return NULL;
  if (mixture->schema->classes->len > 2)
    onnx_graph_take_initialiser(graph, onnx_tensor_new("last_axis", ONNX_TYPE_INT64, 1, (gint64[]){1}, &last_axis));
  for (guint i = 0; i < mixture->experts->len; i++) {
    const PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    if (expert->head == NULL && !add_model(graph, expert, error)) return NULL;
    if (i == 0 && (hidden = find_hidden(graph, error)) == NULL) return NULL;
    if (expert->head != NULL) add_head(graph, expert, hidden);
    g_ptr_array_add(weighted, add_weight(graph, expert));
  }
  g_ptr_array_add(weighted, NULL);
  onnx_graph_add_node_strv(graph, "", "Sum", (const gchar *const *)weighted->pdata,
                           (const gchar *const[]){PROBABILITIES, NULL});
  if (onnx_graph_get_opset(graph, "ai.onnx.ml") == 0) onnx_graph_set_opset(graph, "ai.onnx.ml", 3);
  pipeline_network_add_label(graph, mixture->schema);
  return g_steal_pointer(&graph);
}
