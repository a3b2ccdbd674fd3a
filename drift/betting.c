/* betting: is the mean of x - centre zero? Values with |x - centre| <= scale, such as the prediction for one of group A
 * less that for one of group B, or an error less its promised rate. P(ever a false alarm since a start) <= alpha if the
 * conditional mean is zero (side=up: at most zero), whatever the dependence. Updates and sources: drift/anytime.h.
 * After an alarm it starts over with the next value. */
#include "drift/anytime.h"
#include "drift/detector_internal.h"

#include <math.h>

enum { ALPHA, CENTRE, SCALE, SIDE, N_OPTIONS };
enum { SIDE_BOTH, SIDE_UP };
static const gchar *const sides[] = {"both", "up", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [ALPHA] = {.key = "alpha", .default_value = 1e-3, .minimum = 1e-300, .maximum = 1},
    [CENTRE] = {.key = "centre", .default_value = 0, .minimum = -1e300, .maximum = 1e300},
    [SCALE] = {.key = "scale", .default_value = 1, .minimum = 1e-300, .maximum = 1e300},
    [SIDE] = {.key = "side", .default_value = SIDE_BOTH, .choices = sides}};

typedef struct {
  DriftPlain plain;
  DriftBetting state;
  double lowest; /* ln K at its lowest */
  gint64 lowest_row;
} Betting;

static const DriftField fields[] = {DRIFT_FINITE(Betting, state.log_capital), DRIFT_REAL(Betting, state.stake, -.5, .5),
                                    DRIFT_REAL(Betting, state.curvature, 1, G_MAXDOUBLE), DRIFT_FINITE(Betting, lowest),
                                    DRIFT_ROW(Betting, lowest_row)};

static void forget(Betting *betting)
{
  drift_betting_start(&betting->state, betting->plain.options[SIDE] == SIDE_UP);
  betting->lowest = 0;
  betting->lowest_row = (gint64)betting->plain.fed;
  betting->plain.alarmed = FALSE;
}

static void betting_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Betting *)detector);
}

static DriftSignal betting_update(DriftDetector *detector, double value)
{
  Betting *betting = (Betting *)detector;
  const double *options = betting->plain.options;
  if (!isnan(value) && betting->plain.alarmed) forget(betting);
  gint64 row = (gint64)betting->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  double log_capital = drift_betting_add(&betting->state, (value - options[CENTRE]) / options[SCALE]);
  if (log_capital <= betting->lowest) {
    betting->lowest = log_capital;
    betting->lowest_row = row + 1;
  }
  if (log_capital < -log(options[ALPHA])) return DRIFT_SIGNAL_NONE;
  betting->plain.change_point = MIN(betting->lowest_row, row);
  betting->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static double betting_get_evidence(const DriftDetector *detector, double *threshold)
{
  *threshold = -log(((const Betting *)detector)->plain.options[ALPHA]);
  return ((const Betting *)detector)->state.log_capital;
}

static gboolean fits(const DriftDetector *detector)
{
  const Betting *betting = (const Betting *)detector;
  return betting->lowest <= betting->state.log_capital && betting->lowest_row <= (gint64)betting->plain.fed &&
         (!betting->state.only_up || betting->state.stake >= 0);
}

static const DriftLayout layout = {.size = sizeof(Betting),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

/* The self-test's series has errors at rate .2 before its change. */
static DriftDetector *create_for_errors(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  (void)options;
  g_autoptr(GHashTable) table = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_insert(table, (gchar *)"centre", (gchar *)"0.25");
  g_hash_table_insert(table, (gchar *)"side", (gchar *)"up");
  return drift_plain_create(type, table, error);
}

static gboolean betting_selftest(const DriftDetectorType *type, GError **error)
{
  DriftDetectorType for_errors = *type;
  for_errors.create = create_for_errors;
  return drift_detector_selftest(&for_errors, error);
}

static const gchar *const option_help[] = {"alpha=0.001  probability of any false alarm since a start",
                                           "centre=0  mean of the null", "scale=1  largest distance from the centre",
                                           "side=both  both or up", NULL};

const DriftDetectorType drift_detector_betting = {
    .name = "betting",
    .summary = "a bounded mean that is not what it should be, false alarms at most with probability alpha",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = betting_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .get_evidence = betting_get_evidence,
    .reset = betting_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = betting_selftest,
    .layout = &layout};
