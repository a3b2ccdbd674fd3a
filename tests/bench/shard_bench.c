/* CPU nanoseconds an event spends in the shard, by what it is asked to do: 20 features, checkpoint every 20,000 events.
 * "accumulate" is drift_accumulator_add alone, which every other line includes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/shard.h"

#define N_FEATURES 20
#define N_ROWS 4096u
#define CHECKPOINT 20000u
#define START (G_GINT64_CONSTANT(1700000000) * 1000000)

typedef struct {
  DriftGrid *grid;
  DriftEvent *events; /* [N_ROWS], used over and over with new ids */
} Bench;

/* CPU time, so that others on the machine do not count: microseconds. */
static gint64 cpu_time(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (gint64)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static Bench make_bench(void)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  g_autoptr(DriftTable) table = drift_table_new();
  g_autoptr(GRand) random = g_rand_new_with_seed(1);
  Bench bench = {.events = g_new0(DriftEvent, N_ROWS)};
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  for (guint f = 0; f < N_FEATURES; f++) {
    g_autofree gchar *name = g_strdup_printf("f%u", f);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint row = 0; row < 5000; row++) drift_column_append_number(column, g_rand_double(random));
  }
  table->n_rows = 5000;
  bench.grid = drift_grid_new(schema, table, 0, NULL);
  for (guint row = 0; row < N_ROWS; row++) {
    DriftValue *features = g_new0(DriftValue, N_FEATURES);
    for (guint f = 0; f < N_FEATURES; f++)
      features[f] = (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = g_rand_double(random)};
    bench.events[row] =
        (DriftEvent){.prediction = {.kind = DRIFT_VALUE_TEXT, .text = row % 2 == 0 ? "0" : "1", .length = 1},
                     .score = g_rand_double(random),
                     .latency_ms = NAN,
                     .version = 1,
                     .features = features};
  }
  return bench;
}

/* An id of 36 characters, as a UUID has. */
static DriftValue write_id(gchar *text, guint64 number)
{
  memcpy(text, "00000000-0000-4000-8000-000000000000", 36);
  for (guint i = 0; i < 12; i++, number >>= 4) text[35 - i] = "0123456789abcdef"[number & 15];
  return (DriftValue){.kind = DRIFT_VALUE_TEXT, .text = text, .length = 36};
}

static gint64 accumulate_only(const Bench *bench, guint n)
{
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(bench->grid);
  gint64 began = cpu_time();
  for (guint i = 0; i < n; i++) {
    gchar id[36];
    DriftEvent event = bench->events[i % N_ROWS];
    event.request_id = write_id(id, i);
    drift_accumulator_add(accumulator, &event);
  }
  return cpu_time() - began;
}

static ShardSettings settings_of(gint64 dedupe_us, gint32 n_labels)
{
  return (ShardSettings){.n_traffic_partitions = 1,
                         .n_label_partitions = n_labels,
                         .skew_us = 60000000,
                         .late_us = G_GINT64_CONSTANT(3600000000),
                         .dedupe_us = dedupe_us,
                         .grace_us = 60000000,
                         .wait_us = G_GINT64_CONSTANT(3600000000),
                         .sample = 1,
                         .pane_events = 10000,
                         .label_rows = 100,
                         .panes_per_day = 10000,
                         .max_waiting = 1000000,
                         .max_waiting_bytes = (gsize)128 << 20,
                         .traffic_topic = (gchar *)"t",
                         .label_topic = (gchar *)"l",
                         .dead_letter_topic = (gchar *)"d"};
}

/* Labels come 10,000 events after their prediction. */
static gint64 run_shard(const Bench *bench, guint n, gint64 dedupe_us, gint32 n_labels, ShardStatistics *statistics)
{
  ShardSettings settings = settings_of(dedupe_us, n_labels);
  g_autoptr(Shard) shard = shard_new(&settings, bench->grid);
  shard_set_next_offset(shard, 0);
  if (n_labels > 0) shard_set_next_label(shard, 0, 0);
  gint64 began = cpu_time();
  for (guint i = 0; i < n; i++) {
    gchar id[36];
    gint64 time = START + (gint64)i * 100;
    DriftEvent event = bench->events[i % N_ROWS];
    event.request_id = write_id(id, i);
    event.event_time = time;
    SourceRecord record = {.topic = "t", .offset = i, .timestamp = time};
    shard_feed_traffic(shard, &record, &(DecodedTraffic){&event, 1, 0});
    if (n_labels > 0 && i >= 10000) {
      DecodedLabel label = {.request_id = write_id(id, i - 10000), .label = event.prediction, .time = time};
      SourceRecord label_record = {.topic = "l", .offset = i - 10000, .timestamp = time};
      shard_feed_label(shard, &label_record, &label);
    }
    if (i % CHECKPOINT == CHECKPOINT - 1) shard_checkpoint_free(shard_take_checkpoint(shard));
  }
  gint64 took = cpu_time() - began;
  shard_get_statistics(shard, statistics);
  return took;
}

static void print_line(const gchar *name, gint64 took_us, guint n, const ShardStatistics *statistics)
{
  printf("%-44s %7.0f ns/event", name, (double)took_us * 1000 / n);
  if (statistics != NULL)
    printf("   %" G_GUINT64_FORMAT " events, %" G_GUINT64_FORMAT " labels, %.1f MiB", statistics->events,
           statistics->labels, (double)statistics->memory / 1048576);
  putchar('\n');
}

int main(int argc, char **argv)
{
  guint n = argc > 1 ? (guint)strtoul(argv[1], NULL, 10) : 1000000;
  Bench bench = make_bench();
  ShardStatistics statistics;
  accumulate_only(&bench, n / 4); /* warm */
  print_line("accumulate", accumulate_only(&bench, n), n, NULL);
  gint64 took = run_shard(&bench, n, 0, 0, &statistics);
  print_line("shard, no labels, duplicates not looked for", took, n, &statistics);
  took = run_shard(&bench, n, 600000000, 0, &statistics);
  print_line("shard, no labels", took, n, &statistics);
  took = run_shard(&bench, n, 600000000, 1, &statistics);
  print_line("shard, every event labelled", took, n, &statistics);
  for (guint row = 0; row < N_ROWS; row++) g_free((DriftValue *)bench.events[row].features);
  g_free(bench.events);
  drift_grid_unref(bench.grid);
  return EXIT_SUCCESS;
}
