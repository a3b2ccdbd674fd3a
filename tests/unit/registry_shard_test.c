/* Ownership, checkpoints, panes, the labelled log, on both stores. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "registry/decision.h"
#include "registry/shard.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryStore *other; /* a second connection */

static void open_both(int index)
{
  test = test_store_open(index);
  g_autoptr(GError) error = NULL;
  other = registry_store_open(test->uri, &error);
  ck_assert_msg(other != NULL, "%s", error != NULL ? error->message : "");
}

static void close_both(void)
{
  registry_store_close(other);
  test_store_close(test);
}

static GBytes *text_bytes(const gchar *text)
{
  return g_bytes_new(text, strlen(text));
}

static gboolean bytes_are(GBytes *bytes, const gchar *text)
{
  g_autoptr(GBytes) wanted = text_bytes(text);
  return bytes != NULL && g_bytes_equal(bytes, wanted);
}

static RegistryPane *new_pane(gint64 number)
{
  RegistryPane *pane = g_new0(RegistryPane, 1);
  *pane = (RegistryPane){.number = number,
                         .grid_id = g_strdup("g1"),
                         .first_offset = number * 10,
                         .next_offset = number * 10 + 10,
                         .first_time = G_MININT64,
                         .last_time = 77,
                         .watermark = 70 + number,
                         .count = 10,
                         .coverage = g_strdup("{\"decoded\": 10}"),
                         .bytes = g_bytes_new("a\0b", 3)};
  return pane;
}

static RegistryLabelPane *new_label_pane(gint32 label_partition, gint64 number)
{
  RegistryLabelPane *pane = g_new0(RegistryLabelPane, 1);
  *pane = (RegistryLabelPane){.label_partition = label_partition,
                              .number = number,
                              .first_row = number * 3,
                              .next_row = number * 3 + 3,
                              .first_offset = 5,
                              .next_offset = 9,
                              .watermark = 100,
                              .first_traffic_offset = 1,
                              .last_traffic_offset = 2,
                              .count = 3,
                              .coverage = g_strdup("{}"),
                              .bytes = text_bytes("rows")};
  return pane;
}

static gboolean checkpoint(RegistryStore *store, gint64 epoch, gint64 base, gint64 next, GError **error)
{
  g_autoptr(GBytes) state = text_bytes("state");
  const RegistryCheckpoint c = {
      .model = "m", .partition = 3, .epoch = epoch, .base_offset = base, .next_offset = next, .state = state};
  return registry_shard_checkpoint(store, &c, error);
}

START_TEST(acquire_and_checkpoint_round_trip)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) first = registry_shard_acquire(test->store, "m", 3, "one", &error);
  ck_assert(first != NULL && first->epoch == 1 && first->next_offset == -1 && first->state == NULL);
  g_autoptr(GBytes) state = g_bytes_new("s\0\xff", 3);
  const RegistryCheckpoint c = {.model = "m",
                                .partition = 3,
                                .epoch = 1,
                                .base_offset = -1,
                                .next_offset = G_GINT64_CONSTANT(5000000000),
                                .state = state,
                                .consumed = "{\"traffic\": 5000000000}",
                                .watermark = -5,
                                .idle = TRUE};
  ck_assert(registry_shard_checkpoint(test->store, &c, &error));
  g_autoptr(RegistryShard) second = registry_shard_acquire(other, "m", 3, "two", &error);
  ck_assert(second != NULL && second->epoch == 2 && second->next_offset == G_GINT64_CONSTANT(5000000000));
  ck_assert(g_bytes_equal(second->state, state));
  g_autoptr(GPtrArray) list = registry_shard_list(test->store, "m", &error);
  ck_assert_uint_eq(list->len, 1);
  const RegistryShardStatus *status = list->pdata[0];
  ck_assert(status->partition == 3 && status->epoch == 2 && status->watermark == -5 && status->idle);
  ck_assert_str_eq(status->owner, "two");
  ck_assert_str_eq(status->consumed, "{\"traffic\": 5000000000}");
  close_both();
}
END_TEST

START_TEST(an_old_owner_is_fenced_and_changes_nothing)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) one = registry_shard_acquire(test->store, "m", 3, "one", &error);
  ck_assert(checkpoint(test->store, one->epoch, -1, 10, &error));
  g_autoptr(RegistryShard) two = registry_shard_acquire(other, "m", 3, "two", &error);
  g_autoptr(GBytes) state = text_bytes("stale"), chunk = text_bytes("c"), payload = text_bytes("p");
  g_autoptr(GPtrArray) panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  g_ptr_array_add(panes, new_pane(0));
  RegistryDeadLetter letter = {"t/3/1", "dead", "malformed", "t/3/1", payload};
  g_autoptr(GPtrArray) letters = g_ptr_array_new();
  g_ptr_array_add(letters, &letter);
  RegistryCheckpoint c = {.model = "m",
                          .partition = 3,
                          .epoch = one->epoch,
                          .base_offset = 10,
                          .next_offset = 20,
                          .state = state,
                          .panes = panes,
                          .join_chunk = chunk,
                          .dead_letters = letters};
  ck_assert(!registry_shard_checkpoint(test->store, &c, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  ck_assert(!registry_store_in_transaction(test->store));
  g_autoptr(GPtrArray) found = registry_pane_list(other, "m", 3, 0, 0, TRUE, &error);
  ck_assert_uint_eq(found->len, 0);
  g_autoptr(GPtrArray) due = registry_outbox_due(other, NULL, 0, 0, &error);
  ck_assert_uint_eq(due->len, 0);
  /* the rightful owner has the same rows already: still fenced, not a conflict */
  c.epoch = two->epoch;
  ck_assert(registry_shard_checkpoint(other, &c, &error));
  c.epoch = one->epoch;
  ck_assert(!registry_shard_checkpoint(test->store, &c, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  /* the woken owner acquires again: it goes on, the other is fenced */
  g_clear_error(&error);
  g_autoptr(RegistryShard) again = registry_shard_acquire(test->store, "m", 3, "one", &error);
  ck_assert(again->epoch == 3 && again->next_offset == 20 && bytes_are(again->state, "stale"));
  ck_assert(!checkpoint(other, two->epoch, 20, 30, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  close_both();
}
END_TEST

START_TEST(a_wrong_base_offset_is_fenced)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) shard = registry_shard_acquire(test->store, "m", 3, "one", &error);
  ck_assert(!checkpoint(test->store, shard->epoch, 0, 10, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  ck_assert(checkpoint(test->store, shard->epoch, -1, 10, &error));
  ck_assert(!checkpoint(test->store, shard->epoch, -1, 10, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_FENCED));
  g_clear_error(&error);
  ck_assert(checkpoint(test->store, shard->epoch, 10, 10, &error)); /* labels only */
  close_both();
}
END_TEST

static gboolean put_panes(gint64 first, gint64 base, gint64 next, GError **error)
{
  g_autoptr(GBytes) state = text_bytes("state");
  g_autoptr(GPtrArray) panes = g_ptr_array_new_with_free_func((GDestroyNotify)registry_pane_free);
  g_autoptr(GPtrArray) labels = g_ptr_array_new_with_free_func((GDestroyNotify)registry_label_pane_free);
  g_ptr_array_add(panes, new_pane(first));
  g_ptr_array_add(panes, new_pane(first + 1));
  g_ptr_array_add(labels, new_label_pane(0, first));
  g_ptr_array_add(labels, new_label_pane(1, first));
  g_ptr_array_add(labels, new_label_pane(0, first + 1));
  g_ptr_array_add(labels, new_label_pane(1, first + 1));
  const RegistryCheckpoint c = {.model = "m",
                                .partition = 3,
                                .epoch = 1,
                                .base_offset = base,
                                .next_offset = next,
                                .state = state,
                                .panes = panes,
                                .label_panes = labels};
  return registry_shard_checkpoint(test->store, &c, error);
}

START_TEST(panes_are_numbered_without_gaps_and_read_back)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  ck_assert(!put_panes(1, -1, 10, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  ck_assert(put_panes(0, -1, 10, &error));
  ck_assert(!put_panes(1, 10, 20, NULL));
  ck_assert(!put_panes(3, 10, 20, NULL));
  ck_assert(put_panes(2, 10, 20, &error));
  g_autoptr(GPtrArray) panes = registry_pane_list(other, "m", 3, 1, 2, TRUE, &error);
  ck_assert_uint_eq(panes->len, 2);
  const RegistryPane *pane = panes->pdata[0];
  ck_assert(pane->number == 1 && pane->first_offset == 10 && pane->next_offset == 20 &&
            pane->first_time == G_MININT64 && pane->last_time == 77 && pane->watermark == 71 && pane->count == 10);
  ck_assert_str_eq(pane->grid_id, "g1");
  ck_assert_str_eq(pane->coverage, "{\"decoded\": 10}");
  ck_assert(g_bytes_get_size(pane->bytes) == 3);
  g_autoptr(GPtrArray) light = registry_pane_list(other, "m", 3, 0, 0, FALSE, &error);
  ck_assert(light->len == 4 && ((RegistryPane *)light->pdata[3])->bytes == NULL);
  g_autoptr(GPtrArray) labels = registry_label_pane_list(other, "m", 3, 1, 2, 0, TRUE, &error);
  ck_assert_uint_eq(labels->len, 2);
  const RegistryLabelPane *label = labels->pdata[0];
  ck_assert(label->label_partition == 1 && label->number == 2 && label->first_row == 6 && label->next_row == 9 &&
            label->first_offset == 5 && label->next_offset == 9 && label->watermark == 100 &&
            label->first_traffic_offset == 1 && label->last_traffic_offset == 2 && label->count == 3);
  ck_assert(bytes_are(label->bytes, "rows"));
  close_both();
}
END_TEST

START_TEST(join_chunks_are_kept_from_the_first_live_one)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  g_autoptr(GBytes) state = text_bytes("state");
  for (gint64 i = 0; i < 4; i++) {
    g_autofree gchar *text = g_strdup_printf("chunk %d", (int)i);
    g_autoptr(GBytes) chunk = text_bytes(text);
    const RegistryCheckpoint c = {.model = "m",
                                  .partition = 3,
                                  .epoch = 1,
                                  .base_offset = i - 1,
                                  .next_offset = i,
                                  .state = state,
                                  .join_chunk = chunk,
                                  .join_chunk_number = i,
                                  .join_chunk_first_live = i == 3 ? 2 : 0};
    ck_assert(registry_shard_checkpoint(test->store, &c, &error));
  }
  g_autoptr(GArray) numbers = NULL;
  g_autoptr(GPtrArray) chunks = registry_shard_join_chunks(other, "m", 3, &numbers, &error);
  ck_assert(chunks->len == 2 && numbers->len == 2);
  ck_assert(g_array_index(numbers, gint64, 0) == 2 && bytes_are(chunks->pdata[0], "chunk 2"));
  ck_assert(g_array_index(numbers, gint64, 1) == 3 && bytes_are(chunks->pdata[1], "chunk 3"));
  close_both();
}
END_TEST

START_TEST(dead_letters_go_to_the_outbox)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  g_autoptr(GBytes) state = text_bytes("state"), payload = g_bytes_new("\0{", 2);
  g_autoptr(GPtrArray) letters = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
  for (gint i = 0; i < 150; i++) { /* more than one batch */
    RegistryDeadLetter *letter = g_new0(RegistryDeadLetter, 1);
    gchar *id = g_strdup_printf("traffic/3/%d", i);
    g_ptr_array_add(ids, id);
    *letter = (RegistryDeadLetter){id, "dead", "bad \"field\"\n", id, payload};
    g_ptr_array_add(letters, letter);
  }
  const RegistryCheckpoint c = {.model = "m",
                                .partition = 3,
                                .epoch = 1,
                                .base_offset = -1,
                                .next_offset = 150,
                                .state = state,
                                .dead_letters = letters};
  ck_assert(registry_shard_checkpoint(test->store, &c, &error));
  g_autoptr(GPtrArray) due = registry_outbox_due(other, "dead_letter", g_get_real_time(), 0, &error);
  ck_assert_uint_eq(due->len, 150);
  const RegistryOutboxItem *item = due->pdata[0];
  ck_assert_str_eq(item->target, "dead");
  ck_assert_str_eq(item->id, "traffic/3/0");
  ck_assert_str_eq(item->body, "{\"reason\": \"bad \\\"field\\\"\\u000a\", \"source\": \"traffic/3/0\"}");
  ck_assert(g_bytes_equal(item->payload, payload));
  close_both();
}
END_TEST

/* --- labelled log ------------------------------------------------------------------------------------------------ */

/* Row k of label partition p is "p:k;" repeated 1 + k % 3 times. */
static void append_row(GString *text, gint32 label_partition, gint64 row)
{
  for (gint64 i = 0; i <= row % 3; i++) g_string_append_printf(text, "%d:%d;", label_partition, (int)row);
}

static gboolean append_rows(gint32 label_partition, gint64 first, guint n, gint64 *offset, GError **error)
{
  g_autoptr(GString) text = g_string_new("");
  g_autoptr(GArray) ends = g_array_new(FALSE, FALSE, sizeof(guint32));
  for (guint i = 0; i < n; i++) {
    append_row(text, label_partition, first + i);
    guint32 end = (guint32)text->len;
    g_array_append_val(ends, end);
  }
  g_autoptr(GBytes) bytes = text_bytes(text->str), state = text_bytes("s");
  RegistryLabelledRows rows = {label_partition, first, n, bytes, (const guint32 *)(gconstpointer)ends->data};
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  g_ptr_array_add(list, &rows);
  const RegistryCheckpoint c = {.model = "m",
                                .partition = 3,
                                .epoch = 1,
                                .base_offset = *offset,
                                .next_offset = *offset + 1,
                                .state = state,
                                .labelled_rows = list};
  gboolean ok = registry_shard_checkpoint(test->store, &c, error);
  if (ok) (*offset)++;
  return ok;
}

static void assert_range(RegistryArtifacts *artifacts, gint32 label_partition, gint64 first, gint64 next)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) wanted = g_string_new("");
  for (gint64 row = first; row < next; row++) append_row(wanted, label_partition, row);
  g_autoptr(GBytes) found = registry_labelled_log_read(other, artifacts, "m", 3, label_partition, first, next, &error);
  ck_assert_msg(found != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_msg(bytes_are(found, wanted->str), "rows [%d, %d)", (int)first, (int)next);
}

static void assert_all_ranges(RegistryArtifacts *artifacts, gint32 label_partition, gint64 n)
{
  for (gint64 first = 0; first <= n; first += 5)
    for (gint64 next = first; next <= n; next += 7) assert_range(artifacts, label_partition, first, next);
  assert_range(artifacts, label_partition, 0, n);
}

START_TEST(sealed_segments_read_back_like_the_tail)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  g_autofree gchar *folder = g_build_filename(test->directory, "artifacts", NULL);
  g_autoptr(RegistryArtifacts) artifacts = registry_artifacts_open(folder, &error);
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  gint64 offset = -1;
  for (gint64 row = 0; row < 91; row += 13) ck_assert(append_rows(0, row, 13, &offset, &error));
  ck_assert(append_rows(1, 0, 4, &offset, &error));
  assert_all_ranges(NULL, 0, 91);
  guint n_sealed = 99;
  ck_assert(registry_labelled_log_seal(other, artifacts, "m", 20, &n_sealed, &error));
  ck_assert_uint_eq(n_sealed, 4);
  assert_all_ranges(artifacts, 0, 91);
  assert_range(NULL, 1, 0, 4);
  ck_assert_int_eq(
      test_store_sql(test->store, "DELETE FROM labelled_rows WHERE next_row <= 78 AND label_partition = 0"), 0);
  ck_assert(registry_labelled_log_seal(other, artifacts, "m", 20, &n_sealed, &error) && n_sealed == 0);
  ck_assert(registry_labelled_log_read(other, NULL, "m", 3, 0, 0, 5, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  /* everything sealed: appending goes on after the last segment */
  ck_assert(registry_labelled_log_seal(other, artifacts, "m", 11, &n_sealed, &error));
  ck_assert_uint_eq(n_sealed, 1); /* [80, 91) */
  ck_assert_int_eq(registry_labelled_log_next(other, "m", 3, 0, &error), 91);
  ck_assert(!append_rows(0, 0, 2, &offset, NULL));
  ck_assert(append_rows(0, 91, 9, &offset, &error));
  assert_all_ranges(artifacts, 0, 100);
  close_both();
}
END_TEST

START_TEST(segments_do_not_depend_on_how_rows_were_appended)
{
  gchar *digests[2] = {NULL, NULL};
  for (guint run = 0; run < 2; run++) {
    open_both(_i);
    g_autoptr(GError) error = NULL;
    g_autofree gchar *folder = g_build_filename(test->directory, "artifacts", NULL);
    g_autoptr(RegistryArtifacts) artifacts = registry_artifacts_open(folder, &error);
    registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
    gint64 offset = -1;
    guint step = run == 0 ? 5 : 30;
    for (gint64 row = 0; row < 30; row += step) ck_assert(append_rows(0, row, step, &offset, &error));
    ck_assert(registry_labelled_log_seal(other, artifacts, "m", 12, NULL, &error));
    g_autoptr(RegistryRows) rows =
        registry_store_query(other, "SELECT artifact FROM labelled_segment ORDER BY first_row DESC", NULL, 0, &error);
    ck_assert_uint_eq(registry_rows_get_count(rows), 2);
    digests[run] = g_strdup(registry_rows_get_text(rows, 0, 0));
    close_both();
  }
  ck_assert_str_eq(digests[0], digests[1]);
  g_free(digests[0]);
  g_free(digests[1]);
}
END_TEST

START_TEST(labelled_rows_follow_each_other)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  gint64 offset = -1;
  ck_assert_int_eq(registry_labelled_log_next(other, "m", 3, 0, &error), 0);
  ck_assert(!append_rows(0, 1, 2, &offset, NULL));
  ck_assert(append_rows(0, 0, 2, &offset, &error));
  ck_assert(!append_rows(0, 3, 1, &offset, NULL));
  ck_assert(!append_rows(0, 1, 1, &offset, NULL));
  ck_assert(append_rows(0, 2, 1, &offset, &error));
  ck_assert_int_eq(registry_labelled_log_next(other, "m", 3, 0, &error), 3);
  ck_assert(registry_labelled_log_read(other, NULL, "m", 3, 0, 0, 4, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  ck_assert(registry_labelled_log_read(other, NULL, "m", 3, 0, 3, 1, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  close_both();
}
END_TEST

START_TEST(changed_bytes_are_found_when_read)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  registry_shard_free(registry_shard_acquire(test->store, "m", 3, "one", NULL));
  gint64 offset = -1;
  ck_assert(append_rows(0, 0, 2, &offset, &error));
  ck_assert(put_panes(0, 0, 10, &error));
  test_store_sql(test->store, "UPDATE pane SET watermark = watermark + 1 WHERE number = 1");
  test_store_sql(test->store, "UPDATE label_pane SET next_offset = 10 WHERE number = 1 AND label_partition = 1");
  test_store_sql(test->store, "UPDATE labelled_rows SET ends = bytes");
  test_store_sql(test->store, "UPDATE shard SET next_offset = 11");
  ck_assert(registry_pane_list(other, "m", 3, 0, 0, TRUE, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  g_clear_error(&error);
  ck_assert(registry_label_pane_list(other, "m", 3, 1, 0, 0, TRUE, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  g_clear_error(&error);
  ck_assert(registry_labelled_log_read(other, NULL, "m", 3, 0, 0, 1, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  g_clear_error(&error);
  ck_assert(registry_shard_acquire(other, "m", 3, "two", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  close_both();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_shard");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, acquire_and_checkpoint_round_trip, 0, n);
  tcase_add_loop_test(tcase, an_old_owner_is_fenced_and_changes_nothing, 0, n);
  tcase_add_loop_test(tcase, a_wrong_base_offset_is_fenced, 0, n);
  tcase_add_loop_test(tcase, panes_are_numbered_without_gaps_and_read_back, 0, n);
  tcase_add_loop_test(tcase, join_chunks_are_kept_from_the_first_live_one, 0, n);
  tcase_add_loop_test(tcase, dead_letters_go_to_the_outbox, 0, n);
  tcase_add_loop_test(tcase, sealed_segments_read_back_like_the_tail, 0, n);
  tcase_add_loop_test(tcase, segments_do_not_depend_on_how_rows_were_appended, 0, n);
  tcase_add_loop_test(tcase, labelled_rows_follow_each_other, 0, n);
  tcase_add_loop_test(tcase, changed_bytes_are_found_when_read, 0, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
