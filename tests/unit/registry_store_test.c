/* The store itself: parameters, transactions, errors, schema, races, on both databases. */
#include <check.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "registry/store.h"
#include "tests/support/postgres_store.h"

static TestStore *test;
static RegistryStore *other;

static RegistryStore *connect_again(void)
{
  g_autoptr(GError) error = NULL;
  RegistryStore *store = registry_store_open(test->uri, &error);
  ck_assert_msg(store != NULL, "%s", error != NULL ? error->message : "");
  return store;
}

static void open_both(int index)
{
  test = test_store_open(index);
  other = connect_again();
  test_store_sql(test->store, "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT, c DOUBLE PRECISION)");
}

static void close_both(void)
{
  registry_store_close(other);
  test_store_close(test);
}

static gint64 count_rows(RegistryStore *store)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryRows) rows = registry_store_query(store, "SELECT count(*) FROM t", NULL, 0, &error);
  ck_assert_msg(rows != NULL, "%s", error != NULL ? error->message : "");
  return registry_rows_get_integer(rows, 0, 0);
}

START_TEST(values_come_back_as_they_went)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  test_store_sql(test->store, test->is_postgresql ? "CREATE TABLE v (i BIGINT, r DOUBLE PRECISION, t TEXT, b BYTEA)"
                                                  : "CREATE TABLE v (i BIGINT, r DOUBLE PRECISION, t TEXT, b BLOB)");
  const gint64 integers[] = {0, -1, G_MININT64, G_MAXINT64};
  const double reals[] = {0.1, -1.7976931348623157e308, 5e-324, 1.0 / 3};
  for (guint i = 0; i < 4; i++) {
    const RegistryValue row[] = {REGISTRY_I(integers[i]), REGISTRY_R(reals[i]), REGISTRY_T("ä\n'\"\\$1"),
                                 REGISTRY_B("\0\xff", 2)};
    gint64 changed = 0;
    ck_assert(registry_store_execute(test->store, "INSERT INTO v (i, r, t, b) VALUES ($1, $2, $3, $4)", row, 4,
                                     &changed, &error));
    ck_assert_int_eq(changed, 1);
  }
  const RegistryValue empty[] = {REGISTRY_N, REGISTRY_N, REGISTRY_T(NULL), REGISTRY_B(NULL, 0)};
  ck_assert(registry_store_execute(test->store, "INSERT INTO v (i, r, t, b) VALUES ($1, $2, $3, $4)", empty, 4, NULL,
                                   &error));
  for (guint i = 0; i < 4; i++) {
    const RegistryValue key[] = {REGISTRY_I(integers[i])};
    g_autoptr(RegistryRows) rows = registry_store_query(other, "SELECT i, r, t, b FROM v WHERE i = $1", key, 1, &error);
    ck_assert_uint_eq(registry_rows_get_count(rows), 1);
    ck_assert_int_eq(registry_rows_get_integer(rows, 0, 0), integers[i]);
    ck_assert(registry_rows_get_real(rows, 0, 1) == reals[i]);
    ck_assert_str_eq(registry_rows_get_text(rows, 0, 2), "ä\n'\"\\$1");
    g_autoptr(GBytes) blob = registry_rows_get_blob(rows, 0, 3);
    ck_assert(g_bytes_get_size(blob) == 2 && memcmp(g_bytes_get_data(blob, NULL), "\0\xff", 2) == 0);
  }
  g_autoptr(RegistryRows) rows =
      registry_store_query(other, "SELECT i, r, t, b FROM v WHERE i IS NULL", NULL, 0, &error);
  g_autoptr(GBytes) blob = registry_rows_get_blob(rows, 0, 3);
  ck_assert(registry_rows_is_null(rows, 0, 1) && registry_rows_is_null(rows, 0, 2));
  ck_assert(blob != NULL && g_bytes_get_size(blob) == 0 && !registry_rows_is_null(rows, 0, 3));
  close_both();
}
END_TEST

START_TEST(parameters_are_bound_by_number)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  const RegistryValue row[] = {REGISTRY_T("text"), REGISTRY_I(7)};
  ck_assert(registry_store_execute(test->store, "INSERT INTO t (a, b) VALUES ($2, $1)", row, 2, NULL, &error));
  g_autoptr(RegistryRows) rows =
      registry_store_query(test->store, "SELECT a, b FROM t WHERE a = $2 AND b = $1 AND a = $2", row, 2, &error);
  ck_assert_uint_eq(registry_rows_get_count(rows), 1);
  ck_assert_int_eq(registry_rows_get_integer(rows, 0, 0), 7);
  ck_assert_str_eq(registry_rows_get_text(rows, 0, 1), "text");
  close_both();
}
END_TEST

START_TEST(bad_values_are_refused)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  const RegistryValue row[] = {REGISTRY_I(1), REGISTRY_T("\xff\xfe")};
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a, b) VALUES ($1, $2)", row, 2, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
  g_clear_error(&error);
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a, b) VALUES ($1, $2)", row, 1, NULL, &error));
  g_clear_error(&error);
  ck_assert(!registry_store_execute(test->store, "SELEKT", NULL, 0, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_SQL));
  g_clear_error(&error);
  const RegistryValue good[] = {REGISTRY_I(1)};
  ck_assert(registry_store_execute(test->store, "INSERT INTO t (a) VALUES ($1)", good, 1, NULL, &error));
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES ($1)", good, 1, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  close_both();
}
END_TEST

START_TEST(transactions_are_all_or_nothing)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(test->store, &error) && registry_store_in_transaction(test->store));
  ck_assert(!registry_store_begin(test->store, NULL));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  ck_assert_int_eq(count_rows(other), 0);
  registry_store_rollback(test->store);
  ck_assert_int_eq(count_rows(test->store), 0);
  ck_assert(registry_store_begin(test->store, &error));
  ck_assert(registry_store_commit(test->store, &error)); /* nothing in it */
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  ck_assert(registry_store_commit(test->store, &error));
  ck_assert_int_eq(count_rows(other), 1);
  ck_assert(!registry_store_commit(test->store, NULL));
  close_both();
}
END_TEST

START_TEST(a_failed_write_dooms_the_transaction)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES (1)", NULL, 0, NULL, NULL));
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES (2)", NULL, 0, NULL, NULL));
  ck_assert(!registry_store_commit(test->store, &error));
  ck_assert(!registry_store_in_transaction(test->store));
  ck_assert_int_eq(count_rows(test->store), 0);
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (3)");
  close_both();
}
END_TEST

START_TEST(batches_count_what_each_changed)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  RegistryStatement batch[200];
  RegistryValue values[200];
  for (guint i = 0; i < 200; i++) {
    values[i] = REGISTRY_I(i);
    batch[i] = (RegistryStatement){"INSERT INTO t (a) VALUES ($1)", &values[i], 1, -1};
  }
  batch[198] = (RegistryStatement){"UPDATE t SET b = 'x' WHERE a < $1", &values[50], 1, -1};
  batch[199] = (RegistryStatement){"SELECT a FROM t", NULL, 0, -1};
  ck_assert(registry_store_execute_batch(test->store, batch, 200, &error));
  ck_assert(batch[0].changed == 1 && batch[198].changed == 50 && batch[199].changed == 0);
  ck_assert_int_eq(count_rows(other), 198);
  batch[0].sql = "DELETE FROM t WHERE a >= $1"; /* and a failure after it: nothing happened */
  batch[1].sql = "INSERT INTO t (a) VALUES ($1), ($1)";
  ck_assert(!registry_store_execute_batch(test->store, batch, 3, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CONFLICT));
  ck_assert_int_eq(count_rows(other), 198);
  close_both();
}
END_TEST

START_TEST(many_different_statements_are_fine)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  for (int i = 0; i < 700; i++) {
    g_autofree gchar *sql = g_strdup_printf("SELECT CAST(%d AS BIGINT)", i);
    g_autoptr(RegistryRows) rows = registry_store_query(test->store, sql, NULL, 0, &error);
    ck_assert_msg(rows != NULL, "%s", error != NULL ? error->message : "");
    ck_assert_int_eq(registry_rows_get_integer(rows, 0, 0), i);
  }
  close_both();
}
END_TEST

START_TEST(a_newer_schema_is_refused)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  test_store_sql(test->store, "UPDATE schema_version SET version = version + 1");
  ck_assert(registry_store_open(test->uri, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_SCHEMA));
  test_store_sql(test->store, "UPDATE schema_version SET version = version - 1");
  registry_store_close(connect_again());
  close_both();
}
END_TEST

static gpointer open_in_thread(gpointer uri)
{
  GError *error = NULL;
  RegistryStore *store = registry_store_open(uri, &error);
  if (store == NULL) return error->message;
  registry_store_close(store);
  return NULL;
}

START_TEST(several_may_open_a_fresh_store_at_once)
{
  test = test_store_open(_i);
  if (test->is_postgresql) {
    g_autoptr(GError) error = NULL; /* an empty schema again */
    g_autoptr(RegistryRows) rows = registry_store_query(test->store, "SELECT current_schema()", NULL, 0, &error);
    g_autofree gchar *sql = g_strdup_printf("DROP SCHEMA %s CASCADE", registry_rows_get_text(rows, 0, 0));
    test_store_sql(test->store, sql);
    g_autofree gchar *create = g_strdup_printf("CREATE SCHEMA %s", registry_rows_get_text(rows, 0, 0));
    test_store_sql(test->store, create);
  }
  g_autofree gchar *uri =
      test->is_postgresql ? g_strdup(test->uri) : g_strdup_printf("sqlite:%s/new.db", test->directory);
  GThread *threads[8];
  for (guint i = 0; i < 8; i++) threads[i] = g_thread_new("open", open_in_thread, uri);
  for (guint i = 0; i < 8; i++) {
    const gchar *message = g_thread_join(threads[i]);
    ck_assert_msg(message == NULL, "%s", message);
  }
  test_store_close(test);
}
END_TEST

/* --- two connections at work ---------------------------------------------------------------------------------------
 */

static gpointer increment_many(gpointer data)
{
  RegistryStore *store = data;
  for (guint i = 0; i < 50; i++) {
    if (!registry_store_begin(store, NULL)) return "begin";
    g_autoptr(RegistryRows) rows =
        registry_store_query(store, "UPDATE t SET a = a + 1 WHERE b = 'n' RETURNING a", NULL, 0, NULL);
    if (rows == NULL || registry_rows_get_count(rows) != 1) return "update";
    if (!registry_store_commit(store, NULL)) return "commit";
  }
  return NULL;
}

START_TEST(two_connections_lose_no_update)
{
  open_both(_i);
  test_store_sql(test->store, "INSERT INTO t (a, b) VALUES (0, 'n')");
  GThread *thread = g_thread_new("other", increment_many, other);
  ck_assert_ptr_null(increment_many(test->store));
  ck_assert_ptr_null(g_thread_join(thread));
  g_autoptr(RegistryRows) rows = registry_store_query(test->store, "SELECT a FROM t", NULL, 0, NULL);
  ck_assert_int_eq(registry_rows_get_integer(rows, 0, 0), 100);
  close_both();
}
END_TEST

/* --- SQLite only ----------------------------------------------------------------------------------------------------
 */

START_TEST(the_sqlite_file_is_private_and_its_errors_say_what_to_do)
{
  test = test_store_open(0);
  g_autoptr(GError) error = NULL;
  struct stat status;
  const gchar *const names[] = {"kedge.db", "kedge.db-wal", "kedge.db-shm"};
  for (guint i = 0; i < 3; i++) {
    g_autofree gchar *path = g_build_filename(test->directory, names[i], NULL);
    ck_assert(stat(path, &status) == 0);
    ck_assert_int_eq(status.st_mode & 0777, 0600);
  }
  ck_assert(registry_store_open("sqlite:/nonexistent/folder/kedge.db", &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE));
  ck_assert(strstr(error->message, "/nonexistent/folder/kedge.db") != NULL && strstr(error->message, "folder") != NULL);
  g_clear_error(&error);
  g_autofree gchar *garbage = g_build_filename(test->directory, "garbage.db", NULL);
  g_autofree gchar *uri = g_strconcat("sqlite:", garbage, NULL);
  g_autofree gchar *bytes = g_strnfill(4096, 'x');
  ck_assert(g_file_set_contents(garbage, bytes, 4096, NULL));
  ck_assert(registry_store_open(uri, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
  g_clear_error(&error);
  const gchar *const uris[] = {"mysql:x", "sqlite:", "postgresql:nonsense", NULL};
  for (guint i = 0; uris[i] != NULL; i++) {
    ck_assert(registry_store_open(uris[i], &error) == NULL);
    ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID), "%s", uris[i]);
    g_clear_error(&error);
  }
  test_store_close(test);
}
END_TEST

START_TEST(a_full_or_busy_sqlite_recovers)
{
  open_both(0);
  g_autoptr(GError) error = NULL;
  g_autofree gchar *big = g_strnfill(200000, 'x');
  const RegistryValue row[] = {REGISTRY_I(1), REGISTRY_T(big)};
  test_store_sql(test->store, "PRAGMA max_page_count = 1"); /* no page more than there are */
  ck_assert(registry_store_begin(test->store, &error));
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a, b) VALUES ($1, $2)", row, 2, NULL, &error));
  ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE), "%s", error->message);
  ck_assert(strstr(error->message, "free some space") != NULL);
  g_clear_error(&error);
  ck_assert(!registry_store_commit(test->store, NULL));
  test_store_sql(test->store, "PRAGMA max_page_count = 1000000");
  ck_assert(registry_store_execute(test->store, "INSERT INTO t (a, b) VALUES ($1, $2)", row, 2, NULL, &error));
  /* busy */
  test_store_sql(other, "PRAGMA busy_timeout = 10");
  ck_assert(registry_store_begin(test->store, &error));
  ck_assert(!registry_store_begin(other, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE));
  ck_assert(strstr(error->message, "one daemon per SQLite file") != NULL);
  g_clear_error(&error);
  ck_assert_int_eq(count_rows(other), 1); /* readers go on */
  registry_store_rollback(test->store);
  ck_assert(registry_store_begin(other, &error));
  close_both();
}
END_TEST

/* --- PostgreSQL only ------------------------------------------------------------------------------------------------
 */

static gint64 server_process(RegistryStore *store)
{
  g_autoptr(RegistryRows) rows = registry_store_query(store, "SELECT pg_backend_pid()", NULL, 0, NULL);
  return registry_rows_get_integer(rows, 0, 0);
}

static void end_session(gint64 process)
{
  const RegistryValue parameters[] = {REGISTRY_I(process)};
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryRows) rows =
      registry_store_query(other, "SELECT pg_terminate_backend(CAST($1 AS INTEGER), 5000)", parameters, 1, &error);
  ck_assert_msg(rows != NULL && registry_rows_get_integer(rows, 0, 0) == 1, "%s", error != NULL ? error->message : "");
}

START_TEST(a_broken_connection_is_unavailable_and_reconnects)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  end_session(server_process(test->store));
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES (2)", NULL, 0, NULL, &error));
  ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE), "%s", error->message);
  g_clear_error(&error);
  registry_store_rollback(test->store);
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES (2)", NULL, 0, NULL, NULL));
  ck_assert(registry_store_reconnect(test->store, &error));
  ck_assert_int_eq(count_rows(test->store), 0);
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (2)");
  /* healthy: the same session goes on, also inside a transaction */
  gint64 process = server_process(test->store);
  ck_assert(registry_store_begin(test->store, &error) && registry_store_reconnect(test->store, &error));
  ck_assert_int_eq(server_process(test->store), process);
  ck_assert(registry_store_commit(test->store, &error));
  close_both();
}
END_TEST

START_TEST(a_connection_that_breaks_at_commit_leaves_it_unknown)
{
  open_both(_i);
  g_autoptr(GError) error = NULL;
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  end_session(server_process(test->store));
  ck_assert(!registry_store_commit(test->store, &error));
  ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNKNOWN_COMMIT), "%s", error->message);
  ck_assert(!registry_store_in_transaction(test->store));
  g_clear_error(&error);
  ck_assert(registry_store_reconnect(test->store, &error));
  ck_assert_int_eq(count_rows(test->store), 0);
  close_both();
}
END_TEST

START_TEST(a_restarted_server_is_found_again)
{
  const gchar *directory = g_getenv("KEDGE_TEST_POSTGRES_DIRECTORY");
  if (directory == NULL) {
    fprintf(stderr, "SKIPPED: restart of PostgreSQL (set KEDGE_TEST_POSTGRES_DIRECTORY)\n");
    return;
  }
  open_both(_i);
  g_autoptr(GError) error = NULL;
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (2)");
  g_autofree gchar *command = g_strdup_printf("tests/support/postgres restart '%s' immediate", directory);
  ck_assert_int_eq(system(command), 0);
  ck_assert(!registry_store_execute(test->store, "INSERT INTO t (a) VALUES (3)", NULL, 0, NULL, &error));
  ck_assert_msg(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE), "%s", error->message);
  g_clear_error(&error);
  ck_assert(registry_store_reconnect(test->store, &error) && registry_store_reconnect(other, &error));
  ck_assert_int_eq(count_rows(test->store), 1);
  close_both();
}
END_TEST

START_TEST(session_settings_guard_the_others)
{
  open_both(_i);
  const gchar *const settings[][2] = {{"statement_timeout", "15s"},
                                      {"lock_timeout", "3s"},
                                      {"idle_in_transaction_session_timeout", "5s"},
                                      {"application_name", "kedge"},
                                      {"default_transaction_isolation", "read committed"}};
  for (guint i = 0; i < G_N_ELEMENTS(settings); i++) {
    g_autofree gchar *sql = g_strdup_printf("SELECT current_setting('%s')", settings[i][0]);
    g_autoptr(RegistryRows) rows = registry_store_query(test->store, sql, NULL, 0, NULL);
    ck_assert_str_eq(registry_rows_get_text(rows, 0, 0), settings[i][1]);
  }
  /* a row that another session keeps locked: an answer after lock_timeout, not never */
  g_autoptr(GError) error = NULL;
  test_store_sql(test->store, "INSERT INTO t (a) VALUES (1)");
  test_store_sql(other, "SET lock_timeout = '50ms'");
  ck_assert(registry_store_begin(test->store, &error));
  test_store_sql(test->store, "UPDATE t SET b = 'x'");
  ck_assert(!registry_store_execute(other, "UPDATE t SET b = 'y'", NULL, 0, NULL, &error));
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE));
  close_both();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_store");
  TCase *tcase = tcase_create("both stores");
  int n = test_stores_count();
  tcase_set_timeout(tcase, 60);
  tcase_add_loop_test(tcase, values_come_back_as_they_went, 0, n);
  tcase_add_loop_test(tcase, parameters_are_bound_by_number, 0, n);
  tcase_add_loop_test(tcase, bad_values_are_refused, 0, n);
  tcase_add_loop_test(tcase, transactions_are_all_or_nothing, 0, n);
  tcase_add_loop_test(tcase, a_failed_write_dooms_the_transaction, 0, n);
  tcase_add_loop_test(tcase, batches_count_what_each_changed, 0, n);
  tcase_add_loop_test(tcase, many_different_statements_are_fine, 0, n);
  tcase_add_loop_test(tcase, a_newer_schema_is_refused, 0, n);
  tcase_add_loop_test(tcase, several_may_open_a_fresh_store_at_once, 0, n);
  tcase_add_loop_test(tcase, two_connections_lose_no_update, 0, n);
  tcase_add_test(tcase, the_sqlite_file_is_private_and_its_errors_say_what_to_do);
  tcase_add_test(tcase, a_full_or_busy_sqlite_recovers);
  tcase_add_loop_test(tcase, a_broken_connection_is_unavailable_and_reconnects, 1, n);
  tcase_add_loop_test(tcase, a_connection_that_breaks_at_commit_leaves_it_unknown, 1, n);
  tcase_add_loop_test(tcase, a_restarted_server_is_found_again, 1, n);
  tcase_add_loop_test(tcase, session_settings_guard_the_others, 1, n);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
