#include "drift/binned.h"

#include <math.h>

#include "drift/statistics.h"

static gboolean totals(const double *reference, const double *current, guint n_cells, double *n, double *m)
{
  *n = *m = 0;
  for (guint c = 0; c < n_cells; c++) *n += reference[c], *m += current[c];
  return *n > 0 && *m > 0;
}

/* --- PSI ---------------------------------------------------------------------------------------------------------- */

static double share_strict(double share, double floor)
{
  (void)floor;
  return share;
}

static double share_floor(double share, double floor)
{
  return fmax(share, floor);
}

static double share_zero_to(double share, double floor)
{
  return share == 0 ? floor : share;
}

/* What an empty cell counts as by evidently's rule. */
static double evidently_floor(const double *counts, guint n_cells, double total)
{
  double smallest = INFINITY;
  for (guint c = 0; c < n_cells; c++)
    if (counts[c] > 0) smallest = fmin(smallest, counts[c] / total);
  return smallest <= 1e-4 ? smallest / 1e6 : 1e-4;
}

double drift_psi_by_rule(const double *reference, const double *current, guint n_cells, DriftPsiRule rule, double floor)
{
  static double (*const shares[])(double, double) = {[DRIFT_PSI_STRICT] = share_strict,
                                                     [DRIFT_PSI_FLOOR] = share_floor,
                                                     [DRIFT_PSI_ZERO_TO] = share_zero_to,
                                                     [DRIFT_PSI_EVIDENTLY] = share_zero_to};
  double n, m, sum = 0;
  if (rule == DRIFT_PSI_HALF) return drift_psi(reference, current, n_cells);
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  gboolean own = rule == DRIFT_PSI_EVIDENTLY;
  double floor_p = own ? evidently_floor(reference, n_cells, n) : floor;
  double floor_q = own ? evidently_floor(current, n_cells, m) : floor;
  for (guint c = 0; c < n_cells; c++) {
    double p = shares[rule](reference[c] / n, floor_p), q = shares[rule](current[c] / m, floor_q);
    if (p == 0 || q == 0) return INFINITY;
    sum += (p - q) * log(p / q);
  }
  return sum;
}

/* --- the others --------------------------------------------------------------------------------------------------- */

double drift_js_distance(const double *reference, const double *current, guint n_cells)
{
  return sqrt(drift_js_divergence(reference, current, n_cells) / G_LN2);
}

double drift_kl_divergence(const double *reference, const double *current, guint n_cells)
{
  double n, m, sum = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  for (guint c = 0; c < n_cells; c++)
    if (reference[c] > 0) sum += reference[c] / n * log(reference[c] / n / (current[c] / m));
  return fmax(0, sum);
}

double drift_bhattacharyya_coefficient(const double *reference, const double *current, guint n_cells)
{
  double n, m, sum = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  for (guint c = 0; c < n_cells; c++) sum += sqrt(reference[c] / n * (current[c] / m));
  return sum;
}

double drift_hellinger(const double *reference, const double *current, guint n_cells)
{
  double n, m, sum = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  /* Half the sum of squared differences of roots: equal to 1 - coefficient, and does not cancel for close samples. */
  for (guint c = 0; c < n_cells; c++) {
    double difference = sqrt(reference[c] / n) - sqrt(current[c] / m);
    sum += difference * difference;
  }
  return sqrt(sum / 2);
}

double drift_total_variation(const double *reference, const double *current, guint n_cells)
{
  double n, m, sum = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  for (guint c = 0; c < n_cells; c++) sum += fabs(reference[c] / n - current[c] / m);
  return sum / 2;
}

double drift_l_infinity(const double *reference, const double *current, guint n_cells)
{
  double n, m, largest = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  for (guint c = 0; c < n_cells; c++) largest = fmax(largest, fabs(reference[c] / n - current[c] / m));
  return largest;
}

double drift_intersection_complement(const double *reference, const double *current, guint n_cells)
{
  double n, m, sum = 0;
  if (!totals(reference, current, n_cells, &n, &m)) return NAN;
  for (guint c = 0; c < n_cells; c++) sum += fmin(reference[c] / n, current[c] / m);
  return fmax(0, 1 - sum);
}

double drift_cramers_v(const double *reference, const double *current, guint n_cells)
{
  double n, m;
  guint df;
  double statistic = drift_chi_squared(reference, current, n_cells, &df);
  if (!totals(reference, current, n_cells, &n, &m) || df == 0) return NAN;
  return sqrt(statistic / (n + m));
}

/* --- cells -------------------------------------------------------------------------------------------------------- */

void drift_bin_sample(const DriftSample *sample, const double *edges, guint n_edges, double *counts)
{
  gsize before = 0;
  for (guint c = 0; c <= n_edges; c++) {
    /* The number of values below the edge, by bisection of what is left. */
    gsize low = before, high = sample->n;
    while (c < n_edges && low < high) {
      gsize middle = low + (high - low) / 2;
      if (sample->sorted[middle] < edges[c])
        low = middle + 1;
      else
        high = middle;
    }
    gsize end = c < n_edges ? low : sample->n;
    counts[c] = (double)(end - before);
    before = end;
  }
}

guint drift_quantile_edges(const DriftSample *sample, guint n_cells, double *edges)
{
  guint n_edges = 0;
  for (guint c = 1; c < n_cells && sample->n > 0; c++) {
    double edge = drift_sample_quantile(sample, (double)c / n_cells);
    if (isnan(edge) || edge <= sample->sorted[0]) continue; /* a first cell that no value of the sample is in */
    if (n_edges == 0 || edge > edges[n_edges - 1]) edges[n_edges++] = edge;
  }
  return n_edges;
}
