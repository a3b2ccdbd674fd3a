/* Page-Hinkley: cumulated deviations from the running mean against their extreme, in both directions.
 * Source: E. S. Page, Biometrika 41 (1954) 100; forgetting as in River. It is not free of scale: set threshold and
 * delta in units of the series. After an alarm it starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

enum { MINIMUM, DELTA, THRESHOLD, ALPHA, MODE, N_OPTIONS };
enum { MODE_BOTH, MODE_UP, MODE_DOWN };
static const gchar *const modes[] = {"both", "up", "down", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [MINIMUM] = {.key = "min_instances", .default_value = 30, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [DELTA] = {.key = "delta", .default_value = .005, .minimum = 0, .maximum = 1e300},
    [THRESHOLD] = {.key = "threshold", .default_value = 50, .minimum = 0, .maximum = 1e300},
    [ALPHA] = {.key = "alpha", .default_value = 1 - .0001, .minimum = 0, .maximum = 1},
    [MODE] = {.key = "mode", .default_value = MODE_BOTH, .choices = modes}};

typedef struct {
  DriftDetector base;
  double options[N_OPTIONS];
  guint64 fed, n;
  double mean, rise, fall; /* cumulated deviations less and plus delta */
  double lowest_rise, highest_fall;
  gint64 lowest_row, highest_row; /* first row after the extreme */
  gint64 change_point;
  gboolean alarmed;
} PageHinkley;

static void forget(PageHinkley *page)
{
  page->n = 0;
  page->mean = page->rise = page->fall = 0;
  page->lowest_rise = INFINITY;
  page->highest_fall = -1; /* River's start: a fall must first undo one unit */
  page->lowest_row = page->highest_row = (gint64)page->fed;
  page->alarmed = FALSE;
}

static void page_reset(DriftDetector *detector)
{
  PageHinkley *page = (PageHinkley *)detector;
  page->fed = 0;
  page->change_point = -1;
  forget(page);
}

static DriftDetector *page_create(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  double values[N_OPTIONS];
  if (!drift_options_read("page-hinkley", options, specs, N_OPTIONS, values, error)) return NULL;
  PageHinkley *page = g_new0(PageHinkley, 1);
  page->base.type = type;
  for (guint i = 0; i < N_OPTIONS; i++) page->options[i] = values[i];
  page_reset(&page->base);
  return &page->base;
}

/* Selections, not branches: which rows are extremes is as good as random. */
static void cumulate(PageHinkley *page, double deviation, gint64 row)
{
  double rise = page->options[ALPHA] * page->rise + deviation - page->options[DELTA];
  double fall = page->options[ALPHA] * page->fall + deviation + page->options[DELTA];
  page->lowest_row = rise < page->lowest_rise ? row + 1 : page->lowest_row;
  page->lowest_rise = rise < page->lowest_rise ? rise : page->lowest_rise;
  page->highest_row = fall > page->highest_fall ? row + 1 : page->highest_row;
  page->highest_fall = fall > page->highest_fall ? fall : page->highest_fall;
  page->rise = rise;
  page->fall = fall;
}

static DriftSignal page_update(DriftDetector *detector, double value)
{
  PageHinkley *page = (PageHinkley *)detector;
  if (G_UNLIKELY(page->alarmed) && fabs(value) <= DRIFT_LARGEST_VALUE) forget(page);
  gint64 row = (gint64)page->fed++;
  if (!(fabs(value) <= DRIFT_LARGEST_VALUE)) return DRIFT_SIGNAL_NONE;
  page->n++;
  double n = (double)(gint64)page->n; /* by way of gint64: one instruction */
  page->mean += 1.0 / n * (value - page->mean);
  cumulate(page, value - page->mean, row);
  if (n < page->options[MINIMUM]) return DRIFT_SIGNAL_NONE;
  double mode = page->options[MODE];
  gboolean up = mode != MODE_DOWN && page->rise - page->lowest_rise > page->options[THRESHOLD];
  gboolean down = mode != MODE_UP && page->highest_fall - page->fall > page->options[THRESHOLD];
  if (G_LIKELY(!up && !down)) return DRIFT_SIGNAL_NONE;
  page->change_point = up ? page->lowest_row : page->highest_row;
  page->alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static gint64 page_get_change_point(const DriftDetector *detector)
{
  return ((const PageHinkley *)detector)->change_point;
}

static void page_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  const PageHinkley *page = (const PageHinkley *)detector;
  visit("n", (double)page->n, user_data);
  visit("mean", page->mean, user_data);
  visit("rise", page->rise, user_data);
  visit("fall", page->fall, user_data);
  visit("lowest_rise", page->lowest_rise, user_data);
  visit("highest_fall", page->highest_fall, user_data);
}

static GBytes *page_to_bytes(const DriftDetector *detector)
{
  const PageHinkley *page = (const PageHinkley *)detector;
  GByteArray *raw = drift_state_begin(detector->type);
  drift_options_put(raw, page->options, N_OPTIONS);
  drift_put_u64(raw, page->fed);
  drift_put_u64(raw, page->n);
  const double sums[] = {page->mean, page->rise, page->fall, page->lowest_rise, page->highest_fall};
  for (guint i = 0; i < G_N_ELEMENTS(sums); i++) drift_put_double(raw, sums[i]);
  drift_put_i64(raw, page->lowest_row);
  drift_put_i64(raw, page->highest_row);
  drift_put_i64(raw, page->change_point);
  drift_put_u8(raw, page->alarmed != FALSE);
  return drift_state_finish(raw);
}

static DriftDetector *page_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = NULL;
  DriftReader reader;
  if (!drift_state_open(type, bytes, &raw, &reader, error)) return NULL;
  PageHinkley read = {.base.type = type};
  drift_options_get(&reader, read.options, N_OPTIONS);
  read.fed = drift_get_u64(&reader);
  read.n = drift_get_u64(&reader);
  read.mean = drift_get_double(&reader);
  read.rise = drift_get_double(&reader);
  read.fall = drift_get_double(&reader);
  read.lowest_rise = drift_get_double(&reader);
  read.highest_fall = drift_get_double(&reader);
  read.lowest_row = drift_get_i64(&reader);
  read.highest_row = drift_get_i64(&reader);
  read.change_point = drift_get_i64(&reader);
  guint8 alarmed = drift_get_u8(&reader);
  read.alarmed = alarmed != 0;
  gboolean fits = drift_options_fit(specs, N_OPTIONS, read.options) && read.n <= read.fed && alarmed <= 1 &&
                  isfinite(read.mean) && isfinite(read.rise) && isfinite(read.fall);
  if (!drift_state_close(type, &reader, fits, error)) return NULL;
  return g_memdup2(&read, sizeof read);
}

static gsize page_get_size(const DriftDetector *detector)
{
  (void)detector;
  return sizeof(PageHinkley);
}

static void page_free(DriftDetector *detector)
{
  g_free(detector);
}

static const gchar *const option_help[] = {"min_instances=30  values before the first judgement",
                                           "delta=0.005  change per value that is tolerated",
                                           "threshold=50  cumulated deviation that is a drift",
                                           "alpha=0.9999  forgetting factor of the cumulated deviations",
                                           "mode=both  both, up or down",
                                           NULL};

const DriftDetectorType drift_detector_page_hinkley = {.name = "page-hinkley",
                                                       .summary = "shift of a mean, in units of the series",
                                                       .option_help = option_help,
                                                       .takes = DRIFT_TAKES_FINITE,
                                                       .create = page_create,
                                                       .update = page_update,
                                                       .get_change_point = page_get_change_point,
                                                       .describe = page_describe,
                                                       .reset = page_reset,
                                                       .to_bytes = page_to_bytes,
                                                       .from_bytes = page_from_bytes,
                                                       .get_size = page_get_size,
                                                       .free = page_free,
                                                       .selftest = drift_detector_selftest};
