/* One column followed over chunks of rows: the distance of each chunk from the whole reference, and a threshold that
 * the reference's own chunks set (mean + 3 standard deviations of their distances), as nannyml has it. A threshold of
 * this kind has no stated error; kedge's verdicts use p-values (drift/window.h). */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

typedef struct _DriftUnivariateReference DriftUnivariateReference;

typedef struct {
  const gchar *name;
  DriftFeatureKind kind;
  const gchar *summary;
  /* Distance of rows [start, end) from the reference; NaN without values. *p: NaN, or the p-value that decides instead
   * of a threshold. */
  double (*compute)(const DriftUnivariateReference *reference, const DriftColumn *column, guint64 start, guint64 end,
                    double *p);
} DriftUnivariateMethod;
extern const DriftUnivariateMethod drift_univariate_methods[]; /* ends with a NULL name */
const DriftUnivariateMethod *drift_univariate_find(const gchar *name, DriftFeatureKind kind); /* NULL: none */

typedef struct {
  guint n_chunks; /* the last may be shorter */
  double *values;
  gboolean *alerts; /* above the threshold, or p < .05 where the method has a p */
  double threshold; /* NaN where the method has a p, or the reference gives none */
} DriftChunkSeries;
/* UNDEFINED when the reference has no values, INVALID when the column's kind is not the method's or chunk_size is 0,
 * LIMIT for more than DRIFT_SAMPLE_MAX rows. Rows: the columns' lengths. */
DriftChunkSeries *drift_univariate_chunks(const DriftUnivariateMethod *method, const DriftColumn *reference,
                                          const DriftColumn *analysis, guint64 chunk_size, GError **error);
void drift_chunk_series_free(DriftChunkSeries *series);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftChunkSeries, drift_chunk_series_free)

/* Rates of what should not be, over rows [start, end): all are shares of the rows, missing ones included. */
typedef struct {
  double missing;
  double unseen;       /* categories that the reference lacks; NaN for numbers */
  double out_of_range; /* outside [smallest, largest] of the reference; NaN for categories */
} DriftQualityRates;
/* NaN for no rows. Kinds must agree (INVALID). */
gboolean drift_quality_rates(const DriftColumn *reference, const DriftColumn *column, guint64 start, guint64 end,
                             DriftQualityRates *rates, GError **error);

G_END_DECLS
