/* The report as a page: one file, no script, no network. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command.h"
#include "daemon/drift_test.h"

#define WIDTH 520
#define HEIGHT 150
#define LEFT 4
#define BASE 128

static const gchar style[] =
    ":root{color-scheme:light "
    "dark;--ink:#1b2430;--soft:#5c6a7a;--line:#d8dee6;--paper:#fff;--card:#f7f9fb;--before:#7d8fa6;"
    "--after:#d9622b;--bad:#b3261e;--good:#1f7a4d}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b8;--line:#333d49;--paper:#12171d;--card:#"
    "1a2129;"
    "--bad:#ff8a80;--good:#6fd3a2}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;margin:2rem "
    "auto;"
    "padding:0 1rem}h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:0}"
    ".answer{font-size:1.1rem;font-weight:600;margin:.75rem 0}.yes{color:var(--bad)}.no{color:var(--good)}"
    "p.note{color:var(--soft);margin:.25rem "
    "0}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid "
    "var(--line)}th{color:var(--soft);font-weight:500}"
    "td.n,th.n{text-align:right}section{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.9rem 1rem;margin:.8rem 0;display:grid;grid-template-columns:minmax(280px,540px) 1fr;gap:1rem}"
    "@media(max-width:820px){section{grid-template-columns:1fr}}svg{width:100%;height:auto}svg text{fill:var(--soft);"
    "font-size:11px}.b{fill:var(--before)}.a{fill:var(--after)}.axis{stroke:var(--line)}.bound{stroke:var(--bad);"
    "stroke-dasharray:4 3}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 1em}";

static void text(GString *out, const gchar *value)
{
  g_autofree gchar *escaped = g_markup_escape_text(value != NULL ? value : "", -1);
  g_string_append(out, escaped);
}

static const gchar *string_of(const json_t *object, const gchar *key)
{
  return json_string_value(json_object_get(object, key));
}

/* Four digits, or what JSON has instead of a number. */
static void number(GString *out, const json_t *value)
{
  if (json_is_integer(value))
    g_string_append_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value))
    g_string_append_printf(out, "%.4g", json_real_value(value));
  else
    text(out, json_is_string(value) ? json_string_value(value) : "–");
}

static void number_cell(GString *out, const json_t *value)
{
  g_string_append(out, "<td class=n>");
  number(out, value);
  g_string_append(out, "</td>");
}

static double at(const json_t *list, gsize index)
{
  return json_number_value(json_array_get(list, index));
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

static void bar(GString *out, const gchar *class, double x, double width, double share, double largest)
{
  double height = largest > 0 ? share / largest * (BASE - 12) : 0;
  g_string_append_printf(out, "<rect class=%s x=%.1f y=%.1f width=%.1f height=%.1f><title>%.3g %%</title></rect>",
                         class, x, BASE - height, width, height, 100 * share);
}

/* Pairs of bars; labels below: the ends of the range, or the categories. */
static void distribution(GString *out, const json_t *shape)
{
  const json_t *before = json_object_get(shape, "reference"), *after = json_object_get(shape, "current");
  const json_t *edges = json_object_get(shape, "edges"), *names = json_object_get(shape, "categories");
  gsize n = json_array_size(before);
  double largest = 0, step = n > 0 ? (double)(WIDTH - 2 * LEFT) / (double)n : 0;
  if (n == 0) {
    g_string_append(out, "<p class=note>No finite values to draw.</p>");
    return;
  }
  for (gsize i = 0; i < n; i++) largest = fmax(largest, fmax(at(before, i), at(after, i)));
  g_string_append_printf(out, "<svg viewBox=\"0 0 %d %d\" role=img><line class=axis x1=0 x2=%d y1=%d y2=%d />", WIDTH,
                         HEIGHT, WIDTH, BASE, BASE);
  for (gsize i = 0; i < n; i++) {
    double x = LEFT + step * (double)i;
    bar(out, "b", x + step * .08, step * .42, at(before, i), largest);
    bar(out, "a", x + step * .5, step * .42, at(after, i), largest);
    if (names == NULL) continue;
    g_string_append_printf(out, "<text x=%.1f y=%d text-anchor=middle>", x + step / 2, HEIGHT - 6);
    const gchar *name = json_string_value(json_array_get(names, i));
    glong fits = (glong)MAX(2, step / 6.5);
    g_autofree gchar *cut = g_utf8_substring(name, 0, MIN(fits, g_utf8_strlen(name, -1)));
    text(out, cut);
    g_string_append(out, "<title>");
    text(out, name);
    g_string_append(out, "</title></text>");
  }
  if (edges != NULL)
    g_string_append_printf(out, "<text x=0 y=%d>%.4g</text><text x=%d y=%d text-anchor=end>%.4g</text>", HEIGHT - 6,
                           at(edges, 0), WIDTH, HEIGHT - 6, at(edges, n));
  g_string_append(out, "</svg>");
}

static void timeline(GString *out, const json_t *report)
{
  const json_t *stretches = json_object_get(report, "timeline");
  gsize n = json_array_size(stretches);
  if (n == 0) return;
  /* of one stretch: the level is shared by all of them */
  double bound = json_number_value(json_object_get(json_array_get(stretches, 0), "evidence_bound"));
  double largest = bound * 1.3;
  double step = (double)(WIDTH - 2 * LEFT) / (double)n;
  for (gsize i = 0; i < n; i++)
    largest = fmax(largest, json_number_value(json_object_get(json_array_get(stretches, i), "evidence_log")));
  g_string_append(
      out,
      "<h2>Evidence over the current rows</h2><p class=note>ln(1 / smallest adjusted p) of stretches in "
      "file order; the dashed line is a stretch's share of the level. Orange: drift, by the stretch or by a sum of the "
      "last 2, 4, 8 that ends with it.</p><section><div>");
  g_string_append_printf(out, "<svg viewBox=\"0 0 %d %d\" role=img>", WIDTH, HEIGHT);
  for (gsize i = 0; i < n; i++) {
    const json_t *stretch = json_array_get(stretches, i);
    double evidence = json_number_value(json_object_get(stretch, "evidence_log"));
    double height = evidence / largest * (BASE - 12), x = LEFT + step * (double)i;
    g_string_append_printf(out,
                           "<rect class=%s x=%.1f y=%.1f width=%.1f height=%.1f><title>%.4g</title></rect><text x=%.1f "
                           "y=%d text-anchor=middle>%" JSON_INTEGER_FORMAT "</text>",
                           json_is_true(json_object_get(stretch, "drift")) ? "a" : "b", x + step * .1, BASE - height,
                           step * .8, height, evidence, x + step / 2, HEIGHT - 6,
                           json_integer_value(json_object_get(stretch, "first_row")) + 1);
  }
  double y = BASE - bound / largest * (BASE - 12);
  g_string_append_printf(out,
                         "<line class=bound x1=0 x2=%d y1=%.1f y2=%.1f /></svg></div><p class=note>Labels are "
                         "the first row of each stretch.</p></section>",
                         WIDTH, y, y);
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void answer(GString *out, const json_t *report)
{
  gboolean drift = json_is_true(json_object_get(report, "drift"));
  json_t *columns = json_object_get(report, "columns"), *column;
  gsize index, drifted = 0, drifted_groups = 0;
  const json_t *groups = json_object_get(report, "groups");
  json_array_foreach (columns, index, column) drifted += json_is_true(json_object_get(column, "drift"));
  json_array_foreach ((json_t *)groups, index, column) drifted_groups += json_is_true(json_object_get(column, "drift"));
  gboolean quality = json_is_true(json_object_get(report, "quality"));
  gsize untested = json_array_size(json_object_get(report, "untested"));
  g_string_append_printf(out, "<p class=\"answer %s\">", drift || quality ? "yes" : "no");
  if (json_is_null(json_object_get(report, "drift")))
    g_string_append(out, "No answer: no test could be made");
  else if (drift)
    g_string_append_printf(out, "Drift in %zu of %zu columns", drifted, json_array_size(columns));
  else
    g_string_append_printf(out, "No drift in %zu columns", json_array_size(columns));
  if (groups != NULL)
    g_string_append_printf(out, " and in %zu of %zu groups of whole rows", drifted_groups, json_array_size(groups));
  json_int_t pairs = json_integer_value(json_object_get(report, "dependences_drifted"));
  if (pairs > 0) g_string_append_printf(out, "; %" JSON_INTEGER_FORMAT " pairs depend on each other otherwise", pairs);
  if (quality) g_string_append(out, "; missing, unseen or out-of-range values rose");
  if (untested > 0) g_string_append_printf(out, "; no test is defined on %zu columns", untested);
  g_string_append(out, ".</p>");
  static const gchar *const sides[] = {"reference", "current"};
  for (guint s = 0; s < 2; s++) {
    const json_t *side = json_object_get(report, sides[s]);
    g_string_append_printf(out,
                           "<p class=note><span class=key style=\"margin-left:0;background:var(--%s)\"></span>%s: ",
                           s == 0 ? "before" : "after", sides[s]);
    text(out, string_of(side, "file"));
    g_string_append_printf(out, ", %" JSON_INTEGER_FORMAT " rows</p>",
                           json_integer_value(json_object_get(side, "rows")));
  }
  g_string_append(out, "<p class=note>Level ");
  number(out, json_object_get(report, "level"));
  g_string_append(out, " after correction over the columns (");
  text(out, string_of(report, "adjust"));
  g_string_append(out, ")");
  if (json_is_true(json_object_get(report, "auto"))) {
    g_string_append(out, "; changes with an effect below ");
    number(out, json_object_get(report, "minimum_effect"));
    g_string_append(out, " are not called drift. ");
    g_string_append(out, g_strcmp0(string_of(report, "order"), "time") == 0
                             ? "The reference's rows are taken to be in the order of time: what they swing by "
                               "themselves is allowed for"
                             : "Both files are taken as samples of independent rows");
  }
  g_string_append(out, ".</p>");
}

static gint compare_causes(gconstpointer a, gconstpointer b)
{
  const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
  gboolean drift_left = json_is_true(json_object_get(left, "drift")),
           drift_right = json_is_true(json_object_get(right, "drift"));
  if (drift_left != drift_right) return drift_left ? -1 : 1;
  json_int_t i = json_integer_value(json_object_get(left, "cause")),
             j = json_integer_value(json_object_get(right, "cause"));
  return (i > j) - (i < j);
}

static void causes(GString *out, const GPtrArray *columns)
{
  g_string_append(out, "<h2>Columns, strongest first</h2><table><tr><th>column<th>kind<th>drift<th class=n>effect<th "
                       "class=n>adjusted p<th class=n>missing before<th class=n>missing after<th>remark</tr>");
  for (guint i = 0; i < columns->len; i++) {
    const json_t *column = columns->pdata[i], *verdict = json_object_get(column, "verdict");
    const json_t *p = json_object_get(verdict, "p_adjusted");
    if (verdict == NULL) p = json_object_get(json_array_get(json_object_get(column, "tests"), 0), "p_adjusted");
    gboolean drift = json_is_true(json_object_get(column, "drift"));
    g_string_append(out, "<tr><td>");
    text(out, string_of(column, "column"));
    const gchar *undefined = string_of(verdict, "undefined");
    g_string_append_printf(out, "<td>%s<td class=%s>%s", string_of(column, "kind"), drift ? "yes" : "no",
                           drift               ? "yes"
                           : undefined == NULL ? "no"
                                               : "–");
    number_cell(out, json_object_get(verdict, "effect"));
    number_cell(out, p);
    number_cell(out, json_object_get(column, "missing_reference"));
    number_cell(out, json_object_get(column, "missing_current"));
    g_string_append(out, "<td>");
    text(out, json_is_true(json_object_get(verdict, "quality")) ? "missing, unseen or out of range rose" : undefined);
    g_string_append(out, "</tr>");
  }
  g_string_append(out, "</table>");
}

static void tests_of(GString *out, const json_t *column)
{
  json_t *tests = json_object_get(column, "tests"), *test;
  gsize index;
  g_string_append(out, "<table><tr><th>method<th class=n>statistic<th class=n>p<th class=n>adjusted<th>from</tr>");
  json_array_foreach (tests, index, test) {
    g_string_append(out, "<tr><td>");
    text(out, string_of(test, "method"));
    g_string_append(out, "</td>");
    number_cell(out, json_object_get(test, "statistic"));
    number_cell(out, json_object_get(test, "p"));
    number_cell(out, json_object_get(test, "p_adjusted"));
    g_string_append(out, "<td>");
    const gchar *undefined = string_of(test, "undefined"), *from = string_of(test, "p_from");
    text(out, undefined != NULL ? undefined : from);
    g_string_append(out, "</tr>");
  }
  g_string_append(out, "</table>");
}

static void sentences(GString *out, const json_t *entries, gboolean only_drift)
{
  gsize index, shown = 0;
  json_t *entry;
  json_array_foreach ((json_t *)entries, index, entry) {
    if (only_drift && !json_is_true(json_object_get(entry, "drift"))) continue;
    g_string_append(out, shown++ == 0 ? "<ol><li>" : "<li>");
    text(out, string_of(entry, "text"));
  }
  g_string_append(out, shown > 0 ? "</ol>" : "<p>None.</p>");
}

static void slices(GString *out, const json_t *report)
{
  const json_t *all = json_object_get(report, "slices");
  if (all == NULL) return;
  for (const DriftTestSliceList *list = drift_test_slice_lists; list->name != NULL; list++) {
    const json_t *entries = json_object_get(all, list->name);
    if (entries == NULL) continue;
    g_autofree gchar *remark = drift_test_slice_remark(all, list->name);
    g_string_append_printf(out, "<h2>%s</h2><p class=note>", list->title);
    text(out, remark);
    g_string_append(out, ".</p>");
    sentences(out, entries, FALSE);
  }
  g_string_append_printf(out,
                         "<h2>Dependences that changed</h2><p class=note>%" JSON_INTEGER_FORMAT
                         " of %" JSON_INTEGER_FORMAT " pairs of columns, whatever each column did alone; level ",
                         json_integer_value(json_object_get(report, "dependences_drifted")),
                         json_integer_value(json_object_get(all, "pairs")));
  number(out, json_object_get(report, "joint_level"));
  g_string_append(out, " by Holm's correction.</p>");
  sentences(out, json_object_get(report, "dependences"), TRUE);
}

/* Embeddings, and numeric columns together. */
static void group_sections(GString *out, const json_t *groups)
{
  gsize index;
  json_t *group;
  if (groups != NULL) g_string_append(out, "<h2>Whole rows</h2>");
  json_array_foreach ((json_t *)groups, index, group) {
    g_string_append(out, "<h3>");
    text(out, string_of(group, "group"));
    g_string_append(out,
                    json_is_true(json_object_get(group, "drift")) ? " <span class=yes>drift</span></h3>" : "</h3>");
    g_string_append_printf(
        out,
        "<p class=note>%" JSON_INTEGER_FORMAT " columns; %" JSON_INTEGER_FORMAT " rows before, %" JSON_INTEGER_FORMAT
        " after, without those that lack a value (%" JSON_INTEGER_FORMAT " and %" JSON_INTEGER_FORMAT ")</p>",
        json_integer_value(json_object_get(group, "columns")),
        json_integer_value(json_object_get(group, "n_reference")),
        json_integer_value(json_object_get(group, "n_current")),
        json_integer_value(json_object_get(group, "left_out_reference")),
        json_integer_value(json_object_get(group, "left_out_current")));
    tests_of(out, group);
  }
}

static void column_section(GString *out, const json_t *column)
{
  g_string_append(out, "<section><div><h3>");
  text(out, string_of(column, "column"));
  g_string_append(out, json_is_true(json_object_get(column, "drift")) ? " <span class=yes>drift</span></h3>" : "</h3>");
  distribution(out, json_object_get(column, "distribution"));
  g_string_append(out, "</div><div>");
  tests_of(out, column);
  g_string_append(out, "</div></section>");
}

gchar *drift_test_html(const json_t *report)
{
  GString *out = g_string_new("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
                              "content=\"width=device-width,initial-scale=1\"><title>Drift report</title><style>");
  g_string_append(out, style);
  g_string_append(out, "</style><h1>Drift report</h1>");
  answer(out, report);
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  gsize index;
  json_t *column;
  json_array_foreach (json_object_get(report, "columns"), index, column) g_ptr_array_add(columns, column);
  g_ptr_array_sort(columns, compare_causes);
  if (columns->len > 0) causes(out, columns);
  group_sections(out, json_object_get(report, "groups"));
  timeline(out, report);
  slices(out, report);
  if (columns->len > 0)
    g_string_append(out,
                    "<h2>Distributions</h2><p class=note>Shares of the reference (grey) and the current rows (orange). "
                    "Numbers are drawn over their central 99 %; the end cells hold what lies beyond.</p>");
  for (guint i = 0; i < columns->len; i++) column_section(out, columns->pdata[i]);
  g_string_append(out, "</html>\n");
  return g_string_free(out, FALSE);
}
