/* From a table to ONNX and back: building, recognising, training, fine-tuning, refitting. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "onnx/graph.h"
#include "pipeline/model.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"
#include "pipeline/network_features.h"
#include "pipeline/network_graph.h"
#include "pipeline/refit_ridge.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"
#include "pipeline/trainer_rows.h"

/* --- data --------------------------------------------------------------------------------------------------------- */

static void append_number(DriftTable *table, const gchar *name, double value)
{
  DriftColumn *column = drift_table_get_column(table, name);
  drift_column_append_number(column ? column : drift_table_add_column(table, name, DRIFT_NUMERIC), value);
}

static void append_text(DriftTable *table, const gchar *name, const gchar *value)
{
  DriftColumn *column = drift_table_get_column(table, name);
  if (!column) column = drift_table_add_column(table, name, DRIFT_CATEGORICAL);
  if (value)
    drift_column_append_text(column, value, -1);
  else
    drift_column_append_missing(column);
}

/* Gama et al. 2004, classification 0: positive below the sine; x3 and x4 say nothing. */
static DriftTable *sine_table(guint n, guint64 seed)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < n; i++) {
    double x[4];
    for (guint j = 0; j < 4; j++) x[j] = pipeline_random_uniform(&random);
    append_number(table, "x1", x[0]);
    append_number(table, "x2", x[1]);
    append_number(table, "x3", x[2]);
    append_number(table, "x4", x[3]);
    append_number(table, "y", x[1] - sin(x[0]) < 0);
    table->n_rows++;
  }
  return table;
}

/* A number in large units, a constant, a colour (unseen and missing ones), a missing number now and then. */
static DriftTable *mixed_table(guint n, guint64 seed, gboolean regression)
{
  static const gchar *const colours[] = {"red", "green", "blue", "white"};
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  DriftTable *table = drift_table_new();
  for (guint i = 0; i < n; i++) {
    double income = 50000 + 20000 * (2 * pipeline_random_uniform(&random) - 1);
    guint colour = (guint)pipeline_random_below(&random, 4);
    gboolean missing = pipeline_random_below(&random, 20) == 0;
    append_number(table, "income", missing ? NAN : income);
    append_number(table, "constant", 7);
    append_text(table, "colour", pipeline_random_below(&random, 25) == 0 ? NULL : colours[colour]);
    double score = (income - 50000) / 20000 + (colour == 0 ? 0.8 : colour == 2 ? -0.6 : 0);
    if (regression)
      append_number(table, "y", 1e6 + 3e5 * score);
    else
      append_text(table, "y", score > 0.5 ? "high" : score > -0.3 ? "middle" : "low");
    table->n_rows++;
  }
  return table;
}

static DriftSchema *infer(const DriftTable *table)
{
  g_autoptr(GError) error = NULL;
  DriftSchema *schema = pipeline_model_spec_infer(table, "y", NULL, NULL, &error);
  ck_assert_msg(schema != NULL, "%s", error ? error->message : "");
  return schema;
}

/* The model as everybody else runs it says what the network says: the weights are where they belong. */
static void check_prediction(GBytes *onnx, const DriftTable *table, const DriftSchema *schema,
                             const PipelineNetworkGraph *graph, const float *outputs)
{
  g_autoptr(GError) error = NULL;
  guint width = graph->network->loss.n_outputs;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  guint n_classes = pipeline_model_get_n_outputs(model);
  g_autofree float *predicted = g_new(float, table->n_rows *n_classes);
  ck_assert_msg(pipeline_model_predict_table(model, table, predicted, &error), "%s", error ? error->message : "");
  for (guint64 row = 0; row < table->n_rows; row++)
    for (guint k = 0; k < n_classes; k++) {
      const float *z = outputs + row * width;
      double expected = z[0], sum = 0;
      guint column = graph->column_of ? graph->column_of[k] : 0;
      for (guint c = 0; c < width && width > 1; c++) sum += exp(z[c] - z[column]);
      if (graph->network->loss.kind == PIPELINE_LOSS_SOFTMAX) expected = 1 / sum;
      if (graph->network->loss.kind == PIPELINE_LOSS_SIGMOID) expected = 1 / (1 + exp(column == 1 ? -z[0] : z[0]));
      ck_assert_double_eq_tol(predicted[row * n_classes + k], expected, 1e-5 * fmax(1, fabs(expected)));
    }
}

/* Loss and metric of a model on a table, by the network that is in it. */
static double measure(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, double *loss)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNetworkGraph) graph = pipeline_network_graph_read(onnx, schema, &error);
  ck_assert_msg(graph != NULL, "%s", error ? error->message : "");
  g_autoptr(PipelineFeatureReader) reader = pipeline_feature_reader_new(graph, schema, &error);
  ck_assert_msg(reader != NULL, "%s", error ? error->message : "");
  g_autofree float *x = pipeline_feature_reader_read(reader, table, &error);
  ck_assert_msg(x != NULL, "%s", error ? error->message : "");
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, &error);
  g_autoptr(PipelinePass) pass =
      pipeline_pass_new(graph->network, &pipeline_network_backend_reference, (guint)table->n_rows, &error);
  const float *outputs = pipeline_pass_forward(pass, x, (guint)table->n_rows, &error);
  ck_assert_ptr_nonnull(outputs);
  ck_assert_uint_eq(rows->n, table->n_rows);
  check_prediction(onnx, table, schema, graph, outputs);
  pipeline_network_graph_map_targets(graph, rows->targets, table->n_rows);
  if (loss)
    *loss = pipeline_loss_evaluate(&graph->network->loss, outputs, rows->targets, NULL, (guint)table->n_rows, NULL);
  return pipeline_loss_metric(&graph->network->loss, outputs, rows->targets, NULL, (guint)table->n_rows);
}

static void train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                  PipelineTrainResult *result)
{
  g_autoptr(GError) error = NULL;
  ck_assert_msg(pipeline_train(table, schema, options, NULL, NULL, result, &error), "%s", error ? error->message : "");
}

/* --- training from scratch ---------------------------------------------------------------------------------------- */

START_TEST(the_sine_is_learnt_with_the_defaults)
{
  g_autoptr(DriftTable) rows = sine_table(_i == 0 ? 1000 : 300, 21), fresh = sine_table(5000, 22);
  g_autoptr(DriftSchema) schema = infer(rows);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  train(rows, schema, &options, &result);
  double accuracy = measure(result.onnx, fresh, schema, NULL);
  ck_assert_msg(accuracy >= (_i == 0 ? 0.97 : 0.95), "accuracy %g", accuracy);
  ck_assert_uint_eq(result.n_validation, _i == 0 ? 100 : 0);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(mixed_columns_and_three_classes)
{
  g_autoptr(DriftTable) rows = mixed_table(1500, 1, FALSE), fresh = mixed_table(1000, 2, FALSE);
  g_autoptr(DriftSchema) schema = infer(rows);
  ck_assert_int_eq(schema->task, DRIFT_TASK_MULTICLASS);
  append_text(fresh, "colour", "purple"); /* never seen: as zeros */
  append_text(fresh, "y", "middle");
  append_number(fresh, "income", 50000);
  append_number(fresh, "constant", 9);
  fresh->n_rows++;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  train(rows, schema, &options, &result);
  double accuracy = measure(result.onnx, fresh, schema, NULL);
  ck_assert_msg(accuracy > 0.9, "accuracy %g", accuracy);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(regressions_learn_in_the_units_of_the_label)
{
  g_autoptr(DriftTable) rows = mixed_table(1500, 3, TRUE), fresh = mixed_table(1000, 4, TRUE);
  g_autoptr(DriftSchema) schema = infer(rows);
  ck_assert_int_eq(schema->task, DRIFT_TASK_REGRESSION);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  train(rows, schema, &options, &result);
  double rmse = -measure(result.onnx, fresh, schema, NULL);
  ck_assert_msg(rmse < 7e4, "rmse %g (the label's sd is about 2.6e5)", rmse);
  ck_assert(result.validation_metric < 0);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_bytes)
{
  g_autoptr(DriftTable) rows = sine_table(300, 5);
  g_autoptr(DriftSchema) schema = infer(rows);
  PipelineTrainOptions options;
  PipelineTrainResult results[3] = {{0}};
  pipeline_train_options_init(&options);
  options.epochs = 3;
  for (guint i = 0; i < 3; i++) {
    options.seed = i < 2 ? 9 : 10;
    train(rows, schema, &options, &results[i]);
  }
  ck_assert(g_bytes_equal(results[0].onnx, results[1].onnx));
  ck_assert(!g_bytes_equal(results[0].onnx, results[2].onnx));
  for (guint i = 0; i < 3; i++) pipeline_train_result_clear(&results[i]);
}
END_TEST

/* A constant column keeps weight zero: what it does later cannot shake the model. */
START_TEST(constant_columns_have_no_say)
{
  g_autoptr(DriftTable) rows = mixed_table(500, 6, FALSE), moved = mixed_table(500, 6, FALSE);
  g_autoptr(DriftSchema) schema = infer(rows);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  train(rows, schema, &options, &result);
  DriftColumn *constant = drift_table_get_column(moved, "constant");
  for (guint i = 0; i < 500; i++) g_array_index(constant->numbers, double, i) = 1000;
  double before, after;
  measure(result.onnx, rows, schema, &before);
  measure(result.onnx, moved, schema, &after);
  ck_assert_double_eq_tol(before, after, 1e-6);
  pipeline_train_result_clear(&result);
}
END_TEST

START_TEST(rows_without_a_usable_label_are_counted)
{
  g_autoptr(DriftTable) rows = mixed_table(200, 7, FALSE);
  g_autoptr(DriftSchema) schema = infer(rows);
  DriftColumn *label = drift_table_get_column(rows, "y");
  for (guint i = 0; i < 5; i++) g_array_index(label->codes, guint32, i * 7) = DRIFT_CODE_MISSING;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  options.epochs = 1;
  train(rows, schema, &options, &result);
  ck_assert_uint_eq(result.n_skipped, 5);
  ck_assert_uint_eq(result.n_train + result.n_validation, 195);
  pipeline_train_result_clear(&result);
}
END_TEST

static const struct {
  const gchar *architecture;
  double learning_rate, epsilon;
  const gchar *message;
} refused[] = {{"cnn:3", 1e-3, 0, "images"},      {"mlp:64,,64", 1e-3, 0, "mlp:"},
               {"mlp:0", 1e-3, 0, "mlp:"},        {"mlp:65536,65536", 1e-3, 0, "weights"},
               {"mlp:4", -1, 0, "learning rate"}, {"mlp:4", 1e-3, -1, "epsilon"}};

START_TEST(wrong_options_are_refused)
{
  g_autoptr(DriftTable) rows = sine_table(100, 8);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  options.architecture = refused[_i].architecture;
  options.learning_rate = refused[_i].learning_rate;
  options.adversarial_epsilon = refused[_i].epsilon;
  ck_assert(!pipeline_train(rows, schema, &options, NULL, NULL, &result, &error));
  ck_assert_msg(strstr(error->message, refused[_i].message) != NULL, "%s", error->message);
  ck_assert_ptr_null(result.onnx);
}
END_TEST

START_TEST(infinite_numbers_are_named)
{
  g_autoptr(DriftTable) rows = sine_table(100, 8);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  g_array_index(drift_table_get_column(rows, "x2")->numbers, double, 17) = INFINITY;
  ck_assert(!pipeline_train(rows, schema, &options, NULL, NULL, &result, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA));
  ck_assert_ptr_nonnull(strstr(error->message, "\"x2\", row 17"));
}
END_TEST

/* --- stop and resume ---------------------------------------------------------------------------------------------- */

static gboolean stop_after_four(const PipelineTrainProgress *progress, gpointer user_data)
{
  (void)user_data;
  return progress->epoch < 4;
}

static gboolean count_epochs(const PipelineTrainProgress *progress, gpointer user_data)
{
  (void)progress;
  (*(guint *)user_data)++;
  return TRUE;
}

START_TEST(a_stopped_training_resumes_to_the_same_bytes)
{
  g_autoptr(DriftTable) rows = sine_table(700, 31);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autofree gchar *directory = g_dir_make_tmp("kedge-train-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename(directory, "checkpoint.safetensors", NULL);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions options;
  PipelineTrainResult whole = {0}, resumed = {0}, again = {0};
  guint epochs = 0;
  pipeline_train_options_init(&options);
  options.epochs = 10;
  train(rows, schema, &options, &whole);
  options.checkpoint = path;
  ck_assert(!pipeline_train(rows, schema, &options, stop_after_four, NULL, &resumed, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
  ck_assert_ptr_null(resumed.onnx);
  ck_assert(pipeline_train(rows, schema, &options, count_epochs, &epochs, &resumed, NULL));
  ck_assert_uint_eq(epochs, 6);
  ck_assert(g_bytes_equal(whole.onnx, resumed.onnx));
  ck_assert_double_eq(whole.validation_loss, resumed.validation_loss);
  train(rows, schema, &options, &again); /* finished: at once, the same */
  ck_assert(g_bytes_equal(whole.onnx, again.onnx));
  g_clear_error(&error);
  options.learning_rate *= 2; /* another training */
  ck_assert(!pipeline_train(rows, schema, &options, NULL, NULL, &again, &error));
  ck_assert_ptr_nonnull(strstr(error->message, path));
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&resumed);
  pipeline_train_result_clear(&again);
  g_unlink(path);
  g_rmdir(directory);
}
END_TEST

/* --- fine-tuning -------------------------------------------------------------------------------------------------- */

/* As skl2onnx writes MLPClassifier behind a StandardScaler: MatMul + Add, Softmax on [N, 2], look-up of the label. */
static GBytes *sklearn_like(gboolean shared)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("sklearn");
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  float first[4 * 8], second[8 * 2], bias[8] = {0}, numbers[] = {0.5f, 0.5f, 0.5f, 0.5f}, scales[] = {3, 3, 3, 3};
  for (guint i = 0; i < G_N_ELEMENTS(first); i++) first[i] = (float)pipeline_random_uniform(&random) - 0.5f;
  for (guint i = 0; i < G_N_ELEMENTS(second); i++) second[i] = (float)pipeline_random_uniform(&random) - 0.5f;
  onnx_graph_set_opset(graph, "", 15);
  onnx_graph_set_opset(graph, "ai.onnx.ml", 1);
  onnx_graph_add_input(graph, "X", ONNX_TYPE_FLOAT, "?,4");
  OnnxNode *scaler = onnx_graph_add_node(graph, "ai.onnx.ml", "Scaler", "X", "variable");
  onnx_node_set_floats(scaler, "offset", numbers, 4);
  onnx_node_set_floats(scaler, "scale", scales, 4);
  onnx_graph_take_initialiser(graph, onnx_tensor_new("coefficient", ONNX_TYPE_FLOAT, 2, (gint64[]){4, 8}, first));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("intercepts", ONNX_TYPE_FLOAT, 2, (gint64[]){1, 8}, bias));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("coefficient1", ONNX_TYPE_FLOAT, 2, (gint64[]){8, 2}, second));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("intercepts1", ONNX_TYPE_FLOAT, 1, (gint64[]){1}, bias));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("classes", ONNX_TYPE_INT64, 1, (gint64[]){2}, (gint64[]){0, 1}));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("shape", ONNX_TYPE_INT64, 1, (gint64[]){1}, (gint64[]){-1}));
  onnx_graph_add_node(graph, "", "MatMul", "variable,coefficient", "mul_result");
  onnx_graph_add_node(graph, "", "Add", shared ? "mul_result,shared" : "mul_result,intercepts", "add_result");
  if (shared) onnx_graph_add_node(graph, "", "Identity", "intercepts", "shared");
  onnx_graph_add_node(graph, "", "Relu", "add_result", "next_activations");
  onnx_graph_add_node(graph, "", "MatMul", "next_activations,coefficient1", "mul_result1");
  onnx_graph_add_node(graph, "", "Add", "mul_result1,intercepts1", "add_result1");
  onnx_graph_add_node(graph, "", "Softmax", "add_result1", "probabilities");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "ArgMax", "probabilities", "argmax"), "axis", 1);
  onnx_graph_add_node(graph, "ai.onnx.ml", "ArrayFeatureExtractor", "classes,argmax", "extracted");
  onnx_graph_add_node(graph, "", "Reshape", "extracted,shape", "output_label");
  onnx_graph_add_output(graph, "output_label", ONNX_TYPE_INT64, "?");
  onnx_graph_add_output(graph, "probabilities", ONNX_TYPE_FLOAT, "?,2");
  g_autoptr(GError) error = NULL;
  if (shared) { /* nodes in topological order */
    gpointer identity = g_ptr_array_steal_index(graph->nodes, 3);
    g_ptr_array_insert(graph->nodes, 0, identity);
  }
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  return bytes;
}

START_TEST(a_foreign_model_is_fine_tuned)
{
  g_autoptr(DriftTable) rows = sine_table(1000, 41), fresh = sine_table(2000, 42);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autoptr(GBytes) start = sklearn_like(_i == 1);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  options.from = start;
  double before = measure(start, fresh, schema, NULL);
  train(rows, schema, &options, &result);
  double after = measure(result.onnx, fresh, schema, NULL);
  ck_assert_msg(after > 0.93 && after > before + 0.1, "accuracy %g before, %g after", before, after);

  /* Only weights have changed. */
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(result.onnx, NULL);
  g_autoptr(PipelineNetworkGraph) network = pipeline_network_graph_read(start, schema, NULL);
  g_autoptr(GBytes) same = pipeline_network_graph_write(network, network->network->parameters, NULL);
  g_autoptr(OnnxGraph) original = onnx_graph_from_bytes(same, NULL);
  ck_assert_uint_eq(graph->nodes->len, original->nodes->len);
  ck_assert_uint_eq(graph->initialisers->len, original->initialisers->len);
  ck_assert_str_eq(((OnnxValue *)g_ptr_array_index(graph->inputs, 0))->name, "X");
  ck_assert_uint_eq(network->sources->len, 2);
  ck_assert(((PipelineDenseSource *)g_ptr_array_index(network->sources, 0))->transposed);
  pipeline_train_result_clear(&result);
}
END_TEST

/* As torch.onnx.export writes an MLP: Gemm with transB, BatchNormalization, Gelu, Dropout, a Sigmoid on [N, 1]; two
 * equal layers share their initialisers. */
static GBytes *torch_like(void)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("main_graph");
  PipelineRandom random;
  pipeline_random_seed(&random, 4);
  float first[8 * 4], square[8 * 8], last[8], scale[8], shift[8] = {0}, mean[8] = {0}, variance[8];
  for (guint i = 0; i < G_N_ELEMENTS(first); i++) first[i] = (float)pipeline_random_uniform(&random) - 0.5f;
  for (guint i = 0; i < G_N_ELEMENTS(square); i++) square[i] = (float)pipeline_random_uniform(&random) - 0.5f;
  for (guint i = 0; i < 8; i++) last[i] = 0.1f, scale[i] = 1.5f, variance[i] = 0.5f;
  const struct {
    const gchar *name;
    gint64 rows, columns;
    const float *values;
  } initialisers[] = {{"0.weight", 8, 4, first},  {"0.bias", 8, 0, shift},  {"bn.weight", 8, 0, scale},
                      {"bn.bias", 8, 0, shift},   {"bn.mean", 8, 0, mean},  {"bn.var", 8, 0, variance},
                      {"4.weight", 8, 8, square}, {"8.weight", 1, 8, last}, {"8.bias", 1, 0, shift}};
  for (guint i = 0; i < G_N_ELEMENTS(initialisers); i++)
    onnx_graph_take_initialiser(
        graph, onnx_tensor_new(initialisers[i].name, ONNX_TYPE_FLOAT, initialisers[i].columns ? 2 : 1,
                               (gint64[]){initialisers[i].rows, initialisers[i].columns}, initialisers[i].values));
  onnx_graph_set_opset(graph, "", 20);
  onnx_graph_add_input(graph, "input", ONNX_TYPE_FLOAT, "batch,4");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "input,0.weight,0.bias", "g0"), "transB", 1);
  onnx_graph_add_node(graph, "", "BatchNormalization", "g0,bn.weight,bn.bias,bn.mean,bn.var", "n0");
  onnx_graph_add_node(graph, "", "Gelu", "n0", "a0");
  onnx_graph_add_node(graph, "", "Dropout", "a0", "d0");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "d0,4.weight,0.bias", "g1"), "transB", 1);
  onnx_graph_add_node(graph, "", "Relu", "g1", "a1");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "a1,4.weight,0.bias", "g2"), "transB", 1);
  onnx_graph_add_node(graph, "", "Tanh", "g2", "a2");
  onnx_node_set_int(onnx_graph_add_node(graph, "", "Gemm", "a2,8.weight,8.bias", "g3"), "transB", 1);
  onnx_graph_add_node(graph, "", "Sigmoid", "g3", "output");
  onnx_graph_add_output(graph, "output", ONNX_TYPE_FLOAT, "batch,1");
  g_autoptr(GError) error = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  return bytes;
}

START_TEST(shared_layers_part_and_one_output_is_the_positive_class)
{
  g_autoptr(DriftTable) rows = sine_table(1500, 45), fresh = sine_table(1000, 46);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autoptr(GBytes) start = torch_like();
  schema->positive_class = (guint)_i;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0}, refitted = {0};
  pipeline_train_options_init(&options);
  options.from = start;
  train(rows, schema, &options, &result);
  double accuracy = measure(result.onnx, fresh, schema, NULL);
  ck_assert_msg(accuracy > 0.95, "accuracy %g", accuracy);
  g_autoptr(PipelineNetworkGraph) graph = pipeline_network_graph_read(result.onnx, schema, NULL);
  const PipelineDenseSource *second = g_ptr_array_index(graph->sources, 1),
                            *third = g_ptr_array_index(graph->sources, 2);
  ck_assert_str_ne(second->weight, third->weight);
  ck_assert_str_ne(second->bias, third->bias);
  ck_assert_uint_eq(graph->column_of[_i], 1);
  ck_assert(pipeline_refit_last_layer(result.onnx, rows, schema, 1, NULL, &refitted, NULL));
  ck_assert_double_gt(measure(refitted.onnx, fresh, schema, NULL), 0.95);
  pipeline_train_result_clear(&result);
  pipeline_train_result_clear(&refitted);
}
END_TEST

START_TEST(adversarial_training_costs_clean_and_gains_robust_accuracy)
{
  g_autoptr(DriftTable) rows = sine_table(1000, 51);
  g_autoptr(DriftSchema) schema = infer(rows);
  PipelineTrainOptions options;
  PipelineTrainResult plain = {0}, hardened = {0};
  pipeline_train_options_init(&options);
  train(rows, schema, &options, &plain);
  options.adversarial_epsilon = 0.3;
  train(rows, schema, &options, &hardened);
  double loss[2];
  GBytes *models[] = {plain.onnx, hardened.onnx};
  for (guint i = 0; i < 2; i++) {
    g_autoptr(PipelineNetworkGraph) graph = pipeline_network_graph_read(models[i], schema, NULL);
    g_autoptr(PipelineFeatureReader) reader = pipeline_feature_reader_new(graph, schema, NULL);
    g_autofree float *x = pipeline_feature_reader_read(reader, rows, NULL), *attacked = g_new(float, 4000);
    g_autoptr(PipelineAttackSpace) space = pipeline_feature_reader_find_space(reader, rows, NULL);
    ck_assert_uint_eq(space->n_features, 4);
    ck_assert_uint_eq(space->n_entries, 4);
    for (guint e = 0; e < 4; e++) ck_assert_double_eq_tol(space->gain[e], 1, 0.02); /* training rows: nearly all */
    g_autoptr(PipelineTrainerRows) targets = pipeline_trainer_rows_new(rows, schema, NULL);
    g_autoptr(PipelinePass) pass = pipeline_pass_new(graph->network, &pipeline_network_backend_reference, 1000, NULL);
    g_autoptr(PipelineNetworkAttack) attack = pipeline_network_attack_new(pass, graph->network, space);
    PipelineRandom random;
    pipeline_random_seed(&random, 1);
    ck_assert(pipeline_network_attack_run(attack, 0.3, 10, x, targets->targets, 1000, &random, attacked, NULL, NULL));
    loss[i] = pipeline_loss_evaluate(&graph->network->loss, pipeline_pass_forward(pass, attacked, 1000, NULL),
                                     targets->targets, NULL, 1000, NULL);
  }
  ck_assert_msg(loss[1] < 0.8 * loss[0], "loss under attack: plain %g, hardened %g", loss[0], loss[1]);
  pipeline_train_result_clear(&plain);
  pipeline_train_result_clear(&hardened);
}
END_TEST

/* --- models that cannot be trained -------------------------------------------------------------------------------- */

static void refuse(OnnxGraph *graph, const gchar *message)
{
  g_autoptr(DriftTable) rows = sine_table(50, 1);
  g_autoptr(DriftSchema) schema = infer(rows);
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, &error);
  ck_assert_msg(bytes != NULL, "%s", error ? error->message : "");
  ck_assert_ptr_null(pipeline_network_graph_read(bytes, schema, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL));
  ck_assert_msg(strstr(error->message, message) != NULL, "\"%s\" lacks \"%s\"", error->message, message);
}

static OnnxGraph *chain_graph(gint64 n_outputs)
{
  OnnxGraph *graph = onnx_graph_new("chain");
  const gint64 first[] = {4, 4}, second[] = {4, n_outputs};
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "N,4");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w1", ONNX_TYPE_FLOAT, 2, first, NULL));
  onnx_graph_take_initialiser(graph, onnx_tensor_new("w2", ONNX_TYPE_FLOAT, 2, second, NULL));
  return graph;
}

START_TEST(graphs_that_are_no_chain_are_refused_by_name)
{
  g_autoptr(OnnxGraph) skip = chain_graph(2), erf = chain_graph(2), around = chain_graph(2), wide = chain_graph(3),
                       none = chain_graph(2);
  onnx_graph_add_node(skip, "", "MatMul", "x,w1", "a");
  onnx_graph_add_node(skip, "", "Relu", "a", "b");
  onnx_graph_add_node(skip, "", "Add", "a,b", "c");
  onnx_graph_add_node(skip, "", "MatMul", "c,w2", "d");
  onnx_graph_add_output(skip, "d", ONNX_TYPE_FLOAT, "N,2");
  refuse(skip, "Add");

  onnx_graph_add_node(erf, "", "MatMul", "x,w1", "a");
  onnx_graph_add_node(erf, "", "Erf", "a", "b");
  onnx_graph_add_node(erf, "", "MatMul", "b,w2", "d");
  onnx_graph_add_output(erf, "d", ONNX_TYPE_FLOAT, "N,2");
  refuse(erf, "Erf");

  onnx_graph_add_node(around, "", "MatMul", "x,w2", "a");
  onnx_graph_add_node(around, "", "MatMul", "x,w1", "b");
  onnx_graph_add_node(around, "", "MatMul", "b,w2", "c");
  onnx_graph_add_node(around, "", "Add", "a,c", "d");
  onnx_graph_add_output(around, "d", ONNX_TYPE_FLOAT, "N,2");
  refuse(around, "Add");

  onnx_graph_add_node(wide, "", "MatMul", "x,w1", "a");
  onnx_graph_add_node(wide, "", "MatMul", "a,w2", "d");
  onnx_graph_add_output(wide, "d", ONNX_TYPE_FLOAT, "N,3");
  refuse(wide, "[N, 2]");

  const gint64 columns[] = {0, 1};
  onnx_graph_take_initialiser(none, onnx_tensor_new("columns", ONNX_TYPE_INT64, 1, (gint64[]){2}, columns));
  onnx_node_set_int(onnx_graph_add_node(none, "", "Gather", "x,columns", "two"), "axis", 1);
  onnx_graph_add_node(none, "", "Softmax", "two", "d");
  onnx_graph_add_output(none, "d", ONNX_TYPE_FLOAT, "N,2");
  refuse(none, "Softmax");
}
END_TEST

/* --- refitting ---------------------------------------------------------------------------------------------------- */

START_TEST(refits_follow_a_change_in_milliseconds)
{
  g_autoptr(DriftTable) old = sine_table(1000, 61), new_rows = sine_table(2000, 62), fresh = sine_table(2000, 63);
  g_autoptr(DriftSchema) schema = infer(old);
  DriftTable *changed[] = {new_rows, fresh};
  for (guint t = 0; t < 2; t++) /* the concept turns round */
    for (guint i = 0; i < 2000; i++) {
      double *label = &g_array_index(drift_table_get_column(changed[t], "y")->numbers, double, i);
      *label = 1 - *label;
    }
  PipelineTrainOptions options;
  PipelineTrainResult trained = {0}, refitted = {0}, again = {0};
  g_autoptr(GError) error = NULL;
  pipeline_train_options_init(&options);
  train(old, schema, &options, &trained);
  ck_assert_double_lt(measure(trained.onnx, fresh, schema, NULL), 0.1);
  ck_assert_msg(pipeline_refit_last_layer(trained.onnx, new_rows, schema, 1, NULL, &refitted, &error), "%s",
                error ? error->message : "");
  ck_assert(pipeline_refit_last_layer(trained.onnx, new_rows, schema, 1, NULL, &again, NULL));
  ck_assert(g_bytes_equal(refitted.onnx, again.onnx));
  double loss, accuracy = measure(refitted.onnx, fresh, schema, &loss);
  ck_assert_msg(accuracy > 0.95 && loss < 0.2, "accuracy %g, loss %g", accuracy, loss);
  ck_assert_double_eq_tol(refitted.train_loss, loss, 0.05);
  pipeline_train_result_clear(&trained);
  pipeline_train_result_clear(&refitted);
  pipeline_train_result_clear(&again);
}
END_TEST

START_TEST(refits_of_many_classes_and_of_regressions)
{
  gboolean regression = _i == 1;
  g_autoptr(DriftTable) rows = mixed_table(1500, 71, regression), fresh = mixed_table(1000, 72, regression);
  g_autoptr(DriftSchema) schema = infer(rows);
  PipelineTrainOptions options;
  PipelineTrainResult trained = {0}, refitted = {0};
  pipeline_train_options_init(&options);
  options.epochs = 3;
  train(rows, schema, &options, &trained);
  g_autofree double *weights = g_new(double, 1500);
  for (guint i = 0; i < 1500; i++) weights[i] = i < 200 ? 0 : 1;
  ck_assert(pipeline_refit_last_layer(trained.onnx, rows, schema, 1, weights, &refitted, NULL));
  double metric = measure(refitted.onnx, fresh, schema, NULL);
  ck_assert_msg(regression ? -metric < 1e5 : metric > 0.8, "metric %g", metric);
  pipeline_train_result_clear(&trained);
  pipeline_train_result_clear(&refitted);
}
END_TEST

/* Ridge with the normal equations solved by hand for one column; Platt on overlapping scores. */
START_TEST(ridge_and_calibration_are_the_textbook_ones)
{
  const float h[] = {1, 2, 3, 4};
  const double targets[] = {1, 3, 2, 5}, weights[] = {1, 1, 2, 1};
  double c[2];
  ck_assert(pipeline_ridge_solve(h, targets, weights, 4, 1, 1, 0.5, c, NULL));
  /* weighted means: h 13/5, t 13/5; Σw(h-h̄)² = 5.2, Σw(h-h̄)(t-t̄) = 5.2 */
  ck_assert_double_eq_tol(c[0], 5.2 / (5.2 + 0.5), 1e-9);
  ck_assert_double_eq_tol(c[1], 2.6 - c[0] * 2.6, 1e-9);
  const double scores[] = {-2, -1, -0.5, 0.5, 1, 2};
  const guint8 labels[] = {0, 0, 1, 0, 1, 1};
  double slope, intercept, balance = 0;
  pipeline_calibrate_binary(scores, labels, NULL, 6, &slope, &intercept);
  ck_assert_double_gt(slope, 0.1);
  for (guint i = 0; i < 6; i++)
    balance += 1 / (1 + exp(-slope * scores[i] - intercept)) - (labels[i] ? 4.0 / 5 : 1.0 / 5);
  ck_assert_double_eq_tol(balance, 0, 1e-6); /* the gradient by the intercept */
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("trainer_model");
  TCase *cases = tcase_create("model");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, the_sine_is_learnt_with_the_defaults, 0, 2);
  tcase_add_test(cases, mixed_columns_and_three_classes);
  tcase_add_test(cases, regressions_learn_in_the_units_of_the_label);
  tcase_add_test(cases, the_same_seed_gives_the_same_bytes);
  tcase_add_test(cases, constant_columns_have_no_say);
  tcase_add_test(cases, rows_without_a_usable_label_are_counted);
  tcase_add_loop_test(cases, wrong_options_are_refused, 0, G_N_ELEMENTS(refused));
  tcase_add_test(cases, infinite_numbers_are_named);
  tcase_add_test(cases, a_stopped_training_resumes_to_the_same_bytes);
  tcase_add_loop_test(cases, a_foreign_model_is_fine_tuned, 0, 2);
  tcase_add_loop_test(cases, shared_layers_part_and_one_output_is_the_positive_class, 0, 2);
  tcase_add_test(cases, adversarial_training_costs_clean_and_gains_robust_accuracy);
  tcase_add_test(cases, graphs_that_are_no_chain_are_refused_by_name);
  tcase_add_test(cases, refits_follow_a_change_in_milliseconds);
  tcase_add_loop_test(cases, refits_of_many_classes_and_of_regressions, 0, 2);
  tcase_add_test(cases, ridge_and_calibration_are_the_textbook_ones);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
