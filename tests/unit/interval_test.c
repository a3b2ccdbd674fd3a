/* Prediction intervals: order of the quantiles, the margin, coverage; and arrays through graphs of any rank. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "onnx/graph.h"
#include "pipeline/evaluate_detail.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/interval.h"
#include "pipeline/model_arrays.h"
#include "pipeline/npz_write.h"
#include "pipeline/trainer_random.h"

/* y = a + noise whose width is |b|. */
static DriftTable *make_rows(guint n, guint64 seed)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_NUMERIC),
              *y = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  for (guint i = 0; i < n; i++) {
    double x = 2 * pipeline_random_uniform(&random) - 1, width = pipeline_random_uniform(&random);
    drift_column_append_number(a, x);
    drift_column_append_number(b, width);
    drift_column_append_number(y, 100 + 20 * x + 10 * width * (2 * pipeline_random_uniform(&random) - 1));
    table->n_rows++;
  }
  return table;
}

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  return schema;
}

/* Quantiles ‑ a − .5, a, a + .5 in the label's units: logits by hand, softplus(ln(e^.5 − 1)) = .5. */
static GBytes *known_model(double level)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("known");
  g_autoptr(GError) error = NULL;
  const float targets[] = {-1, 1}, step = (float)log(exp(0.5) - 1);
  const float weight[6] = {0, 1, 0, 0, 0, 0}, bias[3] = {step, 0, step};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "features", ONNX_TYPE_FLOAT, "N,2");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w", ONNX_TYPE_FLOAT, 2, (gint64[]){2, 3}, weight));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("c", ONNX_TYPE_FLOAT, 1, (gint64[]){3}, bias));
  onnx_graph_add_node(graph, "", "Gemm", "features,w,c", "kedge.logits");
  pipeline_interval_add_head(graph, targets, (const guint64[]){0, 1}, 2, level); /* mean 0, deviation 1 */
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  return bytes;
}

static DriftTable *line(const double *errors, guint n)
{
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(table, "b", DRIFT_NUMERIC),
              *y = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(a, i);
    drift_column_append_number(b, 0);
    drift_column_append_number(y, i + errors[i]);
    table->n_rows++;
  }
  return table;
}

START_TEST(the_margin_is_the_right_order_statistic)
{
  /* beyond ±.5 by: .1 .3 −.4 .2 −.5 .5 .4 .6 .7; sorted: −.5 −.4 .1 .2 .3 .4 .5 .6 .7 */
  const double errors[] = {.6, -.8, .1, .7, 0, -1, .9, 1.1, -1.2};
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = line(errors, 9);
  const struct {
    double level, margin;
  } cases[] = {{.5, .3}, {.9, .7}, {.2, -.4}, {.8, .6}}; /* the 5th, 9th, 2nd, 8th of 9 */
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GBytes) onnx = known_model(cases[i].level);
    g_autoptr(GError) error = NULL;
    PipelineInterval interval;
    g_autoptr(GBytes) done = pipeline_interval_conformalise(onnx, schema, table, &interval, &error);
    ck_assert_msg(done != NULL, "%s", error ? error->message : "");
    ck_assert_double_eq_tol(interval.margin, cases[i].margin, 1e-5);
    ck_assert_double_eq_tol(interval.coverage_before, 2. / 9, 1e-12);
    g_autoptr(GBytes) again = pipeline_interval_conformalise(done, schema, table, &interval, &error);
    ck_assert(g_bytes_equal(done, again)); /* from margin 0, not from the one that it has */
    g_autoptr(PipelineModel) model = pipeline_model_load(done, schema, NULL, &error);
    ck_assert_double_eq(pipeline_model_get_interval(model), cases[i].level);
    g_autoptr(GPtrArray) outputs = pipeline_model_run_table(model, table, &error);
    double half = fmax(0.5 + cases[i].margin, 0); /* a negative margin stops at the median */
    for (guint row = 0; row < 9; row++) {
      const float *lower = (const float *)pipeline_model_array_find(outputs, "lower")->elements->data;
      const float *upper = (const float *)pipeline_model_array_find(outputs, "upper")->elements->data;
      ck_assert_double_eq_tol((double)lower[row], row - half, 1e-5);
      ck_assert_double_eq_tol((double)upper[row], row + half, 1e-5);
    }
  }
  g_autoptr(GBytes) onnx = known_model(.95);
  g_autoptr(GError) error = NULL;
  PipelineInterval interval;
  ck_assert(pipeline_interval_conformalise(onnx, schema, table, &interval, &error) == NULL);
  ck_assert_msg(strstr(error->message, "at least 19 validation rows") != NULL, "%s", error->message);
}
END_TEST

START_TEST(intervals_are_learnt_ordered_and_cover)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_rows(1500, 1), fresh = make_rows(2000, 2);
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(table, schema, &error);
  PipelineGraphTrainOptions options;
  PipelineTrainResult result = {0}, again = {0};
  PipelineEvaluationDetail detail = {0};
  pipeline_graph_train_options_init(&options);
  options.architecture = "mlp:16";
  options.dropout = 0;
  options.fit.epochs = 15;
  options.validation_fraction = 0.3;
  options.interval = 0.8;
  ck_assert_msg(pipeline_graph_train(rows, &options, NULL, NULL, &result, &error), "%s", error ? error->message : "");
  ck_assert_uint_eq(result.interval.n, 450);
  g_autoptr(PipelineModel) model = pipeline_model_load(result.onnx, schema, NULL, &error);
  ck_assert_msg(pipeline_evaluate_detail(model, fresh, &detail, &error), "%s", error ? error->message : "");
  ck_assert_double_eq_tol(detail.interval_coverage, 0.8, 0.06); /* three standard deviations of 450 and 2000 rows */
  ck_assert_double_lt(detail.interval_width, 16);               /* the widest needs 16 of the 20 */
  g_autoptr(GPtrArray) outputs = pipeline_model_run_table(model, fresh, &error);
  const float *lower = (const float *)pipeline_model_array_find(outputs, "lower")->elements->data;
  const float *value = (const float *)pipeline_model_array_find(outputs, "value")->elements->data;
  const float *upper = (const float *)pipeline_model_array_find(outputs, "upper")->elements->data;
  for (guint i = 0; i < 2000; i++) ck_assert(lower[i] <= value[i] && value[i] <= upper[i]);
  options.from = result.onnx;
  options.interval = 0;
  ck_assert_msg(pipeline_graph_train(rows, &options, NULL, NULL, &again, &error), "%s", error ? error->message : "");
  ck_assert_double_eq(again.interval.level, 0.8);
  options.loss = "squared";
  ck_assert(!pipeline_graph_train(rows, &options, NULL, NULL, &again, &error));
  ck_assert_msg(strstr(error->message, "quantile loss") != NULL, "%s", error->message);
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&again);
  pipeline_evaluation_detail_clear(&detail);
}
END_TEST

/* A file that claims an interval without its outputs, or with other quantiles, is refused. */
START_TEST(a_false_interval_is_refused)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_rows(200, 3);
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineGraphRows) rows = pipeline_graph_rows_from_table(table, schema, &error);
  g_autoptr(GBytes) known = known_model(.5);
  for (guint i = 0; i < 2; i++) {
    g_autoptr(GError) fault = NULL;
    g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(known, &error);
    if (i == 0)
      ck_assert(onnx_graph_rename_value(graph, "lower", "least", &error));
    else {
      ck_assert(onnx_graph_rename_value(graph, PIPELINE_INTERVAL_QUANTILES, "others", &error));
      onnx_graph_add_node(graph, "", "Concat", "others,others", PIPELINE_INTERVAL_QUANTILES);
      onnx_node_set_int(g_ptr_array_index(graph->nodes, graph->nodes->len - 1), "axis", 1);
      onnx_graph_add_output(graph, PIPELINE_INTERVAL_QUANTILES, ONNX_TYPE_FLOAT, "N,6");
    }
    g_autoptr(GBytes) onnx = onnx_graph_to_bytes(graph, &error);
    PipelineGraphTrainOptions options;
    PipelineTrainResult result = {0};
    pipeline_graph_train_options_init(&options);
    options.from = onnx;
    options.fit.epochs = 1;
    options.validation_fraction = .5;
    ck_assert(!pipeline_graph_train(rows, &options, NULL, NULL, &result, &fault));
    ck_assert_msg(strstr(fault->message, i == 0 ? "not every output" : "6 numbers a row") != NULL, "%s",
                  fault->message);
  }
}
END_TEST

/* --- arrays ------------------------------------------------------------------------------------------------------- */

/* sum = over the image [N, 2, 2, 2] of x, plus k [N] as int64; "twice" [N, 2, 2, 2]. */
static GBytes *image_model(void)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("image");
  g_autoptr(GError) error = NULL;
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "image", ONNX_TYPE_FLOAT, "N,2,2,2");
  onnx_graph_add_input(graph, "k", ONNX_TYPE_INT64, "N");
  onnx_graph_add_node(graph, "", "Add", "image,image", "twice");
  onnx_graph_add_node(graph, "", "Add", "k,k", "k2");
  onnx_graph_add_output(graph, "twice", ONNX_TYPE_FLOAT, "N,2,2,2");
  onnx_graph_add_output(graph, "k2", ONNX_TYPE_INT64, "N");
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  return bytes;
}

START_TEST(arrays_go_through_a_graph_by_name)
{
  enum { ROWS = 600 };
  g_autoptr(GBytes) onnx = image_model();
  g_autoptr(GError) error = NULL;
  g_autofree double *pixels = g_new(double, ROWS * 8), *ks = g_new(double, ROWS);
  for (guint i = 0; i < ROWS * 8; i++) pixels[i] = i;
  for (guint i = 0; i < ROWS; i++) ks[i] = i;
  PipelineArray images = {
      .n_dimensions = 2, .n_rows = ROWS, .n_columns = 8, .n_row_dims = 3, .row_dims = {2, 2, 2}, .values = pixels};
  PipelineArray k = {.n_dimensions = 1, .n_rows = ROWS, .n_columns = 1, .values = ks};
  PipelineNamedArray inputs[] = {{"k", &k}, {"image", &images}};
  for (guint flat = 0; flat < 2; flat++) { /* also as rows of 8 */
    g_autoptr(GPtrArray) outputs = pipeline_graph_run_arrays(onnx, inputs, 2, &error);
    ck_assert_msg(outputs != NULL, "%s", error ? error->message : "");
    const PipelineModelArray *twice = pipeline_model_array_find(outputs, "twice"),
                             *k2 = pipeline_model_array_find(outputs, "k2");
    ck_assert_uint_eq(twice->n_dims, 4);
    ck_assert_uint_eq(twice->dims[0], ROWS);
    ck_assert_uint_eq(twice->elements->len, ROWS * 8);
    for (guint i = 0; i < ROWS * 8; i++) ck_assert(g_array_index(twice->elements, float, i) == 2 * (float)i);
    for (guint i = 0; i < ROWS; i++) ck_assert_int_eq(g_array_index(k2->elements, gint64, i), 2 * (gint64)i);
    images.n_row_dims = 0;
  }
  const struct {
    const gchar *name;
    guint64 columns, rows;
    double value;
    const gchar *says;
  } wrong[] = {{"other", 8, ROWS, 0, "no array for the model's input 'image' (float32[N,2,2,2]); there are: k, other"},
               {"image", 7, ROWS, 0, "the array 'image' is [600,7], the model's input 'image' is float32[N,2,2,2]"},
               {"image", 8, 599, 0, "the array 'k' has 600 rows, 'image' has 599"},
               {"image", 8, ROWS, .5, "the array 'k', row 1, element 0: 0.5 is no int64"}};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) fault = NULL;
    inputs[1].name = wrong[i].name;
    images.n_columns = wrong[i].columns;
    images.n_rows = wrong[i].rows;
    ks[0] = wrong[i].value;
    ck_assert(pipeline_graph_run_arrays(onnx, inputs, 2, &fault) == NULL);
    ck_assert_msg(strstr(fault->message, wrong[i].says) != NULL, "%s", fault->message);
  }
}
END_TEST

START_TEST(an_archive_is_a_table)
{
  g_autofree gchar *path = g_strdup_printf("%s/kedge-interval-%d.npz", g_get_tmp_dir(), (int)getpid());
  g_autoptr(PipelineNpzWriter) writer = pipeline_npz_writer_new();
  g_autoptr(GError) error = NULL;
  const float x[] = {1, 2, 3, 4, 5, 6, 7, 8};
  const gint64 y[] = {0, 1};
  pipeline_npz_writer_add_floats(writer, "images", 3, (const guint64[]){2, 2, 2}, x);
  pipeline_npz_writer_add_integers(writer, "y", 1, (const guint64[]){2}, y);
  ck_assert(pipeline_npz_writer_write(writer, path, &error));
  g_autoptr(DriftTable) table = pipeline_npz_read_table(path, &error);
  ck_assert_msg(table != NULL, "%s", error ? error->message : "");
  ck_assert_uint_eq(table->columns->len, 5);
  ck_assert(g_array_index(drift_table_get_column(table, "x[3]")->numbers, double, 1) == 8);
  ck_assert(g_array_index(drift_table_get_column(table, "y")->numbers, double, 1) == 1);
  pipeline_npz_writer_add_floats(writer, "z", 1, (const guint64[]){3}, x);
  ck_assert(pipeline_npz_writer_write(writer, path, &error));
  ck_assert(pipeline_npz_read_table(path, &error) == NULL);
  ck_assert_msg(strstr(error->message, "'z' has 3") != NULL, "%s", error->message);
  unlink(path);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("interval");
  TCase *tests = tcase_create("interval");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, the_margin_is_the_right_order_statistic);
  tcase_add_test(tests, intervals_are_learnt_ordered_and_cover);
  tcase_add_test(tests, a_false_interval_is_refused);
  tcase_add_test(tests, arrays_go_through_a_graph_by_name);
  tcase_add_test(tests, an_archive_is_a_table);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
