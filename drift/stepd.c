/* STEPD: the error rate of the last values against that of all before, by the test of equal proportions.
 * Source: K. Nishida and K. Yamauchi, Detecting concept drift using statistical testing, Discovery Science 2007.
 * mode=moa takes the statistic's size after the continuity correction as MOA does, so two equal rates can alarm, and
 * does on all-equal values; mode=paper takes a corrected difference below zero as zero, and equal values as no
 * evidence. It looks at every row: no budget over a stream. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

#include "drift/distributions.h"

#define MAX_WINDOW 1000

enum { WINDOW, DRIFT, WARNING, MODE, N_OPTIONS };
enum { MODE_MOA, MODE_PAPER };
static const gchar *const modes[] = {"moa", "paper", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [WINDOW] = {.key = "window_size", .default_value = 30, .minimum = 1, .maximum = MAX_WINDOW, .whole = TRUE},
    [DRIFT] = {.key = "alpha_drift", .default_value = .003, .minimum = 0, .maximum = 1},
    [WARNING] = {.key = "alpha_warning", .default_value = .05, .minimum = 0, .maximum = 1},
    [MODE] = {.key = "mode", .default_value = MODE_MOA, .choices = modes}};

typedef struct {
  DriftPlain plain;
  guint64 n_old, errors_old, n_recent, errors_recent, head; /* head: where the next value goes in the ring */
  double drift_z, warning_z;                                /* from the options */
  guint8 recent[MAX_WINDOW];                                /* [window_size] ring, 0 or 1 */
} Stepd;

static const DriftField fields[] = {DRIFT_COUNT(Stepd, n_old), DRIFT_COUNT(Stepd, errors_old),
                                    DRIFT_COUNT(Stepd, n_recent), DRIFT_COUNT(Stepd, errors_recent),
                                    DRIFT_COUNT(Stepd, head)};

/* Two-sided p below alpha is |Z| above this. */
static double critical_z(double alpha)
{
  if (alpha <= 0) return INFINITY;
  return alpha >= 1 ? -INFINITY : -drift_normal_quantile(alpha / 2);
}

static void prepare(DriftDetector *detector)
{
  Stepd *stepd = (Stepd *)detector;
  stepd->drift_z = critical_z(stepd->plain.options[DRIFT]);
  stepd->warning_z = critical_z(stepd->plain.options[WARNING]);
}

static void forget(Stepd *stepd)
{
  stepd->n_old = stepd->errors_old = stepd->n_recent = stepd->errors_recent = stepd->head = 0;
  stepd->plain.alarmed = FALSE;
}

static void stepd_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Stepd *)detector);
}

static void keep(Stepd *stepd, guint8 error)
{
  guint64 window = (guint64)stepd->plain.options[WINDOW];
  if (stepd->n_recent == window) {
    guint8 oldest = stepd->recent[stepd->head];
    stepd->n_old++;
    stepd->errors_old += oldest;
    stepd->errors_recent -= oldest;
  } else {
    stepd->n_recent++;
  }
  stepd->recent[stepd->head] = error;
  stepd->errors_recent += error;
  stepd->head = (stepd->head + 1) % window;
}

static double statistic(const Stepd *stepd)
{
  double n_old = (double)stepd->n_old, n_recent = (double)stepd->n_recent;
  double right_old = n_old - (double)stepd->errors_old, right_recent = n_recent - (double)stepd->errors_recent;
  double inverse = 1 / n_old + 1 / n_recent, rate = (right_old + right_recent) / (n_old + n_recent);
  double difference = fabs(right_old / n_old - right_recent / n_recent) - inverse / 2;
  if (stepd->plain.options[MODE] == MODE_PAPER && difference <= 0) return 0;
  return fabs(difference / sqrt(rate * (1 - rate) * inverse));
}

static DriftSignal stepd_update(DriftDetector *detector, double value)
{
  Stepd *stepd = (Stepd *)detector;
  gint64 row = (gint64)stepd->plain.fed++;
  if (!(value >= 0 && value <= 1)) return DRIFT_SIGNAL_NONE; /* no error in [0, 1] */
  if (stepd->plain.alarmed) forget(stepd);
  keep(stepd, value >= .5);
  if ((double)stepd->n_old < stepd->plain.options[WINDOW]) return DRIFT_SIGNAL_NONE;
  double z = statistic(stepd);
  if (z > stepd->drift_z) {
    stepd->plain.change_point = MAX(0, row + 1 - (gint64)stepd->n_recent);
    stepd->plain.alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  return z > stepd->warning_z ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Stepd *stepd = (const Stepd *)detector;
  for (guint64 i = 0; i < stepd->n_recent; i++) drift_put_u8(raw, stepd->recent[i]);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Stepd *stepd = (Stepd *)detector;
  guint64 window = (guint64)stepd->plain.options[WINDOW], errors = 0;
  if (stepd->n_recent > window) return FALSE;
  for (guint64 i = 0; i < stepd->n_recent; i++) {
    stepd->recent[i] = drift_get_u8(reader);
    if (stepd->recent[i] > 1) return FALSE;
    errors += stepd->recent[i];
  }
  gboolean full = stepd->n_recent == window;
  return errors == stepd->errors_recent && stepd->errors_old <= stepd->n_old && (full || stepd->n_old == 0) &&
         (full ? stepd->head < window : stepd->head == stepd->n_recent) &&
         stepd->n_old + stepd->n_recent <= stepd->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Stepd),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean stepd_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, TRUE, error);
}

static const gchar *const option_help[] = {
    "window_size=30  recent values", "alpha_drift=0.003  p-value that is a drift",
    "alpha_warning=0.05  p-value that is a warning", "mode=moa  moa, or paper: equal rates are no evidence", NULL};

const DriftDetectorType drift_detector_stepd = {.name = "stepd",
                                                .summary = "change of an error rate (0/1), recent against all before",
                                                .option_help = option_help,
                                                .takes = DRIFT_TAKES_ERRORS,
                                                .create = drift_plain_create,
                                                .update = stepd_update,
                                                .get_change_point = drift_plain_get_change_point,
                                                .describe = drift_plain_describe,
                                                .reset = stepd_reset,
                                                .to_bytes = drift_plain_to_bytes,
                                                .from_bytes = drift_plain_from_bytes,
                                                .get_size = drift_plain_get_size,
                                                .free = drift_plain_free,
                                                .selftest = stepd_selftest,
                                                .layout = &layout};
