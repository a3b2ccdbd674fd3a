#include "drift/fairness_mitigation.h"

#include <math.h>

/* 0 / 0 is NaN, n / 0 infinite: IEEE's own. */
void drift_reweighing_weights(const DriftFairness *fairness, double *weights)
{
  double n = (double)drift_confusion_total(&fairness->overall);
  double favourable = (double)(fairness->overall.tp + fairness->overall.fn);
  for (guint g = 0; g < fairness->n_groups; g++) {
    const DriftConfusion *group = &fairness->groups[g];
    double n_group = (double)drift_confusion_total(group), own = (double)(group->tp + group->fn);
    weights[2 * g] = n_group * (n - favourable) / n / (n_group - own);
    weights[2 * g + 1] = n_group * favourable / n / own;
  }
}

void drift_reweighing_apply(const DriftFairness *fairness, double *row_weights)
{
  const DriftFairnessRows *rows = fairness->rows;
  g_autofree double *weights = g_new(double, 2 * fairness->n_groups);
  drift_reweighing_weights(fairness, weights);
  for (guint64 i = 0; i < rows->n; i++) {
    guint32 group = fairness->grouping->group[i];
    gboolean kept = group != DRIFT_GROUP_NONE && rows->label[i] >= 0 && drift_fairness_rows_prediction(rows, i) >= 0;
    row_weights[i] = kept ? weights[2 * group + (guint)rows->label[i]] : 0;
  }
}
