/* The table of named metrics: what a bound may be set on. One more: a line here, and a function if its form is new. */
#include "drift/fairness_internal.h"

#include <math.h>
#include <string.h>

/* --- between groups ----------------------------------------------------------------------------------------------- */

static void range_difference(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                             DriftFairnessValue *value)
{
  DriftFairnessRange range;
  drift_fairness_between(fairness, metric->parameter, &range);
  *value = range.difference;
}

static void range_ratio(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value)
{
  DriftFairnessRange range;
  drift_fairness_between(fairness, metric->parameter, &range);
  *value = range.ratio;
}

/* Two ranges at half the error each, so that their combination keeps the stated confidence. */
static void odds_ranges(const DriftFairness *fairness, DriftFairnessRange *tpr, DriftFairnessRange *fpr)
{
  double confidence = 1 - (1 - fairness->settings.confidence) / 2;
  drift_fairness_between_at(fairness, DRIFT_RATE_TRUE_POSITIVE, confidence, tpr);
  drift_fairness_between_at(fairness, DRIFT_RATE_FALSE_POSITIVE, confidence, fpr);
}

typedef enum { ODDS_WORST, ODDS_MEAN } OddsForm;

static void take_groups(DriftFairnessValue *value, const DriftFairnessValue *from)
{
  value->group = from->group;
  value->other = from->other;
}

static void odds_difference(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value)
{
  DriftFairnessRange tpr, fpr;
  odds_ranges(fairness, &tpr, &fpr);
  const DriftFairnessValue *a = &tpr.difference, *b = &fpr.difference;
  const gchar *reason = a->undefined != NULL ? a->undefined : b->undefined;
  *value = drift_fairness_undefined(reason, a->n + b->n);
  if (reason != NULL) return;
  gboolean worst = metric->parameter == ODDS_WORST, intervals = !isnan(a->low + b->low);
  value->value = worst ? fmax(a->value, b->value) : (a->value + b->value) / 2;
  if (worst) take_groups(value, a->value >= b->value ? a : b);
  if (!intervals) return;
  value->low = worst ? fmax(a->low, b->low) : (a->low + b->low) / 2;
  value->high = worst ? fmax(a->high, b->high) : (a->high + b->high) / 2;
}

/* No false positive in any group leaves the FPR's ratio 0/0: equal, and the TPR's decides alone, as in fairlearn. */
static void odds_ratio(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value)
{
  DriftFairnessRange tpr, fpr;
  odds_ranges(fairness, &tpr, &fpr);
  gboolean same_zero = fpr.difference.undefined == NULL && fpr.difference.value == 0 && fpr.ratio.undefined != NULL;
  const DriftFairnessValue *a = &tpr.ratio, *b = same_zero ? a : &fpr.ratio;
  const gchar *reason = a->undefined != NULL ? a->undefined : b->undefined;
  *value = drift_fairness_undefined(reason, a->n + fpr.ratio.n);
  if (reason != NULL) return;
  gboolean worst = metric->parameter == ODDS_WORST, intervals = !isnan(a->low + b->low);
  value->value = worst ? fmin(a->value, b->value) : (a->value + b->value) / 2;
  if (worst) take_groups(value, a->value <= b->value ? a : b);
  if (!intervals) return;
  value->low = worst ? fmin(a->low, b->low) : (a->low + b->low) / 2;
  value->high = worst ? fmin(a->high, b->high) : (a->high + b->high) / 2;
}

static void calibration_difference(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                   DriftFairnessValue *value)
{
  (void)metric;
  drift_fairness_calibration_difference(fairness, value);
}

/* --- the group farthest from equal ---------------------------------------------------------------------------------
 */

static double distance_from_equal(const DriftFairnessMetric *metric, double value)
{
  return metric->form == DRIFT_METRIC_RATIO ? fabs(log(value)) : fabs(value);
}

/* A value takes the place of an undefined one; among undefined the first group's reason stays. */
static void keep_farthest(const DriftFairnessMetric *metric, DriftFairnessValue *farthest,
                          const DriftFairnessValue *value)
{
  gboolean better = value->undefined != NULL ? farthest->undefined == drift_fairness_too_few
                    : farthest->undefined != NULL
                        ? TRUE
                        : distance_from_equal(metric, value->value) > distance_from_equal(metric, farthest->value);
  if (better) *farthest = *value;
}

/* --- to the reference group --------------------------------------------------------------------------------------- */

/* Each other group against the reference at a confidence that pays for choosing the farthest. */
static void farthest_from_reference(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                    DriftFairnessValue *value)
{
  guint n_compared = 0;
  DriftFairnessSettings settings = fairness->settings;
  *value = drift_fairness_undefined(drift_fairness_too_few, 0);
  if (!drift_fairness_is_compared(fairness, fairness->reference)) {
    value->undefined = "the reference group is too small";
    return;
  }
  for (guint i = 0; i < fairness->n_groups; i++)
    n_compared += i != fairness->reference && drift_fairness_is_compared(fairness, i);
  settings.confidence = 1 - (1 - settings.confidence) / MAX(n_compared, 1);
  for (guint i = 0; i < fairness->n_groups; i++) {
    DriftFairnessValue one;
    if (i == fairness->reference || !drift_fairness_is_compared(fairness, i)) continue;
    metric->compare(metric, &fairness->groups[i], &fairness->groups[fairness->reference], &settings, &one);
    one.group = (gint)i;
    one.other = (gint)fairness->reference;
    keep_farthest(metric, value, &one);
  }
}

static void compare_difference(const DriftFairnessMetric *metric, const DriftConfusion *group,
                               const DriftConfusion *reference, const DriftFairnessSettings *settings,
                               DriftFairnessValue *value)
{
  drift_fairness_difference(group, reference, metric->parameter, settings, value);
}

static void compare_ratio(const DriftFairnessMetric *metric, const DriftConfusion *group,
                          const DriftConfusion *reference, const DriftFairnessSettings *settings,
                          DriftFairnessValue *value)
{
  drift_fairness_ratio(group, reference, metric->parameter, settings, value);
}

typedef enum { ODDS_SIGNED, ODDS_ABSOLUTE } AverageForm;

/* Half the sum of two differences of disjoint rows: MOVER for the signed one, Bonferroni for the absolute one. */
static void compare_odds(const DriftFairnessMetric *metric, const DriftConfusion *group,
                         const DriftConfusion *reference, const DriftFairnessSettings *settings,
                         DriftFairnessValue *value)
{
  DriftFairnessValue tpr, fpr;
  DriftFairnessSettings own = *settings;
  gboolean absolute = metric->parameter == ODDS_ABSOLUTE;
  if (absolute) own.confidence = 1 - (1 - own.confidence) / 2;
  drift_fairness_difference(group, reference, DRIFT_RATE_TRUE_POSITIVE, &own, &tpr);
  drift_fairness_difference(group, reference, DRIFT_RATE_FALSE_POSITIVE, &own, &fpr);
  const gchar *reason = tpr.undefined != NULL ? tpr.undefined : fpr.undefined;
  *value = drift_fairness_undefined(reason, tpr.n + fpr.n);
  if (reason != NULL) return;
  if (absolute) {
    drift_fairness_absolute(&tpr);
    drift_fairness_absolute(&fpr);
    value->low = (tpr.low + fpr.low) / 2;
    value->high = (tpr.high + fpr.high) / 2;
  }
  value->value = (tpr.value + fpr.value) / 2;
  if (absolute) return;
  value->low = value->value - hypot(tpr.value - tpr.low, fpr.value - fpr.low) / 2;
  value->high = value->value + hypot(tpr.high - tpr.value, fpr.high - fpr.value) / 2;
}

/* --- of rows ------------------------------------------------------------------------------------------------------ */

static void entropy(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value)
{
  drift_generalised_entropy(&fairness->overall, metric->parameter, fairness->settings.confidence, value);
}

static void coefficient_of_variation(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                     DriftFairnessValue *value)
{
  (void)metric;
  drift_generalised_entropy(&fairness->overall, 2, fairness->settings.confidence, value);
  value->value = sqrt(2 * value->value);
  value->low = sqrt(2 * fmax(value->low, 0));
  value->high = sqrt(2 * value->high);
}

static void between_group_entropy(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                  DriftFairnessValue *value)
{
  drift_between_group_entropy(fairness->groups, fairness->n_groups, metric->parameter, value);
}

/* --- Clarify ---------------------------------------------------------------------------------------------------- */

static void clarify(const DriftFairnessMetric *metric, const DriftFairness *fairness, DriftFairnessValue *value)
{
  *value = drift_fairness_undefined(drift_fairness_too_few, 0);
  for (guint i = 0; i < fairness->n_groups && fairness->n_groups > 1; i++) {
    DriftFairnessValue values[DRIFT_N_CLARIFY];
    if (!drift_fairness_is_compared(fairness, i)) continue;
    drift_fairness_clarify(fairness, i, values);
    values[metric->parameter].group = (gint)i;
    keep_farthest(metric, value, &values[metric->parameter]);
  }
}

static void conditional_disparity(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                  DriftFairnessValue *value)
{
  *value = drift_fairness_undefined(drift_fairness_too_few, 0);
  for (guint i = 0; i < fairness->n_groups && fairness->n_groups > 1; i++) {
    DriftFairnessValue one;
    if (!drift_fairness_is_compared(fairness, i)) continue;
    drift_fairness_conditional_disparity(fairness, i, metric->parameter != 0, &one);
    one.group = (gint)i;
    keep_farthest(metric, value, &one);
  }
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define BETWEEN(name, meaning, rate)                                                                                   \
  {name "_difference", meaning, DRIFT_METRIC_DIFFERENCE, DRIFT_CONVENTION_BETWEEN, range_difference, rate, NULL},      \
  {                                                                                                                    \
    name "_ratio", meaning, DRIFT_METRIC_RATIO, DRIFT_CONVENTION_BETWEEN, range_ratio, rate, NULL                      \
  }
#define ODDS(name, meaning, form)                                                                                      \
  {"equalized_odds_difference" name,                                                                                   \
   meaning,                                                                                                            \
   DRIFT_METRIC_DIFFERENCE,                                                                                            \
   DRIFT_CONVENTION_BETWEEN,                                                                                           \
   odds_difference,                                                                                                    \
   form,                                                                                                               \
   NULL},                                                                                                              \
  {                                                                                                                    \
    "equalized_odds_ratio" name, meaning, DRIFT_METRIC_RATIO, DRIFT_CONVENTION_BETWEEN, odds_ratio, form, NULL         \
  }
#define REFERENCE(name, meaning, form, compare, parameter)                                                             \
  {                                                                                                                    \
    name, meaning, DRIFT_METRIC_##form, DRIFT_CONVENTION_REFERENCE, farthest_from_reference, parameter, compare        \
  }
#define ROWS(name, meaning, compute, parameter)                                                                        \
  {                                                                                                                    \
    name, meaning, DRIFT_METRIC_INDEX, DRIFT_CONVENTION_ROWS, compute, parameter, NULL                                 \
  }
#define FACET(name, meaning, compute, parameter)                                                                       \
  {                                                                                                                    \
    name, meaning, DRIFT_METRIC_DIFFERENCE, DRIFT_CONVENTION_FACET, compute, parameter, NULL                           \
  }

const DriftFairnessMetric drift_fairness_metrics[] = {
    BETWEEN("demographic_parity", "selection rates", DRIFT_RATE_SELECTION),
    BETWEEN("equal_opportunity", "true positive rates", DRIFT_RATE_TRUE_POSITIVE),
    ODDS("", "true and false positive rates, the worse", ODDS_WORST),
    ODDS("_mean", "true and false positive rates, their mean", ODDS_MEAN),
    BETWEEN("predictive_parity", "precision", DRIFT_RATE_PRECISION),
    BETWEEN("accuracy", "accuracy", DRIFT_RATE_ACCURACY),
    BETWEEN("error_rate", "error rates", DRIFT_RATE_ERROR),
    BETWEEN("fpr", "false positive rates", DRIFT_RATE_FALSE_POSITIVE),
    BETWEEN("fnr", "false negative rates", DRIFT_RATE_FALSE_NEGATIVE),
    BETWEEN("tnr", "true negative rates", DRIFT_RATE_TRUE_NEGATIVE),
    BETWEEN("base_rate", "rates of favourable labels", DRIFT_RATE_BASE),
    {"calibration_difference", "mean(label - score)", DRIFT_METRIC_DIFFERENCE, DRIFT_CONVENTION_BETWEEN,
     calibration_difference, 0, NULL},
    REFERENCE("statistical_parity_difference", "selection rates", DIFFERENCE, compare_difference, DRIFT_RATE_SELECTION),
    REFERENCE("disparate_impact", "selection rates (80 % rule: bound .8)", RATIO, compare_ratio, DRIFT_RATE_SELECTION),
    REFERENCE("true_positive_rate_difference", "true positive rates: aif360's equal_opportunity_difference", DIFFERENCE,
              compare_difference, DRIFT_RATE_TRUE_POSITIVE),
    REFERENCE("false_positive_rate_difference", "false positive rates", DIFFERENCE, compare_difference,
              DRIFT_RATE_FALSE_POSITIVE),
    REFERENCE("false_negative_rate_difference", "false negative rates", DIFFERENCE, compare_difference,
              DRIFT_RATE_FALSE_NEGATIVE),
    REFERENCE("average_odds_difference", "mean of the differences of true and false positive rates", DIFFERENCE,
              compare_odds, ODDS_SIGNED),
    REFERENCE("average_abs_odds_difference", "mean of their absolute differences", DIFFERENCE, compare_odds,
              ODDS_ABSOLUTE),
    REFERENCE("wrong_prediction_difference", "error rates: aif360's error_rate_difference", DIFFERENCE,
              compare_difference, DRIFT_RATE_ERROR),
    REFERENCE("wrong_prediction_ratio", "error rates: aif360's error_rate_ratio", RATIO, compare_ratio,
              DRIFT_RATE_ERROR),
    REFERENCE("false_discovery_rate_difference", "of those predicted favourable, share wrong", DIFFERENCE,
              compare_difference, DRIFT_RATE_FALSE_DISCOVERY),
    REFERENCE("false_omission_rate_difference", "of those predicted unfavourable, share wrong", DIFFERENCE,
              compare_difference, DRIFT_RATE_FALSE_OMISSION),
    REFERENCE("label_parity_difference", "rates of favourable labels", DIFFERENCE, compare_difference, DRIFT_RATE_BASE),
    REFERENCE("label_disparate_impact", "rates of favourable labels", RATIO, compare_ratio, DRIFT_RATE_BASE),
    ROWS("theil_index", "inequality of benefits 1 + prediction - label, order 1", entropy, 1),
    ROWS("generalized_entropy_index", "inequality of benefits, order 2", entropy, 2),
    ROWS("coefficient_of_variation", "of benefits: sqrt(2 generalized entropy)", coefficient_of_variation, 2),
    ROWS("between_group_theil_index", "the part of theil_index between groups", between_group_entropy, 1),
    ROWS("between_group_generalized_entropy_index", "the part of order 2 between groups", between_group_entropy, 2),
    FACET("class_imbalance", "(n_rest - n_group) / n", clarify, DRIFT_CLARIFY_CI),
    FACET("difference_in_proportions_of_labels", "rates of favourable labels", clarify, DRIFT_CLARIFY_DPL),
    FACET("kl_divergence", "of labels, in nats", clarify, DRIFT_CLARIFY_KL),
    FACET("js_divergence", "of labels, in nats", clarify, DRIFT_CLARIFY_JS),
    FACET("lp_norm", "L2 norm of the difference of label distributions", clarify, DRIFT_CLARIFY_LP),
    FACET("total_variation_distance", "of labels", clarify, DRIFT_CLARIFY_TVD),
    FACET("kolmogorov_smirnov", "largest difference of a label's share", clarify, DRIFT_CLARIFY_KS),
    FACET("conditional_demographic_disparity_in_labels", "share of the rejected less share of the accepted, by strata",
          conditional_disparity, 0),
    FACET("conditional_demographic_disparity", "the same by predictions", conditional_disparity, 1),
    {NULL, NULL, DRIFT_METRIC_INDEX, DRIFT_CONVENTION_ROWS, NULL, 0, NULL}};

static const gchar *const convention_texts[] = {
    [DRIFT_CONVENTION_BETWEEN] = "highest - lowest group (fairlearn)",
    [DRIFT_CONVENTION_REFERENCE] = "group - reference group (aif360), the farthest group",
    [DRIFT_CONVENTION_FACET] = "rest - group (Clarify), the farthest group",
    [DRIFT_CONVENTION_ROWS] = "over all rows",
};

const gchar *drift_metric_convention_text(DriftMetricConvention convention)
{
  return convention_texts[convention];
}

/* Other names of the same figure. */
static const struct {
  const gchar *alias, *name;
} aliases[] = {{"tpr_difference", "equal_opportunity_difference"},
               {"tpr_ratio", "equal_opportunity_ratio"},
               {"precision_difference", "predictive_parity_difference"},
               {"precision_ratio", "predictive_parity_ratio"},
               {"selection_rate_difference", "demographic_parity_difference"},
               {"selection_rate_ratio", "demographic_parity_ratio"}};

const DriftFairnessMetric *drift_fairness_metric_find(const gchar *name)
{
  for (guint i = 0; i < G_N_ELEMENTS(aliases); i++)
    if (strcmp(aliases[i].alias, name) == 0) name = aliases[i].name;
  for (const DriftFairnessMetric *metric = drift_fairness_metrics; metric->name != NULL; metric++)
    if (strcmp(metric->name, name) == 0) return metric;
  return NULL;
}

void drift_fairness_metric_compute(const DriftFairnessMetric *metric, const DriftFairness *fairness,
                                   DriftFairnessValue *value)
{
  metric->compute(metric, fairness, value);
}

static gboolean beyond(const DriftFairnessMetric *metric, double value, double bound)
{
  if (metric->form != DRIFT_METRIC_RATIO) return fabs(value) > bound;
  double least = fmin(bound, 1 / bound);
  return value < least || value > 1 / least;
}

gboolean drift_fairness_metric_breaches(const DriftFairnessMetric *metric, const DriftFairnessValue *value,
                                        double bound, gboolean *certain)
{
  /* An interval is beyond when both ends are, on the same side. */
  gboolean ratio = metric->form == DRIFT_METRIC_RATIO;
  gboolean same_side = ratio ? (value->low > 1) == (value->high > 1) : (value->low > 0) == (value->high > 0);
  *certain = same_side && beyond(metric, value->low, bound) && beyond(metric, value->high, bound);
  return beyond(metric, value->value, bound);
}
