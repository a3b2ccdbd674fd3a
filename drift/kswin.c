/* KSWIN: Kolmogorov-Smirnov test of the newest values in a sliding window against as many drawn from the older ones.
 * Source: C. Raab, M. Heusinger, F.-M. Schleif, Reactive soft prototype computing for concept drift streams,
 * Neurocomputing 416 (2020) 340; exact p-value for two samples of one size, and D > .1, as in River. The draw is
 * seeded, by a generator of its own: rows differ from River's. It tests every row: expect false alarms (12 per 10,000
 * rows by default). After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

#include "drift/sorted_window_internal.h"

#define MAX_WINDOW 10000

enum { ALPHA, WINDOW, STATISTIC, SEED, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [ALPHA] = {.key = "alpha", .default_value = .005, .minimum = 0, .maximum = 1},
    [WINDOW] = {.key = "window_size", .default_value = 100, .minimum = 2, .maximum = MAX_WINDOW, .whole = TRUE},
    [STATISTIC] = {.key = "stat_size", .default_value = 30, .minimum = 1, .maximum = MAX_WINDOW / 2, .whole = TRUE},
    [SEED] = {.key = "seed", .default_value = 42, .minimum = 0, .maximum = 9007199254740992.0, .whole = TRUE}};

typedef struct {
  DriftPlain plain;
  guint64 generator;
  DriftSortedWindow window;
  gint8 *side;    /* [window_size] by slot: +1 newest, -1 drawn, 0 neither */
  guint critical; /* least number of steps of 1/stat_size that is a drift */
} Kswin;

static const DriftField fields[] = {{offsetof(Kswin, generator), DRIFT_FIELD_U64, 0, 2e19, "generator"}};

static gboolean accepts(const double *options, GError **error)
{
  if (2 * options[STATISTIC] <= options[WINDOW]) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
              "kswin option stat_size=%g: it is at most half of window_size=%g, which both samples come from",
              options[STATISTIC], options[WINDOW]);
  return FALSE;
}

/* P(D >= steps/n) for two samples of n values without ties: the paths that leave the strip, by reflection. */
static double exact_p(guint steps, guint n)
{
  double p = 0, centre = 2 * lgamma(n + 1.0);
  for (guint i = 1; i * steps <= n; i++) {
    double away = (double)i * steps;
    double ratio = exp(centre - lgamma(n - away + 1) - lgamma(n + away + 1));
    p += i % 2 == 1 ? 2 * ratio : -2 * ratio;
  }
  return p;
}

static void prepare(DriftDetector *detector)
{
  Kswin *kswin = (Kswin *)detector;
  guint n = (guint)kswin->plain.options[STATISTIC], window = (guint)kswin->plain.options[WINDOW];
  drift_sorted_window_init(&kswin->window, window);
  kswin->side = g_new0(gint8, window);
  kswin->critical = 1;
  while (kswin->critical <= n &&
         (exact_p(kswin->critical, n) > kswin->plain.options[ALPHA] || 10 * kswin->critical <= n))
    kswin->critical++;
}

static void clear(DriftDetector *detector)
{
  drift_sorted_window_clear(&((Kswin *)detector)->window);
  g_free(((Kswin *)detector)->side);
}

static gsize buffers(const DriftDetector *detector)
{
  const Kswin *kswin = (const Kswin *)detector;
  return drift_sorted_window_bytes(&kswin->window) + (gsize)kswin->plain.options[WINDOW];
}

static void forget(Kswin *kswin)
{
  kswin->generator = (guint64)kswin->plain.options[SEED];
  drift_sorted_window_empty(&kswin->window);
  kswin->plain.alarmed = FALSE;
}

static void kswin_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Kswin *)detector);
}

/* Below `limit`; splitmix64, whose high product is uniform within 2^-50. */
static guint draw(Kswin *kswin, guint limit)
{
  guint64 z = kswin->generator += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return (guint)((((z ^ (z >> 31)) >> 32) * limit) >> 32);
}

/* Marks the newest stat_size slots and as many drawn from the older ones (Floyd's sampling: no slot twice). */
static void mark(Kswin *kswin)
{
  guint window = kswin->window.capacity, n = (guint)kswin->plain.options[STATISTIC], older = window - n;
  guint oldest = drift_sorted_window_oldest(&kswin->window);
  for (guint i = 0; i < window; i++) kswin->side[(oldest + i) % window] = i >= older;
  for (guint j = older - n; j < older; j++) {
    guint at = (oldest + draw(kswin, j + 1)) % window;
    kswin->side[kswin->side[at] == 0 ? at : (oldest + j) % window] = -1;
  }
}

static guint distance(const Kswin *kswin)
{
  const DriftSortedWindow *window = &kswin->window;
  gint difference = 0, largest = 0;
  for (guint i = 0; i < window->n; i++) {
    difference += kswin->side[window->order[i]];
    gboolean tied = i + 1 < window->n && window->values[window->order[i + 1]] == window->values[window->order[i]];
    if (!tied && ABS(difference) > largest) largest = ABS(difference);
  }
  return (guint)largest;
}

static DriftSignal kswin_update(DriftDetector *detector, double value)
{
  Kswin *kswin = (Kswin *)detector;
  gint64 row = (gint64)kswin->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  if (kswin->plain.alarmed) forget(kswin);
  drift_sorted_window_add(&kswin->window, value);
  if (kswin->window.n < kswin->window.capacity) return DRIFT_SIGNAL_NONE;
  mark(kswin);
  if (distance(kswin) < kswin->critical) return DRIFT_SIGNAL_NONE;
  kswin->plain.change_point = MAX(0, row + 1 - (gint64)kswin->plain.options[STATISTIC]);
  kswin->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  drift_sorted_window_put(&((const Kswin *)detector)->window, raw);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Kswin *kswin = (Kswin *)detector;
  return drift_sorted_window_get(&kswin->window, reader) && kswin->window.n <= kswin->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Kswin),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .accepts = accepts,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static gboolean kswin_selftest(const DriftDetectorType *type, GError **error)
{
  return drift_detector_selftest_with(type, 1, TRUE, error);
}

static const gchar *const option_help[] = {
    "alpha=0.005  p-value that is a drift", "window_size=100  values in the window",
    "stat_size=30  newest values, and values drawn from the older ones", "seed=42  of the draw", NULL};

const DriftDetectorType drift_detector_kswin = {
    .name = "kswin",
    .summary = "change of a distribution, by a Kolmogorov-Smirnov test with a draw",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = kswin_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .reset = kswin_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = kswin_selftest,
    .layout = &layout};
