/* The worker: what it starts, what it puts back, cancels, rescues. This program is its own child: started as
 * `PROGRAM job run ID …` it does what the environment variable KEDGE_TEST_CHILD says. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/job_heartbeat.h"
#include "pipeline/worker_child.h"
#include "pipeline/worker_rescue.h"
#include "tests/support/job_fixture.h"

#define WAIT_US (30 * G_USEC_PER_SEC) /* how long a test waits for something that must happen */

/* --- the child ---------------------------------------------------------------------------------------------------- */

static void ignore_and_wait(void)
{
  signal(SIGTERM, SIG_IGN);
  for (;;) pause();
}

/* Writes its pid, its command line and its KEDGE_STORE to the file KEDGE_TEST_RECORD names. */
static void record(int argc, char **argv)
{
  g_autoptr(GString) text = g_string_new(NULL);
  g_string_append_printf(text, "%d\n", (int)getpid());
  for (int i = 1; i < argc; i++) g_string_append_printf(text, "%s\n", argv[i]);
  const char *store = g_getenv("KEDGE_STORE");
  g_string_append_printf(text, "KEDGE_STORE=%s\n", store != NULL ? store : "");
  g_file_set_contents(g_getenv("KEDGE_TEST_RECORD"), text->str, -1, NULL);
}

static const char *option(int argc, char **argv, const char *name)
{
  for (int i = 1; i + 1 < argc; i++)
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  return NULL;
}

static int finish_job(int argc, char **argv)
{
  const char *uri = option(argc, argv, "--store");
  g_autoptr(RegistryStore) store = registry_store_open(uri != NULL ? uri : g_getenv("KEDGE_STORE"), NULL);
  gint64 token = g_ascii_strtoll(option(argc, argv, "--token"), NULL, 10);
  return store != NULL && registry_job_finish(store, argv[3], token, "done", "{\"rows\": 7}", NULL, NULL) ? 0 : 9;
}

static int be_child(int argc, char **argv)
{
  const char *what = g_getenv("KEDGE_TEST_CHILD");
  if (strcmp(what, "fork") == 0 && fork() == 0) ignore_and_wait();
  record(argc, argv);
  if (strcmp(what, "finish") == 0) return finish_job(argc, argv);
  if (strcmp(what, "crash") == 0) raise(SIGKILL);
  ignore_and_wait();
  return 0;
}

/* --- helpers ------------------------------------------------------------------------------------------------------ */

typedef struct {
  JobFixture *fixture;
  gchar *record, *program;
  PipelineWorkerOptions options;
  GCancellable *stop;
  GThread *thread;
  gboolean ok;
} Bench;

static Bench *bench_open(int index, const char *child)
{
  Bench *bench = g_new0(Bench, 1);
  bench->fixture = job_fixture_open(index);
  bench->record = g_build_filename(bench->fixture->test->directory, "record", NULL);
  bench->program = g_file_read_link("/proc/self/exe", NULL);
  bench->stop = g_cancellable_new();
  bench->options = (PipelineWorkerOptions){.store_uri = bench->fixture->test->uri,
                                           .artifacts = bench->fixture->artifacts_directory,
                                           .name = "w1",
                                           .program = bench->program,
                                           .poll_ms = 2,
                                           .heartbeat_ms = 10000,
                                           .lost_ms = 30000,
                                           .kill_ms = 50,
                                           .once = TRUE};
  g_setenv("KEDGE_TEST_CHILD", child, TRUE);
  g_setenv("KEDGE_TEST_RECORD", bench->record, TRUE);
  return bench;
}

static void bench_close(Bench *bench)
{
  job_fixture_close(bench->fixture);
  g_object_unref(bench->stop);
  g_free(bench->record);
  g_free(bench->program);
  g_free(bench);
}

static gpointer work(gpointer data)
{
  Bench *bench = data;
  g_autoptr(GError) error = NULL;
  bench->ok = pipeline_worker_run(&bench->options, bench->stop, &error);
  if (!bench->ok) g_printerr("%s\n", error->message);
  return NULL;
}

static void run_once(Bench *bench)
{
  work(bench);
  ck_assert(bench->ok);
}

static RegistryJob *get_job(Bench *bench, const char *id)
{
  g_autoptr(GError) error = NULL;
  RegistryJob *job = registry_job_get(bench->fixture->store, id, &error);
  ck_assert_msg(job != NULL, "%s", error != NULL ? error->message : "");
  return job;
}

static void wait_for_state(Bench *bench, const char *id, const char *state)
{
  gint64 end = g_get_monotonic_time() + WAIT_US;
  for (;;) {
    g_autoptr(RegistryJob) job = get_job(bench, id);
    if (strcmp(job->state, state) == 0) return;
    ck_assert_msg(g_get_monotonic_time() < end, "job %s is still %s, not %s", id, job->state, state);
    g_usleep(1000);
  }
}

/* The lines that the child recorded. */
static GStrv wait_for_record(Bench *bench)
{
  gint64 end = g_get_monotonic_time() + WAIT_US;
  gchar *text = NULL;
  while (!g_file_get_contents(bench->record, &text, NULL, NULL)) {
    ck_assert_msg(g_get_monotonic_time() < end, "no child was started");
    g_usleep(1000);
  }
  GStrv lines = g_strsplit(text, "\n", 0);
  g_free(text);
  return lines;
}

static void wait_until_group_is_gone(pid_t group)
{
  gint64 end = g_get_monotonic_time() + WAIT_US;
  while (kill(-group, 0) == 0 || errno != ESRCH) {
    ck_assert_msg(g_get_monotonic_time() < end, "process group %d lives on", (int)group);
    g_usleep(1000);
  }
}

#define TRAIN "{\"model\": \"loan\", \"data\": []}"

/* --- tests -------------------------------------------------------------------------------------------------------- */

START_TEST(a_job_runs_in_a_process_of_its_own)
{
  Bench *bench = bench_open(_i, "finish");
  bench->options.settings_path = "/etc/kedge/k.yaml";
  job_fixture_job(bench->fixture, "retrain/loan/1", "retrain", TRAIN, FALSE);
  run_once(bench);
  g_autoptr(RegistryJob) job = get_job(bench, "retrain/loan/1");
  ck_assert_str_eq(job->state, "done");
  ck_assert_str_eq(job->worker, "w1");
  g_auto(GStrv) lines = wait_for_record(bench);
  g_autofree gchar *token = g_strdup_printf("%" G_GINT64_FORMAT, job->token);
  const gchar *const start[] = {"job", "run", "retrain/loan/1", "--token", token};
  for (guint i = 0; i < G_N_ELEMENTS(start); i++) ck_assert_str_eq(lines[1 + i], start[i]);
  ck_assert(g_strv_contains((const gchar *const *)lines, "--artifacts"));
  ck_assert(g_strv_contains((const gchar *const *)lines, bench->fixture->artifacts_directory));
  ck_assert(g_strv_contains((const gchar *const *)lines, "/etc/kedge/k.yaml"));
  ck_assert(g_strv_contains((const gchar *const *)lines, bench->fixture->test->uri));
  bench_close(bench);
}
END_TEST

START_TEST(a_password_is_not_on_the_command_line)
{
  Bench *bench = bench_open(0, "finish");
  /* The same database by a longer spelling that looks as if it held a password. */
  const gchar *path = bench->fixture->test->uri + strlen("sqlite:");
  g_autofree gchar *folder = g_path_get_dirname(path), *file = g_path_get_basename(path);
  g_autofree gchar *link = g_build_filename(folder, "password", NULL);
  ck_assert_int_eq(symlink(folder, link), 0);
  g_autofree gchar *uri = g_strdup_printf("sqlite:%s/%s", link, file);
  bench->options.store_uri = uri;
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  run_once(bench);
  wait_for_state(bench, "j", "done");
  g_auto(GStrv) lines = wait_for_record(bench);
  g_autofree gchar *variable = g_strdup_printf("KEDGE_STORE=%s", uri);
  ck_assert(g_strv_contains((const gchar *const *)lines, variable));
  ck_assert(!g_strv_contains((const gchar *const *)lines, uri));
  bench_close(bench);
}
END_TEST

START_TEST(a_crashing_job_is_tried_again_and_fails_in_the_end)
{
  Bench *bench = bench_open(_i, "crash");
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  run_once(bench);
  g_autoptr(RegistryJob) job = get_job(bench, "j");
  ck_assert_str_eq(job->state, "failed");
  ck_assert_uint_eq(job->attempts, 3);
  g_autoptr(GPtrArray) log = registry_job_log_list(bench->fixture->store, "j", 0, NULL);
  ck_assert_uint_eq(log->len, 3);
  ck_assert_ptr_nonnull(strstr(g_ptr_array_index(log, 0), "attempt 1: its process ended by signal 9"));
  bench_close(bench);
}
END_TEST

START_TEST(cancel_ends_the_whole_process_group)
{
  Bench *bench = bench_open(_i, "fork");
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  bench->thread = g_thread_new("worker", work, bench);
  g_auto(GStrv) lines = wait_for_record(bench);
  pid_t group = atoi(lines[0]);
  ck_assert_int_eq(getpgid(group), group);
  ck_assert(registry_job_cancel(bench->fixture->store, "j", "test", NULL));
  g_thread_join(bench->thread);
  ck_assert(bench->ok);
  wait_for_state(bench, "j", "cancelled");
  wait_until_group_is_gone(group); /* both ignore TERM */
  bench_close(bench);
}
END_TEST

START_TEST(a_stopped_worker_leaves_its_job_to_others)
{
  Bench *bench = bench_open(_i, "hang");
  bench->options.once = FALSE;
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  bench->thread = g_thread_new("worker", work, bench);
  g_auto(GStrv) lines = wait_for_record(bench);
  g_cancellable_cancel(bench->stop);
  g_thread_join(bench->thread);
  ck_assert(bench->ok);
  g_autoptr(RegistryJob) job = get_job(bench, "j");
  ck_assert_str_eq(job->state, "queued");
  wait_until_group_is_gone(atoi(lines[0]));
  bench_close(bench);
}
END_TEST

START_TEST(warm_jobs_go_on_while_a_process_runs)
{
  Bench *bench = bench_open(_i, "hang");
  bench->options.once = FALSE;
  job_fixture_job(bench->fixture, "long", "retrain", TRAIN, FALSE);
  bench->thread = g_thread_new("worker", work, bench);
  g_strfreev(wait_for_record(bench));
  job_fixture_job(bench->fixture, "score", "score", "{\"model\": \"loan\", \"data\": [], \"versions\": []}", FALSE);
  wait_for_state(bench, "score", "done");
  job_fixture_job(bench->fixture, "bad", "score", "{\"model\": \"loan\", \"data\": 3}", FALSE);
  wait_for_state(bench, "bad", "failed");
  g_autoptr(RegistryJob) bad = get_job(bench, "bad"), running = get_job(bench, "long");
  ck_assert_ptr_nonnull(strstr(bad->error, "data of the job's spec"));
  ck_assert_str_eq(running->state, "running");
  g_cancellable_cancel(bench->stop);
  g_thread_join(bench->thread);
  bench_close(bench);
}
END_TEST

START_TEST(a_child_that_lost_its_claim_is_killed)
{
  Bench *bench = bench_open(_i, "hang");
  bench->options.once = FALSE;
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  bench->thread = g_thread_new("worker", work, bench);
  g_auto(GStrv) lines = wait_for_record(bench);
  g_autoptr(RegistryJob) job = get_job(bench, "j");
  /* As another worker does that saw no heartbeat; the job then runs there. */
  ck_assert(registry_job_finish(bench->fixture->store, "j", job->token, "failed", NULL, "elsewhere", NULL) ||
            registry_job_rescue(bench->fixture->store, "j", job->token, job->heartbeat, NULL));
  wait_until_group_is_gone(atoi(lines[0]));
  g_cancellable_cancel(bench->stop);
  g_thread_join(bench->thread);
  bench_close(bench);
}
END_TEST

START_TEST(a_program_that_is_not_there_fails_the_job)
{
  Bench *bench = bench_open(0, "finish");
  bench->options.program = "/nonexistent/kedge";
  job_fixture_job(bench->fixture, "j", "retrain", TRAIN, FALSE);
  run_once(bench);
  g_autoptr(RegistryJob) job = get_job(bench, "j");
  ck_assert_str_eq(job->state, "failed");
  ck_assert_ptr_nonnull(strstr(job->error, "/nonexistent/kedge cannot be started"));
  bench_close(bench);
}
END_TEST

START_TEST(a_restarted_worker_takes_its_orphans_back)
{
  Bench *bench = bench_open(_i, "finish");
  g_autoptr(RegistryJob) orphan = job_fixture_job(bench->fixture, "j", "retrain", TRAIN, TRUE);
  bench->options.name = "w";
  run_once(bench);
  g_autoptr(RegistryJob) job = get_job(bench, "j");
  ck_assert_str_eq(job->state, "done");
  ck_assert_uint_eq(job->attempts, 2);
  g_autoptr(GError) error = NULL; /* the orphan's late result */
  ck_assert(!registry_job_finish(bench->fixture->store, "j", orphan->token, "done", "{}", NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  bench_close(bench);
}
END_TEST

START_TEST(only_a_heartbeat_that_stands_still_is_rescued)
{
  JobFixture *fixture = job_fixture_open(_i);
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", TRAIN, TRUE);
  g_autoptr(PipelineRescue) rescue = pipeline_rescue_new(1000);
  guint n = 9;
  ck_assert(pipeline_rescue_look(rescue, fixture->store, NULL, 0, &n, NULL) && n == 0);
  ck_assert(pipeline_rescue_look(rescue, fixture->store, NULL, 999999, &n, NULL) && n == 0);
  ck_assert(registry_job_heartbeat(fixture->store, "j", job->token, NULL, NULL, NULL));
  ck_assert(pipeline_rescue_look(rescue, fixture->store, NULL, 1000000, &n, NULL) && n == 0);
  ck_assert(pipeline_rescue_look(rescue, fixture->store, "j", 2000000, &n, NULL) && n == 0); /* our own */
  ck_assert(pipeline_rescue_look(rescue, fixture->store, NULL, 2000000, &n, NULL) && n == 1);
  g_autoptr(RegistryJob) after = registry_job_get(fixture->store, "j", NULL);
  ck_assert_str_eq(after->state, "queued");
  job_fixture_close(fixture);
}
END_TEST

START_TEST(heartbeats_carry_progress_and_bring_the_cancel_back)
{
  JobFixture *fixture = job_fixture_open(_i);
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", TRAIN, TRUE);
  g_autoptr(PipelineHeartbeat) heartbeat = pipeline_heartbeat_new(fixture->test->uri, 5);
  g_autoptr(GCancellable) cancel = g_cancellable_new();
  pipeline_heartbeat_begin(heartbeat, "j", job->token, cancel);
  pipeline_heartbeat_take_progress(heartbeat, g_strdup("{\"fraction\": 0.5}"));
  gint64 end = g_get_monotonic_time() + WAIT_US;
  for (gboolean arrived = FALSE; !arrived;) {
    g_autoptr(RegistryJob) now = registry_job_get(fixture->store, "j", NULL);
    arrived = now->heartbeat > job->heartbeat && g_strcmp0(now->progress, "{\"fraction\": 0.5}") == 0;
    ck_assert(g_get_monotonic_time() < end);
  }
  ck_assert(!g_cancellable_is_cancelled(cancel));
  ck_assert(registry_job_cancel(fixture->store, "j", "test", NULL));
  while (!g_cancellable_is_cancelled(cancel)) ck_assert(g_get_monotonic_time() < end);
  ck_assert(!pipeline_heartbeat_is_fenced(heartbeat));
  pipeline_heartbeat_end(heartbeat);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_lost_claim_is_noticed_by_its_heartbeat)
{
  JobFixture *fixture = job_fixture_open(_i);
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", TRAIN, TRUE);
  g_autoptr(PipelineHeartbeat) heartbeat = pipeline_heartbeat_new(fixture->test->uri, 5);
  g_autoptr(GCancellable) cancel = g_cancellable_new();
  pipeline_heartbeat_begin(heartbeat, "j", job->token + 1, cancel);
  gint64 end = g_get_monotonic_time() + WAIT_US;
  while (!g_cancellable_is_cancelled(cancel)) ck_assert(g_get_monotonic_time() < end);
  ck_assert(pipeline_heartbeat_is_fenced(heartbeat));
  pipeline_heartbeat_end(heartbeat);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(job_run_refuses_a_token_that_is_not_the_claim)
{
  JobFixture *fixture = job_fixture_open(0);
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, "j", "retrain", TRAIN, TRUE);
  PipelineJobRunOptions options = {.store_uri = fixture->test->uri};
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_job_run(fixture->store, fixture->artifacts, "j", job->token + 1, &options, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  job_fixture_close(fixture);
}
END_TEST

START_TEST(run_time_is_predicted_from_finished_jobs)
{
  JobFixture *fixture = job_fixture_open(_i);
  g_autoptr(GError) error = NULL;
  ck_assert_int_eq(pipeline_job_predict_us(fixture->store, "retrain", 1000, &error), 0);
  ck_assert_ptr_null(error);
  gint64 expected = 0;
  for (int i = 0; i < 3; i++) {
    g_autofree gchar *id = g_strdup_printf("j%d", i);
    g_autoptr(RegistryJob) job = job_fixture_job(fixture, id, "retrain", TRAIN, TRUE);
    ck_assert(registry_job_finish(fixture->store, id, job->token, "done", "{\"rows\": 1, \"holdout\": 1}", NULL, NULL));
    g_autoptr(RegistryJob) after = registry_job_get(fixture->store, id, NULL);
    expected = MAX(expected, (after->finished_at - after->started_at) * 500);
  }
  gint64 predicted = pipeline_job_predict_us(fixture->store, "retrain", 1000, &error);
  ck_assert_int_gt(predicted, 0);
  ck_assert_int_le(predicted, expected);
  ck_assert_int_eq(pipeline_job_predict_us(fixture->store, "score", 1000, &error), 0);
  job_fixture_close(fixture);
}
END_TEST

int main(int argc, char **argv)
{
  if (argc > 2 && strcmp(argv[1], "job") == 0 && strcmp(argv[2], "run") == 0) return be_child(argc, argv);
  Suite *suite = suite_create("job_worker");
  TCase *tests = tcase_create("worker");
  int stores = test_stores_count();
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, a_job_runs_in_a_process_of_its_own, 0, stores);
  tcase_add_test(tests, a_password_is_not_on_the_command_line);
  tcase_add_loop_test(tests, a_crashing_job_is_tried_again_and_fails_in_the_end, 0, stores);
  tcase_add_loop_test(tests, cancel_ends_the_whole_process_group, 0, stores);
  tcase_add_loop_test(tests, a_stopped_worker_leaves_its_job_to_others, 0, stores);
  tcase_add_loop_test(tests, warm_jobs_go_on_while_a_process_runs, 0, stores);
  tcase_add_loop_test(tests, a_child_that_lost_its_claim_is_killed, 0, stores);
  tcase_add_test(tests, a_program_that_is_not_there_fails_the_job);
  tcase_add_loop_test(tests, a_restarted_worker_takes_its_orphans_back, 0, stores);
  tcase_add_loop_test(tests, only_a_heartbeat_that_stands_still_is_rescued, 0, stores);
  tcase_add_loop_test(tests, heartbeats_carry_progress_and_bring_the_cancel_back, 0, stores);
  tcase_add_loop_test(tests, a_lost_claim_is_noticed_by_its_heartbeat, 0, stores);
  tcase_add_test(tests, job_run_refuses_a_token_that_is_not_the_claim);
  tcase_add_loop_test(tests, run_time_is_predicted_from_finished_jobs, 0, stores);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
