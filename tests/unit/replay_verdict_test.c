/* Replay: identical from what is stored, and not when anything was changed. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/replay.h"
#include "tests/support/leader_world.h"

enum { CHANGE = 3030 };

static LeaderWorld *world;

static guint8 by_world(gint64 version, gint32 partition, gint64 row)
{
  guint64 z = ((guint64)row * 8 + (guint64)partition) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  return (z >> 20) % 1000 < (version == 1 ? row < CHANGE ? 50U : 500U : 900U);
}

/* A drift incident, a performance incident, a promotion that is rolled back. */
static void begin(int store)
{
  world = leader_world_new(store, NULL);
  world->errors = by_world;
  for (gint64 pane = 0; pane < 36; pane++) {
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.shift = pane == 20 ? .6 : 0, .time = pane});
    leader_world_labels(world, 0, 100, leader_world_champion(world), pane);
    leader_world_settle(world);
    g_autoptr(RegistryJob) job = leader_world_find_job(world, "refit");
    gboolean first = leader_world_count(world, "SELECT count(*) FROM version") == 1;
    if (!job) continue;
    g_autofree gchar *result =
        first ? leader_world_trained(leader_world_add_version(world, job->id), .1, .95, 1) : NULL;
    leader_world_finish_job(world, job->id, first ? "done" : "failed", result);
    leader_world_settle(world);
  }
}

static void end(void)
{
  leader_world_free(world);
}

static void expect_identical(const gchar *id, const gchar *kind)
{
  g_autoptr(GError) error = NULL;
  ReplayResult result = {0};
  ck_assert_msg(replay(world->store, world->artifacts, NULL, id, &result, &error), "%s: %s", id,
                error ? error->message : "");
  ck_assert_msg(result.identical, "%s: %s", id, result.difference);
  ck_assert_str_eq(result.kind, kind);
  ck_assert_uint_ge(result.n_panes, 1);
  replay_result_clear(&result);
}

/* A copy of the verdict under the next number with another body or other panes. */
static gchar *forge(const gchar *id, const gchar *from, const gchar *to, gint64 number)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, id, &error);
  ck_assert_ptr_nonnull(verdict);
  g_autoptr(GString) body = g_string_new(verdict->body), panes = g_string_new(verdict->panes);
  ck_assert_uint_ge(g_string_replace(body, from, to, 1) + g_string_replace(panes, from, to, 1), 1);
  g_free(verdict->id);
  verdict->id = g_strdup_printf("m/%s/%" G_GINT64_FORMAT, verdict->kind, number);
  verdict->number = number;
  g_free(verdict->body);
  g_free(verdict->panes);
  verdict->body = g_strdup(body->str);
  verdict->panes = g_strdup(panes->str);
  ck_assert_msg(registry_verdict_put(world->store, verdict, &error), "%s", error ? error->message : "");
  return g_strdup(verdict->id);
}

static void expect_different(const gchar *id, const gchar *what)
{
  g_autoptr(GError) error = NULL;
  ReplayResult result = {0};
  ck_assert_msg(replay(world->store, world->artifacts, NULL, id, &result, &error), "%s", error ? error->message : "");
  ck_assert(!result.identical);
  ck_assert_msg(strstr(result.difference, what) != NULL, "%s", result.difference);
  replay_result_clear(&result);
}

static void expect_refused(const gchar *id, const gchar *text)
{
  g_autoptr(GError) error = NULL;
  ReplayResult result = {0};
  ck_assert(!replay(world->store, world->artifacts, NULL, id, &result, &error));
  ck_assert_msg(error && strstr(error->message, text), "%s", error ? error->message : "no error");
}

START_TEST(every_incident_and_every_window_is_identical)
{
  begin(_i);
  for (guint i = 0; i < 36; i++) {
    g_autofree gchar *id = g_strdup_printf("m/window/%u", i);
    expect_identical(id, "window");
  }
  for (guint i = 0; i < 12; i++) {
    g_autofree gchar *id = g_strdup_printf("m/horizon/%u", i);
    expect_identical(id, "horizon");
  }
  for (guint i = 0; i < 3; i++) {
    g_autofree gchar *id = g_strdup_printf("m/performance/%u", i);
    expect_identical(id, "performance");
  }
  static const gchar *const kinds[][2] = {{"drift", "window"}, {"performance", "label"}, {"rollout", "label"}};
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autoptr(RegistryIncident) incident = leader_world_incident(world, kinds[i][0], 0);
    ck_assert_msg(incident != NULL, "no incident of kind %s", kinds[i][0]);
    expect_identical(incident->id, kinds[i][1]);
  }
  end();
}
END_TEST

START_TEST(a_changed_body_or_pane_is_noticed)
{
  begin(_i);
  g_autofree gchar *body = forge("m/window/20", "\"drift\":true", "\"drift\":false", 36);
  expect_different(body, "drift");
  g_autofree gchar *panes = forge("m/window/20", "[[0,20]]", "[[0,19]]", 37);
  expect_different(panes, "");
  g_autofree gchar *performance = forge("m/performance/1", "\"n\":100,", "\"n\":101,", 36);
  expect_different(performance, "performance");
  test_store_sql(world->store, "UPDATE pane SET events = events + 1 WHERE number = 20");
  expect_refused("m/window/20", "20");
  test_store_sql(world->store, "UPDATE label_pane SET next_row = next_row + 1 WHERE number = 5");
  expect_refused("m/performance/5", "5");
  end();
}
END_TEST

START_TEST(what_cannot_be_recomputed_says_so)
{
  g_autoptr(GError) error = NULL;
  begin(_i);
  expect_refused("m/label/3", "nothing was decided on this pane");
  expect_refused("m/window/999", "no verdict m/window/999");
  const RegistryIncident gap = {.id = (gchar *)"m/ingest/1",
                                .model = (gchar *)"m",
                                .kind = (gchar *)"ingest",
                                .state = (gchar *)"open",
                                .summary = (gchar *)"the topic was created anew",
                                .body = (gchar *)"{}"};
  ck_assert(registry_incident_put(world->store, &gap, &error));
  expect_refused("m/ingest/1", "opened by no verdict");
  end();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("replay_verdict");
  TCase *tcase = tcase_create("replay");
  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, every_incident_and_every_window_is_identical, 0, test_stores_count());
  tcase_add_loop_test(tcase, a_changed_body_or_pane_is_noticed, 0, test_stores_count());
  tcase_add_loop_test(tcase, what_cannot_be_recomputed_says_so, 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
