/* auto: what an operator gets without choosing: any change of a series' level or spread, or of an error rate, under a
 * budget of false alarms per number of rows.
 *
 * A mixture of two-sample Shiryaev-Roberts statistics. The first `reference` values after a start are held back. If all
 * are 0 or 1 the series is binary, else its values become normal scores of their midranks among those held (channel 0)
 * and of the midranks of their distances from the median (channel 1): free of scale, indifferent to heavy tails, and
 * deaf to nothing but what keeps both ranks. For every candidate row k of a grid (auto_grid.c) the rows before and
 * since k are compared by the log-likelihood ratio LR = z^2/2 (binary: of two rates against one), the variance being
 * that of the rows before k times their autocorrelation time (auto_variance.c); a normal prior of variance g on the
 * change in standard deviations makes it a Bayes factor exp(LR a/(1+a)) / sqrt(1+a), a = g n_e, averaged over five g;
 * their sum over all k is R. Drift is ln R > ln(rows/budget), one more for channel 1, BINARY_BONUS less for a binary
 * series; then it starts over with the values since the change.
 *
 * Under the null each Bayes factor has mean 1 if the variance is known and the scores are normal; then false alarms
 * come at most at rate budget/rows. The variance is estimated and the scores are nearly normal only, so that the budget
 * is kept is measured, not proved (`make alarm-budget-stream`, drift/README.md). Source: A. N. Shiryaev, Theory Probab.
 * Appl. 8 (1963) 22; M. Pollak and D. Siegmund, Sequential detection of a change in a normal mean when the initial
 * value is unknown, Ann. Statist. 19 (1991) 394. */
#include <math.h>
#include <string.h>

#include "drift/auto_internal.h"
#include "drift/distributions.h"
#include "drift/sorted_window_internal.h"

enum { BUDGET, ROWS, REFERENCE, MINIMUM_EFFECT, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [BUDGET] = {.key = "budget", .default_value = .1, .minimum = 1e-12, .maximum = 1e6},
    [ROWS] = {.key = "rows", .default_value = 10000, .minimum = 1, .maximum = 1e15},
    [REFERENCE] =
        {.key = "reference", .default_value = 200, .minimum = 50, .maximum = AUTO_MAX_REFERENCE, .whole = TRUE},
    [MINIMUM_EFFECT] = {.key = "minimum_effect", .default_value = 0, .minimum = 0, .maximum = 1e6}};

/* Counts are discrete: binary series stay below the bound by about this (`make alarm-budget-stream`). */
#define BINARY_BONUS .8
#define SPREAD_PENALTY 1 /* added to the threshold of channel 1, so that two channels cost 1 + 1/e of one */

typedef struct {
  DriftPlain plain;
  guint64 n_held;  /* values of the reference so far */
  guint64 n_kept;  /* values since the start; the last `reference` of them are in `recent` */
  guint64 n_since; /* after an alarm: values since the change, which the next reference begins with */
  gboolean frozen; /* the reference is complete and `grids` run */
  gboolean binary;
  gint64 start_row; /* row of the first value since the start */
  double median;
  AutoGrid grids[2]; /* one a channel; binary series have the first only */
  double *held;      /* [reference] in order of arrival until frozen, then sorted */
  double *distances; /* [reference] sorted distances from the median */
  double *recent;    /* [reference] ring: value i of the start at i % reference */
  double *scores;    /* [2 reference + 1] normal score by twice the midrank; from the options */
  double threshold;
} Auto;

static const DriftField fields[] = {DRIFT_COUNT(Auto, n_held), DRIFT_COUNT(Auto, n_kept), DRIFT_COUNT(Auto, n_since),
                                    DRIFT_FLAG(Auto, frozen),  DRIFT_FLAG(Auto, binary),  DRIFT_ROW(Auto, start_row),
                                    DRIFT_FINITE(Auto, median)};

static guint reference_of(const Auto *a)
{
  return (guint)a->plain.options[REFERENCE];
}

static void prepare(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  guint n = reference_of(a);
  a->held = g_new0(double, n);
  a->distances = g_new0(double, n);
  a->recent = g_new0(double, n);
  a->scores = g_new(double, 2 * n + 1);
  for (guint i = 0; i <= 2 * n; i++) a->scores[i] = drift_normal_quantile((i / 2.0 + .5) / (n + 1.0));
  a->threshold = log(a->plain.options[ROWS] / a->plain.options[BUDGET]);
}

static void clear(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  g_free(a->held);
  g_free(a->distances);
  g_free(a->recent);
  g_free(a->scores);
}

static gsize buffers(const DriftDetector *detector)
{
  return (5 * (gsize)reference_of((const Auto *)detector) + 1) * sizeof(double);
}

/* Starts over with the last n_since values. */
static void forget(Auto *a)
{
  guint n = reference_of(a);
  for (guint64 i = 0; i < a->n_since; i++) a->held[i] = a->recent[(a->n_kept - a->n_since + i) % n];
  memcpy(a->recent, a->held, a->n_since * sizeof *a->recent);
  a->n_held = a->n_kept = a->n_since;
  a->start_row = (gint64)(a->plain.fed - a->n_since);
  a->n_since = 0;
  a->frozen = a->binary = FALSE;
  a->median = 0;
  a->plain.alarmed = FALSE;
}

static void auto_reset(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  for (guint i = 0; i < 2; i++) memset(&a->grids[i], 0, sizeof a->grids[i]);
  drift_plain_reset((DriftPlain *)detector);
  a->n_since = 0;
  forget(a);
}

/* Normal score of the midrank of `value` among sorted[n]. */
static double score(const Auto *a, const double *sorted, double value)
{
  guint n = reference_of(a), above = drift_sorted_place(sorted, n, value), below = above;
  while (below > 0 && sorted[below - 1] == value) below--;
  return a->scores[below + above];
}

static gboolean feed(Auto *a, double value)
{
  if (a->binary) return auto_grid_add(&a->grids[0], value);
  gboolean level = auto_grid_add(&a->grids[0], score(a, a->held, value));
  gboolean spread = auto_grid_add(&a->grids[1], score(a, a->distances, fabs(value - a->median)));
  return level || spread;
}

static void freeze(Auto *a)
{
  guint n = reference_of(a);
  const double *arrived = a->recent; /* value i at i: as many were kept as are held */
  a->binary = TRUE;
  for (guint i = 0; i < n; i++) a->binary = a->binary && (arrived[i] == 0 || arrived[i] == 1);
  drift_sort_in_place(a->held, n); /* the C library's sort allocates */
  a->median = n % 2 == 1 ? a->held[n / 2] : a->held[n / 2 - 1] / 2 + a->held[n / 2] / 2;
  for (guint i = 0; i < n; i++) a->distances[i] = fabs(a->held[i] - a->median);
  drift_sort_in_place(a->distances, n);
  for (guint i = 0; i < 2; i++) auto_grid_start(&a->grids[i], a->binary, n, a->plain.options[MINIMUM_EFFECT]);
  for (guint i = 0; i < n; i++) feed(a, arrived[i]);
  a->frozen = TRUE;
}

/* ln R less the channel's penalty, the larger of the channels; *grid is its. */
static double evidence_of(const Auto *a, guint *grid)
{
  double level = auto_grid_log_sum(&a->grids[0]);
  *grid = 0;
  if (a->binary) return level + BINARY_BONUS;
  double spread = auto_grid_log_sum(&a->grids[1]) - SPREAD_PENALTY;
  *grid = spread > level;
  return MAX(level, spread);
}

static DriftSignal auto_update(DriftDetector *detector, double value)
{
  Auto *a = (Auto *)detector;
  gboolean counts = fabs(value) <= DRIFT_LARGEST_VALUE;
  if (counts && a->plain.alarmed) forget(a);
  a->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  a->recent[a->n_kept++ % reference_of(a)] = value;
  if (!a->frozen) {
    a->held[a->n_held++] = value;
    if (a->n_held == reference_of(a)) freeze(a);
    return DRIFT_SIGNAL_NONE;
  }
  if (a->binary && value != 0 && value != 1) value = value >= .5; /* the series turned out not to be 0 or 1 */
  if (!feed(a, value)) return DRIFT_SIGNAL_NONE;
  guint grid;
  if (evidence_of(a, &grid) <= a->threshold) return DRIFT_SIGNAL_NONE;
  guint64 change = auto_grid_most_likely(&a->grids[grid]);
  a->plain.change_point = a->start_row + (gint64)change;
  a->n_since = MIN(a->grids[grid].n - change, reference_of(a) - 1);
  a->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static double auto_get_evidence(const DriftDetector *detector, double *threshold)
{
  const Auto *a = (const Auto *)detector;
  guint grid;
  *threshold = a->threshold;
  return a->frozen ? evidence_of(a, &grid) : 0;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Auto *a = (const Auto *)detector;
  guint n = reference_of(a);
  for (guint64 i = 0; i < a->n_held; i++) drift_put_double(raw, a->held[i]);
  for (guint64 i = 0; i < MIN(a->n_kept, n); i++) drift_put_double(raw, a->recent[i]);
  for (guint i = 0; i < 2; i++) auto_grid_put(&a->grids[i], raw);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Auto *a = (Auto *)detector;
  guint n = reference_of(a);
  if (a->n_held > n || a->frozen != (a->n_held == n) || a->start_row > (gint64)a->plain.fed) return FALSE;
  for (guint64 i = 0; i < a->n_held; i++) {
    a->held[i] = drift_get_double(reader);
    if (!isfinite(a->held[i]) || (a->frozen && i > 0 && a->held[i] < a->held[i - 1])) return FALSE;
  }
  for (guint64 i = 0; i < MIN(a->n_kept, n); i++) {
    a->recent[i] = drift_get_double(reader);
    if (!isfinite(a->recent[i])) return FALSE;
  }
  if (a->n_kept > a->plain.fed || a->n_since > MIN(a->n_kept, n - 1) || a->n_held > a->n_kept) return FALSE;
  for (guint i = 0; i < 2; i++)
    if (!auto_grid_get(&a->grids[i], reader)) return FALSE;
  if (!a->frozen) return !a->binary;
  for (guint i = 0; i < n; i++) a->distances[i] = fabs(a->held[i] - a->median);
  drift_sort_in_place(a->distances, n);
  for (guint i = 0; i < (a->binary ? 1 : 2); i++) {
    const AutoGrid *grid = &a->grids[i];
    if (grid->held != n || grid->n < n || grid->n != a->grids[0].n || grid->binary != a->binary) return FALSE;
  }
  return a->grids[0].n <= a->plain.fed - (guint64)a->start_row;
}

static const DriftLayout layout = {.size = sizeof(Auto),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static DriftDetector *auto_create(GHashTable *options, GError **error)
{
  return drift_plain_create(&drift_detector_auto, options, error);
}

static DriftDetector *auto_from_bytes(GBytes *bytes, GError **error)
{
  return drift_plain_from_bytes(&drift_detector_auto, bytes, error);
}

static gboolean auto_selftest(GError **error)
{
  return drift_detector_selftest(&drift_detector_auto, error);
}

static const gchar *const option_help[] = {
    "budget=0.1  false alarms at most in that many rows", "rows=10000  the rows of the budget",
    "reference=200  first values after a start or an alarm, which the rest is ranked among",
    "minimum_effect=0  changes below it are silent: standard deviations, or difference of error rates", NULL};

const DriftDetectorType drift_detector_auto = {
    .name = "auto",
    .summary = "the default: any change of level, spread or error rate, under a budget of false alarms",
    .option_help = option_help,
    .create = auto_create,
    .update = auto_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .get_evidence = auto_get_evidence,
    .reset = auto_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = auto_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = auto_selftest,
    .layout = &layout};
