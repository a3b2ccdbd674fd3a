#include "drift/estimate_internal.h"

#include <math.h>

static void series_free(gpointer data)
{
  DriftMetricSeries *series = data;
  g_free(series->name);
  g_array_unref(series->chunks);
  g_free(series);
}

DriftEstimate *drift_estimate_new(void)
{
  return g_ptr_array_new_with_free_func(series_free);
}

DriftMetricSeries *drift_estimate_add(DriftEstimate *estimate, gchar *name)
{
  DriftMetricSeries *series = g_new0(DriftMetricSeries, 1);
  series->name = name;
  series->threshold_low = series->threshold_high = NAN;
  series->chunks = g_array_new(FALSE, FALSE, sizeof(DriftChunkEstimate));
  g_ptr_array_add(estimate, series);
  return series;
}

DriftMetricSeries *drift_estimate_find(const DriftEstimate *estimate, const gchar *name)
{
  for (guint i = 0; i < estimate->len; i++) {
    DriftMetricSeries *series = estimate->pdata[i];
    if (g_strcmp0(series->name, name) == 0) return series;
  }
  return NULL;
}

guint drift_estimate_count_alerts(const DriftEstimate *estimate)
{
  guint count = 0;
  for (guint i = 0; i < estimate->len; i++) {
    const DriftMetricSeries *series = estimate->pdata[i];
    for (guint c = 0; c < series->chunks->len; c++)
      if (g_array_index(series->chunks, DriftChunkEstimate, c).alert) count++;
  }
  return count;
}

double drift_deviation(const double *values, gsize n, double *mean)
{
  double sum = 0, squares = 0;
  for (gsize i = 0; i < n; i++) sum += values[i];
  *mean = n > 0 ? sum / (double)n : NAN;
  for (gsize i = 0; i < n; i++) squares += (values[i] - *mean) * (values[i] - *mean);
  return n > 0 ? sqrt(squares / (double)n) : NAN;
}

void drift_series_set_thresholds(DriftMetricSeries *series, const double *realized, gsize n, double low, double high)
{
  g_autofree double *values = g_new(double, n + 1);
  gsize kept = 0;
  for (gsize i = 0; i < n; i++)
    if (!isnan(realized[i])) values[kept++] = realized[i];
  double mean, deviation = drift_deviation(values, kept, &mean);
  if (kept < 2) return; /* one chunk has no spread */
  series->threshold_low = MAX(low, mean - DRIFT_BAND_ERRORS * deviation);
  series->threshold_high = MIN(high, mean + DRIFT_BAND_ERRORS * deviation);
}

/* MIN and MAX would hide NaN. */
static double at_least(double value, double low)
{
  return value < low ? low : value;
}

static double at_most(double value, double high)
{
  return value > high ? high : value;
}

void drift_series_append(DriftMetricSeries *series, DriftChunkEstimate chunk, double low, double high)
{
  chunk.band_low = at_least(chunk.value - DRIFT_BAND_ERRORS * chunk.sampling_error, low);
  chunk.band_high = at_most(chunk.value + DRIFT_BAND_ERRORS * chunk.sampling_error, high);
  chunk.alert = chunk.value < series->threshold_low || chunk.value > series->threshold_high;
  g_array_append_val(series->chunks, chunk);
}
