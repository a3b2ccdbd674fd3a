#include "tests/support/consumer_fixture.h"

#include <check.h>
#include <glib/gstdio.h>
#include <string.h>

#include "registry/decision.h"
#include "registry/model.h"
#include "tests/support/shard_world.h"

/* --- parts -----------------------------------------------------------------------------------------------------------
 */

static RegistryStore *open_store(const Settings *settings, gpointer user_data, GError **error)
{
  (void)settings;
  return registry_store_open(((ConsumerFixture *)user_data)->test->uri, error);
}

static Source *open_source(const Settings *settings, const SourceCallbacks *callbacks, gpointer consumer,
                           gpointer user_data, GError **error)
{
  ConsumerFixture *fixture = user_data;
  (void)settings;
  (void)error;
  fixture->source = memory_source_open(fixture->broker, callbacks, consumer);
  for (gint32 p = 0; p < N_TRAFFIC; p++) memory_source_assign(fixture->source, "traffic", p);
  return fixture->source;
}

static gint64 read_clock(gpointer user_data)
{
  return ((ConsumerFixture *)user_data)->clock;
}

static double half(gpointer user_data)
{
  (void)user_data;
  return .5;
}

void consumer_fixture_open(ConsumerFixture *fixture)
{
  const ConsumerParts parts = {open_store, open_source, read_clock, half, fixture};
  fixture->consumer = consumer_new_with(fixture->settings, fixture->health, fixture->metrics, &parts);
}

void consumer_fixture_close(ConsumerFixture *fixture)
{
  consumer_free(g_steal_pointer(&fixture->consumer));
}

/* As a kill -9 does: what is in memory is gone. */
void consumer_fixture_crash(ConsumerFixture *fixture)
{
  consumer_close_source(fixture->consumer);
  consumer_fixture_close(fixture);
}

/* --- fixture ---------------------------------------------------------------------------------------------------------
 */

static const gchar settings_text[] = "store: sqlite:/nowhere.db\n"
                                     "artifacts: \"%s/artifacts\"\n"
                                     "single_host: true\n"
                                     "checkpoint:\n  events: 64\n  milliseconds: 1000\n"
                                     "broker:\n  session_timeout_ms: 6000\n"
                                     "models:\n- name: m\n"
                                     "  traffic:\n    topic: traffic\n    start: %s\n    idle_ms: 5000\n"
                                     "  labels:\n    topic: labels\n    grace_ms: 1000\n"
                                     "  window:\n    events: 100\n    pane_events: 10\n    label_rows: 10\n";

void consumer_fixture_load_settings(ConsumerFixture *fixture, const gchar *start)
{
  GError *error = NULL;
  G_GNUC_BEGIN_IGNORE_DEPRECATIONS
  g_autofree gchar *text = g_strdup_printf(settings_text, fixture->directory, start);
  G_GNUC_END_IGNORE_DEPRECATIONS
  fixture->settings = settings_parse("test.yaml", text, strlen(text), &error);
  g_assert_no_error(error);
}

void consumer_fixture_register_model(ConsumerFixture *fixture)
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
  RegistryVersion version = {
      .model = (gchar *)"m", .onnx_digest = digest, .grid_digest = digest, .kind = (gchar *)"imported"};
  registry_version_create(fixture->store, &version, "test", &error);
  g_assert_no_error(error);
}

ConsumerFixture *consumer_fixture_new(int store, const gchar *start, gboolean registered)
{
  ConsumerFixture *fixture = g_new0(ConsumerFixture, 1);
  /* Most tests do not need a real disk, and every checkpoint syncs. */
  if (g_file_test("/dev/shm", G_FILE_TEST_IS_DIR)) g_setenv("TMPDIR", "/dev/shm", TRUE);
  fixture->test = test_store_open(store);
  g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_FATAL_MASK); /* outages are warned of */
  fixture->directory = fixture->test->directory;
  fixture->store = fixture->test->store;
  g_autofree gchar *artifacts = g_build_filename(fixture->directory, "artifacts", NULL);
  g_mkdir(artifacts, 0700);
  consumer_fixture_load_settings(fixture, start);
  fixture->broker = memory_broker_new("cluster-one", 3);
  memory_broker_create(fixture->broker, "traffic", N_TRAFFIC);
  memory_broker_create(fixture->broker, "labels", N_LABELS);
  fixture->health = health_new();
  fixture->metrics = metrics_new();
  fixture->clock = SECOND;
  if (registered) consumer_fixture_register_model(fixture);
  consumer_fixture_open(fixture);
  return fixture;
}

void consumer_fixture_free(ConsumerFixture *fixture)
{
  consumer_fixture_close(fixture);
  memory_broker_free(fixture->broker);
  metrics_free(fixture->metrics);
  health_free(fixture->health);
  settings_unref(fixture->settings);
  test_store_close(fixture->test);
  g_free(fixture);
}

/* --- traffic ---------------------------------------------------------------------------------------------------------
 */

static void send_event(ConsumerFixture *fixture)
{
  guint i = fixture->n_events++;
  g_autofree gchar *value = g_strdup_printf(
      "{\"request_id\":\"r%u\",\"ts\":%" G_GINT64_FORMAT
      ",\"features\":{\"a\":%g,\"b\":0.5,\"c\":-0.25,\"group\":\"x\"},\"prediction\":\"1\",\"score\":0.5}",
      i, START + i * SECOND, (double)(i % 7) / 7);
  memory_broker_append(fixture->broker, "traffic", (gint32)(i % N_TRAFFIC), NULL, value, START + i * SECOND);
}

static void send_label(ConsumerFixture *fixture, guint i, gint64 delay)
{
  g_autofree gchar *value = g_strdup_printf("{\"request_id\":\"r%u\",\"label\":\"%u\",\"ts\":%" G_GINT64_FORMAT "}", i,
                                            i % 2, START + (i + delay) * SECOND);
  memory_broker_append(fixture->broker, "labels", (gint32)(i * 7 % N_LABELS), NULL, value,
                       START + (i + delay) * SECOND);
}

void consumer_fixture_send(ConsumerFixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++) {
    send_event(fixture);
    if (fixture->n_events > 20) send_label(fixture, fixture->n_events - 20, 20);
  }
}

void consumer_fixture_step(ConsumerFixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++) {
    consumer_step(fixture->consumer, 0);
    fixture->clock += SECOND / 2;
  }
}

/* Until everything sent is read and checkpointed. */
void consumer_fixture_settle(ConsumerFixture *fixture)
{
  consumer_fixture_step(fixture, 8); /* longer than a heartbeat, after which a stopped shard looks for a reset */
  for (guint i = 0; i < 1000 && memory_source_get_ready(fixture->source) > 0; i++) consumer_fixture_step(fixture, 1);
  consumer_fixture_step(fixture, 4);
}

/* What the store says: events in closed panes, which must follow each other without a gap. */
guint64 consumer_fixture_events_stored(ConsumerFixture *fixture, gint32 partition)
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

gint64 consumer_fixture_labels_stored(ConsumerFixture *fixture)
{
  gint64 n = 0;
  for (gint32 p = 0; p < N_TRAFFIC; p++)
    for (gint32 k = 0; k < N_LABELS; k++) n += registry_labelled_log_next(fixture->store, "m", p, k, NULL);
  return n;
}

gint64 consumer_fixture_stored_next(ConsumerFixture *fixture, gint32 partition, gboolean *idle)
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

void consumer_fixture_check_all_stored(ConsumerFixture *fixture)
{
  guint each = fixture->n_events / N_TRAFFIC;
  for (gint32 p = 0; p < N_TRAFFIC; p++) {
    ck_assert_int_eq(consumer_fixture_stored_next(fixture, p, NULL), each);
    ck_assert_uint_eq(consumer_fixture_events_stored(fixture, p), each / 10 * 10);
  }
}

gboolean consumer_fixture_not_ready(ConsumerFixture *fixture, const gchar *text)
{
  g_autofree gchar *why = NULL;
  if (health_is_ready(fixture->health, &why)) return FALSE;
  ck_assert_msg(strstr(why, text) != NULL, "readyz says: %s", why);
  return TRUE;
}

gboolean consumer_fixture_is_ready(ConsumerFixture *fixture)
{
  g_autofree gchar *why = NULL;
  gboolean ready = health_is_ready(fixture->health, &why);
  ck_assert_msg(ready, "readyz says: %s", why);
  return ready;
}

guint consumer_fixture_open_incidents(ConsumerFixture *fixture, gchar **summary)
{
  g_autoptr(GPtrArray) list = registry_incident_list(fixture->store, "m", TRUE, 0, NULL);
  if (list->len > 0 && summary != NULL) *summary = g_strdup(((RegistryIncident *)list->pdata[0])->summary);
  return list->len;
}
