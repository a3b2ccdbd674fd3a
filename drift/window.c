/* The verdict over one window: tests, correction, ranking. */
#include "drift/window_internal.h"

#include <math.h>

#include "drift/bias.h"
#include "drift/horizon.h"
#include "drift/statistics.h"

#define MAX_EVIDENCE_LOG 700

void drift_window_settings_init(DriftWindowSettings *settings)
{
  *settings = (DriftWindowSettings){.minimum_effect = .1,
                                    .false_discovery_rate = .01,
                                    .quality_level = .01,
                                    .joint_level = .01,
                                    .missing_rate_increase = .05,
                                    .disparate_impact_bound = 0,
                                    .minimum_group = 30,
                                    .confidence = .95,
                                    .bias_metrics = drift_bias_default_metrics,
                                    .bias_crossed = 1};
}

/* A bound that no setting of the budget may exceed. */
#define MOST_LEVEL .05
#define LEAST_LEVEL 1e-12

void drift_window_settings_spend(DriftWindowSettings *settings, double budget, double per_events, double events,
                                 guint scale)
{
  /* A sum of 2^k windows closes with every 2^k-th window only, so it may spend 2^k windows' shares. */
  double of_window = budget * events / per_events;
  double share = scale == 0 ? DRIFT_BUDGET_WINDOW : DRIFT_BUDGET_HORIZON / DRIFT_HORIZON_SCALES * (double)(1u << scale);
  settings->false_discovery_rate = CLAMP(share * of_window, LEAST_LEVEL, MOST_LEVEL);
  settings->quality_level = scale == 0 ? CLAMP(DRIFT_BUDGET_QUALITY * of_window, LEAST_LEVEL, MOST_LEVEL) : 0;
  settings->joint_level = scale == 0 ? CLAMP(DRIFT_BUDGET_JOINT * of_window, LEAST_LEVEL, MOST_LEVEL) : 0;
}

static void feature_verdict_free(gpointer data)
{
  DriftFeatureVerdict *verdict = data;
  g_free(verdict->feature);
  g_free(verdict);
}

static void bias_verdict_free(gpointer data)
{
  DriftBiasVerdict *verdict = data;
  g_free(verdict->attribute);
  g_free(verdict->group);
  g_free(verdict->reference_group);
  g_free(verdict);
}

void drift_window_verdict_free(DriftWindowVerdict *verdict)
{
  if (verdict == NULL) return;
  g_ptr_array_unref(verdict->features);
  g_ptr_array_unref(verdict->bias_verdicts);
  g_clear_pointer(&verdict->slices, g_ptr_array_unref);
  g_clear_pointer(&verdict->dependences, g_ptr_array_unref);
  g_free(verdict);
}

static DriftFeatureVerdict *feature_at(const DriftWindowVerdict *verdict, guint index)
{
  return g_ptr_array_index(verdict->features, index);
}

static void judge_drift(DriftWindowVerdict *verdict, const DriftWindowSettings *settings)
{
  guint n = verdict->features->len;
  g_autofree double *p = g_new(double, n), *adjusted = g_new(double, n);
  for (guint i = 0; i < n; i++) p[i] = feature_at(verdict, i)->p;
  drift_benjamini_hochberg(p, n, adjusted);
  double smallest = 1;
  for (guint i = 0; i < n; i++) {
    DriftFeatureVerdict *feature = feature_at(verdict, i);
    feature->p_adjusted = adjusted[i];
    if (isnan(adjusted[i])) continue;
    smallest = fmin(smallest, adjusted[i]);
    feature->drift = adjusted[i] <= settings->false_discovery_rate && feature->effect >= settings->minimum_effect;
    verdict->drift = verdict->drift || feature->drift;
  }
  verdict->evidence_log = smallest > 0 ? fmin(-log(smallest), MAX_EVIDENCE_LOG) : MAX_EVIDENCE_LOG;
}

/* Latency has no quality: a slow answer is drift, and one without latency is the logger's business. Outputs that the
 * reference lacks have nothing to rise from. */
static gboolean has_quality(const DriftGrid *grid, const DriftFeatureVerdict *feature, guint quantity)
{
  if (quantity == grid->n_features + DRIFT_OUTPUT_LATENCY) return FALSE;
  return quantity < grid->n_features || feature->n_reference > 0;
}

static void judge_quality(DriftWindowVerdict *verdict, const DriftAccumulator *profile, const DriftBaseline *baseline,
                          const DriftAccumulator *window, const DriftWindowSettings *settings)
{
  guint n = verdict->features->len;
  g_autofree double *p = g_new(double, n *DRIFT_N_QUALITY), *rise = g_new(double, n *DRIFT_N_QUALITY);
  g_autofree double *adjusted = g_new(double, n *DRIFT_N_QUALITY);
  for (guint i = 0; i < n; i++) {
    drift_window_test_quality(profile, baseline, window, i, p + i * DRIFT_N_QUALITY, rise + i * DRIFT_N_QUALITY);
    if (has_quality(profile->grid, feature_at(verdict, i), i)) continue;
    for (guint j = 0; j < DRIFT_N_QUALITY; j++) p[i * DRIFT_N_QUALITY + j] = NAN;
  }
  drift_benjamini_hochberg(p, n * DRIFT_N_QUALITY, adjusted);
  for (guint i = 0; i < n * DRIFT_N_QUALITY; i++) {
    gboolean rises = adjusted[i] <= settings->quality_level && rise[i] > settings->missing_rate_increase;
    if (!rises) continue;
    feature_at(verdict, i / DRIFT_N_QUALITY)->quality = TRUE;
    verdict->quality = TRUE;
  }
}

static gint compare_numbers(double left, double right)
{
  return (left > right) - (left < right);
}

/* Drifting ones by effect (their p-values saturate), then those with bad quality, then the others by p; undefined last;
 * schema order (the name is no tie-break: the sort below is stable) among equals. */
static gint compare_features(gconstpointer a, gconstpointer b, gpointer user_data)
{
  (void)user_data;
  const DriftFeatureVerdict *left = *(DriftFeatureVerdict *const *)a, *right = *(DriftFeatureVerdict *const *)b;
  if (left->drift != right->drift) return left->drift ? -1 : 1;
  if (left->drift) return -compare_numbers(left->effect, right->effect);
  if (left->quality != right->quality) return left->quality ? -1 : 1;
  gboolean left_undefined = isnan(left->p), right_undefined = isnan(right->p);
  if (left_undefined || right_undefined) return left_undefined - right_undefined;
  return compare_numbers(left->p, right->p);
}

static DriftWindowVerdict *verdict_new(void)
{
  DriftWindowVerdict *verdict = g_new0(DriftWindowVerdict, 1);
  verdict->features = g_ptr_array_new_with_free_func(feature_verdict_free);
  verdict->bias_verdicts = g_ptr_array_new_with_free_func(bias_verdict_free);
  return verdict;
}

DriftWindowVerdict *drift_window_evaluate(const DriftAccumulator *profile, const DriftAccumulator *window,
                                          const DriftLabelRow *labels, guint n_labels,
                                          const DriftWindowSettings *settings, GError **error)
{
  return drift_window_evaluate_with(profile, NULL, window, labels, n_labels, settings, error);
}

static gboolean check_grids(const DriftGrid *grid, const DriftBaseline *baseline, const DriftAccumulator *window,
                            GError **error)
{
  if (grid->digest != window->grid->digest) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "the profile is of grid %s, the window of grid %s: make the profile on the window's grid", grid->id,
                window->grid->id);
    return FALSE;
  }
  if (baseline != NULL && baseline->grid_digest != grid->digest) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "the baseline is not of grid %s: make it from the profile's reference", grid->id);
    return FALSE;
  }
  return TRUE;
}

DriftWindowVerdict *drift_window_evaluate_with(const DriftAccumulator *profile, const DriftBaseline *baseline,
                                               const DriftAccumulator *window, const DriftLabelRow *labels,
                                               guint n_labels, const DriftWindowSettings *settings, GError **error)
{
  const DriftGrid *grid = profile->grid;
  if (!check_grids(grid, baseline, window, error)) return NULL;
  DriftWindowVerdict *verdict = verdict_new();
  for (guint i = 0; i < grid->n_quantities; i++) {
    DriftFeatureVerdict *feature = g_new0(DriftFeatureVerdict, 1);
    drift_window_test_quantity(profile, baseline, window, i, feature);
    g_ptr_array_add(verdict->features, feature);
  }
  judge_drift(verdict, settings);
  if (settings->joint_level > 0) drift_window_judge_slices(profile, window, labels, n_labels, settings, verdict);
  if (settings->quality_level > 0) judge_quality(verdict, profile, baseline, window, settings);
  /* GLib's sort with data is stable, the one without need not be. */
  g_qsort_with_data(verdict->features->pdata, (gint)verdict->features->len, sizeof(gpointer), compare_features, NULL);

  drift_performance_measure(grid->schema, labels, n_labels, settings->confidence, &verdict->performance);
  verdict->bias_undefined = drift_bias_measure(grid, labels, n_labels, settings, verdict->bias_verdicts);
  for (guint i = 0; i < verdict->bias_verdicts->len; i++) {
    const DriftBiasVerdict *bias = g_ptr_array_index(verdict->bias_verdicts, i);
    verdict->bias = verdict->bias || bias->breach;
  }
  return verdict;
}
