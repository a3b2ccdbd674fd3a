/* The version and the job's end in one transaction, after the artifacts they name are safe. */
#include "pipeline/job_training.h"

#include <math.h>

#include "drift/accumulator.h"
#include "drift/baseline.h"
#include "registry/model.h"

/* The model's grid: the champion's, else that of the version it was made from, else the newest that has one. Panes of
 * the running grid can only be compared with profiles on the same grid. */
static gboolean find_grid(PipelineTraining *training, gchar **digest, GError **error)
{
  g_autoptr(GPtrArray) versions = registry_version_list(training->context->store, training->model, error);
  if (versions == NULL) return FALSE;
  const gchar *best = NULL;
  gint best_rank = 0;
  for (guint i = 0; i < versions->len; i++) {
    const RegistryVersion *version = g_ptr_array_index(versions, i);
    if (version->grid_digest == NULL) continue;
    gint rank = version->version == training->champion_version ? 3 : version->version == training->from_version ? 2 : 1;
    if (rank < best_rank) continue;
    best_rank = rank;
    best = version->grid_digest;
  }
  *digest = g_strdup(best);
  return TRUE;
}

/* What the new version answers on its training rows: columns "prediction" and "score", as traffic will carry them. */
static gboolean add_outputs(const PipelineTraining *training, PipelineModel *model, GError **error)
{
  DriftTable *table = training->train;
  if (drift_table_get_column(table, "prediction") != NULL || drift_table_get_column(table, "score") != NULL)
    return TRUE;
  guint width = pipeline_model_get_n_outputs(model);
  g_autofree float *outputs = g_try_new(float, MAX((gsize)table->n_rows * width, 1));
  if (outputs == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for the outputs of %" G_GUINT64_FORMAT " training rows", table->n_rows);
    return FALSE;
  }
  if (!pipeline_model_predict_table(model, table, outputs, error)) return FALSE;
  const DriftSchema *schema = training->schema;
  if (schema->task == DRIFT_TASK_REGRESSION) {
    DriftColumn *prediction = drift_table_add_column(table, "prediction", DRIFT_NUMERIC);
    for (guint64 row = 0; row < table->n_rows; row++) drift_column_append_number(prediction, (double)outputs[row]);
    return TRUE;
  }
  DriftColumn *prediction = drift_table_add_column(table, "prediction", DRIFT_CATEGORICAL);
  DriftColumn *score = drift_table_add_column(table, "score", DRIFT_NUMERIC);
  for (guint64 row = 0; row < table->n_rows; row++) {
    const float *of_row = outputs + row * width;
    guint decided = pipeline_model_decide(model, of_row);
    guint scored = schema->task == DRIFT_TASK_BINARY ? schema->positive_class : decided;
    drift_column_append_text(prediction, g_ptr_array_index(schema->classes, decided), -1);
    drift_column_append_number(score, scored < width ? (double)of_row[scored] : NAN);
  }
  return TRUE;
}

static gboolean make_profile(PipelineTraining *training, const gchar *grid_digest, gchar **profile_digest,
                             GError **error)
{
  RegistryArtifacts *artifacts = training->context->artifacts;
  g_autoptr(GBytes) grid_bytes = registry_artifacts_get(artifacts, grid_digest, error);
  g_autoptr(DriftGrid) grid = grid_bytes != NULL ? drift_grid_from_bytes(grid_bytes, error) : NULL;
  if (grid == NULL) return FALSE;
  g_autoptr(PipelineModel) model = pipeline_model_load(training->trained.onnx, training->schema, NULL, error);
  if (model == NULL || !add_outputs(training, model, error)) return FALSE;
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, training->train, error);
  g_autoptr(DriftBaseline) baseline = profile != NULL ? drift_baseline_new(profile, training->train, error) : NULL;
  if (baseline == NULL) return FALSE;
  g_autoptr(GBytes) bytes = drift_reference_to_bytes(profile, baseline);
  *profile_digest = registry_artifacts_put(artifacts, bytes, error);
  return *profile_digest != NULL;
}

static json_t *describe_training(const PipelineTrainResult *trained)
{
  return json_pack("{s:i, s:i, s:o, s:o, s:o, s:o}", "epochs", (int)trained->epochs, "best_epoch",
                   (int)trained->best_epoch, "train_loss", pipeline_job_real(trained->train_loss), "validation_loss",
                   pipeline_job_real(trained->validation_loss), "validation_metric",
                   pipeline_job_real(trained->validation_metric), "samples_per_second",
                   pipeline_job_real(trained->samples_per_second));
}

static json_t *describe_result(const PipelineTraining *training, gint64 version, double seconds_register)
{
  json_t *result = json_pack(
      "{s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "version", version > 0 ? json_integer(version) : json_null(), "rows",
      (json_int_t)training->train->n_rows, "holdout", (json_int_t)training->holdout->n_rows, "unusable",
      (json_int_t)training->n_unusable, "data", pipeline_data_ranges_to_json(training->data), "rehearsal",
      pipeline_data_ranges_to_json(training->rehearsal), "training", describe_training(&training->trained));
  json_object_update(result, training->evaluation);
  json_object_set_new(result, "seconds",
                      json_pack("{s:f, s:f, s:f, s:f}", "load", training->seconds_load, "train",
                                training->seconds_train, "evaluate", training->seconds_evaluate, "register",
                                seconds_register));
  return result;
}

typedef struct {
  gchar *onnx, *grid, *profile, *signature;
} Artifacts;

static void artifacts_clear(Artifacts *artifacts)
{
  g_free(artifacts->onnx);
  g_free(artifacts->grid);
  g_free(artifacts->profile);
  g_free(artifacts->signature);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Artifacts, artifacts_clear)

static gint64 create_version(const PipelineTraining *training, const Artifacts *artifacts, GError **error)
{
  const RegistryJob *job = training->context->job;
  g_autofree gchar *data =
      pipeline_job_dump(json_pack("{s:o, s:o}", "data", pipeline_data_ranges_to_json(training->data), "rehearsal",
                                  pipeline_data_ranges_to_json(training->rehearsal)));
  g_autofree gchar *metrics = pipeline_job_dump(json_deep_copy(training->evaluation));
  const gchar *incident = job->incident;
  if (!pipeline_job_spec_text(training->spec, "incident", &incident, error)) return 0;
  RegistryVersion version = {.model = (gchar *)training->model,
                             .onnx_digest = artifacts->onnx,
                             .grid_digest = artifacts->grid,
                             .profile_digest = artifacts->profile,
                             .parent = training->from_version,
                             .kind = job->kind,
                             .incident = (gchar *)incident,
                             .job = job->id,
                             .data_set = data,
                             .metrics = metrics};
  return registry_version_create(training->context->store, &version, job->worker, error);
}

/* Inside the transaction. */
static gboolean store_outcome(const PipelineTraining *training, const Artifacts *artifacts, gint64 begun,
                              GError **error)
{
  const PipelineJobContext *context = training->context;
  gint64 version = create_version(training, artifacts, error);
  if (version == 0) return FALSE;
  if (!registry_tag_set(context->store, training->model, version, "signature", artifacts->signature,
                        context->job->worker, error))
    return FALSE;
  double seconds = (double)(g_get_monotonic_time() - begun) / 1e6;
  g_autofree gchar *result = pipeline_job_dump(describe_result(training, version, seconds));
  return registry_job_finish(context->store, context->job->id, context->job->token, "done", result, NULL, error);
}

gboolean pipeline_training_finish_unchanged(PipelineTraining *training, GError **error)
{
  RegistryStore *store = training->context->store;
  const RegistryJob *job = training->context->job;
  g_autofree gchar *result = pipeline_job_dump(describe_result(training, 0, 0));
  if (!registry_store_begin(store, error)) return FALSE;
  gboolean settled = training->settle == NULL || training->settle(training, error);
  if (!settled || !registry_job_finish(store, job->id, job->token, "done", result, NULL, error)) {
    registry_store_rollback(store);
    return FALSE;
  }
  return registry_store_commit(store, error);
}

gboolean pipeline_training_register(PipelineTraining *training, GError **error)
{
  gint64 begun = g_get_monotonic_time();
  RegistryStore *store = training->context->store;
  g_auto(Artifacts) artifacts = {0};
  artifacts.onnx = registry_artifacts_put(training->context->artifacts, training->trained.onnx, error);
  if (artifacts.onnx == NULL || !find_grid(training, &artifacts.grid, error)) return FALSE;
  if (artifacts.grid != NULL && !make_profile(training, artifacts.grid, &artifacts.profile, error)) return FALSE;
  artifacts.signature = pipeline_job_signature(training->trained.onnx, error);
  if (artifacts.signature == NULL) return FALSE;
  if (!registry_store_begin(store, error)) return FALSE;
  if (!store_outcome(training, &artifacts, begun, error)) {
    registry_store_rollback(store);
    return FALSE;
  }
  return registry_store_commit(store, error);
}
