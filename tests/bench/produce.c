/* Makes the events of the ingest benchmark: about 509 bytes of flat JSON each, 16 doubles, 4 strings, 6 other fields,
 * and a label for each of them. Fills topics of a broker, or writes the same rows as a CSV reference.
 *
 * Row r is a pure function of r, so that events, labels and reference agree without anything being kept. */
#include <glib.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_NUMBERS 16
#define N_TEXTS 4
#define N_CATEGORIES 8
#define ROW_SIZE 1024

static const gchar *const categories[N_CATEGORIES] = {"retail", "travel", "grocery",  "fuel",
                                                      "online", "cash",   "transfer", "other"};

typedef struct {
  guint64 numbers[N_NUMBERS]; /* in units of 1e-10 */
  const gchar *texts[N_TEXTS];
  guint prediction, label;
} Row;

static guint64 next_random(guint64 *state) /* splitmix64 */
{
  guint64 z = *state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static Row make_row(guint64 number, guint64 seed)
{
  guint64 state = number * 977 + seed;
  Row row;
  for (guint i = 0; i < N_NUMBERS; i++) row.numbers[i] = next_random(&state) % G_GUINT64_CONSTANT(10000000000);
  for (guint i = 0; i < N_TEXTS; i++) row.texts[i] = categories[next_random(&state) % N_CATEGORIES];
  row.label = row.numbers[0] > G_GUINT64_CONSTANT(5000000000);
  row.prediction = next_random(&state) % 100 < 15 ? !row.label : row.label; /* a steady error of 15 % */
  return row;
}

static gsize write_id(gchar *out, guint64 number, guint64 seed)
{
  guint64 a = number * 2 + seed;
  return (gsize)sprintf(out, "%08x-%04x-4000-8000-%012" G_GINT64_MODIFIER "x", (guint)(next_random(&a)),
                        (guint)(next_random(&a) & 0xffff), number);
}

static gsize write_event(gchar *out, guint64 number, guint64 seed, gint64 time_ms)
{
  Row row = make_row(number, seed);
  gchar *at = out;
  at += sprintf(at, "{\"request_id\":\"");
  at += write_id(at, number, seed);
  at += sprintf(at, "\",\"ts\":%" G_GINT64_FORMAT ",\"version\":1", time_ms);
  for (guint i = 0; i < N_NUMBERS; i++) at += sprintf(at, ",\"n%02u\":0.%010" G_GUINT64_FORMAT, i, row.numbers[i]);
  for (guint i = 0; i < N_TEXTS; i++) at += sprintf(at, ",\"text%u\":\"%s\"", i, row.texts[i]);
  at += sprintf(at, ",\"prediction\":\"%u\",\"score\":0.%06u,\"latency_ms\":%u.%03u}", row.prediction,
                (guint)(row.numbers[1] % 1000000), 1 + (guint)(row.numbers[2] % 40), (guint)(row.numbers[3] % 1000));
  return (gsize)(at - out);
}

static gsize write_label(gchar *out, guint64 number, guint64 seed, gint64 time_ms)
{
  gchar *at = out;
  at += sprintf(at, "{\"request_id\":\"");
  at += write_id(at, number, seed);
  at += sprintf(at, "\",\"label\":\"%u\",\"ts\":%" G_GINT64_FORMAT "}", make_row(number, seed).label, time_ms);
  return (gsize)(at - out);
}

static int write_csv(const gchar *path, guint64 n, guint64 seed)
{
  FILE *file = fopen(path, "w");
  if (file == NULL) {
    perror(path);
    return EXIT_FAILURE;
  }
  for (guint i = 0; i < N_NUMBERS; i++) fprintf(file, "n%02u,", i);
  for (guint i = 0; i < N_TEXTS; i++) fprintf(file, "text%u,", i);
  fputs("label\n", file);
  for (guint64 r = 0; r < n; r++) {
    Row row = make_row(r, seed + 1); /* not the rows of the traffic */
    for (guint i = 0; i < N_NUMBERS; i++) fprintf(file, "0.%010" G_GUINT64_FORMAT ",", row.numbers[i]);
    for (guint i = 0; i < N_TEXTS; i++) fprintf(file, "%s,", row.texts[i]);
    fprintf(file, "%u\n", row.label);
  }
  return fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the broker ------------------------------------------------------------------------------------------------------
 */

static guint64 n_failed;

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
  (void)client;
  (void)opaque;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) n_failed++;
}

static rd_kafka_t *open_producer(const gchar *brokers)
{
  static const gchar *const properties[] = {
      "linger.ms", "20", "queue.buffering.max.messages", "200000", "batch.num.messages", "2000", NULL};
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  gchar text[512];
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
  for (guint i = 0; properties[i] != NULL; i += 2)
    rd_kafka_conf_set(conf, properties[i], properties[i + 1], text, sizeof text);
  rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (client == NULL) fprintf(stderr, "produce: %s\n", text);
  return client;
}

/* The mock broker does not know this request: its topics are there already. */
static gboolean create_topics(rd_kafka_t *client, gchar **topics, gint partitions)
{
  guint n = g_strv_length(topics);
  rd_kafka_NewTopic_t **list = g_new0(rd_kafka_NewTopic_t *, n);
  rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
  gchar text[256];
  for (guint i = 0; i < n; i++) list[i] = rd_kafka_NewTopic_new(topics[i], partitions, 1, text, sizeof text);
  rd_kafka_CreateTopics(client, list, n, NULL, queue);
  rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 60000);
  size_t n_results = 0;
  const rd_kafka_topic_result_t **results =
      event == NULL ? NULL : rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n_results);
  gboolean good = n_results == n;
  for (size_t i = 0; i < n_results; i++)
    if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
      good = FALSE;
  if (!good) fprintf(stderr, "produce: the topics could not be created\n");
  if (event != NULL) rd_kafka_event_destroy(event);
  rd_kafka_NewTopic_destroy_array(list, n);
  rd_kafka_queue_destroy(queue);
  g_free(list);
  return good;
}

static void send_bytes(rd_kafka_t *client, const gchar *topic, gint32 partition, gint64 time_ms, gchar *bytes,
                       gsize length)
{
  for (;;) {
    rd_kafka_resp_err_t code = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                                 RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_VALUE(bytes, length),
                                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      n_failed++;
      return;
    }
    rd_kafka_poll(client, 50);
  }
}

/* One event a millisecond, the last one now. The label of row r carries the time of row r + delay; it lies in a topic
 * of its own, in the same partition number. */
static guint64 fill(rd_kafka_t *client, const gchar *topic, const gchar *labels, guint64 n, gint partitions,
                    guint64 delay, guint64 seed)
{
  gchar bytes[ROW_SIZE];
  guint64 total = 0;
  gint64 start = g_get_real_time() / 1000 - (gint64)(n + delay);
  for (guint64 r = 0; r < n; r++) {
    gint32 partition = (gint32)(r % (guint64)partitions);
    gint64 time = start + (gint64)r;
    gsize length = write_event(bytes, r, seed, time);
    total += length;
    send_bytes(client, topic, partition, time, bytes, length);
    if (labels != NULL) {
      time += (gint64)delay;
      send_bytes(client, labels, partition, time, bytes, write_label(bytes, r, seed, time));
    }
    if (r % 1000 == 0) rd_kafka_poll(client, 0);
  }
  return total;
}

static int fill_topics(const gchar *brokers, gchar **topics, const gchar *labels, gboolean create, guint64 n,
                       gint partitions, guint64 delay, guint64 seed)
{
  rd_kafka_t *client = open_producer(brokers);
  if (client == NULL) return EXIT_FAILURE;
  gchar *label_topic[] = {(gchar *)labels, NULL};
  if (create && (!create_topics(client, topics, partitions) ||
                 (labels != NULL && !create_topics(client, label_topic, partitions))))
    return EXIT_FAILURE;
  guint64 total = 0;
  for (guint i = 0; topics[i] != NULL; i++) total += fill(client, topics[i], labels, n, partitions, delay, seed);
  rd_kafka_flush(client, 120000);
  n_failed += (guint64)rd_kafka_outq_len(client);
  rd_kafka_destroy(client);
  if (n_failed > 0) fprintf(stderr, "produce: %" G_GUINT64_FORMAT " records were not stored\n", n_failed);
  printf("{\"events\": %" G_GUINT64_FORMAT ", \"mean_bytes\": %.1f}\n", n * g_strv_length(topics),
         (double)total / (double)MAX(n * g_strv_length(topics), 1));
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
  gchar *brokers = NULL, *labels = NULL, *csv = NULL;
  gchar **topics = NULL;
  gint64 n = 100000, delay = 5000, seed = 1;
  gint partitions = 1;
  gboolean create = FALSE;
  const GOptionEntry entries[] = {
      {"brokers", 0, 0, G_OPTION_ARG_STRING, &brokers, "bootstrap servers", "HOST:PORT"},
      {"topic", 0, 0, G_OPTION_ARG_STRING_ARRAY, &topics, "topic for events; may be repeated", "T"},
      {"labels", 0, 0, G_OPTION_ARG_STRING, &labels, "topic for labels", "T"},
      {"create", 0, 0, G_OPTION_ARG_NONE, &create, "create the topics", NULL},
      {"partitions", 0, 0, G_OPTION_ARG_INT, &partitions, "of each topic (1)", "N"},
      {"rows", 0, 0, G_OPTION_ARG_INT64, &n, "events a topic (100000)", "N"},
      {"delay", 0, 0, G_OPTION_ARG_INT64, &delay, "rows between an event and its label (5000)", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of the rows (1)", "N"},
      {"csv", 0, 0, G_OPTION_ARG_FILENAME, &csv, "write rows as CSV with a label instead", "F"},
      G_OPTION_ENTRY_NULL};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- events of the ingest benchmark");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || n < 0 || partitions < 1 ||
      (csv == NULL && (brokers == NULL || topics == NULL))) {
    fprintf(stderr, "produce: %s (see --help)\n", error != NULL ? error->message : "--csv, or --brokers and --topic");
    return 2;
  }
  if (csv != NULL) return write_csv(csv, (guint64)n, (guint64)seed);
  return fill_topics(brokers, topics, labels, create, (guint64)n, partitions, (guint64)delay, (guint64)seed);
}
