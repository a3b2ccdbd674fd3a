/* Lease, leader state, verdicts, incidents, outbox, on both stores. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "registry/decision.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryStore *other;

static void open_both(int index)
{
  test = test_store_open(index);
  g_autoptr(GError) error = NULL;
  other = registry_store_open(test->uri, &error);
  ck_assert_msg(other != NULL, "%s", error != NULL ? error->message : "");
}

static void close_both(void)
{
  registry_store_close(other);
  test_store_close(test);
}

/* --- lease -------------------------------------------------------------------------------------------------------- */

#define LEASE 100

static gint64 hold(RegistryStore *store, const gchar *me, gint64 now, RegistryLeaseObservation *observed)
{
  g_autoptr(GError) error = NULL;
  gint64 term = registry_lease_hold(store, "leader", me, LEASE, now, observed, &error);
  ck_assert_msg(term >= 0, "%s", error != NULL ? error->message : "");
  return term;
}

static gboolean check_term(RegistryStore *store, const gchar *me, gint64 term)
{
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(store, NULL));
  gboolean ok = registry_lease_check(store, "leader", me, term, &error);
  ck_assert(ok || g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  registry_store_rollback(store);
  return ok;
}

START_TEST(a_lease_is_taken_over_when_its_counter_stands_still)
{
  open_both(_i);
  RegistryLeaseObservation a = {0, 0, 0}, b = {0, 0, 0};
  ck_assert_int_eq(hold(test->store, "a", 1000, &a), 1);
  ck_assert_int_eq(hold(other, "b", 50, &b), 0); /* b's clock has nothing to do with a's */
  ck_assert_int_eq(hold(test->store, "a", 1080, &a), 1);
  ck_assert_int_eq(hold(other, "b", 140, &b), 0); /* it moved: seen at 140 */
  ck_assert_int_eq(hold(other, "b", 239, &b), 0);
  ck_assert(check_term(test->store, "a", 1) && !check_term(other, "b", 1));
  ck_assert_int_eq(hold(other, "b", 240, &b), 2);
  ck_assert(!check_term(test->store, "a", 1) && check_term(other, "b", 2));
  /* the sleeper wakes: not the holder, waits its time by its own clock */
  ck_assert_int_eq(hold(test->store, "a", 5000, &a), 0);
  ck_assert_int_eq(hold(test->store, "a", 5099, &a), 0);
  ck_assert_int_eq(hold(other, "b", 300, &b), 2);
  ck_assert_int_eq(hold(test->store, "a", 5100, &a), 0);
  ck_assert_int_eq(hold(test->store, "a", 5200, &a), 3);
  ck_assert_int_eq(hold(other, "b", 400, &b), 0);
  close_both();
}
END_TEST

START_TEST(a_holder_that_slept_without_a_rival_goes_on)
{
  open_both(_i);
  RegistryLeaseObservation a = {0, 0, 0};
  ck_assert_int_eq(hold(test->store, "a", 0, &a), 1);
  ck_assert_int_eq(hold(test->store, "a", 1000000, &a), 1);
  close_both();
}
END_TEST

START_TEST(a_released_lease_is_free_at_once)
{
  open_both(_i);
  RegistryLeaseObservation a = {0, 0, 0}, b = {0, 0, 0};
  g_autoptr(GError) error = NULL;
  ck_assert_int_eq(hold(test->store, "a", 0, &a), 1);
  ck_assert_int_eq(hold(other, "b", 0, &b), 0);
  ck_assert(registry_lease_release(other, "leader", "b", &error)); /* not his: nothing happens */
  ck_assert_int_eq(hold(test->store, "a", 1, &a), 1);
  ck_assert(registry_lease_release(test->store, "leader", "a", &error));
  ck_assert(!check_term(test->store, "a", 1));
  ck_assert_int_eq(hold(other, "b", 1, &b), 2);
  close_both();
}
END_TEST

START_TEST(a_new_life_of_the_holder_gets_a_new_term)
{
  open_both(_i);
  RegistryLeaseObservation old = {0, 0, 0}, young = {0, 0, 0};
  ck_assert_int_eq(hold(test->store, "a", 0, &old), 1);
  ck_assert_int_eq(hold(other, "a", 0, &young), 2);
  ck_assert(!check_term(test->store, "a", 1));
  ck_assert_int_eq(hold(test->store, "a", 1, &old), 0);
  ck_assert_int_eq(hold(other, "a", 2, &young), 2);
  close_both();
}
END_TEST

START_TEST(the_lease_is_checked_inside_a_transaction_only)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  RegistryLeaseObservation a = {0, 0, 0};
  gint64 term = hold(test->store, "a", 0, &a);
  ck_assert(!registry_lease_check(test->store, "leader", "a", term, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  /* a decision of a lost term leaves nothing */
  ck_assert(registry_store_begin(test->store, NULL));
  g_autoptr(GBytes) state = g_bytes_new("s", 1);
  ck_assert(registry_leader_state_put(test->store, "m", state, NULL, &error));
  ck_assert(!registry_lease_check(test->store, "leader", "a", term + 1, &error));
  ck_assert(!registry_store_commit(test->store, NULL));
  g_clear_error(&error);
  ck_assert(registry_leader_state_get(other, "m", &error) == NULL && error == NULL);
  close_both();
}
END_TEST

/* With a lease time of 0 whatever stands still between two looks is taken. A take-over must be of exactly the state
 * that was seen: one counter and one term further. */
static gpointer contend(gpointer data)
{
  RegistryStore *store = data;
  RegistryLeaseObservation observed = {0, 0, 0};
  gint n = 0;
  for (gint i = 0; i < 100; i++) {
    const RegistryLeaseObservation before = observed;
    gint64 term = registry_lease_hold(store, "leader", store == other ? "b" : "a", 0, i, &observed, NULL);
    if (term < 0) return GINT_TO_POINTER(-1);
    if (term == 0 || term == before.term) continue;
    n++;
    if (before.term > 0 && (term != before.term + 1 || observed.counter != before.counter + 1))
      return GINT_TO_POINTER(-2);
  }
  return GINT_TO_POINTER(n);
}

START_TEST(each_term_has_one_holder)
{
  open_both(_i);
  GThread *thread = g_thread_new("other", contend, other);
  gint mine = GPOINTER_TO_INT(contend(test->store)), theirs = GPOINTER_TO_INT(g_thread_join(thread));
  ck_assert_msg(mine >= 0 && theirs >= 0, "%d %d", mine, theirs);
  g_autoptr(RegistryRows) rows = registry_store_query(test->store, "SELECT term FROM lease", NULL, 0, NULL);
  ck_assert_int_eq(registry_rows_get_integer(rows, 0, 0), mine + theirs);
  close_both();
}
END_TEST

/* --- what the leader writes --------------------------------------------------------------------------------------- */

START_TEST(leader_state_is_replaced)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_leader_state_get(other, "m", &error) == NULL && error == NULL);
  ck_assert(registry_leader_progress_get(other, "m", &error) == NULL && error == NULL);
  g_autoptr(GBytes) one = g_bytes_new("\0one", 4), two = g_bytes_new("two", 3);
  ck_assert(registry_leader_state_put(test->store, "m", one, "{\"windows\": 1}", &error));
  ck_assert(registry_leader_state_put(test->store, "m", two, "{\"windows\": 2}", &error));
  g_autoptr(GBytes) found = registry_leader_state_get(other, "m", &error);
  g_autofree gchar *progress = registry_leader_progress_get(other, "m", &error);
  ck_assert(g_bytes_equal(found, two));
  ck_assert_str_eq(progress, "{\"windows\": 2}");
  test_store_sql(test->store, "UPDATE leader_state SET progress = '{}'");
  ck_assert(registry_leader_state_get(other, "m", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  close_both();
}
END_TEST

static gboolean put_verdict(const gchar *kind, gint64 number, const gchar *body, GError **error)
{
  g_autofree gchar *id = g_strdup_printf("m-%s-%d", kind, (int)number);
  const RegistryVerdict verdict = {.id = id,
                                   .model = "m",
                                   .kind = (gchar *)kind,
                                   .number = number,
                                   .event_time = 100 - number,
                                   .drift = number == 1,
                                   .panes = "[1, 2]",
                                   .settings = "{}",
                                   .body = (gchar *)body};
  return registry_verdict_put(test->store, &verdict, error);
}

START_TEST(verdicts_are_numbered_and_written_once)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(!put_verdict("window", 1, "{}", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  for (gint64 i = 0; i < 3; i++) ck_assert(put_verdict("window", i, "{\"p\": 0.5}", &error));
  ck_assert(put_verdict("label", 0, "{}", &error));
  ck_assert(put_verdict("window", 1, "{\"p\": 0.5}", &error)); /* again: nothing happens */
  ck_assert(!put_verdict("window", 1, "{\"p\": 0.6}", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  g_clear_error(&error);
  ck_assert(!put_verdict("window", 4, "{}", NULL));
  g_autoptr(RegistryVerdict) one = registry_verdict_get(other, "m-window-1", &error);
  ck_assert(one->number == 1 && one->drift && one->event_time == 99);
  ck_assert_str_eq(one->panes, "[1, 2]");
  ck_assert_str_eq(one->settings, "{}");
  ck_assert_str_eq(one->body, "{\"p\": 0.5}");
  g_autoptr(GPtrArray) newest = registry_verdict_list(other, "m", "window", 2, &error);
  ck_assert_uint_eq(newest->len, 2);
  ck_assert(((RegistryVerdict *)newest->pdata[0])->number == 1 && ((RegistryVerdict *)newest->pdata[1])->number == 2);
  g_autoptr(GPtrArray) all = registry_verdict_list(other, "m", NULL, 0, &error);
  ck_assert_uint_eq(all->len, 4);
  ck_assert(registry_verdict_get(other, "none", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

START_TEST(incidents_are_opened_updated_and_closed)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  RegistryIncident incident = {.id = "i1",
                               .model = "m",
                               .kind = "drift",
                               .state = "open",
                               .opened_at = 10,
                               .updated_at = 10,
                               .verdict = "v",
                               .summary = "one line",
                               .body = "{}"};
  ck_assert(registry_incident_put(test->store, &incident, &error));
  incident.id = "i2";
  incident.model = "n";
  incident.opened_at = 20;
  incident.verdict = NULL;
  ck_assert(registry_incident_put(test->store, &incident, &error));
  incident.state = "closed";
  incident.closed_at = incident.updated_at = 30;
  ck_assert(registry_incident_put(test->store, &incident, &error));
  incident.state = "ajar";
  ck_assert(!registry_incident_put(test->store, &incident, NULL));
  g_autoptr(RegistryIncident) found = registry_incident_get(other, "i2", &error);
  ck_assert(found->opened_at == 20 && found->closed_at == 30 && found->updated_at == 30 && found->verdict == NULL);
  ck_assert_str_eq(found->state, "closed");
  ck_assert_str_eq(found->summary, "one line");
  g_autoptr(GPtrArray) all = registry_incident_list(other, NULL, FALSE, 0, &error);
  g_autoptr(GPtrArray) open = registry_incident_list(other, NULL, TRUE, 0, &error);
  g_autoptr(GPtrArray) of_n = registry_incident_list(other, "n", FALSE, 5, &error);
  g_autoptr(GPtrArray) newest = registry_incident_list(other, NULL, FALSE, 1, &error);
  ck_assert(all->len == 2 && open->len == 1 && of_n->len == 1 && newest->len == 1);
  ck_assert_str_eq(((RegistryIncident *)all->pdata[0])->id, "i1");
  ck_assert_str_eq(((RegistryIncident *)newest->pdata[0])->id, "i2");
  close_both();
}
END_TEST

START_TEST(the_outbox_sends_until_done)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) payload = g_bytes_new("\0", 1);
  const RegistryOutboxItem hook = {.id = "w1", .kind = "webhook", .target = "ops", .body = "{}", .not_before = 50};
  const RegistryOutboxItem letter = {
      .id = "d1", .kind = "dead_letter", .target = "t", .body = "{}", .payload = payload};
  ck_assert(registry_outbox_put(test->store, &hook, &error) && registry_outbox_put(test->store, &letter, &error));
  ck_assert(registry_outbox_put(test->store, &hook, &error));
  g_autoptr(GPtrArray) early = registry_outbox_due(other, NULL, 49, 0, &error);
  g_autoptr(GPtrArray) due = registry_outbox_due(other, "webhook", 50, 0, &error);
  g_autoptr(GPtrArray) one = registry_outbox_due(other, NULL, 50, 1, &error);
  ck_assert(early->len == 1 && due->len == 1 && one->len == 1);
  const RegistryOutboxItem *first = early->pdata[0];
  ck_assert_str_eq(first->id, "d1");
  ck_assert(g_bytes_equal(first->payload, payload));
  ck_assert(registry_outbox_retry(other, "w1", 500, "refused", &error));
  g_autoptr(GPtrArray) none = registry_outbox_due(other, "webhook", 499, 0, &error);
  g_autoptr(GPtrArray) later = registry_outbox_due(other, "webhook", 500, 0, &error);
  ck_assert(none->len == 0 && later->len == 1 && ((RegistryOutboxItem *)later->pdata[0])->attempts == 1);
  ck_assert(registry_outbox_done(other, "w1", &error) && registry_outbox_done(other, "d1", &error));
  ck_assert(registry_outbox_put(test->store, &hook, &error)); /* known: not sent again */
  g_autoptr(GPtrArray) rest = registry_outbox_due(other, NULL, G_MAXINT64, 0, &error);
  ck_assert_uint_eq(rest->len, 0);
  ck_assert(!registry_outbox_retry(other, "w1", 0, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_decision");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, a_lease_is_taken_over_when_its_counter_stands_still, 0, n);
  tcase_add_loop_test(tcase, a_holder_that_slept_without_a_rival_goes_on, 0, n);
  tcase_add_loop_test(tcase, a_released_lease_is_free_at_once, 0, n);
  tcase_add_loop_test(tcase, a_new_life_of_the_holder_gets_a_new_term, 0, n);
  tcase_add_loop_test(tcase, the_lease_is_checked_inside_a_transaction_only, 0, n);
  tcase_add_loop_test(tcase, each_term_has_one_holder, 0, n);
  tcase_add_loop_test(tcase, leader_state_is_replaced, 0, n);
  tcase_add_loop_test(tcase, verdicts_are_numbered_and_written_once, 0, n);
  tcase_add_loop_test(tcase, incidents_are_opened_updated_and_closed, 0, n);
  tcase_add_loop_test(tcase, the_outbox_sends_until_done, 0, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
