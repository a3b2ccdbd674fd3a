/* The report of `kedge bias` as a page: one file, no script, no network. */
#include <math.h>
#include <string.h>

#include "daemon/bias.h"

static const gchar style[] =
    ":root{color-scheme:light dark;--ink:#1b2430;--soft:#5c6a7a;--line:#d8dee6;--paper:#fff;--bar:#7d8fa6;"
    "--mark:#d9622b;--bad:#b3261e;--good:#1f7a4d}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b8;--line:#333d49;--paper:#12171d;"
    "--bad:#ff8a80;--good:#6fd3a2}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;"
    "margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    "h3{font-size:1rem;margin:1.2rem 0 .3rem}p{color:var(--soft);margin:.25rem 0}.bad{color:var(--bad)}"
    ".good{color:var(--good)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}"
    "th{color:var(--soft);font-weight:500}.n{text-align:right}svg{width:130px;height:14px;display:block}"
    ".range{stroke:var(--bar);stroke-width:3}.at{fill:var(--mark)}.axis{stroke:var(--line)}"
    "div.wide{overflow-x:auto}";

static void text(GString *out, const gchar *value)
{
  g_autofree gchar *escaped = g_markup_escape_text(value != NULL ? value : "", -1);
  g_string_append(out, escaped);
}

static const gchar *string_of(const json_t *object, const gchar *key)
{
  return json_string_value(json_object_get(object, key));
}

static void cell(GString *out, const gchar *value, gboolean number)
{
  g_string_append(out, number ? "<td class=n>" : "<td>");
  text(out, value);
  g_string_append(out, "</td>");
}

static void count_cell(GString *out, const json_t *value)
{
  g_autofree gchar *digits = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
  cell(out, digits, TRUE);
}

/* A rate with its interval on [0, 1]; undefined says why. */
static void rate_cell(GString *out, const json_t *value)
{
  g_autofree gchar *figure = bias_value_text(value);
  const gchar *reason = string_of(value, "undefined");
  g_string_append(out, "<td>");
  text(out, reason != NULL ? reason : figure);
  if (reason == NULL && json_is_number(json_object_get(value, "low"))) {
    double low = json_number_value(json_object_get(value, "low"));
    double high = json_number_value(json_object_get(value, "high"));
    g_string_append_printf(out,
                           "<svg viewBox=\"-2 0 134 14\" role=img aria-label=\"interval on 0 to 1\"><line class=axis "
                           "x1=0 x2=130 y1=7 y2=7 /><line class=range x1=%.1f x2=%.1f y1=7 y2=7 /><circle class=at "
                           "cx=%.1f cy=7 r=3.5 /></svg>",
                           130 * low, 130 * high, 130 * json_number_value(json_object_get(value, "value")));
  }
  g_string_append(out, "</td>");
}

static void group_row(GString *out, const gchar *name, const json_t *group)
{
  g_string_append(out, "<tr>");
  cell(out, name, FALSE);
  count_cell(out, json_object_get(group, "n"));
  for (guint i = 0; bias_shown_rates[i] != NULL; i++)
    rate_cell(out, json_object_get(json_object_get(group, "rates"), bias_shown_rates[i]));
  g_string_append(out, "</tr>");
}

static void groups_table(GString *out, const json_t *grouping)
{
  gsize i;
  json_t *group;
  g_string_append(out, "<div class=wide><table><tr><th>group<th class=n>rows<th>labelled favourable<th>selected<th>TPR"
                       "<th>FPR<th>precision<th>accuracy</tr>");
  json_array_foreach (json_object_get(grouping, "groups"), i, group) {
    g_autofree gchar *name =
        g_strconcat(string_of(group, "name"),
                    json_is_true(json_object_get(group, "compared")) ? "" : " (too small: not compared)", NULL);
    group_row(out, name, group);
  }
  group_row(out, "all", json_object_get(grouping, "overall"));
  g_string_append(out, "</table></div>");
}

/* Each group less the reference group (disparate impact: over it); undefined says why. */
static void comparisons_table(GString *out, const json_t *grouping)
{
  gsize i;
  json_t *group;
  g_string_append(out, "<h3>Less the reference group</h3><div class=wide><table><tr><th>group");
  for (guint k = 0; bias_shown_comparisons[k].rate != NULL; k++)
    g_string_append_printf(out, "<th>%s%s", bias_shown_comparisons[k].title,
                           strcmp(bias_shown_comparisons[k].form, "ratio") == 0 ? " (over it)" : "");
  g_string_append(out, "</tr>");
  json_array_foreach (json_object_get(grouping, "groups"), i, group) {
    const json_t *comparison = json_object_get(group, "to_reference");
    if (comparison == NULL || !json_is_true(json_object_get(group, "compared"))) continue;
    g_string_append(out, "<tr>");
    cell(out, string_of(group, "name"), FALSE);
    for (guint k = 0; bias_shown_comparisons[k].rate != NULL; k++) {
      const json_t *value =
          json_object_get(json_object_get(comparison, bias_shown_comparisons[k].rate), bias_shown_comparisons[k].form);
      g_autofree gchar *figure = bias_value_text(value);
      cell(out, string_of(value, "undefined") != NULL ? string_of(value, "undefined") : figure, FALSE);
    }
    g_string_append(out, "</tr>");
  }
  g_string_append(out, "</table></div>");
}

/* Calibration: mean score against observed rate, a polyline a group. */
static void calibration_picture(GString *out, const json_t *group)
{
  gsize i;
  json_t *bin;
  g_string_append(out, "<td><svg style=\"width:120px;height:120px\" viewBox=\"-4 -4 108 108\" role=img "
                       "aria-label=\"observed rate over mean score\"><line class=axis x1=0 y1=100 x2=100 y2=0 />");
  json_array_foreach (json_object_get(json_object_get(group, "scores"), "calibration"), i, bin) {
    if (!json_is_number(json_object_get(bin, "value"))) continue;
    double x = 100 * json_number_value(json_object_get(bin, "mean_score"));
    g_string_append_printf(
        out, "<line class=range x1=%.1f x2=%.1f y1=%.1f y2=%.1f /><circle class=at cx=%.1f cy=%.1f r=2.5 />", x, x,
        100 - 100 * json_number_value(json_object_get(bin, "low")),
        100 - 100 * json_number_value(json_object_get(bin, "high")), x,
        100 - 100 * json_number_value(json_object_get(bin, "value")));
  }
  g_string_append(out, "</svg></td>");
}

static void scores_table(GString *out, const json_t *grouping)
{
  static const gchar *const keys[] = {"auc", "calibration_gap", "expected_calibration_error", "brier"};
  gsize i;
  json_t *group, *groups = json_object_get(grouping, "groups");
  if (json_object_get(json_array_get(groups, 0), "scores") == NULL) return;
  g_string_append(out, "<h3>Scores</h3><table><tr><th>group<th class=n>rows<th>AUC<th>mean(label - score)<th>expected "
                       "calibration error<th>Brier<th>observed over predicted</tr>");
  json_array_foreach (groups, i, group) {
    const json_t *scores = json_object_get(group, "scores");
    g_string_append(out, "<tr>");
    cell(out, string_of(group, "name"), FALSE);
    count_cell(out, json_object_get(scores, "n"));
    for (guint k = 0; k < G_N_ELEMENTS(keys); k++) {
      const json_t *value = json_object_get(scores, keys[k]);
      g_autofree gchar *figure = bias_value_text(value);
      cell(out, string_of(value, "undefined") != NULL ? string_of(value, "undefined") : figure, FALSE);
    }
    calibration_picture(out, group);
    g_string_append(out, "</tr>");
  }
  g_string_append(out, "</table>");
}

static void metrics_table(GString *out, const json_t *grouping)
{
  const char *name, *convention = NULL;
  json_t *metric;
  json_object_foreach (json_object_get(grouping, "metrics"), name, metric) {
    const gchar *own = string_of(metric, "convention"), *undefined = string_of(metric, "undefined");
    if (g_strcmp0(own, convention) != 0) {
      g_string_append(out, convention != NULL ? "</table><h3>" : "<h3>");
      text(out, own);
      g_string_append(out, "</h3><table><tr><th>metric<th>value<th class=n>rows<th>groups<th>of</tr>");
      convention = own;
    }
    g_autofree gchar *value = bias_value_text(metric);
    g_string_append(out, "<tr>");
    cell(out, name, FALSE);
    cell(out, value, FALSE);
    count_cell(out, json_object_get(metric, "n"));
    g_autofree gchar *groups = bias_groups_text(metric);
    cell(out, groups, FALSE);
    g_autofree gchar *of = g_strconcat(undefined != NULL ? "undefined: " : "",
                                       undefined != NULL ? undefined : string_of(metric, "meaning"), NULL);
    cell(out, of, FALSE);
    g_string_append(out, "</tr>");
  }
  if (convention != NULL) g_string_append(out, "</table>");
}

static void bounds_table(GString *out, const json_t *report)
{
  gsize i;
  json_t *bound, *bounds = json_object_get(report, "bounds");
  if (json_array_size(bounds) == 0) return;
  gboolean breached = json_is_true(json_object_get(report, "breached"));
  g_string_append_printf(out,
                         "<h2 class=%s>%s</h2><table><tr><th>bound<th>groups of<th class=n>allowed<th>value<th>"
                         "answer</tr>",
                         breached ? "bad" : "good", breached ? "A bound is breached" : "All bounds are kept");
  json_array_foreach (bounds, i, bound) {
    g_autofree gchar *value = bias_value_text(bound);
    gboolean bad = json_is_true(json_object_get(bound, "breached"));
    g_string_append(out, "<tr>");
    cell(out, string_of(bound, "metric"), FALSE);
    cell(out, string_of(bound, "attribute"), FALSE);
    g_string_append_printf(out, "<td class=n>%.4g</td>", json_number_value(json_object_get(bound, "bound")));
    cell(out, value, FALSE);
    g_string_append_printf(out, "<td class=%s>%s</td></tr>", bad ? "bad" : "good",
                           json_object_get(bound, "undefined") != NULL ? "undefined: not shown to hold"
                           : bad                                       ? "breached"
                                                                       : "kept");
  }
  g_string_append(out, "</table>");
}

gchar *bias_html(const json_t *report)
{
  gsize i;
  json_t *grouping;
  GString *out = g_string_new("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
                              "content=\"width=device-width\"><title>kedge bias</title><style>");
  g_string_append(out, style);
  g_string_append(out, "</style><h1>Bias of \"");
  text(out, string_of(report, "prediction"));
  g_string_append(out, "\" in ");
  text(out, string_of(report, "data"));
  g_string_append_printf(out, "</h1><p>%" JSON_INTEGER_FORMAT " rows; the favourable outcome is \"",
                         json_integer_value(json_object_get(report, "rows")));
  text(out, string_of(report, "favourable"));
  g_string_append_printf(out,
                         "\"; intervals hold with %.4g %% confidence; groups below %" JSON_INTEGER_FORMAT
                         " rows are shown and not compared.</p>",
                         100 * json_number_value(json_object_get(report, "confidence")),
                         json_integer_value(json_object_get(report, "minimum_group")));
  bounds_table(out, report);
  json_array_foreach (json_object_get(report, "groupings"), i, grouping) {
    g_string_append(out, "<h2>Groups of ");
    text(out, string_of(grouping, "attribute"));
    g_string_append(out, "</h2><p>Reference group: ");
    text(out, string_of(grouping, "reference"));
    g_string_append_printf(out, ". %" JSON_INTEGER_FORMAT " rows left out (label, prediction or group missing).</p>",
                           json_integer_value(json_object_get(grouping, "left_out")));
    groups_table(out, grouping);
    comparisons_table(out, grouping);
    scores_table(out, grouping);
    metrics_table(out, grouping);
  }
  g_string_append(out, "</html>\n");
  return g_string_free(out, FALSE);
}
