/* `kedge history`. */
#include "daemon/command_store.h"
#include "daemon/report.h"

extern const Command command_history;

static void print_history(json_t *history)
{
  static const gchar *const headers[] = {">REVISION", "AT (UTC)", "ALIAS", ">FROM", ">TO", "WHO", "WHY", NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *change;
  json_array_foreach (history, i, change) {
    g_autofree gchar *revision = command_text(json_object_get(change, "revision"));
    g_autofree gchar *at = command_text_time(json_object_get(change, "at"));
    g_autofree gchar *alias = command_text(json_object_get(change, "alias"));
    g_autofree gchar *from = command_text(json_object_get(change, "previous"));
    g_autofree gchar *to = command_text(json_object_get(change, "version"));
    g_autofree gchar *actor = command_text(json_object_get(change, "actor"));
    g_autofree gchar *reason = command_text(json_object_get(change, "reason"));
    command_table_add(table, revision, at, alias, from, to, actor, reason, NULL);
  }
  command_table_print(table);
}

static int run_history(int argc, char **argv)
{
  gchar *alias = NULL;
  const GOptionEntry entries[] = {{"alias", 0, 0, G_OPTION_ARG_STRING, &alias, "only this alias", "ALIAS"},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_history, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one NAME is needed");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_history(store, argv[1], alias, &error) : NULL;
  g_free(alias);
  return command_report(&common, report, error, print_history);
}

const Command command_history = {
    .name = "history",
    .arguments = "NAME [--alias ALIAS]",
    .summary = "which version was live when, who changed it and why",
    .help =
        "--json prints [{\"alias\", \"version\", \"previous\", \"revision\", \"actor\", \"reason\", \"at\"}], oldest "
        "first.",
    .run = run_history,
};
