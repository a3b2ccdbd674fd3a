/* `kedge drift estimate`: a model's metrics without labels. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/estimate_html.h"
#include "daemon/estimate_rows.h"
#include "pipeline/loss_model_xgboost.h"

extern const Command command_drift_estimate;

typedef struct {
  gchar *reference, *current, *prediction, *label, *positive, *features, *calibrate, *normalize, *business_value, *html;
  gchar **probabilities, **metrics;
  gint chunk;
  gint64 seed;
  gboolean per_prediction;
} EstimateArguments;

static const struct {
  const gchar *name;
  DriftCalibrationRule rule;
} calibrations[] = {
    {"auto", DRIFT_CALIBRATE_AUTO}, {"always", DRIFT_CALIBRATE_ALWAYS}, {"never", DRIFT_CALIBRATE_NEVER}};

static const struct {
  const gchar *name;
  DriftConfusionScale scale;
} scales[] = {{"none", DRIFT_CONFUSION_COUNT},
              {"all", DRIFT_CONFUSION_ALL},
              {"true", DRIFT_CONFUSION_TRUE},
              {"predicted", DRIFT_CONFUSION_PREDICTED}};

/* --- report ------------------------------------------------------------------------------------------------------- */

static json_t *number(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

/* Texts a reader needs where there is no number. */
static void tell_undefined(json_t *one, const DriftMetricSeries *series)
{
  gboolean no_thresholds = isnan(series->threshold_low) && isnan(series->threshold_high), no_band = FALSE;
  for (guint i = 0; i < series->chunks->len; i++) {
    const DriftChunkEstimate *chunk = &g_array_index(series->chunks, DriftChunkEstimate, i);
    no_band |= chunk->undefined == NULL && isnan(chunk->sampling_error);
  }
  if (no_thresholds)
    json_object_set_new(one, "thresholds_undefined",
                        json_string("the metric is defined on fewer than two chunks of the reference with labels"));
  if (no_band) json_object_set_new(one, "band_undefined", json_string("the reference gives no sampling error"));
}

/* nannyml's names, one value a chunk. */
static json_t *describe_series(const DriftMetricSeries *series)
{
  static const gchar *const fields[] = {
      "value",           "sampling_error", "upper_confidence_boundary", "lower_confidence_boundary", "upper_threshold",
      "lower_threshold", "realized"};
  json_t *one = json_object(), *alerts = json_array(), *undefined = json_array();
  gboolean any_undefined = FALSE;
  for (guint f = 0; f < G_N_ELEMENTS(fields); f++) json_object_set_new(one, fields[f], json_array());
  for (guint i = 0; i < series->chunks->len; i++) {
    const DriftChunkEstimate *chunk = &g_array_index(series->chunks, DriftChunkEstimate, i);
    const double values[] = {chunk->value,           chunk->sampling_error, chunk->band_high, chunk->band_low,
                             series->threshold_high, series->threshold_low, chunk->realized};
    for (guint f = 0; f < G_N_ELEMENTS(fields); f++)
      json_array_append_new(json_object_get(one, fields[f]), number(values[f]));
    json_array_append_new(alerts, json_boolean(chunk->alert));
    json_array_append_new(undefined, chunk->undefined != NULL ? json_string(chunk->undefined) : json_null());
    any_undefined |= chunk->undefined != NULL;
  }
  json_object_set_new(one, "alert", alerts);
  if (any_undefined) json_object_set(one, "undefined", undefined);
  json_decref(undefined);
  tell_undefined(one, series);
  return one;
}

static json_t *describe(const gchar *method, const DriftEstimate *estimate, gsize n_reference, gsize n, gsize chunk)
{
  json_t *metrics = json_object();
  for (guint i = 0; i < estimate->len; i++) {
    const DriftMetricSeries *series = estimate->pdata[i];
    json_object_set_new(metrics, series->name, describe_series(series));
  }
  return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "method", method, "rows_reference", (json_int_t)n_reference,
                   "rows", (json_int_t)n, "chunk_size", (json_int_t)chunk, "chunks",
                   (json_int_t)((n + chunk - 1) / chunk), "alerts", (json_int_t)drift_estimate_count_alerts(estimate),
                   "metrics", metrics);
}

static void print_chunk(CommandTable *table, const char *name, json_t *series, gsize i, gsize size, gsize rows)
{
  g_autofree gchar *range = g_strdup_printf("%zu-%zu", i * size + 1, MIN((i + 1) * size, rows));
  g_autofree gchar *value = command_text_real(json_array_get(json_object_get(series, "value"), i), 4);
  g_autofree gchar *low = command_text_real(json_array_get(json_object_get(series, "lower_confidence_boundary"), i), 4);
  g_autofree gchar *high =
      command_text_real(json_array_get(json_object_get(series, "upper_confidence_boundary"), i), 4);
  g_autofree gchar *below = command_text_real(json_array_get(json_object_get(series, "lower_threshold"), i), 4);
  g_autofree gchar *above = command_text_real(json_array_get(json_object_get(series, "upper_threshold"), i), 4);
  g_autofree gchar *realized = command_text_real(json_array_get(json_object_get(series, "realized"), i), 4);
  const gchar *why = json_string_value(json_array_get(json_object_get(series, "undefined"), i));
  gboolean alert = json_is_true(json_array_get(json_object_get(series, "alert"), i));
  command_table_add(table, name, range, value, low, high, below, above, realized,
                    why != NULL ? why
                    : alert     ? "ALERT"
                                : "",
                    NULL);
}

/* Metrics without thresholds or without bands, in a line. */
static void print_undefined(const json_t *metrics, const gchar *key, const gchar *what)
{
  const char *name, *why = NULL;
  json_t *series;
  json_object_foreach ((json_t *)metrics, name, series) {
    const char *reason = json_string_value(json_object_get(series, key));
    if (reason == NULL) continue;
    printf("%s%s", why != NULL ? ", " : "no ", why != NULL ? "" : what);
    printf("%s%s", why != NULL ? "" : " for ", name);
    why = reason;
  }
  if (why != NULL) printf(": %s\n", why);
}

static void print_report(json_t *report)
{
  CommandTable *table =
      command_table_new((const gchar *const[]){"metric", ">rows", ">estimate", ">band low", ">band high",
                                               ">alert below", ">alert above", ">realized", "", NULL});
  gsize size = (gsize)json_integer_value(json_object_get(report, "chunk_size"));
  gsize rows = (gsize)json_integer_value(json_object_get(report, "rows"));
  const char *name;
  json_t *series;
  json_object_foreach (json_object_get(report, "metrics"), name, series)
    for (gsize i = 0; i < json_array_size(json_object_get(series, "value")); i++)
      print_chunk(table, name, series, i, size, rows);
  command_table_print(table);
  gint alerts = (gint)json_integer_value(json_object_get(report, "alerts"));
  putchar('\n');
  print_undefined(json_object_get(report, "metrics"), "thresholds_undefined", "thresholds");
  print_undefined(json_object_get(report, "metrics"), "band_undefined", "band");
  gsize i;
  json_array_foreach (json_object_get(report, "left_out"), i, series) printf("%s\n", json_string_value(series));
  printf("%d estimate%s outside the thresholds\n", alerts, alerts == 1 ? "" : "s");
}

/* --- estimates ---------------------------------------------------------------------------------------------------- */

/* "v,v,…" by truth, then prediction. NULL without an argument or with error. */
static double *parse_business_value(const gchar *text, guint n_classes, GError **error)
{
  g_auto(GStrv) cells = command_split_names(text);
  guint n = g_strv_length(cells);
  if (text == NULL) return NULL;
  g_autofree double *values = g_new(double, n + 1);
  gboolean good = n == n_classes * n_classes;
  for (guint i = 0; good && i < n; i++) {
    gchar *end;
    values[i] = g_ascii_strtod(cells[i], &end);
    good = *cells[i] != '\0' && *end == '\0' && isfinite(values[i]);
  }
  if (good) return g_steal_pointer(&values);
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
              "--business-value %s: %u numbers are needed, by true class and within it by predicted class", text,
              n_classes * n_classes);
  return NULL;
}

static void describe_calibration(json_t *report, const DriftCbpe *cbpe, const ClassificationRows *rows)
{
  guint k = rows->reference.n_scores;
  if (k == 1) {
    json_object_set_new(report, "needs_calibration", json_boolean(drift_cbpe_get_calibration(cbpe, 0) != NULL));
    return;
  }
  json_t *classes = json_object();
  for (guint s = 0; s < k; s++)
    json_object_set_new(classes, rows->schema->classes->pdata[s],
                        json_boolean(drift_cbpe_get_calibration(cbpe, s) != NULL));
  json_object_set_new(report, "needs_calibration", classes);
}

static json_t *estimate_classes(const EstimateArguments *a, const ClassificationRows *rows, GError **error)
{
  GError *reason = NULL;
  guint n_classes = rows->schema->classes->len;
  g_autofree double *business_value = parse_business_value(a->business_value, n_classes, &reason);
  if (reason != NULL) {
    g_propagate_error(error, reason);
    return NULL;
  }
  DriftCbpeSettings settings = {.chunk_size = (gsize)a->chunk,
                                .class_names = (const gchar *const *)rows->schema->classes->pdata,
                                .business_value = business_value,
                                .business_value_per_prediction = a->per_prediction,
                                .metrics = (const gchar *const *)a->metrics,
                                .seed = (guint64)a->seed};
  for (guint i = 0; i < G_N_ELEMENTS(calibrations); i++)
    if (g_strcmp0(a->calibrate, calibrations[i].name) == 0) settings.calibration = calibrations[i].rule;
  for (guint i = 0; i < G_N_ELEMENTS(scales); i++)
    if (g_strcmp0(a->normalize, scales[i].name) == 0) settings.confusion_scale = scales[i].scale;
  g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(&rows->reference, &settings, error);
  g_autoptr(GPtrArray) estimate = cbpe != NULL ? drift_cbpe_estimate(cbpe, &rows->current, error) : NULL;
  if (estimate == NULL) return NULL;
  json_t *report = describe("cbpe", estimate, rows->reference.n, rows->current.n, settings.chunk_size);
  describe_calibration(report, cbpe, rows);
  return report;
}

static json_t *estimate_values(const EstimateArguments *a, const RegressionRows *rows, GError **error)
{
  const DriftDleSettings settings = {
      .chunk_size = (gsize)a->chunk, .seed = (guint64)a->seed, .metrics = (const gchar *const *)a->metrics};
  g_autoptr(DriftDle) dle = drift_dle_new(&rows->reference, &pipeline_loss_model_xgboost, &settings, error);
  g_autoptr(GPtrArray) estimate = dle != NULL ? drift_dle_estimate(dle, &rows->current, error) : NULL;
  if (estimate == NULL) return NULL;
  json_t *report = describe("dle", estimate, rows->reference.features.n, rows->current.features.n, settings.chunk_size);
  json_t *features = json_array();
  for (guint i = 0; i < rows->names->len; i++) json_array_append_new(features, json_string(rows->names->pdata[i]));
  json_object_set_new(report, "features", features);
  json_t *left_out = json_array();
  const GPtrArray *reasons = drift_dle_get_left_out(dle);
  for (guint i = 0; i < reasons->len; i++) json_array_append_new(left_out, json_string(reasons->pdata[i]));
  json_object_set_new(report, "left_out", left_out);
  return report;
}

/* --proba may be repeated or hold several with commas. */
static gchar **split_probabilities(gchar **given)
{
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  for (guint i = 0; given != NULL && given[i] != NULL; i++) {
    g_auto(GStrv) parts = command_split_names(given[i]);
    g_strv_builder_addv(builder, (const char **)parts);
  }
  return g_strv_builder_end(builder);
}

static json_t *estimate(const EstimateArguments *a, GError **error)
{
  g_auto(GStrv) probabilities = split_probabilities(a->probabilities), features = command_split_names(a->features);
  const EstimateColumns columns = {.reference_name = a->reference,
                                   .current_name = a->current,
                                   .probabilities = (const gchar *const *)probabilities,
                                   .prediction = a->prediction,
                                   .label = a->label,
                                   .positive = a->positive,
                                   .features = a->features != NULL ? (const gchar *const *)features : NULL};
  g_autoptr(DriftTable) reference = command_read_table(a->reference, error);
  g_autoptr(DriftTable) current = reference != NULL ? command_read_table(a->current, error) : NULL;
  json_t *report = NULL;
  if (current == NULL) return NULL;
  if (probabilities[0] != NULL) {
    ClassificationRows rows;
    if (classification_rows_init(&rows, reference, current, &columns, error))
      report = estimate_classes(a, &rows, error);
    classification_rows_clear(&rows);
  } else {
    RegressionRows rows;
    if (regression_rows_init(&rows, reference, current, &columns, error)) report = estimate_values(a, &rows, error);
    regression_rows_clear(&rows);
  }
  if (report == NULL || a->html == NULL || estimate_html_write(report, a->html, error)) return report;
  json_decref(report);
  return NULL;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static const gchar *check_arguments(const EstimateArguments *a)
{
  gboolean calibration = a->calibrate == NULL, scale = a->normalize == NULL;
  for (guint i = 0; i < G_N_ELEMENTS(calibrations); i++)
    calibration |= g_strcmp0(a->calibrate, calibrations[i].name) == 0;
  for (guint i = 0; i < G_N_ELEMENTS(scales); i++) scale |= g_strcmp0(a->normalize, scales[i].name) == 0;
  if (a->reference == NULL || a->current == NULL) return "--reference and --current are needed";
  if (strcmp(a->reference, "-") == 0 && strcmp(a->current, "-") == 0) return "only one of the files can be \"-\"";
  if (a->chunk < 1) return "--chunk is needed: rows a chunk, at least 1";
  if (a->probabilities == NULL && (a->prediction == NULL || a->label == NULL))
    return "--proba is needed for a classifier; --prediction and --label for a regression";
  if (!calibration) return "--calibrate is auto, always or never";
  if (!scale) return "--normalize is none, all, true or predicted";
  return NULL;
}

static void arguments_clear(EstimateArguments *a)
{
  gpointer texts[] = {a->reference, a->current,   a->prediction, a->label,          a->positive,
                      a->features,  a->calibrate, a->normalize,  a->business_value, a->html};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_strfreev(a->probabilities);
  g_strfreev(a->metrics);
}

static int run_estimate(int argc, char **argv)
{
  EstimateArguments a = {.seed = 1};
  const GOptionEntry entries[] = {
      {"reference", 0, 0, G_OPTION_ARG_FILENAME, &a.reference, "CSV of a period that is known to be good", "R.csv"},
      {"current", 0, 0, G_OPTION_ARG_FILENAME, &a.current, "CSV to estimate; \"-\": standard input", "C.csv"},
      {"proba", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.probabilities,
       "column with the positive class's probability; for several classes CLASS=COLUMN each", "P"},
      {"prediction", 0, 0, G_OPTION_ARG_STRING, &a.prediction, "column with what the model predicted", "Y"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "column with the truth, in the reference at least", "L"},
      {"chunk", 0, 0, G_OPTION_ARG_INT, &a.chunk, "rows a chunk", "N"},
      {"metric", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.metrics, "one of the metrics (default: all)", "M"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.positive, "the class that --proba is of", "CLASS"},
      {"calibrate", 0, 0, G_OPTION_ARG_STRING, &a.calibrate, "auto, always or never", "RULE"},
      {"normalize", 0, 0, G_OPTION_ARG_STRING, &a.normalize,
       "divide confusion elements by none, all, true or predicted rows", "BY"},
      {"business-value", 0, 0, G_OPTION_ARG_STRING, &a.business_value, "what each confusion element is worth",
       "V,V,..."},
      {"per-prediction", 0, 0, G_OPTION_ARG_NONE, &a.per_prediction, "business value a prediction of each class", NULL},
      {"features", 0, 0, G_OPTION_ARG_STRING, &a.features, "of a regression (default: all other columns)", "A,B"},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &a.html, "also write a self-contained page", "F"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of resampling and of the loss model (default 1)", "S"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_drift_estimate, &argc, &argv, entries, &common)) {
    const gchar *wrong = argc != 1 ? "no argument is taken beside the options" : check_arguments(&a);
    if (wrong != NULL) {
      status = command_usage(&common, "%s", wrong);
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = estimate(&a, &error);
      gboolean alert = json_integer_value(json_object_get(report, "alerts")) > 0;
      status = command_report(&common, report, error, print_report);
      if (status == COMMAND_DONE && alert) status = COMMAND_NO;
    }
  }
  arguments_clear(&a);
  return status;
}

const Command command_drift_estimate = {
    .name = "drift estimate",
    .arguments = "--reference R.csv --current C.csv --proba P --prediction Y [--label L] --chunk N [--metric M]... "
                 "[--html F]",
    .summary = "estimate a model's metrics on rows without labels",
    .help = "With --proba, a classifier by its own probabilities (CBPE): roc_auc, average_precision, f1, precision,\n"
            "recall, specificity, accuracy, confusion_matrix, business_value. With labels in the reference the\n"
            "probabilities are calibrated where that lowers the calibration error, and thresholds are the mean +- 3\n"
            "standard deviations of the realized metric over the reference's chunks. For several classes give\n"
            "--proba CLASS=COLUMN for each; metrics are means over classes.\n"
            "\n"
            "Without --proba, a regression by a model of its loss (DLE): mae, mape, mse, rmse, msle, rmsle;\n"
            "those that the reference leaves undefined are named in \"left_out\".\n"
            "\n"
            "Bands are 3 sampling errors wide on each side. Neither method sees a change of what the labels mean.\n"
            "--business-value lists values by true class, within it by predicted class; two classes: negative first.\n"
            "\n"
            "--json prints {\"method\", \"rows_reference\", \"rows\", \"chunk_size\", \"chunks\", \"alerts\",\n"
            "\"needs_calibration\", \"metrics\": {METRIC: {\"value\": [one a chunk], \"sampling_error\",\n"
            "\"upper_confidence_boundary\", \"lower_confidence_boundary\", \"upper_threshold\", \"lower_threshold\",\n"
            "\"realized\", \"alert\"}}}; null is undefined, and \"undefined\", \"thresholds_undefined\" and\n"
            "\"band_undefined\" say why. Exit status 3: an estimate is outside its thresholds.",
    .run = run_estimate,
};
