#include "drift/bins_internal.h"

#include <float.h>
#include <math.h>

#define MAX_CELLS 4096

/* Uniform cells that leave out the outermost edges / tail on either side, so that one outlier cannot stretch them. */
static void place_cells(DriftBins *bins, guint n_cells, guint tail)
{
  guint n = bins->n_edges;
  bins->n_cells = n_cells;
  bins->last_cell = n_cells - 1;
  bins->low = 0;
  bins->scale = 0;
  if (n < 2) return;
  double low = bins->edges[n / tail], high = bins->edges[n - 1 - n / tail];
  double scale = n_cells / (high - low);
  bins->low = isfinite(low) ? low : 0;
  bins->scale = isfinite(scale) && isfinite(low) ? scale : 0;
}

static guint cell_of(const DriftBins *bins, double x)
{
  double position = (x - bins->low) * bins->scale;
  return position > 0 ? (guint)(position < bins->last_cell ? position : bins->last_cell) : 0;
}

/* Bins that the scan from their cell's hint does not reach. */
static guint n_beyond_scan(const DriftBins *bins)
{
  guint beyond = 0, cell = 0, first = 0;
  for (guint edge = 0; edge < bins->n_edges; edge++) {
    guint own = cell_of(bins, bins->edges[edge]);
    if (own != cell) first = edge;
    cell = own;
    beyond += edge - first >= DRIFT_BINS_SCAN;
  }
  return beyond;
}

/* Bins are about equally frequent, and a value in one beyond the scan costs several of the others: of a few spans and
 * sizes the one with fewest such bins, larger tables only if that saves one bin in WORTH. */
#define WORTH 128
static void choose_cells(DriftBins *bins)
{
  static const guint tails[] = {64, 128, 256, 512};
  guint n = bins->n_edges, fewest = G_MAXUINT, best_cells = 1, best_tail = tails[0];
  for (guint factor = 2; n >= 2 && factor <= 4; factor *= 2)
    for (guint i = 0; i < G_N_ELEMENTS(tails); i++) {
      guint n_cells = CLAMP(factor * n, 256, MAX_CELLS);
      place_cells(bins, n_cells, tails[i]);
      guint beyond = n_beyond_scan(bins), worth = n_cells > best_cells ? n / WORTH : 0;
      if (fewest != G_MAXUINT && beyond + worth >= fewest) continue;
      fewest = beyond;
      best_cells = n_cells;
      best_tail = tails[i];
    }
  place_cells(bins, best_cells, best_tail);
}

static void fill_hints(DriftBins *bins)
{
  bins->hints = g_new(guint16, bins->n_cells + 1);
  guint edge = 0;
  for (guint cell = 0; cell <= bins->n_cells; cell++) {
    while (edge < bins->n_edges && cell_of(bins, bins->edges[edge]) < cell) edge++;
    bins->hints[cell] = (guint16)edge;
  }
}

/* unit is a power of two: scaling is exact, and the sums mean the same on every machine. */
static void place_fixed_point(DriftBins *bins)
{
  bins->centre = 0;
  double span = 1;
  if (bins->n_edges > 0) {
    double low = bins->edges[0], high = bins->edges[bins->n_edges - 1];
    span = high - low;
    bins->centre = low;
    if (!isfinite(span)) {
      span = DBL_MAX;
      bins->centre = 0;
    }
    /* A constant reference: the scale of its value, else of 1. */
    if (span <= fabs(high) * 1e-12) span = high != 0 ? fabs(high) : 1;
  }
  int exponent;
  frexp(span, &exponent);
  bins->unit = ldexp(1, CLAMP(31 - exponent, -1000, 1000));
}

DriftBins *drift_bins_new(const double *edges, guint n_edges)
{
  DriftBins *bins = g_new0(DriftBins, 1);
  bins->n_edges = n_edges;
  bins->edges = g_new(double, n_edges + DRIFT_BINS_SCAN);
  for (guint i = 0; i < n_edges + DRIFT_BINS_SCAN; i++) bins->edges[i] = i < n_edges ? edges[i] : INFINITY;
  choose_cells(bins);
  fill_hints(bins);
  place_fixed_point(bins);
  return bins;
}

void drift_bins_free(DriftBins *bins)
{
  if (bins == NULL) return;
  g_free(bins->edges);
  g_free(bins->hints);
  g_free(bins);
}

guint drift_edges_search(const double *edges, double x, guint low, guint high)
{
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (edges[middle] < x)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void add_edge(GArray *edges, double edge)
{
  if (edges->len == 0 || g_array_index(edges, double, edges->len - 1) < edge) g_array_append_val(edges, edge);
}

/* Edges so that every bin between two of them holds about `target` values, or one value that is as frequent. */
static void sweep(const double *sorted, guint64 n, guint64 target, GArray *edges)
{
  g_array_set_size(edges, 0);
  add_edge(edges, nextafter(sorted[0], -INFINITY));
  guint64 held = 0;
  for (guint64 i = 0, next; i < n; i = next) {
    next = i + 1;
    while (next < n && sorted[next] == sorted[i]) next++;
    held += next - i;
    if (next - i >= target) add_edge(edges, nextafter(sorted[i], -INFINITY));
    if (held < target) continue;
    add_edge(edges, sorted[i]);
    held = 0;
  }
  add_edge(edges, sorted[n - 1]);
}

DriftBins *drift_bins_new_quantiles(const double *sorted, guint64 n, guint max_bins)
{
  if (n == 0) return drift_bins_new(NULL, 0);
  g_autoptr(GArray) edges = g_array_new(FALSE, FALSE, sizeof(double));
  guint cap = MAX(max_bins, 4) - 1;
  guint64 target = (n + cap - 1) / cap;
  sweep(sorted, n, target, edges);
  while (edges->len > cap) {
    target += target / 4 + 1;
    sweep(sorted, n, target, edges);
  }
  return drift_bins_new((const double *)edges->data, edges->len);
}
