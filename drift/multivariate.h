/* Two-sample tests and distances of rows of several features. Rows are independent under every null. Values must be
 * finite (INVALID); what cannot be computed is UNDEFINED with the reason. Nothing is scaled here: kernels and distances
 * see units, so standardise (drift_matrix_scales of the reference) where columns have different ones.
 *
 * Permutation p: (1 + number as extreme) / (1 + draws), or 20 / draws once 20 are as extreme (Besag and Clifford 1991):
 * never 0, exact at any size. NaN when settings are NULL or ask for none. */
#pragma once

#include "drift/estimate.h"
#include "drift/learner.h"
#include "drift/matrix.h"
#include "drift/two_sample.h"

G_BEGIN_DECLS

/* Pooled rows up to which all pairs are held (a quarter of a gigabyte). */
#define DRIFT_PAIRS_MAX_ROWS 8192

typedef struct {
  double sigma;    /* bandwidth used: exp(-|x - y|^2 / (2 sigma^2)) */
  double unbiased; /* may be negative; what the permutation test orders by */
  double biased;   /* squared distance of the mean embeddings */
  double p;
  double standard_error; /* of both, from the random features; 0 for the exact kernel */
} DriftMmd;
/* Maximum mean discrepancy squared (Gretton et al. 2012, lemma 6). sigma 0: the median distance of all pooled pairs, of
 * 2^21 seeded pairs above 2,049 pooled rows. Time (n + m)^2 d, and n^2 / 2 a permutation. LIMIT above
 * DRIFT_PAIRS_MAX_ROWS. Two rows a side at least. */
gboolean drift_mmd(const DriftMatrix *reference, const DriftMatrix *current, double sigma,
                   const DriftPermutationSettings *settings, DriftMmd *result, GError **error);
/* The same by n_features random Fourier frequencies (Rahimi and Recht 2007): time (n + m) n_features (d +
 * permutations), memory n_features. The mean over frequencies is unbiased for the exact value; standard_error is its
 * deviation over frequencies / sqrt(n_features), at most 2 / sqrt(n_features) since every term lies in [0, 4]. The p is
 * exact given the frequencies (all permutations are drawn, none stopped early). */
gboolean drift_mmd_features(const DriftMatrix *reference, const DriftMatrix *current, double sigma, guint n_features,
                            const DriftPermutationSettings *settings, DriftMmd *result, GError **error);

typedef struct {
  double squared;   /* 2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs, equal ones too; not negative */
  double statistic; /* nm / (n + m) times that */
  double p;
} DriftEnergy;
/* Energy distance (Szekely and Rizzo 2004). LIMIT above DRIFT_PAIRS_MAX_ROWS. */
gboolean drift_energy_distance(const DriftMatrix *reference, const DriftMatrix *current,
                               const DriftPermutationSettings *settings, DriftEnergy *result, GError **error);

typedef struct {
  double t2, f, df1, df2, p;
} DriftHotelling;
/* Hotelling's T squared with pooled covariance: a difference of means; exact for normal rows of one covariance, good
 * for large samples otherwise. UNDEFINED when n + m - 2 < d or the pooled covariance is singular. */
gboolean drift_hotelling(const DriftMatrix *reference, const DriftMatrix *current, DriftHotelling *result,
                         GError **error);

/* Distance of every row from the reference's mean by its covariance (n - 1), [rows->n]. For normal data its square is
 * roughly chi-squared with d degrees of freedom. UNDEFINED when the covariance is singular. */
gboolean drift_mahalanobis(const DriftMatrix *reference, const DriftMatrix *rows, double *distances, GError **error);

typedef struct {
  double sigma;
  double statistic; /* squared L2 difference of the densities, in units of (pi sigma^2)^(-d/2) */
  double p;
  guint n_centres;
} DriftLsdd;
/* Least-squares density difference (Sugiyama et al. 2013): Gaussian bumps at up to 200 seeded rows of the pooled data,
 * ridge penalty .1 on the unit-diagonal system, 2 h'theta - theta'H theta. sigma 0: median distance. */
gboolean drift_lsdd(const DriftMatrix *reference, const DriftMatrix *current, double sigma,
                    const DriftPermutationSettings *settings, DriftLsdd *result, GError **error);

typedef struct {
  double auc; /* mean over folds of the held-out AUC of telling the sides apart; .5: it cannot */
  double p;   /* labels permuted, all folds fitted again: as many fits as folds times permutations */
} DriftClassifierTest;
/* Classifier two-sample test (Lopez-Paz and Oquab 2017), stratified seeded folds (2 to 20); columns are standardised by
 * the pooled data. At least `folds` rows a side. */
gboolean drift_classifier_test(const DriftMatrix *reference, const DriftMatrix *current, const DriftLearner *learner,
                               guint folds, const DriftPermutationSettings *settings, DriftClassifierTest *result,
                               GError **error);

/* --- reconstruction by principal components ----------------------------------------------------------------------- */

typedef struct _DriftPca DriftPca;
/* Components of the standardised reference. n_components 0: the fewest that explain more than `explained` of the
 * variance (.65 in nannyml). UNDEFINED for fewer than two rows or no spread at all. */
DriftPca *drift_pca_new(const DriftMatrix *reference, guint n_components, double explained, GError **error);
void drift_pca_free(DriftPca *pca);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftPca, drift_pca_free)
guint drift_pca_get_n_components(const DriftPca *pca);
const double *drift_pca_get_eigenvalues(const DriftPca *pca); /* [d], descending, of the covariance with n - 1 */
double drift_pca_get_explained(const DriftPca *pca, guint n_components);
/* Euclidean norm of what the components leave of each standardised row, [rows->n]. */
void drift_pca_errors(const DriftPca *pca, const DriftMatrix *rows, double *errors);
/* Mean error a chunk; sampling error: the chunk's own deviation (n - 1) / sqrt(n); thresholds from the reference's
 * chunks. realized is NaN. One series "reconstruction_error". */
DriftEstimate *drift_pca_chunks(const DriftPca *pca, const DriftMatrix *reference, const DriftMatrix *analysis,
                                gsize chunk_size, GError **error);

/* --- single rows' figures as tests ----------------------------------------------------------------------------------
 */

/* Distances, or reconstruction errors (fewest components above 65 % of the variance), of the reference's seeded second
 * half against those of the current rows, both under its first half; statistic: Kolmogorov-Smirnov's D, p exact up to
 * 10^7 pairs. Only the seed of `settings` counts. Four rows of the reference and two current ones at least;
 * Mahalanobis: more than d in a half, or the covariance is singular (UNDEFINED). */
gboolean drift_mahalanobis_test(const DriftMatrix *reference, const DriftMatrix *current,
                                const DriftPermutationSettings *settings, DriftTestResult *result, GError **error);
gboolean drift_pca_test(const DriftMatrix *reference, const DriftMatrix *current,
                        const DriftPermutationSettings *settings, DriftTestResult *result, GError **error);

/* --- by name ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const gchar *name; /* "mmd", "mmd-features", "energy", "hotelling", "lsdd", "classifier", "mahalanobis", "pca" */
  const gchar *summary;
  gboolean (*test)(const DriftMatrix *reference, const DriftMatrix *current, const DriftPermutationSettings *settings,
                   DriftTestResult *result, GError **error);
} DriftMultivariateMethod;
extern const DriftMultivariateMethod drift_multivariate_methods[]; /* ends with a NULL name; defaults throughout */
const DriftMultivariateMethod *drift_multivariate_find(const gchar *name); /* NULL: none */

G_END_DECLS
