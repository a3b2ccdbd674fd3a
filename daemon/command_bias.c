/* `kedge bias`. */
#include <string.h>

#include "daemon/bias.h"
#include "daemon/command_data.h"
#include "pipeline/output_file.h"

extern const Command command_bias;

typedef struct {
  gchar *data, *label, *prediction, *score, *strata, *positive, *html;
  gchar **sensitive, **reference, **bounds;
  double confidence;
  gint minimum_group;
  gboolean certain;
} Arguments;

static void arguments_clear(Arguments *a)
{
  gchar *const texts[] = {a->data, a->label, a->prediction, a->score, a->strata, a->positive, a->html};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
  g_strfreev(a->sensitive);
  g_strfreev(a->reference);
  g_strfreev(a->bounds);
}

/* "A,B" given once or several times. */
static gchar **split_all(gchar *const *lists)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new();
  for (guint i = 0; lists[i] != NULL; i++) {
    g_autofree gchar **parts = g_strsplit(lists[i], ",", -1);
    for (guint j = 0; parts[j] != NULL; j++) g_ptr_array_add(names, parts[j]);
  }
  g_ptr_array_add(names, NULL);
  return (gchar **)g_ptr_array_free(g_steal_pointer(&names), FALSE);
}

static json_t *measure(const Arguments *a, GError **error)
{
  g_autoptr(DriftTable) table = command_read_table(a->data, error);
  if (table == NULL) return NULL;
  g_auto(GStrv) sensitive = split_all(a->sensitive);
  BiasRequest request = {.data = table,
                         .data_name = strcmp(a->data, "-") == 0 ? "standard input" : a->data,
                         .label = a->label,
                         .prediction = a->prediction,
                         .score = a->score,
                         .strata = a->strata,
                         .favourable = a->positive,
                         .sensitive = (const gchar *const *)sensitive,
                         .reference = (const gchar *const *)a->reference,
                         .bounds = (const gchar *const *)a->bounds,
                         .confidence = a->confidence,
                         .minimum_group = a->minimum_group,
                         .certain = a->certain};
  json_t *report = bias_report(&request, error);
  if (report == NULL || a->html == NULL) return report;
  g_autofree gchar *page = bias_html(report);
  if (pipeline_output_file_write(a->html, page, strlen(page), error)) return report;
  json_decref(report);
  return NULL;
}

static int answer(CommandCommon *common, const Arguments *a)
{
  g_autoptr(GError) error = NULL;
  json_t *report = measure(a, &error);
  gboolean breached = json_is_true(json_object_get(report, "breached"));
  int status = command_report(common, report, error, bias_print);
  return status == COMMAND_DONE && breached ? COMMAND_NO : status;
}

static int run_bias(int argc, char **argv)
{
  Arguments a = {.confidence = .95, .minimum_group = 30};
  const GOptionEntry entries[] = {
      {"data", 0, 0, G_OPTION_ARG_FILENAME, &a.data, "CSV with a header; \"-\": standard input", "D.csv"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "the column with the truth", "L"},
      {"prediction", 0, 0, G_OPTION_ARG_STRING, &a.prediction, "the column with the decided class", "P"},
      {"score", 0, 0, G_OPTION_ARG_STRING, &a.score,
       "the column with the score of the favourable class: adds AUC and calibration by group", "S"},
      {"sensitive", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.sensitive,
       "attributes, up to four: each alone and every crossing is reported", "A,B"},
      {"positive", 0, 0, G_OPTION_ARG_STRING, &a.positive, "the favourable class (default: the larger of the two)",
       "CLASS"},
      {"reference", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.reference,
       "the group that others are compared with (default: the largest); a crossing is \"A|B=x|y\"", "A=GROUP"},
      {"strata", 0, 0, G_OPTION_ARG_STRING, &a.strata, "the column by which demographic disparity is conditional", "C"},
      {"minimum-group", 0, 0, G_OPTION_ARG_INT, &a.minimum_group,
       "smaller groups are shown and not compared (default 30)", "N"},
      {"confidence", 0, 0, G_OPTION_ARG_DOUBLE, &a.confidence, "of the intervals (default 0.95)", "C"},
      {"bound", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.bounds,
       "exit status 3 when the metric is beyond this value; may "
       "be given several times",
       "METRIC=VALUE"},
      {"certain", 0, 0, G_OPTION_ARG_NONE, &a.certain, "a bound is breached only when the whole interval is beyond it",
       NULL},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &a.html, "also write the report as a page that needs no network", "F"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_bias, &argc, &argv, entries, &common)) {
    if (argc != 1 || a.data == NULL || a.label == NULL || a.prediction == NULL || a.sensitive == NULL)
      status = command_usage(&common, "--data, --label, --prediction and --sensitive are needed");
    else if (a.minimum_group < 1 || !(a.confidence > 0 && a.confidence < 1))
      status = command_usage(&common, "--minimum-group is at least 1, --confidence lies between 0 and 1");
    else
      status = answer(&common, &a);
  }
  arguments_clear(&a);
  return status;
}

const Command command_bias = {
    .name = "bias",
    .arguments = "--data D.csv --label L --prediction P [--score S] --sensitive A[,B]... [--bound METRIC=VALUE]...",
    .summary = "measure how decisions differ between groups of people",
    .help =
        "Rates by group with their rows and intervals, what differs between groups, and what differs from a reference\n"
        "group. Two conventions of a difference are in use and both are printed: highest - lowest group (never\n"
        "negative; fairlearn's), and group - reference (signed; aif360's), each with the groups it is of. A figure "
        "without rows to compute it from is undefined and says\n"
        "why; it is never 0. Numbers with more than 12 distinct values are cut into quarters.\n"
        "\n"
        "Bounds: a difference or index is beyond its bound when its absolute value is larger, a ratio when it is\n"
        "below the bound or above its inverse (the 80 % rule: disparate_impact=0.8). An undefined metric does not "
        "keep\n"
        "a bound. Metrics between groups (each _difference and _ratio): demographic_parity, equal_opportunity,\n"
        "equalized_odds, predictive_parity, accuracy, error_rate, tpr, fpr, fnr, tnr, precision, selection_rate,\n"
        "base_rate; equalized_odds_difference_mean, equalized_odds_ratio_mean, calibration_difference.\n"
        "Group - reference, the farthest group (intervals hold for all groups at once): disparate_impact,\n"
        "statistical_parity_difference, true_positive_rate_difference,\n"
        "false_positive_rate_difference, false_negative_rate_difference, average_odds_difference,\n"
        "average_abs_odds_difference, wrong_prediction_difference, wrong_prediction_ratio,\n"
        "false_discovery_rate_difference, false_omission_rate_difference, label_parity_difference,\n"
        "label_disparate_impact. Over all rows: theil_index, generalized_entropy_index, coefficient_of_variation,\n"
        "between_group_theil_index, between_group_generalized_entropy_index. Rest - group, the farthest group\n"
        "(SageMaker Clarify): class_imbalance, difference_in_proportions_of_labels, kl_divergence, js_divergence,\n"
        "lp_norm, total_variation_distance, kolmogorov_smirnov, conditional_demographic_disparity_in_labels,\n"
        "conditional_demographic_disparity.",
    .run = run_bias,
};
