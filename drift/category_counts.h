/* Two columns as counts of their categories, over the categories of both. */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

typedef struct {
  guint n_cells;
  gchar **names;               /* [n_cells] in byte order, owned */
  double *reference, *current; /* [n_cells] whole numbers */
  guint64 reference_missing, current_missing;
} DriftCategoryCounts;

/* Of the rows [start, end) of each column. A numeric column counts by the spelling of its numbers, so that 1, "1" and
 * "1.0" are one category. */
DriftCategoryCounts *drift_category_counts_new(const DriftColumn *reference, guint64 reference_start,
                                               guint64 reference_end, const DriftColumn *current, guint64 current_start,
                                               guint64 current_end);
void drift_category_counts_free(DriftCategoryCounts *counts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftCategoryCounts, drift_category_counts_free)

G_END_DECLS
