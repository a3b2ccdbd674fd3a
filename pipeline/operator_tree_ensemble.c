/* ai.onnx.ml 5: TreeEnsemble, the form that replaces TreeEnsembleClassifier and TreeEnsembleRegressor. Nodes and leaves
 * are numbered apart; thresholds and weights have the type of the input; sums run in double. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

enum { MODE_LEQ, MODE_LT, MODE_GTE, MODE_GT, MODE_EQ, MODE_NEQ, MODE_MEMBER, N_MODES };
enum { AGGREGATE_AVERAGE, AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX, N_AGGREGATES };

typedef struct {
  guint mode, feature;
  double split;
  guint yes, no;
  gboolean yes_leaf, no_leaf, missing_yes;
  guint first_member, n_members; /* in members, of a MEMBER node */
} Node;

typedef struct {
  Node *nodes;
  double *weights, *members;
  const gint64 *targets, *roots;
  guint n_nodes, n_leaves, n_roots, n_targets, max_feature, aggregate;
  PipelineTransform transform;
} Ensemble;

static void ensemble_free(gpointer data)
{
  Ensemble *ensemble = data;
  g_free(ensemble->nodes);
  g_free(ensemble->weights);
  g_free(ensemble->members);
  g_free(ensemble);
}

/* Members of the nodes in order, each list ended by NaN. */
static gboolean read_members(Ensemble *ensemble, const OnnxNode *node, GError **error)
{
  guint n, at = 0;
  ensemble->members = pipeline_operator_tensor_numbers(node, "membership_values", &n);
  for (guint i = 0; i < ensemble->n_nodes; i++) {
    if (ensemble->nodes[i].mode != MODE_MEMBER) continue;
    ensemble->nodes[i].first_member = at;
    while (at < n && !isnan(ensemble->members[at])) at++;
    if (at == n) return pipeline_operator_fail(error, "it lacks members of tree node %u", i);
    ensemble->nodes[i].n_members = at++ - ensemble->nodes[i].first_member;
  }
  return TRUE;
}

static gboolean read_child(const Ensemble *ensemble, gint64 child, gboolean leaf, guint parent, gboolean *has_parent,
                           guint *out, GError **error)
{
  if (child < 0 || child >= (gint64)(leaf ? ensemble->n_leaves : ensemble->n_nodes))
    return pipeline_operator_fail(error, "tree node %u has no such child", parent);
  *out = (guint)child;
  if (leaf) return TRUE;
  if (has_parent[child]) return pipeline_operator_fail(error, "a child of tree node %u has two parents", parent);
  has_parent[child] = TRUE; /* so that no walk goes round in a circle */
  return TRUE;
}

static gboolean read_nodes(Ensemble *ensemble, const OnnxNode *node, GError **error)
{
  guint n, counts[8];
  const gint64 *features = onnx_node_get_ints(node, "nodes_featureids", &n),
               *yes = onnx_node_get_ints(node, "nodes_truenodeids", &counts[0]),
               *no = onnx_node_get_ints(node, "nodes_falsenodeids", &counts[1]),
               *yes_leaf = onnx_node_get_ints(node, "nodes_trueleafs", &counts[2]),
               *no_leaf = onnx_node_get_ints(node, "nodes_falseleafs", &counts[3]),
               *missing = onnx_node_get_ints(node, "nodes_missing_value_tracks_true", &counts[4]);
  g_autofree double *splits = pipeline_operator_tensor_numbers(node, "nodes_splits", &counts[5]),
                    *modes = pipeline_operator_tensor_numbers(node, "nodes_modes", &counts[6]);
  for (guint i = 0; i < 7; i++)
    if (n == 0 || (counts[i] != n && (i != 4 || counts[i] != 0)))
      return pipeline_operator_fail(error, "its lists of nodes are missing or differ in length");
  g_autofree gboolean *has_parent = g_new0(gboolean, n);
  ensemble->nodes = g_new0(Node, n);
  ensemble->n_nodes = n;
  for (guint i = 0; i < n; i++) {
    Node *out = &ensemble->nodes[i];
    if (features[i] < 0 || features[i] > G_MAXINT32 || !(modes[i] >= 0 && modes[i] < N_MODES))
      return pipeline_operator_fail(error, "tree node %u has no such feature or mode", i);
    *out = (Node){.mode = (guint)modes[i],
                  .feature = (guint)features[i],
                  .split = splits[i],
                  .yes_leaf = yes_leaf[i] != 0,
                  .no_leaf = no_leaf[i] != 0,
                  .missing_yes = counts[4] > 0 && missing[i] != 0};
    ensemble->max_feature = MAX(ensemble->max_feature, out->feature);
    if (!read_child(ensemble, yes[i], out->yes_leaf, i, has_parent, &out->yes, error) ||
        !read_child(ensemble, no[i], out->no_leaf, i, has_parent, &out->no, error))
      return FALSE;
  }
  for (guint r = 0; r < ensemble->n_roots; r++)
    if (ensemble->roots[r] < 0 || ensemble->roots[r] >= n || has_parent[ensemble->roots[r]])
      return pipeline_operator_fail(error, "root %u is no node, or has a parent", r);
  return read_members(ensemble, node, error);
}

static gboolean read_leaves(Ensemble *ensemble, const OnnxNode *node, GError **error)
{
  guint n;
  ensemble->targets = onnx_node_get_ints(node, "leaf_targetids", &ensemble->n_leaves);
  ensemble->weights = pipeline_operator_tensor_numbers(node, "leaf_weights", &n);
  ensemble->roots = onnx_node_get_ints(node, "tree_roots", &ensemble->n_roots);
  if (n == 0 || n != ensemble->n_leaves) return pipeline_operator_fail(error, "its leaves lack targets or weights");
  for (guint i = 0; i < n; i++)
    if (ensemble->targets[i] < 0 || ensemble->targets[i] >= ensemble->n_targets)
      return pipeline_operator_fail(error, "leaf %u has no such target", i);
  return TRUE;
}

gboolean pipeline_tree_ensemble_prepare(PipelineCall *call, GError **error)
{
  static const PipelineTransform transforms[] = {PIPELINE_TRANSFORM_NONE, PIPELINE_TRANSFORM_SOFTMAX,
                                                 PIPELINE_TRANSFORM_LOGISTIC, PIPELINE_TRANSFORM_SOFTMAX_ZERO};
  Ensemble *ensemble = g_new0(Ensemble, 1);
  call->state = ensemble;
  call->state_free = ensemble_free;
  gint64 n = onnx_node_get_int(call->node, "n_targets", 0),
         transform = onnx_node_get_int(call->node, "post_transform", 0),
         aggregate = onnx_node_get_int(call->node, "aggregate_function", AGGREGATE_SUM);
  if (n < 1 || n > 100000) return pipeline_operator_fail(error, "it has no targets, or too many");
  if (transform < 0 || transform >= (gint64)G_N_ELEMENTS(transforms) || aggregate < 0 || aggregate >= N_AGGREGATES)
    return pipeline_operator_fail(error, "its post_transform or aggregate_function is not supported");
  ensemble->n_targets = (guint)n;
  ensemble->transform = transforms[transform];
  ensemble->aggregate = (guint)aggregate;
  return read_leaves(ensemble, call->node, error) && read_nodes(ensemble, call->node, error);
}

gboolean pipeline_tree_ensemble_infer(PipelineCall *call, GError **error)
{
  const Ensemble *ensemble = call->state;
  const PipelineTensor *in = call->inputs[0];
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims != 2 || in->dims[1] <= (gint64)ensemble->max_feature)
    return pipeline_operator_fail(error, "its input is no matrix of more than %u features", ensemble->max_feature);
  return pipeline_output_set(call, 0, in->type, 2, (gint64[]){in->dims[0], ensemble->n_targets}, error);
}

static gboolean takes_yes(const Ensemble *ensemble, const Node *node, double value)
{
  if (isnan(value)) return node->missing_yes;
  switch (node->mode) {
  case MODE_LEQ:
    return value <= node->split;
  case MODE_LT:
    return value < node->split;
  case MODE_GTE:
    return value >= node->split;
  case MODE_GT:
    return value > node->split;
  case MODE_EQ:
    return value == node->split;
  case MODE_NEQ:
    return value != node->split;
  default:
    for (guint i = 0; i < node->n_members; i++)
      if (ensemble->members[node->first_member + i] == value) return TRUE;
    return FALSE;
  }
}

static guint find_leaf(const Ensemble *ensemble, guint root, const PipelineTensor *in, gsize start)
{
  const Node *node = &ensemble->nodes[root];
  for (;;) {
    gboolean yes = takes_yes(ensemble, node, pipeline_element_get_double(in, start + node->feature));
    guint next = yes ? node->yes : node->no;
    if (yes ? node->yes_leaf : node->no_leaf) return next;
    node = &ensemble->nodes[next];
  }
}

static void add_row(const Ensemble *ensemble, const PipelineTensor *in, gsize start, double *sums, gboolean *met)
{
  for (guint r = 0; r < ensemble->n_roots; r++) {
    guint leaf = find_leaf(ensemble, (guint)ensemble->roots[r], in, start);
    guint target = (guint)ensemble->targets[leaf];
    double weight = ensemble->weights[leaf], *sum = &sums[target];
    if (ensemble->aggregate <= AGGREGATE_SUM)
      *sum += weight;
    else if (!met[target] || (ensemble->aggregate == AGGREGATE_MIN ? weight < *sum : weight > *sum))
      *sum = weight;
    met[target] = TRUE;
  }
  for (guint t = 0; t < ensemble->n_targets && ensemble->aggregate == AGGREGATE_AVERAGE; t++)
    sums[t] /= MAX(ensemble->n_roots, 1);
}

gboolean pipeline_tree_ensemble_run(PipelineCall *call, GError **error)
{
  (void)error;
  const Ensemble *ensemble = call->state;
  const PipelineTensor *in = call->inputs[0];
  guint n = ensemble->n_targets;
  g_autofree double *sums = g_new(double, n);
  g_autofree float *scores = g_new(float, n);
  g_autofree gboolean *met = g_new(gboolean, n);
  for (gsize row = 0; row < (gsize)in->dims[0]; row++) {
    memset(sums, 0, n * sizeof(double));
    memset(met, 0, n * sizeof(gboolean));
    add_row(ensemble, in, row * (gsize)in->dims[1], sums, met);
    for (guint t = 0; t < n; t++) scores[t] = (float)sums[t];
    pipeline_transform_apply(ensemble->transform, scores, n);
    for (guint t = 0; t < n; t++)
      pipeline_element_put_double(call->outputs[0], row * n + t,
                                  ensemble->transform == PIPELINE_TRANSFORM_NONE ? sums[t] : (double)scores[t]);
  }
  return TRUE;
}
