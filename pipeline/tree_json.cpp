// XGBoost's model JSON → trees. Numbers are read as double and kept as float, which gives XGBoost's own bits back: it
// writes the shortest text that tells floats apart. simdjson, since a tree learnt in milliseconds is hundreds of
// numbers.
#include "pipeline/tree_ensemble.h"

#include <simdjson.h>

#include <array>
#include <cmath>
#include <string_view>
#include <vector>

namespace
{
namespace dom = simdjson::dom;

constexpr guint max_nodes = 1u << 30;

bool invalid(GError **error, const gchar *what)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the XGBoost model %s", what);
  return false;
}

// One tree's lists, all of the same length.
enum Field { YES, NO, COLUMN, MISSING, VALUE, GAIN, COVER, N_FIELDS };
constexpr std::array<std::string_view, N_FIELDS> fields = {"left_children", "right_children",   "split_indices",
                                                           "default_left",  "split_conditions", "loss_changes",
                                                           "sum_hessian"};
using Tree = std::array<std::vector<double>, N_FIELDS>;

// default_left is written as 0 and 1, or as false and true; NaN: no number.
double number_of(dom::element element)
{
  double number;
  bool truth;
  if (element.get(number) == simdjson::SUCCESS) return number;
  if (element.get(truth) == simdjson::SUCCESS) return truth ? 1 : 0;
  return NAN;
}

bool has_categories(dom::element json)
{
  dom::array list;
  if (json["split_type"].get(list) == simdjson::SUCCESS)
    for (dom::element type : list)
      if (number_of(type) != 0) return true;
  return json["categories_nodes"].get(list) == simdjson::SUCCESS && list.size() > 0;
}

bool read_lists(dom::element json, Tree &tree, GError **error)
{
  if (has_categories(json)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "the XGBoost model splits by categories, which ONNX's trees cannot say; train on one-hot columns "
                "(enable_categorical=False)");
    return false;
  }
  for (guint f = 0; f < N_FIELDS; f++) {
    dom::array list;
    if (json[fields[f]].get(list) != simdjson::SUCCESS) return invalid(error, "lacks a list of its trees' nodes");
    tree[f].clear();
    for (dom::element number : list) tree[f].push_back(number_of(number));
    if (tree[f].empty() || tree[f].size() != tree[0].size())
      return invalid(error, "has trees whose lists of nodes are empty or differ in length");
  }
  return true;
}

// Node `from` of the lists; children are numbered later.
bool read_node(const Tree &tree, gsize from, guint n_columns, PipelineTreeNode *node, GError **error)
{
  double value = tree[VALUE][from], column = tree[COLUMN][from];
  bool leaf = tree[YES][from] == -1;
  if (!std::isfinite(value) || std::fabs(value) > static_cast<double>(G_MAXFLOAT))
    return invalid(error, "has a threshold or leaf that is no number");
  if (!leaf && !(column >= 0 && column < n_columns)) return invalid(error, "splits by a column that the rows lack");
  *node = PipelineTreeNode{};
  node->value = static_cast<float>(value);
  if (leaf) return true;
  node->column = static_cast<guint32>(column);
  node->missing_yes = tree[MISSING][from] == 1;
  node->gain = static_cast<float>(tree[GAIN][from]);
  node->cover = static_cast<float>(tree[COVER][from]);
  return true;
}

struct Step {
  gsize from;
  guint32 parent; // in the ensemble's array; G_MAXUINT32: of the root
  bool is_no;
};

// Nodes reached from the root, in preorder: what pruning deleted is not among them. On a stack of its own, because a
// broken model may be as deep as it has nodes.
bool append_tree(PipelineTreeEnsemble *ensemble, const Tree &tree, GError **error)
{
  gsize n = tree[0].size();
  guint32 start = ensemble->nodes->len;
  std::vector<Step> todo = {{0, G_MAXUINT32, false}};
  while (!todo.empty()) {
    Step step = todo.back();
    todo.pop_back();
    guint32 at = ensemble->nodes->len;
    PipelineTreeNode node;
    if (at - start >= n || at >= max_nodes) return invalid(error, "has a tree whose nodes go round in a circle");
    if (!read_node(tree, step.from, ensemble->n_columns, &node, error)) return false;
    g_array_append_val(ensemble->nodes, node);
    if (step.parent != G_MAXUINT32) {
      PipelineTreeNode *parent = &g_array_index(ensemble->nodes, PipelineTreeNode, step.parent);
      (step.is_no ? parent->no : parent->yes) = at - start;
    }
    double yes = tree[YES][step.from], no = tree[NO][step.from];
    if (yes == -1) continue;
    if (!(yes > 0 && yes < static_cast<double>(n) && no > 0 && no < static_cast<double>(n) && yes != no))
      return invalid(error, "has a tree node without two children");
    todo.push_back({static_cast<gsize>(no), at, true});
    todo.push_back({static_cast<gsize>(yes), at, false});
  }
  g_array_append_val(ensemble->starts, start);
  return true;
}

bool append_trees(PipelineTreeEnsemble *ensemble, dom::array trees, dom::array outputs, GError **error)
{
  Tree tree;
  auto output = outputs.begin();
  for (dom::element json : trees) {
    double number = number_of(*output);
    ++output;
    if (!(number >= 0 && number < ensemble->n_outputs))
      return invalid(error, "has a tree for an output that there is not");
    if (!read_lists(json, tree, error) || !append_tree(ensemble, tree, error)) return false;
    guint32 narrow = static_cast<guint32>(number);
    g_array_append_val(ensemble->outputs, narrow);
  }
  return true;
}

bool check_booster(dom::element booster, GError **error)
{
  static const struct {
    std::string_view name;
    const gchar *why;
  } refused[] = {{"dart", "drops trees while it trains (DART), so that its trees are no plain sum"},
                 {"gblinear", "is linear (gblinear), no trees"}};
  std::string_view name;
  if (booster["name"].get(name) != simdjson::SUCCESS) return invalid(error, "does not say that it is a gbtree");
  for (const auto &kind : refused) {
    if (name != kind.name) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the XGBoost model %s; train it with booster=gbtree",
                kind.why);
    return false;
  }
  return name == "gbtree" || invalid(error, "does not say that it is a gbtree");
}

bool append(PipelineTreeEnsemble *ensemble, GBytes *json, GError **error)
{
  gsize length;
  const char *text = static_cast<const char *>(g_bytes_get_data(json, &length));
  dom::parser parser;
  dom::element root, booster;
  dom::array trees, outputs;
  simdjson::error_code fault = parser.parse(text, length).get(root);
  if (fault != simdjson::SUCCESS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the XGBoost model is no JSON: %s",
                simdjson::error_message(fault));
    return false;
  }
  if (root["learner"]["gradient_booster"].get(booster) != simdjson::SUCCESS)
    return invalid(error, "does not say that it is a gbtree");
  if (!check_booster(booster, error)) return false;
  if (booster["model"]["trees"].get(trees) != simdjson::SUCCESS ||
      booster["model"]["tree_info"].get(outputs) != simdjson::SUCCESS || trees.size() != outputs.size())
    return invalid(error, "lacks its trees");
  return append_trees(ensemble, trees, outputs, error);
}
} // namespace

gboolean pipeline_tree_ensemble_append_json(PipelineTreeEnsemble *ensemble, GBytes *json, GError **error)
{
  guint n_before = ensemble->starts->len, n_nodes = ensemble->nodes->len;
  if (append(ensemble, json, error)) return TRUE;
  g_array_set_size(ensemble->starts, n_before);
  g_array_set_size(ensemble->outputs, n_before);
  g_array_set_size(ensemble->nodes, n_nodes);
  return FALSE;
}
