/* Calibration and decision: maps, rules, nodes in the graph and their removal, training around them. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/calibration_internal.h"
#include "pipeline/evaluate_metrics.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/model.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

#define N 400u

/* --- models and rows ---------------------------------------------------------------------------------------------- */

static DriftSchema *make_schema(const gchar *const *classes)
{
  guint n = g_strv_length((gchar **)classes);
  DriftSchema *schema = drift_schema_new(n == 2 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS, "y");
  for (guint k = 0; k < n; k++) drift_schema_add_class(schema, classes[k]);
  schema->positive_class = n == 2 ? 1 : 0;
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  return schema;
}

static const gchar *const yes_no[] = {"no", "yes", NULL}, *const digits[] = {"0", "1", "2", NULL};

/* Rows of two numbers; the class is drawn from softmax(a, b, 0 | truth) at a third of what the models believe. */
static DriftTable *make_rows(const DriftSchema *schema, guint n, guint64 seed)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC);
  DriftColumn *b = drift_table_add_column(table, "b", DRIFT_NUMERIC);
  DriftColumn *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    double logits[3] = {6 * pipeline_random_uniform(&random) - 3, 6 * pipeline_random_uniform(&random) - 3, 0}, sum = 0;
    drift_column_append_number(a, logits[0]);
    drift_column_append_number(b, logits[1]);
    guint k = 0;
    for (guint c = 0; c < schema->classes->len; c++) sum += exp(logits[c]);
    double u = pipeline_random_uniform(&random) * sum;
    while (k + 1 < schema->classes->len && u > exp(logits[k])) u -= exp(logits[k++]);
    drift_column_append_text(y, g_ptr_array_index(schema->classes, k), -1);
    table->n_rows++;
  }
  return table;
}

typedef enum { SOFTMAX, LOGITS, SIGMOID, LABELLED } Kind;

/* Logits three times too large: [a, b, 0] × 3. LABELLED: columns in the order 2, 0, 1, as its labels say. */
static GBytes *make_model(guint n_classes, Kind kind)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("overconfident");
  g_autoptr(GError) error = NULL;
  float weight[6] = {0};
  guint columns = kind == SIGMOID ? 1 : n_classes;
  for (guint c = 0; c < columns; c++) {
    guint class = kind == LABELLED ? (c + 2) % 3 : c;
    if (class < 2) weight[class * columns + c] = 3;
  }
  if (kind == SIGMOID) weight[0] = -3, weight[1] = 3;
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "rows", ONNX_TYPE_FLOAT, "N,2");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){2, columns}, weight));
  onnx_graph_add_node(graph, "", "MatMul", "rows,w", "logits");
  g_autofree gchar *shape = g_strdup_printf("N,%u", columns);
  if (kind == LOGITS) {
    onnx_graph_add_output(graph, "logits", ONNX_TYPE_FLOAT, shape);
  } else {
    OnnxNode *last = onnx_graph_add_node(graph, "", kind == SIGMOID ? "Sigmoid" : "Softmax", "logits", "probability");
    if (kind != SIGMOID) onnx_node_set_int(last, "axis", 1);
    onnx_graph_add_output(graph, "probability", ONNX_TYPE_FLOAT, shape);
  }
  if (kind == LABELLED) {
    const gint64 classes[] = {2, 0, 1};
    onnx_graph_take_initialiser(graph, onnx_tensor_new("classes", ONNX_TYPE_INT64, 1, (gint64[]){3}, classes));
    OnnxNode *best = onnx_graph_add_node(graph, "", "ArgMax", "probability", "best");
    onnx_node_set_int(best, "axis", 1);
    onnx_node_set_int(best, "keepdims", 0);
    onnx_graph_add_node(graph, "", "Gather", "classes,best", "output_label");
    onnx_graph_add_output(graph, "output_label", ONNX_TYPE_INT64, "N");
  }
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error != NULL ? error->message : "");
  return bytes;
}

static float *predict(GBytes *onnx, const DriftSchema *schema, const DriftTable *table)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, &error);
  float *outputs = g_new0(float, table->n_rows * schema->classes->len);
  ck_assert_msg(model != NULL && pipeline_model_predict_table(model, table, outputs, &error), "%s",
                error != NULL ? error->message : "");
  return outputs;
}

static GBytes *calibrate(GBytes *onnx, const DriftSchema *schema, const DriftTable *table, const gchar *method,
                         const gchar *rule, PipelineCalibration *result)
{
  g_autoptr(GError) error = NULL;
  const PipelineCalibrationOptions options = {method, rule};
  GBytes *calibrated = pipeline_calibrate(onnx, schema, table, &options, result, &error);
  ck_assert_msg(calibrated != NULL, "%s %s: %s", method, rule, error != NULL ? error->message : "");
  return calibrated;
}

static PipelineCalibrationRows read_rows(const float *outputs, const DriftSchema *schema, const DriftTable *table)
{
  PipelineCalibrationRows rows = {
      .n = table->n_rows, .n_classes = schema->classes->len, .positive = schema->positive_class};
  rows.p = g_new(double, rows.n *rows.n_classes);
  rows.labels = g_new(guint, rows.n);
  for (gsize i = 0; i < rows.n * rows.n_classes; i++) rows.p[i] = (double)outputs[i];
  for (gsize i = 0; i < rows.n; i++) {
    DriftValue label = drift_column_get_value(drift_table_get_column(table, "y"), i);
    rows.labels[i] = (guint)drift_schema_class_of(schema, &label);
  }
  return rows;
}

/* --- maps in the graph -------------------------------------------------------------------------------------------- */

static const struct {
  guint n_classes;
  Kind kind;
  const gchar *method;
} cases[] = {{2, SOFTMAX, "temperature"}, {2, SOFTMAX, "platt"},        {2, SOFTMAX, "isotonic"},
             {2, SOFTMAX, "none"},        {2, SIGMOID, "temperature"},  {2, SIGMOID, "platt"},
             {2, SIGMOID, "isotonic"},    {2, LOGITS, "platt"},         {3, SOFTMAX, "temperature"},
             {3, LOGITS, "isotonic"},     {3, LABELLED, "temperature"}, {3, LABELLED, "isotonic"}};

/* The graph gives what the map says of the model's own probabilities, and without it the same bytes as before. */
START_TEST(the_graph_does_what_the_map_says)
{
  guint n_classes = cases[_i].n_classes;
  g_autoptr(DriftSchema) schema = make_schema(n_classes == 2 ? yes_no : digits);
  g_autoptr(DriftTable) table = make_rows(schema, N, 3), fresh = make_rows(schema, 200, 4);
  g_autoptr(GBytes) onnx = make_model(n_classes, cases[_i].kind);
  g_autoptr(GError) error = NULL;
  PipelineCalibration result = {0};
  g_autoptr(GBytes) calibrated =
      calibrate(onnx, schema, table, cases[_i].method, n_classes == 2 ? "f1" : NULL, &result);
  g_autofree float *raw = predict(onnx, schema, table), *raw_fresh = predict(onnx, schema, fresh),
                   *mapped = predict(calibrated, schema, fresh);
  PipelineCalibrationRows rows = read_rows(raw, schema, table), others = read_rows(raw_fresh, schema, fresh);
  PipelineCalibrationFit fit = {.map = pipeline_calibration_map_find(cases[_i].method, NULL)};
  g_autofree double *p = g_new(double, others.n *n_classes);
  ck_assert(fit.map->fit(&fit, &rows, &error));
  fit.map->apply(&fit, &others, p);
  for (gsize i = 0; i < others.n * n_classes; i++) ck_assert_double_eq_tol((double)mapped[i], p[i], 2e-5);
  ck_assert_str_eq(result.method, cases[_i].method);
  ck_assert_uint_eq(result.n, N);
  if (strcmp(cases[_i].method, "none") != 0) ck_assert_double_lt(result.log_loss_after, result.log_loss_before);
  g_autofree gchar *method = NULL, *rule = NULL;
  g_autoptr(GBytes) stripped = pipeline_calibration_remove(calibrated, &method, &rule, &error);
  ck_assert_str_eq(method, cases[_i].method);
  ck_assert_str_eq(rule, n_classes == 2 ? "f1" : "none");
  ck_assert(g_bytes_equal(stripped, onnx));
  pipeline_calibration_fit_clear(&fit);
  pipeline_calibration_clear(&result);
  g_free(rows.p), g_free(rows.labels), g_free(others.p), g_free(others.labels);
}
END_TEST

/* A temperature that undoes the factor of three; outputs keep their names and places. */
START_TEST(the_temperature_is_found_and_outputs_keep_their_places)
{
  g_autoptr(DriftSchema) schema = make_schema(digits);
  g_autoptr(DriftTable) table = make_rows(schema, 8000, 5);
  g_autoptr(GBytes) onnx = make_model(3, LABELLED);
  g_autoptr(GError) error = NULL;
  PipelineCalibration result = {0};
  g_autoptr(GBytes) calibrated = calibrate(onnx, schema, table, "temperature", NULL, &result);
  ck_assert_double_gt(result.ece_before, 0.1);
  ck_assert_double_lt(result.ece_after, 0.03);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(calibrated, &error);
  ck_assert_uint_eq(graph->outputs->len, 2);
  ck_assert_str_eq(((OnnxValue *)g_ptr_array_index(graph->outputs, 0))->name, "probability");
  ck_assert_str_eq(((OnnxValue *)g_ptr_array_index(graph->outputs, 1))->name, "output_label");
  gboolean found = FALSE;
  for (guint i = 0; i < graph->nodes->len; i++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, i);
    if (strcmp(node->op_type, "Mul") != 0) continue;
    const OnnxTensor *slope = onnx_graph_find_initialiser(graph, onnx_node_get_input(node, 1));
    ck_assert_double_eq_tol((double)*(const float *)g_bytes_get_data(slope->bytes, NULL), 1 / 3., 0.02);
    found = TRUE;
  }
  ck_assert(found);
  pipeline_calibration_clear(&result);
}
END_TEST

START_TEST(auto_takes_what_is_best_on_rows_held_out)
{
  g_autoptr(DriftSchema) schema = make_schema(digits);
  g_autoptr(DriftTable) table = make_rows(schema, 300, 6);
  g_autoptr(GBytes) onnx = make_model(3, SOFTMAX);
  PipelineCalibration result = {0};
  g_autoptr(GBytes) calibrated = calibrate(onnx, schema, table, "auto", NULL, &result);
  ck_assert_ptr_nonnull(calibrated);
  ck_assert_str_eq(result.method, "temperature"); /* few rows: isotonic fits their noise */
  pipeline_calibration_clear(&result);
}
END_TEST

/* --- decisions ---------------------------------------------------------------------------------------------------- */

START_TEST(rules_are_read_and_wrong_ones_refused)
{
  static const gchar *const bad[] = {
      "",    "0",     "1",   "f0", "f-1", "fx", "cost:FP=1", "cost:FN=1,FN=2", "cost:FP=0,FN=1", "cost:FP=1;FN=2",
      "nan", "1e999", "auto"};
  PipelineDecisionRule rule;
  ck_assert(pipeline_decision_parse("0.25", &rule, NULL) && rule.threshold == 0.25);
  ck_assert(pipeline_decision_parse("f0.5", &rule, NULL) && rule.beta == 0.5 && isnan(rule.threshold));
  ck_assert(pipeline_decision_parse("cost:FN=5,FP=2", &rule, NULL) && rule.cost_positive == 2 &&
            rule.cost_negative == 5);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(!pipeline_decision_parse(bad[i], &rule, &error), "%s", bad[i]);
    ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  }
}
END_TEST

/* Of all 1001 thresholds k / 1000 none is better. */
START_TEST(the_threshold_is_the_best_one)
{
  static const gchar *const rules[] = {"f1", "f2", "f0.5", "cost:FP=1,FN=5", "cost:FP=7,FN=1"};
  PipelineRandom random;
  pipeline_random_seed(&random, 11);
  for (guint round = 0; round < 40; round++) {
    double p[60];
    guint8 labels[60];
    PipelineDecisionRule rule;
    ck_assert(pipeline_decision_parse(rules[round % G_N_ELEMENTS(rules)], &rule, NULL));
    for (guint i = 0; i < 60; i++) {
      p[i] = (double)pipeline_random_below(&random, 41) / 40;
      labels[i] = i < 2 ? i : pipeline_random_uniform(&random) < p[i];
    }
    float chosen = pipeline_decision_choose(&rule, p, labels, 60);
    double best = -INFINITY, reached = NAN;
    for (gint k = 0; k <= 1001; k++) {
      float t = k == 1001 ? chosen : (float)(k + 0.5) / 1001;
      double hit = 0, false_alarm = 0, missed = 0, b = rule.beta * rule.beta;
      for (guint i = 0; i < 60; i++) {
        gboolean positive = (float)p[i] >= t;
        hit += positive && labels[i], false_alarm += positive && !labels[i], missed += !positive && labels[i];
      }
      double merit = isnan(rule.beta) ? -(rule.cost_positive * false_alarm + rule.cost_negative * missed)
                                      : (1 + b) * hit / ((1 + b) * hit + b * missed + false_alarm);
      if (k == 1001)
        reached = merit;
      else
        best = fmax(best, merit);
    }
    ck_assert_double_ge(reached, best - 1e-12);
    ck_assert(chosen > 0 && chosen < 1);
  }
}
END_TEST

START_TEST(decisions_follow_the_threshold_of_the_graph)
{
  g_autoptr(DriftSchema) schema = make_schema(yes_no);
  g_autoptr(DriftTable) table = make_rows(schema, N, 7);
  g_autoptr(GBytes) onnx = make_model(2, SOFTMAX);
  g_autoptr(GError) error = NULL;
  PipelineCalibration result = {0};
  g_autoptr(GBytes) decided = calibrate(onnx, schema, table, NULL, "0.2", &result);
  g_autoptr(PipelineModel) model = pipeline_model_load(decided, schema, NULL, &error);
  ck_assert_uint_eq(pipeline_model_decide(model, (const float[]){0.7f, 0.3f}), 1);
  ck_assert_uint_eq(pipeline_model_decide(model, (const float[]){0.8f, 0.2f}), 1);
  ck_assert_uint_eq(pipeline_model_decide(model, (const float[]){0.81f, 0.19f}), 0);
  ck_assert_double_eq_tol(result.threshold, 0.2, 1e-7);
  pipeline_calibration_clear(&result);
}
END_TEST

/* --- refusals ----------------------------------------------------------------------------------------------------- */

START_TEST(what_cannot_be_calibrated_is_refused)
{
  g_autoptr(DriftSchema) two = make_schema(yes_no), three = make_schema(digits);
  g_autoptr(DriftSchema) number = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  const struct {
    const DriftSchema *schema;
    PipelineCalibrationOptions options;
    const gchar *says;
  } wrong[] = {{two, {"softmax", NULL}, "known: auto, none, temperature, platt, isotonic"},
               {three, {"platt", NULL}, "two classes"},
               {three, {NULL, "f1"}, "two classes"},
               {number, {"temperature", NULL}, "the label is a number"},
               {number, {NULL, "0.5"}, "two classes"},
               {two, {NULL, "best"}, "write a number"}};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert(!pipeline_calibration_check(&wrong[i].options, wrong[i].schema, &error));
    ck_assert_msg(strstr(error->message, wrong[i].says) != NULL, "%s", error->message);
  }
  g_autoptr(DriftTable) table = make_rows(two, N, 8);
  DriftColumn *y = drift_table_get_column(table, "y");
  for (guint i = 0; i < N; i++) g_array_index(y->codes, guint32, i) = 0;
  g_autoptr(GBytes) onnx = make_model(2, SOFTMAX);
  g_autoptr(GError) error = NULL;
  PipelineCalibration result = {.n = 77};
  const PipelineCalibrationOptions options = {"platt", NULL};
  ck_assert(pipeline_calibrate(onnx, two, table, &options, &result, &error) == NULL);
  ck_assert_msg(strstr(error->message, "all of one") != NULL, "%s", error->message);
  ck_assert_uint_eq(result.n, 77);
}
END_TEST

/* --- around training ---------------------------------------------------------------------------------------------- */

START_TEST(a_calibrated_model_is_trained_further_and_calibrated_again)
{
  g_autoptr(DriftSchema) schema = make_schema(yes_no);
  g_autoptr(DriftTable) table = make_rows(schema, 600, 9), few = make_rows(schema, 100, 10);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult first = {0}, second = {0}, third = {0}, fourth = {0};
  pipeline_train_options_init(&options);
  options.epochs = 3;
  options.architecture = "mlp:8";
  options.validation_fraction = .2;
  options.calibration = (PipelineCalibrationOptions){"temperature", "f2"};
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &first, &error), "%s", error ? error->message : "");
  ck_assert_uint_eq(first.calibration.n, 120);
  ck_assert_double_eq(first.validation_metric, first.calibration.accuracy_after);
  options.from = first.onnx;
  options.calibration = (PipelineCalibrationOptions){0};
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &second, &error), "%s",
                error ? error->message : "");
  ck_assert_str_eq(second.calibration.method, "temperature");
  ck_assert_str_eq(second.calibration.rule, "f2");
  ck_assert_msg(pipeline_train(few, schema, &options, NULL, NULL, &third, &error), "%s", error ? error->message : "");
  ck_assert_uint_eq(third.calibration.n, 0);
  ck_assert_msg(third.warning && strstr(third.warning, "given up"), "%s", third.warning ? third.warning : "no warning");
  options.calibration = (PipelineCalibrationOptions){"none", "none"};
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &fourth, &error), "%s",
                error ? error->message : "");
  g_autofree gchar *method = NULL;
  g_autoptr(GBytes) same = pipeline_calibration_remove(fourth.onnx, &method, NULL, &error);
  ck_assert(same != NULL && method == NULL && fourth.warning == NULL);
  options.calibration.method = "platt";
  options.from = NULL;
  ck_assert(!pipeline_train(few, schema, &options, NULL, NULL, &fourth, &error));
  ck_assert_msg(strstr(error->message, "validation rows") != NULL, "%s", error->message);
  PipelineTrainResult *all[] = {&first, &second, &third, &fourth};
  for (guint i = 0; i < G_N_ELEMENTS(all); i++) pipeline_train_result_clear(all[i]);
}
END_TEST

START_TEST(a_refit_keeps_the_rule_and_graphs_train_alike)
{
  g_autoptr(DriftSchema) schema = make_schema(yes_no);
  g_autoptr(DriftTable) table = make_rows(schema, 600, 12);
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(table, schema, &error);
  PipelineGraphTrainOptions options;
  PipelineTrainResult trained = {0}, refitted = {0}, again = {0};
  pipeline_graph_train_options_init(&options);
  options.architecture = "mlp:8";
  options.dropout = 0;
  options.fit.epochs = 2;
  options.calibration = (PipelineCalibrationOptions){"isotonic", "cost:FP=1,FN=3"};
  ck_assert_msg(pipeline_graph_train(rows, &options, NULL, NULL, &trained, &error), "%s", error ? error->message : "");
  ck_assert_str_eq(trained.calibration.method, "isotonic");
  options.from = trained.onnx;
  options.calibration = (PipelineCalibrationOptions){0};
  ck_assert_msg(pipeline_graph_train(rows, &options, NULL, NULL, &again, &error), "%s", error ? error->message : "");
  ck_assert_str_eq(again.calibration.rule, "cost:FP=1,FN=3");
  ck_assert_msg(pipeline_refit_last_layer(trained.onnx, table, schema, 1, NULL, &refitted, &error), "%s",
                error ? error->message : "");
  ck_assert_str_eq(refitted.calibration.method, "none");
  ck_assert_str_eq(refitted.calibration.rule, "cost:FP=1,FN=3");
  ck_assert(refitted.warning == NULL);
  pipeline_train_result_clear(&trained);
  pipeline_train_result_clear(&again);
  pipeline_train_result_clear(&refitted);
}
END_TEST

/* --- the error ---------------------------------------------------------------------------------------------------- */

START_TEST(calibration_errors_by_hand)
{
  const double confidences[] = {0, 0.5, 0.5, 0.9, 1};
  const guint8 outcomes[] = {1, 0, 1, 1, 1};
  PipelineReliabilityBin bins[2];
  /* (0, .5]: 0, .5, .5 → mean 1/3, share 2/3; (.5, 1]: mean .95, share 1 */
  ck_assert_double_eq_tol(pipeline_metric_ece(confidences, outcomes, 5, 2, FALSE, bins), (1 + 0.1) / 5, 1e-12);
  ck_assert_uint_eq(bins[0].n, 3);
  ck_assert_double_eq_tol(bins[0].confidence, 1. / 3, 1e-12);
  ck_assert_double_eq_tol(bins[1].share, 1, 1e-12);
  /* equal mass: rows 0, 1, 2 | 3, 4 (row 2 of 5 begins the second half but ties with row 1) */
  ck_assert_double_eq_tol(pipeline_metric_ece(confidences, outcomes, 5, 2, TRUE, bins), (1 + 0.1) / 5, 1e-12);
  ck_assert_double_eq_tol(bins[1].low, 0.9, 1e-12);
  ck_assert(isnan(pipeline_metric_ece(confidences, outcomes, 0, 2, TRUE, NULL)));
  ck_assert(isnan(pipeline_metric_ece((const double[]){NAN}, outcomes, 1, 2, FALSE, NULL)));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("calibration");
  TCase *tests = tcase_create("calibration");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, the_graph_does_what_the_map_says, 0, G_N_ELEMENTS(cases));
  tcase_add_test(tests, the_temperature_is_found_and_outputs_keep_their_places);
  tcase_add_test(tests, auto_takes_what_is_best_on_rows_held_out);
  tcase_add_test(tests, rules_are_read_and_wrong_ones_refused);
  tcase_add_test(tests, the_threshold_is_the_best_one);
  tcase_add_test(tests, decisions_follow_the_threshold_of_the_graph);
  tcase_add_test(tests, what_cannot_be_calibrated_is_refused);
  tcase_add_test(tests, a_calibrated_model_is_trained_further_and_calibrated_again);
  tcase_add_test(tests, a_refit_keeps_the_rule_and_graphs_train_alike);
  tcase_add_test(tests, calibration_errors_by_hand);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
