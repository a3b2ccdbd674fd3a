#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/evaluate.h"
#include "pipeline/evaluate_metrics.h"
#include "pipeline/trainer_random.h"

/* --- metrics by hand ---------------------------------------------------------------------------------------------- */

START_TEST(auc_counts_pairs_and_halves_ties)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  double scores[60];
  guint8 labels[60];
  for (guint i = 0; i < 60; i++) {
    scores[i] = (double)pipeline_random_below(&random, 8);
    labels[i] = scores[i] + (double)pipeline_random_below(&random, 8) > 8;
  }
  double pairs = 0, won = 0;
  for (guint i = 0; i < 60; i++)
    for (guint j = 0; j < 60; j++)
      if (labels[i] && !labels[j]) {
        pairs++;
        won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      }
  ck_assert_double_eq_tol(pipeline_metric_auc(scores, labels, 60), won / pairs, 1e-12);
  memset(labels, 0, sizeof labels);
  ck_assert(isnan(pipeline_metric_auc(scores, labels, 60)));
}
END_TEST

START_TEST(small_metrics_are_right)
{
  const guint decisions[] = {0, 0, 1, 1, 1, 0}, labels[] = {0, 0, 0, 0, 1, 1};
  ck_assert_double_eq_tol(pipeline_metric_balanced_accuracy(decisions, labels, 6, 3), 0.5, 1e-12);
  const double p[] = {0.5, 0.25, 0};
  ck_assert_double_eq_tol(pipeline_metric_log_loss(p, 3), (log(2) + log(4) - log(1e-7)) / 3, 1e-12);
  double values[] = {4, 1, 3, 2};
  ck_assert_double_eq_tol(pipeline_metric_quantile(values, 4, 0.5), 2.5, 1e-12);
  ck_assert_double_eq(pipeline_metric_quantile(values, 4, 1), 4);
  ck_assert(isnan(pipeline_metric_quantile(values, 0, 0.5)));
}
END_TEST

/* --- models with known answers ------------------------------------------------------------------------------------ */

/* p = sigmoid(slope (x - threshold)), as a two-class softmax. */
static PipelineModel *step_model(const DriftSchema *schema, float slope, float threshold)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("step");
  const float weight[] = {0, slope}, bias[] = {0, -slope * threshold};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){1, 2}, weight));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("b", ONNX_TYPE_FLOAT, 1, (gint64[]){2}, bias));
  onnx_graph_add_node(graph, "", "Gemm", "x,w,b", "z");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Softmax", "z", "probabilities"), "axis", 1);
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "N,2");
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  PipelineModel *model = bytes ? pipeline_model_load(bytes, schema, NULL, &error) : NULL;
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  return model;
}

static DriftSchema *step_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "yes");
  schema->positive_class = 1;
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "group", DRIFT_CATEGORICAL, TRUE, FALSE);
  return schema;
}

/* x = 0.5, 1.5, …, n - 0.5; true from n / 2 on. Group "a" below n / 4 and every other row above, else "b"; "tiny" once.
 */
static DriftTable *step_table(guint n)
{
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC);
  DriftColumn *group = drift_table_add_column(table, "group", DRIFT_CATEGORICAL);
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(x, i + 0.5);
    drift_column_append_text(group, i == 0 ? "tiny" : i < n / 4 || i % 2 == 0 ? "a" : "b", -1);
    drift_column_append_text(y, i >= n / 2 ? "yes" : "no", -1);
    table->n_rows++;
  }
  return table;
}

/* Groups chosen alike have an impact of 1: once they had none, and the gate refused them. */
START_TEST(groups_chosen_alike_have_an_impact_of_one)
{
  g_autoptr(DriftSchema) schema = step_schema();
  g_autoptr(DriftTable) table = step_table(400);
  for (gdouble threshold = -1000; threshold <= 1000; threshold += 2000) {
    g_autoptr(PipelineModel) model = step_model(schema, 1, (float)threshold); /* all are chosen, or none is */
    PipelineEvaluation evaluation = {0};
    ck_assert(pipeline_evaluate(model, table, &evaluation, NULL));
    if (threshold < 0)
      ck_assert_double_eq(evaluation.disparate_impact_worst, 1);
    else
      ck_assert(isnan(evaluation.disparate_impact_worst) && evaluation.disparate_impact_group == NULL);
    pipeline_evaluation_clear(&evaluation);
  }
}
END_TEST

START_TEST(a_known_model_gets_its_known_figures)
{
  g_autoptr(DriftSchema) schema = step_schema();
  g_autoptr(DriftTable) table = step_table(400);
  g_autoptr(PipelineModel) model = step_model(schema, 0.1f, 240); /* 40 rows too high: 160 of 200 found */
  PipelineEvaluation evaluation = {0};
  g_autoptr(GError) error = NULL;
  ck_assert_msg(pipeline_evaluate(model, table, &evaluation, &error), "%s", error ? error->message : "");
  ck_assert_uint_eq(evaluation.n, 400);
  ck_assert_double_eq_tol(evaluation.accuracy, 0.9, 1e-9);
  ck_assert_double_eq_tol(evaluation.balanced_accuracy, (1 + 0.8) / 2, 1e-9);
  ck_assert_double_eq_tol(evaluation.auc, 1, 1e-9);
  ck_assert(evaluation.log_loss > 0.1 && evaluation.log_loss < 0.5);
  /* selected 160: 80 in each group; a has 99 + 150 rows, b 150; "tiny" is too small to count */
  ck_assert_double_eq_tol(evaluation.disparate_impact_worst, (80.0 / 249) / (80.0 / 150), 1e-9);
  ck_assert_str_eq(evaluation.disparate_impact_group, "group=a vs b");
  ck_assert(isnan(evaluation.mae) && isnan(evaluation.robust_accuracy));
  ck_assert(pipeline_evaluate_latency(model, table, &evaluation, &error));
  ck_assert(evaluation.latency_p50_us > 0 && evaluation.latency_p99_us >= evaluation.latency_p50_us);
  pipeline_evaluation_clear(&evaluation);
}
END_TEST

/* The attack can move a row across the threshold exactly when it stands nearer than epsilon standard deviations. */
START_TEST(robust_accuracy_is_the_share_out_of_reach)
{
  g_autoptr(DriftSchema) schema = step_schema();
  g_autoptr(DriftTable) table = step_table(400);
  g_autoptr(PipelineModel) model = step_model(schema, 0.1f, 200);
  PipelineEvaluation evaluation = {0};
  g_autoptr(GError) error = NULL;
  double sd = 400 / sqrt(12), reach = 0.2 * sd;
  ck_assert(pipeline_evaluate(model, table, &evaluation, &error));
  ck_assert_double_eq(evaluation.accuracy, 1);
  ck_assert_msg(pipeline_evaluate_robustness(model, table, 0.2, 20, 1, &evaluation, &error), "%s",
                error ? error->message : "");
  ck_assert_ptr_null(evaluation.robust_undefined);
  ck_assert_double_eq_tol(evaluation.robust_accuracy, 1 - 2 * reach / 400, 0.006);
  ck_assert_double_eq(evaluation.robust_epsilon, 0.2);
  ck_assert(!pipeline_evaluate_robustness(model, table, 0, 20, 1, &evaluation, &error));
  pipeline_evaluation_clear(&evaluation);
}
END_TEST

/* A model without gradients is no error, and the reason is said. */
START_TEST(what_cannot_be_attacked_is_undefined)
{
  g_autoptr(DriftSchema) schema = step_schema();
  g_autoptr(DriftTable) table = step_table(100);
  g_autoptr(OnnxGraph) graph = onnx_graph_new("tree");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 1);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,1");
  onnx_node_set_float(onnx_graph_add_node(graph, "ai.onnx.ml", "Binarizer", "x", "probability"), "threshold", 50);
  onnx_graph_add_output(graph, "probability", ONNX_TYPE_FLOAT, "N,1");
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  g_autoptr(PipelineModel) model = pipeline_model_load(bytes, schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  PipelineEvaluation evaluation = {0};
  ck_assert(pipeline_evaluate(model, table, &evaluation, &error));
  ck_assert_double_eq(evaluation.accuracy, 1);
  ck_assert(pipeline_evaluate_robustness(model, table, 0.1, 5, 1, &evaluation, &error));
  ck_assert(isnan(evaluation.robust_accuracy));
  ck_assert_ptr_nonnull(strstr(evaluation.robust_undefined, "Binarizer"));
  pipeline_evaluation_clear(&evaluation);
}
END_TEST

/* --- comparison --------------------------------------------------------------------------------------------------- */

START_TEST(the_paired_interval_has_the_right_width)
{
  g_autoptr(DriftSchema) schema = step_schema();
  g_autoptr(DriftTable) table = step_table(400);
  g_autoptr(PipelineModel) champion = step_model(schema, 1, 240), challenger = step_model(schema, 1, 210);
  PipelineComparison comparison, again, other;
  g_autoptr(GError) error = NULL;
  ck_assert(pipeline_compare(champion, challenger, table, 0.95, 7, &comparison, &error));
  ck_assert_double_eq_tol(comparison.champion, 0.9, 1e-9);
  ck_assert_double_eq_tol(comparison.challenger, 0.975, 1e-9);
  ck_assert_double_eq_tol(comparison.gain, 0.075, 1e-9);
  /* 30 of 400 rows differ, all one way: normal approximation of the binomial */
  double half = 1.96 * sqrt(0.075 * 0.925 / 400);
  ck_assert_double_eq_tol(comparison.low, 0.075 - half, 0.004);
  ck_assert_double_eq_tol(comparison.high, 0.075 + half, 0.004);
  ck_assert(pipeline_compare(champion, challenger, table, 0.95, 7, &again, &error));
  ck_assert_mem_eq(&comparison, &again, sizeof comparison);
  ck_assert(pipeline_compare(champion, champion, table, 0.95, 7, &other, &error));
  ck_assert_double_eq(other.low, 0);
  ck_assert_double_eq(other.high, 0);
  ck_assert(!pipeline_compare(champion, challenger, table, 1, 7, &other, &error));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("evaluate");
  TCase *cases = tcase_create("evaluate");
  tcase_add_test(cases, auc_counts_pairs_and_halves_ties);
  tcase_add_test(cases, small_metrics_are_right);
  tcase_add_test(cases, a_known_model_gets_its_known_figures);
  tcase_add_test(cases, groups_chosen_alike_have_an_impact_of_one);
  tcase_add_test(cases, robust_accuracy_is_the_share_out_of_reach);
  tcase_add_test(cases, what_cannot_be_attacked_is_undefined);
  tcase_add_test(cases, the_paired_interval_has_the_right_width);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
