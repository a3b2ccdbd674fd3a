#include "drift/cbpe_internal.h"

#include <math.h>
#include <string.h>

#include "drift/estimate_internal.h"

struct _DriftCbpe {
  CbpeSettings settings;
  DriftIsotonic **calibration; /* [n_scores]; NULL where the score is used as it is */
  GPtrArray *fitted;           /* of Fitted*, one a metric asked for */
};

/* What the reference says about one metric: per element the sampling error and the realised chunks. */
typedef struct {
  const CbpeMetric *metric;
  guint n_elements;
  double *coefficients; /* [n_elements] */
  GArray **realized;    /* [n_elements] of double, by chunk */
} Fitted;

const gchar *const drift_cbpe_metric_names[] = {
    "roc_auc",          "average_precision", "f1", "precision", "recall", "specificity", "accuracy",
    "confusion_matrix", "business_value",    NULL};

#define MAX_CLASSES 1000

static gboolean check_rows(const DriftCbpeRows *rows, const gchar *what, GError **error)
{
  guint n_classes = MAX(rows->n_scores, 2);
  for (gsize i = 0; i < rows->n; i++) {
    for (guint s = 0; s < rows->n_scores; s++) {
      double p = rows->scores[s][i];
      if (isnan(p) || (p >= 0 && p <= 1)) continue;
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s, row %zu: the probability %g is outside [0, 1]", what,
                  i + 1, p);
      return FALSE;
    }
    for (guint c = 0; c < 2; c++) {
      const guint32 *classes = c == 0 ? rows->predicted : rows->truth;
      if (classes == NULL || classes[i] < n_classes || classes[i] == DRIFT_CODE_MISSING) continue;
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s, row %zu: the %s is none of the %u classes", what, i + 1,
                  c == 0 ? "prediction" : "label", n_classes);
      return FALSE;
    }
  }
  return TRUE;
}

static void settings_copy(CbpeSettings *copy, const DriftCbpeSettings *settings, guint n_scores)
{
  guint k = MAX(n_scores, 2);
  *copy = (CbpeSettings){.chunk_size = settings->chunk_size,
                         .n_scores = n_scores,
                         .n_classes = k,
                         .confusion_scale = settings->confusion_scale,
                         .business_value_per_prediction = settings->business_value_per_prediction,
                         .seed = settings->seed};
  if (settings->class_names != NULL) {
    copy->class_names = g_new0(gchar *, k + 1);
    for (guint c = 0; c < k; c++) copy->class_names[c] = g_strdup(settings->class_names[c]);
  }
  if (settings->business_value != NULL)
    copy->business_value = g_memdup2(settings->business_value, (gsize)k * k * sizeof(double));
}

/* --- the reference ------------------------------------------------------------------------------------------------ */

static gboolean fit_calibration(DriftCbpe *cbpe, const DriftCbpeRows *reference, const DriftCbpeSettings *settings,
                                GError **error)
{
  if (reference->truth == NULL) return TRUE;
  g_autofree double *scores = g_try_new(double, reference->n + 1), *outcomes = g_try_new(double, reference->n + 1);
  if (scores == NULL || outcomes == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", reference->n);
    return FALSE;
  }
  for (guint s = 0; s < reference->n_scores; s++) {
    guint32 positive = reference->n_scores == 1 ? 1 : s;
    gsize n = 0;
    DriftCalibrationRule rule =
        settings->calibration_by_score != NULL ? settings->calibration_by_score[s] : settings->calibration;
    if (rule == DRIFT_CALIBRATE_NEVER) continue;
    for (gsize i = 0; i < reference->n; i++) {
      if (isnan(reference->scores[s][i]) || reference->truth[i] == DRIFT_CODE_MISSING) continue;
      scores[n] = reference->scores[s][i];
      outcomes[n++] = reference->truth[i] == positive ? 1 : 0;
    }
    if (rule == DRIFT_CALIBRATE_AUTO)
      cbpe_needs_calibration(scores, outcomes, n, &cbpe->calibration[s]);
    else if ((cbpe->calibration[s] = drift_isotonic_fit(scores, outcomes, n, error)) == NULL)
      return FALSE;
  }
  return TRUE;
}

static guint realized_needs(const CbpeMetric *metric)
{
  return CBPE_NEEDS_TRUTH | (metric->needs & CBPE_NEEDS_PREDICTION ? CBPE_NEEDS_PREDICTION : CBPE_NEEDS_SCORES);
}

static gboolean all_one_class(const guint32 *classes, gsize n)
{
  for (gsize i = 1; i < n; i++)
    if (classes[i] != classes[0]) return FALSE;
  return TRUE;
}

static double realize(const CbpeMetric *metric, CbpeView *view, const CbpeSettings *settings, guint element)
{
  const gchar *undefined;
  if (view->n == 0) return NAN;
  if (!metric->one_class_allowed && (all_one_class(view->truth, view->n) || (metric->needs & CBPE_NEEDS_PREDICTION &&
                                                                             all_one_class(view->predicted, view->n))))
    return NAN;
  return metric->measure(view, settings, element, &undefined);
}

static gboolean is_possible(const CbpeMetric *metric, const CbpeSettings *settings, const DriftCbpeRows *rows)
{
  if (metric->needs & CBPE_NEEDS_PREDICTION && rows->predicted == NULL) return FALSE;
  return metric->measure != cbpe_business_measure || settings->business_value != NULL;
}

static void fitted_free(gpointer data)
{
  Fitted *fitted = data;
  for (guint e = 0; e < fitted->n_elements; e++) g_array_unref(fitted->realized[e]);
  g_free(fitted->realized);
  g_free(fitted->coefficients);
  g_free(fitted);
}

static void add_metric(DriftCbpe *cbpe, const CbpeMetric *metric)
{
  Fitted *fitted = g_new0(Fitted, 1);
  fitted->metric = metric;
  fitted->n_elements = metric->n_elements != NULL ? metric->n_elements(&cbpe->settings) : 1;
  fitted->coefficients = g_new(double, fitted->n_elements);
  fitted->realized = g_new0(GArray *, fitted->n_elements);
  for (guint e = 0; e < fitted->n_elements; e++) {
    fitted->coefficients[e] = NAN;
    fitted->realized[e] = g_array_new(FALSE, FALSE, sizeof(double));
  }
  g_ptr_array_add(cbpe->fitted, fitted);
}

static void fit_coefficients(const DriftCbpe *cbpe, Fitted *fitted, CbpeViews *whole)
{
  CbpeView *view = cbpe_views_get(whole, realized_needs(fitted->metric));
  for (guint e = 0; view->n > 0 && e < fitted->n_elements; e++)
    fitted->coefficients[e] = fitted->metric->error_coefficient(view, &cbpe->settings, e);
}

static void fit_chunk(const DriftCbpe *cbpe, Fitted *fitted, CbpeViews *chunk)
{
  CbpeView *view = cbpe_views_get(chunk, realized_needs(fitted->metric));
  for (guint e = 0; e < fitted->n_elements; e++) {
    double value = realize(fitted->metric, view, &cbpe->settings, e);
    g_array_append_val(fitted->realized[e], value);
  }
}

static void fit_metrics(DriftCbpe *cbpe, const DriftCbpeRows *reference)
{
  if (reference->truth == NULL) return;
  g_auto(CbpeViews) whole = {.rows = reference, .n = reference->n};
  for (guint i = 0; i < cbpe->fitted->len; i++) fit_coefficients(cbpe, cbpe->fitted->pdata[i], &whole);
  for (gsize first = 0; first < reference->n; first += cbpe->settings.chunk_size) {
    g_auto(CbpeViews)
        chunk = {.rows = reference, .first = first, .n = MIN(cbpe->settings.chunk_size, reference->n - first)};
    for (guint i = 0; i < cbpe->fitted->len; i++) fit_chunk(cbpe, cbpe->fitted->pdata[i], &chunk);
  }
}

static const CbpeMetric *find_metric(const CbpeMetric *metrics, const gchar *name)
{
  while (metrics->name != NULL && strcmp(metrics->name, name) != 0) metrics++;
  return metrics->name != NULL ? metrics : NULL;
}

static gboolean add_named(DriftCbpe *cbpe, const CbpeMetric *metrics, const DriftCbpeRows *reference,
                          const gchar *const *names, GError **error)
{
  for (guint i = 0; names[i] != NULL; i++) {
    const CbpeMetric *metric = find_metric(metrics, names[i]);
    if (metric == NULL) {
      g_autofree gchar *known = g_strjoinv(", ", (gchar **)drift_cbpe_metric_names);
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "no metric \"%s\" of a classifier; there are %s", names[i],
                  known);
      return FALSE;
    }
    if (!is_possible(metric, &cbpe->settings, reference)) {
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "metric \"%s\" needs %s", names[i],
                  reference->predicted == NULL ? "the predictions" : "a business value matrix");
      return FALSE;
    }
    gboolean repeated = FALSE;
    for (guint f = 0; f < cbpe->fitted->len; f++) repeated |= ((Fitted *)cbpe->fitted->pdata[f])->metric == metric;
    if (!repeated) add_metric(cbpe, metric);
  }
  return TRUE;
}

DriftCbpe *drift_cbpe_new(const DriftCbpeRows *reference, const DriftCbpeSettings *settings, GError **error)
{
  if (reference->n == 0 || reference->n > G_MAXUINT32 / 16 || reference->n_scores == 0 ||
      reference->n_scores > MAX_CLASSES || settings->chunk_size == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "the reference has %zu rows and %u score columns, chunks have %zu rows: none may be 0, rows at most "
                "2^28, columns %u",
                reference->n, reference->n_scores, settings->chunk_size, MAX_CLASSES);
    return NULL;
  }
  if (!check_rows(reference, "the reference", error)) return NULL;
  g_autoptr(DriftCbpe) cbpe = g_new0(DriftCbpe, 1);
  settings_copy(&cbpe->settings, settings, reference->n_scores);
  cbpe->calibration = g_new0(DriftIsotonic *, reference->n_scores);
  cbpe->fitted = g_ptr_array_new_with_free_func(fitted_free);
  if (!fit_calibration(cbpe, reference, settings, error)) return NULL;
  const CbpeMetric *metrics = reference->n_scores == 1 ? cbpe_binary_metrics : cbpe_multiclass_metrics;
  if (settings->metrics != NULL && !add_named(cbpe, metrics, reference, settings->metrics, error)) return NULL;
  for (; settings->metrics == NULL && metrics->name != NULL; metrics++)
    if (is_possible(metrics, &cbpe->settings, reference)) add_metric(cbpe, metrics);
  fit_metrics(cbpe, reference);
  return g_steal_pointer(&cbpe);
}

void drift_cbpe_free(DriftCbpe *cbpe)
{
  if (cbpe == NULL) return;
  for (guint s = 0; s < cbpe->settings.n_scores; s++) drift_isotonic_free(cbpe->calibration[s]);
  g_free(cbpe->calibration);
  g_strfreev(cbpe->settings.class_names);
  g_free(cbpe->settings.business_value);
  g_ptr_array_unref(cbpe->fitted);
  g_free(cbpe);
}

const DriftIsotonic *drift_cbpe_get_calibration(const DriftCbpe *cbpe, guint score)
{
  return score < cbpe->settings.n_scores ? cbpe->calibration[score] : NULL;
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static void columns_free(double **columns, guint n)
{
  for (guint s = 0; columns != NULL && s < n; s++) g_free(columns[s]);
  g_free(columns);
}

/* Several classes: divided by their sum; all of them 0: equal shares. */
static void divide_by_sum(double **columns, guint k, gsize n)
{
  for (gsize i = 0; k > 1 && i < n; i++) {
    double sum = 0;
    for (guint s = 0; s < k; s++) sum += columns[s][i];
    for (guint s = 0; s < k; s++) columns[s][i] = sum == 0 ? 1.0 / k : columns[s][i] / sum;
  }
}

double **drift_cbpe_calibrate(const DriftCbpe *cbpe, const DriftCbpeRows *rows, GError **error)
{
  guint k = cbpe->settings.n_scores;
  double **columns = g_new0(double *, k + 1);
  for (guint s = 0; s < k; s++) {
    columns[s] = g_try_new(double, rows->n + 1);
    if (columns[s] == NULL) {
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", rows->n);
      columns_free(columns, k);
      return NULL;
    }
    if (cbpe->calibration[s] != NULL)
      drift_isotonic_apply(cbpe->calibration[s], rows->scores[s], rows->n, columns[s]);
    else
      memcpy(columns[s], rows->scores[s], rows->n * sizeof(double));
  }
  divide_by_sum(columns, k, rows->n);
  return columns;
}

static double range_high(const CbpeMetric *metric, const CbpeSettings *settings)
{
  gboolean is_share = metric->measure == cbpe_confusion_measure && settings->confusion_scale != DRIFT_CONFUSION_COUNT;
  return is_share ? 1 : metric->high;
}

static void estimate_chunk(const DriftCbpe *cbpe, const Fitted *fitted, CbpeViews *expected, CbpeViews *realized,
                           DriftMetricSeries *const *series)
{
  const CbpeMetric *metric = fitted->metric;
  const CbpeSettings *settings = &cbpe->settings;
  CbpeView *view = cbpe_views_get(expected, metric->needs);
  CbpeView *known = realized->rows->truth != NULL ? cbpe_views_get(realized, realized_needs(metric)) : NULL;
  double root = sqrt((double)view->n);
  gboolean is_total = metric->is_total != NULL && metric->is_total(settings);
  for (guint e = 0; e < fitted->n_elements; e++) {
    DriftChunkEstimate chunk = {
        .first_row = expected->first, .n_rows = expected->n, .value = NAN, .sampling_error = NAN};
    chunk.undefined = "no row of the chunk has the values it needs";
    if (view->n > 0) {
      chunk.undefined = NULL;
      chunk.value = metric->measure(view, settings, e, &chunk.undefined);
      chunk.sampling_error = is_total ? fitted->coefficients[e] * root : fitted->coefficients[e] / root;
    }
    chunk.realized = known != NULL ? realize(metric, known, settings, e) : NAN;
    drift_series_append(series[e], chunk, metric->low, range_high(metric, settings));
  }
}

/* The series of a metric's elements, still without chunks: [n_elements]. */
static DriftMetricSeries **add_series(const DriftCbpe *cbpe, const Fitted *fitted, DriftEstimate *estimate)
{
  const CbpeMetric *metric = fitted->metric;
  DriftMetricSeries **series = g_new0(DriftMetricSeries *, fitted->n_elements);
  for (guint e = 0; e < fitted->n_elements; e++) {
    series[e] = drift_estimate_add(estimate, metric->element_name != NULL ? metric->element_name(&cbpe->settings, e)
                                                                          : g_strdup(metric->name));
    drift_series_set_thresholds(series[e], (const double *)(gpointer)fitted->realized[e]->data,
                                fitted->realized[e]->len, metric->low, range_high(metric, &cbpe->settings));
  }
  return series;
}

static DriftEstimate *estimate_chunks(const DriftCbpe *cbpe, const DriftCbpeRows *rows, double *const *calibrated)
{
  DriftEstimate *estimate = drift_estimate_new();
  g_autoptr(GPtrArray) series = g_ptr_array_new_with_free_func(g_free); /* of DriftMetricSeries**, one a metric */
  for (guint i = 0; i < cbpe->fitted->len; i++)
    g_ptr_array_add(series, add_series(cbpe, cbpe->fitted->pdata[i], estimate));
  for (gsize first = 0; first < rows->n; first += cbpe->settings.chunk_size) {
    gsize n = MIN(cbpe->settings.chunk_size, rows->n - first);
    g_auto(CbpeViews) expected = {.rows = rows, .first = first, .n = n, .calibrated = calibrated};
    g_auto(CbpeViews) realized = {.rows = rows, .first = first, .n = n};
    for (guint i = 0; i < cbpe->fitted->len; i++)
      estimate_chunk(cbpe, cbpe->fitted->pdata[i], &expected, &realized, series->pdata[i]);
  }
  return estimate;
}

static gboolean needs_prediction(const DriftCbpe *cbpe)
{
  for (guint i = 0; i < cbpe->fitted->len; i++)
    if (((Fitted *)cbpe->fitted->pdata[i])->metric->needs & CBPE_NEEDS_PREDICTION) return TRUE;
  return FALSE;
}

DriftEstimate *drift_cbpe_estimate(const DriftCbpe *cbpe, const DriftCbpeRows *analysis, GError **error)
{
  if (analysis->n_scores != cbpe->settings.n_scores || analysis->n > G_MAXUINT32 / 16) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "%zu rows with %u score columns: the reference has %u columns, and rows are at most 2^28", analysis->n,
                analysis->n_scores, cbpe->settings.n_scores);
    return NULL;
  }
  if (analysis->predicted == NULL && needs_prediction(cbpe)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "the rows to estimate have no predictions");
    return NULL;
  }
  if (!check_rows(analysis, "the rows to estimate", error)) return NULL;
  double **calibrated = drift_cbpe_calibrate(cbpe, analysis, error);
  if (calibrated == NULL) return NULL;
  DriftEstimate *estimate = estimate_chunks(cbpe, analysis, calibrated);
  columns_free(calibrated, cbpe->settings.n_scores);
  return estimate;
}
