// The anchors of the ingest benchmark: what librdkafka alone costs (counting records), and what reading the 26 fields
// of each by simdjson costs on top. Same properties as kedged's consumers, the same side thread that keeps
// librdkafka 2.0 from stalling on a full queue. Prints events, wall and CPU seconds of the whole process as JSON.
#include <glib.h>
#include <librdkafka/rdkafka.h>
#include <simdjson.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace
{

rd_kafka_t *open_consumer(const char *brokers)
{
  // daemon/source_kafka_client.c, with the defaults of broker.queue_kilobytes.
  const char *const properties[][2] = {
      {"bootstrap.servers", brokers}, {"group.id", "kedge-bench-raw"},         {"auto.offset.reset", "error"},
      {"check.crcs", "true"},         {"enable.auto.commit", "false"},         {"enable.auto.offset.store", "false"},
      {"fetch.wait.max.ms", "100"},   {"queued.max.messages.kbytes", "16384"}, {"fetch.max.bytes", "16777216"}};
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char text[512];
  for (auto &property : properties)
    if (rd_kafka_conf_set(conf, property[0], property[1], text, sizeof text) != RD_KAFKA_CONF_OK)
      std::fprintf(stderr, "raw_consume: %s\n", text);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (client == nullptr) std::fprintf(stderr, "raw_consume: %s\n", text);
  return client;
}

// Reads every field; the sums keep the compiler from leaving it out.
class Reader
{
public:
  bool read(const void *bytes, size_t length)
  {
    if (buffer.size() < length + simdjson::SIMDJSON_PADDING) buffer.resize(length + simdjson::SIMDJSON_PADDING);
    std::memcpy(buffer.data(), bytes, length);
    simdjson::ondemand::document document;
    simdjson::ondemand::object object;
    if (parser.iterate(buffer.data(), length, buffer.size()).get(document) || document.get_object().get(object))
      return false;
    for (auto item : object) {
      simdjson::ondemand::field field;
      if (std::move(item).get(field)) return false;
      std::string_view key = field.key().raw() == nullptr ? "" : std::string_view(field.key().raw(), 1), text;
      double number = 0;
      keys += static_cast<unsigned char>(key.front());
      if (field.value().raw_json_token().front() == '"') {
        if (field.value().get_string().get(text)) return false;
        texts += text.size();
      } else if (field.value().get_double().get(number)) {
        return false;
      }
      sum += number;
      fields++;
    }
    return true;
  }
  double sum = 0;
  guint64 keys = 0, texts = 0, fields = 0;

private:
  simdjson::ondemand::parser parser;
  std::vector<unsigned char> buffer;
};

double cpu_seconds()
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

} // namespace

int main(int argc, char **argv)
{
  if (argc < 5) {
    std::fprintf(stderr, "usage: raw_consume BROKERS TOPIC PARTITIONS EVENTS [read]\n");
    return 2;
  }
  auto began = std::chrono::steady_clock::now();
  const char *topic = argv[2];
  int partitions = std::atoi(argv[3]);
  guint64 wanted = std::strtoull(argv[4], nullptr, 10), count = 0, bytes = 0, failed = 0;
  bool reads = argc > 5 && std::strcmp(argv[5], "read") == 0;
  rd_kafka_t *client = open_consumer(argv[1]);
  if (client == nullptr) return EXIT_FAILURE;
  rd_kafka_poll_set_consumer(client);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
  for (int p = 0; p < partitions; p++) rd_kafka_topic_partition_list_add(list, topic, p)->offset = 0;
  rd_kafka_assign(client, list);
  rd_kafka_topic_partition_list_destroy(list);
  std::atomic<bool> ending{false};
  std::thread marks([&] {
    int64_t low, high;
    for (int p = 0; !ending; p = (p + 1) % partitions) {
      rd_kafka_query_watermark_offsets(client, topic, p, &low, &high, 1000);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  Reader reader;
  for (int silent = 0; count < wanted && silent < 300;) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
    if (message == nullptr) {
      silent++;
      continue;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      count++;
      bytes += message->len;
      if (reads && !reader.read(message->payload, message->len)) failed++;
    }
    rd_kafka_message_destroy(message);
  }
  double cpu = cpu_seconds();
  double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  ending = true;
  marks.join();
  std::printf("{\"events\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT ", \"fields\": %" G_GUINT64_FORMAT
              ", \"failed\": %" G_GUINT64_FORMAT ", \"wall_s\": %.4f, \"cpu_s\": %.4f}\n",
              count, bytes, reader.fields, failed, wall, cpu);
  std::fflush(stdout);
  std::_Exit(count == wanted && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE); // closing the client says nothing here
}
