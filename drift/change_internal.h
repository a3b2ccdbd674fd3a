/* The inner loop of drift/change.h on a caller's table, so that a detector need not allocate per evaluation. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* table[k] = k ln k for k in [0, n]. */
void drift_glr_table_fill(double *table, guint n);
gboolean drift_glr_with_table(const double *table, const guint8 *errors, guint n, guint minimum_side,
                              gboolean rises_only, double *statistic, guint *split);

G_END_DECLS
