/* Trees ↔ the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor (ai.onnx.ml 3). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "pipeline/tree_ensemble.h"

static gboolean unsupported(GError **error, const gchar *why)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "boosting cannot continue these trees: %s; train new ones by --arch trees", why);
  return FALSE;
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

static gboolean is_ensemble(const OnnxNode *node)
{
  return g_str_equal(node->domain, "ai.onnx.ml") && g_str_has_prefix(node->op_type, "TreeEnsemble");
}

static guint count(const OnnxGraph *graph, gint *last)
{
  guint n = 0;
  *last = -1;
  for (guint i = 0; i < graph->nodes->len; i++) {
    if (!is_ensemble(g_ptr_array_index(graph->nodes, i))) continue;
    *last = (gint)i;
    n++;
  }
  return n;
}

gint pipeline_tree_onnx_find(const OnnxGraph *graph)
{
  gint last;
  return count(graph, &last) == 1 ? last : -1;
}

gboolean pipeline_tree_onnx_is_ensemble(GBytes *onnx)
{
  gint last;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  return graph != NULL && count(graph, &last) > 0;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

typedef struct {
  GArray *tree, *node, *feature, *yes, *no, *missing, *leaf_tree, *leaf_node, *leaf_output; /* of gint64 */
  GArray *value, *weight;                                                                   /* of float */
  GPtrArray *modes;                                                                         /* of static texts */
} Lists;

static GArray **integer_lists(Lists *lists, guint index)
{
  GArray **all[] = {&lists->tree,    &lists->node,      &lists->feature,   &lists->yes,        &lists->no,
                    &lists->missing, &lists->leaf_tree, &lists->leaf_node, &lists->leaf_output};
  return index < G_N_ELEMENTS(all) ? all[index] : NULL;
}

static void lists_clear(Lists *lists)
{
  for (guint i = 0; integer_lists(lists, i) != NULL; i++) g_array_unref(*integer_lists(lists, i));
  g_array_unref(lists->value);
  g_array_unref(lists->weight);
  g_ptr_array_unref(lists->modes);
}

static void append_integer(GArray *list, gint64 value)
{
  g_array_append_val(list, value);
}

static void append_node(Lists *lists, const PipelineTreeEnsemble *ensemble, guint tree, guint number)
{
  static gchar leaf_mode[] = "LEAF", split_mode[] = "BRANCH_LT";
  const PipelineTreeNode *node = pipeline_tree_ensemble_get(ensemble, tree, number);
  gboolean leaf = node->yes == 0;
  float threshold = leaf ? 0 : node->value;
  append_integer(lists->tree, tree);
  append_integer(lists->node, number);
  append_integer(lists->feature, node->column);
  append_integer(lists->yes, node->yes);
  append_integer(lists->no, node->no);
  append_integer(lists->missing, node->missing_yes);
  g_array_append_val(lists->value, threshold);
  g_ptr_array_add(lists->modes, leaf ? leaf_mode : split_mode);
  if (!leaf) return;
  append_integer(lists->leaf_tree, tree);
  append_integer(lists->leaf_node, number);
  append_integer(lists->leaf_output, g_array_index(ensemble->outputs, guint32, tree));
  g_array_append_val(lists->weight, node->value);
}

static void fill_lists(Lists *lists, const PipelineTreeEnsemble *ensemble)
{
  for (guint i = 0; integer_lists(lists, i) != NULL; i++)
    *integer_lists(lists, i) = g_array_new(FALSE, FALSE, sizeof(gint64));
  lists->value = g_array_new(FALSE, FALSE, sizeof(float));
  lists->weight = g_array_new(FALSE, FALSE, sizeof(float));
  lists->modes = g_ptr_array_new();
  guint n_trees = pipeline_tree_ensemble_n_trees(ensemble);
  for (guint tree = 0; tree < n_trees; tree++) {
    guint n = pipeline_tree_ensemble_n_nodes(ensemble, tree);
    for (guint number = 0; number < n; number++) append_node(lists, ensemble, tree, number);
  }
}

/* Of two classes: ONNX Runtime takes sums of weights that are all 0 or more for probabilities and leaves out the
 * logistic function. So one weight has to be below 0: the first tree's smallest, w, becomes -w and its others lose 2 w,
 * which the base value gains; a 0 becomes the smallest normal number. */
static void make_one_negative(Lists *lists, float *base)
{
  float *weights = (float *)(gpointer)lists->weight->data;
  const gint64 *trees = (const gint64 *)(gpointer)lists->leaf_tree->data;
  guint smallest = 0, n_first = 0;
  for (guint i = 0; i < lists->weight->len; i++)
    if (weights[i] < 0) return;
  for (; n_first < lists->weight->len && trees[n_first] == trees[0]; n_first++)
    if (weights[n_first] < weights[smallest]) smallest = n_first;
  float shift = 2 * weights[smallest];
  for (guint i = 0; i < n_first; i++) weights[i] -= shift;
  *base += shift;
  if (weights[smallest] >= 0) weights[smallest] = -FLT_MIN;
}

static void set_ints(OnnxNode *node, const gchar *name, const GArray *list)
{
  onnx_node_set_ints(node, name, (const gint64 *)(gpointer)list->data, list->len);
}

void pipeline_tree_onnx_write(const PipelineTreeEnsemble *ensemble, gboolean classifier, OnnxNode *node)
{
  Lists lists;
  fill_lists(&lists, ensemble);
  g_autofree float *base = g_memdup2(ensemble->base, ensemble->n_outputs * sizeof *base);
  if (classifier && ensemble->n_outputs == 1 && lists.weight->len > 0) make_one_negative(&lists, base);
  const struct {
    const gchar *name;
    const GArray *list;
  } nodes[] = {{"nodes_treeids", lists.tree},
               {"nodes_nodeids", lists.node},
               {"nodes_featureids", lists.feature},
               {"nodes_truenodeids", lists.yes},
               {"nodes_falsenodeids", lists.no},
               {"nodes_missing_value_tracks_true", lists.missing},
               {classifier ? "class_treeids" : "target_treeids", lists.leaf_tree},
               {classifier ? "class_nodeids" : "target_nodeids", lists.leaf_node},
               {classifier ? "class_ids" : "target_ids", lists.leaf_output}};
  for (guint i = 0; i < G_N_ELEMENTS(nodes); i++) set_ints(node, nodes[i].name, nodes[i].list);
  g_ptr_array_add(lists.modes, NULL);
  onnx_node_set_strings(node, "nodes_modes", (const gchar *const *)lists.modes->pdata, lists.modes->len - 1);
  onnx_node_set_floats(node, "nodes_values", (const float *)(gpointer)lists.value->data, lists.value->len);
  onnx_node_set_floats(node, classifier ? "class_weights" : "target_weights",
                       (const float *)(gpointer)lists.weight->data, lists.weight->len);
  onnx_node_set_floats(node, "base_values", base, ensemble->n_outputs);
  onnx_node_set_string(node, "post_transform",
                       !classifier                ? "NONE"
                       : ensemble->n_outputs == 1 ? "LOGISTIC"
                                                  : "SOFTMAX");
  if (!classifier) onnx_node_set_int(node, "n_targets", ensemble->n_outputs);
  lists_clear(&lists);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const gint64 *tree, *node, *feature, *yes, *no, *missing, *leaf_tree, *leaf_node, *leaf_output;
  const float *value, *weight;
  GPtrArray *modes;
  guint n, n_missing, n_leaves;
} Attributes;

static gboolean get_attributes(const OnnxNode *node, gboolean classifier, Attributes *a, GError **error)
{
  guint n[6], leaves[4];
  a->tree = onnx_node_get_ints(node, "nodes_treeids", &a->n);
  a->node = onnx_node_get_ints(node, "nodes_nodeids", &n[0]);
  a->feature = onnx_node_get_ints(node, "nodes_featureids", &n[1]);
  a->yes = onnx_node_get_ints(node, "nodes_truenodeids", &n[2]);
  a->no = onnx_node_get_ints(node, "nodes_falsenodeids", &n[3]);
  a->value = onnx_node_get_floats(node, "nodes_values", &n[4]);
  a->missing = onnx_node_get_ints(node, "nodes_missing_value_tracks_true", &a->n_missing);
  a->leaf_tree = onnx_node_get_ints(node, classifier ? "class_treeids" : "target_treeids", &leaves[0]);
  a->leaf_node = onnx_node_get_ints(node, classifier ? "class_nodeids" : "target_nodeids", &leaves[1]);
  a->leaf_output = onnx_node_get_ints(node, classifier ? "class_ids" : "target_ids", &leaves[2]);
  a->weight = onnx_node_get_floats(node, classifier ? "class_weights" : "target_weights", &leaves[3]);
  a->n_leaves = leaves[0];
  const OnnxAttribute *modes = onnx_node_get_attribute(node, "nodes_modes");
  n[5] = modes != NULL && modes->kind == ONNX_ATTRIBUTE_STRINGS ? modes->texts->len : 0;
  if (n[5] > 0) a->modes = modes->texts;
  gboolean good = a->n > 0 && a->n_leaves > 0 && (a->n_missing == 0 || a->n_missing == a->n);
  for (guint i = 0; i < G_N_ELEMENTS(n); i++) good = good && n[i] == a->n;
  for (guint i = 0; i < G_N_ELEMENTS(leaves); i++) good = good && leaves[i] == a->n_leaves;
  return good || unsupported(error, "their lists of nodes are missing or differ in length");
}

static gboolean mode_is(const Attributes *a, guint i, const gchar *mode)
{
  gsize length;
  const gchar *text = g_bytes_get_data(g_ptr_array_index(a->modes, i), &length);
  return length == strlen(mode) && memcmp(text, mode, length) == 0;
}

/* Node i of the attributes; a tree begins where the number changes, and its nodes lie side by side. */
static gboolean read_node(PipelineTreeEnsemble *ensemble, const Attributes *a, guint i, guint32 start, GError **error)
{
  PipelineTreeNode node = {.value = a->value[i]};
  if (mode_is(a, i, "LEAF")) {
    node.value = 0;
    g_array_append_val(ensemble->nodes, node);
    return TRUE;
  }
  if (!mode_is(a, i, "BRANCH_LT") && !mode_is(a, i, "BRANCH_LEQ"))
    return unsupported(error, "their splits are neither < nor <=");
  if (mode_is(a, i, "BRANCH_LEQ")) node.value = nextafterf(node.value, INFINITY);
  gint64 width = (gint64)(a->n - start);
  if (a->feature[i] < 0 || a->feature[i] >= ensemble->n_columns || a->yes[i] <= a->node[i] || a->no[i] <= a->node[i] ||
      a->yes[i] >= width || a->no[i] >= width || a->yes[i] == a->no[i])
    return unsupported(error, "a node's feature or children are not where boosting writes them");
  node.column = (guint32)a->feature[i];
  node.yes = (guint32)a->yes[i];
  node.no = (guint32)a->no[i];
  node.missing_yes = a->n_missing > 0 && a->missing[i] != 0;
  g_array_append_val(ensemble->nodes, node);
  return TRUE;
}

/* No child lies beyond its own tree. */
static gboolean check_children(const PipelineTreeEnsemble *ensemble, GError **error)
{
  for (guint tree = 0; tree < ensemble->starts->len; tree++) {
    guint n = pipeline_tree_ensemble_n_nodes(ensemble, tree);
    for (guint i = 0; i < n; i++) {
      const PipelineTreeNode *node = pipeline_tree_ensemble_get(ensemble, tree, i);
      if (node->yes >= n || node->no >= n) return unsupported(error, "a child is in another tree");
    }
  }
  return TRUE;
}

/* index_of: number of a tree in the model → its place + 1. */
static gboolean read_trees(PipelineTreeEnsemble *ensemble, const Attributes *a, GHashTable *index_of, GError **error)
{
  guint32 start = 0, none = G_MAXUINT32;
  for (guint i = 0; i < a->n; i++) {
    if (i == 0 || a->tree[i] != a->tree[i - 1]) {
      start = i;
      g_array_append_val(ensemble->starts, start);
      g_array_append_val(ensemble->outputs, none);
      if (!g_hash_table_insert(index_of, (gpointer)&a->tree[i], GUINT_TO_POINTER(ensemble->starts->len)))
        return unsupported(error, "the nodes of a tree do not lie side by side");
    }
    if (a->node[i] != (gint64)(i - start)) return unsupported(error, "their nodes are not numbered from 0 in order");
    if (!read_node(ensemble, a, i, start, error)) return FALSE;
  }
  return check_children(ensemble, error);
}

/* Each leaf has one weight, and all leaves of a tree add to one output. */
static gboolean read_leaves(PipelineTreeEnsemble *ensemble, const Attributes *a, GHashTable *index_of, GError **error)
{
  g_autofree gboolean *weighed = g_new0(gboolean, a->n);
  for (guint l = 0; l < a->n_leaves; l++) {
    guint tree = GPOINTER_TO_UINT(g_hash_table_lookup(index_of, &a->leaf_tree[l])) - 1;
    gboolean known = tree != G_MAXUINT && a->leaf_node[l] >= 0 &&
                     a->leaf_node[l] < (gint64)pipeline_tree_ensemble_n_nodes(ensemble, tree);
    guint32 at = known ? g_array_index(ensemble->starts, guint32, tree) + (guint32)a->leaf_node[l] : 0;
    PipelineTreeNode *node = &g_array_index(ensemble->nodes, PipelineTreeNode, at);
    if (!known || node->yes != 0 || weighed[at])
      return unsupported(error, "a leaf has several weights, or a weight no leaf");
    guint32 *output = &g_array_index(ensemble->outputs, guint32, tree);
    gint64 wanted = ensemble->n_outputs == 1 ? 0 : a->leaf_output[l];
    if (wanted < 0 || wanted >= ensemble->n_outputs || (*output != G_MAXUINT32 && *output != wanted))
      return unsupported(error, "a tree adds to several outputs");
    *output = (guint32)wanted;
    weighed[at] = TRUE;
    node->value = a->weight[l];
  }
  for (guint tree = 0; tree < ensemble->outputs->len; tree++)
    if (g_array_index(ensemble->outputs, guint32, tree) == G_MAXUINT32)
      return unsupported(error, "a tree has no leaf weights");
  return TRUE;
}

/* How many outputs are boosted, by what the node does with the sums; 0: unsupported. */
static guint outputs_of(const OnnxNode *node, gboolean classifier, const Attributes *a, GError **error)
{
  g_autofree gchar *transform = onnx_node_copy_string(node, "post_transform", "NONE"),
                   *aggregate = onnx_node_copy_string(node, "aggregate_function", "SUM");
  guint n = 0, n_names;
  const OnnxAttribute *names = onnx_node_get_attribute(node, "classlabels_strings");
  if (onnx_node_get_ints(node, "classlabels_int64s", &n_names) != NULL)
    n = n_names;
  else if (names != NULL && names->kind == ONNX_ATTRIBUTE_STRINGS)
    n = names->texts->len;
  if (!classifier) n = (guint)CLAMP(onnx_node_get_int(node, "n_targets", 0), 0, 100000);
  gboolean one = TRUE;
  gboolean negative = FALSE; /* or the sums are probabilities: pipeline/operator_tree.c */
  for (guint i = 0; i < a->n_leaves; i++) {
    one = one && a->leaf_output[i] == a->leaf_output[0];
    negative = negative || a->weight[i] < 0;
  }
  if (!g_str_equal(aggregate, "SUM"))
    unsupported(error, "they are not added up");
  else if (!classifier && n == 1 && g_str_equal(transform, "NONE"))
    return 1;
  else if (classifier && n == 2 && one && negative && g_str_equal(transform, "LOGISTIC"))
    return 1;
  else if (classifier && n > 2 && g_str_equal(transform, "SOFTMAX"))
    return n;
  else
    unsupported(error, "their sums are no logits (of a forest that votes, for example)");
  return 0;
}

PipelineTreeEnsemble *pipeline_tree_onnx_read(const OnnxNode *node, guint n_columns, GError **error)
{
  gboolean classifier = g_str_equal(node->op_type, "TreeEnsembleClassifier");
  Attributes a = {.n = 0};
  guint n_base;
  if (g_str_equal(node->op_type, "TreeEnsemble")) {
    unsupported(error, "they are in the form of ai.onnx.ml 5");
    return NULL;
  }
  if (!get_attributes(node, classifier, &a, error)) return NULL;
  guint n_outputs = outputs_of(node, classifier, &a, error);
  if (n_outputs == 0) return NULL;
  const float *given = onnx_node_get_floats(node, "base_values", &n_base);
  g_autofree float *base = g_new0(float, n_outputs);
  if (n_base != 0 && n_base != n_outputs) {
    unsupported(error, "they have not one base value an output");
    return NULL;
  }
  for (guint k = 0; k < n_base; k++) base[k] = given[k];
  g_autoptr(PipelineTreeEnsemble) ensemble = pipeline_tree_ensemble_new(n_columns, n_outputs, base);
  g_autoptr(GHashTable) index_of = g_hash_table_new(g_int64_hash, g_int64_equal);
  return read_trees(ensemble, &a, index_of, error) && read_leaves(ensemble, &a, index_of, error)
             ? g_steal_pointer(&ensemble)
             : NULL;
}
