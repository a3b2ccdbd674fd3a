/* One story told with the leader interrupted in every way: what is stored in the end is the same to the byte. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leader_world.h"

enum { PANES = 66, CHANGE = 2030, CHANGE_BACK = 4230 };

static LeaderWorld *world;
static guint n_failures; /* interruptions that were felt */

static guint8 by_world(gint64 version, gint32 partition, gint64 row)
{
  static const guint rates[3][3] = {{50, 900, 50}, {900, 50, 900}, {500, 500, 500}};
  guint64 z = ((guint64)row * 8 + (guint64)partition) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  return (z >> 20) % 1000 < rates[MIN(version - 1, 2)][row < CHANGE ? 0 : row < CHANGE_BACK ? 1 : 2];
}

/* One pass of the leader, interrupted in the manner of the test; then again until it succeeds. */
typedef void (*Interrupt)(gboolean *worked);

static void pass(gboolean *worked)
{
  g_autoptr(GError) error = NULL;
  ck_assert_msg(leader_world_pass(world, worked, &error), "%s", error ? error->message : "");
}

static void crash_after_each_pass(gboolean *worked)
{
  pass(worked);
  leader_world_crash(world);
}

static void another_leads_after_each_pass(gboolean *worked)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *before = leader_world_dump(world);
  test_store_sql(world->store, "UPDATE lease SET owner = 'other', term = term + 1, counter = counter + 1");
  gboolean tried = FALSE;
  if (!leader_world_pass(world, &tried, &error)) {
    n_failures++;
    ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED), "%s", error->message);
  }
  g_autofree gchar *after = leader_world_dump(world);
  ck_assert_msg(g_str_equal(before, after), "a fenced leader wrote:\n%s\nbefore:\n%s", after, before);
  test_store_sql(world->store, "UPDATE lease SET owner = 'leader'");
  world->context.term++;
  leader_world_crash(world);
  pass(worked);
}

/* SQLite only: each write to one table fails. */
static const gchar *const tables[] = {"verdict", "incident", "job", "outbox", "alias_history", "leader_state"};
static const gchar *table;

static void a_write_fails_in_each_pass(gboolean *worked)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *trap = g_strdup_printf(
      "CREATE TEMP TRIGGER boom BEFORE INSERT ON main.%s BEGIN SELECT RAISE(ABORT, 'boom'); END", table);
  test_store_sql(world->store, trap);
  gboolean tried = FALSE;
  if (!leader_world_pass(world, &tried, &error)) {
    n_failures++;
    ck_assert_msg(strstr(error->message, "boom") != NULL, "%s", error->message);
  }
  *worked = *worked || tried;
  test_store_sql(world->store, "DROP TRIGGER boom");
  pass(worked);
}

static void settle(Interrupt interrupt)
{
  do {
    for (gboolean worked = TRUE; worked;) {
      worked = FALSE;
      interrupt(&worked);
    }
  } while (leader_world_score(world));
}

/* The first training succeeds, all others fail. */
static void finish_training(Interrupt interrupt)
{
  static const gchar *const kinds[] = {"refit", "retrain"};
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autoptr(RegistryJob) job = leader_world_find_job(world, kinds[i]);
    if (!job) continue;
    gboolean first = leader_world_count(world, "SELECT count(*) FROM version") == 1;
    g_autofree gchar *result =
        first ? leader_world_trained(leader_world_add_version(world, job->id), .1, .95, 1) : NULL;
    leader_world_finish_job(world, job->id, first ? "done" : "failed", result);
    settle(interrupt);
  }
}

/* A change, a training that is promoted, drift of the inputs, the old world again. */
static gchar *tell(int store, Interrupt interrupt)
{
  world = leader_world_new(store, "    window: {events: 300, pane_events: 30}\n");
  world->errors = by_world;
  n_failures = 0;
  for (gint64 pane = 0; pane < PANES; pane++) {
    leader_world_traffic(world, 0, (LeaderWorldTraffic){.shift = pane >= 20 && pane < 30 ? .6 : 0, .time = pane});
    leader_world_labels(world, 0, 100, leader_world_champion(world), pane);
    settle(interrupt);
    finish_training(interrupt);
  }
  ck_assert_int_eq(leader_world_champion(world), 1);
  ck_assert_int_ge(leader_world_count(world, "SELECT count(*) FROM alias_history"), 3);
  ck_assert_int_ge(leader_world_count(world, "SELECT count(*) FROM incident"), 2);
  /* cursors of panes that closed no window are stored by the next write of any kind */
  gboolean worked = FALSE;
  pass(&worked);
  ck_assert(leader_begin(&world->context, NULL) && leader_commit(world->model, &world->context, NULL));
  gchar *dump = leader_world_dump(world);
  leader_world_free(world);
  return dump;
}

static void expect_same(const gchar *whole, const gchar *broken)
{
  g_auto(GStrv) a = g_strsplit(whole, "\n", -1), b = g_strsplit(broken, "\n", -1);
  for (guint i = 0; a[i] || b[i]; i++)
    ck_assert_msg(g_strcmp0(a[i], b[i]) == 0, "unbroken:\n%s\nbroken:\n%s", a[i] ? a[i] : "-", b[i] ? b[i] : "-");
}

START_TEST(a_crash_after_every_pass)
{
  g_autofree gchar *whole = tell(_i, pass), *broken = tell(_i, crash_after_each_pass);
  expect_same(whole, broken);
}
END_TEST

START_TEST(another_leader_before_every_pass)
{
  g_autofree gchar *whole = tell(_i, pass), *broken = tell(_i, another_leads_after_each_pass);
  ck_assert_uint_ge(n_failures, PANES);
  expect_same(whole, broken);
}
END_TEST

START_TEST(a_write_that_fails_in_every_pass)
{
  table = tables[_i];
  g_autofree gchar *whole = tell(0, pass), *broken = tell(0, a_write_fails_in_each_pass);
  ck_assert_uint_ge(n_failures, 1);
  expect_same(whole, broken);
}
END_TEST

START_TEST(both_stores_tell_the_same)
{
  g_autofree gchar *sqlite = tell(0, pass), *other = tell(_i, pass);
  expect_same(sqlite, other);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("leader_crash");
  TCase *tcase = tcase_create("crash");
  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, a_crash_after_every_pass, 0, test_stores_count());
  tcase_add_loop_test(tcase, another_leader_before_every_pass, 0, test_stores_count());
  tcase_add_loop_test(tcase, a_write_that_fails_in_every_pass, 0, G_N_ELEMENTS(tables));
  tcase_add_loop_test(tcase, both_stores_tell_the_same, 0, test_stores_count());
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
