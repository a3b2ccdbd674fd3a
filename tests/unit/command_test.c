#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command.h"

static const gchar *const headers[] = {"NAME", ">ROWS", "SUMMARY", NULL};

START_TEST(table_aligns)
{
  CommandTable *table = command_table_new(headers);
  command_table_add(table, "elec", "1,204", "all well", NULL);
  command_table_add(table, "größe", "7", "", NULL);
  g_autofree gchar *text = command_table_format(table, 0);
  ck_assert_str_eq(text, "NAME    ROWS  SUMMARY\n"
                         "elec   1,204  all well\n"
                         "größe      7\n");
  command_table_free(table);
}
END_TEST

START_TEST(table_fits_the_terminal_and_never_cuts_numbers)
{
  CommandTable *table = command_table_new(headers);
  command_table_add(table, "m", "123456789012", "a summary that is much too long for this terminal", NULL);
  g_autofree gchar *text = command_table_format(table, 40);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) ck_assert_int_le(g_utf8_strlen(lines[i], -1), 40);
  ck_assert(strstr(text, "123456789012") != NULL);
  ck_assert(strstr(text, "…") != NULL);
  command_table_free(table);
}
END_TEST

START_TEST(table_cells_cannot_drive_the_terminal)
{
  CommandTable *table = command_table_new(headers);
  command_table_add(table, "a\033[31mb\nc", "1", "bad\xff", NULL);
  g_autofree gchar *text = command_table_format(table, 0);
  ck_assert(strchr(text, '\033') == NULL);
  ck_assert(g_utf8_validate(text, -1, NULL));
  ck_assert(strstr(text, "a [31mb c") != NULL);
  command_table_free(table);
}
END_TEST

START_TEST(find_prefers_two_words)
{
  int n_words = 0;
  char *help[] = {(char *)"kedge", (char *)"help", (char *)"completion", NULL};
  const Command *command = command_find(3, help, &n_words);
  ck_assert_ptr_nonnull(command);
  ck_assert_str_eq(command->name, "help");
  ck_assert_int_eq(n_words, 1);
  char *unknown[] = {(char *)"kedge", (char *)"frobnicate", NULL};
  ck_assert_ptr_null(command_find(2, unknown, &n_words));
}
END_TEST

START_TEST(parse_leaves_operands)
{
  static const Command command = {.name = "test", .arguments = "NAME", .summary = "a test"};
  gchar *reason = NULL;
  const GOptionEntry entries[] = {{"reason", 0, 0, G_OPTION_ARG_STRING, &reason, "why", "TEXT"}, G_OPTION_ENTRY_NULL};
  char *words[] = {(char *)"test",   (char *)"m",  (char *)"--reason", (char *)"x y",
                   (char *)"--json", (char *)"--", (char *)"-3",       NULL};
  int argc = 7;
  char **argv = words;
  CommandCommon common;
  ck_assert(command_parse(&command, &argc, &argv, entries, &common));
  ck_assert_int_eq(argc, 3);
  ck_assert_str_eq(argv[1], "m");
  ck_assert_str_eq(argv[2], "-3");
  ck_assert_str_eq(reason, "x y");
  ck_assert(common.json);
  g_free(reason);
  command_common_clear(&common);
}
END_TEST

/* Names are unique, one or two words; summaries fit the overview. */
START_TEST(the_command_table_is_sound)
{
  for (guint i = 0; commands[i] != NULL; i++) {
    g_auto(GStrv) words = g_strsplit(commands[i]->name, " ", -1);
    guint n = g_strv_length(words);
    ck_assert(n == 1 || n == 2);
    ck_assert(commands[i]->run != NULL);
    ck_assert_msg(strlen(commands[i]->summary) <= 100, "%s: summary is too long", commands[i]->name);
    for (guint j = 0; j < i; j++) ck_assert_str_ne(commands[i]->name, commands[j]->name);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("command");
  TCase *tcase = tcase_create("command");
  tcase_add_test(tcase, table_aligns);
  tcase_add_test(tcase, table_fits_the_terminal_and_never_cuts_numbers);
  tcase_add_test(tcase, table_cells_cannot_drive_the_terminal);
  tcase_add_test(tcase, find_prefers_two_words);
  tcase_add_test(tcase, parse_leaves_operands);
  tcase_add_test(tcase, the_command_table_is_sound);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
