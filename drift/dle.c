#include "drift/dle.h"

#include <math.h>
#include <string.h>

#include "drift/estimate_internal.h"

/* --- losses and metrics ------------------------------------------------------------------------------------------- */

static double absolute_loss(double truth, double predicted)
{
  return fabs(truth - predicted);
}

static double relative_loss(double truth, double predicted)
{
  return truth != 0 ? fabs((truth - predicted) / truth) : NAN;
}

static double squared_loss(double truth, double predicted)
{
  return (truth - predicted) * (truth - predicted);
}

static double log_squared_loss(double truth, double predicted)
{
  if (!(truth > -1 && predicted > -1)) return NAN;
  double difference = log1p(truth) - log1p(predicted);
  return difference * difference;
}

typedef double (*Loss)(double truth, double predicted); /* NaN: undefined */

typedef struct {
  const gchar *name;
  Loss loss;
  gboolean root;
  const gchar *undefined; /* where the loss is */
} DleMetric;

static const DleMetric dle_metrics[] = {
    {"mae", absolute_loss, FALSE, NULL},
    {"mape", relative_loss, FALSE, "the label is 0, a relative error means nothing"},
    {"mse", squared_loss, FALSE, NULL},
    {"rmse", squared_loss, TRUE, NULL},
    {"msle", log_squared_loss, FALSE, "the label or the prediction is not above -1"},
    {"rmsle", log_squared_loss, TRUE, "the label or the prediction is not above -1"},
};
const gchar *const drift_dle_metric_names[] = {"mae", "mape", "mse", "rmse", "msle", "rmsle", NULL};

/* --- a fitted metric ---------------------------------------------------------------------------------------------- */

typedef struct {
  const DleMetric *metric;
  gpointer model;              /* borrowed from `models` of the DriftDle */
  double mean_loss, deviation; /* over the reference, divisor n */
  double *realized;            /* by chunk of the reference */
  gsize n_realized;
} Fitted;

struct _DriftDle {
  const DriftLearner *learner;
  gsize chunk_size;
  guint d;
  guint n_fitted;
  Fitted fitted[G_N_ELEMENTS(dle_metrics)];
  gpointer models[G_N_ELEMENTS(dle_metrics)]; /* one a loss; owned */
  GPtrArray *left_out;                        /* of gchar*: "NAME is undefined: …" */
};

void drift_dle_free(DriftDle *dle)
{
  if (dle == NULL) return;
  for (guint i = 0; i < G_N_ELEMENTS(dle_metrics); i++) {
    g_free(dle->fitted[i].realized);
    if (dle->models[i] != NULL) dle->learner->free(dle->models[i]);
  }
  g_ptr_array_unref(dle->left_out);
  g_free(dle);
}

/* Features and the prediction behind them, of rows [first, first + n) that have a prediction (and a label when
 * truth_needed); rows[k] is where row k came from. NULL: no memory. */
static double *join_rows(const DriftDleRows *rows, gsize first, gsize n, gboolean truth_needed, DriftMatrix *matrix,
                         gsize *origins)
{
  guint d = rows->features.d;
  double *values = g_try_new(double, MAX(n, 1) * (d + 1));
  gsize kept = 0;
  for (gsize i = first; values != NULL && i < first + n; i++) {
    if (isnan(rows->predicted[i]) || (truth_needed && isnan(rows->truth[i]))) continue;
    if (d > 0) memcpy(values + kept * (d + 1), rows->features.values + i * d, d * sizeof(double));
    values[kept * (d + 1) + d] = rows->predicted[i];
    origins[kept++] = i;
  }
  *matrix = (DriftMatrix){values, kept, d + 1};
  return values;
}

static gboolean check_rows(const DriftDleRows *rows, const DriftLearner *learner, const gchar *what, GError **error)
{
  gsize n = rows->features.n;
  guint d = rows->features.d;
  for (gsize i = 0; i < n; i++) {
    const gchar *wrong = NULL;
    if (isinf(rows->predicted[i])) wrong = "the prediction is infinite";
    if (rows->truth != NULL && isinf(rows->truth[i])) wrong = "the label is infinite";
    for (guint k = 0; k < d; k++) {
      double x = rows->features.values[i * d + k];
      if (isinf(x)) wrong = "a feature is infinite";
      if (isnan(x) && !learner->takes_missing) wrong = "a feature is missing, which this learner cannot take";
    }
    if (wrong == NULL) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s, row %zu: %s", what, i + 1, wrong);
    return FALSE;
  }
  return TRUE;
}

/* Mean of the losses over the rows that have both; its root where the metric says so. */
static double realize(const DleMetric *metric, const DriftDleRows *rows, gsize first, gsize n)
{
  double sum = 0;
  gsize count = 0;
  for (gsize i = first; i < first + n; i++) {
    if (isnan(rows->predicted[i]) || isnan(rows->truth[i])) continue;
    sum += metric->loss(rows->truth[i], rows->predicted[i]);
    count++;
  }
  if (count == 0) return NAN;
  return metric->root ? sqrt(sum / (double)count) : sum / (double)count;
}

static void realize_chunks(Fitted *fitted, const DriftDleRows *reference, gsize chunk_size)
{
  gsize n = reference->features.n;
  fitted->n_realized = (n + chunk_size - 1) / chunk_size;
  fitted->realized = g_new(double, fitted->n_realized);
  for (gsize c = 0; c < fitted->n_realized; c++)
    fitted->realized[c] = realize(fitted->metric, reference, c * chunk_size, MIN(chunk_size, n - c * chunk_size));
}

static gpointer find_model(const DriftDle *dle, Loss loss)
{
  for (guint i = 0; i < dle->n_fitted; i++)
    if (dle->fitted[i].metric->loss == loss) return dle->fitted[i].model;
  return NULL;
}

/* FALSE with error: the metric is undefined here or its model could not be fitted. */
static gboolean fit_metric(DriftDle *dle, const DleMetric *metric, const DriftDleRows *reference,
                           const DriftMatrix *matrix, const gsize *origins, const DriftDleSettings *settings,
                           GError **error)
{
  g_autofree double *losses = g_try_new(double, matrix->n + 1);
  if (losses == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for %zu rows", matrix->n);
    return FALSE;
  }
  for (gsize i = 0; i < matrix->n; i++) {
    losses[i] = metric->loss(reference->truth[origins[i]], reference->predicted[origins[i]]);
    if (isfinite(losses[i])) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "%s is undefined: the reference, row %zu: %s", metric->name,
                origins[i] + 1, isnan(losses[i]) && metric->undefined != NULL ? metric->undefined : "too large");
    return FALSE;
  }
  Fitted fitted = {.metric = metric, .model = find_model(dle, metric->loss)};
  if (fitted.model == NULL) {
    fitted.model = dle->learner->fit(matrix, losses, DRIFT_GOAL_VALUE, settings->seed, error);
    if (fitted.model == NULL) return FALSE;
    dle->models[dle->n_fitted] = fitted.model;
  }
  fitted.deviation = drift_deviation(losses, matrix->n, &fitted.mean_loss);
  realize_chunks(&fitted, reference, settings->chunk_size);
  dle->fitted[dle->n_fitted++] = fitted;
  return TRUE;
}

static const DleMetric *find_metric(const gchar *name)
{
  for (guint m = 0; m < G_N_ELEMENTS(dle_metrics); m++)
    if (strcmp(dle_metrics[m].name, name) == 0) return &dle_metrics[m];
  return NULL;
}

static gboolean is_fitted(const DriftDle *dle, const DleMetric *metric)
{
  for (guint i = 0; i < dle->n_fitted; i++)
    if (dle->fitted[i].metric == metric) return TRUE;
  return FALSE;
}

static gboolean fit_named(DriftDle *dle, const DriftDleRows *reference, const DriftMatrix *matrix, const gsize *origins,
                          const DriftDleSettings *settings, GError **error)
{
  for (guint i = 0; settings->metrics[i] != NULL; i++) {
    const DleMetric *metric = find_metric(settings->metrics[i]);
    if (metric == NULL) {
      g_autofree gchar *known = g_strjoinv(", ", (gchar **)drift_dle_metric_names);
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "no metric \"%s\" of a regression; there are %s",
                  settings->metrics[i], known);
      return FALSE;
    }
    if (!is_fitted(dle, metric) && !fit_metric(dle, metric, reference, matrix, origins, settings, error)) return FALSE;
  }
  return TRUE;
}

static gboolean fit_all(DriftDle *dle, const DriftDleRows *reference, const DriftMatrix *matrix, const gsize *origins,
                        const DriftDleSettings *settings, GError **error)
{
  for (guint m = 0; m < G_N_ELEMENTS(dle_metrics); m++) {
    GError *reason = NULL;
    if (fit_metric(dle, &dle_metrics[m], reference, matrix, origins, settings, &reason)) continue;
    if (!g_error_matches(reason, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED)) {
      g_propagate_error(error, reason);
      return FALSE;
    }
    g_ptr_array_add(dle->left_out, g_strdup(reason->message)); /* a metric that nobody asked for by name */
    g_error_free(reason);
  }
  return TRUE;
}

DriftDle *drift_dle_new(const DriftDleRows *reference, const DriftLearner *learner, const DriftDleSettings *settings,
                        GError **error)
{
  gsize n = reference->features.n;
  if (n == 0 || settings->chunk_size == 0 || reference->truth == NULL ||
      reference->features.d >= DRIFT_MATRIX_MAX_COLUMNS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "the reference needs rows, labels, chunks of at least one row and fewer than %u features",
                DRIFT_MATRIX_MAX_COLUMNS);
    return NULL;
  }
  if (!check_rows(reference, learner, "the reference", error)) return NULL;
  g_autofree gsize *origins = g_try_new(gsize, n);
  DriftMatrix matrix = {NULL, 0, 0};
  g_autofree double *values = origins != NULL ? join_rows(reference, 0, n, TRUE, &matrix, origins) : NULL;
  if (values == NULL || matrix.n == 0) {
    g_set_error(error, DRIFT_ERROR, values == NULL ? DRIFT_ERROR_LIMIT : DRIFT_ERROR_UNDEFINED,
                values == NULL ? "no memory for %zu rows"
                               : "none of the reference's %zu rows has both a label and a prediction",
                n);
    return NULL;
  }
  g_autoptr(DriftDle) dle = g_new0(DriftDle, 1);
  dle->learner = learner;
  dle->left_out = g_ptr_array_new_with_free_func(g_free);
  dle->chunk_size = settings->chunk_size;
  dle->d = reference->features.d;
  gboolean done = settings->metrics != NULL ? fit_named(dle, reference, &matrix, origins, settings, error)
                                            : fit_all(dle, reference, &matrix, origins, settings, error);
  return done ? g_steal_pointer(&dle) : NULL;
}

const GPtrArray *drift_dle_get_left_out(const DriftDle *dle)
{
  return dle->left_out;
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

/* Standard error of a mean loss, or of its root by the delta method. */
static double sampling_error(const Fitted *fitted, gsize n)
{
  double error = fitted->deviation / sqrt((double)n);
  if (!fitted->metric->root) return error;
  return fitted->mean_loss > 0 ? error / (2 * sqrt(fitted->mean_loss)) : 0;
}

static gboolean estimate_chunk(const DriftDle *dle, const Fitted *fitted, const DriftDleRows *rows, gsize first,
                               const DriftMatrix *matrix, double *losses, DriftMetricSeries *series, gsize n,
                               GError **error)
{
  DriftChunkEstimate chunk = {.first_row = first, .n_rows = n, .value = NAN, .sampling_error = NAN, .realized = NAN};
  if (matrix->n == 0)
    chunk.undefined = "no row of the chunk has a prediction";
  else {
    double sum = 0;
    if (!dle->learner->predict(fitted->model, matrix, losses, error)) return FALSE;
    for (gsize i = 0; i < matrix->n; i++) sum += fmax(0, losses[i]);
    chunk.value = sum / (double)matrix->n;
    if (fitted->metric->root) chunk.value = sqrt(chunk.value);
    chunk.sampling_error = sampling_error(fitted, matrix->n);
  }
  if (rows->truth != NULL) chunk.realized = realize(fitted->metric, rows, first, n);
  drift_series_append(series, chunk, 0, INFINITY);
  return TRUE;
}

static gboolean estimate_chunks(const DriftDle *dle, const DriftDleRows *rows, DriftMetricSeries **series,
                                GError **error)
{
  gsize longest = MIN(dle->chunk_size, MAX(rows->features.n, 1));
  g_autofree gsize *origins = g_try_new(gsize, longest);
  g_autofree double *losses = g_try_new(double, longest);
  for (gsize first = 0; first < rows->features.n; first += dle->chunk_size) {
    gsize n = MIN(dle->chunk_size, rows->features.n - first);
    DriftMatrix matrix;
    g_autofree double *values =
        origins != NULL && losses != NULL ? join_rows(rows, first, n, FALSE, &matrix, origins) : NULL;
    if (values == NULL) {
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for chunks of %zu rows", longest);
      return FALSE;
    }
    for (guint i = 0; i < dle->n_fitted; i++)
      if (!estimate_chunk(dle, &dle->fitted[i], rows, first, &matrix, losses, series[i], n, error)) return FALSE;
  }
  return TRUE;
}

DriftEstimate *drift_dle_estimate(const DriftDle *dle, const DriftDleRows *analysis, GError **error)
{
  if (analysis->features.d != dle->d) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "%u features, the reference has %u", analysis->features.d,
                dle->d);
    return NULL;
  }
  if (!check_rows(analysis, dle->learner, "the rows to estimate", error)) return NULL;
  DriftEstimate *estimate = drift_estimate_new();
  DriftMetricSeries *series[G_N_ELEMENTS(dle_metrics)];
  for (guint i = 0; i < dle->n_fitted; i++) {
    const Fitted *fitted = &dle->fitted[i];
    series[i] = drift_estimate_add(estimate, g_strdup(fitted->metric->name));
    drift_series_set_thresholds(series[i], fitted->realized, fitted->n_realized, 0, INFINITY);
  }
  if (estimate_chunks(dle, analysis, series, error)) return estimate;
  g_ptr_array_unref(estimate);
  return NULL;
}
