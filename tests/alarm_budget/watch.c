#include "tests/alarm_budget/watch.h"

#include <stdio.h>

const guint window_lengths[N_LENGTHS] = {200, 2000, 50000};

void watch_init(Watch *watch, Traffic *traffic, guint64 n_reference, gboolean with_baseline)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftSchema) schema = traffic_schema(traffic);
  g_autoptr(DriftTable) reference = traffic_table(traffic, n_reference);
  g_autoptr(DriftGrid) grid = drift_grid_new_with_pairs(schema, reference, 0, DRIFT_GRID_DEFAULT_PAIRS, &error);
  if (grid == NULL) g_error("alarm budget: %s", error->message);
  *watch = (Watch){.profile = drift_accumulator_from_table(grid, reference, NULL), .pane = drift_accumulator_new(grid)};
  if (with_baseline) watch->baseline = drift_baseline_new(watch->profile, reference, NULL);
  for (guint i = 0; i < N_LENGTHS; i++) {
    watch->of[i].watched = TRUE;
    watch->of[i].window = drift_accumulator_new(grid);
    watch->of[i].horizon = drift_horizon_new(grid);
  }
}

void watch_clear(Watch *watch)
{
  for (guint i = 0; i < N_LENGTHS; i++) {
    drift_accumulator_free(watch->of[i].window);
    drift_horizon_free(watch->of[i].horizon);
  }
  drift_accumulator_free(watch->pane);
  drift_accumulator_free(watch->profile);
  drift_baseline_free(watch->baseline);
}

void watch_restart(Watch *watch)
{
  watch->rows = 0;
  for (guint i = 0; i < N_LENGTHS; i++) watch->of[i].first_alarm = 0;
}

static void show_alarm(const DriftWindowVerdict *verdict, guint length, guint scale, guint64 rows)
{
  const DriftFeatureVerdict *f = g_ptr_array_index(verdict->features, 0);
  fprintf(stderr,
          "alarm at row %" G_GUINT64_FORMAT
          ", %u windows of %u: %s drift %d quality %d p %.2g (ks %.2g chi-squared %.2g "
          "df %u) adjusted %.2g effect %.3f inflation %.3g\n",
          rows, 1u << scale, length, f->feature, f->drift, f->quality, f->p, f->ks_p, f->chi_squared_p,
          f->chi_squared_df, f->p_adjusted, f->effect, f->inflation);
}

static gboolean judge(Watch *watch, guint i, const DriftAccumulator *sum, guint scale)
{
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  drift_window_settings_spend(&settings, BUDGET, ROWS_A_MONTH, window_lengths[i], scale);
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate_with(watch->profile, watch->baseline, sum, NULL, 0, &settings, NULL);
  if (!verdict->drift && !verdict->quality) return FALSE;
  if (watch->verbose) show_alarm(verdict, window_lengths[i], scale, watch->rows);
  if (scale > 0)
    watch->of[i].alarms_of_sums++;
  else
    watch->of[i].alarms++;
  if (watch->of[i].first_alarm > 0) return verdict->drift;
  watch->of[i].first_alarm = watch->rows;
  watch->of[i].first_scale = scale;
  return verdict->drift;
}

void watch_pane(Watch *watch, Traffic *traffic, const Change *change)
{
  drift_accumulator_reset(watch->pane);
  traffic_count(traffic, watch->pane, PANE, change);
  watch->rows += PANE;
  for (guint i = 0; i < N_LENGTHS; i++) {
    if (!watch->of[i].watched) continue;
    drift_accumulator_merge(watch->of[i].window, watch->pane, NULL);
    watch->of[i].rows += PANE;
    if (watch->of[i].rows < window_lengths[i]) continue;
    /* As the leader does: what has raised drift is in no later sum. */
    gboolean found = judge(watch, i, watch->of[i].window, 0);
    guint n = found ? 0 : drift_horizon_add(watch->of[i].horizon, watch->of[i].window, NULL);
    for (guint k = 1; k <= n; k++) found |= judge(watch, i, drift_horizon_get(watch->of[i].horizon, k), k);
    if (found) drift_horizon_reset(watch->of[i].horizon);
    drift_accumulator_reset(watch->of[i].window);
    watch->of[i].rows = 0;
    watch->of[i].n_windows++;
  }
}
