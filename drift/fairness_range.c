/* What differs between groups: the highest against the lowest, with intervals that pay for the choice of the two. */
#include "drift/fairness_internal.h"

#include <math.h>

#include "drift/distributions.h"
#include "drift/statistics.h"

const gchar *const drift_fairness_too_few = "fewer than two groups are large enough and have a value";

double drift_fairness_pair_confidence(double confidence, guint n)
{
  double pairs = n > 1 ? n * (n - 1) / 2.0 : 1;
  return 1 - (1 - confidence) / pairs;
}

void drift_fairness_absolute(DriftFairnessValue *value)
{
  double low = value->low, high = value->high;
  value->value = fabs(value->value);
  if (isnan(low) || isnan(high)) return;
  value->low = low <= 0 && high >= 0 ? 0 : fmin(fabs(low), fabs(high));
  value->high = fmax(fabs(low), fabs(high));
}

/* The extremes among the defined points; FALSE when fewer than two are. */
static gboolean find_extremes(const DriftFairnessPoint *points, guint n, guint *highest, guint *lowest,
                              guint *n_defined)
{
  *n_defined = 0;
  *highest = *lowest = 0;
  for (guint i = 0; i < n; i++) {
    if (isnan(points[i].value)) continue;
    if ((*n_defined)++ == 0) *highest = *lowest = i;
    if (points[i].value > points[*highest].value) *highest = i;
    if (points[i].value < points[*lowest].value) *lowest = i;
  }
  return *n_defined >= 2;
}

/* All ordered pairs: the true range is the largest of the true differences, so the largest of the lower ends is below
 * it and the largest of the upper ends above it when every pair's interval holds. */
void drift_fairness_spread(const DriftFairnessPoint *points, guint n, DriftFairnessValue *value, guint *highest,
                           guint *lowest, guint *n_defined)
{
  guint64 rows = value->n;
  gboolean intervals = TRUE;
  *value = drift_fairness_undefined(drift_fairness_too_few, rows);
  if (!find_extremes(points, n, highest, lowest, n_defined)) return;
  *value = (DriftFairnessValue){.value = points[*highest].value - points[*lowest].value,
                                .n = rows,
                                .group = (gint)*highest,
                                .other = (gint)*lowest};
  for (guint i = 0; i < n; i++) {
    if (isnan(points[i].value)) continue;
    for (guint j = 0; j < n; j++) {
      if (i == j || isnan(points[j].value)) continue;
      double difference = points[i].value - points[j].value;
      double down = hypot(points[i].value - points[i].low, points[j].high - points[j].value);
      double up = hypot(points[i].high - points[i].value, points[j].value - points[j].low);
      intervals = intervals && !isnan(down + up);
      value->low = fmax(value->low, difference - down);
      value->high = fmax(value->high, difference + up);
    }
  }
  if (!intervals) value->low = value->high = NAN;
}

/* The logarithm of a rate for ratios: with and without the half counts that a pair needs when one side is 0 or all. */
typedef struct {
  double log_rate, variance, log_rate_half, variance_half;
  gboolean corner;
} LogRate;

static LogRate log_rate_of(double hits, double n)
{
  return (LogRate){.log_rate = log(hits / n),
                   .variance = (1 - hits / n) / hits,
                   .log_rate_half = log((hits + .5) / (n + 1)),
                   .variance_half = (1 - (hits + .5) / (n + 1)) / (hits + .5),
                   .corner = hits == 0 || hits == n};
}

/* lowest / highest is the smallest of all the ratios: its ends are the smallest of theirs. */
static void ratio_interval(const LogRate *rates, const DriftFairnessPoint *points, guint n, double z,
                           DriftFairnessValue *ratio)
{
  ratio->low = ratio->high = 1;
  for (guint i = 0; i < n; i++) {
    if (isnan(points[i].value)) continue;
    for (guint j = 0; j < n; j++) {
      if (i == j || isnan(points[j].value)) continue;
      const LogRate *a = &rates[i], *b = &rates[j];
      gboolean half = a->corner || b->corner;
      double middle = half ? a->log_rate_half - b->log_rate_half : a->log_rate - b->log_rate;
      double width = z * sqrt(half ? a->variance_half + b->variance_half : a->variance + b->variance);
      ratio->low = fmin(ratio->low, exp(middle - width));
      ratio->high = fmin(ratio->high, exp(middle + width));
    }
  }
  ratio->low = fmin(ratio->low, ratio->value);
  ratio->high = fmax(ratio->high, ratio->value);
}

static void fill_ratio(const LogRate *rates, const DriftFairnessPoint *points, guint n, gboolean intervals, double z,
                       DriftFairnessRange *range)
{
  double highest = points[range->highest].value, lowest = points[range->lowest].value;
  range->ratio = drift_fairness_undefined("every group's rate is 0", range->difference.n);
  if (highest == 0) return;
  range->ratio.undefined = NULL;
  range->ratio.value = lowest / highest;
  range->ratio.group = (gint)range->lowest;
  range->ratio.other = (gint)range->highest;
  if (intervals) ratio_interval(rates, points, n, z, &range->ratio);
}

void drift_fairness_between_at(const DriftFairness *fairness, DriftFairnessRateKind rate, double confidence,
                               DriftFairnessRange *range)
{
  guint n = fairness->n_groups, n_compared = 0, n_defined;
  DriftFairnessSettings settings = fairness->settings;
  g_autofree DriftFairnessPoint *points = g_new(DriftFairnessPoint, n);
  g_autofree LogRate *rates = g_new0(LogRate, n);
  const DriftFairnessRate *kind = &drift_fairness_rates[rate];
  for (guint i = 0; i < n; i++)
    n_compared +=
        drift_fairness_is_compared(fairness, i) && drift_confusion_count(&fairness->groups[i], kind->denominator) > 0;
  settings.confidence = drift_fairness_pair_confidence(confidence, n_compared);
  *range = (DriftFairnessRange){.ratio = drift_fairness_undefined(drift_fairness_too_few, 0)};
  gboolean intervals = TRUE;
  for (guint i = 0; i < n; i++) {
    DriftFairnessValue value;
    points[i] = (DriftFairnessPoint){NAN, NAN, NAN};
    if (!drift_fairness_is_compared(fairness, i)) continue;
    drift_fairness_rate(&fairness->groups[i], rate, &settings, &value);
    range->difference.n += value.n;
    points[i] = (DriftFairnessPoint){value.value, value.low, value.high};
    if (value.n > 0)
      rates[i] = log_rate_of((double)drift_confusion_count(&fairness->groups[i], kind->numerator), (double)value.n);
    else
      intervals = intervals && isnan(value.value);
  }
  drift_fairness_spread(points, n, &range->difference, &range->highest, &range->lowest, &n_defined);
  range->n_left_out = n - n_defined;
  range->ratio.n = range->difference.n;
  double z = drift_normal_quantile(.5 + settings.confidence / 2);
  if (n_defined >= 2) fill_ratio(rates, points, n, intervals, z, range);
}

void drift_fairness_between(const DriftFairness *fairness, DriftFairnessRateKind rate, DriftFairnessRange *range)
{
  drift_fairness_between_at(fairness, rate, fairness->settings.confidence, range);
}

void drift_fairness_to_overall(const DriftFairness *fairness, DriftFairnessRateKind rate, DriftFairnessRange *range)
{
  DriftFairnessValue overall, value;
  drift_fairness_rate(&fairness->overall, rate, &fairness->settings, &overall);
  *range = (DriftFairnessRange){.difference = drift_fairness_undefined(drift_fairness_too_few, overall.n),
                                .ratio = drift_fairness_undefined(drift_fairness_too_few, overall.n)};
  guint n_defined = 0;
  for (guint i = 0; i < fairness->n_groups; i++) {
    if (!drift_fairness_is_compared(fairness, i)) continue;
    drift_fairness_rate(&fairness->groups[i], rate, &fairness->settings, &value);
    if (isnan(value.value) || isnan(overall.value)) continue;
    double difference = fabs(value.value - overall.value), ratio = value.value / overall.value;
    n_defined++;
    range->difference.value = fmax(range->difference.value, difference);
    range->difference.undefined = range->ratio.undefined = NULL;
    range->ratio.value = fmin(range->ratio.value, fmin(ratio, 1 / ratio));
  }
  if (range->ratio.undefined == NULL && isnan(range->ratio.value)) range->ratio.undefined = "every group's rate is 0";
  range->n_left_out = fairness->n_groups - n_defined;
}
