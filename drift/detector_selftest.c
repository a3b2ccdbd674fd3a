#include "drift/detector_internal.h"

#define SELFTEST_ROWS 1400
#define SELFTEST_CHANGE 1000
#define SELFTEST_SAVE 1005

/* A small fixed generator: the series must be the same on every machine. */
static double next_error(guint64 *state, guint row)
{
  *state = *state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  guint percent = (guint)(*state >> 33) % 100;
  return percent < (row < SELFTEST_CHANGE ? 20 : 60) ? 1 : 0;
}

static gboolean run(DriftDetector *detector, double scale, gboolean early_is_fine, GError **error)
{
  g_autoptr(DriftDetector) restored = NULL;
  const DriftDetectorType *type = detector->type;
  guint64 state = 1;
  gboolean found = FALSE;
  for (guint row = 0; row < SELFTEST_ROWS; row++) {
    if (row == SELFTEST_SAVE) {
      g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
      restored = drift_detector_from_bytes(bytes, error);
      if (restored == NULL) return FALSE;
    }
    double value = scale * next_error(&state, row);
    DriftSignal signal = drift_detector_update(detector, value);
    gboolean early = signal == DRIFT_SIGNAL_DRIFT && row < SELFTEST_CHANGE && !early_is_fine;
    gboolean differs = restored != NULL && drift_detector_update(restored, value) != signal;
    if (early || differs) {
      g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s self-test: %s at row %u", type->name,
                  early ? "drift before the change" : "the restored copy differs", row);
      return FALSE;
    }
    found = found || (signal == DRIFT_SIGNAL_DRIFT && row >= SELFTEST_CHANGE);
  }
  if (!found) g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s self-test: the change was missed", type->name);
  return found;
}

gboolean drift_detector_selftest_with(const DriftDetectorType *type, double scale, gboolean early_is_fine,
                                      GError **error)
{
  g_autoptr(DriftDetector) detector = type->create(type, NULL, error);
  return detector != NULL && run(detector, scale, early_is_fine, error);
}

gboolean drift_detector_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, FALSE, error);
}
