/* Boosted trees: what their options may say, and which models of XGBoost and of ONNX are read. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/tree_ensemble.h"
#include "pipeline/tree_options.h"

START_TEST(options_are_checked)
{
  static const struct {
    const gchar *text, *why;
  } wrong[] = {{"trees:depth=0", "depth must be a whole number from 1, at most 30"},
               {"trees:depth=3.5", "whole number"},
               {"trees:rounds=0", "rounds must be"},
               {"trees:eta=0", "eta must be a number above 0"},
               {"trees:eta=nan", "eta must be"},
               {"trees:subsample=1.5", "subsample must be"},
               {"trees:colsample=", "colsample must be"},
               {"trees:lambda", "lambda must be"},
               {"trees:gamma=x", "gamma must be"},
               {"trees:alpha=-1", "alpha must be"},
               {"trees:min_child_weight=-1", "min_child_weight must be"},
               {"trees:scale_pos_weight=0", "scale_pos_weight must be"},
               {"trees:bins=1", "bins must be"},
               {"trees:patience=-1", "patience must be"},
               {"trees:leaves=3", "no option \"leaves\"; there are depth"},
               {"trees:depth=3,,eta=1", "no option \"\""},
               {"trees:booster=dart", "drops trees"},
               {"trees:booster=gblinear", "linear"},
               {"trees:booster=forest", "only gbtree"}};
  PipelineTreeOptions options = {.depth = 77};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(!pipeline_tree_options_parse(wrong[i].text, &options, &error), "%s", wrong[i].text);
    ck_assert_msg(strstr(error->message, wrong[i].why) != NULL, "%s: %s", wrong[i].text, error->message);
    ck_assert_uint_eq(options.depth, 77);
  }
  ck_assert(pipeline_tree_options_parse("trees:booster=gbtree,eta=0.5,patience=0", &options, NULL));
  ck_assert(options.depth == 6 && options.rounds == 500 && options.eta == .5 && options.patience == 0);
  ck_assert(pipeline_tree_is_architecture("trees") && pipeline_tree_is_architecture("trees:depth=2"));
  ck_assert(!pipeline_tree_is_architecture("treesome") && !pipeline_tree_is_architecture("mlp:2"));
}
END_TEST

#define MODEL(booster, tree)                                                                                           \
  "{\"learner\": {\"gradient_booster\": {\"name\": \"" booster                                                         \
  "\", \"model\": {\"tree_info\": [0], \"trees\": [{" tree "}]}}}}"
#define TREE(yes, no, column, value, more)                                                                             \
  "\"left_children\": " yes ", \"right_children\": " no ", \"split_indices\": " column                                 \
  ", \"split_conditions\": " value                                                                                     \
  ", \"default_left\": [0, 0, 0], \"loss_changes\": [1, 0, 0], \"sum_hessian\": [1, 1, 1]" more

START_TEST(broken_models_are_refused)
{
  static const struct {
    const gchar *json, *why; /* NULL: good */
  } models[] = {
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[5E-1, -1E0, 1E0]", "")), NULL},
      {MODEL("dart", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, -1, 1]", "")), "DART"},
      {MODEL("gblinear", ""), "gblinear"},
      {MODEL("gbforest", ""), "gbtree"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, -1, 1]", ", \"split_type\": [1, 0, 0]")),
       "categories"},
      {MODEL("gbtree", TREE("[1, 0, -1]", "[2, 2, -1]", "[1, 0, 0]", "[0.5, -1, 1]", "")), "two children"},
      {MODEL("gbtree", TREE("[1, 1, -1]", "[2, 2, -1]", "[1, 0, 0]", "[0.5, -1, 1]", "")), "circle"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[3, -1, -1]", "[1, 0, 0]", "[0.5, -1, 1]", "")), "two children"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[2, 0, 0]", "[0.5, -1, 1]", "")), "column"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, -1]", "")), "differ in length"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, null, 1]", "")), "no number"},
      {MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, 1e300, 1]", "")), "no number"},
      {MODEL("gbtree", ""), "lacks a list"},
      {"{\"learner\": {\"gradient_booster\": {\"name\": \"gbtree\", \"model\": {}}}}", "lacks its trees"},
      {"{", "no JSON"},
      {"[]", "gbtree"}};
  g_autoptr(PipelineTreeEnsemble) ensemble = pipeline_tree_ensemble_new(2, 1, (const float[]){.25f});
  guint good = 0;
  for (guint i = 0; i < G_N_ELEMENTS(models); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) json = g_bytes_new_static(models[i].json, strlen(models[i].json));
    gboolean read = pipeline_tree_ensemble_append_json(ensemble, json, &error);
    good += models[i].why == NULL;
    ck_assert_msg(read == (models[i].why == NULL), "%u: %s", i, error ? error->message : "");
    if (!read) ck_assert_msg(strstr(error->message, models[i].why) != NULL, "%u: %s", i, error->message);
    ck_assert_uint_eq(pipeline_tree_ensemble_n_trees(ensemble), good);
    ck_assert_uint_eq(ensemble->nodes->len, 3 * good);
  }
  const float rows[] = {0, .5f, 0, .25f, 0, NAN};
  float raw[3];
  pipeline_tree_ensemble_start(ensemble, 3, raw);
  pipeline_tree_ensemble_add(ensemble, 0, rows, 3, raw);
  ck_assert(raw[0] == 1.25f && raw[1] == -.75f && raw[2] == 1.25f); /* .5 < .5 is false; missing goes right */
}
END_TEST

/* A node with one tree, changed in one way. */
START_TEST(foreign_ensembles_are_judged)
{
  static const struct {
    const gchar *attribute, *text, *why; /* NULL: can be continued */
  } changes[] = {{NULL, NULL, NULL},
                 {"post_transform", "NONE", "no logits"},
                 {"post_transform", "PROBIT", "no logits"},
                 {"aggregate_function", "AVERAGE", "not added up"},
                 {"nodes_modes", "BRANCH_GT", "neither < nor <="},
                 {"nodes_modes", "BRANCH_LEQ", NULL}};
  g_autoptr(PipelineTreeEnsemble) ensemble = pipeline_tree_ensemble_new(2, 1, (const float[]){.25f});
  static const gchar model[] = MODEL("gbtree", TREE("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]", "[0.5, -1, 1]", ""));
  g_autoptr(GBytes) json = g_bytes_new_static(model, strlen(model));
  ck_assert(pipeline_tree_ensemble_append_json(ensemble, json, NULL));
  for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(OnnxGraph) graph = onnx_graph_new("test");
    OnnxNode *node = onnx_graph_add_node(graph, "ai.onnx.ml", "TreeEnsembleClassifier", "x", "label,p");
    pipeline_tree_onnx_write(ensemble, TRUE, node);
    onnx_node_set_ints(node, "classlabels_int64s", (const gint64[]){0, 1}, 2);
    if (g_strcmp0(changes[i].attribute, "nodes_modes") == 0)
      onnx_node_set_strings(node, "nodes_modes", (const gchar *const[]){changes[i].text, "LEAF", "LEAF"}, 3);
    else if (changes[i].attribute != NULL)
      onnx_node_set_string(node, changes[i].attribute, changes[i].text);
    g_autoptr(PipelineTreeEnsemble) read = pipeline_tree_onnx_read(node, 2, &error);
    ck_assert_msg((read != NULL) == (changes[i].why == NULL), "%u: %s", i, error ? error->message : "");
    if (read == NULL) ck_assert_msg(strstr(error->message, changes[i].why) != NULL, "%u: %s", i, error->message);
    if (read == NULL) continue;
    float raw = 0;
    pipeline_tree_ensemble_start(read, 1, &raw);
    pipeline_tree_ensemble_add(read, 0, (const float[]){0, .5f}, 1, &raw);
    ck_assert_float_eq(raw, i == 0 ? 1.25f : -.75f); /* .5 <= .5 is true */
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("tree_form");
  TCase *tests = tcase_create("forms");
  tcase_add_test(tests, options_are_checked);
  tcase_add_test(tests, broken_models_are_refused);
  tcase_add_test(tests, foreign_ensembles_are_judged);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
