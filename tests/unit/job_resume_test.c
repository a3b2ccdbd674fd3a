/* A worker that is killed in the middle of a training: its job dies with it, the next worker of that name goes on from
 * the checkpoint, and the version is the same to the bit as that of an unbroken run. This program is also the worker
 * (argv[1] "work") and the job's process ("job run ID …"). */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "pipeline/job_kinds.h"
#include "pipeline/worker_child.h"
#include "registry/model.h"
#include "tests/support/job_fixture.h"

#define WAIT_US (100 * G_USEC_PER_SEC)
#define SPEC                                                                                                           \
  "{\"model\": \"loan\", \"data\": [{\"partition\": 0, \"label_partition\": 0, \"first_row\": 0, \"next_row\": "       \
  "3000}],"                                                                                                            \
  " \"architecture\": \"mlp:16\", \"epochs\": 600, \"patience\": 0, \"learning_rate\": 0.01, \"seed\": 5,"             \
  " \"checkpoint_seconds\": 0}"

static const char *option(int argc, char **argv, const char *name)
{
  for (int i = 1; i + 1 < argc; i++)
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  return NULL;
}

static int be_job(int argc, char **argv)
{
  const char *uri = option(argc, argv, "--store"), *folder = option(argc, argv, "--artifacts");
  g_autoptr(RegistryStore) store = registry_store_open(uri != NULL ? uri : g_getenv("KEDGE_STORE"), NULL);
  g_autoptr(RegistryArtifacts) artifacts = registry_artifacts_open(folder, NULL);
  g_autofree gchar *state = pipeline_job_state_directory(folder), *pid = g_strdup_printf("%d", (int)getpid());
  g_file_set_contents(g_getenv("KEDGE_TEST_RECORD"), pid, -1, NULL);
  PipelineJobRunOptions options = {.store_uri = uri, .state_directory = state, .heartbeat_ms = 1000};
  gint64 token = g_ascii_strtoll(option(argc, argv, "--token"), NULL, 10);
  g_autoptr(GError) error = NULL;
  if (pipeline_job_run(store, artifacts, argv[3], token, &options, NULL, &error)) return 0;
  g_printerr("%s\n", error->message);
  return 1;
}

static int be_worker(char **argv)
{
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", NULL);
  g_autoptr(GCancellable) stop = g_cancellable_new();
  PipelineWorkerOptions options = {.store_uri = argv[2],
                                   .artifacts = argv[3],
                                   .name = "w1",
                                   .program = program,
                                   .poll_ms = 2,
                                   .heartbeat_ms = 1000,
                                   .lost_ms = 60000,
                                   .once = TRUE};
  g_autoptr(GError) error = NULL;
  if (pipeline_worker_run(&options, stop, &error)) return 0;
  g_printerr("%s\n", error->message);
  return 1;
}

static PipelineChild *start_worker(JobFixture *fixture)
{
  g_autofree gchar *program = g_file_read_link("/proc/self/exe", NULL);
  const gchar *const argv[] = {program, "work", fixture->test->uri, fixture->artifacts_directory, NULL};
  g_auto(GStrv) environment = g_get_environ();
  g_autoptr(GError) error = NULL;
  PipelineChild *child = pipeline_child_spawn(argv, (const gchar *const *)environment, &error);
  ck_assert_msg(child != NULL, "%s", error != NULL ? error->message : "");
  return child;
}

static guint count_checkpoints(JobFixture *fixture)
{
  g_autofree gchar *state = pipeline_job_state_directory(fixture->artifacts_directory);
  g_autoptr(GDir) folder = g_dir_open(state, 0, NULL);
  guint n = 0;
  for (const gchar *name; folder != NULL && (name = g_dir_read_name(folder)) != NULL;)
    n += g_str_has_suffix(name, ".safetensors");
  return n;
}

/* Until the training has left its first checkpoint: hundreds of epochs, each with an fsync, are still before it. */
static void wait_for_checkpoint(JobFixture *fixture)
{
  gint64 end = g_get_monotonic_time() + WAIT_US;
  for (; count_checkpoints(fixture) == 0; g_usleep(1000)) {
    g_autoptr(RegistryJob) job = registry_job_get(fixture->store, "j", NULL);
    ck_assert_msg(g_get_monotonic_time() < end, "the job is %s: %s", job->state, job->progress);
  }
}

static JobFixture *open_with_job(int index, gchar **record)
{
  JobFixture *fixture = job_fixture_open(index);
  const JobRows rows = {.n_rows = 3000};
  job_fixture_append(fixture, &rows);
  *record = g_build_filename(fixture->test->directory, "record", NULL);
  g_setenv("KEDGE_TEST_RECORD", *record, TRUE);
  job_fixture_job(fixture, "j", "retrain", SPEC, FALSE);
  return fixture;
}

static gchar *finish(JobFixture *fixture)
{
  g_autoptr(PipelineChild) worker = start_worker(fixture);
  g_autofree gchar *how = NULL;
  ck_assert(pipeline_child_wait(worker, WAIT_US / 1000, &how));
  ck_assert_str_eq(how, "ended with exit status 0");
  g_autoptr(RegistryJob) job = registry_job_get(fixture->store, "j", NULL);
  ck_assert_msg(strcmp(job->state, "done") == 0, "%s: %s", job->state, job->error);
  g_autoptr(RegistryVersion) version = registry_version_get(fixture->store, "loan", 1, NULL);
  ck_assert_uint_eq(count_checkpoints(fixture), 0);
  return g_strdup(version->onnx_digest);
}

START_TEST(a_killed_training_resumes_with_the_same_result)
{
  g_autofree gchar *record = NULL, *pid = NULL;
  JobFixture *fixture = open_with_job(_i, &record);
  PipelineChild *worker = start_worker(fixture);
  wait_for_checkpoint(fixture);
  pipeline_child_free(worker); /* killed, without a word */
  ck_assert(g_file_get_contents(record, &pid, NULL, NULL));
  gint64 end = g_get_monotonic_time() + WAIT_US;
  while (kill(-atoi(pid), 0) == 0 || errno != ESRCH) ck_assert(g_get_monotonic_time() < end); /* died with its worker */
  g_autoptr(RegistryJob) orphan = registry_job_get(fixture->store, "j", NULL);
  ck_assert_str_eq(orphan->state, "running");
  ck_assert_uint_eq(count_checkpoints(fixture), 1);
  g_autofree gchar *broken = finish(fixture);
  g_autoptr(RegistryJob) job = registry_job_get(fixture->store, "j", NULL);
  ck_assert_uint_eq(job->attempts, 2);
  g_autoptr(GPtrArray) log = registry_job_log_list(fixture->store, "j", 0, NULL);
  guint resumed = 0;
  for (guint i = 0; i < log->len; i++) resumed += g_str_has_prefix(g_ptr_array_index(log, i), "resuming");
  ck_assert_uint_eq(resumed, 1);
  job_fixture_close(fixture);

  g_autofree gchar *second_record = NULL;
  JobFixture *unbroken = open_with_job(_i, &second_record);
  g_autofree gchar *whole = finish(unbroken);
  ck_assert_str_eq(broken, whole);
  job_fixture_close(unbroken);
}
END_TEST

int main(int argc, char **argv)
{
  if (argc > 3 && strcmp(argv[1], "job") == 0) return be_job(argc, argv);
  if (argc > 3 && strcmp(argv[1], "work") == 0) return be_worker(argv);
  Suite *suite = suite_create("job_resume");
  TCase *tests = tcase_create("resume");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, a_killed_training_resumes_with_the_same_result, 0, test_stores_count());
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
