/* Inequality of benefits: generalised entropy of all people, and the part of it between groups. */
#include "drift/fairness.h"

#include <math.h>

#include "drift/distributions.h"

/* People with benefit 0 (missed), 1 (right), 2 (favoured wrongly) have the shares p[b]. */
static void benefit_shares(const DriftConfusion *counts, double p[3])
{
  double n = (double)drift_confusion_total(counts);
  p[0] = (double)counts->fn / n;
  p[1] = (double)(counts->tp + counts->tn) / n;
  p[2] = (double)counts->fp / n;
}

static double entropy_term(double ratio, double alpha)
{
  if (alpha == 1) return ratio > 0 ? ratio * log(ratio) : 0;
  if (alpha == 0) return -log(ratio);
  return (pow(ratio, alpha) - 1) / (alpha * (alpha - 1));
}

/* d entropy / d share of each benefit, up to a constant: the influence function. With r = b / mu, the entropy is a mean
 * of term(r), and moving mu moves it by -mean(r term'(r)) / mu. */
static void influence(const double p[3], double mean, double alpha, double phi[3])
{
  double slope = 0;
  for (guint b = 1; b < 3; b++) {
    double ratio = b / mean;
    double derivative = alpha == 1 ? log(ratio) + 1 : alpha == 0 ? -1 / ratio : pow(ratio, alpha - 1) / (alpha - 1);
    slope += p[b] * ratio * derivative;
  }
  for (guint b = 0; b < 3; b++) phi[b] = p[b] > 0 ? entropy_term(b / mean, alpha) - slope * (b - mean) / mean : 0;
}

void drift_generalised_entropy(const DriftConfusion *counts, double alpha, double confidence, DriftFairnessValue *value)
{
  guint64 n = drift_confusion_total(counts);
  double p[3], phi[3], first = 0, second = 0;
  benefit_shares(counts, p);
  double mean = p[1] + 2 * p[2];
  *value = drift_fairness_undefined(NULL, n);
  if (n == 0)
    value->undefined = "no row (n = 0)";
  else if (mean == 0)
    value->undefined = "every favourable label was missed: all benefits are 0";
  else if (alpha <= 0 && p[0] > 0)
    value->undefined = "someone's benefit is 0: this order of entropy is infinite";
  if (value->undefined != NULL) return;
  value->value = 0;
  for (guint b = 0; b < 3; b++)
    if (p[b] > 0) value->value += p[b] * entropy_term(b / mean, alpha);
  influence(p, mean, alpha, phi);
  for (guint b = 0; b < 3; b++) {
    first += p[b] * phi[b];
    second += p[b] * phi[b] * phi[b];
  }
  double half = drift_normal_quantile(.5 + confidence / 2) * sqrt(fmax(0, second - first * first) / (double)n);
  value->low = fmax(0, value->value - half);
  value->high = value->value + half;
}

void drift_between_group_entropy(const DriftConfusion *groups, guint n_groups, double alpha, DriftFairnessValue *value)
{
  double total = 0, benefits = 0;
  *value = drift_fairness_undefined("every favourable label was missed: all benefits are 0", 0);
  for (guint g = 0; g < n_groups; g++) {
    value->n += drift_confusion_total(&groups[g]);
    benefits += (double)(groups[g].tp + groups[g].tn + 2 * groups[g].fp);
  }
  total = (double)value->n;
  if (benefits == 0) return;
  double sum = 0;
  for (guint g = 0; g < n_groups; g++) {
    double n = (double)drift_confusion_total(&groups[g]);
    double own = (double)(groups[g].tp + groups[g].tn + 2 * groups[g].fp);
    if (n == 0) continue;
    if (own == 0 && alpha <= 0) {
      value->undefined = "a group's benefits are all 0: this order of entropy is infinite";
      return;
    }
    sum += n / total * entropy_term(own / n / (benefits / total), alpha);
  }
  value->undefined = NULL;
  value->value = fmax(0, sum);
}
