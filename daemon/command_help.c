/* `kedge help`: the overview, the help of one command, and the man page. */
#include "daemon/command_help.h"

#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

extern const Command command_help;

void command_help_overview(FILE *out)
{
  fputs("usage: kedge COMMAND [ARGUMENTS]\n\n"
        "kedge keeps machine-learning models true while the world moves.\n\ncommands:\n",
        out);
  for (guint i = 0; commands[i] != NULL; i++) fprintf(out, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
  fputs("\n`kedge help COMMAND` says more; `kedge --version` prints the version.\n"
        "Exit status: 0 done, 1 failed, 2 wrong use, 3 the answer is \"no\".\n",
        out);
}

int command_help_unknown(int argc, char **argv)
{
  (void)argc;
  gboolean found = FALSE;
  gsize length = strlen(argv[1]);
  for (guint i = 0; commands[i] != NULL; i++) {
    const gchar *name = commands[i]->name;
    if (strncmp(name, argv[1], length) != 0) continue;
    if (!found) fprintf(stderr, "kedge: no command \"%s\"; did you mean one of these?\n", argv[1]);
    found = TRUE;
    fprintf(stderr, "  kedge %s %s\n", name, commands[i]->arguments);
  }
  if (!found) fprintf(stderr, "kedge: no command \"%s\"; `kedge help` lists them\n", argv[1]);
  return COMMAND_USAGE;
}

json_t *command_help_get_options(const Command *command, GError **error)
{
  g_autofree gchar *self = g_file_read_link("/proc/self/exe", error);
  if (self == NULL) return NULL;
  g_auto(GStrv) words = g_strsplit(command->name, " ", 2);
  g_autoptr(GPtrArray) arguments = g_ptr_array_new();
  g_ptr_array_add(arguments, self);
  for (guint i = 0; words[i] != NULL; i++) g_ptr_array_add(arguments, words[i]);
  g_ptr_array_add(arguments, (gpointer) "--describe-options");
  g_ptr_array_add(arguments, NULL);
  g_autofree gchar *out = NULL;
  gint status = 0;
  if (!g_spawn_sync(NULL, (gchar **)arguments->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, error))
    return NULL;
  json_t *list = json_loads(out, 0, NULL);
  if (list == NULL || !json_is_array(list)) {
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "kedge %s does not describe its options", command->name);
    g_clear_pointer(&list, json_decref);
  }
  return list;
}

/* --- the man page -------------------------------------------------------------------------------------------- */

/* roff: a backslash, a dash and a leading dot or quote mean something. */
static void print_roff(const gchar *text)
{
  gboolean line_start = TRUE;
  for (const gchar *c = text; *c != '\0'; c++) {
    if (line_start && (*c == '.' || *c == '\'')) fputs("\\&", stdout);
    if (*c == '\\')
      fputs("\\e", stdout);
    else if (*c == '-')
      fputs("\\-", stdout);
    else
      fputc(*c, stdout);
    line_start = *c == '\n';
  }
}

/* An indented line of a help text stays as it is (examples, JSON); an empty line ends a paragraph. */
static void print_paragraphs(const gchar *help)
{
  g_auto(GStrv) lines = g_strsplit(help, "\n", -1);
  gboolean verbatim = FALSE;
  for (guint i = 0; lines[i] != NULL; i++) {
    gboolean indented = lines[i][0] == ' ';
    if (indented != verbatim) puts(indented ? ".nf" : ".fi");
    verbatim = indented;
    if (lines[i][0] == '\0')
      puts(".sp");
    else
      print_roff(lines[i]), fputc('\n', stdout);
  }
  if (verbatim) puts(".fi");
}

static void print_man_options(json_t *options)
{
  gsize i;
  json_t *option;
  json_array_foreach (options, i, option) {
    const gchar *argument = json_string_value(json_object_get(option, "argument"));
    const gchar *help = json_string_value(json_object_get(option, "help"));
    const gchar *short_name = json_string_value(json_object_get(option, "short"));
    fputs(".TP\n", stdout);
    if (short_name != NULL && *short_name != '\0') printf("\\fB\\-%s\\fR, ", short_name);
    fputs("\\fB", stdout);
    g_autofree gchar *name = g_strdup_printf("--%s", json_string_value(json_object_get(option, "long")));
    print_roff(name);
    fputs("\\fR", stdout);
    if (argument != NULL) {
      fputs(" \\fI", stdout);
      print_roff(argument);
      fputs("\\fR", stdout);
    }
    fputc('\n', stdout);
    print_roff(help != NULL ? help : "");
    fputc('\n', stdout);
  }
}

static void print_man_head(void)
{
  puts(".\\\" Made by `kedge help --man` from the command table; do not edit.");
  puts(".TH KEDGE 1 \"\" \"kedge " KEDGE_VERSION "\" \"kedge\"");
  puts(".SH NAME\nkedge \\- keep machine\\-learning models true while the world moves");
  puts(".SH SYNOPSIS\n.B kedge\n\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n.br\n.B kedge help\n[\\fICOMMAND\\fR]");
  puts(".SH DESCRIPTION\nCommand line of \\fBkedged\\fR(8). \\fIMODEL\\fR is \\fINAME@ALIAS\\fR, \\fINAME/VERSION\\fR "
       "or a "
       "file \\fIM.onnx\\fR. Every command takes the common options below; with \\fB\\-\\-json\\fR it prints one JSON "
       "value on standard output.");
  puts(".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed; the message says what to do\n.TP\n2\nwrong use\n.TP\n3\nthe "
       "answer "
       "is \"no\": drift found, gate refused, verification failed");
}

static int print_man(const CommandCommon *common)
{
  print_man_head();
  puts(".SH COMMANDS");
  for (guint i = 0; commands[i] != NULL; i++) {
    g_autoptr(GError) error = NULL;
    fflush(stdout);
    json_t *options = command_help_get_options(commands[i], &error);
    if (options == NULL) return command_fail(common, error);
    fputs(".SS \"kedge ", stdout);
    print_roff(commands[i]->name);
    fputs(" ", stdout);
    print_roff(commands[i]->arguments);
    fputs("\"\n", stdout);
    print_roff(commands[i]->summary);
    fputs(".\n", stdout);
    if (commands[i]->help != NULL) {
      puts(".sp");
      print_paragraphs(commands[i]->help);
    }
    if (commands[i]->output != NULL) print_paragraphs(commands[i]->output);
    print_man_options(options);
    json_decref(options);
  }
  puts(".SH SEE ALSO\n\\fBkedged\\fR(8), \\fBkedge.yaml\\fR(5)");
  return COMMAND_DONE;
}

static int run_help(int argc, char **argv)
{
  gboolean man = FALSE;
  const GOptionEntry entries[] = {{"man", 0, 0, G_OPTION_ARG_NONE, &man, "print the man page kedge(1) in roff", NULL},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_help, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status = COMMAND_DONE;
  int n_words = 0;
  const Command *command = command_find(argc, argv, &n_words);
  if (man)
    status = print_man(&common);
  else if (argc < 2)
    command_help_overview(stdout);
  else if (command == NULL)
    status = command_help_unknown(argc, argv);
  else {
    char *arguments[] = {(char *)command->name, (char *)"--help", NULL};
    status = command->run(2, arguments); /* command_parse prints the help and exits */
  }
  command_common_clear(&common);
  return status;
}

const Command command_help = {
    .name = "help",
    .arguments = "[COMMAND] [--man]",
    .summary = "list the commands, or say what one does",
    .run = run_help,
};
