/* HDDM-A: the mean of all values against the lowest (highest) it has been, by Hoeffding's bound.
 * Source: I. Frias-Blanco et al., Online and non-parametric drift detection methods based on Hoeffding's bounds, IEEE
 * TKDE 27 (2015) 810, A-test; as in MOA (one-sided) and River. Values in [0, 1]; a false rise between two given means
 * has probability at most drift_confidence, but every row is looked at: no budget over a stream follows. After an alarm
 * it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { DRIFT, WARNING, TWO_SIDED, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [DRIFT] = {.key = "drift_confidence", .default_value = .001, .minimum = 1e-300, .maximum = 1},
    [WARNING] = {.key = "warning_confidence", .default_value = .005, .minimum = 1e-300, .maximum = 1},
    [TWO_SIDED] = {.key = "two_sided_test", .choices = drift_option_booleans}};

typedef struct {
  double mean, n; /* of the values up to a row */
} Part;

typedef struct {
  DriftPlain plain;
  Part all, lowest, highest;
  gint64 lowest_row, highest_row;           /* first row after the part */
  double log_bound, log_drift, log_warning; /* from the options */
} HddmA;

static const DriftField fields[] = {DRIFT_REAL(HddmA, all.mean, 0, 1),     DRIFT_REAL(HddmA, all.n, 0, 1e18),
                                    DRIFT_REAL(HddmA, lowest.mean, 0, 1),  DRIFT_REAL(HddmA, lowest.n, 0, 1e18),
                                    DRIFT_REAL(HddmA, highest.mean, 0, 1), DRIFT_REAL(HddmA, highest.n, 0, 1e18),
                                    DRIFT_ROW(HddmA, lowest_row),          DRIFT_ROW(HddmA, highest_row)};

static void prepare(DriftDetector *detector)
{
  HddmA *hddm = (HddmA *)detector;
  hddm->log_bound = log(1 / hddm->plain.options[DRIFT]);
  hddm->log_drift = log(2 / hddm->plain.options[DRIFT]);
  hddm->log_warning = log(2 / hddm->plain.options[WARNING]);
}

static void forget(HddmA *hddm)
{
  hddm->all = hddm->lowest = hddm->highest = (Part){0, 0};
  hddm->lowest_row = hddm->highest_row = (gint64)hddm->plain.fed;
  hddm->plain.alarmed = FALSE;
}

static void hddm_a_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((HddmA *)detector);
}

static void keep_extremes(HddmA *hddm, gint64 row)
{
  if (hddm->lowest.n == 0) hddm->lowest = hddm->highest = hddm->all;
  double bound = sqrt(1 / (2 * hddm->all.n) * hddm->log_bound);
  if (hddm->lowest.mean + sqrt(1 / (2 * hddm->lowest.n) * hddm->log_bound) >= hddm->all.mean + bound) {
    hddm->lowest = hddm->all;
    hddm->lowest_row = row + 1;
  }
  if (hddm->highest.mean - sqrt(1 / (2 * hddm->highest.n) * hddm->log_bound) <= hddm->all.mean - bound) {
    hddm->highest = hddm->all;
    hddm->highest_row = row + 1;
  }
}

/* Whether the mean has moved by `distance` beyond what the bound allows since `part`. */
static gboolean is_beyond(const HddmA *hddm, const Part *part, double distance, double log_term)
{
  if (part->n == hddm->all.n) return FALSE;
  double m = (hddm->all.n - part->n) / part->n * (1 / hddm->all.n);
  return distance >= sqrt(m / 2 * log_term);
}

static DriftSignal judge(HddmA *hddm)
{
  double rise = hddm->all.mean - hddm->lowest.mean, fall = hddm->highest.mean - hddm->all.mean;
  gboolean two_sided = hddm->plain.options[TWO_SIDED] != 0;
  gboolean up = is_beyond(hddm, &hddm->lowest, rise, hddm->log_drift);
  if (up || (two_sided && is_beyond(hddm, &hddm->highest, fall, hddm->log_drift))) {
    hddm->plain.change_point = up ? hddm->lowest_row : hddm->highest_row;
    hddm->plain.alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  gboolean warned = is_beyond(hddm, &hddm->lowest, rise, hddm->log_warning) ||
                    (two_sided && is_beyond(hddm, &hddm->highest, fall, hddm->log_warning));
  return warned ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
}

static DriftSignal hddm_a_update(DriftDetector *detector, double value)
{
  HddmA *hddm = (HddmA *)detector;
  gboolean counts = value >= 0 && value <= 1; /* the bound holds for no others */
  if (counts && hddm->plain.alarmed) forget(hddm);
  gint64 row = (gint64)hddm->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  hddm->all.n++;
  hddm->all.mean += 1 / hddm->all.n * (value - hddm->all.mean);
  keep_extremes(hddm, row);
  return judge(hddm);
}

static gboolean fits(const DriftDetector *detector)
{
  const HddmA *hddm = (const HddmA *)detector;
  double n = hddm->all.n;
  return n <= (double)hddm->plain.fed && hddm->lowest.n <= n && hddm->highest.n <= n &&
         (n > 0) == (hddm->lowest.n > 0) && (n > 0) == (hddm->highest.n > 0);
}

static const DriftLayout layout = {.size = sizeof(HddmA),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {
    "drift_confidence=0.001  probability of a false rise between two given means",
    "warning_confidence=0.005  the same for a warning", "two_sided_test=false  true: falls too", NULL};

const DriftDetectorType drift_detector_hddm_a = {.name = "hddm-a",
                                                 .summary = "rise of a mean in [0, 1], by Hoeffding's bound",
                                                 .option_help = option_help,
                                                 .takes = DRIFT_TAKES_ERRORS,
                                                 .create = drift_plain_create,
                                                 .update = hddm_a_update,
                                                 .get_change_point = drift_plain_get_change_point,
                                                 .describe = drift_plain_describe,
                                                 .reset = hddm_a_reset,
                                                 .to_bytes = drift_plain_to_bytes,
                                                 .from_bytes = drift_plain_from_bytes,
                                                 .get_size = drift_plain_get_size,
                                                 .free = drift_plain_free,
                                                 .selftest = drift_detector_selftest,
                                                 .layout = &layout};
