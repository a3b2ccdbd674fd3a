/* The order in which traffic and label partitions are polled, and where checkpoints are cut, change nothing. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>

#include "tests/support/shard_world.h"

#define N_STREAMS_MAX 5

typedef struct {
  GBytes *canonical;
  gchar *digest;
  ShardStatistics statistics;
  guint label_panes;
} Outcome;

static void begin(const World *world, Shard *shard)
{
  shard_set_next_offset(shard, 5);
  for (guint k = 0; k < world->labels->len; k++) shard_set_next_label(shard, (gint32)k, 5);
}

/* The leader orders label panes by these marks: no pane may close below one that was given out. */
static void check_marks(const ShardCheckpoint *checkpoint, gint64 *marks)
{
  json_t *consumed = json_loads(checkpoint->consumed, 0, NULL), *value;
  const char *key;
  ck_assert(consumed != NULL);
  for (guint i = 0; i < checkpoint->content.label_panes->len; i++) {
    const RegistryLabelPane *pane = checkpoint->content.label_panes->pdata[i];
    ck_assert_int_ge(pane->watermark, marks[pane->label_partition]);
  }
  json_object_foreach (json_object_get(consumed, "label_watermarks"), key, value) {
    gint64 mark = json_integer_value(value), *known = &marks[atoi(key)];
    ck_assert_int_ge(mark, *known);
    *known = mark;
  }
  json_decref(consumed);
}

static gint64 marks_seen[N_STREAMS_MAX];

static void hand_over(Shard *shard, Recorder *recorder)
{
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(shard);
  check_marks(checkpoint, marks_seen);
  recorder_add(recorder, checkpoint);
}

/* Feeds the first `fraction` of every stream, choosing the next stream at random with the given preference for traffic.
 */
static void feed_all(const World *world, Shard *shard, Recorder *recorder, GRand *random, double traffic_share,
                     double from, double fraction)
{
  gint32 n = (gint32)world->labels->len;
  guint at[N_STREAMS_MAX] = {0}, end[N_STREAMS_MAX] = {0}, left = 0;
  for (gint32 s = 0; s <= n; s++) {
    at[s] = (guint)(world_length(world, s - 1) * from);
    end[s] = (guint)(world_length(world, s - 1) * fraction);
    left += end[s] - at[s];
  }
  while (left > 0) {
    gint32 s = g_rand_double(random) < traffic_share ? 0 : g_rand_int_range(random, 1, n + 1);
    guint burst = (guint)g_rand_int_range(random, 1, 40);
    for (; burst > 0 && at[s] < end[s]; burst--, left--) world_feed(world, shard, s - 1, at[s]++);
    if (g_rand_int_range(random, 0, 60) == 0) hand_over(shard, recorder);
  }
}

static Outcome run(const World *world, guint32 order, double fraction)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(order);
  g_autoptr(Shard) shard = shard_new(&world->settings, world->grid);
  Recorder *recorder = recorder_new();
  for (guint k = 0; k < N_STREAMS_MAX; k++) marks_seen[k] = G_MININT64;
  begin(world, shard);
  const double shares[] = {.5, .02, .98, .25, .75};
  feed_all(world, shard, recorder, random, shares[order % 5], 0, fraction);
  Outcome outcome = {.canonical = shard_canonical_bytes(shard)};
  hand_over(shard, recorder);
  shard_get_statistics(shard, &outcome.statistics);
  outcome.digest = recorder_digest(recorder);
  outcome.label_panes = recorder_length(recorder, "label panes 0");
  recorder_free(recorder);
  return outcome;
}

static void outcome_clear(Outcome *outcome)
{
  g_bytes_unref(outcome->canonical);
  g_free(outcome->digest);
}

static void check_orders(World *world, double fraction)
{
  Outcome first = run(world, 0, fraction);
  ck_assert_uint_gt(first.statistics.labels, 50);
  ck_assert_uint_gt(first.statistics.unmatched, 50);
  ck_assert_uint_gt(first.statistics.duplicates, 5);
  ck_assert_uint_gt(first.statistics.late, 5);
  ck_assert_uint_gt(first.label_panes, 0);
  for (guint32 order = 1; order < 10; order++) {
    Outcome other = run(world, order, fraction);
    ck_assert_msg(g_bytes_equal(first.canonical, other.canonical), "order %u: another state", order);
    ck_assert_str_eq(first.digest, other.digest);
    ck_assert_uint_eq(first.statistics.labels, other.statistics.labels);
    outcome_clear(&other);
  }
  outcome_clear(&first);
}

START_TEST(ten_poll_orders_give_the_same_bytes)
{
  World *world = world_new(7, 3000, 3);
  check_orders(world, 1);
  check_orders(world, .55); /* while labels wait and panes are open */
  world_free(world);
}
END_TEST

START_TEST(one_label_partition_whose_predictions_leave_at_their_match)
{
  World *world = world_new(8, 3000, 1);
  check_orders(world, 1);
  check_orders(world, .4);
  world_free(world);
}
END_TEST

START_TEST(panes_by_event_time)
{
  World *world = world_new(9, 2000, 2);
  world->settings.pane_events = 0;
  world->settings.pane_us = 10000000;
  world->settings.pane_limit_us = 40000000;
  check_orders(world, 1);
  world_free(world);
}
END_TEST

START_TEST(another_world_is_seen)
{
  World *world = world_new(7, 3000, 3);
  Outcome first = run(world, 0, 1), shorter = run(world, 0, .99);
  ck_assert(!g_bytes_equal(first.canonical, shorter.canonical));
  ck_assert_str_ne(first.digest, shorter.digest);
  outcome_clear(&first);
  outcome_clear(&shorter);
  world_free(world);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("shard_order");
  TCase *tests = tcase_create("orders");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, ten_poll_orders_give_the_same_bytes);
  tcase_add_test(tests, one_label_partition_whose_predictions_leave_at_their_match);
  tcase_add_test(tests, panes_by_event_time);
  tcase_add_test(tests, another_world_is_seen);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
