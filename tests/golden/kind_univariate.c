/* Columns followed over chunks, data quality rates, and what peers print end to end. */
#include <math.h>
#include <string.h>

#include "drift/binned.h"
#include "drift/statistics.h"
#include "drift/two_sample.h"
#include "drift/univariate.h"
#include "tests/golden/golden.h"

gboolean golden_run_univariate_chunked(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_data_quality_chunked(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_peer_end_to_end(const json_t *golden_case, GoldenContext *context);

static const gchar *input(const json_t *golden_case, const gchar *role)
{
  return json_string_value(json_object_get(json_object_get(golden_case, "inputs"), role));
}

static guint64 chunk_size_of(const json_t *golden_case)
{
  return (guint64)json_integer_value(json_object_get(json_object_get(golden_case, "params"), "chunk_size"));
}

/* The column of the file as a table's; numeric when `kind` says so. NULL: the case failed. */
static const DriftColumn *load(GoldenContext *context, DriftTable *table, const gchar *path, const gchar *name,
                               DriftFeatureKind kind)
{
  gsize n;
  DriftColumn *column = drift_table_add_column(table, name, kind);
  if (kind == DRIFT_NUMERIC) {
    const double *numbers = golden_column(context, path, name, &n);
    for (gsize i = 0; numbers != NULL && i < n; i++) drift_column_append_number(column, numbers[i]);
    return numbers != NULL ? column : NULL;
  }
  const gchar *const *texts = golden_column_text(context, path, name, &n);
  for (gsize i = 0; texts != NULL && i < n; i++)
    if (*texts[i] == '\0')
      drift_column_append_missing(column);
    else
      drift_column_append_text(column, texts[i], -1);
  return texts != NULL ? column : NULL;
}

static void compare_series(GoldenContext *context, const json_t *expected, const DriftChunkSeries *series)
{
  g_autofree double *thresholds = g_new(double, series->n_chunks + 1);
  for (guint i = 0; i < series->n_chunks; i++) thresholds[i] = series->threshold;
  golden_compare_list(context, expected, "value", series->values, series->n_chunks);
  golden_compare_list(context, expected, "upper_threshold", thresholds, series->n_chunks);
  golden_seen(context, expected, "lower_threshold"); /* there is none */
  golden_seen(context, expected, "alert");
  const json_t *alerts = json_object_get(expected, "alert");
  for (guint i = 0; i < series->n_chunks; i++)
    if (json_is_true(json_array_get(alerts, i)) != (series->alerts[i] != FALSE)) golden_fail(context, "alert[%u]", i);
}

static void run_columns(const json_t *golden_case, GoldenContext *context, const gchar *list, DriftFeatureKind kind)
{
  const json_t *names = json_object_get(json_object_get(golden_case, "params"), list);
  for (gsize i = 0; i < json_array_size(names); i++) {
    const gchar *name = json_string_value(json_array_get(names, i)), *method_name;
    json_t *methods = json_object_get(json_object_get(golden_case, "expected"), name), *expected;
    g_autoptr(DriftTable) table = drift_table_new();
    const DriftColumn *reference = load(context, table, input(golden_case, "reference"), name, kind);
    const DriftColumn *analysis = load(context, table, input(golden_case, "analysis"), name, kind);
    if (reference == NULL || analysis == NULL) return;
    json_object_foreach (methods, method_name, expected) {
      g_autoptr(GError) error = NULL;
      const DriftUnivariateMethod *method = drift_univariate_find(method_name, kind);
      g_autoptr(DriftChunkSeries) series =
          method != NULL ? drift_univariate_chunks(method, reference, analysis, chunk_size_of(golden_case), &error)
                         : NULL;
      if (series != NULL)
        compare_series(context, expected, series);
      else
        golden_fail(context, "%s of %s: %s", method_name, name, error != NULL ? error->message : "no such method");
    }
  }
}

gboolean golden_run_univariate_chunked(const json_t *golden_case, GoldenContext *context)
{
  run_columns(golden_case, context, "continuous", DRIFT_NUMERIC);
  run_columns(golden_case, context, "categorical", DRIFT_CATEGORICAL);
  return TRUE;
}

/* A column is categorical here when the reference values have unseen rates for it. */
gboolean golden_run_data_quality_chunked(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  json_t *missing = json_object_get(expected, "missing_rate"), *unseen = json_object_get(expected, "unseen_rate"),
         *out = json_object_get(expected, "out_of_range_rate"), *list;
  const gchar *name;
  guint64 size = chunk_size_of(golden_case);
  json_object_foreach (missing, name, list) {
    DriftFeatureKind kind = json_object_get(unseen, name) != NULL ? DRIFT_CATEGORICAL : DRIFT_NUMERIC;
    g_autoptr(DriftTable) table = drift_table_new();
    const DriftColumn *reference = load(context, table, input(golden_case, "reference"), name, kind);
    const DriftColumn *analysis = load(context, table, input(golden_case, "analysis"), name, kind);
    if (reference == NULL || analysis == NULL) return FALSE;
    gsize n = json_array_size(list);
    guint64 rows = kind == DRIFT_NUMERIC ? analysis->numbers->len : analysis->codes->len;
    g_autofree double *values = g_new0(double, 3 * n + 1);
    for (gsize i = 0; i < n; i++) {
      DriftQualityRates rates;
      if (!drift_quality_rates(reference, analysis, i * size, MIN((i + 1) * size, rows), &rates, NULL)) return FALSE;
      values[i] = rates.missing, values[n + i] = rates.unseen, values[2 * n + i] = rates.out_of_range;
    }
    golden_compare_list(context, missing, name, values, n);
    golden_compare_list(context, unseen, name, values + n, n);
    golden_compare_list(context, out, name, values + 2 * n, n);
  }
  return TRUE;
}

/* Information: peers bin by rules of their own, most of them on both samples together. What does not depend on bins is
 * compared, the rest is noted beside ours on the reference's deciles. */
gboolean golden_run_peer_end_to_end(const json_t *golden_case, GoldenContext *context)
{
  golden_informative_case(context);
  gsize n, m;
  const double *reference = golden_input(context, golden_case, "reference", &n);
  const double *current = golden_input(context, golden_case, "current", &m);
  if (reference == NULL || current == NULL) return FALSE;
  g_autoptr(DriftSample) a = drift_sample_new(reference, n, NULL), b = drift_sample_new(current, m, NULL);
  json_t *expected = json_object_get(golden_case, "expected"), *evidently = json_object_get(expected, "evidently"),
         *nannyml = json_object_get(expected, "nannyml");
  DriftKolmogorovSmirnov ks;
  DriftTestResult cvm;
  drift_ks_compute(a, b, &ks);
  drift_cramer_von_mises(a, b, &cvm);
  golden_compare(context, nannyml, "kolmogorov_smirnov", ks.distance);
  golden_compare(context, nannyml, "wasserstein", drift_wasserstein(a, b));
  golden_compare(context, evidently, "ks", drift_ks_exact_p(&ks, DRIFT_TWO_SIDED));
  golden_compare(context, evidently, "cramer_von_mises", cvm.p);
  golden_compare(context, evidently, "ed", sqrt(drift_energy_squared(a, b)));
  double edges[9], p[10], q[10];
  guint n_edges = drift_quantile_edges(a, 10, edges);
  drift_bin_sample(a, edges, n_edges, p);
  drift_bin_sample(b, edges, n_edges, q);
  golden_note(context, "PSI on the reference's deciles %.6g; evidently %.6g, frouros %.6g",
              drift_psi(p, q, n_edges + 1), json_number_value(json_object_get(evidently, "psi")),
              json_number_value(json_object_get(json_object_get(expected, "frouros"), "PSI")));
  return TRUE;
}
