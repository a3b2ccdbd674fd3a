/* The two-sample tests, from unsorted values to p as a caller of scipy has it, and the report of kedge drift test on
 * tables in memory. */
#include <string.h>

#include "daemon/drift_test.h"
#include "drift/two_sample_method.h"
#include "tests/bench/drift/bench.h"

#define COLUMNS 20 /* of data.py */

typedef struct {
  const DriftTwoSampleMethod *method;
  const double *reference, *current;
  gsize rows;
} Test;

static void run_test(gpointer data)
{
  const Test *test = data;
  g_autoptr(DriftSample) a = drift_sample_new(test->reference, test->rows, NULL),
                         b = drift_sample_new(test->current, test->rows, NULL);
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const DriftTwoSampleData sides = {a, b, NULL};
  DriftTestResult result;
  /* scipy's distances have no p. */
  if (g_str_equal(test->method->name, "wasserstein") || g_str_equal(test->method->name, "energy"))
    g_hash_table_insert(options, (gpointer) "permutations", (gpointer) "0");
  bench_require(test->method->run(test->method, &sides, options, &result, NULL), test->method->name);
}

void bench_two_sample(const gchar *folder)
{
  static const gchar *const names[] = {"ks",          "cramer_von_mises", "anderson_darling",
                                       "wasserstein", "energy",           "mann_whitney"};
  gsize n, m;
  g_autofree double *reference = bench_read(folder, "reference", &n), *current = bench_read(folder, "current", &m);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    Test test = {drift_two_sample_find(names[i]), reference, current, n / COLUMNS};
    bench_print(names[i], bench_best(5, run_test, &test), 1);
  }
}

static DriftTable *table_of(const double *values, gsize rows)
{
  DriftTable *table = drift_table_new();
  table->n_rows = rows;
  for (gsize c = 0; c < COLUMNS; c++) {
    g_autofree gchar *name = g_strdup_printf("x%zu", c);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    g_array_append_vals(column->numbers, values + c * rows, (guint)rows);
  }
  return table;
}

static void run_report(gpointer data)
{
  json_t *report = drift_test_report(data, NULL);
  bench_require(report != NULL, "report");
  json_decref(report);
}

void bench_report(const gchar *folder)
{
  static const gchar *const distance_only[] = {"wasserstein", NULL};
  gsize n, m;
  g_autofree double *reference = bench_read(folder, "reference", &n), *current = bench_read(folder, "current", &m);
  g_autoptr(DriftTable) a = table_of(reference, n / COLUMNS), b = table_of(current, m / COLUMNS);
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  DriftTestRequest request = {
      .reference = a, .current = b, .reference_name = "reference", .current_name = "current", .options = options};
  bench_print("report", bench_best(5, run_report, &request), 1);
  /* What evidently's preset computes for numbers: the distance over the reference's deviation, and shapes to draw. */
  g_hash_table_insert(options, (gpointer) "permutations", (gpointer) "0");
  g_hash_table_insert(options, (gpointer) "scale", (gpointer) "reference");
  request.methods = distance_only;
  bench_print("report_distance", bench_best(5, run_report, &request), 1);
}
