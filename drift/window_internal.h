#pragma once

#include "drift/accumulator_internal.h"
#include "drift/baseline_internal.h"
#include "drift/window.h"

G_BEGIN_DECLS

/* Two samples as counts in the same cells. */
typedef struct {
  guint n_cells;
  double *reference, *window; /* [n_cells], owned */
  double n, m;                /* their sums */
} DriftCells;
void drift_cells_init(DriftCells *cells, guint n_cells);
void drift_cells_clear(DriftCells *cells);

/* Neighbours joined from the left until each cell holds at least `least` pooled rows. The rule looks at pooled counts
 * only, so under the null it does not favour either side. */
void drift_cells_coarsen_ordered(const DriftCells *cells, double least, DriftCells *coarse);
/* Categories with fewer than `least` pooled rows, and the last cell (unseen), become one; when that has fewer than
 * `least` itself it joins the smallest kept one. TRUE when a category was kept. */
gboolean drift_cells_coarsen_categories(const DriftCells *cells, double least, DriftCells *coarse);

/* One quantity's statistics and p (not yet adjusted), rates and effect. baseline may be NULL. */
void drift_window_test_quantity(const DriftAccumulator *profile, const DriftBaseline *baseline,
                                const DriftAccumulator *window, guint quantity, DriftFeatureVerdict *verdict);
/* The three quality tests of a quantity: p-values (NaN: no test) and absolute rises. */
enum { DRIFT_QUALITY_MISSING, DRIFT_QUALITY_UNSEEN, DRIFT_QUALITY_OUT_OF_RANGE, DRIFT_N_QUALITY };
void drift_window_test_quality(const DriftAccumulator *profile, const DriftBaseline *baseline,
                               const DriftAccumulator *window, guint quantity, double p[DRIFT_N_QUALITY],
                               double rise[DRIFT_N_QUALITY]);

/* Fills the verdict's slices and dependences when the grid has joint histograms; a dependence that changed raises drift
 * and may raise the evidence. */
void drift_window_judge_slices(const DriftAccumulator *profile, const DriftAccumulator *window,
                               const DriftLabelRow *labels, guint n_labels, const DriftWindowSettings *settings,
                               DriftWindowVerdict *verdict);

void drift_performance_measure(const DriftSchema *schema, const DriftLabelRow *rows, guint n, double confidence,
                               DriftPerformance *performance);
/* Appends DriftBiasVerdict* to `verdicts`; returns why it has none, static, or NULL. */
const gchar *drift_bias_measure(const DriftGrid *grid, const DriftLabelRow *rows, guint n,
                                const DriftWindowSettings *settings, GPtrArray *verdicts);

G_END_DECLS
