/* Isotonic regression: the non-decreasing function of the score closest to the outcomes in squared error, by pooling
 * adjacent violators (Ayer et al. 1955; Barlow et al. 1972). Between knots it is linear, outside constant. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Plain values; read them, build with drift_isotonic_fit. */
typedef struct {
  double *x; /* [n_knots] ascending */
  double *y; /* [n_knots] not descending */
  gsize n_knots;
} DriftIsotonic;

/* Equal scores count as one with their mean outcome. Rows with NaN on either side are left out. UNDEFINED when none is
 * left, LIMIT when memory is short. Time of a sort. */
DriftIsotonic *drift_isotonic_fit(const double *scores, const double *outcomes, gsize n, GError **error);
/* The same of n rows (ascending numbers) of scores that ascend, with outcomes of 0 and 1 and nothing NaN; NULL when
 * n is 0. No sort. */
DriftIsotonic *drift_isotonic_fit_sorted(const double *scores, const guint8 *outcomes, const guint32 *rows, gsize n);
/* NaN stays NaN. calibrated may be scores. */
void drift_isotonic_apply(const DriftIsotonic *isotonic, const double *scores, gsize n, double *calibrated);
/* The same for scores that ascend, without NaN: one walk along the knots. */
void drift_isotonic_apply_sorted(const DriftIsotonic *isotonic, const double *scores, gsize n, double *calibrated);
void drift_isotonic_free(DriftIsotonic *isotonic);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftIsotonic, drift_isotonic_free)

G_END_DECLS
