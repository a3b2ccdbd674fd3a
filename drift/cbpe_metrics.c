/* The two tables of metrics: of the positive class, and macro means over classes. One more: its functions and a line in
 * each table. Sampling errors: standard error of the mean over the rows that matter to the metric, their share of the
 * reference assumed for the chunk (nannyml/sampling_error). */
#include <math.h>

#include "drift/cbpe_internal.h"
#include "drift/order.h"

typedef double (*Ratio)(const DriftConfusion *confusion);
/* Variance of a row's contribution among the rows that matter, and their share. */
typedef double (*RatioVariance)(const DriftConfusion *confusion, double *share);

static double bernoulli(double ones, double n)
{
  return n > 0 ? ones / n * (1 - ones / n) : NAN;
}

static double total_of(const DriftConfusion *c)
{
  return c->true_positive + c->false_positive + c->false_negative + c->true_negative;
}

static double precision_variance(const DriftConfusion *c, double *share)
{
  double n = c->true_positive + c->false_positive;
  *share = n / total_of(c);
  return bernoulli(c->true_positive, n);
}

static double recall_variance(const DriftConfusion *c, double *share)
{
  double n = c->true_positive + c->false_negative;
  *share = n / total_of(c);
  return bernoulli(c->true_positive, n);
}

static double specificity_variance(const DriftConfusion *c, double *share)
{
  double n = c->true_negative + c->false_positive;
  *share = n / total_of(c);
  return bernoulli(c->true_negative, n);
}

static double f1_variance(const DriftConfusion *c, double *share)
{
  double n = c->true_positive + c->false_positive + c->false_negative;
  *share = n / total_of(c);
  return bernoulli(c->true_positive, n);
}

/* One class: a true positive counts as n over F1's denominator. */
static double f1_variance_binary(const DriftConfusion *c, double *share)
{
  double n = c->true_positive + c->false_positive + c->false_negative;
  double factor = n / (c->true_positive + .5 * (c->false_positive + c->false_negative));
  return f1_variance(c, share) * factor * factor;
}

static double accuracy_variance(const DriftConfusion *c, double *share)
{
  *share = 1;
  return bernoulli(c->true_positive + c->true_negative, total_of(c));
}

/* --- the positive class ------------------------------------------------------------------------------------------- */

static double area_of(CbpeView *view, guint column, gboolean precision)
{
  const guint32 *order = cbpe_view_order(view, column);
  if (order == NULL) return NAN;
  return precision ? drift_expected_average_precision(view->positive[column], view->raw[column], order, view->n,
                                                      !view->realized)
                   : drift_expected_roc_auc(view->positive[column], view->raw[column], order, view->n);
}

/* Ratios are macro means over the score columns: one for two classes. */
static double mean_ratio(CbpeView *view, Ratio ratio, const gchar *reason, const gchar **undefined)
{
  double sum = 0;
  for (guint s = 0; s < view->n_scores; s++) sum += ratio(cbpe_view_confusion(view, s));
  if (isnan(sum)) *undefined = reason;
  return sum / view->n_scores;
}

static double mean_area(CbpeView *view, gboolean precision, const gchar **undefined)
{
  double sum = 0;
  for (guint s = 0; s < view->n_scores; s++) sum += area_of(view, s, precision);
  if (isnan(sum)) *undefined = "a class is not expected in the chunk, or is expected in every row";
  return sum / view->n_scores;
}

/* sqrt(sum over classes of variance / share) / classes. */
static double ratio_error(CbpeView *reference, RatioVariance variance)
{
  double sum = 0, share;
  for (guint s = 0; s < reference->n_scores; s++) {
    double value = variance(cbpe_view_confusion(reference, s), &share);
    sum += value / share;
  }
  return sqrt(sum) / reference->n_scores;
}

#define RATIO(name, reason)                                                                                            \
  static double measure_##name(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined)   \
  {                                                                                                                    \
    (void)settings, (void)element;                                                                                     \
    return mean_ratio(view, drift_confusion_##name, reason, undefined);                                                \
  }
#define RATIO_ERROR(name, variance)                                                                                    \
  static double error_##name(CbpeView *reference, const CbpeSettings *settings, guint element)                         \
  {                                                                                                                    \
    (void)settings, (void)element;                                                                                     \
    return ratio_error(reference, variance);                                                                           \
  }
RATIO(precision, "a class is not predicted in the chunk")
RATIO(recall, "a class is not expected in the chunk")
RATIO(f1, "a class is neither predicted nor expected in the chunk")
RATIO(specificity, "a class is expected in every row of the chunk")
RATIO(accuracy, "the chunk has no rows")
RATIO_ERROR(precision, precision_variance)
RATIO_ERROR(recall, recall_variance)
RATIO_ERROR(f1, f1_variance)
RATIO_ERROR(f1_binary, f1_variance_binary)
RATIO_ERROR(specificity, specificity_variance)
RATIO_ERROR(accuracy, accuracy_variance)

/* The probability of what was predicted; realised: the share of right predictions. */
static double measure_accuracy_of_prediction(CbpeView *view, const CbpeSettings *settings, guint element,
                                             const gchar **undefined)
{
  (void)settings, (void)element;
  double sum = 0;
  for (gsize i = 0; i < view->n; i++) sum += view->positive[view->predicted[i]][i];
  if (view->n == 0) *undefined = "the chunk has no rows";
  return sum / (double)view->n;
}

static double error_accuracy_of_prediction(CbpeView *reference, const CbpeSettings *settings, guint element)
{
  const gchar *undefined;
  double accuracy = measure_accuracy_of_prediction(reference, settings, element, &undefined);
  return sqrt(accuracy * (1 - accuracy));
}

static double measure_roc_auc(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined)
{
  (void)settings, (void)element;
  return mean_area(view, FALSE, undefined);
}

static double error_roc_auc(CbpeView *reference, const CbpeSettings *settings, guint element)
{
  (void)settings, (void)element;
  double sum = 0, share;
  for (guint s = 0; s < reference->n_scores; s++) {
    double variance = cbpe_auc_variance(reference, s, &share);
    sum += variance / share;
  }
  /* nannyml's factor for what the classes' areas have in common */
  return sqrt(sum) / reference->n_scores * (reference->n_scores > 1 ? 1.2 : 1);
}

static double measure_average_precision(CbpeView *view, const CbpeSettings *settings, guint element,
                                        const gchar **undefined)
{
  (void)settings, (void)element;
  return mean_area(view, TRUE, undefined);
}

static double error_average_precision(CbpeView *reference, const CbpeSettings *settings, guint element)
{
  (void)element;
  double sum = 0, sample;
  for (guint s = 0; s < reference->n_scores; s++) {
    double variance = cbpe_ap_variance(reference, s, settings->seed + s, &sample);
    sum += variance * sample;
  }
  return sqrt(sum / reference->n_scores);
}

#define SCORES CBPE_NEEDS_SCORES
#define BOTH (CBPE_NEEDS_SCORES | CBPE_NEEDS_PREDICTION)
#define ONE_ELEMENT NULL, NULL, NULL

#define CONFUSION                                                                                                      \
  cbpe_confusion_measure, cbpe_confusion_error, cbpe_confusion_is_total, cbpe_confusion_name, cbpe_confusion_n_elements
#define BUSINESS cbpe_business_measure, cbpe_business_error, cbpe_business_is_total, NULL, NULL

const CbpeMetric cbpe_binary_metrics[] = {
    {"roc_auc", SCORES, 0, 1, TRUE, measure_roc_auc, error_roc_auc, ONE_ELEMENT},
    {"average_precision", SCORES, 0, 1, TRUE, measure_average_precision, error_average_precision, ONE_ELEMENT},
    {"f1", BOTH, 0, 1, FALSE, measure_f1, error_f1_binary, ONE_ELEMENT},
    {"precision", BOTH, 0, 1, FALSE, measure_precision, error_precision, ONE_ELEMENT},
    {"recall", BOTH, 0, 1, FALSE, measure_recall, error_recall, ONE_ELEMENT},
    {"specificity", BOTH, 0, 1, TRUE, measure_specificity, error_specificity, ONE_ELEMENT},
    {"accuracy", BOTH, 0, 1, TRUE, measure_accuracy, error_accuracy, ONE_ELEMENT},
    {"confusion_matrix", BOTH, 0, INFINITY, TRUE, CONFUSION},
    {"business_value", BOTH, -INFINITY, INFINITY, TRUE, BUSINESS},
    {NULL, 0, 0, 0, FALSE, NULL, NULL, ONE_ELEMENT}};

const CbpeMetric cbpe_multiclass_metrics[] = {
    {"roc_auc", SCORES, 0, 1, TRUE, measure_roc_auc, error_roc_auc, ONE_ELEMENT},
    {"average_precision", SCORES, 0, 1, FALSE, measure_average_precision, error_average_precision, ONE_ELEMENT},
    {"f1", BOTH, 0, 1, FALSE, measure_f1, error_f1, ONE_ELEMENT},
    {"precision", BOTH, 0, 1, FALSE, measure_precision, error_precision, ONE_ELEMENT},
    {"recall", BOTH, 0, 1, FALSE, measure_recall, error_recall, ONE_ELEMENT},
    {"specificity", BOTH, 0, 1, FALSE, measure_specificity, error_specificity, ONE_ELEMENT},
    {"accuracy", BOTH, 0, 1, FALSE, measure_accuracy_of_prediction, error_accuracy_of_prediction, ONE_ELEMENT},
    {"confusion_matrix", BOTH, 0, INFINITY, FALSE, CONFUSION},
    {"business_value", BOTH, -INFINITY, INFINITY, TRUE, BUSINESS},
    {NULL, 0, 0, 0, FALSE, NULL, NULL, ONE_ELEMENT}};
