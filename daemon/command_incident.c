/* `kedge incidents`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/report.h"

extern const Command command_incidents;

static void print_incidents(json_t *incidents)
{
  static const gchar *const headers[] = {"INCIDENT", "MODEL", "KIND", "STATE", "OPENED (EVENT TIME)", "SUMMARY", NULL};
  if (json_array_size(incidents) == 0) {
    puts("no incidents");
    return;
  }
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *incident;
  json_array_foreach (incidents, i, incident) {
    g_autofree gchar *id = command_text(json_object_get(incident, "id"));
    g_autofree gchar *model = command_text(json_object_get(incident, "model"));
    g_autofree gchar *kind = command_text(json_object_get(incident, "kind"));
    g_autofree gchar *state = command_text(json_object_get(incident, "state"));
    g_autofree gchar *opened = command_text_time(json_object_get(incident, "opened_at"));
    g_autofree gchar *summary = command_text(json_object_get(incident, "summary"));
    command_table_add(table, id, model, kind, state, opened, summary, NULL);
  }
  command_table_print(table);
}

static int run_incidents(int argc, char **argv)
{
  gchar *model = NULL;
  gboolean open_only = FALSE;
  gint limit = 100;
  const GOptionEntry entries[] = {{"model", 0, 0, G_OPTION_ARG_STRING, &model, "only this model's", "NAME"},
                                  {"open", 0, 0, G_OPTION_ARG_NONE, &open_only, "only those that are open", NULL},
                                  {"limit", 0, 0, G_OPTION_ARG_INT, &limit, "the newest N (100; 0: all)", "N"},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_incidents, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status;
  if (argc != 1 || limit < 0)
    status = command_usage(&common, "no argument is taken, and no negative --limit");
  else {
    g_autoptr(GError) error = NULL;
    g_autoptr(RegistryStore) store = command_open_store(&common, &error);
    json_t *list = store != NULL ? report_incidents(store, model, open_only, (guint)limit, &error) : NULL;
    status = command_report(&common, list, error, print_incidents);
  }
  g_free(model);
  return status;
}

const Command command_incidents = {
    .name = "incidents",
    .arguments = "[--model NAME] [--open] [--limit N]",
    .summary = "list incidents, newest first",
    .help = "`kedge why INCIDENT` explains one.\n"
            "\n"
            "--json prints [{\"id\", \"model\", \"kind\", \"state\", \"opened_at\", \"updated_at\", \"closed_at\", "
            "\"verdict\", \"summary\", \"body\"}].",
    .run = run_incidents,
};
