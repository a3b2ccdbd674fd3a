/* Geometric moving average of the deviations from the running mean: rises only.
 * Source: S. W. Roberts, Control chart tests based on geometric moving averages, Technometrics 1 (1959) 239; running
 * mean and warm start as in MOA (the first judgement is one value earlier than min_instances). Not free of scale: set
 * lambda in units of the series. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { MINIMUM, LAMBDA, ALPHA, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [MINIMUM] = {.key = "min_instances", .default_value = 30, .minimum = 0, .maximum = 1e9, .whole = TRUE},
    [LAMBDA] = {.key = "lambda", .default_value = 1, .minimum = 0, .maximum = 1e300},
    [ALPHA] = {.key = "alpha", .default_value = .99, .minimum = 0, .maximum = 1}};

typedef struct {
  DriftPlain plain;
  guint64 n;
  double mean, average;
  gint64 risen_row; /* first row of the running stretch of a positive average */
} MovingAverage;

static const DriftField fields[] = {DRIFT_COUNT(MovingAverage, n), DRIFT_FINITE(MovingAverage, mean),
                                    DRIFT_FINITE(MovingAverage, average), DRIFT_ROW(MovingAverage, risen_row)};

static void forget(MovingAverage *moving)
{
  moving->n = 0;
  moving->mean = moving->average = 0;
  moving->risen_row = (gint64)moving->plain.fed;
  moving->plain.alarmed = FALSE;
}

static void moving_average_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((MovingAverage *)detector);
}

static DriftSignal moving_average_update(DriftDetector *detector, double value)
{
  MovingAverage *moving = (MovingAverage *)detector;
  gboolean counts = fabs(value) <= DRIFT_LARGEST_VALUE;
  if (counts && moving->plain.alarmed) forget(moving);
  gint64 row = (gint64)moving->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  double alpha = moving->plain.options[ALPHA];
  moving->n++;
  moving->mean += (value - moving->mean) / (double)moving->n;
  moving->average = alpha * moving->average + (1 - alpha) * (value - moving->mean);
  if (moving->average <= 0) moving->risen_row = row + 1;
  if ((double)moving->n + 1 < moving->plain.options[MINIMUM] || moving->average <= moving->plain.options[LAMBDA])
    return DRIFT_SIGNAL_NONE;
  moving->plain.change_point = moving->risen_row;
  moving->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static gboolean fits(const DriftDetector *detector)
{
  const MovingAverage *moving = (const MovingAverage *)detector;
  return moving->n <= moving->plain.fed && moving->risen_row <= (gint64)moving->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(MovingAverage),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean moving_average_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 10, TRUE, error);
}

static const gchar *const option_help[] = {"min_instances=30  values before the first judgement",
                                           "lambda=1  average deviation that is a drift",
                                           "alpha=0.99  weight of the past", NULL};

const DriftDetectorType drift_detector_moving_average = {
    .name = "geometric-moving-average",
    .alias = "gma",
    .summary = "rise of a mean, by a moving average, in units of the series",
    .option_help = option_help,
    .takes = DRIFT_TAKES_FINITE,
    .create = drift_plain_create,
    .update = moving_average_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .reset = moving_average_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = moving_average_selftest,
    .layout = &layout};
