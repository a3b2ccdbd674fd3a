/* Rows of several features. */
#include <math.h>
#include <string.h>

#include "drift/multivariate.h"
#include "drift/order.h"
#include "tests/golden/golden.h"

gboolean golden_run_two_sample_multivariate(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_pca_reconstruction_chunked(const json_t *golden_case, GoldenContext *context);

/* The rows of a file that lack nothing. NULL: the case failed. */
static double *load(GoldenContext *context, const json_t *golden_case, const gchar *role, DriftMatrix *matrix)
{
  const json_t *inputs = json_object_get(golden_case, "inputs"), *names = json_object_get(inputs, "columns");
  const gchar *path = json_string_value(json_object_get(inputs, role));
  g_autoptr(DriftTable) table = drift_table_new();
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  for (gsize k = 0; k < json_array_size(names); k++) {
    gsize n;
    const gchar *name = json_string_value(json_array_get(names, k));
    const double *numbers = golden_column(context, path, name, &n);
    if (numbers == NULL) return NULL;
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    g_array_append_vals(column->numbers, numbers, (guint)n);
    table->n_rows = n;
    g_ptr_array_add(columns, (gpointer)name);
  }
  g_ptr_array_add(columns, NULL);
  gsize n, left_out;
  g_autoptr(GError) error = NULL;
  double *values = drift_matrix_from_table(table, (const gchar *const *)columns->pdata, &n, &left_out, &error);
  if (values == NULL) golden_fail(context, "%s", error->message);
  *matrix = (DriftMatrix){values, n, columns->len - 1};
  return values;
}

static double mean_of(const double *values, gsize n)
{
  double sum = 0;
  for (gsize i = 0; i < n; i++) sum += values[i];
  return sum / (double)n;
}

static void compare_mmd(GoldenContext *context, json_t *expected, const DriftMatrix *reference,
                        const DriftMatrix *current)
{
  const gchar *name;
  json_t *one;
  json_object_foreach (expected, name, one) {
    DriftMmd mmd = {NAN, NAN, NAN, NAN, NAN};
    gboolean median = strcmp(name, "sigma_median_pooled") == 0;
    double sigma = median ? 0 : json_number_value(json_object_get(one, "sigma"));
    drift_mmd(reference, current, sigma, NULL, &mmd, NULL);
    golden_compare(context, one, "sigma", mmd.sigma);
    golden_compare(context, one, "mmd2_unbiased", mmd.unbiased);
    golden_compare(context, one, "mmd2_biased", mmd.biased);
  }
}

static void compare_pca(GoldenContext *context, json_t *expected, const DriftMatrix *reference,
                        const DriftMatrix *current)
{
  g_autofree double *errors = g_new(double, MAX(reference->n, current->n));
  g_autoptr(DriftPca) fewest = drift_pca_new(reference, 0, .65, NULL);
  golden_compare(context, expected, "components_for_0_65", drift_pca_get_n_components(fewest));
  golden_compare_list(context, expected, "eigenvalues", drift_pca_get_eigenvalues(fewest), reference->d);
  for (guint k = 1; k <= reference->d; k++) {
    g_autofree gchar *key = g_strdup_printf("k%u", k);
    json_t *one = json_object_get(expected, key);
    if (one == NULL) continue;
    g_autoptr(DriftPca) pca = drift_pca_new(reference, k, 0, NULL);
    drift_pca_errors(pca, reference, errors);
    double mean = mean_of(errors, reference->n), squares = 0;
    for (gsize i = 0; i < reference->n; i++) squares += (errors[i] - mean) * (errors[i] - mean);
    golden_compare(context, one, "ref_mean_error", mean);
    golden_compare(context, one, "ref_std_error_ddof0", sqrt(squares / (double)reference->n));
    drift_pca_errors(pca, current, errors);
    golden_compare(context, one, "cur_mean_error", mean_of(errors, current->n));
    golden_compare(context, one, "explained", drift_pca_get_explained(pca, k));
  }
}

static void compare_covariances(GoldenContext *context, const json_t *expected, const DriftMatrix *reference,
                                const DriftMatrix *current)
{
  const json_t *of_hotelling = json_object_get(expected, "hotelling");
  const json_t *of_mahalanobis = json_object_get(expected, "mahalanobis");
  g_autofree double *distances = g_new(double, MAX(reference->n, current->n));
  DriftHotelling hotelling = {NAN, NAN, NAN, NAN, NAN};
  drift_hotelling(reference, current, &hotelling, NULL);
  golden_compare(context, of_hotelling, "t2", hotelling.t2);
  golden_compare(context, of_hotelling, "f", hotelling.f);
  golden_compare(context, of_hotelling, "df1", hotelling.df1);
  golden_compare(context, of_hotelling, "df2", hotelling.df2);
  golden_compare(context, of_hotelling, "p", hotelling.p);
  if (!drift_mahalanobis(reference, reference, distances, NULL)) return;
  golden_compare(context, of_mahalanobis, "ref_mean", mean_of(distances, reference->n));
  if (!drift_mahalanobis(reference, current, distances, NULL)) return;
  golden_compare(context, of_mahalanobis, "cur_mean", mean_of(distances, current->n));
}

/* The classifier on the rows it was fitted to, standardised by the reference. */
static double insample_auc(const DriftMatrix *reference, const DriftMatrix *current)
{
  gsize n = reference->n + current->n;
  guint d = reference->d;
  g_autofree double *rows = g_new(double, n *d), *sides = g_new(double, n), *scores = g_new(double, n),
                    *means = g_new0(double, d), *scales = g_new(double, d);
  g_autofree guint32 *order = g_new(guint32, n);
  memcpy(rows, reference->values, reference->n * d * sizeof(double));
  memcpy(rows + reference->n * d, current->values, current->n * d * sizeof(double));
  const DriftMatrix pooled = {rows, n, d};
  for (gsize i = 0; i < reference->n * d; i++) means[i % d] += rows[i] / (double)reference->n;
  for (gsize i = 0; i < n; i++) sides[i] = i < reference->n ? 0 : 1;
  drift_matrix_scales(reference, means, scales);
  for (gsize i = 0; i < n * d; i++) rows[i] = (rows[i] - means[i % d]) / scales[i % d];
  gpointer model = drift_learner_logistic.fit(&pooled, sides, DRIFT_GOAL_PROBABILITY, 0, NULL);
  if (model == NULL || !drift_learner_logistic.predict(model, &pooled, scores, NULL)) return NAN;
  drift_learner_logistic.free(model);
  drift_order(scores, n, order);
  return drift_expected_roc_auc(sides, scores, order, n);
}

gboolean golden_run_two_sample_multivariate(const json_t *golden_case, GoldenContext *context)
{
  DriftMatrix reference, current;
  json_t *expected = json_object_get(golden_case, "expected");
  g_autofree double *a = load(context, golden_case, "reference", &reference);
  g_autofree double *b = a != NULL ? load(context, golden_case, "current", &current) : NULL;
  if (b == NULL) return FALSE;
  DriftEnergy energy = {NAN, NAN, NAN};
  json_t *of_energy = json_object_get(expected, "energy_multivariate");
  compare_mmd(context, json_object_get(expected, "mmd_rbf"), &reference, &current);
  drift_energy_distance(&reference, &current, NULL, &energy, NULL);
  golden_compare(context, of_energy, "e_squared", energy.squared);
  golden_compare(context, of_energy, "test_statistic", energy.statistic);
  compare_covariances(context, expected, &reference, &current);
  compare_pca(context, json_object_get(expected, "pca_reconstruction"), &reference, &current);
  golden_compare_within(context, expected, "domain_classifier_logistic_insample_auc",
                        insample_auc(&reference, &current), "rel", "auc_abs");
  json_t *peer = json_object_get(expected, "peer"), *value;
  const gchar *name;
  json_object_foreach (peer, name, value) {
    golden_informative(context, peer, name);
    const gchar *inner;
    json_t *ignored;
    if (json_is_object(value))
      json_object_foreach (value, inner, ignored) golden_informative(context, value, inner);
  }
  return TRUE;
}

gboolean golden_run_pca_reconstruction_chunked(const json_t *golden_case, GoldenContext *context)
{
  DriftMatrix reference, analysis;
  const json_t *params = json_object_get(golden_case, "params"), *expected = json_object_get(golden_case, "expected");
  g_autofree double *a = load(context, golden_case, "reference", &reference);
  g_autofree double *b = a != NULL ? load(context, golden_case, "analysis", &analysis) : NULL;
  g_autoptr(GError) error = NULL;
  if (b == NULL) return FALSE;
  g_autoptr(DriftPca) pca =
      drift_pca_new(&reference, (guint)json_integer_value(json_object_get(params, "n_components")), .65, &error);
  DriftEstimate *estimate =
      pca != NULL ? drift_pca_chunks(pca, &reference, &analysis,
                                     (gsize)json_integer_value(json_object_get(params, "chunk_size")), &error)
                  : NULL;
  if (estimate == NULL) {
    golden_fail(context, "%s", error->message);
    return FALSE;
  }
  const DriftMetricSeries *series = drift_estimate_find(estimate, "reconstruction_error");
  static const gchar *const fields[] = {
      "value",           "sampling_error", "upper_confidence_boundary", "lower_confidence_boundary",
      "upper_threshold", "lower_threshold"};
  for (guint f = 0; f < G_N_ELEMENTS(fields); f++) {
    g_autofree double *values = g_new(double, series->chunks->len + 1);
    for (guint i = 0; i < series->chunks->len; i++) {
      const DriftChunkEstimate *chunk = &g_array_index(series->chunks, DriftChunkEstimate, i);
      const double all[] = {chunk->value,    chunk->sampling_error,  chunk->band_high,
                            chunk->band_low, series->threshold_high, series->threshold_low};
      values[i] = all[f];
      if (json_is_true(json_array_get(json_object_get(expected, "alert"), i)) != (chunk->alert != FALSE))
        golden_fail(context, "alert[%u]", i);
    }
    golden_compare_list(context, expected, fields[f], values, series->chunks->len);
  }
  golden_seen(context, expected, "alert");
  g_ptr_array_unref(estimate);
  return TRUE;
}
