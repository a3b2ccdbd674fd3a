/* CUSUM: cumulated deviations above the running mean, never below zero: rises only.
 * Source: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100; running mean and warm start as in MOA
 * (the first judgement is one value earlier than min_instances). Not free of scale: set lambda and delta in units of
 * the series. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { MINIMUM, DELTA, LAMBDA, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [MINIMUM] = {.key = "min_instances", .default_value = 30, .minimum = 0, .maximum = 1e9, .whole = TRUE},
    [DELTA] = {.key = "delta", .default_value = .005, .minimum = 0, .maximum = 1e300},
    [LAMBDA] = {.key = "lambda", .default_value = 50, .minimum = 0, .maximum = 1e300}};

typedef struct {
  DriftPlain plain;
  guint64 n;
  double mean, sum;
  gint64 zero_row; /* first row after the sum was last zero */
} Cusum;

static const DriftField fields[] = {DRIFT_COUNT(Cusum, n), DRIFT_FINITE(Cusum, mean),
                                    DRIFT_REAL(Cusum, sum, 0, INFINITY), DRIFT_ROW(Cusum, zero_row)};

static void forget(Cusum *cusum)
{
  cusum->n = 0;
  cusum->mean = cusum->sum = 0;
  cusum->zero_row = (gint64)cusum->plain.fed;
  cusum->plain.alarmed = FALSE;
}

static void cusum_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Cusum *)detector);
}

static DriftSignal cusum_update(DriftDetector *detector, double value)
{
  Cusum *cusum = (Cusum *)detector;
  gboolean counts = fabs(value) <= DRIFT_LARGEST_VALUE;
  if (counts && cusum->plain.alarmed) forget(cusum);
  gint64 row = (gint64)cusum->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  cusum->n++;
  cusum->mean += (value - cusum->mean) / (double)cusum->n;
  cusum->sum = MAX(0, cusum->sum + value - cusum->mean - cusum->plain.options[DELTA]);
  if (cusum->sum == 0) cusum->zero_row = row + 1;
  if ((double)cusum->n + 1 < cusum->plain.options[MINIMUM] || cusum->sum <= cusum->plain.options[LAMBDA])
    return DRIFT_SIGNAL_NONE;
  cusum->plain.change_point = cusum->zero_row;
  cusum->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static gboolean fits(const DriftDetector *detector)
{
  const Cusum *cusum = (const Cusum *)detector;
  return cusum->n <= cusum->plain.fed && cusum->zero_row <= (gint64)cusum->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Cusum),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {"min_instances=30  values before the first judgement",
                                           "delta=0.005  rise per value that is tolerated",
                                           "lambda=50  cumulated rise that is a drift", NULL};

const DriftDetectorType drift_detector_cusum = {.name = "cusum",
                                                .summary = "rise of a mean, in units of the series",
                                                .option_help = option_help,
                                                .takes = DRIFT_TAKES_FINITE,
                                                .create = drift_plain_create,
                                                .update = cusum_update,
                                                .get_change_point = drift_plain_get_change_point,
                                                .describe = drift_plain_describe,
                                                .reset = cusum_reset,
                                                .to_bytes = drift_plain_to_bytes,
                                                .from_bytes = drift_plain_from_bytes,
                                                .get_size = drift_plain_get_size,
                                                .free = drift_plain_free,
                                                .selftest = drift_detector_selftest,
                                                .layout = &layout};
