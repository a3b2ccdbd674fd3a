/* Audit and verify: a store with a row of everything, then every kind of tampering, one at a time, on both stores. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/audit.h"
#include "registry/decision.h"
#include "registry/job.h"
#include "registry/model.h"
#include "registry/shard.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryArtifacts *artifacts;
static gchar *folder;

static void fill_registry(void)
{
  RegistryStore *store = test->store;
  g_autoptr(GBytes) model = g_bytes_new("onnx", 4), grid = g_bytes_new("grid", 4), profile = g_bytes_new("profile", 7);
  g_autofree gchar *onnx_digest = registry_artifacts_put(artifacts, model, NULL);
  g_autofree gchar *grid_digest = registry_artifacts_put(artifacts, grid, NULL);
  g_autofree gchar *profile_digest = registry_artifacts_put(artifacts, profile, NULL);
  ck_assert(registry_model_create(store, "m", "{}", "ann", NULL));
  const RegistryVersion version = {.model = "m",
                                   .onnx_digest = onnx_digest,
                                   .grid_digest = grid_digest,
                                   .profile_digest = profile_digest,
                                   .kind = "imported",
                                   .metrics = "{}"};
  for (gint64 i = 1; i <= 3; i++) ck_assert_int_eq(registry_version_create(store, &version, "ann", NULL), i);
  ck_assert(registry_alias_set(store, "m", "champion", 1, 0, "ann", "first", NULL));
  ck_assert(registry_alias_set(store, "m", "champion", 2, 1, "ann", "better", NULL));
  ck_assert(registry_alias_set(store, "m", "old", 1, 0, "ann", NULL, NULL));
  ck_assert(registry_alias_set(store, "m", "old", 0, 1, "ann", NULL, NULL));
  ck_assert(registry_tag_set(store, "m", 0, "team", "risk", "ann", NULL));
  ck_assert(registry_tag_set(store, "m", 2, "k", "v", "ann", NULL) &&
            registry_tag_set(store, "m", 2, "k", "v2", "ann", NULL));
  ck_assert(registry_tag_set(store, "m", 2, "gone", "v", "ann", NULL) &&
            registry_tag_set(store, "m", 2, "gone", NULL, "ann", NULL));
  ck_assert(registry_audit_append(store, "ann", "note", "m", "said something", NULL));
}

static void fill_shard(void)
{
  g_autoptr(RegistryShard) shard = registry_shard_acquire(test->store, "m", 0, "one", NULL);
  for (gint64 i = 0; i < 3; i++) {
    g_autoptr(GBytes) bytes = g_bytes_new("abcdef", 6);
    RegistryPane pane = {.number = i, .grid_id = "g", .coverage = "{}", .count = 2, .bytes = bytes};
    RegistryLabelPane label = {.number = i, .coverage = "{}", .count = 2, .bytes = bytes};
    const guint32 ends[] = {2, 6};
    RegistryLabelledRows rows = {0, 2 * i, 2, bytes, ends};
    g_autoptr(GPtrArray) panes = g_ptr_array_new(), labels = g_ptr_array_new(), log = g_ptr_array_new();
    g_ptr_array_add(panes, &pane);
    g_ptr_array_add(labels, &label);
    g_ptr_array_add(log, &rows);
    const RegistryCheckpoint c = {.model = "m",
                                  .epoch = shard->epoch,
                                  .base_offset = i - 1,
                                  .next_offset = i,
                                  .state = bytes,
                                  .panes = panes,
                                  .label_panes = labels,
                                  .labelled_rows = log,
                                  .consumed = "{}",
                                  .join_chunk = bytes,
                                  .join_chunk_number = i};
    g_autoptr(GError) error = NULL;
    ck_assert_msg(registry_shard_checkpoint(test->store, &c, &error), "%s", error != NULL ? error->message : "");
  }
  guint n_sealed = 0;
  ck_assert(registry_labelled_log_seal(test->store, artifacts, "m", 3, &n_sealed, NULL) && n_sealed == 2);
  g_autoptr(GBytes) bytes = g_bytes_new("abcdef", 6);
  const guint32 ends[] = {2, 6};
  for (gint64 i = 3; i < 5; i++) {
    RegistryLabelledRows rows = {0, 2 * i, 2, bytes, ends};
    g_autoptr(GPtrArray) log = g_ptr_array_new();
    g_ptr_array_add(log, &rows);
    const RegistryCheckpoint c = {.model = "m",
                                  .epoch = shard->epoch,
                                  .base_offset = i - 1,
                                  .next_offset = i,
                                  .state = bytes,
                                  .labelled_rows = log};
    ck_assert(registry_shard_checkpoint(test->store, &c, NULL));
  }
}

static void fill_decisions(void)
{
  RegistryStore *store = test->store;
  g_autoptr(GBytes) state = g_bytes_new("leader", 6);
  ck_assert(registry_leader_state_put(store, "m", state, "{}", NULL));
  for (gint64 i = 0; i < 3; i++) {
    g_autofree gchar *id = g_strdup_printf("v%d", (int)i);
    const RegistryVerdict verdict = {.id = id,
                                     .model = "m",
                                     .kind = "window",
                                     .number = i,
                                     .panes = "[]",
                                     .settings = "{}",
                                     .body = "{\"p\": 0.25}"};
    ck_assert(registry_verdict_put(store, &verdict, NULL));
  }
  const RegistryIncident incident = {
      .id = "i", .model = "m", .kind = "drift", .state = "open", .summary = "s", .body = "{}"};
  ck_assert(registry_incident_put(store, &incident, NULL));
  const gchar *const ids[] = {"j-done", "j-cancelled", "j-queued"};
  for (guint i = 0; i < 3; i++) {
    const RegistryJob job = {.id = (gchar *)ids[i], .model = "m", .kind = "retrain", .spec = "{}"};
    ck_assert(registry_job_create(store, &job, NULL));
  }
  g_autoptr(RegistryJob) job = registry_job_claim(store, "w", NULL, NULL);
  ck_assert(registry_job_finish(store, job->id, job->token, "done", "{\"ok\": 1}", NULL, NULL));
  ck_assert(registry_job_cancel(store, "j-cancelled", "ann", NULL));
}

static void setup(int index)
{
  test = test_store_open(index);
  folder = g_build_filename(test->directory, "artifacts", NULL);
  artifacts = registry_artifacts_open(folder, NULL);
  fill_registry();
  fill_shard();
  fill_decisions();
}

static void teardown(void)
{
  registry_artifacts_close(artifacts);
  g_free(folder);
  test_store_close(test);
}

static GPtrArray *verify(guint64 *checked)
{
  g_autoptr(GError) error = NULL;
  GPtrArray *findings = g_ptr_array_new_with_free_func(g_free);
  gboolean ok = registry_verify(test->store, artifacts, findings, checked, &error);
  ck_assert_msg(ok, "%s", error != NULL ? error->message : "");
  return findings;
}

START_TEST(an_untouched_store_has_no_findings)
{
  setup(_i);
  guint64 checked = 0;
  g_autoptr(GPtrArray) findings = verify(&checked);
  ck_assert_msg(findings->len == 0, "%s", findings->len > 0 ? (gchar *)findings->pdata[0] : "");
  ck_assert_uint_ge(checked, 60);
  teardown();
}
END_TEST

START_TEST(an_empty_store_has_no_findings)
{
  test = test_store_open(_i);
  artifacts = NULL;
  g_autoptr(GPtrArray) findings = verify(NULL);
  ck_assert_uint_eq(findings->len, 0);
  test_store_close(test);
}
END_TEST

/* Each statement runs inside a transaction that is rolled back, so that one store serves all of them. `expected` is
 * part of a finding. */
typedef struct {
  const gchar *sql, *expected;
} Tampering;

static const Tampering TAMPERINGS[] = {
    /* the chain: edit, delete, truncate, reorder */
    {"UPDATE audit SET actor = 'eve' WHERE sequence = 4", "record 4 was changed"},
    {"UPDATE audit SET at = at + 1 WHERE sequence = 4", "record 4 was changed"},
    {"UPDATE audit SET detail = NULL WHERE sequence = 2", "record 2 was changed"},
    {"UPDATE audit SET hash = 'x' WHERE sequence = 2", "record 2 was changed"},
    {"DELETE FROM audit WHERE sequence = 5", "records 5 to 5 are missing"},
    {"DELETE FROM audit WHERE sequence = 1", "records 1 to 1 are missing"},
    {"DELETE FROM audit WHERE sequence > 6", "cut off after record 6"},
    {"DELETE FROM audit", "cut off after record 0"},
    {"DELETE FROM audit_head", "head of the chain is missing"},
    {"UPDATE audit_head SET hash = 'x'", "does not end in its head"},
    {"UPDATE audit_head SET sequence = sequence + 1", "cut off"},
    {"UPDATE audit SET actor = (SELECT b.actor || 'x' FROM audit b WHERE b.sequence = 3) WHERE sequence = 2",
     "record 2 was changed"},
    /* the registry */
    {"UPDATE model SET spec = '{ }'", "model:m: its content is not"},
    {"UPDATE version SET metrics = '{\"accuracy\": 1}' WHERE version = 2", "version:m/2: its content is not"},
    {"UPDATE version SET created_at = created_at + 1 WHERE version = 2", "version:m/2: its content is not"},
    {"UPDATE version SET incident = 'i' WHERE version = 1", "version:m/1: its content is not"},
    {"DELETE FROM version WHERE version = 3", "version:m/3: audit record"},
    {"INSERT INTO version (model, version, onnx_digest, parent, kind, created_at) SELECT model, 9, onnx_digest, parent,"
     " kind, created_at FROM version WHERE version = 1",
     "version:m/9: no audit record"},
    {"UPDATE version SET version = 4 WHERE version = 3", "the one before it is missing"},
    {"UPDATE alias_history SET reason = 'worse' WHERE alias = 'champion' AND revision = 2", "alias:m@champion#2"},
    {"UPDATE alias_history SET at = 1 WHERE alias = 'champion' AND revision = 1", "alias:m@champion#1"},
    {"DELETE FROM alias_history WHERE alias = 'old' AND revision = 2", "alias:m@old#2"},
    {"UPDATE alias SET version = 1", "does not point where its history ends"},
    {"DELETE FROM alias", "does not point where its history ends"},
    {"INSERT INTO alias (model, alias, version) VALUES ('m', 'old', 1)", "does not point where its history ends"},
    {"INSERT INTO alias (model, alias, version) VALUES ('m', 'x', 1)", "does not point where its history ends"},
    {"UPDATE tag SET value = 'v' WHERE name = 'k'", "tag:m/2?k: its content is not"},
    {"DELETE FROM tag WHERE name = 'team'", "tag:m/0?team: audit record"},
    {"INSERT INTO tag (model, version, name, value) VALUES ('m', 2, 'gone', 'v')", "tag:m/2?gone"},
    {"INSERT INTO tag (model, version, name, value) VALUES ('m', 2, 'new', 'v')", "tag:m/2?new: no audit record"},
    /* shards */
    {"UPDATE shard SET next_offset = next_offset + 1", "shard m/0: its content"},
    {"UPDATE shard SET consumed = '{ }'", "shard m/0: its content"},
    {"UPDATE shard SET state = NULL", "shard m/0: its content"},
    {"UPDATE pane SET coverage = '{ }' WHERE number = 1", "pane m/0 1: its content"},
    {"UPDATE pane SET events = 3 WHERE number = 1", "pane m/0 1: its content"},
    {"UPDATE pane SET bytes = (SELECT ends FROM labelled_rows ORDER BY first_row LIMIT 1) WHERE number = 1",
     "pane m/0 1: its content"},
    {"UPDATE pane SET digest = 'x' WHERE number = 1", "pane m/0 1: its content"},
    {"DELETE FROM pane WHERE number = 1", "pane m/0 2: the one before it is missing"},
    {"DELETE FROM pane WHERE number = 0", "pane m/0 1: the one before it is missing"},
    {"UPDATE label_pane SET watermark = 1 WHERE number = 2", "label pane m/0/0 2: its content"},
    {"DELETE FROM label_pane WHERE number = 1", "label pane m/0/0 2: the one before it is missing"},
    {"UPDATE labelled_rows SET bytes = ends WHERE first_row = 8", "labelled rows m/0/0 8: its content"},
    {"UPDATE labelled_rows SET ends = bytes WHERE first_row = 8", "labelled rows m/0/0 8"},
    {"DELETE FROM labelled_rows WHERE first_row = 6", "rows 6 to 7 are missing"},
    {"UPDATE labelled_segment SET artifact = 'x' WHERE first_row = 3", "labelled segment m/0/0 3: its content"},
    {"DELETE FROM labelled_segment WHERE first_row = 0", "labelled segment m/0/0 3: the one before it is missing"},
    {"DELETE FROM labelled_segment WHERE first_row = 3", "rows 3 to 5 are missing"},
    {"UPDATE join_chunk SET bytes = digest_of.state FROM (SELECT state FROM leader_state) AS digest_of WHERE number = "
     "1",
     "join chunk m/0 1: its content"},
    /* decisions */
    {"UPDATE leader_state SET progress = '{ }'", "leader state m: its content"},
    {"UPDATE verdict SET body = '{\"p\": 0.26}' WHERE id = 'v1'", "verdict v1: its content"},
    {"UPDATE verdict SET drift = 1 WHERE id = 'v1'", "verdict v1: its content"},
    {"UPDATE verdict SET panes = '[1]' WHERE id = 'v2'", "verdict v2: its content"},
    {"DELETE FROM verdict WHERE id = 'v1'", "verdict v2: the one before it is missing"},
    {"UPDATE incident SET state = 'closed'", "incident i: its content"},
    {"UPDATE job SET spec = '{ }' WHERE id = 'j-queued'", "job j-queued: its content"},
    {"UPDATE job SET result = '{\"ok\": 2}' WHERE id = 'j-done'", "result of job j-done: its content"},
    {"UPDATE job SET state = 'failed' WHERE id = 'j-done'", "result of job j-done: its content"},
    {"UPDATE job SET state = 'done' WHERE id = 'j-queued'", "result of job j-queued: its content"},
};

static gboolean has_finding(const GPtrArray *findings, const gchar *text)
{
  for (guint i = 0; i < findings->len; i++)
    if (strstr(findings->pdata[i], text) != NULL) return TRUE;
  return FALSE;
}

START_TEST(every_tampering_is_found)
{
  setup(_i);
  for (guint i = 0; i < G_N_ELEMENTS(TAMPERINGS); i++) {
    if (!test->is_postgresql) test_store_sql(test->store, "PRAGMA foreign_keys = OFF");
    ck_assert(registry_store_begin(test->store, NULL));
    /* whoever tampers is not stopped by foreign keys */
    if (test->is_postgresql) test_store_sql(test->store, "SET LOCAL session_replication_role = 'replica'");
    ck_assert_msg(test_store_sql(test->store, TAMPERINGS[i].sql) > 0, "no row: %s", TAMPERINGS[i].sql);
    g_autoptr(GPtrArray) findings = verify(NULL);
    ck_assert_msg(has_finding(findings, TAMPERINGS[i].expected), "%s\nwanted: %s\nfound (%u): %s", TAMPERINGS[i].sql,
                  TAMPERINGS[i].expected, findings->len, findings->len > 0 ? (gchar *)findings->pdata[0] : "nothing");
    registry_store_rollback(test->store);
  }
  g_autoptr(GPtrArray) findings = verify(NULL);
  ck_assert_uint_eq(findings->len, 0);
  teardown();
}
END_TEST

START_TEST(swapped_audit_records_are_found)
{
  setup(_i);
  test_store_sql(test->store, "UPDATE audit SET sequence = -1 WHERE sequence = 3");
  test_store_sql(test->store, "UPDATE audit SET sequence = 3 WHERE sequence = 4");
  test_store_sql(test->store, "UPDATE audit SET sequence = 4 WHERE sequence = -1");
  g_autoptr(GPtrArray) findings = verify(NULL);
  ck_assert(has_finding(findings, "record 3 was changed") && has_finding(findings, "record 4 was changed"));
  teardown();
}
END_TEST

/* Every artifact, every way: a changed byte, a missing byte, a missing file. */
START_TEST(every_damaged_artifact_is_found)
{
  setup(_i);
  g_autofree gchar *root = g_build_filename(folder, "sha256", NULL);
  guint n_files = 0;
  g_autoptr(GDir) folders = g_dir_open(root, 0, NULL);
  for (const gchar *name; (name = g_dir_read_name(folders)) != NULL;) {
    g_autofree gchar *inner = g_build_filename(root, name, NULL);
    g_autoptr(GDir) files = g_dir_open(inner, 0, NULL);
    for (const gchar *digest; files != NULL && (digest = g_dir_read_name(files)) != NULL; n_files++) {
      g_autofree gchar *path = g_build_filename(inner, digest, NULL), *bytes = NULL;
      gsize length;
      ck_assert(g_file_get_contents(path, &bytes, &length, NULL));
      for (guint way = 0; way < 3; way++) {
        bytes[length / 2] ^= (gchar)(way == 0);
        if (way == 2)
          ck_assert(g_unlink(path) == 0);
        else
          ck_assert(g_file_set_contents(path, bytes, (gssize)(length - (way == 1)), NULL));
        g_autoptr(GPtrArray) findings = verify(NULL);
        ck_assert_msg(has_finding(findings, digest), "%s, way %u", digest, way);
        bytes[length / 2] ^= (gchar)(way == 0);
      }
      ck_assert(g_file_set_contents(path, bytes, (gssize)length, NULL));
    }
  }
  ck_assert_uint_eq(n_files, 5); /* model, grid, profile, two segments */
  g_autoptr(GPtrArray) findings = verify(NULL);
  ck_assert_uint_eq(findings->len, 0);
  teardown();
}
END_TEST

/* SQLite: bytes of the database file itself. */
START_TEST(a_changed_byte_of_the_database_file_is_found)
{
  setup(0);
  g_autofree gchar *path = g_build_filename(test->directory, "kedge.db", NULL);
  const gchar *const needles[] = {"better", "{\"p\": 0.25}", "abcdef", "imported"};
  for (guint i = 0; i < G_N_ELEMENTS(needles); i++) {
    g_autofree gchar *bytes = NULL;
    gsize length;
    g_clear_pointer(&test->store, registry_store_close); /* folds the log into the file */
    ck_assert(g_file_get_contents(path, &bytes, &length, NULL));
    gchar *at = memmem(bytes, length, needles[i], strlen(needles[i]));
    ck_assert_msg(at != NULL, "%s", needles[i]);
    at[3] ^= 1;
    ck_assert(g_file_set_contents(path, bytes, (gssize)length, NULL));
    test->store = registry_store_open(test->uri, NULL);
    g_autoptr(GPtrArray) findings = verify(NULL);
    ck_assert_msg(findings->len > 0, "%s", needles[i]);
    g_clear_pointer(&test->store, registry_store_close);
    at[3] ^= 1;
    ck_assert(g_file_set_contents(path, bytes, (gssize)length, NULL));
    test->store = registry_store_open(test->uri, NULL);
  }
  teardown();
}
END_TEST

static gpointer keep_writing(gpointer data)
{
  g_autoptr(RegistryStore) store = registry_store_open(data, NULL);
  for (guint i = 0; store != NULL && i < 60; i++) {
    g_autofree gchar *value = g_strdup_printf("%u", i);
    if (!registry_tag_set(store, "m", 2, "k", value, "bob", NULL) ||
        !registry_alias_set(store, "m", "champion", 1 + i % 3, -1, "bob", NULL, NULL))
      return "failed";
  }
  return store == NULL ? "failed" : NULL;
}

START_TEST(a_daemon_at_work_is_no_finding)
{
  setup(_i);
  GThread *thread = g_thread_new("writer", keep_writing, test->uri);
  for (guint i = 0; i < 8; i++) {
    g_autoptr(GPtrArray) findings = verify(NULL);
    ck_assert_msg(findings->len == 0, "%s", findings->len > 0 ? (gchar *)findings->pdata[0] : "");
  }
  ck_assert_ptr_null(g_thread_join(thread));
  teardown();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_verify");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, an_untouched_store_has_no_findings, 0, n);
  tcase_add_loop_test(tcase, an_empty_store_has_no_findings, 0, n);
  tcase_add_loop_test(tcase, every_tampering_is_found, 0, n);
  tcase_add_loop_test(tcase, swapped_audit_records_are_found, 0, n);
  tcase_add_loop_test(tcase, every_damaged_artifact_is_found, 0, n);
  tcase_add_test(tcase, a_changed_byte_of_the_database_file_is_found);
  tcase_add_loop_test(tcase, a_daemon_at_work_is_no_finding, 0, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
