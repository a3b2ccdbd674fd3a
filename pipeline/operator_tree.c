/* ai.onnx.ml: TreeEnsembleClassifier and TreeEnsembleRegressor. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

typedef enum { MODE_LEAF, MODE_LEQ, MODE_LT, MODE_GTE, MODE_GT, MODE_EQ, MODE_NEQ } TreeMode;

typedef struct {
  TreeMode mode;
  guint feature;
  double threshold;
  guint yes, no;         /* indices of nodes */
  gboolean missing_yes;  /* where NaN goes */
  guint first, n_leaves; /* its weights, when it is a leaf */
} TreeNode;

typedef struct {
  gint64 tree, node; /* as the model numbers them */
  guint index;
} TreeId;

typedef struct {
  guint target;
  double weight;
} TreeWeight;

typedef struct {
  TreeNode *nodes;
  guint n_nodes;
  GArray *roots; /* of guint */
  TreeWeight *weights;
  guint n_weights, n_targets, max_feature;
  double *base;
  guint n_base;
  PipelineTransform transform;
  gboolean average, one_target, positive; /* one_target: every weight belongs to the same class */
  double *sums;                           /* [n_targets], scratch of one row */
} TreeState;

static void tree_free(gpointer data)
{
  TreeState *state = data;
  g_free(state->nodes);
  g_clear_pointer(&state->roots, g_array_unref);
  g_free(state->weights);
  g_free(state->base);
  g_free(state->sums);
  g_free(state);
}

static gboolean read_mode(GBytes *text, TreeMode *mode)
{
  static const struct {
    const gchar *name;
    TreeMode mode;
  } modes[] = {{"LEAF", MODE_LEAF},    {"BRANCH_LEQ", MODE_LEQ}, {"BRANCH_LT", MODE_LT},  {"BRANCH_GTE", MODE_GTE},
               {"BRANCH_GT", MODE_GT}, {"BRANCH_EQ", MODE_EQ},   {"BRANCH_NEQ", MODE_NEQ}};
  gsize length;
  const gchar *data = g_bytes_get_data(text, &length);
  for (gsize i = 0; i < G_N_ELEMENTS(modes); i++)
    if (strlen(modes[i].name) == length && memcmp(modes[i].name, data, length) == 0) {
      *mode = modes[i].mode;
      return TRUE;
    }
  return FALSE;
}

/* The numbers of the attribute, or of its form in doubles since set 3 ("…_as_tensor"), which exporters write for models
 * of doubles. */
static double *read_numbers(const OnnxNode *node, const gchar *name, guint *n)
{
  g_autofree gchar *wide = g_strdup_printf("%s_as_tensor", name);
  double *numbers = pipeline_operator_tensor_numbers(node, wide, n);
  if (numbers != NULL) return numbers;
  const float *narrow = onnx_node_get_floats(node, name, n);
  numbers = g_new(double, *n + 1);
  for (guint i = 0; i < *n; i++) numbers[i] = (double)narrow[i];
  return numbers;
}

static gint compare_ids(gconstpointer a, gconstpointer b)
{
  const TreeId *x = a, *y = b;
  if (x->tree != y->tree) return x->tree < y->tree ? -1 : 1;
  return (x->node > y->node) - (x->node < y->node);
}

static const TreeId *find_id(const GArray *ids, gint64 tree, gint64 node)
{
  TreeId wanted = {.tree = tree, .node = node};
  guint low = 0, high = ids->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (compare_ids(&g_array_index(ids, TreeId, middle), &wanted) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  const TreeId *found = &g_array_index(ids, TreeId, low);
  return low < ids->len && compare_ids(found, &wanted) == 0 ? found : NULL;
}

/* Every walk from a root ends: no node is its own descendant. n_parents [n_nodes] is used up. */
static gboolean check_walks_end(const TreeState *state, guint *n_parents, GError **error)
{
  g_autofree guint *queue = g_new(guint, state->n_nodes + 1);
  guint n = 0;
  for (guint i = 0; i < state->n_nodes; i++)
    if (n_parents[i] == 0) queue[n++] = i;
  for (guint next = 0; next < n; next++) {
    const TreeNode *node = &state->nodes[queue[next]];
    if (node->mode == MODE_LEAF) continue;
    if (--n_parents[node->yes] == 0) queue[n++] = node->yes;
    if (--n_parents[node->no] == 0) queue[n++] = node->no;
  }
  return n == state->n_nodes || pipeline_operator_fail(error, "a walk through its trees can go round in a circle");
}

/* Children by index. Branches may share them: converters write a split by categories as a row of equalities. */
static gboolean link_children(TreeState *state, const GArray *ids, const OnnxNode *node, GError **error)
{
  guint n_trees, n_yes, n_no;
  const gint64 *trees = onnx_node_get_ints(node, "nodes_treeids", &n_trees),
               *yes = onnx_node_get_ints(node, "nodes_truenodeids", &n_yes),
               *no = onnx_node_get_ints(node, "nodes_falsenodeids", &n_no);
  g_autofree guint *n_parents = g_new0(guint, state->n_nodes);
  if (n_yes != state->n_nodes || n_no != state->n_nodes)
    return pipeline_operator_fail(error, "its lists of nodes differ in length");
  for (guint i = 0; i < state->n_nodes; i++) {
    TreeNode *branch = &state->nodes[i];
    if (branch->mode == MODE_LEAF) continue;
    const TreeId *left = find_id(ids, trees[i], yes[i]), *right = find_id(ids, trees[i], no[i]);
    if (left == NULL || right == NULL) return pipeline_operator_fail(error, "tree node %u has no such child", i);
    branch->yes = left->index;
    branch->no = right->index;
    n_parents[left->index]++;
    n_parents[right->index]++;
  }
  state->roots = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < state->n_nodes; i++)
    if (n_parents[i] == 0) g_array_append_val(state->roots, i);
  return check_walks_end(state, n_parents, error);
}

static gboolean read_nodes(TreeState *state, const OnnxNode *node, GArray *ids, GError **error)
{
  guint n, n_ids, n_features, n_values, n_missing;
  const gint64 *trees = onnx_node_get_ints(node, "nodes_treeids", &n),
               *numbers = onnx_node_get_ints(node, "nodes_nodeids", &n_ids),
               *features = onnx_node_get_ints(node, "nodes_featureids", &n_features),
               *missing = onnx_node_get_ints(node, "nodes_missing_value_tracks_true", &n_missing);
  g_autofree double *values = read_numbers(node, "nodes_values", &n_values);
  const OnnxAttribute *modes = onnx_node_get_attribute(node, "nodes_modes");
  if (n == 0 || n_ids != n || n_features != n || n_values != n || modes == NULL ||
      modes->kind != ONNX_ATTRIBUTE_STRINGS || modes->texts->len != n || (n_missing != 0 && n_missing != n))
    return pipeline_operator_fail(error, "its lists of nodes are missing or differ in length");
  state->nodes = g_new0(TreeNode, n);
  state->n_nodes = n;
  for (guint i = 0; i < n; i++) {
    TreeNode *out = &state->nodes[i];
    if (!read_mode(g_ptr_array_index(modes->texts, i), &out->mode))
      return pipeline_operator_fail(error, "tree node %u has an unknown mode", i);
    if (features[i] < 0 || features[i] > G_MAXINT32)
      return pipeline_operator_fail(error, "tree node %u has feature %" G_GINT64_FORMAT, i, features[i]);
    out->feature = (guint)features[i];
    out->threshold = values[i];
    out->missing_yes = n_missing > 0 && missing[i] != 0;
    if (out->mode != MODE_LEAF) state->max_feature = MAX(state->max_feature, out->feature);
    TreeId id = {trees[i], numbers[i], i};
    g_array_append_val(ids, id);
  }
  g_array_sort(ids, compare_ids);
  for (guint i = 1; i < n; i++)
    if (compare_ids(&g_array_index(ids, TreeId, i - 1), &g_array_index(ids, TreeId, i)) == 0)
      return pipeline_operator_fail(error, "a tree numbers two nodes alike");
  return link_children(state, ids, node, error);
}

/* Leaf weights, grouped by leaf in the model's order. prefix: "class" or "target". */
static gboolean read_weights(TreeState *state, const OnnxNode *node, const GArray *ids, const gchar *prefix,
                             GError **error)
{
  g_autofree gchar *tree_name = g_strdup_printf("%s_treeids", prefix),
                   *node_name = g_strdup_printf("%s_nodeids", prefix), *target_name = g_strdup_printf("%s_ids", prefix),
                   *weight_name = g_strdup_printf("%s_weights", prefix);
  guint n, n_nodes, n_targets, n_weights;
  const gint64 *trees = onnx_node_get_ints(node, tree_name, &n),
               *numbers = onnx_node_get_ints(node, node_name, &n_nodes),
               *targets = onnx_node_get_ints(node, target_name, &n_targets);
  g_autofree double *weights = read_numbers(node, weight_name, &n_weights);
  if (n == 0 || n_nodes != n || n_targets != n || n_weights != n)
    return pipeline_operator_fail(error, "its lists of leaf weights are missing or differ in length");
  g_autofree guint *leaf = g_new(guint, n);
  state->one_target = state->positive = TRUE;
  for (guint i = 0; i < n; i++) {
    const TreeId *id = find_id(ids, trees[i], numbers[i]);
    if (id == NULL) return pipeline_operator_fail(error, "leaf weight %u names no node", i);
    if (targets[i] < 0 || targets[i] >= state->n_targets)
      return pipeline_operator_fail(error, "leaf weight %u names output %" G_GINT64_FORMAT, i, targets[i]);
    leaf[i] = id->index;
    state->nodes[leaf[i]].n_leaves++;
    state->one_target = state->one_target && targets[i] == targets[0];
    state->positive = state->positive && weights[i] >= 0;
  }
  guint first = 0;
  for (guint i = 0; i < state->n_nodes; i++) {
    state->nodes[i].first = first;
    first += state->nodes[i].n_leaves;
    state->nodes[i].n_leaves = 0;
  }
  state->weights = g_new(TreeWeight, n);
  state->n_weights = n;
  for (guint i = 0; i < n; i++) {
    TreeNode *at = &state->nodes[leaf[i]];
    state->weights[at->first + at->n_leaves++] = (TreeWeight){(guint)targets[i], weights[i]};
  }
  return TRUE;
}

gboolean pipeline_tree_prepare(PipelineCall *call, GError **error)
{
  TreeState *state = g_new0(TreeState, 1);
  call->state = state;
  call->state_free = tree_free;
  gboolean classifier = strcmp(call->operator->name, "TreeEnsembleClassifier") == 0;
  gint64 n_targets =
      classifier ? pipeline_class_labels_count(call->node) : onnx_node_get_int(call->node, "n_targets", 0);
  if (n_targets < 1 || n_targets > 100000) return pipeline_operator_fail(error, "it has no outputs, or too many");
  state->n_targets = (guint)n_targets;
  g_autofree gchar *aggregate = onnx_node_copy_string(call->node, "aggregate_function", "SUM");
  state->average = strcmp(aggregate, "AVERAGE") == 0;
  if (!state->average && strcmp(aggregate, "SUM") != 0)
    return pipeline_operator_fail(error, "aggregate_function '%s' is not read", aggregate);
  state->base = read_numbers(call->node, "base_values", &state->n_base);
  if (state->n_base > 1 && state->n_base != state->n_targets)
    return pipeline_operator_fail(error, "it has %u base values for %u outputs", state->n_base, state->n_targets);
  state->sums = g_new0(double, state->n_targets);
  g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(TreeId));
  return pipeline_transform_read(call->node, &state->transform, error) && read_nodes(state, call->node, ids, error) &&
         read_weights(state, call->node, ids, classifier ? "class" : "target", error);
}

static gboolean takes_yes(const TreeNode *node, double value)
{
  double threshold = node->threshold;
  if (isnan(value)) return node->missing_yes;
  switch (node->mode) {
  case MODE_LEQ:
    return value <= threshold;
  case MODE_LT:
    return value < threshold;
  case MODE_GTE:
    return value >= threshold;
  case MODE_GT:
    return value > threshold;
  case MODE_EQ:
    return value == threshold;
  default:
    return value != threshold;
  }
}

/* Adds up the leaves that the row reaches into state->sums. */
static void sum_leaves(TreeState *state, const PipelineTensor *in, gsize start)
{
  memset(state->sums, 0, state->n_targets * sizeof(double));
  for (guint t = 0; t < state->roots->len; t++) {
    const TreeNode *node = &state->nodes[g_array_index(state->roots, guint, t)];
    while (node->mode != MODE_LEAF) {
      double value = pipeline_element_get_double(in, start + node->feature);
      node = &state->nodes[takes_yes(node, value) ? node->yes : node->no];
    }
    for (guint i = 0; i < node->n_leaves; i++)
      state->sums[state->weights[node->first + i].target] += state->weights[node->first + i].weight;
  }
  if (!state->average) return;
  for (guint i = 0; i < state->n_targets; i++) state->sums[i] /= (double)state->roots->len;
}

static gboolean check_input(const PipelineCall *call, gint64 *rows, GError **error)
{
  const TreeState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  if (!pipeline_type_is_number(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims != 2 || in->dims[1] <= (gint64)state->max_feature)
    return pipeline_operator_fail(error, "its input is no matrix of more than %u features", state->max_feature);
  *rows = in->dims[0];
  return TRUE;
}

gboolean pipeline_tree_regressor_infer(PipelineCall *call, GError **error)
{
  const TreeState *state = call->state;
  gint64 rows;
  return check_input(call, &rows, error) &&
         pipeline_output_set(call, 0, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, state->n_targets}, error);
}

static double base_value(const TreeState *state, guint target)
{
  return state->n_base == 0 ? 0 : state->base[state->n_base > 1 ? target : 0];
}

gboolean pipeline_tree_regressor_run(PipelineCall *call, GError **error)
{
  (void)error;
  TreeState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  float *out = call->outputs[0]->data;
  for (gsize row = 0; row < (gsize)in->dims[0]; row++, out += state->n_targets) {
    sum_leaves(state, in, row * (gsize)in->dims[1]);
    for (guint i = 0; i < state->n_targets; i++) out[i] = (float)(state->sums[i] + base_value(state, i));
    pipeline_transform_apply(state->transform, out, state->n_targets);
  }
  return TRUE;
}

gboolean pipeline_tree_classifier_infer(PipelineCall *call, GError **error)
{
  const TreeState *state = call->state;
  gint64 rows;
  return check_input(call, &rows, error) &&
         pipeline_output_set(call, 0, pipeline_class_labels_type(call->node), 1, &rows, error) &&
         pipeline_output_set(call, 1, ONNX_TYPE_FLOAT, 2, (gint64[]){rows, state->n_targets}, error);
}

/* Two labels but weights for one class only: the sum is the second label's score. Where no weight is below 0 it is
 * taken for a probability already, whatever post_transform says: the standard is silent, ONNX Runtime does so
 * (tree_ensemble_aggregator.h). Returns the winning label. */
static guint finish_binary(const TreeState *state, float *scores)
{
  double sum = (state->sums[0] != 0 ? state->sums[0] : state->sums[1]) + base_value(state, state->n_base > 1 ? 1 : 0);
  if (state->transform == PIPELINE_TRANSFORM_LOGISTIC && !state->positive) {
    scores[1] = (float)(1 / (1 + exp(-sum)));
    scores[0] = (float)(1 / (1 + exp(sum)));
    return sum > 0;
  }
  scores[1] = (float)sum;
  scores[0] = (float)(state->positive ? 1 - sum : -sum);
  return sum > (state->positive ? 0.5 : 0);
}

gboolean pipeline_tree_classifier_run(PipelineCall *call, GError **error)
{
  (void)error;
  TreeState *state = call->state;
  const PipelineTensor *in = call->inputs[0];
  PipelineTensor *output = call->n_outputs > 1 ? call->outputs[1] : NULL;
  guint n = state->n_targets;
  g_autofree float *made = g_new(float, n);
  for (gsize row = 0; row < (gsize)in->dims[0]; row++) {
    float *scores = output != NULL ? (float *)output->data + row * n : made;
    guint best = 0;
    sum_leaves(state, in, row * (gsize)in->dims[1]);
    if (n == 2 && state->one_target) {
      best = finish_binary(state, scores);
    } else {
      for (guint i = 0; i < n; i++) {
        scores[i] = (float)(state->sums[i] + base_value(state, i));
        if (scores[i] > scores[best]) best = i;
      }
      pipeline_transform_apply(state->transform, scores, n);
    }
    pipeline_class_label_write(call->node, best, call->outputs[0], row);
  }
  return TRUE;
}
