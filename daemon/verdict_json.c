/* Verdicts as JSON. */
#include <math.h>

#include "daemon/leader_internal.h"
#include "drift/bias.h"

json_t *verdict_number(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

gchar *verdict_dump(const json_t *json)
{
  char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
  gchar *copy = g_strdup(text);
  free(text);
  return copy;
}

static json_t *count(guint64 value)
{
  return json_integer((json_int_t)value);
}

static json_t *feature_to_json(const DriftFeatureVerdict *f)
{
  json_t *json = json_object();
  json_object_set_new(json, "feature", json_string(f->feature));
  json_object_set_new(json, "kind", json_string(f->kind));
  json_object_set_new(json, "n_reference", count(f->n_reference));
  json_object_set_new(json, "n_window", count(f->n_window));
  json_object_set_new(json, "test", json_string(f->test ? f->test : "undefined"));
  json_object_set_new(json, "p", verdict_number(f->p));
  json_object_set_new(json, "p_adjusted", verdict_number(f->p_adjusted));
  json_object_set_new(json, "effect", verdict_number(f->effect));
  json_object_set_new(json, "inflation", verdict_number(f->inflation));
  json_object_set_new(json, "dependence", json_string(f->dependence));
  json_object_set_new(json, "ks", verdict_number(f->ks));
  json_object_set_new(json, "ks_p", verdict_number(f->ks_p));
  json_object_set_new(json, "psi", verdict_number(f->psi));
  json_object_set_new(json, "psi_p", verdict_number(f->psi_p));
  json_object_set_new(json, "js", verdict_number(f->js));
  json_object_set_new(json, "js_p", verdict_number(f->js_p));
  json_object_set_new(json, "chi_squared", verdict_number(f->chi_squared));
  json_object_set_new(json, "chi_squared_df", json_integer(f->chi_squared_df));
  json_object_set_new(json, "chi_squared_p", verdict_number(f->chi_squared_p));
  json_object_set_new(json, "missing_reference", verdict_number(f->missing_reference));
  json_object_set_new(json, "missing_window", verdict_number(f->missing_window));
  json_object_set_new(json, "unseen_window", verdict_number(f->unseen_window));
  json_object_set_new(json, "out_of_range_window", verdict_number(f->out_of_range_window));
  json_object_set_new(json, "mean_reference", verdict_number(f->mean_reference));
  json_object_set_new(json, "mean_window", verdict_number(f->mean_window));
  json_object_set_new(json, "drift", json_boolean(f->drift));
  json_object_set_new(json, "quality", json_boolean(f->quality));
  return json;
}

static json_t *bias_to_json(const DriftBiasVerdict *b)
{
  json_t *json = json_object();
  json_object_set_new(json, "metric", json_string(b->metric));
  json_object_set_new(json, "attribute", json_string(b->attribute));
  json_object_set_new(json, "group", json_string(b->group));
  json_object_set_new(json, "reference_group", b->reference_group ? json_string(b->reference_group) : json_null());
  json_object_set_new(json, "n_group", count(b->n_group));
  json_object_set_new(json, "n_reference", count(b->n_reference));
  json_object_set_new(json, "rate_group", verdict_number(b->rate_group));
  json_object_set_new(json, "rate_group_low", verdict_number(b->rate_group_low));
  json_object_set_new(json, "rate_group_high", verdict_number(b->rate_group_high));
  json_object_set_new(json, "rate_reference", verdict_number(b->rate_reference));
  json_object_set_new(json, "rate_reference_low", verdict_number(b->rate_reference_low));
  json_object_set_new(json, "rate_reference_high", verdict_number(b->rate_reference_high));
  json_object_set_new(json, "value", verdict_number(b->value));
  json_object_set_new(json, "low", verdict_number(b->low));
  json_object_set_new(json, "high", verdict_number(b->high));
  json_object_set_new(json, "undefined", b->undefined ? json_string(b->undefined) : json_null());
  json_object_set_new(json, "breach", json_boolean(b->breach));
  return json;
}

static json_t *performance_to_json(const DriftPerformance *p)
{
  json_t *json = json_object();
  json_object_set_new(json, "n", count(p->n));
  json_object_set_new(json, "accuracy", verdict_number(p->accuracy));
  json_object_set_new(json, "accuracy_low", verdict_number(p->accuracy_low));
  json_object_set_new(json, "accuracy_high", verdict_number(p->accuracy_high));
  json_object_set_new(json, "auc", verdict_number(p->auc));
  json_object_set_new(json, "log_loss", verdict_number(p->log_loss));
  json_object_set_new(json, "mae", verdict_number(p->mae));
  json_object_set_new(json, "rmse", verdict_number(p->rmse));
  return json;
}

json_t *verdict_window_to_json(const DriftWindowVerdict *verdict, const DriftWindowSettings *settings)
{
  json_t *features = json_array(), *bias = json_array(), *json = json_object();
  for (guint i = 0; i < verdict->features->len; i++)
    json_array_append_new(features, feature_to_json(g_ptr_array_index(verdict->features, i)));
  for (guint i = 0; i < verdict->bias_verdicts->len; i++)
    json_array_append_new(bias, bias_to_json(g_ptr_array_index(verdict->bias_verdicts, i)));
  json_object_set_new(json, "drift", json_boolean(verdict->drift));
  json_object_set_new(json, "quality", json_boolean(verdict->quality));
  json_object_set_new(json, "bias", json_boolean(verdict->bias));
  json_object_set_new(json, "evidence_log", verdict_number(verdict->evidence_log));
  json_object_set_new(json, "evidence_bound", verdict_number(-log(settings->false_discovery_rate)));
  json_object_set_new(json, "features", features);
  json_object_set_new(json, "bias_verdicts", bias);
  json_object_set_new(json, "bias_undefined",
                      verdict->bias_undefined ? json_string(verdict->bias_undefined) : json_null());
  json_object_set_new(json, "performance", performance_to_json(&verdict->performance));
  if (verdict->slices != NULL) {
    json_object_set_new(json, "slices", verdict_slices_to_json(verdict->slices));
    json_object_set_new(json, "dependences", verdict_dependences_to_json(verdict->dependences));
  }
  return json;
}

static json_t *bias_metrics_to_json(guint32 metrics)
{
  json_t *names = json_array();
  for (guint i = 0; drift_bias_metrics[i].name != NULL; i++)
    if (metrics >> i & 1) json_array_append_new(names, json_string(drift_bias_metrics[i].name));
  return names;
}

json_t *verdict_settings_to_json(const DriftWindowSettings *s)
{
  return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:f, s:o, s:i}", "minimum_effect", s->minimum_effect,
                   "false_discovery_rate", s->false_discovery_rate, "quality_level", s->quality_level, "joint_level",
                   s->joint_level, "missing_rate_increase", s->missing_rate_increase, "disparate_impact_bound",
                   s->disparate_impact_bound, "minimum_group", (int)s->minimum_group, "confidence", s->confidence,
                   "bias_metrics", bias_metrics_to_json(s->bias_metrics), "bias_crossed", (int)s->bias_crossed);
}

/* Verdicts from before there was a choice have neither: the default. FALSE: a metric this program does not know. */
static gboolean bias_from_json(const json_t *json, DriftWindowSettings *settings)
{
  const json_t *names = json_object_get(json, "bias_metrics"), *crossed = json_object_get(json, "bias_crossed");
  json_t *name;
  size_t i;
  if (json_is_integer(crossed)) settings->bias_crossed = (guint)json_integer_value(crossed);
  if (!names) return TRUE;
  settings->bias_metrics = 0;
  json_array_foreach (names, i, name) {
    gint index = json_is_string(name) ? drift_bias_metric_find(json_string_value(name)) : -1;
    if (index < 0) return FALSE;
    settings->bias_metrics |= 1u << index;
  }
  return TRUE;
}

/* Verdicts of before there were several levels have one. */
gboolean verdict_settings_from_json(const json_t *json, DriftWindowSettings *settings)
{
  int minimum_group = 0;
  drift_window_settings_init(settings);
  /* Before there were levels of their own, quality was judged at that of drift. */
  const json_t *quality = json_object_get(json, "quality_level"), *joint = json_object_get(json, "joint_level");
  if (json_unpack((json_t *)json, "{s:F, s:F, s:F, s:F, s:i, s:F}", "minimum_effect", &settings->minimum_effect,
                  "false_discovery_rate", &settings->false_discovery_rate, "missing_rate_increase",
                  &settings->missing_rate_increase, "disparate_impact_bound", &settings->disparate_impact_bound,
                  "minimum_group", &minimum_group, "confidence", &settings->confidence) != 0)
    return FALSE;
  settings->minimum_group = (guint)minimum_group;
  settings->quality_level = quality ? json_number_value(quality) : settings->false_discovery_rate;
  settings->joint_level = joint ? json_number_value(joint) : settings->false_discovery_rate;
  return bias_from_json(json, settings);
}

json_t *verdict_step_to_json(const AdaptStep *step)
{
  static const gchar *const trainings[] = {"none", "refit", "retrain"};
  json_t *json = json_object();
  json_object_set_new(json, "alarm", json_boolean(step->alarm));
  json_object_set_new(json, "glr", verdict_number(step->glr));
  json_object_set_new(json, "autocorrelation", verdict_number(step->tau));
  json_object_set_new(json, "threshold", verdict_number(step->threshold));
  json_object_set_new(json, "change_row", step->alarm ? json_integer(step->change_row) : json_null());
  json_object_set_new(json, "n_before", count(step->n_before));
  json_object_set_new(json, "n_after", count(step->n_after));
  json_object_set_new(json, "error_before", verdict_number(step->n_before ? step->error_before : NAN));
  json_object_set_new(json, "error_after", verdict_number(step->n_after ? step->error_after : NAN));
  json_object_set_new(json, "level_alarm", json_boolean(step->level_alarm));
  json_object_set_new(json, "level_error", verdict_number(step->level_error));
  json_object_set_new(json, "level_rows", json_integer(step->level_rows));
  json_object_set_new(json, "level_z", verdict_number(step->level_z));
  json_object_set_new(json, "promise", verdict_number(step->promise));
  json_object_set_new(json, "opened", json_boolean(step->opened));
  json_object_set_new(json, "closed", json_boolean(step->closed));
  json_object_set_new(json, "promote", step->promote ? json_integer(step->promote) : json_null());
  json_object_set_new(json, "promote_why", step->promote ? json_string(step->promote_why) : json_null());
  json_object_set_new(json, "promote_gain", verdict_number(step->promote ? step->promote_gain : NAN));
  json_object_set_new(json, "promote_rows", json_integer(step->promote_rows));
  json_object_set_new(json, "training", json_string(trainings[step->training]));
  json_object_set_new(json, "training_first", step->training ? json_integer(step->training_first) : json_null());
  json_object_set_new(json, "training_next", step->training ? json_integer(step->training_next) : json_null());
  return json;
}

/* The most that a summary names. */
#define SHOWN_CAUSES 3

/* Appends a cause while there is room; counts all. */
static void append_cause(GString *text, guint *n, const gchar *cause)
{
  if (*n < SHOWN_CAUSES) g_string_append_printf(text, "%s%s", *n > 0 ? ", " : "", cause);
  ++*n;
}

static gchar *describe_cause(const DriftFeatureVerdict *f, gboolean quality)
{
  if (quality)
    return g_strdup_printf("%s (missing %.1f %%, unseen %.1f %%, out of range %.1f %%, n = %" G_GUINT64_FORMAT ")",
                           f->feature, 100 * f->missing_window, 100 * f->unseen_window, 100 * f->out_of_range_window,
                           f->n_window);
  g_autofree gchar *p = f->p_adjusted > 0 ? g_strdup_printf("%.2g", f->p_adjusted) : g_strdup("below 1e-300");
  return g_strdup_printf("%s (effect %.3f, adjusted p %s by %s, n = %" G_GUINT64_FORMAT ")", f->feature, f->effect, p,
                         f->test, f->n_window);
}

gchar *verdict_window_summary(const DriftWindowVerdict *verdict, gboolean quality)
{
  GString *text = g_string_new(NULL);
  guint n = 0;
  for (guint i = 0; i < verdict->features->len; i++) {
    const DriftFeatureVerdict *f = g_ptr_array_index(verdict->features, i);
    if (quality ? !f->quality : !f->drift) continue;
    g_autofree gchar *cause = describe_cause(f, quality);
    append_cause(text, &n, cause);
  }
  for (guint i = 0; !quality && verdict->dependences != NULL && i < verdict->dependences->len; i++) {
    const DriftDependence *dependence = g_ptr_array_index(verdict->dependences, i);
    if (!dependence->drift) continue;
    g_autofree gchar *cause = verdict_dependence_text(dependence);
    append_cause(text, &n, cause);
  }
  if (n > SHOWN_CAUSES) g_string_append_printf(text, " and %u more", n - SHOWN_CAUSES);
  return g_string_free(text, FALSE);
}
