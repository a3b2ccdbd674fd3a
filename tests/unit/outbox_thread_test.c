/* The outbox thread: what it sends, what it drops, what waits for another try. Every wait is for a condition. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/outbox.h"
#include "registry/decision.h"
#include "tests/support/postgres_store.h"

static const gint64 LONG = 60 * G_TIME_SPAN_SECOND;

static TestStore *test;
static Health *health;
static Metrics *metrics;
static Outbox *outbox;

static void begin(int store)
{
  test = test_store_open(store);
  g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  health = health_new();
  metrics = metrics_new();
}

static Settings *make_settings(const gchar *artifacts, const gchar *more)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *text = g_strdup_printf("store: \"%s\"\nartifacts: \"%s\"\nsingle_host: true\nleader: {poll_ms: "
                                           "2}\nmodels:\n  - name: m\n    traffic: {topic: t}\n"
                                           "broker: {source: file, directory: \"%s/topics\"}\n%s",
                                           test->uri, artifacts, test->directory, more);
  Settings *settings = settings_parse("test.yaml", text, strlen(text), &error);
  ck_assert_msg(settings != NULL, "%s", error ? error->message : "");
  return settings;
}

static void start(const gchar *artifacts, const gchar *more)
{
  g_autofree gchar *usual = g_build_filename(test->directory, "artifacts", NULL);
  g_autoptr(Settings) settings = make_settings(artifacts ? artifacts : usual, more);
  outbox = outbox_new(settings, health, metrics, NULL);
  outbox_start(outbox);
}

static void end(void)
{
  outbox_stop(outbox);
  outbox_free(outbox);
  metrics_free(metrics);
  health_free(health);
  test_store_close(test);
}

static void put(const gchar *id, const gchar *kind, const gchar *target, const gchar *body)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) payload = g_str_equal(kind, "dead_letter") ? g_bytes_new_static("bad", 3) : NULL;
  const RegistryOutboxItem item = {
      .id = (gchar *)id, .kind = (gchar *)kind, .target = (gchar *)target, .body = (gchar *)body, .payload = payload};
  ck_assert_msg(registry_outbox_put(test->store, &item, &error), "%s", error ? error->message : "");
}

/* Items whose time has come or will come. */
static guint left(void)
{
  g_autoptr(GPtrArray) items = registry_outbox_due(test->store, NULL, G_MAXINT64, 0, NULL);
  return items->len;
}

static gboolean until(guint n)
{
  for (gint64 deadline = g_get_monotonic_time() + LONG; g_get_monotonic_time() < deadline; g_usleep(2000))
    if (left() == n) return TRUE;
  return FALSE;
}

static void make_topic(const gchar *name)
{
  g_autofree gchar *folder = g_build_filename(test->directory, "topics", name, NULL);
  g_autofree gchar *file = g_build_filename(folder, "0.jsonl", NULL);
  ck_assert_int_eq(g_mkdir_with_parents(folder, 0700), 0);
  ck_assert(g_file_set_contents(file, "", 0, NULL));
}

START_TEST(dead_letters_go_to_their_topic_with_their_reason)
{
  begin(_i);
  make_topic("dead");
  put("t/0/7", "dead_letter", "dead", "{\"reason\": \"json\", \"source\": \"t/0/7\"}");
  start(NULL, "");
  ck_assert(until(0));
  g_autofree gchar *file = g_build_filename(test->directory, "topics", "dead", "0.jsonl", NULL), *text = NULL;
  ck_assert(g_file_get_contents(file, &text, NULL, NULL));
  ck_assert_msg(strstr(text, "t/0/7") && strstr(text, "json") && strstr(text, "bad"), "%s", text);
  end();
}
END_TEST

START_TEST(what_nobody_wants_any_more_is_dropped)
{
  begin(_i);
  put("n1", "webhook", "removed", "{}");
  put("rollout/other/1", "rollout", "other", "{}"); /* a model that these settings do not serve */
  put("rollout/m/1", "rollout", "m", "{}");         /* no targets */
  start(NULL, "");
  ck_assert(until(0));
  end();
}
END_TEST

/* A receiver that is away: its item stays for a later try, the others go. */
START_TEST(a_failure_does_not_hold_up_the_rest)
{
  begin(_i);
  g_autofree gchar *secret = g_build_filename(test->directory, "secret", NULL);
  ck_assert(g_file_set_contents(secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", -1, NULL));
  ck_assert_int_eq(g_chmod(secret, 0600), 0);
  g_autofree gchar *more =
      g_strdup_printf("webhooks:\n  - {name: away, url: \"http://127.0.0.1:1/\", secret_file: \"%s\", "
                      "allow_plain_http: true, allow_private_address: true, timeout_ms: 1000}\n",
                      secret);
  for (guint i = 0; i < 3; i++) {
    g_autofree gchar *id = g_strdup_printf("n%u", i);
    put(id, "webhook", "away", "{}");
  }
  put("rollout/m/1", "rollout", "m", "{}");
  start(NULL, more);
  ck_assert(until(3));
  for (gint64 deadline = g_get_monotonic_time() + LONG;; g_usleep(2000)) {
    g_autoptr(GPtrArray) items = registry_outbox_due(test->store, "webhook", G_MAXINT64, 0, NULL);
    guint tried = 0;
    for (guint i = 0; i < items->len; i++) tried += ((RegistryOutboxItem *)g_ptr_array_index(items, i))->attempts > 0;
    ck_assert_uint_eq(items->len, 3);
    if (tried == 3) break;
    ck_assert(g_get_monotonic_time() < deadline);
  }
  end();
}
END_TEST

START_TEST(artifacts_may_come_after_the_store)
{
  begin(_i);
  g_autofree gchar *away = g_build_filename(test->directory, "mount", NULL),
                   *inside = g_build_filename(away, "artifacts", NULL);
  ck_assert(g_file_set_contents(away, "in the way", -1, NULL));
  put("rollout/m/1", "rollout", "m", "{}");
  start(inside, "");
  for (gint64 deadline = g_get_monotonic_time() + LONG;; g_usleep(2000)) {
    g_autofree gchar *why = NULL;
    ck_assert(g_get_monotonic_time() < deadline);
    if (!health_is_ready(health, &why)) break;
  }
  ck_assert_uint_eq(left(), 1);
  g_unlink(away);
  ck_assert_int_eq(g_mkdir_with_parents(away, 0700), 0);
  ck_assert(until(0));
  end();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("outbox_thread");
  TCase *tcase = tcase_create("outbox");
  tcase_set_timeout(tcase, 300);
  const TTest *const tests[] = {dead_letters_go_to_their_topic_with_their_reason, what_nobody_wants_any_more_is_dropped,
                                a_failure_does_not_hold_up_the_rest, artifacts_may_come_after_the_store};
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) tcase_add_loop_test(tcase, tests[i], 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
