/* A mixture as one ONNX graph, and its experts out of it again. Values of an expert carry its name as prefix:
 *
 *     inputs ─▶ base/… ─▶ base/probabilities ─────────────▶ Mul base/weight ──┐
 *                └─ last hidden layer ─▶ steady/Gemm ─▶ Clip ─▶ Mul steady/weight ─▶ Sum ─▶ probabilities ─▶ label
 *     inputs ─▶ trained_3/… ─▶ trained_3/probabilities ───▶ Mul trained_3/weight ──┘
 */
#include "pipeline/graph_merge.h"
#include "pipeline/mixture_internal.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"

#include <string.h>

#define PROBABILITIES "probabilities"

/* --- one expert --------------------------------------------------------------------------------------------------- */

GBytes *pipeline_mixture_canonical(GBytes *onnx, GError **error)
{
  g_autoptr(OnnxGraph) graph = pipeline_graph_read(onnx, error);
  if (graph == NULL) return NULL;
  const OnnxValue *output = onnx_graph_find_value(graph, PROBABILITIES);
  if (output == NULL || output->type != ONNX_TYPE_FLOAT || onnx_graph_find_producer(graph, PROBABILITIES) < 0) {
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL,
                        "a mixture cannot be made of this model: it has no float output \"" PROBABILITIES
                        "\" (models of `kedge train` have one)");
    return NULL;
  }
  pipeline_graph_keep_output(graph, PROBABILITIES);
  onnx_graph_set_metadata(graph, PIPELINE_MIXTURE_KEY, NULL);
  return pipeline_graph_write(graph, error);
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
  pipeline_graph_move_parts(expert, graph, prefix, TRUE);
  pipeline_graph_keep_output(expert, PROBABILITIES);
  onnx_graph_set_metadata(expert, PIPELINE_MIXTURE_KEY, NULL);
  return pipeline_graph_write(expert, error);
}

/* --- into one graph ----------------------------------------------------------------------------------------------- */

static void take_floats(OnnxGraph *graph, const gchar *name, guint n_dims, const gint64 *dims, const double *values,
                        gsize n)
{
  g_autofree float *narrow = g_new(float, n + 1);
  for (gsize i = 0; i < n; i++) narrow[i] = (float)values[i];
  onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, n_dims, dims, narrow));
}

gboolean pipeline_mixture_fits(GBytes *base, GBytes *other)
{
  g_autoptr(OnnxGraph) graph = pipeline_graph_read(base, NULL), own = pipeline_graph_read(other, NULL);
  return graph != NULL && own != NULL && pipeline_graph_check_inputs(graph, own, "", NULL) &&
         pipeline_graph_share_opsets(graph, own, "", NULL);
}

static gboolean add_model(OnnxGraph *graph, const PipelineExpert *expert, GError **error)
{
  g_autoptr(OnnxGraph) own = pipeline_graph_read(expert->onnx, error);
  if (own == NULL || !pipeline_graph_check_inputs(graph, own, expert->name, error) ||
      !pipeline_graph_share_opsets(graph, own, expert->name, error))
    return FALSE;
  g_autofree gchar *prefix = g_strconcat(expert->name, "/", NULL);
  pipeline_graph_move_parts(graph, own, prefix, FALSE);
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
  OnnxGraph *graph = pipeline_graph_read(pipeline_mixture_get_expert(mixture, 0)->onnx, error);
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
