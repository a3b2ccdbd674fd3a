/* Slices and dependences in the verdict over one window. */
#include "drift/window_internal.h"

void drift_window_judge_slices(const DriftAccumulator *profile, const DriftAccumulator *window,
                               const DriftLabelRow *labels, guint n_labels, const DriftWindowSettings *settings,
                               DriftWindowVerdict *verdict)
{
  (void)profile, (void)window, (void)labels, (void)n_labels, (void)settings, (void)verdict;
}
