/* The consumer against an in-memory source and a real SQLite store: every way in which broker, store, owner and topic can
 * fail, and nothing lost or counted twice. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/consumer_internal.h"
#include "daemon/shard_reset.h"
#include "registry/decision.h"
#include "registry/model.h"
#include "tests/support/memory_source.h"
#include "tests/support/shard_world.h"

#define SECOND G_GINT64_CONSTANT(1000000)
#define START (G_GINT64_CONSTANT(1700000000) * SECOND)
#define N_TRAFFIC 2
#define N_LABELS 3

typedef struct {
  gchar *directory;
  Settings *settings;
  RegistryStore *store; /* the test's own */
  MemoryBroker *broker;
  Health *health;
  Metrics *metrics;
  Consumer *consumer;
  Source *source; /* of the consumer; borrowed */
  gint64 clock;
  guint n_events;
} Fixture;

/* --- parts ----------------------------------------------------------------------------------------------------------- */

static RegistryStore *open_store(const Settings *settings, gpointer user_data, GError **error)
{
  (void)user_data;
  return registry_store_open(settings->store, error);
}

static Source *open_source(const Settings *settings, const SourceCallbacks *callbacks, gpointer consumer, gpointer user_data,
                           GError **error)
{
  Fixture *fixture = user_data;
  (void)settings;
  (void)error;
  fixture->source = memory_source_open(fixture->broker, callbacks, consumer);
  for (gint32 p = 0; p < N_TRAFFIC; p++) memory_source_assign(fixture->source, "traffic", p);
  return fixture->source;
}

static gint64 read_clock(gpointer user_data)
{
  return ((Fixture *)user_data)->clock;
}

static double half(gpointer user_data)
{
  (void)user_data;
  return .5;
}

static void open_consumer(Fixture *fixture)
{
  const ConsumerParts parts = {open_store, open_source, read_clock, half, fixture};
  fixture->consumer = consumer_new_with(fixture->settings, fixture->health, fixture->metrics, &parts);
}

static void close_consumer(Fixture *fixture)
{
  consumer_free(g_steal_pointer(&fixture->consumer));
}

/* As a kill -9 does: what is in memory is gone. */
static void crash(Fixture *fixture)
{
  consumer_close_source(fixture->consumer);
  close_consumer(fixture);
}

/* --- fixture --------------------------------------------------------------------------------------------------------- */

static const gchar settings_text[] = "store: sqlite:%s/kedge.db\n"
                                     "artifacts: %s/artifacts\n"
                                     "checkpoint:\n  events: 64\n  milliseconds: 1000\n"
                                     "broker:\n  session_timeout_ms: 6000\n"
                                     "models:\n- name: m\n"
                                     "  traffic:\n    topic: traffic\n    start: %s\n    idle_ms: 5000\n"
                                     "  labels:\n    topic: labels\n    grace_ms: 1000\n"
                                     "  window:\n    events: 100\n    pane_events: 10\n    label_rows: 10\n";

static void load_settings(Fixture *fixture, const gchar *start)
{
  GError *error = NULL;
  G_GNUC_BEGIN_IGNORE_DEPRECATIONS
  g_autofree gchar *text = g_strdup_printf(settings_text, fixture->directory, fixture->directory, start);
  G_GNUC_END_IGNORE_DEPRECATIONS
  fixture->settings = settings_parse("test.yaml", text, strlen(text), &error);
  g_assert_no_error(error);
}

static void register_model(Fixture *fixture)
{
  GError *error = NULL;
  g_autofree gchar *path = g_build_filename(fixture->directory, "artifacts", NULL);
  g_autoptr(RegistryArtifacts) artifacts = registry_artifacts_open(path, &error);
  g_assert_no_error(error);
  g_autoptr(DriftGrid) grid = world_grid();
  g_autoptr(GBytes) bytes = drift_grid_to_bytes(grid);
  g_autofree gchar *digest = registry_artifacts_put(artifacts, bytes, &error);
  g_assert_no_error(error);
  registry_model_create(fixture->store, "m", "{}", "test", &error);
  g_assert_no_error(error);
  RegistryVersion version = {.model = (gchar *)"m", .onnx_digest = digest, .grid_digest = digest, .kind = (gchar *)"imported"};
  registry_version_create(fixture->store, &version, "test", &error);
  g_assert_no_error(error);
}

static Fixture *fixture_new(const gchar *start, gboolean registered)
{
  Fixture *fixture = g_new0(Fixture, 1);
  const gchar *fast = g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ? "/dev/shm" : g_get_tmp_dir();
  g_autofree gchar *template = g_build_filename(fast, "kedge-consumer-XXXXXX", NULL);
  GError *error = NULL;
  fixture->directory = g_strdup(g_mkdtemp(template));
  g_autofree gchar *artifacts = g_build_filename(fixture->directory, "artifacts", NULL);
  g_mkdir(artifacts, 0700);
  load_settings(fixture, start);
  fixture->store = registry_store_open(fixture->settings->store, &error);
  g_assert_no_error(error);
  fixture->broker = memory_broker_new("cluster-one", 3);
  memory_broker_create(fixture->broker, "traffic", N_TRAFFIC);
  memory_broker_create(fixture->broker, "labels", N_LABELS);
  fixture->health = health_new();
  fixture->metrics = metrics_new();
  fixture->clock = SECOND;
  if (registered) register_model(fixture);
  open_consumer(fixture);
  return fixture;
}

static void remove_folder(const gchar *path)
{
  GDir *directory = g_dir_open(path, 0, NULL);
  for (const gchar *name = g_dir_read_name(directory); name != NULL; name = g_dir_read_name(directory)) {
    g_autofree gchar *child = g_build_filename(path, name, NULL);
    if (g_file_test(child, G_FILE_TEST_IS_DIR)) remove_folder(child);
    else g_unlink(child);
  }
  g_dir_close(directory);
  g_rmdir(path);
}

static void fixture_free(Fixture *fixture)
{
  close_consumer(fixture);
  registry_store_close(fixture->store);
  memory_broker_free(fixture->broker);
  metrics_free(fixture->metrics);
  health_free(fixture->health);
  settings_unref(fixture->settings);
  remove_folder(fixture->directory);
  g_free(fixture->directory);
  g_free(fixture);
}

/* --- traffic --------------------------------------------------------------------------------------------------------- */

static void send_event(Fixture *fixture)
{
  guint i = fixture->n_events++;
  g_autofree gchar *value = g_strdup_printf(
      "{\"request_id\":\"r%u\",\"ts\":%" G_GINT64_FORMAT
      ",\"features\":{\"a\":%g,\"b\":0.5,\"c\":-0.25,\"group\":\"x\"},\"prediction\":\"1\",\"score\":0.5}",
      i, START + i * SECOND, (double)(i % 7) / 7);
  memory_broker_append(fixture->broker, "traffic", (gint32)(i % N_TRAFFIC), NULL, value, START + i * SECOND);
}

static void send_label(Fixture *fixture, guint i, gint64 delay)
{
  g_autofree gchar *value = g_strdup_printf("{\"request_id\":\"r%u\",\"label\":\"%u\",\"ts\":%" G_GINT64_FORMAT "}", i, i % 2,
                                            START + (i + delay) * SECOND);
  memory_broker_append(fixture->broker, "labels", (gint32)(i * 7 % N_LABELS), NULL, value, START + (i + delay) * SECOND);
}

static void send(Fixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++) {
    send_event(fixture);
    if (fixture->n_events > 20) send_label(fixture, fixture->n_events - 20, 20);
  }
}

static void step(Fixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++) {
    consumer_step(fixture->consumer, 0);
    fixture->clock += SECOND / 2;
  }
}

/* Until everything sent is read and checkpointed. */
static void settle(Fixture *fixture)
{
  step(fixture, 8); /* longer than a heartbeat, after which a stopped shard looks for a reset */
  for (guint i = 0; i < 1000 && memory_source_get_ready(fixture->source) > 0; i++) step(fixture, 1);
  step(fixture, 4);
}

/* What the store says: events in closed panes, which must follow each other without a gap. */
static guint64 events_stored(Fixture *fixture, gint32 partition)
{
  GError *error = NULL;
  guint64 events = 0;
  gint64 next = 0;
  g_autoptr(GPtrArray) panes = registry_pane_list(fixture->store, "m", partition, 0, 0, FALSE, &error);
  g_assert_no_error(error);
  for (guint i = 0; i < panes->len; i++) {
    const RegistryPane *pane = panes->pdata[i];
    ck_assert_int_eq(pane->number, i);
    ck_assert_int_eq(pane->first_offset, next);
    next = pane->next_offset;
    events += pane->count;
  }
  return events;
}

static gint64 labels_stored(Fixture *fixture)
{
  gint64 n = 0;
  for (gint32 p = 0; p < N_TRAFFIC; p++)
    for (gint32 k = 0; k < N_LABELS; k++) n += registry_labelled_log_next(fixture->store, "m", p, k, NULL);
  return n;
}

static gint64 stored_next(Fixture *fixture, gint32 partition, gboolean *idle)
{
  g_autoptr(GPtrArray) list = registry_shard_list(fixture->store, "m", NULL);
  for (guint i = 0; i < list->len; i++) {
    const RegistryShardStatus *status = list->pdata[i];
    if (status->partition != partition) continue;
    if (idle != NULL) *idle = status->idle;
    return status->next_offset;
  }
  return -1;
}

static void check_all_stored(Fixture *fixture)
{
  guint each = fixture->n_events / N_TRAFFIC;
  for (gint32 p = 0; p < N_TRAFFIC; p++) {
    ck_assert_int_eq(stored_next(fixture, p, NULL), each);
    ck_assert_uint_eq(events_stored(fixture, p), each / 10 * 10);
  }
}

static gboolean not_ready(Fixture *fixture, const gchar *text)
{
  g_autofree gchar *why = NULL;
  if (health_is_ready(fixture->health, &why)) return FALSE;
  ck_assert_msg(strstr(why, text) != NULL, "readyz says: %s", why);
  return TRUE;
}

static gboolean is_ready(Fixture *fixture)
{
  g_autofree gchar *why = NULL;
  gboolean ready = health_is_ready(fixture->health, &why);
  ck_assert_msg(ready, "readyz says: %s", why);
  return ready;
}

static guint open_incidents(Fixture *fixture, gchar **summary)
{
  g_autoptr(GPtrArray) list = registry_incident_list(fixture->store, "m", TRUE, 0, NULL);
  if (list->len > 0 && summary != NULL) *summary = g_strdup(((RegistryIncident *)list->pdata[0])->summary);
  return list->len;
}

/* --- tests ----------------------------------------------------------------------------------------------------------- */

START_TEST(an_unregistered_model_says_what_to_run)
{
  Fixture *fixture = fixture_new("earliest", FALSE);
  send(fixture, 40);
  step(fixture, 3);
  ck_assert(not_ready(fixture, "kedge model add m"));
  register_model(fixture);
  step(fixture, 10);
  ck_assert(is_ready(fixture));
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(events_and_labels_are_counted_once_over_restarts_and_crashes)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  for (guint round = 0; round < 30; round++) {
    send(fixture, 40);
    step(fixture, 1 + round % 3);
    if (round % 5 == 4) close_consumer(fixture);
    else if (round % 2 == 0) crash(fixture);
    if (fixture->consumer == NULL) open_consumer(fixture);
  }
  settle(fixture);
  check_all_stored(fixture);
  step(fixture, 20); /* idle: labels that wait for foreign ones before them are let go */
  ck_assert_int_eq(labels_stored(fixture), fixture->n_events - 20);
  ck_assert_int_eq(memory_source_get_commit(fixture->source, "traffic", 0), fixture->n_events / 2);
  fixture_free(fixture);
}
END_TEST

START_TEST(bad_records_go_to_the_outbox_with_their_offset)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  memory_broker_append(fixture->broker, "traffic", 0, NULL, "{\"request_id\":", 1);
  memory_broker_append(fixture->broker, "labels", 1, NULL, "[]", 1);
  step(fixture, 6);
  g_autoptr(GPtrArray) items = registry_outbox_due(fixture->store, "dead_letter", G_MAXINT64, 10, NULL);
  ck_assert_uint_eq(items->len, 2); /* the label once, though both shards read it */
  for (guint i = 0; i < 2; i++) {
    const RegistryOutboxItem *item = items->pdata[i];
    ck_assert(strcmp(item->id, "traffic/0/0") == 0 || strcmp(item->id, "labels/1/0") == 0);
    ck_assert_str_eq(item->target, "kedge.dead-letter.m");
  }
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 1);
  fixture_free(fixture);
}
END_TEST

static void limit_pages(Fixture *fixture, gint64 pages)
{
  g_autofree gchar *sql = g_strdup_printf("PRAGMA max_page_count = %" G_GINT64_FORMAT, pages);
  g_autoptr(RegistryRows) rows = registry_store_query(fixture->consumer->store, sql, NULL, 0, NULL);
}

START_TEST(a_full_disk_pauses_and_nothing_is_lost)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 100);
  step(fixture, 4);
  ck_assert(is_ready(fixture));
  limit_pages(fixture, 1); /* SQLite raises it to what there is */
  gboolean was_down = FALSE;
  for (guint round = 0; round < 60; round++) {
    send(fixture, 100);
    step(fixture, 1);
    was_down = was_down || fixture->consumer->store_down;
  }
  ck_assert(was_down);
  ck_assert(not_ready(fixture, "the store is unavailable"));
  for (gint32 p = 0; p < N_TRAFFIC; p++) ck_assert(memory_source_is_paused(fixture->source, "traffic", p));
  ck_assert(memory_source_is_paused(fixture->source, "labels", 0));
  limit_pages(fixture, 1000000);
  step(fixture, 80); /* past the longest back-off */
  settle(fixture);
  ck_assert(is_ready(fixture));
  ck_assert(!memory_source_is_paused(fixture->source, "traffic", 0));
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(a_fenced_shard_is_dropped_and_taken_back_after_a_heartbeat)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 100);
  settle(fixture);
  g_autoptr(RegistryShard) thief = registry_shard_acquire(fixture->store, "m", 0, "another daemon", NULL);
  ck_assert_int_eq(thief->next_offset, 50);
  send(fixture, 100);
  step(fixture, 3);
  g_autofree gchar *text = metrics_format(fixture->metrics);
  ck_assert(strstr(text, "kedge_fenced_total{model=\"m\"} 1") != NULL);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 50);
  ck_assert_int_gt(stored_next(fixture, 1, NULL), 50); /* the other one goes on */
  settle(fixture);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

static void reset(Fixture *fixture, gint32 partition, gint64 traffic, gint64 labels)
{
  GError *error = NULL;
  shard_reset_stored(fixture->store, "m", partition, traffic, labels, "test", &error);
  g_assert_no_error(error);
}

START_TEST(a_recreated_topic_is_an_incident_not_a_gap)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  g_autofree gchar *summary = NULL;
  send(fixture, 200);
  settle(fixture);
  close_consumer(fixture);
  memory_broker_recreate(fixture->broker, "traffic");
  send(fixture, 400); /* more than before: the stored offset exists, but it is another record */
  guint64 before = events_stored(fixture, 0);
  open_consumer(fixture);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, &summary), N_TRAFFIC);
  ck_assert_msg(strstr(summary, "recreated") != NULL && strstr(summary, "kedge shard reset m 0") != NULL, "%s", summary);
  ck_assert(not_ready(fixture, "topic traffic, partition 0"));
  ck_assert_uint_eq(events_stored(fixture, 0), before);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 100);
  /* It stays so over a restart, as one incident; a reset of one partition frees that one. */
  close_consumer(fixture);
  open_consumer(fixture);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, NULL), N_TRAFFIC);
  reset(fixture, 0, SOURCE_EARLIEST, SHARD_KEEP);
  settle(fixture);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 200);
  ck_assert_int_eq(stored_next(fixture, 1, NULL), 100);
  ck_assert_uint_eq(open_incidents(fixture, NULL), 1);
  reset(fixture, 1, 150, SHARD_KEEP);
  settle(fixture);
  ck_assert_int_eq(stored_next(fixture, 1, NULL), 200);
  ck_assert_uint_eq(open_incidents(fixture, NULL), 0);
  ck_assert(is_ready(fixture));
  fixture_free(fixture);
}
END_TEST

START_TEST(a_shorter_topic_another_cluster_and_deleted_records_are_incidents)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  g_autofree gchar *shorter = NULL, *cluster = NULL, *deleted = NULL;
  send(fixture, 100);
  settle(fixture);
  close_consumer(fixture);
  memory_broker_recreate(fixture->broker, "traffic");
  open_consumer(fixture);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, &shorter), 2);
  ck_assert_msg(strstr(shorter, "now ends at 0") != NULL, "%s", shorter);
  reset(fixture, 0, SOURCE_EARLIEST, SHARD_KEEP);
  reset(fixture, 1, SOURCE_EARLIEST, SHARD_KEEP);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, NULL), 0);
  close_consumer(fixture);
  memory_broker_set_cluster_id(fixture->broker, "cluster-two");
  open_consumer(fixture);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, &cluster), 2);
  ck_assert_msg(strstr(cluster, "cluster-two") != NULL, "%s", cluster);
  close_consumer(fixture);
  memory_broker_set_cluster_id(fixture->broker, "cluster-one");
  send(fixture, 100);
  memory_broker_delete_before(fixture->broker, "traffic", 0, 20);
  open_consumer(fixture);
  settle(fixture);
  ck_assert_uint_eq(open_incidents(fixture, &deleted), 1);
  ck_assert_msg(strstr(deleted, "deleted before") != NULL, "%s", deleted);
  ck_assert_int_eq(stored_next(fixture, 1, NULL), 50);
  fixture_free(fixture);
}
END_TEST

START_TEST(revoked_partitions_are_written_lost_ones_are_not)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 40);
  step(fixture, 4);
  fixture->clock -= SECOND; /* nothing is due by time */
  send(fixture, 40);
  consumer_step(fixture->consumer, 0);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 20);
  memory_source_revoke(fixture->source, "traffic", 0, FALSE);
  memory_source_revoke(fixture->source, "traffic", 1, TRUE);
  consumer_step(fixture->consumer, 0);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 40);
  ck_assert_int_eq(stored_next(fixture, 1, NULL), 20);
  ck_assert_uint_eq(memory_source_get_ready(fixture->source), 0); /* nobody reads the labels any more */
  memory_source_assign(fixture->source, "traffic", 0);
  memory_source_assign(fixture->source, "traffic", 1);
  step(fixture, 6);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(idleness_is_recorded_but_not_while_the_broker_is_away)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  gboolean idle = FALSE;
  send(fixture, 40);
  step(fixture, 4);
  memory_source_set_down(fixture->source, TRUE);
  step(fixture, 40);
  stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  ck_assert(not_ready(fixture, "no broker answers"));
  memory_source_set_down(fixture->source, FALSE);
  step(fixture, 4);
  ck_assert(is_ready(fixture));
  stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  step(fixture, 12);
  stored_next(fixture, 0, &idle);
  ck_assert(idle);
  send(fixture, 40);
  step(fixture, 4);
  stored_next(fixture, 0, &idle);
  ck_assert(!idle);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(latest_skips_what_was_there_and_is_pinned_at_once)
{
  Fixture *fixture = fixture_new("latest", TRUE);
  send(fixture, 60);
  step(fixture, 1);
  step(fixture, 1);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 30); /* written before any record came */
  crash(fixture);
  send(fixture, 40);
  open_consumer(fixture);
  step(fixture, 6);
  ck_assert_int_eq(stored_next(fixture, 0, NULL), 50);
  g_autoptr(GPtrArray) panes = registry_pane_list(fixture->store, "m", 0, 0, 0, FALSE, NULL);
  ck_assert_uint_eq(panes->len, 2);
  ck_assert_int_eq(((RegistryPane *)panes->pdata[0])->first_offset, 30);
  fixture_free(fixture);
}
END_TEST

START_TEST(reloaded_settings_are_taken_over_between_two_records)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 100);
  step(fixture, 2);
  for (guint i = 0; i < 20; i++) {
    Settings *before = fixture->settings;
    load_settings(fixture, "earliest");
    consumer_reload(fixture->consumer, fixture->settings);
    settings_unref(before);
    send(fixture, 20);
    step(fixture, 1);
  }
  step(fixture, 6);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(label_partitions_that_are_added_later_are_followed)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 100);
  settle(fixture);
  memory_broker_add_partition(fixture->broker, "labels");
  g_autofree gchar *label = g_strdup_printf("{\"request_id\":\"r95\",\"label\":\"1\",\"ts\":%" G_GINT64_FORMAT "}",
                                            START + 99 * SECOND);
  memory_broker_append(fixture->broker, "labels", N_LABELS, NULL, label, START + 99 * SECOND);
  step(fixture, 80);
  ck_assert_int_eq(registry_labelled_log_next(fixture->store, "m", 95 % N_TRAFFIC, N_LABELS, NULL), 1);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

START_TEST(the_thread_starts_and_stops)
{
  Fixture *fixture = fixture_new("earliest", TRUE);
  send(fixture, 100);
  consumer_start(fixture->consumer);
  consumer_stop(fixture->consumer);
  close_consumer(fixture);
  open_consumer(fixture);
  step(fixture, 6);
  check_all_stored(fixture);
  fixture_free(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("consumer");
  TCase *tests = tcase_create("consumer");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, an_unregistered_model_says_what_to_run);
  tcase_add_test(tests, events_and_labels_are_counted_once_over_restarts_and_crashes);
  tcase_add_test(tests, bad_records_go_to_the_outbox_with_their_offset);
  tcase_add_test(tests, a_full_disk_pauses_and_nothing_is_lost);
  tcase_add_test(tests, a_fenced_shard_is_dropped_and_taken_back_after_a_heartbeat);
  tcase_add_test(tests, a_recreated_topic_is_an_incident_not_a_gap);
  tcase_add_test(tests, a_shorter_topic_another_cluster_and_deleted_records_are_incidents);
  tcase_add_test(tests, revoked_partitions_are_written_lost_ones_are_not);
  tcase_add_test(tests, idleness_is_recorded_but_not_while_the_broker_is_away);
  tcase_add_test(tests, latest_skips_what_was_there_and_is_pinned_at_once);
  tcase_add_test(tests, reloaded_settings_are_taken_over_between_two_records);
  tcase_add_test(tests, label_partitions_that_are_added_later_are_followed);
  tcase_add_test(tests, the_thread_starts_and_stops);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
