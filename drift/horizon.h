/* Sums of windows: besides each window, every 2^k-th also closes the sum of the last 2^k, so that what is too small or
 * too slow for one window is seen. Source: drift/README.md, "The verdict over a window". */
#pragma once

#include "drift/accumulator.h"

G_BEGIN_DECLS

/* Scales besides the window itself: sums of 2, 4, 8, 16 and 32 windows. */
#define DRIFT_HORIZON_SCALES 5

/* How many scales end with window `number` (from 0): the sums of 2^1 … 2^n windows; at most DRIFT_HORIZON_SCALES. */
guint drift_horizon_closing(guint64 number);

typedef struct _DriftHorizon DriftHorizon; /* keeps at most one open sum a scale */
DriftHorizon *drift_horizon_new(DriftGrid *grid);
void drift_horizon_free(DriftHorizon *horizon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftHorizon, drift_horizon_free)
/* The next window. Returns how many scales it closes. FALSE-like 0 with error set: another grid, too many events. */
guint drift_horizon_add(DriftHorizon *horizon, const DriftAccumulator *window, GError **error);
/* Forgets all windows: after an alarm, so that what was found is not found again. */
void drift_horizon_reset(DriftHorizon *horizon);
/* Sum of 2^scale windows that the last add closed, scale from 1; valid until the next add. */
const DriftAccumulator *drift_horizon_get(const DriftHorizon *horizon, guint scale);

G_END_DECLS
