/* `kedge version list | show`. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/command_store.h"
#include "daemon/report.h"

extern const Command command_version_list, command_version_show;

/* Accuracy that the version was measured with: on the job's holdout, else on its reference. */
static json_t *measured_accuracy(json_t *metrics)
{
  static const gchar *const places[] = {"challenger", "reference", "evaluation"};
  for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
    json_t *accuracy = json_object_get(json_object_get(metrics, places[i]), "accuracy");
    if (accuracy != NULL) return accuracy;
  }
  return json_object_get(metrics, "accuracy");
}

static gchar *join_aliases(json_t *aliases)
{
  GString *out = g_string_new(NULL);
  gsize i;
  json_t *alias;
  json_array_foreach (aliases, i, alias)
    g_string_append_printf(out, "%s@%s", i > 0 ? " " : "", json_string_value(alias));
  return g_string_free(out, FALSE);
}

static void print_versions(json_t *versions)
{
  static const gchar *const headers[] = {">VERSION", "KIND",          ">PARENT",  ">ACCURACY",
                                         "ALIASES",  "CREATED (UTC)", "INCIDENT", NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *version;
  json_array_foreach (versions, i, version) {
    g_autofree gchar *number = command_text(json_object_get(version, "version"));
    g_autofree gchar *kind = command_text(json_object_get(version, "kind"));
    g_autofree gchar *parent = command_text(json_object_get(version, "parent"));
    g_autofree gchar *accuracy = command_text_real(measured_accuracy(json_object_get(version, "metrics")), 4);
    g_autofree gchar *aliases = join_aliases(json_object_get(version, "aliases"));
    g_autofree gchar *created = command_text_time(json_object_get(version, "created_at"));
    g_autofree gchar *incident = command_text(json_object_get(version, "incident"));
    command_table_add(table, number, kind, parent, accuracy, aliases, created, incident, NULL);
  }
  command_table_print(table);
}

static int run_list(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_version_list, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one NAME is needed");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_versions(store, argv[1], 0, &error) : NULL;
  return command_report(&common, report, error, print_versions);
}

const Command command_version_list = {
    .name = "version list",
    .arguments = "NAME",
    .summary = "list the versions of a model, newest first",
    .help = "--json prints [{\"model\", \"version\", \"kind\", \"parent\", \"champion\", \"aliases\", \"incident\", "
            "\"job\", "
            "\"onnx_digest\", \"grid_digest\", \"profile_digest\", \"data_set\", \"metrics\", \"created_at\"}].",
    .run = run_list,
};

static void print_version(json_t *version)
{
  command_print_fields(version, NULL);
}

static int run_show(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_version_show, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2 && argc != 3) return command_usage(&common, "a NAME and perhaps a VERSION are needed");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = NULL, *model = NULL;
  gint64 version = argc == 3 && store != NULL ? command_parse_version(argv[2], &error) : 0;
  if (store != NULL && argc == 2 && (model = report_model(store, argv[1], &error)) != NULL) {
    version = json_integer_value(json_object_get(model, "champion"));
    if (version == 0)
      g_set_error(&error, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND, "%s has no champion; name a VERSION", argv[1]);
  }
  if (version > 0) report = report_version(store, argv[1], version, &error);
  json_decref(model);
  return command_report(&common, report, error, print_version);
}

const Command command_version_show = {
    .name = "version show",
    .arguments = "NAME [VERSION]",
    .summary = "show one version (the champion unless named)",
    .help = "--json prints the fields of `kedge version list` and \"tags\".",
    .run = run_show,
};
