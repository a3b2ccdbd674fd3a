/* XGBoost's model JSON → trees. Numbers are read as double and kept as float, which gives XGBoost's own bits back: it
 * writes the shortest text that tells floats apart. */
#include <math.h>
#include <string.h>

#include "pipeline/tree_ensemble.h"

#define MAX_NODES (1u << 30)

static gboolean invalid(GError **error, const gchar *what)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the XGBoost model %s", what);
  return FALSE;
}

static const json_t *find(const json_t *json, const gchar *const *path)
{
  for (; *path != NULL; path++) json = json_object_get(json, *path);
  return json;
}

/* One tree's arrays, all of the same length. */
typedef enum { YES, NO, COLUMN, MISSING, VALUE, GAIN, COVER, N_FIELDS } Field;
static const gchar *const fields[N_FIELDS] = {"left_children",    "right_children", "split_indices", "default_left",
                                              "split_conditions", "loss_changes",   "sum_hessian"};

typedef struct {
  const json_t *arrays[N_FIELDS];
  gsize n;
} TreeJson;

/* default_left is written as 0 and 1, or as false and true. */
static double number_at(const TreeJson *tree, Field field, gsize node)
{
  const json_t *value = json_array_get(tree->arrays[field], node);
  return json_is_boolean(value) ? json_is_true(value) : json_is_number(value) ? json_number_value(value) : NAN;
}

static gboolean has_categories(const json_t *tree)
{
  const json_t *types = json_object_get(tree, "split_type");
  for (gsize i = 0; i < json_array_size(types); i++)
    if (json_integer_value(json_array_get(types, i)) != 0) return TRUE;
  return json_array_size(json_object_get(tree, "categories_nodes")) > 0;
}

static gboolean open_tree(const json_t *json, TreeJson *tree, GError **error)
{
  if (has_categories(json)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "the XGBoost model splits by categories, which ONNX's trees cannot say; train on one-hot columns "
                "(enable_categorical=False)");
    return FALSE;
  }
  for (guint f = 0; f < N_FIELDS; f++) {
    tree->arrays[f] = json_object_get(json, fields[f]);
    if (!json_is_array(tree->arrays[f])) return invalid(error, "lacks a list of its trees' nodes");
    gsize n = json_array_size(tree->arrays[f]);
    if (f == 0) tree->n = n;
    if (n == 0 || n != tree->n) return invalid(error, "has trees whose lists of nodes are empty or differ in length");
  }
  return TRUE;
}

/* Node `from` of the JSON as node number `to` of the ensemble's last tree; children are numbered later. */
static gboolean read_node(const TreeJson *tree, gsize from, guint n_columns, PipelineTreeNode *node, GError **error)
{
  double value = number_at(tree, VALUE, from), column = number_at(tree, COLUMN, from);
  gboolean leaf = number_at(tree, YES, from) == -1;
  if (!isfinite(value) || fabs(value) > (double)G_MAXFLOAT)
    return invalid(error, "has a threshold or leaf that is no number");
  if (!leaf && !(column >= 0 && column < n_columns)) return invalid(error, "splits by a column that the rows lack");
  *node = (PipelineTreeNode){.value = (float)value};
  if (leaf) return TRUE;
  node->column = (guint32)column;
  node->missing_yes = number_at(tree, MISSING, from) == 1;
  node->gain = (float)number_at(tree, GAIN, from);
  node->cover = (float)number_at(tree, COVER, from);
  return TRUE;
}

/* Nodes reached from the root, in preorder: what pruning deleted is not among them. */
static gboolean append_tree(PipelineTreeEnsemble *ensemble, const TreeJson *tree, GError **error)
{
  typedef struct {
    gsize from;
    guint32 parent; /* in the ensemble's array; its `yes` is this node's number unless it is the other child */
    gboolean is_no;
  } Step;
  g_autoptr(GArray) todo = g_array_new(FALSE, FALSE, sizeof(Step));
  guint32 start = ensemble->nodes->len;
  Step step = {0, G_MAXUINT32, FALSE};
  g_array_append_val(todo, step);
  while (todo->len > 0) {
    step = g_array_index(todo, Step, todo->len - 1);
    g_array_set_size(todo, todo->len - 1);
    guint32 at = ensemble->nodes->len;
    PipelineTreeNode node;
    if (at - start >= tree->n || at >= MAX_NODES) return invalid(error, "has a tree whose nodes go round in a circle");
    if (!read_node(tree, step.from, ensemble->n_columns, &node, error)) return FALSE;
    g_array_append_val(ensemble->nodes, node);
    if (step.parent != G_MAXUINT32) {
      PipelineTreeNode *parent = &g_array_index(ensemble->nodes, PipelineTreeNode, step.parent);
      *(step.is_no ? &parent->no : &parent->yes) = at - start;
    }
    double yes = number_at(tree, YES, step.from), no = number_at(tree, NO, step.from);
    if (yes == -1) continue;
    if (!(yes > 0 && yes < (double)tree->n && no > 0 && no < (double)tree->n && yes != no))
      return invalid(error, "has a tree node without two children");
    Step children[] = {{(gsize)no, at, TRUE}, {(gsize)yes, at, FALSE}};
    g_array_append_vals(todo, children, 2);
  }
  g_array_append_val(ensemble->starts, start);
  return TRUE;
}

static gboolean append_trees(PipelineTreeEnsemble *ensemble, const json_t *trees, const json_t *outputs, GError **error)
{
  for (gsize t = 0; t < json_array_size(trees); t++) {
    TreeJson tree = {.n = 0};
    const json_t *output = json_array_get(outputs, t);
    json_int_t number = json_integer_value(output);
    if (!json_is_integer(output) || number < 0 || number >= ensemble->n_outputs)
      return invalid(error, "has a tree for an output that there is not");
    if (!open_tree(json_array_get(trees, t), &tree, error) || !append_tree(ensemble, &tree, error)) return FALSE;
    guint32 narrow = (guint32)number;
    g_array_append_val(ensemble->outputs, narrow);
  }
  return TRUE;
}

static gboolean check_booster(const json_t *booster, GError **error)
{
  const gchar *name = json_string_value(json_object_get(booster, "name"));
  static const struct {
    const gchar *name, *why;
  } refused[] = {{"dart", "drops trees while it trains (DART), so that its trees are no plain sum"},
                 {"gblinear", "is linear (gblinear), no trees"}};
  for (guint i = 0; name != NULL && i < G_N_ELEMENTS(refused); i++) {
    if (!g_str_equal(name, refused[i].name)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the XGBoost model %s; train it with booster=gbtree",
                refused[i].why);
    return FALSE;
  }
  return g_strcmp0(name, "gbtree") == 0 || invalid(error, "does not say that it is a gbtree");
}

gboolean pipeline_tree_ensemble_append_json(PipelineTreeEnsemble *ensemble, GBytes *json, GError **error)
{
  json_error_t fault;
  gsize length;
  guint n_before = ensemble->starts->len, n_nodes = ensemble->nodes->len;
  const gchar *text = g_bytes_get_data(json, &length);
  json_t *root = json_loadb(text, length, 0, &fault);
  if (root == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the XGBoost model is no JSON: line %d, column %d: %s",
                fault.line, fault.column, fault.text);
    return FALSE;
  }
  const json_t *booster = find(root, (const gchar *const[]){"learner", "gradient_booster", NULL}),
               *trees = find(booster, (const gchar *const[]){"model", "trees", NULL}),
               *outputs = find(booster, (const gchar *const[]){"model", "tree_info", NULL});
  gboolean done = check_booster(booster, error) &&
                  ((json_is_array(trees) && json_array_size(trees) == json_array_size(outputs)) ||
                   invalid(error, "lacks its trees")) &&
                  append_trees(ensemble, trees, outputs, error);
  json_decref(root);
  if (done) return TRUE;
  g_array_set_size(ensemble->starts, n_before);
  g_array_set_size(ensemble->outputs, n_before);
  g_array_set_size(ensemble->nodes, n_nodes);
  return FALSE;
}
