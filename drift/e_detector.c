/* e-detector: a mixture of betting CUSUMs or Shiryaev-Roberts sums on a mean in [low, high].
 * Null: the conditional mean given the past is at most mu0 (direction=up; at least, down; both: the two share the
 * budget). Then the mean time to a false alarm is at least 1/alpha values, whatever the dependence; that is no
 * probability: by row 1/alpha about half of the runs have alarmed. mu0 not given: the mean of the first `reference`
 * values, moved by Hoeffding's margin at level `confidence`, for without it a frozen reference alarms on nothing.
 * Source: J. Shin, A. Ramdas, A. Rinaldo, E-detectors, arXiv 2203.03532. After an alarm the sums start over; mu0 stays.
 */
#include "drift/detector_internal.h"

#include <math.h>

#define N_STAKES 8
#define N_SIDES 2 /* up, down */

enum { ALPHA, KIND, DIRECTION, MU0, REFERENCE, CONFIDENCE, LOW, HIGH, N_OPTIONS };
enum { KIND_SR, KIND_CUSUM };
enum { UP, DOWN, BOTH };
static const gchar *const kinds[] = {"sr", "cusum", NULL};
static const gchar *const directions[] = {"up", "down", "both", NULL};
#define UNKNOWN (-1e308)
static const DriftOptionSpec specs[N_OPTIONS] = {
    [ALPHA] = {.key = "alpha", .default_value = 1e-4, .minimum = 1e-300, .maximum = 1},
    [KIND] = {.key = "kind", .default_value = KIND_SR, .choices = kinds},
    [DIRECTION] = {.key = "direction", .default_value = BOTH, .choices = directions},
    [MU0] = {.key = "mu0", .default_value = UNKNOWN, .minimum = UNKNOWN, .maximum = 1e308},
    [REFERENCE] = {.key = "reference", .default_value = 500, .minimum = 1, .maximum = 1e12, .whole = TRUE},
    [CONFIDENCE] = {.key = "confidence", .default_value = .001, .minimum = 1e-300, .maximum = .5},
    [LOW] = {.key = "low", .default_value = 0, .minimum = -1e307, .maximum = 1e307},
    [HIGH] = {.key = "high", .default_value = 1, .minimum = -1e307, .maximum = 1e307}};

/* Stakes as shares of the largest, 1/mu0: small ones see small changes. */
static const double stakes[N_STAKES] = {.01, .03, .07, .15, .3, .5, .7, .9};
#define MIDDLE_STAKE 3

typedef struct {
  DriftPlain plain;
  guint64 n_reference;
  double reference_sum;           /* of values scaled to [0, 1] */
  double logs[N_SIDES][N_STAKES]; /* ln of the sums; -inf: none */
  double walks[N_SIDES];          /* the CUSUM of the middle stake alone, which dates the change */
  gint64 begins[N_SIDES];         /* first row after the walk was last zero */
} EDetector;

static const DriftField fields[] = {DRIFT_COUNT(EDetector, n_reference),
                                    DRIFT_REAL(EDetector, reference_sum, 0, 1e18),
                                    DRIFT_REAL(EDetector, walks[0], 0, G_MAXDOUBLE),
                                    DRIFT_REAL(EDetector, walks[1], 0, G_MAXDOUBLE),
                                    DRIFT_ROW(EDetector, begins[0]),
                                    DRIFT_ROW(EDetector, begins[1])};

static gboolean accepts(const double *options, GError **error)
{
  double mu0 = options[MU0];
  if (options[LOW] < options[HIGH] && (mu0 == UNKNOWN || (mu0 > options[LOW] && mu0 < options[HIGH]))) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "e-detector options low=%g high=%g: low < mu0 < high is needed",
              options[LOW], options[HIGH]);
  return FALSE;
}

static void forget(EDetector *e)
{
  for (guint side = 0; side < N_SIDES; side++) {
    for (guint i = 0; i < N_STAKES; i++) e->logs[side][i] = -INFINITY;
    e->walks[side] = 0;
    e->begins[side] = (gint64)e->plain.fed;
  }
  e->plain.alarmed = FALSE;
}

static void e_detector_reset(DriftDetector *detector)
{
  EDetector *e = (EDetector *)detector;
  drift_plain_reset(&e->plain);
  e->n_reference = 0;
  e->reference_sum = 0;
  forget(e);
}

static double log_add(double a, double b)
{
  double high = MAX(a, b), low = MIN(a, b);
  return high == -INFINITY ? high : high + log1p(exp(low - high));
}

/* ln of the mean over the stakes. */
static double side_evidence(const EDetector *e, guint side)
{
  double sum = -INFINITY;
  for (guint i = 0; i < N_STAKES; i++) sum = log_add(sum, e->logs[side][i]);
  return sum - log(N_STAKES);
}

static double evidence_of(const EDetector *e, guint *side)
{
  double direction = e->plain.options[DIRECTION];
  double up = direction != DOWN ? side_evidence(e, UP) : -INFINITY;
  double down = direction != UP ? side_evidence(e, DOWN) : -INFINITY;
  *side = down > up ? DOWN : UP;
  return direction == BOTH ? log_add(up, down) - log(2) : MAX(up, down);
}

/* The null's mean for one side, in [0, 1] where that side is up. */
static double null_mean(const EDetector *e, guint side)
{
  const double *options = e->plain.options;
  if (options[MU0] != UNKNOWN) {
    double mu0 = (options[MU0] - options[LOW]) / (options[HIGH] - options[LOW]);
    return side == UP ? mu0 : 1 - mu0;
  }
  double n = options[REFERENCE], mean = e->reference_sum / n, margin = sqrt(log(1 / options[CONFIDENCE]) / (2 * n));
  return MIN(1, (side == UP ? mean : 1 - mean) + margin);
}

static void add(EDetector *e, guint side, double x)
{
  double mu0 = null_mean(e, side), start = e->plain.options[KIND] == KIND_SR ? 1 : 0;
  for (guint i = 0; i < N_STAKES; i++) {
    double *log_sum = &e->logs[side][i];
    double before = start != 0 ? log_add(*log_sum, 0) : MAX(*log_sum, 0);
    *log_sum = log1p(stakes[i] / mu0 * (x - mu0)) + before;
  }
  e->walks[side] = MAX(0, e->walks[side] + log1p(stakes[MIDDLE_STAKE] / mu0 * (x - mu0)));
  if (e->walks[side] == 0) e->begins[side] = (gint64)e->plain.fed;
}

static DriftSignal e_detector_update(DriftDetector *detector, double value)
{
  EDetector *e = (EDetector *)detector;
  const double *options = e->plain.options;
  if (!isnan(value) && e->plain.alarmed) forget(e);
  e->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  double x = CLAMP((value - options[LOW]) / (options[HIGH] - options[LOW]), 0, 1);
  if (options[MU0] == UNKNOWN && (double)e->n_reference < options[REFERENCE]) {
    e->n_reference++;
    e->reference_sum += x;
    return DRIFT_SIGNAL_NONE;
  }
  if (options[DIRECTION] != DOWN) add(e, UP, x);
  if (options[DIRECTION] != UP) add(e, DOWN, 1 - x);
  guint side;
  if (evidence_of(e, &side) < -log(options[ALPHA])) return DRIFT_SIGNAL_NONE;
  e->plain.change_point = MIN(e->begins[side], (gint64)e->plain.fed - 1);
  e->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static double e_detector_get_evidence(const DriftDetector *detector, double *threshold)
{
  guint side;
  *threshold = -log(((const EDetector *)detector)->plain.options[ALPHA]);
  return evidence_of((const EDetector *)detector, &side);
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const EDetector *e = (const EDetector *)detector;
  for (guint side = 0; side < N_SIDES; side++)
    for (guint i = 0; i < N_STAKES; i++) drift_put_double(raw, e->logs[side][i]);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  EDetector *e = (EDetector *)detector;
  for (guint side = 0; side < N_SIDES; side++)
    for (guint i = 0; i < N_STAKES; i++) {
      e->logs[side][i] = drift_get_double(reader);
      if (!(e->logs[side][i] < INFINITY)) return FALSE;
    }
  return (double)e->n_reference <= e->plain.options[REFERENCE] && e->reference_sum <= (double)e->n_reference &&
         e->n_reference <= e->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(EDetector),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .accepts = accepts,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {"alpha=0.0001  mean time to a false alarm is at least 1/alpha values",
                                           "kind=sr  sr or cusum",
                                           "direction=both  up, down or both",
                                           "mu0=  mean of the null; not given: from the first values",
                                           "reference=500  first values that give mu0",
                                           "confidence=0.001  of the margin on that mu0",
                                           "low=0  least value",
                                           "high=1  largest value",
                                           NULL};

const DriftDetectorType drift_detector_e_detector = {
    .name = "e-detector",
    .summary = "change of a bounded mean, mean time to a false alarm guaranteed",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = e_detector_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .get_evidence = e_detector_get_evidence,
    .reset = e_detector_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = drift_detector_selftest,
    .layout = &layout};
