/* RDDM: DDM that forgets: a concept that has grown too long, or a warning that lasts too long, is begun again from the
 * stored recent predictions.
 * Source: R. S. M. Barros et al., RDDM: reactive drift detection method, Expert Systems with Applications 90 (2017)
 * 344; when the counters are compared as in MOA. No budget over a stream. */
#include "drift/detector_internal.h"

#include <math.h>

#define MAX_STORED 20000

enum { MINIMUM, WARNING, DRIFT, MAX_CONCEPT, MIN_STABLE, WARNING_LIMIT, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [MINIMUM] = {.key = "min_instances", .default_value = 129, .minimum = 0, .maximum = 1e9, .whole = TRUE},
    [WARNING] = {.key = "warning_level", .default_value = 1.773, .minimum = 1, .maximum = 4},
    [DRIFT] = {.key = "drift_level", .default_value = 2.258, .minimum = 1, .maximum = 5},
    [MAX_CONCEPT] = {.key = "max_concept_size", .default_value = 40000, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [MIN_STABLE] =
        {.key = "min_stable_concept_size", .default_value = 7000, .minimum = 1, .maximum = MAX_STORED, .whole = TRUE},
    [WARNING_LIMIT] = {
        .key = "warning_limit", .default_value = 1400, .minimum = 1, .maximum = MAX_STORED, .whole = TRUE}};

typedef struct {
  DriftPlain plain;
  guint64 n; /* of the next prediction in this concept: 1 for the first */
  double rate, deviation;
  double lowest_rate, lowest_deviation, lowest; /* lowest: their sum at its lowest; +inf before any */
  guint64 counted;                              /* predictions in all */
  guint64 first, n_stored;                      /* of the ring: its oldest, how many */
  guint64 warned_at;                            /* `counted` at the running warning's first row; 0: none */
  guint64 warned_age;                           /* predictions stored since (with) that row; 0: none or forgotten */
  gint64 warned_row;
  gboolean restarts; /* before the next prediction the concept begins again from what is stored */
  guint8 *ring;      /* [min_stable_concept_size] 0 or 1 */
} Rddm;

static const DriftField fields[] = {DRIFT_COUNT(Rddm, n),
                                    DRIFT_REAL(Rddm, rate, 0, 1),
                                    DRIFT_REAL(Rddm, deviation, 0, 1),
                                    DRIFT_REAL(Rddm, lowest_rate, 0, INFINITY),
                                    DRIFT_REAL(Rddm, lowest_deviation, 0, INFINITY),
                                    DRIFT_REAL(Rddm, lowest, 0, INFINITY),
                                    DRIFT_COUNT(Rddm, counted),
                                    DRIFT_COUNT(Rddm, first),
                                    DRIFT_COUNT(Rddm, n_stored),
                                    DRIFT_COUNT(Rddm, warned_at),
                                    DRIFT_COUNT(Rddm, warned_age),
                                    DRIFT_ROW(Rddm, warned_row),
                                    DRIFT_FLAG(Rddm, restarts)};

static guint64 capacity_of(const Rddm *rddm)
{
  return (guint64)rddm->plain.options[MIN_STABLE];
}

static void prepare(DriftDetector *detector)
{
  Rddm *rddm = (Rddm *)detector;
  rddm->ring = g_new0(guint8, capacity_of(rddm));
}

static void clear(DriftDetector *detector)
{
  g_free(((Rddm *)detector)->ring);
}

static gsize buffers(const DriftDetector *detector)
{
  return capacity_of((const Rddm *)detector);
}

static void forget_lowest(Rddm *rddm)
{
  rddm->lowest_rate = rddm->lowest_deviation = rddm->lowest = INFINITY;
}

static void forget_warning(Rddm *rddm)
{
  rddm->warned_at = rddm->warned_age = 0;
  rddm->warned_row = -1;
}

static void rddm_reset(DriftDetector *detector)
{
  Rddm *rddm = (Rddm *)detector;
  drift_plain_reset(&rddm->plain);
  rddm->n = 1;
  rddm->rate = rddm->deviation = 0;
  forget_lowest(rddm);
  forget_warning(rddm);
  rddm->counted = rddm->first = rddm->n_stored = 0;
  rddm->restarts = FALSE;
}

static void count(Rddm *rddm, guint8 error)
{
  rddm->rate += (error - rddm->rate) / (double)rddm->n;
  rddm->deviation = sqrt(rddm->rate * (1 - rddm->rate) / (double)rddm->n);
}

static void keep_lowest(Rddm *rddm)
{
  if (rddm->rate + rddm->deviation >= rddm->lowest) return;
  rddm->lowest_rate = rddm->rate;
  rddm->lowest_deviation = rddm->deviation;
  rddm->lowest = rddm->rate + rddm->deviation;
}

/* The concept begins again from the first row of the warning if there is one in store, else from all that is stored. */
static void restart(Rddm *rddm)
{
  guint64 capacity = capacity_of(rddm);
  gboolean after_alarm = rddm->plain.alarmed;
  rddm->n = 1;
  rddm->rate = rddm->deviation = 0;
  if (after_alarm) forget_lowest(rddm);
  if (rddm->warned_age > 0) {
    rddm->first = (rddm->first + rddm->n_stored - rddm->warned_age) % capacity;
    rddm->n_stored = rddm->warned_age;
  }
  for (guint64 i = 0; i < rddm->n_stored; i++) {
    count(rddm, rddm->ring[(rddm->first + i) % capacity]);
    if (after_alarm && (double)rddm->n > rddm->plain.options[MINIMUM]) keep_lowest(rddm);
    rddm->n++;
  }
  forget_warning(rddm);
  rddm->restarts = rddm->plain.alarmed = FALSE;
}

static void store(Rddm *rddm, guint8 error)
{
  guint64 capacity = capacity_of(rddm);
  if (rddm->n_stored == capacity) {
    rddm->ring[rddm->first] = error;
    rddm->first = (rddm->first + 1) % capacity;
  } else {
    rddm->ring[(rddm->first + rddm->n_stored++) % capacity] = error;
  }
  if (rddm->warned_age > 0 && ++rddm->warned_age > capacity) rddm->warned_age = 0;
}

static void keep_newest(Rddm *rddm)
{
  rddm->first = (rddm->first + rddm->n_stored - 1) % capacity_of(rddm);
  rddm->n_stored = 1;
}

static DriftSignal tell_drift(Rddm *rddm, gint64 row)
{
  rddm->plain.alarmed = rddm->restarts = TRUE;
  rddm->plain.change_point = rddm->warned_row >= 0 ? rddm->warned_row : row;
  return DRIFT_SIGNAL_DRIFT;
}

static DriftSignal judge(Rddm *rddm, gint64 row)
{
  const double *options = rddm->plain.options;
  keep_lowest(rddm);
  double level = rddm->rate + rddm->deviation;
  if (level > rddm->lowest_rate + options[DRIFT] * rddm->lowest_deviation) {
    if (rddm->warned_at == 0) keep_newest(rddm);
    return tell_drift(rddm, row);
  }
  if (level > rddm->lowest_rate + options[WARNING] * rddm->lowest_deviation) {
    if (rddm->warned_at > 0 && (double)rddm->warned_at + options[WARNING_LIMIT] <= (double)rddm->counted) {
      DriftSignal signal = tell_drift(rddm, row);
      keep_newest(rddm);
      forget_warning(rddm);
      return signal;
    }
    if (rddm->warned_at == 0) {
      rddm->warned_at = rddm->counted;
      rddm->warned_age = 1;
      rddm->warned_row = row;
    }
    return DRIFT_SIGNAL_WARNING;
  }
  forget_warning(rddm);
  if ((double)rddm->n > options[MAX_CONCEPT]) rddm->restarts = TRUE;
  return DRIFT_SIGNAL_NONE;
}

static DriftSignal rddm_update(DriftDetector *detector, double value)
{
  Rddm *rddm = (Rddm *)detector;
  gint64 row = (gint64)rddm->plain.fed++;
  if (!(value >= 0 && value <= 1)) return DRIFT_SIGNAL_NONE; /* no error in [0, 1] */
  if (rddm->restarts) restart(rddm);
  guint8 error = value >= .5;
  store(rddm, error);
  count(rddm, error);
  rddm->counted++;
  rddm->n++;
  return (double)rddm->n > rddm->plain.options[MINIMUM] ? judge(rddm, row) : DRIFT_SIGNAL_NONE;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Rddm *rddm = (const Rddm *)detector;
  for (guint64 i = 0; i < rddm->n_stored; i++) drift_put_u8(raw, rddm->ring[(rddm->first + i) % capacity_of(rddm)]);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Rddm *rddm = (Rddm *)detector;
  guint64 capacity = capacity_of(rddm);
  if (rddm->n_stored > capacity || rddm->first >= capacity || rddm->warned_age > rddm->n_stored || rddm->n < 1 ||
      rddm->n > rddm->counted + 1 || rddm->counted > rddm->plain.fed || rddm->warned_at > rddm->counted ||
      rddm->warned_row >= (gint64)rddm->plain.fed)
    return FALSE;
  for (guint64 i = 0; i < rddm->n_stored; i++) {
    guint8 error = drift_get_u8(reader);
    if (error > 1) return FALSE;
    rddm->ring[(rddm->first + i) % capacity] = error;
  }
  return TRUE;
}

static const DriftLayout layout = {.size = sizeof(Rddm),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean rddm_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, TRUE, error);
}

static const gchar *const option_help[] = {"min_instances=129  values before the first judgement",
                                           "warning_level=1.773  deviations above the lowest level for a warning",
                                           "drift_level=2.258  deviations above the lowest level for a drift",
                                           "max_concept_size=40000  values after which the concept begins again",
                                           "min_stable_concept_size=7000  predictions stored",
                                           "warning_limit=1400  values of warning that are a drift",
                                           NULL};

const DriftDetectorType drift_detector_rddm = {.name = "rddm",
                                               .summary = "DDM that begins long concepts again",
                                               .option_help = option_help,
                                               .takes = DRIFT_TAKES_ERRORS,
                                               .create = drift_plain_create,
                                               .update = rddm_update,
                                               .get_change_point = drift_plain_get_change_point,
                                               .describe = drift_plain_describe,
                                               .reset = rddm_reset,
                                               .to_bytes = drift_plain_to_bytes,
                                               .from_bytes = drift_plain_from_bytes,
                                               .get_size = drift_plain_get_size,
                                               .free = drift_plain_free,
                                               .selftest = rddm_selftest,
                                               .layout = &layout};
