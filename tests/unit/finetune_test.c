/* Fine-tuning without forgetting: rehearsed rows, rates by layer, budgets of row visits. */
#include <check.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pipeline/finetune.h"
#include "pipeline/rehearsal.h"

#define FEATURES 4

/* World 0: the class is the side of a line; world 1, told by the last feature: the other side. */
static PipelineGraphRows *new_rows(guint n, guint world, guint64 seed)
{
  PipelineRandom random;
  PipelineGraphRows *rows = g_new0(PipelineGraphRows, 1);
  pipeline_random_seed(&random, seed);
  *rows = (PipelineGraphRows){.schema = drift_schema_new(DRIFT_TASK_BINARY, "y"),
                              .x = g_new0(float, n *FEATURES),
                              .targets = g_new(float, n),
                              .n_rows = n,
                              .n_features = FEATURES};
  drift_schema_add_class(rows->schema, "0");
  drift_schema_add_class(rows->schema, "1");
  for (guint k = 0; k < FEATURES; k++) {
    g_autofree gchar *name = g_strdup_printf("x[%u]", k);
    drift_schema_add_feature(rows->schema, name, DRIFT_NUMERIC, FALSE, TRUE);
  }
  for (guint i = 0; i < n; i++) {
    float *x = rows->x + (gsize)i * FEATURES;
    for (guint k = 0; k + 1 < FEATURES; k++) x[k] = (float)(2 * pipeline_random_uniform(&random) - 1);
    x[FEATURES - 1] = (float)((world ? .5 : -.5) + .2 * pipeline_random_normal(&random));
    rows->targets[i] = (float)((x[0] + x[1] > 0) != (world > 0));
  }
  return rows;
}

static void train(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options, PipelineTrainResult *result)
{
  g_autoptr(GError) error = NULL;
  memset(result, 0, sizeof *result);
  ck_assert_msg(pipeline_graph_train(rows, options, NULL, NULL, result, &error), "%s",
                error != NULL ? error->message : "");
}

/* Accuracy of a model on rows: as the test rows of a training whose rate changes nothing. */
static double measure(GBytes *onnx, const PipelineGraphRows *rows)
{
  PipelineGraphTrainOptions options;
  PipelineTrainResult result;
  pipeline_graph_train_options_init(&options);
  options.from = onnx;
  options.fit.epochs = 1;
  options.fit.learning_rate = 1e-12;
  options.validation_fraction = 0;
  options.test_fraction = .9;
  train(rows, &options, &result);
  double metric = result.test_metric;
  pipeline_train_result_clear(&result);
  return metric;
}

static void options_init(PipelineGraphTrainOptions *options, GBytes *from)
{
  pipeline_graph_train_options_init(options);
  options->architecture = "mlp:16,16";
  options->from = from;
  options->dropout = 0;
  options->fit.batch_size = 32;
  options->fit.epochs = 20;
  options->fit.learning_rate = 5e-3;
  options->validation_fraction = 0;
}

static GBytes *train_old(const PipelineGraphRows *old)
{
  PipelineGraphTrainOptions options;
  PipelineTrainResult result;
  options_init(&options, NULL);
  train(old, &options, &result);
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

/* --- rehearsal ---------------------------------------------------------------------------------------------------- */

static const struct {
  guint64 n_fresh, n_old;
  guint batch;
  double share;
  guint old_each; /* of a whole batch */
} epochs[] = {{100, 1000, 10, .5, 5}, {95, 7, 10, .3, 3}, {40, 40, 16, .25, 4}, {10, 5, 2, .9, 1},
              {100, 50, 8, .01, 1},   {33, 0, 8, .5, 0},  {5, 100, 64, .5, 32}, {7, 3, 1, .5, 0}};

START_TEST(every_batch_has_its_share_of_old_rows)
{
  const guint64 n_fresh = epochs[_i].n_fresh, n_old = epochs[_i].n_old;
  g_autofree guint64 *fresh = g_new(guint64, n_fresh + 1), *old = g_new(guint64, n_old + 1);
  for (guint64 i = 0; i < n_fresh; i++) fresh[i] = i;
  for (guint64 i = 0; i < n_old; i++) old[i] = 1000 + i;
  const PipelineRehearsal rehearsal = {.fresh = fresh,
                                       .old = old,
                                       .n_fresh = n_fresh,
                                       .n_old = n_old,
                                       .batch_size = epochs[_i].batch,
                                       .share = epochs[_i].share};
  PipelineRandom random;
  pipeline_random_seed(&random, 3);
  guint64 n = pipeline_rehearsal_count(&rehearsal), seen_fresh = 0, seen_old = 0;
  g_autofree guint64 *order = g_new(guint64, n + 1);
  g_autofree guint *visits = g_new0(guint, 1000 + n_old + 1);
  order[n] = 77777;
  pipeline_rehearsal_order(&rehearsal, &random, order);
  ck_assert_uint_eq(order[n], 77777);
  for (guint64 start = 0; start < n; start += rehearsal.batch_size) {
    guint64 size = MIN(rehearsal.batch_size, n - start), beside = 0;
    for (guint64 i = start; i < start + size; i++) {
      visits[order[i]]++;
      beside += order[i] >= 1000;
    }
    if (size == rehearsal.batch_size) ck_assert_uint_eq(beside, epochs[_i].old_each);
    seen_old += beside;
    seen_fresh += size - beside;
  }
  ck_assert_uint_eq(seen_fresh, n_fresh);
  for (guint64 i = 0; i < n_fresh; i++) ck_assert_uint_eq(visits[i], 1);
  for (guint64 i = 0; i < n_old; i++) { /* none twice before all were there once */
    ck_assert_uint_ge(visits[1000 + i], seen_old / n_old);
    ck_assert_uint_le(visits[1000 + i], (seen_old + n_old - 1) / n_old);
  }
}
END_TEST

START_TEST(rehearsing_keeps_what_was_known)
{
  g_autoptr(PipelineGraphRows) old = new_rows(600, 0, 1), fresh = new_rows(600, 1, 2), old_test = new_rows(1000, 0, 3),
                               fresh_test = new_rows(1000, 1, 4);
  g_autoptr(GBytes) base = train_old(old);
  PipelineGraphTrainOptions options;
  PipelineTrainResult plain, tuned;
  ck_assert_double_gt(measure(base, old_test), .95);
  ck_assert_double_lt(measure(base, fresh_test), .6);
  options_init(&options, base);
  train(fresh, &options, &plain);
  options.rehearsal = old;
  train(fresh, &options, &tuned);
  ck_assert_double_lt(measure(plain.onnx, old_test), .9); /* else this shows nothing */
  ck_assert_double_gt(measure(tuned.onnx, fresh_test), .93);
  ck_assert_double_gt(measure(tuned.onnx, old_test), .93);
  ck_assert_uint_eq(tuned.n_old, 600);
  pipeline_train_result_clear(&plain);
  pipeline_train_result_clear(&tuned);
}
END_TEST

START_TEST(row_visits_are_a_bound_and_used_up)
{
  g_autoptr(PipelineGraphRows) old = new_rows(300, 0, 1), fresh = new_rows(400, 1, 2);
  g_autoptr(GBytes) base = train_old(old);
  static const guint64 bounds[] = {100, 700, 850, 3000, 100000};
  for (guint i = 0; i < G_N_ELEMENTS(bounds); i++) {
    PipelineGraphTrainOptions options;
    PipelineTrainResult result;
    options_init(&options, base);
    options.rehearsal = old;
    options.fit.row_visits = bounds[i];
    train(fresh, &options, &result);
    ck_assert_uint_le(result.row_visits, bounds[i]);
    ck_assert_uint_ge(result.row_visits, MIN(bounds[i] - 20, 800 * 20)); /* an epoch is 400 new and 400 old rows */
    pipeline_train_result_clear(&result);
  }
}
END_TEST

/* Old validation rows are told; a training stops when neither the new nor the old ones are predicted better. */
START_TEST(both_worlds_are_validated)
{
  g_autoptr(PipelineGraphRows) old = new_rows(500, 0, 1), fresh = new_rows(600, 1, 2);
  g_autoptr(GBytes) base = train_old(old);
  PipelineGraphTrainOptions options;
  PipelineTrainResult result;
  options_init(&options, base);
  options.rehearsal = old;
  options.validation_fraction = .2;
  options.fit.epochs = 500;
  options.fit.patience = 3;
  options.fit.schedule = pipeline_schedule_find("constant", NULL);
  train(fresh, &options, &result);
  ck_assert_uint_eq(result.n_validation, 120);
  ck_assert_uint_eq(result.n_old, 400);
  ck_assert_uint_eq(result.n_old_validation, 100);
  ck_assert_double_gt(result.validation_metric, .9);
  ck_assert_double_gt(result.old_validation_metric, .9);
  ck_assert_uint_lt(result.epochs, 500);
  ck_assert_uint_ge(result.epochs, result.best_epoch + 1);
  pipeline_train_result_clear(&result);
}
END_TEST

static gboolean stop_after_two(const PipelineTrainProgress *progress, gpointer user_data)
{
  (void)user_data;
  return progress->epoch < 2;
}

START_TEST(a_stopped_rehearsal_goes_on_to_the_same_bytes)
{
  g_autoptr(PipelineGraphRows) old = new_rows(300, 0, 1), fresh = new_rows(300, 1, 2);
  g_autoptr(GBytes) base = train_old(old);
  g_autofree gchar *folder = g_dir_make_tmp("kedge-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename(folder, "checkpoint", NULL);
  PipelineGraphTrainOptions options;
  PipelineTrainResult whole, parts = {0};
  GError *error = NULL;
  options_init(&options, base);
  options.rehearsal = old;
  options.layer_decay = .7;
  options.validation_fraction = .2;
  options.fit.epochs = 5;
  train(fresh, &options, &whole);
  options.checkpoint = path;
  ck_assert(!pipeline_graph_train(fresh, &options, stop_after_two, NULL, &parts, &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_CANCELLED));
  g_clear_error(&error);
  options.fit.rehearsal_share = .4; /* that is another training */
  ck_assert(!pipeline_graph_train(fresh, &options, NULL, NULL, &parts, &error));
  ck_assert(strstr(error->message, "another training") != NULL);
  g_clear_error(&error);
  options.fit.rehearsal_share = .5;
  train(fresh, &options, &parts);
  ck_assert(g_bytes_equal(whole.onnx, parts.onnx));
  ck_assert_double_eq(whole.old_validation_metric, parts.old_validation_metric);
  g_unlink(path);
  g_rmdir(folder);
  pipeline_train_result_clear(&whole);
  pipeline_train_result_clear(&parts);
}
END_TEST

/* --- rates -------------------------------------------------------------------------------------------------------- */

START_TEST(rates_fall_with_the_distance_from_the_head)
{
  g_autoptr(PipelineGraphRows) old = new_rows(100, 0, 1);
  g_autoptr(GBytes) base = train_old(old);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(base, NULL);
  onnx_graph_simplify_for_training(graph);
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, NULL, NULL);
  ck_assert_uint_eq(plan->parameters->len, 6); /* three layers: weight and bias */
  for (guint i = 0; i < 6; i++) ck_assert_double_eq(g_array_index(plan->parameters, PipelineGraphParameter, i).rate, 1);
  pipeline_finetune_decay_rates(plan, .5);
  static const double expected[] = {.25, .25, .5, .5, 1, 1};
  for (guint i = 0; i < 6; i++)
    ck_assert_double_eq(g_array_index(plan->parameters, PipelineGraphParameter, i).rate, expected[i]);
}
END_TEST

/* With a tiny decay only the head moves. */
START_TEST(the_decay_reaches_the_optimiser)
{
  g_autoptr(PipelineGraphRows) old = new_rows(200, 0, 1), fresh = new_rows(200, 1, 2);
  g_autoptr(GBytes) base = train_old(old);
  PipelineGraphTrainOptions options;
  PipelineTrainResult result;
  options_init(&options, base);
  options.layer_decay = 1e-12;
  options.fit.optimiser = pipeline_optimiser_find("sgd", NULL);
  train(fresh, &options, &result);
  g_autoptr(OnnxGraph) before = onnx_graph_from_bytes(base, NULL), after = onnx_graph_from_bytes(result.onnx, NULL);
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(before, NULL, NULL);
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    g_autofree float *was = onnx_tensor_to_floats(onnx_graph_find_initialiser(before, p->name), NULL);
    g_autofree float *is = onnx_tensor_to_floats(onnx_graph_find_initialiser(after, p->name), NULL);
    double moved = 0;
    for (gsize k = 0; k < p->n; k++) moved = fmax(moved, fabs((double)was[k] - (double)is[k]));
    if (i < 4) ck_assert_double_lt(moved, 1e-6);
    if (i >= 4) ck_assert_double_gt(moved, 1e-4);
  }
  pipeline_train_result_clear(&result);
}
END_TEST

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static const struct {
  double share, decay;
  guint64 visits;
  gboolean narrow, fewer_classes;
  const gchar *text;
} refused[] = {{0, 1, 0, FALSE, FALSE, "share of rehearsed rows"}, {.95, 1, 0, FALSE, FALSE, "share of rehearsed rows"},
               {.5, 0, 0, FALSE, FALSE, "decay of the rate"},      {.5, 1.5, 0, FALSE, FALSE, "decay of the rate"},
               {.5, 1, 31, FALSE, FALSE, "at least one batch"},    {.5, 1, 0, TRUE, FALSE, "numbers each"},
               {.5, 1, 0, FALSE, TRUE, "not of the same classes"}};

START_TEST(what_cannot_be_rehearsed_is_refused)
{
  g_autoptr(PipelineGraphRows) old = new_rows(100, 0, 1), fresh = new_rows(100, 1, 2);
  g_autoptr(GBytes) base = train_old(old);
  PipelineGraphTrainOptions options;
  PipelineTrainResult result = {0};
  GError *error = NULL;
  options_init(&options, base);
  options.rehearsal = old;
  options.fit.rehearsal_share = refused[_i].share;
  options.layer_decay = refused[_i].decay;
  options.fit.row_visits = refused[_i].visits;
  if (refused[_i].narrow) old->n_features = FEATURES - 1;
  if (refused[_i].fewer_classes) drift_schema_add_class(old->schema, "2");
  ck_assert(!pipeline_graph_train(fresh, &options, NULL, NULL, &result, &error));
  ck_assert_msg(strstr(error->message, refused[_i].text) != NULL, "%s", error->message);
  g_error_free(error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("finetune");
  TCase *cases = tcase_create("finetune");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, every_batch_has_its_share_of_old_rows, 0, G_N_ELEMENTS(epochs));
  tcase_add_test(cases, rehearsing_keeps_what_was_known);
  tcase_add_test(cases, row_visits_are_a_bound_and_used_up);
  tcase_add_test(cases, both_worlds_are_validated);
  tcase_add_test(cases, a_stopped_rehearsal_goes_on_to_the_same_bytes);
  tcase_add_test(cases, rates_fall_with_the_distance_from_the_head);
  tcase_add_test(cases, the_decay_reaches_the_optimiser);
  tcase_add_loop_test(cases, what_cannot_be_rehearsed_is_refused, 0, G_N_ELEMENTS(refused));
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
