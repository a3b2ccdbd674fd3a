/* `kedge model add | list | show`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/model_import.h"
#include "daemon/report.h"

extern const Command command_model_add, command_model_list, command_model_show;

static int add_model(const CommandCommon *common, const ModelImport *import)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *actor = command_get_actor();
  g_autoptr(RegistryStore) store = command_open_store(common, &error);
  if (store == NULL) return command_fail(common, error);
  g_autoptr(RegistryArtifacts) artifacts = command_open_artifacts(common, &error);
  if (artifacts == NULL) return command_fail(common, error);
  json_t *added = model_import(store, artifacts, import, actor, &error);
  if (added == NULL) return command_fail(common, error);
  if (common->json) {
    command_print_json(added);
    return COMMAND_DONE;
  }
  json_t *reference = json_object_get(added, "reference");
  g_autofree gchar *rows = command_text_count(json_object_get(reference, "n"));
  g_autofree gchar *features = command_text_count(json_object_get(added, "features"));
  g_autofree gchar *accuracy = command_text_real(json_object_get(reference, "accuracy"), 4);
  g_autofree gchar *task = command_text(json_object_get(added, "task"));
  printf("%s/1 is the champion: %s, %s features, reference of %s rows, accuracy on it %s\n", import->name, task,
         features, rows, accuracy);
  json_decref(added);
  return COMMAND_DONE;
}

static int run_add(int argc, char **argv)
{
  ModelImport import = {0};
  gchar *sensitive = NULL, *exclude = NULL, *onnx = NULL, *reference = NULL, *label = NULL, *positive = NULL;
  const GOptionEntry entries[] = {
      {"onnx", 0, 0, G_OPTION_ARG_FILENAME, &onnx, "the model", "M.onnx"},
      {"reference", 0, 0, G_OPTION_ARG_FILENAME, &reference, "CSV of healthy rows with their labels", "R.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &label, "column of the label", "L"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING, &sensitive, "columns whose groups are compared for bias", "A,B"},
      {"exclude", 0, 0, G_OPTION_ARG_STRING, &exclude, "columns that the model does not take", "C,D"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &positive, "the positive class of a binary label", "CLASS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_model_add, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  g_auto(GStrv) sensitive_names = g_strsplit(sensitive != NULL ? sensitive : "", ",", -1);
  g_auto(GStrv) exclude_names = g_strsplit(exclude != NULL ? exclude : "", ",", -1);
  int status;
  if (argc != 2)
    status = command_usage(&common, "one NAME is needed");
  else if (onnx == NULL || reference == NULL || label == NULL)
    status = command_usage(&common, "--onnx, --reference and --label are needed");
  else {
    import = (ModelImport){.name = argv[1],
                           .onnx_path = onnx,
                           .reference_path = reference,
                           .label = label,
                           .positive_class = positive,
                           .sensitive = (const gchar *const *)sensitive_names,
                           .exclude = (const gchar *const *)exclude_names};
    status = add_model(&common, &import);
  }
  g_free(sensitive);
  g_free(exclude);
  g_free(onnx);
  g_free(reference);
  g_free(label);
  g_free(positive);
  command_common_clear(&common);
  return status;
}

const Command command_model_add = {
    .name = "model add",
    .arguments = "NAME --onnx M.onnx --reference R.csv --label L [--sensitive A,B] [--exclude C,D] [--positive CLASS]",
    .summary = "register a model as version 1 and make it the champion",
    .help =
        "The schema is inferred from the reference: every column but the label and the excluded ones is an input. A "
        "sensitive column that is excluded as well is kept for the bias figures but not given to the model. The "
        "model predicts the reference, and the profile of features, scores and predictions is what traffic is later "
        "compared with. Columns \"prediction\", \"score\" and \"latency_ms\" of the reference are not features.\n"
        "\n"
        "--json prints {\"model\", \"version\", \"task\", \"features\", \"classes\", \"onnx_digest\", \"grid_digest\", "
        "\"profile_digest\", \"reference\": {\"n\", \"accuracy\", …}}.",
    .run = run_add,
};

static void print_models(json_t *models)
{
  if (json_array_size(models) == 0) {
    puts("no models; `kedge model add` registers one");
    return;
  }
  static const gchar *const headers[] = {"MODEL",     "TASK",      "LABEL",         ">FEATURES",
                                         ">CHAMPION", ">VERSIONS", "CREATED (UTC)", NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *model;
  json_array_foreach (models, i, model) {
    g_autofree gchar *features = command_text_count(json_object_get(model, "features"));
    g_autofree gchar *champion = command_text(json_object_get(model, "champion"));
    g_autofree gchar *versions = command_text_count(json_object_get(model, "versions"));
    g_autofree gchar *created = command_text_time(json_object_get(model, "created_at"));
    g_autofree gchar *task = command_text(json_object_get(model, "task"));
    g_autofree gchar *label = command_text(json_object_get(model, "label"));
    command_table_add(table, json_string_value(json_object_get(model, "name")), task, label, features, champion,
                      versions, created, NULL);
  }
  command_table_print(table);
}

static int run_list(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_model_list, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_models(store, &error) : NULL;
  return command_report(&common, report, error, print_models);
}

const Command command_model_list = {
    .name = "model list",
    .arguments = "",
    .summary = "list the models",
    .help = "--json prints [{\"name\", \"task\", \"label\", \"classes\", \"features\", \"champion\", \"versions\", "
            "\"created_at\"}].",
    .run = run_list,
};

static void print_schema(json_t *schema)
{
  static const gchar *const headers[] = {">#", "FEATURE", "KIND", "INPUT", "SENSITIVE", NULL};
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *feature;
  json_array_foreach (json_object_get(schema, "features"), i, feature) {
    g_autofree gchar *number = g_strdup_printf("%" G_GSIZE_FORMAT, i + 1);
    g_autofree gchar *name = command_text(json_object_get(feature, "name"));
    g_autofree gchar *kind = command_text(json_object_get(feature, "kind"));
    g_autofree gchar *input = command_text(json_object_get(feature, "input"));
    g_autofree gchar *sensitive = command_text(json_object_get(feature, "sensitive"));
    command_table_add(table, number, name, kind, input, sensitive, NULL);
  }
  command_table_print(table);
}

static void print_model(json_t *model)
{
  json_t *one = json_pack("[O]", model);
  print_models(one);
  json_decref(one);
  putchar('\n');
  print_schema(json_object_get(model, "schema"));
}

static int run_show(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_model_show, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one NAME is needed");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? report_model(store, argv[1], &error) : NULL;
  return command_report(&common, report, error, print_model);
}

const Command command_model_show = {
    .name = "model show",
    .arguments = "NAME",
    .summary = "show a model and its schema",
    .help = "--json prints the fields of `kedge model list` and \"schema\", \"tags\".",
    .run = run_show,
};
