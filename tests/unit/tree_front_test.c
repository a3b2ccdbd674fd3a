/* Boosted trees: transformations in front of them, thresholds between values, quantiles and intervals. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model.h"
#include "pipeline/model_arrays.h"
#include "pipeline/tree_graph.h"
#include "pipeline/tree_quantile.h"
#include "tests/support/tree_world.h"

/* One graph: what the transformations make is what the trees were trained on. A kept number may be missing. */
START_TEST(transformations_stand_in_front)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = tree_table(1500, 21, _i == 0 ? TREE_BINARY : TREE_VALUE);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  g_autoptr(PipelinePlan) plan = pipeline_plan_parse("a=bins:6,colour=target:5,a*b=standard", &error);
  PipelineTrainOptions options = tree_options("trees:rounds=40,depth=3");
  PipelineTrainResult result = {0}, again = {0}, plain = {0};
  options.plan = plan;
  tree_train(table, schema, &options, &result);
  ck_assert_ptr_nonnull(strstr(result.plan, "bins:6"));
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(result.onnx, NULL);
  ck_assert_ptr_nonnull(strstr(onnx_graph_get_metadata(graph, PIPELINE_PLAN_KEY), "\"keep\""));
  /* The trees see the columns of the plan; b, which no chain names alone, as it is. */
  const gchar *columns = onnx_graph_get_metadata(graph, PIPELINE_TREE_KEY);
  ck_assert_ptr_nonnull(strstr(columns, "\"b\""));
  ck_assert_ptr_nonnull(strstr(columns, "colour.target"));
  ck_assert_ptr_null(strstr(columns, "colour=red"));
  /* Training measured what the model predicts: the graph is what was trained on (but for "target"). */
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, table, schema, &n);
  options.plan = NULL;
  tree_train(table, schema, &options, &plain);
  g_autofree float *others = tree_predict(plain.onnx, table, schema, &n);
  ck_assert_int_ne(memcmp(outputs, others, table->n_rows * n * sizeof(float)), 0);
  if (_i == 0) ck_assert_double_gt(tree_accuracy(result.onnx, table, schema), .8);
  /* Continued trees keep their preprocessing, and take no other. */
  options.from = result.onnx;
  tree_train(table, schema, &options, &again);
  ck_assert_uint_eq(tree_count(again.onnx, schema), 80);
  options.plan = plan;
  tree_refused(table, schema, &options, "keep their preprocessing");
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&again);
  pipeline_train_result_clear(&plain);
}
END_TEST

/* The threshold of a tree of one split, after centring on x [n]. */
static float centred(float threshold, const float *x, gsize n)
{
  const float base = 0;
  const PipelineTreeNode nodes[] = {{.yes = 1, .no = 2, .value = threshold}, {.value = -1}, {.value = 1}};
  const guint32 zero = 0;
  g_autoptr(PipelineTreeEnsemble) ensemble = pipeline_tree_ensemble_new(1, 1, &base);
  g_array_append_vals(ensemble->nodes, nodes, G_N_ELEMENTS(nodes));
  g_array_append_val(ensemble->starts, zero);
  g_array_append_val(ensemble->outputs, zero);
  pipeline_tree_ensemble_centre(ensemble, 0, x, n);
  ck_assert_float_eq(pipeline_tree_ensemble_get(ensemble, 0, 1)->value, -1); /* leaves stay */
  return pipeline_tree_ensemble_get(ensemble, 0, 0)->value;
}

START_TEST(thresholds_stand_between_values)
{
  const float x[] = {3, NAN, 1, 2, INFINITY, 2}, close[] = {1, nextafterf(1, 2)};
  ck_assert_float_eq(centred(2, x, G_N_ELEMENTS(x)), 1.5f);
  ck_assert_float_eq(centred(2.25f, x, G_N_ELEMENTS(x)), 2.5f);
  ck_assert_float_eq(centred(1, x, G_N_ELEMENTS(x)), 1); /* nothing below, or above, says how far it may move */
  ck_assert_float_eq(centred(3.5f, x, G_N_ELEMENTS(x)), 3.5f);
  ck_assert_float_eq(centred(close[1], close, 2), close[1]);
  ck_assert_float_eq(centred(5, x, 0), 5);
}
END_TEST

/* --- quantiles ---------------------------------------------------------------------------------------------------- */

START_TEST(quantiles_count_weights)
{
  const float numbers[] = {3, 1, 2, 4}, weights[] = {1, 1, 5, 1};
  ck_assert_float_eq(pipeline_tree_quantile(numbers, NULL, 4, .5), 2);
  ck_assert_float_eq(pipeline_tree_quantile(numbers, NULL, 4, .51), 3);
  ck_assert_float_eq(pipeline_tree_quantile(numbers, NULL, 4, .99), 4);
  ck_assert_float_eq(pipeline_tree_quantile(numbers, weights, 4, .7), 2);
  ck_assert_float_eq(pipeline_tree_quantile(numbers, weights, 4, .1), 1);
  ck_assert_float_eq(pipeline_tree_quantile(numbers, NULL, 0, .5), 0);
}
END_TEST

/* Share of the labels that are not above column k of the outputs [n_rows, width]. */
static double share_below(const DriftTable *table, const float *outputs, guint width, guint k)
{
  guint64 below = 0;
  const DriftColumn *y = drift_table_get_column(table, "y");
  for (guint64 i = 0; i < table->n_rows; i++)
    below += g_array_index(y->numbers, double, i) <= (double)outputs[i * width + k];
  return (double)below / (double)table->n_rows;
}

START_TEST(a_quantile_is_learnt)
{
  static const double shares[] = {.1, .5, .9};
  g_autoptr(DriftTable) table = tree_table(3000, 31, TREE_VALUE), fresh = tree_table(3000, 32, TREE_VALUE);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=60,depth=3");
  PipelineTrainResult result = {0};
  guint n;
  options.quantile = shares[_i];
  tree_train(table, schema, &options, &result);
  g_autofree float *outputs = tree_predict(result.onnx, fresh, schema, &n);
  ck_assert_uint_eq(n, 1);
  ck_assert_double_eq_tol(share_below(fresh, outputs, 1, 0), shares[_i], .03); /* standard error at most .009 */
  options.from = result.onnx;
  options.quantile = 0;
  tree_refused(table, schema, &options, "other operators follow");
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(trees_have_intervals)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = tree_table(3000, 33, TREE_VALUE), fresh = tree_table(3000, 34, TREE_VALUE),
                        few = tree_table(90, 35, TREE_VALUE);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=60,depth=3");
  PipelineTrainResult result = {0};
  options.interval = .8;
  tree_refused(few, schema, &options, "taken from validation rows");
  options.validation_fraction = .3;
  tree_train(table, schema, &options, &result);
  ck_assert_uint_eq(result.interval.n, 900);
  ck_assert_double_eq(result.interval.level, .8);
  ck_assert_double_gt(result.validation_metric, -20); /* -rmse in the label's units, whose deviation is 50 */
  g_autoptr(PipelineModel) model = pipeline_model_load(result.onnx, schema, NULL, &error);
  ck_assert_double_eq(pipeline_model_get_interval(model), .8);
  g_autoptr(GPtrArray) arrays = pipeline_model_run_table(model, fresh, &error);
  ck_assert_msg(arrays != NULL, "%s", error ? error->message : "");
  const GArray *lower = pipeline_model_array_find(arrays, "lower")->elements,
               *value = pipeline_model_array_find(arrays, "value")->elements,
               *upper = pipeline_model_array_find(arrays, "upper")->elements;
  for (guint i = 0; i < lower->len; i++) {
    ck_assert_float_le(g_array_index(lower, float, i), g_array_index(value, float, i));
    ck_assert_float_le(g_array_index(value, float, i), g_array_index(upper, float, i));
  }
  double inside = share_below(fresh, (const float *)(gpointer)upper->data, 1, 0) -
                  share_below(fresh, (const float *)(gpointer)lower->data, 1, 0);
  ck_assert_double_eq_tol(inside, .8, .04); /* of the margin's 900 rows .013, of these 3,000 .007 */
  options.quantile = .5;
  tree_refused(table, schema, &options, "has its own quantiles");
  pipeline_train_result_clear(&result);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("tree_front");
  TCase *tests = tcase_create("trees");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, transformations_stand_in_front, 0, 2);
  tcase_add_test(tests, thresholds_stand_between_values);
  tcase_add_test(tests, quantiles_count_weights);
  tcase_add_loop_test(tests, a_quantile_is_learnt, 0, 3);
  tcase_add_test(tests, trees_have_intervals);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
