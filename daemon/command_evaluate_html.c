/* The report of `kedge evaluate` as a page. */
#include "daemon/command_evaluate_internal.h"
#include "daemon/page_html.h"

#define SIDE 320 /* of the reliability diagram, in pixels */

static void add_row(GString *page, const gchar *name, const json_t *value)
{
  g_string_append(page, "<tr><td>");
  page_html_text(page, name);
  g_string_append(page, "</td>");
  page_html_cell(page, value);
  g_string_append(page, "</tr>");
}

static void add_figures(GString *page, json_t *report)
{
  const char *name;
  json_t *value;
  g_string_append(page, "<table><tr><th>figure<th class=\"n\">value</tr>");
  json_object_foreach (report, name, value) {
    if (!json_is_array(value) && !json_is_null(value)) add_row(page, name, value);
  }
  g_string_append(page, "</table>");
}

/* A table of the members of objects. */
static void add_table(GString *page, const gchar *title, const json_t *list, const gchar *const *members)
{
  size_t i;
  json_t *item;
  if (json_array_size(list) == 0) return;
  g_string_append_printf(page, "<h2>%s</h2><table><tr>", title);
  for (guint m = 0; members[m]; m++) g_string_append_printf(page, "<th%s>%s", m > 0 ? " class=\"n\"" : "", members[m]);
  g_string_append(page, "</tr>");
  json_array_foreach (list, i, item) {
    g_string_append(page, "<tr>");
    for (guint m = 0; members[m]; m++) page_html_cell(page, json_object_get(item, members[m]));
    g_string_append(page, "</tr>");
  }
  g_string_append(page, "</table>");
}

static void add_confusion(GString *page, json_t *report)
{
  const json_t *classes = json_object_get(report, "classes");
  size_t t, d;
  json_t *row, *count;
  if (!json_object_get(report, "confusion")) return;
  g_string_append(page, "<h2>Rows of a class (down) decided as (across)</h2><table><tr><th>");
  for (t = 0; t < json_array_size(classes); t++) {
    g_string_append(page, "<th class=\"n\">");
    page_html_text(page, json_string_value(json_object_get(json_array_get(classes, t), "class")));
  }
  g_string_append(page, "</tr>");
  json_array_foreach (json_object_get(report, "confusion"), t, row) {
    g_string_append(page, "<tr>");
    page_html_cell(page, json_object_get(json_array_get(classes, t), "class"));
    json_array_foreach (row, d, count) page_html_cell(page, count);
    g_string_append(page, "</tr>");
  }
  g_string_append(page, "</table>");
}

/* Share against confidence of the bins that have rows; the diagonal is perfect. */
static void add_diagram(GString *page, const json_t *bins)
{
  size_t b;
  json_t *bin;
  if (json_array_size(bins) == 0) return;
  g_string_append_printf(page,
                         "<h2>Reliability</h2><svg width=\"%d\" height=\"%d\" viewBox=\"-4 -4 %d %d\">"
                         "<line class=\"change\" x1=\"0\" y1=\"%d\" x2=\"%d\" y2=\"0\"/>"
                         "<polyline class=\"mean\" points=\"",
                         SIDE + 8, SIDE + 8, SIDE + 8, SIDE + 8, SIDE, SIDE);
  json_array_foreach (bins, b, bin) {
    if (!json_is_real(json_object_get(bin, "confidence"))) continue;
    g_string_append_printf(page, "%.1f,%.1f ", SIDE * json_real_value(json_object_get(bin, "confidence")),
                           SIDE * (1 - json_real_value(json_object_get(bin, "share"))));
  }
  g_string_append(page,
                  "\"/></svg><p class=\"note\">Across: mean probability of a bin (0 to 1); up: share of its rows for "
                  "which it came true; dashed: perfect.</p>");
}

gboolean command_evaluate_write_html(json_t *report, const gchar *path, GError **error)
{
  static const gchar *const of_class[] = {"class", "rows", "decided",           "right", "precision", "recall",
                                          "f1",    "auc",  "average_precision", NULL},
                            *const of_bin[] = {"low", "high", "rows", "confidence", "share", NULL};
  GString *page = page_html_new("A model on labelled rows");
  add_figures(page, report);
  add_table(page, "Classes", json_object_get(report, "classes"), of_class);
  add_confusion(page, report);
  add_diagram(page, json_object_get(report, "reliability"));
  add_table(page, "Bins of equal width", json_object_get(report, "reliability"), of_bin);
  add_table(page, "Bins of equal mass", json_object_get(report, "reliability_equal_mass"), of_bin);
  return page_html_write(page, path, error);
}
