/* GLR: Bernoulli generalised likelihood ratio over the last values, with the change point (drift/change.h).
 * After an alarm the values before the change point are forgotten, so the next alarm is a change from the new rate. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

#include "drift/change_internal.h"

#define MAX_WINDOW 100000

enum { WINDOW, MINIMUM_SIDE, THRESHOLD, RISES_ONLY, EVERY, N_OPTIONS };
static const DriftOptionSpec specs[N_OPTIONS] = {
    [WINDOW] = {.key = "window", .default_value = 2500, .minimum = 20, .maximum = MAX_WINDOW, .whole = TRUE},
    [MINIMUM_SIDE] = {.key = "minimum_side", .default_value = 5, .minimum = 1, .maximum = MAX_WINDOW, .whole = TRUE},
    [THRESHOLD] = {.key = "threshold", .default_value = 25, .minimum = 0, .maximum = 1e6},
    [RISES_ONLY] = {.key = "rises_only", .default_value = 1, .minimum = 0, .maximum = 1, .whole = TRUE},
    [EVERY] = {.key = "every", .default_value = 10, .minimum = 1, .maximum = MAX_WINDOW, .whole = TRUE}};

typedef struct {
  DriftDetector base;
  double options[N_OPTIONS];
  guint64 fed; /* all values */
  gint64 change_point;
  guint n;        /* values kept */
  guint8 *errors; /* [2 * window]: the newest n end at `end`; slides back when full */
  gint64 *rows;   /* [2 * window] index of each kept value among the values fed */
  guint end;
  double *table; /* [window + 1] k ln k */
} Glr;

static guint window_of(const Glr *glr)
{
  return (guint)glr->options[WINDOW];
}

static void glr_reset(DriftDetector *detector)
{
  Glr *glr = (Glr *)detector;
  glr->fed = 0;
  glr->change_point = -1;
  glr->n = 0;
  glr->end = 0;
}

static Glr *glr_new(const double *options)
{
  Glr *glr = g_new0(Glr, 1);
  glr->base.type = &drift_detector_glr;
  memcpy(glr->options, options, sizeof glr->options);
  guint window = window_of(glr);
  glr->errors = g_new0(guint8, 2 * (gsize)window);
  glr->rows = g_new0(gint64, 2 * (gsize)window);
  glr->table = g_new(double, (gsize)window + 1);
  drift_glr_table_fill(glr->table, window);
  glr_reset(&glr->base);
  return glr;
}

static DriftDetector *glr_create(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  double values[N_OPTIONS];
  if (!drift_options_read(type->name, options, specs, N_OPTIONS, values, error)) return NULL;
  return &glr_new(values)->base;
}

/* Keeps the values in one piece: when the end of the buffer is reached the kept ones move to its start, which costs one
 * copy per window of values. */
static void keep(Glr *glr, guint8 error, gint64 row)
{
  guint window = window_of(glr);
  if (glr->end == 2 * window) {
    guint first = glr->end - glr->n;
    memmove(glr->errors, glr->errors + first, glr->n);
    memmove(glr->rows, glr->rows + first, glr->n * sizeof *glr->rows);
    glr->end = glr->n;
  }
  glr->errors[glr->end] = error;
  glr->rows[glr->end] = row;
  glr->end++;
  glr->n = MIN(glr->n + 1, window);
}

static DriftSignal glr_update(DriftDetector *detector, double value)
{
  Glr *glr = (Glr *)detector;
  gint64 row = (gint64)glr->fed++;
  if (isnan(value)) return DRIFT_SIGNAL_NONE;
  keep(glr, value >= .5, row);
  if ((row + 1) % (gint64)glr->options[EVERY] != 0) return DRIFT_SIGNAL_NONE;
  guint first = glr->end - glr->n, split;
  double statistic;
  if (!drift_glr_with_table(glr->table, glr->errors + first, glr->n, (guint)glr->options[MINIMUM_SIDE],
                            glr->options[RISES_ONLY] != 0, &statistic, &split))
    return DRIFT_SIGNAL_NONE;
  if (statistic <= glr->options[THRESHOLD]) return DRIFT_SIGNAL_NONE;
  glr->change_point = glr->rows[first + split];
  glr->n -= split;
  return DRIFT_SIGNAL_DRIFT;
}

static gint64 glr_get_change_point(const DriftDetector *detector)
{
  return ((const Glr *)detector)->change_point;
}

static void glr_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  const Glr *glr = (const Glr *)detector;
  visit("n", glr->n, user_data);
}

static GBytes *glr_to_bytes(const DriftDetector *detector)
{
  const Glr *glr = (const Glr *)detector;
  GByteArray *raw = drift_state_begin(detector->type);
  drift_options_put(raw, glr->options, N_OPTIONS);
  drift_put_u64(raw, glr->fed);
  drift_put_i64(raw, glr->change_point);
  drift_put_u32(raw, glr->n);
  for (guint i = glr->end - glr->n; i < glr->end; i++) drift_put_u8(raw, glr->errors[i]);
  for (guint i = glr->end - glr->n; i < glr->end; i++) drift_put_i64(raw, glr->rows[i]);
  return drift_state_finish(raw);
}

static gboolean get_kept(DriftReader *reader, Glr *glr, guint n)
{
  gint64 previous = -1;
  for (guint i = 0; i < n; i++) glr->errors[i] = drift_get_u8(reader);
  for (guint i = 0; i < n; i++) {
    glr->rows[i] = drift_get_i64(reader);
    if (glr->errors[i] > 1 || glr->rows[i] <= previous || glr->rows[i] >= (gint64)glr->fed) return FALSE;
    previous = glr->rows[i];
  }
  glr->n = glr->end = n;
  return TRUE;
}

static DriftDetector *glr_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = NULL;
  DriftReader reader;
  if (!drift_state_open(type, bytes, &raw, &reader, error)) return NULL;
  double options[N_OPTIONS];
  drift_options_get(&reader, options, N_OPTIONS);
  guint64 fed = drift_get_u64(&reader);
  gint64 change_point = drift_get_i64(&reader);
  guint n = drift_get_u32(&reader);
  gboolean fits = !reader.failed && drift_options_fit(specs, N_OPTIONS, options) && fed <= G_MAXINT64 &&
                  n <= options[WINDOW] && drift_reader_left(&reader) == (gsize)n * 9;
  g_autoptr(DriftDetector) detector = fits ? &glr_new(options)->base : NULL;
  if (fits) {
    Glr *glr = (Glr *)detector;
    glr->fed = fed;
    glr->change_point = change_point;
    fits = get_kept(&reader, glr, n);
  }
  if (!drift_state_close(type, &reader, fits, error)) return NULL;
  return g_steal_pointer(&detector);
}

static gsize glr_get_size(const DriftDetector *detector)
{
  const Glr *glr = (const Glr *)detector;
  return sizeof *glr + (gsize)window_of(glr) * (2 * (sizeof *glr->errors + sizeof *glr->rows) + sizeof *glr->table);
}

static void glr_free(DriftDetector *detector)
{
  Glr *glr = (Glr *)detector;
  g_free(glr->errors);
  g_free(glr->rows);
  g_free(glr->table);
  g_free(glr);
}

static const gchar *const option_help[] = {"window=2500  values looked back on",
                                           "minimum_side=5  values at least on each side of the change",
                                           "threshold=25  log-likelihood ratio that is a drift",
                                           "rises_only=1  1: only rises of the error rate, 0: falls too",
                                           "every=10  values between two evaluations",
                                           NULL};

const DriftDetectorType drift_detector_glr = {.name = "glr",
                                              .summary = "change of an error rate (0/1), with the row it began at",
                                              .option_help = option_help,
                                              .create = glr_create,
                                              .update = glr_update,
                                              .get_change_point = glr_get_change_point,
                                              .describe = glr_describe,
                                              .reset = glr_reset,
                                              .to_bytes = glr_to_bytes,
                                              .from_bytes = glr_from_bytes,
                                              .get_size = glr_get_size,
                                              .free = glr_free,
                                              .selftest = drift_detector_selftest};
