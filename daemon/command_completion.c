/* `kedge completion`: a bash completion made from the command table. */
#include <stdio.h>
#include <string.h>

#include "daemon/command_help.h"

extern const Command command_completion;

static void print_case(const Command *command, json_t *options)
{
  gsize i;
  json_t *option;
  printf("    \"%s\") options=\"", command->name);
  json_array_foreach (options, i, option) printf("--%s ", json_string_value(json_object_get(option, "long")));
  puts("$common\" ;;");
}

static void print_first_words(void)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  fputs("  local first=\"", stdout);
  for (guint i = 0; commands[i] != NULL; i++) {
    g_autofree gchar *word = g_strndup(commands[i]->name, strcspn(commands[i]->name, " "));
    if (!g_hash_table_add(seen, g_strdup(word))) continue;
    printf("%s%s", i > 0 ? " " : "", word);
  }
  puts("\"");
}

static void print_second_words(void)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  puts("  case \"${COMP_WORDS[1]}\" in");
  for (guint i = 0; commands[i] != NULL; i++) {
    const gchar *space = strchr(commands[i]->name, ' ');
    if (space == NULL) continue;
    g_autofree gchar *noun = g_strndup(commands[i]->name, (gsize)(space - commands[i]->name));
    if (!g_hash_table_add(seen, g_strdup(noun))) continue;
    printf("    %s) verbs=\"", noun);
    for (guint j = i; commands[j] != NULL; j++) {
      const gchar *name = commands[j]->name;
      if (g_str_has_prefix(name, noun) && name[strlen(noun)] == ' ') printf("%s ", name + strlen(noun) + 1);
    }
    puts("\" ;;");
  }
  puts("  esac");
}

static int run_completion(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_completion, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  int status = COMMAND_DONE;
  puts("# Made by `kedge completion` from the command table; do not edit.\n_kedge()\n{\n"
       "  local word=\"${COMP_WORDS[COMP_CWORD]}\" verbs=\"\" options=\"\" name\n"
       "  local common=\"--config --store --artifacts --json --quiet --help\"");
  print_first_words();
  puts("  COMPREPLY=()\n"
       "  if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"$first\" -- \"$word\")); return; fi");
  print_second_words();
  puts("  if [ -n \"$verbs\" ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
       "    COMPREPLY=($(compgen -W \"$verbs\" -- \"$word\")); return\n  fi\n"
       "  name=\"${COMP_WORDS[1]}\"; [ -n \"$verbs\" ] && name=\"$name ${COMP_WORDS[2]}\"\n  case \"$name\" in");
  for (guint i = 0; commands[i] != NULL && status == COMMAND_DONE; i++) {
    g_autoptr(GError) error = NULL;
    fflush(stdout);
    json_t *options = command_help_get_options(commands[i], &error);
    if (options == NULL)
      status = command_fail(&common, error);
    else
      print_case(commands[i], options);
    json_decref(options);
  }
  puts("  esac\n  case \"$word\" in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
       "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n  esac\n}\ncomplete -o filenames -F _kedge kedge");
  command_common_clear(&common);
  return status;
}

const Command command_completion = {
    .name = "completion",
    .arguments = "",
    .summary = "print the bash completion",
    .help = "Load it with: source <(kedge completion)",
    .run = run_completion,
};
