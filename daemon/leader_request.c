/* Jobs the leader asks for. Ids are deterministic: asking twice is asking once. */
#include <math.h>
#include <string.h>

#include "daemon/chain.h"
#include "daemon/leader_internal.h"

json_t *leader_data_ranges(const LeaderModel *model, gint64 first, gint64 next)
{
  json_t *ranges = json_array();
  for (guint i = 0; i < model->rows->len; i++) {
    const LeaderRows *r = &g_array_index(model->rows, LeaderRows, i);
    gint64 from = MAX(first, r->start), to = MIN(next, r->start + r->next_row - r->first_row);
    if (from >= to) continue;
    json_t *last = json_array_get(ranges, json_array_size(ranges) ? json_array_size(ranges) - 1 : 0);
    gint64 first_row = r->first_row + from - r->start, next_row = r->first_row + to - r->start;
    if (last && json_integer_value(json_object_get(last, "partition")) == r->partition &&
        json_integer_value(json_object_get(last, "label_partition")) == r->label_partition &&
        json_integer_value(json_object_get(last, "next_row")) == first_row)
      json_object_set_new(last, "next_row", json_integer(next_row));
    else
      json_array_append_new(ranges, json_pack("{s:i, s:i, s:I, s:I}", "partition", r->partition, "label_partition",
                                              r->label_partition, "first_row", (json_int_t)first_row, "next_row",
                                              (json_int_t)next_row));
  }
  return ranges;
}

gboolean leader_create_job(LeaderModel *model, LeaderContext *context, const gchar *id, const gchar *kind,
                           gint priority, json_t *spec, const gchar *incident, GError **error)
{
  g_autofree gchar *text = verdict_dump(spec);
  json_decref(spec);
  RegistryJob job = {.id = (gchar *)id,
                     .model = model->name,
                     .kind = (gchar *)kind,
                     .priority = priority,
                     .spec = text,
                     .incident = (gchar *)incident,
                     .maximum_attempts = 25};
  return registry_job_create(context->store, &job, error);
}

gboolean leader_request_score(LeaderModel *model, LeaderContext *context, const gchar *purpose, const gint64 *versions,
                              guint n_versions, gint64 first, gint64 next, json_t *extra, GError **error)
{
  json_t *list = json_array();
  for (guint i = 0; i < n_versions; i++) json_array_append_new(list, json_integer(versions[i]));
  g_autofree gchar *id = g_strdup_printf("%s/score/%s-%" G_GINT64_FORMAT "-%" G_GINT64_FORMAT, model->name, purpose,
                                         next, n_versions ? versions[n_versions - 1] : 0);
  json_t *entry = json_pack("{s:s, s:s, s:O, s:I, s:I, s:I, s:O?}", "id", id, "purpose", purpose, "versions", list,
                            "champion", (json_int_t)adapt_get_champion(model->adapt), "first", (json_int_t)first,
                            "next", (json_int_t)next, "pane", extra);
  json_array_append_new(model->pending, entry);
  json_t *spec = json_pack("{s:s, s:o, s:o}", "model", model->name, "data", leader_data_ranges(model, first, next),
                           "versions", list);
  return leader_create_job(model, context, id, "score", LEADER_PRIORITY_SCORE, spec, NULL, error);
}

/* One training at a time, and no more a day of event time than the policy allows. */
static gboolean may_train(LeaderModel *model, const SettingsPolicy *policy, gint64 event_time)
{
  json_t *entry;
  size_t i;
  json_array_foreach (model->pending, i, entry)
    if (g_strcmp0(json_string_value(json_object_get(entry, "purpose")), "train") == 0) return FALSE;
  /* a pane of a partition that lags may lie in the day before: the budget does not begin anew with it */
  gint64 day = event_time / G_TIME_SPAN_DAY, counted = json_integer_value(json_object_get(model->budget, "day"));
  json_int_t trainings = day > counted ? 0 : json_integer_value(json_object_get(model->budget, "trainings"));
  day = MAX(day, counted);
  if (policy->daily_budget > 0 && trainings >= policy->daily_budget) return FALSE;
  json_object_set_new(model->budget, "day", json_integer(day));
  json_object_set_new(model->budget, "trainings", json_integer(trainings + 1));
  return TRUE;
}

/* What every job of a training says, a stage of a chain too. */
static json_t *base_spec(const LeaderModel *model, const SettingsModel *settings, const AdaptStep *step,
                         gint64 rehearsal_first, const gchar *incident)
{
  const SettingsPolicy *policy = &settings->policy;
  json_t *rehearsal = rehearsal_first >= 0 ? leader_data_ranges(model, rehearsal_first, step->training_first) : NULL;
  return json_pack(
      "{s:s, s:o, s:o*, s:I, s:f, s:I, s:{s:f, s:f}, s:s?}", "model", model->name, "data",
      leader_data_ranges(model, step->training_first, step->training_next), "rehearsal", rehearsal, "champion",
      (json_int_t)adapt_get_champion(model->adapt), "holdout_fraction", policy->holdout_fraction, "seed",
      (json_int_t)policy->seed, "gate", "confidence", .95, "robust_epsilon",
      settings->gate.robust_accuracy_bound > 0 ? MAX(policy->adversarial_epsilon, .1) : 0., "incident", incident);
}

/* The version that a training begins with; 0: none. -1: error. */
static gint64 find_from(LeaderModel *model, LeaderContext *context, const SettingsPolicy *policy, const AdaptStep *step,
                        GError **error)
{
  guint n = 0;
  gint64 from = 0;
  if (step->training == ADAPT_TRAIN_REFIT)
    from = adapt_get_versions(model->adapt, &n)[0]; /* its hidden layers: those of the first version of the pool */
  else if (g_strcmp0(policy->retrain_mode, "fine-tune") == 0)
    from = adapt_get_champion(model->adapt);
  if (from == 0) return 0;
  from = leader_find_trainable(model, context, from, error);
  return from > 0 ? from : -1;
}

/* With a chain the hardening is a stage of its own. base: borrowed. */
static json_t *training_spec(const SettingsPolicy *policy, const AdaptStep *step, gint64 from, gboolean chained,
                             const json_t *base)
{
  json_t *spec = json_copy((json_t *)base);
  json_t *own =
      json_pack("{s:s, s:I, s:f, s:i, s:s, s:b}", "architecture", policy->architecture, "from", (json_int_t)from,
                "adversarial_epsilon", chained ? 0. : policy->adversarial_epsilon, "adversarial_steps",
                (int)policy->adversarial_steps, "harden", chained ? "none" : policy->harden, "reweigh",
                policy->reweigh && step->training == ADAPT_TRAIN_RETRAIN);
  json_object_update(spec, own);
  json_decref(own);
  if (policy->processes > 1) json_object_set_new(spec, "processes", json_integer(policy->processes));
  return spec;
}

/* What the leader remembers of the training until it has ended; base: taken. */
static json_t *training_entry(const LeaderModel *model, const SettingsPolicy *policy, const gchar *id,
                              const gchar *kind, const AdaptStep *step, gint64 rehearsal_first, const gchar *cause,
                              gint64 event_time, json_t *base)
{
  json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "id", id, "purpose", "train", "kind", kind,
                            "cause", cause, "rehearsal", rehearsal_first >= 0, "champion",
                            (json_int_t)adapt_get_champion(model->adapt), "first", (json_int_t)step->training_first,
                            "next", (json_int_t)step->training_next, "time", (json_int_t)event_time);
  if (!settings_policy_has_chain(policy)) {
    json_decref(base);
    return entry;
  }
  json_object_set_new(entry, "first_job", json_string(id));
  g_autofree gchar *tail = g_strdup_printf("%s-%s", kind, strrchr(id, '/') + 1);
  json_object_set_new(entry, "chain", chain_new(policy, kind, tail, base));
  return entry;
}

/* A refit is what it is; a search in place of the retraining where the chain says so. */
static const gchar *training_kind(const SettingsPolicy *policy, gboolean refit)
{
  if (refit) return "refit";
  return settings_policy_has_chain(policy) ? policy->chain[0] : "retrain";
}

gboolean leader_request_training(LeaderModel *model, LeaderContext *context, const AdaptStep *step,
                                 gint64 rehearsal_first, const gchar *cause, gint64 event_time, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  const SettingsPolicy *policy = &settings->policy;
  gboolean refit = step->training == ADAPT_TRAIN_REFIT, chained = settings_policy_has_chain(policy);
  const gchar *kind = training_kind(policy, refit), *incident = leader_open_incident(model, cause);
  if (!may_train(model, policy, event_time))
    return leader_note_incident(model, context, cause, event_time, NULL, error,
                                "no %s: another training runs or the day's budget of %u is used", kind,
                                policy->daily_budget);
  gint64 from = find_from(model, context, policy, step, error);
  if (from < 0) return FALSE;
  g_autofree gchar *id = g_strdup_printf("%s/%s/%" G_GINT64_FORMAT "%s", model->name, kind, step->training_next,
                                         rehearsal_first >= 0 ? "-rehearsal" : "");
  json_t *base = base_spec(model, settings, step, rehearsal_first, incident), *spec = NULL;
  if (g_str_equal(kind, "search")) {
    spec = chain_stage_options(policy, kind);
    json_object_update(spec, base);
  } else {
    spec = training_spec(policy, step, from, chained, base);
  }
  json_array_append_new(model->pending,
                        training_entry(model, policy, id, kind, step, rehearsal_first, cause, event_time, base));
  if (refit)
    model->counters.refits++;
  else
    model->counters.retrainings++;
  return leader_create_job(model, context, id, kind, refit ? LEADER_PRIORITY_QUICK : LEADER_PRIORITY_TRAINING, spec,
                           incident, error) &&
         leader_note_incident(model, context, cause, event_time, id, error,
                              "%s on labelled rows %" G_GINT64_FORMAT "–%" G_GINT64_FORMAT
                              " (the last %.0f%% held out)%s",
                              kind, step->training_first, step->training_next - 1, 100 * policy->holdout_fraction,
                              rehearsal_first >= 0 ? ", rehearsing older rows" : "");
}

/* One at a time: the next one learns what came meanwhile. */
gboolean leader_request_mixture(LeaderModel *model, LeaderContext *context, gint64 event_time, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gint64 champion = adapt_get_champion(model->adapt), next = leader_model_next_row(model);
  gint64 first = g_array_index(model->rows, LeaderRows, 0).start;
  const gchar *incident = leader_open_incident(model, "performance");
  json_t *waiting;
  size_t i;
  json_array_foreach (model->pending, i, waiting)
    if (g_strcmp0(json_string_value(json_object_get(waiting, "purpose")), "train") == 0) return TRUE;
  g_autofree gchar *id = g_strdup_printf("%s/mixture/%" G_GINT64_FORMAT, model->name, next);
  json_array_append_new(model->pending, json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "id", id, "purpose",
                                                  "train", "kind", "mixture", "cause", "performance", "rehearsal",
                                                  FALSE, "champion", (json_int_t)champion, "first", (json_int_t)first,
                                                  "next", (json_int_t)next, "time", (json_int_t)event_time));
  json_t *spec = json_pack(
      "{s:s, s:o, s:I, s:I, s:I, s:s, s:I, s:{s:f, s:f, s:f, s:I}, s:s?}", "model", model->name, "data",
      leader_data_ranges(model, first, next), "first_row", (json_int_t)first, "from",
      (json_int_t)(model->learner > 0 ? model->learner : champion), "champion", (json_int_t)champion, "architecture",
      settings->policy.architecture, "seed", (json_int_t)settings->policy.seed, "gate", "confidence", .95,
      "robust_epsilon", settings->gate.robust_accuracy_bound > 0 ? MAX(settings->policy.adversarial_epsilon, .1) : 0.,
      "minimum_gain", settings->gate.minimum_gain, "minimum_holdout", (json_int_t)settings->gate.minimum_holdout,
      "incident", incident);
  return leader_create_job(model, context, id, "mixture", LEADER_PRIORITY_QUICK, spec, incident, error);
}

gboolean leader_act_on_incident(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 event_time,
                                GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  if (g_str_equal(kind, "performance")) return TRUE; /* the adaptation policy trains step by step */
  if (g_strcmp0(settings->policy.retrain_mode, "mixture") == 0) return TRUE; /* it learns every row already */
  if (!model->adapt || !settings->policy.retrain || model->rows->len == 0 ||
      !g_strv_contains((const gchar *const *)settings->policy.act_on, leader_incident_kind(kind)))
    return TRUE;
  AdaptSettings adapt;
  leader_adapt_settings(settings, &adapt);
  const LeaderRows *last = &g_array_index(model->rows, LeaderRows, model->rows->len - 1);
  gint64 next = last->start + last->next_row - last->first_row;
  gint64 first = MAX(next - (gint64)adapt.maximum_rows, g_array_index(model->rows, LeaderRows, 0).start);
  if (next - first < adapt.minimum_rows) return TRUE;
  AdaptStep step = {.training = ADAPT_TRAIN_RETRAIN, .training_first = first, .training_next = next};
  return leader_request_training(model, context, &step, -1, kind, event_time, error);
}

gboolean leader_request_rehearsal(LeaderModel *model, LeaderContext *context, const json_t *entry, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gint64 first = json_integer_value(json_object_get(entry, "first"));
  gint64 next = json_integer_value(json_object_get(entry, "next"));
  if (json_is_true(json_object_get(entry, "rehearsal")) || model->rows->len == 0 ||
      g_strcmp0(json_string_value(json_object_get(entry, "kind")), "retrain") != 0)
    return TRUE;
  AdaptSettings adapt;
  leader_adapt_settings(settings, &adapt);
  gint64 oldest = g_array_index(model->rows, LeaderRows, 0).start;
  gint64 rehearsal_first = MAX(next - (gint64)adapt.maximum_rows, oldest);
  if (first - rehearsal_first < (gint64)adapt.minimum_rows) return TRUE; /* nothing older to rehearse */
  AdaptStep step = {.training = ADAPT_TRAIN_RETRAIN, .training_first = first, .training_next = next};
  return leader_request_training(model, context, &step, rehearsal_first,
                                 json_string_value(json_object_get(entry, "cause")),
                                 json_integer_value(json_object_get(entry, "time")), error);
}
