/* Distances of two rows of counts in the same cells. p and q are the shares of reference and current. NaN when a side
 * is empty. Counts are whole numbers held in doubles. */
#pragma once

#include <glib.h>

#include "drift/sample.h"

G_BEGIN_DECLS

/* PSI = sum (p - q) ln(p / q). What is done about empty cells changes it by orders of magnitude, so the rule is named:
 * strict: infinite, also for a
 * cell that is empty on both sides; floor: shares below `floor` count as `floor`; zero_to: shares of 0 become `floor`;
 * evidently: as that library has it (zeros to 1e-4, or to a millionth of the side's smallest share when that is at most
 * 1e-4); half: half a count in every cell (drift_psi, kedge's default). */
typedef enum { DRIFT_PSI_STRICT, DRIFT_PSI_FLOOR, DRIFT_PSI_ZERO_TO, DRIFT_PSI_EVIDENTLY, DRIFT_PSI_HALF } DriftPsiRule;
double drift_psi_by_rule(const double *reference, const double *current, guint n_cells, DriftPsiRule rule,
                         double floor);

/* Jensen-Shannon distance: square root of the divergence in base 2; in [0, 1]. Divergence in nats:
 * drift_js_divergence. */
double drift_js_distance(const double *reference, const double *current, guint n_cells);
/* Kullback-Leibler divergence of the reference from the current counts, sum p ln(p / q), nats; infinite where q is 0.
 */
double drift_kl_divergence(const double *reference, const double *current, guint n_cells);
double drift_bhattacharyya_coefficient(const double *reference, const double *current,
                                       guint n_cells);                                       /* sum sqrt(pq) */
double drift_hellinger(const double *reference, const double *current, guint n_cells);       /* sqrt(1 - coefficient) */
double drift_total_variation(const double *reference, const double *current, guint n_cells); /* half of sum |p - q| */
double drift_l_infinity(const double *reference, const double *current, guint n_cells);      /* max |p - q| */
double drift_intersection_complement(const double *reference, const double *current, guint n_cells); /* 1 - sum min */
/* sqrt(chi-squared / (n + m)) for a 2 x k table, in [0, 1]; NaN with fewer than two cells. */
double drift_cramers_v(const double *reference, const double *current, guint n_cells);

/* Counts of a sample in the cells (-inf, e1) [e1, e2) … [ek, inf); edges ascending. counts has n_edges + 1 cells. */
void drift_bin_sample(const DriftSample *sample, const double *edges, guint n_edges, double *counts);
/* Up to n_cells - 1 distinct edges at the sample's quantiles: cells of about equal counts. Never from the current
 * sample, so that an outlier there cannot move them. Returns their number. */
guint drift_quantile_edges(const DriftSample *sample, guint n_cells, double *edges);

G_END_DECLS
