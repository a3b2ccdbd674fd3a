#include "daemon/profile_html.h"

#include "daemon/page_html.h"

#define MOST_CATEGORIES 12

static void cells(GString *page, const json_t *object, const gchar *const *keys)
{
  g_string_append(page, "<tr>");
  for (; *keys != NULL; keys++) page_html_cell(page, json_object_get(object, *keys));
  g_string_append(page, "</tr>");
}

static void violations(GString *page, const json_t *list)
{
  static const gchar *const keys[] = {"column", "kind", "count", "row", "example", NULL};
  gsize index;
  json_t *violation;
  gsize n = json_array_size(list);
  g_string_append_printf(page, "<p class=\"answer %s\">%s</p>", n > 0 ? "yes" : "no",
                         n > 0 ? "The profile is violated." : "No violations.");
  if (n == 0) return;
  g_string_append(page,
                  "<table><tr><th>column<th>violation<th class=\"n\">count<th class=\"n\">first row<th>example</tr>");
  json_array_foreach ((json_t *)list, index, violation) cells(page, violation, keys);
  g_string_append(page, "</table>");
}

/* The most frequent categories with a bar each. */
static void categories(GString *page, const json_t *column)
{
  json_t *list = json_object_get(column, "categories"), *count;
  double values = json_number_value(json_object_get(column, "values"));
  const gchar *name;
  guint shown = 0;
  if (json_object_size(list) == 0) return;
  g_string_append(page, "<h2>");
  page_html_text(page, json_string_value(json_object_get(column, "name")));
  g_string_append(page, "</h2><table>");
  json_object_foreach (list, name, count) {
    if (shown++ == MOST_CATEGORIES) break;
    double share = values > 0 ? json_number_value(count) / values : 0;
    g_string_append(page, "<tr><td>");
    page_html_text(page, name);
    page_html_cell(page, count);
    g_string_append_printf(page,
                           "<td><svg viewBox=\"0 0 400 12\" role=\"img\"><rect class=\"bar\" x=\"0\" y=\"1\" "
                           "width=\"%.1f\" height=\"10\"/></svg></td></tr>",
                           400 * share);
  }
  g_string_append(page, "</table>");
  if (json_object_size(list) > MOST_CATEGORIES)
    g_string_append_printf(page, "<p class=\"note\">and %zu more</p>", json_object_size(list) - MOST_CATEGORIES);
}

static void profile(GString *page, const json_t *report)
{
  static const gchar *const keys[] = {"name",    "type",    "values", "missing",   "distinct", "constant",
                                      "minimum", "maximum", "mean",   "deviation", NULL};
  json_t *columns = json_object_get(report, "columns"), *column;
  gsize index;
  g_string_append_printf(page,
                         "<p class=\"note\">%" JSON_INTEGER_FORMAT " rows, %" JSON_INTEGER_FORMAT
                         " of them equal to an earlier one</p><table><tr><th>column<th>type<th class=\"n\">values<th "
                         "class=\"n\">missing<th class=\"n\">distinct<th>constant<th class=\"n\">minimum<th "
                         "class=\"n\">maximum<th class=\"n\">mean<th class=\"n\">deviation</tr>",
                         json_integer_value(json_object_get(report, "rows")),
                         json_integer_value(json_object_get(report, "duplicates")));
  json_array_foreach (columns, index, column) cells(page, column, keys);
  g_string_append(page, "</table>");
  json_array_foreach (columns, index, column) categories(page, column);
}

gboolean profile_html_write(const json_t *report, const gchar *path, GError **error)
{
  const json_t *list = json_object_get(report, "violations");
  GString *page = page_html_new(list != NULL ? "Violations of a profile" : "Profile of a data set");
  if (list != NULL) {
    g_string_append(page, "<p class=\"note\">Held against ");
    page_html_text(page, json_string_value(json_object_get(report, "profile")));
    g_string_append_printf(page, ", %" JSON_INTEGER_FORMAT " rows</p>",
                           json_integer_value(json_object_get(report, "rows")));
    violations(page, list);
  } else {
    profile(page, report);
  }
  return page_html_write(page, path, error);
}
