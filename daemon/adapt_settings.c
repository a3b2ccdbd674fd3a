/* The adaptation policy's settings: defaults and JSON (kept with each verdict, for replay). */
#include "daemon/adapt.h"

void adapt_settings_init(AdaptSettings *settings)
{
  *settings = (AdaptSettings){.budget = 1,
                              .per_rows = 100000,
                              .promise_margin = .03,
                              .level_z = 4,
                              .recall_slack = .05,
                              .pool_margin = .05,
                              .pool_z = 4,
                              .pool_rows = 200,
                              .pool = 12,
                              .steps = {100, 300, 600, 1800},
                              .refit_until = 500,
                              .retrain_need = .03,
                              .refresh_rows = 1000,
                              .refresh_window = 1500,
                              .maximum_rows = 4000,
                              .minimum_rows = 50,
                              .holdout_fraction = .2};
}

json_t *adapt_settings_to_json(const AdaptSettings *s)
{
  json_t *steps = json_array();
  for (guint i = 0; i < ADAPT_MAXIMUM_STEPS; i++) json_array_append_new(steps, json_integer(s->steps[i]));
  return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:o, s:i, s:f, s:i, s:i, s:i, s:i, s:f, s:b}",
                   "budget", s->budget, "per_rows", s->per_rows, "promise_margin", s->promise_margin, "level_z",
                   s->level_z, "recall_slack", s->recall_slack, "pool_margin", s->pool_margin, "pool_z", s->pool_z,
                   "pool_rows", (int)s->pool_rows, "pool", (int)s->pool, "steps", steps, "refit_until",
                   (int)s->refit_until, "retrain_need", s->retrain_need, "refresh_rows", (int)s->refresh_rows,
                   "refresh_window", (int)s->refresh_window, "maximum_rows", (int)s->maximum_rows, "minimum_rows",
                   (int)s->minimum_rows, "holdout_fraction", s->holdout_fraction, "served", s->served);
}

gboolean adapt_settings_from_json(const json_t *json, AdaptSettings *s)
{
  int pool_rows = 0, pool = 0, served = 0, refit_until = 0, refresh_rows = 0, refresh_window = 0, maximum = 0,
      minimum = 0;
  json_t *steps = NULL;
  adapt_settings_init(s);
  if (json_unpack(
          (json_t *)json, "{s:F, s:F, s:F, s:F, s:F, s:F, s:F, s:i, s:i, s:o, s:i, s:F, s:i, s:i, s:i, s:i, s:F, s?b}",
          "budget", &s->budget, "per_rows", &s->per_rows, "promise_margin", &s->promise_margin, "level_z", &s->level_z,
          "recall_slack", &s->recall_slack, "pool_margin", &s->pool_margin, "pool_z", &s->pool_z, "pool_rows",
          &pool_rows, "pool", &pool, "steps", &steps, "refit_until", &refit_until, "retrain_need", &s->retrain_need,
          "refresh_rows", &refresh_rows, "refresh_window", &refresh_window, "maximum_rows", &maximum, "minimum_rows",
          &minimum, "holdout_fraction", &s->holdout_fraction, "served", &served) != 0 ||
      json_array_size(steps) != ADAPT_MAXIMUM_STEPS)
    return FALSE;
  for (guint i = 0; i < ADAPT_MAXIMUM_STEPS; i++) s->steps[i] = (guint)json_integer_value(json_array_get(steps, i));
  s->pool_rows = (guint)pool_rows;
  s->pool = (guint)pool;
  s->refit_until = (guint)refit_until;
  s->refresh_rows = (guint)refresh_rows;
  s->refresh_window = (guint)refresh_window;
  s->maximum_rows = (guint)maximum;
  s->minimum_rows = (guint)minimum;
  s->served = served;
  return TRUE;
}
