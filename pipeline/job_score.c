/* "score": how the versions of the pool would have done on labelled rows. Milliseconds: everything is warm. */
#include "pipeline/job_internal.h"

#include <math.h>

#include "pipeline/data_range.h"
#include "pipeline/model_cache.h"

#define VERSIONS_MAXIMUM 1000
#define CACHE_CAPACITY 64
#define PROBABILITY_FLOOR 1e-15

typedef struct {
  PipelineJobContext *context;
  PipelineModelCache *cache;
  const DriftSchema *schema;
  const gchar *model;
  PipelineDataSet *set;
  gint *classes;   /* [n_rows] of the label; -1: no known class. NULL for regression */
  double *targets; /* [n_rows] regression; else NULL */
  float *outputs;  /* [n_rows * outputs of the widest version so far] */
  gsize n_outputs_allocated;
} Scoring;

static void scoring_clear(Scoring *scoring)
{
  g_free(scoring->classes);
  g_free(scoring->targets);
  g_free(scoring->outputs);
  pipeline_data_set_free(scoring->set);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scoring, scoring_clear)

static void read_labels(Scoring *scoring)
{
  const DriftColumn *label = drift_table_get_column(scoring->set->table, scoring->schema->label);
  guint64 n = scoring->set->table->n_rows;
  gboolean regression = scoring->schema->task == DRIFT_TASK_REGRESSION;
  if (regression)
    scoring->targets = g_new(double, MAX(n, 1));
  else
    scoring->classes = g_new(gint, MAX(n, 1));
  for (guint64 row = 0; row < n; row++) {
    DriftValue value = drift_column_get_value(label, row);
    if (regression)
      scoring->targets[row] = value.kind == DRIFT_VALUE_NUMBER ? value.number : NAN;
    else
      scoring->classes[row] = drift_schema_class_of(scoring->schema, &value);
  }
}

static void judge_classes(const Scoring *scoring, const PipelineModel *model, json_t *out)
{
  guint64 n = scoring->set->table->n_rows, wrong = 0, labelled = 0;
  guint width = pipeline_model_get_n_outputs(model);
  g_autofree guint8 *bits = g_malloc0(n / 8 + 1);
  double loss = 0;
  for (guint64 row = 0; row < n; row++) {
    const float *outputs = scoring->outputs + row * width;
    gint truth = scoring->classes[row];
    if (truth < 0 || pipeline_model_decide(model, outputs) != (guint)truth) {
      bits[row / 8] |= (guint8)(1u << (row % 8));
      wrong++;
    }
    if (truth < 0 || (guint)truth >= width) continue;
    labelled++;
    loss -= log(CLAMP((double)outputs[truth], PROBABILITY_FLOOR, 1.0));
  }
  g_autofree gchar *text = g_base64_encode(bits, (n + 7) / 8);
  json_object_set_new(out, "errors", json_string(text));
  json_object_set_new(out, "accuracy", pipeline_job_real(n > 0 ? 1 - (double)wrong / (double)n : NAN));
  json_object_set_new(out, "log_loss", pipeline_job_real(labelled > 0 ? loss / (double)labelled : NAN));
}

static void judge_values(const Scoring *scoring, json_t *out)
{
  double sum = 0;
  guint64 n = 0;
  for (guint64 row = 0; row < scoring->set->table->n_rows; row++) {
    double difference = (double)scoring->outputs[row] - scoring->targets[row];
    if (!isfinite(difference)) continue;
    sum += difference * difference;
    n++;
  }
  json_object_set_new(out, "errors", json_null());
  json_object_set_new(out, "accuracy", json_null());
  json_object_set_new(out, "log_loss", json_null());
  json_object_set_new(out, "mse", pipeline_job_real(n > 0 ? sum / (double)n : NAN));
}

static gboolean predict(Scoring *scoring, PipelineModel *model, GError **error)
{
  gsize n = (gsize)scoring->set->table->n_rows * pipeline_model_get_n_outputs(model);
  if (n > scoring->n_outputs_allocated) {
    g_free(scoring->outputs);
    scoring->outputs = g_try_new(float, n);
    scoring->n_outputs_allocated = scoring->outputs != NULL ? n : 0;
    if (scoring->outputs == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                  "no memory for the outputs of %" G_GUINT64_FORMAT " rows: score fewer rows at a time",
                  scoring->set->table->n_rows);
      return FALSE;
    }
  }
  return scoring->set->table->n_rows == 0 ||
         pipeline_model_predict_table(model, scoring->set->table, scoring->outputs, error);
}

/* What may pass (the store is away) must not be written down as a property of the version. */
static gboolean is_about_the_version(const GError *error)
{
  return error->domain != REGISTRY_ERROR || error->code == REGISTRY_ERROR_NOT_FOUND ||
         error->code == REGISTRY_ERROR_CORRUPT || error->code == REGISTRY_ERROR_INVALID;
}

static json_t *score_version(Scoring *scoring, gint64 version, GError **error)
{
  g_autoptr(GError) fault = NULL;
  json_t *out = json_pack("{s:I}", "version", (json_int_t)version);
  PipelineModel *model = pipeline_model_cache_get(scoring->cache, scoring->context->store, scoring->context->artifacts,
                                                  scoring->model, version, &fault);
  if (model != NULL && predict(scoring, model, &fault)) {
    if (scoring->schema->task == DRIFT_TASK_REGRESSION)
      judge_values(scoring, out);
    else
      judge_classes(scoring, model, out);
    return out;
  }
  if (!is_about_the_version(fault)) {
    json_decref(out);
    g_propagate_error(error, g_steal_pointer(&fault));
    return NULL;
  }
  json_object_set_new(out, "error", json_string(fault->message));
  json_object_set_new(out, "errors", json_null());
  return out;
}

static json_t *score_versions(Scoring *scoring, const json_t *spec, GError **error)
{
  const json_t *versions = json_object_get(spec, "versions");
  if (!json_is_array(versions) || json_array_size(versions) > VERSIONS_MAXIMUM) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "versions of the job's spec must be a list of at most %d version numbers", VERSIONS_MAXIMUM);
    return NULL;
  }
  json_t *list = json_array();
  for (gsize i = 0; i < json_array_size(versions); i++) {
    gboolean stopped = !pipeline_job_check_cancel(scoring->context, error);
    json_t *item = stopped ? NULL : score_version(scoring, json_integer_value(json_array_get(versions, i)), error);
    if (item == NULL) {
      json_decref(list);
      return NULL;
    }
    json_array_append_new(list, item);
  }
  return list;
}

static gboolean score(PipelineJobContext *context, const json_t *spec, PipelineModelCache *cache, GError **error)
{
  gint64 begun = g_get_monotonic_time();
  g_auto(Scoring) scoring = {.context = context, .cache = cache};
  if (!pipeline_job_spec_text(spec, "model", &scoring.model, error)) return FALSE;
  if (scoring.model == NULL) scoring.model = context->job->model != NULL ? context->job->model : "";
  scoring.schema = pipeline_model_cache_get_schema(cache, context->store, scoring.model, error);
  if (scoring.schema == NULL) return FALSE;
  g_autoptr(GArray) ranges = pipeline_data_ranges_parse(spec, "data", error);
  if (ranges == NULL) return FALSE;
  scoring.set = pipeline_data_set_new(scoring.schema);
  if (!pipeline_data_ranges_read(context->store, context->artifacts, scoring.model, scoring.schema, ranges, scoring.set,
                                 error))
    return FALSE;
  read_labels(&scoring);
  json_t *versions = score_versions(&scoring, spec, error);
  if (versions == NULL) return FALSE;
  json_t *result = json_pack("{s:I, s:o, s:o, s:f}", "rows", (json_int_t)scoring.set->table->n_rows, "data",
                             pipeline_data_ranges_to_json(ranges), "versions", versions, "seconds",
                             (double)(g_get_monotonic_time() - begun) / 1e6);
  g_autofree gchar *text = pipeline_job_dump(result);
  return registry_job_finish(context->store, context->job->id, context->job->token, "done", text, NULL, error);
}

static gboolean run(PipelineJobContext *context, GError **error)
{
  json_t *spec = pipeline_job_spec_load(context->job, error);
  if (spec == NULL) return FALSE;
  g_autoptr(PipelineModelCache) own = context->cache == NULL ? pipeline_model_cache_new(CACHE_CAPACITY) : NULL;
  gboolean done = score(context, spec, own != NULL ? own : context->cache, error);
  json_decref(spec);
  return done;
}

const PipelineJobKind pipeline_job_kind_score = {
    .kind = "score",
    .summary = "score versions of the pool on labelled rows",
    .warm = TRUE,
    .run = run,
};
