#include "pipeline/output_file.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

static gchar *folder, *path;

static void set_up(void)
{
  folder = g_dir_make_tmp("kedge-output-XXXXXX", NULL);
  path = g_build_filename(folder, "out", NULL);
}

static void tear_down(void)
{
  g_unlink(path);
  g_rmdir(folder);
  g_free(path);
  g_free(folder);
}

START_TEST(a_file_is_replaced_as_a_whole)
{
  g_autoptr(GError) error = NULL;
  ck_assert(pipeline_output_file_write(path, "longer", 6, &error));
  ck_assert(pipeline_output_file_write(path, "new", 3, &error));
  g_autofree gchar *contents = NULL;
  ck_assert(g_file_get_contents(path, &contents, NULL, NULL));
  ck_assert_str_eq(contents, "new");
}
END_TEST

/* Regression: as root `kedge train -o /dev/null` put a regular file in the place of the device. */
START_TEST(what_is_no_regular_file_stays_what_it_is)
{
  g_autoptr(GError) error = NULL;
  GStatBuf found;
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  int reader = g_open(path, O_RDONLY | O_NONBLOCK, 0);
  ck_assert_int_ge(reader, 0);
  ck_assert(pipeline_output_file_write(path, "new", 3, &error));
  gchar read_back[4] = "";
  ck_assert_int_eq(read(reader, read_back, 3), 3);
  ck_assert_str_eq(read_back, "new");
  close(reader);
  ck_assert(g_stat(path, &found) == 0 && S_ISFIFO(found.st_mode));
}
END_TEST

START_TEST(the_path_is_named)
{
  g_autoptr(GError) error = NULL;
  ck_assert(!pipeline_output_file_write(folder, "new", 3, &error));
  ck_assert(error->domain == G_FILE_ERROR && strstr(error->message, folder) != NULL);
  g_clear_error(&error);
  if (g_access("/dev/full", W_OK) != 0) return;
  ck_assert(!pipeline_output_file_write("/dev/full", "new", 3, &error));
  ck_assert(g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("output_file");
  TCase *tcase = tcase_create("output_file");
  tcase_add_checked_fixture(tcase, set_up, tear_down);
  tcase_add_test(tcase, a_file_is_replaced_as_a_whole);
  tcase_add_test(tcase, what_is_no_regular_file_stays_what_it_is);
  tcase_add_test(tcase, the_path_is_named);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
