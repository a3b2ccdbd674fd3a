/* One event into an accumulator: what every prediction passes through. In stages over all quantities, so that nothing
 * waits for the memory of a quantity's bins, and two or four at once; what is rare leaves the way. Which instructions
 * the processor has changes the time, never a count or a bit. */
#include "drift/accumulator_internal.h"

#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#define WIDE __attribute__((target("avx2,bmi,bmi2,popcnt")))
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

/* The numbers of the model's outputs; behind the last one there are none. */
typedef struct {
  double numbers[DRIFT_N_OUTPUTS + 1];
} Outputs;

static inline Outputs take_outputs(const DriftGrid *grid, const DriftEvent *event)
{
  return (Outputs){{[DRIFT_OUTPUT_PREDICTION] =
                        number_of(&grid->quantities[grid->n_features + DRIFT_OUTPUT_PREDICTION], &event->prediction),
                    [DRIFT_OUTPUT_SCORE] = event->score,
                    [DRIFT_OUTPUT_LATENCY] = event->latency_ms,
                    [DRIFT_N_OUTPUTS] = NAN}};
}

/* The number of quantity i; NaN: none, or no quantity. */
static inline double number_at(const DriftGrid *grid, const DriftEvent *event, const Outputs *outputs, gsize i)
{
  gsize n = grid->n_features;
  return i < n ? number_of(&grid->quantities[i], &event->features[i]) : outputs->numbers[MIN(i - n, DRIFT_N_OUTPUTS)];
}

/* Where they go: their hint cells and fixed points as drift_bins_find and drift_bins_quantise have them; these are of
 * no use where there is no number. */
static inline void place_numbers(const DriftBinsLanes *bins, const double *numbers, double *steps, gint32 *cells)
{
  for (guint half = 0; half < DRIFT_LANES; half += 2) {
    const DriftPair limit = {DRIFT_QUANTUM_LIMIT, DRIFT_QUANTUM_LIMIT}, zero = {0, 0}, round = {.5, .5};
    DriftPair x = drift_pair_load(numbers + half);
    DriftPair position = (x - drift_pair_load(bins->low + half)) * drift_pair_load(bins->scale + half);
    position = drift_pair_smaller(drift_pair_larger(position, zero), drift_pair_load(bins->last_cell + half));
    DriftPair q = (x - drift_pair_load(bins->centre + half)) * drift_pair_load(bins->unit + half);
    q = drift_pair_smaller(drift_pair_larger(q, -limit), limit);
    q += drift_pair_signed(round, q); /* half away from 0 */
    cells[half] = (gint32)position[0];
    cells[half + 1] = (gint32)position[1];
    memcpy(steps + half, &q, sizeof q);
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

static void locate(DriftAccumulator *accumulator, const DriftEvent *event)
{
  const DriftGrid *grid = accumulator->grid;
  const Outputs outputs = take_outputs(grid, event);
  for (guint i = 0; i < grid->n_quantities; i += DRIFT_LANES) {
    for (guint at = i; at < i + DRIFT_LANES; at++) accumulator->numbers[at] = number_at(grid, event, &outputs, at);
    place_numbers(&grid->lanes[i / DRIFT_LANES], accumulator->numbers + i, accumulator->steps + i,
                  accumulator->cells + i);
  }
  for (guint i = 0; i < grid->n_quantities; i++) {
    double number = accumulator->numbers[i];
    gint32 *cell = &accumulator->cells[i];
    *cell = (gint32)(G_UNLIKELY(isnan(number)) ? cell_without_number(grid, event, i)
                                               : drift_edges_find(grid->edges[i], number, (guint)*cell));
  }
}

#ifdef __x86_64__
/* Are these neighbouring features numbers, as nearly always? */
static inline gboolean all_numbers(const DriftValue *features)
{
  guint differs = 0;
  for (guint lane = 0; lane < DRIFT_LANES; lane++) differs |= (guint)features[lane].kind ^ (guint)DRIFT_VALUE_NUMBER;
  return differs == 0;
}

/* place_numbers of four at once. */
WIDE static inline void place_wide(const DriftBinsLanes *bins, __m256d x, double *steps, gint32 *cells)
{
  const __m256d limit = _mm256_set1_pd(DRIFT_QUANTUM_LIMIT), minus = _mm256_set1_pd(-0.0);
  __m256d position = _mm256_mul_pd(_mm256_sub_pd(x, _mm256_load_pd(bins->low)), _mm256_load_pd(bins->scale));
  position = _mm256_min_pd(_mm256_max_pd(position, _mm256_setzero_pd()), _mm256_load_pd(bins->last_cell));
  __m256d q = _mm256_mul_pd(_mm256_sub_pd(x, _mm256_load_pd(bins->centre)), _mm256_load_pd(bins->unit));
  q = _mm256_min_pd(_mm256_max_pd(q, _mm256_xor_pd(limit, minus)), limit);
  q = _mm256_add_pd(q, _mm256_or_pd(_mm256_and_pd(minus, q), _mm256_set1_pd(.5)));
  _mm256_store_pd(steps, q);
  _mm_store_si128((__m128i *)(gpointer)cells, _mm256_cvttpd_epi32(position));
}

/* drift_edges_find, four edges in one comparison. */
WIDE static inline guint find_wide(DriftEdges bins, double x, guint cell)
{
  guint low = bins.hints[cell];
  __m256d is_below = _mm256_cmp_pd(_mm256_loadu_pd(bins.edges + low), _mm256_set1_pd(x), _CMP_LT_OQ);
  guint below = (guint)__builtin_popcount((guint)_mm256_movemask_pd(is_below));
  if (G_LIKELY(below < DRIFT_BINS_SCAN)) return low + below;
  return drift_edges_search(bins.edges, x, low + below, bins.hints[cell + 1]);
}

WIDE static void locate_wide(DriftAccumulator *accumulator, const DriftEvent *event)
{
  const DriftGrid *grid = accumulator->grid;
  const DriftBinsLanes *lanes = grid->lanes;
  const DriftEdges *edges = grid->edges;
  const DriftValue *features = event->features;
  const Outputs outputs = take_outputs(grid, event);
  double *numbers = accumulator->numbers, *steps = accumulator->steps;
  gint32 *cells = accumulator->cells;
  gsize n = grid->n_quantities;
  for (gsize i = 0; i < n; i += DRIFT_LANES, lanes++) {
    __m256d x;
    if (G_LIKELY(lanes->n_numeric == DRIFT_LANES && all_numbers(features + i)))
      x = _mm256_set_pd(features[i + 3].number, features[i + 2].number, features[i + 1].number, features[i].number);
    else
      x = _mm256_set_pd(number_at(grid, event, &outputs, i + 3), number_at(grid, event, &outputs, i + 2),
                        number_at(grid, event, &outputs, i + 1), number_at(grid, event, &outputs, i));
    place_wide(lanes, x, steps + i, cells + i);
    _mm256_store_pd(numbers + i, x);
  }
  for (gsize i = 0; i < n; i += DRIFT_LANES) {
    __m256d x = _mm256_load_pd(numbers + i);
    gboolean all = _mm256_movemask_pd(_mm256_cmp_pd(x, x, _CMP_UNORD_Q)) == 0;
    if (G_LIKELY(all)) /* so there are four more quantities */
      for (gsize at = i; at < i + DRIFT_LANES; at++)
        cells[at] = (gint32)find_wide(edges[at], numbers[at], (guint)cells[at]);
    else
      for (gsize at = i; at < MIN(i + DRIFT_LANES, n); at++)
        cells[at] = (gint32)(isnan(numbers[at]) ? cell_without_number(grid, event, (guint)at)
                                                : find_wide(edges[at], numbers[at], (guint)cells[at]));
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
  locate(accumulator, event);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static void add_moments(DriftMomentsLanes *moments, guint lane, double number, double step)
{
  if (!isfinite(number)) return;
  gint64 q = (gint64)step;
  number += 0.0; /* one spelling of zero, whatever the order of events */
  if (number < moments->minimum[lane]) moments->minimum[lane] = number;
  if (number > moments->maximum[lane]) moments->maximum[lane] = number;
  moments->n[lane]++;
  drift_wide_add(&moments->sum_low[lane], &moments->sum_high[lane], q);
  drift_wide_add(&moments->squares_low[lane], &moments->squares_high[lane], (DriftInt128)q * q);
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

static inline void count_cells(DriftAccumulator *accumulator)
{
  const gint32 *cells = accumulator->cells;
  DriftCounts *counts = accumulator->counts;
  for (gsize i = 0, n = accumulator->grid->n_quantities; i < n; i++)
    drift_counts_increment(&counts[i], (guint)cells[i]);
  count_pairs(accumulator);
}

static void count_quantities(DriftAccumulator *accumulator)
{
  count_cells(accumulator);
  for (guint i = 0; i < accumulator->grid->n_quantities; i++)
    add_moments(&accumulator->moments[i / DRIFT_LANES], i % DRIFT_LANES, accumulator->numbers[i],
                accumulator->steps[i]);
}

#ifdef __x86_64__
/* Low and high halves of four sums; amounts are not negative, or `sign` has all bits of those that are. */
WIDE static inline void add_wide(guint64 *low, gint64 *high, __m256i amount, __m256i sign)
{
  __m256i before = _mm256_load_si256((const __m256i *)(gconstpointer)low), sum = _mm256_add_epi64(before, amount);
  __m256i upper = _mm256_add_epi64(_mm256_load_si256((const __m256i *)(gconstpointer)high), sign);
  _mm256_store_si256((__m256i *)(gpointer)low, sum);
  _mm256_store_si256((__m256i *)(gpointer)high, _mm256_sub_epi64(upper, _mm256_cmpgt_epi64(before, sum)));
}

/* What numbers do that are not all between the smallest and the largest so far: a new one of these, one that is not
 * finite, none. */
WIDE static __m256d widen_range(DriftMomentsLanes *moments, __m256d numbers)
{
  __m256d x = _mm256_add_pd(numbers, _mm256_setzero_pd()), size = _mm256_andnot_pd(_mm256_set1_pd(-0.0), x);
  __m256d finite = _mm256_cmp_pd(size, _mm256_set1_pd(INFINITY), _CMP_LT_OQ);
  __m256d minimum = _mm256_load_pd(moments->minimum), maximum = _mm256_load_pd(moments->maximum);
  _mm256_store_pd(moments->minimum, _mm256_min_pd(minimum, _mm256_blendv_pd(minimum, x, finite)));
  _mm256_store_pd(moments->maximum, _mm256_max_pd(maximum, _mm256_blendv_pd(maximum, x, finite)));
  return finite;
}

/* add_moments of four at once, where fixed points have 32 bits: those of numbers within the reference's range do. */
WIDE static inline void add_moments_wide(DriftMomentsLanes *moments, const double *numbers, const double *steps)
{
  __m256d x = _mm256_load_pd(numbers);
  __m256d counted = _mm256_and_pd(_mm256_cmp_pd(x, _mm256_load_pd(moments->minimum), _CMP_GE_OQ),
                                  _mm256_cmp_pd(x, _mm256_load_pd(moments->maximum), _CMP_LE_OQ));
  __m128i q = _mm256_cvttpd_epi32(_mm256_load_pd(steps));
  if (G_UNLIKELY(_mm256_movemask_pd(counted) != (1 << DRIFT_LANES) - 1)) {
    counted = widen_range(moments, x);
    q = _mm256_cvttpd_epi32(_mm256_and_pd(_mm256_load_pd(steps), counted));
  }
  __m128i beyond = _mm_cmpeq_epi32(q, _mm_set1_epi32(G_MININT32));
  if (G_UNLIKELY(!_mm_testz_si128(beyond, beyond))) {
    for (guint lane = 0; lane < DRIFT_LANES; lane++) add_moments(moments, lane, numbers[lane], steps[lane]);
    return;
  }
  __m256i n = _mm256_load_si256((const __m256i *)(gconstpointer)moments->n);
  _mm256_store_si256((__m256i *)(gpointer)moments->n, _mm256_sub_epi64(n, _mm256_castpd_si256(counted)));
  __m256i wide = _mm256_cvtepi32_epi64(q), zero = _mm256_setzero_si256();
  add_wide(moments->sum_low, moments->sum_high, wide, _mm256_cmpgt_epi64(zero, wide));
  add_wide(moments->squares_low, moments->squares_high, _mm256_mul_epi32(wide, wide), zero);
}

WIDE static void count_quantities_wide(DriftAccumulator *accumulator)
{
  const double *numbers = accumulator->numbers, *steps = accumulator->steps;
  DriftMomentsLanes *moments = accumulator->moments;
  count_cells(accumulator);
  for (gsize i = 0, n = accumulator->grid->n_quantities; i < n; i += DRIFT_LANES)
    add_moments_wide(moments++, numbers + i, steps + i);
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
