#include "drift/univariate.h"

#include <math.h>
#include <string.h>

#include "drift/binned.h"
#include "drift/category_counts.h"
#include "drift/two_sample.h"

struct _DriftUnivariateReference {
  const DriftColumn *column;
  DriftSample *sample; /* numeric */
  double *edges;       /* numeric: n_bins + 1 equal steps over the reference's range */
  double *counts;      /* [n_bins + 1] of the reference; the last is what lies outside, 0 */
  guint n_bins;
};

static guint64 column_rows(const DriftColumn *column)
{
  return column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len;
}

/* Doane's (1976) number of bins: Sturges' plus a term for skewness. */
static guint doane_bins(const DriftSample *sample)
{
  double n = (double)sample->n, third = 0;
  DriftSampleMoments moments = drift_sample_moments(sample);
  double sigma = sqrt(moments.squares / n), range = sample->sorted[sample->n - 1] - sample->sorted[0];
  if (n < 3 || !(sigma > 0) || isinf(range)) return 1;
  for (gsize i = 0; i < sample->n; i++) third += pow((sample->sorted[i] - moments.mean) / sigma, 3);
  double scale = sqrt(6 * (n - 2) / ((n + 1) * (n + 3)));
  double width = range / (1 + log2(n) + log2(1 + fabs(third / n) / scale));
  return (guint)CLAMP(ceil(range / width), 1, 4096);
}

/* numpy's histogram: [e0, e1) … [ek-1, ek]; the extra cell gets what is outside. */
static void histogram(const DriftUnivariateReference *reference, const DriftSample *sample, double *counts)
{
  guint n = reference->n_bins;
  g_autofree double *cells = g_new(double, n + 2);
  drift_bin_sample(sample, reference->edges, n + 1, cells);
  double outside = cells[0] + cells[n + 1];
  gsize at_top = 0;
  for (gsize i = sample->n - (gsize)cells[n + 1]; i < sample->n && sample->sorted[i] == reference->edges[n]; i++)
    at_top++;
  memcpy(counts, cells + 1, n * sizeof(double));
  counts[n - 1] += (double)at_top;
  counts[n] = outside - (double)at_top;
}

static gboolean reference_init(DriftUnivariateReference *reference, const DriftColumn *column, GError **error)
{
  *reference = (DriftUnivariateReference){.column = column};
  if (column->kind == DRIFT_CATEGORICAL) return TRUE;
  reference->sample = drift_sample_new((const double *)(gpointer)column->numbers->data, column->numbers->len, error);
  if (reference->sample == NULL) return FALSE;
  if (reference->sample->n == 0 || reference->sample->n_infinite > 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "column \"%s\" of the reference has %s", column->name,
                reference->sample->n == 0 ? "no values" : "infinite values");
    g_clear_pointer(&reference->sample, drift_sample_free);
    return FALSE;
  }
  guint n = reference->n_bins = doane_bins(reference->sample);
  double low = reference->sample->sorted[0], high = reference->sample->sorted[reference->sample->n - 1];
  reference->edges = g_new(double, n + 1);
  for (guint i = 0; i <= n; i++) reference->edges[i] = low + i * ((high - low) / n);
  reference->edges[n] = high;
  reference->counts = g_new0(double, n + 1);
  histogram(reference, reference->sample, reference->counts);
  return TRUE;
}

static void reference_clear(DriftUnivariateReference *reference)
{
  g_clear_pointer(&reference->sample, drift_sample_free);
  g_free(reference->edges);
  g_free(reference->counts);
}

/* --- methods ------------------------------------------------------------------------------------------------------ */

static DriftSample *sample_rows(const DriftColumn *column, guint64 start, guint64 end)
{
  return drift_sample_new((const double *)(gpointer)column->numbers->data + start, end - start, NULL);
}

static double numeric_ks(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                         guint64 end, double *p)
{
  (void)p;
  g_autoptr(DriftSample) sample = sample_rows(column, start, end);
  DriftKolmogorovSmirnov ks = {.distance = NAN};
  if (sample != NULL) drift_ks_compute(reference->sample, sample, &ks);
  return ks.distance;
}

static double numeric_wasserstein(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                                  guint64 end, double *p)
{
  (void)p;
  g_autoptr(DriftSample) sample = sample_rows(column, start, end);
  return sample != NULL ? drift_wasserstein(reference->sample, sample) : NAN;
}

static double by_histogram(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                           guint64 end, DriftCountStatistic distance)
{
  g_autoptr(DriftSample) sample = sample_rows(column, start, end);
  g_autofree double *counts = g_new0(double, reference->n_bins + 1);
  if (sample == NULL || sample->n == 0) return NAN;
  histogram(reference, sample, counts);
  return distance(reference->counts, counts, reference->n_bins + 1);
}

static double numeric_js(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                         guint64 end, double *p)
{
  (void)p;
  return by_histogram(reference, column, start, end, drift_js_distance);
}

static double numeric_hellinger(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                                guint64 end, double *p)
{
  (void)p;
  return by_histogram(reference, column, start, end, drift_hellinger);
}

static double by_category(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                          guint64 end, DriftCountStatistic distance)
{
  g_autoptr(DriftCategoryCounts) counts =
      drift_category_counts_new(reference->column, 0, column_rows(reference->column), column, start, end);
  return distance(counts->reference, counts->current, counts->n_cells);
}

static double category_js(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                          guint64 end, double *p)
{
  (void)p;
  return by_category(reference, column, start, end, drift_js_distance);
}

static double category_hellinger(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                                 guint64 end, double *p)
{
  (void)p;
  return by_category(reference, column, start, end, drift_hellinger);
}

static double category_l_infinity(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                                  guint64 end, double *p)
{
  (void)p;
  return by_category(reference, column, start, end, drift_l_infinity);
}

static double category_chi_squared(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start,
                                   guint64 end, double *p)
{
  g_autoptr(DriftCategoryCounts) counts =
      drift_category_counts_new(reference->column, 0, column_rows(reference->column), column, start, end);
  DriftTestResult result;
  drift_chi_squared_test(counts->reference, counts->current, counts->n_cells, &result);
  *p = result.p;
  return result.statistic;
}

const DriftUnivariateMethod drift_univariate_methods[] = {
    {"kolmogorov_smirnov", DRIFT_NUMERIC, "largest difference of the distribution functions", numeric_ks},
    {"wasserstein", DRIFT_NUMERIC, "area between the distribution functions", numeric_wasserstein},
    {"jensen_shannon", DRIFT_NUMERIC, "distance in base 2 on Doane's bins of the reference", numeric_js},
    {"hellinger", DRIFT_NUMERIC, "on the same bins", numeric_hellinger},
    {"chi2", DRIFT_CATEGORICAL, "contingency test; p < .05 alerts", category_chi_squared},
    {"jensen_shannon", DRIFT_CATEGORICAL, "distance in base 2", category_js},
    {"hellinger", DRIFT_CATEGORICAL, "of the categories' shares", category_hellinger},
    {"l_infinity", DRIFT_CATEGORICAL, "largest difference of a category's share", category_l_infinity},
    {NULL, DRIFT_NUMERIC, NULL, NULL},
};

const DriftUnivariateMethod *drift_univariate_find(const gchar *name, DriftFeatureKind kind)
{
  for (const DriftUnivariateMethod *method = drift_univariate_methods; method->name != NULL; method++)
    if (method->kind == kind && g_strcmp0(method->name, name) == 0) return method;
  return NULL;
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

/* Mean + 3 standard deviations (divisor n) of the reference's own chunks; NaN when none is defined. */
static double threshold_of(const DriftUnivariateMethod *method, const DriftUnivariateReference *reference,
                           guint64 chunk_size)
{
  guint64 rows = column_rows(reference->column);
  g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(double));
  double p = NAN, mean = 0, squares = 0;
  for (guint64 start = 0; start < rows; start += chunk_size) {
    double value = method->compute(reference, reference->column, start, MIN(start + chunk_size, rows), &p);
    if (!isnan(p)) return NAN;
    if (!isnan(value)) g_array_append_val(values, value);
  }
  for (guint i = 0; i < values->len; i++) mean += g_array_index(values, double, i) / values->len;
  for (guint i = 0; i < values->len; i++) squares += pow(g_array_index(values, double, i) - mean, 2);
  return values->len > 0 ? mean + 3 * sqrt(squares / values->len) : NAN;
}

DriftChunkSeries *drift_univariate_chunks(const DriftUnivariateMethod *method, const DriftColumn *reference,
                                          const DriftColumn *analysis, guint64 chunk_size, GError **error)
{
  if (reference->kind != method->kind || analysis->kind != method->kind || chunk_size == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s: column \"%s\" is not %s on both sides, or no chunk size",
                method->name, reference->name, method->kind == DRIFT_NUMERIC ? "numeric" : "categorical");
    return NULL;
  }
  DriftUnivariateReference prepared;
  if (!reference_init(&prepared, reference, error)) return NULL;
  guint64 rows = column_rows(analysis), n = (rows + chunk_size - 1) / chunk_size;
  DriftChunkSeries *series = g_new0(DriftChunkSeries, 1);
  series->n_chunks = (guint)n;
  series->values = g_new0(double, n + 1);
  series->alerts = g_new0(gboolean, n + 1);
  series->threshold = threshold_of(method, &prepared, chunk_size);
  for (guint64 i = 0; i < n; i++) {
    double p = NAN;
    guint64 start = i * chunk_size;
    series->values[i] = method->compute(&prepared, analysis, start, MIN(start + chunk_size, rows), &p);
    series->alerts[i] = isnan(p) ? series->values[i] > series->threshold : p < .05;
  }
  reference_clear(&prepared);
  return series;
}

void drift_chunk_series_free(DriftChunkSeries *series)
{
  if (series == NULL) return;
  g_free(series->values);
  g_free(series->alerts);
  g_free(series);
}
