/* Windows of traffic: when they are full, what they are judged by, incidents, and one order in which panes are taken.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/replay.h"
#include "tests/support/leader_world.h"

static LeaderWorld *world;

static guint8 never(gint64 version, gint32 partition, gint64 row)
{
  (void)version;
  (void)partition;
  (void)row;
  return 0;
}

static void begin(int store, const gchar *settings)
{
  world = leader_world_new(store, settings);
  world->errors = never;
}

static void end(void)
{
  leader_world_free(world);
}

/* One member of a verdict's body or panes as text (new). */
static gchar *verdict_text(const gchar *id, gboolean panes, const gchar *key)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, id, &error);
  ck_assert_msg(verdict != NULL, "%s: %s", id, error ? error->message : "");
  if (panes) return g_strdup(verdict->panes);
  json_t *body = json_loads(verdict->body, 0, NULL);
  json_t *value = json_object_get(body, key);
  gchar *text = json_is_integer(value) ? g_strdup_printf("%lld", json_integer_value(value)) : g_strdup("?");
  json_decref(body);
  return text;
}

static void expect_panes(gint64 number, const gchar *panes)
{
  g_autofree gchar *id = g_strdup_printf("m/window/%" G_GINT64_FORMAT, number), *text = verdict_text(id, TRUE, NULL);
  ck_assert_str_eq(text, panes);
}

START_TEST(tumbling_by_events)
{
  begin(_i, NULL);
  for (gint64 second = 0; second < 5; second++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 40, .time = second});
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict"), 1);
  expect_panes(0, "[[0,0],[0,1],[0,2]]"); /* 120 events: full at the third pane */
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 40, .time = 5});
  leader_world_step(world);
  expect_panes(1, "[[0,3],[0,4],[0,5]]");
  g_autofree gchar *n = verdict_text("m/window/1", FALSE, "n");
  ck_assert_str_eq(n, "120");
  end();
}
END_TEST

START_TEST(sliding_by_events)
{
  begin(_i, "    window: {events: 100, slide_events: 50, pane_events: 10}\n");
  for (gint64 second = 0; second < 8; second++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 25, .time = second});
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 3);
  expect_panes(0, "[[0,0],[0,1],[0,2],[0,3]]");
  expect_panes(1, "[[0,2],[0,3],[0,4],[0,5]]");
  expect_panes(2, "[[0,4],[0,5],[0,6],[0,7]]");
  end();
}
END_TEST

START_TEST(tumbling_by_event_time)
{
  begin(_i, "    window: {events: 0, duration_ms: 10000, pane_events: 10}\n");
  const gint64 seconds[] = {1000, 1005, 1009, 1010, 1019, 1047};
  for (guint i = 0; i < G_N_ELEMENTS(seconds); i++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = seconds[i]});
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 2);
  expect_panes(0, "[[0,0],[0,1],[0,2]]");
  expect_panes(1, "[[0,3],[0,4]]"); /* closed by the pane of 1047, which begins a window of its own */
  end();
}
END_TEST

START_TEST(sliding_by_event_time)
{
  begin(_i, "    window: {events: 0, duration_ms: 10000, slide_ms: 5000, pane_events: 10}\n");
  const gint64 seconds[] = {1000, 1005, 1009, 1010, 1016, 1021};
  for (guint i = 0; i < G_N_ELEMENTS(seconds); i++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = seconds[i]});
  leader_world_step(world);
  expect_panes(0, "[[0,0],[0,1],[0,2]]");
  expect_panes(1, "[[0,1],[0,2],[0,3]]");
  expect_panes(2, "[[0,3],[0,4]]");
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 3);
  end();
}
END_TEST

/* A sliding window judges twice as often: each judgement has half of the budget. */
START_TEST(the_budget_is_shared_by_what_is_new)
{
  g_autoptr(GError) error = NULL;
  const gchar *const settings[] = {"    window: {events: 100, pane_events: 10}\n",
                                   "    window: {events: 100, slide_events: 50, pane_events: 10}\n"};
  double rates[2];
  for (guint i = 0; i < 2; i++) {
    begin(_i, settings[i]);
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 100});
    leader_world_step(world);
    g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, "m/window/0", &error);
    json_t *inputs = json_loads(verdict->settings, 0, NULL);
    rates[i] = json_number_value(json_object_get(json_object_get(inputs, "settings"), "false_discovery_rate"));
    json_decref(inputs);
    end();
  }
  ck_assert_double_eq_tol(rates[0], .001 * DRIFT_BUDGET_WINDOW, 1e-12);
  ck_assert_double_eq_tol(rates[1], .0005 * DRIFT_BUDGET_WINDOW, 1e-12);
}
END_TEST

START_TEST(a_drift_incident_opens_once_and_closes_after_three_clean_windows)
{
  begin(_i, NULL);
  gint64 second = 0;
  for (guint i = 0; i < 2; i++) leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .time = second++});
  for (guint i = 0; i < 3; i++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .shift = 1, .time = second++});
  leader_world_step(world);
  g_autoptr(RegistryIncident) open = leader_world_incident(world, "drift", 0);
  ck_assert_ptr_nonnull(open);
  ck_assert_str_eq(open->id, "m/drift/2");
  ck_assert_str_eq(open->state, "open");
  ck_assert_str_eq(open->verdict, "m/window/2");
  json_t *body = json_loads(open->body, 0, NULL);
  ck_assert_int_eq(json_integer_value(json_object_get(body, "updates")), 2);
  const json_t *cause = json_array_get(json_object_get(body, "causes"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(cause, "feature")), "a");
  ck_assert_str_eq(json_string_value(json_object_get(body, "last_verdict")), "m/window/4");
  json_decref(body);
  for (guint i = 0; i < 2; i++) leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .time = second++});
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift' AND state = 'open'"),
                   1);
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .time = second++});
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift' AND state = 'closed'"),
                   1);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift'"), 1);
  /* the same again is another incident */
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .shift = 1, .time = second++});
  leader_world_step(world);
  g_autoptr(RegistryIncident) second_one = leader_world_incident(world, "drift", 1);
  ck_assert_ptr_nonnull(second_one);
  ck_assert_str_eq(second_one->id, "m/drift/8");
  end();
}
END_TEST

/* Too small for a window of 100 events; the sum of four shows it. Another leader closes the same sums. */
START_TEST(a_small_lasting_shift_is_found_over_several_windows)
{
  gchar *dumps[2] = {NULL, NULL};
  for (guint crash = 0; crash < 2; crash++) {
    begin(_i, NULL);
    for (gint64 pane = 0; pane < 4; pane++) {
      leader_world_traffic(world, 0, (LeaderWorldTraffic){.shift = .25, .time = pane});
      leader_world_step(world);
      if (crash) leader_world_crash(world);
    }
    leader_world_step(world);
    ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window' AND drift = 1"), 0);
    ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'horizon'"), 2 + 1);
    g_autoptr(RegistryIncident) incident = leader_world_incident(world, "drift", 0);
    ck_assert_ptr_nonnull(incident);
    ck_assert_msg(g_str_has_prefix(incident->summary, "over 4 windows: a (effect 0.1"), "%s", incident->summary);
    ck_assert_str_eq(incident->verdict, "m/horizon/2");
    g_autofree gchar *panes = verdict_text("m/horizon/2", TRUE, NULL), *n = verdict_text("m/horizon/2", FALSE, "n");
    ck_assert_str_eq(panes, "[[0,0],[0,1],[0,2],[0,3]]");
    ck_assert_str_eq(n, "400");
    /* It stays open for as many windows again as it took, and three. */
    for (gint64 pane = 4; pane < 10; pane++) leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = pane});
    leader_world_step(world);
    ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift' AND state = 'open'"),
                     1);
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = 10});
    leader_world_step(world);
    ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift' AND state = 'open'"),
                     0);
    ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM incident WHERE kind = 'drift'"), 1);
    dumps[crash] = leader_world_dump(world);
    end();
  }
  ck_assert_str_eq(dumps[0], dumps[1]);
  g_free(dumps[0]);
  g_free(dumps[1]);
}
END_TEST

/* Windows that slide share panes: a sum has each of them once. A promotion begins sums anew. */
START_TEST(sums_have_each_pane_once_and_one_version)
{
  begin(_i, "    window: {events: 200, slide_events: 100, pane_events: 10}\n");
  leader_world_add_version(world, NULL);
  for (gint64 pane = 0; pane < 3; pane++) leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = pane});
  leader_world_step(world);
  g_autofree gchar *panes = verdict_text("m/horizon/0", TRUE, NULL);
  ck_assert_str_eq(panes, "[[0,0],[0,1],[0,2]]");
  leader_world_promote(world, 2);
  for (gint64 pane = 3; pane < 7; pane++)
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.version = 2, .time = pane});
  leader_world_step(world);
  g_autofree gchar *of_second = verdict_text("m/horizon/1", TRUE, NULL);
  ck_assert_str_eq(of_second, "[[0,2],[0,3],[0,4]]");
  end();
}
END_TEST

START_TEST(a_changed_dependence_is_a_drift_incident)
{
  begin(_i, NULL);
  for (guint i = 0; i < 2; i++) leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .time = i});
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 200, .tied = TRUE, .time = 2});
  leader_world_step(world);
  g_autoptr(RegistryIncident) open = leader_world_incident(world, "drift", 0);
  ck_assert_ptr_nonnull(open);
  ck_assert_str_eq(open->verdict, "m/window/2");
  ck_assert_msg(strstr(open->summary, "dependence of a and b: effect ") != NULL, "%s", open->summary);
  json_t *body = json_loads(open->body, 0, NULL);
  const json_t *cause = json_array_get(json_object_get(body, "causes"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(cause, "feature")), "dependence of a and b");
  const json_t *slice = json_array_get(json_object_get(body, "slices"), 0);
  ck_assert_int_eq((int)json_array_size(json_object_get(slice, "conditions")), 2);
  ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(slice, "text")), "where the changes of "));
  json_decref(body);
  ReplayResult result = {0};
  ck_assert(replay(world->store, world->artifacts, NULL, open->id, &result, NULL));
  ck_assert_msg(result.identical, "%s", result.difference);
  replay_result_clear(&result);
  end();
}
END_TEST

START_TEST(missing_values_are_a_quality_incident)
{
  begin(_i, NULL);
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.n = 400, .missing = .5, .time = 1});
  leader_world_step(world);
  g_autoptr(RegistryIncident) incident = leader_world_incident(world, "quality", 0);
  ck_assert_ptr_nonnull(incident);
  ck_assert_msg(strstr(incident->summary, "b (missing 50.") != NULL, "%s", incident->summary);
  end();
}
END_TEST

/* --- the order
 * ----------------------------------------------------------------------------------------------------------- */

typedef struct {
  gint32 partition;
  gint64 time;
  double shift;
} Arrival;

/* Three partitions, three panes each. */
static const Arrival arrivals[] = {{0, 10, 0}, {0, 20, 1}, {0, 30, 0}, {1, 10, 1}, {1, 15, 0},
                                   {1, 40, 1}, {2, 5, 0},  {2, 25, 1}, {2, 50, 0}};

static void shuffle_arrivals(guint *order, guint n, guint32 seed)
{
  /* a random interleaving that keeps the order within each partition */
  GRand *random = g_rand_new_with_seed(seed);
  guint next[3] = {0, 3, 6};
  for (guint i = 0; i < n;) {
    guint p = (guint)g_rand_int_range(random, 0, 3);
    if (next[p] < (p + 1) * 3) order[i++] = next[p]++;
  }
  g_rand_free(random);
}

static gchar *run_in_order(int store, guint32 seed)
{
  begin(store, NULL);
  for (gint32 p = 0; p < 3; p++) leader_world_advance(world, p, 0);
  guint order[G_N_ELEMENTS(arrivals)];
  shuffle_arrivals(order, G_N_ELEMENTS(arrivals), seed);
  for (guint i = 0; i < G_N_ELEMENTS(arrivals); i++) {
    const Arrival *a = &arrivals[order[i]];
    leader_world_traffic(world, a->partition, (LeaderWorldTraffic){.n = 60, .shift = a->shift, .time = a->time});
    leader_world_labels(world, a->partition, 50, 1, a->time);
    leader_world_settle(world);
  }
  for (gint32 p = 0; p < 3; p++) leader_world_advance(world, p, 100);
  leader_world_settle(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 4);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'label'"), 9);
  GString *text = g_string_new(NULL);
  g_autofree gchar *dump = leader_world_dump(world);
  g_auto(GStrv) lines = g_strsplit(dump, "\n", -1);
  for (guint i = 0; lines[i]; i++)
    if (!g_str_has_prefix(lines[i], "state ")) g_string_append_printf(text, "%s\n", lines[i]);
  end();
  return g_string_free(text, FALSE);
}

START_TEST(every_order_of_arrival_gives_the_same_verdicts)
{
  g_autofree gchar *first = run_in_order(_i, 1);
  ck_assert_ptr_nonnull(strstr(first, "[[2,0],[0,0]]")); /* by closing watermark, then partition */
  for (guint32 seed = 2; seed < 12; seed++) {
    g_autofree gchar *again = run_in_order(_i, seed);
    ck_assert_msg(g_str_equal(first, again), "seed %u:\n%s\nagainst\n%s", seed, first, again);
  }
}
END_TEST

/* A partition that was assigned but has said nothing yet may still have the earliest panes. */
START_TEST(an_acquired_shard_that_is_silent_holds_back_the_others)
{
  g_autoptr(GError) error = NULL;
  begin(_i, NULL);
  g_autoptr(RegistryShard) silent = registry_shard_acquire(world->store, "m", 1, "test", &error);
  ck_assert_ptr_nonnull(silent);
  world->shards[1].epoch = silent->epoch;
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = 20});
  leader_world_labels(world, 0, 100, 1, 20);
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict"), 0);
  leader_world_labels(world, 1, 100, 1, 10);
  leader_world_advance(world, 1, 30);
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'label'"), 2);
  g_autofree gchar *panes = verdict_text("m/label/0", TRUE, NULL);
  ck_assert_str_eq(panes, "[[1,1,0]]");
  end();
}
END_TEST

/* --- what it is judged by
 * ------------------------------------------------------------------------------------------------- */

/* The profile is that of the version that served the window, however late the leader comes to it. */
START_TEST(a_promotion_after_the_window_does_not_change_its_verdict)
{
  gchar *texts[2] = {NULL, NULL};
  for (guint late = 0; late < 2; late++) {
    begin(_i, NULL);
    leader_world_add_version(world, NULL);
    if (late) leader_world_promote(world, 2);
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.version = 1, .time = 5});
    leader_world_step(world);
    g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, "m/window/0", NULL);
    ck_assert_ptr_nonnull(verdict);
    texts[late] = g_strdup_printf("%s %s", verdict->settings, verdict->body);
    end();
  }
  ck_assert_ptr_nonnull(strstr(texts[0], "\"version\":1"));
  ck_assert_str_eq(texts[0], texts[1]);
  g_free(texts[0]);
  g_free(texts[1]);
}
END_TEST

START_TEST(a_version_that_is_not_registered_is_judged_by_the_champion)
{
  begin(_i, NULL);
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.version = 77, .time = 5});
  leader_world_step(world);
  g_autoptr(RegistryVerdict) verdict = registry_verdict_get(world->store, "m/window/0", NULL);
  ck_assert_ptr_nonnull(verdict);
  ck_assert_ptr_nonnull(strstr(verdict->settings, "\"version\":1"));
  end();
}
END_TEST

START_TEST(without_champion_or_profile_windows_pass_unjudged)
{
  g_autoptr(GError) error = NULL;
  begin(_i, NULL);
  const RegistryVersion bare = {.model = (gchar *)"m", .onnx_digest = world->grid_digest, .kind = (gchar *)"imported"};
  leader_world_promote(world, registry_version_create(world->store, &bare, "test", &error));
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = 5});
  leader_world_labels(world, 0, 1000, 1, 5);
  leader_world_step(world);
  ck_assert_int_eq(leader_world_count(world, "SELECT count(*) FROM verdict WHERE kind = 'window'"), 0);
  leader_world_promote(world, 1);
  leader_world_traffic(world, 0, (LeaderWorldTraffic){.time = 6});
  leader_world_step(world);
  expect_panes(0, "[[0,1]]");
  end();
}
END_TEST

static void add(TCase *tcase, const TTest *test)
{
  _tcase_add_test(tcase, test, 0, 0, 0, test_stores_count());
}

int main(void)
{
  Suite *suite = suite_create("leader_window");
  TCase *tcase = tcase_create("windows");
  tcase_set_timeout(tcase, 120);
  add(tcase, tumbling_by_events);
  add(tcase, sliding_by_events);
  add(tcase, tumbling_by_event_time);
  add(tcase, sliding_by_event_time);
  add(tcase, the_budget_is_shared_by_what_is_new);
  add(tcase, a_drift_incident_opens_once_and_closes_after_three_clean_windows);
  add(tcase, a_small_lasting_shift_is_found_over_several_windows);
  add(tcase, sums_have_each_pane_once_and_one_version);
  add(tcase, a_changed_dependence_is_a_drift_incident);
  add(tcase, missing_values_are_a_quality_incident);
  add(tcase, every_order_of_arrival_gives_the_same_verdicts);
  add(tcase, an_acquired_shard_that_is_silent_holds_back_the_others);
  add(tcase, a_promotion_after_the_window_does_not_change_its_verdict);
  add(tcase, a_version_that_is_not_registered_is_judged_by_the_champion);
  add(tcase, without_champion_or_profile_windows_pass_unjudged);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
