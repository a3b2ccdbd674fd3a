/* Architectures with activations, normalisation and shortcuts: their text, the layers they are, and the way from a
 * table with texts and missing numbers to one ONNX graph. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "onnx/graph.h"
#include "pipeline/evaluate.h"
#include "pipeline/graph_architecture.h"
#include "pipeline/model.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

static const gchar *const dense[] = {"mlp:16,16+relu",
                                     "mlp:16,16+leaky-relu",
                                     "mlp:16,16+elu",
                                     "mlp:16,16+gelu",
                                     "mlp:16,16+tanh+residual",
                                     "mlp:16,16+silu+batch-norm",
                                     "mlp:16,8+layer-norm+residual",
                                     "mlp:+silu"};

/* --- data --------------------------------------------------------------------------------------------------------- */

static DriftColumn *take_column(DriftTable *table, const gchar *name, DriftFeatureKind kind)
{
  DriftColumn *column = drift_table_get_column(table, name);
  return column != NULL ? column : drift_table_add_column(table, name, kind);
}

/* A number in large units, now and then missing; a constant; a colour. */
static DriftTable *make_table(guint n, gboolean regression)
{
  static const gchar *const colours[] = {"red", "green", "blue"};
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < n; i++) {
    double income = 50000 + 20000 * (2 * pipeline_random_uniform(&random) - 1);
    guint colour = (guint)pipeline_random_below(&random, G_N_ELEMENTS(colours));
    double score = (income - 50000) / 20000 + (colour == 0 ? .8 : -.4);
    drift_column_append_number(take_column(table, "income", DRIFT_NUMERIC),
                               pipeline_random_below(&random, 20) == 0 ? NAN : income);
    drift_column_append_number(take_column(table, "constant", DRIFT_NUMERIC), 7);
    drift_column_append_text(take_column(table, "colour", DRIFT_CATEGORICAL), colours[colour], -1);
    if (regression)
      drift_column_append_number(take_column(table, "y", DRIFT_NUMERIC), 1e6 + 3e5 * score);
    else
      drift_column_append_text(take_column(table, "y", DRIFT_CATEGORICAL), score > 0 ? "high" : "low", -1);
    table->n_rows++;
  }
  return table;
}

/* 1 × 8 × 8: a bright row or a bright column. */
static DriftTable *make_images(guint n)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 6);
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < n; i++) {
    guint place = (guint)pipeline_random_below(&random, 8);
    gboolean upright = pipeline_random_below(&random, 2) == 0;
    for (guint k = 0; k < 64; k++) {
      g_autofree gchar *name = g_strdup_printf("x[%u]", k);
      double light = (upright ? k % 8 : k / 8) == place;
      drift_column_append_number(take_column(table, name, DRIFT_NUMERIC),
                                 light + .2 * pipeline_random_uniform(&random));
    }
    drift_column_append_text(take_column(table, "y", DRIFT_CATEGORICAL), upright ? "column" : "row", -1);
    table->n_rows++;
  }
  return table;
}

static DriftSchema *infer(const DriftTable *table)
{
  GError *error = NULL;
  DriftSchema *schema = pipeline_model_spec_infer(table, "y", NULL, NULL, &error);
  ck_assert_msg(schema != NULL, "%s", error != NULL ? error->message : "");
  return schema;
}

static PipelineEvaluation evaluate(GBytes *onnx, const DriftTable *table, const DriftSchema *schema)
{
  GError *error = NULL;
  PipelineEvaluation evaluation = {0};
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, &error);
  ck_assert_msg(model != NULL && pipeline_evaluate(model, table, &evaluation, &error), "%s",
                error != NULL ? error->message : "");
  return evaluation;
}

static void fill(PipelineTrainOptions *options, const gchar *architecture)
{
  pipeline_train_options_init(options);
  options->architecture = architecture;
  options->epochs = 12;
  options->batch_size = 32;
}

static guint count_nodes(GBytes *onnx, const gchar *op_type)
{
  guint n = 0;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  ck_assert_ptr_nonnull(graph);
  for (guint i = 0; i < graph->nodes->len; i++)
    n += g_str_equal(((OnnxNode *)g_ptr_array_index(graph->nodes, i))->op_type, op_type);
  return n;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

START_TEST(architectures_are_read)
{
  PipelineGraphArchitecture a;
  ck_assert(pipeline_graph_architecture_parse("cnn:8,16+silu+kernel=5+blocks=2+average-pool+residual+dense=0+no-norm",
                                              &a, NULL));
  ck_assert(a.image && a.n_widths == 2 && a.widths[1] == 16 && a.kernel == 5 && a.blocks == 2 && a.average_pool &&
            a.residual && a.dense == 0 && a.norm == PIPELINE_GRAPH_NORM_NONE && a.activation->gates);
  ck_assert(pipeline_graph_architecture_parse("cnn", &a, NULL) && a.n_widths == 2 && a.widths[0] == 32 &&
            a.norm == PIPELINE_GRAPH_NORM_BATCH && a.dense == 128);
  ck_assert(pipeline_graph_architecture_parse("mlp:", &a, NULL) && a.n_widths == 0 && !a.image);
  ck_assert(pipeline_graph_architecture_needs_graph("mlp:4+relu") &&
            !pipeline_graph_architecture_needs_graph("mlp:4") && pipeline_graph_architecture_needs_graph("cnn+gelu"));
}
END_TEST

START_TEST(what_is_no_architecture_is_refused)
{
  static const gchar *const texts[] = {"mlp",          "mlp:x",          "mlp:4+what",     "mlp:4+kernel=3",
                                       "cnn:4+kernel", "cnn:4+kernel=2", "cnn:4+kernel=9", "cnn:4+residual=1",
                                       "cnn:4+",       "cnn:0",          "rnn:4",          "cnn:4+blocks=5"};
  PipelineGraphArchitecture a;
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert_msg(!pipeline_graph_architecture_parse(texts[i], &a, &error), "%s", texts[i]);
    ck_assert(error->code == PIPELINE_ERROR_INVALID && strstr(error->message, texts[i]) != NULL);
  }
}
END_TEST

/* --- tables ------------------------------------------------------------------------------------------------------- */

START_TEST(every_kind_of_layer_learns_a_table)
{
  g_autoptr(DriftTable) table = make_table(900, FALSE);
  g_autoptr(DriftSchema) schema = infer(table);
  GError *error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, dense[_i]);
  options.dropout = _i == 5 ? .1 : 0;
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &result, &error), "%s: %s", dense[_i],
                error != NULL ? error->message : "");
  ck_assert_uint_eq(result.n_validation, 90);
  PipelineEvaluation evaluation = evaluate(result.onnx, table, schema);
  ck_assert_msg(evaluation.accuracy > .9, "%s: %g", dense[_i], evaluation.accuracy);
  pipeline_evaluation_clear(&evaluation);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(layers_are_what_the_text_says)
{
  g_autoptr(DriftTable) table = make_table(300, FALSE);
  g_autoptr(DriftSchema) schema = infer(table);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, "mlp:8,8,4+gelu+layer-norm+residual");
  options.epochs = 1;
  ck_assert(pipeline_train(table, schema, &options, NULL, NULL, &result, NULL));
  ck_assert_uint_eq(count_nodes(result.onnx, "Gelu"), 3);
  ck_assert_uint_eq(count_nodes(result.onnx, "LayerNormalization"), 3);
  ck_assert_uint_eq(count_nodes(result.onnx, "Add"), 2);  /* of the second and third layer */
  ck_assert_uint_eq(count_nodes(result.onnx, "Gemm"), 5); /* three layers, a shortcut from 8 to 4, the head */
  ck_assert_uint_eq(count_nodes(result.onnx, "OneHotEncoder"), 1);
  pipeline_train_result_clear(&result);
}
END_TEST

/* What never varied says nothing later either, as with chains of dense layers. */
START_TEST(a_constant_column_cannot_shake_the_model)
{
  g_autoptr(DriftTable) table = make_table(300, FALSE);
  g_autoptr(DriftSchema) schema = infer(table);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, "mlp:8+silu");
  ck_assert(pipeline_train(table, schema, &options, NULL, NULL, &result, NULL));
  PipelineEvaluation before = evaluate(result.onnx, table, schema);
  GArray *constant = drift_table_get_column(table, "constant")->numbers;
  for (guint i = 0; i < constant->len; i++) g_array_index(constant, double, i) = 1000.0 * i;
  PipelineEvaluation after = evaluate(result.onnx, table, schema);
  ck_assert_double_eq(before.log_loss, after.log_loss);
  pipeline_evaluation_clear(&before);
  pipeline_evaluation_clear(&after);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(a_regression_with_a_plan)
{
  g_autoptr(DriftTable) table = make_table(900, TRUE);
  g_autoptr(DriftSchema) schema = infer(table);
  GError *error = NULL;
  g_autoptr(PipelinePlan) plan = pipeline_plan_parse("income=quantile", &error);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, "mlp:16,16+tanh");
  options.plan = plan;
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &result, &error), "%s",
                error != NULL ? error->message : "");
  ck_assert(result.plan != NULL && strstr(result.plan, "quantile") != NULL);
  PipelineEvaluation evaluation = evaluate(result.onnx, table, schema);
  ck_assert_msg(evaluation.rmse < 8e4, "%g", evaluation.rmse); /* the label's standard deviation is 245,000 */
  pipeline_evaluation_clear(&evaluation);
  pipeline_train_result_clear(&result);
}
END_TEST

static gboolean until_third(const PipelineTrainProgress *progress, gpointer user_data)
{
  (void)user_data;
  return progress->epoch < 3;
}

START_TEST(a_stopped_training_goes_on_to_the_same_bytes)
{
  g_autoptr(DriftTable) table = make_table(400, FALSE);
  g_autoptr(DriftSchema) schema = infer(table);
  GError *error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult whole = {0}, resumed = {0};
  fill(&options, "mlp:8,8+silu+batch-norm+residual");
  options.dropout = .2;
  ck_assert(pipeline_train(table, schema, &options, NULL, NULL, &whole, NULL));
  g_autofree gchar *path = g_strdup_printf("%s/trainer_graph_%d", g_get_tmp_dir(), (int)getpid());
  options.checkpoint = path;
  ck_assert(!pipeline_train(table, schema, &options, until_third, NULL, &resumed, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
  g_clear_error(&error);
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &resumed, &error), "%s",
                error != NULL ? error->message : "");
  ck_assert(g_bytes_equal(whole.onnx, resumed.onnx));
  g_unlink(path);
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&resumed);
}
END_TEST

START_TEST(what_the_way_cannot_do_is_said)
{
  g_autoptr(DriftTable) table = make_table(100, FALSE);
  g_autoptr(DriftSchema) schema = infer(table);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, "mlp:8+silu");
  options.adversarial_epsilon = .1;
  ck_assert(!pipeline_train(table, schema, &options, NULL, NULL, &result, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  ck_assert_ptr_nonnull(strstr(error->message, "mlp:8+silu"));
}
END_TEST

/* --- images ------------------------------------------------------------------------------------------------------- */

static const gchar *const images[] = {
    "cnn:4,8+dense=16", "cnn:4,8+silu+residual+blocks=2+dense=16", "cnn:4,8+gelu+residual+kernel=5+dense=0",
    "cnn:4+tanh+layer-norm+average-pool+dense=16", "cnn:4,8+elu+no-norm+residual+dense=8"};

START_TEST(every_kind_of_stage_learns_images)
{
  g_autoptr(DriftTable) table = make_images(600);
  g_autoptr(DriftSchema) schema = infer(table);
  GError *error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  fill(&options, images[_i]);
  options.channels = 1, options.height = options.width = 8;
  options.weight_decay = .01;
  ck_assert_msg(pipeline_train(table, schema, &options, NULL, NULL, &result, &error), "%s: %s", images[_i],
                error != NULL ? error->message : "");
  PipelineEvaluation evaluation = evaluate(result.onnx, table, schema);
  ck_assert_msg(evaluation.accuracy > .95, "%s: %g", images[_i], evaluation.accuracy);
  pipeline_evaluation_clear(&evaluation);
  pipeline_train_result_clear(&result);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("trainer_graph");
  TCase *tcase = tcase_create("trainer_graph");
  tcase_set_timeout(tcase, 120);
  tcase_add_test(tcase, architectures_are_read);
  tcase_add_test(tcase, what_is_no_architecture_is_refused);
  tcase_add_loop_test(tcase, every_kind_of_layer_learns_a_table, 0, G_N_ELEMENTS(dense));
  tcase_add_test(tcase, layers_are_what_the_text_says);
  tcase_add_test(tcase, a_constant_column_cannot_shake_the_model);
  tcase_add_test(tcase, a_regression_with_a_plan);
  tcase_add_test(tcase, a_stopped_training_goes_on_to_the_same_bytes);
  tcase_add_test(tcase, what_the_way_cannot_do_is_said);
  tcase_add_loop_test(tcase, every_kind_of_stage_learns_images, 0, G_N_ELEMENTS(images));
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
