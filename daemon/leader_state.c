/* The leader's durable state of one model: what it has taken, what it waits for, what is open. */
#include <math.h>
#include <string.h>

#include "daemon/leader_internal.h"
#include "pipeline/model_spec.h"

enum { STATE_FORMAT = 1 };

LeaderModel *leader_model_new(const gchar *name)
{
  LeaderModel *model = g_new0(LeaderModel, 1);
  model->name = g_strdup(name);
  model->cursors = g_array_new(FALSE, TRUE, sizeof(LeaderCursor));
  model->window = g_array_new(FALSE, TRUE, sizeof(LeaderPane));
  model->past = g_array_new(FALSE, TRUE, sizeof(LeaderPast));
  model->rows = g_array_new(FALSE, TRUE, sizeof(LeaderRows));
  model->incidents = json_object();
  model->pending = json_array();
  model->watch = json_null();
  model->budget = json_object();
  model->audit = json_null();
  return model;
}

void leader_model_free(LeaderModel *model)
{
  if (!model) return;
  g_array_unref(model->cursors);
  g_array_unref(model->window);
  g_array_unref(model->past);
  g_array_unref(model->rows);
  adapt_free(model->adapt);
  drift_detector_free(model->adwin);
  drift_detector_free(model->ddm);
  json_decref(model->incidents);
  json_decref(model->pending);
  json_decref(model->watch);
  json_decref(model->budget);
  json_decref(model->audit);
  drift_schema_free(model->schema);
  if (model->grid) drift_grid_unref(model->grid);
  drift_accumulator_free(model->profile);
  drift_baseline_free(model->baseline);
  g_free(model->profile_digest);
  g_free(model->progress);
  g_free(model->name);
  g_free(model);
}

gint64 *leader_model_cursor(LeaderModel *model, gint32 partition, gint32 label_partition)
{
  for (guint i = 0; i < model->cursors->len; i++) {
    LeaderCursor *cursor = &g_array_index(model->cursors, LeaderCursor, i);
    if (cursor->partition == partition && cursor->label_partition == label_partition) return &cursor->next;
  }
  LeaderCursor cursor = {.partition = partition, .label_partition = label_partition};
  g_array_append_val(model->cursors, cursor);
  return &g_array_index(model->cursors, LeaderCursor, model->cursors->len - 1).next;
}

/* --- to JSON --------------------------------------------------------------------------------------------------------
 */

static json_t *detector_to_json(const DriftDetector *detector)
{
  if (!detector) return json_null();
  g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
  gsize length = 0;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_autofree gchar *text = g_base64_encode(data, length);
  return json_string(text);
}

json_t *leader_detectors_to_json(const LeaderModel *model)
{
  return json_pack("{s:o, s:o}", "adwin", detector_to_json(model->adwin), "ddm", detector_to_json(model->ddm));
}

static json_t *cursors_to_json(const LeaderModel *model)
{
  json_t *list = json_array();
  for (guint i = 0; i < model->cursors->len; i++) {
    const LeaderCursor *c = &g_array_index(model->cursors, LeaderCursor, i);
    json_array_append_new(list, json_pack("[i, i, I]", c->partition, c->label_partition, (json_int_t)c->next));
  }
  return list;
}

static json_t *window_to_json(const LeaderModel *model)
{
  json_t *list = json_array();
  for (guint i = 0; i < model->window->len; i++) {
    const LeaderPane *p = &g_array_index(model->window, LeaderPane, i);
    json_array_append_new(list, json_pack("[i, I, I, I, I]", p->partition, (json_int_t)p->number, (json_int_t)p->count,
                                          (json_int_t)p->first_time, (json_int_t)p->last_time));
  }
  return list;
}

static json_t *rows_to_json(const LeaderModel *model)
{
  json_t *list = json_array();
  for (guint i = 0; i < model->rows->len; i++) {
    const LeaderRows *r = &g_array_index(model->rows, LeaderRows, i);
    json_array_append_new(list, json_pack("[i, i, I, I, I, I, I]", r->partition, r->label_partition,
                                          (json_int_t)r->number, (json_int_t)r->first_row, (json_int_t)r->next_row,
                                          (json_int_t)r->start, (json_int_t)r->time));
  }
  return list;
}

static json_t *counters_to_json(const LeaderCounters *c)
{
  return json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "windows", (json_int_t)c->windows,
      "horizons", (json_int_t)c->horizons, "performance_windows", (json_int_t)c->performance_windows, "label_panes",
      (json_int_t)c->label_panes, "label_verdicts", (json_int_t)c->label_verdicts, "verdicts", (json_int_t)c->verdicts,
      "retrainings", (json_int_t)c->retrainings, "refits", (json_int_t)c->refits, "training_failures",
      (json_int_t)c->training_failures, "gate_refusals", (json_int_t)c->gate_refusals, "promotions",
      (json_int_t)c->promotions, "rollbacks", (json_int_t)c->rollbacks, "incidents", (json_int_t)c->incidents);
}

GBytes *leader_model_to_bytes(const LeaderModel *model)
{
  json_t *json = json_object();
  json_object_set_new(json, "format", json_integer(STATE_FORMAT));
  json_object_set_new(json, "cursors", cursors_to_json(model));
  json_object_set_new(json, "window", window_to_json(model));
  json_object_set_new(json, "past", leader_horizon_to_json(model));
  json_object_set_new(json, "rows", rows_to_json(model));
  json_object_set_new(json, "performance_panes", json_integer(model->performance_panes));
  json_object_set_new(json, "adapt", model->adapt ? adapt_to_json(model->adapt) : json_null());
  json_object_set_new(json, "detectors", leader_detectors_to_json(model));
  json_object_set(json, "incidents", model->incidents);
  json_object_set(json, "pending", model->pending);
  json_object_set(json, "watch", model->watch);
  json_object_set(json, "budget", model->budget);
  json_object_set(json, "audit", model->audit);
  json_object_set_new(json, "waiting", json_integer(model->waiting));
  if (model->learner > 0) json_object_set_new(json, "learner", json_integer(model->learner));
  json_object_set_new(json, "counters", counters_to_json(&model->counters));
  gchar *text = verdict_dump(json);
  json_decref(json);
  return g_bytes_new_take(text, strlen(text));
}

/* --- from JSON ------------------------------------------------------------------------------------------------------
 */

static gboolean restore_lists(LeaderModel *model, const json_t *json)
{
  json_t *item;
  size_t i;
  json_array_foreach (json_object_get(json, "cursors"), i, item) {
    LeaderCursor c = {0};
    json_int_t next = 0;
    if (json_unpack(item, "[i, i, I]", &c.partition, &c.label_partition, &next) != 0) return FALSE;
    c.next = next;
    g_array_append_val(model->cursors, c);
  }
  json_array_foreach (json_object_get(json, "window"), i, item) {
    LeaderPane p = {0};
    json_int_t v[4];
    if (json_unpack(item, "[i, I, I, I, I]", &p.partition, &v[0], &v[1], &v[2], &v[3]) != 0) return FALSE;
    p = (LeaderPane){p.partition, v[0], (guint64)v[1], v[2], v[3]};
    g_array_append_val(model->window, p);
  }
  json_array_foreach (json_object_get(json, "rows"), i, item) {
    LeaderRows r = {0};
    json_int_t v[5];
    if (json_unpack(item, "[i, i, I, I, I, I, I]", &r.partition, &r.label_partition, &v[0], &v[1], &v[2], &v[3],
                    &v[4]) != 0)
      return FALSE;
    r = (LeaderRows){r.partition, r.label_partition, v[0], v[1], v[2], v[3], v[4]};
    g_array_append_val(model->rows, r);
  }
  return leader_horizon_from_json(model, json_object_get(json, "past")); /* absent in states of older releases */
}

static gint64 get_integer(const json_t *json, const gchar *key)
{
  return json_integer_value(json_object_get(json, key));
}

static void restore_counters(LeaderModel *model, const json_t *json)
{
  model->counters = (LeaderCounters){.windows = get_integer(json, "windows"),
                                     .horizons = get_integer(json, "horizons"),
                                     .performance_windows = get_integer(json, "performance_windows"),
                                     .label_panes = get_integer(json, "label_panes"),
                                     .label_verdicts = get_integer(json, "label_verdicts"),
                                     .verdicts = get_integer(json, "verdicts"),
                                     .retrainings = get_integer(json, "retrainings"),
                                     .refits = get_integer(json, "refits"),
                                     .training_failures = get_integer(json, "training_failures"),
                                     .gate_refusals = get_integer(json, "gate_refusals"),
                                     .promotions = get_integer(json, "promotions"),
                                     .rollbacks = get_integer(json, "rollbacks"),
                                     .incidents = get_integer(json, "incidents")};
}

static gboolean restore_detector(DriftDetector **detector, const json_t *json, GError **error)
{
  if (!json_is_string(json)) return TRUE;
  gsize length = 0;
  guint8 *data = g_base64_decode(json_string_value(json), &length);
  g_autoptr(GBytes) bytes = g_bytes_new_take(data, length);
  *detector = drift_detector_from_bytes(bytes, error);
  return *detector != NULL;
}

gboolean leader_detectors_from_json(LeaderModel *model, const json_t *json, GError **error)
{
  return restore_detector(&model->adwin, json_object_get(json, "adwin"), error) &&
         restore_detector(&model->ddm, json_object_get(json, "ddm"), error);
}

static void replace(json_t **slot, const json_t *json, const gchar *key)
{
  json_t *value = json_object_get(json, key);
  if (!value) return;
  json_decref(*slot);
  *slot = json_incref(value);
}

static gboolean restore(LeaderModel *model, GBytes *bytes, GError **error)
{
  gsize length = 0;
  const gchar *data = g_bytes_get_data(bytes, &length);
  json_t *json = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
  gboolean good = json && get_integer(json, "format") == STATE_FORMAT && restore_lists(model, json);
  if (!good) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
                "model %s: the leader's stored state cannot be read: it is damaged or of another release; "
                "run `kedge verify`",
                model->name);
  } else {
    const json_t *adapt = json_object_get(json, "adapt");
    model->performance_panes = (guint)get_integer(json, "performance_panes");
    model->waiting = get_integer(json, "waiting");
    model->learner = get_integer(json, "learner");
    restore_counters(model, json_object_get(json, "counters"));
    replace(&model->incidents, json, "incidents");
    replace(&model->pending, json, "pending");
    replace(&model->watch, json, "watch");
    replace(&model->budget, json, "budget");
    replace(&model->audit, json, "audit");
    good = leader_detectors_from_json(model, json_object_get(json, "detectors"), error);
    if (good && json_is_object(adapt)) good = (model->adapt = adapt_from_json(adapt, error)) != NULL;
  }
  json_decref(json);
  return good;
}

/* The promise of a version: its error on rows it was not trained on, from its metrics
 * ({"accuracy": a, "n": rows} as `kedge model add` and the jobs write them). */
static double promised_error(const gchar *metrics, guint *n)
{
  *n = 0;
  json_t *json = metrics ? json_loads(metrics, JSON_REJECT_DUPLICATES, NULL) : NULL;
  const json_t *held_out = json_object_get(json, "holdout");
  const json_t *accuracy = json_object_get(held_out, "accuracy");
  double error = NAN;
  if (json_is_number(accuracy) && get_integer(held_out, "n") > 0) {
    error = 1 - json_number_value(accuracy);
    *n = (guint)get_integer(held_out, "n");
  }
  json_decref(json);
  return error;
}

gint64 leader_model_next_row(const LeaderModel *model)
{
  if (model->rows->len == 0) return 0;
  const LeaderRows *last = &g_array_index(model->rows, LeaderRows, model->rows->len - 1);
  return last->start + last->next_row - last->first_row;
}

gboolean leader_model_begin_adaptation(LeaderModel *model, LeaderContext *context, gint64 row, GError **error)
{
  if (model->adapt || model->schema->task == DRIFT_TASK_REGRESSION) return TRUE;
  g_autoptr(GError) lookup = NULL;
  gint64 champion = registry_alias_get(context->store, model->name, "champion", &lookup);
  if (g_error_matches(lookup, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) return TRUE;
  if (lookup) {
    g_propagate_error(error, g_steal_pointer(&lookup));
    return FALSE;
  }
  g_autoptr(RegistryVersion) version = registry_version_get(context->store, model->name, champion, error);
  if (!version) return FALSE;
  guint n = 0;
  double promise = promised_error(version->metrics, &n);
  model->adapt = adapt_new(champion, promise, n);
  adapt_begin_at(model->adapt, row);
  return TRUE;
}

static gboolean begin_detectors(LeaderModel *model, GError **error)
{
  if (!model->adwin && !(model->adwin = drift_detector_new("adwin", NULL, error))) return FALSE;
  return model->ddm || (model->ddm = drift_detector_new("ddm", NULL, error)) != NULL;
}

gboolean leader_model_load(LeaderModel *model, LeaderContext *context, GError **error)
{
  g_autoptr(RegistryModel) registered = registry_model_get(context->store, model->name, error);
  if (!registered) return FALSE;
  model->schema = pipeline_model_spec_parse(registered->spec, error);
  if (!model->schema) return FALSE;
  g_autoptr(GError) local = NULL;
  g_autoptr(GBytes) bytes = registry_leader_state_get(context->store, model->name, &local);
  if (local) {
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
  }
  if (bytes && !restore(model, bytes, error)) return FALSE;
  model->progress = registry_leader_progress_get(context->store, model->name, &local);
  if (local) {
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
  }
  return leader_model_begin_adaptation(model, context, leader_model_next_row(model), error) &&
         begin_detectors(model, error);
}

static GBytes *get_artifact(LeaderContext *context, const gchar *digest, GError **error)
{
  return registry_artifacts_get(context->artifacts, digest, error);
}

/* Version's grid and profile into the cache; *missing says why there are none. */
static gboolean load_profile(LeaderModel *model, LeaderContext *context, gint64 number, const gchar **missing,
                             GError **error)
{
  if (model->profile && model->profile_version == number) return TRUE;
  g_autoptr(RegistryVersion) version = registry_version_get(context->store, model->name, number, error);
  if (!version) return FALSE;
  if (!version->grid_digest || !version->profile_digest) {
    *missing = "the champion has no profile: register it with `kedge model add --reference`";
    return TRUE;
  }
  g_autoptr(GBytes) grid_bytes = get_artifact(context, version->grid_digest, error);
  g_autoptr(DriftGrid) grid = grid_bytes ? drift_grid_from_bytes(grid_bytes, error) : NULL;
  g_autoptr(GBytes) profile_bytes = grid ? get_artifact(context, version->profile_digest, error) : NULL;
  g_autoptr(DriftBaseline) baseline = NULL;
  DriftAccumulator *profile = profile_bytes ? drift_reference_from_bytes(grid, profile_bytes, &baseline, error) : NULL;
  if (!profile) return FALSE;
  drift_accumulator_free(model->profile);
  drift_baseline_free(model->baseline);
  if (model->grid) drift_grid_unref(model->grid);
  model->profile = profile;
  model->baseline = g_steal_pointer(&baseline);
  model->grid = g_steal_pointer(&grid);
  model->profile_version = number;
  g_free(model->profile_digest);
  model->profile_digest = g_strdup(version->profile_digest);
  return TRUE;
}

gboolean leader_model_load_profile(LeaderModel *model, LeaderContext *context, const gchar **missing, GError **error)
{
  g_autoptr(GError) lookup = NULL;
  *missing = NULL;
  gint64 champion = registry_alias_get(context->store, model->name, "champion", &lookup);
  if (champion > 0) return load_profile(model, context, champion, missing, error);
  *missing = "no version is champion: run `kedge promote`";
  if (g_error_matches(lookup, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) return TRUE;
  g_propagate_error(error, g_steal_pointer(&lookup));
  return FALSE;
}

gboolean leader_model_load_profile_of(LeaderModel *model, LeaderContext *context, gint64 version, GError **error)
{
  const gchar *missing = NULL;
  g_autoptr(GError) local = NULL;
  if (load_profile(model, context, version, &missing, &local)) return TRUE;
  if (g_error_matches(local, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) return TRUE;
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

void leader_adapt_settings(const SettingsModel *settings, AdaptSettings *adapt)
{
  adapt_settings_init(adapt);
  if (settings->alarm.budget > 0 && settings->alarm.per_rows > 0) {
    adapt->budget = settings->alarm.budget;
    adapt->per_rows = (double)settings->alarm.per_rows;
  }
  adapt->pool = settings->policy.pool;
  adapt->minimum_rows = MAX(settings->policy.minimum_rows, 20);
  if (settings->policy.cooldown_rows > 0) adapt->refresh_rows = settings->policy.cooldown_rows;
  adapt->holdout_fraction = settings->policy.holdout_fraction;
  adapt->served = g_strcmp0(settings->policy.retrain_mode, "mixture") == 0;
  if (adapt->served) adapt->pool = 0;
}
