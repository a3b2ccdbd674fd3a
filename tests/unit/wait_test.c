/* `kedge wait`: what it waits for, one condition after the other. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <glib/gstdio.h>

#include "daemon/settings.h"
#include "daemon/wait.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/shard.h"

static gchar *path;
static RegistryStore *store;

static void set_up(void)
{
  g_autoptr(GError) error = NULL;
  gint fd = g_file_open_tmp("kedge-wait-XXXXXX.db", &path, NULL);
  g_close(fd, NULL);
  g_unlink(path);
  g_autofree gchar *uri = g_strconcat("sqlite:", path, NULL);
  store = registry_store_open(uri, &error);
  ck_assert_msg(store != NULL, "%s", error != NULL ? error->message : "");
}

static void tear_down(void)
{
  registry_store_close(store);
  static const gchar *const suffixes[] = {"", "-wal", "-shm"};
  for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
    g_autofree gchar *file = g_strconcat(path, suffixes[i], NULL);
    g_unlink(file);
  }
  g_free(path);
}

static void checkpoint(gint32 partition, gint64 traffic, const gchar *labels)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) shard = registry_shard_acquire(store, "m", partition, "me", &error);
  ck_assert_msg(shard != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(GBytes) state = g_bytes_new_static("s", 1);
  g_autofree gchar *consumed = g_strdup_printf("{\"traffic\": %d, \"labels\": {%s}}", (int)traffic, labels);
  RegistryCheckpoint one = {.model = "m",
                            .partition = partition,
                            .epoch = shard->epoch,
                            .base_offset = shard->next_offset,
                            .next_offset = traffic,
                            .state = state,
                            .consumed = consumed,
                            .watermark = 1};
  ck_assert_msg(registry_shard_checkpoint(store, &one, &error), "%s", error != NULL ? error->message : "");
}

static void lead(const gchar *progress)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) state = g_bytes_new_static("s", 1);
  ck_assert_msg(registry_leader_state_put(store, "m", state, progress, &error), "%s",
                error != NULL ? error->message : "");
}

static const WaitOffset traffic[] = {{0, 100}, {1, 50}};
static const WaitOffset labels[] = {{0, 40}};
static const WaitTarget target = {.model = "m", .traffic = traffic, .n_traffic = 2, .labels = labels, .n_labels = 1};

static void assert_missing(const gchar *part)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *missing = NULL;
  ck_assert(!wait_check(store, &target, &missing, &error));
  ck_assert_msg(error == NULL, "%s", error != NULL ? error->message : "");
  ck_assert_ptr_nonnull(missing);
  ck_assert_msg(strstr(missing, part) != NULL, "\"%s\" does not name \"%s\"", missing, part);
}

static void assert_reached(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *missing = NULL;
  ck_assert_msg(wait_check(store, &target, &missing, &error), "%s", missing != NULL ? missing : "");
}

#define SEEN(a, la, b, lb)                                                                                             \
  "{\"seen\": {\"0\": {\"traffic\": " #a ", \"labels\": {\"0\": " #la "}}, \"1\": {\"traffic\": " #b                   \
  ", \"labels\": {\"0\": " #lb "}}}, \"settled\": "

START_TEST(every_condition_counts)
{
  g_autoptr(GError) error = NULL;
  assert_missing("traffic partition 0");
  checkpoint(0, 100, "\"0\": 40");
  assert_missing("traffic partition 1");
  checkpoint(1, 50, "\"0\": 39"); /* follows the label partition, one record behind */
  assert_missing("label partition 0 is at offset 39 in shard 1");
  checkpoint(1, 50, "\"0\": 40");
  assert_missing("leader");
  lead(SEEN(100, 40, 50, 39) "true}");
  assert_missing("leader: label partition 0 is at offset 39 in shard 1");
  lead(SEEN(100, 40, 50, 40) "false}");
  assert_missing("decision");
  lead(SEEN(100, 40, 50, 40) "true}");
  assert_reached();

  RegistryJob job = {.id = (gchar *)"j", .model = (gchar *)"m", .kind = (gchar *)"retrain", .spec = (gchar *)"{}"};
  ck_assert(registry_job_create(store, &job, &error));
  assert_missing("jobs: 1");
  g_autoptr(RegistryJob) claimed = registry_job_claim(store, "w", NULL, &error);
  assert_missing("jobs: 1");
  ck_assert(registry_job_finish(store, "j", claimed->token, "done", "{}", NULL, &error));
  assert_reached();

  RegistryOutboxItem item = {
      .id = (gchar *)"rollout/m/1", .kind = (gchar *)"rollout", .target = (gchar *)"m", .body = (gchar *)"{}"};
  ck_assert_msg(registry_outbox_put(store, &item, &error), "%s", error != NULL ? error->message : "");
  assert_missing("rollout/m/1");
  ck_assert(registry_outbox_retry(store, "rollout/m/1", g_get_real_time() + (gint64)3600 * G_USEC_PER_SEC,
                                  "target away", &error));
  assert_missing("rollout/m/1"); /* one that failed and waits for its next try is not carried out */
  ck_assert(registry_outbox_done(store, "rollout/m/1", &error));
  assert_reached();
}
END_TEST

START_TEST(a_shard_that_does_not_follow_a_label_partition_is_not_waited_for)
{
  checkpoint(0, 100, "\"0\": 40");
  checkpoint(1, 50, "\"1\": 7");
  lead("{\"seen\": {\"0\": {\"traffic\": 100, \"labels\": {\"0\": 40}}, \"1\": {\"traffic\": 50, \"labels\": {\"1\": "
       "7}}},"
       " \"settled\": true}");
  assert_reached();
}
END_TEST

START_TEST(time_out_says_what_is_missing)
{
  g_autoptr(GError) error = NULL;
  ck_assert(!wait_for(store, &target, 0, 1, &error));
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_TIMEOUT));
  ck_assert_ptr_nonnull(strstr(error->message, "traffic partition 0 is at offset -1, not yet 100"));
}
END_TEST

START_TEST(offsets_are_parsed)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) two = wait_parse_offsets("0:4100,12:250", &error);
  ck_assert_ptr_nonnull(two);
  ck_assert_uint_eq(two->len, 2);
  ck_assert_int_eq(g_array_index(two, WaitOffset, 1).partition, 12);
  ck_assert_int_eq(g_array_index(two, WaitOffset, 1).next, 250);
  g_autoptr(GArray) none = wait_parse_offsets("", &error);
  ck_assert_uint_eq(none->len, 0);
  static const gchar *const wrong[] = {"0", "0:", ":1", "0:-1", "-1:0", "0:1,", "a:b", "0:1 ", "99999999999:1"};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) failure = NULL;
    ck_assert_msg(wait_parse_offsets(wrong[i], &failure) == NULL, "\"%s\" was accepted", wrong[i]);
    ck_assert_ptr_nonnull(failure);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("wait");
  TCase *tcase = tcase_create("wait");
  tcase_add_checked_fixture(tcase, set_up, tear_down);
  tcase_add_test(tcase, every_condition_counts);
  tcase_add_test(tcase, a_shard_that_does_not_follow_a_label_partition_is_not_waited_for);
  tcase_add_test(tcase, time_out_says_what_is_missing);
  tcase_add_test(tcase, offsets_are_parsed);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
