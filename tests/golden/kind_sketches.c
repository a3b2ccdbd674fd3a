/* The sketches' bounds, and the exact quantiles that a sketch must come near to in at least 99 % of seeds. */
#include <math.h>

#include "drift/kll.h"
#include "drift/sample_shape.h"
#include "tests/golden/golden.h"

gboolean golden_run_kll_rank_error(const json_t *golden_case, GoldenContext *context);
gboolean golden_run_exact_quantiles(const json_t *golden_case, GoldenContext *context);

gboolean golden_run_kll_rank_error(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  guint k = (guint)json_integer_value(json_object_get(json_object_get(golden_case, "params"), "k"));
  golden_compare(context, expected, "single_sided", drift_kll_rank_error(k, FALSE));
  golden_compare(context, expected, "pmf", drift_kll_rank_error(k, TRUE));
  return TRUE;
}

#define SEEDS 200u

static gboolean sketch_is_near(const DriftSample *sample, const double *values, gsize n, double probability,
                               guint64 seed)
{
  g_autoptr(DriftKll) sketch = drift_kll_new(DRIFT_KLL_DEFAULT_K, seed, NULL);
  for (gsize i = 0; i < n; i++) drift_kll_update(sketch, values[i]);
  g_autoptr(DriftKllView) view = drift_kll_view_new(sketch);
  double answer = drift_kll_view_quantile(view, probability);
  double below = drift_sample_rank(sample, answer, FALSE), upto = drift_sample_rank(sample, answer, TRUE);
  double bound = drift_kll_rank_error(DRIFT_KLL_DEFAULT_K, FALSE);
  return probability >= below - bound && probability <= upto + bound;
}

static void check_sketch(GoldenContext *context, const DriftSample *sample, const double *values, gsize n,
                         const double *probabilities, gsize n_probabilities)
{
  for (gsize q = 0; q < n_probabilities; q++) {
    guint near = 0;
    for (guint64 seed = 1; seed <= SEEDS; seed++) near += sketch_is_near(sample, values, n, probabilities[q], seed);
    golden_note(context, "quantile(%g): %u of %u seeds within the bound", probabilities[q], near, SEEDS);
    if (near < SEEDS * 99 / 100)
      golden_fail(context, "quantile(%g): %u of %u seeds within the bound", probabilities[q], near, SEEDS);
  }
}

gboolean golden_run_exact_quantiles(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  gsize n = 0, n_probabilities = 0;
  const double *values = golden_input(context, golden_case, "stream", &n);
  const double *q =
      golden_numbers(context, json_object_get(json_object_get(golden_case, "params"), "q"), &n_probabilities);
  if (values == NULL) return FALSE;
  g_autoptr(DriftSample) sample = drift_sample_new(values, n, NULL);
  g_autofree double *type7 = g_new(double, n_probabilities + 1), *inverted = g_new(double, n_probabilities + 1);
  for (gsize i = 0; i < n_probabilities; i++) {
    type7[i] = drift_sample_quantile(sample, q[i]);
    inverted[i] = drift_sample_quantile_inverted(sample, q[i]);
  }
  golden_compare_list(context, expected, "type7", type7, n_probabilities);
  golden_compare_list(context, expected, "inverted_cdf", inverted, n_probabilities);
  golden_compare(context, expected, "rank_inclusive_at_1", drift_sample_rank(sample, 1, TRUE));
  golden_compare(context, expected, "rank_exclusive_at_1", drift_sample_rank(sample, 1, FALSE));
  DriftShape shape = drift_sample_shape(sample);
  golden_compare(context, expected, "mean", shape.mean);
  golden_compare(context, expected, "var_ddof1", shape.variance);
  golden_compare(context, expected, "skew", shape.skewness);
  golden_compare(context, expected, "kurtosis_excess", shape.kurtosis);
  check_sketch(context, sample, values, n, q, n_probabilities);
  return TRUE;
}
