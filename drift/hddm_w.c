/* HDDM-W: a weighted mean that prefers recent values against its lowest (highest), by McDiarmid's bound.
 * Source: I. Frias-Blanco et al., Online and non-parametric drift detection methods based on Hoeffding's bounds, IEEE
 * TKDE 27 (2015) 810, W-test; the bound's start as in River (MOA starts it at 1, and shares state between instances).
 * Values in [0, 1]; no budget over a stream. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { DRIFT, WARNING, LAMBDA, TWO_SIDED, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [DRIFT] = {.key = "drift_confidence", .default_value = .001, .minimum = 1e-300, .maximum = 1},
    [WARNING] = {.key = "warning_confidence", .default_value = .005, .minimum = 1e-300, .maximum = 1},
    [LAMBDA] = {.key = "lambda_val", .default_value = .05, .minimum = 1e-9, .maximum = 1},
    [TWO_SIDED] = {.key = "two_sided_test", .choices = drift_option_booleans}};

typedef struct {
  gboolean any;
  double mean, weights; /* weights: sum of the squared weights */
} Part;

typedef struct {
  Part before, after; /* up to the extreme, since it */
  double extreme;     /* of mean plus (less) its bound */
  gint64 row;         /* first row after the extreme */
} Side;

typedef struct {
  DriftPlain plain;
  guint64 n;
  Part all;
  Side rise, fall;
  double log_drift, log_warning; /* from the options */
} HddmW;

#define PART(part)                                                                                                     \
  DRIFT_FLAG(HddmW, part.any), DRIFT_REAL(HddmW, part.mean, 0, 1), DRIFT_REAL(HddmW, part.weights, 0, 1)
static const DriftField fields[] = {DRIFT_COUNT(HddmW, n),
                                    PART(all),
                                    PART(rise.before),
                                    PART(rise.after),
                                    DRIFT_REAL(HddmW, rise.extreme, 0, INFINITY),
                                    DRIFT_ROW(HddmW, rise.row),
                                    PART(fall.before),
                                    PART(fall.after),
                                    DRIFT_REAL(HddmW, fall.extreme, -INFINITY, 1),
                                    DRIFT_ROW(HddmW, fall.row)};

static void prepare(DriftDetector *detector)
{
  HddmW *hddm = (HddmW *)detector;
  hddm->log_drift = log(1 / hddm->plain.options[DRIFT]);
  hddm->log_warning = log(1 / hddm->plain.options[WARNING]);
}

static void forget(HddmW *hddm)
{
  const Part none = {FALSE, 0, 1};
  gint64 row = (gint64)hddm->plain.fed;
  hddm->n = 0;
  hddm->all = none;
  hddm->rise = (Side){none, none, INFINITY, row};
  hddm->fall = (Side){none, none, -INFINITY, row};
  hddm->plain.alarmed = FALSE;
}

static void hddm_w_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((HddmW *)detector);
}

static void add(Part *part, double value, double lambda)
{
  part->mean = part->any ? lambda * value + (1 - lambda) * part->mean : value;
  part->any = TRUE;
  part->weights = lambda * lambda + (1 - lambda) * (1 - lambda) * part->weights;
}

static void keep(Side *side, const HddmW *hddm, double value, double extreme, gboolean is_new)
{
  if (!is_new) {
    add(&side->after, value, hddm->plain.options[LAMBDA]);
    return;
  }
  side->extreme = extreme;
  side->before = hddm->all;
  side->after = (Part){FALSE, 0, 1};
  side->row = (gint64)hddm->plain.fed;
}

static gboolean is_higher(const Part *low, const Part *high, double log_term)
{
  return low->any && high->any && high->mean - low->mean > sqrt((low->weights + high->weights) * log_term / 2);
}

static DriftSignal judge(HddmW *hddm)
{
  const Side *rise = &hddm->rise, *fall = &hddm->fall;
  gboolean two_sided = hddm->plain.options[TWO_SIDED] != 0;
  gboolean up = is_higher(&rise->before, &rise->after, hddm->log_drift);
  if (up || (two_sided && is_higher(&fall->after, &fall->before, hddm->log_drift))) {
    hddm->plain.change_point = up ? rise->row : fall->row;
    hddm->plain.alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  gboolean warned = is_higher(&rise->before, &rise->after, hddm->log_warning) ||
                    (two_sided && is_higher(&fall->after, &fall->before, hddm->log_warning));
  return warned ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
}

static DriftSignal hddm_w_update(DriftDetector *detector, double value)
{
  HddmW *hddm = (HddmW *)detector;
  gboolean counts = value >= 0 && value <= 1; /* the bound holds for no others */
  if (counts && hddm->plain.alarmed) forget(hddm);
  hddm->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  hddm->n++;
  add(&hddm->all, value, hddm->plain.options[LAMBDA]);
  double bound = sqrt(hddm->all.weights * hddm->log_drift / 2);
  double high = hddm->all.mean + bound, low = hddm->all.mean - bound;
  keep(&hddm->rise, hddm, value, high, high < hddm->rise.extreme);
  if (hddm->plain.options[TWO_SIDED] != 0) keep(&hddm->fall, hddm, value, low, low > hddm->fall.extreme);
  return judge(hddm);
}

static gboolean fits(const DriftDetector *detector)
{
  return ((const HddmW *)detector)->n <= ((const HddmW *)detector)->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(HddmW),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {
    "drift_confidence=0.001  probability of a false rise between two given means",
    "warning_confidence=0.005  the same for a warning", "lambda_val=0.05  weight of the newest value",
    "two_sided_test=false  true: falls too", NULL};

const DriftDetectorType drift_detector_hddm_w = {.name = "hddm-w",
                                                 .summary = "rise of a weighted mean in [0, 1], by McDiarmid's bound",
                                                 .option_help = option_help,
                                                 .takes = DRIFT_TAKES_ERRORS,
                                                 .create = drift_plain_create,
                                                 .update = hddm_w_update,
                                                 .get_change_point = drift_plain_get_change_point,
                                                 .describe = drift_plain_describe,
                                                 .reset = hddm_w_reset,
                                                 .to_bytes = drift_plain_to_bytes,
                                                 .from_bytes = drift_plain_from_bytes,
                                                 .get_size = drift_plain_get_size,
                                                 .free = drift_plain_free,
                                                 .selftest = drift_detector_selftest,
                                                 .layout = &layout};
