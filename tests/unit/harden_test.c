/* Adversarial training: every method makes a model stand what it did not, and continues to the bit after a stop. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/graph_fit_internal.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/robustness.h"

#define FEATURES 9u
#define ROWS 600u
#define EPSILON 0.3

/* Tsipras et al. 2019: x0 is right in 9 of 10 rows by ±1; the others are almost always right together, but by ±.15,
 * which an attack of .3 turns around. */
static PipelineGraphRows *new_rows(void)
{
  PipelineRandom random;
  PipelineGraphRows *rows = g_new0(PipelineGraphRows, 1);
  pipeline_random_seed(&random, 8);
  *rows = (PipelineGraphRows){.schema = drift_schema_new(DRIFT_TASK_BINARY, "y"),
                              .x = g_new0(float, ROWS *FEATURES),
                              .targets = g_new(float, ROWS),
                              .n_rows = ROWS,
                              .n_features = FEATURES};
  drift_schema_add_class(rows->schema, "0");
  drift_schema_add_class(rows->schema, "1");
  rows->schema->positive_class = 1;
  for (guint f = 0; f < FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf("f%u", f);
    drift_schema_add_feature(rows->schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  for (guint i = 0; i < ROWS; i++) {
    double sign = pipeline_random_below(&random, 2) == 0 ? -1 : 1;
    rows->targets[i] = sign > 0 ? 1 : 0;
    rows->x[i * FEATURES] = (float)(pipeline_random_uniform(&random) < 0.9 ? sign : -sign);
    for (guint f = 1; f < FEATURES; f++)
      rows->x[i * FEATURES + f] = (float)(0.15 * sign + 0.1 * pipeline_random_normal(&random));
  }
  return rows;
}

static DriftTable *tabulate(const PipelineGraphRows *rows)
{
  DriftTable *table = drift_table_new();
  for (guint f = 0; f < FEATURES; f++) {
    DriftColumn *column = drift_table_add_column(table, drift_schema_get_feature(rows->schema, f)->name, DRIFT_NUMERIC);
    for (guint i = 0; i < ROWS; i++) drift_column_append_number(column, (double)rows->x[i * FEATURES + f]);
  }
  DriftColumn *label = drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < ROWS; i++) drift_column_append_text(label, rows->targets[i] > 0 ? "1" : "0", -1);
  table->n_rows = ROWS;
  return table;
}

static void options_init(PipelineGraphTrainOptions *options, const PipelineHardenMethod *method)
{
  pipeline_graph_train_options_init(options);
  options->architecture = "mlp:16";
  options->dropout = 0;
  options->fit.epochs = method != NULL && method->replays ? 10 : 20;
  options->fit.batch_size = 50;
  options->fit.learning_rate = 0.01;
  options->fit.harden = (PipelineHardenOptions){.method = method, .epsilon = EPSILON};
  options->harden_absolute = TRUE;
}

static void train(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, PipelineTrainResult *result)
{
  g_autoptr(GError) error = NULL;
  memset(result, 0, sizeof *result);
  ck_assert_msg(pipeline_graph_train(rows, options, NULL, NULL, result, &error), "%s",
                error != NULL ? error->message : "");
}

static double robust_accuracy(GBytes *onnx, const PipelineGraphRows *rows, PipelineNorm norm, double epsilon,
                              double *clean)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = tabulate(rows);
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, rows->schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error != NULL ? error->message : "");
  PipelineRobustnessOptions options;
  PipelineRobustness robustness = {0};
  pipeline_robustness_options_init(&options);
  options.norm = norm;
  options.epsilon = epsilon;
  options.absolute = TRUE;
  ck_assert_msg(pipeline_robustness_measure(model, table, &options, &robustness, &error), "%s",
                error != NULL ? error->message : "");
  double robust = (double)robustness.n_robust / ROWS;
  *clean = (double)robustness.n_right / ROWS;
  pipeline_robustness_clear(&robustness);
  return robust;
}

START_TEST(every_method_hardens)
{
  g_autoptr(PipelineGraphRows) rows = new_rows();
  PipelineGraphTrainOptions options;
  PipelineTrainResult plain, hard;
  double clean, plain_robust, robust;
  options_init(&options, NULL);
  train(rows, &options, &plain);
  ck_assert(isnan(plain.robust_metric));
  plain_robust = robust_accuracy(plain.onnx, rows, PIPELINE_NORM_INFINITY, EPSILON, &clean);
  ck_assert_double_gt(clean, 0.98);
  ck_assert_double_lt(plain_robust, 0.3);
  options_init(&options, &pipeline_harden_methods[_i]);
  train(rows, &options, &hard);
  robust = robust_accuracy(hard.onnx, rows, PIPELINE_NORM_INFINITY, EPSILON, &clean);
  ck_assert_msg(robust > 0.8 && clean > 0.8, "%s: clean %g, robust %g", options.fit.harden.method->name, clean, robust);
  ck_assert_double_eq_tol(hard.robust_metric, robust, 0.12); /* on 60 validation rows */
  pipeline_train_result_clear(&plain);
  pipeline_train_result_clear(&hard);
}
END_TEST

/* What the trainer of dense layers made, with its preprocessing (Imputer, Scaler), is trained on against attacks. */
START_TEST(a_model_with_preprocessing_is_hardened)
{
  g_autoptr(PipelineGraphRows) rows = new_rows();
  g_autoptr(DriftTable) table = tabulate(rows);
  g_autoptr(GError) error = NULL;
  PipelineTrainOptions plain;
  PipelineGraphTrainOptions options;
  PipelineTrainResult first = {0}, hard;
  double clean;
  pipeline_train_options_init(&plain);
  plain.architecture = "mlp:16";
  ck_assert_msg(pipeline_train(table, rows->schema, &plain, NULL, NULL, &first, &error), "%s",
                error != NULL ? error->message : "");
  double before = robust_accuracy(first.onnx, rows, PIPELINE_NORM_INFINITY, EPSILON, &clean);
  options_init(&options, pipeline_harden_find("fast", NULL));
  options.from = first.onnx;
  train(rows, &options, &hard);
  double after = robust_accuracy(hard.onnx, rows, PIPELINE_NORM_INFINITY, EPSILON, &clean);
  ck_assert_msg(before < 0.5 && after > 0.75, "%g, before %g", after, before);
  pipeline_train_result_clear(&first);
  pipeline_train_result_clear(&hard);
}
END_TEST

START_TEST(the_euclidean_ball_is_trained_for_too)
{
  g_autoptr(PipelineGraphRows) rows = new_rows();
  PipelineGraphTrainOptions options;
  PipelineTrainResult plain, hard;
  double clean;
  options_init(&options, NULL);
  train(rows, &options, &plain);
  options_init(&options, pipeline_harden_find("pgd", NULL));
  options.fit.harden.norm = PIPELINE_NORM_2;
  options.fit.harden.epsilon = 0.6;
  train(rows, &options, &hard);
  double before = robust_accuracy(plain.onnx, rows, PIPELINE_NORM_2, 0.6, &clean),
         after = robust_accuracy(hard.onnx, rows, PIPELINE_NORM_2, 0.6, &clean);
  ck_assert_msg(after > before + 0.1 && after > 0.75, "%g, before %g", after, before);
  pipeline_train_result_clear(&plain);
  pipeline_train_result_clear(&hard);
}
END_TEST

static gboolean stop_after_three(const PipelineTrainProgress *progress, gpointer user_data)
{
  (void)user_data;
  ck_assert(progress->robust_metric >= 0 && progress->robust_metric <= 1);
  return progress->epoch < 3;
}

START_TEST(a_stopped_training_continues_to_the_bit)
{
  g_autoptr(PipelineGraphRows) rows = new_rows();
  PipelineGraphTrainOptions options;
  PipelineTrainResult whole, resumed = {0};
  g_autoptr(GError) error = NULL;
  g_autofree gchar *path = g_strdup_printf("%s/harden_%d_%d.safetensors", g_get_tmp_dir(), (int)getpid(), _i);
  options_init(&options, &pipeline_harden_methods[_i]);
  options.fit.epochs = 6;
  train(rows, &options, &whole);
  options.checkpoint = path;
  options.checkpoint_seconds = 0;
  ck_assert(!pipeline_graph_train(rows, &options, stop_after_three, NULL, &resumed, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
  train(rows, &options, &resumed);
  ck_assert(g_bytes_equal(whole.onnx, resumed.onnx));
  ck_assert_double_eq(whole.robust_metric, resumed.robust_metric);
  options.fit.harden.epsilon *= 1.01; /* another training */
  g_clear_error(&error);
  ck_assert(!pipeline_graph_train(rows, &options, NULL, NULL, &resumed, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID));
  g_unlink(path);
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&resumed);
}
END_TEST

START_TEST(a_collapse_is_noticed)
{
  PipelineGraphFit fit = {.state = {.best_robust_metric = NAN}};
  const struct {
    double metric;
    gboolean collapsed;
  } epochs[] = {{0.1, FALSE}, {0.04, FALSE}, {0.6, FALSE}, {0.31, FALSE}, {0.8, FALSE}, {0.39, TRUE}};
  for (guint i = 0; i < G_N_ELEMENTS(epochs); i++) {
    fit.state.robust_metric = epochs[i].metric;
    ck_assert_int_eq(pipeline_harden_has_collapsed(&fit), epochs[i].collapsed);
  }
}
END_TEST

START_TEST(wrong_options_are_refused)
{
  g_autoptr(PipelineGraphRows) rows = new_rows();
  const struct {
    const gchar *method, *says;
    double epsilon, mixup;
    PipelineNorm norm;
  } cases[] = {{"pgd", "epsilon", 0, 0, PIPELINE_NORM_INFINITY},
               {"pgd", "epsilon", NAN, 0, PIPELINE_NORM_INFINITY},
               {"fast", "mixup", 0.1, 0.2, PIPELINE_NORM_INFINITY},
               {"free", "norm inf", 0.1, 0, PIPELINE_NORM_2}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    PipelineGraphTrainOptions options;
    PipelineTrainResult result = {0};
    options_init(&options, pipeline_harden_find(cases[i].method, NULL));
    options.fit.harden.epsilon = cases[i].epsilon;
    options.fit.harden.norm = cases[i].norm;
    options.fit.augment.mixup = cases[i].mixup;
    ck_assert(!pipeline_graph_train(rows, &options, NULL, NULL, &result, &error));
    ck_assert_msg(strstr(error->message, cases[i].says) != NULL, "%s", error->message);
  }
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(pipeline_harden_find("slow", &error));
  for (const PipelineHardenMethod *method = pipeline_harden_methods; method->name != NULL; method++)
    ck_assert_ptr_nonnull(strstr(error->message, method->name));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("harden");
  TCase *cases = tcase_create("harden");
  int n_methods = 0;
  while (pipeline_harden_methods[n_methods].name != NULL) n_methods++;
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, every_method_hardens, 0, n_methods);
  tcase_add_test(cases, a_model_with_preprocessing_is_hardened);
  tcase_add_test(cases, the_euclidean_ball_is_trained_for_too);
  tcase_add_loop_test(cases, a_stopped_training_continues_to_the_bit, 0, n_methods);
  tcase_add_test(cases, a_collapse_is_noticed);
  tcase_add_test(cases, wrong_options_are_refused);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
