/* Slices and dependences as JSON: figures, and the sentence that every view shows. */
#include <math.h>

#include "daemon/leader_internal.h"

/* "2.3e-05", or what a p too small for a double is. */
static void append_p(GString *text, double p_adjusted)
{
  if (p_adjusted > 0)
    g_string_append_printf(text, ", adjusted p %.2g", p_adjusted);
  else
    g_string_append(text, ", adjusted p below 1e-300");
}

static void append_share(GString *text, const DriftSlice *s)
{
  g_string_append_printf(text, ": %.1f %% of the rows", 100 * s->window);
  if (s->n_conditions == 2)
    g_string_append_printf(text, " where the changes of %s and of %s alone make %.1f %% (reference %.1f %%; ",
                           s->features[0], s->features[1], 100 * s->other, 100 * s->reference);
  else
    g_string_append_printf(text, " against %.1f %% of the reference (%+.1f points [%.1f, %.1f]; ", 100 * s->reference,
                           100 * s->difference, 100 * s->low, 100 * s->high);
  g_string_append_printf(text,
                         "n = %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", reference %" G_GUINT64_FORMAT
                         " of %" G_GUINT64_FORMAT ")",
                         s->n_window, s->rows_window, s->n_reference, s->rows_reference);
}

static void append_loss(GString *text, const DriftSlice *s)
{
  const gchar *others = s->n_conditions == 2 ? "rows that meet only one of the two" : "the other rows";
  g_string_append_printf(
      text, ": mean loss %.4g against %.4g of %s (difference %.4g [%.4g, %.4g]; n = %" G_GUINT64_FORMAT ")", s->window,
      s->other, others, s->difference, s->low, s->high, s->n_window);
}

static void append_loss_rise(GString *text, const DriftSlice *s)
{
  g_string_append_printf(text, ": mean loss %.4g, %.4g in the reference (%+.4g [%.4g, %.4g]", s->window, s->reference,
                         s->difference, s->low, s->high);
  if (s->n_conditions == 2) g_string_append_printf(text, "; %.4g had it changed as elsewhere", s->other);
  g_string_append_printf(text, "; n = %" G_GUINT64_FORMAT ", reference %" G_GUINT64_FORMAT ")", s->n_window,
                         s->n_reference);
}

static gchar *sentence_of(const DriftSlice *slice)
{
  static void (*const by_kind[DRIFT_N_SLICE_KINDS])(GString *, const DriftSlice *) = {
      [DRIFT_SLICE_SHARE] = append_share, [DRIFT_SLICE_LOSS] = append_loss, [DRIFT_SLICE_LOSS_RISE] = append_loss_rise};
  GString *text = g_string_new(slice->conditions[0]);
  if (slice->n_conditions == 2) g_string_append_printf(text, " and %s", slice->conditions[1]);
  by_kind[slice->kind](text, slice);
  append_p(text, slice->p_adjusted);
  return g_string_free(text, FALSE);
}

static json_t *count(guint64 value)
{
  return json_integer((json_int_t)value);
}

static json_t *slice_to_json(const DriftSlice *s)
{
  json_t *json = json_object(), *features = json_array(), *conditions = json_array();
  for (guint i = 0; i < s->n_conditions; i++) {
    json_array_append_new(features, json_string(s->features[i]));
    json_array_append_new(conditions, json_string(s->conditions[i]));
  }
  g_autofree gchar *text = sentence_of(s);
  json_object_set_new(json, "kind", json_string(drift_slice_kind_name(s->kind)));
  json_object_set_new(json, "features", features);
  json_object_set_new(json, "conditions", conditions);
  json_object_set_new(json, "n_reference", count(s->n_reference));
  json_object_set_new(json, "n_window", count(s->n_window));
  json_object_set_new(json, "rows_reference", count(s->rows_reference));
  json_object_set_new(json, "rows_window", count(s->rows_window));
  json_object_set_new(json, "reference", verdict_number(s->reference));
  json_object_set_new(json, "window", verdict_number(s->window));
  json_object_set_new(json, "other", verdict_number(s->other));
  json_object_set_new(json, "difference", verdict_number(s->difference));
  json_object_set_new(json, "low", verdict_number(s->low));
  json_object_set_new(json, "high", verdict_number(s->high));
  json_object_set_new(json, "effect", verdict_number(s->effect));
  json_object_set_new(json, "p", verdict_number(s->p));
  json_object_set_new(json, "p_adjusted", verdict_number(s->p_adjusted));
  json_object_set_new(json, "text", json_string(text));
  return json;
}

json_t *verdict_slices_to_json(const GPtrArray *slices)
{
  json_t *json = json_array();
  for (guint i = 0; i < slices->len; i++) json_array_append_new(json, slice_to_json(g_ptr_array_index(slices, i)));
  return json;
}

gchar *verdict_dependence_text(const DriftDependence *d)
{
  GString *text = g_string_new(NULL);
  g_string_append_printf(text, "dependence of %s and %s", d->features[0], d->features[1]);
  if (d->undefined != NULL) {
    g_string_append_printf(text, ": undefined, %s", d->undefined);
    return g_string_free(text, FALSE);
  }
  g_string_append_printf(text, ": effect %.3f", d->effect);
  append_p(text, d->p_adjusted);
  g_string_append_printf(text, " by chi-squared (n = %" G_GUINT64_FORMAT ", reference %" G_GUINT64_FORMAT ")",
                         d->n_window, d->n_reference);
  return g_string_free(text, FALSE);
}

static json_t *dependence_to_json(const DriftDependence *d)
{
  g_autofree gchar *text = verdict_dependence_text(d);
  json_t *json = json_object();
  json_object_set_new(json, "features", json_pack("[s, s]", d->features[0], d->features[1]));
  json_object_set_new(json, "n_reference", count(d->n_reference));
  json_object_set_new(json, "n_window", count(d->n_window));
  json_object_set_new(json, "chi_squared", verdict_number(d->chi_squared));
  json_object_set_new(json, "chi_squared_df", verdict_number(d->df));
  json_object_set_new(json, "inflation", verdict_number(d->inflation));
  json_object_set_new(json, "effect", verdict_number(d->effect));
  json_object_set_new(json, "p", verdict_number(d->p));
  json_object_set_new(json, "p_adjusted", verdict_number(d->p_adjusted));
  json_object_set_new(json, "undefined", d->undefined != NULL ? json_string(d->undefined) : json_null());
  json_object_set_new(json, "drift", json_boolean(d->drift));
  json_object_set_new(json, "text", json_string(text));
  return json;
}

json_t *verdict_dependences_to_json(const GPtrArray *dependences)
{
  json_t *json = json_array();
  for (guint i = 0; i < dependences->len; i++)
    json_array_append_new(json, dependence_to_json(g_ptr_array_index(dependences, i)));
  return json;
}

void verdict_add_dependence_causes(const json_t *dependences, json_t *causes)
{
  json_t *dependence;
  size_t i;
  json_array_foreach ((json_t *)dependences, i, dependence) {
    if (!json_is_true(json_object_get(dependence, "drift"))) continue;
    const json_t *features = json_object_get(dependence, "features");
    g_autofree gchar *name = g_strdup_printf("dependence of %s and %s", json_string_value(json_array_get(features, 0)),
                                             json_string_value(json_array_get(features, 1)));
    json_t *cause = json_copy(dependence);
    json_object_del(cause, "text"); /* views tell it as they tell features */
    json_object_set_new(cause, "feature", json_string(name));
    json_object_set_new(cause, "test", json_string("chi-squared of the joint table"));
    json_array_append_new(causes, cause);
  }
}
