/* Models, versions, aliases, tags, names, on both stores. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "registry/model.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryStore *other;
static gint64 now; /* the injected wall clock */

static gint64 fake_clock(gpointer user_data G_GNUC_UNUSED)
{
  return now;
}

#define DIGEST_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static gint64 create_version(RegistryStore *store, const gchar *job, GError **error)
{
  const RegistryVersion version = {.model = "loan", .onnx_digest = DIGEST_A, .kind = "retrain", .job = (gchar *)job};
  return registry_version_create(store, &version, "tester", error);
}

static void open_both(int index)
{
  test = test_store_open(index);
  g_autoptr(GError) error = NULL;
  other = registry_store_open(test->uri, &error);
  ck_assert_msg(other != NULL, "%s", error != NULL ? error->message : "");
  now = 1000;
  registry_store_set_clock(test->store, fake_clock, NULL);
  ck_assert(registry_model_create(test->store, "loan", "{\"label\": \"y\"}", "tester", &error));
}

static void close_both(void)
{
  registry_store_close(other);
  test_store_close(test);
}

START_TEST(names_are_checked)
{
  const gchar *const good[] = {"a", "A1", "loan.v2_x-y", "0"};
  const gchar *const bad[] = {"", ".a", "-a", "a/b", "a b", "ä", "a\n", "../x", "a@b"};
  for (guint i = 0; i < G_N_ELEMENTS(good); i++) ck_assert_msg(registry_name_is_valid(good[i]), "%s", good[i]);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) ck_assert_msg(!registry_name_is_valid(bad[i]), "%s", bad[i]);
  g_autofree gchar *longest = g_strnfill(128, 'a'), *too_long = g_strnfill(129, 'a');
  ck_assert(registry_name_is_valid(longest) && !registry_name_is_valid(too_long) && !registry_name_is_valid(NULL));
}
END_TEST

START_TEST(models_are_created_once_and_listed_by_name)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(!registry_model_create(other, "loan", NULL, "tester", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  g_clear_error(&error);
  ck_assert(!registry_model_create(other, "../loan", NULL, "tester", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  ck_assert(registry_model_create(other, "Zebra", NULL, "tester", &error) &&
            registry_model_create(other, "ant", NULL, "tester", &error));
  g_autoptr(GPtrArray) list = registry_model_list(test->store, &error);
  const gchar *const wanted[] = {"Zebra", "ant", "loan"}; /* by bytes, whatever the database's locale */
  ck_assert_uint_eq(list->len, 3);
  for (guint i = 0; i < 3; i++) ck_assert_str_eq(((RegistryModel *)list->pdata[i])->name, wanted[i]);
  g_autoptr(RegistryModel) model = registry_model_get(other, "loan", &error);
  ck_assert_str_eq(model->spec, "{\"label\": \"y\"}");
  ck_assert_int_eq(model->created_at, 1000);
  ck_assert(registry_model_get(other, "none", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

START_TEST(versions_are_numbered_and_keep_everything)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert_int_eq(create_version(test->store, NULL, &error), 1);
  const RegistryVersion version = {.model = "loan",
                                   .onnx_digest = DIGEST_B,
                                   .grid_digest = DIGEST_A,
                                   .profile_digest = DIGEST_A,
                                   .parent = 1,
                                   .kind = "harden",
                                   .incident = "i",
                                   .job = "j",
                                   .data_set = "{\"rows\": [0, 9]}",
                                   .metrics = "{}"};
  ck_assert_int_eq(registry_version_create(test->store, &version, "tester", &error), 2);
  g_autoptr(RegistryVersion) found = registry_version_get(other, "loan", 2, &error);
  ck_assert(found->version == 2 && found->parent == 1 && found->created_at == 1000);
  ck_assert_str_eq(found->onnx_digest, DIGEST_B);
  ck_assert_str_eq(found->grid_digest, DIGEST_A);
  ck_assert_str_eq(found->profile_digest, DIGEST_A);
  ck_assert_str_eq(found->kind, "harden");
  ck_assert_str_eq(found->incident, "i");
  ck_assert_str_eq(found->job, "j");
  ck_assert_str_eq(found->data_set, "{\"rows\": [0, 9]}");
  ck_assert_str_eq(found->metrics, "{}");
  g_autoptr(GPtrArray) list = registry_version_list(other, "loan", &error);
  ck_assert(list->len == 2 && ((RegistryVersion *)list->pdata[0])->version == 1);
  ck_assert(registry_version_get(other, "loan", 3, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  close_both();
}
END_TEST

START_TEST(bad_versions_are_refused)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  RegistryVersion version = {.model = "loan", .onnx_digest = "abc", .kind = "imported"};
  ck_assert_int_eq(registry_version_create(test->store, &version, "tester", &error), 0);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  version.onnx_digest = DIGEST_A;
  version.parent = 7;
  ck_assert_int_eq(registry_version_create(test->store, &version, "tester", &error), 0);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  version.parent = 0;
  version.model = "unknown";
  ck_assert_int_eq(registry_version_create(test->store, &version, "tester", &error), 0);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  ck_assert_int_eq(create_version(test->store, NULL, &error), 1); /* no number was used up */
  close_both();
}
END_TEST

START_TEST(a_job_registers_one_version)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert_int_eq(create_version(test->store, "job-1", &error), 1);
  ck_assert_int_eq(create_version(other, "job-2", &error), 2);
  ck_assert_int_eq(create_version(other, "job-1", &error), 1);
  ck_assert_int_eq(create_version(test->store, NULL, &error), 3);
  ck_assert_int_eq(create_version(test->store, NULL, &error), 4);
  close_both();
}
END_TEST

static gpointer create_many(gpointer store)
{
  for (gint i = 0; i < 20; i++) {
    g_autofree gchar *job = g_strdup_printf("job-%d", i);
    if (create_version(store, job, NULL) < 1) return "failed";
  }
  return NULL;
}

START_TEST(racing_creators_leave_no_gap_and_no_twin)
{
  open_both(_i);
  GThread *thread = g_thread_new("other", create_many, other);
  gpointer mine = create_many(test->store);
  gpointer theirs = g_thread_join(thread);
  ck_assert(mine == NULL && theirs == NULL);
  g_autoptr(GPtrArray) list = registry_version_list(test->store, "loan", NULL);
  ck_assert_uint_eq(list->len, 20);
  for (guint i = 0; i < 20; i++) ck_assert_int_eq(((RegistryVersion *)list->pdata[i])->version, i + 1);
  close_both();
}
END_TEST

/* --- aliases ------------------------------------------------------------------------------------------------------ */

static gboolean set_alias(RegistryStore *store, gint64 version, gint64 expected, GError **error)
{
  return registry_alias_set(store, "loan", "champion", version, expected, "ann", "because", error);
}

START_TEST(aliases_are_compared_and_set)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  for (gint i = 0; i < 3; i++) create_version(test->store, NULL, NULL);
  ck_assert_int_eq(registry_alias_get(other, "loan", "champion", &error), 0);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  ck_assert(!set_alias(test->store, 1, 2, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  g_clear_error(&error);
  ck_assert(set_alias(test->store, 1, 0, &error));
  ck_assert_int_eq(registry_alias_get(other, "loan", "champion", &error), 1);
  ck_assert(!set_alias(other, 2, 0, NULL));
  ck_assert(set_alias(other, 2, 1, &error));
  ck_assert(!set_alias(test->store, 3, 1, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  g_clear_error(&error);
  ck_assert(set_alias(test->store, 3, -1, &error));
  ck_assert(!set_alias(test->store, 9, -1, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  ck_assert_int_eq(registry_alias_get(other, "loan", "champion", &error), 3);
  close_both();
}
END_TEST

START_TEST(history_says_what_was_live_when)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create_version(test->store, NULL, NULL);
  create_version(test->store, NULL, NULL);
  now = 2000;
  ck_assert(set_alias(test->store, 1, 0, &error));
  now = 3000;
  ck_assert(set_alias(test->store, 2, 1, &error));
  now = 2500; /* the clock is set back: the order of revisions stays the order of time */
  ck_assert(set_alias(test->store, 1, 2, &error));
  now = 4000;
  ck_assert(set_alias(test->store, 0, 1, &error));
  ck_assert(!set_alias(test->store, 0, -1, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  now = 5000;
  ck_assert(set_alias(test->store, 2, 0, &error));
  const gint64 at[][2] = {{1999, 0}, {2000, 1}, {2999, 1}, {3000, 1}, {3999, 1}, {4000, 0}, {4999, 0}, {5000, 2}};
  for (guint i = 0; i < G_N_ELEMENTS(at); i++)
    ck_assert_int_eq(registry_alias_at(other, "loan", "champion", at[i][0], &error), at[i][1]);
  ck_assert(registry_alias_set(test->store, "loan", "shadow", 1, 0, "bob", NULL, &error));
  g_autoptr(GPtrArray) all = registry_alias_history(other, "loan", NULL, &error);
  g_autoptr(GPtrArray) list = registry_alias_history(other, "loan", "champion", &error);
  ck_assert(all->len == 6 && list->len == 5);
  const RegistryAliasChange *third = list->pdata[2], *fourth = list->pdata[3];
  ck_assert(third->revision == 3 && third->version == 1 && third->previous == 2 && third->at == 3000);
  ck_assert(fourth->version == 0 && fourth->previous == 1 && fourth->at == 4000);
  ck_assert_str_eq(third->actor, "ann");
  ck_assert_str_eq(third->reason, "because");
  close_both();
}
END_TEST

static gpointer move_alias(gpointer store)
{
  gint n = 0;
  for (gint i = 0; i < 40; i++) {
    g_autoptr(GError) error = NULL;
    gint64 current = registry_alias_get(store, "loan", "champion", &error);
    if (set_alias(store, 3 - current, current, &error))
      n++;
    else if (!g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT))
      return GINT_TO_POINTER(-1);
  }
  return GINT_TO_POINTER(n);
}

START_TEST(racing_setters_lose_no_change)
{
  open_both(_i);
  create_version(test->store, NULL, NULL);
  create_version(test->store, NULL, NULL);
  ck_assert(set_alias(test->store, 1, 0, NULL));
  GThread *thread = g_thread_new("other", move_alias, other);
  gint mine = GPOINTER_TO_INT(move_alias(test->store)), theirs = GPOINTER_TO_INT(g_thread_join(thread));
  ck_assert(mine >= 0 && theirs >= 0);
  g_autoptr(GPtrArray) list = registry_alias_history(test->store, "loan", "champion", NULL);
  ck_assert_uint_eq(list->len, (guint)(mine + theirs + 1));
  for (guint i = 1; i < list->len; i++) {
    const RegistryAliasChange *one = list->pdata[i - 1], *two = list->pdata[i];
    ck_assert(two->previous == one->version && two->version != one->version && two->revision == one->revision + 1);
  }
  close_both();
}
END_TEST

START_TEST(a_conflict_in_a_joined_transaction_undoes_all_of_it)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(test->store, &error));
  ck_assert_int_eq(create_version(test->store, "job", &error), 1);
  ck_assert(!set_alias(test->store, 1, 5, NULL));
  ck_assert(!registry_store_commit(test->store, NULL));
  g_autoptr(GPtrArray) list = registry_version_list(other, "loan", &error);
  ck_assert_uint_eq(list->len, 0);
  ck_assert(registry_store_begin(test->store, &error));
  ck_assert_int_eq(create_version(test->store, "job", &error), 1);
  ck_assert_int_eq(registry_alias_get(test->store, "loan", "champion", NULL),
                   0); /* a read that finds nothing is fine */
  ck_assert(set_alias(test->store, 1, 0, &error));
  ck_assert(registry_store_commit(test->store, &error));
  ck_assert_int_eq(registry_alias_get(other, "loan", "champion", &error), 1);
  close_both();
}
END_TEST

/* --- tags and names ----------------------------------------------------------------------------------------------- */

START_TEST(tags_are_set_replaced_and_deleted)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create_version(test->store, NULL, NULL);
  ck_assert(registry_tag_set(test->store, "loan", 0, "team / owner", "risk", "ann", &error));
  ck_assert(registry_tag_set(test->store, "loan", 1, "k", "v1", "ann", &error));
  ck_assert(registry_tag_set(test->store, "loan", 1, "k", "v2", "ann", &error));
  ck_assert(!registry_tag_set(test->store, "loan", 2, "k", "v", "ann", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  g_autoptr(GHashTable) of_model = registry_tag_list(other, "loan", 0, &error);
  g_autoptr(GHashTable) of_version = registry_tag_list(other, "loan", 1, &error);
  ck_assert(g_hash_table_size(of_model) == 1 && g_hash_table_size(of_version) == 1);
  ck_assert_str_eq(g_hash_table_lookup(of_model, "team / owner"), "risk");
  ck_assert_str_eq(g_hash_table_lookup(of_version, "k"), "v2");
  ck_assert(registry_tag_set(test->store, "loan", 1, "k", NULL, "ann", &error));
  ck_assert(!registry_tag_set(test->store, "loan", 1, "k", NULL, "ann", NULL));
  g_autoptr(GHashTable) none = registry_tag_list(other, "loan", 1, &error);
  ck_assert_uint_eq(g_hash_table_size(none), 0);
  close_both();
}
END_TEST

START_TEST(references_resolve)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  create_version(test->store, NULL, NULL);
  create_version(test->store, NULL, NULL);
  ck_assert(set_alias(test->store, 2, 0, &error));
  g_autofree gchar *one = NULL, *two = NULL, *none = NULL;
  gint64 version = 0;
  ck_assert(registry_resolve(other, "loan@champion", &one, &version, &error) && version == 2);
  ck_assert_str_eq(one, "loan");
  ck_assert(registry_resolve(other, "loan/1", &two, &version, &error) && version == 1);
  const struct {
    const gchar *text;
    RegistryError code;
  } bad[] = {{"loan", REGISTRY_ERROR_INVALID},
             {"loan/x", REGISTRY_ERROR_INVALID},
             {"loan/0", REGISTRY_ERROR_INVALID},
             {"loan/-1", REGISTRY_ERROR_INVALID},
             {"/1", REGISTRY_ERROR_INVALID},
             {"loan@", REGISTRY_ERROR_INVALID},
             {"loan/99999999999999999999", REGISTRY_ERROR_INVALID},
             {"loan/3", REGISTRY_ERROR_NOT_FOUND},
             {"loan@none", REGISTRY_ERROR_NOT_FOUND},
             {"other/1", REGISTRY_ERROR_NOT_FOUND}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    ck_assert_msg(!registry_resolve(other, bad[i].text, &none, &version, &error), "%s", bad[i].text);
    ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, (gint)bad[i].code), "%s: %s", bad[i].text, error->message);
    ck_assert(none == NULL && version == 1);
    g_clear_error(&error);
  }
  close_both();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_model");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, names_are_checked);
  tcase_add_loop_test(tcase, models_are_created_once_and_listed_by_name, 0, n);
  tcase_add_loop_test(tcase, versions_are_numbered_and_keep_everything, 0, n);
  tcase_add_loop_test(tcase, bad_versions_are_refused, 0, n);
  tcase_add_loop_test(tcase, a_job_registers_one_version, 0, n);
  tcase_add_loop_test(tcase, racing_creators_leave_no_gap_and_no_twin, 0, n);
  tcase_add_loop_test(tcase, aliases_are_compared_and_set, 0, n);
  tcase_add_loop_test(tcase, history_says_what_was_live_when, 0, n);
  tcase_add_loop_test(tcase, racing_setters_lose_no_change, 0, n);
  tcase_add_loop_test(tcase, a_conflict_in_a_joined_transaction_undoes_all_of_it, 0, n);
  tcase_add_loop_test(tcase, tags_are_set_replaced_and_deleted, 0, n);
  tcase_add_loop_test(tcase, references_resolve, 0, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
