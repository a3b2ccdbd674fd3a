/* KSWindow: Kolmogorov-Smirnov test of a sliding window against the first values, KSWIN without its draw.
 * The first `ref` values are the reference, then the last `window` are held; on every `step`-th value after the
 * reference, when the window is full: p = the law of the one-sample D with n = round(ref window / (ref + window)), as
 * scipy's asymptotic two-sample test; drift if p < alpha, and all starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

#include "drift/sorted_window_internal.h"

#define MAX_REFERENCE 50000
#define MAX_WINDOW 10000

enum { REFERENCE, WINDOW, STEP, ALPHA, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [REFERENCE] = {.key = "ref", .default_value = 200, .minimum = 2, .maximum = MAX_REFERENCE, .whole = TRUE},
    [WINDOW] = {.key = "window", .default_value = 100, .minimum = 2, .maximum = MAX_WINDOW, .whole = TRUE},
    [STEP] = {.key = "step", .default_value = 10, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [ALPHA] = {.key = "alpha", .default_value = 1e-4, .minimum = 1e-300, .maximum = .05}};

typedef struct {
  DriftPlain plain;
  guint64 n_reference, n_after;
  DriftSortedWindow window;
  double *reference; /* [ref] sorted */
  double critical;   /* a larger D is a drift */
} Kswindow;

static const DriftField fields[] = {DRIFT_COUNT(Kswindow, n_reference), DRIFT_COUNT(Kswindow, n_after)};

/* P(D+ >= d) of one sample of n (Smirnov); P(D >= d) is twice that less less than exp(-8 n d^2), which is nothing below
 * the largest alpha taken. */
static double one_sided_p(double d, double n)
{
  if (d <= 0) return 1;
  double p = 0;
  for (double j = 0; j < n * (1 - d); j++) {
    double at = d + j / n;
    p += exp(lgamma(n + 1) - lgamma(j + 1) - lgamma(n - j + 1) + (j - 1) * log(at) + (n - j) * log1p(-at));
  }
  return d * p;
}

static double critical_distance(double n, double alpha)
{
  double low = 0, high = 1;
  for (guint i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    *(2 * one_sided_p(middle, n) < alpha ? &high : &low) = middle;
  }
  return (low + high) / 2;
}

static void prepare(DriftDetector *detector)
{
  Kswindow *ks = (Kswindow *)detector;
  double n = ks->plain.options[REFERENCE], m = ks->plain.options[WINDOW];
  drift_sorted_window_init(&ks->window, (guint)m);
  ks->reference = g_new0(double, (gsize)n);
  ks->critical = critical_distance(rint(n * m / (n + m)), ks->plain.options[ALPHA]);
}

static void clear(DriftDetector *detector)
{
  drift_sorted_window_clear(&((Kswindow *)detector)->window);
  g_free(((Kswindow *)detector)->reference);
}

static gsize buffers(const DriftDetector *detector)
{
  const Kswindow *ks = (const Kswindow *)detector;
  return drift_sorted_window_bytes(&ks->window) + (gsize)ks->plain.options[REFERENCE] * sizeof(double);
}

static void forget(Kswindow *ks)
{
  ks->n_reference = ks->n_after = 0;
  drift_sorted_window_empty(&ks->window);
  ks->plain.alarmed = FALSE;
}

static void kswindow_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Kswindow *)detector);
}

static double distance(const Kswindow *ks)
{
  const DriftSortedWindow *window = &ks->window;
  guint n = (guint)ks->n_reference, m = window->n, i = 0, j = 0;
  double largest = 0;
  while (i < n && j < m) {
    double value = MIN(ks->reference[i], window->values[window->order[j]]);
    while (i < n && ks->reference[i] == value) i++;
    while (j < m && window->values[window->order[j]] == value) j++;
    largest = MAX(largest, fabs((double)i / n - (double)j / m));
  }
  return largest;
}

static DriftSignal kswindow_update(DriftDetector *detector, double value)
{
  Kswindow *ks = (Kswindow *)detector;
  gint64 row = (gint64)ks->plain.fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  if (ks->plain.alarmed) forget(ks);
  if ((double)ks->n_reference < ks->plain.options[REFERENCE]) {
    guint at = drift_sorted_place(ks->reference, (guint)ks->n_reference, value);
    memmove(ks->reference + at + 1, ks->reference + at, (ks->n_reference - at) * sizeof(double));
    ks->reference[at] = value;
    ks->n_reference++;
    return DRIFT_SIGNAL_NONE;
  }
  ks->n_after++;
  drift_sorted_window_add(&ks->window, value);
  gboolean looks = ks->n_after % (guint64)ks->plain.options[STEP] == 0 && ks->window.n == ks->window.capacity;
  if (!looks || distance(ks) <= ks->critical) return DRIFT_SIGNAL_NONE;
  ks->plain.change_point = MAX(0, row + 1 - (gint64)ks->window.n);
  ks->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Kswindow *ks = (const Kswindow *)detector;
  for (guint64 i = 0; i < ks->n_reference; i++) drift_put_double(raw, ks->reference[i]);
  drift_sorted_window_put(&ks->window, raw);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Kswindow *ks = (Kswindow *)detector;
  if ((double)ks->n_reference > ks->plain.options[REFERENCE]) return FALSE;
  for (guint64 i = 0; i < ks->n_reference; i++) {
    ks->reference[i] = drift_get_double(reader);
    if (isnan(ks->reference[i]) || (i > 0 && ks->reference[i] < ks->reference[i - 1])) return FALSE;
  }
  return drift_sorted_window_get(&ks->window, reader) && ks->window.n <= ks->n_after &&
         ks->n_reference + ks->n_after <= ks->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Kswindow),
                                   .options = specs,
                                   .n_options = N_OPTIONS,
                                   .prepare = prepare,
                                   .clear = clear,
                                   .buffers = buffers,
                                   .put = put,
                                   .get = get,
                                   .fields = fields,
                                   .n_fields = G_N_ELEMENTS(fields)};

static const gchar *const option_help[] = {"ref=200  first values, the reference", "window=100  last values held",
                                           "step=10  values between two tests",
                                           "alpha=0.0001  p-value that is a drift, at most 0.05", NULL};

const DriftDetectorType drift_detector_kswindow = {
    .name = "kswindow",
    .summary = "change of a distribution from the first values, by a Kolmogorov-Smirnov test",
    .option_help = option_help,
    .create = drift_plain_create,
    .update = kswindow_update,
    .get_change_point = drift_plain_get_change_point,
    .describe = drift_plain_describe,
    .reset = kswindow_reset,
    .to_bytes = drift_plain_to_bytes,
    .from_bytes = drift_plain_from_bytes,
    .get_size = drift_plain_get_size,
    .free = drift_plain_free,
    .selftest = drift_detector_selftest,
    .layout = &layout};
