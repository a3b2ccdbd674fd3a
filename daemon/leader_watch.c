/* The watch after a rollout: is the version that serves worse than it promised? */
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"
#include "deploy/rollout.h"

enum { WATCH_LOOKS = 20, ROLLOUT_CLEAR_PANES = 10 };
static const double WATCH_ALPHA = .01, WATCH_TAU = 2, WATCH_Z = 2;

/* Rows in one stretch depend on each other: both counts are divided by the autocorrelation factor. */
json_t *leader_watch_look(const json_t *watch, double margin, const gchar *served)
{
  GString *seen = g_string_new(json_string_value(json_object_get(watch, "seen")));
  for (const gchar *c = served; *c; c++)
    if (*c != '2') g_string_append_c(seen, *c);
  const json_t *promised = json_object_get(watch, "promised");
  guint64 errors = 0;
  for (gsize i = 0; i < seen->len; i++) errors += seen->str[i] == '1';
  gboolean disappoints = FALSE;
  double p_value = NAN;
  if (json_is_number(promised) && seen->len > 0) {
    const json_t *known = json_object_get(watch, "autocorrelation");
    double tau = json_is_number(known) ? json_number_value(known) : WATCH_TAU;
    disappoints = deploy_watch_disappoints((guint64)((double)errors / tau), (guint64)((double)seen->len / tau),
                                           json_number_value(promised), margin, WATCH_ALPHA / WATCH_LOOKS, &p_value) &&
                  !json_is_false(json_object_get(watch, "previous_better"));
  }
  json_t *look = json_pack("{s:O, s:I, s:I, s:o, s:f, s:o, s:b, s:s}", "version", json_object_get(watch, "version"),
                           "rows", (json_int_t)seen->len, "errors", (json_int_t)errors, "promised",
                           json_is_number(promised) ? json_incref((json_t *)promised) : json_null(), "margin", margin,
                           "p", verdict_number(p_value), "disappoints", disappoints, "seen", seen->str);
  g_string_free(seen, TRUE);
  return look;
}

/* Going back helps only when the version before would have done better on the same rows, beyond chance: when it errs as
 * much, the world has moved, and the adaptation policy answers that. Not known: the promise alone decides; but a
 * mixture's revision differs from the one before by a few rows, so that when it errs more the world has moved. */
static gboolean previous_is_better(const LeaderModel *model, gboolean learns_online)
{
  double gain = 0, standard_error = 0;
  gint64 previous = json_integer_value(json_object_get(model->watch, "previous"));
  guint n = (guint)json_integer_value(json_object_get(model->watch, "rows"));
  if (!model->adapt || !adapt_compare(model->adapt, previous, n, &gain, &standard_error)) return !learns_online;
  return gain > WATCH_Z * standard_error;
}

/* What the look takes from the policy, as part of the watch: with it the look is a function of the watch and the rows.
 */
static void prepare_look(LeaderModel *model, const SettingsModel *settings)
{
  AdaptSettings adapt;
  leader_adapt_settings(settings, &adapt);
  double tau = model->adapt ? adapt_get_autocorrelation(model->adapt) : NAN;
  json_object_set_new(model->watch, "autocorrelation", verdict_number(tau));
  json_object_set_new(model->watch, "previous_better", json_boolean(previous_is_better(model, adapt.served)));
}

static void end_watch(LeaderModel *model)
{
  json_decref(model->watch);
  model->watch = json_null();
}

static gboolean roll_back(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, const json_t *pane,
                          const gchar *why, GError **error)
{
  AdaptSettings adapt_settings;
  leader_adapt_settings(settings, &adapt_settings);
  gint64 version = json_integer_value(json_object_get(model->watch, "version")), restored = 0;
  if (!deploy_rollback(context->store, model->name, "kedged", why, &restored, error)) return FALSE;
  model->counters.rollbacks++;
  if (context->metrics) {
    g_autofree gchar *labels = metrics_label("model", model->name, NULL);
    metrics_add(context->metrics, "kedge_rollbacks_total", labels, 1);
  }
  end_watch(model);
  model->learner = 0;
  if (model->adapt) adapt_set_champion(model->adapt, &adapt_settings, restored);
  g_autofree gchar *summary =
      g_strdup_printf("version %" G_GINT64_FORMAT " rolled back to %" G_GINT64_FORMAT ": %s", version, restored, why);
  g_autofree gchar *verdict = g_strdup_printf("%s/label/%" G_GINT64_FORMAT, model->name,
                                              (gint64)json_integer_value(json_object_get(pane, "number")));
  LeaderFinding finding = {.kind = "rollout",
                           .summary = summary,
                           .verdict = verdict,
                           .found = TRUE,
                           .clear_after = ROLLOUT_CLEAR_PANES,
                           .number = model->counters.rollbacks,
                           .event_time = json_integer_value(json_object_get(pane, "time"))};
  return leader_follow_incident(
      model, context, &finding,
      json_pack("{s:I, s:I}", "version", (json_int_t)version, "restored", (json_int_t)restored), error);
}

static gboolean judge_look(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                           const json_t *look, const json_t *pane, GError **error)
{
  double rows = json_number_value(json_object_get(look, "rows"));
  if (!json_is_true(json_object_get(look, "disappoints"))) {
    if (rows >= settings->rollout.watch_rows) end_watch(model);
    return TRUE;
  }
  g_autofree gchar *why = g_strdup_printf("live error %.3f over %.0f rows against a promised %.3f + %.3f (p = %.2g)",
                                          json_number_value(json_object_get(look, "errors")) / rows, rows,
                                          json_number_value(json_object_get(look, "promised")),
                                          json_number_value(json_object_get(look, "margin")),
                                          json_number_value(json_object_get(look, "p")));
  return roll_back(model, context, settings, pane, why, error);
}

/* A rollback's incident closes by itself after some panes without another. */
static gboolean close_rollout(LeaderModel *model, LeaderContext *context, gint64 time, GError **error)
{
  LeaderFinding finding = {"rollout", "", "", FALSE, ROLLOUT_CLEAR_PANES, 0, time, 0};
  return leader_follow_incident(model, context, &finding, json_object(), error);
}

gboolean leader_watch_rollout(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                              const DriftLabelRow *rows, guint n, json_t *pane, GError **error)
{
  if (!close_rollout(model, context, json_integer_value(json_object_get(pane, "time")), error)) return FALSE;
  if (!json_is_object(model->watch)) return TRUE;
  if (settings->rollout.watch_rows == 0) {
    end_watch(model);
    return TRUE;
  }
  gint64 version = json_integer_value(json_object_get(model->watch, "version"));
  g_autofree gchar *served = leader_served_errors(model->schema, rows, n, version);
  prepare_look(model, settings);
  json_t *look = leader_watch_look(model->watch, settings->rollout.watch_margin, served);
  json_object_set_new(pane, "watch_before", json_copy(model->watch)); /* for replay */
  static const gchar *const kept[] = {"rows", "errors", "seen"};
  for (guint i = 0; i < G_N_ELEMENTS(kept); i++) json_object_set(model->watch, kept[i], json_object_get(look, kept[i]));
  json_object_del(look, "seen");
  json_object_set_new(pane, "watch", look);
  return judge_look(model, context, settings, look, pane, error);
}
