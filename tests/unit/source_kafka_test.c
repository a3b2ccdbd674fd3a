/* The Kafka source, against librdkafka's mock cluster and, with KEDGE_TEST_KAFKA=HOST:PORT and KEDGE_TEST_KAFKA_DIR
 * (see tests/kafka/run), against a real broker. Nothing here depends on speed: every wait ends when what is waited for
 * is there, or the test fails after two minutes. */
#include "daemon/source.h"
#include "daemon/source_mock.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 120000 };

/* --- the broker -----------------------------------------------------------------------------------------------------
 */

typedef struct {
  SourceMock *mock; /* NULL: the real one */
  const gchar *bootstrap;
} Broker;

static Broker broker_new(gboolean real)
{
  Broker broker = {.bootstrap = g_getenv("KEDGE_TEST_KAFKA")};
  if (real) return broker;
  broker.mock = source_mock_new(NULL);
  broker.bootstrap = source_mock_get_bootstrap(broker.mock);
  return broker;
}

static void run_script(const gchar *format, ...) G_GNUC_PRINTF(1, 2);
static void run_script(const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *rest = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree gchar *command = g_strdup_printf("tests/support/kafka %s", rest);
  gint status = 0;
  ck_assert(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL));
  ck_assert_msg(status == 0, "%s: status %d", command, status);
}

static const gchar *broker_directory(void)
{
  return g_getenv("KEDGE_TEST_KAFKA_DIR");
}

/* A name no other test has. */
static gchar *new_topic_name(void)
{
  static guint n;
  return g_strdup_printf("t%d-%" G_GINT64_FORMAT "-%u", (int)getpid(), g_get_real_time(), n++);
}

static void create_topic(const Broker *broker, const gchar *topic, gint partitions)
{
  if (broker->mock != NULL)
    ck_assert(source_mock_create_topic(broker->mock, topic, partitions, NULL));
  else
    run_script("create-topic %s %s %d", broker_directory(), topic, partitions);
}

static gchar *new_topic(const Broker *broker, gint partitions)
{
  gchar *topic = new_topic_name();
  create_topic(broker, topic, partitions);
  return topic;
}

/* --- a source and what it was told -----------------------------------------------------------------------------------
 */

typedef struct {
  Source *source;
  const SourceType *type;
  gint64 start;        /* where `assigned` seeks to; -100: nowhere */
  const gchar *labels; /* topic whose partition 0 `assigned` follows from the start */
  guint n_assigned, n_revoked, n_lost, n_failed, n_recovered;
  guint owned; /* bit set of partitions */
  gint last_code;
  gchar last_topic[300];
  gchar *last_text;
} Reader;

static void on_assigned(gpointer data, const gchar *topic, gint32 partition)
{
  Reader *reader = data;
  reader->n_assigned++;
  ck_assert_uint_eq(reader->owned & 1u << partition, 0);
  reader->owned |= 1u << partition;
  if (reader->start != -100) ck_assert(reader->type->seek(reader->source, topic, partition, reader->start, NULL));
  if (reader->labels != NULL) ck_assert(reader->type->seek(reader->source, reader->labels, 0, 0, NULL));
}

static void on_revoked(gpointer data, const gchar *topic G_GNUC_UNUSED, gint32 partition, gboolean lost)
{
  Reader *reader = data;
  reader->n_revoked++;
  reader->n_lost += lost;
  ck_assert_uint_ne(reader->owned & 1u << partition, 0);
  reader->owned &= ~(1u << partition);
}

static void on_failed(gpointer data, const gchar *topic, gint32 partition G_GNUC_UNUSED, const GError *error)
{
  Reader *reader = data;
  reader->n_failed++;
  reader->last_code = error->code;
  g_strlcpy(reader->last_topic, topic != NULL ? topic : "", sizeof reader->last_topic);
  g_free(reader->last_text);
  reader->last_text = g_strdup(error->message);
}

static void on_recovered(gpointer data)
{
  ((Reader *)data)->n_recovered++;
}

static const SourceCallbacks callbacks = {on_assigned, on_revoked, on_failed, on_recovered};

static void reader_open(Reader *reader, const Broker *broker, const gchar *group, guint queue_kilobytes)
{
  static const gchar *const properties[] = {"message.timeout.ms=2000", "topic.metadata.refresh.interval.ms=1000",
                                            "reconnect.backoff.max.ms=500", NULL};
  SettingsBroker settings = {.brokers = (gchar *)broker->bootstrap,
                             .group = (gchar *)(group != NULL ? group : "kedge-test"),
                             .properties = (gchar **)properties,
                             .queue_kilobytes = queue_kilobytes,
                             .session_timeout_ms = 6000};
  g_autoptr(GError) error = NULL;
  reader->type = source_type_find("kafka");
  reader->source = reader->type->open(&settings, group == NULL, &callbacks, reader, &error);
  ck_assert_msg(reader->source != NULL, "%s", error != NULL ? error->message : "");
}

static void reader_close(Reader *reader)
{
  reader->type->close(reader->source);
  g_free(reader->last_text);
}

static void subscribe(Reader *reader, const gchar *topic)
{
  const gchar *topics[] = {topic, NULL};
  ck_assert(reader->type->subscribe(reader->source, topics, NULL));
}

static gboolean poll_once(Reader *reader, guint timeout_ms, SourceRecord *record)
{
  g_autoptr(GError) error = NULL;
  gboolean got = reader->type->poll(reader->source, timeout_ms, record, &error);
  ck_assert_msg(error == NULL, "%s", error != NULL ? error->message : "");
  return got;
}

static void next_record(Reader *reader, SourceRecord *record)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * G_GINT64_CONSTANT(1000);
  while (!poll_once(reader, 1000, record))
    ck_assert_msg(g_get_monotonic_time() < deadline, "no record; last failure: %s",
                  reader->last_text != NULL ? reader->last_text : "none");
}

/* Polls until the counter has the value; no record may come meanwhile. */
static void poll_until(Reader *reader, const guint *counter, guint value)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * G_GINT64_CONSTANT(1000);
  SourceRecord record;
  while (*counter != value) {
    ck_assert_msg(!poll_once(reader, 50, &record), "an unexpected record, offset %" G_GINT64_FORMAT, record.offset);
    ck_assert_msg(g_get_monotonic_time() < deadline, "%u is not %u", *counter, value);
  }
}

/* Records whose value is their number, to one partition: offset = number on a fresh topic. */
static void send_numbers(Reader *reader, const gchar *topic, gint32 partition, guint from, guint to, guint padding)
{
  g_autoptr(GError) error = NULL;
  for (guint i = from; i < to; i++) {
    gchar *text = g_strdup_printf("%u%*s", i, (int)padding, "");
    g_autoptr(GBytes) value = g_bytes_new_take(text, strlen(text));
    ck_assert_msg(reader->type->send(reader->source, topic, partition, NULL, value, NULL, &error), "%s",
                  error->message);
  }
  ck_assert_msg(reader->type->flush(reader->source, PATIENCE_MS, &error), "%s", error != NULL ? error->message : "");
}

static void assert_number(Reader *reader, gint64 number)
{
  SourceRecord record;
  next_record(reader, &record);
  g_autofree gchar *text = g_strndup((const gchar *)record.value, record.value_length);
  ck_assert_msg(record.offset == number && g_ascii_strtoll(text, NULL, 10) == number,
                "offset %" G_GINT64_FORMAT " (%.20s) instead of %" G_GINT64_FORMAT, record.offset, text, number);
}

static void assert_nothing(Reader *reader)
{
  SourceRecord record;
  for (guint i = 0; i < 2; i++) ck_assert(!poll_once(reader, 30, &record));
}

/* --- tests; _i 0: mock, 1: real --------------------------------------------------------------------------------------
 */

START_TEST(records_arrive_as_they_were_sent)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 3);
  Reader reader = {0};
  reader_open(&reader, &broker, NULL, 1024);
  const gchar *headers[] = {"ce_id", "first", "reason", "x", "ce_id", "second", NULL};
  for (guint i = 0; i < 90; i++) {
    g_autofree gchar *key = g_strdup_printf("key-%u", i);
    g_autoptr(GBytes) value = g_bytes_new(key, strlen(key));
    ck_assert(reader.type->send(reader.source, topic, -1, key, value, headers, NULL));
  }
  ck_assert(reader.type->flush(reader.source, PATIENCE_MS, NULL));
  g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);
  g_autoptr(GError) error = NULL;
  ck_assert_msg(reader.type->produce(reader.source, topic, NULL, nothing, NULL, &error), "%s",
                error != NULL ? error->message : "");
  ck_assert_int_eq(reader.type->count_partitions(reader.source, topic, NULL), 3);
  subscribe(&reader, topic);
  gint64 expected[3] = {0, 0, 0};
  for (guint i = 0; i < 91; i++) {
    SourceRecord record;
    next_record(&reader, &record);
    ck_assert_str_eq(record.topic, topic);
    ck_assert_int_eq(record.offset, expected[record.partition]++);
    ck_assert_int_gt(record.timestamp, G_GINT64_CONSTANT(1600000000000000));
    if (record.value_length == 0) continue;
    g_autofree gchar *key = g_strndup((const gchar *)record.key, record.key_length);
    ck_assert(record.key_length == record.value_length && memcmp(record.key, record.value, record.key_length) == 0);
    ck_assert_int_eq(record.partition, source_partition_of(key, 3));
    gsize length;
    const gchar *header = reader.type->get_header(&record, "ce_id", &length);
    ck_assert(header != NULL && length == 6 && memcmp(header, "second", 6) == 0);
    ck_assert_ptr_null(reader.type->get_header(&record, "none", &length));
  }
  assert_nothing(&reader);
  ck_assert_uint_eq(reader.n_assigned, 3);
  ck_assert_uint_eq(reader.n_failed, 0);
  for (gint32 i = 0; i < 3; i++) {
    gint64 low, high;
    ck_assert(reader.type->get_range(reader.source, topic, i, &low, &high, NULL));
    ck_assert_int_eq(low, 0);
    ck_assert_int_eq(high, expected[i]);
    reader.type->commit(reader.source, topic, i, high);
  }
  while (reader.type->get_high_mark(reader.source, topic, 0) != expected[0]) assert_nothing(&reader);
  g_autofree gchar *id = reader.type->get_cluster_id(reader.source);
  ck_assert_ptr_nonnull(id);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(a_seek_lets_nothing_older_through)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  enum { N = 20000 };
  send_numbers(&reader, topic, 0, 0, N, 100);
  subscribe(&reader, topic);
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  assert_number(&reader, 0);
  for (guint round = 0; round < (broker.mock != NULL ? 20u : 60u); round++) {
    gint64 target = g_rand_int_range(random, 0, N);
    /* a second wish before the first is carried out */
    if (round % 3 == 0) reader.type->seek(reader.source, topic, 0, g_rand_int_range(random, 0, N), NULL);
    ck_assert(reader.type->seek(reader.source, topic, 0, target, NULL));
    gint length = g_rand_int_range(random, 1, round % 10 == 0 ? 3000 : 30);
    for (gint64 i = target; i < MIN(target + length, N); i++) assert_number(&reader, i);
  }
  ck_assert(reader.type->seek(reader.source, topic, 0, N, NULL)); /* the end */
  assert_nothing(&reader);
  ck_assert(reader.type->seek(reader.source, topic, 0, 5, NULL));
  for (gint64 i = 5; i < N; i++) assert_number(&reader, i);
  ck_assert_uint_eq(reader.n_failed, 0);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(pausing_forgets_nothing)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  enum { N = 3000 };
  send_numbers(&reader, topic, 0, 0, N, 0);
  subscribe(&reader, topic);
  for (gint64 i = 0; i < N; i++) {
    assert_number(&reader, i);
    if (i % 300 != 7) continue;
    ck_assert(reader.type->pause(reader.source, topic, 0, TRUE, NULL));
    assert_nothing(&reader);
    ck_assert(reader.type->pause(reader.source, topic, 0, FALSE, NULL));
  }
  /* a pause right after a seek, nothing read between; a seek while paused */
  ck_assert(reader.type->seek(reader.source, topic, 0, 50, NULL));
  ck_assert(reader.type->pause(reader.source, topic, 0, TRUE, NULL));
  assert_nothing(&reader);
  ck_assert(reader.type->pause(reader.source, topic, 0, FALSE, NULL));
  assert_number(&reader, 50);
  ck_assert(reader.type->pause(reader.source, topic, 0, TRUE, NULL));
  ck_assert(reader.type->seek(reader.source, topic, 0, 20, NULL));
  assert_nothing(&reader);
  ck_assert(reader.type->pause(reader.source, topic, 0, FALSE, NULL));
  assert_number(&reader, 20);
  assert_number(&reader, 21);
  ck_assert(reader.type->stop(reader.source, topic, 0, NULL));
  assert_nothing(&reader);
  ck_assert(reader.type->seek(reader.source, topic, 0, 30, NULL));
  assert_number(&reader, 30);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(latest_is_where_it_was_when_asked)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = SOURCE_LATEST};
  reader_open(&reader, &broker, NULL, 1024);
  send_numbers(&reader, topic, 0, 0, 10, 0);
  subscribe(&reader, topic);
  poll_until(&reader, &reader.n_assigned, 1);
  assert_nothing(&reader);
  ck_assert(reader.type->pause(reader.source, topic, 0, TRUE, NULL));
  assert_nothing(&reader);
  send_numbers(&reader, topic, 0, 10, 20, 0);
  assert_nothing(&reader);
  ck_assert(reader.type->pause(reader.source, topic, 0, FALSE, NULL));
  for (gint64 i = 10; i < 20; i++) assert_number(&reader, i);
  ck_assert(reader.type->seek(reader.source, topic, 0, SOURCE_EARLIEST, NULL));
  assert_number(&reader, 0);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

/* Reads from both until `total` records came and each owns `share` partitions; every record once, in order. */
static void read_both(Reader *a, Reader *b, gint64 expected[4], guint total)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * G_GINT64_CONSTANT(1000);
  for (guint n = 0; n < total;) {
    Reader *readers[] = {a, b};
    for (guint i = 0; i < 2; i++) {
      SourceRecord record;
      if (readers[i]->source == NULL || !poll_once(readers[i], 20, &record)) continue;
      ck_assert_int_eq(record.offset, expected[record.partition]++);
      n++;
    }
    ck_assert_msg(g_get_monotonic_time() < deadline, "%u of %u records", n, total);
  }
}

static void share_out(Reader *a, Reader *b, guint share_a, guint share_b)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * G_GINT64_CONSTANT(1000);
  SourceRecord record;
  while (__builtin_popcount(a->owned) != (int)share_a || __builtin_popcount(b->owned) != (int)share_b) {
    ck_assert(!poll_once(a, 20, &record));
    if (b->source != NULL) ck_assert(!poll_once(b, 20, &record));
    ck_assert_msg(g_get_monotonic_time() < deadline, "owned %x and %x", a->owned, b->owned);
  }
}

START_TEST(a_group_shares_partitions_out)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 4), *group = new_topic_name();
  Reader a = {.start = 0}, b = {.start = 5};
  reader_open(&a, &broker, group, 1024);
  subscribe(&a, topic);
  share_out(&a, &b, 4, 0);
  for (gint32 i = 0; i < 4; i++) send_numbers(&a, topic, i, 0, 5, 0);
  gint64 expected[4] = {0, 0, 0, 0};
  read_both(&a, &b, expected, 20);
  reader_open(&b, &broker, group, 1024);
  subscribe(&b, topic);
  share_out(&a, &b, 2, 2);
  ck_assert_uint_eq(a.owned & b.owned, 0);
  for (gint32 i = 0; i < 4; i++) send_numbers(&a, topic, i, 5, 10, 0);
  read_both(&a, &b, expected, 20); /* b went on at 5, a kept its own two without a new seek */
  a.start = 10;
  reader_close(&b);
  b = (Reader){0};
  share_out(&a, &b, 4, 0);
  for (gint32 i = 0; i < 4; i++) send_numbers(&a, topic, i, 10, 13, 0);
  read_both(&a, &b, expected, 12);
  ck_assert_uint_eq(a.n_lost, 0);
  a.type->commit(a.source, topic, 0, 13);
  reader_close(&a);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(labels_are_followed_beside_the_group)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *traffic = new_topic(&broker, 1), *labels = new_topic(&broker, 2), *group = new_topic_name();
  Reader reader = {.start = -100, .labels = labels};
  reader_open(&reader, &broker, group, 1024);
  enum { N = 2000 };
  send_numbers(&reader, traffic, 0, 0, N, 0);
  send_numbers(&reader, labels, 0, 0, N, 0);
  send_numbers(&reader, labels, 1, 0, 10, 0);
  subscribe(&reader, traffic);
  for (gint64 i = 0; i < N; i++) assert_number(&reader, i); /* label partition 0: the traffic waits for its seek */
  ck_assert_uint_eq(reader.owned, 1);
  assert_nothing(&reader);
  ck_assert(reader.type->seek(reader.source, traffic, 0, 3, NULL));
  ck_assert(reader.type->seek(reader.source, labels, 0, 1, NULL));
  guint n = 0;
  gint64 expected[2] = {3, 1};
  for (; n < 2 * N - 4; n++) {
    SourceRecord record;
    next_record(&reader, &record);
    ck_assert_int_eq(record.offset, expected[strcmp(record.topic, labels) == 0]++);
  }
  assert_nothing(&reader);
  ck_assert(reader.type->stop(reader.source, labels, 0, NULL));
  send_numbers(&reader, labels, 0, N, N + 5, 0);
  assert_nothing(&reader);
  ck_assert(reader.type->seek(reader.source, labels, 0, N + 2, NULL));
  assert_number(&reader, N + 2);
  reader_close(&reader);
  ck_assert_uint_eq(reader.owned, 0);
  source_mock_free(broker.mock);
}
END_TEST

static void check_out_of_range(const Broker *broker, const gchar *group)
{
  g_autofree gchar *topic = new_topic(broker, 1);
  Reader reader = {.start = 5000};
  reader_open(&reader, broker, group, 1024);
  send_numbers(&reader, topic, 0, 0, 10, 0);
  subscribe(&reader, topic);
  poll_until(&reader, &reader.n_failed, 1);
  ck_assert_int_eq(reader.last_code, DAEMON_ERROR_OFFSET);
  ck_assert_str_eq(reader.last_topic, topic);
  ck_assert_msg(strstr(reader.last_text, "offset 5000 of") != NULL, "%s", reader.last_text);
  assert_nothing(&reader);
  ck_assert(reader.type->seek(reader.source, topic, 0, 4, NULL));
  for (gint64 i = 4; i < 10; i++) assert_number(&reader, i);
  ck_assert(reader.type->seek(reader.source, topic, 0, 11, NULL));
  poll_until(&reader, &reader.n_failed, 2);
  ck_assert_int_eq(reader.last_code, DAEMON_ERROR_OFFSET);
  ck_assert(reader.type->seek(reader.source, topic, 0, 9, NULL));
  assert_number(&reader, 9);
  reader_close(&reader);
}

START_TEST(an_offset_out_of_range_is_told)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *group = new_topic_name();
  check_out_of_range(&broker, NULL);
  if (broker.mock == NULL) check_out_of_range(&broker, group); /* joining a group of the mock takes 3 s */
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(an_outage_is_told_and_survived)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  send_numbers(&reader, topic, 0, 0, 100, 0);
  subscribe(&reader, topic);
  for (gint64 i = 0; i < 100; i++) assert_number(&reader, i);
  if (broker.mock != NULL)
    source_mock_set_down(broker.mock, TRUE);
  else
    run_script("kill %s", broker_directory());
  poll_until(&reader, &reader.n_failed, 1);
  ck_assert_int_eq(reader.last_code, DAEMON_ERROR_BROKER);
  ck_assert_str_eq(reader.last_topic, "");
  g_autoptr(GBytes) value = g_bytes_new_static("x", 1);
  g_autoptr(GError) error = NULL;
  ck_assert(!reader.type->produce(reader.source, topic, NULL, value, NULL, &error));
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_TIMEOUT));
  assert_nothing(&reader);
  ck_assert_uint_eq(reader.n_recovered, 0);
  if (broker.mock != NULL)
    source_mock_set_down(broker.mock, FALSE);
  else
    run_script("start %s %s", broker_directory(), strchr(broker.bootstrap, ':') + 1);
  poll_until(&reader, &reader.n_recovered, 1);
  send_numbers(&reader, topic, 0, 100, 110, 0);
  for (gint64 i = 100; i < 110; i++) assert_number(&reader, i);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(a_topic_may_come_later)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic_name();
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  if (broker.mock == NULL) { /* the mock makes every topic that is asked for */
    subscribe(&reader, topic);
    assert_nothing(&reader);
    ck_assert_int_eq(reader.type->count_partitions(reader.source, topic, NULL), 0);
    gint64 low, high;
    g_autoptr(GError) error = NULL;
    ck_assert(!reader.type->get_range(reader.source, topic, 0, &low, &high, &error));
  }
  create_topic(&broker, topic, 2);
  subscribe(&reader, topic);
  poll_until(&reader, &reader.n_assigned, 2);
  send_numbers(&reader, topic, 1, 0, 3, 0);
  for (gint64 i = 0; i < 3; i++) assert_number(&reader, i);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

START_TEST(a_small_queue_loses_nothing)
{
  Broker broker = broker_new(_i);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  guint n = broker.mock != NULL ? 3000 : 40000; /* 3 MB (the mock forgets beyond 5); 40 MB through a queue of one */
  send_numbers(&reader, topic, 0, 0, n, 1000);
  subscribe(&reader, topic);
  for (gint64 i = 0; i < n; i++) assert_number(&reader, i);
  reader_close(&reader);
  source_mock_free(broker.mock);
}
END_TEST

/* Real broker only: records deleted before they were read, and a topic made anew. */
START_TEST(deleted_records_and_new_topics_are_told)
{
  Broker broker = broker_new(TRUE);
  g_autofree gchar *topic = new_topic(&broker, 1);
  Reader reader = {.start = 0};
  reader_open(&reader, &broker, NULL, 1024);
  send_numbers(&reader, topic, 0, 0, 100, 0);
  run_script("delete-records %s %s 0 40", broker_directory(), topic);
  subscribe(&reader, topic);
  poll_until(&reader, &reader.n_failed, 1);
  ck_assert_int_eq(reader.last_code, DAEMON_ERROR_OFFSET);
  ck_assert(reader.type->seek(reader.source, topic, 0, SOURCE_EARLIEST, NULL));
  for (gint64 i = 40; i < 100; i++) assert_number(&reader, i);
  reader_close(&reader);
  run_script("delete-topic %s %s", broker_directory(), topic);
  create_topic(&broker, topic, 1);
  Reader later = {.start = 100};
  reader_open(&later, &broker, NULL, 1024);
  send_numbers(&later, topic, 0, 0, 50, 0);
  subscribe(&later, topic);
  poll_until(&later, &later.n_failed, 1);
  ck_assert_int_eq(later.last_code, DAEMON_ERROR_OFFSET);
  reader_close(&later);
}
END_TEST

START_TEST(opening_checks_the_properties)
{
  const gchar *properties[] = {"client.id=x", "no.such.property=1", NULL};
  SettingsBroker settings = {.brokers = (gchar *)"127.0.0.1:1",
                             .group = (gchar *)"g",
                             .properties = (gchar **)properties,
                             .queue_kilobytes = 1024,
                             .session_timeout_ms = 6000};
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(source_type_find("kafka")->open(&settings, TRUE, NULL, NULL, &error));
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS));
  ck_assert_ptr_nonnull(strstr(error->message, "no.such.property"));
  properties[1] = NULL;
  Source *source = source_type_find("kafka")->open(&settings, TRUE, NULL, NULL, NULL);
  ck_assert_ptr_nonnull(source); /* opening needs no broker */
  source->type->close(source);
}
END_TEST

int main(void)
{
  gboolean real = g_getenv("KEDGE_TEST_KAFKA") != NULL;
  if (!real) printf("SKIPPED: the tests on a real broker; tests/kafka/run does them (KEDGE_TEST_KAFKA is not set)\n");
  fflush(stdout);
  int from = real && g_getenv("KEDGE_TEST_KAFKA_ONLY") != NULL ? 1 : 0, to = real ? 2 : 1;
  Suite *suite = suite_create("source_kafka");
  TCase *group = tcase_create("all");
  tcase_set_timeout(group, 300);
  tcase_add_test(group, opening_checks_the_properties);
  tcase_add_loop_test(group, records_arrive_as_they_were_sent, from, to);
  tcase_add_loop_test(group, a_seek_lets_nothing_older_through, from, to);
  tcase_add_loop_test(group, pausing_forgets_nothing, from, to);
  tcase_add_loop_test(group, latest_is_where_it_was_when_asked, from, to);
  if (real) tcase_add_loop_test(group, a_group_shares_partitions_out, 1, 2);
  tcase_add_loop_test(group, labels_are_followed_beside_the_group, from, to);
  tcase_add_loop_test(group, an_offset_out_of_range_is_told, from, to);
  tcase_add_loop_test(group, an_outage_is_told_and_survived, from, to);
  tcase_add_loop_test(group, a_topic_may_come_later, from, to);
  tcase_add_loop_test(group, a_small_queue_loses_nothing, from, to);
  if (real) tcase_add_test(group, deleted_records_and_new_topics_are_told);
  suite_add_tcase(suite, group);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
