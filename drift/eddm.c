/* EDDM: the distance between errors against the longest it has been.
 * Source: M. Baena-Garcia et al., Early drift detection method, ECML PKDD workshop 2006; sample variance and warm start
 * as in River. A warning lasts until an error ends it. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

enum { WARM_START, ALPHA, BETA, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [WARM_START] = {.key = "warm_start", .default_value = 30, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [ALPHA] = {.key = "alpha", .default_value = .95, .minimum = 0, .maximum = 1},
    [BETA] = {.key = "beta", .default_value = .9, .minimum = 0, .maximum = 1}};

typedef struct {
  DriftPlain plain;
  guint64 n, last_error, n_errors;
  double mean, squares; /* of the distances: mean, sum of squared deviations */
  double longest;       /* of mean + 2 deviations; -1 before any */
  gint64 warned_from;   /* row of the first error of the running warning; -1: none */
} Eddm;

static const DriftField fields[] = {DRIFT_COUNT(Eddm, n),
                                    DRIFT_COUNT(Eddm, last_error),
                                    DRIFT_COUNT(Eddm, n_errors),
                                    DRIFT_REAL(Eddm, mean, 0, G_MAXDOUBLE),
                                    DRIFT_REAL(Eddm, squares, 0, G_MAXDOUBLE),
                                    DRIFT_REAL(Eddm, longest, -1, G_MAXDOUBLE),
                                    DRIFT_ROW(Eddm, warned_from)};

static void forget(Eddm *eddm)
{
  eddm->n = eddm->last_error = eddm->n_errors = 0;
  eddm->mean = eddm->squares = 0;
  eddm->longest = -1;
  eddm->warned_from = -1;
  eddm->plain.alarmed = FALSE;
}

static void eddm_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Eddm *)detector);
}

static DriftSignal judge(Eddm *eddm, gint64 row)
{
  double deviation = eddm->n_errors > 1 ? sqrt(eddm->squares / (double)(gint64)(eddm->n_errors - 1)) : 0;
  double length = eddm->mean + 2 * deviation;
  if (length > eddm->longest) {
    eddm->longest = length;
    return DRIFT_SIGNAL_NONE;
  }
  if ((double)(gint64)eddm->n_errors <= eddm->plain.options[WARM_START]) return DRIFT_SIGNAL_NONE;
  double level = length / eddm->longest;
  if (level < eddm->plain.options[BETA]) {
    eddm->plain.change_point = eddm->warned_from >= 0 ? eddm->warned_from : row;
    eddm->plain.alarmed = TRUE;
    return DRIFT_SIGNAL_DRIFT;
  }
  if (level >= eddm->plain.options[ALPHA])
    eddm->warned_from = -1;
  else if (eddm->warned_from < 0)
    eddm->warned_from = row;
  return DRIFT_SIGNAL_NONE;
}

/* Apart from the update, which most values leave without needing any of this. Counts become doubles by way of gint64,
 * which takes one instruction. */
static G_NO_INLINE DriftSignal note_error(Eddm *eddm, gint64 row)
{
  double distance = (double)(gint64)(eddm->n - eddm->last_error), before = eddm->mean;
  DriftSignal signal = DRIFT_SIGNAL_NONE;
  eddm->n_errors++;
  eddm->mean += (distance - before) / (double)(gint64)eddm->n_errors;
  eddm->squares += (distance - before) * (distance - eddm->mean);
  if ((double)(gint64)eddm->n > eddm->plain.options[WARM_START]) signal = judge(eddm, row);
  eddm->last_error = eddm->n;
  return signal == DRIFT_SIGNAL_NONE && eddm->warned_from >= 0 ? DRIFT_SIGNAL_WARNING : signal;
}

static inline void take_value(Eddm *eddm)
{
  if (G_UNLIKELY(eddm->plain.alarmed)) forget(eddm);
  eddm->n++;
}

/* Values that are no error in [0, 1] are only counted. One question for most values, two for errors. */
static DriftSignal eddm_update(DriftDetector *detector, double value)
{
  Eddm *eddm = (Eddm *)detector;
  gint64 row = (gint64)eddm->plain.fed++;
  if (value < .5) {
    if (G_UNLIKELY(value < 0)) return DRIFT_SIGNAL_NONE;
    take_value(eddm);
    return eddm->warned_from >= 0 ? DRIFT_SIGNAL_WARNING : DRIFT_SIGNAL_NONE;
  }
  if (!(value <= 1)) return DRIFT_SIGNAL_NONE;
  take_value(eddm);
  return note_error(eddm, row);
}

/* Values that are no errors; their signals are NONE so far. */
static inline void pass_by(Eddm *eddm, gsize n, guint8 *signals)
{
  if (G_UNLIKELY(eddm->plain.alarmed && n > 0)) forget(eddm);
  eddm->plain.fed += n;
  eddm->n += n;
  if (G_UNLIKELY(eddm->warned_from >= 0)) memset(signals, DRIFT_SIGNAL_WARNING, n);
}

/* Errors come at random, so that asking each value whether it is one is mostly waiting for the answer: what is no plain
 * right one is listed first, without a branch, and the values between are counted at once. */
static gsize eddm_update_many(DriftDetector *detector, const double *values, gsize n, guint8 *signals)
{
  enum { BLOCK = 256 };
  Eddm *eddm = (Eddm *)detector;
  guint others[BLOCK];
  for (gsize start = 0; start < n; start += BLOCK) {
    guint length = (guint)MIN(BLOCK, n - start), n_others = 0, next = 0;
    for (guint i = 0; i < length; i++) {
      others[n_others] = i;
      n_others += !((values[start + i] >= 0) & (values[start + i] < .5));
    }
    memset(signals + start, DRIFT_SIGNAL_NONE, length);
    for (guint k = 0; k < n_others; k++) {
      gsize at = start + others[k];
      pass_by(eddm, others[k] - next, signals + start + next);
      if (G_LIKELY(values[at] >= .5 && values[at] <= 1)) {
        take_value(eddm);
        signals[at] = (guint8)note_error(eddm, (gint64)eddm->plain.fed++);
      } else {
        signals[at] = (guint8)eddm_update(detector, values[at]);
      }
      if (signals[at] == DRIFT_SIGNAL_DRIFT) return at + 1;
      next = others[k] + 1;
    }
    pass_by(eddm, length - next, signals + start + next);
  }
  return n;
}

static gboolean fits(const DriftDetector *detector)
{
  const Eddm *eddm = (const Eddm *)detector;
  return eddm->n <= eddm->plain.fed && eddm->n_errors <= eddm->n && eddm->last_error <= eddm->n &&
         eddm->warned_from < (gint64)eddm->plain.fed && eddm->longest != 0;
}

static const DriftLayout layout = {.size = sizeof(Eddm),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .fits = fits,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean eddm_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, TRUE, error);
}

static const gchar *const option_help[] = {"warm_start=30  errors before the first judgement",
                                           "alpha=0.95  share of the longest distance below which it warns",
                                           "beta=0.9  share of the longest distance below which it is a drift", NULL};

const DriftDetectorType drift_detector_eddm = {.name = "eddm",
                                               .summary = "errors (0/1) that come closer together",
                                               .option_help = option_help,
                                               .create = drift_plain_create,
                                               .update = eddm_update,
                                               .update_many = eddm_update_many,
                                               .get_change_point = drift_plain_get_change_point,
                                               .describe = drift_plain_describe,
                                               .reset = eddm_reset,
                                               .to_bytes = drift_plain_to_bytes,
                                               .from_bytes = drift_plain_from_bytes,
                                               .get_size = drift_plain_get_size,
                                               .free = drift_plain_free,
                                               .selftest = eddm_selftest,
                                               .layout = &layout};
