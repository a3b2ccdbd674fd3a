/* KLL, k = 200: an update. */
#include "drift/kll.h"
#include "tests/bench/drift/bench.h"

typedef struct {
  const double *values;
  gsize n;
} Updates;

static void run_updates(gpointer data)
{
  const Updates *updates = data;
  g_autoptr(DriftKll) sketch = drift_kll_new(DRIFT_KLL_DEFAULT_K, 1, NULL);
  for (gsize i = 0; i < updates->n; i++) drift_kll_update(sketch, updates->values[i]);
  bench_require(drift_kll_get_n(sketch) == updates->n, "kll");
}

void bench_sketch(const gchar *folder)
{
  gsize n;
  g_autofree double *values = bench_read(folder, "reference", &n);
  Updates updates = {values, n};
  bench_print("kll", bench_best(5, run_updates, &updates), (double)n);
}
