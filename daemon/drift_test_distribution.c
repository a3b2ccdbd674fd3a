/* The shapes that people look at: shares of both sides over common cells. Not what is tested. */
#include <math.h>
#include <stdlib.h>

#include "daemon/drift_test_internal.h"
#include "drift/binned.h"

#define CELLS 24
#define MOST_CATEGORIES 12

static json_t *shares(const double *counts, guint n)
{
  double total = 0;
  json_t *list = json_array();
  for (guint c = 0; c < n; c++) total += counts[c];
  for (guint c = 0; c < n; c++) json_array_append_new(list, json_real(total > 0 ? counts[c] / total : 0));
  return list;
}

/* Equal steps over the central 99 % of both sides, so that one far value does not flatten the rest; the end cells hold
 * what lies beyond. */
static json_t *numbers(const DriftSample *reference, const DriftSample *current)
{
  double low = INFINITY, high = -INFINITY, edges[CELLS + 1], counts[2][CELLS + 2];
  const DriftSample *sides[] = {reference, current};
  for (guint s = 0; s < 2; s++) {
    low = fmin(low, drift_sample_quantile(sides[s], .005));
    high = fmax(high, drift_sample_quantile(sides[s], .995));
  }
  if (!isfinite(low) || !isfinite(high)) return json_null();
  if (high <= low) low -= .5, high += .5;
  json_t *list = json_array();
  for (guint e = 0; e <= CELLS; e++) {
    edges[e] = low + (high - low) * e / CELLS;
    json_array_append_new(list, json_real(edges[e]));
  }
  for (guint s = 0; s < 2; s++) {
    drift_bin_sample(sides[s], edges + 1, CELLS - 1, counts[s]);
  }
  return json_pack("{s:o, s:o, s:o}", "edges", list, "reference", shares(counts[0], CELLS), "current",
                   shares(counts[1], CELLS));
}

static gint compare_weight(gconstpointer a, gconstpointer b, gpointer data)
{
  const double *weights = data;
  guint i = *(const guint *)a, j = *(const guint *)b;
  if (weights[i] != weights[j]) return weights[i] > weights[j] ? -1 : 1;
  return i < j ? -1 : i > j;
}

static json_t *categories(const DriftCategoryCounts *counts)
{
  guint n = counts->n_cells, shown = MIN(n, MOST_CATEGORIES);
  double totals[2] = {0, 0}, rest[2] = {0, 0};
  for (guint c = 0; c < n; c++) totals[0] += counts->reference[c], totals[1] += counts->current[c];
  g_autofree guint *order = g_new(guint, n + 1);
  g_autofree double *weights = g_new(double, n + 1);
  for (guint c = 0; c < n; c++) {
    order[c] = c;
    weights[c] = counts->reference[c] / fmax(1, totals[0]) + counts->current[c] / fmax(1, totals[1]);
  }
  g_qsort_with_data(order, (gint)n, sizeof *order, compare_weight, weights);
  json_t *names = json_array(), *reference = json_array(), *current = json_array();
  for (guint k = 0; k < n; k++) {
    double p = counts->reference[order[k]] / fmax(1, totals[0]), q = counts->current[order[k]] / fmax(1, totals[1]);
    rest[0] += k < shown ? 0 : p, rest[1] += k < shown ? 0 : q;
    if (k >= shown) continue;
    json_array_append_new(names, json_string(counts->names[order[k]]));
    json_array_append_new(reference, json_real(p));
    json_array_append_new(current, json_real(q));
  }
  if (n > shown) {
    g_autofree gchar *others = g_strdup_printf("(%u others)", n - shown);
    json_array_append_new(names, json_string(others));
    json_array_append_new(reference, json_real(rest[0]));
    json_array_append_new(current, json_real(rest[1]));
  }
  return json_pack("{s:o, s:o, s:o}", "categories", names, "reference", reference, "current", current);
}

json_t *drift_test_distribution(const DriftTestColumn *column)
{
  return column->numeric ? numbers(column->data.reference, column->data.current) : categories(column->data.counts);
}
