/* All pairs of the pooled rows, and permutations over them. */
#pragma once

#include "drift/multivariate.h"

G_BEGIN_DECLS

/* Lower triangle without the diagonal: the value of rows i > j is at i (i - 1) / 2 + j; the reference's rows first. */
typedef struct {
  gsize n, m;
  double *values;
  double *row_sums; /* [n + m] */
} DriftPairs;

/* Euclidean distances. LIMIT above DRIFT_PAIRS_MAX_ROWS or when memory is short. */
gboolean drift_pairs_init(DriftPairs *pairs, const DriftMatrix *reference, const DriftMatrix *current, GError **error);
/* After the values were changed. */
void drift_pairs_sum_rows(DriftPairs *pairs);
void drift_pairs_clear(DriftPairs *pairs);

/* Sums over pairs within the reference, across, and within the current rows. */
typedef struct {
  double within_reference, across, within_current;
} DriftPairSums;
/* A statistic of the sums that grows with the difference. */
typedef double (*DriftPairStatistic)(const DriftPairSums *sums, gsize n, gsize m);
DriftPairSums drift_pairs_sums(const DriftPairs *pairs);
double drift_pairs_permutation_p(const DriftPairs *pairs, DriftPairStatistic statistic,
                                 const DriftPermutationSettings *settings);

/* Median distance of the pooled rows: of all pairs, or of 2^21 drawn ones. NaN: no memory. */
double drift_median_distance(const DriftMatrix *reference, const DriftMatrix *current, guint64 seed);
double drift_row_distance_squared(const double *a, const double *b, guint d);

/* sigma itself, or the median distance when it is 0. UNDEFINED when that is 0: most rows are equal. */
gboolean drift_bandwidth(const DriftMatrix *reference, const DriftMatrix *current, double sigma, guint64 seed,
                         double *used, GError **error);

G_END_DECLS
