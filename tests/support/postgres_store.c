#include "tests/support/postgres_store.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int test_stores_count(void)
{
  static gboolean said = FALSE;
  if (g_getenv("KEDGE_TEST_POSTGRES") != NULL) return 2;
  if (!said)
    fprintf(stderr, "SKIPPED: the PostgreSQL half of these tests (set KEDGE_TEST_POSTGRES to a store URI, "
                    "or run make check-registry-postgres)\n");
  said = TRUE;
  return 1;
}

static gchar *with_schema(const gchar *uri, const gchar *schema)
{
  if (!g_str_has_prefix(uri, "postgresql://")) return g_strdup_printf("%s options='-c search_path=%s'", uri, schema);
  return g_strdup_printf("%s%coptions=-csearch_path%%3D%s", uri, strchr(uri, '?') != NULL ? '&' : '?', schema);
}

static void run_on_server(const gchar *format, const gchar *schema)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) server = registry_store_open(g_getenv("KEDGE_TEST_POSTGRES"), &error);
  ck_assert_msg(server != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(GString) sql = g_string_new(format);
  g_string_replace(sql, "%s", schema, 0);
  test_store_sql(server, sql->str);
}

TestStore *test_store_open(int index)
{
  static guint number = 0;
  TestStore *test = g_new0(TestStore, 1);
  g_autoptr(GError) error = NULL;
  g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING | G_LOG_FATAL_MASK);
  test->directory = g_dir_make_tmp("kedge-test-XXXXXX", &error);
  ck_assert_msg(test->directory != NULL, "%s", error != NULL ? error->message : "");
  test->is_postgresql = index == 1;
  if (test->is_postgresql) {
    g_autofree gchar *schema = g_strdup_printf("test_%d_%u_%08x", (int)getpid(), number++, g_random_int());
    run_on_server("CREATE SCHEMA %s", schema);
    test->uri = with_schema(g_getenv("KEDGE_TEST_POSTGRES"), schema);
    g_autofree gchar *note = g_build_filename(test->directory, "schema", NULL);
    ck_assert(g_file_set_contents(note, schema, -1, NULL));
  } else
    test->uri = g_strdup_printf("sqlite:%s/kedge.db", test->directory);
  test->store = registry_store_open(test->uri, &error);
  ck_assert_msg(test->store != NULL, "%s", error != NULL ? error->message : "");
  return test;
}

static void remove_folder(const gchar *path)
{
  GDir *folder = g_dir_open(path, 0, NULL);
  for (const gchar *name; folder != NULL && (name = g_dir_read_name(folder)) != NULL;) {
    g_autofree gchar *child = g_build_filename(path, name, NULL);
    if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
      remove_folder(child);
    else
      g_unlink(child);
  }
  if (folder != NULL) g_dir_close(folder);
  g_rmdir(path);
}

void test_store_close(TestStore *test)
{
  registry_store_close(test->store);
  if (test->is_postgresql) {
    g_autofree gchar *note = g_build_filename(test->directory, "schema", NULL);
    g_autofree gchar *schema = NULL;
    ck_assert(g_file_get_contents(note, &schema, NULL, NULL));
    run_on_server("DROP SCHEMA %s CASCADE", schema);
  }
  remove_folder(test->directory);
  g_free(test->uri);
  g_free(test->directory);
  g_free(test);
}

gint64 test_store_sql(RegistryStore *store, const gchar *sql)
{
  g_autoptr(GError) error = NULL;
  gint64 changed = 0;
  ck_assert_msg(registry_store_execute(store, sql, NULL, 0, &changed, &error), "%s",
                error != NULL ? error->message : "");
  return changed;
}
