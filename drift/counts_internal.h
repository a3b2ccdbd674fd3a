/* Counters of one quantity's cells. They are not allocated before the first event, start at 16 bits each and widen to
 * 32 and 64 bits when one overflows, so that an open pane is small. Width is not part of the contents. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint n_cells;
  guint width; /* bytes a cell: 0 (none yet), 2, 4, 8 */
  gpointer cells;
} DriftCounts;

void drift_counts_init(DriftCounts *counts, guint n_cells);
void drift_counts_clear(DriftCounts *counts);
/* All zero; keeps the memory. */
void drift_counts_reset(DriftCounts *counts);
static inline guint64 drift_counts_get(const DriftCounts *counts, guint cell)
{
  if (counts->width == 0) return 0;
  if (counts->width == 2) return ((const guint16 *)counts->cells)[cell];
  if (counts->width == 4) return ((const guint32 *)counts->cells)[cell];
  return ((const guint64 *)counts->cells)[cell];
}
/* Saturates at the largest guint64. */
void drift_counts_add(DriftCounts *counts, guint cell, guint64 amount);
void drift_counts_merge(DriftCounts *into, const DriftCounts *from); /* same n_cells */
gsize drift_counts_memory(const DriftCounts *counts);

/* One more in a cell that is not of 16 or 32 bits, or that overflowed to 0. */
void drift_counts_increment_wide(DriftCounts *counts, guint cell);
static inline void drift_counts_increment(DriftCounts *counts, guint cell)
{
  guint16 *narrow = counts->cells;
  guint32 *wide = counts->cells;
  if (G_LIKELY(counts->width == 2)) {
    if (G_LIKELY(!__builtin_add_overflow(narrow[cell], 1, &narrow[cell]))) return;
  } else if (G_LIKELY(counts->width == 4)) {
    if (G_LIKELY(!__builtin_add_overflow(wide[cell], 1, &wide[cell]))) return;
  }
  drift_counts_increment_wide(counts, cell);
}

G_END_DECLS
