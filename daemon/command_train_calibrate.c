/* Calibration and decision of `kedge train`: of a model that is not trained further, and how they are shown. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_train_internal.h"

/* The rows of the data and the schema of the model. */
static DriftTable *read_rows(const CommandCommon *common, const TrainArguments *arguments, CommandModel *model,
                             GError **error)
{
  if (!g_str_has_suffix(arguments->data, ".npz")) {
    g_autoptr(DriftTable) table = command_read_rows(common, arguments->from, arguments->data, error);
    if (!table || !command_load_model(common, arguments->from, table, arguments->label, model, error)) return NULL;
    return g_steal_pointer(&table);
  }
  g_autoptr(PipelineGraphRows) rows = command_train_graph_read(common, arguments, &model->onnx, error);
  if (!rows) return NULL;
  g_autofree guint64 *all = g_new(guint64, rows->n_rows + 1);
  for (guint64 i = 0; i < rows->n_rows; i++) all[i] = i;
  model->schema = drift_schema_copy(rows->schema);
  return pipeline_graph_rows_tabulate(rows, all, rows->n_rows);
}

gboolean command_train_calibrate(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainResult *result, GError **error)
{
  CommandModel model = {0};
  PipelineCalibration calibration = {0};
  g_autofree gchar *method = NULL, *rule = NULL; /* what it has already, for what is not given */
  g_autoptr(GBytes) raw = NULL;
  GBytes *onnx = NULL;
  gint64 started = g_get_monotonic_time();
  g_autoptr(DriftTable) table = read_rows(common, arguments, &model, error);
  if (table) raw = pipeline_calibration_remove(model.onnx, &method, &rule, error);
  const PipelineCalibrationOptions options = {arguments->calibrate ? arguments->calibrate : method,
                                              arguments->threshold ? arguments->threshold : rule};
  if (raw) onnx = pipeline_calibrate(raw, model.schema, table, &options, &calibration, error);
  command_model_clear(&model);
  if (!onnx) return FALSE;
  *result = (PipelineTrainResult){.onnx = onnx,
                                  .n_validation = calibration.n,
                                  .train_loss = NAN,
                                  .validation_loss = calibration.n > 0 ? calibration.log_loss_after : NAN,
                                  .validation_metric = calibration.n > 0 ? calibration.accuracy_after : NAN,
                                  .seconds = (double)(g_get_monotonic_time() - started) / 1e6,
                                  .samples_per_second = NAN,
                                  .test_loss = NAN,
                                  .test_metric = NAN,
                                  .calibration = calibration};
  return TRUE;
}

void command_train_calibration_describe(const PipelineCalibration *calibration, json_t *report)
{
  const struct {
    const gchar *name;
    double value;
  } figures[] = {{"threshold", calibration->threshold},           {"ece_before", calibration->ece_before},
                 {"ece_after", calibration->ece_after},           {"log_loss_before", calibration->log_loss_before},
                 {"log_loss_after", calibration->log_loss_after}, {"accuracy_before", calibration->accuracy_before},
                 {"accuracy_after", calibration->accuracy_after}};
  if (calibration->n == 0) return;
  json_t *object = json_pack("{s:s, s:s, s:I}", "method", calibration->method, "threshold_rule", calibration->rule,
                             "rows", (json_int_t)calibration->n);
  for (guint i = 0; i < G_N_ELEMENTS(figures); i++)
    json_object_set_new(object, figures[i].name,
                        isfinite(figures[i].value) ? json_real(figures[i].value) : json_null());
  json_object_set_new(report, "calibration", object);
}

void command_train_interval_describe(const PipelineInterval *interval, json_t *report)
{
  if (interval->n == 0) return;
  json_object_set_new(report, "interval",
                      json_pack("{s:f, s:f, s:f, s:I}", "level", interval->level, "margin", interval->margin,
                                "coverage_before", interval->coverage_before, "rows", (json_int_t)interval->n));
}

static void print_interval(json_t *object)
{
  if (!object) return;
  g_autofree gchar *rows = command_text_count(json_object_get(object, "rows"));
  g_autofree gchar *margin = command_text_real(json_object_get(object, "margin"), 4);
  g_autofree gchar *coverage = command_text_real(json_object_get(object, "coverage_before"), 4);
  printf("interval of level %g: margin %s (in units of the label) from %s rows, of which the quantiles as learnt hold "
         "%s\n",
         json_real_value(json_object_get(object, "level")), margin, rows, coverage);
}

void command_train_calibration_print(json_t *report)
{
  print_interval(json_object_get(report, "interval"));
  json_t *object = json_object_get(report, "calibration");
  if (!object) return;
  g_autofree gchar *rows = command_text_count(json_object_get(object, "rows"));
  g_autofree gchar *before = command_text_real(json_object_get(object, "ece_before"), 4);
  g_autofree gchar *after = command_text_real(json_object_get(object, "ece_after"), 4);
  g_autofree gchar *threshold = command_text_real(json_object_get(object, "threshold"), 4);
  printf("calibration %s, threshold %s%s%s, fitted to %s rows; on the same rows: expected calibration error %s before, "
         "%s after\n",
         json_string_value(json_object_get(object, "method")),
         json_string_value(json_object_get(object, "threshold_rule")),
         json_is_real(json_object_get(object, "threshold")) ? " = " : "",
         json_is_real(json_object_get(object, "threshold")) ? threshold : "", rows, before, after);
}
