/* Several processes that train together: what they say to each other, buckets of gradients, and that they end where one
 * ends. Threads stand for the processes here (tests/support/thread_communicator.h); tests/parallel has the real ones.
 */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <glib/gstdio.h>
#include <string.h>

#include "pipeline/gang.h"
#include "pipeline/gradient_buckets.h"
#include "pipeline/graph_fit.h"
#include "tests/support/graph_world.h"
#include "tests/support/thread_communicator.h"

/* --- communicators ------------------------------------------------------------------------------------------------ */

START_TEST(one_process_has_its_own_sums)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineCommunicator) alone = pipeline_communicator_open("single", &error);
  double values[] = {1, 2};
  ck_assert(alone != NULL && alone->size == 1 && alone->rank == 0);
  ck_assert(pipeline_communicator_sum_doubles(alone, values, 2, &error) && values[0] == 1 && values[1] == 2);
  ck_assert(pipeline_communicator_barrier(alone, &error));
  ck_assert(pipeline_communicator_compare(alone, "text", "rows", &error));
  ck_assert_ptr_null(pipeline_communicator_open("pigeon", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "single, mpi, nccl"));
}
END_TEST

START_TEST(a_missing_plugin_is_named)
{
  g_autoptr(GError) error = NULL;
  g_setenv("KEDGE_MPI_PLUGIN", "/nowhere/libkedge-mpi.so", TRUE);
  ck_assert_ptr_null(pipeline_communicator_open("mpi", &error));
  ck_assert(g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED));
  ck_assert_ptr_nonnull(strstr(error->message, "/nowhere/libkedge-mpi.so cannot be loaded"));
  g_clear_error(&error);
  ck_assert(!pipeline_communicator_check("mpi", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/nowhere/libkedge-mpi.so cannot be loaded"));
  ck_assert(pipeline_communicator_check("single", NULL) && !pipeline_communicator_check("pigeon", NULL));
  g_unsetenv("KEDGE_MPI_PLUGIN");
}
END_TEST

static void agree_on_failures(PipelineCommunicator *communicator, gpointer data)
{
  GError **errors = data, *error = NULL;
  gboolean fails = communicator->rank >= 1;
  if (fails) g_set_error(&error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "rank %u", communicator->rank);
  ck_assert(!pipeline_communicator_agree(communicator, !fails, &error));
  errors[communicator->rank] = error;
  ck_assert(pipeline_communicator_agree(communicator, TRUE, NULL));
}

START_TEST(the_first_that_failed_says_why)
{
  GError *errors[3] = {NULL};
  thread_gang_run(3, agree_on_failures, errors);
  ck_assert(g_error_matches(errors[0], PIPELINE_ERROR, PIPELINE_ERROR_PEER));
  ck_assert_str_eq(errors[1]->message, "rank 1");
  ck_assert(g_error_matches(errors[2], PIPELINE_ERROR, PIPELINE_ERROR_PEER));
  ck_assert_ptr_nonnull(strstr(errors[2]->message, "process 2 of 3"));
  for (guint i = 0; i < 3; i++) g_error_free(errors[i]);
}
END_TEST

static void compare_texts(PipelineCommunicator *communicator, gpointer data)
{
  GError **errors = data;
  ck_assert(pipeline_communicator_compare(communicator, "same", "rows", NULL));
  ck_assert(!pipeline_communicator_compare(communicator, communicator->rank == 2 ? "other" : "same", "rows",
                                           &errors[communicator->rank]));
}

START_TEST(different_texts_are_noticed_by_all)
{
  GError *errors[3] = {NULL};
  thread_gang_run(3, compare_texts, errors);
  ck_assert_str_eq(errors[0]->message, "1 of 3 processes do not have the same rows as the first");
  for (guint i = 0; i < 3; i++) g_error_free(errors[i]);
}
END_TEST

/* --- buckets ------------------------------------------------------------------------------------------------------ */

typedef struct {
  gboolean forwards; /* parameters become ready from the first on */
  gchar *told;
} BucketCase;

static void sum_in_buckets(PipelineCommunicator *communicator, gpointer data)
{
  BucketCase *c = data;
  enum { PARAMETERS = 5, ALL = 21 };
  const gsize sizes[PARAMETERS] = {3, 10, 1, 5, 2};
  float gradients[ALL];
  g_autoptr(PipelineGradientBuckets) buckets =
      pipeline_gradient_buckets_new(communicator, gradients, sizes, PARAMETERS, 6);
  ck_assert_uint_eq(pipeline_gradient_buckets_count(buckets), 3);
  for (guint turn = 0; turn < 2; turn++) {
    gsize end = ALL;
    for (guint k = 0; k < ALL; k++) gradients[k] = NAN;
    for (guint i = 0; i < PARAMETERS; i++) {
      guint index = c->forwards ? i : PARAMETERS - 1 - i;
      gsize offset = c->forwards ? ALL - end : end - sizes[index];
      for (gsize k = 0; k < sizes[index]; k++)
        gradients[offset + k] = (float)(offset + k + 100 * turn) * (float)(communicator->rank + 1);
      end -= sizes[index];
      ck_assert(pipeline_gradient_buckets_ready(buckets, index, NULL));
    }
    ck_assert(pipeline_gradient_buckets_finish(buckets, NULL));
    for (guint k = 0; k < ALL; k++) ck_assert_float_eq(gradients[k], (float)(k + 100 * turn) * 3);
  }
  if (communicator->rank == 0) c->told = thread_gang_describe(communicator);
}

/* From the end, at least 6 elements each but for the first parameter: 5 + 2, 10 + 1, 3; in that order always. */
START_TEST(buckets_are_cut_from_the_end)
{
  BucketCase c = {.forwards = _i};
  thread_gang_run(2, sum_in_buckets, &c);
  ck_assert_str_eq(c.told, "f7 f11 f3 f7 f11 f3");
  g_free(c.told);
}
END_TEST

/* A pass says so as soon as a gradient is complete: those of the last layer while the first is not begun. */
typedef struct {
  float *gradients, seen[8];
  const gsize *offsets;
  GString *order;
} Heard;

static gboolean hear(guint index, gpointer data, GError **error)
{
  Heard *heard = data;
  (void)error;
  heard->seen[index] = heard->gradients[heard->offsets[index]];
  g_string_append_printf(heard->order, "%u%s", index, heard->gradients[0] == 12345 ? " " : "! ");
  return TRUE;
}

START_TEST(gradients_are_ready_from_the_end)
{
  GraphWorld world;
  graph_world_init(&world);
  guint n = world.plan->parameters->len;
  g_autofree const gchar **names = pipeline_graph_plan_list_names(world.plan);
  g_autofree float *values = g_new(float, world.plan->n_parameters),
                   *gradients = g_new0(float, world.plan->n_parameters),
                   *slope = g_new0(float, 32 * GRAPH_WORLD_CLASSES);
  g_autofree gsize *offsets = g_new(gsize, n);
  const PipelineGraphPassOptions options = {.wanted = names,
                                            .heads = (const gchar *const[]){"logits", NULL},
                                            .backend = &pipeline_gradient_backend_reference};
  g_autoptr(PipelineGraphPass) pass = pipeline_graph_pass_new(world.graph, &options, NULL);
  for (guint i = 0; i < n; i++) {
    offsets[i] = g_array_index(world.plan->parameters, PipelineGraphParameter, i).offset;
    ck_assert(pipeline_graph_pass_bind(pass, i, values + offsets[i], gradients + offsets[i], NULL));
  }
  Heard heard = {.gradients = gradients, .offsets = offsets, .order = g_string_new("")};
  pipeline_graph_pass_set_ready(pass, hear, &heard);
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  ck_assert(pipeline_graph_pass_set_input(pass, 0, 2, (gint64[]){32, GRAPH_WORLD_WIDTH}, world.x, NULL) &&
            pipeline_graph_pass_forward(pass, TRUE, &random, NULL));
  for (guint i = 0; i < 32 * GRAPH_WORLD_CLASSES; i++) slope[i] = (float)(i % 5) - 2;
  gradients[0] = 12345; /* of the first layer: overwritten when its turn comes */
  ck_assert(pipeline_graph_pass_backward(pass, (const float *[]){slope}, NULL));
  ck_assert_str_eq(heard.order->str, "4 5 2 3 0! 1! ");
  for (guint i = 0; i < n; i++) ck_assert_float_eq(heard.seen[i], gradients[offsets[i]]);
  g_string_free(heard.order, TRUE);
  graph_world_clear(&world);
}
END_TEST

/* --- N processes are one ------------------------------------------------------------------------------------------ */

typedef struct {
  const gchar *name, *backend, *optimiser;
  guint processes, batch, epochs, n_train; /* the last batch: n_train % batch rows */
  gboolean row_weights, class_weights;
  double mixup, noise;
  PipelineAverage average;
} EqualCase;

/* 240 rows by 32: a last batch of 16; 65 by 32: of one row, which leaves two of three processes without any; 31 by 32
 * and 7 processes: slices of 4 and 5. */
static const EqualCase equal_cases[] = {
    {"two", "reference", "momentum", 2, 32, 3, 240, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"two, oneDNN", "onednn", "momentum", 2, 32, 3, 240, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"two, AdamW", "onednn", "adamw", 2, 32, 3, 240, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"empty slices", "reference", "momentum", 3, 32, 4, 65, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"empty slices, oneDNN", "onednn", "momentum", 3, 32, 4, 65, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"seven, one batch an epoch", "reference", "adamw", 7, 32, 6, 31, FALSE, FALSE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"row and class weights", "reference", "momentum", 2, 30, 3, 239, TRUE, TRUE, 0, 0, PIPELINE_AVERAGE_NONE},
    {"mixed rows, noise, mean", "reference", "momentum", 3, 32, 3, 230, TRUE, FALSE, 0.4, 0.1, PIPELINE_AVERAGE_EMA},
};
/* Of weights, statistics and outputs on the validation rows, relative to the largest one: ten times what was seen. With
 * AdamW the bias in front of the normalisation is frozen: its gradient is 0 but for rounding, which Adam divides by its
 * own size, so that it wanders at the full rate in every training. */
#define BOUND 1e-5

typedef struct {
  const EqualCase *c;
  GraphWorld world;
  float *row_weights, *parameters[8], *statistics[8];
  GArray *outputs[8];
  PipelineGraphFitState states[8];
} Equal;

static const float class_weights[] = {0.5f, 2, 1.25f};

static void train(PipelineCommunicator *communicator, gpointer data)
{
  Equal *equal = data;
  GraphWorld *world = &equal->world;
  PipelineGraphFitOptions options = world->options;
  guint rank = communicator != NULL ? communicator->rank : 0;
  g_autoptr(GError) error = NULL;
  options.communicator = communicator;
  g_autoptr(OnnxGraph) graph = onnx_graph_copy(world->graph); /* each its own, as processes have */
  const gchar *wanders[] = {"first.bias", NULL};
  gboolean freezes = strcmp(equal->c->optimiser, "adamw") == 0;
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, freezes ? wanders : NULL, NULL);
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find(equal->c->backend, graph, &error);
  g_autoptr(PipelineGraphFit) fit =
      pipeline_graph_fit_new(graph, plan, &world->head, 1, &world->data, &options, backend, &error);
  ck_assert_msg(fit != NULL, "%s", error != NULL ? error->message : "");
  graph_world_run(fit, G_MAXUINT64);
  const PipelineGraphFitState *state = pipeline_graph_fit_get_state(fit);
  equal->states[rank] = *state;
  equal->parameters[rank] = g_memdup2(state->parameters, state->n_parameters * sizeof(float));
  equal->statistics[rank] = g_memdup2(state->statistics, state->n_statistics * sizeof(float));
  equal->outputs[rank] = g_array_new(FALSE, FALSE, sizeof(float));
  ck_assert(
      pipeline_graph_fit_predict(fit, world->data.validation, world->data.n_validation, equal->outputs[rank], &error));
}

static void equal_init(Equal *equal, const EqualCase *c)
{
  memset(equal, 0, sizeof *equal);
  equal->c = c;
  graph_world_init(&equal->world);
  equal->world.data.n_train = c->n_train;
  equal->world.options.epochs = c->epochs;
  equal->world.options.batch_size = c->batch;
  equal->world.options.augment.mixup = c->mixup;
  equal->world.options.augment.noise = c->noise;
  equal->world.options.average = c->average;
  equal->world.options.optimiser = pipeline_optimiser_find(c->optimiser, NULL);
  if (strcmp(c->optimiser, "momentum") == 0) equal->world.options.learning_rate = 0.05;
  if (c->class_weights) equal->world.head.options.class_weights = class_weights;
  if (!c->row_weights) return;
  equal->row_weights = g_new(float, GRAPH_WORLD_ROWS);
  for (guint i = 0; i < GRAPH_WORLD_ROWS; i++) equal->row_weights[i] = (float)(i % 4);
  equal->world.data.weights = equal->row_weights;
}

static void equal_clear(Equal *equal)
{
  for (guint i = 0; i < 8; i++) {
    g_free(equal->parameters[i]);
    g_free(equal->statistics[i]);
    if (equal->outputs[i] != NULL) g_array_unref(equal->outputs[i]);
  }
  g_free(equal->row_weights);
  graph_world_clear(&equal->world);
}

static double distance(const float *a, const float *b, gsize n)
{
  double largest = 0, difference = 0;
  for (gsize i = 0; i < n; i++) {
    largest = MAX(largest, fabs((double)a[i]));
    difference = MAX(difference, fabs((double)a[i] - (double)b[i]));
  }
  return difference / MAX(largest, 1e-30);
}

START_TEST(several_processes_end_where_one_does)
{
  const EqualCase *c = &equal_cases[_i];
  Equal one, several;
  equal_init(&one, c);
  equal_init(&several, c);
  train(NULL, &one);
  thread_gang_run(c->processes, train, &several);
  gsize n = one.states[0].n_parameters, s = one.states[0].n_statistics;
  for (guint r = 1; r < c->processes; r++) {
    ck_assert_mem_eq(several.parameters[0], several.parameters[r], n * sizeof(float));
    ck_assert_mem_eq(several.statistics[0], several.statistics[r], s * sizeof(float));
    ck_assert_mem_eq(&several.states[0].random, &several.states[r].random, sizeof(PipelineRandom));
  }
  double weights = distance(one.parameters[0], several.parameters[0], n),
         statistics = distance(one.statistics[0], several.statistics[0], s),
         outputs = distance((const float *)(gpointer)one.outputs[0]->data,
                            (const float *)(gpointer)several.outputs[0]->data, one.outputs[0]->len);
  ck_assert_msg(weights <= BOUND && statistics <= BOUND && outputs <= BOUND,
                "%s: weights differ by %g, statistics by %g, outputs by %g", c->name, weights, statistics, outputs);
  ck_assert_mem_eq(&one.states[0].random, &several.states[0].random, sizeof(PipelineRandom));
  const double pairs[][2] = {{one.states[0].train_loss, several.states[0].train_loss},
                             {one.states[0].validation_loss, several.states[0].validation_loss},
                             {one.states[0].best_loss, several.states[0].best_loss},
                             {one.states[0].gradient_norm, several.states[0].gradient_norm}};
  for (guint i = 0; i < G_N_ELEMENTS(pairs); i++)
    ck_assert_double_eq_tol(pairs[i][0], pairs[i][1], 1e-4 * (1 + fabs(pairs[i][0])));
  ck_assert_double_eq_tol(one.states[0].dead_share, several.states[0].dead_share, 1e-9);
  equal_clear(&one);
  equal_clear(&several);
}
END_TEST

/* The second of three asks while it computes batch 4: all end after it. */
static void stop_early(PipelineCommunicator *communicator, gpointer data)
{
  Equal *equal = data;
  PipelineGraphFitOptions options = equal->world.options;
  options.communicator = communicator;
  g_autoptr(OnnxGraph) graph = onnx_graph_copy(equal->world.graph);
  g_autoptr(PipelineGraphPlan) plan = pipeline_graph_plan_new(graph, NULL, NULL);
  g_autoptr(PipelineGraphFit) fit = pipeline_graph_fit_new(graph, plan, &equal->world.head, 1, &equal->world.data,
                                                           &options, &pipeline_gradient_backend_reference, NULL);
  guint batches = 0;
  while (!pipeline_graph_fit_is_stopped(fit) && batches < 100) {
    if (communicator->rank == 1 && batches == 3) pipeline_graph_fit_ask_stop(fit);
    graph_world_run(fit, 1);
    batches++;
  }
  equal->states[communicator->rank].steps = batches;
}

START_TEST(all_stop_after_the_same_batch)
{
  Equal equal;
  equal_init(&equal, &equal_cases[0]);
  thread_gang_run(3, stop_early, &equal);
  for (guint r = 0; r < 3; r++) ck_assert_uint_eq(equal.states[r].steps, 4);
  equal_clear(&equal);
}
END_TEST

/* --- starting them ------------------------------------------------------------------------------------------------ */

START_TEST(launchers_are_chosen)
{
  const gchar *argv[] = {"/opt/kedge", "train", "--data", "d.csv", NULL};
  const PipelineGang gang = {.argv = argv, .processes = 3};
  gchar *plain[] = {"A=b", NULL}, *allocation[] = {"SLURM_JOB_ID=7", NULL},
        *step[] = {"SLURM_JOB_ID=7", "SLURM_STEP_ID=0", NULL};
  const struct {
    gchar **environment;
    guint processes;
    const gchar *launcher, *last;
  } cases[] = {{plain, 3, "mpirun", "mpi"},
               {step, 3, "mpirun", "mpi"},
               {allocation, 3, "srun", "mpi"},
               {plain, 1, "/opt/kedge", "single"},
               {allocation, 1, "/opt/kedge", "single"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = pipeline_gang_list_words(&gang, cases[i].processes, cases[i].environment, &error);
    if (words == NULL) { /* that launcher is not installed here */
      ck_assert_ptr_nonnull(strstr(error->message, cases[i].launcher));
      continue;
    }
    ck_assert(g_str_has_suffix(words[0], cases[i].launcher));
    ck_assert_str_eq(words[g_strv_length(words) - 1], cases[i].last);
    ck_assert_str_eq(words[g_strv_length(words) - 2], "--parallel");
  }
}
END_TEST

typedef struct {
  const gchar *script;
  guint processes, restarts;
  gint status;
  const gchar *told;
} GangCase;

/* $0 is a file to which each start adds a line; one process, so that no launcher is needed. */
static const GangCase gang_cases[] = {{"echo >>$0; exit 3", 1, 2, 3, ""},
                                      {"echo >>$0; [ $(wc -l <$0) -gt 1 ] || kill -9 $$", 1, 2, 0,
                                       "one of 1 processes died (exit status 137); starting again with 1\n"},
                                      {"kill -9 $$", 1, 0, 137, ""}};

static void append_told(const gchar *text, gpointer data)
{
  g_string_append_printf(data, "%s\n", text);
}

START_TEST(a_death_starts_again_and_a_failure_does_not)
{
  const GangCase *c = &gang_cases[_i];
  g_autofree gchar *folder = g_dir_make_tmp("gang-XXXXXX", NULL), *file = g_build_filename(folder, "starts", NULL);
  const gchar *argv[] = {"/bin/sh", "-c", c->script, file, NULL};
  g_autoptr(GString) told = g_string_new("");
  g_autoptr(GError) error = NULL;
  const PipelineGang gang = {
      .argv = argv, .processes = c->processes, .restarts = c->restarts, .tell = append_told, .data = told};
  gint status = -1;
  ck_assert_msg(pipeline_gang_run(&gang, &status, &error), "%s", error != NULL ? error->message : "");
  ck_assert_int_eq(status, c->status);
  ck_assert_str_eq(told->str, c->told);
  g_remove(file);
  g_remove(folder);
}
END_TEST

typedef struct {
  guint looks;
  GString *told;
} Asked;

static gboolean goes_on_twice(gpointer data)
{
  Asked *asked = data;
  return ++asked->looks <= 2;
}

static void never_told(const gchar *text, gpointer data)
{
  Asked *asked = data;
  g_string_append(asked->told, text);
}

/* The process ends with its own status once the caller does not want to go on, also when the caller blocks signals; it
 * is not started again. */
START_TEST(the_caller_ends_them)
{
  const gchar *argv[] = {"/bin/sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.01; done", NULL};
  Asked asked = {.told = g_string_new("")};
  g_autoptr(GError) error = NULL;
  const PipelineGang gang = {
      .argv = argv, .processes = 1, .restarts = 3, .tell = never_told, .goes_on = goes_on_twice, .data = &asked};
  sigset_t all, before;
  gint status = -1;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  gboolean ran = pipeline_gang_run(&gang, &status, &error);
  sigprocmask(SIG_SETMASK, &before, NULL);
  ck_assert_msg(ran, "%s", error != NULL ? error->message : "");
  ck_assert_int_eq(status, 9);
  ck_assert_uint_eq(asked.looks, 3);
  ck_assert_str_eq(asked.told->str, "");
  g_string_free(asked.told, TRUE);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("parallel");
  TCase *talk = tcase_create("talk"), *buckets = tcase_create("buckets"), *equal = tcase_create("equal"),
        *gang = tcase_create("gang");
  tcase_add_test(talk, one_process_has_its_own_sums);
  tcase_add_test(talk, a_missing_plugin_is_named);
  tcase_add_test(talk, the_first_that_failed_says_why);
  tcase_add_test(talk, different_texts_are_noticed_by_all);
  tcase_add_loop_test(buckets, buckets_are_cut_from_the_end, 0, 2);
  tcase_add_test(buckets, gradients_are_ready_from_the_end);
  tcase_set_timeout(equal, 60);
  tcase_add_loop_test(equal, several_processes_end_where_one_does, 0, G_N_ELEMENTS(equal_cases));
  tcase_add_test(equal, all_stop_after_the_same_batch);
  tcase_add_test(gang, launchers_are_chosen);
  tcase_add_test(gang, the_caller_ends_them);
  tcase_add_loop_test(gang, a_death_starts_again_and_a_failure_does_not, 0, G_N_ELEMENTS(gang_cases));
  TCase *cases[] = {talk, buckets, equal, gang};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) suite_add_tcase(suite, cases[i]);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
