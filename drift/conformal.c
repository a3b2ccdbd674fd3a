/* conformal: the Simple Jumper martingale on conformal p-values: is each value's rank among all before uniform?
 * If the series is exchangeable, P(ever a false alarm since a start) <= alpha. Autocorrelation breaks that: it is for
 * independent rows. The reference grows with every value (a frozen one breaks the guarantee); when it holds `capacity`
 * values it begins again, the evidence going on, which keeps both the guarantee and the memory.
 * Source: V. Vovk et al., Retrain or not retrain: conformal test martingales for change-point detection, arXiv
 * 2102.10439. After an alarm all starts over. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

#include "drift/sorted_window_internal.h"

#define N_BETS 3 /* small p, none, large p */

enum { ALPHA, JUMP, CAPACITY, SEED, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [ALPHA] = {.key = "alpha", .default_value = 1e-3, .minimum = 1e-300, .maximum = 1},
    [JUMP] = {.key = "jump", .default_value = .01, .minimum = 0, .maximum = 1},
    [CAPACITY] = {.key = "capacity", .default_value = 10000, .minimum = 10, .maximum = 100000, .whole = TRUE},
    [SEED] = {.key = "seed", .default_value = 42, .minimum = 0, .maximum = 9007199254740992.0, .whole = TRUE}};

typedef struct {
  DriftPlain plain;
  guint64 n, generator;
  double log_capital, lowest; /* ln S; the lowest it was */
  double bets[N_BETS];        /* shares of the capital, sum 1 */
  gint64 lowest_row;          /* first row after the lowest */
  double *reference;          /* [capacity] sorted, n held */
} Conformal;

static const DriftField fields[] = {DRIFT_COUNT(Conformal, n),
                                    {offsetof(Conformal, generator), DRIFT_FIELD_U64, 0, 2e19, "generator"},
                                    DRIFT_FINITE(Conformal, log_capital),
                                    DRIFT_FINITE(Conformal, lowest),
                                    DRIFT_REAL(Conformal, bets[0], 0, 1.0001),
                                    DRIFT_REAL(Conformal, bets[1], 0, 1.0001),
                                    DRIFT_REAL(Conformal, bets[2], 0, 1.0001),
                                    DRIFT_ROW(Conformal, lowest_row)};

static void prepare(DriftDetector *detector)
{
  Conformal *conformal = (Conformal *)detector;
  conformal->reference = g_new0(double, (gsize)conformal->plain.options[CAPACITY]);
}

static void clear(DriftDetector *detector)
{
  g_free(((Conformal *)detector)->reference);
}

static gsize buffers(const DriftDetector *detector)
{
  return (gsize)((const Conformal *)detector)->plain.options[CAPACITY] * sizeof(double);
}

static void forget(Conformal *conformal)
{
  conformal->n = 0;
  conformal->log_capital = conformal->lowest = 0;
  conformal->lowest_row = (gint64)conformal->plain.fed;
  for (guint i = 0; i < N_BETS; i++) conformal->bets[i] = 1.0 / N_BETS;
  conformal->plain.alarmed = FALSE;
}

static void conformal_reset(DriftDetector *detector)
{
  Conformal *conformal = (Conformal *)detector;
  drift_plain_reset(&conformal->plain);
  conformal->generator = (guint64)conformal->plain.options[SEED];
  forget(conformal);
}

static double draw(Conformal *conformal) /* splitmix64 */
{
  guint64 z = conformal->generator += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Its conformal p-value, ties broken at random; then it joins the reference. */
static double take(Conformal *conformal, double value)
{
  if ((double)conformal->n == conformal->plain.options[CAPACITY]) conformal->n = 0;
  guint n = (guint)conformal->n, above = drift_sorted_place(conformal->reference, n, value), below = above;
  while (below > 0 && conformal->reference[below - 1] == value) below--;
  double p = (below + draw(conformal) * (above - below + 1.0)) / (n + 1.0);
  memmove(conformal->reference + above + 1, conformal->reference + above, (n - above) * sizeof(double));
  conformal->reference[above] = value;
  conformal->n++;
  return p;
}

static void bet(Conformal *conformal, double p)
{
  double jump = conformal->plain.options[JUMP], sum = 0;
  for (guint i = 0; i < N_BETS; i++) {
    double stake = (double)i - 1;
    conformal->bets[i] = ((1 - jump) * conformal->bets[i] + jump / N_BETS) * (1 + stake * (p - .5));
    sum += conformal->bets[i];
  }
  for (guint i = 0; i < N_BETS; i++) conformal->bets[i] /= sum;
  conformal->log_capital += log(sum);
}

static DriftSignal conformal_update(DriftDetector *detector, double value)
{
  Conformal *conformal = (Conformal *)detector;
  if (!isnan(value) && conformal->plain.alarmed) forget(conformal);
  gint64 row = (gint64)conformal->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  bet(conformal, take(conformal, value));
  if (conformal->log_capital <= conformal->lowest) {
    conformal->lowest = conformal->log_capital;
    conformal->lowest_row = row + 1;
  }
  if (conformal->log_capital < -log(conformal->plain.options[ALPHA])) return DRIFT_SIGNAL_NONE;
  conformal->plain.change_point = MIN(conformal->lowest_row, row);
  conformal->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static double conformal_get_evidence(const DriftDetector *detector, double *threshold)
{
  *threshold = -log(((const Conformal *)detector)->plain.options[ALPHA]);
  return ((const Conformal *)detector)->log_capital;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Conformal *conformal = (const Conformal *)detector;
  for (guint64 i = 0; i < conformal->n; i++) drift_put_double(raw, conformal->reference[i]);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Conformal *conformal = (Conformal *)detector;
  if ((double)conformal->n > conformal->plain.options[CAPACITY] || conformal->n > conformal->plain.fed) return FALSE;
  for (guint64 i = 0; i < conformal->n; i++) {
    conformal->reference[i] = drift_get_double(reader);
    if (isnan(conformal->reference[i]) || (i > 0 && conformal->reference[i] < conformal->reference[i - 1]))
      return FALSE;
  }
  return conformal->lowest <= conformal->log_capital && conformal->lowest_row <= (gint64)conformal->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Conformal),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {"alpha=0.001  probability of any false alarm since a start",
                                           "jump=0.01  share of the capital that changes its bet with each value",
                                           "capacity=10000  values the reference grows to before it begins again",
                                           "seed=42  of the ties' order", NULL};

const DriftDetectorType drift_detector_conformal = {
    .name = "conformal",
    .alias = "simple-jumper",
    .summary = "change of a distribution of independent rows, false alarms at most with probability alpha",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = conformal_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .get_evidence = conformal_get_evidence,
    .reset = conformal_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = drift_detector_selftest,
    .layout = &layout};
