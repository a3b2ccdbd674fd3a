/* The journal of a search cut at every byte, and its rungs: broken and unbroken trainings end in the same model. */
#include <check.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/search_families.h"
#include "pipeline/search_journal.h"
#include "pipeline/search_trial.h"

enum { EVENTS = 24 };

static gchar *folder;

static void make_folder(void)
{
  folder = g_dir_make_tmp("kedge-search-XXXXXX", NULL);
}

static void remove_folder(void)
{
  GDir *dir = g_dir_open(folder, 0, NULL);
  for (const gchar *name; (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree gchar *path = g_build_filename(folder, name, NULL);
    g_unlink(path);
  }
  g_dir_close(dir);
  g_rmdir(folder);
  g_free(folder);
}

/* All families of tables. */
static PipelineSearchSpace *whole_space(void)
{
  PipelineSearchSpace *space = pipeline_search_space_parse(NULL, NULL);
  ck_assert(space != NULL && pipeline_search_space_fit(space, 0, 0, NULL));
  return space;
}

/* --- the journal -------------------------------------------------------------------------------------------------- */

static PipelineSearchState *new_state(const PipelineSearchSpace *space)
{
  PipelineSearchRule rule;
  pipeline_search_rule_init(&rule);
  return pipeline_search_state_new(space, &rule);
}

static PipelineSearchJournal *open_journal(const gchar *path, PipelineSearchState *state, gboolean must_be_new,
                                           GError **error)
{
  json_t *header = json_pack("{s:s, s:[f, f]}", "data", "abc", "range", .1, 2.);
  PipelineSearchJournal *journal = pipeline_search_journal_open(path, header, must_be_new, state, error);
  json_decref(header);
  return journal;
}

/* One event of a search whose trials are worth what their parameters say; every fifth one fails. */
static void turn(PipelineSearchJournal *journal, PipelineSearchState *state)
{
  GError *error = NULL;
  json_t *event = NULL;
  for (guint i = 0; i < state->trials->len && event == NULL; i++) {
    const PipelineSearchTrial *trial = g_ptr_array_index(state->trials, i);
    if (trial->state != PIPELINE_TRIAL_RUNNING) continue;
    double loss = .3 + fabs(trial->values[0] - 3) / (trial->rung + 1.1);
    event = i % 5 == 4
                ? json_pack("{s:s, s:i, s:i, s:s}", "event", "failed", "trial", i, "rung", trial->rung, "reason",
                            "ended by signal 9 (Killed)")
                : json_pack("{s:s, s:i, s:i, s:f, s:f, s:i, s:f, s:b}", "event", "end", "trial", i, "rung", trial->rung,
                            "loss", loss, "metric", 1 - loss, "epochs", 3, "seconds", .1, "finished", trial->rung == 2);
  }
  if (event == NULL) event = pipeline_search_state_next(state, TRUE);
  ck_assert_msg(pipeline_search_journal_add(journal, event, state, &error), "%s", error != NULL ? error->message : "");
  json_decref(event);
}

/* New: what the file holds after `n_events` in all. */
static gchar *write_events(const gchar *path, const PipelineSearchSpace *space, guint n_events)
{
  GError *error = NULL;
  gchar *text = NULL;
  guint n = 0;
  g_autoptr(PipelineSearchState) state = new_state(space);
  g_autoptr(PipelineSearchJournal) journal = open_journal(path, state, FALSE, &error);
  ck_assert_msg(journal != NULL, "%s", error != NULL ? error->message : "");
  ck_assert(g_file_get_contents(path, &text, NULL, NULL));
  for (const gchar *c = text; *c != '\0'; c++) n += *c == '\n';
  g_free(text);
  for (; n < n_events; n++) turn(journal, state);
  ck_assert(g_file_get_contents(path, &text, NULL, NULL));
  return text;
}

/* Without fsync: thousands of them would be the test's time. (GLib 2.74 does not cut a longer file then.) */
static void put(const gchar *path, const gchar *text, gsize length)
{
  g_unlink(path);
  ck_assert(g_file_set_contents_full(path, text, (gssize)length, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
}

START_TEST(a_journal_cut_anywhere_goes_on_the_same)
{
  g_autoptr(PipelineSearchSpace) space = whole_space();
  g_autofree gchar *path = g_build_filename(folder, "journal.jsonl", NULL);
  g_autofree gchar *whole = write_events(path, space, EVENTS);
  const gsize length = strlen(whole);
  guint lines = 0;
  ck_assert_uint_gt(length, 2000);
  for (gsize cut = 0; cut < length; cut++) {
    lines += cut > 0 && whole[cut - 1] == '\n';
    put(path, whole, cut);
    if (lines == 0 || cut % 397 == 0) continue; /* the next loop */
    g_autofree gchar *left = NULL;
    gsize n_left = 0;
    g_autoptr(PipelineSearchState) state = new_state(space);
    g_autoptr(PipelineSearchJournal) journal = open_journal(path, state, FALSE, NULL);
    ck_assert_msg(journal != NULL, "cut at byte %zu", cut);
    ck_assert(g_file_get_contents(path, &left, &n_left, NULL));
    ck_assert_msg(n_left > 0 && left[n_left - 1] == '\n' && memcmp(left, whole, n_left) == 0 && cut - n_left < 400,
                  "cut at byte %zu", cut);
    guint events = 0;
    for (guint i = 0; i < state->trials->len; i++) {
      const PipelineSearchTrial *trial = g_ptr_array_index(state->trials, i);
      events += 2 * trial->rung + 1 + (trial->state != PIPELINE_TRIAL_RUNNING);
    }
    ck_assert_msg(events == lines - 1, "cut at byte %zu: %u events of %u lines", cut, events, lines);
  }
  for (gsize cut = 0; cut < length; cut += 397) {
    put(path, whole, cut);
    g_autofree gchar *again = write_events(path, space, EVENTS);
    ck_assert_msg(g_str_equal(whole, again), "cut at byte %zu", cut);
  }
}
END_TEST

static void refuse(const gchar *path, const PipelineSearchSpace *space, gboolean must_be_new, const gchar *says)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineSearchState) state = new_state(space);
  ck_assert(open_journal(path, state, must_be_new, &error) == NULL);
  ck_assert_msg(strstr(error->message, says) != NULL, "%s", error->message);
}

START_TEST(what_is_no_journal_of_this_search_is_refused)
{
  g_autoptr(PipelineSearchSpace) space = whole_space();
  g_autofree gchar *path = g_build_filename(folder, "journal.jsonl", NULL);
  g_autofree gchar *whole = write_events(path, space, 9);
  refuse(path, space, TRUE, "a search was begun here");
  g_autofree gchar *swapped = g_strdup(whole);
  *strstr(swapped, "abc") = 'x';
  ck_assert(g_file_set_contents(path, swapped, -1, NULL));
  refuse(path, space, FALSE, "\"data\" differs");
  g_autofree gchar *damaged = g_strdup(whole);
  *strstr(strchr(damaged, '\n') + 1, "event") = '"';
  ck_assert(g_file_set_contents(path, damaged, -1, NULL));
  refuse(path, space, FALSE, "line 2: ");
  g_autofree gchar *lacking = g_strdup(whole); /* without the line of the first start */
  gchar *first = strchr(lacking, '\n') + 1, *second = strchr(first, '\n') + 1;
  memmove(first, second, strlen(second) + 1);
  ck_assert(g_file_set_contents(path, lacking, -1, NULL));
  refuse(path, space, FALSE, "line 2: event \"end\" of trial 0");
}
END_TEST

START_TEST(one_process_holds_it)
{
  g_autoptr(PipelineSearchSpace) space = whole_space();
  g_autofree gchar *path = g_build_filename(folder, "journal.jsonl", NULL);
  g_autoptr(PipelineSearchState) state = new_state(space);
  g_autoptr(PipelineSearchJournal) journal = open_journal(path, state, TRUE, NULL);
  ck_assert(journal != NULL);
  refuse(path, space, FALSE, "another search is running here");
}
END_TEST

/* --- rungs -------------------------------------------------------------------------------------------------------- */

enum { ROWS = 1200 };

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  PipelineSplit split;
  PipelineSearchRows rows;
} World;

/* y depends on a and b; the last fifth are the test rows, whose labels `turned` inverts. */
static World make_world(double test, gboolean turned)
{
  World world = {.table = drift_table_new(), .schema = drift_schema_new(DRIFT_TASK_BINARY, "y")};
  DriftColumn *a = drift_table_add_column(world.table, "a", DRIFT_NUMERIC);
  DriftColumn *b = drift_table_add_column(world.table, "b", DRIFT_NUMERIC);
  DriftColumn *y = drift_table_add_column(world.table, "y", DRIFT_CATEGORICAL);
  GError *error = NULL;
  PipelineRandom random;
  pipeline_random_seed(&random, 7);
  for (guint i = 0; i < ROWS; i++) {
    double p = pipeline_random_uniform(&random), q = pipeline_random_uniform(&random);
    gboolean positive = p * q + .2 * pipeline_random_uniform(&random) > .35;
    drift_column_append_number(a, p);
    drift_column_append_number(b, q);
    if (turned && i >= ROWS * 4 / 5) positive = !positive;
    drift_column_append_text(y, positive ? "yes" : "no", -1);
  }
  world.table->n_rows = ROWS;
  drift_schema_add_class(world.schema, "no");
  drift_schema_add_class(world.schema, "yes");
  drift_schema_add_feature(world.schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(world.schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  ck_assert(pipeline_split_parse("time", &world.split, NULL));
  ck_assert_msg(pipeline_search_rows_init(world.table, world.schema, &world.split, .2, test, 3, &world.rows, &error),
                "%s", error != NULL ? error->message : "");
  world.rows.schema = world.schema;
  return world;
}

static void world_clear(World *world)
{
  pipeline_search_rows_clear(&world->rows);
  pipeline_split_clear(&world->split);
  drift_schema_free(world->schema);
  drift_table_free(world->table);
}

/* Spaces, of which the usual values are taken. */
static const gchar *const families[] = {"dense", "trees",
                                        "dense:activation=silu,norm=batch,residual=yes,dropout=0.1,transform=quantile",
                                        "dense:activation=gelu,norm=layer,taper=0.5,transform=yeo-johnson"};

static PipelineSearchStage make_stage(const gchar *text)
{
  PipelineSearchStage stage = {.number = 4, .folder = folder, .fold = -1};
  g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse(text, NULL);
  const PipelineSearchPart *part = g_ptr_array_index(space->parts, 0);
  stage.family = part->family;
  pipeline_search_rule_init(&stage.rule);
  pipeline_search_part_usual(part, stage.values);
  return stage;
}

static json_t *run(const World *world, PipelineSearchStage *stage, guint rung)
{
  GError *error = NULL;
  stage->rung = rung;
  PipelineSearchRows rows = world->rows;
  rows.split = &world->split;
  json_t *outcome = pipeline_search_trial_run(&rows, stage, NULL, NULL, &error);
  ck_assert_msg(outcome != NULL, "%s", error != NULL ? error->message : "");
  json_object_del(outcome, "seconds");
  json_object_del(outcome, "latency_us");
  json_object_del(outcome, "cpu_seconds");
  return outcome;
}

static gchar *read_model(gsize *length)
{
  gchar *bytes = NULL;
  g_autofree gchar *path = pipeline_search_file(folder, 4, -1, "onnx");
  ck_assert(g_file_get_contents(path, &bytes, length, NULL));
  return bytes;
}

static gboolean never(gpointer user_data)
{
  guint *left = user_data;
  return (*left)-- == 0;
}

START_TEST(rungs_end_in_the_model_of_one_training)
{
  World world = make_world(0, FALSE);
  PipelineSearchStage stage = make_stage(families[_i]);
  json_t *outcome = NULL;
  for (guint rung = 0; rung < 3; rung++) {
    PipelineSearchRows rows = world.rows;
    guint left = 1;
    rows.split = &world.split;
    stage.rung = rung;
    /* Ended in the middle of the rung, like a process that is killed, and begun again. */
    ck_assert(pipeline_search_trial_run(&rows, &stage, never, &left, NULL) == NULL);
    json_decref(outcome);
    outcome = run(&world, &stage, rung);
    if (json_is_true(json_object_get(outcome, "finished"))) break;
  }
  gsize length, once_length;
  g_autofree gchar *climbed = read_model(&length);
  ck_assert(json_is_true(json_object_get(outcome, "finished")));
  ck_assert_int_eq(json_integer_value(json_object_get(outcome, "bytes")), (gint)length);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  g_auto(PipelineSearchRecipe) recipe = {NULL, NULL};
  pipeline_search_family_fill(stage.family, stage.values, world.schema, &recipe, &options);
  options.epochs = pipeline_search_resource(&stage.rule, stage.family, 2);
  options.seed = 3;
  options.split = &world.split;
  options.validation_fraction = .2;
  ck_assert(pipeline_train(world.rows.seen, world.schema, &options, NULL, NULL, &result, NULL));
  const gchar *once = g_bytes_get_data(result.onnx, &once_length);
  ck_assert(length == once_length && memcmp(climbed, once, length) == 0);
  ck_assert(json_real_value(json_object_get(outcome, "loss")) == result.validation_loss);
  pipeline_train_result_clear(&result);
  json_decref(outcome);
  world_clear(&world);
}
END_TEST

START_TEST(test_rows_are_seen_by_no_trial)
{
  World plain = make_world(.2, FALSE), turned = make_world(.2, TRUE);
  ck_assert_uint_eq(plain.rows.test->n_rows, ROWS / 5);
  ck_assert_uint_eq(plain.rows.seen->n_rows, ROWS * 4 / 5);
  ck_assert_uint_eq(plain.rows.n_validation, ROWS / 5);
  PipelineSearchStage stage = make_stage(families[_i]);
  json_t *a = run(&plain, &stage, 0), *b = run(&turned, &stage, 0);
  ck_assert(json_equal(a, b));
  json_decref(a);
  json_decref(b);
  world_clear(&plain);
  world_clear(&turned);
}
END_TEST

/* Trained and measured on other rows in each fold, on the seen ones alone, and the same again. */
START_TEST(folds_measure_on_rows_that_were_not_trained_on)
{
  World plain = make_world(.2, FALSE), turned = make_world(.2, TRUE);
  PipelineSearchStage stage = make_stage(families[_i]);
  double losses[4];
  stage.rule.folds = 4;
  stage.best_epoch = 9;
  for (stage.fold = 0; stage.fold < 4; stage.fold++) {
    json_t *a = run(&plain, &stage, 2), *b = run(&turned, &stage, 2);
    ck_assert(json_equal(a, b));
    losses[stage.fold] = json_real_value(json_object_get(a, "loss"));
    ck_assert(losses[stage.fold] > 0 && losses[stage.fold] < .69); /* better than chance */
    ck_assert(json_real_value(json_object_get(a, "metric")) > .6);
    for (gint f = 0; f < stage.fold; f++) ck_assert(losses[f] != losses[stage.fold]);
    json_decref(a);
    json_decref(b);
  }
  world_clear(&plain);
  world_clear(&turned);
}
END_TEST

START_TEST(few_validation_rows_are_refused)
{
  World world = make_world(0, FALSE);
  PipelineSearchRows rows;
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_search_rows_init(world.table, world.schema, &world.split, .02, 0, 1, &rows, &error));
  ck_assert_msg(strstr(error->message, "fewer than 50 validation rows") != NULL, "%s", error->message);
  world_clear(&world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("search_journal");
  TCase *tests = tcase_create("search_journal");
  suite_add_tcase(suite, tests);
  tcase_add_checked_fixture(tests, make_folder, remove_folder);
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, a_journal_cut_anywhere_goes_on_the_same);
  tcase_add_test(tests, what_is_no_journal_of_this_search_is_refused);
  tcase_add_test(tests, one_process_holds_it);
  tcase_add_loop_test(tests, rungs_end_in_the_model_of_one_training, 0, G_N_ELEMENTS(families));
  tcase_add_loop_test(tests, test_rows_are_seen_by_no_trial, 0, G_N_ELEMENTS(families));
  tcase_add_loop_test(tests, folds_measure_on_rows_that_were_not_trained_on, 0, G_N_ELEMENTS(families));
  tcase_add_test(tests, few_validation_rows_are_refused);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
