/* Corrections for many tests at once. NaN (an undefined test) stays NaN and counts as no test. Benjamini-Hochberg is
 * drift_benjamini_hochberg of drift/statistics.h. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Adjusted p-values in input order, clipped to 1: a test is rejected at level a when its adjusted p is <= a.
 * Bonferroni and Holm (1979) bound the chance of any false rejection under any dependence, Holm never less powerful;
 * Benjamini-Yekutieli (2001) bounds the share of false rejections under any dependence, Benjamini-Hochberg (1995) under
 * independence and positive regression dependence. adjusted must not overlap p. */
void drift_adjust_bonferroni(const double *p, guint n, double *adjusted);
void drift_adjust_holm(const double *p, guint n, double *adjusted);
void drift_adjust_benjamini_yekutieli(const double *p, guint n, double *adjusted);

typedef struct {
  const gchar *name; /* "bonferroni", "holm", "bh", "by", "none" */
  const gchar *summary;
  void (*adjust)(const double *p, guint n, double *adjusted);
} DriftAdjustment;
extern const DriftAdjustment drift_adjustments[];                /* ends with a NULL name */
const DriftAdjustment *drift_adjustment_find(const gchar *name); /* NULL: none */

/* Fisher's combination of independent p-values (1925): *statistic = -2 sum ln p, chi-squared with 2n degrees of freedom
 * when every null holds; returns its p. p = 0 gives infinity and 0; without tests both are NaN. */
double drift_fisher_combination(const double *p, guint n, double *statistic);

G_END_DECLS
