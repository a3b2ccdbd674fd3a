/* Content-addressed files. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "registry/artifact.h"
#include "registry/digest.h"
#include "registry/store.h"
#include "tests/support/postgres_store.h"

static TestStore *test; /* for its folder */
static RegistryArtifacts *artifacts;
static gchar *folder;

static void setup(void)
{
  test = test_store_open(0);
  folder = g_build_filename(test->directory, "artifacts", NULL);
  g_autoptr(GError) error = NULL;
  artifacts = registry_artifacts_open(folder, &error);
  ck_assert_msg(artifacts != NULL, "%s", error != NULL ? error->message : "");
}

static void teardown(void)
{
  registry_artifacts_close(artifacts);
  g_free(folder);
  test_store_close(test);
}

static gchar *path_of(const gchar *digest)
{
  g_autofree gchar *start = g_strndup(digest, 2);
  return g_build_filename(folder, "sha256", start, digest, NULL);
}

static gchar *put(const gchar *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
  gchar *digest = registry_artifacts_put(artifacts, bytes, &error);
  ck_assert_msg(digest != NULL, "%s", error != NULL ? error->message : "");
  return digest;
}

START_TEST(bytes_are_named_by_their_sha256)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *digest = put("abc"), *again = put("abc"), *empty = put("");
  ck_assert_str_eq(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
  ck_assert_str_eq(again, digest);
  ck_assert_str_eq(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  ck_assert(registry_artifacts_has(artifacts, digest));
  g_autoptr(GBytes) bytes = registry_artifacts_get(artifacts, digest, &error);
  ck_assert(g_bytes_get_size(bytes) == 3 && memcmp(g_bytes_get_data(bytes, NULL), "abc", 3) == 0);
  g_autoptr(GBytes) nothing = registry_artifacts_get(artifacts, empty, &error);
  ck_assert(nothing != NULL && g_bytes_get_size(nothing) == 0);
  g_autofree gchar *path = path_of(digest);
  struct stat status;
  ck_assert(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
  ck_assert(stat(folder, &status) == 0 && (status.st_mode & 0777) == 0700);
}
END_TEST

START_TEST(what_is_not_there_is_not_found)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *absent = g_strnfill(64, 'a');
  ck_assert(!registry_artifacts_has(artifacts, absent));
  ck_assert(registry_artifacts_get(artifacts, absent, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND));
  g_clear_error(&error);
  const gchar *const bad[] = {"", "../../etc/passwd", "ab", NULL};
  for (guint i = 0; bad[i] != NULL; i++) {
    ck_assert(registry_artifacts_get(artifacts, bad[i], &error) == NULL && !registry_artifacts_has(artifacts, bad[i]));
    ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID));
    g_clear_error(&error);
  }
}
END_TEST

START_TEST(damage_is_found_and_repaired_by_writing_again)
{
  g_autofree gchar *digest = put("some bytes"), *path = path_of(digest);
  const gchar *const damaged[] = {"some bytex", "some byte", "some bytes ", ""};
  for (guint i = 0; i < G_N_ELEMENTS(damaged); i++) {
    g_autoptr(GError) error = NULL;
    ck_assert(g_file_set_contents(path, damaged[i], -1, NULL));
    ck_assert(registry_artifacts_get(artifacts, digest, &error) == NULL);
    ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_CORRUPT));
    g_autofree gchar *again = put("some bytes");
    ck_assert_str_eq(again, digest);
    g_autoptr(GBytes) bytes = registry_artifacts_get(artifacts, digest, NULL);
    ck_assert(bytes != NULL);
  }
}
END_TEST

START_TEST(symbolic_links_are_not_followed)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *digest = put("secret"), *path = path_of(digest);
  g_autofree gchar *elsewhere = g_build_filename(test->directory, "elsewhere", NULL);
  ck_assert(g_file_set_contents(elsewhere, "secret", -1, NULL));
  ck_assert(g_unlink(path) == 0 && symlink(elsewhere, path) == 0);
  ck_assert(registry_artifacts_get(artifacts, digest, &error) == NULL);
  ck_assert(g_unlink(path) == 0);
  /* a folder that is a link: nothing is written through it */
  g_autofree gchar *other_folder = g_build_filename(test->directory, "other", NULL);
  g_autofree gchar *parent = g_path_get_dirname(path);
  ck_assert(g_rmdir(parent) == 0 && g_mkdir(other_folder, 0700) == 0 && symlink(other_folder, parent) == 0);
  g_clear_error(&error);
  g_autoptr(GBytes) bytes = g_bytes_new("secret", 6);
  ck_assert(registry_artifacts_put(artifacts, bytes, &error) == NULL);
  ck_assert(g_error_matches(error, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE));
  ck_assert(g_rmdir(other_folder) == 0); /* still empty */
}
END_TEST

START_TEST(what_a_killed_writer_left_is_removed_when_old)
{
  g_autofree gchar *old = g_build_filename(folder, "sha256", ".new-1-old", NULL);
  g_autofree gchar *fresh = g_build_filename(folder, "sha256", ".new-1-fresh", NULL);
  ck_assert(g_file_set_contents(old, "x", -1, NULL) && g_file_set_contents(fresh, "x", -1, NULL));
  const struct utimbuf times = {1, 1};
  ck_assert(utime(old, &times) == 0);
  g_autoptr(RegistryArtifacts) again = registry_artifacts_open(folder, NULL);
  ck_assert(again != NULL);
  ck_assert(!g_file_test(old, G_FILE_TEST_EXISTS) && g_file_test(fresh, G_FILE_TEST_EXISTS));
}
END_TEST

START_TEST(values_have_one_encoding)
{
  const RegistryValue values[][2] = {{REGISTRY_T("a"), REGISTRY_T("b")},    {REGISTRY_T("ab"), REGISTRY_T("")},
                                     {REGISTRY_B("a", 1), REGISTRY_T("b")}, {REGISTRY_I(1), REGISTRY_I(2)},
                                     {REGISTRY_I(1), REGISTRY_N},           {REGISTRY_N, REGISTRY_I(1)},
                                     {REGISTRY_R(1), REGISTRY_I(2)},        {REGISTRY_T(""), REGISTRY_T("ab")}};
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(values); i++)
    ck_assert(g_hash_table_add(seen, registry_digest_values(values[i], 2)));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("registry_artifact");
  TCase *tcase = tcase_create("files");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, bytes_are_named_by_their_sha256);
  tcase_add_test(tcase, what_is_not_there_is_not_found);
  tcase_add_test(tcase, damage_is_found_and_repaired_by_writing_again);
  tcase_add_test(tcase, symbolic_links_are_not_followed);
  tcase_add_test(tcase, what_a_killed_writer_left_is_removed_when_old);
  tcase_add_test(tcase, values_have_one_encoding);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
