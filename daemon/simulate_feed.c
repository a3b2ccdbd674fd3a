/* See simulate_feed.h. */
#include "daemon/simulate_feed.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"
#include "daemon/source.h"
#include "daemon/wait.h"
#include "pipeline/model.h"
#include "pipeline/model_spec.h"

enum { FLUSH_MS = 2000, FLUSH_ATTEMPTS = 150 };

typedef struct {
  const SimulateFeed *feed;
  DriftSchema *schema;
  const DriftColumn *label;
  Source *source;
  GArray *traffic, *labels; /* of WaitOffset: what was sent so far */
  gint64 champion, first_version;
  PipelineModel *scorer, *first_scorer;
  guint64 scored_to; /* position up to which rows are scored by the present champion */
  float *outputs;    /* of the rows scored ahead, from scored_from */
  guint64 scored_from;
  guint64 n_sent, n_labels;
  double served_sum;
  gint64 started;
  SimulateResult *result;
} Feeder;

void simulate_result_clear(SimulateResult *result)
{
  if (result->predictions) g_array_unref(result->predictions);
  *result = (SimulateResult){0};
}

static void no_assignment(gpointer user_data, const gchar *topic, gint32 partition)
{
  (void)user_data;
  (void)topic;
  (void)partition;
}

static void no_revocation(gpointer user_data, const gchar *topic, gint32 partition, gboolean lost)
{
  (void)lost;
  no_assignment(user_data, topic, partition);
}

static void note_failure(gpointer user_data, const gchar *topic, gint32 partition, const GError *error)
{
  (void)user_data;
  g_debug("simulate: %s/%d: %s", topic ? topic : "broker", partition, error->message);
}

/* --- opening --------------------------------------------------------------------------------------------------------
 */

static GArray *begin_offsets(Feeder *feeder, const gchar *topic, GError **error)
{
  const SourceType *type = feeder->source->type;
  gint32 n = type->count_partitions(feeder->source, topic, error);
  if (n <= 0) {
    if (error && !*error)
      g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_TOPIC, "topic %s does not exist: create it first", topic);
    return NULL;
  }
  GArray *offsets = g_array_new(FALSE, TRUE, sizeof(WaitOffset));
  for (gint32 p = 0; p < n; p++) {
    gint64 low = 0, high = 0;
    if (!type->get_range(feeder->source, topic, p, &low, &high, error)) {
      g_array_unref(offsets);
      return NULL;
    }
    WaitOffset offset = {.partition = p, .next = high};
    g_array_append_val(offsets, offset);
  }
  return offsets;
}

static gboolean open_source(Feeder *feeder, GError **error)
{
  static const SourceCallbacks callbacks = {no_assignment, no_revocation, note_failure, NULL};
  const SettingsBroker *broker = &feeder->feed->settings->broker;
  const SourceType *type = source_type_find(broker->source);
  feeder->source = type ? type->open(broker, TRUE, &callbacks, feeder, error) : NULL;
  if (!feeder->source) return FALSE;
  feeder->traffic = begin_offsets(feeder, feeder->feed->model->traffic.topic, error);
  const gchar *label_topic = feeder->feed->model->labels.topic;
  if (feeder->traffic && label_topic && *label_topic) feeder->labels = begin_offsets(feeder, label_topic, error);
  return feeder->traffic && (feeder->labels || !label_topic || !*label_topic);
}

static gboolean open_model(Feeder *feeder, GError **error)
{
  g_autoptr(RegistryModel) model = registry_model_get(feeder->feed->store, feeder->feed->model->name, error);
  feeder->schema = model ? pipeline_model_spec_parse(model->spec, error) : NULL;
  if (!feeder->schema) return FALSE;
  feeder->label = drift_table_get_column(feeder->feed->table, feeder->schema->label);
  for (guint i = 0; i < drift_schema_n_features(feeder->schema); i++) {
    const gchar *name = drift_schema_get_feature(feeder->schema, i)->name;
    if (drift_table_get_column(feeder->feed->table, name)) continue;
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "the data have no column %s, a feature of model %s", name,
                feeder->feed->model->name);
    return FALSE;
  }
  if (feeder->label) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "the data have no column %s, the label of model %s",
              feeder->schema->label, feeder->feed->model->name);
  return FALSE;
}

static void close_feeder(Feeder *feeder)
{
  if (feeder->source) feeder->source->type->close(feeder->source);
  if (feeder->traffic) g_array_unref(feeder->traffic);
  if (feeder->labels) g_array_unref(feeder->labels);
  pipeline_model_free(feeder->scorer);
  pipeline_model_free(feeder->first_scorer);
  drift_schema_free(feeder->schema);
  g_free(feeder->outputs);
}

/* --- scoring --------------------------------------------------------------------------------------------------------
 */

static PipelineModel *load_version(Feeder *feeder, gint64 number, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  g_autoptr(RegistryVersion) version = registry_version_get(feed->store, feed->model->name, number, error);
  g_autoptr(GBytes) onnx = version ? registry_artifacts_get(feed->artifacts, version->onnx_digest, error) : NULL;
  return onnx ? pipeline_model_load(onnx, feeder->schema, NULL, error) : NULL;
}

/* Asks who serves now; the store may be away for a while. */
static gboolean follow_champion(Feeder *feeder, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  gint64 champion = 0;
  for (guint attempt = 0; champion == 0; attempt++) {
    g_autoptr(GError) local = NULL;
    champion = registry_alias_get(feed->store, feed->model->name, "champion", &local);
    if (champion) break;
    if (!g_error_matches(local, REGISTRY_ERROR, REGISTRY_ERROR_UNAVAILABLE) || attempt > 300) {
      g_propagate_error(error, g_steal_pointer(&local));
      return FALSE;
    }
    g_usleep(200000);
    registry_store_reconnect(feed->store, NULL);
  }
  if (champion == feeder->champion) return TRUE;
  PipelineModel *scorer = load_version(feeder, champion, error);
  if (!scorer) return FALSE;
  if (!feeder->first_scorer) {
    feeder->first_version = champion;
    feeder->first_scorer = scorer;
  } else if (feeder->scorer != feeder->first_scorer) {
    pipeline_model_free(feeder->scorer);
  }
  feeder->scorer = scorer;
  feeder->champion = champion;
  feeder->scored_to = 0;
  return TRUE;
}

/* Outputs of a model for the stream's rows [from, to) (new). */
static float *score_rows(Feeder *feeder, PipelineModel *model, guint64 from, guint64 to, GError **error)
{
  guint n_features = drift_schema_n_features(feeder->schema), n = (guint)(to - from);
  g_autofree DriftValue *features = g_new(DriftValue, MAX(1, (gsize)n * n_features));
  for (guint i = 0; i < n; i++)
    drift_table_get_features(feeder->feed->table, feeder->schema, feeder->feed->order[from + i],
                             features + (gsize)i * n_features);
  g_autofree float *outputs = g_new(float, MAX(1, (gsize)n * pipeline_model_get_n_outputs(model)));
  return pipeline_model_predict(model, features, n, outputs, error) ? g_steal_pointer(&outputs) : NULL;
}

static const float *outputs_of(Feeder *feeder, guint64 position, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  if (position >= feeder->scored_to || position < feeder->scored_from) {
    gint64 started = g_get_monotonic_time();
    feeder->scored_from = position;
    feeder->scored_to = MIN(position + feed->pane, feed->n_rows);
    g_free(feeder->outputs);
    feeder->outputs = score_rows(feeder, feeder->scorer, feeder->scored_from, feeder->scored_to, error);
    feeder->result->score_seconds += (double)(g_get_monotonic_time() - started) / G_USEC_PER_SEC;
    if (!feeder->outputs) return NULL;
  }
  return feeder->outputs + (position - feeder->scored_from) * pipeline_model_get_n_outputs(feeder->scorer);
}

/* 1 right, 0 wrong (a class that the model does not know cannot be right); the absolute error for regression; NaN
 * without a label. */
static double merit(const Feeder *feeder, PipelineModel *model, const float *outputs, guint64 position)
{
  DriftValue label = drift_column_get_value(feeder->label, feeder->feed->order[position]);
  if (feeder->schema->task == DRIFT_TASK_REGRESSION)
    return label.kind == DRIFT_VALUE_NUMBER ? fabs((double)outputs[0] - label.number) : NAN;
  if (label.kind == DRIFT_VALUE_MISSING) return NAN;
  return (gint)pipeline_model_decide(model, outputs) == drift_schema_class_of(feeder->schema, &label);
}

/* --- sending --------------------------------------------------------------------------------------------------------
 */

static json_t *value_to_json(const DriftValue *value)
{
  if (value->kind == DRIFT_VALUE_NUMBER) return isfinite(value->number) ? json_real(value->number) : json_null();
  if (value->kind == DRIFT_VALUE_TEXT) return json_stringn(value->text, value->length);
  return json_null();
}

static gint64 time_of(const Feeder *feeder, guint64 position)
{
  return feeder->feed->first_time + (gint64)(position - feeder->feed->warm_up) * feeder->feed->interval_us;
}

/* Takes `json`. Rows go round the partitions by their number, labels likewise. */
static gboolean send(Feeder *feeder, const gchar *topic, GArray *offsets, guint64 position, json_t *json,
                     GError **error)
{
  gint32 partition = (gint32)((position - feeder->feed->warm_up) % offsets->len);
  gchar *text = verdict_dump(json);
  const gchar *key = json_string_value(json_object_get(json, feeder->feed->model->traffic.fields.request_id));
  g_autofree gchar *key_copy = g_strdup(key);
  json_decref(json);
  g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
  for (guint attempt = 0;; attempt++) {
    g_autoptr(GError) local = NULL;
    if (feeder->source->type->send(feeder->source, topic, partition, key_copy, bytes, NULL, &local)) break;
    if (attempt >= FLUSH_ATTEMPTS) {
      g_propagate_error(error, g_steal_pointer(&local));
      return FALSE;
    }
    feeder->source->type->flush(feeder->source, FLUSH_MS, NULL); /* the queue is full or the broker is away */
  }
  g_array_index(offsets, WaitOffset, partition).next++;
  return TRUE;
}

static json_t *features_to_json(const Feeder *feeder, guint64 position)
{
  json_t *features = json_object();
  for (guint i = 0; i < drift_schema_n_features(feeder->schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(feeder->schema, i);
    const DriftColumn *column = drift_table_get_column(feeder->feed->table, feature->name);
    DriftValue value = {.kind = DRIFT_VALUE_MISSING};
    if (column) value = drift_column_get_value(column, feeder->feed->order[position]);
    json_object_set_new(features, feature->name, value_to_json(&value));
  }
  return features;
}

static gboolean send_row(Feeder *feeder, guint64 position, GError **error)
{
  const SettingsFields *fields = &feeder->feed->model->traffic.fields;
  const float *outputs = outputs_of(feeder, position, error);
  if (!outputs) return FALSE;
  SimulatePrediction p = {feeder->feed->order[position], feeder->champion, -1, NAN, NAN, NAN};
  g_autofree gchar *id = g_strdup_printf("r%" G_GUINT64_FORMAT, p.row);
  json_t *json =
      json_pack("{s:s, s:I, s:s, s:I, s:o}", fields->request_id, id, fields->time,
                (json_int_t)(time_of(feeder, position) / 1000), fields->model, feeder->feed->model->name,
                fields->version, (json_int_t)feeder->champion, fields->features, features_to_json(feeder, position));
  if (feeder->schema->task == DRIFT_TASK_REGRESSION) {
    p.value = (double)outputs[0];
    json_object_set_new(json, fields->prediction, json_real(p.value));
  } else {
    p.predicted = (gint32)pipeline_model_decide(feeder->scorer, outputs);
    guint shown = feeder->schema->task == DRIFT_TASK_BINARY ? feeder->schema->positive_class : (guint)p.predicted;
    json_object_set_new(json, fields->prediction, json_string(g_ptr_array_index(feeder->schema->classes, p.predicted)));
    json_object_set_new(json, fields->score, json_real((double)outputs[shown]));
  }
  p.merit = merit(feeder, feeder->scorer, outputs, position);
  g_array_append_val(feeder->result->predictions, p);
  if (!isnan(p.merit)) feeder->served_sum += p.merit;
  if (!isnan(p.merit)) feeder->result->n++;
  feeder->n_sent++;
  return send(feeder, feeder->feed->model->traffic.topic, feeder->traffic, position, json, error);
}

/* A label is known half an interval before the row that it precedes. */
static gboolean send_label(Feeder *feeder, guint64 position, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  const SettingsFields *fields = &feed->model->traffic.fields;
  g_autofree gchar *id = g_strdup_printf("r%" G_GUINT64_FORMAT, feed->order[position]);
  DriftValue label = drift_column_get_value(feeder->label, feed->order[position]);
  gint64 time = time_of(feeder, position + feed->delay) - feed->interval_us / 2;
  json_t *json = json_pack("{s:s, s:I, s:o}", fields->request_id, id, fields->time, (json_int_t)(time / 1000),
                           fields->label, value_to_json(&label));
  feeder->n_labels++;
  return send(feeder, feed->model->labels.topic, feeder->labels, position, json, error);
}

/* --- waiting --------------------------------------------------------------------------------------------------------
 */

static gboolean flush(Feeder *feeder, GError **error)
{
  for (guint attempt = 0;; attempt++) {
    g_autoptr(GError) local = NULL;
    if (feeder->source->type->flush(feeder->source, FLUSH_MS, &local)) return TRUE;
    if (attempt < FLUSH_ATTEMPTS && (!local || !g_error_matches(local, DAEMON_ERROR, DAEMON_ERROR_FATAL))) continue;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
  }
}

/* All that was sent is on the broker, consumed, decided; the champion may be another one now. */
static gboolean settle(Feeder *feeder, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  gint64 started = g_get_monotonic_time();
  if (!flush(feeder, error)) return FALSE;
  gint64 flushed = g_get_monotonic_time();
  feeder->result->send_seconds += (double)(flushed - started) / G_USEC_PER_SEC;
  WaitTarget target = {.model = feed->model->name,
                       .traffic = (const WaitOffset *)(void *)feeder->traffic->data,
                       .n_traffic = feeder->traffic->len,
                       .labels = feeder->labels ? (const WaitOffset *)(void *)feeder->labels->data : NULL,
                       .n_labels = feeder->labels ? feeder->labels->len : 0};
  if (!wait_for(feed->store, &target, feed->timeout_us, feed->poll_ms, error)) return FALSE;
  feeder->result->wait_seconds += (double)(g_get_monotonic_time() - flushed) / G_USEC_PER_SEC;
  if (feed->rows_per_second > 0) {
    gint64 due = feeder->started + (gint64)((double)feeder->n_sent / feed->rows_per_second * G_USEC_PER_SEC);
    gint64 early = due - g_get_monotonic_time();
    if (early > 0) g_usleep((gulong)early);
  }
  return follow_champion(feeder, error);
}

static gboolean report(Feeder *feeder, SimulateProgressFunc progress, gpointer user_data, guint64 position,
                       GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  SimulateProgress p = {.sent = feeder->n_sent,
                        .labels = feeder->n_labels,
                        .served = feeder->result->n ? feeder->served_sum / (double)feeder->result->n : NAN,
                        .champion = feeder->champion,
                        .fraction =
                            (double)(position - feed->warm_up) / (double)(feed->n_rows + feed->delay - feed->warm_up)};
  if (!progress || progress(&p, user_data)) return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "stopped after %" G_GUINT64_FORMAT " rows", feeder->n_sent);
  return FALSE;
}

/* Position by position: the label that is due, then the row. After the last row the remaining labels follow. */
static gboolean feed_all(Feeder *feeder, SimulateProgressFunc progress, gpointer user_data, GError **error)
{
  const SimulateFeed *feed = feeder->feed;
  guint64 end = feed->n_rows + (feeder->labels ? feed->delay : 0), unsettled = 0;
  for (guint64 position = feed->warm_up; position < end; position++) {
    if (feeder->labels && position >= feed->warm_up + feed->delay) {
      if (!send_label(feeder, position - feed->delay, error)) return FALSE;
      unsettled++;
    } else if (!feeder->labels || position < feed->warm_up + feed->delay) {
      unsettled++;
    }
    if (unsettled == feed->pane) {
      unsettled = 0;
      if (!settle(feeder, error) || !report(feeder, progress, user_data, position, error)) return FALSE;
    }
    if (position < feed->n_rows && !send_row(feeder, position, error)) return FALSE;
  }
  return settle(feeder, error) && report(feeder, progress, user_data, end, error);
}

/* What the first version would have scored, had it been kept. */
static gboolean score_static(Feeder *feeder, GError **error)
{
  enum { CHUNK = 1000 };
  double sum = 0;
  guint64 n = 0;
  for (guint64 from = feeder->feed->warm_up; from < feeder->feed->n_rows; from += CHUNK) {
    guint64 to = MIN(from + CHUNK, feeder->feed->n_rows);
    g_autofree float *outputs = score_rows(feeder, feeder->first_scorer, from, to, error);
    if (!outputs) return FALSE;
    for (guint64 i = from; i < to; i++) {
      double m = merit(feeder, feeder->first_scorer,
                       outputs + (i - from) * pipeline_model_get_n_outputs(feeder->first_scorer), i);
      g_array_index(feeder->result->predictions, SimulatePrediction, i - feeder->feed->warm_up).static_merit = m;
      if (isnan(m)) continue;
      sum += m;
      n++;
    }
  }
  feeder->result->static_served = n ? sum / (double)n : NAN;
  return TRUE;
}

gboolean simulate_feed(const SimulateFeed *feed, SimulateProgressFunc progress, gpointer user_data,
                       SimulateResult *result, GError **error)
{
  Feeder feeder = {.feed = feed, .result = result, .started = g_get_monotonic_time()};
  *result = (SimulateResult){.predictions = g_array_new(FALSE, FALSE, sizeof(SimulatePrediction))};
  gboolean good = open_model(&feeder, error) && open_source(&feeder, error) && follow_champion(&feeder, error) &&
                  feed_all(&feeder, progress, user_data, error) && score_static(&feeder, error);
  result->regression = feeder.schema && feeder.schema->task == DRIFT_TASK_REGRESSION;
  result->served = result->n ? feeder.served_sum / (double)result->n : NAN;
  if (feeder.scorer == feeder.first_scorer) feeder.first_scorer = NULL;
  close_feeder(&feeder);
  if (!good) simulate_result_clear(result);
  return good;
}
