/* Confusion counts by group, rates and their comparison by pairs. */
#include "drift/fairness_internal.h"

#include <math.h>

#include "drift/statistics.h"

enum { TP = 1, FP = 2, FN = 4, TN = 8, ALL = 15 };

/* Why there is no rate: of a group, and of the reference group. */
#define NO_ROWS "no row (n = 0)", "no row of the reference group (n = 0)"
#define NO_POSITIVES                                                                                                   \
  "no row is labelled favourable (n = 0)", "no row of the reference group is labelled favourable (n = 0)"
#define NO_NEGATIVES                                                                                                   \
  "no row is labelled unfavourable (n = 0)", "no row of the reference group is labelled unfavourable (n = 0)"
#define NONE_SELECTED                                                                                                  \
  "no row is predicted favourable (n = 0)", "no row of the reference group is predicted favourable (n = 0)"
#define NONE_REJECTED                                                                                                  \
  "no row is predicted unfavourable (n = 0)", "no row of the reference group is predicted unfavourable (n = 0)"

const DriftFairnessRate drift_fairness_rates[DRIFT_N_RATES] = {
    {"base_rate", "share labelled favourable", NO_ROWS, TP | FN, ALL},
    {"selection_rate", "share predicted favourable", NO_ROWS, TP | FP, ALL},
    {"accuracy", "share predicted right", NO_ROWS, TP | TN, ALL},
    {"error_rate", "share predicted wrong", NO_ROWS, FP | FN, ALL},
    {"tpr", "of those labelled favourable, share predicted so", NO_POSITIVES, TP, TP | FN},
    {"fnr", "of those labelled favourable, share missed", NO_POSITIVES, FN, TP | FN},
    {"fpr", "of those labelled unfavourable, share predicted favourable", NO_NEGATIVES, FP, FP | TN},
    {"tnr", "of those labelled unfavourable, share predicted so", NO_NEGATIVES, TN, FP | TN},
    {"precision", "of those predicted favourable, share labelled so", NONE_SELECTED, TP, TP | FP},
    {"false_discovery_rate", "of those predicted favourable, share labelled unfavourable", NONE_SELECTED, FP, TP | FP},
    {"negative_predictive_value", "of those predicted unfavourable, share labelled so", NONE_REJECTED, TN, FN | TN},
    {"false_omission_rate", "of those predicted unfavourable, share labelled favourable", NONE_REJECTED, FN, FN | TN},
};

guint64 drift_confusion_count(const DriftConfusion *counts, guint8 cells)
{
  return (cells & TP ? counts->tp : 0) + (cells & FP ? counts->fp : 0) + (cells & FN ? counts->fn : 0) +
         (cells & TN ? counts->tn : 0);
}

guint64 drift_confusion_total(const DriftConfusion *counts)
{
  return drift_confusion_count(counts, ALL);
}

void drift_confusion_add(DriftConfusion *sum, const DriftConfusion *counts)
{
  sum->tp += counts->tp;
  sum->fp += counts->fp;
  sum->fn += counts->fn;
  sum->tn += counts->tn;
}

DriftFairnessValue drift_fairness_undefined(const gchar *reason, guint64 n)
{
  return (DriftFairnessValue){
      .value = NAN, .low = NAN, .high = NAN, .n = n, .undefined = reason, .group = -1, .other = -1};
}

void drift_fairness_settings_init(DriftFairnessSettings *settings)
{
  *settings = (DriftFairnessSettings){.confidence = .95, .minimum_group = 30, .reference = -1, .empty_rate = NAN};
}

/* --- one group ---------------------------------------------------------------------------------------------------- */

void drift_fairness_rate(const DriftConfusion *counts, DriftFairnessRateKind rate,
                         const DriftFairnessSettings *settings, DriftFairnessValue *value)
{
  const DriftFairnessRate *kind = &drift_fairness_rates[rate];
  guint64 n = drift_confusion_count(counts, kind->denominator), hits = drift_confusion_count(counts, kind->numerator);
  *value = drift_fairness_undefined(kind->empty, n);
  if (n == 0) {
    value->value = settings->empty_rate;
    if (!isnan(settings->empty_rate)) value->undefined = NULL;
    return;
  }
  value->undefined = NULL;
  value->value = (double)hits / (double)n;
  drift_wilson_interval((double)hits, (double)n, settings->confidence, &value->low, &value->high);
}

/* --- two groups --------------------------------------------------------------------------------------------------- */

/* Both rates; FALSE with *value undefined when one is. */
static gboolean rate_pair(const DriftConfusion *group, const DriftConfusion *reference, DriftFairnessRateKind rate,
                          const DriftFairnessSettings *settings, DriftFairnessValue pair[2], DriftFairnessValue *value)
{
  drift_fairness_rate(group, rate, settings, &pair[0]);
  drift_fairness_rate(reference, rate, settings, &pair[1]);
  const gchar *reason = pair[0].undefined;
  if (reason == NULL && pair[1].undefined != NULL) reason = drift_fairness_rates[rate].empty_reference;
  *value = drift_fairness_undefined(reason, pair[0].n + pair[1].n);
  return reason == NULL;
}

void drift_fairness_difference(const DriftConfusion *group, const DriftConfusion *reference, DriftFairnessRateKind rate,
                               const DriftFairnessSettings *settings, DriftFairnessValue *value)
{
  DriftFairnessValue pair[2];
  if (!rate_pair(group, reference, rate, settings, pair, value)) return;
  value->value = pair[0].value - pair[1].value;
  if (pair[0].n == 0 || pair[1].n == 0) return;
  guint8 hits = drift_fairness_rates[rate].numerator;
  drift_difference_interval((double)drift_confusion_count(group, hits), (double)pair[0].n,
                            (double)drift_confusion_count(reference, hits), (double)pair[1].n, settings->confidence,
                            &value->low, &value->high);
}

void drift_fairness_ratio(const DriftConfusion *group, const DriftConfusion *reference, DriftFairnessRateKind rate,
                          const DriftFairnessSettings *settings, DriftFairnessValue *value)
{
  DriftFairnessValue pair[2];
  if (!rate_pair(group, reference, rate, settings, pair, value)) return;
  if (pair[1].value == 0) {
    value->undefined = "the reference group's rate, which it would be divided by, is 0";
    return;
  }
  value->value = pair[0].value / pair[1].value;
  if (pair[0].n == 0 || pair[1].n == 0) return;
  guint8 hits = drift_fairness_rates[rate].numerator;
  drift_ratio_interval((double)drift_confusion_count(group, hits), (double)pair[0].n,
                       (double)drift_confusion_count(reference, hits), (double)pair[1].n, settings->confidence,
                       &value->low, &value->high);
  value->low = fmin(value->low, value->value);
  value->high = fmax(value->high, value->value);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static gboolean check_settings(const DriftFairnessRows *rows, const DriftGrouping *grouping,
                               const DriftFairnessSettings *settings, GError **error)
{
  if (rows->n != grouping->n_rows)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "groups of %" G_GUINT64_FORMAT " rows for a table of %" G_GUINT64_FORMAT " rows", grouping->n_rows,
                rows->n);
  else if (!(settings->confidence > 0 && settings->confidence < 1))
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "confidence %g: it lies between 0 and 1",
                settings->confidence);
  else if (settings->reference >= (gint)grouping->n_groups)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "reference group %d of %u groups", settings->reference,
                grouping->n_groups);
  else
    return TRUE;
  return FALSE;
}

static void count_rows(DriftFairness *fairness)
{
  const DriftFairnessRows *rows = fairness->rows;
  for (guint64 i = 0; i < rows->n; i++) {
    guint32 code = fairness->grouping->group[i];
    if (code == DRIFT_GROUP_NONE || rows->label[i] < 0 || drift_fairness_rows_prediction(rows, i) < 0) {
      fairness->n_left_out++;
      continue;
    }
    DriftConfusion *group = &fairness->groups[code];
    guint64 *cell = drift_fairness_rows_prediction(rows, i) ? (rows->label[i] ? &group->tp : &group->fp)
                                                            : (rows->label[i] ? &group->fn : &group->tn);
    (*cell)++;
  }
}

gboolean drift_fairness_is_compared(const DriftFairness *fairness, guint group)
{
  return drift_confusion_total(&fairness->groups[group]) >= MAX(fairness->settings.minimum_group, 1);
}

static void choose_reference(DriftFairness *fairness)
{
  for (guint i = 0; fairness->settings.reference < 0 && i < fairness->n_groups; i++)
    if (drift_confusion_total(&fairness->groups[i]) > drift_confusion_total(&fairness->groups[fairness->reference]))
      fairness->reference = i;
  if (fairness->settings.reference >= 0) fairness->reference = (guint)fairness->settings.reference;
}

DriftFairness *drift_fairness_new(const DriftFairnessRows *rows, const DriftGrouping *grouping,
                                  const DriftFairnessSettings *settings, GError **error)
{
  if (!check_settings(rows, grouping, settings, error)) return NULL;
  g_autoptr(DriftFairness) fairness = g_new0(DriftFairness, 1);
  *fairness = (DriftFairness){.rows = rows,
                              .grouping = grouping,
                              .settings = *settings,
                              .n_groups = grouping->n_groups,
                              .groups = g_new0(DriftConfusion, grouping->n_groups)};
  count_rows(fairness);
  for (guint i = 0; i < fairness->n_groups; i++) drift_confusion_add(&fairness->overall, &fairness->groups[i]);
  if (drift_confusion_total(&fairness->overall) == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED,
                "no row has a label, a prediction and a value of %s: nothing to compare", grouping->attribute);
    return NULL;
  }
  choose_reference(fairness);
  return g_steal_pointer(&fairness);
}

void drift_fairness_free(DriftFairness *fairness)
{
  if (fairness == NULL) return;
  g_free(fairness->groups);
  g_free(fairness);
}
