#include "drift/horizon.h"

struct _DriftHorizon {
  guint64 n_windows;
  DriftAccumulator *sums[DRIFT_HORIZON_SCALES + 1]; /* [k]: the open or just closed sum of 2^k windows, from 1 */
};

guint drift_horizon_closing(guint64 number)
{
  guint n = 0;
  while (n < DRIFT_HORIZON_SCALES && (number + 1) % (G_GUINT64_CONSTANT(2) << n) == 0) n++;
  return n;
}

DriftHorizon *drift_horizon_new(DriftGrid *grid)
{
  DriftHorizon *horizon = g_new0(DriftHorizon, 1);
  for (guint k = 1; k <= DRIFT_HORIZON_SCALES; k++) horizon->sums[k] = drift_accumulator_new(grid);
  return horizon;
}

void drift_horizon_free(DriftHorizon *horizon)
{
  if (horizon == NULL) return;
  for (guint k = 1; k <= DRIFT_HORIZON_SCALES; k++) drift_accumulator_free(horizon->sums[k]);
  g_free(horizon);
}

/* A window goes into the sum of two; each closed sum into the next. What the window before closed starts anew. */
guint drift_horizon_add(DriftHorizon *horizon, const DriftAccumulator *window, GError **error)
{
  guint closed_before = horizon->n_windows > 0 ? drift_horizon_closing(horizon->n_windows - 1) : 0;
  for (guint k = 1; k <= closed_before; k++) drift_accumulator_reset(horizon->sums[k]);
  guint closing = drift_horizon_closing(horizon->n_windows);
  const DriftAccumulator *part = window;
  for (guint k = 1; k <= DRIFT_HORIZON_SCALES && k <= closing + 1; k++) {
    if (!drift_accumulator_merge(horizon->sums[k], part, error)) return 0;
    part = horizon->sums[k];
  }
  horizon->n_windows++;
  return closing;
}

void drift_horizon_reset(DriftHorizon *horizon)
{
  horizon->n_windows = 0;
  for (guint k = 1; k <= DRIFT_HORIZON_SCALES; k++) drift_accumulator_reset(horizon->sums[k]);
}

const DriftAccumulator *drift_horizon_get(const DriftHorizon *horizon, guint scale)
{
  return horizon->sums[scale];
}
