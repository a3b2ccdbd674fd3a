/* What the detector files share: options by table, state bytes, the self-test. */
#pragma once

#include "drift/bytes_internal.h"
#include "drift/detector.h"

G_BEGIN_DECLS

/* One option. With choices (NULL-terminated) the value is the index of the choice, else a number in [minimum, maximum].
 */
typedef struct {
  const gchar *key;
  double default_value, minimum, maximum;
  gboolean whole; /* a whole number */
  const gchar *const *choices;
} DriftOptionSpec;
extern const gchar *const drift_option_booleans[]; /* false, true; 0 and 1 are taken too, case does not count */

/* values[i] for specs[i]; options may be NULL. Unknown keys, texts that are no number and values out of range are
 * refused with the key and what is allowed. `values` untouched on failure. */
gboolean drift_options_read(const gchar *detector, GHashTable *options, const DriftOptionSpec *specs, guint n,
                            double *values, GError **error);
/* The same checks for values read from bytes. */
gboolean drift_options_fit(const DriftOptionSpec *specs, guint n, const double *values);
void drift_options_put(GByteArray *out, const double *values, guint n);
void drift_options_get(DriftReader *reader, double *values, guint n);

/* State bytes: begin, append, finish (takes raw). */
GByteArray *drift_state_begin(const DriftDetectorType *type);
GBytes *drift_state_finish(GByteArray *raw);
/* Opens bytes that begin() of this type made; the reader borrows from *raw, which the caller unrefs. */
gboolean drift_state_open(const DriftDetectorType *type, GBytes *bytes, GBytes **raw, DriftReader *reader,
                          GError **error);
/* FALSE with an error when the reader failed or has bytes left or `fits` is FALSE. */
gboolean drift_state_close(const DriftDetectorType *type, const DriftReader *reader, gboolean fits, GError **error);

/* ---- detectors whose state is a struct ---- */

#define DRIFT_MAX_OPTIONS 16
/* Detectors that add values skip larger ones, as they skip NaN: their sums must stay finite. */
#define DRIFT_LARGEST_VALUE 1e100

/* Such a struct begins with this; creating, saving, restoring and freeing it are written once, by its layout. */
typedef struct {
  DriftDetector base;
  double options[DRIFT_MAX_OPTIONS];
  guint64 fed;         /* all values, NaN too */
  gint64 change_point; /* -1: none yet */
  gboolean alarmed;    /* the last value that counted was a drift */
} DriftPlain;

typedef enum { DRIFT_FIELD_U64, DRIFT_FIELD_I64, DRIFT_FIELD_DOUBLE, DRIFT_FIELD_FLAG } DriftFieldKind;
typedef struct {
  gsize offset;
  DriftFieldKind kind;
  double minimum, maximum; /* bytes with other values, or NaN, are refused */
  const gchar *name;
} DriftField;
#define DRIFT_COUNT(type, member)                                                                                      \
  {                                                                                                                    \
    offsetof(type, member), DRIFT_FIELD_U64, 0, 1e18, #member                                                          \
  }
#define DRIFT_ROW(type, member)                                                                                        \
  {                                                                                                                    \
    offsetof(type, member), DRIFT_FIELD_I64, -1, 1e18, #member                                                         \
  }
#define DRIFT_FLAG(type, member)                                                                                       \
  {                                                                                                                    \
    offsetof(type, member), DRIFT_FIELD_FLAG, 0, 1, #member                                                            \
  }
#define DRIFT_REAL(type, member, low, high)                                                                            \
  {                                                                                                                    \
    offsetof(type, member), DRIFT_FIELD_DOUBLE, low, high, #member                                                     \
  }
#define DRIFT_FINITE(type, member) DRIFT_REAL(type, member, -G_MAXDOUBLE, G_MAXDOUBLE)

typedef struct _DriftLayout {
  gsize size;    /* of the struct */
  guint8 format; /* of the state, written before it; 0: the first, which nothing is written for */
  const DriftOptionSpec *options;
  guint n_options;
  const DriftField *fields; /* what is saved beside the options, fed, change_point and alarmed */
  guint n_fields;
  /* Each may be NULL. prepare: buffers and constants that follow from the options, before reset. buffers: their bytes.
   * put and get: what the fields do not hold; get and fits are FALSE for what no run can have made. */
  gboolean (*accepts)(const double *options, GError **error); /* options that do not go together */
  void (*prepare)(DriftDetector *detector);
  void (*clear)(DriftDetector *detector);
  gsize (*buffers)(const DriftDetector *detector);
  void (*put)(const DriftDetector *detector, GByteArray *raw);
  gboolean (*get)(DriftDetector *detector, DriftReader *reader);
  gboolean (*fits)(const DriftDetector *detector);
} DriftLayout;

DriftDetector *drift_plain_create(const DriftDetectorType *type, GHashTable *options, GError **error);
GBytes *drift_plain_to_bytes(const DriftDetector *detector);
DriftDetector *drift_plain_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error);
gint64 drift_plain_get_change_point(const DriftDetector *detector);
void drift_plain_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data);
gsize drift_plain_get_size(const DriftDetector *detector);
void drift_plain_free(DriftDetector *detector);
/* Sets fed 0, no change point, not alarmed. */
void drift_plain_reset(DriftPlain *plain);

/* Errors at rate .2, from index 1,000 at rate .6: drift must be told in [1000, 1400) and not before, and a copy
 * restored from bytes half-way must tell the same. */
gboolean drift_detector_selftest(const DriftDetectorType *type, GError **error);
/* The same with errors of size `scale`; detectors that are known to alarm without a change may do so before it. */
gboolean drift_detector_selftest_with(const DriftDetectorType *type, double scale, gboolean early_is_fine,
                                      GError **error);

extern const DriftDetectorType drift_detector_adwin;
extern const DriftDetectorType drift_detector_auto;
extern const DriftDetectorType drift_detector_bernstein;
extern const DriftDetectorType drift_detector_betting;
extern const DriftDetectorType drift_detector_conformal;
extern const DriftDetectorType drift_detector_cusum;
extern const DriftDetectorType drift_detector_ddm;
extern const DriftDetectorType drift_detector_e_detector;
extern const DriftDetectorType drift_detector_ecdd;
extern const DriftDetectorType drift_detector_eddm;
extern const DriftDetectorType drift_detector_fhddm;
extern const DriftDetectorType drift_detector_glr;
extern const DriftDetectorType drift_detector_hddm_a;
extern const DriftDetectorType drift_detector_hddm_w;
extern const DriftDetectorType drift_detector_kswin;
extern const DriftDetectorType drift_detector_kswindow;
extern const DriftDetectorType drift_detector_moving_average;
extern const DriftDetectorType drift_detector_page_hinkley;
extern const DriftDetectorType drift_detector_rddm;
extern const DriftDetectorType drift_detector_stepd;

G_END_DECLS
