/* The pre-training metrics of SageMaker Clarify, and conditional demographic disparity (Wachter et al. 2020). */
#include "drift/fairness_internal.h"

#include <math.h>

#include "drift/statistics.h"

const DriftClarifyMetric drift_clarify_metrics[DRIFT_N_CLARIFY] = {
    [DRIFT_CLARIFY_CI] = {"CI", "class imbalance"},
    [DRIFT_CLARIFY_DPL] = {"DPL", "difference in proportions of labels"},
    [DRIFT_CLARIFY_KL] = {"KL", "Kullback-Leibler divergence"},
    [DRIFT_CLARIFY_JS] = {"JS", "Jensen-Shannon divergence"},
    [DRIFT_CLARIFY_LP] = {"LP", "L2 norm"},
    [DRIFT_CLARIFY_TVD] = {"TVD", "total variation distance"},
    [DRIFT_CLARIFY_KS] = {"KS", "Kolmogorov-Smirnov"},
    [DRIFT_CLARIFY_CDDL] = {"CDDL", "conditional demographic disparity in labels"},
};

/* sum p ln(p / q) over the two labels, for rates p and q of the favourable one; infinite where q is 0 and p is not. */
static double divergence(double p, double q)
{
  double sum = 0;
  if (p > 0) sum += p * log(p / q);
  if (p < 1) sum += (1 - p) * log((1 - p) / (1 - q));
  return sum;
}

static void imbalance(const DriftFairness *fairness, guint64 n_group, DriftFairnessValue *value)
{
  guint64 n = drift_confusion_total(&fairness->overall);
  double low, high;
  drift_wilson_interval((double)n_group, (double)n, fairness->settings.confidence, &low, &high);
  *value = (DriftFairnessValue){.value = 1 - 2 * (double)n_group / (double)n,
                                .low = 1 - 2 * high,
                                .high = 1 - 2 * low,
                                .n = n,
                                .group = -1,
                                .other = -1};
}

static DriftFairnessValue scaled_distance(const DriftFairnessValue *difference, double factor)
{
  DriftFairnessValue value = *difference;
  drift_fairness_absolute(&value);
  value.value *= factor;
  value.low *= factor;
  value.high *= factor;
  return value;
}

static DriftFairnessValue without_interval(double value, guint64 n)
{
  DriftFairnessValue plain = {.value = value, .low = NAN, .high = NAN, .n = n, .group = -1, .other = -1};
  if (!isinf(value)) return plain;
  return drift_fairness_undefined("the group lacks a label that the rest has: the divergence is infinite", n);
}

void drift_fairness_clarify(const DriftFairness *fairness, guint group, DriftFairnessValue *values)
{
  const DriftConfusion *facet = &fairness->groups[group];
  DriftConfusion rest = {0};
  for (guint i = 0; i < fairness->n_groups; i++)
    if (i != group) drift_confusion_add(&rest, &fairness->groups[i]);
  DriftFairnessValue *dpl = &values[DRIFT_CLARIFY_DPL];
  drift_fairness_difference(&rest, facet, DRIFT_RATE_BASE, &fairness->settings, dpl);
  imbalance(fairness, drift_confusion_total(facet), &values[DRIFT_CLARIFY_CI]);
  drift_fairness_conditional_disparity(fairness, group, FALSE, &values[DRIFT_CLARIFY_CDDL]);
  if (dpl->undefined != NULL) {
    for (guint i = DRIFT_CLARIFY_KL; i <= DRIFT_CLARIFY_KS; i++) values[i] = *dpl;
    return;
  }
  DriftFairnessValue q_rest, q_group;
  drift_fairness_rate(&rest, DRIFT_RATE_BASE, &fairness->settings, &q_rest);
  drift_fairness_rate(facet, DRIFT_RATE_BASE, &fairness->settings, &q_group);
  double middle = (q_rest.value + q_group.value) / 2;
  values[DRIFT_CLARIFY_KL] = without_interval(divergence(q_rest.value, q_group.value), dpl->n);
  values[DRIFT_CLARIFY_JS] =
      without_interval((divergence(q_rest.value, middle) + divergence(q_group.value, middle)) / 2, dpl->n);
  /* Two labels: both shares differ by as much. */
  values[DRIFT_CLARIFY_LP] = scaled_distance(dpl, G_SQRT2);
  values[DRIFT_CLARIFY_TVD] = values[DRIFT_CLARIFY_KS] = scaled_distance(dpl, 1);
}

typedef struct {
  double accepted, rejected;             /* rows of the stratum */
  double group_accepted, group_rejected; /* of the group */
} Stratum;

void drift_fairness_conditional_disparity(const DriftFairness *fairness, guint group, gboolean predicted,
                                          DriftFairnessValue *value)
{
  const DriftFairnessRows *rows = fairness->rows;
  const gint8 *outcome = predicted && rows->prediction != NULL ? rows->prediction : rows->label;
  guint n_strata = rows->stratum != NULL ? rows->n_strata : 1;
  g_autofree Stratum *strata = g_new0(Stratum, n_strata + 1);
  for (guint64 i = 0; i < rows->n; i++) {
    guint32 code = fairness->grouping->group[i], stratum = rows->stratum != NULL ? rows->stratum[i] : 0;
    if (code == DRIFT_GROUP_NONE || stratum >= n_strata || rows->label[i] < 0 ||
        drift_fairness_rows_prediction(rows, i) < 0)
      continue;
    Stratum *s = &strata[stratum];
    *(outcome[i] == 1 ? &s->accepted : &s->rejected) += 1;
    if (code == group) *(outcome[i] == 1 ? &s->group_accepted : &s->group_rejected) += 1;
  }
  double sum = 0, weight = 0;
  for (guint s = 0; s < n_strata; s++) {
    if (strata[s].accepted == 0 || strata[s].rejected == 0) continue;
    double n = strata[s].accepted + strata[s].rejected;
    sum += n * (strata[s].group_rejected / strata[s].rejected - strata[s].group_accepted / strata[s].accepted);
    weight += n;
  }
  *value = drift_fairness_undefined("no stratum has both accepted and rejected rows", (guint64)weight);
  if (weight == 0) return;
  value->undefined = NULL;
  value->value = sum / weight;
}
