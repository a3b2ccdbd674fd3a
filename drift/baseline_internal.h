#pragma once

#include "drift/accumulator_internal.h"
#include "drift/baseline.h"

G_BEGIN_DECLS

/* Cells of the baseline's statistics at most. */
#define DRIFT_BASELINE_CELLS 10
/* Block sizes are 8 2^scale: smaller tables are far from normal. */
#define DRIFT_BASELINE_BLOCK 8
#define DRIFT_BASELINE_MAX_SCALES 24
/* Blocks at least: sizes go up to this share of the rows. */
#define DRIFT_BASELINE_LEAST_BLOCKS 8

/* Blocks of one size against independent rows of one law. */
typedef struct {
  double cells;   /* variance of cell counts, mean over cells: Rao and Scott's first-order correction */
  double squares; /* sum of squared eigenvalues of the covariance of cell counts, free of bias */
  double steps;   /* variance of the counts below thresholds, mean over thresholds (numeric) */
  double missing; /* variance of the count of missing values */
} DriftBaselineScale;

typedef struct {
  guint freedom; /* coarse cells less one */
  double halves; /* Cramer's V squared of the reference's halves: 0 alike, 1 apart */
  DriftBaselineScale scales[DRIFT_BASELINE_MAX_SCALES]; /* [n_scales] */
} DriftBaselineQuantity;

struct _DriftBaseline {
  guint64 grid_digest;
  guint64 n_rows;
  guint n_quantities, n_scales;
  DriftBaselineQuantity *quantities;
  gboolean common; /* of the contents: dependence stands out in many quantities, so none is taken as independent */
};
/* Sets `common`; to be called when all else is set. */
void drift_baseline_finish(DriftBaseline *baseline);

static inline guint64 drift_baseline_block(guint scale)
{
  return (guint64)DRIFT_BASELINE_BLOCK << scale;
}
/* Number of block sizes for a reference of so many rows. */
guint drift_baseline_n_scales(guint64 n_rows);

/* What a comparison of the reference (n values) with a window (m values) has to allow for: multiples of the variance
 * that independent rows have. `freedom`: the multiple is itself an estimate, as good as one from so many independent
 * squares; infinite: it is known. */
typedef struct {
  double cells, cells_freedom; /* mean over the directions of a chi-squared */
  double first, first_freedom; /* largest over directions */
  double steps, steps_freedom; /* largest over thresholds: of Kolmogorov and Smirnov's distance squared */
  double missing;              /* of a rate; with its own error allowed for */
} DriftDispersion;
extern const DriftDispersion drift_dispersion_independent;
/* baseline may be NULL: independent rows. */
void drift_baseline_disperse(const DriftBaseline *baseline, guint quantity, double n, double m,
                             DriftDispersion *dispersion);

/* P(statistic > x) where the statistic would be chi-squared with df degrees of freedom for independent rows. */
double drift_dispersed_chi_squared_sf(double x, double df, const DriftDispersion *dispersion);
/* Kolmogorov and Smirnov's p; conservative. */
double drift_dispersed_ks_p(double distance, double n, double m, const DriftDispersion *dispersion);

G_END_DECLS
