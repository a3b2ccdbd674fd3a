/* The statistics of two samples as counts in cells, their p-values, the correction for many tests, and intervals of
 * rates. Counts are whole numbers held in doubles. Formulas, nulls and assumptions: drift/README.md. NaN: undefined. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Kolmogorov-Smirnov distance of two samples in ordered cells: max |F - G| at the cells' upper ends. */
double drift_ks_distance(const double *reference, const double *window, guint n_cells);
/* P(D >= distance) by Kolmogorov's limit law with nm/(n+m); conservative for ties and for small samples. */
double drift_ks_p(double distance, double n_reference, double n_window);

/* Pearson's chi-squared of the 2 x k table without Yates' correction; cells empty on both sides are dropped. *df is the
 * number of the others less one; 0 with df 0 when fewer than two are left. */
double drift_chi_squared(const double *reference, const double *window, guint n_cells, guint *df);

/* Likelihood ratio G of the same table, chi-squared in the limit. Where expected counts are small its far tail is right
 * (to the leading order of large deviations) and Pearson's is too heavy. */
double drift_likelihood_ratio(const double *reference, const double *window, guint n_cells);

/* Population stability index with half a count added to every cell (so that it is finite), natural logarithm. Its null
 * is (1/n + 1/m) times chi-squared with k - 1 degrees of freedom. */
double drift_psi(const double *reference, const double *window, guint n_cells);
/* Jensen-Shannon divergence in nats, at most ln 2. */
double drift_js_divergence(const double *reference, const double *window, guint n_cells);
/* Mean of that divergence under the null, from the pooled counts: (k - 1)/8 (1/n + 1/m) and the next term of the
 * expansion, which matters for expected counts below about 20. Divided by its mean and times k - 1 it is chi-squared
 * with k - 1 degrees of freedom. */
double drift_js_null_mean(const double *reference, const double *window, guint n_cells);

/* Benjamini-Hochberg adjusted p-values in input order; NaN stays NaN and does not count as a test. */
void drift_benjamini_hochberg(const double *p, guint n, double *adjusted);

/* Wilson's interval of a rate; NaN when n is 0. */
void drift_wilson_interval(double successes, double n, double confidence, double *low, double *high);
/* Newcombe's interval of the difference of two rates, group less reference, from Wilson's intervals. */
void drift_difference_interval(double successes, double n, double reference_successes, double n_reference,
                               double confidence, double *low, double *high);
/* Interval of the ratio of two rates, group over reference, normal in the logarithm; where a count is 0 or all, half a
 * count is added to both for the interval. */
void drift_ratio_interval(double successes, double n, double reference_successes, double n_reference, double confidence,
                          double *low, double *high);

/* P(rate rose as much by chance): the window's count given both counts is binomial with share m/(n+m). Conservative. */
double drift_rate_rise_p(double reference_count, double n_reference, double window_count, double n_window);

/* Seeded permutation test of one table, for cells too thin for the limit laws: the counts of the smaller side are drawn
 * again without replacement from the pooled rows (with replacement above 2^22 rows). Each p is (1 + number as extreme)
 * / (1 + draws), or 20 / draws once 20 are as extreme (Besag and Clifford 1991); at most 9,999 draws. */
typedef struct {
  double chi_squared_p, psi_p, js_p;
  double js_mean; /* mean divergence under the null, nats */
} DriftPermutation;
void drift_permutation_test(const double *reference, const double *window, guint n_cells, guint64 seed,
                            DriftPermutation *result);

G_END_DECLS
