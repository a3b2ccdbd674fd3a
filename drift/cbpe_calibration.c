/* When a model's probabilities are worth calibrating: nannyml's rule with its own splits (scikit-learn's
 * StratifiedShuffleSplit(10, test_size=.1, random_state=42), so that both decide alike,
 * except where nannyml's choice hangs on how its sort orders equal scores at a bin's edge; the generator is
 * MT19937, seeded alike). */
#include <math.h>
#include <string.h>

#include "drift/cbpe_internal.h"
#include "drift/mersenne_twister.h"
#include "drift/order.h"

#define SPLITS 10
#define BINS 10
#define PERFECT_AUC .999

/* All bits up to the highest of x. */
static guint32 mask_of(guint32 x)
{
  for (guint shift = 1; shift < 32; shift *= 2) x |= x >> shift;
  return x;
}

/* Uniform in [0, highest] by rejection on the bits that highest needs, as numpy's legacy generator does. */
static guint32 random_up_to(DriftTwister *random, guint32 highest)
{
  guint32 mask = mask_of(highest), value;
  do value = drift_twister_next(random) & mask;
  while (value > highest);
  return value;
}

/* The steps n - 1 … end of a shuffle: what they leave at these places stays there. */
static void shuffle_down_to(DriftTwister *random, guint32 *rows, gsize n, gsize end)
{
  for (gsize i = n; i-- > end;) {
    guint32 j = random_up_to(random, (guint32)i), row = rows[i];
    rows[i] = rows[j];
    rows[j] = row;
  }
}

/* Draws what the steps n - 1 … 1 of a shuffle would, where the order does not matter: no branch hangs on what is drawn.
 */
static void skip_shuffle(DriftTwister *random, gsize n)
{
  for (guint32 i = n > 0 ? (guint32)n - 1 : 0; i > 0;) {
    guint32 mask = mask_of(i), end = mask >> 1;
    while (i > end) i -= (drift_twister_next(random) & mask) <= i;
  }
}

/* How many of `drawn` rows come from each of two classes: their shares, the row left over to the larger remainder, by
 * lot when they are equal. */
static void apportion(DriftTwister *random, const gsize counts[2], gsize drawn, gsize parts[2])
{
  double total = (double)(counts[0] + counts[1]), remainders[2];
  gsize left = drawn;
  for (guint c = 0; c < 2; c++) {
    double exact = (double)counts[c] / total * (double)drawn;
    parts[c] = (gsize)floor(exact);
    remainders[c] = exact - floor(exact);
    left -= MIN(left, parts[c]);
  }
  guint32 lots[2] = {0, 1};
  gboolean tie = remainders[0] == remainders[1];
  if (left > 0 && tie) shuffle_down_to(random, lots, 2, 1);
  if (left > 0 && !tie) lots[0] = remainders[0] > remainders[1] ? 0 : 1;
  for (guint i = 0; i < left && i < 2; i++) parts[i == 0 ? lots[0] : 1 - lots[0]]++;
}

/* Tested rows of one probability, and how many of them are positives. */
typedef struct {
  double p;
  guint64 rows, ones;
} Run;

/* Rows are numbered by ascending score, so that no split has to sort. */
typedef struct {
  gsize n, n_train, n_test, counts[2];
  double *scores;       /* [n] */
  guint8 *outcomes;     /* [n] */
  guint32 *of_class[2]; /* rows of each class, in the order of the data */
  guint32 *order;       /* [n] to shuffle */
  guint8 *roles;        /* [n] in the split at hand */
  guint32 *train;       /* [n] rows of the split at hand */
  guint32 *times;       /* [n] splits that tested the row */
  double *tested, *fit; /* [n] scores that the split at hand tests, calibrated */
  guint32 *test;        /* [n] their rows */
  GArray *calibrated;   /* of Run, of all splits */
} Splits;

enum { ROLE_NONE, ROLE_TRAIN, ROLE_TEST };

static void split(Splits *splits, DriftTwister *random)
{
  gsize train[2], rest[2], test[2];
  apportion(random, splits->counts, splits->n_train, train);
  for (guint c = 0; c < 2; c++) rest[c] = splits->counts[c] - MIN(splits->counts[c], train[c]);
  apportion(random, rest, splits->n_test, test);
  memset(splits->roles, ROLE_TRAIN, splits->n);
  for (guint c = 0; c < 2; c++) {
    gsize n = splits->counts[c], n_train = MAX(MIN(n, train[c]), 1);
    memcpy(splits->order, splits->of_class[c], n * sizeof *splits->order);
    /* The rest of the steps only mixes the rows to train on. */
    shuffle_down_to(random, splits->order, n, n_train);
    skip_shuffle(random, n_train);
    for (gsize i = MIN(n, train[c]); i < n; i++)
      splits->roles[splits->order[i]] = i < train[c] + test[c] ? ROLE_TEST : ROLE_NONE;
  }
  skip_shuffle(random, splits->n_train);
  skip_shuffle(random, splits->n_test);
}

/* --- the error of a calibration ----------------------------------------------------------------------------------- */

/* Sum over equal-count bins of the sorted probabilities of share times |mean probability - mean outcome|. Rows of equal
 * probability share their mean outcome, so that a bin's edge among them means nothing. runs: ascending in p. */
static double calibration_error(const Run *runs, gsize n_runs, gsize n)
{
  gsize bins = n <= 2 * BINS ? n / 2 : BINS, bin = 0, at = 0;
  gsize width = bins > 0 ? n / bins : n, last = bins > 0 ? n / width - 1 : 0, end = last == 0 ? n : width;
  double error = 0, difference = 0;
  for (gsize r = 0; r < n_runs; r++) {
    double gap = runs[r].p - (double)runs[r].ones / (double)runs[r].rows;
    for (guint64 i = 0; i < runs[r].rows; i++) {
      difference += gap;
      if (++at < end) continue;
      error += fabs(difference) / (double)n;
      difference = 0;
      end = ++bin >= last ? n : end + width;
    }
  }
  return error;
}

static void append_run(GArray *runs, double p, guint64 rows, guint64 ones)
{
  Run *last = runs->len > 0 ? &g_array_index(runs, Run, runs->len - 1) : NULL;
  Run run = {p, rows, ones};
  if (last != NULL && last->p == p)
    last->rows += rows, last->ones += ones;
  else
    g_array_append_val(runs, run);
}

static double error_of_scores(const Splits *splits, gsize n)
{
  g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(Run));
  for (gsize i = 0; i < splits->n; i++) {
    guint32 times = splits->times[i];
    if (times > 0) append_run(runs, splits->scores[i], times, splits->outcomes[i] ? times : 0);
  }
  return calibration_error((const Run *)(gpointer)runs->data, runs->len, n);
}

/* NaN: no memory. */
static double error_of_calibrated(const Splits *splits, gsize n)
{
  guint n_runs = splits->calibrated->len;
  g_autoptr(GArray) runs = g_array_sized_new(FALSE, FALSE, sizeof(Run), n_runs);
  g_autofree double *p = g_new(double, n_runs + 1);
  g_autofree guint32 *order = g_new(guint32, n_runs + 1);
  for (guint r = 0; r < n_runs; r++) p[r] = g_array_index(splits->calibrated, Run, r).p;
  if (!drift_order(p, n_runs, order)) return NAN;
  for (guint r = 0; r < n_runs; r++) {
    const Run *run = &g_array_index(splits->calibrated, Run, order[r]);
    append_run(runs, run->p, run->rows, run->ones);
  }
  return calibration_error((const Run *)(gpointer)runs->data, runs->len, n);
}

/* --- the splits --------------------------------------------------------------------------------------------------- */

/* Trains and tests on the split at hand; returns how many rows were tested. */
static gsize run_split(Splits *splits)
{
  gsize n_train = 0, n_test = 0;
  for (gsize i = 0; i < splits->n; i++) {
    splits->train[n_train] = splits->test[n_test] = (guint32)i;
    n_train += splits->roles[i] == ROLE_TRAIN;
    n_test += splits->roles[i] == ROLE_TEST;
  }
  g_autoptr(DriftIsotonic) isotonic =
      drift_isotonic_fit_sorted(splits->scores, splits->outcomes, splits->train, n_train);
  if (isotonic == NULL) return 0;
  for (gsize i = 0; i < n_test; i++) {
    splits->times[splits->test[i]]++;
    splits->tested[i] = splits->scores[splits->test[i]];
  }
  drift_isotonic_apply_sorted(isotonic, splits->tested, n_test, splits->fit);
  for (gsize i = 0; i < n_test; i++)
    append_run(splits->calibrated, splits->fit[i], 1, splits->outcomes[splits->test[i]]);
  return n_test;
}

static gsize run_splits(Splits *splits)
{
  DriftTwister random;
  gsize tested = 0;
  drift_twister_init(&random, 42);
  for (guint s = 0; s < SPLITS; s++) {
    split(splits, &random);
    tested += run_split(splits);
  }
  return tested;
}

/* FALSE: too few rows of a class to split, scores that tell the classes apart, or no memory; clear either way. */
static gboolean splits_init(Splits *splits, const double *scores, const double *outcomes, gsize n)
{
  *splits = (Splits){.n = n, .calibrated = g_array_new(FALSE, FALSE, sizeof(Run))};
  for (gsize i = 0; i < n; i++) splits->counts[outcomes[i] > 0 ? 1 : 0]++;
  splits->n_test = (gsize)ceil(.1 * (double)n);
  splits->n_train = n - splits->n_test;
  if (splits->counts[0] < 2 || splits->counts[1] < 2 || splits->n_test < 2) return FALSE;
  gsize at[2] = {0, 0};
  for (guint c = 0; c < 2; c++) splits->of_class[c] = g_new(guint32, splits->counts[c]);
  splits->order = g_new(guint32, n);
  splits->roles = g_new(guint8, n);
  splits->train = g_new(guint32, n + 1); /* one more: written to before it is known to be needed */
  splits->test = g_new(guint32, n + 1);
  splits->times = g_new0(guint32, n);
  splits->scores = g_new(double, n);
  splits->outcomes = g_new(guint8, n);
  splits->tested = g_new(double, n);
  splits->fit = g_new(double, n);
  if (!drift_order(scores, n, splits->order)) return FALSE;
  g_autofree guint32 *ranks = g_new(guint32, n);
  for (gsize i = 0; i < n; i++) {
    ranks[splits->order[i]] = (guint32)i;
    splits->scores[i] = scores[splits->order[i]];
    splits->outcomes[i] = outcomes[splits->order[i]] > 0;
  }
  for (gsize i = 0; i < n; i++) splits->of_class[outcomes[i] > 0][at[outcomes[i] > 0]++] = ranks[i];
  return !(drift_expected_roc_auc(outcomes, scores, splits->order, n) > PERFECT_AUC);
}

static void splits_clear(Splits *splits)
{
  gpointer all[] = {splits->of_class[0], splits->of_class[1], splits->order, splits->roles,
                    splits->train,       splits->test,        splits->times, splits->outcomes,
                    splits->scores,      splits->tested,      splits->fit};
  for (guint i = 0; i < G_N_ELEMENTS(all); i++) g_free(all[i]);
  g_array_unref(splits->calibrated);
}

gboolean cbpe_needs_calibration(const double *scores, const double *outcomes, gsize n, DriftIsotonic **calibration)
{
  Splits splits;
  gboolean needed = FALSE;
  if (splits_init(&splits, scores, outcomes, n)) {
    gsize tested = run_splits(&splits);
    needed = error_of_scores(&splits, tested) > error_of_calibrated(&splits, tested);
    for (gsize i = 0; needed && i < n; i++) splits.train[i] = (guint32)i;
    if (needed) *calibration = drift_isotonic_fit_sorted(splits.scores, splits.outcomes, splits.train, n);
  }
  splits_clear(&splits);
  return needed;
}
