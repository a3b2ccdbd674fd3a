/* One column of a CSV as numbers: what is read, and what is said of what cannot be. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <glib/gstdio.h>

#include "daemon/number_stream.h"

static gchar *path;

static void set_up(void)
{
  g_autofree gchar *folder = g_dir_make_tmp("kedge-number-XXXXXX", NULL);
  path = g_build_filename(folder, "x.csv", NULL);
}

static void tear_down(void)
{
  g_autofree gchar *folder = g_path_get_dirname(path);
  g_remove(path);
  g_rmdir(folder);
  g_clear_pointer(&path, g_free);
}

/* The numbers as text, "nan" for missing ones, then the error if there is one. */
static gchar *read_all(const gchar *text, gssize length, const gchar *column)
{
  ck_assert(g_file_set_contents(path, text, length, NULL));
  g_autoptr(GError) error = NULL;
  g_autoptr(NumberStream) stream = number_stream_open(path, column, &error);
  GString *found = g_string_new(NULL);
  double number;
  while (stream != NULL && number_stream_next(stream, &number, &error)) g_string_append_printf(found, "%g ", number);
  if (error != NULL) {
    ck_assert(g_str_has_prefix(error->message, path));
    g_string_append(found, error->message + strlen(path));
  }
  return g_string_free(found, FALSE);
}

START_TEST(files_are_read)
{
  const gchar *cases[][3] = {{"x\n1\n2.5\n-3e2\n", NULL, "1 2.5 -300 "},
                             {"1\n2\n", NULL, "1 2 "},
                             {"x\r\n1\r\n\r\n2", NULL, "1 nan 2 "},
                             {"a,b\n1,2\n3,\n\n5,6\n", "b", "2 nan 6 "},
                             {"\xef\xbb\xbf\"a,1\",\"b \"\"c\"\"\"\n1,\" 2 \"\n", "b \"c\"", "2 "},
                             {"a,t\n1,\"two\nlines\"\n2,x\n", "a", "1 2 "},
                             {"x\n", NULL, ""},
                             {"x\ninf\nnan\n", NULL, "inf nan "}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *found = read_all(cases[i][0], -1, cases[i][1]);
    ck_assert_str_eq(found, cases[i][2]);
  }
}
END_TEST

/* Cut between letters, so that the message can be printed as JSON. */
START_TEST(long_cells_are_shown_in_whole_letters)
{
  g_autoptr(GString) file = g_string_new("x\n"), expected = g_string_new(":2: column \"x\": \"");
  for (guint i = 0; i < 80; i++) {
    g_string_append(file, i % 2 == 0 ? "é" : "\xe2"); /* a broken letter is shown as U+FFFD */
    if (i < 60) g_string_append(expected, i % 2 == 0 ? "é" : "\xef\xbf\xbd");
  }
  g_string_append(expected, "\" is not a number");
  g_autofree gchar *found = read_all(file->str, -1, NULL);
  ck_assert(g_utf8_validate(found, -1, NULL));
  ck_assert_str_eq(found, expected->str);
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
  const gchar *cases[][3] = {{"", NULL, ":1: empty; a header line is needed"},
                             {"a,age\n1,2\n3,x7\n", "age", "2 :3: column \"age\": \"x7\" is not a number"},
                             {"a,t,age\n1,\"two\nlines\",x\n", "age", ":2: column \"age\": \"x\" is not a number"},
                             {"a,b\n1,2\n", NULL, ":1: several columns; choose one by --column: a, b"},
                             {"a,b\n1,2\n", "c", ":1: no column \"c\"; there are a, b"},
                             {"a,b\n1\n", "b", ":2: 1 cells, the header has 2"},
                             {"x\n0x10\n", NULL, ":2: column \"x\": \"0x10\" is not a number"},
                             {"x\n\"1\n", NULL, ":2: a quote that is opened here is never closed"}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *found = read_all(cases[i][0], -1, cases[i][1]);
    ck_assert_str_eq(found, cases[i][2]);
  }
  g_autofree gchar *binary = read_all("x\n1\0002\n", 6, NULL);
  ck_assert_str_eq(binary, ":2: a NUL byte; is this a text file?");
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(number_stream_open("/nonexistent/file.csv", NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/file.csv"));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("number_stream");
  TCase *tests = tcase_create("stream");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, files_are_read);
  tcase_add_test(tests, long_cells_are_shown_in_whole_letters);
  tcase_add_test(tests, what_is_wrong_is_named);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
