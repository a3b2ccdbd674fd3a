/* Makes a baseline: one pass over the reference in its order. */
#include "drift/baseline_internal.h"

#include <math.h>
#include <string.h>

/* Categories below this share of the rows are one cell. */
#define LEAST_SHARE .01
/* Rows located at once. */
#define CHUNK 4096
/* Below this block size the eigenvalues are not told apart: tables of so few rows are far from normal, and they would
 * cost most of the time. */
#define LEAST_SQUARES_BLOCK 8
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
  while (n < DRIFT_BASELINE_MAX_SCALES && (G_GUINT64_CONSTANT(2) << n) * DRIFT_BASELINE_LEAST_BLOCKS <= n_rows) n++;
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
  const DriftCounts *counts = &profile->tallies[index].counts;
  guint n_cells = drift_quantity_n_cells(quantity);
  *learner = (Learner){.ordered = quantity->kind == DRIFT_NUMERIC,
                       .cell_of = g_malloc(n_cells),
                       .blocks = g_new0(Blocks, MAX(n_scales, 1))};
  memset(learner->cell_of, NO_CELL, n_cells);
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

static void close_block(Learner *learner, Blocks *blocks, gboolean squares)
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
  for (guint c = 0; squares && c < n; c++)
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

static void learn_row(Learner *learner, guint8 cell, gboolean missing, guint64 row, guint n_scales)
{
  Blocks *blocks = learner->blocks;
  if (cell != NO_CELL) {
    blocks->counts[cell]++;
    blocks->present++;
  }
  blocks->missing += missing;
  for (guint scale = 0; scale < n_scales; scale++) {
    guint64 size = G_GUINT64_CONSTANT(2) << scale;
    if ((row + 1) % size != 0) return;
    Blocks *closing = &blocks[scale];
    double missing_excess = closing->missing - (double)size * learner->missing_share;
    closing->missing_squares += missing_excess * missing_excess;
    close_block(learner, closing, size >= LEAST_SQUARES_BLOCK);
    if (scale + 1 < n_scales) pass_on(closing, &blocks[scale + 1], learner->n_cells);
    memset(closing->counts, 0, sizeof closing->counts);
    closing->present = closing->missing = 0;
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
  scale->squares =
      size >= LEAST_SQUARES_BLOCK ? unbiased_squares(blocks, learner->n_cells, unit, trace) : trace * trace / freedom;
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

/* --- the pass -------------------------------------------------------------------------------------------------------
 */

typedef struct {
  DriftGrid *grid;
  const DriftTable *table;
  const DriftColumn *outputs[DRIFT_N_OUTPUTS];
  DriftAccumulator *locator;
  DriftValue *features;
  guint8 *cells;     /* [quantity][CHUNK] */
  gboolean *missing; /* the same */
} Pass;

static double output_number(const DriftColumn *column, guint64 row)
{
  double number = NAN;
  DriftValue value = column != NULL ? drift_column_get_value(column, row) : drift_value_missing();
  drift_value_to_number(&value, &number);
  return number;
}

static void locate_row(Pass *pass, const Learner *learners, guint64 row, guint at)
{
  DriftEvent event = {.features = pass->features};
  drift_table_get_features(pass->table, pass->grid->schema, row, pass->features);
  const DriftColumn *prediction = pass->outputs[DRIFT_OUTPUT_PREDICTION];
  if (prediction != NULL) event.prediction = drift_column_get_value(prediction, row);
  event.score = output_number(pass->outputs[DRIFT_OUTPUT_SCORE], row);
  event.latency_ms = output_number(pass->outputs[DRIFT_OUTPUT_LATENCY], row);
  drift_accumulator_locate(pass->locator, &event);
  for (guint q = 0; q < pass->grid->n_quantities; q++) {
    guint cell = pass->locator->places[q].cell;
    pass->cells[(gsize)q * CHUNK + at] = learners[q].cell_of[cell];
    pass->missing[(gsize)q * CHUNK + at] = cell == drift_quantity_missing(&pass->grid->quantities[q]);
  }
}

static void learn_rows(Pass *pass, Learner *learners, guint n_scales)
{
  guint64 n_rows = pass->table->n_rows;
  for (guint64 start = 0; start < n_rows; start += CHUNK) {
    guint length = (guint)MIN(CHUNK, n_rows - start);
    for (guint i = 0; i < length; i++) locate_row(pass, learners, start + i, i);
    for (guint q = 0; q < pass->grid->n_quantities; q++)
      for (guint i = 0; i < length; i++) {
        guint8 cell = pass->cells[(gsize)q * CHUNK + i];
        if (cell != NO_CELL) learners[q].halves[start + i >= n_rows / 2][cell]++;
        learn_row(&learners[q], cell, pass->missing[(gsize)q * CHUNK + i], start + i, n_scales);
      }
  }
}

static DriftBaseline *summarise(const Learner *learners, const DriftGrid *grid, guint64 n_rows)
{
  DriftBaseline *baseline = g_new0(DriftBaseline, 1);
  *baseline = (DriftBaseline){.grid_digest = grid->digest,
                              .n_rows = n_rows,
                              .n_quantities = grid->n_quantities,
                              .n_scales = drift_baseline_n_scales(n_rows),
                              .quantities = g_new0(DriftBaselineQuantity, grid->n_quantities)};
  for (guint q = 0; q < grid->n_quantities; q++) {
    DriftBaselineQuantity *quantity = &baseline->quantities[q];
    quantity->freedom = learners[q].n_cells - 1;
    quantity->halves = compare_halves(&learners[q]);
    for (guint s = 0; s < baseline->n_scales; s++)
      summarise_blocks(&learners[q], &learners[q].blocks[s], (double)(G_GUINT64_CONSTANT(2) << s),
                       &quantity->scales[s]);
  }
  return baseline;
}

DriftBaseline *drift_baseline_new(DriftGrid *grid, const DriftTable *reference, GError **error)
{
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, reference, error);
  if (profile == NULL) return NULL;
  guint n = grid->n_quantities, n_scales = drift_baseline_n_scales(reference->n_rows);
  g_autofree Learner *learners = g_new0(Learner, n);
  for (guint q = 0; q < n; q++) learner_init(&learners[q], profile, q, n_scales);
  g_autoptr(DriftAccumulator) locator = drift_accumulator_new(grid);
  g_autofree DriftValue *features = g_new0(DriftValue, grid->n_features + 1);
  g_autofree guint8 *cells = g_malloc((gsize)n * CHUNK);
  g_autofree gboolean *missing = g_new(gboolean, (gsize)n * CHUNK);
  Pass pass = {
      .grid = grid, .table = reference, .locator = locator, .features = features, .cells = cells, .missing = missing};
  for (guint o = 0; o < DRIFT_N_OUTPUTS; o++)
    pass.outputs[o] = drift_grid_output_column(grid->schema, reference, (DriftOutput)o);
  learn_rows(&pass, learners, n_scales);
  DriftBaseline *baseline = summarise(learners, grid, reference->n_rows);
  for (guint q = 0; q < n; q++) {
    g_free(learners[q].cell_of);
    g_free(learners[q].blocks);
  }
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
