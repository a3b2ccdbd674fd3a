/* drift_bench PART FOLDER: CPU time of kedge on the data of FOLDER, a line "KEY NANOSECONDS" for each figure. The peers
 * read the same files; tests/bench/drift/compare runs both and makes the table. */
#include "tests/bench/drift/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bench_best(guint rounds, void (*run)(gpointer), gpointer data)
{
  double best = INFINITY;
  for (guint round = 0; round < rounds; round++) {
    double start = cpu_now();
    run(data);
    best = fmin(best, cpu_now() - start);
  }
  return best;
}

double *bench_read(const gchar *folder, const gchar *name, gsize *n)
{
  g_autofree gchar *path = g_strdup_printf("%s/%s.f64", folder, name);
  g_autoptr(GError) error = NULL;
  gchar *bytes = NULL;
  gsize length;
  if (!g_file_get_contents(path, &bytes, &length, &error)) {
    fprintf(stderr, "drift_bench: %s\n", error->message);
    exit(2);
  }
  *n = length / sizeof(double);
  return (double *)(gpointer)bytes;
}

void bench_print(const gchar *key, double seconds, double units)
{
  printf("%s %.6g\n", key, 1e9 * seconds / units);
}

void bench_require(gboolean done, const gchar *what)
{
  if (done) return;
  fprintf(stderr, "drift_bench: %s failed\n", what);
  exit(1);
}

static const struct {
  const gchar *name;
  void (*run)(const gchar *folder);
} parts[] = {{"two_sample", bench_two_sample}, {"report", bench_report},     {"stream", bench_stream},
             {"estimate", bench_estimate},     {"fairness", bench_fairness}, {"multivariate", bench_multivariate},
             {"sketch", bench_sketch}};

int main(int argc, char **argv)
{
  for (guint i = 0; argc == 3 && i < G_N_ELEMENTS(parts); i++)
    if (g_str_equal(argv[1], parts[i].name)) {
      parts[i].run(argv[2]);
      return EXIT_SUCCESS;
    }
  fprintf(stderr, "usage: drift_bench PART FOLDER\nparts:");
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) fprintf(stderr, " %s", parts[i].name);
  fprintf(stderr, "\n");
  return 2;
}
