/* Rows as bytes: the part of every cell of a table, and the rows whose loss is known. */
#include "drift/slice_rows_internal.h"

#include <math.h>
#include <string.h>

/* Evenly spread sample that decides where numbers are cut and which categories are kept. */
#define SAMPLE_ROWS 20000

static void view_init(DriftSliceView *view, guint n_features, guint64 n)
{
  *view = (DriftSliceView){.n = n, .n_features = n_features, .parts = g_malloc(MAX(1, (gsize)n_features * n))};
}

static void view_clear(DriftSliceView *view)
{
  g_free(view->parts);
  g_free(view->losses);
}

/* Some rows of a view, in order. */
static void view_select(const DriftSliceView *from, const GArray *rows, DriftSliceView *view)
{
  view_init(view, from->n_features, rows->len);
  for (guint f = 0; f < from->n_features; f++) {
    const guint8 *parts = drift_slice_view_get(from, f);
    guint8 *selected = view->parts + (gsize)f * view->n;
    for (guint i = 0; i < rows->len; i++) selected[i] = parts[g_array_index(rows, guint32, i)];
  }
  if (from->losses == NULL) return;
  view->losses = g_new(double, MAX(1, rows->len));
  for (guint i = 0; i < rows->len; i++) view->losses[i] = from->losses[g_array_index(rows, guint32, i)];
}

static GArray *rows_where(const double *losses, guint64 n, gboolean (*fits)(double loss))
{
  GArray *rows = g_array_new(FALSE, FALSE, sizeof(guint32));
  for (guint32 i = 0; i < n; i++)
    if (fits(losses[i])) g_array_append_val(rows, i);
  return rows;
}

static gboolean is_known(double loss)
{
  return isfinite(loss);
}

static gboolean is_error(double loss)
{
  return loss == 1;
}

/* Views of rows with a loss and, of losses 0 and 1, of the errors. */
static void side_finish(DriftSliceSide *side, gboolean is_binary)
{
  if (side->all.losses == NULL) return;
  g_autoptr(GArray) known = rows_where(side->all.losses, side->all.n, is_known);
  view_select(&side->all, known, &side->known);
  if (!is_binary) return;
  g_autoptr(GArray) errors = rows_where(side->known.losses, side->known.n, is_error);
  view_select(&side->known, errors, &side->errors);
}

void drift_slice_side_init(DriftSliceSide *side, const DriftGrid *grid, const DriftPartition *partitions,
                           const DriftTable *table, const double *losses, gboolean is_binary)
{
  *side = (DriftSliceSide){.is_binary = is_binary};
  view_init(&side->all, grid->n_features, table->n_rows);
  for (guint f = 0; f < grid->n_features; f++) {
    const DriftColumn *column = drift_table_get_column(table, drift_grid_quantity_name(grid, f));
    drift_partition_encode(&partitions[f], &grid->quantities[f], column, table->n_rows,
                           side->all.parts + (gsize)f * table->n_rows);
  }
  if (losses != NULL) side->all.losses = g_memdup2(losses, table->n_rows * sizeof *losses);
  side_finish(side, is_binary);
}

void drift_slice_side_sample(const DriftSliceSide *from, guint64 most, DriftSliceSide *side)
{
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(guint32));
  guint64 n = MIN(from->all.n, most);
  for (guint64 i = 0; i < n; i++) {
    guint32 row = (guint32)(from->all.n * i / n);
    g_array_append_val(rows, row);
  }
  *side = (DriftSliceSide){.is_binary = from->is_binary};
  view_select(&from->all, rows, &side->all);
  side_finish(side, from->is_binary);
}

void drift_slice_side_clear(DriftSliceSide *side)
{
  view_clear(&side->all);
  view_clear(&side->known);
  view_clear(&side->errors);
}

DriftPartition *drift_slice_partitions(const DriftGrid *grid, const DriftTable *reference)
{
  DriftPartition *partitions = g_new0(DriftPartition, grid->n_features + 1);
  for (guint f = 0; f < grid->n_features; f++) {
    DriftPartMarks marks;
    const DriftColumn *column = drift_table_get_column(reference, drift_grid_quantity_name(grid, f));
    drift_part_marks_sample(&grid->quantities[f], column, reference->n_rows, MIN(reference->n_rows, SAMPLE_ROWS),
                            &marks);
    drift_partition_init(&partitions[f], &grid->quantities[f], &marks);
  }
  return partitions;
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static const guint8 *second_of(const DriftSliceView *view, guint feature, const guint8 *zeros)
{
  return feature == DRIFT_NO_FEATURE ? zeros : drift_slice_view_get(view, feature);
}

void drift_slice_count(const DriftSliceSide *side, guint a, guint b, double cells[DRIFT_JOINT_CELLS])
{
  guint32 counts[DRIFT_JOINT_CELLS];
  drift_count_joint(drift_slice_view_get(&side->all, a), drift_slice_view_get(&side->all, b), side->all.n, counts);
  for (guint i = 0; i < DRIFT_JOINT_CELLS; i++) cells[i] = counts[i];
}

static void count_errors(const DriftSliceSide *side, guint a, guint b, const guint8 *zeros,
                         DriftLoss cells[DRIFT_JOINT_CELLS])
{
  guint32 rows[DRIFT_JOINT_CELLS], errors[DRIFT_JOINT_CELLS];
  drift_count_joint(drift_slice_view_get(&side->known, a), second_of(&side->known, b, zeros), side->known.n, rows);
  drift_count_joint(drift_slice_view_get(&side->errors, a), second_of(&side->errors, b, zeros), side->errors.n, errors);
  for (guint i = 0; i < DRIFT_JOINT_CELLS; i++) cells[i] = (DriftLoss){rows[i], errors[i], errors[i]};
}

void drift_slice_sum_losses(const DriftSliceSide *side, guint a, guint b, const guint8 *zeros,
                            DriftLoss cells[DRIFT_JOINT_CELLS])
{
  if (side->is_binary) {
    count_errors(side, a, b, zeros, cells);
    return;
  }
  const guint8 *first = drift_slice_view_get(&side->known, a), *second = second_of(&side->known, b, zeros);
  memset(cells, 0, DRIFT_JOINT_CELLS * sizeof *cells);
  for (guint64 i = 0; i < side->known.n; i++) {
    DriftLoss *cell = &cells[first[i] * DRIFT_MAX_PARTS + second[i]];
    double loss = side->known.losses[i];
    cell->n++;
    cell->sum += loss;
    cell->squares += loss * loss;
  }
}
