/* Windows: sums of panes judged against the profile of the version that served them. */
#include "daemon/leader_window.h"

#include "drift/bias.h"

void window_settings_for(const SettingsModel *settings, double events, guint scale, DriftWindowSettings *out)
{
  drift_window_settings_init(out);
  if (settings->alarm.minimum_effect > 0) out->minimum_effect = settings->alarm.minimum_effect;
  out->disparate_impact_bound = settings->alarm.disparate_impact_bound;
  if (settings->alarm.minimum_group > 0) out->minimum_group = settings->alarm.minimum_group;
  out->bias_crossed = settings->alarm.bias_crossed;
  out->bias_metrics = 0;
  for (gchar **name = settings->alarm.bias_metrics; *name; name++) /* the loader knows no other names */
    out->bias_metrics |= 1u << (guint)drift_bias_metric_find(*name);
  drift_window_settings_spend(out, settings->alarm.budget, (double)MAX(settings->alarm.per_rows, 1), events, scale);
}

DriftAccumulator *window_sum(RegistryStore *store, const gchar *model, DriftGrid *grid, const LeaderPane *panes,
                             guint n, GError **error)
{
  g_autoptr(DriftAccumulator) sum = drift_accumulator_new(grid);
  for (guint i = 0; i < n; i++) {
    g_autoptr(GPtrArray) list = registry_pane_list(store, model, panes[i].partition, panes[i].number, 1, TRUE, error);
    if (!list) return NULL;
    const RegistryPane *pane = list->len ? g_ptr_array_index(list, 0) : NULL;
    if (!pane || pane->number != panes[i].number) {
      g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
                  "model %s: pane %" G_GINT64_FORMAT " of partition %d is no longer stored", model, panes[i].number,
                  panes[i].partition);
      return NULL;
    }
    g_autoptr(DriftAccumulator) part = drift_accumulator_from_bytes(grid, pane->bytes, error);
    if (!part || !drift_accumulator_merge(sum, part, error)) return NULL;
  }
  return g_steal_pointer(&sum);
}

GArray *window_label_rows(RegistryStore *store, const gchar *model, const LeaderRows *panes, guint n, GError **error)
{
  g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(DriftLabelRow));
  for (guint i = 0; i < n; i++) {
    g_autoptr(GPtrArray) list = registry_label_pane_list(store, model, panes[i].partition, panes[i].label_partition,
                                                         panes[i].number, 1, TRUE, error);
    if (!list) return NULL;
    const RegistryLabelPane *pane = list->len ? g_ptr_array_index(list, 0) : NULL;
    if (!pane || pane->number != panes[i].number) {
      g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
                  "model %s: label pane %" G_GINT64_FORMAT " of partition %d/%d is no longer stored", model,
                  panes[i].number, panes[i].partition, panes[i].label_partition);
      return NULL;
    }
    g_autoptr(GArray) part = drift_label_rows_from_bytes(pane->bytes, error);
    if (!part) return NULL;
    g_array_append_vals(rows, part->data, part->len);
  }
  return g_steal_pointer(&rows);
}

json_t *window_body(const DriftWindowVerdict *verdict, const DriftWindowSettings *settings, guint64 n,
                    gint64 first_time, guint n_windows, gboolean performance)
{
  json_t *body = verdict_window_to_json(verdict, settings);
  if (performance) json_object_del(body, "features");
  if (n_windows > 1) json_object_set_new(body, "windows", json_integer(n_windows));
  json_object_set_new(body, "n", json_integer((json_int_t)n));
  json_object_set_new(body, "first_time", json_integer(first_time));
  return body;
}

json_t *window_panes_to_json(const LeaderPane *panes, guint n)
{
  json_t *list = json_array();
  for (guint i = 0; i < n; i++)
    json_array_append_new(list, json_pack("[i, I]", panes[i].partition, (json_int_t)panes[i].number));
  return list;
}

json_t *window_label_panes_to_json(const LeaderRows *panes, guint n)
{
  json_t *list = json_array();
  for (guint i = 0; i < n; i++)
    json_array_append_new(
        list, json_pack("[i, i, I]", panes[i].partition, panes[i].label_partition, (json_int_t)panes[i].number));
  return list;
}

gchar *window_inputs(const LeaderModel *model, const DriftWindowSettings *settings, guint n_windows)
{
  json_t *json = json_pack("{s:i, s:s, s:I, s:s, s:o}", "windows", (int)n_windows, "grid",
                           drift_grid_get_id(model->grid), "version", (json_int_t)model->profile_version, "profile",
                           model->profile_digest, "settings", verdict_settings_to_json(settings));
  gchar *text = verdict_dump(json);
  json_decref(json);
  return text;
}

gboolean window_put_verdict(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 number,
                            gint64 event_time, gboolean drift, json_t *panes, const gchar *inputs, json_t *body,
                            gchar **id, GError **error)
{
  *id = g_strdup_printf("%s/%s/%" G_GINT64_FORMAT, model->name, kind, number);
  g_autofree gchar *panes_text = verdict_dump(panes), *body_text = verdict_dump(body);
  json_decref(panes);
  RegistryVerdict verdict = {.id = *id,
                             .model = model->name,
                             .kind = (gchar *)kind,
                             .number = number,
                             .event_time = event_time,
                             .drift = drift,
                             .panes = panes_text,
                             .settings = (gchar *)inputs,
                             .body = body_text};
  model->counters.verdicts++;
  return registry_verdict_put(context->store, &verdict, error);
}

static void show_window(const LeaderModel *model, LeaderContext *context, const DriftWindowVerdict *verdict)
{
  if (!context->metrics) return;
  g_autofree gchar *labels = metrics_label("model", model->name, NULL);
  metrics_add(context->metrics, "kedge_verdicts_total", labels, 1);
  metrics_set(context->metrics, "kedge_drift_evidence", labels, verdict->evidence_log);
}

/* The causes of an incident: the features that raised it, strongest first, as the verdict has them. */
static json_t *causes_of(const json_t *verdict, const gchar *flag)
{
  json_t *causes = json_array(), *feature;
  size_t i;
  json_array_foreach (json_object_get(verdict, "features"), i, feature) {
    if (!json_is_true(json_object_get(feature, flag))) continue;
    json_t *cause = json_copy(feature);
    if (g_str_equal(flag, "quality")) { /* what is amiss, not how the known values are distributed */
      g_autofree gchar *text =
          g_strdup_printf("%s: missing %.1f %% (reference %.1f %%), unseen %.1f %%, out of range %.1f %% (n = %lld)",
                          json_string_value(json_object_get(feature, "feature")),
                          100 * json_number_value(json_object_get(feature, "missing_window")),
                          100 * json_number_value(json_object_get(feature, "missing_reference")),
                          100 * json_number_value(json_object_get(feature, "unseen_window")),
                          100 * json_number_value(json_object_get(feature, "out_of_range_window")),
                          json_integer_value(json_object_get(feature, "n_window")));
      json_object_set_new(cause, "text", json_string(text));
    }
    json_array_append_new(causes, cause);
  }
  if (g_str_equal(flag, "drift")) verdict_add_dependence_causes(json_object_get(verdict, "dependences"), causes);
  return causes;
}

/* A window, or a sum of the last ones, judged and not yet written. */
typedef struct {
  guint scale;   /* 2^scale windows */
  GArray *panes; /* of LeaderPane, owned */
  DriftWindowSettings settings;
  DriftWindowVerdict *verdict; /* owned */
} Judgement;

static void judgement_free(gpointer data)
{
  Judgement *judgement = data;
  g_clear_pointer(&judgement->panes, g_array_unref);
  drift_window_verdict_free(judgement->verdict);
  g_free(judgement);
}

static void span_of(const GArray *panes, guint64 *count, gint64 *first_time, gint64 *last_time)
{
  *count = 0;
  *first_time = G_MAXINT64;
  *last_time = G_MININT64;
  for (guint i = 0; i < panes->len; i++) {
    const LeaderPane *pane = &g_array_index(panes, LeaderPane, i);
    *count += pane->count;
    *first_time = MIN(*first_time, pane->first_time);
    *last_time = MAX(*last_time, pane->last_time);
  }
}

/* A sum that finds nothing says nothing against what a single window found. What it found stays until as many windows
 * again are clean. */
static gboolean follow_window(LeaderModel *model, LeaderContext *context, const Judgement *judgement,
                              const json_t *body, const gchar *id, gint64 number, GError **error)
{
  const DriftWindowVerdict *verdict = judgement->verdict;
  guint64 count;
  gint64 first_time, last_time;
  span_of(judgement->panes, &count, &first_time, &last_time);
  const struct {
    const gchar *kind, *flag;
    gboolean found;
  } kinds[] = {{"drift", "drift", verdict->drift}, {"quality", "quality", verdict->quality}};
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    if (judgement->scale > 0 && !kinds[i].found) continue;
    g_autofree gchar *what = verdict_window_summary(verdict, g_str_equal(kinds[i].kind, "quality"));
    g_autofree gchar *summary =
        judgement->scale > 0 ? g_strdup_printf("over %u windows: %s", 1u << judgement->scale, what) : g_strdup(what);
    LeaderFinding finding = {.kind = kinds[i].kind,
                             .summary = summary,
                             .verdict = id,
                             .found = kinds[i].found,
                             .clear_after = WINDOW_CLEAR_AFTER,
                             .number = number,
                             .event_time = last_time,
                             .clear_from = judgement->scale > 0 ? -(1 << judgement->scale) : 0};
    json_t *incident = json_pack("{s:o, s:{s:I, s:I}, s:o}", "causes", causes_of(body, kinds[i].flag), "change_point",
                                 "window", (json_int_t)number, "time", (json_int_t)first_time, "evidence_log",
                                 verdict_number(verdict->evidence_log));
    if (json_object_get(body, "slices")) json_object_set(incident, "slices", json_object_get(body, "slices"));
    if (!leader_follow_incident(model, context, &finding, incident, error)) return FALSE;
  }
  return TRUE;
}

/* The version that served most of the window (the newer of two alike); 0: the events do not say. */
static gint64 serving_version(const DriftAccumulator *sum)
{
  DriftVersionCount most = {0}, count;
  for (guint i = 0; i < drift_accumulator_n_versions(sum); i++) {
    drift_accumulator_get_version(sum, i, &count);
    if (count.version > 0 && count.n >= most.n) most = count;
  }
  return most.version;
}

/* Events that a window has and the one before it has not: the share of the alarm budget is theirs. */
static double fresh_events(const SettingsWindow *window, guint64 count)
{
  if (window->events > 0)
    return window->slide_events > 0 ? MIN((double)window->slide_events, (double)count) : (double)count;
  return window->slide_ms > 0 ? (double)count * (double)window->slide_ms / (double)window->duration_ms : (double)count;
}

/* The window's sum with the profile it is judged by in the cache: that of the version that served it, so that the
 * verdict does not depend on how soon after the window another version was promoted. NULL with *missing: not judged. */
static DriftAccumulator *sum_window(LeaderModel *model, LeaderContext *context, const gchar **missing, GError **error)
{
  if (!leader_model_load_profile(model, context, missing, error) || *missing) return NULL;
  g_autoptr(DriftAccumulator) sum =
      window_sum(context->store, model->name, model->grid, (const LeaderPane *)(void *)model->window->data,
                 model->window->len, error);
  gint64 version = sum ? serving_version(sum) : 0;
  if (version > 0 && !leader_model_load_profile_of(model, context, version, error)) return NULL;
  return g_steal_pointer(&sum);
}

/* Inside a decision transaction. window: the number of the newest window. */
static gboolean write_judgement(LeaderModel *model, LeaderContext *context, const Judgement *judgement, gint64 window,
                                GError **error)
{
  gboolean horizon = judgement->scale > 0;
  guint n_windows = 1u << judgement->scale;
  guint64 count;
  gint64 first_time, last_time, number = horizon ? model->counters.horizons++ : window;
  span_of(judgement->panes, &count, &first_time, &last_time);
  json_t *body = window_body(judgement->verdict, &judgement->settings, count, first_time, n_windows, FALSE);
  json_t *panes = window_panes_to_json((const LeaderPane *)(void *)judgement->panes->data, judgement->panes->len);
  g_autofree gchar *inputs = window_inputs(model, &judgement->settings, n_windows), *id = NULL;
  gboolean good = window_put_verdict(model, context, horizon ? "horizon" : "window", number, last_time,
                                     judgement->verdict->drift, panes, inputs, body, &id, error) &&
                  follow_window(model, context, judgement, body, id, window, error);
  json_decref(body);
  return good;
}

/* NULL with error. */
static Judgement *judge_panes(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, double fresh,
                              guint scale, const GArray *panes, const DriftAccumulator *sum, GError **error)
{
  g_autoptr(DriftAccumulator) own = sum ? NULL
                                        : window_sum(context->store, model->name, model->grid,
                                                     (const LeaderPane *)(void *)panes->data, panes->len, error);
  if (!sum && !own) return NULL;
  Judgement *judgement = g_new0(Judgement, 1);
  judgement->scale = scale;
  judgement->panes = g_array_copy((GArray *)panes);
  window_settings_for(settings, fresh, scale, &judgement->settings);
  judgement->verdict = drift_window_evaluate_with(model->profile, model->baseline, sum ? sum : own, NULL, 0,
                                                  &judgement->settings, error);
  if (judgement->verdict) return judgement;
  judgement_free(judgement);
  return NULL;
}

/* The sum of the last 2^scale windows onto `judgements`. */
static gboolean judge_sum(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, double fresh,
                          guint scale, GPtrArray *judgements, GError **error)
{
  g_autoptr(GArray) panes = leader_horizon_panes(model, scale);
  g_autoptr(GError) local = NULL;
  Judgement *judgement = judge_panes(model, context, settings, fresh, scale, panes, NULL, &local);
  if (judgement) {
    g_ptr_array_add(judgements, judgement);
    return TRUE;
  }
  if (g_error_matches(local, DRIFT_ERROR, DRIFT_ERROR_MISMATCH)) {
    g_message("model %s: no sums over a change of grid: %s", model->name, local->message);
    leader_horizon_reset(model);
    return TRUE;
  }
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* The window and the sums that end with it, as Judgement*. What has raised drift is in no later sum: sums are for what
 * single windows do not see, and an episode that is over must not be found again. */
static GPtrArray *judge_all(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, guint64 count,
                            const DriftAccumulator *sum, GError **error)
{
  g_autoptr(GPtrArray) judgements = g_ptr_array_new_with_free_func(judgement_free);
  double fresh = fresh_events(&settings->window, count);
  Judgement *window = judge_panes(model, context, settings, fresh, 0, model->window, sum, error);
  if (!window) return NULL;
  g_ptr_array_add(judgements, window);
  gboolean found = window->verdict->drift;
  if (!found) leader_horizon_note(model);
  guint closing = found ? 0 : leader_horizon_closing(model);
  for (guint scale = 1; scale <= closing; scale++)
    if (!judge_sum(model, context, settings, fresh, scale, judgements, error)) return NULL;
  for (guint i = 0; i < judgements->len; i++)
    found = found || ((const Judgement *)g_ptr_array_index(judgements, i))->verdict->drift;
  if (found) leader_horizon_reset(model);
  return g_steal_pointer(&judgements);
}

static gboolean write_judgements(LeaderModel *model, LeaderContext *context, const GPtrArray *judgements,
                                 GError **error)
{
  gint64 window = model->counters.windows++;
  for (guint i = 0; i < judgements->len; i++)
    if (!write_judgement(model, context, g_ptr_array_index(judgements, i), window, error)) return FALSE;
  return TRUE;
}

/* Judges the window that is full. *judged: a decision transaction is open, to be committed by the caller. */
static gboolean close_window(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, guint64 count,
                             gboolean *judged, GError **error)
{
  const gchar *missing = NULL;
  g_autoptr(DriftAccumulator) sum = sum_window(model, context, &missing, error);
  if (missing) {
    g_message("model %s: window not judged: %s", model->name, missing);
    return TRUE;
  }
  g_autoptr(GPtrArray) judgements = sum ? judge_all(model, context, settings, count, sum, error) : NULL;
  if (!judgements || !leader_begin(context, error)) return FALSE;
  if (!write_judgements(model, context, judgements, error)) {
    registry_store_rollback(context->store);
    return FALSE;
  }
  show_window(model, context, ((const Judgement *)g_ptr_array_index(judgements, 0))->verdict);
  *judged = TRUE;
  return TRUE;
}

static guint64 window_count(const LeaderModel *model)
{
  guint64 count = 0;
  for (guint i = 0; i < model->window->len; i++) count += g_array_index(model->window, LeaderPane, i).count;
  return count;
}

/* Drops from the front what the next window does not share. */
static void slide(LeaderModel *model, const SettingsWindow *window)
{
  guint drop = model->window->len;
  if (window->events > 0 && window->slide_events > 0 && window->slide_events < window->events) {
    guint64 count = window_count(model), keep = window->events - window->slide_events;
    for (drop = 0; drop < model->window->len && count > keep; drop++)
      count -= g_array_index(model->window, LeaderPane, drop).count;
  } else if (window->events == 0 && window->slide_ms > 0 && window->slide_ms < window->duration_ms) {
    gint64 slide_us = window->slide_ms * 1000, start = g_array_index(model->window, LeaderPane, 0).last_time;
    gint64 next = (start / slide_us + 1) * slide_us;
    for (drop = 0; drop < model->window->len && g_array_index(model->window, LeaderPane, drop).last_time < next;)
      drop++;
  }
  if (drop) g_array_remove_range(model->window, 0, drop);
}

/* Whether the window is full before `pane` joins it (by time), or with what it holds (by events). */
static gboolean window_is_full(const LeaderModel *model, const SettingsWindow *window, const RegistryPane *pane)
{
  if (model->window->len == 0) return FALSE;
  if (window->events > 0) return !pane && window_count(model) >= window->events;
  gint64 slide_us = (window->slide_ms > 0 ? window->slide_ms : window->duration_ms) * 1000;
  gint64 start = g_array_index(model->window, LeaderPane, 0).last_time / slide_us * slide_us;
  return pane && pane->count > 0 && pane->last_time >= start + window->duration_ms * 1000;
}

/* A full window is judged; the decision transaction carries the state with the panes already taken. */
static gboolean judge(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, GError **error)
{
  guint64 count = window_count(model);
  gboolean judged = FALSE; /* FALSE: no profile, or empty */
  if (count > 0 && !close_window(model, context, settings, count, &judged, error)) return FALSE;
  slide(model, &settings->window);
  model->changed = TRUE;
  return !judged || leader_commit(model, context, error);
}

gboolean leader_step_windows(LeaderModel *model, LeaderContext *context, const GPtrArray *shards, gboolean *worked,
                             GError **error)
{
  const SettingsModel *settings = settings_find_model(context->settings, model->name);
  gboolean more = FALSE;
  g_autoptr(GPtrArray) panes = leader_take_order(model, context, shards, FALSE, &more, error);
  if (!panes) return FALSE;
  for (guint i = 0; i < panes->len; i++) {
    const LeaderTaken *next = g_ptr_array_index(panes, i);
    const RegistryPane *pane = next->traffic;
    while (window_is_full(model, &settings->window, pane))
      if (!judge(model, context, settings, error)) return FALSE;
    *leader_model_cursor(model, next->partition, -1) = pane->number + 1;
    model->changed = TRUE;
    if (pane->count > 0) {
      LeaderPane taken = {next->partition, pane->number, pane->count, pane->first_time, pane->last_time};
      g_array_append_val(model->window, taken);
    }
    while (window_is_full(model, &settings->window, NULL))
      if (!judge(model, context, settings, error)) return FALSE;
  }
  *worked = *worked || panes->len > 0 || more;
  return TRUE;
}
