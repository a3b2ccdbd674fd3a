/* Nanoseconds an event of 20 numeric features: the bin look-up alone by hint table and by binary search, and the whole
 * drift_accumulator_add. Prints one line a measurement; the best of several rounds. --key: only
 * the last ones, as "accumulate NANOSECONDS" for tests/bench/drift/compare. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "drift/accumulator_internal.h"

#define N_FEATURES 20
#define N_REFERENCE 20000 /* rows of the grid's reference */
#define N_ROWS 1000       /* events of a round: few enough for the cache, as the decoder leaves them */
#define N_ROUNDS 100

static guint64 generator_state = 42;
static double next_uniform(void)
{
  generator_state = generator_state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

static double next_value(guint feature)
{
  double normal = sqrt(-2 * log(1 - next_uniform())) * cos(2 * G_PI * next_uniform());
  if (feature % 4 == 1) return exp(normal);
  if (feature % 4 == 2) return floor(10 * next_uniform());
  return normal;
}

typedef struct {
  DriftGrid *grid;
  DriftValue (*rows)[N_FEATURES];
  DriftAccumulator *accumulator;
  guint64 sink; /* keeps the compiler from dropping the work */
} Bench;

static void by_hints(Bench *bench)
{
  for (guint row = 0; row < N_ROWS; row++)
    for (guint i = 0; i < N_FEATURES; i++)
      bench->sink += drift_bins_find(bench->grid->quantities[i].bins, bench->rows[row][i].number);
}

static void by_binary_search(Bench *bench)
{
  for (guint row = 0; row < N_ROWS; row++)
    for (guint i = 0; i < N_FEATURES; i++) {
      const DriftBins *bins = bench->grid->quantities[i].bins;
      bench->sink += drift_bins_search(bins, bench->rows[row][i].number, 0, bins->n_edges);
    }
}

static void whole_event(Bench *bench)
{
  DriftEvent event = {.version = 1, .score = .5, .latency_ms = 2, .prediction = drift_value_number(1)};
  for (guint row = 0; row < N_ROWS; row++) {
    event.features = bench->rows[row];
    drift_accumulator_add(bench->accumulator, &event);
  }
}

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double best_of(void (*run)(Bench *), Bench *bench)
{
  double best = INFINITY;
  for (guint round = 0; round < N_ROUNDS; round++) {
    double start = now();
    run(bench);
    best = fmin(best, (now() - start) / N_ROWS);
  }
  return best;
}

static void measure(const gchar *name, void (*run)(Bench *), Bench *bench)
{
  printf("%-44s %7.1f ns/event\n", name, best_of(run, bench));
}

static DriftGrid *make_grid(guint max_bins, guint max_pairs)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  g_autoptr(DriftTable) table = drift_table_new();
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  for (guint i = 0; i < N_FEATURES; i++) {
    g_autofree gchar *name = g_strdup_printf("f%u", i);
    drift_schema_add_feature(schema, name, DRIFT_NUMERIC, FALSE, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint row = 0; row < N_REFERENCE; row++) drift_column_append_number(column, next_value(i));
  }
  table->n_rows = N_REFERENCE;
  return drift_grid_new_with_pairs(schema, table, max_bins, max_pairs, NULL);
}

static void measure_look_ups(Bench *bench)
{
  measure("  look-up by binary search", by_binary_search, bench);
  measure("  look-up by hint table", by_hints, bench);
}

/* The whole event, with so many joint histograms. */
static void measure_whole(Bench *bench, guint bins, guint pairs, gboolean key_only)
{
  bench->grid = make_grid(bins, pairs);
  bench->accumulator = drift_accumulator_new(bench->grid);
  if (key_only) {
    printf("%s %.6g\n", pairs > 0 ? "accumulate_pairs" : "accumulate", best_of(whole_event, bench));
  } else {
    if (pairs == 0) measure_look_ups(bench);
    measure(pairs > 0 ? "  the same with 16 joint histograms" : "  drift_accumulator_add (with 3 outputs)", whole_event,
            bench);
    printf("  one accumulator holds %" G_GSIZE_FORMAT " bytes\n", drift_accumulator_get_memory(bench->accumulator));
  }
  drift_accumulator_free(bench->accumulator);
  drift_grid_unref(bench->grid);
}

int main(int argc, char **argv)
{
  gboolean key_only = argc == 2 && g_str_equal(argv[1], "--key");
  Bench bench = {.rows = g_malloc_n(N_ROWS, sizeof *bench.rows)};
  for (guint row = 0; row < N_ROWS; row++)
    for (guint i = 0; i < N_FEATURES; i++) bench.rows[row][i] = drift_value_number(next_value(i));
  for (guint bins = key_only ? 1024 : 64; bins <= 1024; bins *= 4) {
    if (!key_only) printf("20 features, at most %u bins:\n", bins);
    measure_whole(&bench, bins, 0, key_only);
    measure_whole(&bench, bins, DRIFT_GRID_DEFAULT_PAIRS, key_only);
  }
  g_free(bench.rows);
  return !key_only && bench.sink == 0;
}
