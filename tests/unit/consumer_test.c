/* The consumer against an in-memory source and a real SQLite store: what broker, store and owner can do to it, and
 * nothing lost or counted twice. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "registry/decision.h"
#include "tests/support/consumer_fixture.h"

START_TEST(an_unregistered_model_says_what_to_run)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", FALSE);
  consumer_fixture_send(fixture, 40);
  consumer_fixture_step(fixture, 3);
  ck_assert(consumer_fixture_not_ready(fixture, "kedge model add m"));
  consumer_fixture_register_model(fixture);
  consumer_fixture_step(fixture, 10);
  ck_assert(consumer_fixture_is_ready(fixture));
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(events_and_labels_are_counted_once_over_restarts_and_crashes)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  for (guint round = 0; round < 30; round++) {
    consumer_fixture_send(fixture, 40);
    consumer_fixture_step(fixture, 1 + round % 3);
    if (round % 5 == 4)
      consumer_fixture_close(fixture);
    else if (round % 2 == 0)
      consumer_fixture_crash(fixture);
    if (fixture->consumer == NULL) consumer_fixture_open(fixture);
  }
  consumer_fixture_settle(fixture);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_step(fixture, 20); /* idle: labels that wait for foreign ones before them are let go */
  ck_assert_int_eq(consumer_fixture_labels_stored(fixture), fixture->n_events - 20);
  ck_assert_int_eq(memory_source_get_commit(fixture->source, "traffic", 0), fixture->n_events / 2);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(bad_records_go_to_the_outbox_with_their_offset)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  memory_broker_append(fixture->broker, "traffic", 0, NULL, "{\"request_id\":", 1);
  memory_broker_append(fixture->broker, "labels", 1, NULL, "[]", 1);
  consumer_fixture_step(fixture, 6);
  g_autoptr(GPtrArray) items = registry_outbox_due(fixture->store, "dead_letter", G_MAXINT64, 10, NULL);
  ck_assert_uint_eq(items->len, 2); /* the label once, though both shards read it */
  for (guint i = 0; i < 2; i++) {
    const RegistryOutboxItem *item = items->pdata[i];
    ck_assert(strcmp(item->id, "traffic/0/0") == 0 || strcmp(item->id, "labels/1/0") == 0);
    ck_assert_str_eq(item->target, "kedge.dead-letter.m");
  }
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 1);
  consumer_fixture_free(fixture);
}
END_TEST

static void limit_pages(ConsumerFixture *fixture, gint64 pages)
{
  g_autofree gchar *sql = g_strdup_printf("PRAGMA max_page_count = %" G_GINT64_FORMAT, pages);
  registry_rows_free(registry_store_query(fixture->consumer->store, sql, NULL, 0, NULL));
}

START_TEST(a_full_disk_pauses_and_nothing_is_lost)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 100);
  consumer_fixture_step(fixture, 4);
  ck_assert(consumer_fixture_is_ready(fixture));
  limit_pages(fixture, 1); /* SQLite raises it to what there is */
  gboolean was_down = FALSE;
  for (guint round = 0; round < 60; round++) {
    consumer_fixture_send(fixture, 100);
    consumer_fixture_step(fixture, 1);
    was_down = was_down || fixture->consumer->store_down;
  }
  ck_assert(was_down);
  ck_assert(consumer_fixture_not_ready(fixture, "the store is unavailable"));
  for (gint32 p = 0; p < N_TRAFFIC; p++) ck_assert(memory_source_is_paused(fixture->source, "traffic", p));
  ck_assert(memory_source_is_paused(fixture->source, "labels", 0));
  limit_pages(fixture, 1000000);
  consumer_fixture_step(fixture, 80); /* past the longest back-off */
  consumer_fixture_settle(fixture);
  ck_assert(consumer_fixture_is_ready(fixture));
  ck_assert(!memory_source_is_paused(fixture->source, "traffic", 0));
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

/* The database crashes at any moment, in the middle of a commit too: what is not known to be written is read back. */
START_TEST(a_crashing_database_loses_nothing)
{
  const gchar *directory = g_getenv("KEDGE_TEST_POSTGRES_DIRECTORY");
  if (directory == NULL || test_stores_count() < 2) {
    fprintf(stderr, "SKIPPED: restarts of PostgreSQL (set KEDGE_TEST_POSTGRES_DIRECTORY)\n");
    return;
  }
  ConsumerFixture *fixture = consumer_fixture_new(1, "earliest", TRUE);
  g_autofree gchar *command = g_strdup_printf("tests/support/postgres restart %s immediate", directory);
  for (guint round = 0; round < 4; round++) {
    gint status = -1;
    GPid pid;
    gchar *argv[] = {(gchar *)"/bin/sh", (gchar *)"-c", command, NULL};
    ck_assert(g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, &pid,
                            NULL));
    while (waitpid(pid, &status, WNOHANG) == 0) {
      if (fixture->n_events < (round + 1) * 2000) consumer_fixture_send(fixture, 20);
      consumer_fixture_step(fixture, 1);
    }
    ck_assert_int_eq(status, 0);
    consumer_fixture_step(fixture, 80); /* past the longest back-off */
  }
  consumer_fixture_settle(fixture);
  ck_assert(consumer_fixture_is_ready(fixture));
  ck_assert(registry_store_reconnect(fixture->store, NULL));
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(a_fenced_shard_is_dropped_and_taken_back_after_a_heartbeat)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 100);
  consumer_fixture_settle(fixture);
  g_autoptr(RegistryShard) thief = registry_shard_acquire(fixture->store, "m", 0, "another daemon", NULL);
  ck_assert_int_eq(thief->next_offset, 50);
  consumer_fixture_send(fixture, 100);
  consumer_fixture_step(fixture, 3);
  g_autofree gchar *text = metrics_format(fixture->metrics);
  ck_assert(strstr(text, "kedge_fenced_total{model=\"m\"} 1") != NULL);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 50);
  ck_assert_int_gt(consumer_fixture_stored_next(fixture, 1, NULL), 50); /* the other one goes on */
  consumer_fixture_settle(fixture);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(revoked_partitions_are_written_lost_ones_are_not)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 40);
  consumer_fixture_step(fixture, 4);
  fixture->clock -= SECOND; /* nothing is due by time */
  consumer_fixture_send(fixture, 40);
  consumer_step(fixture->consumer, 0);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 20);
  memory_source_revoke(fixture->source, "traffic", 0, FALSE);
  memory_source_revoke(fixture->source, "traffic", 1, TRUE);
  consumer_step(fixture->consumer, 0);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 40);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 1, NULL), 20);
  ck_assert_uint_eq(memory_source_get_ready(fixture->source), 0); /* nobody reads the labels any more */
  memory_source_assign(fixture->source, "traffic", 0);
  memory_source_assign(fixture->source, "traffic", 1);
  consumer_fixture_step(fixture, 6);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(idleness_is_recorded_but_not_while_the_broker_is_away)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  gboolean idle = FALSE;
  consumer_fixture_send(fixture, 40);
  consumer_fixture_step(fixture, 4);
  memory_source_set_down(fixture->source, TRUE);
  consumer_fixture_step(fixture, 40);
  consumer_fixture_stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  ck_assert(consumer_fixture_not_ready(fixture, "no broker answers"));
  memory_source_set_down(fixture->source, FALSE);
  consumer_fixture_step(fixture, 4);
  ck_assert(consumer_fixture_is_ready(fixture));
  consumer_fixture_stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  consumer_fixture_step(fixture, 12);
  consumer_fixture_stored_next(fixture, 0, &idle);
  ck_assert(idle);
  consumer_fixture_send(fixture, 40);
  consumer_fixture_step(fixture, 4);
  consumer_fixture_stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(latest_skips_what_was_there_and_is_pinned_at_once)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "latest", TRUE);
  consumer_fixture_send(fixture, 60);
  consumer_fixture_step(fixture, 1);
  consumer_fixture_step(fixture, 1);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 30); /* written before any record came */
  consumer_fixture_crash(fixture);
  consumer_fixture_send(fixture, 40);
  consumer_fixture_open(fixture);
  consumer_fixture_step(fixture, 6);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 50);
  g_autoptr(GPtrArray) panes = registry_pane_list(fixture->store, "m", 0, 0, 0, FALSE, NULL);
  ck_assert_uint_eq(panes->len, 2);
  ck_assert_int_eq(((RegistryPane *)panes->pdata[0])->first_offset, 30);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(reloaded_settings_are_taken_over_between_two_records)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 100);
  consumer_fixture_step(fixture, 2);
  for (guint i = 0; i < 20; i++) {
    Settings *before = fixture->settings;
    consumer_fixture_load_settings(fixture, "earliest");
    consumer_reload(fixture->consumer, fixture->settings);
    settings_unref(before);
    consumer_fixture_send(fixture, 20);
    consumer_fixture_step(fixture, 1);
  }
  consumer_fixture_step(fixture, 6);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(label_partitions_that_are_added_later_are_followed)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 100);
  consumer_fixture_settle(fixture);
  memory_broker_add_partition(fixture->broker, "labels");
  g_autofree gchar *label =
      g_strdup_printf("{\"request_id\":\"r95\",\"label\":\"1\",\"ts\":%" G_GINT64_FORMAT "}", START + 99 * SECOND);
  memory_broker_append(fixture->broker, "labels", N_LABELS, NULL, label, START + 99 * SECOND);
  consumer_fixture_step(fixture, 80);
  ck_assert_int_eq(registry_labelled_log_next(fixture->store, "m", 95 % N_TRAFFIC, N_LABELS, NULL), 1);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(the_thread_starts_and_stops)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  consumer_fixture_send(fixture, 100);
  consumer_start(fixture->consumer);
  consumer_stop(fixture->consumer);
  consumer_fixture_close(fixture);
  consumer_fixture_open(fixture);
  consumer_fixture_step(fixture, 6);
  consumer_fixture_check_all_stored(fixture);
  consumer_fixture_free(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("consumer");
  TCase *tests = tcase_create("consumer");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, an_unregistered_model_says_what_to_run, 0, test_stores_count());
  tcase_add_loop_test(tests, events_and_labels_are_counted_once_over_restarts_and_crashes, 0, test_stores_count());
  tcase_add_loop_test(tests, bad_records_go_to_the_outbox_with_their_offset, 0, test_stores_count());
  tcase_add_test(tests, a_crashing_database_loses_nothing);
  tcase_add_test(tests, a_full_disk_pauses_and_nothing_is_lost);
  tcase_add_loop_test(tests, a_fenced_shard_is_dropped_and_taken_back_after_a_heartbeat, 0, test_stores_count());
  tcase_add_loop_test(tests, revoked_partitions_are_written_lost_ones_are_not, 0, test_stores_count());
  tcase_add_loop_test(tests, idleness_is_recorded_but_not_while_the_broker_is_away, 0, test_stores_count());
  tcase_add_loop_test(tests, latest_skips_what_was_there_and_is_pinned_at_once, 0, test_stores_count());
  tcase_add_loop_test(tests, reloaded_settings_are_taken_over_between_two_records, 0, test_stores_count());
  tcase_add_loop_test(tests, label_partitions_that_are_added_later_are_followed, 0, test_stores_count());
  tcase_add_loop_test(tests, the_thread_starts_and_stops, 0, test_stores_count());
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
