/* A topic that is not the one that was read is an incident, never a gap. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/shard_reset.h"
#include "tests/support/consumer_fixture.h"

static void reset(ConsumerFixture *fixture, gint32 partition, gint64 traffic, gint64 labels)
{
  GError *error = NULL;
  shard_reset_stored(fixture->store, "m", partition, traffic, labels, "test", &error);
  g_assert_no_error(error);
}

static gint64 consumed_traffic(ConsumerFixture *fixture, guint partition)
{
  g_autoptr(GPtrArray) shards = registry_shard_list(fixture->store, "m", NULL);
  const RegistryShardStatus *status = g_ptr_array_index(shards, partition);
  json_t *consumed = json_loads(status->consumed, 0, NULL);
  gint64 next = json_integer_value(json_object_get(consumed, "traffic"));
  json_decref(consumed);
  return next;
}

START_TEST(a_recreated_topic_is_an_incident_not_a_gap)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  g_autofree gchar *summary = NULL;
  consumer_fixture_send(fixture, 200);
  consumer_fixture_settle(fixture);
  consumer_fixture_close(fixture);
  memory_broker_recreate(fixture->broker, "traffic");
  consumer_fixture_send(fixture, 400); /* more than before: the stored offset exists, but it is another record */
  guint64 before = consumer_fixture_events_stored(fixture, 0);
  consumer_fixture_open(fixture);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, &summary), N_TRAFFIC);
  ck_assert_msg(strstr(summary, "recreated") != NULL && strstr(summary, "kedge shard reset m 0") != NULL, "%s",
                summary);
  ck_assert(consumer_fixture_not_ready(fixture, "topic traffic, partition 0"));
  ck_assert_uint_eq(consumer_fixture_events_stored(fixture, 0), before);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 100);
  /* It stays so over a restart, as one incident; a reset of one partition frees that one. */
  consumer_fixture_close(fixture);
  consumer_fixture_open(fixture);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, NULL), N_TRAFFIC);
  reset(fixture, 0, SOURCE_EARLIEST, SHARD_KEEP);
  ck_assert_int_eq(consumed_traffic(fixture, 0), 0); /* nobody who waits is told that the new records were read */
  consumer_fixture_settle(fixture);
  ck_assert_int_eq(consumed_traffic(fixture, 0), 200);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 0, NULL), 200);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 1, NULL), 100);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, NULL), 1);
  reset(fixture, 1, 150, SHARD_KEEP);
  consumer_fixture_settle(fixture);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 1, NULL), 200);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, NULL), 0);
  ck_assert(consumer_fixture_is_ready(fixture));
  consumer_fixture_free(fixture);
}
END_TEST

START_TEST(a_shorter_topic_another_cluster_and_deleted_records_are_incidents)
{
  ConsumerFixture *fixture = consumer_fixture_new(_i, "earliest", TRUE);
  g_autofree gchar *shorter = NULL, *cluster = NULL, *deleted = NULL;
  consumer_fixture_send(fixture, 100);
  consumer_fixture_settle(fixture);
  consumer_fixture_close(fixture);
  memory_broker_recreate(fixture->broker, "traffic");
  consumer_fixture_open(fixture);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, &shorter), 2);
  ck_assert_msg(strstr(shorter, "now ends at 0") != NULL, "%s", shorter);
  reset(fixture, 0, SOURCE_EARLIEST, SHARD_KEEP);
  reset(fixture, 1, SOURCE_EARLIEST, SHARD_KEEP);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, NULL), 0);
  consumer_fixture_close(fixture);
  memory_broker_set_cluster_id(fixture->broker, "cluster-two");
  consumer_fixture_open(fixture);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, &cluster), 2);
  ck_assert_msg(strstr(cluster, "cluster-two") != NULL, "%s", cluster);
  consumer_fixture_close(fixture);
  memory_broker_set_cluster_id(fixture->broker, "cluster-one");
  consumer_fixture_send(fixture, 100);
  memory_broker_delete_before(fixture->broker, "traffic", 0, 20);
  consumer_fixture_open(fixture);
  consumer_fixture_settle(fixture);
  ck_assert_uint_eq(consumer_fixture_open_incidents(fixture, &deleted), 1);
  ck_assert_msg(strstr(deleted, "deleted before") != NULL, "%s", deleted);
  ck_assert_int_eq(consumer_fixture_stored_next(fixture, 1, NULL), 50);
  consumer_fixture_free(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("consumer_guard");
  TCase *tests = tcase_create("consumer");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, a_recreated_topic_is_an_incident_not_a_gap, 0, test_stores_count());
  tcase_add_loop_test(tests, a_shorter_topic_another_cluster_and_deleted_records_are_incidents, 0, test_stores_count());
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
