#include "daemon/estimate_html.h"

#include <math.h>

#include "daemon/page_html.h"

#define WIDTH 1024
#define HEIGHT 180
#define BASE 160

/* The picture's scale: smallest and largest of everything drawn. */
typedef struct {
  double low, high;
  gsize n; /* chunks */
} Scale;

static double value_at(const json_t *series, const gchar *key, gsize i)
{
  const json_t *value = json_array_get(json_object_get(series, key), i);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static Scale scale_of(const json_t *series)
{
  static const gchar *const keys[] = {"value",           "upper_confidence_boundary", "lower_confidence_boundary",
                                      "upper_threshold", "lower_threshold",           "realized"};
  Scale scale = {INFINITY, -INFINITY, json_array_size(json_object_get(series, "value"))};
  for (guint k = 0; k < G_N_ELEMENTS(keys); k++)
    for (gsize i = 0; i < scale.n; i++) {
      scale.low = fmin(scale.low, value_at(series, keys[k], i)); /* NaN is left out */
      scale.high = fmax(scale.high, value_at(series, keys[k], i));
    }
  if (scale.high <= scale.low) scale.low -= .5, scale.high += .5;
  return scale;
}

static double x_of(const Scale *scale, gsize i)
{
  return ((double)i + .5) / (double)scale->n * WIDTH;
}

static double y_of(const Scale *scale, double value)
{
  return BASE - (value - scale->low) / (scale->high - scale->low) * (BASE - 10);
}

static void draw_line(GString *page, const Scale *scale, const json_t *series, const gchar *key, const gchar *class)
{
  g_string_append_printf(page, "<polyline class=\"%s\" fill=\"none\" points=\"", class);
  for (gsize i = 0; i < scale->n; i++) {
    double value = value_at(series, key, i);
    if (!isnan(value)) g_string_append_printf(page, "%.1f,%.1f ", x_of(scale, i), y_of(scale, value));
  }
  g_string_append(page, "\"/>");
}

static void draw_bands(GString *page, const Scale *scale, const json_t *series)
{
  double width = .6 * WIDTH / (double)scale->n;
  for (gsize i = 0; i < scale->n; i++) {
    double top = y_of(scale, value_at(series, "upper_confidence_boundary", i)),
           bottom = y_of(scale, value_at(series, "lower_confidence_boundary", i));
    if (!isnan(top) && !isnan(bottom))
      g_string_append_printf(page, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                             x_of(scale, i) - width / 2, top, width, fmax(bottom - top, .5));
  }
}

static void draw(GString *page, const json_t *series)
{
  const Scale scale = scale_of(series);
  if (scale.n == 0 || !isfinite(scale.low) || !isfinite(scale.high)) {
    g_string_append(page, "<p class=\"note\">Nothing is defined that could be drawn.</p>");
    return;
  }
  g_string_append_printf(page,
                         "<svg viewBox=\"0 0 %d %d\" role=\"img\"><line class=\"axis\" x1=\"0\" x2=\"%d\" y1=\"%d\" "
                         "y2=\"%d\"/><text x=\"2\" y=\"12\">%.4g</text><text x=\"2\" y=\"%d\">%.4g</text>",
                         WIDTH, HEIGHT, WIDTH, BASE, BASE, scale.high, HEIGHT - 4, scale.low);
  draw_bands(page, &scale, series);
  draw_line(page, &scale, series, "lower_threshold", "drift");
  draw_line(page, &scale, series, "upper_threshold", "drift");
  draw_line(page, &scale, series, "realized", "change");
  draw_line(page, &scale, series, "value", "mean");
  g_string_append(page, "</svg>");
}

static void list_chunks(GString *page, const json_t *report, const json_t *series)
{
  static const gchar *const keys[] = {"value",           "lower_confidence_boundary", "upper_confidence_boundary",
                                      "lower_threshold", "upper_threshold",           "realized"};
  json_int_t size = json_integer_value(json_object_get(report, "chunk_size")),
             rows = json_integer_value(json_object_get(report, "rows"));
  g_string_append(page,
                  "<table><tr><th>rows<th class=\"n\">estimate<th class=\"n\">band low<th class=\"n\">band high<th "
                  "class=\"n\">alert below<th class=\"n\">alert above<th class=\"n\">realized<th></tr>");
  for (gsize i = 0; i < json_array_size(json_object_get(series, "value")); i++) {
    g_string_append_printf(page, "<tr><td>%" JSON_INTEGER_FORMAT "–%" JSON_INTEGER_FORMAT, (json_int_t)i * size + 1,
                           MIN((json_int_t)(i + 1) * size, rows));
    for (guint k = 0; k < G_N_ELEMENTS(keys); k++)
      page_html_cell(page, json_array_get(json_object_get(series, keys[k]), i));
    const gchar *why = json_string_value(json_array_get(json_object_get(series, "undefined"), i));
    gboolean alert = json_is_true(json_array_get(json_object_get(series, "alert"), i));
    g_string_append(page, alert ? "<td class=\"yes\">alert" : "<td>");
    page_html_text(page, why);
    g_string_append(page, "</tr>");
  }
  g_string_append(page, "</table>");
}

gboolean estimate_html_write(const json_t *report, const gchar *path, GError **error)
{
  GString *page = page_html_new("Metrics without labels");
  json_int_t alerts = json_integer_value(json_object_get(report, "alerts"));
  const char *name;
  json_t *series;
  g_string_append_printf(page,
                         "<p class=\"answer %s\">%" JSON_INTEGER_FORMAT " estimates are outside their thresholds.</p>"
                         "<p class=\"note\">%" JSON_INTEGER_FORMAT " rows in chunks of %" JSON_INTEGER_FORMAT
                         ", a reference of %" JSON_INTEGER_FORMAT " rows. Line: the estimate, with its band; red: "
                         "thresholds of the reference; dashed: what was realized, where labels are there.</p>",
                         alerts > 0 ? "yes" : "no", alerts, json_integer_value(json_object_get(report, "rows")),
                         json_integer_value(json_object_get(report, "chunk_size")),
                         json_integer_value(json_object_get(report, "rows_reference")));
  json_object_foreach (json_object_get(report, "metrics"), name, series) {
    g_string_append(page, "<h2>");
    page_html_text(page, name);
    g_string_append(page, "</h2>");
    draw(page, series);
    list_chunks(page, report, series);
  }
  return page_html_write(page, path, error);
}
