#include "daemon/command_data.h"

#include <string.h>

#include "daemon/command_store.h"
#include "onnx/file.h"
#include "pipeline/csv.h"
#include "pipeline/error.h"
#include "pipeline/json_lines.h"
#include "pipeline/model.h"
#include "pipeline/model_spec.h"
#include "pipeline/network_build.h"
#include "pipeline/npy.h"
#include "pipeline/npz.h"
#include "registry/model.h"

void command_model_clear(CommandModel *model)
{
  g_clear_pointer(&model->onnx, g_bytes_unref);
  g_clear_pointer(&model->schema, drift_schema_free);
}

/* schema: NULL when it is not asked for. */
static GBytes *read_version(const CommandCommon *common, const gchar *reference, DriftSchema **schema, GError **error)
{
  gint64 number = 0;
  g_autofree gchar *name = NULL;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (!store || !registry_resolve(store, reference, &name, &number, error)) return NULL;
  g_autoptr(RegistryModel) registered = registry_model_get(store, name, error);
  g_autoptr(RegistryVersion) version = registered ? registry_version_get(store, name, number, error) : NULL;
  g_autoptr(RegistryArtifacts) artifacts = version ? command_open_artifacts(common, error) : NULL;
  if (!artifacts || (schema && !(*schema = pipeline_model_spec_parse(registered->spec, error)))) return NULL;
  return registry_artifacts_get(artifacts, version->onnx_digest, error);
}

static gboolean load_version(const CommandCommon *common, const gchar *reference, CommandModel *model, GError **error)
{
  model->onnx = read_version(common, reference, &model->schema, error);
  return model->onnx != NULL;
}

/* The schema that the file carries, or NULL without an error when it carries none. */
static DriftSchema *carried_schema(GBytes *onnx, GError **error)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, error);
  const gchar *spec = graph ? onnx_graph_get_metadata(graph, PIPELINE_SCHEMA_KEY) : NULL;
  return spec ? pipeline_model_spec_parse(spec, error) : NULL;
}

gboolean command_has_schema(const gchar *path, GError **error)
{
  g_autoptr(GBytes) onnx = onnx_file_read(path, NULL, error);
  g_autoptr(DriftSchema) schema = onnx ? carried_schema(onnx, error) : NULL;
  return schema != NULL;
}

static gboolean load_file(const gchar *path, const DriftTable *table, const gchar *label, CommandModel *model,
                          GError **error)
{
  g_autoptr(GError) failure = NULL;
  model->onnx = onnx_file_read(path, NULL, error);
  if (!model->onnx) return FALSE;
  model->schema = carried_schema(model->onnx, &failure);
  if (failure) {
    g_propagate_prefixed_error(error, g_steal_pointer(&failure), "%s: ", path);
    return FALSE;
  }
  if (!model->schema && table) model->schema = pipeline_model_infer_schema(model->onnx, table, label, error);
  if (model->schema || table) return model->schema != NULL;
  g_set_error(
      error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
      "%s does not say what its inputs and classes are (no metadata \"%s\"); give --label COLUMN and data with that "
      "column, from which they are inferred",
      path, PIPELINE_SCHEMA_KEY);
  return FALSE;
}

GBytes *command_read_onnx(const CommandCommon *common, const gchar *reference, GError **error)
{
  return g_str_has_suffix(reference, ".onnx") ? onnx_file_read(reference, NULL, error)
                                              : read_version(common, reference, NULL, error);
}

gboolean command_load_model(const CommandCommon *common, const gchar *reference, const DriftTable *table,
                            const gchar *label, CommandModel *model, GError **error)
{
  CommandModel loaded = {0};
  gboolean is_file = g_str_has_suffix(reference, ".onnx");
  if (is_file ? load_file(reference, table, label, &loaded, error) : load_version(common, reference, &loaded, error)) {
    *model = loaded;
    return TRUE;
  }
  command_model_clear(&loaded);
  return FALSE;
}

gchar **command_split_names(const gchar *names)
{
  return names && *names ? g_strsplit(names, ",", -1) : g_new0(gchar *, 1);
}

static gboolean check_columns(const DriftTable *table, gchar **names, const gchar *option, GError **error)
{
  for (; *names; names++) {
    if (drift_table_get_column(table, *names)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: the data has no column \"%s\"", option, *names);
    return FALSE;
  }
  return TRUE;
}

static gboolean set_positive(DriftSchema *schema, const gchar *positive, GError **error)
{
  if (!positive) return TRUE;
  const DriftValue value = drift_value_text(positive, -1);
  gint index = drift_schema_class_of(schema, &value);
  if (index >= 0 && schema->task == DRIFT_TASK_BINARY) {
    schema->positive_class = (guint)index;
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "--positive %s: label \"%s\" %s", positive, schema->label,
              schema->task == DRIFT_TASK_BINARY ? "has no such class" : "does not have two classes");
  return FALSE;
}

DriftSchema *command_infer_schema(const DriftTable *table, const gchar *label, const gchar *sensitive,
                                  const gchar *exclude, const gchar *positive, GError **error)
{
  g_auto(GStrv) sensitive_names = command_split_names(sensitive), excluded = command_split_names(exclude);
  if (!check_columns(table, sensitive_names, "--sensitive", error) ||
      !check_columns(table, excluded, "--exclude", error))
    return NULL;
  g_autoptr(GPtrArray) left_out = g_ptr_array_new();
  for (guint i = 0; excluded[i]; i++)
    if (!g_strv_contains((const gchar *const *)sensitive_names, excluded[i])) g_ptr_array_add(left_out, excluded[i]);
  g_ptr_array_add(left_out, NULL);
  g_autoptr(DriftSchema) schema = pipeline_model_spec_infer(table, label, (const gchar *const *)sensitive_names,
                                                            (const gchar *const *)left_out->pdata, error);
  if (!schema || !set_positive(schema, positive, error)) return NULL;
  for (guint i = 0; i < schema->features->len; i++) {
    DriftFeature *feature = g_ptr_array_index(schema->features, i);
    if (g_strv_contains((const gchar *const *)excluded, feature->name)) feature->input = FALSE;
  }
  return g_steal_pointer(&schema);
}

static const struct {
  const gchar *suffix;
  DriftTable *(*read)(const gchar *path, GError **error);
} readers[] = {{".npy", pipeline_npy_read_table},
               {".npz", pipeline_npz_read_table},
               {".jsonl", pipeline_json_lines_read},
               {".ndjson", pipeline_json_lines_read}};

static gboolean is_csv(const gchar *path)
{
  for (gsize i = 0; i < G_N_ELEMENTS(readers); i++)
    if (g_str_has_suffix(path, readers[i].suffix)) return FALSE;
  return TRUE;
}

DriftTable *command_read_table(const gchar *path, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS(readers); i++)
    if (g_str_has_suffix(path, readers[i].suffix)) return readers[i].read(path, error);
  return pipeline_csv_read(path, error);
}

/* Categorical features of the schema, and inputs of texts where the graph alone says so. */
static GPtrArray *text_columns(const OnnxGraph *graph, const DriftSchema *schema)
{
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  for (guint f = 0; schema && f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    if (feature->kind == DRIFT_CATEGORICAL) g_ptr_array_add(names, g_strdup(feature->name));
  }
  for (guint i = 0; !schema && i < graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(graph->inputs, i);
    if (input->type == ONNX_TYPE_STRING) g_ptr_array_add(names, g_strdup(input->name));
  }
  g_ptr_array_add(names, NULL);
  return names;
}

DriftTable *command_read_rows(const CommandCommon *common, const gchar *reference, const gchar *path, GError **error)
{
  if (!is_csv(path)) return command_read_table(path, error); /* whose numbers and texts are told apart */
  g_autoptr(DriftSchema) schema = NULL;
  gboolean is_file = g_str_has_suffix(reference, ".onnx");
  g_autoptr(GBytes) onnx =
      is_file ? onnx_file_read(reference, NULL, error) : read_version(common, reference, &schema, error);
  g_autoptr(OnnxGraph) graph = onnx ? onnx_graph_from_bytes(onnx, error) : NULL;
  if (!graph) return NULL;
  const gchar *spec = is_file ? onnx_graph_get_metadata(graph, PIPELINE_SCHEMA_KEY) : NULL;
  if (spec) schema = pipeline_model_spec_parse(spec, NULL); /* what is wrong with it is said by who loads the model */
  g_autoptr(GPtrArray) texts = text_columns(graph, schema);
  return pipeline_csv_read_as(path, (const gchar *const *)texts->pdata, error);
}

PipelinePlan *command_read_plan(const gchar *text, GError **error)
{
  g_autofree gchar *contents = NULL;
  if (!g_str_has_suffix(text, ".json")) return pipeline_plan_parse(text, error);
  if (!g_file_get_contents(text, &contents, NULL, error)) return NULL;
  PipelinePlan *plan = pipeline_plan_parse(contents, error);
  if (!plan) g_prefix_error(error, "%s: ", text);
  return plan;
}

GHashTable *command_parse_pairs(gchar **texts, const gchar **bad)
{
  g_autoptr(GHashTable) options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
    const gchar *equals = strchr(texts[i], '=');
    *bad = texts[i];
    if (equals == NULL || equals == texts[i]) return NULL;
    g_hash_table_insert(options, g_strndup(texts[i], (gsize)(equals - texts[i])), g_strdup(equals + 1));
  }
  return g_steal_pointer(&options);
}
