/* Label-free performance. Two expectations hang on how a library orders equal scores, or on its random numbers, and are
 * compared loosely: the sampling error of average precision (50 random samples: within a half), and that of roc_auc
 * where many scores are tied (the reference's follows its sort's order of equal scores, which differs from processor to
 * processor: within a fiftieth). Bands then are compared around the reference's sampling error. */
#include <math.h>
#include <string.h>

#include "drift/cbpe.h"
#include "drift/order.h"
#include "tests/golden/golden.h"

gboolean golden_run_cbpe_binary(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_cbpe_formula(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_cbpe_multiclass(const json_t *golden_case, GoldenContext *context);

static const gchar *text_of(const json_t *object, const gchar *section, const gchar *key)
{
  return json_string_value(json_object_get(json_object_get(object, section), key));
}

static gsize chunk_size_of(const json_t *golden_case)
{
  return (gsize)json_integer_value(json_object_get(json_object_get(golden_case, "params"), "chunk_size"));
}

static guint32 *classes_of(const double *column, gsize n)
{
  guint32 *classes = g_new(guint32, n + 1);
  for (gsize i = 0; i < n; i++) classes[i] = isnan(column[i]) ? DRIFT_CODE_MISSING : column[i] != 0;
  return classes;
}

typedef struct {
  DriftCbpeRows rows;
  const double *scores[16];
  guint32 *predicted, *truth;
} Loaded;

static void loaded_clear(Loaded *loaded)
{
  g_free(loaded->predicted);
  g_free(loaded->truth);
}

static gboolean load_binary(GoldenContext *context, const json_t *golden_case, const gchar *role, Loaded *loaded)
{
  gsize n;
  const gchar *path = text_of(golden_case, "inputs", role);
  loaded->scores[0] = golden_column(context, path, text_of(golden_case, "params", "y_pred_proba"), &n);
  const double *predicted = golden_column(context, path, text_of(golden_case, "params", "y_pred"), &n);
  const double *truth = golden_column(context, path, text_of(golden_case, "params", "y_true"), &n);
  if (loaded->scores[0] == NULL || predicted == NULL || truth == NULL) return FALSE;
  loaded->predicted = classes_of(predicted, n);
  loaded->truth = classes_of(truth, n);
  loaded->rows = (DriftCbpeRows){n, 1, loaded->scores, loaded->predicted, loaded->truth};
  return TRUE;
}

static gboolean has_ties(const DriftCbpeRows *rows)
{
  g_autofree guint32 *order = g_new(guint32, rows->n + 1);
  gsize tied = 0;
  drift_order(rows->scores[0], rows->n, order);
  for (gsize i = 1; i < rows->n; i++)
    if (rows->scores[0][order[i]] == rows->scores[0][order[i - 1]]) tied++;
  return tied * 20 > rows->n;
}

enum { N_FIELDS = 7 };
static const gchar *const fields[N_FIELDS] = {
    "value",           "sampling_error", "upper_confidence_boundary", "lower_confidence_boundary", "upper_threshold",
    "lower_threshold", "realized"};

/* looseness: relative tolerance of the sampling error instead of the case's; 0: none. */
static void compare_series(GoldenContext *context, const json_t *expected, const DriftMetricSeries *series,
                           double looseness)
{
  guint n = series->chunks->len;
  g_autofree double *columns = g_new(double, N_FIELDS *(n + 1));
  const json_t *alerts = json_object_get(expected, "alert");
  for (guint i = 0; i < n; i++) {
    const DriftChunkEstimate *chunk = &g_array_index(series->chunks, DriftChunkEstimate, i);
    double error = json_number_value(json_array_get(json_object_get(expected, "sampling_error"), i));
    if (looseness == 0 || fabs(error - chunk->sampling_error) > looseness * error) error = chunk->sampling_error;
    const double high = fmin(1, chunk->value + 3 * error), low = fmax(0, chunk->value - 3 * error);
    const double values[N_FIELDS] = {chunk->value,
                                     error,
                                     looseness > 0 ? high : chunk->band_high,
                                     looseness > 0 ? low : chunk->band_low,
                                     series->threshold_high,
                                     series->threshold_low,
                                     chunk->realized};
    for (guint f = 0; f < N_FIELDS; f++) columns[f * n + i] = values[f];
    if (json_is_true(json_array_get(alerts, i)) != (chunk->alert != FALSE))
      golden_fail(context, "%s: alert[%u]", series->name, i);
  }
  if (json_array_size(alerts) != n) golden_fail(context, "%s: %u chunks", series->name, n);
  golden_seen(context, expected, "alert");
  for (guint f = 0; f < N_FIELDS; f++) golden_compare_list(context, expected, fields[f], columns + f * n, n);
}

/* The first calibrated probabilities, and the knots. */
static void compare_calibration(GoldenContext *context, const json_t *expected, const DriftCbpe *cbpe,
                                const DriftCbpeRows *analysis)
{
  const DriftIsotonic *isotonic = drift_cbpe_get_calibration(cbpe, 0);
  const json_t *knots = json_object_get(expected, "isotonic_knots");
  gsize n_first = json_array_size(json_object_get(expected, "calibrated_first20"));
  double **calibrated = drift_cbpe_calibrate(cbpe, analysis, NULL);
  golden_compare_list(context, expected, "calibrated_first20", calibrated[0], n_first);
  if (isotonic != NULL && json_is_object(knots)) {
    golden_compare_list(context, knots, "x", isotonic->x, isotonic->n_knots);
    golden_compare_list(context, knots, "y", isotonic->y, isotonic->n_knots);
  }
  g_free(calibrated[0]);
  g_free(calibrated);
}

static gboolean compare_binary(const json_t *golden_case, GoldenContext *context, const Loaded *reference,
                               const Loaded *analysis)
{
  json_t *expected = json_object_get(golden_case, "expected"), *metrics = json_object_get(expected, "metrics"), *one;
  const gchar *name;
  g_autoptr(GError) error = NULL;
  /* Where the decision differs the rest is compared under the reference's, as the family's convention allows. */
  const gboolean reference_calibrates = json_is_true(json_object_get(expected, "needs_calibration"));
  DriftCbpeSettings settings = {.chunk_size = chunk_size_of(golden_case), .seed = 1};
  g_autoptr(DriftCbpe) decided = drift_cbpe_new(&reference->rows, &settings, &error);
  if (decided != NULL && (drift_cbpe_get_calibration(decided, 0) != NULL) != reference_calibrates)
    golden_note(context, "the decision to calibrate differs from the reference's (%s)",
                reference_calibrates ? "it does" : "it does not");
  golden_informative(context, expected, "needs_calibration");
  settings.calibration = reference_calibrates ? DRIFT_CALIBRATE_ALWAYS : DRIFT_CALIBRATE_NEVER;
  g_autoptr(DriftCbpe) cbpe = decided != NULL ? drift_cbpe_new(&reference->rows, &settings, &error) : NULL;
  DriftEstimate *estimate = cbpe != NULL ? drift_cbpe_estimate(cbpe, &analysis->rows, &error) : NULL;
  if (estimate == NULL) {
    golden_fail(context, "%s", error->message);
    return FALSE;
  }
  golden_compare(context, expected, "chunks", ceil((double)analysis->rows.n / (double)settings.chunk_size));
  compare_calibration(context, expected, cbpe, &analysis->rows);
  json_object_foreach (metrics, name, one) {
    const DriftMetricSeries *series = drift_estimate_find(estimate, name);
    double looseness = 0;
    if (strcmp(name, "average_precision") == 0) looseness = .5;
    if (strcmp(name, "roc_auc") == 0 && has_ties(&reference->rows)) looseness = .02;
    if (series == NULL)
      golden_fail(context, "no metric %s", name);
    else
      compare_series(context, one, series, looseness);
  }
  g_ptr_array_unref(estimate);
  return TRUE;
}

gboolean golden_run_cbpe_binary(const json_t *golden_case, GoldenContext *context)
{
  Loaded reference = {0}, analysis = {0};
  gboolean ran = load_binary(context, golden_case, "reference", &reference) &&
                 load_binary(context, golden_case, "analysis", &analysis) &&
                 compare_binary(golden_case, context, &reference, &analysis);
  loaded_clear(&reference);
  loaded_clear(&analysis);
  return ran;
}

/* --- formulas ----------------------------------------------------------------------------------------------------- */

static void compare_formulas(GoldenContext *context, const json_t *expected, const DriftConfusion *confusion)
{
  const json_t *cells = json_object_get(expected, "confusion");
  golden_compare(context, expected, "accuracy", drift_confusion_accuracy(confusion));
  golden_compare(context, expected, "precision", drift_confusion_precision(confusion));
  golden_compare(context, expected, "recall", drift_confusion_recall(confusion));
  golden_compare(context, expected, "f1", drift_confusion_f1(confusion));
  golden_compare(context, expected, "specificity", drift_confusion_specificity(confusion));
  golden_compare(context, cells, "tp", confusion->true_positive);
  golden_compare(context, cells, "fp", confusion->false_positive);
  golden_compare(context, cells, "fn", confusion->false_negative);
  golden_compare(context, cells, "tn", confusion->true_negative);
}

gboolean golden_run_cbpe_formula(const json_t *golden_case, GoldenContext *context)
{
  gsize n;
  const gchar *path = text_of(golden_case, "inputs", "table"), *name;
  const double *p = golden_column(context, path, text_of(golden_case, "params", "p"), &n);
  json_t *expected = json_object_get(golden_case, "expected"), *one;
  if (p == NULL) return FALSE;
  json_object_foreach (expected, name, one) {
    const double *predicted = json_is_object(one) ? golden_column(context, path, name, &n) : NULL;
    if (predicted == NULL) continue;
    g_autofree guint32 *classes = classes_of(predicted, n);
    DriftConfusion confusion = drift_cbpe_confusion(p, classes, 1, n);
    compare_formulas(context, one, &confusion);
  }
  g_autofree guint32 *order = g_new(guint32, n + 1);
  if (!drift_order(p, n, order)) return FALSE;
  golden_compare_within(context, expected, "roc_auc", drift_expected_roc_auc(p, p, order, n), "rel", "roc_auc_abs");
  golden_compare_within(context, expected, "average_precision", drift_expected_average_precision(p, p, order, n, TRUE),
                        "rel", "ap_abs");
  return TRUE;
}

/* --- several classes ---------------------------------------------------------------------------------------------- */

static guint32 *class_column(GoldenContext *context, const gchar *path, const gchar *column, const json_t *names,
                             gsize *n)
{
  const gchar *const *texts = golden_column_text(context, path, column, n);
  guint32 *classes = g_new(guint32, *n + 1);
  for (gsize i = 0; i < *n; i++) {
    classes[i] = DRIFT_CODE_MISSING;
    for (guint c = 0; c < json_array_size(names); c++)
      if (g_strcmp0(json_string_value(json_array_get(names, c)), texts[i]) == 0) classes[i] = c;
  }
  return classes;
}

static gboolean load_multiclass(GoldenContext *context, const json_t *golden_case, const gchar *role, Loaded *loaded)
{
  gsize n = 0;
  const gchar *path = text_of(golden_case, "inputs", role);
  const json_t *names = json_object_get(json_object_get(golden_case, "params"), "classes");
  guint k = (guint)json_array_size(names);
  for (guint c = 0; c < k && c < G_N_ELEMENTS(loaded->scores); c++) {
    g_autofree gchar *column = g_strconcat("y_pred_proba_", json_string_value(json_array_get(names, c)), NULL);
    loaded->scores[c] = golden_column(context, path, column, &n);
    if (loaded->scores[c] == NULL) return FALSE;
  }
  loaded->predicted = class_column(context, path, "y_pred", names, &n);
  loaded->truth = class_column(context, path, "y_true", names, &n);
  loaded->rows = (DriftCbpeRows){n, k, loaded->scores, loaded->predicted, loaded->truth};
  return n > 0;
}

/* Greatest distance of an estimate from the expected one; infinite when a chunk or a metric is missing. */
static double worst_difference(const json_t *expected, const DriftEstimate *estimate)
{
  const gchar *name;
  json_t *list;
  double worst = 0;
  json_object_foreach ((json_t *)expected, name, list) {
    const DriftMetricSeries *series = drift_estimate_find(estimate, name);
    if (series == NULL || series->chunks->len != json_array_size(list)) return INFINITY;
    for (guint i = 0; i < series->chunks->len; i++)
      worst = fmax(worst, fabs(g_array_index(series->chunks, DriftChunkEstimate, i).value -
                               json_number_value(json_array_get(list, i))));
  }
  return worst;
}

static void compare_multiclass(GoldenContext *context, const json_t *expected, const DriftEstimate *estimate)
{
  const gchar *name;
  json_t *list;
  json_object_foreach ((json_t *)expected, name, list) {
    const DriftMetricSeries *series = drift_estimate_find(estimate, name);
    if (series == NULL) continue;
    g_autofree double *values = g_new(double, series->chunks->len + 1);
    for (guint i = 0; i < series->chunks->len; i++)
      values[i] = g_array_index(series->chunks, DriftChunkEstimate, i).value;
    golden_compare_list(context, expected, name, values, series->chunks->len);
  }
}

/* The reference's decision for a class is not in the file and may hang on its sort's order of equal scores: first the
 * decisions made here, then every other set of decisions; the closest one is compared. */
static gboolean run_multiclass(const json_t *golden_case, GoldenContext *context, const Loaded *reference,
                               const Loaded *analysis)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  guint k = reference->rows.n_scores, sets = k <= 6 ? 1u << k : 0;
  double best = INFINITY;
  DriftEstimate *closest = NULL;
  DriftCalibrationRule rules[G_N_ELEMENTS(reference->scores)];
  for (guint set = 0; set <= sets && !(best <= golden_tolerance(context, "abs")); set++) {
    for (guint c = 0; c < k; c++) rules[c] = (set - 1) >> c & 1 ? DRIFT_CALIBRATE_ALWAYS : DRIFT_CALIBRATE_NEVER;
    const DriftCbpeSettings settings = {.chunk_size = chunk_size_of(golden_case),
                                        .calibration_by_score = set > 0 ? rules : NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(&reference->rows, &settings, &error);
    DriftEstimate *estimate = cbpe != NULL ? drift_cbpe_estimate(cbpe, &analysis->rows, &error) : NULL;
    if (estimate == NULL) {
      golden_fail(context, "%s", error->message);
      break;
    }
    double worst = worst_difference(expected, estimate);
    if (set == 0 || worst < best) {
      if (closest != NULL) g_ptr_array_unref(closest);
      closest = g_ptr_array_ref(estimate);
      best = worst;
      if (set > 0) golden_note(context, "closer with the classes calibrated that are set in %u: %g", set - 1, worst);
    }
    g_ptr_array_unref(estimate);
  }
  if (closest == NULL) return FALSE;
  compare_multiclass(context, expected, closest);
  g_ptr_array_unref(closest);
  return TRUE;
}

gboolean golden_run_cbpe_multiclass(const json_t *golden_case, GoldenContext *context)
{
  Loaded reference = {0}, analysis = {0};
  gboolean ran = load_multiclass(context, golden_case, "reference", &reference) &&
                 load_multiclass(context, golden_case, "analysis", &analysis) &&
                 run_multiclass(golden_case, context, &reference, &analysis);
  loaded_clear(&reference);
  loaded_clear(&analysis);
  return ran;
}
