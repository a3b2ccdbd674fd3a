/* Exactly once: a shard that loses its memory at any moment and restores from the store ends with the same panes, label
 * panes, labelled log and state as one that never did; an owner that was fenced writes nothing. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/postgres_store.h"
#include "tests/support/shard_world.h"

#define N_PATTERNS 300 /* on SQLite, half of them with one label partition; a tenth on PostgreSQL */
#define PARTITION 1

static TestStore *fixture;

/* --- one owner of a shard ------------------------------------------------------------------------------------------
 */

typedef struct {
  Shard *shard;
  gint64 epoch, base;
} Owner;

static Owner acquire(const World *world, const gchar *model)
{
  GError *error = NULL;
  g_autoptr(RegistryShard) row = registry_shard_acquire(fixture->store, model, PARTITION, "test", &error);
  g_assert_no_error(error);
  Owner owner = {shard_new(&world->settings, world->grid), row->epoch, row->next_offset};
  if (row->state == NULL) {
    shard_set_next_offset(owner.shard, 5);
    for (guint k = 0; k < world->labels->len; k++) shard_set_next_label(owner.shard, (gint32)k, 5);
    return owner;
  }
  g_autoptr(GArray) numbers = NULL;
  g_autoptr(GPtrArray) chunks = registry_shard_join_chunks(fixture->store, model, PARTITION, &numbers, &error);
  g_assert_no_error(error);
  shard_restore(owner.shard, row->state, chunks, numbers, &error);
  g_assert_no_error(error);
  return owner;
}

static gboolean write_checkpoint(Owner *owner, const gchar *model, GError **error)
{
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(owner->shard);
  checkpoint->content.model = model;
  checkpoint->content.epoch = owner->epoch;
  checkpoint->content.base_offset = owner->base;
  if (!registry_shard_checkpoint(fixture->store, &checkpoint->content, error)) return FALSE;
  owner->base = checkpoint->content.next_offset;
  return TRUE;
}

static void must_write(Owner *owner, const gchar *model)
{
  GError *error = NULL;
  write_checkpoint(owner, model, &error);
  g_assert_no_error(error);
}

/* First record of the stream at or after the shard's next offset. */
static guint position(const World *world, const Shard *shard, gint32 stream)
{
  const GArray *records = stream < 0 ? world->traffic : world->labels->pdata[stream];
  gint64 next = stream < 0 ? shard_get_next_offset(shard) : shard_get_next_label(shard, stream);
  guint at = 0;
  while (at < records->len && g_array_index(records, WorldRecord, at).record.offset < next) at++;
  return at;
}

static gboolean is_done(const World *world, const guint *at)
{
  for (guint s = 0; s <= world->labels->len; s++)
    if (at[s] < world_length(world, (gint32)s - 1)) return FALSE;
  return TRUE;
}

static GBytes *run_with_crashes(const World *world, const gchar *model, guint32 seed, double crash, double cut)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  Owner owner = acquire(world, model);
  guint at[8];
  for (gint32 s = 0; s <= (gint32)world->labels->len; s++) at[s] = position(world, owner.shard, s - 1);
  while (!is_done(world, at)) {
    gint32 s = g_rand_int_range(random, 0, (gint32)world->labels->len + 1);
    for (gint32 burst = g_rand_int_range(random, 1, 12); burst > 0 && at[s] < world_length(world, s - 1); burst--)
      world_feed(world, owner.shard, s - 1, at[s]++);
    if (g_rand_double(random) < cut) must_write(&owner, model);
    if (g_rand_double(random) >= crash) continue;
    shard_free(owner.shard);
    owner = acquire(world, model);
    for (gint32 t = 0; t <= (gint32)world->labels->len; t++) at[t] = position(world, owner.shard, t - 1);
  }
  must_write(&owner, model);
  GBytes *canonical = shard_canonical_bytes(owner.shard);
  shard_free(owner.shard);
  return canonical;
}

/* --- what the store holds ------------------------------------------------------------------------------------------
 */

static void add_text(GByteArray *all, const gchar *text)
{
  g_byte_array_append(all, (const guint8 *)text, (guint)strlen(text));
}

static void add_bytes(GByteArray *all, GBytes *bytes)
{
  g_byte_array_append(all, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
}

static GByteArray *read_store(const World *world, const gchar *model)
{
  GByteArray *all = g_byte_array_new();
  g_autoptr(GPtrArray) panes = registry_pane_list(fixture->store, model, PARTITION, 0, 0, TRUE, NULL);
  for (guint i = 0; i < panes->len; i++) {
    const RegistryPane *pane = panes->pdata[i];
    g_autofree gchar *head = g_strdup_printf("%ld %ld %ld %lu %s", pane->number, pane->first_offset, pane->next_offset,
                                             pane->count, pane->coverage);
    add_text(all, head);
    add_bytes(all, pane->bytes);
  }
  for (gint32 k = 0; k < (gint32)world->labels->len; k++) {
    g_autoptr(GPtrArray) list = registry_label_pane_list(fixture->store, model, PARTITION, k, 0, 0, TRUE, NULL);
    for (guint i = 0; i < list->len; i++) {
      const RegistryLabelPane *pane = list->pdata[i];
      g_autofree gchar *head = g_strdup_printf("%ld %ld %ld %ld %s", pane->number, pane->first_row, pane->next_row,
                                               pane->first_traffic_offset, pane->coverage);
      add_text(all, head);
      add_bytes(all, pane->bytes);
    }
    gint64 next = registry_labelled_log_next(fixture->store, model, PARTITION, k, NULL);
    if (next == 0) continue;
    GError *error = NULL;
    g_autoptr(GBytes) log = registry_labelled_log_read(fixture->store, NULL, model, PARTITION, k, 0, next, &error);
    g_assert_no_error(error);
    add_bytes(all, log);
  }
  return all;
}

static void check_patterns(gint32 n_labels, guint32 n_patterns)
{
  World *world = world_new(11, 240, n_labels);
  g_autoptr(GBytes) unbroken = run_with_crashes(world, "unbroken", 1, 0, 0);
  g_autoptr(GByteArray) expected = read_store(world, "unbroken");
  ck_assert_uint_gt(expected->len, 5000);
  for (guint32 seed = 0; seed < n_patterns; seed++) {
    g_autofree gchar *model = g_strdup_printf("crash-%u", seed);
    g_autoptr(GBytes) state = run_with_crashes(world, model, seed + 100, .04 + .002 * (seed % 50), .25);
    g_autoptr(GByteArray) found = read_store(world, model);
    ck_assert_msg(g_bytes_equal(state, unbroken), "pattern %u: another state", seed);
    ck_assert_msg(found->len == expected->len && memcmp(found->data, expected->data, found->len) == 0,
                  "pattern %u: the store holds something else", seed);
  }
  world_free(world);
}

/* _i: store + 2 x kind of world. */
START_TEST(any_crash_pattern_gives_the_unbroken_run)
{
  fixture = test_store_open(_i / 2);
  check_patterns(_i % 2 == 0 ? 2 : 1, fixture->is_postgresql ? N_PATTERNS / 20 : N_PATTERNS / 2);
  test_store_close(fixture);
}
END_TEST

START_TEST(a_fenced_owner_writes_nothing)
{
  fixture = test_store_open(_i);
  World *world = world_new(12, 200, 1);
  GError *error = NULL;
  Owner first = acquire(world, "m");
  for (guint i = 0; i < 50; i++) world_feed(world, first.shard, -1, i);
  must_write(&first, "m");
  Owner second = acquire(world, "m");
  ck_assert_int_eq(shard_get_next_offset(second.shard), shard_get_next_offset(first.shard));
  for (guint i = 50; i < 120; i++) world_feed(world, first.shard, -1, i);
  ck_assert(!write_checkpoint(&first, "m", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  for (guint i = 50; i < 90; i++) world_feed(world, second.shard, -1, i);
  must_write(&second, "m");
  /* The first one wakes and takes it back: it goes on from what the second one wrote. */
  shard_free(first.shard);
  first = acquire(world, "m");
  ck_assert_int_eq(shard_get_next_offset(first.shard), shard_get_next_offset(second.shard));
  ck_assert(!write_checkpoint(&second, "m", NULL));
  shard_free(first.shard);
  shard_free(second.shard);
  world_free(world);
  test_store_close(fixture);
}
END_TEST

START_TEST(damaged_states_are_refused)
{
  World *world = world_new(13, 300, 2);
  g_autoptr(Shard) shard = shard_new(&world->settings, world->grid);
  g_autoptr(GRand) random = g_rand_new_with_seed(5);
  shard_set_next_offset(shard, 5);
  for (guint i = 0; i < world->traffic->len; i++) world_feed(world, shard, -1, i);
  for (guint i = 0; i < 50; i++) world_feed(world, shard, 0, i);
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(shard);
  g_autoptr(GPtrArray) chunks = g_ptr_array_new();
  g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_ptr_array_add(chunks, checkpoint->content.join_chunk);
  g_array_append_val(numbers, checkpoint->content.join_chunk_number);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(checkpoint->content.state, &length);
  for (guint i = 0; i < 400; i++) {
    gsize keep = i < 200 ? (gsize)g_rand_int_range(random, 0, (gint32)length) : length;
    guint8 *copy = g_memdup2(bytes, length);
    if (keep == length) copy[g_rand_int_range(random, 0, (gint32)length)] ^= (guint8)g_rand_int_range(random, 1, 256);
    g_autoptr(GBytes) damaged = g_bytes_new_take(copy, keep);
    g_autoptr(Shard) other = shard_new(&world->settings, world->grid);
    g_autoptr(GError) error = NULL;
    if (!shard_restore(other, damaged, chunks, numbers, &error))
      ck_assert(error != NULL);
    else
      ck_assert_uint_eq(keep, length); /* a changed byte may still be a state; a shorter one is not */
  }
  world_free(world);
}
END_TEST

START_TEST(a_reset_begins_where_it_is_told)
{
  World *world = world_new(14, 300, 1);
  g_autoptr(Shard) shard = shard_new(&world->settings, world->grid), again = shard_new(&world->settings, world->grid);
  ShardAnchor anchor = {.offset = 40};
  GError *error = NULL;
  shard_set_next_offset(shard, 5);
  shard_set_next_label(shard, 0, 5);
  shard_set_cluster_id(shard, "one");
  for (guint i = 0; i < 70; i++) world_feed(world, shard, -1, i);
  shard_set_anchor(shard, SHARD_TRAFFIC, &anchor);
  g_autoptr(ShardCheckpoint) checkpoint = shard_take_checkpoint(shard);
  g_autoptr(GPtrArray) chunks = g_ptr_array_new();
  g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(gint64));
  g_ptr_array_add(chunks, checkpoint->content.join_chunk);
  g_array_append_val(numbers, checkpoint->content.join_chunk_number);
  g_autoptr(GBytes) state = shard_state_reset(checkpoint->content.state, SOURCE_EARLIEST, SHARD_KEEP, &error);
  g_assert_no_error(error);
  shard_restore(again, state, chunks, numbers, &error);
  g_assert_no_error(error);
  ck_assert_int_eq(shard_get_next_offset(again), SOURCE_EARLIEST);
  ck_assert_int_eq(shard_get_next_label(again, 0), 5);
  ck_assert_int_eq(shard_get_anchor(again, SHARD_TRAFFIC)->offset, -1);
  ck_assert(shard_get_cluster_id(again) == NULL);
  shard_set_next_offset(again, 2);
  g_autoptr(ShardCheckpoint) next = shard_take_checkpoint(again);
  ck_assert_uint_eq(next->content.panes->len, 1); /* what was open is closed: panes cover unbroken stretches */
  ck_assert_int_eq(((RegistryPane *)next->content.panes->pdata[0])->next_offset, shard_get_next_offset(shard));
  ck_assert_int_eq(next->content.next_offset, 2);
  world_free(world);
}
END_TEST

START_TEST(memory_is_bounded_and_evictions_are_counted)
{
  World *world = world_new(15, 6000, 1);
  world->settings.max_waiting = 1000;
  world->settings.sample = 1;
  g_autoptr(Shard) shard = shard_new(&world->settings, world->grid);
  ShardStatistics statistics;
  shard_set_next_offset(shard, 5);
  shard_set_next_label(shard, 0, 5);
  for (guint i = 0; i < world->traffic->len; i++) {
    world_feed(world, shard, -1, i);
    shard_get_statistics(shard, &statistics);
    ck_assert_uint_le(statistics.waiting, 1000);
  }
  ck_assert_uint_gt(statistics.evicted, 1000);
  ck_assert_uint_lt(statistics.memory, 8000000);
  /* Labels that come before any traffic: the partition asks to be paused. */
  g_autoptr(Shard) early = shard_new(&world->settings, world->grid);
  shard_set_next_label(early, 0, 0);
  guint fed = 0;
  while (shard_get_label_fill(early, 0) < 1 && fed < 100000) {
    DecodedLabel label = {.time = 1, .request_id = {.kind = DRIFT_VALUE_TEXT, .text = "id", .length = 2}};
    SourceRecord record = {.topic = "labels", .offset = fed++, .timestamp = -1};
    shard_feed_label(early, &record, &label);
  }
  ck_assert_uint_eq(fed, 20000);
  shard_set_idle(early); /* nothing will come: the full queue is let go */
  shard_get_statistics(early, &statistics);
  ck_assert_uint_eq(statistics.queued, 0);
  ck_assert_uint_eq(statistics.unmatched, 20000);
  world_free(world);
}
END_TEST

int main(void)
{
  /* Nothing here depends on a real disk, and every checkpoint syncs: stores in memory, where there is such a folder. */
  if (g_file_test("/dev/shm", G_FILE_TEST_IS_DIR)) g_setenv("TMPDIR", "/dev/shm", TRUE);
  Suite *suite = suite_create("shard_crash");
  TCase *tests = tcase_create("crashes");
  tcase_set_timeout(tests, 240);
  tcase_add_loop_test(tests, any_crash_pattern_gives_the_unbroken_run, 0, 2 * test_stores_count());
  tcase_add_loop_test(tests, a_fenced_owner_writes_nothing, 0, test_stores_count());
  tcase_add_test(tests, damaged_states_are_refused);
  tcase_add_test(tests, a_reset_begins_where_it_is_told);
  tcase_add_test(tests, memory_is_bounded_and_evictions_are_counted);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
