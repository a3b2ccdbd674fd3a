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

/* Errors at rate .2, from index 1,000 at rate .6: drift must be told in [1000, 1400) and not before, and a copy
 * restored from bytes half-way must tell the same. */
gboolean drift_detector_selftest(const DriftDetectorType *type, GError **error);

extern const DriftDetectorType drift_detector_adwin;
extern const DriftDetectorType drift_detector_ddm;
extern const DriftDetectorType drift_detector_page_hinkley;
extern const DriftDetectorType drift_detector_glr;

G_END_DECLS
