#include "daemon/drift_stream_html.h"

#include <math.h>

#include "daemon/page_html.h"

#define WIDTH 1024
#define HEIGHT 200
#define BASE 180
#define MOST_LINES 200 /* of detections in a picture */

typedef struct {
  double low, high;
} Range;

static double x_of(const SeriesShape *shape, double row)
{
  double rows = (double)shape->n * (double)shape->width;
  return rows > 0 ? row / rows * WIDTH : 0;
}

static double y_of(const Range *range, double value)
{
  return BASE - (value - range->low) / (range->high - range->low) * (BASE - 10);
}

static double middle_of(const SeriesShape *shape, guint i)
{
  return x_of(shape, ((double)i + .5) * (double)shape->width);
}

/* Smallest to largest of each stretch as a band, the means as a line. */
static void draw_series(GString *page, const SeriesShape *shape, const Range *range)
{
  double half = x_of(shape, (double)shape->width) / 2;
  for (guint i = 0; i < shape->n; i++) {
    const SeriesStretch *stretch = &shape->stretches[i];
    if (stretch->n == 0) continue;
    double top = y_of(range, stretch->maximum), bottom = y_of(range, stretch->minimum);
    g_string_append_printf(page, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                           middle_of(shape, i) - half, top, 2 * half, fmax(bottom - top, .5));
  }
  g_string_append(page, "<polyline class=\"mean\" points=\"");
  for (guint i = 0; i < shape->n; i++)
    if (shape->stretches[i].n > 0)
      g_string_append_printf(page, "%.1f,%.1f ", middle_of(shape, i),
                             y_of(range, shape->stretches[i].sum / (double)shape->stretches[i].n));
  g_string_append(page, "\"/>");
}

static void draw_rows(GString *page, const SeriesShape *shape, const json_t *rows, const gchar *class)
{
  gsize index;
  json_t *row;
  json_array_foreach ((json_t *)rows, index, row) {
    if (!json_is_integer(row) || index >= MOST_LINES) continue;
    double x = x_of(shape, (double)json_integer_value(row));
    g_string_append_printf(page, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"4\" y2=\"%d\"/>", class, x, x, BASE);
  }
}

static void begin_picture(GString *page, const SeriesShape *shape, const Range *range)
{
  g_string_append_printf(page,
                         "<svg viewBox=\"0 0 %d %d\" role=\"img\"><line class=\"axis\" x1=\"0\" x2=\"%d\" y1=\"%d\" "
                         "y2=\"%d\"/><text x=\"2\" y=\"12\">%.4g</text><text x=\"2\" y=\"%d\">%.4g</text>"
                         "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">row %" G_GUINT64_FORMAT "</text>",
                         WIDTH, HEIGHT, WIDTH, BASE, BASE, range->high, BASE - 4, range->low, WIDTH, HEIGHT - 4,
                         shape->n_rows);
}

static void draw_values(GString *page, const json_t *report, const SeriesShape *shape)
{
  Range range = {INFINITY, -INFINITY};
  for (guint i = 0; i < shape->n; i++) {
    range.low = fmin(range.low, shape->stretches[i].minimum);
    range.high = fmax(range.high, shape->stretches[i].maximum);
  }
  g_string_append(page, "<h2>The series</h2>");
  if (!isfinite(range.low) || !isfinite(range.high)) {
    g_string_append(page, "<p class=\"note\">No finite values to draw.</p>");
    return;
  }
  if (range.high <= range.low) range.low -= .5, range.high += .5;
  begin_picture(page, shape, &range);
  draw_series(page, shape, &range);
  draw_rows(page, shape, json_object_get(report, "change_points"), "change");
  draw_rows(page, shape, json_object_get(report, "detections"), "drift");
  g_string_append_printf(page,
                         "</svg><p class=\"note\">Smallest, mean and largest of every %" G_GUINT64_FORMAT
                         " rows. Solid lines: rows at which drift was told; dashed: rows from which on the series is "
                         "estimated to be another.</p>",
                         shape->width);
}

static void draw_evidence(GString *page, const json_t *report, const SeriesShape *shape)
{
  double threshold = json_number_value(json_object_get(json_object_get(report, "state"), "log_threshold"));
  Range range = {0, threshold};
  gboolean any = FALSE;
  for (guint i = 0; i < shape->n; i++) {
    double evidence = shape->stretches[i].evidence;
    if (!isfinite(evidence)) continue;
    any = TRUE;
    range.low = fmin(range.low, evidence);
    range.high = fmax(range.high, evidence);
  }
  if (!any || !(range.high > range.low)) return;
  g_string_append(page, "<h2>Evidence for a change</h2>");
  begin_picture(page, shape, &range);
  g_string_append(page, "<polyline class=\"mean\" points=\"");
  for (guint i = 0; i < shape->n; i++)
    if (isfinite(shape->stretches[i].evidence))
      g_string_append_printf(page, "%.1f,%.1f ", middle_of(shape, i), y_of(&range, shape->stretches[i].evidence));
  double y = y_of(&range, threshold);
  g_string_append_printf(page,
                         "\"/><line class=\"change\" x1=\"0\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/></svg>"
                         "<p class=\"note\">Natural logarithm, the largest of each stretch; dashed: the level of a "
                         "drift.</p>",
                         WIDTH, y, y);
}

static void list_detections(GString *page, const json_t *report)
{
  const json_t *changes = json_object_get(report, "change_points");
  gsize index;
  json_t *row;
  if (json_array_size(json_object_get(report, "detections")) == 0) return;
  g_string_append(page, "<h2>Detections</h2><table><tr><th class=\"n\">row<th class=\"n\">changed from row on</tr>");
  json_array_foreach (json_object_get(report, "detections"), index, row) {
    g_string_append(page, "<tr>");
    page_html_cell(page, row);
    page_html_cell(page, json_array_get(changes, index));
    g_string_append(page, "</tr>");
  }
  g_string_append(page, "</table>");
}

gboolean drift_stream_html_write(const json_t *report, const SeriesShape *shape, const gchar *path, GError **error)
{
  GString *page = page_html_new("Drift of a series");
  gsize n = json_array_size(json_object_get(report, "detections"));
  g_string_append_printf(page, "<p class=\"answer %s\">", n > 0 ? "yes" : "no");
  if (n > 0)
    g_string_append_printf(page, "Drift, told %zu times in %" G_GUINT64_FORMAT " rows.", n, shape->n_rows);
  else
    g_string_append_printf(page, "No drift in %" G_GUINT64_FORMAT " rows.", shape->n_rows);
  g_string_append(page, "</p><p class=\"note\">Column ");
  page_html_text(page, json_string_value(json_object_get(report, "column")));
  g_string_append(page, ", method ");
  page_html_text(page, json_string_value(json_object_get(report, "method")));
  g_string_append_printf(page, ", %" JSON_INTEGER_FORMAT " rows without a value</p>",
                         json_integer_value(json_object_get(report, "missing")));
  draw_values(page, report, shape);
  draw_evidence(page, report, shape);
  list_detections(page, report);
  return page_html_write(page, path, error);
}
