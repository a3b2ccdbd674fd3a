/* The default verdict of `kedge drift test`: the daemon's window verdict with the reference as profile. */
#include <math.h>

#include "daemon/drift_test_internal.h"
#include "daemon/leader_internal.h"
#include "drift/accumulator_columns.h"
#include "drift/horizon.h"
#include "drift/window.h"

/* Stretches of the current rows for the evidence over time; none shorter than this many rows. */
#define MOST_STRETCHES 12
#define SHORTEST_STRETCH 100

static DriftSchema *schema_of(const DriftTestColumn *columns, guint n)
{
  /* The window verdict wants a task; without labels none of its parts is used. */
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  for (guint i = 0; i < n; i++)
    drift_schema_add_feature(schema, columns[i].reference->name, columns[i].reference->kind, FALSE, TRUE);
  return schema;
}

/* The current rows [start, end) as events. */
static void add_rows(DriftAccumulator *accumulator, const DriftTestColumn *columns, guint n, guint64 start, guint64 end)
{
  g_autofree DriftValue *values = g_new(DriftValue, n + 1);
  DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = values};
  for (guint64 row = start; row < end; row++) {
    for (guint i = 0; i < n; i++) values[i] = drift_column_get_value(columns[i].current, row);
    drift_accumulator_add(accumulator, &event);
  }
}

/* The same of all rows: accumulators count every column by itself and do not depend on order, so each column comes as
 * it is at hand: numbers sorted. */
static void add_all_rows(DriftAccumulator *accumulator, const DriftTestColumn *columns, guint n, gboolean current,
                         guint64 n_rows)
{
  g_autofree DriftFeatureColumn *features = g_new(DriftFeatureColumn, n + 1);
  for (guint i = 0; i < n; i++)
    features[i] = (DriftFeatureColumn){current ? columns[i].data.current : columns[i].data.reference,
                                       current ? columns[i].current : columns[i].reference};
  drift_accumulator_add_columns(accumulator, features, n_rows);
}

static json_t *strip(json_t *verdict)
{
  static const gchar *const of_models[] = {"bias", "bias_verdicts", "performance"};
  for (guint i = 0; i < G_N_ELEMENTS(of_models); i++) json_object_del(verdict, of_models[i]);
  return verdict;
}

/* Why there is no verdict on a feature, beside its figures. */
static void tell_undefined(json_t *json, const DriftWindowVerdict *verdict)
{
  gsize index;
  json_t *feature;
  json_array_foreach (json_object_get(json, "features"), index, feature) {
    const DriftFeatureVerdict *f = g_ptr_array_index(verdict->features, index);
    if (f->undefined != NULL) json_object_set_new(feature, "undefined", json_string(f->undefined));
  }
}

/* Verdicts of the columns in their places; outputs of models, which files do not have, are left out. */
static void distribute(json_t *verdict, DriftTestColumn *columns, guint n)
{
  gsize index;
  json_t *feature;
  json_array_foreach (json_object_get(verdict, "features"), index, feature) {
    const gchar *name = json_string_value(json_object_get(feature, "feature"));
    for (guint i = 0; i < n; i++) {
      if (g_strcmp0(columns[i].reference->name, name) != 0) continue;
      json_object_set(columns[i].json, "verdict", feature);
      json_object_set_new(columns[i].json, "cause", json_integer((json_int_t)index + 1));
      if (json_is_true(json_object_get(feature, "drift"))) json_object_set_new(columns[i].json, "drift", json_true());
    }
  }
}

typedef struct {
  const DriftAccumulator *profile;
  const DriftBaseline *baseline; /* may be NULL */
  const DriftTestSettings *settings;
} Reference;

/* One stretch, or the sum of the last 2^scale ones: {"windows", "evidence_log", "evidence_bound", "drift"}, or NULL.
 * The level is that of all stretches together, spent as the daemon spends a budget. */
static json_t *judge_stretch(const Reference *reference, const DriftAccumulator *sum, guint64 stretches, guint scale,
                             GError **error)
{
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  drift_window_settings_spend(&settings, reference->settings->level, (double)stretches, 1, scale);
  settings.minimum_effect = reference->settings->minimum_effect;
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate_with(reference->profile, reference->baseline, sum, NULL, 0, &settings, error);
  if (verdict == NULL) return NULL;
  return json_pack("{s:i, s:o, s:o, s:b}", "windows", 1 << scale, "evidence_log",
                   drift_test_number(verdict->evidence_log), "evidence_bound",
                   drift_test_number(-log(settings.false_discovery_rate)), "drift", verdict->drift);
}

/* The stretch's own verdict with those of the sums that end with it in "sums"; what raised drift is in no later sum. */
static json_t *judge_with_sums(const Reference *reference, DriftHorizon *horizon, const DriftAccumulator *window,
                               guint64 stretches, GError **error)
{
  json_t *out = judge_stretch(reference, window, stretches, 0, error), *sums = json_array();
  gboolean found = json_is_true(json_object_get(out, "drift"));
  guint closing = out != NULL && !found ? drift_horizon_add(horizon, window, error) : 0;
  for (guint scale = 1; scale <= closing; scale++) {
    json_t *sum = judge_stretch(reference, drift_horizon_get(horizon, scale), stretches, scale, error);
    found = found || json_is_true(json_object_get(sum, "drift"));
    json_array_append_new(sums, sum);
  }
  if (found) drift_horizon_reset(horizon);
  if (out == NULL) {
    json_decref(sums);
    return NULL;
  }
  json_object_set_new(out, "drift", json_boolean(found));
  json_object_set_new(out, "sums", sums);
  return out;
}

static gboolean add_timeline(const DriftTestColumn *columns, guint n, DriftGrid *grid, const Reference *reference,
                             guint64 rows, json_t *report, GError **error)
{
  guint64 stretches = MIN(MOST_STRETCHES, rows / SHORTEST_STRETCH);
  json_t *timeline = json_array();
  json_object_set_new(report, "timeline", timeline);
  g_autoptr(DriftAccumulator) window = drift_accumulator_new(grid);
  g_autoptr(DriftHorizon) horizon = drift_horizon_new(grid);
  for (guint64 s = 0; s < stretches && stretches > 1; s++) {
    guint64 start = rows * s / stretches, end = rows * (s + 1) / stretches;
    drift_accumulator_reset(window);
    add_rows(window, columns, n, start, end);
    json_t *stretch = judge_with_sums(reference, horizon, window, stretches, error);
    if (stretch == NULL) return FALSE;
    json_object_set_new(stretch, "first_row", json_integer((json_int_t)start));
    json_object_set_new(stretch, "rows", json_integer((json_int_t)(end - start)));
    json_array_append_new(timeline, stretch);
  }
  return TRUE;
}

gboolean drift_test_auto(const DriftTestRequest *request, const DriftTestSettings *settings, DriftTestColumn *columns,
                         guint n_columns, json_t *report, gboolean *drift, GError **error)
{
  DriftWindowSettings window_settings;
  drift_window_settings_init(&window_settings);
  window_settings.false_discovery_rate = window_settings.quality_level = window_settings.joint_level = settings->level;
  window_settings.minimum_effect = settings->minimum_effect;
  g_autoptr(DriftSchema) schema = schema_of(columns, n_columns);
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, request->reference, 0, error);
  if (grid == NULL) return FALSE;
  g_autoptr(DriftAccumulator) profile = drift_accumulator_new(grid), window = drift_accumulator_new(grid);
  add_all_rows(profile, columns, n_columns, FALSE, request->reference->n_rows);
  add_all_rows(window, columns, n_columns, TRUE, request->current->n_rows);
  g_autoptr(DriftBaseline) baseline = settings->ordered ? drift_baseline_new(profile, request->reference, error) : NULL;
  if (settings->ordered && baseline == NULL) return FALSE;
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate_with(profile, baseline, window, NULL, 0, &window_settings, error);
  if (verdict == NULL) return FALSE;
  const Reference reference = {profile, baseline, settings};
  json_t *json = strip(verdict_window_to_json(verdict, &window_settings));
  tell_undefined(json, verdict);
  distribute(json, columns, n_columns);
  json_object_set(report, "evidence_log", json_object_get(json, "evidence_log"));
  json_object_set(report, "evidence_bound", json_object_get(json, "evidence_bound"));
  json_object_set(report, "quality", json_object_get(json, "quality"));
  json_decref(json);
  *drift |= verdict->drift;
  return !request->timeline ||
         add_timeline(columns, n_columns, grid, &reference, request->current->n_rows, report, error);
}
