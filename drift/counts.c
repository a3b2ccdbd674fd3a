#include "drift/counts_internal.h"

#include <string.h>

void drift_counts_init(DriftCounts *counts, guint n_cells)
{
  counts->n_cells = n_cells;
  counts->width = 0;
  counts->cells = NULL;
}

void drift_counts_clear(DriftCounts *counts)
{
  g_free(counts->cells);
  drift_counts_init(counts, 0);
}

void drift_counts_reset(DriftCounts *counts)
{
  if (counts->cells != NULL) memset(counts->cells, 0, (gsize)counts->n_cells * counts->width);
}

static void set(DriftCounts *counts, guint cell, guint64 value)
{
  if (counts->width == 2)
    ((guint16 *)counts->cells)[cell] = (guint16)value;
  else if (counts->width == 4)
    ((guint32 *)counts->cells)[cell] = (guint32)value;
  else
    ((guint64 *)counts->cells)[cell] = value;
}

static guint width_for(guint64 value)
{
  if (value <= G_MAXUINT16) return 2;
  return value <= G_MAXUINT32 ? 4 : 8;
}

static void widen(DriftCounts *counts, guint width)
{
  DriftCounts wide = {.n_cells = counts->n_cells, .width = width, .cells = g_malloc0_n(counts->n_cells, width)};
  for (guint cell = 0; counts->cells != NULL && cell < counts->n_cells; cell++)
    set(&wide, cell, drift_counts_get(counts, cell));
  g_free(counts->cells);
  *counts = wide;
}

void drift_counts_add(DriftCounts *counts, guint cell, guint64 amount)
{
  guint64 before = drift_counts_get(counts, cell);
  guint64 after = before > G_MAXUINT64 - amount ? G_MAXUINT64 : before + amount;
  guint width = width_for(after);
  if (width > counts->width) widen(counts, width);
  set(counts, cell, after);
}

void drift_counts_increment_wide(DriftCounts *counts, guint cell)
{
  if (counts->width == 4) ((guint32 *)counts->cells)[cell] = G_MAXUINT32;
  if (counts->width == 2) ((guint16 *)counts->cells)[cell] = G_MAXUINT16;
  drift_counts_add(counts, cell, 1);
}

/* The usual case without a test a cell; FALSE with nothing changed when a sum needs more bits. */
static gboolean merge_narrow(guint16 *into, const guint16 *from, guint n_cells)
{
  guint overflow = 0;
  for (guint cell = 0; cell < n_cells; cell++) overflow |= (guint)into[cell] + from[cell];
  if (overflow > G_MAXUINT16) return FALSE;
  for (guint cell = 0; cell < n_cells; cell++) into[cell] = (guint16)(into[cell] + from[cell]);
  return TRUE;
}

void drift_counts_merge(DriftCounts *into, const DriftCounts *from)
{
  if (from->width == 0) return;
  if (from->width == 2 && into->width == 2 && merge_narrow(into->cells, from->cells, into->n_cells)) return;
  for (guint cell = 0; cell < from->n_cells; cell++) {
    guint64 amount = drift_counts_get(from, cell);
    if (amount != 0) drift_counts_add(into, cell, amount);
  }
}

gsize drift_counts_memory(const DriftCounts *counts)
{
  return (gsize)counts->n_cells * counts->width;
}
