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
 * An alarm may be false, and a true change soon after it would find a new reference too short or with the change in it.
 * So the stretch before the alarm is suspended, not dropped: it takes in what follows too. R is a ratio of marginal
 * likelihoods, so that R falling by e^3 after the alarm says at odds of e^3 that the rows since are as the old ones:
 * then the old stretch is resumed, all its rows in it, and the new one dropped. After a true alarm that has probability
 * e^-3 at most (Ville's inequality, for the prior's changes), which is what suspension adds to the false alarms; after
 * a false one the resumed R goes on where it would have been. If R is well above the threshold and most of it comes
 * from changes since the alarm, the old stretch is resumed and alarms for them. What is not told apart: a true change
 * of the same direction and about the same size within the few rows that the false alarm rests on.
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

/* In units of ln R. A suspended stretch is resumed EBBED below the threshold, dropped DECIDED above it or after WATCHED
 * references; more than GROWN above, every LOOK values, it is asked whether a change since the alarm is more likely by
 * LATER than the one told. */
#define EBBED 3
#define GROWN 3
#define LATER 3
#define DECIDED 15
#define LOOK 8
#define WATCHED 5

enum { BUDGET, ROWS, REFERENCE, MINIMUM_EFFECT, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [BUDGET] = {.key = "budget", .default_value = .1, .minimum = 1e-12, .maximum = 1e6},
    [ROWS] = {.key = "rows", .default_value = 10000, .minimum = 1, .maximum = 1e15},
    [REFERENCE] =
        {.key = "reference", .default_value = 200, .minimum = 50, .maximum = AUTO_MAX_REFERENCE, .whole = TRUE},
    [MINIMUM_EFFECT] = {.key = "minimum_effect", .default_value = 0, .minimum = 0, .maximum = 1e6}};

typedef struct {
  DriftPlain plain;
  guint64 n_kept;     /* values that counted; the last `reference` of them are in `recent` */
  guint64 n_since;    /* of the alarm just told: values since the change, which the next reference begins with */
  guint64 n_watched;  /* values since the alarm that the suspended stretch was left for */
  gboolean suspended; /* the stretch that is not `current` is watched */
  gboolean second;    /* stretches[1] is the current one */
  AutoStretch stretches[2];
  double *recent; /* [reference] ring: value i at i % reference */
  AutoSetup setup;
  double threshold;
} Auto;

static const DriftField fields[] = {DRIFT_COUNT(Auto, n_kept), DRIFT_COUNT(Auto, n_since), DRIFT_COUNT(Auto, n_watched),
                                    DRIFT_FLAG(Auto, suspended), DRIFT_FLAG(Auto, second)};

static void prepare(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  guint n = (guint)a->plain.options[REFERENCE];
  a->setup = (AutoSetup){n, a->plain.options[MINIMUM_EFFECT], g_new0(double, n), g_new(double, 2 * n + 1)};
  for (guint i = 0; i <= 2 * n; i++) a->setup.scores[i] = drift_normal_quantile((i / 2.0 + .5) / (n + 1.0));
  for (guint i = 0; i < 2; i++) auto_stretch_prepare(&a->stretches[i], &a->setup);
  a->recent = g_new0(double, n);
  a->threshold = log(a->plain.options[ROWS] / a->plain.options[BUDGET]);
}

static void clear(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  for (guint i = 0; i < 2; i++) auto_stretch_dispose(&a->stretches[i]);
  g_free(a->recent);
  g_free(a->setup.arrived);
  g_free(a->setup.scores);
}

static gsize buffers(const DriftDetector *detector)
{
  return (8 * (gsize)((const Auto *)detector)->setup.reference + 1) * sizeof(double);
}

static AutoStretch *current_of(Auto *a)
{
  return &a->stretches[a->second ? 1 : 0];
}

static AutoStretch *other_of(Auto *a)
{
  return &a->stretches[a->second ? 0 : 1];
}

static void auto_reset(DriftDetector *detector)
{
  Auto *a = (Auto *)detector;
  drift_plain_reset((DriftPlain *)detector);
  a->n_kept = a->n_since = a->n_watched = 0;
  a->suspended = a->second = FALSE;
  for (guint i = 0; i < 2; i++) auto_stretch_start(&a->stretches[i], NULL, 0);
}

/* Starts over with the last n_since values; the stretch so far is suspended. */
static void start_over(Auto *a)
{
  guint n = a->setup.reference;
  const AutoStretch *before = current_of(a);
  a->second = !a->second;
  auto_stretch_start(current_of(a), before, (gint64)(a->plain.fed - a->n_since));
  for (guint64 i = a->n_kept - a->n_since; i < a->n_kept; i++)
    auto_stretch_add(current_of(a), &a->setup, a->recent[i % n]);
  a->n_since = a->n_watched = 0;
  a->suspended = TRUE;
  a->plain.alarmed = FALSE;
}

/* Whether the suspended stretch goes on: the evidence of the alarm has ebbed, or there is more now for a change since
 * the alarm than for the one it told. */
static gboolean resumes(Auto *a, double value)
{
  guint i;
  AutoStretch *stretch = other_of(a);
  auto_stretch_add(stretch, &a->setup, value);
  double gain = auto_stretch_evidence(stretch, &i) - a->threshold;
  a->n_watched++;
  const AutoGrid *grid = &stretch->grids[i];
  gboolean later =
      gain > GROWN && a->n_watched % LOOK == 0 && auto_grid_log_odds_since(grid, grid->n - a->n_watched) > LATER;
  if (gain > DECIDED)
    for (guint j = 0; j < 2; j++) current_of(a)->grids[j].known = 0;
  a->suspended = gain <= DECIDED && a->n_watched < WATCHED * (guint64)a->setup.reference;
  if (gain >= -EBBED && !later) return FALSE;
  a->suspended = FALSE;
  a->second = !a->second;
  return TRUE;
}

/* An alarm if the current stretch has the evidence. */
static DriftSignal judge(Auto *a)
{
  guint i;
  const AutoStretch *stretch = current_of(a);
  if (auto_stretch_evidence(stretch, &i) <= a->threshold) return DRIFT_SIGNAL_NONE;
  guint64 change = auto_grid_most_likely(&stretch->grids[i]);
  a->plain.change_point = stretch->start_row + (gint64)change;
  a->n_since = MIN(stretch->grids[i].n - change, a->setup.reference - 1);
  a->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static DriftSignal auto_update(DriftDetector *detector, double value)
{
  Auto *a = (Auto *)detector;
  gboolean counts = fabs(value) <= DRIFT_LARGEST_VALUE;
  if (counts && a->plain.alarmed) start_over(a);
  a->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  a->recent[a->n_kept++ % a->setup.reference] = value;
  if (!a->suspended || !resumes(a, value)) auto_stretch_add(current_of(a), &a->setup, value);
  return judge(a);
}

static double auto_get_evidence(const DriftDetector *detector, double *threshold)
{
  const Auto *a = (const Auto *)detector;
  guint grid;
  *threshold = a->threshold;
  return auto_stretch_evidence(&a->stretches[a->second ? 1 : 0], &grid);
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  Auto *a = (Auto *)(gpointer)detector;
  for (guint64 i = 0; i < MIN(a->n_kept, a->setup.reference); i++) drift_put_double(raw, a->recent[i]);
  auto_stretch_put(current_of(a), raw);
  if (a->suspended) auto_stretch_put(other_of(a), raw);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Auto *a = (Auto *)detector;
  guint n = a->setup.reference;
  if (a->n_kept > a->plain.fed || a->n_since > MIN(a->n_kept, n - 1)) return FALSE;
  for (guint64 i = 0; i < MIN(a->n_kept, n); i++) {
    a->recent[i] = drift_get_double(reader);
    if (!isfinite(a->recent[i])) return FALSE;
  }
  for (guint i = 0; i < (a->suspended ? 2 : 1); i++) {
    AutoStretch *stretch = i == 0 ? current_of(a) : other_of(a);
    if (!auto_stretch_get(stretch, &a->setup, reader) || stretch->start_row > (gint64)a->plain.fed) return FALSE;
    guint64 n_of = stretch->frozen ? stretch->grids[0].n : stretch->n_held;
    if (n_of > a->plain.fed - (guint64)stretch->start_row) return FALSE;
  }
  return !a->suspended || other_of(a)->frozen;
}

static const DriftLayout layout = {.size = sizeof(Auto),
                                   .format = 2,
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {
    "budget=0.1  false alarms at most in that many rows", "rows=10000  the rows of the budget",
    "reference=200  first values after a start or an alarm, which the rest is ranked among",
    "minimum_effect=0  changes below it are silent: standard deviations, or difference of error rates", NULL};

const DriftDetectorType drift_detector_auto = {
    .name = "auto",
    .summary = "the default: any change of level, spread or error rate, under a budget of false alarms",
    .option_help = option_help,
    .takes = DRIFT_TAKES_FINITE,
    .create = drift_plain_create,
    .update = auto_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .get_evidence = auto_get_evidence,
    .reset = auto_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = drift_detector_selftest,
    .layout = &layout};
