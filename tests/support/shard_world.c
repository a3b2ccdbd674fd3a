#include "tests/support/shard_world.h"

#include <math.h>
#include <string.h>

#define N_FEATURES 4
#define SECOND G_GINT64_CONSTANT(1000000)
#define START (G_GINT64_CONSTANT(1700000000) * SECOND)

DriftGrid *world_grid(void)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "label");
  g_autoptr(DriftTable) table = drift_table_new();
  const gchar *names[] = {"a", "b", "c"};
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  for (guint i = 0; i < 3; i++) {
    drift_schema_add_feature(schema, names[i], DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, names[i], DRIFT_NUMERIC);
    for (guint row = 0; row < 200; row++) drift_column_append_number(column, sin(row * (i + 1)));
  }
  drift_schema_add_feature(schema, "group", DRIFT_CATEGORICAL, TRUE, TRUE);
  DriftColumn *group = drift_table_add_column(table, "group", DRIFT_CATEGORICAL);
  for (guint row = 0; row < 200; row++) drift_column_append_text(group, row % 3 == 0 ? "x" : "y", -1);
  table->n_rows = 200;
  GError *error = NULL;
  DriftGrid *grid = drift_grid_new_with_pairs(schema, table, 16, DRIFT_GRID_DEFAULT_PAIRS, &error);
  g_assert_no_error(error);
  return grid;
}

static gchar *text(World *world, const gchar *format, guint number)
{
  g_autofree gchar *made = g_strdup_printf(format, number);
  return g_string_chunk_insert(world->texts, made);
}

static DriftValue text_value(gchar *string)
{
  return (DriftValue){.kind = DRIFT_VALUE_TEXT, .text = string, .length = (guint32)strlen(string)};
}

static DriftEvent make_event(World *world, GRand *random, guint number, gint64 time)
{
  DriftValue *features = g_new0(DriftValue, N_FEATURES);
  g_ptr_array_add(world->memory, features);
  for (guint i = 0; i < 3; i++)
    features[i] = (DriftValue){.kind = DRIFT_VALUE_NUMBER, .number = g_rand_double_range(random, -1, 1)};
  if (number % 11 == 0) features[1] = (DriftValue){.kind = DRIFT_VALUE_MISSING};
  features[3] = text_value(number % 3 == 0 ? (gchar *)"x" : (gchar *)"y");
  return (DriftEvent){.request_id = text_value(text(world, "request-%u", number)),
                      .event_time = time,
                      .version = 1,
                      .prediction = text_value(number % 2 == 0 ? (gchar *)"0" : (gchar *)"1"),
                      .score = g_rand_double(random),
                      .latency_ms = NAN,
                      .features = features};
}

static void add_record(GArray *list, const gchar *topic, gint32 partition, WorldRecord record)
{
  const WorldRecord *last = list->len == 0 ? NULL : &g_array_index(list, WorldRecord, list->len - 1);
  record.record.topic = topic;
  record.record.partition = partition;
  record.record.offset = last == NULL ? 5 : last->record.offset + 1 + (list->len % 17 == 0); /* gaps are legal */
  record.record.value = (const guint8 *)"{\"broken\":";
  record.record.value_length = 10;
  g_array_append_val(list, record);
}

typedef struct {
  gint64 at; /* when it is sent */
  gint32 partition;
  WorldRecord record;
} PlannedLabel;

static int by_sending(gconstpointer a, gconstpointer b)
{
  gint64 x = ((const PlannedLabel *)a)->at, y = ((const PlannedLabel *)b)->at;
  return x < y ? -1 : x > y;
}

static void plan_label(World *world, GArray *planned, GRand *random, guint number, gint64 time)
{
  gint32 partition = g_rand_int_range(random, 0, (gint32)world->labels->len);
  gint64 at = time + g_rand_int_range(random, -40, 300) * SECOND;
  WorldRecord record = {.record.timestamp = at + SECOND};
  record.label.request_id = text_value(text(world, "request-%u", number));
  record.label.label = text_value(number % 5 == 0 ? (gchar *)"1" : (gchar *)"0");
  record.label.time = at;
  if (number % 53 == 0) record.label.time += 7200 * SECOND; /* a wrong clock: capped */
  if (number % 31 == 0) at += 4000 * SECOND;                /* sent too late */
  if (number % 43 == 0) record.dead = TRUE;
  PlannedLabel label = {at, partition, record};
  g_array_append_val(planned, label);
  if (number % 13 == 0) { /* again, in the same or another partition */
    label.at += 5 * SECOND;
    label.partition = g_rand_int_range(random, 0, (gint32)world->labels->len);
    g_array_append_val(planned, label);
  }
}

static void make_traffic(World *world, GRand *random, guint n_events, GArray *planned)
{
  gint64 now = START;
  for (guint number = 0; number < n_events;) {
    now += g_rand_int_range(random, 0, 2000) * 1000;
    WorldRecord record = {.record.timestamp = number % 7 == 0 ? -1 : now};
    guint n = number % 19 == 0 ? 3 : 1;
    record.dead = number % 37 == 0;
    record.n_events = n;
    record.events = g_new0(DriftEvent, n);
    g_ptr_array_add(world->memory, record.events);
    for (guint i = 0; i < n; i++, number++) {
      gint64 time = now - g_rand_int_range(random, 0, 20) * SECOND;
      if (number % 41 == 0) time -= 3600 * SECOND;                                  /* late */
      if (number % 47 == 0 && record.record.timestamp >= 0) time += 36000 * SECOND; /* a wrong clock: capped */
      guint id = number % 23 == 0 && number > 30 ? number - 30 : number;            /* a duplicate */
      record.events[i] = make_event(world, random, id, time);
      if (number % 4 != 3) plan_label(world, planned, random, number, now);
      if (number % 2 == 0) plan_label(world, planned, random, number + 1000000, now); /* foreign */
    }
    add_record(world->traffic, "traffic", world->settings.partition, record);
  }
}

World *world_new(guint32 seed, guint n_events, gint32 n_label_partitions)
{
  World *world = g_new0(World, 1);
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  g_autoptr(GArray) planned = g_array_new(FALSE, FALSE, sizeof(PlannedLabel));
  world->grid = world_grid();
  world->texts = g_string_chunk_new(4096);
  world->memory = g_ptr_array_new_with_free_func(g_free);
  world->traffic = g_array_new(FALSE, TRUE, sizeof(WorldRecord));
  world->labels = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
  for (gint32 k = 0; k < n_label_partitions; k++)
    g_ptr_array_add(world->labels, g_array_new(FALSE, TRUE, sizeof(WorldRecord)));
  world->settings = (ShardSettings){.partition = 1,
                                    .n_traffic_partitions = 3,
                                    .n_label_partitions = n_label_partitions,
                                    .skew_us = 60 * SECOND,
                                    .late_us = 600 * SECOND,
                                    .dedupe_us = 120 * SECOND,
                                    .grace_us = 60 * SECOND,
                                    .wait_us = 900 * SECOND,
                                    .sample = 0.9,
                                    .pane_events = 50,
                                    .label_rows = 20,
                                    .panes_per_day = 30,
                                    .max_waiting = 100000,
                                    .max_waiting_bytes = 1u << 30,
                                    .traffic_topic = (gchar *)"traffic",
                                    .label_topic = (gchar *)"labels",
                                    .dead_letter_topic = (gchar *)"dead"};
  make_traffic(world, random, n_events, planned);
  g_array_sort(planned, by_sending);
  for (guint i = 0; i < planned->len; i++) {
    const PlannedLabel *label = &g_array_index(planned, PlannedLabel, i);
    add_record(world->labels->pdata[label->partition], "labels", label->partition, label->record);
  }
  return world;
}

void world_free(World *world)
{
  drift_grid_unref(world->grid);
  g_array_unref(world->traffic);
  g_ptr_array_unref(world->labels);
  g_string_chunk_free(world->texts);
  g_ptr_array_unref(world->memory);
  g_free(world);
}

guint world_length(const World *world, gint32 stream)
{
  return stream < 0 ? world->traffic->len : ((GArray *)world->labels->pdata[stream])->len;
}

void world_feed(const World *world, Shard *shard, gint32 stream, guint index)
{
  const WorldRecord *record =
      &g_array_index(stream < 0 ? world->traffic : (GArray *)world->labels->pdata[stream], WorldRecord, index);
  DecodedTraffic decoded = {record->events, record->n_events, index % 100 == 0};
  if (stream < 0 && record->dead)
    shard_feed_dead_letter(shard, &record->record, DECODE_MALFORMED, "broken", 0);
  else if (stream < 0)
    shard_feed_traffic(shard, &record->record, &decoded);
  else if (record->dead)
    shard_feed_label_dead_letter(shard, &record->record, DECODE_WRONG_TYPE, "label");
  else
    shard_feed_label(shard, &record->record, &record->label);
}

/* --- recorder ---------------------------------------------------------------------------------------------------- */

Recorder *recorder_new(void)
{
  Recorder *recorder = g_new0(Recorder, 1);
  recorder->sequences = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_byte_array_unref);
  return recorder;
}

void recorder_free(Recorder *recorder)
{
  g_hash_table_unref(recorder->sequences);
  g_free(recorder);
}

static void append(Recorder *recorder, const gchar *name, const gchar *head, GBytes *bytes)
{
  GByteArray *sequence = g_hash_table_lookup(recorder->sequences, name);
  if (sequence == NULL) g_hash_table_insert(recorder->sequences, g_strdup(name), sequence = g_byte_array_new());
  g_byte_array_append(sequence, (const guint8 *)head, (guint)strlen(head));
  if (bytes != NULL) g_byte_array_append(sequence, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
}

static void add_panes(Recorder *recorder, const RegistryCheckpoint *content)
{
  for (guint i = 0; i < content->panes->len; i++) {
    const RegistryPane *pane = content->panes->pdata[i];
    g_autofree gchar *head = g_strdup_printf("\npane %ld %s [%ld,%ld) %ld..%ld w %ld n %lu %s\n", pane->number,
                                             pane->grid_id, pane->first_offset, pane->next_offset, pane->first_time,
                                             pane->last_time, pane->watermark, pane->count, pane->coverage);
    append(recorder, "panes", head, pane->bytes);
  }
  for (guint i = 0; i < content->label_panes->len; i++) {
    const RegistryLabelPane *pane = content->label_panes->pdata[i];
    g_autofree gchar *name = g_strdup_printf("label panes %d", pane->label_partition);
    g_autofree gchar *head =
        g_strdup_printf("\npane %ld rows [%ld,%ld) [%ld,%ld) w %ld traffic %ld..%ld n %lu %s\n", pane->number,
                        pane->first_row, pane->next_row, pane->first_offset, pane->next_offset, pane->watermark,
                        pane->first_traffic_offset, pane->last_traffic_offset, pane->count, pane->coverage);
    append(recorder, name, head, pane->bytes);
  }
}

void recorder_add(Recorder *recorder, const ShardCheckpoint *checkpoint)
{
  const RegistryCheckpoint *content = &checkpoint->content;
  add_panes(recorder, content);
  for (guint i = 0; i < content->labelled_rows->len; i++) {
    const RegistryLabelledRows *rows = content->labelled_rows->pdata[i];
    g_autofree gchar *name = g_strdup_printf("labelled log %d", rows->label_partition);
    append(recorder, name, "", rows->bytes);
  }
  for (guint i = 0; i < content->dead_letters->len; i++) {
    const RegistryDeadLetter *letter = content->dead_letters->pdata[i];
    g_auto(GStrv) parts = g_strsplit(letter->source, "/", 3);
    g_autofree gchar *name = g_strdup_printf("dead letters %s/%s", parts[0], parts[1]);
    g_autofree gchar *head = g_strdup_printf("%s %s %s\n", letter->id, letter->topic, letter->reason);
    append(recorder, name, head, letter->payload);
  }
}

gchar *recorder_digest(const Recorder *recorder)
{
  g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(recorder->sequences), (GCompareFunc)strcmp);
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  for (GList *name = names; name != NULL; name = name->next) {
    const GByteArray *sequence = g_hash_table_lookup(recorder->sequences, name->data);
    g_checksum_update(checksum, name->data, -1);
    g_checksum_update(checksum, sequence->data, (gssize)sequence->len);
  }
  return g_strdup(g_checksum_get_string(checksum));
}

guint recorder_length(const Recorder *recorder, const gchar *name)
{
  const GByteArray *sequence = g_hash_table_lookup(recorder->sequences, name);
  return sequence == NULL ? 0 : sequence->len;
}
