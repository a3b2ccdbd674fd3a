/* CPU time of the two-sample tests and of the report on data that tests/bench/two_sample writes: raw doubles, the
 * reference's columns one after the other, then the current side's. Prints one JSON object of seconds; best of rounds.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/drift_test.h"
#include "drift/two_sample_method.h"

#define N_ROUNDS 5

typedef struct {
  const double *reference, *current; /* column 0 of each side */
  gsize rows;
  const DriftTestRequest *request;
  const gchar *method;
} Bench;

static double cpu_now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* From unsorted values to p, as a caller of scipy has it. */
static void run_method(const Bench *bench)
{
  g_autoptr(DriftSample) a = drift_sample_new(bench->reference, bench->rows, NULL),
                         b = drift_sample_new(bench->current, bench->rows, NULL);
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const DriftTwoSampleMethod *method = drift_two_sample_find(bench->method);
  const DriftTwoSampleData data = {a, b, NULL};
  DriftTestResult result;
  if (g_str_equal(method->name, "wasserstein") || g_str_equal(method->name, "energy"))
    g_hash_table_insert(options, (gpointer) "permutations", (gpointer) "0");
  if (!method->run(method, &data, options, &result, NULL)) exit(1);
}

static void run_report(const Bench *bench)
{
  json_t *report = drift_test_report(bench->request, NULL);
  if (report == NULL) exit(1);
  json_decref(report);
}

static double best(const Bench *bench, void (*run)(const Bench *))
{
  double seconds = INFINITY;
  for (guint round = 0; round < N_ROUNDS; round++) {
    double start = cpu_now();
    run(bench);
    seconds = fmin(seconds, cpu_now() - start);
  }
  return seconds;
}

static DriftTable *table_of(const double *values, gsize rows, gsize columns)
{
  DriftTable *table = drift_table_new();
  table->n_rows = rows;
  for (gsize c = 0; c < columns; c++) {
    g_autofree gchar *name = g_strdup_printf("x%zu", c);
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    g_array_append_vals(column->numbers, values + c * rows, (guint)rows);
  }
  return table;
}

int main(int argc, char **argv)
{
  static const gchar *const methods[] = {"ks",          "cramer_von_mises", "anderson_darling",
                                         "wasserstein", "energy",           "mann_whitney"};
  g_autofree gchar *bytes = NULL;
  gsize length;
  if (argc != 4 || !g_file_get_contents(argv[1], &bytes, &length, NULL)) return 2;
  gsize rows = (gsize)g_ascii_strtoull(argv[2], NULL, 10), columns = (gsize)g_ascii_strtoull(argv[3], NULL, 10);
  if (length != 2 * rows * columns * sizeof(double)) return 2;
  const double *values = (const double *)(gpointer)bytes;
  g_autoptr(DriftTable) reference = table_of(values, rows, columns),
                        current = table_of(values + rows * columns, rows, columns);
  g_autoptr(GHashTable) options = g_hash_table_new(g_str_hash, g_str_equal);
  const DriftTestRequest request = {.reference = reference,
                                    .current = current,
                                    .reference_name = "reference",
                                    .current_name = "current",
                                    .options = options};
  Bench bench = {values, values + rows * columns, rows, &request, NULL};
  printf("{");
  for (guint i = 0; i < G_N_ELEMENTS(methods); i++) {
    bench.method = methods[i];
    printf("\"%s\": %.6g, ", methods[i], best(&bench, run_method));
  }
  printf("\"report\": %.6g}\n", best(&bench, run_report));
  return 0;
}
