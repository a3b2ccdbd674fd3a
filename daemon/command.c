#include "daemon/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every command takes these. */
static GOptionEntry *common_entries(CommandCommon *common)
{
  const GOptionEntry entries[] = {
      {"config", 0, 0, G_OPTION_ARG_FILENAME, &common->config,
       "settings file (default: $KEDGE_CONFIG, else /etc/kedge/kedge.yaml)", "FILE"},
      {"store", 0, 0, G_OPTION_ARG_STRING, &common->store,
       "the store, sqlite:PATH or postgresql://… (default: $KEDGE_STORE, else that of the settings)", "URI"},
      {"artifacts", 0, 0, G_OPTION_ARG_FILENAME, &common->artifacts,
       "folder of the artifacts (default: $KEDGE_ARTIFACTS, else that of the settings)", "DIR"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &common->json, "print JSON on standard output", NULL},
      {"quiet", 'q', 0, G_OPTION_ARG_NONE, &common->quiet, "no progress, no remarks", NULL},
      G_OPTION_ENTRY_NULL};
  return g_memdup2(entries, sizeof entries);
}

/* `kedge NAME --describe-options` prints the command's own options as JSON: `kedge help --man` and `kedge completion`
 * read them from there, so that the documentation cannot differ from the program. */
static void describe_options(const GOptionEntry *entries)
{
  json_t *list = json_array();
  for (const GOptionEntry *entry = entries; entry != NULL && entry->long_name != NULL; entry++) {
    if (entry->flags & G_OPTION_FLAG_HIDDEN || *entry->long_name == '\0') continue;
    gchar short_name[2] = {entry->short_name, '\0'};
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s*, s:s*, s:b}", "long", entry->long_name, "short", short_name,
                                    "help", entry->description, "argument", entry->arg_description, "file",
                                    entry->arg == G_OPTION_ARG_FILENAME || entry->arg == G_OPTION_ARG_FILENAME_ARRAY));
  }
  command_print_json(list);
}

static gboolean wants_json(int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    if (g_str_equal(argv[i], "--json")) return TRUE;
  }
  return FALSE;
}

static void remove_separator(int *argc, char **argv)
{
  for (int i = 1; i < *argc; i++) {
    if (!g_str_equal(argv[i], "--")) continue;
    memmove(argv + i, argv + i + 1, (gsize)(*argc - i) * sizeof *argv);
    (*argc)--;
    return;
  }
}

gboolean command_parse(const Command *command, int *argc, char ***argv, const GOptionEntry *entries,
                       CommandCommon *common)
{
  memset(common, 0, sizeof *common);
  if (*argc == 2 && g_str_equal((*argv)[1], "--describe-options")) {
    describe_options(entries);
    exit(COMMAND_DONE);
  }
  /* Known before parsing: a usage error has to be JSON as well. */
  common->json = wants_json(*argc, *argv);
  g_autofree gchar *program = g_strdup_printf("kedge %s", command->name);
  g_set_prgname(program);
  g_autofree GOptionEntry *shared = common_entries(common);
  g_autoptr(GOptionContext) context = g_option_context_new(command->arguments);
  g_option_context_set_summary(context, command->summary);
  g_autofree gchar *description =
      command->output != NULL ? g_strjoin("\n\n", command->help, command->output, NULL) : g_strdup(command->help);
  g_option_context_set_description(context, description);
  if (entries != NULL) g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_add_main_entries(context, shared, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, argc, argv, &error)) {
    command_usage(common, "%s", error->message);
    return FALSE;
  }
  remove_separator(argc, *argv);
  return TRUE;
}

void command_common_clear(CommandCommon *common)
{
  g_clear_pointer(&common->config, g_free);
  g_clear_pointer(&common->store, g_free);
  g_clear_pointer(&common->artifacts, g_free);
}

static void print_error(const CommandCommon *common, const gchar *message)
{
  const gchar *program = g_get_prgname() != NULL ? g_get_prgname() : "kedge";
  if (common != NULL && common->json) {
    g_autofree gchar *valid = g_utf8_make_valid(message, -1);
    command_print_json(json_pack("{s:s, s:s}", "error", valid, "command", program));
    return;
  }
  fprintf(stderr, "%s: %s\n", program, message);
}

int command_fail(const CommandCommon *common, const GError *error)
{
  print_error(common, error != NULL ? error->message : "failed without a message");
  return COMMAND_FAILED;
}

int command_usage(CommandCommon *common, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  const gchar *program = g_get_prgname() != NULL ? g_get_prgname() : "kedge";
  g_autofree gchar *message = g_strdup_printf("%s (see `%s --help`)", text, program);
  print_error(common, message);
  command_common_clear(common);
  return COMMAND_USAGE;
}

const Command *command_find(int argc, char **argv, int *n_words)
{
  if (argc < 2) return NULL;
  g_autofree gchar *two = argc > 2 ? g_strdup_printf("%s %s", argv[1], argv[2]) : NULL;
  const Command *one_word = NULL;
  for (guint i = 0; commands[i] != NULL; i++) {
    if (two != NULL && g_str_equal(commands[i]->name, two)) {
      *n_words = 2;
      return commands[i];
    }
    if (g_str_equal(commands[i]->name, argv[1])) one_word = commands[i];
  }
  *n_words = 1;
  return one_word;
}

int command_report(CommandCommon *common, json_t *report, const GError *error, void (*print)(json_t *report))
{
  int status = COMMAND_DONE;
  if (report == NULL)
    status = command_fail(common, error);
  else if (common->json)
    command_print_json(json_incref(report));
  else
    print(report);
  json_decref(report);
  command_common_clear(common);
  return status;
}

void command_print_json(json_t *value)
{
  /* 17 digits: a double read back is the same double. */
  json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | JSON_INDENT(2));
  fputc('\n', stdout);
  json_decref(value);
}
