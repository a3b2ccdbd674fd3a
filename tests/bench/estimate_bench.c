/* CPU time of label-free estimates and of multivariate tests; numbers to look at, not a test. */
#include <stdio.h>
#include <time.h>

#include "drift/cbpe.h"
#include "drift/multivariate.h"

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void bench_cbpe(GRand *random)
{
  enum { ROWS = 200000 };
  static double scores[ROWS];
  static guint32 predicted[ROWS], truth[ROWS];
  const gchar *const metrics[] = {"roc_auc", "f1", "precision", "recall", "accuracy", NULL};
  const DriftCbpeSettings settings = {.chunk_size = 5000, .metrics = metrics};
  for (guint i = 0; i < ROWS; i++) {
    scores[i] = g_rand_double(random);
    predicted[i] = scores[i] >= .5;
    truth[i] = g_rand_double(random) < scores[i] * scores[i];
  }
  const double *const columns[] = {scores};
  DriftCbpeRows rows = {ROWS, 1, columns, predicted, truth};
  double start = cpu_seconds();
  g_autoptr(DriftCbpe) cbpe = drift_cbpe_new(&rows, &settings, NULL);
  double fitted = cpu_seconds();
  rows.truth = NULL;
  g_autoptr(GPtrArray) estimate G_GNUC_UNUSED = drift_cbpe_estimate(cbpe, &rows, NULL);
  double estimated = cpu_seconds();
  printf("CBPE, 5 metrics, chunks of 5,000: fit %.0f ns a row, estimate %.0f ns a row\n", (fitted - start) / ROWS * 1e9,
         (estimated - fitted) / ROWS * 1e9);
}

static void bench_multivariate(GRand *random)
{
  enum { ROWS = 1000, COLUMNS = 20 };
  static double values[2 * ROWS * COLUMNS];
  const DriftPermutationSettings settings = {.permutations = 100, .seed = 1};
  for (guint i = 0; i < 2 * ROWS * COLUMNS; i++) values[i] = g_rand_double(random) + (i < ROWS * COLUMNS ? .05 : 0);
  const DriftMatrix reference = {values, ROWS, COLUMNS}, current = {values + ROWS * COLUMNS, ROWS, COLUMNS};
  for (const DriftMultivariateMethod *method = drift_multivariate_methods; method->name != NULL; method++) {
    DriftTestResult result;
    double start = cpu_seconds();
    if (method->test(&reference, &current, &settings, &result, NULL))
      printf("%s, 1,000 + 1,000 rows, 20 columns, 100 permutations: %.3f s (p %.3g)\n", method->name,
             cpu_seconds() - start, result.p);
  }
}

int main(void)
{
  GRand *random = g_rand_new_with_seed(1);
  bench_cbpe(random);
  bench_multivariate(random);
  g_rand_free(random);
  return 0;
}
