/* Rates by group and their comparisons in fairlearn's and aif360's conventions. */
#include <math.h>
#include <string.h>

#include "drift/fairness_mitigation.h"
#include "tests/golden/golden.h"

gboolean golden_run_fairness_table(const json_t *golden_case, GoldenContext *context);

static const struct {
  const gchar *key;
  DriftFairnessRateKind rate;
} rate_keys[] = {{"selection_rate", DRIFT_RATE_SELECTION}, {"accuracy", DRIFT_RATE_ACCURACY},
                 {"precision", DRIFT_RATE_PRECISION},      {"tpr", DRIFT_RATE_TRUE_POSITIVE},
                 {"fpr", DRIFT_RATE_FALSE_POSITIVE},       {"fnr", DRIFT_RATE_FALSE_NEGATIVE},
                 {"tnr", DRIFT_RATE_TRUE_NEGATIVE},        {"base_rate", DRIFT_RATE_BASE}};

static const gchar *const between_metrics[] = {"demographic_parity_difference",  "demographic_parity_ratio",
                                               "equalized_odds_difference",      "equalized_odds_ratio",
                                               "equal_opportunity_difference",   "equal_opportunity_ratio",
                                               "equalized_odds_difference_mean", "equalized_odds_ratio_mean"};

/* aif360's key, the metric's name here, and its value without a denominator: aif360 takes the false discovery rate of a
 * group of which nobody is selected as 0, the other rates as undefined. */
static const struct {
  const gchar *key, *metric;
  double empty_rate;
} reference_metrics[] = {
    {"statistical_parity_difference", "statistical_parity_difference", NAN},
    {"disparate_impact", "disparate_impact", NAN},
    {"average_odds_difference", "average_odds_difference", NAN},
    {"average_abs_odds_difference", "average_abs_odds_difference", NAN},
    {"equal_opportunity_difference", "true_positive_rate_difference", NAN},
    {"error_rate_difference", "wrong_prediction_difference", NAN},
    {"error_rate_ratio", "wrong_prediction_ratio", NAN},
    {"false_discovery_rate_difference", "false_discovery_rate_difference", 0},
    {"theil_index", "theil_index", NAN},
    {"generalized_entropy_index", "generalized_entropy_index", NAN},
    {"coefficient_of_variation", "coefficient_of_variation", NAN},
    {"between_group_theil_index", "between_group_theil_index", NAN},
    {"dataset_statistical_parity_difference", "label_parity_difference", NAN},
    {"dataset_disparate_impact", "label_disparate_impact", NAN},
};

static void compare_rates(GoldenContext *context, const json_t *expected, const DriftConfusion *counts,
                          const DriftFairnessSettings *settings)
{
  DriftFairnessValue value;
  golden_compare(context, expected, "count", (double)drift_confusion_total(counts));
  for (guint i = 0; i < G_N_ELEMENTS(rate_keys); i++) {
    drift_fairness_rate(counts, rate_keys[i].rate, settings, &value);
    golden_compare(context, expected, rate_keys[i].key, value.value);
  }
}

static void compare_counts(GoldenContext *context, const json_t *expected, const DriftFairness *fairness)
{
  double least = INFINITY, most = 0, total = (double)drift_confusion_total(&fairness->overall);
  for (guint i = 0; i < fairness->n_groups; i++) {
    double n = (double)drift_confusion_total(&fairness->groups[i]);
    least = fmin(least, n);
    most = fmax(most, n);
  }
  golden_compare(context, json_object_get(expected, "difference_between_groups"), "count", most - least);
  golden_compare(context, json_object_get(expected, "ratio_between_groups"), "count", least / most);
  golden_compare(context, json_object_get(expected, "difference_to_overall"), "count", total - least);
  golden_compare(context, json_object_get(expected, "ratio_to_overall"), "count", least / total);
}

static void compare_ranges(GoldenContext *context, const json_t *expected, const DriftFairness *fairness)
{
  compare_counts(context, expected, fairness);
  for (guint i = 0; i < G_N_ELEMENTS(rate_keys); i++) {
    const gchar *key = rate_keys[i].key;
    DriftFairnessRange between, overall;
    drift_fairness_between(fairness, rate_keys[i].rate, &between);
    drift_fairness_to_overall(fairness, rate_keys[i].rate, &overall);
    golden_compare(context, json_object_get(expected, "difference_between_groups"), key, between.difference.value);
    golden_compare(context, json_object_get(expected, "ratio_between_groups"), key, between.ratio.value);
    golden_compare(context, json_object_get(expected, "difference_to_overall"), key, overall.difference.value);
    golden_compare(context, json_object_get(expected, "ratio_to_overall"), key, overall.ratio.value);
  }
}

static void compare_metric(GoldenContext *context, const json_t *expected, const gchar *key, const gchar *name,
                           const DriftFairness *fairness)
{
  DriftFairnessValue value;
  drift_fairness_metric_compute(drift_fairness_metric_find(name), fairness, &value);
  golden_compare(context, expected, key, value.value);
}

/* fairlearn's table. */
static gboolean check_between(GoldenContext *context, const json_t *expected, const DriftFairnessRows *rows,
                              const DriftGrouping *grouping, DriftFairnessSettings settings)
{
  settings.empty_rate = 0;
  g_autoptr(DriftFairness) fairness = drift_fairness_new(rows, grouping, &settings, NULL);
  if (fairness == NULL) return FALSE;
  compare_rates(context, json_object_get(expected, "overall"), &fairness->overall, &settings);
  const json_t *by_group = json_object_get(expected, "by_group"), *auc = json_object_get(expected, "roc_auc_by_group");
  g_autofree DriftGroupScores *scores = drift_fairness_scores(fairness);
  if (json_object_size(by_group) != fairness->n_groups) golden_fail(context, "%u groups", fairness->n_groups);
  for (guint i = 0; i < fairness->n_groups; i++) {
    compare_rates(context, json_object_get(by_group, grouping->names[i]), &fairness->groups[i], &settings);
    if (scores != NULL) golden_compare(context, auc, grouping->names[i], scores[i].auc.value);
  }
  compare_ranges(context, expected, fairness);
  for (guint i = 0; i < G_N_ELEMENTS(between_metrics); i++)
    compare_metric(context, expected, between_metrics[i], between_metrics[i], fairness);
  return TRUE;
}

static void check_reweighing(GoldenContext *context, const json_t *expected, const DriftFairness *fairness)
{
  static const gchar *const keys[] = {"priv_unfav", "priv_fav", "unpriv_unfav", "unpriv_fav"};
  double weights[4];
  drift_reweighing_weights(fairness, weights);
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) golden_compare(context, expected, keys[i], weights[i]);
}

/* aif360's: privileged against all others. */
static gboolean check_reference(GoldenContext *context, const json_t *expected, const DriftFairnessRows *rows,
                                const DriftGrouping *grouping, DriftFairnessSettings settings)
{
  const gchar *privileged = json_string_value(json_object_get(expected, "privileged"));
  if (privileged == NULL) return TRUE;
  gint index = drift_grouping_find(grouping, privileged);
  if (index < 0) return FALSE;
  golden_seen(context, expected, "privileged");
  g_autoptr(DriftGrouping) two = drift_grouping_privileged(grouping, (guint)index);
  settings.reference = 0;
  for (guint i = 0; i < G_N_ELEMENTS(reference_metrics); i++) {
    settings.empty_rate = reference_metrics[i].empty_rate;
    g_autoptr(DriftFairness) fairness = drift_fairness_new(rows, two, &settings, NULL);
    if (fairness == NULL) return FALSE;
    compare_metric(context, expected, reference_metrics[i].key, reference_metrics[i].metric, fairness);
    if (i == 0) check_reweighing(context, json_object_get(expected, "reweighing_weights"), fairness);
  }
  return TRUE;
}

static DriftGrouping *read_groups(GoldenContext *context, const json_t *inputs, const gchar *path)
{
  const json_t *names = json_object_get(inputs, "sensitive");
  g_autoptr(DriftTable) table = drift_table_new();
  gsize n = 0;
  for (gsize c = 0; c < json_array_size(names); c++) {
    const gchar *name = json_string_value(json_array_get(names, c));
    const gchar *const *cells = golden_column_text(context, path, name, &n);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_CATEGORICAL);
    for (gsize i = 0; i < n; i++)
      if (*cells[i] == '\0')
        drift_column_append_missing(column);
      else
        drift_column_append_text(column, cells[i], -1);
  }
  g_autoptr(GError) error = NULL;
  DriftGrouping *grouping =
      drift_grouping_new((const DriftColumn *const *)table->columns->pdata, table->columns->len, n, &error);
  if (grouping == NULL) golden_fail(context, "%s", error->message);
  return grouping;
}

static gint8 *read_outcome(GoldenContext *context, const json_t *inputs, const gchar *path, const gchar *role, gsize *n)
{
  const double *numbers = golden_column(context, path, json_string_value(json_object_get(inputs, role)), n);
  gint8 *outcome = g_new(gint8, *n + 1);
  for (gsize i = 0; i < *n; i++) outcome[i] = isnan(numbers[i]) ? DRIFT_FAIRNESS_NONE : numbers[i] == 1;
  return outcome;
}

gboolean golden_run_fairness_table(const json_t *golden_case, GoldenContext *context)
{
  const json_t *inputs = json_object_get(golden_case, "inputs"), *expected = json_object_get(golden_case, "expected");
  const gchar *path = json_string_value(json_object_get(inputs, "table"));
  gsize n = 0, n_predictions = 0, n_scores = 0;
  g_autofree gint8 *label = read_outcome(context, inputs, path, "y_true", &n);
  g_autofree gint8 *prediction = read_outcome(context, inputs, path, "y_pred", &n_predictions);
  const gchar *score_name = json_string_value(json_object_get(inputs, "score"));
  const double *score = score_name != NULL ? golden_column(context, path, score_name, &n_scores) : NULL;
  g_autoptr(DriftGrouping) grouping = read_groups(context, inputs, path);
  if (grouping == NULL || n != n_predictions || n != grouping->n_rows) return FALSE;
  DriftFairnessRows rows = {.n = n, .label = label, .prediction = prediction, .score = score};
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.minimum_group = 1;
  return check_between(context, expected, &rows, grouping, settings) &&
         check_reference(context, json_object_get(expected, "aif360"), &rows, grouping, settings);
}
