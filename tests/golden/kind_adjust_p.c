/* Corrections for many tests. */
#include "drift/multiple_testing.h"
#include "drift/statistics.h"
#include "tests/golden/golden.h"

gboolean golden_run_adjust_p(const json_t *golden_case, GoldenContext *context);

gboolean golden_run_adjust_p(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  gsize n;
  const double *p = golden_numbers(context, json_object_get(json_object_get(golden_case, "params"), "p"), &n);
  g_autofree double *adjusted = g_new(double, n + 1);
  for (const DriftAdjustment *adjustment = drift_adjustments; adjustment->name != NULL; adjustment++) {
    adjustment->adjust(p, (guint)n, adjusted);
    golden_compare_list(context, expected, adjustment->name, adjusted, n);
  }
  drift_benjamini_hochberg(p, (guint)n, adjusted);
  guint rejected = 0;
  for (gsize i = 0; i < n; i++) rejected += adjusted[i] <= 0.05;
  golden_compare(context, expected, "bh_rejected_at_0_05", rejected);
  const json_t *fisher = json_object_get(expected, "fisher_combined");
  double statistic, combined = drift_fisher_combination(p, (guint)n, &statistic);
  golden_compare(context, fisher, "statistic", statistic);
  golden_compare(context, fisher, "p", combined);
  return TRUE;
}
