/* Grid, accumulator and label rows: look-ups, canonical bytes, order independence, hostile bytes. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/accumulator_internal.h"
#include "drift/bytes_internal.h"
#include "drift/window.h"

static guint64 generator_state = 1;
static guint64 next_random(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return generator_state >> 11;
}
static double next_uniform(void)
{
  return (double)next_random() / 9007199254740992.0;
}
static double next_normal(void)
{
  return sqrt(-2 * log(1 - next_uniform())) * cos(2 * G_PI * next_uniform());
}

static DriftSchema *make_schema(void)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "normal", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "count", DRIFT_NUMERIC, TRUE, TRUE);
  drift_schema_add_feature(schema, "group", DRIFT_CATEGORICAL, TRUE, TRUE);
  drift_schema_add_feature(schema, "nothing", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_class(schema, "no");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  return schema;
}

static DriftTable *make_table(guint n)
{
  const gchar *groups[] = {"a", "b", "c", "1.0"};
  DriftTable *table = drift_table_new();
  DriftColumn *normal = drift_table_add_column(table, "normal", DRIFT_NUMERIC);
  DriftColumn *count = drift_table_add_column(table, "count", DRIFT_NUMERIC);
  DriftColumn *group = drift_table_add_column(table, "group", DRIFT_CATEGORICAL);
  DriftColumn *nothing = drift_table_add_column(table, "nothing", DRIFT_NUMERIC);
  DriftColumn *latency = drift_table_add_column(table, "latency_ms", DRIFT_NUMERIC);
  for (guint i = 0; i < n; i++) {
    drift_column_append_number(normal, next_normal());
    drift_column_append_number(count, (double)(next_random() % 7));
    drift_column_append_text(group, groups[next_random() % 8 % 4], -1);
    drift_column_append_missing(nothing);
    drift_column_append_number(latency, exp(next_normal()));
  }
  table->n_rows = n;
  return table;
}

static DriftGrid *make_grid_with_pairs(guint n, guint max_bins, guint max_pairs)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) table = make_table(n);
  DriftGrid *grid = drift_grid_new_with_pairs(schema, table, max_bins, max_pairs, NULL);
  ck_assert_ptr_nonnull(grid);
  return grid;
}

static DriftGrid *make_grid(guint n, guint max_bins)
{
  return make_grid_with_pairs(n, max_bins, 0);
}

/* An event with all that may happen to it. */
static DriftEvent random_event(DriftValue *features)
{
  const double odd[] = {INFINITY, -INFINITY, DBL_MAX, -DBL_MAX, 5e-324, -0.0, 1e6};
  const gchar *texts[] = {"a", "b", "1", "zebra", "", "12.5"};
  features[0] = drift_value_number(next_random() % 20 == 0 ? odd[next_random() % G_N_ELEMENTS(odd)] : next_normal());
  features[1] = next_random() % 5 == 0 ? drift_value_missing() : drift_value_number((double)(next_random() % 9));
  features[2] = next_random() % 4 == 0 ? drift_value_number(1) : drift_value_text(texts[next_random() % 6], -1);
  features[3] = drift_value_text(texts[next_random() % 6], -1);
  DriftEvent event = {.version = (gint64)(next_random() % 90) - 5,
                      .prediction = next_random() % 2 == 0 ? drift_value_number(1) : drift_value_text("no", -1),
                      .score = next_random() % 7 == 0 ? NAN : next_uniform(),
                      .latency_ms = next_random() % 7 == 0 ? NAN : exp(next_normal()),
                      .features = features};
  return event;
}

START_TEST(look_up_is_the_number_of_edges_below)
{
  const double widths[] = {1, 1e-300, 1e300};
  for (guint trial = 0; trial < 300; trial++) {
    guint n = 1 + (guint)next_random() % 400, max_bins = 4 + (guint)next_random() % 1020;
    g_autofree double *values = g_new(double, n);
    double width = widths[trial % 3];
    for (guint i = 0; i < n; i++) {
      double value = next_normal();
      if (trial % 4 == 1) value = floor(value * 3);
      if (trial % 4 == 2) value = exp(6 * value);
      if (trial % 4 == 3 && i == 0) value = 1e7;
      values[i] = value * width + 0.0;
    }
    for (guint i = 1; i < n; i++)
      for (guint j = i; j > 0 && values[j] < values[j - 1]; j--) {
        double swap = values[j];
        values[j] = values[j - 1];
        values[j - 1] = swap;
      }
    DriftBins *bins = drift_bins_new_quantiles(values, n, max_bins);
    ck_assert_uint_lt(bins->n_edges, MAX(max_bins, 4));
    for (guint i = 0; i < n + 200; i++) {
      double x = i < n ? values[i] : next_normal() * width * (i % 2 == 0 ? 1 : 1000);
      if (i == n) x = INFINITY;
      if (i == n + 1) x = -INFINITY;
      guint expected = 0;
      while (expected < bins->n_edges && bins->edges[expected] < x) expected++;
      ck_assert_uint_eq(drift_bins_find(bins, x), expected);
      if (i < n) ck_assert(expected > 0 && expected < bins->n_edges); /* the reference is in its own range */
    }
    drift_bins_free(bins);
  }
}
END_TEST

START_TEST(frequent_values_have_bins_of_their_own)
{
  double values[1000];
  for (guint i = 0; i < 1000; i++) values[i] = i < 300 ? i / 600.0 - .5 : i < 700 ? .25 : i / 1000.0;
  DriftBins *bins = drift_bins_new_quantiles(values, 1000, 50);
  guint frequent = drift_bins_find(bins, .25);
  ck_assert_uint_ne(drift_bins_find(bins, .25 + 1e-15), frequent);
  ck_assert_uint_ne(drift_bins_find(bins, .25 - 1e-15), frequent);
  drift_bins_free(bins);
}
END_TEST

START_TEST(grids_round_trip_and_name_themselves)
{
  g_autoptr(DriftGrid) grid = make_grid(500, 0);
  g_autoptr(GBytes) bytes = drift_grid_to_bytes(grid);
  g_autoptr(DriftGrid) read = drift_grid_from_bytes(bytes, NULL);
  ck_assert_ptr_nonnull(read);
  ck_assert_str_eq(drift_grid_get_id(read), drift_grid_get_id(grid));
  ck_assert_uint_eq(strlen(drift_grid_get_id(grid)), 16);
  g_autoptr(GBytes) again = drift_grid_to_bytes(read);
  ck_assert(g_bytes_equal(bytes, again));
  ck_assert_uint_eq(drift_schema_n_features(drift_grid_get_schema(read)), 4);
  g_autoptr(DriftGrid) other = make_grid(500, 0);
  ck_assert_str_ne(drift_grid_get_id(other), drift_grid_get_id(grid));
}
END_TEST

START_TEST(bad_references_are_refused)
{
  g_autoptr(DriftSchema) schema = make_schema();
  g_autoptr(DriftTable) empty = make_table(0), table = make_table(10);
  g_autoptr(GError) no_rows = NULL, no_column = NULL, no_cells = NULL, no_classes = NULL, no_text = NULL;
  ck_assert_ptr_null(drift_grid_new(schema, empty, 0, &no_rows));
  ck_assert(g_error_matches(no_rows, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED));
  drift_column_append_text(drift_table_get_column(table, "group"), "\xff\xfe", 2);
  ck_assert_ptr_null(drift_grid_new(schema, table, 0, &no_text));
  ck_assert_ptr_nonnull(strstr(no_text->message, "UTF-8"));
  g_autoptr(DriftTable) ragged = make_table(10);
  ragged->n_rows = 11;
  ck_assert_ptr_null(drift_grid_new(schema, ragged, 0, &no_cells));
  drift_schema_add_feature(schema, "absent", DRIFT_NUMERIC, FALSE, TRUE);
  ck_assert_ptr_null(drift_grid_new(schema, ragged, 0, &no_column));
  ck_assert_ptr_nonnull(strstr(no_column->message, "absent"));
  g_autoptr(DriftSchema) classless = drift_schema_new(DRIFT_TASK_BINARY, "y");
  ck_assert_ptr_null(drift_grid_new(classless, ragged, 0, &no_classes));
}
END_TEST

#define N_WIDE 10 /* features: two full sets of lanes, and two that share one with outputs */

static DriftGrid *make_wide_grid(void)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < N_WIDE; i++) {
    g_autofree gchar *name = g_strdup_printf("f%u", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint row = 0; row < 500; row++) drift_column_append_number(column, next_normal() * (i + 1));
  }
  DriftColumn *label = drift_table_add_column(table, "y", DRIFT_NUMERIC);
  for (guint row = 0; row < 500; row++) drift_column_append_number(label, next_normal());
  table->n_rows = 500;
  return drift_grid_new(schema, table, 64, NULL);
}

/* Within the range, a few ranges away (fixed points of more than 31 bits), far out, not finite, missing, a text. */
static DriftValue wide_value(void)
{
  guint64 choice = next_random() % 200;
  double x = next_normal();
  if (choice == 0) return drift_value_missing();
  if (choice == 1) return drift_value_text("0.5", -1);
  if (choice == 2) return drift_value_number(x > 0 ? INFINITY : -INFINITY);
  if (choice == 3) return drift_value_number(x > 0 ? DBL_MAX : -DBL_MAX);
  if (choice < 8) return drift_value_number(x * 300);
  return drift_value_number(choice < 12 ? -0.0 : x);
}

/* Four quantities at once or one after the other: the same cells, and the moments that adding them up gives. */
START_TEST(wide_registers_change_nothing)
{
  g_autoptr(DriftGrid) grid = make_wide_grid();
  ck_assert_ptr_nonnull(grid);
  g_autoptr(DriftAccumulator) wide = drift_accumulator_new(grid), narrow = drift_accumulator_new(grid);
  narrow->wide = FALSE;
  DriftMoments expected[N_WIDE];
  for (guint i = 0; i < N_WIDE; i++) expected[i] = (DriftMoments){.minimum = INFINITY, .maximum = -INFINITY};
  for (guint row = 0; row < 20000; row++) {
    DriftValue features[N_WIDE];
    for (guint i = 0; i < N_WIDE; i++) {
      double x;
      features[i] = wide_value();
      if (!drift_value_to_number(&features[i], &x) || !isfinite(x)) continue;
      gint64 q = drift_bins_quantise(grid->quantities[i].bins, x);
      expected[i].n++;
      expected[i].sum += q;
      expected[i].sum_of_squares += (DriftInt128)q * q;
      expected[i].minimum = fmin(expected[i].minimum, x);
      expected[i].maximum = fmax(expected[i].maximum, x);
    }
    DriftEvent event = {.prediction = wide_value(), .score = NAN, .latency_ms = next_normal(), .features = features};
    drift_accumulator_add(wide, &event);
    drift_accumulator_add(narrow, &event);
  }
  for (guint i = 0; i < N_WIDE; i++) {
    const DriftMoments found = drift_accumulator_tally(wide, i).moments;
    ck_assert(found.n == expected[i].n && found.sum == expected[i].sum);
    ck_assert(found.sum_of_squares == expected[i].sum_of_squares);
    ck_assert(found.minimum == expected[i].minimum && found.maximum == expected[i].maximum);
  }
  g_autoptr(GBytes) a = drift_accumulator_to_bytes(wide), b = drift_accumulator_to_bytes(narrow);
  ck_assert(g_bytes_equal(a, b));
}
END_TEST

/* However events are split among accumulators and merged, the bytes are the same; on processors with wide registers
 * every other part is counted without them. */
START_TEST(order_and_splits_do_not_matter)
{
  g_autoptr(DriftGrid) grid = make_grid_with_pairs(800, 100, _i == 0 ? 0 : DRIFT_GRID_DEFAULT_PAIRS);
  ck_assert((drift_grid_n_pairs(grid) > 0) == (_i == 1));
  for (guint trial = 0; trial < 20; trial++) {
    guint n_parts = 1 + trial % 5, n_events = 1500;
    guint64 seed = generator_state;
    g_autoptr(DriftAccumulator) whole = drift_accumulator_new(grid), sum = drift_accumulator_new(grid);
    DriftAccumulator *parts[5];
    for (guint i = 0; i < n_parts; i++) {
      parts[i] = drift_accumulator_new(grid);
      if (i % 2 == 1) parts[i]->wide = FALSE;
    }
    DriftValue features[4];
    for (guint i = 0; i < n_events; i++) {
      DriftEvent event = random_event(features);
      drift_accumulator_add(whole, &event);
    }
    generator_state = seed;
    g_autoptr(GArray) stored = g_array_new(FALSE, FALSE, sizeof(DriftEvent));
    DriftValue(*kept)[4] = g_malloc_n(n_events, sizeof *kept);
    for (guint i = 0; i < n_events; i++) {
      DriftEvent event = random_event(kept[i]);
      g_array_append_val(stored, event);
    }
    for (guint i = n_events; i-- > 0;) { /* another order, other parts */
      guint j = (guint)next_random() % (i + 1);
      DriftEvent chosen = g_array_index(stored, DriftEvent, j);
      g_array_index(stored, DriftEvent, j) = g_array_index(stored, DriftEvent, i);
      drift_accumulator_add(parts[next_random() % n_parts], &chosen);
    }
    for (guint i = n_parts; i-- > 0;) {
      g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(parts[i]);
      g_autoptr(DriftAccumulator) read = drift_accumulator_from_bytes(grid, bytes, NULL);
      ck_assert_ptr_nonnull(read);
      ck_assert(drift_accumulator_merge(sum, read, NULL));
      drift_accumulator_free(parts[i]);
    }
    g_autoptr(GBytes) left = drift_accumulator_to_bytes(whole), right = drift_accumulator_to_bytes(sum);
    ck_assert(g_bytes_equal(left, right));
    ck_assert_uint_eq(drift_accumulator_get_count(sum), n_events);
    g_free(kept);
  }
}
END_TEST

START_TEST(zeros_have_one_sign)
{
  g_autoptr(DriftGrid) grid = make_grid(100, 16);
  g_autoptr(DriftAccumulator) one = drift_accumulator_new(grid), other = drift_accumulator_new(grid);
  for (guint i = 0; i < 2; i++) {
    DriftValue features[4] = {drift_value_number(i == 0 ? 0.0 : -0.0), drift_value_number(1), drift_value_text("a", -1),
                              drift_value_missing()};
    DriftValue swapped[4] = {drift_value_number(i == 0 ? -0.0 : 0.0), features[1], features[2], features[3]};
    DriftEvent event = {.prediction = drift_value_number(1), .score = .5, .latency_ms = 1, .features = features};
    drift_accumulator_add(one, &event);
    event.features = swapped;
    drift_accumulator_add(other, &event);
  }
  g_autoptr(GBytes) left = drift_accumulator_to_bytes(one), right = drift_accumulator_to_bytes(other);
  ck_assert(g_bytes_equal(left, right));
}
END_TEST

/* Cells that needed 32 or 64 bits on the way make no difference to the bytes, nor does a reset. */
START_TEST(widths_are_not_contents)
{
  g_autoptr(DriftGrid) grid = make_grid_with_pairs(100, 16, _i == 0 ? 0 : DRIFT_GRID_DEFAULT_PAIRS);
  g_autoptr(DriftAccumulator) one = drift_accumulator_new(grid), many = drift_accumulator_new(grid);
  DriftValue features[4] = {drift_value_number(0), drift_value_number(1), drift_value_text("a", -1),
                            drift_value_missing()};
  DriftEvent event = {
      .version = 1, .prediction = drift_value_number(1), .score = .5, .latency_ms = 1, .features = features};
  for (guint i = 0; i < 70000; i++) drift_accumulator_add(many, &event);
  DriftSummary summary;
  drift_accumulator_summarise(many, 0, &summary);
  ck_assert_uint_eq(summary.n, 70000);
  for (guint i = 0; i < 20; i++) { /* doubling: 70000 * 2^20 needs 64 bits */
    g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(many);
    g_autoptr(DriftAccumulator) copy = drift_accumulator_from_bytes(grid, bytes, NULL);
    gboolean merged = drift_accumulator_merge(many, copy, NULL);
    ck_assert(merged == (drift_accumulator_get_count(copy) * 2 <= DRIFT_ACCUMULATOR_MAX_EVENTS));
  }
  ck_assert_uint_gt(drift_accumulator_get_count(many), G_MAXUINT32);
  drift_accumulator_reset(many);
  drift_accumulator_add(many, &event);
  drift_accumulator_add(one, &event);
  g_autoptr(GBytes) left = drift_accumulator_to_bytes(one), right = drift_accumulator_to_bytes(many);
  ck_assert(g_bytes_equal(left, right));
}
END_TEST

/* Each pair's histogram has the cells that a count by hand gives, and what an event lacks is a part too. */
START_TEST(joint_histograms_count_pairs)
{
  g_autoptr(DriftGrid) grid = make_grid_with_pairs(800, 100, 64);
  ck_assert_uint_eq(drift_grid_n_pairs(grid), 3); /* "nothing" has a single part; there is no prediction */
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  g_autofree guint64 *expected = g_new0(guint64, 3 * DRIFT_JOINT_CELLS);
  DriftValue features[4];
  for (guint i = 0; i < 3000; i++) {
    DriftEvent event = random_event(features);
    drift_accumulator_add(accumulator, &event);
    for (guint pair = 0; pair < 3; pair++) {
      const DriftGridPair *of = &grid->joint.pairs[pair];
      guint first = grid->joint.partitions[of->first].part_of[accumulator->cells[of->first]];
      guint second = grid->joint.partitions[of->second].part_of[accumulator->cells[of->second]];
      expected[pair * DRIFT_JOINT_CELLS + first * DRIFT_MAX_PARTS + second]++;
    }
  }
  for (guint cell = 0; cell < 3 * DRIFT_JOINT_CELLS; cell++)
    ck_assert_uint_eq(drift_counts_get(&accumulator->joint, cell), expected[cell]);
  const DriftPartition *group = &grid->joint.partitions[2];
  ck_assert_uint_eq(group->n_parts, 6); /* a, b, c, 1, any other, no value */
  ck_assert_uint_eq(group->part_of[drift_quantity_missing(&grid->quantities[2])], 5);
  ck_assert_uint_eq(group->part_of[drift_quantity_unseen(&grid->quantities[2])], 4);
  DriftGrid *again = drift_grid_ref(grid);
  ck_assert_uint_eq(drift_grid_n_pairs(again), 3);
  drift_grid_unref(again);
}
END_TEST

/* A histogram that adds up to the events but not to the parts of its quantities is none. */
START_TEST(joint_histograms_must_fit_their_margins)
{
  g_autoptr(DriftGrid) grid = make_grid_with_pairs(200, 16, 64);
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  DriftValue features[4];
  for (guint i = 0; i < 500; i++) {
    DriftEvent event = random_event(features);
    drift_accumulator_add(accumulator, &event);
  }
  guint16 *cells = accumulator->joint.cells;
  guint from = 0, to = DRIFT_JOINT_CELLS - 1;
  while (cells[from] == 0) from++;
  cells[from]--;
  cells[to]++;
  g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(accumulator);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_accumulator_from_bytes(grid, bytes, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_INVALID));
  cells[from]++;
  cells[to]--;
  g_autoptr(GBytes) good = drift_accumulator_to_bytes(accumulator);
  g_autoptr(DriftAccumulator) read = drift_accumulator_from_bytes(grid, good, NULL);
  ck_assert_ptr_nonnull(read);
}
END_TEST

/* Bytes that kedge wrote before grids had pairs: the grid keeps its name and is written as it was. */
START_TEST(version_1_is_still_read)
{
  static const gchar grid_text[] =
      "S0RHUgGbBQAA6AAiavhE8ewotS/9YJsE/R4AZjrdPkBam+EhNMGkQvtrEpaHQJUfYbWjCvwEAM+tFnYFYTHAAlTN6Jwxuum2HZt6QQWEiYhYRG"
      "i2oEsu/dJlJienmQDaAN0AV/5a+fv51/Nv51/Ov1X+bv7V/Evlb+bf85SfMX++/FnKz5Y/V/5M+fPkz5I/R/4c5WcoP0P+/OTnx5+d/Oz4M+PP"
      "ij83+TnxZyU/H/5c+PPgz0h+Dvz57+fuz3g/c392+9///6efwYZdta5eX2FfXWJfM019pQ3iNc1ETTJ6E43+B/CaGe0YjK3/NjS/umAhdq35wt"
      "Jo/888RCGgeLIMzozsp48hpTtaTFUddtzRpkkBa2ImOXambGwH+bCahTjDj4wHI7AQ3JkjH5n7wX8nitTh1FxxF4iAYWjeGM7LCyKBw+iT7bQO"
      "jLpZucDcDZZWLlIYzwUWhpHhvGQfWDJMOMsf7Ibk5wRD4SGvJV4VJAli5bOyzKW9BDX4FdGjhBJNl7WSB47aLAd5LE1KKcbbFINZxxTFtKgxjE"
      "4lm0RugNxiy1i45cPDWVQrmrJdLVeFQXug/VDHUtynSw5Okvyk5fTIJU/06mfQv1v+avmb5S+WvwFoXOb6BiCe3RFOjTaDKuPZjcDW2Uwjodmr"
      "ZIsZ2mUZE1fVX1w3Kq7MovoFaBTNL7wRvdWI90K5Qm0src/1hsyLroqq9GMBgpCpS7BNAxDqiXZVp0PUIANuUzsRt9uzIc102KpbF6A+6vHarI"
      "6SNZEXTAhVUdge6hNStJbl6iChPsCkIbT+aR/EK4yEHkJ0A+kfi9biOkGOBeoRcLbOpJIPlBdm3zRRIVFaRbUNz9QnpCIWj2KRE7IK5GMxVoFg"
      "ILOi+MvPjlDRCjafMibgLB4W8eaGxTEwkFmecnOkMZ9qOHunFqTdrNCSMNMJ0xRdrCJG0564nC1JopVTnqauvbstdrrjpGOAC1BxWiDvjkIGKa"
      "zpACsOlA8InJjWUDVpc+wU7DJImPD0BMs6NIaXFm0ZuHQhthbGMO+cBND2zEZSYBK3oDXBUHTp0dHRl5lE/CLZyloyDfAJlPr2ExtAmXxJNJrx"
      "C42qleU6EY6LtkVRqw3VBAUwLXnuvQPv3haXrCnab4tpAosg23wOfozAmVkb729HkFY61HV0iJRVjT6aTigHCIk3qpYzfAuCw7XTWz0/ugpSCc"
      "2j1R65RwFcqCE8jHBS/pT1kIOmkA4QeIIcht0LpJxKNEmTeEUmMjRJkKsiEKgieOEAaR6S9oFqD0n7QLUPpH1I2v5IMHbk3Ji5KWfHzK3ExCdM"
      "7YA+ZpjlYATdPkYZeo3WIegg3xbQsrU5CtDtFA==";
  static const gchar accumulator_text[] =
      "S0RBQwFlAAAAHPaiUYCEay0otS/9IGU9AgB0A+gAImr4RPHsDAQBAwwAAAAYAgAA4J00QEhAAwAFAQUBAgECDAFCDAABXQwAAQAAAAwBAgwBQg"
      "wFAHsKBgY8U8ag8waXBA==";
  gsize grid_length, length;
  g_autofree guchar *grid_data = g_base64_decode(grid_text, &grid_length),
                    *data = g_base64_decode(accumulator_text, &length);
  g_autoptr(GBytes) grid_bytes = g_bytes_new(grid_data, grid_length), bytes = g_bytes_new(data, length);
  g_autoptr(DriftGrid) grid = drift_grid_from_bytes(grid_bytes, NULL);
  ck_assert_ptr_nonnull(grid);
  ck_assert_str_eq(drift_grid_get_id(grid), "ecf144f86a2200e8");
  ck_assert_uint_eq(drift_grid_n_pairs(grid), 0);
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_from_bytes(grid, bytes, NULL);
  ck_assert_ptr_nonnull(accumulator);
  ck_assert_uint_eq(drift_accumulator_get_count(accumulator), 12);
  g_autoptr(GBytes) grid_again = drift_grid_to_bytes(grid), again = drift_accumulator_to_bytes(accumulator);
  ck_assert(g_bytes_equal(grid_bytes, grid_again));
  ck_assert(g_bytes_equal(bytes, again));
}
END_TEST

START_TEST(summaries_are_right)
{
  g_autoptr(DriftGrid) grid = make_grid(1000, 64);
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  double sum = 0, squares = 0;
  for (guint i = 0; i < 5000; i++) {
    DriftValue features[4] = {drift_value_number(3 + next_normal()), drift_value_text("x", -1),
                              drift_value_text("b", -1), drift_value_number(INFINITY)};
    sum += features[0].number;
    squares += features[0].number * features[0].number;
    DriftEvent event = {
        .version = 4, .prediction = drift_value_text("1.0", -1), .score = NAN, .latency_ms = NAN, .features = features};
    drift_accumulator_add(accumulator, &event);
  }
  DriftSummary normal, count, nothing, score;
  drift_accumulator_summarise(accumulator, 0, &normal);
  drift_accumulator_summarise(accumulator, 1, &count);
  drift_accumulator_summarise(accumulator, 3, &nothing);
  drift_accumulator_summarise(accumulator, 4 + DRIFT_OUTPUT_SCORE, &score);
  ck_assert_double_eq_tol(normal.mean, sum / 5000, 1e-7);
  ck_assert_double_eq_tol(normal.deviation, sqrt(squares / 5000 - sum * sum / 25e6), 1e-6);
  ck_assert(normal.out_of_range > 100 && normal.out_of_range < 4900);
  ck_assert(count.n == 0 && count.unseen == 5000 && isnan(count.mean));
  ck_assert(nothing.n == 5000 && isnan(nothing.mean));
  ck_assert(score.n == 0 && score.missing == 5000);
  DriftVersionCount version;
  ck_assert_uint_eq(drift_accumulator_n_versions(accumulator), 1);
  drift_accumulator_get_version(accumulator, 0, &version);
  ck_assert(version.version == 4 && version.n == 5000 && version.positive == 5000);
}
END_TEST

START_TEST(different_grids_do_not_add)
{
  g_autoptr(DriftGrid) grid = make_grid(100, 16), other = make_grid(100, 16);
  g_autoptr(DriftAccumulator) a = drift_accumulator_new(grid), b = drift_accumulator_new(other);
  g_autoptr(GError) merge_error = NULL, read_error = NULL;
  ck_assert(!drift_accumulator_merge(a, b, &merge_error));
  ck_assert(g_error_matches(merge_error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
  g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(b);
  ck_assert_ptr_null(drift_accumulator_from_bytes(grid, bytes, &read_error));
  ck_assert(g_error_matches(read_error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH));
}
END_TEST

START_TEST(an_empty_accumulator_round_trips)
{
  g_autoptr(DriftGrid) grid = make_grid(1, 0); /* a reference of one row is a grid too */
  g_autoptr(DriftAccumulator) empty = drift_accumulator_new(grid);
  g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(empty);
  g_autoptr(DriftAccumulator) read = drift_accumulator_from_bytes(grid, bytes, NULL);
  ck_assert_ptr_nonnull(read);
  ck_assert_uint_eq(drift_accumulator_get_count(read), 0);
}
END_TEST

/* 100 models x 4 shards x 20 features must fit in 40 MB: 100 KB for each open pane. */
START_TEST(open_panes_are_small)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint i = 0; i < 20; i++) {
    g_autofree gchar *name = g_strdup_printf("f%u", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint row = 0; row < 20000; row++) drift_column_append_number(column, next_normal());
  }
  table->n_rows = 20000;
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, table, DRIFT_GRID_MAX_BINS, NULL);
  g_autoptr(DriftAccumulator) pane = drift_accumulator_new(grid);
  ck_assert_uint_lt(drift_accumulator_get_memory(pane), 4096);
  DriftValue features[20];
  for (guint row = 0; row < 10000; row++) {
    drift_table_get_features(table, schema, row, features);
    DriftEvent event = {
        .version = 1, .prediction = drift_value_number(1), .score = .5, .latency_ms = 1, .features = features};
    drift_accumulator_add(pane, &event);
  }
  ck_assert_uint_lt(drift_accumulator_get_memory(pane), 100000);
}
END_TEST

/* ---- hostile bytes: damage inside the frame's contents, framed anew so that the digest is right ---- */

static GBytes *damage(GBytes *bytes, const gchar *magic)
{
  guint8 version = drift_frame_version(bytes);
  g_autoptr(GBytes) raw = drift_frame_unpack(magic, version, G_MAXUINT32, "test", bytes, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  g_autoptr(GByteArray) changed = g_byte_array_new();
  g_byte_array_append(changed, data, (guint)length);
  guint n_changes = 1 + (guint)next_random() % 4;
  for (guint i = 0; i < n_changes && changed->len > 0; i++) {
    guint at = (guint)next_random() % changed->len;
    if (next_random() % 4 == 0)
      g_byte_array_set_size(changed, at);
    else if (next_random() % 3 == 0)
      changed->data[at] = next_random() % 2 == 0 ? 0xff : 0x80;
    else
      changed->data[at] ^= (guint8)(1u << next_random() % 8);
  }
  return drift_frame_pack(magic, version, changed);
}

static void check_edges(const DriftGrid *grid)
{
  for (guint i = 0; i < grid->n_quantities; i++) {
    const DriftBins *bins = grid->quantities[i].bins;
    for (guint edge = 1; bins != NULL && edge < bins->n_edges; edge++)
      ck_assert(bins->edges[edge - 1] < bins->edges[edge]);
  }
}

START_TEST(hostile_contents_never_crash)
{
  g_autoptr(DriftGrid) grid = make_grid_with_pairs(60, 16, _i == 0 ? 0 : DRIFT_GRID_DEFAULT_PAIRS);
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  DriftValue features[4];
  for (guint i = 0; i < 300; i++) {
    DriftEvent event = random_event(features);
    drift_accumulator_add(accumulator, &event);
  }
  g_autoptr(GBytes) grid_bytes = drift_grid_to_bytes(grid), bytes = drift_accumulator_to_bytes(accumulator);
  guint refused = 0;
  for (guint trial = 0; trial < 6000; trial++) {
    g_autoptr(GBytes) bad_grid = damage(grid_bytes, "KDGR"), bad = damage(bytes, "KDAC");
    g_autoptr(GError) grid_error = NULL, error = NULL;
    g_autoptr(DriftGrid) read_grid = drift_grid_from_bytes(bad_grid, &grid_error);
    ck_assert((read_grid == NULL) == (grid_error != NULL));
    if (read_grid != NULL) {
      g_autoptr(GBytes) same = drift_grid_to_bytes(read_grid);
      ck_assert(_i == 0 || g_bytes_equal(same, bad_grid));
      check_edges(read_grid);
      g_autoptr(DriftAccumulator) user = drift_accumulator_new(read_grid);
      DriftEvent event = random_event(features);
      if (drift_schema_n_features(drift_grid_get_schema(read_grid)) == 4) drift_accumulator_add(user, &event);
    }
    g_autoptr(DriftAccumulator) read = drift_accumulator_from_bytes(grid, bad, &error);
    ck_assert((read == NULL) == (error != NULL));
    refused += read == NULL;
    if (read == NULL) continue;
    g_autoptr(GBytes) again = drift_accumulator_to_bytes(read);
    ck_assert(g_bytes_equal(again, bad)); /* only canonical contents are accepted */
    ck_assert(drift_accumulator_merge(read, accumulator, NULL));
  }
  ck_assert_uint_gt(refused, 3000);
}
END_TEST

START_TEST(truncated_frames_are_refused)
{
  g_autoptr(DriftGrid) grid = make_grid(60, 16);
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  g_autoptr(GBytes) bytes = drift_accumulator_to_bytes(accumulator);
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  for (gsize cut = 0; cut < length; cut++) {
    g_autoptr(GBytes) truncated = g_bytes_new(data, cut);
    g_autoptr(GError) error = NULL, grid_error = NULL, rows_error = NULL;
    ck_assert_ptr_null(drift_accumulator_from_bytes(grid, truncated, &error));
    ck_assert_ptr_null(drift_grid_from_bytes(truncated, &grid_error));
    ck_assert_ptr_null(drift_label_rows_from_bytes(truncated, &rows_error));
    ck_assert(error != NULL && grid_error != NULL && rows_error != NULL);
  }
  const guint8 huge[] = {'K', 'D', 'A', 'C', 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3};
  g_autoptr(GBytes) claims_much = g_bytes_new_static(huge, sizeof huge);
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(drift_accumulator_from_bytes(grid, claims_much, &error));
  ck_assert(g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT));
}
END_TEST

START_TEST(label_rows_round_trip)
{
  g_autoptr(DriftGrid) grid = make_grid(200, 16);
  DriftValue features[4] = {drift_value_number(0), drift_value_number(6), drift_value_number(1), drift_value_missing()};
  DriftLabelledRow row = {.label_offset = 5, .label_time = 6, .label = drift_value_text("no", -1)};
  row.event = (DriftEvent){.version = 2, .prediction = drift_value_number(1), .score = .25, .features = features};
  DriftLabelRow rows[3];
  drift_label_row_from(grid, &row, &rows[0]);
  ck_assert_int_eq(rows[0].predicted_class, 1);
  ck_assert_int_eq(rows[0].label_class, 0);
  ck_assert_uint_eq(rows[0].n_groups, 2);
  ck_assert_str_eq(drift_categories_get(grid->quantities[2].categories, rows[0].groups[1]), "1");
  ck_assert(drift_label_row_error(drift_grid_get_schema(grid), &rows[0]) == 1);
  row.label = drift_value_text("maybe", -1);
  features[2] = drift_value_text("unknown", -1);
  features[1] = drift_value_missing();
  drift_label_row_from(grid, &row, &rows[1]);
  ck_assert(rows[1].label_class == -1 && rows[1].groups[0] == G_MAXUINT16 && rows[1].groups[1] == G_MAXUINT16);
  ck_assert(isnan(drift_label_row_error(drift_grid_get_schema(grid), &rows[1])));
  row.event.prediction = drift_value_missing();
  row.event.score = NAN;
  row.label = drift_value_text("no", -1);
  drift_label_row_from(grid, &row, &rows[2]);
  ck_assert(drift_label_row_error(drift_grid_get_schema(grid), &rows[2]) == 1);

  g_autoptr(GBytes) bytes = drift_label_rows_to_bytes(rows, 3), none = drift_label_rows_to_bytes(NULL, 0);
  g_autoptr(GArray) read = drift_label_rows_from_bytes(bytes, NULL), empty = drift_label_rows_from_bytes(none, NULL);
  ck_assert_uint_eq(read->len, 3);
  ck_assert_uint_eq(empty->len, 0);
  g_autoptr(GBytes) again = drift_label_rows_to_bytes((const DriftLabelRow *)read->data, read->len);
  ck_assert(g_bytes_equal(bytes, again));
  /* More groups than a row has room for, with all the bytes they would need. */
  g_autoptr(GBytes) one = drift_label_rows_to_bytes(rows, 1),
                    raw = drift_frame_unpack("KDLR", 1, 1000, "test", one, NULL);
  g_autoptr(GByteArray) many = g_byte_array_new();
  g_byte_array_append(many, g_bytes_get_data(raw, NULL), (guint)g_bytes_get_size(raw));
  many->data[4 + 3 * 8 + 2 * 4 + 3 * 8] = 9;
  for (guint i = 0; i < 2 * (9 - 2); i++) g_byte_array_append(many, (const guint8 *)"", 1);
  g_autoptr(GBytes) too_many = drift_frame_pack("KDLR", 1, many);
  g_autoptr(GError) too_many_error = NULL;
  ck_assert_ptr_null(drift_label_rows_from_bytes(too_many, &too_many_error));

  for (guint trial = 0; trial < 3000; trial++) {
    g_autoptr(GBytes) bad = damage(bytes, "KDLR");
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) hostile = drift_label_rows_from_bytes(bad, &error);
    ck_assert((hostile == NULL) == (error != NULL));
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("drift_accumulator");
  TCase *tests = tcase_create("accumulator");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, look_up_is_the_number_of_edges_below);
  tcase_add_test(tests, frequent_values_have_bins_of_their_own);
  tcase_add_test(tests, grids_round_trip_and_name_themselves);
  tcase_add_test(tests, bad_references_are_refused);
  tcase_add_test(tests, wide_registers_change_nothing);
  tcase_add_loop_test(tests, order_and_splits_do_not_matter, 0, 2);
  tcase_add_test(tests, zeros_have_one_sign);
  tcase_add_loop_test(tests, widths_are_not_contents, 0, 2);
  tcase_add_test(tests, joint_histograms_count_pairs);
  tcase_add_test(tests, joint_histograms_must_fit_their_margins);
  tcase_add_test(tests, version_1_is_still_read);
  tcase_add_test(tests, summaries_are_right);
  tcase_add_test(tests, different_grids_do_not_add);
  tcase_add_test(tests, an_empty_accumulator_round_trips);
  tcase_add_test(tests, open_panes_are_small);
  tcase_add_loop_test(tests, hostile_contents_never_crash, 0, 2);
  tcase_add_test(tests, truncated_frames_are_refused);
  tcase_add_test(tests, label_rows_round_trip);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
