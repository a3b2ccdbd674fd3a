/* One event into an accumulator: what every prediction passes through. In stages over all quantities, so that nothing
 * waits for the memory of a quantity's bins, and two or four at once; what is rare leaves the way. Which instructions
 * the processor has changes the time, never a count or a bit. */
#include "drift/accumulator_internal.h"

#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#define WIDE "avx2,bmi,bmi2"
#endif

/* --- where its values belong -------------------------------------------------------------------------------------- */

/* The number of a value of that quantity; NaN: none. */
static inline double number_of(const DriftQuantity *quantity, const DriftValue *value)
{
  double number;
  if (G_UNLIKELY(quantity->kind != DRIFT_NUMERIC)) return NAN;
  if (G_LIKELY(value->kind == DRIFT_VALUE_NUMBER)) return value->number;
  return drift_value_to_number(value, &number) ? number : NAN;
}

/* Where the numbers of quantities `at` and `at` + 1 go: kept, with their hint cells and fixed points as drift_bins_find
 * and drift_bins_quantise have them; these are of no use where there is no number. */
typedef struct {
  const DriftBinsPair *lanes;
  double *numbers, *steps;
  gint32 *cells;
} Places;

static inline void place_pair(const Places *places, guint at, double first, double second)
{
  const DriftPair x = {first, second}, limit = {DRIFT_QUANTUM_LIMIT, DRIFT_QUANTUM_LIMIT}, zero = {0, 0};
  const DriftPair half = {.5, .5};
  const DriftBinsPair *bins = &places->lanes[at / 2];
  DriftPair position = drift_pair_larger((x - bins->low) * bins->scale, zero);
  position = drift_pair_smaller(position, bins->last_cell);
  DriftPair q = drift_pair_larger((x - bins->centre) * bins->unit, -limit);
  q = drift_pair_smaller(q, limit);
  q += drift_pair_signed(half, q); /* half away from 0 */
  places->cells[at] = (gint32)position[0];
  places->cells[at + 1] = (gint32)position[1];
  memcpy(&places->numbers[at], &x, sizeof x);
  memcpy(&places->steps[at], &q, sizeof q);
}

static inline void place_numbers(DriftAccumulator *accumulator, const DriftEvent *event)
{
  const DriftGrid *grid = accumulator->grid;
  const DriftQuantity *quantities = grid->quantities;
  const DriftValue *features = event->features;
  const Places places = {grid->lanes, accumulator->numbers, accumulator->steps, accumulator->cells};
  guint n = grid->n_features, at = 0;
  for (; at + 1 < n; at += 2) {
    const DriftValue *first = &features[at], *second = first + 1;
    if (G_LIKELY(places.lanes[at / 2].numeric && first->kind == DRIFT_VALUE_NUMBER &&
                 second->kind == DRIFT_VALUE_NUMBER))
      place_pair(&places, at, first->number, second->number);
    else
      place_pair(&places, at, number_of(&quantities[at], first), number_of(&quantities[at + 1], second));
  }
  double prediction = number_of(&quantities[n + DRIFT_OUTPUT_PREDICTION], &event->prediction);
  if (at < n) {
    place_pair(&places, at, number_of(&quantities[at], &features[at]), prediction);
    place_pair(&places, at + 2, event->score, event->latency_ms);
  } else {
    place_pair(&places, at, prediction, event->score);
    place_pair(&places, at + 2, event->latency_ms, 0);
  }
}

static guint odd_cell(const DriftQuantity *quantity, const DriftValue *value)
{
  if (value->kind == DRIFT_VALUE_MISSING) return drift_quantity_missing(quantity);
  if (quantity->kind == DRIFT_NUMERIC)
    return value->kind == DRIFT_VALUE_NUMBER ? drift_quantity_missing(quantity) : drift_quantity_unseen(quantity);
  gint code = drift_categories_find(quantity->categories, value);
  return code < 0 ? drift_quantity_unseen(quantity) : (guint)code;
}

/* The cell of quantity i, which has no number in this event. */
static G_NO_INLINE guint cell_without_number(const DriftGrid *grid, const DriftEvent *event, guint i)
{
  const DriftQuantity *quantity = &grid->quantities[i];
  if (i < grid->n_features) return odd_cell(quantity, &event->features[i]);
  if (i == grid->n_features + DRIFT_OUTPUT_PREDICTION) return odd_cell(quantity, &event->prediction);
  return drift_quantity_missing(quantity);
}

static inline void find_cell(const DriftAccumulator *accumulator, const DriftEvent *event, guint i)
{
  const DriftGrid *grid = accumulator->grid;
  double number = accumulator->numbers[i];
  gint32 *cell = &accumulator->cells[i];
  *cell = (gint32)(G_UNLIKELY(isnan(number)) ? cell_without_number(grid, event, i)
                                             : drift_edges_find(grid->edges[i], number, (guint)*cell));
}

static void find_cells(const DriftAccumulator *accumulator, const DriftEvent *event)
{
  for (guint i = 0, n = accumulator->grid->n_quantities; i < n; i++) find_cell(accumulator, event, i);
}

#ifdef __x86_64__
/* The same places where the processor compares four edges at once. */
__attribute__((target(WIDE))) static void locate_wide(DriftAccumulator *accumulator, const DriftEvent *event)
{
  place_numbers(accumulator, event);
  const DriftGrid *grid = accumulator->grid;
  const double *numbers = accumulator->numbers;
  const DriftEdges *all = grid->edges;
  gint32 *cells = accumulator->cells;
  for (gsize i = 0, n = grid->n_quantities; i < n; i++) {
    double number = numbers[i];
    if (G_UNLIKELY(isnan(number))) {
      cells[i] = (gint32)cell_without_number(grid, event, (guint)i);
      continue;
    }
    guint cell = (guint)cells[i], low = all[i].hints[cell];
    __m256d is_below = _mm256_cmp_pd(_mm256_loadu_pd(all[i].edges + low), _mm256_set1_pd(number), _CMP_LT_OQ);
    guint below = (guint)__builtin_ctz(~(guint)_mm256_movemask_pd(is_below));
    if (G_UNLIKELY(below >= DRIFT_BINS_SCAN))
      cells[i] = (gint32)drift_edges_search(all[i].edges, number, low + below, all[i].hints[cell + 1]);
    else
      cells[i] = (gint32)(low + below);
  }
}
#endif

void drift_accumulator_locate(DriftAccumulator *accumulator, const DriftEvent *event)
{
  accumulator->located_version = event->version;
#ifdef __x86_64__
  if (G_LIKELY(accumulator->wide)) {
    locate_wide(accumulator, event);
    return;
  }
#endif
  place_numbers(accumulator, event);
  find_cells(accumulator, event);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

/* FALSE when the number is not finite. */
static G_NO_INLINE gboolean widen_range(DriftMoments *moments, double number)
{
  if (!isfinite(number)) return FALSE;
  number += 0.0; /* one spelling of zero, whatever the order of events */
  if (number < moments->minimum) moments->minimum = number;
  if (number > moments->maximum) moments->maximum = number;
  return TRUE;
}

/* Most numbers lie between the smallest and the largest so far, which says that they are finite too. */
static inline void add_moments(DriftMoments *moments, double number, double step)
{
  gboolean is_within = number >= moments->minimum && number <= moments->maximum;
  if (G_UNLIKELY(!is_within) && !widen_range(moments, number)) return;
  gint64 q = (gint64)step;
  moments->n++;
  moments->sum += q;
  moments->sum_of_squares += (DriftInt128)q * q;
}

/* The cell of a pair among its own, from those of its two quantities. */
static inline guint cell_of_pair(const DriftGridPair *pair, const gint32 *cells)
{
  return pair->first_part[cells[pair->first]] * (guint)DRIFT_MAX_PARTS + pair->second_part[cells[pair->second]];
}

static inline void count_pairs(DriftAccumulator *accumulator)
{
  const DriftGridPair *pairs = accumulator->grid->joint.pairs;
  const gint32 *cells = accumulator->cells;
  DriftCounts *joint = &accumulator->joint;
  guint n = accumulator->grid->joint.n, done = 0;
  if (G_LIKELY(joint->width == 2)) {
    guint16 *narrow = joint->cells;
    for (; done < n; done++, narrow += DRIFT_JOINT_CELLS) {
      guint16 *count = &narrow[cell_of_pair(&pairs[done], cells)];
      if (G_UNLIKELY(*count == G_MAXUINT16)) break;
      (*count)++;
    }
  }
  for (; done < n; done++) drift_counts_increment(joint, done * DRIFT_JOINT_CELLS + cell_of_pair(&pairs[done], cells));
}

static inline void count_quantities(DriftAccumulator *accumulator)
{
  const double *numbers = accumulator->numbers, *steps = accumulator->steps;
  const gint32 *cells = accumulator->cells;
  DriftTally *tally = accumulator->tallies;
  for (gsize i = 0, n = accumulator->grid->n_quantities; i < n; i++, tally++) {
    drift_counts_increment(&tally->counts, (guint)cells[i]);
    add_moments(&tally->moments, numbers[i], steps[i]);
  }
  count_pairs(accumulator);
}

#ifdef __x86_64__
__attribute__((target(WIDE))) static void count_quantities_wide(DriftAccumulator *accumulator)
{
  count_quantities(accumulator);
}
#else
#define count_quantities_wide count_quantities
#endif

void drift_accumulator_count(DriftAccumulator *accumulator)
{
  const gint32 *outputs = accumulator->cells + accumulator->grid->n_features;
  (accumulator->wide ? count_quantities_wide : count_quantities)(accumulator);
  DriftVersionTally *version = drift_accumulator_version_tally(accumulator, accumulator->located_version);
  drift_counts_increment(&version->predictions, (guint)outputs[DRIFT_OUTPUT_PREDICTION]);
  drift_counts_increment(&version->scores, (guint)outputs[DRIFT_OUTPUT_SCORE]);
  accumulator->n_events++;
}

void drift_accumulator_add(DriftAccumulator *accumulator, const DriftEvent *event)
{
  drift_accumulator_locate(accumulator, event);
  drift_accumulator_count(accumulator);
}
