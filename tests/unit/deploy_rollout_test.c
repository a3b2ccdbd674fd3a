/* Promotion, rollback and application of the champion, on both stores. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "deploy/rollout.h"
#include "registry/decision.h"
#include "registry/model.h"
#include "tests/support/job_fixture.h"

static JobFixture *open_with_versions(int index, gint64 n)
{
  JobFixture *fixture = job_fixture_open(index);
  for (gint64 i = 1; i <= n; i++) {
    g_autoptr(GError) error = NULL;
    g_autofree gchar *text = g_strdup_printf("onnx of %d", (int)i);
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
    g_autofree gchar *digest = registry_artifacts_put(fixture->artifacts, bytes, &error);
    RegistryVersion version = {.model = (gchar *)"loan", .onnx_digest = digest, .kind = (gchar *)"imported"};
    ck_assert_int_eq(registry_version_create(fixture->store, &version, "test", &error), i);
  }
  return fixture;
}

static gint64 champion(JobFixture *fixture)
{
  return registry_alias_get(fixture->store, "loan", DEPLOY_CHAMPION, NULL);
}

static void promote(JobFixture *fixture, gint64 version)
{
  g_autoptr(GError) error = NULL;
  gboolean promoted = deploy_promote(fixture->store, "loan", version, -1, "test", "because", &error);
  ck_assert_msg(promoted, "%s", error != NULL ? error->message : "");
}

static guint count_items(JobFixture *fixture)
{
  g_autoptr(GPtrArray) due = registry_outbox_due(fixture->store, "rollout", G_MAXINT64, 0, NULL);
  return due->len;
}

START_TEST(a_promotion_leaves_its_outbox_item)
{
  JobFixture *fixture = open_with_versions(_i, 2);
  promote(fixture, 1);
  promote(fixture, 2);
  ck_assert_int_eq(champion(fixture), 2);
  g_autoptr(GPtrArray) due = registry_outbox_due(fixture->store, "rollout", G_MAXINT64, 0, NULL);
  ck_assert_uint_eq(due->len, 2);
  gboolean found = FALSE;
  for (guint i = 0; i < due->len; i++) {
    const RegistryOutboxItem *item = g_ptr_array_index(due, i);
    if (strcmp(item->id, "rollout/loan/2") != 0) continue;
    found = TRUE;
    ck_assert_str_eq(item->target, "loan");
    ck_assert_str_eq(item->body, "{\"model\":\"loan\",\"version\":2,\"previous\":1,\"revision\":2,\"actor\":\"test\","
                                 "\"reason\":\"because\"}");
  }
  ck_assert(found);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(a_lost_race_changes_nothing)
{
  JobFixture *fixture = open_with_versions(_i, 3);
  promote(fixture, 1);
  g_autoptr(GError) error = NULL;
  ck_assert(!deploy_promote(fixture->store, "loan", 3, 2, "test", "", &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  ck_assert(!registry_store_in_transaction(fixture->store));
  ck_assert_int_eq(champion(fixture), 1);
  ck_assert_uint_eq(count_items(fixture), 1);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(it_joins_the_callers_transaction)
{
  JobFixture *fixture = open_with_versions(_i, 2);
  promote(fixture, 1);
  ck_assert(registry_store_begin(fixture->store, NULL));
  promote(fixture, 2);
  ck_assert(registry_store_in_transaction(fixture->store));
  registry_store_rollback(fixture->store);
  ck_assert_int_eq(champion(fixture), 1);
  ck_assert_uint_eq(count_items(fixture), 1);
  job_fixture_close(fixture);
}
END_TEST

START_TEST(rollback_goes_to_the_champion_before)
{
  JobFixture *fixture = open_with_versions(_i, 3);
  g_autoptr(GError) error = NULL;
  gint64 version = -7;
  promote(fixture, 1);
  ck_assert(!deploy_rollback(fixture->store, "loan", "test", "bad", &version, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  ck_assert_int_eq(version, -7);
  promote(fixture, 3);
  promote(fixture, 3); /* promoting again what serves already is no former champion */
  promote(fixture, 2);
  ck_assert(deploy_rollback(fixture->store, "loan", "test", "bad", &version, NULL));
  ck_assert_int_eq(version, 3);
  ck_assert_int_eq(champion(fixture), 3);
  ck_assert_uint_eq(count_items(fixture), 5);
  ck_assert(deploy_rollback(fixture->store, "loan", "test", "after all", &version, NULL));
  ck_assert_int_eq(version, 2);
  job_fixture_close(fixture);
}
END_TEST

static gchar *read_file(const gchar *folder, const gchar *name)
{
  g_autofree gchar *path = g_build_filename(folder, name, NULL);
  gchar *text = NULL;
  return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

START_TEST(applying_takes_the_present_champion_to_every_target)
{
  JobFixture *fixture = open_with_versions(_i, 2);
  g_autoptr(GError) error = NULL;
  const gchar *signature = "{\"inputs\": [{\"name\": \"x\", \"type\": \"float32\", \"dimensions\": [-1, 2]}],"
                           " \"outputs\": [{\"name\": \"y\", \"type\": \"int64\", \"dimensions\": [-1]}]}";
  ck_assert(registry_tag_set(fixture->store, "loan", 2, DEPLOY_SIGNATURE_TAG, signature, "test", &error));
  promote(fixture, 1);
  promote(fixture, 2); /* an item of revision 1 that comes late must not bring version 1 back */
  g_autofree gchar *plain = g_build_filename(fixture->test->directory, "plain", NULL);
  g_autofree gchar *triton = g_build_filename(fixture->test->directory, "triton", NULL);
  const DeployTargetSettings targets[] = {{.type = "directory", .path = plain, .keep_versions = 1},
                                          {.type = "triton", .path = triton, .keep_versions = 1}};
  gint64 applied = 0;
  gboolean done = deploy_rollout_apply(fixture->store, fixture->artifacts, "loan", targets, 2, &applied, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
  ck_assert_int_eq(applied, 2);
  g_autofree gchar *current = read_file(plain, "loan/current/model.onnx");
  g_autofree gchar *config = read_file(triton, "loan/config.pbtxt");
  ck_assert_str_eq(current, "onnx of 2");
  ck_assert_ptr_nonnull(strstr(config, "name: \"x\"\n    data_type: TYPE_FP32\n    dims: [ -1, 2 ]"));
  ck_assert_ptr_nonnull(strstr(config, "name: \"y\"\n    data_type: TYPE_INT64\n    dims: [ -1 ]"));
  job_fixture_close(fixture);
}
END_TEST

START_TEST(one_bad_target_does_not_hold_up_the_other)
{
  JobFixture *fixture = open_with_versions(0, 1);
  promote(fixture, 1);
  g_autofree gchar *plain = g_build_filename(fixture->test->directory, "plain", NULL);
  const DeployTargetSettings targets[] = {{.type = "triton", .path = "/nonexistent/a/b", .keep_versions = 1},
                                          {.type = "directory", .path = plain, .keep_versions = 1}};
  gint64 applied = -1;
  g_autoptr(GError) error = NULL;
  ck_assert(!deploy_rollout_apply(fixture->store, fixture->artifacts, "loan", targets, 2, &applied, &error));
  ck_assert_int_eq(applied, -1);
  ck_assert_ptr_nonnull(strstr(error->message, "1 of 2 targets of loan/1 failed"));
  g_autofree gchar *current = read_file(plain, "loan/current/model.onnx");
  ck_assert_str_eq(current, "onnx of 1");
  job_fixture_close(fixture);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("deploy_rollout");
  TCase *tests = tcase_create("rollout");
  int stores = test_stores_count();
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, a_promotion_leaves_its_outbox_item, 0, stores);
  tcase_add_loop_test(tests, a_lost_race_changes_nothing, 0, stores);
  tcase_add_loop_test(tests, it_joins_the_callers_transaction, 0, stores);
  tcase_add_loop_test(tests, rollback_goes_to_the_champion_before, 0, stores);
  tcase_add_loop_test(tests, applying_takes_the_present_champion_to_every_target, 0, stores);
  tcase_add_test(tests, one_bad_target_does_not_hold_up_the_other);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
