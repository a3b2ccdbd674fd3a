/* ECDD: an exponentially weighted moving average of errors against its control limit around the running rate.
 * Source: G. J. Ross, N. M. Adams, D. K. Tasoulis, D. J. Hand, Exponentially weighted moving average charts for
 * detecting concept drift, Pattern Recognition Letters 33 (2012) 191, lambda = .2, with the paper's fits of the limit L
 * to the rate for an average run length of 100 or 400 values between false alarms. The fits end at a rate of .5; above
 * it L stays as it is there. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { LAMBDA, RUN_LENGTH, WARNING, MINIMUM, N_OPTIONS };
enum { EVERY_100, EVERY_400 };
static const gchar *const run_lengths[] = {"100", "400", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [LAMBDA] = {.key = "lambda", .default_value = .2, .minimum = 1e-6, .maximum = 1},
    [RUN_LENGTH] = {.key = "average_run_length", .default_value = EVERY_400, .choices = run_lengths},
    [WARNING] = {.key = "warning_level", .default_value = .5, .minimum = 0, .maximum = 1},
    [MINIMUM] = {.key = "min_instances", .default_value = 30, .minimum = 1, .maximum = 1e9, .whole = TRUE}};

typedef struct {
  DriftPlain plain;
  guint64 n;
  double rate, average;
  double faded;       /* (1 - lambda)^(2n) */
  gint64 warned_from; /* first row of the running warning; -1: none */
} Ecdd;

static const DriftField fields[] = {DRIFT_COUNT(Ecdd, n), DRIFT_REAL(Ecdd, rate, 0, 1), DRIFT_REAL(Ecdd, average, 0, 1),
                                    DRIFT_REAL(Ecdd, faded, 0, 1), DRIFT_ROW(Ecdd, warned_from)};

static void forget(Ecdd *ecdd)
{
  ecdd->n = 0;
  ecdd->rate = ecdd->average = 0;
  ecdd->faded = 1;
  ecdd->warned_from = -1;
  ecdd->plain.alarmed = FALSE;
}

static void ecdd_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Ecdd *)detector);
}

static double control_limit(double rate, double run_length)
{
  double p = MIN(rate, .5), p2 = p * p, p3 = p2 * p, p5 = p3 * p2, p7 = p5 * p2;
  if (run_length == EVERY_100) return 2.76 - 6.23 * p + 18.12 * p3 - 312.45 * p5 + 1002.18 * p7;
  return 3.97 - 6.56 * p + 48.73 * p3 - 330.13 * p5 + 848.18 * p7;
}

static DriftSignal judge(Ecdd *ecdd, gint64 row)
{
  const double *options = ecdd->plain.options;
  double lambda = options[LAMBDA], rate = ecdd->rate;
  double deviation = sqrt(rate * (1 - rate) * lambda / (2 - lambda) * (1 - ecdd->faded));
  double limit = control_limit(rate, options[RUN_LENGTH]) * deviation;
  gboolean warned = ecdd->average > rate + options[WARNING] * limit;
  if (!warned)
    ecdd->warned_from = -1;
  else if (ecdd->warned_from < 0)
    ecdd->warned_from = row;
  if (ecdd->average > rate + limit) {
    ecdd->plain.change_point = ecdd->warned_from >= 0 ? ecdd->warned_from : row;
    ecdd->plain.alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  return warned ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
}

static DriftSignal ecdd_update(DriftDetector *detector, double value)
{
  Ecdd *ecdd = (Ecdd *)detector;
  gint64 row = (gint64)ecdd->plain.fed++;
  if (!(value >= 0 && value <= 1)) return DRIFT_SIGNAL_NONE; /* no error in [0, 1] */
  if (ecdd->plain.alarmed) forget(ecdd);
  double lambda = ecdd->plain.options[LAMBDA];
  ecdd->n++;
  ecdd->rate += (value - ecdd->rate) / (double)ecdd->n;
  ecdd->average = (1 - lambda) * ecdd->average + lambda * value;
  ecdd->faded *= (1 - lambda) * (1 - lambda);
  return (double)ecdd->n >= ecdd->plain.options[MINIMUM] ? judge(ecdd, row) : DRIFT_SIGNAL_NONE;
}

static gboolean fits(const DriftDetector *detector)
{
  const Ecdd *ecdd = (const Ecdd *)detector;
  return ecdd->n <= ecdd->plain.fed && ecdd->warned_from < (gint64)ecdd->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Ecdd),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean ecdd_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, TRUE, error);
}

static const gchar *const option_help[] = {"lambda=0.2  weight of the newest value",
                                           "average_run_length=400  values between false alarms: 100 or 400",
                                           "warning_level=0.5  share of the limit that is a warning",
                                           "min_instances=30  values before the first judgement", NULL};

const DriftDetectorType drift_detector_ecdd = {.name = "ecdd",
                                               .summary = "rise of an error rate (0/1), by an EWMA chart",
                                               .option_help = option_help,
                                               .takes = DRIFT_TAKES_ERRORS,
                                               .create = drift_plain_create,
                                               .update = ecdd_update,
                                               .get_change_point = drift_plain_get_change_point,
                                               .describe = drift_plain_describe,
                                               .reset = ecdd_reset,
                                               .to_bytes = drift_plain_to_bytes,
                                               .from_bytes = drift_plain_from_bytes,
                                               .get_size = drift_plain_get_size,
                                               .free = drift_plain_free,
                                               .selftest = ecdd_selftest,
                                               .layout = &layout};
