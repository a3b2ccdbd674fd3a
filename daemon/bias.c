/* The report of `kedge bias`. */
#include "daemon/bias.h"

#include <math.h>
#include <string.h>

#include "daemon/bias_data.h"
#include "drift/fairness.h"
#include "pipeline/error.h"

static json_t *real_or_null(double number)
{
  return isfinite(number) ? json_real(number) : json_null();
}

static json_t *value_json(const DriftFairnessValue *value)
{
  json_t *object = json_pack("{s:o, s:o, s:o, s:I}", "value", real_or_null(value->value), "low",
                             real_or_null(value->low), "high", real_or_null(value->high), "n", (json_int_t)value->n);
  if (value->undefined != NULL) json_object_set_new(object, "undefined", json_string(value->undefined));
  return object;
}

/* --- one group ---------------------------------------------------------------------------------------------------- */

static json_t *rates_json(const DriftConfusion *counts, const DriftFairnessSettings *settings)
{
  json_t *rates = json_object();
  for (guint rate = 0; rate < DRIFT_N_RATES; rate++) {
    DriftFairnessValue value;
    drift_fairness_rate(counts, rate, settings, &value);
    json_object_set_new(rates, drift_fairness_rates[rate].name, value_json(&value));
  }
  return rates;
}

static json_t *confusion_json(const DriftConfusion *counts)
{
  return json_pack("{s:I, s:I, s:I, s:I}", "tp", (json_int_t)counts->tp, "fp", (json_int_t)counts->fp, "fn",
                   (json_int_t)counts->fn, "tn", (json_int_t)counts->tn);
}

static json_t *reference_json(const DriftFairness *fairness, guint group)
{
  json_t *comparison = json_object();
  for (guint rate = 0; rate < DRIFT_N_RATES; rate++) {
    DriftFairnessValue difference, ratio;
    const DriftConfusion *reference = &fairness->groups[fairness->reference];
    drift_fairness_difference(&fairness->groups[group], reference, rate, &fairness->settings, &difference);
    drift_fairness_ratio(&fairness->groups[group], reference, rate, &fairness->settings, &ratio);
    json_object_set_new(comparison, drift_fairness_rates[rate].name,
                        json_pack("{s:o, s:o}", "difference", value_json(&difference), "ratio", value_json(&ratio)));
  }
  return comparison;
}

static json_t *scores_json(const DriftGroupScores *scores)
{
  json_t *bins = json_array();
  for (guint b = 0; b < DRIFT_CALIBRATION_BINS; b++) {
    json_t *bin = value_json(&scores->bins[b].observed);
    json_object_set_new(bin, "mean_score", real_or_null(scores->bins[b].mean_score));
    json_array_append_new(bins, bin);
  }
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)scores->n, "auc", value_json(&scores->auc),
                   "calibration_gap", value_json(&scores->gap), "expected_calibration_error",
                   value_json(&scores->error), "brier", value_json(&scores->brier), "calibration", bins);
}

static json_t *clarify_json(const DriftFairness *fairness, guint group)
{
  DriftFairnessValue values[DRIFT_N_CLARIFY], disparity;
  json_t *clarify = json_object();
  drift_fairness_clarify(fairness, group, values);
  for (guint i = 0; i < DRIFT_N_CLARIFY; i++)
    json_object_set_new(clarify, drift_clarify_metrics[i].name, value_json(&values[i]));
  drift_fairness_conditional_disparity(fairness, group, TRUE, &disparity);
  json_object_set_new(clarify, "CDDPL", value_json(&disparity));
  return clarify;
}

static json_t *group_json(const DriftFairness *fairness, guint group, const DriftGroupScores *scores)
{
  const DriftConfusion *counts = &fairness->groups[group];
  json_t *object =
      json_pack("{s:s, s:I, s:b, s:o, s:o}", "name", fairness->grouping->names[group], "n",
                (json_int_t)drift_confusion_total(counts), "compared", drift_fairness_is_compared(fairness, group),
                "confusion", confusion_json(counts), "rates", rates_json(counts, &fairness->settings));
  if (group != fairness->reference) json_object_set_new(object, "to_reference", reference_json(fairness, group));
  if (scores != NULL) json_object_set_new(object, "scores", scores_json(&scores[group]));
  json_object_set_new(object, "clarify", clarify_json(fairness, group));
  return object;
}

/* --- one grouping ------------------------------------------------------------------------------------------------- */

static json_t *between_json(const DriftFairness *fairness)
{
  json_t *between = json_object();
  for (guint rate = 0; rate < DRIFT_N_RATES; rate++) {
    DriftFairnessRange range;
    drift_fairness_between(fairness, rate, &range);
    json_t *object = json_pack("{s:o, s:o, s:i}", "difference", value_json(&range.difference), "ratio",
                               value_json(&range.ratio), "groups_left_out", (int)range.n_left_out);
    if (range.difference.undefined == NULL) {
      json_object_set_new(object, "highest", json_string(fairness->grouping->names[range.highest]));
      json_object_set_new(object, "lowest", json_string(fairness->grouping->names[range.lowest]));
    }
    json_object_set_new(between, drift_fairness_rates[rate].name, object);
  }
  return between;
}

static json_t *metrics_json(const DriftFairness *fairness)
{
  json_t *metrics = json_object();
  for (const DriftFairnessMetric *metric = drift_fairness_metrics; metric->name != NULL; metric++) {
    DriftFairnessValue value;
    drift_fairness_metric_compute(metric, fairness, &value);
    json_t *object = value_json(&value);
    json_object_set_new(object, "meaning", json_string(metric->meaning));
    json_object_set_new(object, "convention", json_string(drift_metric_convention_text(metric->convention)));
    if (value.undefined == NULL && value.group >= 0)
      json_object_set_new(object, "group", json_string(fairness->grouping->names[value.group]));
    if (value.undefined == NULL && value.other >= 0)
      json_object_set_new(object, "other_group", json_string(fairness->grouping->names[value.other]));
    json_object_set_new(metrics, metric->name, object);
  }
  return metrics;
}

static json_t *grouping_json(const DriftFairness *fairness)
{
  g_autofree DriftGroupScores *scores = drift_fairness_scores(fairness);
  json_t *groups = json_array();
  for (guint i = 0; i < fairness->n_groups; i++) json_array_append_new(groups, group_json(fairness, i, scores));
  json_t *overall =
      json_pack("{s:I, s:o, s:o}", "n", (json_int_t)drift_confusion_total(&fairness->overall), "confusion",
                confusion_json(&fairness->overall), "rates", rates_json(&fairness->overall, &fairness->settings));
  return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "attribute", fairness->grouping->attribute, "reference",
                   fairness->grouping->names[fairness->reference], "left_out", (json_int_t)fairness->n_left_out,
                   "overall", overall, "groups", groups, "between_groups", between_json(fairness), "metrics",
                   metrics_json(fairness));
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

/* One bound on one grouping; TRUE when it is not kept: beyond, or undefined and so not shown to hold. */
static gboolean check_bound(const BiasBound *bound, const DriftFairness *fairness, gboolean need_certain, json_t *list)
{
  DriftFairnessValue value;
  gboolean certain = FALSE;
  drift_fairness_metric_compute(bound->metric, fairness, &value);
  gboolean beyond = drift_fairness_metric_breaches(bound->metric, &value, bound->value, &certain);
  gboolean breached = value.undefined != NULL || (need_certain ? certain : beyond);
  json_t *object = value_json(&value);
  json_object_set_new(object, "metric", json_string(bound->metric->name));
  json_object_set_new(object, "attribute", json_string(fairness->grouping->attribute));
  json_object_set_new(object, "bound", json_real(bound->value));
  json_object_set_new(object, "breached", json_boolean(breached));
  json_object_set_new(object, "certain", json_boolean(certain));
  json_array_append_new(list, object);
  return breached;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

typedef struct {
  const BiasRequest *request;
  const BiasData *data;
  GArray *bounds;           /* of BiasBound */
  json_t *groupings, *kept; /* of the report */
  gboolean breached;
} Work;

/* The attributes whose bits are set in `members`. */
static gboolean measure_members(Work *work, guint members, GError **error)
{
  const BiasRequest *request = work->request;
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  for (guint i = 0; request->sensitive[i] != NULL; i++)
    if (members >> i & 1) g_ptr_array_add(columns, drift_table_get_column(request->data, request->sensitive[i]));
  g_autoptr(DriftGrouping) grouping =
      drift_grouping_new((const DriftColumn *const *)columns->pdata, columns->len, request->data->n_rows, error);
  if (grouping == NULL) return FALSE;
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.confidence = request->confidence;
  settings.minimum_group = (guint64)request->minimum_group;
  if (!bias_find_reference(request, grouping, &settings.reference, error)) return FALSE;
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&work->data->rows, grouping, &settings, error);
  if (fairness == NULL) return FALSE;
  json_array_append_new(work->groupings, grouping_json(fairness));
  for (guint i = 0; i < work->bounds->len; i++)
    work->breached |= check_bound(&g_array_index(work->bounds, BiasBound, i), fairness, request->certain, work->kept);
  return TRUE;
}

/* Single attributes first, then pairs, then more. */
static gboolean measure_all(Work *work, GError **error)
{
  guint n = g_strv_length((gchar **)work->request->sensitive);
  for (gint size = 1; size <= (gint)n; size++)
    for (guint members = 1; members < 1u << n; members++)
      if (__builtin_popcount(members) == size && !measure_members(work, members, error)) return FALSE;
  return TRUE;
}

json_t *bias_report(const BiasRequest *request, GError **error)
{
  g_autoptr(GArray) bounds = bias_parse_bounds(request->bounds, error);
  if (bounds == NULL || !bias_check_columns(request, error)) return NULL;
  BiasData data = {0};
  json_t *report = NULL;
  Work work = {.request = request, .data = &data, .bounds = bounds, .groupings = json_array(), .kept = json_array()};
  if (bias_data_read(request, &data, error) && measure_all(&work, error))
    report = json_pack("{s:s, s:I, s:s, s:s, s:s*, s:s*, s:s, s:f, s:i, s:O, s:O, s:b}", "data", request->data_name,
                       "rows", (json_int_t)request->data->n_rows, "label", request->label, "prediction",
                       request->prediction, "score", request->score, "strata", request->strata, "favourable",
                       data.favourable, "confidence", request->confidence, "minimum_group", request->minimum_group,
                       "groupings", work.groupings, "bounds", work.kept, "breached", work.breached);
  json_decref(work.groupings);
  json_decref(work.kept);
  bias_data_clear(&data);
  if (report == NULL && error != NULL && *error == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: names that are not UTF-8", request->data_name);
  return report;
}
