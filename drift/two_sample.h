/* Two-sample tests on raw samples and on counts of categories: does the current sample come from the reference's law?
 *
 * What every method keeps: NaN are left out before (drift_sample_new counts them). Infinities are the smallest and the
 * largest values to methods of ranks (KS, Kuiper, Cramer-von Mises, Anderson-Darling, Mann-Whitney); methods of moments
 * and distances are undefined with them. Ties are allowed: rank methods use midranks and distribution functions step
 * once a distinct value. An empty side is undefined. Undefined is NaN with the reason in words, never a number. All
 * p-values assume independent rows. */
#pragma once

#include <glib.h>

#include "drift/sample.h"

G_BEGIN_DECLS

typedef struct {
  double statistic;       /* NaN: undefined */
  double p;               /* NaN: undefined, or the method has none */
  double df;              /* degrees of freedom; NaN when the law has none */
  const gchar *p_from;    /* static: which law p is from: "exact", "limit law", "permutation", …; NULL: none */
  const gchar *undefined; /* static: why the statistic or p is NaN; NULL: both are numbers */
} DriftTestResult;

/* Which side's distribution function is above: D+ = max(F_reference - F_current), D- = max(F_current - F_reference). */
typedef enum { DRIFT_TWO_SIDED, DRIFT_PLUS, DRIFT_MINUS } DriftAlternative;

/* --- Kolmogorov-Smirnov, Kuiper ----------------------------------------------------------------------------------- */
typedef struct {
  guint64 n, m;        /* reference, current */
  guint64 plus, minus; /* D+ and D- times n m: whole numbers, so that ties of |F - G| compare exactly */
  double distance;     /* D = max(D+, D-); NaN when a side is empty */
  double d_plus, d_minus;
  double location; /* where D is reached first, in ascending order */
  gint sign;       /* 1: D is D+, -1: it is D- */
} DriftKolmogorovSmirnov;
void drift_ks_compute(const DriftSample *reference, const DriftSample *current, DriftKolmogorovSmirnov *ks);
/* P(D at least as large) given that all orders of n + m distinct values are equally likely: paths on a lattice (Hodges
 * 1957), all terms positive. Conservative with ties. Time about n m D. */
double drift_ks_exact_p(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative);
/* Two-sided: the one-sample law of size round(nm/(n+m)) (scipy's "asymp"); one-sided: Hodges' (5.3). */
double drift_ks_asymptotic_p(const DriftKolmogorovSmirnov *ks, DriftAlternative alternative);
/* P(D_n >= distance) of the one-sample Kolmogorov-Smirnov statistic, two-sided; methods chosen after Simard and
 * L'Ecuyer (2011): Marsaglia-Tsang-Wang matrix, Pelz-Good series, twice Smirnov's one-sided sum. NaN for n = 0. */
double drift_kolmogorov_sf(double distance, guint64 n);
/* P(D+_n >= distance), one-sided, Smirnov's (Birnbaum and Tingey's 1951) sum. */
double drift_smirnov_sf(double distance, guint64 n);
/* Kuiper's V = D+ + D-; limit law with Stephens' (1970) finite-sample factor; conservative with ties. */
void drift_kuiper(const DriftKolmogorovSmirnov *ks, DriftTestResult *result);

/* --- Cramer-von Mises, Anderson-Darling, Mann-Whitney ------------------------------------------------------------- */
/* T of Anderson (1962) with midranks, p from the limit law after his correction of mean and variance. */
void drift_cramer_von_mises(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
#define DRIFT_CVM_EXACT_MAX 20
/* P(T at least as large) over all orders of n + m distinct values (Xiao, Gordon and Yakovlev 2007); n and m at most
 * DRIFT_CVM_EXACT_MAX, else NaN. Means nothing for samples with ties. */
double drift_cramer_von_mises_exact_p(double statistic, gsize n, gsize m);
/* P(W > x): the limit laws of Cramer-von Mises (sum of chi-squared / (j pi)^2) and Anderson-Darling (/ j(j+1)). */
double drift_cramer_von_mises_limit_sf(double x);
double drift_anderson_darling_limit_sf(double x);

typedef struct {
  double statistic;      /* standardised; NaN: undefined */
  double p;              /* two samples: the limit law; more: p_interpolated */
  double p_interpolated; /* Scholz and Stephens' (1987) table, within [.001, .25] as scipy has it */
  double critical[7];    /* at 25, 10, 5, 2.5, 1, .5, .1 % */
  const gchar *undefined;
} DriftAndersonDarling;
/* k-sample test, k >= 2; midrank: their (7), else the right-continuous version (6). */
void drift_anderson_darling(const DriftSample *const *samples, guint k, gboolean midrank, DriftAndersonDarling *result);

/* U of the reference; two-sided p by the normal law with corrections for ties and continuity. */
void drift_mann_whitney(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
#define DRIFT_MANN_WHITNEY_EXACT_MAX 10000 /* n times m */
/* Two-sided p over all orders of distinct values; NaN above the bound. With ties U is rounded towards the mean. */
double drift_mann_whitney_exact_p(double u, gsize n, gsize m);

/* --- Moments ------------------------------------------------------------------------------------------------------ */
/* Two-sided; statistic positive when the reference's mean is larger; undefined for fewer than two values a side and for
 * equal constants. Different constants: infinite, p 0. */
void drift_welch_t(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
void drift_student_t(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
/* Levene's test centred at the medians (Brown and Forsythe 1974); F with 1 and n + m - 2 degrees of freedom. */
void drift_levene(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
/* Epps and Singleton (1986) at t = .4, .8 semi-interquartile ranges, with Goerg and Kaiser's small-sample factor; 5
 * values a side at least. Degrees of freedom: rank of the covariance. */
void drift_epps_singleton(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);

/* --- Distances ---------------------------------------------------------------------------------------------------- */
double drift_wasserstein(const DriftSample *reference, const DriftSample *current); /* integral of |F - G| */
/* What evidently divides it by: the reference's standard deviation (divisor n), at least .001. */
double drift_wasserstein_scale(const DriftSample *reference);
double drift_energy_squared(const DriftSample *reference, const DriftSample *current); /* 2 integral of (F - G)^2 */
typedef struct {
  guint permutations; /* at most; large samples get fewer, never below 99, so that a test stays within seconds */
  guint64 seed;
} DriftPermutationSettings;
/* Permutation p of the two distances: (1 + as extreme) / (1 + draws), or 20 / draws once 20 are as extreme (Besag and
 * Clifford 1991). NaN where the distance is. */
typedef enum { DRIFT_DISTANCE_WASSERSTEIN, DRIFT_DISTANCE_ENERGY } DriftDistance;
double drift_distance_permutation_p(const DriftSample *reference, const DriftSample *current, DriftDistance distance,
                                    const DriftPermutationSettings *settings);

/* --- 2 x k tables: counts are whole numbers held in doubles ------------------------------------------------------- */
/* chi_squared: Pearson's contingency test, both sides samples (not goodness of fit to the reference); g: log-likelihood
 * ratio. Cells empty on both sides are dropped; fewer than two cells or an empty side: undefined. */
void drift_chi_squared_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
void drift_g_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
/* For comparison with other libraries only: takes the reference's shares as exact, so that it alarms on null data (31 %
 * of runs at 5 % with 5 categories and 800 + 800 rows). Undefined where the reference has an empty cell. */
void drift_goodness_of_fit_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
/* 2 x 2 tables; other sizes are undefined. Yates: chi-squared with his continuity correction. z: pooled two-proportion
 * test of the second cell's share, reference less current, two-sided. Fisher: statistic is the sample odds ratio, p
 * sums all tables no likelier than this one. */
void drift_yates_test(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
void drift_two_proportion_z(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
void drift_fisher_exact(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
/* Any statistic of two rows of counts that grows with their difference, as above; tables are drawn with both margins
 * kept (exact multivariate hypergeometric). NaN where the statistic is. */
typedef double (*DriftCountStatistic)(const double *reference, const double *current, guint n_cells);
double drift_count_permutation_p(const double *reference, const double *current, guint n_cells,
                                 DriftCountStatistic statistic, const DriftPermutationSettings *settings);
/* The same for numbers in n_cells cells at the reference's quantiles (drift/binned.h): cells depend on which side is
 * the reference, so every draw makes its own. n_cells >= 2. */
double drift_binned_permutation_p(const DriftSample *reference, const DriftSample *current, guint n_cells,
                                  DriftCountStatistic statistic, const DriftPermutationSettings *settings);

G_END_DECLS
