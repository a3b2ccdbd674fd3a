/* Laws that hold for every input, tried on many seeded random ones: merging, symmetry, the null, saving at any row. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/accumulator.h"
#include "drift/bytes_internal.h"
#include "drift/detector.h"
#include "drift/frequent.h"
#include "drift/hyperloglog.h"
#include "drift/kll.h"
#include "drift/multivariate.h"
#include "drift/two_sample_internal.h"
#include "drift/two_sample_method.h"

static double normal(guint64 *state)
{
  double radius = sqrt(-2 * log(1 - drift_random_uniform(state)));
  return radius * cos(2 * G_PI * drift_random_uniform(state));
}

static guint below(guint64 *state, guint bound)
{
  return (guint)(drift_random_uniform(state) * bound);
}

/* --- merging ------------------------------------------------------------------------------------------------------ */

static DriftGrid *random_grid(guint64 *state)
{
  static const gchar *const texts[] = {"a", "b", "c", "1", "é"};
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "g", DRIFT_CATEGORICAL, TRUE, TRUE);
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC);
  DriftColumn *g = drift_table_add_column(table, "g", DRIFT_CATEGORICAL);
  guint n = 1 + below(state, 300);
  double scale = pow(10, (double)below(state, 9) - 4);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(x, below(state, 3) == 0 ? 0 : scale * normal(state));
    drift_column_append_text(g, texts[below(state, G_N_ELEMENTS(texts))], -1);
  }
  table->n_rows = n;
  DriftGrid *grid = drift_grid_new(schema, table, below(state, 40), NULL);
  ck_assert_ptr_nonnull(grid);
  return grid;
}

static void add_random_events(DriftAccumulator *accumulator, guint64 *state, guint n)
{
  static const double odd[] = {INFINITY, -INFINITY, 1e308, -1e308, 5e-324, -0.0};
  static const gchar *const texts[] = {"a", "b", "zebra", "", "1.0"};
  for (guint i = 0; i < n; i++) {
    DriftValue features[2];
    features[0] = below(state, 9) == 0   ? drift_value_missing()
                  : below(state, 9) == 0 ? drift_value_number(odd[below(state, G_N_ELEMENTS(odd))])
                                         : drift_value_number(normal(state) * pow(10, (double)below(state, 6) - 3));
    features[1] = below(state, 5) == 0 ? drift_value_number(1) : drift_value_text(texts[below(state, 5)], -1);
    const DriftEvent event = {.version = (gint64)below(state, 100) - 4,
                              .prediction = drift_value_number(below(state, 3)),
                              .score = below(state, 7) == 0 ? NAN : drift_random_uniform(state),
                              .latency_ms = below(state, 7) == 0 ? NAN : exp(3 * normal(state)),
                              .features = features};
    drift_accumulator_add(accumulator, &event);
  }
}

static void merge(DriftAccumulator *into, const DriftAccumulator *from)
{
  g_autoptr(GError) error = NULL;
  ck_assert_msg(drift_accumulator_merge(into, from, &error), "%s", error != NULL ? error->message : "");
}

/* (a + b) + c, a + (b + c), c + (b + a) and one pass over all events have the same bytes. */
START_TEST(accumulators_add_in_any_order)
{
  for (guint64 seed = 1; seed <= 150; seed++) {
    guint64 state = seed, events[3];
    g_autoptr(DriftGrid) grid = random_grid(&state);
    DriftAccumulator *parts[3];
    guint counts[3];
    g_autoptr(DriftAccumulator) whole = drift_accumulator_new(grid);
    for (guint i = 0; i < 3; i++) {
      parts[i] = drift_accumulator_new(grid);
      counts[i] = below(&state, 4) == 0 ? 0 : below(&state, 120);
      events[i] = state;
      add_random_events(parts[i], &state, counts[i]);
    }
    for (guint i = 3; i-- > 0;) add_random_events(whole, &events[i], counts[i]);
    g_autoptr(DriftAccumulator) left = drift_accumulator_new(grid), right = drift_accumulator_new(grid),
                                middle = drift_accumulator_new(grid), back = drift_accumulator_new(grid);
    for (guint i = 0; i < 3; i++) merge(left, parts[i]);
    merge(middle, parts[1]);
    merge(middle, parts[2]);
    merge(right, parts[0]);
    merge(right, middle);
    for (guint i = 3; i-- > 0;) merge(back, parts[i]);
    g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(whole);
    DriftAccumulator *const sums[] = {left, right, back};
    for (guint i = 0; i < G_N_ELEMENTS(sums); i++) {
      g_autoptr(GBytes) same = drift_accumulator_to_bytes(sums[i]);
      ck_assert_msg(g_bytes_equal(bytes, same), "seed %u, order %u", (guint)seed, i);
    }
    for (guint i = 0; i < 3; i++) drift_accumulator_free(parts[i]);
  }
}
END_TEST

START_TEST(distinct_counts_merge_in_any_order)
{
  for (guint64 seed = 1; seed <= 60; seed++) {
    guint64 state = seed;
    guint precision = 4 + below(&state, 10);
    DriftHyperLogLog *parts[3];
    g_autoptr(DriftHyperLogLog) whole = drift_hyperloglog_new(precision, NULL);
    for (guint i = 0; i < 3; i++) {
      parts[i] = drift_hyperloglog_new(precision, NULL);
      for (guint n = below(&state, 2000); n > 0; n--) {
        double value = below(&state, 3000);
        drift_hyperloglog_update_number(parts[i], value);
        drift_hyperloglog_update_number(whole, value);
      }
    }
    g_autoptr(DriftHyperLogLog) left = drift_hyperloglog_new(precision, NULL),
                                right = drift_hyperloglog_new(precision, NULL);
    for (guint i = 0; i < 3; i++) ck_assert(drift_hyperloglog_merge(left, parts[i], NULL));
    ck_assert(drift_hyperloglog_merge(parts[1], parts[0], NULL));
    ck_assert(drift_hyperloglog_merge(right, parts[2], NULL) && drift_hyperloglog_merge(right, parts[1], NULL));
    g_autoptr(GBytes) a = drift_hyperloglog_to_bytes(whole), b = drift_hyperloglog_to_bytes(left),
                      c = drift_hyperloglog_to_bytes(right);
    ck_assert(g_bytes_equal(a, b) && g_bytes_equal(a, c));
    for (guint i = 0; i < 3; i++) drift_hyperloglog_free(parts[i]);
  }
}
END_TEST

static DriftFrequent *random_items(guint64 *state, guint n_counters, guint n_texts)
{
  DriftFrequent *sketch = drift_frequent_new(n_counters, NULL);
  for (guint n = below(state, 400); n > 0; n--) {
    gchar text[16];
    int length = g_snprintf(text, sizeof text, "%u", below(state, n_texts) * below(state, n_texts) / n_texts);
    drift_frequent_update(sketch, text, (gsize)length, 1 + below(state, 5));
  }
  return sketch;
}

static GBytes *merged_items(const DriftFrequent *a, const DriftFrequent *b, const DriftFrequent *c)
{
  g_autoptr(GBytes) bytes = drift_frequent_to_bytes(a);
  g_autoptr(DriftFrequent) sum = drift_frequent_from_bytes(bytes, NULL);
  ck_assert(drift_frequent_merge(sum, b, NULL));
  if (c != NULL) ck_assert(drift_frequent_merge(sum, c, NULL));
  return drift_frequent_to_bytes(sum);
}

/* Frequent items merge alike from both sides; while every text has a counter they are plain counts, in any order. */
START_TEST(frequent_items_merge_alike)
{
  for (guint64 seed = 1; seed <= 80; seed++) {
    guint64 state = seed;
    guint n_counters = 4 + below(&state, 40);
    gboolean exact = seed % 2 == 0;
    guint n_texts = exact ? n_counters : 200;
    g_autoptr(DriftFrequent) a = random_items(&state, n_counters, n_texts),
                             b = random_items(&state, n_counters, n_texts),
                             c = random_items(&state, n_counters, n_texts);
    g_autoptr(GBytes) ab = merged_items(a, b, NULL), ba = merged_items(b, a, NULL);
    ck_assert_msg(g_bytes_equal(ab, ba), "seed %u", (guint)seed);
    if (!exact) continue;
    g_autoptr(GBytes) abc = merged_items(a, b, c), cba = merged_items(c, b, a);
    ck_assert_msg(g_bytes_equal(abc, cba), "seed %u", (guint)seed);
  }
}
END_TEST

/* Quantile sketches depend on the order, but on nothing else: the same merges of the same parts give the same bytes. */
START_TEST(quantile_sketches_repeat)
{
  for (guint64 seed = 1; seed <= 30; seed++) {
    g_autoptr(GBytes) first = NULL;
    for (guint repeat = 0; repeat < 2; repeat++) {
      guint64 state = seed;
      g_autoptr(DriftKll) sum = drift_kll_new(64, 1, NULL);
      for (guint part = 0; part < 4; part++) {
        g_autoptr(DriftKll) sketch = drift_kll_new(64, part, NULL);
        for (guint n = below(&state, 2000); n > 0; n--) drift_kll_update(sketch, normal(&state));
        ck_assert(drift_kll_merge(sum, sketch, NULL));
      }
      g_autoptr(GBytes) bytes = drift_kll_to_bytes(sum);
      if (repeat == 1) ck_assert(g_bytes_equal(bytes, first));
      if (first == NULL) first = g_steal_pointer(&bytes);
    }
  }
}
END_TEST

static DriftColumn *text_column(DriftTable *table, const gchar *name, const guint *codes, guint n)
{
  DriftColumn *column = drift_table_add_column(table, name, DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    gchar text[16];
    g_snprintf(text, sizeof text, codes[i] % 4 == 0 ? "%u.0" : "%u", codes[i]); /* one category in two spellings */
    if (codes[i] == 0)
      drift_column_append_missing(column);
    else
      drift_column_append_text(column, text, -1);
  }
  return column;
}

static void assert_counts_equal(const DriftCategoryCounts *a, const DriftCategoryCounts *b, gboolean swapped)
{
  ck_assert_uint_eq(a->n_cells, b->n_cells);
  for (guint c = 0; c < a->n_cells; c++) {
    ck_assert_str_eq(a->names[c], b->names[c]);
    ck_assert(a->reference[c] == (swapped ? b->current : b->reference)[c]);
    ck_assert(a->current[c] == (swapped ? b->reference : b->current)[c]);
  }
  ck_assert_uint_eq(a->reference_missing, swapped ? b->current_missing : b->reference_missing);
}

/* Counts of categories do not depend on the order of rows, and exchanging the sides exchanges the counts. */
START_TEST(category_counts_have_no_order)
{
  enum { N = 300 };
  for (guint64 seed = 1; seed <= 60; seed++) {
    guint64 state = seed;
    guint codes[2][N], shuffled[2][N];
    for (guint side = 0; side < 2; side++) {
      for (guint i = 0; i < N; i++) shuffled[side][i] = codes[side][i] = below(&state, 20 + side);
      for (guint i = N; i > 1; i--) {
        guint j = below(&state, i), held = shuffled[side][i - 1];
        shuffled[side][i - 1] = shuffled[side][j];
        shuffled[side][j] = held;
      }
    }
    g_autoptr(DriftTable) table = drift_table_new();
    DriftColumn *a = text_column(table, "a", codes[0], N), *b = text_column(table, "b", codes[1], N),
                *c = text_column(table, "c", shuffled[0], N), *d = text_column(table, "d", shuffled[1], N);
    g_autoptr(DriftCategoryCounts) counts = drift_category_counts_new(a, 0, N, b, 0, N),
                                   other = drift_category_counts_new(c, 0, N, d, 0, N),
                                   swapped = drift_category_counts_new(d, 0, N, c, 0, N);
    assert_counts_equal(counts, other, FALSE);
    assert_counts_equal(counts, swapped, TRUE);
  }
}
END_TEST

/* --- two-sample methods ------------------------------------------------------------------------------------------- */

/* Laws of numbers: normal, Student's t with 3 degrees of freedom, and normal rounded to tenths, which has ties. */
static double draw(guint64 *state, guint law)
{
  double value = normal(state);
  if (law == 1) {
    double squares = 0;
    for (guint i = 0; i < 3; i++) squares += pow(normal(state), 2);
    value /= sqrt(squares / 3);
  }
  return law == 2 ? round(value * 10) / 10 : value;
}

static DriftSample *random_sample(guint64 *state, guint law, guint n)
{
  g_autofree double *values = g_new(double, n);
  for (guint i = 0; i < n; i++) values[i] = draw(state, law);
  return drift_sample_new(values, n, NULL);
}

static DriftCategoryCounts *random_counts(guint64 *state, guint k, guint n, guint m)
{
  DriftCategoryCounts *counts = g_new0(DriftCategoryCounts, 1);
  counts->n_cells = k;
  counts->reference = g_new0(double, k);
  counts->current = g_new0(double, k);
  for (guint i = 0; i < n; i++) counts->reference[below(state, k)]++;
  for (guint i = 0; i < m; i++) counts->current[below(state, k)]++;
  return counts;
}

static gboolean draws_permutations(const DriftTwoSampleMethod *method)
{
  return method->option_help[0] != NULL && g_str_has_prefix(method->option_help[0], "permutations");
}

static GHashTable *few_permutations(const DriftTwoSampleMethod *method, const gchar *n)
{
  GHashTable *options = g_hash_table_new(g_str_hash, g_str_equal);
  if (draws_permutations(method)) g_hash_table_insert(options, (gpointer) "permutations", (gpointer)n);
  return options;
}

enum { NULL_RUNS = 450 };

/* At each level the method rejects at most as often as it says, within 4 deviations of the simulation, whatever the
 * law, the sizes and the ties. */
static void check_null(const DriftTwoSampleMethod *method, gboolean numeric)
{
  static const double levels[] = {.01, .05, .2, .5};
  guint rejected[G_N_ELEMENTS(levels)] = {0};
  gboolean two_cells_only = method->categorical && !method->numeric;
  guint64 state = 2026;
  g_autoptr(GHashTable) options = few_permutations(method, "199");
  for (guint run = 0; run < NULL_RUNS; run++) {
    guint n = 40 + below(&state, 40), m = 40 + below(&state, 40), k = two_cells_only ? 2 : 2 + below(&state, 9);
    g_autoptr(DriftSample) a = numeric ? random_sample(&state, run % 3, n) : NULL;
    g_autoptr(DriftSample) b = numeric ? random_sample(&state, run % 3, m) : NULL;
    g_autoptr(DriftCategoryCounts) counts = numeric ? NULL : random_counts(&state, k, 4 * n, 4 * m);
    const DriftTwoSampleData data = {a, b, counts};
    DriftTestResult result;
    ck_assert(method->run(method, &data, options, &result, NULL));
    ck_assert_msg(result.p >= 0 && result.p <= 1, "%s: p %g", method->name, result.p);
    for (guint l = 0; l < G_N_ELEMENTS(levels); l++) rejected[l] += result.p <= levels[l];
  }
  for (guint l = 0; l < G_N_ELEMENTS(levels); l++) {
    double error = sqrt(levels[l] * (1 - levels[l]) / NULL_RUNS), rate = (double)rejected[l] / NULL_RUNS;
    ck_assert_msg(rate <= levels[l] + 4 * error, "%s of %s rejects %g at %g", method->name,
                  numeric ? "numbers" : "categories", rate, levels[l]);
  }
}

START_TEST(p_is_valid_under_the_null)
{
  const DriftTwoSampleMethod *method = &drift_two_sample_methods[_i];
  if (method->numeric) check_null(method, TRUE);
  if (method->categorical) check_null(method, FALSE);
}
END_TEST

/* The rows' methods, with columns that depend on each other. Few runs: a test of rows costs a thousand of the others.
 */
START_TEST(rows_p_is_valid_under_the_null)
{
  enum { RUNS = 60, ROWS = 30, COLUMNS = 3 };
  const DriftMultivariateMethod *method = &drift_multivariate_methods[_i];
  guint rejected = 0;
  guint64 state = 7;
  for (guint run = 0; run < RUNS; run++) {
    double values[2][ROWS * COLUMNS];
    for (guint side = 0; side < 2; side++)
      for (guint i = 0; i < ROWS; i++) {
        double common = draw(&state, run % 3);
        for (guint k = 0; k < COLUMNS; k++) values[side][i * COLUMNS + k] = common + normal(&state);
      }
    const DriftMatrix reference = {values[0], ROWS, COLUMNS}, current = {values[1], ROWS, COLUMNS};
    const DriftPermutationSettings settings = {.permutations = 39, .seed = run};
    DriftTestResult result;
    ck_assert(method->test(&reference, &current, &settings, &result, NULL));
    rejected += result.p <= .1;
  }
  /* binomial(60, .1): above 15 with probability 2e-4 */
  ck_assert_msg(rejected <= 15, "%s: %u of %u below .1", method->name, rejected, RUNS);
}
END_TEST

/* Exchanging the sides changes nothing, to the last bit, or the statistic's sign, or its complement. */
START_TEST(exchanging_the_sides_changes_no_bit)
{
  static const struct {
    const gchar *name;
    gboolean numbers, categories; /* symmetric on these; cells of numbers are the reference's quantiles */
    gint sign;                    /* of the exchanged statistic; 0: only p is compared */
  } cases[] = {{"ks", TRUE, FALSE, 1},
               {"kuiper", TRUE, FALSE, 1},
               {"cramer_von_mises", TRUE, FALSE, 1},
               {"anderson_darling", TRUE, FALSE, 1},
               {"mann_whitney", TRUE, FALSE, 0},
               {"welch_t", TRUE, FALSE, -1},
               {"student_t", TRUE, FALSE, -1},
               {"levene", TRUE, FALSE, 1},
               {"epps_singleton", TRUE, FALSE, 1},
               {"wasserstein", TRUE, FALSE, 1},
               {"energy", TRUE, FALSE, 1},
               {"chi2", FALSE, TRUE, 1},
               {"g", FALSE, TRUE, 1},
               {"yates", FALSE, TRUE, 1},
               {"fisher", FALSE, TRUE, 0},
               {"z", FALSE, TRUE, -1},
               {"cramers_v", FALSE, TRUE, 1},
               {"psi", FALSE, TRUE, 1},
               {"js", FALSE, TRUE, 1},
               {"hellinger", FALSE, TRUE, 1},
               {"tvd", FALSE, TRUE, 1},
               {"l_infinity", FALSE, TRUE, 1}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    const DriftTwoSampleMethod *method = drift_two_sample_find(cases[i].name);
    g_autoptr(GHashTable) none = few_permutations(method, "0");
    for (guint64 seed = 1; seed <= 150; seed++) {
      guint64 state = seed;
      guint n = 8 + below(&state, 60), m = 8 + below(&state, 60);
      guint k = method->categorical && !method->numeric ? 2 : 2 + below(&state, 8);
      g_autoptr(DriftSample) a = random_sample(&state, seed % 3, n), b = random_sample(&state, seed % 3, m);
      g_autoptr(DriftCategoryCounts) counts = random_counts(&state, k, n, m);
      DriftCategoryCounts swapped = {.n_cells = k, .reference = counts->current, .current = counts->reference};
      const DriftTwoSampleData forward = cases[i].numbers ? (DriftTwoSampleData){a, b, NULL}
                                                          : (DriftTwoSampleData){NULL, NULL, counts},
                               backward = cases[i].numbers ? (DriftTwoSampleData){b, a, NULL}
                                                           : (DriftTwoSampleData){NULL, NULL, &swapped};
      DriftTestResult left, right;
      ck_assert(method->run(method, &forward, none, &left, NULL));
      ck_assert(method->run(method, &backward, none, &right, NULL));
      gboolean same_p = left.p == right.p || (isnan(left.p) && isnan(right.p));
      gboolean same = cases[i].sign == 0 || left.statistic == cases[i].sign * right.statistic ||
                      (isnan(left.statistic) && isnan(right.statistic));
      ck_assert_msg(same && same_p, "%s, seed %u: %.17g and %.17g, p %.17g and %.17g", cases[i].name, (guint)seed,
                    left.statistic, right.statistic, left.p, right.p);
    }
  }
}
END_TEST

/* --- detectors ---------------------------------------------------------------------------------------------------- */

/* Stretches of errors at a changing rate, of numbers at a changing level, and what is neither. */
static double series_value(guint64 *state, guint row, gboolean binary)
{
  static const double odd[] = {NAN, INFINITY, -INFINITY, 1e200, -0.0, 1e99};
  guint part = row / 350 % 3;
  if (below(state, 150) == 0) return odd[below(state, G_N_ELEMENTS(odd))];
  if (binary) return drift_random_uniform(state) < (part == 1 ? .5 : .1);
  return (part == 2 ? 3 : 1) * normal(state) + (part == 1 ? 2 : 0);
}

static void assert_same_state(const DriftDetector *a, const DriftDetector *b, guint row)
{
  g_autoptr(GBytes) left = drift_detector_to_bytes(a), right = drift_detector_to_bytes(b);
  ck_assert_msg(g_bytes_equal(left, right), "%s: row %u", a->type->name, row);
}

/* Saved and restored after every single row it is the detector that never was. */
START_TEST(detectors_restored_at_every_row_continue)
{
  enum { ROWS = 900 };
  const DriftDetectorType *type = drift_detector_types[_i];
  for (guint binary = 0; binary < 2; binary++) {
    guint64 state = 11 + binary;
    g_autoptr(DriftDetector) whole = drift_detector_new(type->name, NULL, NULL);
    DriftDetector *broken = drift_detector_new(type->name, NULL, NULL);
    for (guint row = 0; row < ROWS; row++) {
      double value = series_value(&state, row, binary != 0);
      g_autoptr(GBytes) bytes = drift_detector_to_bytes(broken);
      g_autoptr(GError) error = NULL;
      drift_detector_free(broken);
      broken = drift_detector_from_bytes(bytes, &error);
      ck_assert_msg(broken != NULL, "%s: row %u: %s", type->name, row, error != NULL ? error->message : "");
      ck_assert_msg(drift_detector_update(whole, value) == drift_detector_update(broken, value), "%s: row %u",
                    type->name, row);
      ck_assert_int_eq(drift_detector_get_change_point(whole), drift_detector_get_change_point(broken));
      if (row % 50 == 49) assert_same_state(whole, broken, row);
    }
    drift_detector_free(broken);
  }
}
END_TEST

/* A copy made at a random row of a long series goes on alike; reset after a random row it is as new. */
START_TEST(detectors_restored_or_reset_at_random_rows)
{
  const DriftDetectorType *type = drift_detector_types[_i];
  for (guint64 seed = 1; seed <= 12; seed++) {
    guint64 state = seed;
    gboolean binary = seed % 2 == 0;
    guint cut = below(&state, 4000), row = 0;
    g_autoptr(DriftDetector) used = drift_detector_new(type->name, NULL, NULL);
    g_autoptr(DriftDetector) fresh = drift_detector_new(type->name, NULL, NULL);
    for (; row < cut; row++) drift_detector_update(used, series_value(&state, row, binary));
    g_autoptr(GBytes) bytes = drift_detector_to_bytes(used);
    g_autoptr(DriftDetector) copy = drift_detector_from_bytes(bytes, NULL);
    ck_assert_msg(copy != NULL, "%s: row %u", type->name, cut);
    for (; row < cut + 500; row++) {
      double value = series_value(&state, row, binary);
      ck_assert_int_eq(drift_detector_update(used, value), drift_detector_update(copy, value));
    }
    assert_same_state(used, copy, row);
    drift_detector_reset(used);
    assert_same_state(used, fresh, row);
    for (row = 0; row < 800; row++) {
      double value = series_value(&state, row, binary);
      ck_assert_int_eq(drift_detector_update(used, value), drift_detector_update(fresh, value));
    }
    assert_same_state(used, fresh, row);
  }
}
END_TEST

/* Values in blocks of any length signal what they do one by one, odd values included. */
START_TEST(blocks_of_values_are_as_one_by_one)
{
  enum { ROWS = 6000 };
  static const double odd[] = {NAN, -1, 2, .5, -0., INFINITY};
  const DriftDetectorType *type = drift_detector_types[_i];
  for (guint binary = 0; binary < 2; binary++) {
    guint64 state = 77 + binary;
    g_autoptr(DriftDetector) single = drift_detector_new(type->name, NULL, NULL);
    g_autoptr(DriftDetector) blocks = drift_detector_new(type->name, NULL, NULL);
    g_autofree double *values = g_new(double, ROWS);
    g_autofree guint8 *signals = g_new(guint8, ROWS);
    for (guint row = 0; row < ROWS; row++)
      values[row] = row % 97 == 13 ? odd[row / 97 % G_N_ELEMENTS(odd)] : series_value(&state, row % 800, binary != 0);
    for (gsize from = 0; from < ROWS;) {
      gsize length = MIN(ROWS - from, 1 + from % 700);
      gsize taken = drift_detector_update_many(blocks, values + from, length, signals);
      ck_assert_uint_gt(taken, 0);
      for (gsize i = 0; i < taken; i++)
        ck_assert_msg(drift_detector_update(single, values[from + i]) == signals[i], "%s: row %zu", type->name,
                      from + i);
      ck_assert(taken == length || signals[taken - 1] == DRIFT_SIGNAL_DRIFT);
      from += taken;
    }
    assert_same_state(single, blocks, ROWS);
  }
}
END_TEST

/* An ADWIN never has an emptied row between full ones: such bytes were restored once, and then could not be saved. */
START_TEST(adwin_refuses_a_window_with_a_hole)
{
  g_autoptr(DriftDetector) adwin = drift_detector_new("adwin", NULL, NULL);
  for (guint i = 0; i < 64; i++) drift_detector_update(adwin, i % 2);
  g_autoptr(GBytes) frame = drift_detector_to_bytes(adwin);
  g_autoptr(GBytes) raw = drift_frame_unpack("KDDT", 1, G_MAXUINT32, "state", frame, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  enum { NAME = 4 + 5, OPTIONS = 5 * 8, WIDTH = NAME + OPTIONS + 16, ROWS = WIDTH + 4 * 8 + 2 };
  guint held = data[ROWS]; /* buckets of one value each */
  double width;
  memcpy(&width, data + WIDTH, sizeof width);
  ck_assert(width == 64 && data[ROWS - 1] > 1 && held >= 4 && held <= 5);
  for (guint keep = 0; keep <= held; keep += held) {
    g_autoptr(GByteArray) changed = g_byte_array_new();
    g_byte_array_append(changed, data, (guint)length);
    double left = width - held + keep;
    memcpy(changed->data + WIDTH, &left, sizeof left);
    changed->data[ROWS] = (guint8)keep;
    if (keep == 0) g_byte_array_remove_range(changed, ROWS + 1, held * 16);
    g_autoptr(GBytes) bytes = drift_frame_pack("KDDT", 1, changed);
    g_autoptr(DriftDetector) read = drift_detector_from_bytes(bytes, NULL);
    ck_assert((read != NULL) == (keep > 0));
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_property");
  TCase *all = tcase_create("all");
  int n_methods = 0, n_rows_methods = 0, n_detectors = 0;
  while (drift_two_sample_methods[n_methods].name != NULL) n_methods++;
  while (drift_multivariate_methods[n_rows_methods].name != NULL) n_rows_methods++;
  while (drift_detector_types[n_detectors] != NULL) n_detectors++;
  tcase_set_timeout(all, 120);
  tcase_add_test(all, accumulators_add_in_any_order);
  tcase_add_test(all, distinct_counts_merge_in_any_order);
  tcase_add_test(all, frequent_items_merge_alike);
  tcase_add_test(all, quantile_sketches_repeat);
  tcase_add_test(all, category_counts_have_no_order);
  tcase_add_loop_test(all, p_is_valid_under_the_null, 0, n_methods);
  tcase_add_loop_test(all, rows_p_is_valid_under_the_null, 0, n_rows_methods);
  tcase_add_test(all, exchanging_the_sides_changes_no_bit);
  tcase_add_loop_test(all, detectors_restored_at_every_row_continue, 0, n_detectors);
  tcase_add_loop_test(all, blocks_of_values_are_as_one_by_one, 0, n_detectors);
  tcase_add_loop_test(all, detectors_restored_or_reset_at_random_rows, 0, n_detectors);
  tcase_add_test(all, adwin_refuses_a_window_with_a_hole);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
