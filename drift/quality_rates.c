/* Rates of missing, unseen and out-of-range values, declared in drift/univariate.h. */
#include <math.h>

#include "drift/univariate.h"

typedef struct {
  guint64 missing, strange;
} QualityCounts;

static QualityCounts count_numbers(const DriftColumn *reference, const DriftColumn *column, guint64 start, guint64 end)
{
  double low = INFINITY, high = -INFINITY;
  for (guint64 row = 0; row < reference->numbers->len; row++) {
    double number = g_array_index(reference->numbers, double, row);
    low = fmin(low, number); /* fmin and fmax pass over NaN */
    high = fmax(high, number);
  }
  QualityCounts counts = {0, 0};
  for (guint64 row = start; row < end; row++) {
    double number = g_array_index(column->numbers, double, row);
    if (isnan(number))
      counts.missing++;
    else
      counts.strange += number < low || number > high;
  }
  return counts;
}

static QualityCounts count_categories(const DriftColumn *reference, const DriftColumn *column, guint64 start,
                                      guint64 end)
{
  QualityCounts counts = {0, 0};
  /* A dictionary may hold texts that no row has. */
  g_autofree gboolean *used = g_new0(gboolean, reference->dictionary->len + 1);
  for (guint64 row = 0; row < reference->codes->len; row++) {
    guint32 code = g_array_index(reference->codes, guint32, row);
    if (code != DRIFT_CODE_MISSING) used[code] = TRUE;
  }
  g_autofree gboolean *seen = g_new0(gboolean, column->dictionary->len + 1);
  for (guint code = 0; code < column->dictionary->len; code++) {
    guint there = GPOINTER_TO_UINT(g_hash_table_lookup(reference->code_of, column->dictionary->pdata[code]));
    seen[code] = there > 0 && used[there - 1];
  }
  for (guint64 row = start; row < end; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    if (code == DRIFT_CODE_MISSING)
      counts.missing++;
    else
      counts.strange += !seen[code];
  }
  return counts;
}

gboolean drift_quality_rates(const DriftColumn *reference, const DriftColumn *column, guint64 start, guint64 end,
                             DriftQualityRates *rates, GError **error)
{
  if (reference->kind != column->kind) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "column \"%s\" is %s in the reference and %s here",
                column->name, reference->kind == DRIFT_NUMERIC ? "numeric" : "text",
                column->kind == DRIFT_NUMERIC ? "numeric" : "text");
    return FALSE;
  }
  gboolean numeric = column->kind == DRIFT_NUMERIC;
  QualityCounts counts =
      numeric ? count_numbers(reference, column, start, end) : count_categories(reference, column, start, end);
  double rows = end > start ? (double)(end - start) : NAN, strange = (double)counts.strange / rows;
  *rates = (DriftQualityRates){.missing = (double)counts.missing / rows,
                               .unseen = numeric ? NAN : strange,
                               .out_of_range = numeric ? strange : NAN};
  return TRUE;
}
