/* A consumer under test: its parts replaced, a clock that moves when told to, an in-memory broker, a real SQLite store.
 */
#pragma once

#include "daemon/consumer_internal.h"
#include "tests/support/memory_source.h"
#include "tests/support/postgres_store.h"

#define SECOND G_GINT64_CONSTANT(1000000)
#define START (G_GINT64_CONSTANT(1700000000) * SECOND)
#define N_TRAFFIC 2
#define N_LABELS 3

typedef struct {
  TestStore *test;
  const gchar *directory; /* borrowed from it */
  Settings *settings;
  RegistryStore *store; /* the test's own; borrowed */
  MemoryBroker *broker;
  Health *health;
  Metrics *metrics;
  Consumer *consumer;
  Source *source; /* of the consumer; borrowed */
  gint64 clock;
  guint n_events;
} ConsumerFixture;

void consumer_fixture_open(ConsumerFixture *fixture);
void consumer_fixture_close(ConsumerFixture *fixture);
/* As a kill -9 does: what is in memory is gone. */
void consumer_fixture_crash(ConsumerFixture *fixture);
void consumer_fixture_load_settings(ConsumerFixture *fixture, const gchar *start);
void consumer_fixture_register_model(ConsumerFixture *fixture);
/* store: as for test_store_open; a broker in memory: "traffic" with 2 partitions, "labels" with 3, model "m". */
ConsumerFixture *consumer_fixture_new(int store, const gchar *start, gboolean registered);
void consumer_fixture_free(ConsumerFixture *fixture);
/* n events, numbered on, each with the label of the 20th before it. */
void consumer_fixture_send(ConsumerFixture *fixture, guint n);
/* n turns of the loop, half a second of the clock each. */
void consumer_fixture_step(ConsumerFixture *fixture, guint n);
/* Until everything sent is read and checkpointed. */
void consumer_fixture_settle(ConsumerFixture *fixture);
/* Events in closed panes, which must follow each other without a gap. */
guint64 consumer_fixture_events_stored(ConsumerFixture *fixture, gint32 partition);
gint64 consumer_fixture_labels_stored(ConsumerFixture *fixture);
gint64 consumer_fixture_stored_next(ConsumerFixture *fixture, gint32 partition, gboolean *idle);
void consumer_fixture_check_all_stored(ConsumerFixture *fixture);
/* TRUE when not ready; the reason must contain the text. */
gboolean consumer_fixture_not_ready(ConsumerFixture *fixture, const gchar *text);
gboolean consumer_fixture_is_ready(ConsumerFixture *fixture);
guint consumer_fixture_open_incidents(ConsumerFixture *fixture, gchar **summary);
