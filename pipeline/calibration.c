#include "pipeline/calibration.h"

#include <math.h>
#include <string.h>
#include <jansson.h>

#include "pipeline/calibration_internal.h"
#include "pipeline/evaluate_metrics.h"
#include "pipeline/model.h"
#include "pipeline/trainer_rows.h"

#define FOLDS 5u
#define BINS 15u

void pipeline_calibration_clear(PipelineCalibration *calibration)
{
  g_free(calibration->method);
  g_free(calibration->rule);
  memset(calibration, 0, sizeof *calibration);
}

static gboolean is_asked(const gchar *text)
{
  return text != NULL && strcmp(text, "none") != 0;
}

gboolean pipeline_calibration_check(const PipelineCalibrationOptions *options, const DriftSchema *schema,
                                    GError **error)
{
  const gchar *problem = NULL;
  PipelineDecisionRule rule;
  gboolean two = schema->task == DRIFT_TASK_BINARY;
  if (is_asked(options->method) && strcmp(options->method, "auto") != 0) {
    const PipelineCalibrationMap *map = pipeline_calibration_map_find(options->method, error);
    if (map == NULL) return FALSE;
    if (map->two_classes && !two) problem = "is for two classes; take temperature or isotonic";
  }
  if (is_asked(options->threshold) && !pipeline_decision_parse(options->threshold, &rule, error)) return FALSE;
  if (is_asked(options->method) && schema->task == DRIFT_TASK_REGRESSION)
    problem = "is for classes; the label is a number (intervals: --interval)";
  if (problem != NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "calibration '%s' %s", options->method, problem);
  else if (is_asked(options->threshold) && !two)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "threshold '%s': a threshold needs two classes",
                options->threshold);
  else
    return TRUE;
  return FALSE;
}

/* --- what a model has --------------------------------------------------------------------------------------------- */

static void read_record(const OnnxGraph *graph, gchar **method, gchar **rule)
{
  const gchar *text = onnx_graph_get_metadata(graph, PIPELINE_CALIBRATION_KEY);
  json_t *record = text != NULL ? json_loads(text, 0, NULL) : NULL;
  if (method != NULL) *method = g_strdup(json_string_value(json_object_get(record, "method")));
  if (rule != NULL) *rule = g_strdup(json_string_value(json_object_get(record, "threshold_rule")));
  json_decref(record);
}

static gchar *format_record(const PipelineCalibration *calibration)
{
  json_t *record = json_pack("{s:s, s:s, s:I}", "method", calibration->method, "threshold_rule", calibration->rule,
                             "rows", (json_int_t)calibration->n);
  if (!isnan(calibration->threshold)) json_object_set_new(record, "threshold", json_real(calibration->threshold));
  char *dumped = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(9));
  gchar *text = g_strdup(dumped);
  free(dumped);
  json_decref(record);
  return text;
}

GBytes *pipeline_calibration_remove(GBytes *onnx, gchar **method, gchar **rule, GError **error)
{
  g_autoptr(GError) cause = NULL;
  if (method != NULL) *method = NULL;
  if (rule != NULL) *rule = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  if (graph == NULL || onnx_graph_get_metadata(graph, PIPELINE_CALIBRATION_KEY) == NULL)
    return g_bytes_ref(onnx); /* what is no model at all is told by whoever loads it */
  read_record(graph, method, rule);
  if (!pipeline_calibration_strip(graph, error)) return NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &cause);
  if (bytes == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, "the calibration cannot be taken off: %s", cause->message);
  return bytes;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void rows_clear(PipelineCalibrationRows *rows)
{
  g_free(rows->p);
  g_free(rows->labels);
}

static gboolean check_classes(const PipelineCalibrationRows *rows, GError **error)
{
  for (gsize i = 1; i < rows->n; i++)
    if (rows->labels[i] != rows->labels[0]) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "calibration and decision need rows of at least two classes; the %" G_GSIZE_FORMAT
              " rows to fit them to are all of one",
              rows->n);
  return FALSE;
}

static gboolean predict_rows(PipelineModel *model, const DriftTable *table, PipelineCalibrationRows *rows,
                             GError **error)
{
  const DriftSchema *schema = pipeline_model_get_schema(model);
  g_autoptr(PipelineTrainerRows) usable = pipeline_trainer_rows_new(table, schema, error);
  if (usable == NULL) return FALSE;
  g_autoptr(DriftTable) selected = drift_table_select(table, usable->rows, usable->n);
  *rows =
      (PipelineCalibrationRows){.n = usable->n, .n_classes = schema->classes->len, .positive = schema->positive_class};
  gsize size = rows->n * rows->n_classes;
  g_autofree float *outputs = g_new(float, size + 1);
  if (!pipeline_model_predict_table(model, selected, outputs, error)) return FALSE;
  rows->p = g_new(double, size + 1);
  rows->labels = g_new(guint, rows->n + 1);
  for (gsize i = 0; i < size; i++) {
    rows->p[i] = (double)outputs[i];
    if (!isnan(rows->p[i])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GUINT64_FORMAT ": the model predicts no number; complete the row's features",
                usable->rows[i / rows->n_classes] + 1);
    return FALSE;
  }
  for (gsize i = 0; i < rows->n; i++) rows->labels[i] = (guint)usable->targets[usable->rows[i]];
  return TRUE;
}

/* --- choosing a map ----------------------------------------------------------------------------------------------- */

static double log_loss(const PipelineCalibrationRows *rows, const double *p)
{
  g_autofree double *of_class = g_new(double, rows->n + 1);
  for (gsize i = 0; i < rows->n; i++) of_class[i] = p[i * rows->n_classes + rows->labels[i]];
  return pipeline_metric_log_loss(of_class, rows->n);
}

/* Rows of fold `fold`, or all the others. */
static PipelineCalibrationRows take_fold(const PipelineCalibrationRows *rows, guint fold, gboolean inside)
{
  PipelineCalibrationRows part = *rows;
  part.n = 0;
  part.p = g_new(double, rows->n * rows->n_classes + 1);
  part.labels = g_new(guint, rows->n + 1);
  for (gsize i = 0; i < rows->n; i++) {
    if ((i % FOLDS == fold) != inside) continue;
    memcpy(part.p + part.n * rows->n_classes, rows->p + i * rows->n_classes, rows->n_classes * sizeof *part.p);
    part.labels[part.n++] = rows->labels[i];
  }
  return part;
}

/* Sum over the folds of log-losses on rows that the map was not fitted to. */
static gboolean cross_validate(const PipelineCalibrationMap *map, const PipelineCalibrationRows *rows, double *loss,
                               GError **error)
{
  gboolean done = TRUE;
  *loss = 0;
  for (guint fold = 0; fold < FOLDS && done; fold++) {
    PipelineCalibrationRows others = take_fold(rows, fold, FALSE), held_out = take_fold(rows, fold, TRUE);
    PipelineCalibrationFit fit = {.map = map};
    g_autofree double *p = g_new(double, held_out.n * rows->n_classes + 1);
    done = map->fit(&fit, &others, error);
    if (done && held_out.n > 0) {
      map->apply(&fit, &held_out, p);
      *loss += log_loss(&held_out, p) * (double)held_out.n;
    }
    pipeline_calibration_fit_clear(&fit);
    rows_clear(&others);
    rows_clear(&held_out);
  }
  return done;
}

static const PipelineCalibrationMap *choose_map(const PipelineCalibrationRows *rows, GError **error)
{
  const PipelineCalibrationMap *best = NULL;
  double least = INFINITY;
  for (const PipelineCalibrationMap *map = pipeline_calibration_maps; map->name != NULL; map++) {
    double loss;
    if (map->two_classes && rows->n_classes != 2) continue;
    if (!cross_validate(map, rows, &loss, error)) return NULL;
    if (loss >= least) continue;
    least = loss;
    best = map;
  }
  return best;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static float choose_threshold(const gchar *text, const PipelineCalibrationRows *rows, const double *p)
{
  PipelineDecisionRule rule;
  if (!is_asked(text) || !pipeline_decision_parse(text, &rule, NULL)) return NAN;
  g_autofree double *scores = g_new(double, rows->n + 1);
  g_autofree guint8 *labels = g_new(guint8, rows->n + 1);
  for (gsize i = 0; i < rows->n; i++) {
    scores[i] = p[i * rows->n_classes + rows->positive];
    labels[i] = rows->labels[i] == rows->positive;
  }
  return pipeline_decision_choose(&rule, scores, labels, rows->n);
}

static void measure(const PipelineCalibrationRows *rows, PipelineModel *model, double *ece, double *loss,
                    double *accuracy)
{
  g_autofree double *confidence = g_new(double, rows->n + 1);
  g_autofree guint8 *outcome = g_new(guint8, rows->n + 1);
  g_autofree float *row = g_new(float, rows->n_classes);
  gsize right = 0;
  for (gsize i = 0; i < rows->n; i++) {
    const double *p = rows->p + i * rows->n_classes;
    for (guint k = 0; k < rows->n_classes; k++) row[k] = (float)p[k];
    pipeline_metric_confidence(p, rows->n_classes, rows->positive, rows->labels[i], &confidence[i], &outcome[i]);
    right += pipeline_model_decide(model, row) == rows->labels[i];
  }
  *ece = pipeline_metric_ece(confidence, outcome, rows->n, BINS, FALSE, NULL);
  *loss = log_loss(rows, rows->p);
  *accuracy = (double)right / (double)rows->n;
}

static gboolean measure_after(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                              PipelineCalibration *result, GError **error)
{
  PipelineCalibrationRows rows = {0};
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, schema, NULL, error);
  gboolean done = model != NULL && predict_rows(model, table, &rows, error);
  if (done) measure(&rows, model, &result->ece_after, &result->log_loss_after, &result->accuracy_after);
  rows_clear(&rows);
  return done;
}

/* The threshold is chosen on the probabilities as the graph gives them. */
static GBytes *fit_and_attach(GBytes *raw, const DriftSchema *schema, PipelineModel *model,
                              const PipelineCalibrationRows *rows, const PipelineCalibrationOptions *options,
                              PipelineCalibration *result, GError **error)
{
  PipelineCalibrationFit fit = {0};
  const gchar *method = options->method != NULL ? options->method : "none";
  g_autofree double *p = g_new(double, rows->n * rows->n_classes + 1);
  GBytes *onnx = NULL;
  measure(rows, model, &result->ece_before, &result->log_loss_before, &result->accuracy_before);
  const PipelineCalibrationMap *map =
      strcmp(method, "auto") == 0 ? choose_map(rows, error) : pipeline_calibration_map_find(method, error);
  if (map == NULL) return NULL;
  fit.map = map;
  if (map->fit(&fit, rows, error)) {
    map->apply(&fit, rows, p);
    float threshold = choose_threshold(options->threshold, rows, p);
    result->threshold = (double)threshold;
    result->method = g_strdup(map->name);
    result->rule = g_strdup(is_asked(options->threshold) ? options->threshold : "none");
    result->n = rows->n;
    g_autofree gchar *record = format_record(result);
    onnx = pipeline_calibration_attach(raw, schema, &fit, threshold, record, error);
  }
  pipeline_calibration_fit_clear(&fit);
  return onnx;
}

GBytes *pipeline_calibrate(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                           const PipelineCalibrationOptions *options, PipelineCalibration *result, GError **error)
{
  g_return_val_if_fail(onnx != NULL && schema != NULL && table != NULL && options != NULL && result != NULL, NULL);
  if (!pipeline_calibration_check(options, schema, error)) return NULL;
  PipelineCalibration fitted = {.threshold = NAN};
  PipelineCalibrationRows rows = {0};
  g_autoptr(GBytes) raw = pipeline_calibration_remove(onnx, NULL, NULL, error), calibrated = NULL;
  if (raw == NULL) return NULL;
  if (!is_asked(options->method) && !is_asked(options->threshold)) {
    *result = (PipelineCalibration){.method = g_strdup("none"), .rule = g_strdup("none"), .threshold = NAN};
    return g_steal_pointer(&raw);
  }
  g_autoptr(PipelineModel) model = pipeline_model_load(raw, schema, NULL, error);
  if (model != NULL && predict_rows(model, table, &rows, error) && check_classes(&rows, error))
    calibrated = fit_and_attach(raw, schema, model, &rows, options, &fitted, error);
  if (calibrated != NULL && !measure_after(calibrated, schema, table, &fitted, error))
    g_clear_pointer(&calibrated, g_bytes_unref);
  rows_clear(&rows);
  if (calibrated != NULL)
    *result = fitted;
  else
    pipeline_calibration_clear(&fitted);
  return g_steal_pointer(&calibrated);
}

/* --- around a training ---------------------------------------------------------------------------------------------
 */

void pipeline_calibration_before_clear(PipelineCalibrationBefore *before)
{
  g_clear_pointer(&before->method, g_free);
  g_clear_pointer(&before->rule, g_free);
}

static gboolean fail_without_rows(GError **error)
{
  g_set_error_literal(
      error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
      "calibration and threshold are fitted to validation rows, and there are none: give more rows or a "
      "larger validation fraction (at least 50 rows)");
  return FALSE;
}

gboolean pipeline_calibration_begin(GBytes *from, const DriftSchema *schema, const PipelineCalibrationOptions *options,
                                    guint64 n_validation, PipelineCalibrationBefore *before, GBytes **raw,
                                    GError **error)
{
  if (!pipeline_calibration_check(options, schema, error)) return FALSE;
  if (n_validation == 0 && (is_asked(options->method) || is_asked(options->threshold))) return fail_without_rows(error);
  *raw = from != NULL ? pipeline_calibration_remove(from, &before->method, &before->rule, error) : NULL;
  return from == NULL || *raw != NULL;
}

void pipeline_calibration_join_warning(gchar **warning, const gchar *text)
{
  gchar *joined = *warning != NULL ? g_strdup_printf("%s; %s", *warning, text) : g_strdup(text);
  g_free(*warning);
  *warning = joined;
}

gboolean pipeline_calibration_end(GBytes **onnx, const DriftSchema *schema, const DriftTable *validation,
                                  const PipelineCalibrationOptions *options, const PipelineCalibrationBefore *before,
                                  PipelineCalibration *result, gchar **warning, GError **error)
{
  const PipelineCalibrationOptions both = {options->method != NULL ? options->method : before->method,
                                           options->threshold != NULL ? options->threshold : before->rule};
  if (!is_asked(both.method) && !is_asked(both.threshold)) return TRUE;
  g_autoptr(GError) cause = NULL;
  GBytes *calibrated = validation != NULL ? pipeline_calibrate(*onnx, schema, validation, &both, result, &cause) : NULL;
  if (calibrated != NULL) {
    g_bytes_unref(*onnx);
    *onnx = calibrated;
    return TRUE;
  }
  if (is_asked(options->method) || is_asked(options->threshold)) {
    if (cause == NULL) return fail_without_rows(error);
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
  }
  g_autofree gchar *text =
      g_strdup_printf("the model's calibration was given up: %s",
                      cause != NULL ? cause->message : "there are no validation rows to fit it to");
  pipeline_calibration_join_warning(warning, text);
  return TRUE;
}
