/* The join buffer against a plain list, label queue, seen ids, hash. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/join.h"
#include "daemon/label_queue.h"
#include "daemon/shard_seen.h"

static DriftValue text_value(const gchar *text)
{
  return (DriftValue){.kind = DRIFT_VALUE_TEXT, .text = text, .length = (guint32)strlen(text)};
}

static guint add(Join *join, const gchar *id, gint64 offset, gint64 time, gint64 arrival)
{
  DriftValue features[2] = {{.kind = DRIFT_VALUE_NUMBER, .number = (double)offset}, text_value("x")};
  DriftEvent event = {
      .request_id = text_value(id), .event_time = time, .score = .5, .latency_ms = NAN, .features = features};
  return join_add(join, shard_hash(id, strlen(id)), &event, offset, time, arrival);
}

static JoinResult match(Join *join, const gchar *id, gint64 latest_arrival, gint64 earliest_time,
                        gint32 label_partition, gboolean leaves, gint64 *offset)
{
  JoinRow row;
  JoinQuery query = {
      shard_hash(id, strlen(id)), id, strlen(id), latest_arrival, earliest_time, label_partition, leaves};
  JoinResult result = join_match(join, &query, &row);
  if (result == JOIN_MATCH && offset != NULL) {
    *offset = row.offset;
    ck_assert_double_eq(row.parsed.event.features[0].number, (double)row.offset);
    ck_assert_uint_eq(row.parsed.event.features[1].length, 1);
  }
  return result;
}

START_TEST(the_pair_decides)
{
  g_autoptr(Join) join = join_new(2, 100, 1 << 20);
  gint64 offset = -1;
  add(join, "a", 7, 1000, 1500);
  ck_assert_int_eq(match(join, "a", 1499, 0, 0, TRUE, NULL), JOIN_NONE);    /* it arrived too late for this label */
  ck_assert_int_eq(match(join, "a", 1500, 1001, 0, TRUE, NULL), JOIN_NONE); /* the label came too late */
  ck_assert_int_eq(match(join, "b", 1500, 1000, 0, TRUE, NULL), JOIN_NONE);
  ck_assert_int_eq(match(join, "a", 1500, 1000, 0, TRUE, &offset), JOIN_MATCH);
  ck_assert_int_eq(offset, 7);
  ck_assert_int_eq(match(join, "a", 1500, 1000, 0, TRUE, NULL), JOIN_NONE); /* it has left */
  ck_assert_uint_eq(join_get_waiting(join), 0);
}
END_TEST

START_TEST(each_of_several_label_partitions_matches_once)
{
  g_autoptr(Join) join = join_new(2, 100, 1 << 20);
  gint64 offset = -1;
  add(join, "a", 3, 10, 10);
  add(join, "a", 9, 20, 20);
  for (guint sealed = 0; sealed < 2; sealed++) {
    gint32 first = sealed == 0 ? 0 : 2;
    ck_assert_int_eq(match(join, "a", 100, 0, first, FALSE, &offset), JOIN_MATCH);
    ck_assert_int_eq(offset, 3); /* of two with the same id the first is meant … */
    ck_assert_int_eq(match(join, "a", 100, 0, first, FALSE, NULL), JOIN_DUPLICATE);
    ck_assert_int_eq(match(join, "a", 100, 15, first, FALSE, &offset), JOIN_MATCH); /* … if it can be */
    ck_assert_int_eq(offset, 9);
    ck_assert_int_eq(match(join, "a", 100, 0, first + 1, FALSE, &offset), JOIN_MATCH);
    g_autoptr(GByteArray) chunk = g_byte_array_new();
    join_take_chunk(join, chunk); /* marks move with the rows into a block */
  }
  ck_assert_int_eq(match(join, "a", 100, 0, 0, FALSE, NULL), JOIN_DUPLICATE);
  ck_assert_uint_eq(join_get_waiting(join), 2);
  join_expire(join, 20);
  ck_assert_uint_eq(join_get_waiting(join), 2); /* both are in one block */
  join_expire(join, 21);
  ck_assert_uint_eq(join_get_waiting(join), 0);
}
END_TEST

/* --- against a plain list
 * --------------------------------------------------------------------------------------------- */

typedef struct {
  gchar id[16];
  gint64 offset, time, arrival;
  gboolean left;
} Plain;

static gint64 plain_match(GArray *list, const gchar *id, gint64 latest_arrival, gint64 earliest_time)
{
  for (guint i = 0; i < list->len; i++) {
    Plain *row = &g_array_index(list, Plain, i);
    if (row->left || strcmp(row->id, id) != 0 || row->arrival > latest_arrival || row->time < earliest_time) continue;
    row->left = TRUE;
    return row->offset;
  }
  return -1;
}

/* Saves and restores through chunks and marks, as a restart does. */
static Join *restart(Join *join, GPtrArray *chunks)
{
  g_autoptr(GByteArray) marks = g_byte_array_new();
  GByteArray *chunk = g_byte_array_new();
  join_take_chunk(join, chunk);
  g_ptr_array_add(chunks, chunk);
  join_put_marks(join, marks);
  guint64 waiting = join_get_waiting(join);
  join_free(join);
  Join *other = join_new(2, 100000, 1 << 26);
  ShardReader reader;
  guint64 next;
  for (guint i = 0; i < chunks->len; i++) {
    const GByteArray *bytes = chunks->pdata[i];
    shard_reader_init(&reader, bytes->data, bytes->len);
    ck_assert(join_restore_chunk(other, &reader, &next));
  }
  shard_reader_init(&reader, marks->data, marks->len);
  ck_assert(join_get_marks(other, &reader));
  ck_assert_uint_eq(join_get_waiting(other), waiting);
  return other;
}

START_TEST(it_does_what_a_plain_list_does)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(17);
  g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(Plain));
  g_autoptr(GPtrArray) chunks = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
  Join *join = join_new(2, 100000, 1 << 26);
  guint matched = 0;
  for (guint i = 0; i < 12000; i++) {
    gchar id[16];
    g_snprintf(id, sizeof id, "%d", g_rand_int_range(random, 0, 3000));
    gint64 now = (gint64)i * 10;
    if (g_rand_int_range(random, 0, 3) > 0) {
      Plain row = {.offset = i, .time = now - g_rand_int_range(random, 0, 500), .arrival = now};
      g_strlcpy(row.id, id, sizeof row.id);
      g_array_append_val(list, row);
      ck_assert_uint_eq(add(join, row.id, row.offset, row.time, row.arrival), 0);
    } else {
      gint64 latest = now - g_rand_int_range(random, 0, 3000), earliest = now - 20000, offset = -1;
      match(join, id, latest, earliest, 0, TRUE, &offset);
      ck_assert_int_eq(offset, plain_match(list, id, latest, earliest));
      matched += offset >= 0;
    }
    if (g_rand_int_range(random, 0, 400) == 0) {
      join_expire(join, now - 20000);
      join = restart(join, chunks);
    }
  }
  ck_assert_uint_gt(matched, 1000);
  join_free(join);
}
END_TEST

START_TEST(the_oldest_are_evicted_and_memory_is_bounded)
{
  g_autoptr(Join) few = join_new(2, 600, (gsize)1 << 30), small = join_new(2, 1000000, 400000);
  guint evicted = 0;
  for (gint64 i = 0; i < 20000; i++) {
    gchar id[16];
    g_snprintf(id, sizeof id, "%ld", i);
    evicted += add(few, id, i, i, i);
    add(small, id, i, i, i);
    ck_assert_uint_le(join_get_waiting(few), 600);
  }
  ck_assert_uint_eq(evicted + join_get_waiting(few), 20000);
  ck_assert_int_eq(match(few, "19999", 30000, 0, 0, TRUE, NULL), JOIN_MATCH);
  ck_assert_int_eq(match(few, "100", 30000, 0, 0, TRUE, NULL), JOIN_NONE);
  ck_assert_uint_lt(join_get_memory(small), 600000);
  ck_assert_uint_gt(join_get_waiting(small), 1000);
}
END_TEST

/* One row that waits for ever must not keep everything after it in the store. */
START_TEST(the_span_is_bounded)
{
  g_autoptr(Join) join = join_new(2, 300, (gsize)1 << 30);
  add(join, "waits", 0, 0, 0);
  for (gint64 i = 1; i < 5000; i++) {
    gchar id[16];
    g_snprintf(id, sizeof id, "%ld", i);
    add(join, id, i, i, i);
    ck_assert_int_eq(match(join, id, i, 0, 0, TRUE, NULL), JOIN_MATCH);
  }
  ck_assert_uint_le(join_get_next_sequence(join) - join_get_first_live(join), 300 * 4 + 512);
  ck_assert_int_eq(match(join, "waits", 10, 0, 0, TRUE, NULL), JOIN_NONE);
}
END_TEST

START_TEST(damaged_chunks_are_refused)
{
  g_autoptr(Join) join = join_new(2, 1000, 1 << 20);
  g_autoptr(GByteArray) chunk = g_byte_array_new();
  for (gint64 i = 0; i < 300; i++) {
    gchar id[16];
    g_snprintf(id, sizeof id, "%ld", i);
    add(join, id, i, i, i);
  }
  join_take_chunk(join, chunk);
  for (guint cut = 0; cut < chunk->len; cut += 7) {
    g_autoptr(Join) other = join_new(2, 1000, 1 << 20);
    g_autofree guint8 *copy = g_memdup2(chunk->data, MAX(cut, 1));
    ShardReader reader;
    guint64 next;
    shard_reader_init(&reader, copy, cut);
    ck_assert(!join_restore_chunk(other, &reader, &next));
  }
}
END_TEST

START_TEST(labels_wait_in_order)
{
  g_autoptr(LabelQueue) queue = label_queue_new(), copy = label_queue_new();
  g_autoptr(GByteArray) bytes = g_byte_array_new(), again = g_byte_array_new();
  LabelEntry entry;
  ShardReader reader;
  guint next = 0, pushed = 0;
  g_autoptr(GRand) random = g_rand_new_with_seed(3);
  for (guint i = 0; i < 20000; i++) {
    gchar id[16];
    if (g_rand_int_range(random, 0, 100) < 55) {
      g_snprintf(id, sizeof id, "id%u", pushed);
      LabelEntry made = {pushed, 1, 2, 3, 4, text_value(id), {.kind = DRIFT_VALUE_NUMBER, .number = pushed}};
      label_queue_push(queue, &made);
      pushed++;
    } else if (label_queue_peek(queue, &entry)) {
      g_snprintf(id, sizeof id, "id%u", next);
      ck_assert_int_eq(entry.offset, next);
      ck_assert_double_eq(entry.label.number, next);
      ck_assert_uint_eq(entry.id.length, strlen(id));
      ck_assert_mem_eq(entry.id.text, id, strlen(id));
      label_queue_pop(queue);
      next++;
    }
  }
  ck_assert_uint_eq(label_queue_get_length(queue), pushed - next);
  label_queue_put(queue, bytes);
  shard_reader_init(&reader, bytes->data, bytes->len);
  ck_assert(label_queue_get(copy, &reader));
  label_queue_put(copy, again);
  ck_assert_uint_eq(bytes->len, again->len);
  ck_assert_mem_eq(bytes->data, again->data, again->len);
}
END_TEST

START_TEST(ids_are_remembered_for_their_span_and_no_more_than_the_capacity)
{
  g_autoptr(ShardSeen) seen = shard_seen_new(100, 50, TRUE);
  ck_assert(!shard_seen_add(seen, 11, 0));
  ck_assert(shard_seen_add(seen, 11, 100)); /* at least the span */
  ck_assert(!shard_seen_add(seen, 12, 101));
  ck_assert(shard_seen_add(seen, 11, 150));
  ck_assert(!shard_seen_add(seen, 13, 202)); /* a second rotation: 11 is forgotten */
  ck_assert(!shard_seen_add(seen, 11, 203));
  ck_assert(!shard_seen_add(seen, 12, 1000)); /* a jump forgets everything */
  for (guint64 i = 100; i < 1000; i++) shard_seen_add(seen, i, 1000);
  ck_assert_uint_le(shard_seen_get_count(seen), 100);
  ck_assert(shard_seen_has(seen, 999) && shard_seen_has(seen, 960));
}
END_TEST

START_TEST(the_hash_never_changes)
{
  /* States and samples of former releases depend on it. */
  ck_assert_uint_eq(shard_hash("request-1", 9), G_GUINT64_CONSTANT(0xcbffd17dcf684b6c));
  ck_assert_uint_eq(shard_hash("", 0), G_GUINT64_CONSTANT(0x57ebe2cefe456a55));
  ck_assert_uint_ne(shard_hash("request-1", 9), shard_hash("request-2", 9));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("join");
  TCase *tests = tcase_create("join");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, the_pair_decides);
  tcase_add_test(tests, each_of_several_label_partitions_matches_once);
  tcase_add_test(tests, it_does_what_a_plain_list_does);
  tcase_add_test(tests, the_oldest_are_evicted_and_memory_is_bounded);
  tcase_add_test(tests, the_span_is_bounded);
  tcase_add_test(tests, damaged_chunks_are_refused);
  tcase_add_test(tests, labels_wait_in_order);
  tcase_add_test(tests, ids_are_remembered_for_their_span_and_no_more_than_the_capacity);
  tcase_add_test(tests, the_hash_never_changes);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
