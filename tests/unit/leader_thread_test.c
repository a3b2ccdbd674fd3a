/* The leader's thread: what `kedge wait` sees of it, one model's trouble, and a folder that comes back. Every wait is
 * for a condition, with a long deadline. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/leader.h"
#include "daemon/wait.h"
#include "tests/support/leader_world.h"

static const gint64 LONG = 60 * G_TIME_SPAN_SECOND;
enum { POLL_MS = 2 };

static LeaderWorld *world;
static Health *health;
static Metrics *metrics;
static Leader *leader;

static guint8 changing(gint64 version, gint32 partition, gint64 row)
{
  (void)version;
  (void)partition;
  return row < 2000 ? row % 20 == 0 : row % 10 != 0;
}

static void begin(int store)
{
  world = leader_world_new(store, NULL);
  world->errors = changing;
  test_store_sql(world->store, "UPDATE lease SET owner = ''");     /* the thread leads, not the world */
  g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* warnings are what two of these tests are about */
  health = health_new();
  metrics = metrics_new();
}

/* Settings with the world's real store and artifacts, and more models (YAML) before "m". */
static Settings *real_settings(const gchar *artifacts, const gchar *models)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *text = g_strdup_printf("store: \"%s\"\nartifacts: \"%s\"\nsingle_host: true\nleader: {poll_ms: "
                                           "2}\nmodels:\n%s  - name: m\n    traffic: {topic: t}\n"
                                           "    labels: {topic: l}\n    policy: {minimum_rows: 200}\n",
                                           world->test->uri, artifacts, models);
  Settings *settings = settings_parse("test.yaml", text, strlen(text), &error);
  ck_assert_msg(settings != NULL, "%s", error ? error->message : "");
  return settings;
}

static void start(const gchar *artifacts, const gchar *models)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *usual = g_build_filename(world->test->directory, "artifacts", NULL);
  g_autoptr(Settings) settings = real_settings(artifacts ? artifacts : usual, models);
  leader = leader_new(settings, health, metrics, &error);
  ck_assert_ptr_nonnull(leader);
  leader_start(leader);
}

static void end(void)
{
  leader_stop(leader);
  leader_free(leader);
  metrics_free(metrics);
  health_free(health);
  leader_world_free(world);
}

static void wait_for_row(gint64 row)
{
  g_autoptr(GError) error = NULL;
  const WaitOffset traffic = {0, MAX(world->shards[0].offset, 0)}, labels = {0, row};
  const WaitTarget target = {.model = "m", .traffic = &traffic, .n_traffic = 1, .labels = &labels, .n_labels = 1};
  ck_assert_msg(wait_for(world->store, &target, LONG, POLL_MS, &error), "%s", error ? error->message : "");
}

static gboolean is_done(gint64 row, gchar **missing)
{
  const WaitOffset labels = {0, row};
  const WaitTarget target = {.model = "m", .labels = &labels, .n_labels = 1};
  return wait_check(world->store, &target, missing, NULL);
}

static RegistryJob *wait_for_job(const gchar *kind)
{
  for (gint64 deadline = g_get_monotonic_time() + LONG; g_get_monotonic_time() < deadline; g_usleep(POLL_MS * 1000)) {
    RegistryJob *job = leader_world_find_job(world, kind);
    if (job) return job;
  }
  ck_abort_msg("no %s was asked for", kind);
  return NULL;
}

START_TEST(wait_sees_what_was_decided_and_what_is_open)
{
  begin(_i);
  start(NULL, "");
  for (gint64 pane = 0; pane < 20; pane++) leader_world_labels(world, 0, 100, 1, pane);
  wait_for_row(2000);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'label'"), 20);
  for (gint64 pane = 20; pane < 24; pane++) leader_world_labels(world, 0, 100, 1, pane);
  g_autoptr(RegistryJob) job = wait_for_job("refit");
  g_autofree gchar *missing = NULL;
  ck_assert(!is_done(2400, &missing));
  leader_world_finish_job(world, job->id, "failed", NULL);
  wait_for_row(2400);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE body LIKE '%refit failed%'"), 1);
  g_autofree gchar *text = registry_leader_progress_get(world->store, "m", NULL);
  ck_assert_msg(strstr(text, "\"settled\":true") && strstr(text, "\"label_panes\":24") &&
                    strstr(text, "\"training_failures\":1"),
                "%s", text);
  end();
}
END_TEST

START_TEST(one_models_trouble_is_its_own)
{
  g_autoptr(GError) error = NULL;
  begin(_i);
  ck_assert(registry_model_create(world->store, "bad", "{\"task\": 7}", "test", &error));
  start(NULL, "  - name: bad\n    traffic: {topic: u}\n");
  for (gint64 pane = 0; pane < 3; pane++) leader_world_labels(world, 0, 100, 1, pane);
  wait_for_row(300);
  g_autofree gchar *why = NULL;
  ck_assert(!health_is_ready(health, &why));
  ck_assert_msg(strstr(why, "model bad") != NULL, "%s", why);
  end();
}
END_TEST

START_TEST(artifacts_may_come_after_the_store)
{
  begin(_i);
  g_autofree gchar *usual = g_build_filename(world->test->directory, "artifacts", NULL),
                   *away = g_build_filename(world->test->directory, "mount", NULL),
                   *inside = g_build_filename(away, "artifacts", NULL);
  ck_assert(g_file_set_contents(away, "in the way", -1, NULL));
  start(inside, "");
  for (gint64 deadline = g_get_monotonic_time() + LONG;; g_usleep(POLL_MS * 1000)) {
    g_autofree gchar *why = NULL;
    ck_assert(g_get_monotonic_time() < deadline);
    if (!health_is_ready(health, &why) && !strstr(why, "starting")) break;
  }
  g_unlink(away);
  ck_assert_int_eq(g_mkdir(away, 0700), 0);
  ck_assert_int_eq(g_rename(usual, inside), 0);
  leader_world_labels(world, 0, 100, 1, 1);
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 1000, .time = 1}); /* judging it reads artifacts */
  wait_for_row(100);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 1);
  end();
}
END_TEST

/* New settings drop what is in memory; nothing is decided twice. */
START_TEST(a_reload_goes_on_where_it_was)
{
  begin(_i);
  start(NULL, "");
  g_autofree gchar *usual = g_build_filename(world->test->directory, "artifacts", NULL);
  for (gint64 pane = 0; pane < 6; pane++) {
    leader_world_labels(world, 0, 100, 1, pane);
    g_autoptr(Settings) again = real_settings(usual, "");
    leader_reload(leader, again);
    wait_for_row(100 * (pane + 1));
  }
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'label'"), 6);
  end();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("leader_thread");
  TCase *tcase = tcase_create("thread");
  tcase_set_timeout(tcase, 300);
  const TTest *const tests[] = {wait_sees_what_was_decided_and_what_is_open, one_models_trouble_is_its_own,
                                artifacts_may_come_after_the_store, a_reload_goes_on_where_it_was};
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) tcase_add_loop_test(tcase, tests[i], 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
