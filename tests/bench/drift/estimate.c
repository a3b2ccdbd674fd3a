/* CBPE, five metrics in chunks of 5,000 rows: the fit on reference rows, the estimate of analysis rows, both a row. */
#include "drift/cbpe.h"
#include "tests/bench/drift/bench.h"

typedef struct {
  DriftCbpeRows reference, analysis;
  DriftCbpeSettings settings;
  DriftCbpe *cbpe;
} Estimate;

static void run_fit(gpointer data)
{
  Estimate *estimate = data;
  g_clear_pointer(&estimate->cbpe, drift_cbpe_free);
  estimate->cbpe = drift_cbpe_new(&estimate->reference, &estimate->settings, NULL);
  bench_require(estimate->cbpe != NULL, "cbpe");
}

static void run_estimate(gpointer data)
{
  const Estimate *estimate = data;
  g_autoptr(GPtrArray) result = drift_cbpe_estimate(estimate->cbpe, &estimate->analysis, NULL);
  bench_require(result != NULL, "cbpe estimate");
}

static guint32 *codes_of(const double *values, gsize n, double from)
{
  guint32 *codes = g_new(guint32, n + 1);
  for (gsize i = 0; i < n; i++) codes[i] = values[i] >= from;
  return codes;
}

void bench_estimate(const gchar *folder)
{
  static const gchar *const metrics[] = {"roc_auc", "f1", "precision", "recall", "accuracy", NULL};
  gsize n, n_truth, m;
  g_autofree double *p = bench_read(folder, "cbpe_reference", &n), *y = bench_read(folder, "cbpe_truth", &n_truth),
                    *q = bench_read(folder, "cbpe_analysis", &m);
  g_autofree guint32 *predicted = codes_of(p, n, .5), *truth = codes_of(y, n, .5), *later = codes_of(q, m, .5);
  const double *const before[] = {p}, *const after[] = {q};
  Estimate estimate = {.reference = {n, 1, before, predicted, truth},
                       .analysis = {m, 1, after, later, NULL},
                       .settings = {.chunk_size = 5000, .metrics = metrics}};
  double fit = bench_best(5, run_fit, &estimate), estimated = bench_best(5, run_estimate, &estimate);
  bench_print("cbpe_fit", fit, (double)n);
  bench_print("cbpe_estimate", estimated, (double)m);
  bench_print("cbpe", fit + estimated, (double)(n + m));
  drift_cbpe_free(estimate.cbpe);
}
