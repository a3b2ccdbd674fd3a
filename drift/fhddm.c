/* FHDDM: the rate of correct predictions in a sliding window against the highest it has been, by Hoeffding's bound.
 * Source: A. Pesaranghader and H. L. Viktor, Fast Hoeffding drift detection method for evolving data streams, ECML PKDD
 * 2016; stacked with a short window (FHDDMS) as in River. It watches a FALL of what it is fed: by ones=correct a 1 is a
 * correct prediction; with ones=errors a 1 is an error, and a rise of the error rate is a drift. After an alarm it
 * starts over with the next value. */
#include "drift/detector_internal.h"

#include <math.h>

#define MAX_WINDOW 100000

enum { WINDOW, CONFIDENCE, SHORT_WINDOW, ONES, N_OPTIONS };
enum { ONES_CORRECT, ONES_ERRORS };
static const gchar *const ones[] = {"correct", "errors", NULL};
static const DriftOptionSpec specs[N_OPTIONS] = {
    [WINDOW] = {.key = "sliding_window_size", .default_value = 100, .minimum = 1, .maximum = MAX_WINDOW, .whole = TRUE},
    [CONFIDENCE] = {.key = "confidence_level", .default_value = 1e-6, .minimum = 1e-300, .maximum = 1},
    [SHORT_WINDOW] = {.key = "short_window_size", .minimum = 0, .maximum = MAX_WINDOW, .whole = TRUE},
    [ONES] = {.key = "ones", .default_value = ONES_CORRECT, .choices = ones}};

typedef struct {
  DriftPlain plain;
  guint64 n, head; /* values in the ring; where the next goes */
  guint64 correct, correct_short;
  double highest, highest_short;
  gint64 highest_row;        /* first row after the highest rate */
  double bound, bound_short; /* from the options */
  guint8 *ring;              /* [sliding_window_size] 0 or 1 */
} Fhddm;

static const DriftField fields[] = {DRIFT_COUNT(Fhddm, n),
                                    DRIFT_COUNT(Fhddm, head),
                                    DRIFT_COUNT(Fhddm, correct),
                                    DRIFT_COUNT(Fhddm, correct_short),
                                    DRIFT_REAL(Fhddm, highest, 0, 1),
                                    DRIFT_REAL(Fhddm, highest_short, 0, 1),
                                    DRIFT_ROW(Fhddm, highest_row)};

static gboolean accepts(const double *options, GError **error)
{
  if (options[SHORT_WINDOW] <= options[WINDOW]) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
              "fhddm option short_window_size=%g: it is at most sliding_window_size=%g", options[SHORT_WINDOW],
              options[WINDOW]);
  return FALSE;
}

static void prepare(DriftDetector *detector)
{
  Fhddm *fhddm = (Fhddm *)detector;
  const double *options = fhddm->plain.options;
  double log_term = log(1 / options[CONFIDENCE]);
  fhddm->ring = g_new0(guint8, (gsize)options[WINDOW]);
  fhddm->bound = sqrt(log_term / (2 * options[WINDOW]));
  fhddm->bound_short = options[SHORT_WINDOW] > 0 ? sqrt(log_term / (2 * options[SHORT_WINDOW])) : INFINITY;
}

static void clear(DriftDetector *detector)
{
  g_free(((Fhddm *)detector)->ring);
}

static gsize buffers(const DriftDetector *detector)
{
  return (gsize)((const Fhddm *)detector)->plain.options[WINDOW];
}

static void forget(Fhddm *fhddm)
{
  fhddm->n = fhddm->head = fhddm->correct = fhddm->correct_short = 0;
  fhddm->highest = fhddm->highest_short = 0;
  fhddm->highest_row = (gint64)fhddm->plain.fed;
  fhddm->plain.alarmed = FALSE;
}

static void fhddm_reset(DriftDetector *detector)
{
  drift_plain_reset((DriftPlain *)detector);
  forget((Fhddm *)detector);
}

static void keep(Fhddm *fhddm, guint8 correct)
{
  guint64 window = (guint64)fhddm->plain.options[WINDOW], brief = (guint64)fhddm->plain.options[SHORT_WINDOW];
  if (brief > 0 && fhddm->n >= brief) fhddm->correct_short -= fhddm->ring[(fhddm->head + window - brief) % window];
  if (fhddm->n == window)
    fhddm->correct -= fhddm->ring[fhddm->head];
  else
    fhddm->n++;
  fhddm->ring[fhddm->head] = correct;
  fhddm->correct += correct;
  if (brief > 0) fhddm->correct_short += correct;
  fhddm->head = (fhddm->head + 1) % window;
}

static DriftSignal fhddm_update(DriftDetector *detector, double value)
{
  Fhddm *fhddm = (Fhddm *)detector;
  const double *options = fhddm->plain.options;
  gboolean counts = value >= 0 && value <= 1; /* neither right nor wrong */
  if (counts && fhddm->plain.alarmed) forget(fhddm);
  gint64 row = (gint64)fhddm->plain.fed++;
  if (!counts) return DRIFT_SIGNAL_NONE;
  keep(fhddm, (value >= .5) == (options[ONES] == ONES_CORRECT));
  if ((double)fhddm->n < options[WINDOW]) return DRIFT_SIGNAL_NONE;
  double rate = (double)fhddm->correct / options[WINDOW];
  double rate_short = options[SHORT_WINDOW] > 0 ? (double)fhddm->correct_short / options[SHORT_WINDOW] : 0;
  if (rate >= fhddm->highest) fhddm->highest_row = row + 1;
  fhddm->highest = MAX(fhddm->highest, rate);
  fhddm->highest_short = MAX(fhddm->highest_short, rate_short);
  if (fhddm->highest - rate <= fhddm->bound && fhddm->highest_short - rate_short <= fhddm->bound_short)
    return DRIFT_SIGNAL_NONE;
  fhddm->plain.change_point = MIN(fhddm->highest_row, row);
  fhddm->plain.alarmed = TRUE;
  return DRIFT_SIGNAL_DRIFT;
}

static void put(const DriftDetector *detector, GByteArray *raw)
{
  const Fhddm *fhddm = (const Fhddm *)detector;
  for (guint64 i = 0; i < fhddm->n; i++) drift_put_u8(raw, fhddm->ring[i]);
}

static gboolean get(DriftDetector *detector, DriftReader *reader)
{
  Fhddm *fhddm = (Fhddm *)detector;
  guint64 window = (guint64)fhddm->plain.options[WINDOW], brief = (guint64)fhddm->plain.options[SHORT_WINDOW];
  guint64 correct = 0, correct_short = 0;
  if (fhddm->n > window || fhddm->n > fhddm->plain.fed || drift_reader_left(reader) < fhddm->n) return FALSE;
  for (guint64 i = 0; i < fhddm->n; i++) fhddm->ring[i] = drift_get_u8(reader);
  if (fhddm->n == window ? fhddm->head >= window : fhddm->head != fhddm->n) return FALSE;
  for (guint64 age = 1; age <= fhddm->n; age++) {
    guint8 bit = fhddm->ring[(fhddm->head + window - age) % window];
    if (bit > 1) return FALSE;
    correct += bit;
    if (age <= brief) correct_short += bit;
  }
  return correct == fhddm->correct && correct_short == fhddm->correct_short &&
         fhddm->highest_row <= (gint64)fhddm->plain.fed;
}

static const DriftLayout layout = {.size = sizeof(Fhddm),
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

/* The self-test's series has errors for ones. */
static DriftDetector *create_for_errors(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  (void)options;
  g_autoptr(GHashTable) table = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_insert(table, (gchar *)"ones", (gchar *)"errors");
  return drift_plain_create(type, table, error);
}

static gboolean fhddm_selftest(const DriftDetectorType *type, GError **error)
{
  DriftDetectorType for_errors = *type;
  for_errors.create = create_for_errors;
  return drift_detector_selftest(&for_errors, error);
}

static const gchar *const option_help[] = {
    "sliding_window_size=100  values in the window",
    "confidence_level=1e-06  probability of a false fall between two given windows",
    "short_window_size=0  values in a second, shorter window; 0: none",
    "ones=correct  what a 1 is: correct (a fall is a drift) or errors (a rise is a drift)", NULL};

const DriftDetectorType drift_detector_fhddm = {.name = "fhddm",
                                                .summary = "fall of the rate of correct predictions (1) in a window",
                                                .option_help = option_help,
                                                .takes = DRIFT_TAKES_ERRORS,
                                                .create = drift_plain_create,
                                                .update = fhddm_update,
                                                .get_change_point = drift_plain_get_change_point,
                                                .describe = drift_plain_describe,
                                                .reset = fhddm_reset,
                                                .to_bytes = drift_plain_to_bytes,
                                                .from_bytes = drift_plain_from_bytes,
                                                .get_size = drift_plain_get_size,
                                                .free = drift_plain_free,
                                                .selftest = fhddm_selftest,
                                                .layout = &layout};
