/* ADWIN: a window of variable length in an exponential histogram; it is cut where two parts have different means.
 * Source: A. Bifet and R. Gavalda, Learning from time-changing data with adaptive windowing, SDM 2007; details (clock,
 * grace period, minimum lengths, bucket rows of 5) as in MOA and River. mode=moa: after an alarm the cut window goes
 * on, as published. mode=river: after an alarm the whole window is dropped with the next value. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

#define MAX_BUCKETS 5 /* a row */
#define MAX_ROWS 62   /* a bucket of row r holds 2^r values */

enum { DELTA, CLOCK, MINIMUM_LENGTH, GRACE, MODE, N_OPTIONS };
enum { MODE_MOA, MODE_RIVER };
static const gchar *const modes[] = {"moa", "river", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [DELTA] = {.key = "delta", .default_value = .002, .minimum = 1e-300, .maximum = 1},
    [CLOCK] = {.key = "clock", .default_value = 32, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [MINIMUM_LENGTH] = {.key = "min_window_length", .default_value = 5, .minimum = 1, .maximum = 1e9, .whole = TRUE},
    [GRACE] = {.key = "grace_period", .default_value = 10, .minimum = 0, .maximum = 1e9, .whole = TRUE},
    [MODE] = {.key = "mode", .default_value = MODE_MOA, .choices = modes}};

typedef struct {
  double total, variance; /* variance: sum of squared deviations */
} Bucket;

typedef struct {
  guint n;
  Bucket buckets[MAX_BUCKETS + 1]; /* oldest first */
} Row;

typedef struct {
  DriftDetector base;
  double options[N_OPTIONS];
  guint64 fed, ticks; /* values fed; finite ones since the last restart */
  double width, total, variance;
  gint64 change_point;
  gboolean alarmed;
  guint n_rows;       /* at least 1 */
  Row rows[MAX_ROWS]; /* rows[r]: buckets of 2^r values; the last row is the oldest */
} Adwin;

static void forget(Adwin *adwin)
{
  adwin->ticks = 0;
  adwin->width = adwin->total = adwin->variance = 0;
  adwin->alarmed = FALSE;
  adwin->n_rows = 1;
  memset(adwin->rows, 0, sizeof adwin->rows);
}

static void adwin_reset(DriftDetector *detector)
{
  Adwin *adwin = (Adwin *)detector;
  forget(adwin);
  adwin->fed = 0;
  adwin->change_point = -1;
}

static DriftDetector *adwin_create(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  double values[N_OPTIONS];
  if (!drift_options_read("adwin", options, specs, N_OPTIONS, values, error)) return NULL;
  Adwin *adwin = g_new0(Adwin, 1);
  adwin->base.type = type;
  memcpy(adwin->options, values, sizeof adwin->options);
  adwin_reset(&adwin->base);
  return &adwin->base;
}

static void drop_oldest(Row *row, guint n)
{
  row->n -= n;
  memmove(row->buckets, row->buckets + n, row->n * sizeof *row->buckets);
}

/* Rows above the limit hand their two oldest buckets, as one, to the next row. */
static void compress(Adwin *adwin)
{
  for (guint r = 0; r + 1 < MAX_ROWS && adwin->rows[r].n == MAX_BUCKETS + 1; r++) {
    Row *row = &adwin->rows[r], *next = &adwin->rows[r + 1];
    double size = ldexp(1, (int)r);
    double difference = row->buckets[0].total / size - row->buckets[1].total / size;
    Bucket joined = {.total = row->buckets[0].total + row->buckets[1].total,
                     .variance = row->buckets[0].variance + row->buckets[1].variance +
                                 size * size * difference * difference / (size + size)};
    if (r + 1 == adwin->n_rows) adwin->n_rows++;
    next->buckets[next->n++] = joined;
    drop_oldest(row, 2);
  }
}

static void insert(Adwin *adwin, double value)
{
  Row *newest = &adwin->rows[0];
  newest->buckets[newest->n++] = (Bucket){.total = value};
  adwin->width++;
  if (adwin->width > 1) {
    double difference = value - adwin->total / (adwin->width - 1);
    adwin->variance += (adwin->width - 1) * difference * difference / adwin->width;
  }
  adwin->total += value;
  compress(adwin);
}

/* Returns the number of values in the bucket dropped. */
static double delete_oldest_bucket(Adwin *adwin)
{
  Row *row = &adwin->rows[adwin->n_rows - 1];
  double size = ldexp(1, (int)adwin->n_rows - 1);
  const Bucket oldest = row->buckets[0];
  adwin->width -= size;
  adwin->total -= oldest.total;
  double difference = oldest.total / size - adwin->total / adwin->width;
  adwin->variance -= oldest.variance + size * adwin->width * difference * difference / (size + adwin->width);
  if (!(adwin->variance > 0)) adwin->variance = 0; /* rounding must not make the root below NaN */
  drop_oldest(row, 1);
  if (row->n == 0 && adwin->n_rows > 1) adwin->n_rows--;
  return size;
}

static gboolean is_cut(const Adwin *adwin, double n0, double n1, double difference)
{
  double least = adwin->options[MINIMUM_LENGTH];
  if (n0 < least || n1 < least) return FALSE;
  double log_term = log(2 * log(adwin->width) / adwin->options[DELTA]);
  double reciprocal = 1 / (n0 - least + 1) + 1 / (n1 - least + 1);
  double bound = sqrt(2 * reciprocal * (adwin->variance / adwin->width) * log_term) + 2.0 / 3 * log_term * reciprocal;
  return fabs(difference) > bound;
}

/* Whether some split between buckets, oldest first, separates two means. */
static gboolean find_cut(const Adwin *adwin)
{
  double n0 = 0, n1 = adwin->width, total0 = 0, total1 = adwin->total;
  for (guint r = adwin->n_rows; r-- > 0;) {
    double size = ldexp(1, (int)r);
    for (guint k = 0; k < adwin->rows[r].n; k++) {
      if (r == 0 && k + 1 == adwin->rows[r].n) return FALSE; /* nothing would be left on the newer side */
      n0 += size;
      n1 -= size;
      total0 += adwin->rows[r].buckets[k].total;
      total1 -= adwin->rows[r].buckets[k].total;
      if (is_cut(adwin, n0, n1, total0 / n0 - total1 / n1)) return TRUE;
    }
  }
  return FALSE;
}

static DriftSignal adwin_update(DriftDetector *detector, double value)
{
  Adwin *adwin = (Adwin *)detector;
  adwin->fed++;
  if (!(fabs(value) <= DRIFT_LARGEST_VALUE)) return DRIFT_SIGNAL_NONE;
  if (adwin->alarmed && adwin->options[MODE] == MODE_RIVER) forget(adwin);
  adwin->alarmed = FALSE;
  insert(adwin, value);
  adwin->ticks++;
  if (adwin->ticks % (guint64)adwin->options[CLOCK] != 0 || adwin->width <= adwin->options[GRACE])
    return DRIFT_SIGNAL_NONE;
  while (adwin->width > 1 && find_cut(adwin)) {
    delete_oldest_bucket(adwin);
    adwin->alarmed = TRUE;
  }
  if (!adwin->alarmed) return DRIFT_SIGNAL_NONE;
  adwin->change_point = (gint64)adwin->fed - (gint64)adwin->width;
  return DRIFT_SIGNAL_DRIFT;
}

static gint64 adwin_get_change_point(const DriftDetector *detector)
{
  return ((const Adwin *)detector)->change_point;
}

/* The window: its length, its mean, its sum of squared deviations. */
static void adwin_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  const Adwin *adwin = (const Adwin *)detector;
  visit("width", adwin->width, user_data);
  visit("total", adwin->total, user_data);
  visit("estimation", adwin->width > 0 ? adwin->total / adwin->width : 0, user_data);
  visit("variance", adwin->variance, user_data);
}

static GBytes *adwin_to_bytes(const DriftDetector *detector)
{
  const Adwin *adwin = (const Adwin *)detector;
  GByteArray *raw = drift_state_begin(detector->type);
  drift_options_put(raw, adwin->options, N_OPTIONS);
  drift_put_u64(raw, adwin->fed);
  drift_put_u64(raw, adwin->ticks);
  drift_put_double(raw, adwin->width);
  drift_put_double(raw, adwin->total);
  drift_put_double(raw, adwin->variance);
  drift_put_i64(raw, adwin->change_point);
  drift_put_u8(raw, adwin->alarmed != FALSE);
  drift_put_u8(raw, (guint8)adwin->n_rows);
  for (guint r = 0; r < adwin->n_rows; r++) {
    drift_put_u8(raw, (guint8)adwin->rows[r].n);
    for (guint k = 0; k < adwin->rows[r].n; k++) {
      drift_put_double(raw, adwin->rows[r].buckets[k].total);
      drift_put_double(raw, adwin->rows[r].buckets[k].variance);
    }
  }
  return drift_state_finish(raw);
}

/* FALSE unless the buckets are finite and hold exactly `width` values. A row that has handed buckets on has at most two
 * less than full: values leave from the last row alone. */
static gboolean get_rows(DriftReader *reader, Adwin *adwin)
{
  double held = 0;
  for (guint r = 0; r < adwin->n_rows; r++) {
    guint n = drift_get_u8(reader);
    gboolean is_last = r + 1 == adwin->n_rows;
    if (n > MAX_BUCKETS || (is_last ? n == 0 && r > 0 : n + 1 < MAX_BUCKETS)) return FALSE;
    adwin->rows[r].n = n;
    for (guint k = 0; k < n; k++) {
      Bucket *bucket = &adwin->rows[r].buckets[k];
      bucket->total = drift_get_double(reader);
      bucket->variance = drift_get_double(reader);
      if (!isfinite(bucket->total) || !isfinite(bucket->variance)) return FALSE;
      held += ldexp(1, (int)r);
    }
  }
  return held == adwin->width;
}

static DriftDetector *adwin_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = NULL;
  DriftReader reader;
  if (!drift_state_open(type, bytes, &raw, &reader, error)) return NULL;
  Adwin read = {.base.type = type};
  drift_options_get(&reader, read.options, N_OPTIONS);
  read.fed = drift_get_u64(&reader);
  read.ticks = drift_get_u64(&reader);
  read.width = drift_get_double(&reader);
  read.total = drift_get_double(&reader);
  read.variance = drift_get_double(&reader);
  read.change_point = drift_get_i64(&reader);
  guint8 alarmed = drift_get_u8(&reader);
  read.alarmed = alarmed != 0;
  read.n_rows = drift_get_u8(&reader);
  gboolean fits = !reader.failed && drift_options_fit(specs, N_OPTIONS, read.options) && alarmed <= 1 &&
                  read.n_rows >= 1 && read.n_rows <= MAX_ROWS && read.width >= 0 && read.width <= (double)read.fed &&
                  isfinite(read.total) && read.variance >= 0 && isfinite(read.variance) && get_rows(&reader, &read);
  if (!drift_state_close(type, &reader, fits, error)) return NULL;
  return g_memdup2(&read, sizeof read);
}

static gsize adwin_get_size(const DriftDetector *detector)
{
  (void)detector;
  return sizeof(Adwin);
}

static void adwin_free(DriftDetector *detector)
{
  g_free(detector);
}

static const gchar *const option_help[] = {"delta=0.002  confidence of a cut",
                                           "clock=32  values between two searches for a cut",
                                           "min_window_length=5  values at least on each side of a cut",
                                           "grace_period=10  window length below which no cut is searched",
                                           "mode=moa  moa: the cut window goes on; river: it is dropped",
                                           NULL};

const DriftDetectorType drift_detector_adwin = {.name = "adwin",
                                                .summary = "change of a mean, by adaptive windowing",
                                                .option_help = option_help,
                                                .takes = DRIFT_TAKES_FINITE,
                                                .create = adwin_create,
                                                .update = adwin_update,
                                                .get_change_point = adwin_get_change_point,
                                                .describe = adwin_describe,
                                                .reset = adwin_reset,
                                                .to_bytes = adwin_to_bytes,
                                                .from_bytes = adwin_from_bytes,
                                                .get_size = adwin_get_size,
                                                .free = adwin_free,
                                                .selftest = drift_detector_selftest};
