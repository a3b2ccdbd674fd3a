/* bernstein: has a bounded risk risen (fallen) above what it was? The confidence sequence of the values since the first
 * `reference` against the interval of those: drift when its lower end is above their upper end plus `tolerance`. With
 * one conditional mean throughout, P(ever a false alarm since a start) <= alpha, whatever the order in which labels
 * come. Source: A. Podkopaev and A. Ramdas, Tracking the risk of a deployed model and detecting harmful distribution
 * shifts, arXiv 2110.06177, with the sequences of drift/anytime.h. It averages over all since the reference: a late
 * change takes long. After an alarm all starts over. */
#include "drift/anytime.h"
#include "drift/detector_internal.h"

#include <math.h>

enum { ALPHA, REFERENCE, TOLERANCE, SIDE, LOW, HIGH, N_OPTIONS };
enum { UP, DOWN, BOTH };
static const gchar *const sides[] = {"up", "down", "both", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [ALPHA] = {.key = "alpha", .default_value = .01, .minimum = 1e-300, .maximum = 1},
    [REFERENCE] = {.key = "reference", .default_value = 1000, .minimum = 1, .maximum = 1e12, .whole = TRUE},
    [TOLERANCE] = {.key = "tolerance", .default_value = 0, .minimum = 0, .maximum = 1e300},
    [SIDE] = {.key = "side", .default_value = UP, .choices = sides},
    [LOW] = {.key = "low", .default_value = 0, .minimum = -1e307, .maximum = 1e307},
    [HIGH] = {.key = "high", .default_value = 1, .minimum = -1e307, .maximum = 1e307}};

typedef struct {
  DriftPlain plain;
  DriftConfidenceSequence source, target;
  gint64 target_row; /* first row of the target */
} Bernstein;

#define SEQUENCE(member)                                                                                               \
  DRIFT_COUNT(Bernstein, member.t), DRIFT_REAL(Bernstein, member.sum, 0, 1e18),                                        \
      DRIFT_REAL(Bernstein, member.deviations, 0, 1e18), DRIFT_REAL(Bernstein, member.weights, 0, 1e18),               \
      DRIFT_REAL(Bernstein, member.weighted, 0, 1e18), DRIFT_REAL(Bernstein, member.penalties, 0, 1e18)
static const DriftField fields[] = {SEQUENCE(source), SEQUENCE(target), DRIFT_ROW(Bernstein, target_row)};

static gboolean accepts(const double *options, GError **error)
{
  if (options[LOW] < options[HIGH]) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "bernstein options low=%g high=%g: low is to be below high",
              options[LOW], options[HIGH]);
  return FALSE;
}

static void forget(Bernstein *bernstein)
{
  drift_confidence_sequence_start(&bernstein->source, bernstein->plain.options[ALPHA] / 2);
  drift_confidence_sequence_start(&bernstein->target, bernstein->plain.options[ALPHA] / 2);
  bernstein->target_row = (gint64)bernstein->plain.fed;
  bernstein->plain.alarmed = FALSE;
}

static void bernstein_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Bernstein *)detector);
}

static gboolean is_beyond(const Bernstein *bernstein)
{
  const double *options = bernstein->plain.options;
  double source_low, source_high, target_low, target_high, tolerance = options[TOLERANCE];
  tolerance /= options[HIGH] - options[LOW];
  drift_confidence_sequence_get(&bernstein->source, &source_low, &source_high);
  drift_confidence_sequence_get(&bernstein->target, &target_low, &target_high);
  return (options[SIDE] != DOWN && target_low > source_high + tolerance) ||
         (options[SIDE] != UP && target_high < source_low - tolerance);
}

static DriftSignal bernstein_update(DriftDetector *detector, double value)
{
  Bernstein *bernstein = (Bernstein *)detector;
  const double *options = bernstein->plain.options;
  if (!isnan(value) && bernstein->plain.alarmed) forget(bernstein);
  bernstein->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  double x = (value - options[LOW]) / (options[HIGH] - options[LOW]);
  if ((double)bernstein->source.t < options[REFERENCE]) {
    drift_confidence_sequence_add(&bernstein->source, x);
    bernstein->target_row = (gint64)bernstein->plain.fed;
    return DRIFT_SIGNAL_NONE;
  }
  drift_confidence_sequence_add(&bernstein->target, x);
  if (!is_beyond(bernstein)) return DRIFT_SIGNAL_NONE;
  bernstein->plain.change_point = bernstein->target_row;
  bernstein->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static gboolean fits(const DriftDetector *detector)
{
  const Bernstein *bernstein = (const Bernstein *)detector;
  return bernstein->source.t + bernstein->target.t <= bernstein->plain.fed &&
         bernstein->target_row <= (gint64)bernstein->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Bernstein),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .accepts = accepts,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {"alpha=0.01  probability of any false alarm since a start",
                                           "reference=1000  first values, whose mean is the promise",
                                           "tolerance=0  change that is allowed, in units of the series",
                                           "side=up  up, down or both",
                                           "low=0  least value",
                                           "high=1  largest value",
                                           NULL};

const DriftDetectorType drift_detector_bernstein = {
    .name = "bernstein",
    .alias = "empirical-bernstein",
    .summary = "a bounded mean that has left that of the first values, false alarms at most with probability alpha",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = bernstein_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .reset = bernstein_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = drift_detector_selftest,
    .layout = &layout};
