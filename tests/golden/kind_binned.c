/* Distances and tests of counts: of numbers in given bins, of categories, given as such. */
#include <math.h>
#include <string.h>

#include "drift/binned.h"
#include "drift/category_counts.h"
#include "drift/statistics.h"
#include "drift/two_sample.h"
#include "tests/golden/golden.h"

gboolean golden_run_binned_numeric(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_two_sample_categorical(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_counts(const json_t *golden_case, GoldenContext *context);

typedef struct {
  const gchar *name;
  DriftPsiRule rule;
  double floor;
} PsiVariant;
static const PsiVariant psi_variants[] = {
    {"strict", DRIFT_PSI_STRICT, 0},       {"floor_1e_4", DRIFT_PSI_FLOOR, 1e-4},
    {"floor_1e_6", DRIFT_PSI_FLOOR, 1e-6}, {"zero_to_1e_4", DRIFT_PSI_ZERO_TO, 1e-4},
    {"evidently", DRIFT_PSI_EVIDENTLY, 0}, {"laplace_half", DRIFT_PSI_HALF, 0},
};

typedef struct {
  const gchar *name;
  DriftCountStatistic compute;
} Distance;
static const Distance distances[] = {
    {"hellinger", drift_hellinger},
    {"bhattacharyya_coefficient", drift_bhattacharyya_coefficient},
    {"tvd", drift_total_variation},
    {"l_infinity", drift_l_infinity},
    {"histogram_intersection_complement", drift_intersection_complement},
    {"cramers_v", drift_cramers_v},
};

typedef struct {
  const gchar *name;
  const gchar *statistic; /* its key */
  void (*run)(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
} Test;
static const Test tests[] = {
    {"chi2_contingency", "statistic", drift_chi_squared_test},
    {"g_test", "statistic", drift_g_test},
    {"chi2_yates", "statistic", drift_yates_test},
    {"fisher_exact", "odds_ratio", drift_fisher_exact},
    {"two_proportion_z", "z", drift_two_proportion_z},
    {"evidently_chisquare_goodness_of_fit", "statistic", drift_goodness_of_fit_test},
};

static void compare_counts(GoldenContext *context, const json_t *expected, const double *p, const double *q, guint k)
{
  const json_t *psi = json_object_get(expected, "psi"), *js = json_object_get(expected, "js");
  for (guint i = 0; i < G_N_ELEMENTS(psi_variants); i++)
    golden_compare(context, psi, psi_variants[i].name,
                   drift_psi_by_rule(p, q, k, psi_variants[i].rule, psi_variants[i].floor));
  double nats = drift_js_divergence(p, q, k), distance = drift_js_distance(p, q, k);
  golden_compare(context, js, "divergence_nat", nats);
  golden_compare(context, js, "distance_nat", sqrt(nats));
  golden_compare(context, js, "divergence_base2", distance * distance);
  golden_compare(context, js, "distance_base2", distance);
  for (guint i = 0; i < G_N_ELEMENTS(distances); i++)
    golden_compare(context, expected, distances[i].name, distances[i].compute(p, q, k));
  const json_t *kl = json_object_get(expected, "kl");
  golden_compare(context, kl, "ref_cur_nat", drift_kl_divergence(p, q, k));
  golden_compare(context, kl, "cur_ref_nat", drift_kl_divergence(q, p, k));
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
    const json_t *test = json_object_get(expected, tests[i].name);
    DriftTestResult result;
    tests[i].run(p, q, k, &result);
    golden_compare(context, test, tests[i].statistic, result.statistic);
    golden_compare(context, test, "dof", result.df);
    golden_compare(context, test, "p", result.p);
  }
  const json_t *mistake = json_object_get(expected, "evidently_chisquare_goodness_of_fit");
  golden_informative(context, mistake, "warning");
}

gboolean golden_run_binned_numeric(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  gsize n, m, n_edges;
  const double *reference = golden_input(context, golden_case, "reference", &n);
  const double *current = golden_input(context, golden_case, "current", &m);
  const double *edges =
      golden_numbers(context, json_object_get(json_object_get(golden_case, "params"), "inner_edges"), &n_edges);
  if (reference == NULL || current == NULL || n_edges == 0) return FALSE;
  g_autoptr(DriftSample) a = drift_sample_new(reference, n, NULL), b = drift_sample_new(current, m, NULL);
  g_autofree double *p = g_new(double, n_edges + 1), *q = g_new(double, n_edges + 1);
  drift_bin_sample(a, edges, (guint)n_edges, p);
  drift_bin_sample(b, edges, (guint)n_edges, q);
  golden_compare_list(context, expected, "counts_ref", p, n_edges + 1);
  golden_compare_list(context, expected, "counts_cur", q, n_edges + 1);
  compare_counts(context, expected, p, q, (guint)n_edges + 1);
  return TRUE;
}

gboolean golden_run_counts(const json_t *golden_case, GoldenContext *context)
{
  const json_t *params = json_object_get(golden_case, "params");
  gsize n, m;
  const double *p = golden_numbers(context, json_object_get(params, "counts_ref"), &n);
  const double *q = golden_numbers(context, json_object_get(params, "counts_cur"), &m);
  if (n != m || n == 0) return FALSE;
  compare_counts(context, json_object_get(golden_case, "expected"), p, q, (guint)n);
  return TRUE;
}

/* A categorical column of a table that the caller frees. */
static const DriftColumn *column_of(DriftTable *table, const gchar *name, const gchar *const *cells, gsize n)
{
  DriftColumn *column = drift_table_add_column(table, name, DRIFT_CATEGORICAL);
  for (gsize i = 0; i < n; i++)
    if (*cells[i] == '\0')
      drift_column_append_missing(column);
    else
      drift_column_append_text(column, cells[i], -1);
  return column;
}

gboolean golden_run_two_sample_categorical(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  gsize n, m;
  const gchar *const *reference = golden_input_text(context, golden_case, "reference", &n);
  const gchar *const *current = golden_input_text(context, golden_case, "current", &m);
  if (reference == NULL || current == NULL) return FALSE;
  g_autoptr(DriftTable) table = drift_table_new();
  const DriftColumn *a = column_of(table, "reference", reference, n), *b = column_of(table, "current", current, m);
  g_autoptr(DriftCategoryCounts) counts = drift_category_counts_new(a, 0, n, b, 0, m);
  const json_t *names = json_object_get(expected, "categories");
  golden_seen(context, expected, "categories");
  golden_seen(context, expected, "unseen_in_ref");
  if (json_array_size(names) != counts->n_cells) golden_fail(context, "categories: %u", counts->n_cells);
  guint unseen = 0;
  for (guint c = 0; c < counts->n_cells && c < json_array_size(names); c++) {
    if (g_strcmp0(counts->names[c], json_string_value(json_array_get(names, c))) != 0)
      golden_fail(context, "categories[%u]: \"%s\"", c, counts->names[c]);
    if (counts->reference[c] > 0) continue;
    const json_t *list = json_object_get(expected, "unseen_in_ref");
    if (g_strcmp0(json_string_value(json_array_get(list, unseen++)), counts->names[c]) != 0)
      golden_fail(context, "unseen_in_ref: \"%s\"", counts->names[c]);
  }
  if (unseen != json_array_size(json_object_get(expected, "unseen_in_ref")))
    golden_fail(context, "unseen_in_ref: %u", unseen);
  golden_compare_list(context, expected, "counts_ref", counts->reference, counts->n_cells);
  golden_compare_list(context, expected, "counts_cur", counts->current, counts->n_cells);
  compare_counts(context, expected, counts->reference, counts->current, counts->n_cells);
  return TRUE;
}
