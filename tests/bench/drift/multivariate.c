/* MMD with 100 permutations, all of them done: its early stop at 20 as extreme would not compare. */
#include "drift/multivariate.h"
#include "tests/bench/drift/bench.h"

#define COLUMNS 20 /* of data.py */

typedef struct {
  DriftMatrix reference, current;
} Sides;

static void run_mmd(gpointer data)
{
  const Sides *sides = data;
  const DriftPermutationSettings settings = {.permutations = 100, .seed = 1};
  for (const DriftMultivariateMethod *method = drift_multivariate_methods; method->name != NULL; method++) {
    if (!g_str_equal(method->name, "mmd")) continue;
    DriftTestResult result;
    bench_require(method->test(&sides->reference, &sides->current, &settings, &result, NULL), "mmd");
    bench_require(result.p < .05, "mmd: without a difference it stops early, data.py is to make one:");
    return;
  }
  bench_require(FALSE, "mmd");
}

void bench_multivariate(const gchar *folder)
{
  gsize n, m;
  g_autofree double *reference = bench_read(folder, "mmd_reference", &n),
                    *current = bench_read(folder, "mmd_current", &m);
  Sides sides = {{reference, n / COLUMNS, COLUMNS}, {current, m / COLUMNS, COLUMNS}};
  bench_print("mmd", bench_best(3, run_mmd, &sides), 1);
}
