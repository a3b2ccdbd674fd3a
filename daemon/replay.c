/* See replay.h. One function a kind of verdict, in a visible table. */
#include "daemon/replay.h"

#include <string.h>

#include "daemon/leader_window.h"
#include "pipeline/model_spec.h"

typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  const RegistryVerdict *verdict;
  json_t *inputs, *panes, *body;
} Replay;

void replay_result_clear(ReplayResult *result)
{
  g_free(result->verdict);
  g_free(result->kind);
  g_free(result->difference);
  g_free(result->events);
  *result = (ReplayResult){0};
}

static gboolean fail(GError **error, const Replay *r, const gchar *what)
{
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE, "verdict %s: %s", r->verdict->id, what);
  return FALSE;
}

/* --- windows of traffic and of labels
 * --------------------------------------------------------------------------------- */

/* The profile named in the inputs, on the grid named there, and its baseline (NULL: none); NULL with error. */
static DriftAccumulator *load_profile(const Replay *r, DriftGrid **grid, DriftBaseline **baseline, GError **error)
{
  gint64 number = json_integer_value(json_object_get(r->inputs, "version"));
  const gchar *digest = json_string_value(json_object_get(r->inputs, "profile"));
  g_autoptr(RegistryVersion) version = registry_version_get(r->store, r->verdict->model, number, error);
  if (!version) return NULL;
  g_autoptr(GBytes) grid_bytes =
      version->grid_digest ? registry_artifacts_get(r->artifacts, version->grid_digest, error) : NULL;
  g_autoptr(GBytes) bytes = grid_bytes && digest ? registry_artifacts_get(r->artifacts, digest, error) : NULL;
  g_autoptr(DriftGrid) loaded = bytes ? drift_grid_from_bytes(grid_bytes, error) : NULL;
  if (!loaded) {
    if (error && !*error) fail(error, r, "its version has no grid or profile");
    return NULL;
  }
  if (g_strcmp0(drift_grid_get_id(loaded), json_string_value(json_object_get(r->inputs, "grid"))) != 0) {
    fail(error, r, "the version's grid is not the one it was judged on");
    return NULL;
  }
  DriftAccumulator *profile = drift_reference_from_bytes(loaded, bytes, baseline, error);
  if (profile) *grid = g_steal_pointer(&loaded);
  return profile;
}

/* The panes of the verdict as they are stored now; NULL with error. */
static GArray *traffic_panes(const Replay *r, guint64 *count, gint64 *first_time, GError **error)
{
  g_autoptr(GArray) panes = g_array_new(FALSE, TRUE, sizeof(LeaderPane));
  json_t *item;
  size_t i;
  *count = 0;
  *first_time = G_MAXINT64;
  json_array_foreach (r->panes, i, item) {
    LeaderPane pane = {.partition = (gint32)json_integer_value(json_array_get(item, 0)),
                       .number = json_integer_value(json_array_get(item, 1))};
    g_autoptr(GPtrArray) list =
        registry_pane_list(r->store, r->verdict->model, pane.partition, pane.number, 1, FALSE, error);
    if (!list) return NULL;
    if (list->len == 0 || ((RegistryPane *)g_ptr_array_index(list, 0))->number != pane.number) {
      fail(error, r, "one of its panes is no longer stored");
      return NULL;
    }
    const RegistryPane *stored = g_ptr_array_index(list, 0);
    pane.count = stored->count;
    *count += stored->count;
    *first_time = MIN(*first_time, stored->first_time);
    g_array_append_val(panes, pane);
  }
  return g_steal_pointer(&panes);
}

static json_t *replay_window(const Replay *r, GError **error)
{
  DriftWindowSettings settings;
  g_autoptr(DriftGrid) grid = NULL;
  guint64 count = 0;
  gint64 first_time = 0;
  if (!verdict_settings_from_json(json_object_get(r->inputs, "settings"), &settings)) {
    fail(error, r, "its settings cannot be read");
    return NULL;
  }
  g_autoptr(DriftBaseline) baseline = NULL;
  g_autoptr(DriftAccumulator) profile = load_profile(r, &grid, &baseline, error);
  g_autoptr(GArray) panes = profile ? traffic_panes(r, &count, &first_time, error) : NULL;
  g_autoptr(DriftAccumulator) sum =
      panes ? window_sum(r->store, r->verdict->model, grid, (const LeaderPane *)(void *)panes->data, panes->len, error)
            : NULL;
  g_autoptr(DriftWindowVerdict) verdict =
      sum ? drift_window_evaluate_with(profile, baseline, sum, NULL, 0, &settings, error) : NULL;
  guint n_windows = (guint)json_integer_value(json_object_get(r->inputs, "windows"));
  return verdict ? window_body(verdict, &settings, count, first_time, n_windows, FALSE) : NULL;
}

static GArray *label_panes(const Replay *r)
{
  GArray *panes = g_array_new(FALSE, TRUE, sizeof(LeaderRows));
  json_t *item;
  size_t i;
  json_array_foreach (r->panes, i, item) {
    LeaderRows rows = {.partition = (gint32)json_integer_value(json_array_get(item, 0)),
                       .label_partition = (gint32)json_integer_value(json_array_get(item, 1)),
                       .number = json_integer_value(json_array_get(item, 2))};
    g_array_append_val(panes, rows);
  }
  return panes;
}

static json_t *replay_performance(const Replay *r, GError **error)
{
  DriftWindowSettings settings;
  g_autoptr(DriftGrid) grid = NULL;
  if (!verdict_settings_from_json(json_object_get(r->inputs, "settings"), &settings)) {
    fail(error, r, "its settings cannot be read");
    return NULL;
  }
  g_autoptr(DriftBaseline) baseline = NULL;
  g_autoptr(DriftAccumulator) profile = load_profile(r, &grid, &baseline, error);
  g_autoptr(GArray) panes = label_panes(r);
  g_autoptr(GArray) rows = profile ? window_label_rows(r->store, r->verdict->model,
                                                       (const LeaderRows *)(void *)panes->data, panes->len, error)
                                   : NULL;
  if (!rows) return NULL;
  g_autoptr(DriftAccumulator) empty = drift_accumulator_new(grid);
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate(profile, empty, (const DriftLabelRow *)(void *)rows->data, rows->len, &settings, error);
  return verdict ? window_body(verdict, &settings, rows->len,
                               rows->len ? g_array_index(rows, DriftLabelRow, 0).label_time : 0, 1, TRUE)
                 : NULL;
}

/* --- label panes
 * ------------------------------------------------------------------------------------------------------- */

/* The error bits of the verdict's inputs in the policy's order of versions; FALSE: they do not fit. */
static gboolean input_errors(const Replay *r, const Adapt *adapt, guint n_rows, GPtrArray *errors)
{
  guint n = 0;
  const gint64 *versions = adapt_get_versions(adapt, &n);
  for (guint v = 0; v < n; v++) {
    g_autofree gchar *key = g_strdup_printf("%" G_GINT64_FORMAT, versions[v]);
    const gchar *text = json_string_value(json_object_get(json_object_get(r->inputs, "errors"), key));
    if (!text || strlen(text) != n_rows) return FALSE;
    guint8 *bits = g_malloc(n_rows + 1);
    for (guint i = 0; i < n_rows; i++) bits[i] = (guint8)(text[i] - '0');
    g_ptr_array_add(errors, bits);
  }
  return TRUE;
}

/* Rows that the champion itself served must err in the inputs as they do in the pane. */
static gboolean served_rows_agree(const Adapt *adapt, const DriftSchema *schema, const GArray *rows,
                                  const GPtrArray *errors)
{
  guint n = 0;
  gint64 champion = adapt_get_champion(adapt);
  const gint64 *versions = adapt_get_versions(adapt, &n);
  g_autofree gchar *served =
      leader_served_errors(schema, (const DriftLabelRow *)(void *)rows->data, rows->len, champion);
  for (guint v = 0; v < n; v++) {
    const guint8 *bits = g_ptr_array_index(errors, v);
    for (guint i = 0; versions[v] == champion && i < rows->len; i++)
      if (served[i] != '2' && served[i] - '0' != bits[i]) return FALSE;
  }
  return TRUE;
}

/* The look that the rollout's watch took at this pane, when there was one. */
static void replay_watch(const Replay *r, const DriftSchema *schema, const GArray *rows, json_t *pane)
{
  const json_t *watch = json_object_get(r->inputs, "watch");
  if (!json_is_object(watch)) return;
  double margin = json_number_value(json_object_get(json_object_get(r->body, "watch"), "margin"));
  g_autofree gchar *served = leader_served_errors(schema, (const DriftLabelRow *)(void *)rows->data, rows->len,
                                                  json_integer_value(json_object_get(watch, "version")));
  json_t *look = leader_watch_look(watch, margin, served);
  json_object_del(look, "seen");
  json_object_set_new(pane, "watch", look);
}

/* The same of the bias audit. */
static gboolean replay_audit(const Replay *r, const GArray *rows, json_t *pane, GError **error)
{
  const json_t *before = json_object_get(r->inputs, "audit");
  if (!json_is_object(before)) return TRUE;
  json_t *state = json_copy((json_t *)before);
  json_t *look = leader_audit_look(state, (const DriftLabelRow *)(void *)rows->data, rows->len, error);
  json_decref(state);
  if (look) json_object_set_new(pane, "audit", look);
  return look != NULL;
}

static json_t *replay_label(const Replay *r, GError **error)
{
  g_autoptr(LeaderModel) model = leader_model_new(r->verdict->model);
  g_autoptr(RegistryModel) registered = registry_model_get(r->store, r->verdict->model, error);
  model->schema = registered ? pipeline_model_spec_parse(registered->spec, error) : NULL;
  g_autoptr(GArray) panes = label_panes(r);
  g_autoptr(GArray) rows = model->schema ? window_label_rows(r->store, r->verdict->model,
                                                             (const LeaderRows *)(void *)panes->data, panes->len, error)
                                         : NULL;
  if (!rows) return NULL;
  if (rows->len == 0) {
    fail(error, r, "its pane holds no rows");
    return NULL;
  }
  AdaptSettings settings;
  AdaptStep step;
  g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(Adapt) adapt = NULL;
  if (!json_object_get(r->inputs, "before")) {
    fail(error, r, "nothing was decided on this pane, so its inputs were not kept");
    return NULL;
  }
  if (!(adapt = adapt_from_json(json_object_get(r->inputs, "before"), error)) ||
      !leader_detectors_from_json(model, json_object_get(r->inputs, "detectors"), error))
    return NULL;
  if (!adapt_settings_from_json(json_object_get(r->inputs, "settings"), &settings) ||
      !input_errors(r, adapt, rows->len, errors)) {
    fail(error, r, "its inputs cannot be read");
    return NULL;
  }
  if (!served_rows_agree(adapt, model->schema, rows, errors)) {
    fail(error, r, "the errors it was decided on are not those of the pane");
    return NULL;
  }
  adapt_pane(adapt, &settings, (const guint8 *const *)(void *)errors->pdata, rows->len, &step);
  static const gchar *const kept[] = {"number", "first_row", "served"};
  json_t *pane = json_pack("{s:I}", "time", (json_int_t)g_array_index(rows, DriftLabelRow, rows->len - 1).label_time);
  for (guint i = 0; i < G_N_ELEMENTS(kept); i++)
    if (json_object_get(r->body, kept[i])) json_object_set(pane, kept[i], json_object_get(r->body, kept[i]));
  leader_feed_detectors(model, (const DriftLabelRow *)(void *)rows->data, rows->len, pane);
  replay_watch(r, model->schema, rows, pane);
  json_t *body = replay_audit(r, rows, pane, error) ? leader_label_body(&step, pane) : NULL;
  json_decref(pane);
  return body;
}

static const struct {
  const gchar *kind;
  json_t *(*run)(const Replay *r, GError **error);
} kinds[] = {{"window", replay_window},
             {"horizon", replay_window},
             {"performance", replay_performance},
             {"label", replay_label}};

/* --- comparing
 * ----------------------------------------------------------------------------------------------------------- */

/* A value as text of at most 200 bytes that is still UTF-8; new. */
static gchar *shortened(const json_t *value)
{
  enum { SHOWN = 200 };
  if (!value) return g_strdup("absent");
  g_autofree gchar *text = verdict_dump(value);
  if (strlen(text) <= SHOWN) return g_steal_pointer(&text);
  *g_utf8_find_prev_char(text, text + SHOWN + 1) = '\0';
  return g_strconcat(text, "…", NULL);
}

/* The first field of the stored body that the recomputed one does not repeat exactly; new text, NULL: none. */
static gchar *first_difference(const json_t *stored, json_t *again)
{
  const char *key;
  json_t *value;
  json_object_foreach ((json_t *)stored, key, value) {
    json_t *other = json_object_get(again, key);
    if (other && json_equal(value, other)) continue;
    g_autofree gchar *was = shortened(value), *is = shortened(other);
    return g_strdup_printf("%s: stored %s, recomputed %s", key, was, is);
  }
  return json_object_size(stored) == json_object_size(again) ? NULL
                                                             : g_strdup("fields that the stored verdict has not");
}

static RegistryVerdict *find_verdict(RegistryStore *store, const gchar *id, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(RegistryIncident) incident = registry_incident_get(store, id, &local);
  if (incident && (!incident->verdict || !*incident->verdict)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
                "incident %s was opened by no verdict (%s): there is nothing to recompute", id, incident->summary);
    return NULL;
  }
  if (incident) return registry_verdict_get(store, incident->verdict, error);
  if (!g_error_matches(local, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
  }
  return registry_verdict_get(store, id, error);
}

static gboolean recompute(const Replay *r, ReplayResult *result, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    if (!g_str_equal(kinds[i].kind, r->verdict->kind)) continue;
    json_t *again = kinds[i].run(r, error);
    if (!again) return FALSE;
    result->difference = first_difference(r->body, again);
    result->identical = result->difference == NULL;
    json_decref(again);
    return TRUE;
  }
  return fail(error, r, "verdicts of this kind cannot be recomputed");
}

gboolean replay(RegistryStore *store, RegistryArtifacts *artifacts, const Settings *settings, const gchar *id,
                ReplayResult *result, GError **error)
{
  g_autoptr(RegistryVerdict) verdict = find_verdict(store, id, error);
  if (!verdict) return FALSE;
  Replay r = {.store = store,
              .artifacts = artifacts,
              .verdict = verdict,
              .inputs = json_loads(verdict->settings, JSON_REJECT_DUPLICATES, NULL),
              .panes = json_loads(verdict->panes, JSON_REJECT_DUPLICATES, NULL),
              .body = json_loads(verdict->body, JSON_REJECT_DUPLICATES, NULL)};
  *result = (ReplayResult){
      .verdict = g_strdup(verdict->id), .kind = g_strdup(verdict->kind), .n_panes = (guint)json_array_size(r.panes)};
  gboolean good = r.inputs && r.panes && r.body ? recompute(&r, result, error) : fail(error, &r, "it cannot be read");
  if (good && settings && g_str_equal(verdict->kind, "window"))
    good = replay_events(store, artifacts, settings, verdict->model, verdict->panes, result, error);
  json_decref(r.inputs);
  json_decref(r.panes);
  json_decref(r.body);
  if (!good) replay_result_clear(result);
  return good;
}
