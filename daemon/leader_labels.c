/* Label panes: the served error into the online detectors, the rollout's watch, and the adaptation policy's decisions. */
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"
#include "deploy/rollout.h"

enum { ROWS_KEPT = 6000, PATIENCE_PANES = 20, WATCH_LOOKS = 20, ROLLOUT_CLEAR_PANES = 10 };
static const double WATCH_ALPHA = .01, WATCH_TAU = 2;

/* --- rows --------------------------------------------------------------------------------------------------------------- */

static gint64 next_start(const LeaderModel *model)
{
  if (model->rows->len == 0) return 0;
  const LeaderRows *last = &g_array_index(model->rows, LeaderRows, model->rows->len - 1);
  return last->start + last->next_row - last->first_row;
}

static void append_rows(LeaderModel *model, const LeaderTaken *taken, gint64 time)
{
  const RegistryLabelPane *pane = taken->labels;
  LeaderRows rows = {taken->partition, pane->label_partition, pane->number, pane->first_row, pane->next_row,
                     next_start(model), time};
  g_array_append_val(model->rows, rows);
  gint64 end = next_start(model);
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
    return json_pack("{s:I, s:i, s:i, s:I, s:I}", "row", (json_int_t)row, "partition", r->partition,
                     "label_partition", r->label_partition, "labelled_row", (json_int_t)(r->first_row + row - r->start),
                     "time", (json_int_t)r->time);
  }
  return json_pack("{s:I}", "row", (json_int_t)row);
}

/* --- detectors and watch ------------------------------------------------------------------------------------------------ */

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

/* One character a row: the error of the row where `version` served it, else 2. */
gchar *leader_served_errors(const DriftSchema *schema, const DriftLabelRow *rows, guint n, gint64 version)
{
  gchar *text = g_malloc(n + 1);
  for (guint i = 0; i < n; i++) {
    double e = drift_label_row_error(schema, &rows[i]);
    text[i] = rows[i].version == version && !isnan(e) ? (e > .5 ? '1' : '0') : '2';
  }
  text[n] = '\0';
  return text;
}

static gboolean roll_back(LeaderModel *model, LeaderContext *context, const AdaptSettings *adapt_settings, gint64 time,
                          const gchar *why, GError **error)
{
  gint64 version = json_integer_value(json_object_get(model->watch, "version")), restored = 0;
  if (!deploy_rollback(context->store, model->name, "kedged", why, &restored, error)) return FALSE;
  model->counters.rollbacks++;
  if (context->metrics) {
    g_autofree gchar *labels = metrics_label("model", model->name, NULL);
    metrics_add(context->metrics, "kedge_rollbacks_total", labels, 1);
  }
  json_decref(model->watch);
  model->watch = json_null();
  if (model->adapt) adapt_set_champion(model->adapt, adapt_settings, restored);
  g_autofree gchar *summary =
      g_strdup_printf("version %" G_GINT64_FORMAT " rolled back to %" G_GINT64_FORMAT ": %s", version, restored, why);
  LeaderFinding finding = {"rollout", summary, NULL, TRUE, ROLLOUT_CLEAR_PANES, model->counters.rollbacks, time};
  g_autofree gchar *verdict = g_strdup_printf("%s/label/%" G_GINT64_FORMAT, model->name, model->counters.label_panes);
  finding.verdict = verdict;
  return leader_follow_incident(model, context, &finding,
                                json_pack("{s:I, s:I}", "version", (json_int_t)version, "restored",
                                          (json_int_t)restored),
                                error);
}

/* A rollback's incident closes by itself after some panes without another. */
static gboolean close_rollout(LeaderModel *model, LeaderContext *context, gint64 time, GError **error)
{
  LeaderFinding finding = {"rollout", "", "", FALSE, ROLLOUT_CLEAR_PANES, 0, time};
  return leader_follow_incident(model, context, &finding, json_object(), error);
}

/* Counts the rows that the watched version served; rolls back when it breaks its promise beyond chance. Rows in one
 * stretch depend on each other: both counts are divided by the autocorrelation factor. */
static gboolean watch_rollout(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                              const DriftLabelRow *rows, guint n, gint64 time, GError **error)
{
  if (!json_is_object(model->watch) || settings->rollout.watch_rows == 0) return TRUE;
  gint64 version = json_integer_value(json_object_get(model->watch, "version"));
  json_t *promised = json_object_get(model->watch, "promised");
  const gchar *before = json_string_value(json_object_get(model->watch, "seen"));
  g_autofree gchar *served = leader_served_errors(model->schema, rows, n, version);
  GString *seen = g_string_new(before);
  for (const gchar *c = served; *c; c++)
    if (*c != '2') g_string_append_c(seen, *c);
  g_autofree gchar *text = g_string_free(seen, FALSE);
  gsize watched = strlen(text);
  g_autofree guint8 *bits = g_malloc(watched + 1);
  guint64 errors = 0;
  for (gsize i = 0; i < watched; i++) errors += bits[i] = (guint8)(text[i] - '0');
  json_object_set_new(model->watch, "rows", json_integer((json_int_t)watched));
  json_object_set_new(model->watch, "errors", json_integer((json_int_t)errors));
  json_object_set_new(model->watch, "seen", json_string(text));
  if (!json_is_number(promised) || watched == 0) return TRUE;
  double tau = adapt_autocorrelation(bits, (guint)watched), p_value = NAN;
  if (isnan(tau)) tau = WATCH_TAU;
  if (watched >= settings->rollout.watch_rows) {
    json_decref(model->watch);
    model->watch = json_null();
    return TRUE;
  }
  if (!deploy_watch_disappoints((guint64)((double)errors / tau), (guint64)((double)watched / tau),
                                json_number_value(promised), settings->rollout.watch_margin, WATCH_ALPHA / WATCH_LOOKS,
                                &p_value))
    return TRUE;
  AdaptSettings adapt_settings;
  leader_adapt_settings(settings, &adapt_settings);
  g_autofree gchar *why = g_strdup_printf("live error %.3f over %" G_GSIZE_FORMAT " rows against a promised %.3f + %.3f "
                                          "(p = %.2g)",
                                          (double)errors / (double)watched, watched, json_number_value(promised),
                                          settings->rollout.watch_margin, p_value);
  return roll_back(model, context, &adapt_settings, time, why, error);
}

/* Somebody else may have moved the alias: an operator's promotion or rollback. */
static gboolean follow_champion(LeaderModel *model, LeaderContext *context, const AdaptSettings *settings, GError **error)
{
  g_autoptr(GError) lookup = NULL;
  gint64 champion = registry_alias_get(context->store, model->name, "champion", &lookup);
  if (champion == 0 && !g_error_matches(lookup, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&lookup));
    return FALSE;
  }
  if (champion == 0 || champion == adapt_get_champion(model->adapt)) return TRUE;
  adapt_set_champion(model->adapt, settings, champion);
  json_decref(model->watch);
  model->watch = json_null();
  return TRUE;
}

/* --- the decision on a pane ---------------------------------------------------------------------------------------------- */

static gchar *describe(const AdaptStep *step)
{
  if (step->alarm)
    return g_strdup_printf("the error rose from %.3f (n = %" G_GUINT64_FORMAT ") to %.3f (n = %" G_GUINT64_FORMAT
                           ") at labelled row %" G_GINT64_FORMAT "; likelihood ratio %.1f / %.1f against %.1f",
                           step->error_before, step->n_before, step->error_after, step->n_after, step->change_row,
                           step->glr, step->tau, step->threshold);
  return g_strdup_printf("the error of the last %u rows is %.3f against a promised %.3f, %.1f standard errors beyond the "
                         "margin",
                         step->level_rows, step->level_error, step->promise, step->level_z);
}

json_t *leader_label_body(const AdaptStep *step, const json_t *pane)
{
  json_t *body = verdict_step_to_json(step);
  json_object_update(body, (json_t *)pane);
  json_object_del(body, "detectors");
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
  LeaderFinding finding = {"performance", summary, id, !step->closed, 1, number, time};
  json_t *cause = json_pack("{s:s}", "text", summary);
  json_t *body = json_pack("{s:[o], s:o}", "causes", cause, "change_point",
                           step->alarm ? row_to_json(model, step->change_row) : json_null());
  return leader_follow_incident(model, context, &finding, body, error);
}

static gboolean promote_from_pool(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                                  const AdaptSettings *adapt_settings, const AdaptStep *step, gint64 before, gint64 time,
                                  GError **error)
{
  g_autofree gchar *reason = g_strdup_printf(
      "%s: version %" G_GINT64_FORMAT " errs %.3f, the champion %.3f on the latest %u labelled rows", step->promote_why,
      step->promote, step->promote_error, step->champion_error, step->promote_rows);
  if (!settings->rollout.automatic) {
    adapt_set_champion(model->adapt, adapt_settings, before);
    return leader_note_incident(model, context, "performance", time, NULL, error, "waiting for `kedge promote %s %" G_GINT64_FORMAT
                                "`: %s", model->name, step->promote, reason);
  }
  return leader_promote(model, context, step->promote, before, step->promote_error, reason, error) &&
         leader_note_incident(model, context, "performance", time, NULL, error, "promoted from the pool: %s", reason);
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
  return json_pack("{s:o, s:o, s:o, s:O?}", "settings", adapt_settings_to_json(settings), "before",
                   adapt_to_json(model->adapt), "errors", bits, "detectors", json_object_get(pane, "detectors"));
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
  gboolean kept = step.opened || step.closed || step.alarm || step.promote || step.training;
  if (!kept) json_object_clear(inputs);
  g_autofree gchar *id = NULL;
  gboolean good = put_label_verdict(model, context, &step, pane, inputs, &id, error);
  json_decref(inputs);
  gboolean act = g_strv_contains((const gchar *const *)settings->policy.act_on, "performance");
  good = good && follow_performance(model, context, &step, id, number, time, error);
  if (good && step.promote)
    good = promote_from_pool(model, context, settings, &adapt_settings, &step, champion, time, error);
  if (good && step.training && act && settings->policy.retrain)
    good = leader_request_training(model, context, &step, "performance", time, error);
  return good;
}

/* --- taking a pane ------------------------------------------------------------------------------------------------------- */

static json_t *find_pending(const LeaderModel *model, const gchar *purpose)
{
  json_t *entry;
  size_t i;
  json_array_foreach(model->pending, i, entry) if (g_strcmp0(json_string_value(json_object_get(entry, "purpose")),
                                                              purpose) == 0) return entry;
  return NULL;
}

static gboolean decide_or_score(LeaderModel *model, LeaderContext *context, const DriftLabelRow *rows, guint n,
                                json_t *pane, GError **error)
{
  guint n_versions = 0;
  gint64 champion = adapt_get_champion(model->adapt), start = adapt_get_rows(model->adapt);
  const gint64 *versions = adapt_get_versions(model->adapt, &n_versions);
  g_autofree gchar *served = leader_served_errors(model->schema, rows, n, champion);
  if (n_versions > 1 || strchr(served, '2')) {
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
  AdaptSettings adapt_settings;
  leader_adapt_settings(settings, &adapt_settings);
  gint64 first = g_array_index(model->rows, LeaderRows, model->rows->len - 1).start;
  json_t *pane = json_pack("{s:I, s:I, s:I}", "number", (json_int_t)model->counters.label_panes++, "time",
                           (json_int_t)time, "first_row", (json_int_t)first);
  json_object_set_new(pane, "detectors", leader_detectors_to_json(model)); /* before this pane: for replay */
  leader_feed_detectors(model, rows, n, pane);
  gboolean good = close_rollout(model, context, time, error) &&
                  watch_rollout(model, context, settings, rows, n, time, error);
  if (good && model->adapt)
    good = follow_champion(model, context, &adapt_settings, error) &&
           decide_or_score(model, context, rows, n, pane, error);
  json_decref(pane);
  return good && leader_judge_performance(model, context, settings, error);
}

static gboolean take_pane(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                          const LeaderTaken *taken, GError **error)
{
  const RegistryLabelPane *pane = taken->labels;
  g_autoptr(GArray) rows = drift_label_rows_from_bytes(pane->bytes, error);
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

/* Nobody scores: after so many panes the served rows have to do. */
static gboolean give_up_scoring(LeaderModel *model, LeaderContext *context, guint waiting, GError **error)
{
  json_t *entry = find_pending(model, "pane");
  if (!entry || waiting <= PATIENCE_PANES || json_is_true(json_object_get(entry, "given_up"))) return TRUE;
  json_object_set_new(entry, "given_up", json_true());
  return registry_job_cancel(context->store, json_string_value(json_object_get(entry, "id")), "kedged", error);
}

gboolean leader_step_labels(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean *worked,
                            GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gboolean more = FALSE;
  g_autoptr(GPtrArray) panes = leader_take_order(model, context, shards, TRUE, &more, error);
  if (!panes) return FALSE;
  if (!give_up_scoring(model, context, panes->len, error)) return FALSE;
  for (guint i = 0; i < panes->len && !find_pending(model, "pane"); i++) {
    if (!take_pane(model, context, settings, g_ptr_array_index(panes, i), error)) return FALSE;
    *worked = TRUE;
  }
  return TRUE;
}
