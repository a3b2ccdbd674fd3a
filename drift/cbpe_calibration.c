/* When a model's probabilities are worth calibrating: nannyml's rule with its own splits (scikit-learn's
 * StratifiedShuffleSplit(10, test_size=.1, random_state=42), so that both decide alike,
 * except where nannyml's choice hangs on how its sort orders equal scores at a bin's edge; the generator is GLib's
 * MT19937, seeded alike). */
#include <math.h>
#include <string.h>

#include "drift/cbpe_internal.h"
#include "drift/order.h"

#define SPLITS 10
#define BINS 10
#define PERFECT_AUC .999

/* Uniform in [0, highest] by rejection on the bits that highest needs, as numpy's legacy generator does. */
static guint32 random_up_to(GRand *random, guint32 highest)
{
  guint32 mask = highest, value;
  for (guint shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  do value = g_rand_int(random) & mask;
  while (value > highest);
  return value;
}

static void shuffle(GRand *random, guint32 *rows, gsize n)
{
  for (gsize i = n; i-- > 1;) {
    guint32 j = random_up_to(random, (guint32)i), row = rows[i];
    rows[i] = rows[j];
    rows[j] = row;
  }
}

/* Draws what a shuffle of n rows would, where their order does not matter. */
static void skip_shuffle(GRand *random, gsize n)
{
  for (gsize i = n; i-- > 1;) random_up_to(random, (guint32)i);
}

/* How many of `drawn` rows come from each of two classes: their shares, the row left over to the larger remainder, by
 * lot when they are equal. */
static void apportion(GRand *random, const gsize counts[2], gsize drawn, gsize parts[2])
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
  if (left > 0 && tie) shuffle(random, lots, 2);
  if (left > 0 && !tie) lots[0] = remainders[0] > remainders[1] ? 0 : 1;
  for (guint i = 0; i < left && i < 2; i++) parts[i == 0 ? lots[0] : 1 - lots[0]]++;
}

/* Rows are numbered by ascending score, so that no split has to sort. */
typedef struct {
  gsize n, n_train, n_test, counts[2];
  double *scores, *outcomes;              /* [n] */
  guint32 *of_class[2];                   /* rows of each class, in the order of the data */
  guint32 *order;                         /* room for an order, and to shuffle */
  guint8 *trains, *tests;                 /* [n] whether the split at hand trains or tests on the row */
  double *scored, *calibrated, *observed; /* the test rows of all splits */
} Splits;

static void split(Splits *splits, GRand *random)
{
  gsize train[2], rest[2], test[2];
  apportion(random, splits->counts, splits->n_train, train);
  for (guint c = 0; c < 2; c++) rest[c] = splits->counts[c] - MIN(splits->counts[c], train[c]);
  apportion(random, rest, splits->n_test, test);
  memset(splits->trains, 0, splits->n);
  memset(splits->tests, 0, splits->n);
  for (guint c = 0; c < 2; c++) {
    memcpy(splits->order, splits->of_class[c], splits->counts[c] * sizeof *splits->order);
    shuffle(random, splits->order, splits->counts[c]);
    for (gsize i = 0; i < splits->counts[c] && i < train[c]; i++) splits->trains[splits->order[i]] = 1;
    for (gsize i = train[c]; i < splits->counts[c] && i < train[c] + test[c]; i++) splits->tests[splits->order[i]] = 1;
  }
  skip_shuffle(random, splits->n_train);
  skip_shuffle(random, splits->n_test);
}

/* Rows of equal probability share their mean outcome, so that a bin's edge among them means nothing. */
static void share_outcomes(const double *p, double *outcomes, const guint32 *order, gsize n)
{
  for (gsize i = 0; i < n;) {
    gsize end = i;
    double sum = 0;
    for (; end < n && p[order[end]] == p[order[i]]; end++) sum += outcomes[order[end]];
    double mean = sum / (double)(end - i);
    for (; i < end; i++) outcomes[order[i]] = mean;
  }
}

/* Sum over equal-count bins of the sorted probabilities of share times |mean probability - mean outcome|. */
static double calibration_error(const double *p, const double *observed, gsize n, guint32 *order)
{
  gsize bins = n <= 2 * BINS ? n / 2 : BINS;
  gsize width = bins > 0 ? n / bins : n;
  double error = 0;
  g_autofree double *outcomes = g_memdup2(observed, n * sizeof *observed);
  if (!drift_order(p, n, order)) return NAN;
  share_outcomes(p, outcomes, order, n);
  for (gsize begin = 0; begin + width <= n; begin += width) {
    gsize end = begin + 2 * width > n ? n : begin + width;
    double difference = 0;
    for (gsize i = begin; i < end; i++) difference += p[order[i]] - outcomes[order[i]];
    error += fabs(difference) / (double)n;
  }
  return error;
}

/* Returns how many rows were tested. */
static gsize run_splits(Splits *splits)
{
  GRand *random = g_rand_new_with_seed(42);
  gsize at = 0;
  for (guint s = 0; s < SPLITS; s++) {
    split(splits, random);
    g_autoptr(DriftIsotonic) isotonic =
        drift_isotonic_fit_sorted(splits->scores, splits->outcomes, splits->trains, splits->n);
    gsize first = at;
    for (gsize i = 0; isotonic != NULL && i < splits->n; i++) {
      if (!splits->tests[i]) continue;
      splits->scored[at] = splits->scores[i];
      splits->observed[at++] = splits->outcomes[i];
    }
    if (isotonic != NULL)
      drift_isotonic_apply(isotonic, splits->scored + first, at - first, splits->calibrated + first);
  }
  g_rand_free(random);
  return at;
}

/* FALSE: too few rows of a class to split, scores that tell the classes apart, or no memory; clear either way. */
static gboolean splits_init(Splits *splits, const double *scores, const double *outcomes, gsize n)
{
  *splits = (Splits){.n = n};
  for (gsize i = 0; i < n; i++) splits->counts[outcomes[i] > 0 ? 1 : 0]++;
  splits->n_test = (gsize)ceil(.1 * (double)n);
  splits->n_train = n - splits->n_test;
  if (splits->counts[0] < 2 || splits->counts[1] < 2 || splits->n_test < 2) return FALSE;
  gsize tested = SPLITS * splits->n_test, at[2] = {0, 0};
  for (guint c = 0; c < 2; c++) splits->of_class[c] = g_new(guint32, splits->counts[c]);
  splits->order = g_new(guint32, MAX(n, tested));
  splits->trains = g_new(guint8, n);
  splits->tests = g_new(guint8, n);
  splits->scores = g_new(double, n);
  splits->outcomes = g_new(double, n);
  splits->scored = g_new(double, tested);
  splits->calibrated = g_new(double, tested);
  splits->observed = g_new(double, tested);
  if (!drift_order(scores, n, splits->order)) return FALSE;
  g_autofree guint32 *ranks = g_new(guint32, n);
  for (gsize i = 0; i < n; i++) {
    ranks[splits->order[i]] = (guint32)i;
    splits->scores[i] = scores[splits->order[i]];
    splits->outcomes[i] = outcomes[splits->order[i]];
  }
  for (gsize i = 0; i < n; i++) splits->of_class[outcomes[i] > 0][at[outcomes[i] > 0]++] = ranks[i];
  return !(drift_expected_roc_auc(outcomes, scores, splits->order, n) > PERFECT_AUC);
}

static void splits_clear(Splits *splits)
{
  gpointer all[] = {splits->of_class[0], splits->of_class[1], splits->order,      splits->trains,   splits->tests,
                    splits->scores,      splits->outcomes,    splits->calibrated, splits->observed, splits->scored};
  for (guint i = 0; i < G_N_ELEMENTS(all); i++) g_free(all[i]);
}

gboolean cbpe_needs_calibration(const double *scores, const double *outcomes, gsize n)
{
  Splits splits;
  gboolean needed = FALSE;
  if (splits_init(&splits, scores, outcomes, n)) {
    gsize tested = run_splits(&splits);
    needed = calibration_error(splits.scored, splits.observed, tested, splits.order) >
             calibration_error(splits.calibrated, splits.observed, tested, splits.order);
  }
  splits_clear(&splits);
  return needed;
}
