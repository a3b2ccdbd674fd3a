/* `kedge`: looks the command up in the table (daemon/commands.c) and runs it. */
#include <locale.h>
#include <stdio.h>

#include "daemon/command.h"
#include "daemon/command_help.h"
#include "daemon/process_limits.h"

int main(int argc, char **argv)
{
  /* UTF-8 in and out whatever the environment says; numbers stay in the C locale. */
  setlocale(LC_CTYPE, "C.UTF-8");
  g_set_prgname("kedge");
  process_limits_init(argc, argv);
  if (argc < 2) {
    command_help_overview(stderr);
    return COMMAND_USAGE;
  }
  if (g_str_equal(argv[1], "--version")) {
    puts("kedge " KEDGE_VERSION);
    return COMMAND_DONE;
  }
  if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h")) {
    command_help_overview(stdout);
    return COMMAND_DONE;
  }
  int n_words = 0;
  const Command *command = command_find(argc, argv, &n_words);
  if (command == NULL) return command_help_unknown(argc, argv);
  argv[n_words] = (char *)command->name;
  process_limits_leave(command->run(argc - n_words, argv + n_words));
}
