#include "drift/window_internal.h"

void drift_cells_init(DriftCells *cells, guint n_cells)
{
  *cells = (DriftCells){.n_cells = n_cells, .reference = g_new0(double, n_cells), .window = g_new0(double, n_cells)};
}

void drift_cells_clear(DriftCells *cells)
{
  g_free(cells->reference);
  g_free(cells->window);
  *cells = (DriftCells){.n_cells = 0};
}

static double pooled(const DriftCells *cells, guint cell)
{
  return cells->reference[cell] + cells->window[cell];
}

static void join(DriftCells *into, guint target, const DriftCells *from, guint cell)
{
  into->reference[target] += from->reference[cell];
  into->window[target] += from->window[cell];
}

void drift_cells_coarsen_ordered(const DriftCells *cells, double least, DriftCells *coarse)
{
  drift_cells_init(coarse, cells->n_cells);
  guint used = 0;
  gboolean open = FALSE;
  double reference = 0, window = 0;
  for (guint cell = 0; cell < cells->n_cells; cell++) {
    reference += cells->reference[cell];
    window += cells->window[cell];
    if (pooled(cells, cell) == 0) continue;
    coarse->reference[used] = reference;
    coarse->window[used] = window;
    open = reference + window < least;
    if (open) continue;
    used++;
    reference = window = 0;
  }
  if (open && used > 0) join(coarse, used - 1, coarse, used);
  coarse->n_cells = open && used == 0 ? 1 : used;
  coarse->n = cells->n;
  coarse->m = cells->m;
}

static guint smallest_of(const DriftCells *cells)
{
  guint smallest = 0;
  for (guint cell = 1; cell < cells->n_cells; cell++)
    if (pooled(cells, cell) < pooled(cells, smallest)) smallest = cell;
  return smallest;
}

gboolean drift_cells_coarsen_categories(const DriftCells *cells, double least, DriftCells *coarse)
{
  drift_cells_init(coarse, cells->n_cells + 1);
  DriftCells rare;
  drift_cells_init(&rare, 1);
  guint used = 0, unseen = cells->n_cells - 1;
  for (guint cell = 0; cell < cells->n_cells; cell++) {
    gboolean kept = cell != unseen && pooled(cells, cell) >= least;
    if (kept)
      join(coarse, used++, cells, cell);
    else
      join(&rare, 0, cells, cell);
  }
  coarse->n_cells = used;
  gboolean alone = pooled(&rare, 0) >= least || used == 0;
  if (alone)
    join(coarse, coarse->n_cells++, &rare, 0);
  else
    join(coarse, smallest_of(coarse), &rare, 0);
  coarse->n = cells->n;
  coarse->m = cells->m;
  drift_cells_clear(&rare);
  return used > 0;
}
