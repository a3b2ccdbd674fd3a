/* Makes a baseline: one pass over the reference in its order. */
#include "drift/baseline_internal.h"

#include <math.h>
#include <string.h>

/* Categories below this share of the rows are one cell. */
#define LEAST_SHARE .01
/* What a row has instead of a coarse cell: nothing, or text where the quantity is numeric. */
#define MISSING 254
#define NO_CELL 255

/* The blocks of one size of one quantity so far. */
typedef struct {
  double counts[DRIFT_BASELINE_CELLS], present, missing; /* of the open block */
  double all_present, n_blocks;
  double cells, steps, missing_squares;
  double products[DRIFT_BASELINE_CELLS][DRIFT_BASELINE_CELLS];
} Blocks;

typedef struct {
  gboolean ordered;
  guint n_cells;   /* coarse */
  guint8 *cell_of; /* coarse cell of each cell of the grid, or NO_CELL */
  double shares[DRIFT_BASELINE_CELLS], inverse_roots[DRIFT_BASELINE_CELLS];
  double missing_share;
  double halves[2][DRIFT_BASELINE_CELLS];
  Blocks *blocks; /* [n_scales] */
} Learner;

guint drift_baseline_n_scales(guint64 n_rows)
{
  guint n = 0;
  while (n < DRIFT_BASELINE_MAX_SCALES && drift_baseline_block(n) * DRIFT_BASELINE_LEAST_BLOCKS <= n_rows) n++;
  return n;
}

/* --- coarse cells ---------------------------------------------------------------------------------------------------
 */

/* Neighbours joined from the left until a cell has a tenth of the values. */
static void coarsen_ordered(Learner *learner, const DriftCounts *counts, guint n_bins, double total)
{
  double held = 0;
  guint cell = 0;
  for (guint bin = 0; bin < n_bins; bin++) {
    double count = (double)drift_counts_get(counts, bin);
    if (held >= total / DRIFT_BASELINE_CELLS && count > 0 && cell + 1 < DRIFT_BASELINE_CELLS) {
      cell++;
      held = 0;
    }
    held += count;
    learner->cell_of[bin] = (guint8)cell;
    learner->shares[cell] += count / total;
  }
  learner->n_cells = cell + 1;
}

/* The most frequent categories (the grid has them in that order of its own reference) and the rest. */
static void coarsen_categories(Learner *learner, const DriftCounts *counts, const DriftQuantity *quantity, double total)
{
  guint kept = 0;
  double rest = 0;
  memset(learner->cell_of, DRIFT_BASELINE_CELLS - 1, quantity->n_bins);
  for (guint bin = 0; bin < quantity->n_bins; bin++) {
    double share = (double)drift_counts_get(counts, bin) / total;
    if (kept < DRIFT_BASELINE_CELLS - 1 && share >= LEAST_SHARE) {
      learner->shares[kept] = share;
      learner->cell_of[bin] = (guint8)kept++;
    } else {
      rest += share;
    }
  }
  rest += (double)drift_counts_get(counts, drift_quantity_unseen(quantity)) / total;
  gboolean alone = rest >= LEAST_SHARE || kept == 0;
  guint8 rest_cell = (guint8)(alone ? kept : kept - 1);
  learner->shares[rest_cell] += rest;
  learner->n_cells = rest_cell + 1u;
  for (guint bin = 0; bin < quantity->n_bins; bin++)
    if (learner->cell_of[bin] == DRIFT_BASELINE_CELLS - 1) learner->cell_of[bin] = rest_cell;
  learner->cell_of[drift_quantity_unseen(quantity)] = rest_cell;
}

static void learner_init(Learner *learner, const DriftAccumulator *profile, guint index, guint n_scales)
{
  const DriftQuantity *quantity = &profile->grid->quantities[index];
  const DriftCounts *counts = &profile->counts[index];
  guint n_cells = drift_quantity_n_cells(quantity);
  *learner = (Learner){.ordered = quantity->kind == DRIFT_NUMERIC,
                       .cell_of = g_malloc(n_cells),
                       .blocks = g_new0(Blocks, MAX(n_scales, 1))};
  memset(learner->cell_of, NO_CELL, n_cells);
  learner->cell_of[drift_quantity_missing(quantity)] = MISSING;
  double total = learner->ordered ? 0 : (double)drift_counts_get(counts, drift_quantity_unseen(quantity));
  for (guint bin = 0; bin < quantity->n_bins; bin++) total += (double)drift_counts_get(counts, bin);
  double n = (double)profile->n_events;
  learner->missing_share = (double)drift_counts_get(counts, drift_quantity_missing(quantity)) / n;
  if (total == 0)
    learner->n_cells = 1;
  else if (learner->ordered)
    coarsen_ordered(learner, counts, quantity->n_bins, total);
  else
    coarsen_categories(learner, counts, quantity, total);
  for (guint c = 0; c < learner->n_cells; c++)
    learner->inverse_roots[c] = learner->shares[c] > 0 ? 1 / sqrt(learner->shares[c]) : 0;
}

/* --- blocks ---------------------------------------------------------------------------------------------------------
 */

static void close_block(const Learner *learner, Blocks *blocks)
{
  guint n = learner->n_cells;
  double scaled[DRIFT_BASELINE_CELLS], below = 0;
  for (guint c = 0; c < n; c++) {
    double excess = blocks->counts[c] - blocks->present * learner->shares[c];
    below += excess;
    scaled[c] = excess * learner->inverse_roots[c];
    blocks->cells += scaled[c] * scaled[c];
    blocks->steps += below * below;
  }
  for (guint c = 0; c < n; c++)
    for (guint d = 0; d <= c; d++) blocks->products[c][d] += scaled[c] * scaled[d];
  blocks->all_present += blocks->present;
  blocks->n_blocks++;
}

/* A closed block is half of one of the next size. */
static void pass_on(const Blocks *from, Blocks *into, guint n_cells)
{
  for (guint c = 0; c < n_cells; c++) into->counts[c] += from->counts[c];
  into->present += from->present;
  into->missing += from->missing;
}

/* The rows so far end blocks of the first sizes. */
static void close_blocks(Learner *learner, guint64 rows, guint n_scales)
{
  Blocks *blocks = learner->blocks;
  for (guint scale = 0; scale < n_scales && rows % drift_baseline_block(scale) == 0; scale++) {
    Blocks *closing = &blocks[scale];
    double missing_excess = closing->missing - (double)drift_baseline_block(scale) * learner->missing_share;
    closing->missing_squares += missing_excess * missing_excess;
    close_block(learner, closing);
    if (scale + 1 < n_scales) pass_on(closing, &blocks[scale + 1], learner->n_cells);
    memset(closing->counts, 0, sizeof closing->counts);
    closing->present = closing->missing = 0;
  }
}

static void learn_cells(Learner *learner, const guint8 *cells, guint64 n_rows, guint n_scales)
{
  Blocks *smallest = learner->blocks;
  for (guint64 row = 0; row < n_rows; row++) {
    guint8 cell = cells[row];
    if (cell < learner->n_cells) {
      smallest->counts[cell]++;
      smallest->present++;
      learner->halves[row >= n_rows / 2][cell]++;
    }
    smallest->missing += cell == MISSING;
    if ((row + 1) % DRIFT_BASELINE_BLOCK == 0) close_blocks(learner, row + 1, n_scales);
  }
}

/* Sum of squared eigenvalues without the bias that K blocks give it (Srivastava 2005). */
static double unbiased_squares(const Blocks *blocks, guint n, double unit, double trace)
{
  double freedom = blocks->n_blocks - 1, sum = 0;
  for (guint c = 0; c < n; c++)
    for (guint d = 0; d <= c; d++) {
      double entry = blocks->products[c][d] / unit;
      sum += (c == d ? 1 : 2) * entry * entry;
    }
  return freedom * freedom / ((freedom - 1) * (freedom + 2)) * (sum - trace * trace / freedom);
}

static void summarise_blocks(const Learner *learner, const Blocks *blocks, double size, DriftBaselineScale *scale)
{
  guint freedom = learner->n_cells - 1;
  *scale = (DriftBaselineScale){.cells = 1, .squares = freedom, .steps = 1, .missing = 1};
  double p = learner->missing_share, left_out = blocks->n_blocks / (blocks->n_blocks - 1);
  if (p > 0 && p < 1) scale->missing = left_out * blocks->missing_squares / (blocks->n_blocks * size * p * (1 - p));
  if (freedom == 0 || blocks->all_present == 0) return;
  /* The shares come from the same rows: a block differs from them by less, as one of K. */
  double unit = blocks->all_present / left_out, trace = blocks->cells / unit, spread = 0, below = 0;
  for (guint c = 0; c + 1 < learner->n_cells; c++) {
    below += learner->shares[c];
    spread += below * (1 - below);
  }
  scale->cells = trace / freedom;
  scale->steps = learner->ordered ? blocks->steps / unit / spread : scale->cells;
  scale->squares = unbiased_squares(blocks, learner->n_cells, unit, trace);
}

static double compare_halves(const Learner *learner)
{
  double sums[2] = {0, 0}, statistic = 0;
  for (guint c = 0; c < learner->n_cells; c++)
    for (guint h = 0; h < 2; h++) sums[h] += learner->halves[h][c];
  if (sums[0] == 0 || sums[1] == 0) return 0;
  for (guint c = 0; c < learner->n_cells; c++) {
    double both = learner->halves[0][c] + learner->halves[1][c];
    double difference = learner->halves[0][c] / sums[0] - learner->halves[1][c] / sums[1];
    if (both > 0) statistic += difference * difference * sums[0] * sums[1] / both;
  }
  return statistic / (sums[0] + sums[1]);
}

/* --- the columns ----------------------------------------------------------------------------------------------------
 */

/* Coarse cell of a value that is not of its column's usual kind. */
static guint8 cell_of_value(const Learner *learner, const DriftQuantity *quantity, const DriftValue *value)
{
  double number;
  if (value->kind == DRIFT_VALUE_MISSING) return MISSING;
  if (quantity->kind == DRIFT_NUMERIC)
    return drift_value_to_number(value, &number) ? learner->cell_of[drift_bins_find(quantity->bins, number)] : NO_CELL;
  gint code = drift_categories_find(quantity->categories, value);
  return learner->cell_of[code < 0 ? drift_quantity_unseen(quantity) : (guint)code];
}

/* Texts are looked up once each. */
static void find_codes(const Learner *learner, const DriftQuantity *quantity, const DriftColumn *column, guint8 *cells,
                       guint64 n_rows)
{
  g_autofree guint8 *of_code = g_malloc(column->dictionary->len + 1);
  for (guint code = 0; code < column->dictionary->len; code++) {
    DriftValue value = drift_value_text(g_ptr_array_index(column->dictionary, code), -1);
    of_code[code] = cell_of_value(learner, quantity, &value);
  }
  for (guint64 row = 0; row < n_rows; row++) {
    guint32 code = g_array_index(column->codes, guint32, row);
    cells[row] = code == DRIFT_CODE_MISSING ? MISSING : of_code[code];
  }
}

static void find_cells(const Learner *learner, const DriftQuantity *quantity, const DriftColumn *column, guint8 *cells,
                       guint64 n_rows)
{
  if (column->kind == DRIFT_CATEGORICAL) {
    find_codes(learner, quantity, column, cells, n_rows);
    return;
  }
  const double *numbers = (const double *)(gpointer)column->numbers->data;
  for (guint64 row = 0; row < n_rows; row++) {
    if (quantity->kind == DRIFT_NUMERIC && G_LIKELY(!isnan(numbers[row]))) {
      cells[row] = learner->cell_of[drift_bins_find(quantity->bins, numbers[row])];
    } else {
      DriftValue value = drift_value_number(numbers[row]);
      cells[row] = cell_of_value(learner, quantity, &value);
    }
  }
}

/* NULL: the reference has no such column. */
static const DriftColumn *column_of(const DriftGrid *grid, const DriftTable *table, guint index)
{
  if (index >= grid->n_features)
    return drift_grid_output_column(grid->schema, table, (DriftOutput)(index - grid->n_features));
  return drift_table_get_column(table, drift_schema_get_feature(grid->schema, index)->name);
}

static void learn_column(const DriftAccumulator *profile, const DriftTable *table, guint index, guint8 *cells,
                         DriftBaseline *baseline)
{
  Learner learner;
  DriftBaselineQuantity *quantity = &baseline->quantities[index];
  const DriftColumn *column = column_of(profile->grid, table, index);
  learner_init(&learner, profile, index, baseline->n_scales);
  if (column != NULL) {
    find_cells(&learner, &profile->grid->quantities[index], column, cells, table->n_rows);
    learn_cells(&learner, cells, table->n_rows, baseline->n_scales);
  }
  quantity->freedom = learner.n_cells - 1;
  quantity->halves = compare_halves(&learner);
  for (guint s = 0; s < baseline->n_scales; s++)
    summarise_blocks(&learner, &learner.blocks[s], (double)drift_baseline_block(s), &quantity->scales[s]);
  g_free(learner.cell_of);
  g_free(learner.blocks);
}

DriftBaseline *drift_baseline_new(const DriftAccumulator *profile, const DriftTable *reference, GError **error)
{
  const DriftGrid *grid = profile->grid;
  if (reference->n_rows != profile->n_events) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "baseline: the profile is of %" G_GUINT64_FORMAT " rows, the reference has %" G_GUINT64_FORMAT
                ": make both from the same rows",
                profile->n_events, reference->n_rows);
    return NULL;
  }
  for (guint i = 0; i < grid->n_features; i++) {
    if (column_of(grid, reference, i) != NULL) continue;
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "baseline: the reference has no column \"%s\"",
                drift_schema_get_feature(grid->schema, i)->name);
    return NULL;
  }
  DriftBaseline *baseline = g_new0(DriftBaseline, 1);
  *baseline = (DriftBaseline){.grid_digest = grid->digest,
                              .n_rows = reference->n_rows,
                              .n_quantities = grid->n_quantities,
                              .n_scales = drift_baseline_n_scales(reference->n_rows),
                              .quantities = g_new0(DriftBaselineQuantity, grid->n_quantities)};
  g_autofree guint8 *cells = g_malloc(reference->n_rows + 1);
  for (guint q = 0; q < grid->n_quantities; q++) learn_column(profile, reference, q, cells, baseline);
  drift_baseline_finish(baseline);
  return baseline;
}

void drift_baseline_free(DriftBaseline *baseline)
{
  if (baseline == NULL) return;
  g_free(baseline->quantities);
  g_free(baseline);
}

guint64 drift_baseline_get_rows(const DriftBaseline *baseline)
{
  return baseline->n_rows;
}
