/* A table with texts and missing numbers trained by several processes (threads stand for them): the model is that of
 * one process, and whatever goes on from such a model takes it. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "pipeline/model.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"
#include "tests/support/thread_communicator.h"

#define ROWS 300
#define BOUND 5e-5 /* of probabilities; seen: 4e-6 */

static DriftTable *make_table(void)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  DriftTable *table = drift_table_new();
  DriftColumn *income = drift_table_add_column(table, "income", DRIFT_NUMERIC),
              *colour = drift_table_add_column(table, "colour", DRIFT_CATEGORICAL),
              *y = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) {
    double score = 2 * pipeline_random_uniform(&random) - 1;
    gboolean red = pipeline_random_below(&random, 3) == 0;
    drift_column_append_number(income, i % 20 == 0 ? NAN : 50000 + 20000 * score);
    drift_column_append_text(colour, red ? "red" : "blue", -1);
    drift_column_append_text(y, score + (red ? .8 : -.4) > 0 ? "high" : "low", -1);
    table->n_rows++;
  }
  return table;
}

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_class(schema, "low");
  drift_schema_add_class(schema, "high");
  schema->positive_class = 1;
  drift_schema_add_feature(schema, "income", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "colour", DRIFT_CATEGORICAL, FALSE, TRUE);
  return schema;
}

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  GBytes *from;
  GBytes *models[3];
} World;

static void train(PipelineCommunicator *communicator, gpointer data)
{
  World *world = data;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  g_autoptr(GError) error = NULL;
  pipeline_train_options_init(&options);
  options.architecture = "mlp:8";
  options.from = world->from;
  options.epochs = 10;
  options.communicator = communicator;
  gboolean done = pipeline_train(world->table, world->schema, &options, NULL, NULL, &result, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
  world->models[communicator != NULL ? communicator->rank : 0] = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
}

static float *predict(const World *world, GBytes *onnx)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, world->schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error != NULL ? error->message : "");
  float *outputs = g_new(float, ROWS *pipeline_model_get_n_outputs(model));
  ck_assert(pipeline_model_predict_table(model, world->table, outputs, &error));
  return outputs;
}

static double distance(const World *world, GBytes *a, GBytes *b)
{
  g_autofree float *p = predict(world, a), *q = predict(world, b);
  double largest = 0;
  for (guint i = 0; i < 2 * ROWS; i++) largest = MAX(largest, fabs((double)p[i] - (double)q[i]));
  return largest;
}

/* 1, 2 and 3 processes, beside the trainer that has none of them. */
START_TEST(processes_make_the_model_of_one)
{
  g_autoptr(DriftTable) table = make_table();
  g_autoptr(DriftSchema) schema = make_schema();
  World alone = {.table = table, .schema = schema}, several = alone;
  guint n = (guint)_i + 1;
  train(NULL, &alone);
  thread_gang_run(n, train, &several);
  for (guint r = 1; r < n; r++) ck_assert(g_bytes_equal(several.models[0], several.models[r]));
  double seen = distance(&alone, alone.models[0], several.models[0]);
  ck_assert_msg(seen <= BOUND, "%u processes: probabilities differ by %g", n, seen);
  g_bytes_unref(alone.models[0]);
  for (guint r = 0; r < n; r++) g_bytes_unref(several.models[r]);
}
END_TEST

START_TEST(a_refit_and_a_training_go_on_from_it)
{
  g_autoptr(DriftTable) table = make_table();
  g_autoptr(DriftSchema) schema = make_schema();
  World made = {.table = table, .schema = schema}, next = made;
  PipelineTrainResult refitted = {0};
  g_autoptr(GError) error = NULL;
  thread_gang_run(2, train, &made);
  gboolean done = pipeline_refit_last_layer(made.models[0], table, schema, 1, NULL, &refitted, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
  next.from = made.models[0];
  train(NULL, &next);
  ck_assert(!g_bytes_equal(next.models[0], made.models[0]));
  pipeline_train_result_clear(&refitted);
  g_bytes_unref(next.models[0]);
  for (guint r = 0; r < 2; r++) g_bytes_unref(made.models[r]);
}
END_TEST

/* A model with texts is fine-tuned as one process does it. */
START_TEST(texts_are_fine_tuned_by_several)
{
  g_autoptr(DriftTable) table = make_table();
  g_autoptr(DriftSchema) schema = make_schema();
  World start = {.table = table, .schema = schema}, alone, several;
  train(NULL, &start);
  alone = several = (World){.table = table, .schema = schema, .from = start.models[0]};
  train(NULL, &alone);
  thread_gang_run(2, train, &several);
  double seen = distance(&alone, alone.models[0], several.models[0]);
  ck_assert(!g_bytes_equal(start.models[0], several.models[0]));
  ck_assert_msg(seen <= BOUND, "probabilities differ by %g", seen);
  g_bytes_unref(start.models[0]);
  g_bytes_unref(alone.models[0]);
  for (guint r = 0; r < 2; r++) g_bytes_unref(several.models[r]);
}
END_TEST

/* --- everything around the layers --------------------------------------------------------------------------------- */

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelineTrainOptions *options;
  PipelineTrainResult result;
} Surrounded;

static void train_surrounded(PipelineCommunicator *communicator, gpointer data)
{
  Surrounded *surrounded = data;
  PipelineTrainOptions options = *surrounded->options;
  g_autoptr(GError) error = NULL;
  options.communicator = communicator;
  gboolean done =
      pipeline_train(surrounded->table, surrounded->schema, &options, NULL, NULL, &surrounded->result, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
}

/* Split, cleaning, transformations, weights, reweighing, calibration and threshold: all of them at once. */
START_TEST(what_is_around_the_layers_is_the_same)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = make_table();
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(PipelinePlan) plan = pipeline_plan_parse("income=mean+robust,colour=target", &error);
  PipelineSplit split = {.kind = NULL};
  const gchar *const groups[] = {"colour", NULL};
  double weights[ROWS];
  PipelineTrainOptions options;
  PipelineCleanOptions clean;
  ck_assert(plan != NULL && pipeline_split_parse("stratified", &split, &error));
  pipeline_clean_options_init(&clean);
  ck_assert(pipeline_clean_options_parse("duplicates", &clean, &error));
  for (guint i = 0; i < ROWS; i++) weights[i] = 1 + i % 3;
  pipeline_train_options_init(&options);
  options.architecture = "mlp:8";
  options.epochs = 6;
  options.validation_fraction = options.test_fraction = 0.2;
  options.split = &split;
  options.clean = &clean;
  options.plan = plan;
  options.row_weights = weights;
  options.reweigh = groups;
  options.calibration = (PipelineCalibrationOptions){"temperature", "f1"};
  Surrounded alone = {.table = table, .schema = schema, .options = &options}, graph = alone;
  const World world = {.table = table, .schema = schema};
  train_surrounded(NULL, &alone);
  thread_gang_run(1, train_surrounded, &graph);
  const PipelineTrainResult *a = &alone.result, *b = &graph.result;
  double seen = distance(&world, a->onnx, b->onnx);
  ck_assert_msg(seen <= BOUND, "probabilities differ by %g", seen);
  ck_assert(a->n_train == b->n_train && a->n_validation == b->n_validation && a->n_test == b->n_test && b->n_test > 50);
  ck_assert_double_eq_tol(a->test_loss, b->test_loss, BOUND);
  ck_assert_double_eq_tol(a->test_metric, b->test_metric, 1e-12);
  ck_assert_double_eq_tol(a->validation_loss, b->validation_loss, BOUND);
  ck_assert_double_eq_tol(a->validation_metric, b->validation_metric, 1e-12);
  ck_assert_double_eq_tol(a->calibration.threshold, b->calibration.threshold, BOUND);
  ck_assert(a->calibration.n == b->calibration.n && b->calibration.n > 0);
  ck_assert(a->reweighing.n_groups == 2 && b->reweighing.n_groups == 2);
  ck_assert_str_eq(a->plan, b->plan);
  ck_assert_str_eq(a->cleaning, b->cleaning);
  pipeline_train_result_clear(&alone.result);
  pipeline_train_result_clear(&graph.result);
  pipeline_clean_options_clear(&clean);
  pipeline_split_clear(&split);
}
END_TEST

/* Told by every process before any waits for the others in vain. */
static void refuse(PipelineCommunicator *communicator, gpointer data)
{
  World *world = data;
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  g_autoptr(GError) error = NULL;
  pipeline_train_options_init(&options);
  options.communicator = communicator;
  options.adversarial_epsilon = 0.1;
  ck_assert(!pipeline_train(world->table, world->schema, &options, NULL, NULL, &result, &error));
  ck_assert(
      g_error_matches(error, PIPELINE_ERROR, communicator->rank == 0 ? PIPELINE_ERROR_INVALID : PIPELINE_ERROR_PEER));
}

START_TEST(adversarial_training_is_for_one)
{
  g_autoptr(DriftTable) table = make_table();
  g_autoptr(DriftSchema) schema = make_schema();
  World world = {.table = table, .schema = schema};
  thread_gang_run(2, refuse, &world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("parallel_table");
  TCase *tables = tcase_create("tables");
  tcase_set_timeout(tables, 60);
  tcase_add_loop_test(tables, processes_make_the_model_of_one, 0, 3);
  tcase_add_test(tables, a_refit_and_a_training_go_on_from_it);
  tcase_add_test(tables, texts_are_fine_tuned_by_several);
  tcase_add_test(tables, what_is_around_the_layers_is_the_same);
  tcase_add_test(tables, adversarial_training_is_for_one);
  suite_add_tcase(suite, tables);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
