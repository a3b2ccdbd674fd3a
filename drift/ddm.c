/* DDM: the error rate plus its deviation against their lowest sum so far.
 * Source: J. Gama et al., Learning with drift detection, SBIA 2004. After an alarm it starts over with the next value.
 */
#include "drift/detector_internal.h"

#include <math.h>

enum { WARM_START, WARNING, DRIFT, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [WARM_START] = {.key = "warm_start", .default_value = 30, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [WARNING] = {.key = "warning", .default_value = 2, .minimum = 0, .maximum = 1e6},
    [DRIFT] = {.key = "drift", .default_value = 3, .minimum = 0, .maximum = 1e6}};

typedef struct {
  DriftDetector base;
  double options[N_OPTIONS];
  guint64 fed; /* all values */
  guint64 n;   /* finite values since the start or the last alarm */
  double rate;
  double lowest_rate, lowest_deviation; /* +inf and 0 before any */
  gint64 warned_from;                   /* first row of the running warning; -1: none */
  gint64 change_point;
  gboolean alarmed;
} Ddm;

static void forget(Ddm *ddm)
{
  ddm->n = 0;
  ddm->rate = 0;
  ddm->lowest_rate = INFINITY;
  ddm->lowest_deviation = 0;
  ddm->warned_from = -1;
  ddm->alarmed = FALSE;
}

static void ddm_reset(DriftDetector *detector)
{
  Ddm *ddm = (Ddm *)detector;
  forget(ddm);
  ddm->fed = 0;
  ddm->change_point = -1;
}

static DriftDetector *ddm_create(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  double values[N_OPTIONS];
  if (!drift_options_read("ddm", options, specs, N_OPTIONS, values, error)) return NULL;
  Ddm *ddm = g_new0(Ddm, 1);
  ddm->base.type = type;
  for (guint i = 0; i < N_OPTIONS; i++) ddm->options[i] = values[i];
  ddm_reset(&ddm->base);
  return &ddm->base;
}

static DriftSignal judge(Ddm *ddm, gint64 row)
{
  double deviation = sqrt(ddm->rate * (1 - ddm->rate) / (double)ddm->n);
  double level = ddm->rate + deviation;
  if (level <= ddm->lowest_rate + ddm->lowest_deviation) {
    ddm->lowest_rate = ddm->rate;
    ddm->lowest_deviation = deviation;
  }
  gboolean warned = level > ddm->lowest_rate + ddm->options[WARNING] * ddm->lowest_deviation;
  if (!warned)
    ddm->warned_from = -1;
  else if (ddm->warned_from < 0)
    ddm->warned_from = row;
  if (level > ddm->lowest_rate + ddm->options[DRIFT] * ddm->lowest_deviation) {
    ddm->change_point = ddm->warned_from >= 0 ? ddm->warned_from : row;
    ddm->alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  return warned ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
}

static DriftSignal ddm_update(DriftDetector *detector, double value)
{
  Ddm *ddm = (Ddm *)detector;
  gint64 row = (gint64)ddm->fed++;
  if (!(value >= 0 && value <= 1)) return DRIFT_SIGNAL_NONE; /* no error rate: NaN, or not an error in [0, 1] */
  if (ddm->alarmed) forget(ddm);
  ddm->n++;
  ddm->rate += 1.0 / (double)ddm->n * (value - ddm->rate);
  return (double)ddm->n > ddm->options[WARM_START] ? judge(ddm, row) : DRIFT_SIGNAL_NONE;
}

static gint64 ddm_get_change_point(const DriftDetector *detector)
{
  return ((const Ddm *)detector)->change_point;
}

static void ddm_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  const Ddm *ddm = (const Ddm *)detector;
  visit("n", (double)ddm->n, user_data);
  visit("rate", ddm->rate, user_data);
  visit("lowest_rate", ddm->lowest_rate, user_data);
  visit("lowest_deviation", ddm->lowest_deviation, user_data);
}

static GBytes *ddm_to_bytes(const DriftDetector *detector)
{
  const Ddm *ddm = (const Ddm *)detector;
  GByteArray *raw = drift_state_begin(detector->type);
  drift_options_put(raw, ddm->options, N_OPTIONS);
  drift_put_u64(raw, ddm->fed);
  drift_put_u64(raw, ddm->n);
  drift_put_double(raw, ddm->rate);
  drift_put_double(raw, ddm->lowest_rate);
  drift_put_double(raw, ddm->lowest_deviation);
  drift_put_i64(raw, ddm->warned_from);
  drift_put_i64(raw, ddm->change_point);
  drift_put_u8(raw, ddm->alarmed != FALSE);
  return drift_state_finish(raw);
}

static DriftDetector *ddm_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = NULL;
  DriftReader reader;
  if (!drift_state_open(type, bytes, &raw, &reader, error)) return NULL;
  Ddm read = {.base.type = type};
  drift_options_get(&reader, read.options, N_OPTIONS);
  read.fed = drift_get_u64(&reader);
  read.n = drift_get_u64(&reader);
  read.rate = drift_get_double(&reader);
  read.lowest_rate = drift_get_double(&reader);
  read.lowest_deviation = drift_get_double(&reader);
  read.warned_from = drift_get_i64(&reader);
  read.change_point = drift_get_i64(&reader);
  guint8 alarmed = drift_get_u8(&reader);
  read.alarmed = alarmed != 0;
  gboolean fits = drift_options_fit(specs, N_OPTIONS, read.options) && read.n <= read.fed && alarmed <= 1 &&
                  read.rate >= 0 && read.rate <= 1 && read.lowest_rate >= 0 && read.lowest_deviation >= 0;
  if (!drift_state_close(type, &reader, fits, error)) return NULL;
  return g_memdup2(&read, sizeof read);
}

static gsize ddm_get_size(const DriftDetector *detector)
{
  (void)detector;
  return sizeof(Ddm);
}

static void ddm_free(DriftDetector *detector)
{
  g_free(detector);
}

static const gchar *const option_help[] = {"warm_start=30  values before the first judgement",
                                           "warning=2  deviations above the lowest level for a warning",
                                           "drift=3  deviations above the lowest level for a drift", NULL};

const DriftDetectorType drift_detector_ddm = {.name = "ddm",
                                              .summary = "rise of an error rate (0/1) above its lowest level",
                                              .option_help = option_help,
                                              .takes = DRIFT_TAKES_ERRORS,
                                              .create = ddm_create,
                                              .update = ddm_update,
                                              .get_change_point = ddm_get_change_point,
                                              .describe = ddm_describe,
                                              .reset = ddm_reset,
                                              .to_bytes = ddm_to_bytes,
                                              .from_bytes = ddm_from_bytes,
                                              .get_size = ddm_get_size,
                                              .free = ddm_free,
                                              .selftest = drift_detector_selftest};
