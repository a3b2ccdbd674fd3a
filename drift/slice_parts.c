/* What the conditions on the parts of a feature are called. */
#include <math.h>

#include "drift/slice_internal.h"

#define LONGEST_CATEGORY 60 /* characters of a category's text in a condition */

/* edges[0] lies just below the smallest value of the reference, the last edge is the largest. */
static gchar *name_numbers(const gchar *feature, const DriftQuantity *quantity, const DriftPartMarks *marks, guint part)
{
  if (marks->n == 0) return g_strdup_printf("%s has a value", feature);
  const double *edges = quantity->bins->edges;
  guint last = quantity->bins->n_edges;
  double low = part > 0 ? edges[marks->at[part - 1] - 1] : 0, high = part < marks->n ? edges[marks->at[part] - 1] : 0;
  if (part == 0) return g_strdup_printf(marks->at[0] == 1 ? "%s < %.6g" : "%s <= %.6g", feature, high);
  if (part == marks->n) return g_strdup_printf("%s > %.6g", feature, low);
  gboolean whole_range = marks->at[part - 1] == 1 && marks->at[part] == last;
  if (whole_range && edges[0] == nextafter(edges[last - 1], -INFINITY))
    return g_strdup_printf("%s = %.6g", feature, high);
  return g_strdup_printf(marks->at[part - 1] == 1 ? "%.6g <= %s <= %.6g" : "%.6g < %s <= %.6g", low, feature, high);
}

static gchar *name_category(const gchar *feature, const gchar *text)
{
  if (g_utf8_strlen(text, -1) <= LONGEST_CATEGORY) return g_strdup_printf("%s = %s", feature, text);
  g_autofree gchar *cut = g_utf8_substring(text, 0, LONGEST_CATEGORY);
  return g_strdup_printf("%s = %s…", feature, cut);
}

void drift_parts_init(DriftParts *parts, const gchar *feature, const DriftQuantity *quantity,
                      const DriftPartition *partition)
{
  *parts = (DriftParts){.feature = g_strdup(feature), .n_parts = partition->n_parts};
  guint last = partition->n_parts - 1;
  for (guint part = 0; part < last; part++) {
    if (quantity->kind == DRIFT_NUMERIC)
      parts->conditions[part] = name_numbers(feature, quantity, &partition->marks, part);
    else if (part == partition->marks.n)
      parts->conditions[part] = g_strdup_printf("%s is any other", feature);
    else
      parts->conditions[part] =
          name_category(feature, drift_categories_get(quantity->categories, partition->marks.at[part]));
  }
  parts->conditions[last] = g_strdup_printf("%s has no value", feature);
}

void drift_parts_clear(DriftParts *parts)
{
  g_free(parts->feature);
  for (guint part = 0; part < DRIFT_MAX_PARTS; part++) g_free(parts->conditions[part]);
}
