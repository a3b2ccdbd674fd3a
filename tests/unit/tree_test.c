/* Boosted trees: from a table to ONNX and back, weights, early stopping, continued training, checkpoints. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "onnx/graph.h"
#include "pipeline/model.h"
#include "pipeline/model_arrays.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"
#include "pipeline/tree_graph.h"
#include "tests/support/tree_world.h"

/* --- learning ----------------------------------------------------------------------------------------------------- */

START_TEST(each_task_is_learnt)
{
  static const struct {
    TreeTask task;
    guint n_outputs, trees_a_round;
  } tasks[] = {{TREE_BINARY, 2, 1}, {TREE_CLASSES, 3, 3}, {TREE_VALUE, 1, 1}};
  g_autoptr(DriftTable) table = tree_table(2000, 1, tasks[_i].task), fresh = tree_table(1000, 2, tasks[_i].task);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=60,depth=4");
  options.validation_fraction = .1;
  options.test_fraction = .2;
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, fresh, schema, &n);
  ck_assert_uint_eq(n, tasks[_i].n_outputs);
  ck_assert_uint_eq(tree_count(result.onnx, schema), result.best_epoch * tasks[_i].trees_a_round);
  ck_assert_uint_eq(result.n_validation, 200);
  ck_assert_uint_eq(result.n_test, 400);
  ck_assert_uint_eq(result.n_train, 1400);
  double squares = 0;
  const GArray *y = drift_table_get_column(fresh, "y")->numbers;
  for (guint64 row = 0; row < fresh->n_rows && tasks[_i].task == TREE_VALUE; row++)
    squares += pow(outputs[row] - g_array_index(y, double, row), 2) / (double)fresh->n_rows;
  if (tasks[_i].task == TREE_VALUE) {
    ck_assert_double_lt(sqrt(squares), 25); /* the label's standard deviation is 55 */
    ck_assert_double_gt(result.test_metric, -25);
  } else {
    ck_assert_double_gt(tree_accuracy(result.onnx, fresh, schema), .8);
    ck_assert_double_gt(result.test_metric, .8);
  }
  for (guint64 row = 0; row < fresh->n_rows && n > 1; row++) {
    double sum = 0;
    for (guint k = 0; k < n; k++) sum += outputs[row * n + k];
    ck_assert_double_eq_tol(sum, 1, 1e-5);
  }
  pipeline_train_result_clear(&result);
}
END_TEST

/* What the model says, as everybody runs it, is what boosting says: 500 trees, missing numbers, and numbers that are
 * equal to a threshold. */
START_TEST(the_graph_says_what_the_trees_say)
{
  g_autoptr(DriftTable) table = tree_table(1500, 3, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options = tree_options("trees:rounds=500,depth=5");
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  g_auto(PipelineTreeGraph) graph = {.graph = NULL};
  g_autoptr(PipelineTreeEnsemble) ensemble = NULL;
  ck_assert(pipeline_tree_graph_read(result.onnx, schema, &graph, &ensemble, &error));
  ck_assert_uint_eq(pipeline_tree_ensemble_n_trees(ensemble), 500);
  GArray *a = drift_table_get_column(table, "a")->numbers;
  guint64 at = 0; /* a takes the values of its own thresholds */
  for (guint i = 0; i < ensemble->nodes->len && at < table->n_rows / 2; i++) {
    const PipelineTreeNode *node = &g_array_index(ensemble->nodes, PipelineTreeNode, i);
    if (node->yes != 0 && strcmp(g_ptr_array_index(graph.columns, node->column), "a") == 0)
      g_array_index(a, double, at++) = (double)node->value;
  }
  ck_assert_uint_gt(at, 100);
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, table, schema, &n), *x = g_new0(float, ensemble->n_columns);
  for (guint64 row = 0; row < table->n_rows; row++) {
    for (guint c = 0; c < graph.columns->len; c++) {
      g_auto(GStrv) name = g_strsplit(g_ptr_array_index(graph.columns, c), "=", 2);
      DriftValue value = drift_column_get_value(drift_table_get_column(table, name[0]), row);
      g_autofree gchar *text = value.kind == DRIFT_VALUE_TEXT ? g_strndup(value.text, value.length) : g_strdup("");
      if (name[1] != NULL)
        x[c] = strcmp(text, name[1]) == 0;
      else
        x[c] = value.kind == DRIFT_VALUE_NUMBER ? (float)value.number : NAN;
    }
    float raw;
    pipeline_tree_ensemble_start(ensemble, 1, &raw);
    pipeline_tree_ensemble_add(ensemble, 0, x, 1, &raw);
    ck_assert_double_eq_tol(outputs[row * 2 + 1], 1 / (1 + exp(-(double)raw)), 1e-6);
  }
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(unusual_rows_are_learnt_from)
{
  static const struct {
    guint n;
    gdouble label; /* of every row; NaN: as made */
  } cases[] = {{1, 1}, {1, 0}, {50, 1}, {2, NAN}, {300, NAN}};
  g_autoptr(DriftTable) table = tree_table(cases[_i].n, 4, TREE_BINARY), both = tree_table(100, 5, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(both);
  GArray *y = drift_table_get_column(table, "y")->numbers;
  for (guint i = 0; i < y->len && !isnan(cases[_i].label); i++) g_array_index(y, double, i) = cases[_i].label;
  PipelineTrainOptions options = tree_options("trees:rounds=10");
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, both, schema, &n);
  for (guint64 row = 0; row < both->n_rows; row++) {
    ck_assert(isfinite(outputs[row * 2]));
    if (!isnan(cases[_i].label)) ck_assert_double_gt(outputs[row * 2 + (guint)cases[_i].label], .9);
  }
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(a_constant_value_is_predicted)
{
  g_autoptr(DriftTable) table = tree_table(100, 6, TREE_VALUE);
  GArray *y = drift_table_get_column(table, "y")->numbers;
  g_autoptr(DriftSchema) schema = tree_infer(table);
  for (guint i = 0; i < y->len; i++) g_array_index(y, double, i) = 42.5;
  PipelineTrainOptions options = tree_options("trees:rounds=5");
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, table, schema, &n);
  for (guint64 row = 0; row < table->n_rows; row++) ck_assert_double_eq_tol(outputs[row], 42.5, 1e-4);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(unseen_texts_are_zeros)
{
  g_autoptr(DriftTable) table = tree_table(500, 7, TREE_BINARY), fresh = tree_table(20, 8, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=20");
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  DriftColumn *colour = drift_table_get_column(fresh, "colour");
  g_array_set_size(colour->codes, 0);
  for (guint i = 0; i < 20; i++) drift_column_append_text(colour, i % 2 ? "violet" : "ultramarine", -1);
  guint n;
  g_autofree float *outputs = tree_predict(result.onnx, fresh, schema, &n);
  for (guint i = 0; i < 40; i++) ck_assert(outputs[i] > 0 && outputs[i] < 1);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(infinite_numbers_are_named)
{
  g_autoptr(DriftTable) table = tree_table(100, 9, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  g_array_index(drift_table_get_column(table, "b")->numbers, double, 17) = INFINITY;
  PipelineTrainOptions options = tree_options("trees:rounds=5");
  tree_refused(table, schema, &options, "column \"b\", row 17: inf");
}
END_TEST

/* --- weights, constraints ----------------------------------------------------------------------------------------- */

/* Only a, of ten values, so that weights do not move where histograms are cut. */
static DriftTable *coarse_table(guint copies)
{
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *y = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  for (guint copy = 0; copy < copies; copy++)
    for (guint i = 0; i < 100; i++) {
      if (copy > 0 && i % 3 != 0) continue;
      drift_column_append_number(a, i % 10);
      drift_column_append_number(y, (i * 7) % 10 < i % 10);
      table->n_rows++;
    }
  return table;
}

START_TEST(a_weight_of_two_is_a_row_twice)
{
  g_autoptr(DriftTable) once = coarse_table(1), twice = coarse_table(2);
  g_autoptr(DriftSchema) schema = tree_infer(once);
  double weights[100];
  for (guint i = 0; i < 100; i++) weights[i] = i % 3 == 0 ? 2 : 1;
  PipelineTrainOptions options = tree_options("trees:rounds=20,min_child_weight=0");
  PipelineTrainResult plain = {0}, doubled = {0}, weighted = {0};
  tree_train(once, schema, &options, &plain);
  tree_train(twice, schema, &options, &doubled);
  options.row_weights = weights;
  tree_train(once, schema, &options, &weighted);
  guint n;
  g_autofree float *p = tree_predict(plain.onnx, once, schema, &n), *d = tree_predict(doubled.onnx, once, schema, &n),
                   *w = tree_predict(weighted.onnx, once, schema, &n);
  double apart = 0;
  for (guint i = 0; i < 200; i++) {
    ck_assert_double_eq_tol(d[i], w[i], 1e-5);
    apart = MAX(apart, fabs(p[i] - w[i]));
  }
  ck_assert_double_gt(apart, .02);
  weights[5] = -1;
  tree_refused(once, schema, &options, "the weight of row 5 is -1");
  pipeline_train_result_clear(&plain);
  pipeline_train_result_clear(&doubled);
  pipeline_train_result_clear(&weighted);
}
END_TEST

static double mean_of_rare(const DriftTable *table, const DriftSchema *schema, gboolean balanced, const gchar *how)
{
  PipelineTrainOptions options = tree_options(how);
  options.balanced = balanced;
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  guint n;
  double sum = 0;
  g_autofree float *outputs = tree_predict(result.onnx, table, schema, &n);
  for (guint64 row = 0; row < table->n_rows; row++) sum += outputs[row * 2 + 1] / (double)table->n_rows;
  pipeline_train_result_clear(&result);
  return sum;
}

START_TEST(rare_classes_can_count_more)
{
  g_autoptr(DriftTable) table = tree_table(1000, 10, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  GArray *y = drift_table_get_column(table, "y")->numbers;
  for (guint i = 0; i < y->len; i++)
    if (i % 5 != 0) g_array_index(y, double, i) = 0;
  double plain = mean_of_rare(table, schema, FALSE, "trees:rounds=10,depth=2");
  ck_assert_double_gt(mean_of_rare(table, schema, TRUE, "trees:rounds=10,depth=2"), plain + .1);
  ck_assert_double_gt(mean_of_rare(table, schema, FALSE, "trees:rounds=10,depth=2,scale_pos_weight=8"), plain + .1);
}
END_TEST

/* The largest fall of the output where `a` rises by hundredths, over 50 rows. */
static double largest_fall(GBytes *onnx, const DriftSchema *schema)
{
  double fall = 0;
  guint n;
  g_autoptr(DriftTable) rows = tree_table(50, 11, TREE_BINARY);
  g_autofree float *before = NULL;
  for (guint step = 0; step < 100; step++) {
    for (guint64 row = 0; row < rows->n_rows; row++)
      g_array_index(drift_table_get_column(rows, "a")->numbers, double, row) = step / 100.;
    float *now = tree_predict(onnx, rows, schema, &n);
    for (guint64 row = 0; before != NULL && row < rows->n_rows; row++)
      fall = MAX(fall, (double)before[row * 2 + 1] - (double)now[row * 2 + 1]);
    g_free(before);
    before = now;
  }
  return fall;
}

START_TEST(monotone_constraints_hold)
{
  g_autoptr(DriftTable) table = tree_table(1000, 12, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  GArray *y = drift_table_get_column(table, "y")->numbers;
  for (guint i = 0; i < y->len; i++)
    if (pipeline_random_below(&random, 4) == 0) g_array_index(y, double, i) = 1 - g_array_index(y, double, i);
  PipelineTrainOptions options = tree_options("trees:rounds=100,depth=5");
  PipelineTrainResult free_result = {0}, result = {0};
  tree_train(table, schema, &options, &free_result);
  ck_assert_double_gt(largest_fall(free_result.onnx, schema), .05);
  options.monotone = (const gchar *const[]){"a=+1", NULL};
  tree_train(table, schema, &options, &result);
  ck_assert_double_lt(largest_fall(result.onnx, schema), 1e-6);
  pipeline_train_result_clear(&free_result);
  pipeline_train_result_clear(&result);
  static const gchar *const wrong[][2] = {{"a=2", "write COLUMN=+1"},
                                          {"a", "write COLUMN=+1"},
                                          {"colour=+1", "no numeric input"},
                                          {"x=1", "no numeric input"}};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    options.monotone = (const gchar *const[]){wrong[i][0], NULL};
    tree_refused(table, schema, &options, wrong[i][1]);
  }
  options.architecture = "mlp:4";
  tree_refused(table, schema, &options, "for trees");
}
END_TEST

/* --- rounds ------------------------------------------------------------------------------------------------------- */

START_TEST(boosting_stops_when_it_gets_no_better)
{
  g_autoptr(DriftTable) table = tree_table(800, 13, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  GArray *y = drift_table_get_column(table, "y")->numbers;
  PipelineRandom random;
  pipeline_random_seed(&random, 6);
  for (guint i = 0; i < y->len; i++)
    if (pipeline_random_below(&random, 3) == 0) g_array_index(y, double, i) = 1 - g_array_index(y, double, i);
  PipelineTrainOptions options = tree_options("trees:rounds=400,patience=7");
  options.validation_fraction = .25;
  PipelineTrainResult result = {0};
  tree_train(table, schema, &options, &result);
  ck_assert_uint_eq(result.epochs, result.best_epoch + 7);
  ck_assert_uint_lt(result.epochs, 200);
  ck_assert_uint_eq(tree_count(result.onnx, schema), result.best_epoch);
  pipeline_train_result_clear(&result);
  options.architecture = "trees:rounds=60,patience=0";
  tree_train(table, schema, &options, &result);
  ck_assert_uint_eq(result.epochs, 60);
  ck_assert_uint_lt(result.best_epoch, 60);
  pipeline_train_result_clear(&result);
}
END_TEST

/* 70 rounds are 30 and 40 more from the ONNX model: the same trees. */
START_TEST(continued_boosting_is_more_rounds)
{
  static const TreeTask tasks[] = {TREE_BINARY, TREE_CLASSES, TREE_VALUE};
  g_autoptr(DriftTable) table = tree_table(1000, 14, tasks[_i]);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=70,depth=4");
  PipelineTrainResult whole = {0}, first = {0}, second = {0};
  tree_train(table, schema, &options, &whole);
  options.architecture = "trees:rounds=30,depth=4";
  tree_train(table, schema, &options, &first);
  options.from = first.onnx;
  options.architecture = "trees:rounds=40,depth=4";
  tree_train(table, schema, &options, &second);
  ck_assert_uint_eq(tree_count(second.onnx, schema), tree_count(whole.onnx, schema));
  guint n;
  g_autofree float *a = tree_predict(whole.onnx, table, schema, &n), *b = tree_predict(second.onnx, table, schema, &n),
                   *c = tree_predict(first.onnx, table, schema, &n);
  double moved = 0;
  for (gsize i = 0; i < table->n_rows * n; i++) {
    ck_assert_double_eq_tol(a[i], b[i], 1e-6 * fmax(1, fabs((double)a[i])));
    moved = MAX(moved, fabs((double)a[i] - (double)c[i]));
  }
  ck_assert_double_gt(moved, .01);
  options.architecture = "mlp:8"; /* a retraining's default: the given model's family wins */
  options.epochs = 5;
  pipeline_train_result_clear(&whole);
  tree_train(table, schema, &options, &whole);
  ck_assert_uint_eq(whole.epochs, 5);
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&first);
  pipeline_train_result_clear(&second);
}
END_TEST

static gboolean stop_at(const PipelineTrainProgress *progress, gpointer data)
{
  return progress->epoch != *(guint *)data;
}

/* 0: as XGBoost's objectives go, in stretches; 1: quantiles, of which every round is one. */
START_TEST(a_stopped_training_ends_in_the_same_bytes)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp("kedge-trees-XXXXXX", NULL);
  g_autofree gchar *checkpoint = g_build_filename(folder, "c.safetensors", NULL);
  TreeTask task = _i == 0 ? TREE_BINARY : TREE_VALUE;
  g_autoptr(DriftTable) table = tree_table(600, 15, task), other = tree_table(600, 16, task);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=170,depth=3,subsample=0.6,colsample=0.5,patience=0");
  options.validation_fraction = .2;
  if (_i == 1) options.interval = .8;
  PipelineTrainResult whole = {0}, result = {0};
  tree_train(table, schema, &options, &whole);
  options.checkpoint = checkpoint;
  options.checkpoint_seconds = 0;
  const guint stops[] = {20, 60, 120, 155};
  for (guint i = 0; i < G_N_ELEMENTS(stops); i++) {
    ck_assert(!pipeline_train(table, schema, &options, stop_at, (gpointer)&stops[i], &result, &error));
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
    g_clear_error(&error);
  }
  tree_refused(other, schema, &options, "another training");
  guint never = 0;
  ck_assert(pipeline_train(table, schema, &options, stop_at, &never, &result, &error));
  ck_assert(g_bytes_equal(whole.onnx, result.onnx));
  ck_assert_double_eq(whole.validation_loss, result.validation_loss);
  pipeline_train_result_clear(&result);
  tree_train(table, schema, &options, &result); /* a finished one answers at once */
  ck_assert(g_bytes_equal(whole.onnx, result.onnx));
  ck_assert(g_file_set_contents(checkpoint, "no checkpoint", -1, NULL));
  tree_refused(table, schema, &options, "no safetensors file");
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&result);
  g_unlink(checkpoint);
  g_rmdir(folder);
}
END_TEST

START_TEST(importance_names_the_columns)
{
  g_autoptr(DriftTable) table = tree_table(2000, 17, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=20,depth=3");
  PipelineTrainResult result = {0}, more = {0};
  tree_train(table, schema, &options, &result);
  options.from = result.onnx;
  tree_train(table, schema, &options, &more);
  json_int_t splits[2] = {0, 0};
  for (guint i = 0; i < 2; i++) {
    g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(i == 0 ? result.onnx : more.onnx, NULL);
    json_t *importance = pipeline_tree_importance(graph), *row;
    size_t at;
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(importance, 0), "column")), "b");
    json_array_foreach (importance, at, row) {
      splits[i] += json_integer_value(json_object_get(row, "weight"));
      ck_assert_str_ne(json_string_value(json_object_get(row, "column")), "empty");
      ck_assert_double_gt(json_real_value(json_object_get(row, "cover")), 0);
    }
    json_decref(importance);
  }
  ck_assert_int_gt(splits[0], 20);
  ck_assert_int_gt(splits[1], splits[0] + 20);
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&more);
}
END_TEST

/* --- refusals ----------------------------------------------------------------------------------------------------- */

START_TEST(what_is_of_networks_is_refused)
{
  g_autoptr(DriftTable) table = tree_table(100, 18, TREE_BINARY);
  g_autoptr(DriftSchema) schema = tree_infer(table);
  PipelineTrainOptions options = tree_options("trees:rounds=5");
  options.adversarial_epsilon = .1;
  tree_refused(table, schema, &options, "no gradients");
  options = tree_options("trees:rounds=5");
  options.backend = "onednn";
  tree_refused(table, schema, &options, "no backend");
  options = tree_options("trees:rounds=5");
  options.interval = .9;
  tree_refused(table, schema, &options, "needs a label that is a number");
  options.architecture = "mlp:4";
  tree_refused(table, schema, &options, "intervals and quantiles are for trees");
  options = tree_options("trees:rounds=5");
  options.search_plan = TRUE;
  tree_refused(table, schema, &options, "kedge prepare --search");
  options = tree_options("trees:rounds=5");
  options.validation_fraction = .5;
  options.test_fraction = .5;
  tree_refused(table, schema, &options, "leave a tenth");
  PipelineTrainResult network = {0};
  options = tree_options("mlp:4");
  options.epochs = 1;
  g_autoptr(DriftTable) full = coarse_table(1);
  g_autoptr(DriftSchema) full_schema = tree_infer(full);
  tree_train(full, full_schema, &options, &network);
  options = tree_options("trees:rounds=5");
  options.from = network.onnx;
  tree_refused(full, full_schema, &options, "not one ensemble of trees");
  pipeline_train_result_clear(&network);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("tree");
  TCase *tests = tcase_create("trees");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, each_task_is_learnt, 0, 3);
  tcase_add_test(tests, the_graph_says_what_the_trees_say);
  tcase_add_loop_test(tests, unusual_rows_are_learnt_from, 0, 5);
  tcase_add_test(tests, a_constant_value_is_predicted);
  tcase_add_test(tests, unseen_texts_are_zeros);
  tcase_add_test(tests, infinite_numbers_are_named);
  tcase_add_test(tests, a_weight_of_two_is_a_row_twice);
  tcase_add_test(tests, rare_classes_can_count_more);
  tcase_add_test(tests, monotone_constraints_hold);
  tcase_add_test(tests, boosting_stops_when_it_gets_no_better);
  tcase_add_loop_test(tests, continued_boosting_is_more_rounds, 0, 3);
  tcase_add_loop_test(tests, a_stopped_training_ends_in_the_same_bytes, 0, 2);
  tcase_add_test(tests, importance_names_the_columns);
  tcase_add_test(tests, what_is_of_networks_is_refused);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
