/* Windows of label panes judged for performance and bias. */
#include <math.h>

#include "daemon/leader_window.h"

static double real_of(const json_t *json, const gchar *key)
{
  return json_number_value(json_object_get(json, key));
}

static void append_pair(GString *text, const json_t *bias)
{
  g_string_append_printf(
      text, "%s%s of %s: %s %.3f [%.3f, %.3f] (n = %lld) against %s %.3f [%.3f, %.3f] (n = %lld): %.3f [%.3f, %.3f]",
      text->len ? "; " : "", json_string_value(json_object_get(bias, "metric")),
      json_string_value(json_object_get(bias, "attribute")), json_string_value(json_object_get(bias, "group")),
      real_of(bias, "rate_group"), real_of(bias, "rate_group_low"), real_of(bias, "rate_group_high"),
      json_integer_value(json_object_get(bias, "n_group")), json_string_value(json_object_get(bias, "reference_group")),
      real_of(bias, "rate_reference"), real_of(bias, "rate_reference_low"), real_of(bias, "rate_reference_high"),
      json_integer_value(json_object_get(bias, "n_reference")), real_of(bias, "value"), real_of(bias, "low"),
      real_of(bias, "high"));
}

/* The breaches, and a summary that names for each metric and attribute the group with the most rows behind it. */
static json_t *bias_causes(const json_t *verdict, gboolean *found, gchar **summary)
{
  json_t *causes = json_array(), *shown = json_object(), *bias;
  size_t i;
  const char *key;
  json_array_foreach (json_object_get(verdict, "bias_verdicts"), i, bias) {
    if (!json_is_true(json_object_get(bias, "breach"))) continue;
    json_array_append(causes, bias);
    g_autofree gchar *name = g_strdup_printf("%s of %s", json_string_value(json_object_get(bias, "metric")),
                                             json_string_value(json_object_get(bias, "attribute")));
    const json_t *other = json_object_get(shown, name);
    if (!other ||
        json_integer_value(json_object_get(bias, "n_group")) > json_integer_value(json_object_get(other, "n_group")))
      json_object_set(shown, name, bias);
  }
  GString *text = g_string_new(NULL);
  json_object_foreach (shown, key, bias) append_pair(text, bias);
  json_decref(shown);
  *summary = g_string_free(text, FALSE);
  *found = json_array_size(causes) > 0;
  return causes;
}

static void show_performance(const LeaderModel *model, LeaderContext *context, const DriftWindowVerdict *verdict)
{
  if (!context->metrics) return;
  g_autofree gchar *labels = metrics_label("model", model->name, NULL);
  metrics_add(context->metrics, "kedge_verdicts_total", labels, 1);
  if (!isnan(verdict->performance.accuracy))
    metrics_set(context->metrics, "kedge_accuracy", labels, verdict->performance.accuracy);
  for (guint i = 0; i < verdict->bias_verdicts->len; i++) {
    const DriftBiasVerdict *bias = g_ptr_array_index(verdict->bias_verdicts, i);
    if (!g_str_equal(bias->metric, "disparate_impact") || isnan(bias->value)) continue;
    g_autofree gchar *pair =
        metrics_label("model", model->name, "attribute", bias->attribute, "group", bias->group, NULL);
    metrics_set(context->metrics, "kedge_disparate_impact", pair, bias->value);
  }
}

gboolean leader_judge_performance(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                                  GError **error)
{
  guint n = model->performance_panes, target = settings->window.events > 0 ? settings->window.events : 1000;
  const LeaderRows *panes = &g_array_index(model->rows, LeaderRows, model->rows->len - n);
  gint64 n_rows = 0;
  for (guint i = 0; i < n; i++) n_rows += panes[i].next_row - panes[i].first_row;
  if (n_rows < target) return TRUE;
  const gchar *missing = NULL;
  if (!leader_model_load_profile(model, context, &missing, error)) return FALSE;
  model->performance_panes = 0;
  if (missing) return TRUE;
  DriftWindowSettings window_settings;
  window_settings_for(settings, (double)n_rows, 0, &window_settings);
  g_autoptr(GArray) rows = window_label_rows(context->store, model->name, panes, n, error);
  g_autoptr(DriftAccumulator) empty = rows ? drift_accumulator_new(model->grid) : NULL;
  g_autoptr(DriftWindowVerdict) verdict =
      rows ? drift_window_evaluate(model->profile, empty, (const DriftLabelRow *)(void *)rows->data, rows->len,
                                   &window_settings, error)
           : NULL;
  if (!verdict) return FALSE;
  gint64 number = model->counters.performance_windows++, event_time = panes[n - 1].time;
  json_t *body = window_body(verdict, &window_settings, rows->len,
                             rows->len ? g_array_index(rows, DriftLabelRow, 0).label_time : 0, 1, TRUE);
  g_autofree gchar *inputs = window_inputs(model, &window_settings, 1), *id = NULL, *summary = NULL;
  gboolean found = FALSE;
  json_t *causes = bias_causes(body, &found, &summary);
  gboolean good = window_put_verdict(model, context, "performance", number, event_time, FALSE,
                                     window_label_panes_to_json(panes, n), inputs, body, &id, error);
  LeaderFinding finding = {"bias", summary, id, found, WINDOW_CLEAR_AFTER, number, event_time, 0};
  json_t *incident = json_pack("{s:o, s:{s:I, s:I}}", "causes", causes, "change_point", "window", (json_int_t)number,
                               "time", (json_int_t)panes[0].time);
  if (json_object_get(body, "slices")) json_object_set(incident, "slices", json_object_get(body, "slices"));
  if (good)
    good = leader_follow_incident(model, context, &finding, incident, error);
  else
    json_decref(incident);
  json_decref(body);
  if (good) show_performance(model, context, verdict);
  return good;
}
