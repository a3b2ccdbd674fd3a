/* Label panes: the served error into the online detectors, the rollout's watch, and the adaptation policy's decisions.
 * A pane is taken when no job is pending, so that what a job says takes effect at one place in the order of panes
 * however long it ran; PATIENCE_PANES, or as many as hold PATIENCE_ROWS, is the bound of that waiting. */
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"

enum { ROWS_KEPT = 6000, PATIENCE_PANES = 20, PATIENCE_ROWS = 2000, ONLINE_ROWS = 100 };

/* --- rows
 * --------------------------------------------------------------------------------------------------------------- */

static void append_rows(LeaderModel *model, const LeaderTaken *taken, gint64 time)
{
  const RegistryLabelPane *pane = taken->labels;
  LeaderRows rows = {taken->partition, pane->label_partition,        pane->number, pane->first_row,
                     pane->next_row,   leader_model_next_row(model), time};
  g_array_append_val(model->rows, rows);
  gint64 end = leader_model_next_row(model);
  guint surplus = 0, spare = model->rows->len - MIN(model->rows->len, model->performance_panes + 1);
  while (surplus < spare && g_array_index(model->rows, LeaderRows, surplus + 1).start < end - ROWS_KEPT) surplus++;
  if (surplus) g_array_remove_range(model->rows, 0, surplus);
}

/* Row → where it lies, for people and for replay. */
static json_t *row_to_json(const LeaderModel *model, gint64 row)
{
  for (guint i = 0; i < model->rows->len; i++) {
    const LeaderRows *r = &g_array_index(model->rows, LeaderRows, i);
    gint64 n = r->next_row - r->first_row;
    if (row < r->start || row >= r->start + n) continue;
    return json_pack("{s:I, s:i, s:i, s:I, s:I}", "row", (json_int_t)row, "partition", r->partition, "label_partition",
                     r->label_partition, "labelled_row", (json_int_t)(r->first_row + row - r->start), "time",
                     (json_int_t)r->time);
  }
  return json_pack("{s:I}", "row", (json_int_t)row);
}

/* --- detectors and watch
 * ------------------------------------------------------------------------------------------------ */

static json_t *signal_to_json(const DriftDetector *detector, DriftSignal signal)
{
  static const gchar *const names[] = {"none", "warning", "drift"};
  gint64 change = signal == DRIFT_SIGNAL_DRIFT ? drift_detector_get_change_point(detector) : -1;
  return json_pack("{s:s, s:o}", "signal", names[signal], "change_row",
                   change >= 0 ? json_integer(change) : json_null());
}

/* The detectors' signals on the rows of a pane; also used by replay. */
void leader_feed_detectors(LeaderModel *model, const DriftLabelRow *rows, guint n, json_t *pane)
{
  DriftSignal adwin = DRIFT_SIGNAL_NONE, ddm = DRIFT_SIGNAL_NONE;
  guint64 defined = 0;
  double errors = 0;
  for (guint i = 0; i < n; i++) {
    double e = drift_label_row_error(model->schema, &rows[i]);
    if (isnan(e)) continue;
    defined++;
    errors += e;
    adwin = MAX(adwin, drift_detector_update(model->adwin, e));
    if (model->schema->task != DRIFT_TASK_REGRESSION) ddm = MAX(ddm, drift_detector_update(model->ddm, e));
  }
  json_object_set_new(pane, "n", json_integer((json_int_t)defined));
  json_object_set_new(pane, "served_error", verdict_number(defined ? errors / (double)defined : NAN));
  json_object_set_new(pane, "adwin", signal_to_json(model->adwin, adwin));
  json_object_set_new(pane, "ddm", signal_to_json(model->ddm, ddm));
}

gchar *leader_served_errors(const DriftSchema *schema, const DriftLabelRow *rows, guint n, gint64 version)
{
  gchar *text = g_malloc(n + 1);
  for (guint i = 0; i < n; i++) {
    double e = drift_label_row_error(schema, &rows[i]);
    text[i] = (version == 0 || rows[i].version == version) && !isnan(e) ? (e > .5 ? '1' : '0') : '2';
  }
  text[n] = '\0';
  return text;
}

/* --- the decision on a pane
 * ---------------------------------------------------------------------------------------------- */

static gchar *describe(const AdaptStep *step)
{
  if (step->alarm)
    return g_strdup_printf("the error rose from %.3f (n = %" G_GUINT64_FORMAT ") to %.3f (n = %" G_GUINT64_FORMAT
                           ") at labelled row %" G_GINT64_FORMAT "; likelihood ratio %.1f / %.1f against %.1f",
                           step->error_before, step->n_before, step->error_after, step->n_after, step->change_row,
                           step->glr, step->tau, step->threshold);
  return g_strdup_printf(
      "the error of the last %u rows is %.3f against a promised %.3f, %.1f standard errors beyond the "
      "margin",
      step->level_rows, step->level_error, step->promise, step->level_z);
}

json_t *leader_label_body(const AdaptStep *step, const json_t *pane)
{
  json_t *body = verdict_step_to_json(step);
  json_object_update(body, (json_t *)pane);
  json_object_del(body, "detectors");
  json_object_del(body, "watch_before");
  json_object_del(body, "audit_before");
  return body;
}

static gboolean put_label_verdict(LeaderModel *model, LeaderContext *context, const AdaptStep *step, json_t *pane,
                                  json_t *inputs, gchar **id, GError **error)
{
  gint64 number = json_integer_value(json_object_get(pane, "number"));
  *id = g_strdup_printf("%s/label/%" G_GINT64_FORMAT, model->name, number);
  json_t *body = leader_label_body(step, pane);
  g_autofree gchar *body_text = verdict_dump(body), *input_text = verdict_dump(inputs);
  const LeaderRows *rows = &g_array_index(model->rows, LeaderRows, model->rows->len - 1);
  json_t *panes = json_pack("[[i, i, I]]", rows->partition, rows->label_partition, (json_int_t)rows->number);
  g_autofree gchar *panes_text = verdict_dump(panes);
  json_decref(body);
  json_decref(panes);
  RegistryVerdict verdict = {.id = *id,
                             .model = model->name,
                             .kind = (gchar *)"label",
                             .number = number,
                             .event_time = rows->time,
                             .drift = step->alarm || step->level_alarm,
                             .panes = panes_text,
                             .settings = input_text,
                             .body = body_text};
  model->counters.verdicts++;
  return registry_verdict_put(context->store, &verdict, error);
}

static gboolean follow_performance(LeaderModel *model, LeaderContext *context, const AdaptStep *step, const gchar *id,
                                   gint64 number, gint64 time, GError **error)
{
  if (!step->alarm && !step->opened && !step->closed) return TRUE;
  g_autofree gchar *summary = describe(step);
  LeaderFinding finding = {"performance", summary, id, !step->closed, 1, number, time, 0};
  json_t *cause = json_pack("{s:s}", "text", summary);
  json_t *body = json_pack("{s:[o], s:o}", "causes", cause, "change_point",
                           step->alarm ? row_to_json(model, step->change_row) : json_null());
  return leader_follow_incident(model, context, &finding, body, error);
}

/* The pool's best is promoted, or an operator is asked to, once a version. */
static gboolean promote_from_pool(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                                  const AdaptStep *step, gint64 before, gint64 time, GError **error)
{
  g_autofree gchar *reason =
      g_strdup_printf("%s: version %" G_GINT64_FORMAT " errs %.3f, the champion %.3f on the latest %u labelled rows",
                      step->promote_why, step->promote, step->promote_error, step->champion_error, step->promote_rows);
  if (settings->rollout.automatic)
    return leader_promote(model, context, step->promote, before, step->promote_error, reason, error) &&
           leader_note_incident(model, context, "performance", time, NULL, error, "promoted from the pool: %s", reason);
  model->waiting = step->promote;
  return leader_note_incident(model, context, "performance", time, NULL, error,
                              "waiting for `kedge promote %s %" G_GINT64_FORMAT "`: %s", model->name, step->promote,
                              reason);
}

/* All that entered the decision, for replay. */
static json_t *adapt_inputs(const LeaderModel *model, const AdaptSettings *settings, const json_t *pane,
                            const guint8 *const *errors, guint n_rows)
{
  guint n = 0;
  const gint64 *versions = adapt_get_versions(model->adapt, &n);
  json_t *bits = json_object();
  g_autofree gchar *text = g_malloc(n_rows + 1);
  for (guint v = 0; v < n; v++) {
    g_autofree gchar *key = g_strdup_printf("%" G_GINT64_FORMAT, versions[v]);
    for (guint i = 0; i < n_rows; i++) text[i] = (gchar)('0' + errors[v][i]);
    text[n_rows] = '\0';
    json_object_set_new(bits, key, json_string(text));
  }
  return json_pack("{s:o, s:o, s:o, s:O?, s:O?, s:O?}", "settings", adapt_settings_to_json(settings), "before",
                   adapt_to_json(model->adapt), "errors", bits, "detectors", json_object_get(pane, "detectors"),
                   "watch", json_object_get(pane, "watch_before"), "audit", json_object_get(pane, "audit_before"));
}

/* Inputs are kept where something was decided: whatever an incident or a version's history refers to can be replayed.
 */
static gboolean is_kept(const AdaptStep *step, gboolean promotes, const json_t *pane)
{
  return step->opened || step->closed || step->alarm || step->training || promotes ||
         json_is_true(json_object_get(json_object_get(pane, "watch"), "disappoints")) ||
         json_is_true(json_object_get(json_object_get(pane, "audit"), "raised"));
}

/* An online model learns every pane while an incident is open, when each row counts; else whenever ONLINE_ROWS more have
 * come. By the rows' numbers alone, so that nothing has to be remembered. */
static gboolean is_learned_now(const LeaderModel *model, guint n_rows)
{
  gint64 next = adapt_get_rows(model->adapt);
  return adapt_is_open(model->adapt) || next / ONLINE_ROWS > (next - n_rows) / ONLINE_ROWS;
}

gboolean leader_decide_pane(LeaderModel *model, LeaderContext *context, const guint8 *const *errors, guint n_rows,
                            json_t *pane, GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  AdaptSettings adapt_settings;
  AdaptStep step;
  leader_adapt_settings(settings, &adapt_settings);
  gint64 champion = adapt_get_champion(model->adapt), number = json_integer_value(json_object_get(pane, "number"));
  gint64 time = json_integer_value(json_object_get(pane, "time"));
  json_t *inputs = adapt_inputs(model, &adapt_settings, pane, errors, n_rows);
  adapt_pane(model->adapt, &adapt_settings, errors, n_rows, &step);
  gboolean act = g_strv_contains((const gchar *const *)settings->policy.act_on, "performance");
  gboolean promotes = step.promote && act && (settings->rollout.automatic || step.promote != model->waiting);
  if (step.promote && !(promotes && settings->rollout.automatic))
    adapt_set_champion(model->adapt, &adapt_settings, champion); /* the policy thought it done */
  if (!is_kept(&step, promotes, pane)) json_object_clear(inputs);
  g_autofree gchar *id = NULL;
  gboolean good = put_label_verdict(model, context, &step, pane, inputs, &id, error);
  json_decref(inputs);
  good = good && follow_performance(model, context, &step, id, number, time, error);
  if (good && promotes) good = promote_from_pool(model, context, settings, &step, champion, time, error);
  if (good && step.training && act && settings->policy.retrain)
    good = leader_request_training(model, context, &step, -1, "performance", time, error);
  if (good && adapt_settings.served && act && settings->policy.retrain && is_learned_now(model, n_rows))
    good = leader_request_mixture(model, context, time, error);
  return good;
}

/* --- taking a pane
 * ------------------------------------------------------------------------------------------------------- */

static gboolean decide_or_score(LeaderModel *model, LeaderContext *context, const DriftLabelRow *rows, guint n,
                                json_t *pane, GError **error)
{
  guint n_versions = 0;
  AdaptSettings settings;
  leader_adapt_settings(settings_find_model(context->settings, model->name), &settings);
  gint64 champion = adapt_get_champion(model->adapt), start = adapt_get_rows(model->adapt);
  if (settings.served)
    adapt_set_champion(model->adapt, &settings, champion); /* the mode may be new: no pool any more */
  const gint64 *versions = adapt_get_versions(model->adapt, &n_versions);
  g_autofree gchar *served = leader_served_errors(model->schema, rows, n, settings.served ? 0 : champion);
  if (!settings.served && (n_versions > 1 || strchr(served, '2'))) {
    json_object_set_new(pane, "served", json_string(served));
    return leader_request_score(model, context, "pane", versions, n_versions, start, start + n, pane, error);
  }
  g_autofree guint8 *bits = g_malloc(n);
  for (guint i = 0; i < n; i++) bits[i] = (guint8)(served[i] - '0');
  const guint8 *const errors[] = {bits};
  return leader_decide_pane(model, context, errors, n, pane, error);
}

/* Inside the decision transaction. */
static gboolean judge_pane(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                           const DriftLabelRow *rows, guint n, gint64 time, GError **error)
{
  gint64 first = g_array_index(model->rows, LeaderRows, model->rows->len - 1).start;
  if (!leader_model_begin_adaptation(model, context, first, error) || !leader_follow_champion(model, context, error))
    return FALSE;
  /* verdicts are numbered without gaps: a pane without one (no champion yet, regression) takes no number */
  json_t *pane = json_pack("{s:I, s:I, s:I}", "number", (json_int_t)model->counters.label_verdicts, "time",
                           (json_int_t)time, "first_row", (json_int_t)first);
  json_object_set_new(pane, "detectors", leader_detectors_to_json(model)); /* before this pane: for replay */
  leader_feed_detectors(model, rows, n, pane);
  model->counters.label_panes++;
  if (model->adapt) model->counters.label_verdicts++;
  gboolean good = leader_audit_pane(model, context, settings, rows, n, pane, error) &&
                  leader_watch_rollout(model, context, settings, rows, n, pane, error);
  if (good && model->adapt) good = decide_or_score(model, context, rows, n, pane, error);
  json_decref(pane);
  return good && leader_judge_performance(model, context, settings, error);
}

static GArray *pane_rows(const LeaderModel *model, const RegistryLabelPane *pane, GError **error)
{
  g_autoptr(GArray) rows = drift_label_rows_from_bytes(pane->bytes, error);
  if (!rows || (gint64)rows->len == pane->next_row - pane->first_row) return g_steal_pointer(&rows);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
              "model %s: label pane %" G_GINT64_FORMAT " holds %u rows but covers rows %" G_GINT64_FORMAT
              " to %" G_GINT64_FORMAT ": run `kedge verify`",
              model->name, pane->number, rows->len, pane->first_row, pane->next_row);
  return NULL;
}

static gboolean take_pane(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                          const LeaderTaken *taken, GError **error)
{
  const RegistryLabelPane *pane = taken->labels;
  g_autoptr(GArray) rows = pane_rows(model, pane, error);
  if (!rows || !leader_begin(context, error)) return FALSE;
  *leader_model_cursor(model, taken->partition, pane->label_partition) = pane->number + 1;
  const DriftLabelRow *label_rows = (const DriftLabelRow *)(void *)rows->data;
  gboolean good = TRUE;
  if (rows->len > 0) {
    gint64 time = label_rows[rows->len - 1].label_time;
    append_rows(model, taken, time);
    model->performance_panes++;
    good = judge_pane(model, context, settings, label_rows, rows->len, time, error);
  }
  if (good) return leader_commit(model, context, error);
  registry_store_rollback(context->store);
  return FALSE;
}

/* Whether the next pane waits for a job. After so many panes it does not: nobody scores, so the served rows have to do;
 * a training takes longer than the traffic can wait, and its version comes when it comes. */
static gboolean waits_for_job(LeaderModel *model, LeaderContext *context, guint waiting, guint label_rows,
                              gboolean *waits, GError **error)
{
  guint patience = MAX(PATIENCE_PANES, PATIENCE_ROWS / MAX(label_rows, 1));
  *waits = FALSE;
  for (size_t i = 0; i < json_array_size(model->pending);) {
    json_t *entry = json_array_get(model->pending, i);
    gboolean scores = g_strcmp0(json_string_value(json_object_get(entry, "purpose")), "pane") == 0;
    if (waiting <= patience && !json_is_true(json_object_get(entry, "overtaken"))) {
      *waits = TRUE;
      return TRUE;
    }
    if (!scores) {
      json_object_set_new(entry, "overtaken", json_true());
      i++;
    } else if (!leader_give_up(model, context, entry, error)) {
      return FALSE;
    }
  }
  return TRUE;
}

gboolean leader_step_labels(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean *worked,
                            GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gboolean more = FALSE, waits = FALSE;
  g_autoptr(GPtrArray) panes = leader_take_order(model, context, shards, TRUE, &more, error);
  if (!panes) return FALSE;
  for (guint i = 0; i < panes->len; i++) {
    if (!waits_for_job(model, context, panes->len - i, settings->window.label_rows, &waits, error)) return FALSE;
    if (waits) break;
    if (!take_pane(model, context, settings, g_ptr_array_index(panes, i), error)) return FALSE;
    *worked = TRUE;
  }
  return TRUE;
}
