/* EDDM: the distance between errors against the longest it has been.
 * Source: M. Baena-Garcia et al., Early drift detection method, ECML PKDD workshop 2006; sample variance and warm start
 * as in River. A warning lasts until an error ends it. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

enum { BLOCK = 64 }; /* values: a bit each */

/* Bits of the values that are no plain right ones, found without a branch: errors come at random, so that asking each
 * value whether it is one would be mostly waiting for the answer. */
static inline guint64 find_others(const double *values, guint n)
{
  guint64 right = 0;
  guint i = 0;
#ifdef __SSE2__
  const __m128d zero = _mm_setzero_pd(), half = _mm_set1_pd(.5);
  for (; i + 1 < n; i += 2) {
    __m128d x = _mm_loadu_pd(values + i);
    guint64 both = (guint)_mm_movemask_pd(_mm_and_pd(_mm_cmpge_pd(x, zero), _mm_cmplt_pd(x, half)));
    right |= both << i;
  }
#endif
  for (; i < n; i++) right |= (guint64)((values[i] >= 0) & (values[i] < .5)) << i;
  return ~right & (~G_GUINT64_CONSTANT(0) >> (BLOCK - n));
}

/* With longest between these, and sums of squares below the last, no product below is too large or too small. */
#define SMALLEST_LONGEST 1e-100
#define LARGEST_LONGEST 1e100
#define LARGEST_SQUARES 1e200
/* So far from a limit that all roundings together cannot reach it. */
#define MARGIN 1e-12

/* Beyond the warm start and without a warning most errors change nothing but mean and squares: mean + 2 deviations
 * stays below the longest and above its ALPHA share. Where that is certain from 4 squares between (share of longest -
 * mean)^2 (n_errors - 1) of the two shares with a margin, judge() would change nothing, and its root and two of three
 * divisions are left out. Takes the first of the others (bits; those before `next` are done) as long as it is certain
 * and returns those left. */
static guint64 pass_steadily(Eddm *eddm, const double *values, guint64 others, guint *next)
{
  const double *options = eddm->plain.options;
  double mean = eddm->mean, squares = eddm->squares, errors = (double)(gint64)eddm->n_errors, longest = eddm->longest;
  gboolean is_judged = errors >= options[WARM_START] && (double)(gint64)eddm->n >= options[WARM_START];
  if (!is_judged || eddm->plain.alarmed || eddm->warned_from >= 0 || !(longest > SMALLEST_LONGEST) ||
      longest > LARGEST_LONGEST || squares > LARGEST_SQUARES)
    return others;
  double high = longest * (1 - MARGIN), low = options[ALPHA] * longest * (1 + MARGIN);
  guint64 before = eddm->n - *next, last = eddm->last_error; /* before: the block's first value */
  guint done = *next;
  for (; others != 0; others &= others - 1) {
    guint at = (guint)__builtin_ctzll(others);
    double value = values[at], distance = (double)(gint64)(before + at + 1 - last), off = distance - mean;
    double mean_now = mean + off / (errors + 1), squares_now = squares + off * (distance - mean_now);
    double above = high - mean_now, below = low - mean_now > 0 ? low - mean_now : 0, four = 4 * squares_now;
    gboolean is_certain = (value >= .5) & (value <= 1) & (above >= 0) &
                          (four <= above * above * errors * (1 - MARGIN)) &
                          (four >= below * below * errors * (1 + MARGIN)) & (squares_now <= LARGEST_SQUARES);
    if (G_UNLIKELY(!is_certain)) break;
    mean = mean_now;
    squares = squares_now;
    errors += 1;
    last = before + at + 1;
    done = at + 1;
  }
  eddm->mean = mean;
  eddm->squares = squares;
  eddm->n_errors = (guint64)(gint64)errors;
  eddm->last_error = last;
  eddm->plain.fed += done - *next;
  eddm->n += done - *next;
  *next = done;
  return others;
}

/* One of the others, after the right ones before it. */
static DriftSignal pass_one(Eddm *eddm, const double *values, guint at, guint *next, guint8 *signals)
{
  pass_by(eddm, at - *next, signals + *next);
  *next = at + 1;
  signals[at] = (guint8)eddm_update(&eddm->plain.base, values[at]);
  return signals[at];
}

static gsize eddm_update_many(DriftDetector *detector, const double *values, gsize n, guint8 *signals)
{
  Eddm *eddm = (Eddm *)detector;
  for (gsize start = 0; start < n; start += BLOCK) {
    guint length = (guint)MIN(BLOCK, n - start), next = 0;
    guint64 others = find_others(values + start, length);
    memset(signals + start, DRIFT_SIGNAL_NONE, length);
    while (others != 0) {
      others = pass_steadily(eddm, values + start, others, &next);
      if (others == 0) break;
      guint at = (guint)__builtin_ctzll(others);
      if (pass_one(eddm, values + start, at, &next, signals + start) == DRIFT_SIGNAL_DRIFT) return start + at + 1;
      others &= others - 1;
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
                                               .takes = DRIFT_TAKES_ERRORS,
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
