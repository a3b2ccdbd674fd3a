/* `kedge config check|show|document`: the settings file and the documentation of its options. */
#include <stdio.h>
#include <string.h>

#include "daemon/command.h"
#include "daemon/settings_internal.h"
#include "daemon/stage_check.h"

extern const Command command_config_check, command_config_show, command_config_document;

/* The file named as argument, or by --config, or by the environment, or the default. */
static const gchar *find_path(int argc, char **argv, const CommandCommon *common)
{
  const gchar *variable = g_getenv("KEDGE_CONFIG");
  if (argc > 1) return argv[1];
  if (common->config != NULL) return common->config;
  return variable != NULL ? variable : "/etc/kedge/kedge.yaml";
}

static void print_checked(const CommandCommon *common, const Settings *settings)
{
  if (common->json)
    command_print_json(json_pack("{s:s, s:b, s:i, s:i}", "file", settings->path, "ok", 1, "models",
                                 (int)settings->n_models, "webhooks", (int)settings->n_webhooks));
  else if (!common->quiet)
    printf("OK: %s (%u model%s)\n", settings->path, settings->n_models, settings->n_models == 1 ? "" : "s");
}

static void print_shown(const CommandCommon *common, const Settings *settings)
{
  g_autofree gchar *yaml = settings_to_yaml(settings);
  if (common->json)
    command_print_json(json_pack("{s:s, s:s}", "file", settings->path, "yaml", yaml));
  else
    fputs(yaml, stdout);
}

static int run_on_file(const Command *command, int argc, char **argv,
                       void (*print)(const CommandCommon *common, const Settings *settings))
{
  CommandCommon common;
  if (!command_parse(command, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = settings_load_with(find_path(argc, argv, &common), stage_check, &error);
  int status = COMMAND_DONE;
  if (settings != NULL)
    print(&common, settings);
  else
    status = command_fail(&common, error);
  command_common_clear(&common);
  return status;
}

static int run_check(int argc, char **argv)
{
  return run_on_file(&command_config_check, argc, argv, print_checked);
}

static int run_show(int argc, char **argv)
{
  return run_on_file(&command_config_show, argc, argv, print_shown);
}

static int run_document(int argc, char **argv)
{
  static const struct {
    const gchar *format;
    gchar *(*make)(void);
  } formats[] = {{"markdown", settings_document_markdown}, {"man", settings_document_man}};
  g_autofree gchar *format = NULL;
  const GOptionEntry entries[] = {{"format", 0, 0, G_OPTION_ARG_STRING, &format, "markdown (default) or man", "FORMAT"},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_config_document, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  g_autofree gchar *text = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(formats) && text == NULL; i++)
    if (strcmp(format != NULL ? format : "markdown", formats[i].format) == 0) text = formats[i].make();
  g_autoptr(GError) error = NULL;
  int status = COMMAND_DONE;
  if (text != NULL) {
    fputs(text, stdout);
  } else {
    g_set_error(&error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "--format '%s' is neither markdown nor man", format);
    status = command_fail(&common, error);
  }
  command_common_clear(&common);
  return status;
}

const Command command_config_check = {
    .name = "config check",
    .arguments = "[FILE]",
    .summary = "check a settings file",
    .help = "Prints OK, or what is wrong with file and line (exit status 1). Nothing is opened or contacted.",
    .run = run_check,
};
const Command command_config_show = {
    .name = "config show",
    .arguments = "[FILE]",
    .summary = "print every option with the value in force",
    .help = "Defaults are filled in; passwords are masked. What is printed is a settings file again.",
    .run = run_show,
};
const Command command_config_document = {
    .name = "config document",
    .arguments = "[--format markdown|man]",
    .summary = "print the documentation of all options",
    .help = "Made from the same table as the loader.",
    .run = run_document,
};
