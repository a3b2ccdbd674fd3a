/* The report of `kedge bias` as tables. */
#include <stdio.h>
#include <string.h>

#include "daemon/bias.h"
#include "daemon/command.h"

const gchar *const bias_shown_rates[] = {"base_rate", "selection_rate", "tpr", "fpr", "precision", "accuracy", NULL};

gchar *bias_value_text(const json_t *value)
{
  const json_t *middle = json_object_get(value, "value"), *low = json_object_get(value, "low"),
               *high = json_object_get(value, "high");
  if (!json_is_number(middle)) return g_strdup("–");
  if (!json_is_number(low) || !json_is_number(high)) return g_strdup_printf("%.3f", json_number_value(middle));
  return g_strdup_printf("%.3f [%.3f, %.3f]", json_number_value(middle), json_number_value(low),
                         json_number_value(high));
}

gchar *bias_groups_text(const json_t *metric)
{
  const gchar *group = json_string_value(json_object_get(metric, "group"));
  const gchar *other = json_string_value(json_object_get(metric, "other_group"));
  if (group == NULL) return g_strdup("");
  return other == NULL ? g_strdup(group) : g_strconcat(group, ", ", other, NULL);
}

const BiasComparison bias_shown_comparisons[] = {{"selected", "selection_rate", "difference"},
                                                 {"disparate impact", "selection_rate", "ratio"},
                                                 {"TPR", "tpr", "difference"},
                                                 {"FPR", "fpr", "difference"},
                                                 {"precision", "precision", "difference"},
                                                 {"accuracy", "accuracy", "difference"},
                                                 {NULL, NULL, NULL}};

static void print_group(CommandTable *table, const gchar *name, const json_t *group)
{
  gchar *cells[G_N_ELEMENTS(bias_shown_rates)] = {0};
  json_t *rates = json_object_get(group, "rates");
  for (guint i = 0; bias_shown_rates[i] != NULL; i++)
    cells[i] = bias_value_text(json_object_get(rates, bias_shown_rates[i]));
  g_autofree gchar *n = command_text_count(json_object_get(group, "n"));
  command_table_add(table, name, n, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], NULL);
  for (guint i = 0; bias_shown_rates[i] != NULL; i++) g_free(cells[i]);
}

static void print_groups(const json_t *grouping)
{
  CommandTable *table = command_table_new(
      (const gchar *const[]){json_string_value(json_object_get(grouping, "attribute")), ">rows", ">labelled",
                             ">selected", ">TPR", ">FPR", ">precision", ">accuracy", NULL});
  gsize i;
  json_t *group;
  json_array_foreach (json_object_get(grouping, "groups"), i, group) {
    g_autofree gchar *name =
        g_strconcat(json_string_value(json_object_get(group, "name")),
                    json_is_true(json_object_get(group, "compared")) ? "" : " (too small: not compared)", NULL);
    print_group(table, name, group);
  }
  print_group(table, "all", json_object_get(grouping, "overall"));
  command_table_print(table);
}

/* Each group less the reference group, the disparate impact over it. */
static void print_comparisons(const json_t *grouping)
{
  gsize i;
  json_t *group;
  CommandTable *table =
      command_table_new((const gchar *const[]){"less the reference group", ">selected", ">disparate impact (over it)",
                                               ">TPR", ">FPR", ">precision", ">accuracy", NULL});
  json_array_foreach (json_object_get(grouping, "groups"), i, group) {
    gchar *cells[G_N_ELEMENTS(bias_shown_comparisons)] = {0};
    const json_t *comparison = json_object_get(group, "to_reference");
    if (comparison == NULL || !json_is_true(json_object_get(group, "compared"))) continue;
    for (guint k = 0; bias_shown_comparisons[k].rate != NULL; k++)
      cells[k] = bias_value_text(
          json_object_get(json_object_get(comparison, bias_shown_comparisons[k].rate), bias_shown_comparisons[k].form));
    command_table_add(table, json_string_value(json_object_get(group, "name")), cells[0], cells[1], cells[2], cells[3],
                      cells[4], cells[5], NULL);
    for (guint k = 0; bias_shown_comparisons[k].rate != NULL; k++) g_free(cells[k]);
  }
  fputc('\n', stdout);
  command_table_print(table);
}

static void print_scores(const json_t *grouping)
{
  gsize i;
  json_t *group, *groups = json_object_get(grouping, "groups");
  if (json_object_get(json_array_get(groups, 0), "scores") == NULL) return;
  CommandTable *table =
      command_table_new((const gchar *const[]){"scores", ">rows", ">AUC", ">label - score", ">ECE", ">Brier", NULL});
  json_array_foreach (groups, i, group) {
    json_t *scores = json_object_get(group, "scores");
    g_autofree gchar *n = command_text_count(json_object_get(scores, "n"));
    g_autofree gchar *auc = bias_value_text(json_object_get(scores, "auc"));
    g_autofree gchar *gap = bias_value_text(json_object_get(scores, "calibration_gap"));
    g_autofree gchar *error = bias_value_text(json_object_get(scores, "expected_calibration_error"));
    g_autofree gchar *brier = bias_value_text(json_object_get(scores, "brier"));
    command_table_add(table, json_string_value(json_object_get(group, "name")), n, auc, gap, error, brier, NULL);
  }
  fputc('\n', stdout);
  command_table_print(table);
}

static void print_metrics(const json_t *grouping)
{
  json_t *metric, *metrics = json_object_get(grouping, "metrics");
  const char *name, *convention = NULL;
  CommandTable *table = NULL;
  json_object_foreach (metrics, name, metric) {
    const char *own = json_string_value(json_object_get(metric, "convention"));
    if (g_strcmp0(own, convention) != 0) {
      if (table != NULL) command_table_print(table);
      printf("\n%s\n", own);
      table = command_table_new((const gchar *const[]){"metric", ">value", ">rows", "groups", "of", NULL});
      convention = own;
    }
    g_autofree gchar *value = bias_value_text(metric), *n = command_text_count(json_object_get(metric, "n"));
    const gchar *undefined = json_string_value(json_object_get(metric, "undefined"));
    g_autofree gchar *of =
        g_strconcat(undefined != NULL ? "undefined: " : "",
                    undefined != NULL ? undefined : json_string_value(json_object_get(metric, "meaning")), NULL);
    g_autofree gchar *groups = bias_groups_text(metric);
    command_table_add(table, name, value, n, groups, of, NULL);
  }
  if (table != NULL) command_table_print(table);
}

/* Each undefined rate of a group once, with its reason. */
static void print_undefined(const json_t *grouping)
{
  gsize i;
  json_t *group;
  json_array_foreach (json_object_get(grouping, "groups"), i, group) {
    for (guint r = 0; bias_shown_rates[r] != NULL; r++) {
      const json_t *rate = json_object_get(json_object_get(group, "rates"), bias_shown_rates[r]);
      const gchar *reason = json_string_value(json_object_get(rate, "undefined"));
      if (reason != NULL)
        printf("%s of group %s is undefined: %s\n", bias_shown_rates[r],
               json_string_value(json_object_get(group, "name")), reason);
    }
  }
}

static void print_bounds(const json_t *report)
{
  gsize i;
  json_t *bound, *bounds = json_object_get(report, "bounds");
  if (json_array_size(bounds) == 0) return;
  CommandTable *table =
      command_table_new((const gchar *const[]){"bound", "groups of", ">allowed", ">value", "answer", NULL});
  json_array_foreach (bounds, i, bound) {
    g_autofree gchar *value = bias_value_text(bound), *allowed = command_text_real(json_object_get(bound, "bound"), 3);
    gboolean breached = json_is_true(json_object_get(bound, "breached"));
    const gchar *answer = json_object_get(bound, "undefined") != NULL       ? "undefined: not shown to hold"
                          : !breached                                       ? "kept"
                          : json_is_true(json_object_get(bound, "certain")) ? "breached, certainly"
                                                                            : "breached, within the error";
    command_table_add(table, json_string_value(json_object_get(bound, "metric")),
                      json_string_value(json_object_get(bound, "attribute")), allowed, value, answer, NULL);
  }
  command_table_print(table);
}

void bias_print(json_t *report)
{
  gsize i;
  json_t *grouping;
  json_array_foreach (json_object_get(report, "groupings"), i, grouping) {
    g_autofree gchar *left_out = command_text_count(json_object_get(grouping, "left_out"));
    printf("%sGroups of %s; reference group %s; %.4g %% intervals; %s rows left out (label, prediction or group "
           "missing)\n\n",
           i > 0 ? "\n" : "", json_string_value(json_object_get(grouping, "attribute")),
           json_string_value(json_object_get(grouping, "reference")),
           100 * json_number_value(json_object_get(report, "confidence")), left_out);
    if (json_is_string(json_object_get(report, "strata")))
      printf("Demographic disparity is conditional on %s.\n\n", json_string_value(json_object_get(report, "strata")));
    print_groups(grouping);
    print_undefined(grouping);
    print_comparisons(grouping);
    print_scores(grouping);
    print_metrics(grouping);
  }
  if (json_array_size(json_object_get(report, "bounds")) > 0) fputc('\n', stdout);
  print_bounds(report);
}
