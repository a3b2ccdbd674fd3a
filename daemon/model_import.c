#include "daemon/model_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command_store.h"
#include "deploy/rollout.h"
#include "daemon/command_data.h"
#include "onnx/file.h"
#include "drift/accumulator.h"
#include "drift/baseline.h"
#include "pipeline/csv.h"
#include "pipeline/evaluate.h"
#include "pipeline/model.h"
#include "pipeline/model_spec.h"
#include "registry/model.h"

/* The columns that the model's own outputs take in a profile (drift/accumulator.h). */
static const gchar *const output_columns[] = {"prediction", "score", "latency_ms"};

static gboolean name_is_in(const gchar *name, const gchar *const *names)
{
  for (guint i = 0; names != NULL && names[i] != NULL; i++) {
    if (g_str_equal(names[i], name)) return TRUE;
  }
  return FALSE;
}

static gboolean check_columns(const ModelImport *import, const DriftTable *table, GError **error)
{
  const gchar *const *lists[] = {import->sensitive, import->exclude};
  for (guint l = 0; l < G_N_ELEMENTS(lists); l++) {
    for (guint i = 0; lists[l] != NULL && lists[l][i] != NULL; i++) {
      if (drift_table_get_column(table, lists[l][i]) != NULL) continue;
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: no column \"%s\" (named by %s)",
                  import->reference_path, lists[l][i], l == 0 ? "--sensitive" : "--exclude");
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean set_positive_class(DriftSchema *schema, const gchar *name, GError **error)
{
  if (name == NULL) return TRUE;
  DriftValue value = {.kind = DRIFT_VALUE_TEXT, .text = name, .length = (guint32)strlen(name)};
  gint found = drift_schema_class_of(schema, &value);
  if (schema->task != DRIFT_TASK_BINARY || found < 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                schema->task == DRIFT_TASK_BINARY ? "--positive %s: the label has no such class"
                                                  : "--positive %s: the label is not binary",
                name);
    return FALSE;
  }
  schema->positive_class = (guint)found;
  return TRUE;
}

/* Excluded columns leave the schema; those that are sensitive too stay in it, unseen by the model. */
static DriftSchema *make_schema(const ModelImport *import, const DriftTable *table, GError **error)
{
  if (!check_columns(import, table, error)) return NULL;
  g_autoptr(GPtrArray) left_out = g_ptr_array_new();
  for (guint i = 0; import->exclude != NULL && import->exclude[i] != NULL; i++) {
    if (!name_is_in(import->exclude[i], import->sensitive)) g_ptr_array_add(left_out, (gpointer)import->exclude[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS(output_columns); i++) g_ptr_array_add(left_out, (gpointer)output_columns[i]);
  g_ptr_array_add(left_out, NULL);
  g_autoptr(DriftSchema) schema =
      pipeline_model_spec_infer(table, import->label, import->sensitive, (const gchar *const *)left_out->pdata, error);
  if (schema == NULL || !set_positive_class(schema, import->positive_class, error)) return NULL;
  for (guint i = 0; i < schema->features->len; i++) {
    DriftFeature *feature = g_ptr_array_index(schema->features, i);
    if (name_is_in(feature->name, import->exclude)) feature->input = FALSE;
  }
  return g_steal_pointer(&schema);
}

static void remove_column(DriftTable *table, const gchar *name)
{
  DriftColumn *column = drift_table_get_column(table, name);
  if (column != NULL) g_ptr_array_remove(table->columns, column);
}

/* The score of a row: P(positive class) when binary, P(predicted class) with more classes. */
static double score_of(const DriftSchema *schema, const float *outputs, guint decided)
{
  if (schema->task == DRIFT_TASK_REGRESSION) return NAN;
  return outputs[schema->task == DRIFT_TASK_BINARY ? schema->positive_class : decided];
}

/* Adds what the model says of each row as the columns "prediction" and "score". */
static gboolean add_outputs(PipelineModel *model, const DriftSchema *schema, DriftTable *table, GError **error)
{
  guint n_outputs = pipeline_model_get_n_outputs(model);
  g_autofree float *outputs = g_try_malloc_n(MAX(table->n_rows, 1), n_outputs * sizeof *outputs);
  if (outputs == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "not enough memory for %" G_GUINT64_FORMAT " predictions",
                table->n_rows);
    return FALSE;
  }
  if (!pipeline_model_predict_table(model, table, outputs, error)) return FALSE;
  for (guint i = 0; i < 2; i++) remove_column(table, output_columns[i]);
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION;
  DriftColumn *prediction = drift_table_add_column(table, "prediction", regression ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  DriftColumn *score = regression ? NULL : drift_table_add_column(table, "score", DRIFT_NUMERIC);
  for (guint64 row = 0; row < table->n_rows; row++) {
    const float *of_row = outputs + row * n_outputs;
    if (regression) {
      drift_column_append_number(prediction, of_row[0]);
      continue;
    }
    guint decided = pipeline_model_decide(model, of_row);
    drift_column_append_text(prediction, g_ptr_array_index(schema->classes, decided), -1);
    drift_column_append_number(score, score_of(schema, of_row, decided));
  }
  return TRUE;
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *evaluation_to_json(const PipelineEvaluation *evaluation)
{
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)evaluation->n, "accuracy",
                   real_or_null(evaluation->accuracy), "auc", real_or_null(evaluation->auc), "log_loss",
                   real_or_null(evaluation->log_loss), "balanced_accuracy", real_or_null(evaluation->balanced_accuracy),
                   "mae", real_or_null(evaluation->mae), "rmse", real_or_null(evaluation->rmse));
}

/* Grid and profile of the reference as artifacts. */
static gboolean put_profile(RegistryArtifacts *artifacts, const DriftSchema *schema, const DriftTable *table,
                            RegistryVersion *version, GError **error)
{
  g_autoptr(DriftGrid) grid = drift_grid_new_with_pairs(schema, table, 0, DRIFT_GRID_DEFAULT_PAIRS, error);
  if (grid == NULL) return FALSE;
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, table, error);
  g_autoptr(DriftBaseline) baseline = profile != NULL ? drift_baseline_new(profile, table, error) : NULL;
  if (baseline == NULL) return FALSE;
  g_autoptr(GBytes) grid_bytes = drift_grid_to_bytes(grid);
  g_autoptr(GBytes) profile_bytes = drift_reference_to_bytes(profile, baseline);
  version->grid_digest = registry_artifacts_put(artifacts, grid_bytes, error);
  if (version->grid_digest == NULL) return FALSE;
  version->profile_digest = registry_artifacts_put(artifacts, profile_bytes, error);
  return version->profile_digest != NULL;
}

/* {"accuracy", "n"} that `kedge train` left in the file; NULL: none. */
static json_t *get_promise(GBytes *onnx)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  const gchar *text = graph ? onnx_graph_get_metadata(graph, COMMAND_VALIDATION_KEY) : NULL;
  json_t *promise = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
  if (json_is_number(json_object_get(promise, "accuracy")) && json_is_integer(json_object_get(promise, "n")))
    return promise;
  json_decref(promise);
  return NULL;
}

static gboolean measure(PipelineModel *model, const DriftTable *table, RegistryVersion *version, GError **error)
{
  PipelineEvaluation evaluation = {0};
  if (!pipeline_evaluate(model, table, &evaluation, error)) return FALSE;
  json_t *metrics = json_pack("{s:o}", "reference", evaluation_to_json(&evaluation));
  json_t *promise = get_promise(pipeline_model_get_onnx(model));
  if (promise) json_object_set_new(metrics, "holdout", promise);
  gchar *text = json_dumps(metrics, JSON_COMPACT | JSON_REAL_PRECISION(17));
  version->metrics = g_strdup(text);
  free(text);
  json_decref(metrics);
  pipeline_evaluation_clear(&evaluation);
  return TRUE;
}

static gboolean register_all(RegistryStore *store, const ModelImport *import, const DriftSchema *schema,
                             RegistryVersion *version, const gchar *actor, GError **error)
{
  g_autofree gchar *spec = pipeline_model_spec_format(schema);
  if (!registry_store_begin(store, error)) return FALSE;
  if (!registry_model_create(store, import->name, spec, actor, error) ||
      (version->version = registry_version_create(store, version, actor, error)) == 0 ||
      !deploy_promote(store, import->name, version->version, 0, actor, "model added", error)) {
    registry_store_rollback(store);
    return FALSE;
  }
  return registry_store_commit(store, error);
}

static json_t *describe(const DriftSchema *schema, const RegistryVersion *version)
{
  g_autofree gchar *spec = pipeline_model_spec_format(schema);
  json_t *parsed = json_loads(spec, 0, NULL), *metrics = json_loads(version->metrics, 0, NULL);
  json_t *out = json_pack("{s:s, s:I, s:O*, s:I, s:O*, s:s, s:s, s:s, s:O*}", "model", version->model, "version",
                          (json_int_t)version->version, "task", json_object_get(parsed, "task"), "features",
                          (json_int_t)drift_schema_n_features(schema), "classes", json_object_get(parsed, "classes"),
                          "onnx_digest", version->onnx_digest, "grid_digest", version->grid_digest, "profile_digest",
                          version->profile_digest, "reference", json_object_get(metrics, "reference"));
  json_decref(parsed);
  json_decref(metrics);
  return out;
}

json_t *model_import(RegistryStore *store, RegistryArtifacts *artifacts, const ModelImport *import, const gchar *actor,
                     GError **error)
{
  if (!registry_name_is_valid(import->name)) {
    g_set_error(
        error, REGISTRY_ERROR, REGISTRY_ERROR_INVALID,
        "\"%s\" is not a model name: letters, digits, \".\", \"_\", \"-\", at most 128, the first a letter or digit",
        import->name);
    return NULL;
  }
  g_autoptr(GBytes) onnx = strcmp(import->onnx_path, "-") == 0
                               ? command_read_file(import->onnx_path, ONNX_MAX_BYTES, error)
                               : onnx_file_read(import->onnx_path, NULL, error);
  g_autoptr(DriftTable) table = onnx != NULL ? pipeline_csv_read(import->reference_path, error) : NULL;
  g_autoptr(DriftSchema) schema = table != NULL ? make_schema(import, table, error) : NULL;
  if (schema == NULL) return NULL;
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  if (model == NULL) {
    g_prefix_error(error, "%s: ", import->onnx_path);
    return NULL;
  }
  RegistryVersion *version = g_new0(RegistryVersion, 1);
  version->model = g_strdup(import->name);
  version->kind = g_strdup("imported");
  json_t *out = NULL;
  if (measure(model, table, version, error) && add_outputs(model, schema, table, error) &&
      put_profile(artifacts, schema, table, version, error) &&
      (version->onnx_digest = registry_artifacts_put(artifacts, onnx, error)) != NULL &&
      register_all(store, import, schema, version, actor, error))
    out = describe(schema, version);
  registry_version_free(version);
  return out;
}
