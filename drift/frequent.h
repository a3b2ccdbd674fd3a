/* Frequent items: the values that make up much of a stream, in a fixed number of counters (Misra and Gries 1982;
 * merging after Agarwal et al. 2013, "Mergeable summaries").
 *
 * With k counters and n counts seen, a value's true count lies in [count, count + error], error =
 * drift_frequent_get_error
 * <= n / (k + 1) (DataSketches promises 3.5 n / size); so every value with more than n / (k + 1) is kept. The
 * bound survives merging in any order. The state is the same for the same values in the same order; merging is
 * commutative to the bit, not associative. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DRIFT_FREQUENT_MAX_COUNTERS 65536u
#define DRIFT_FREQUENT_DEFAULT_COUNTERS 256u
/* A longer value is kept as its first bytes and the digest of all of it: "first bytes…#0123456789abcdef". */
#define DRIFT_FREQUENT_MAX_TEXT 256u

typedef struct _DriftFrequent DriftFrequent;
typedef struct {
  gchar *text;
  guint64 count; /* at least this often; at most count + error */
} DriftFrequentItem;

DriftFrequent *drift_frequent_new(guint n_counters, GError **error); /* INVALID out of range (1 to the maximum) */
void drift_frequent_free(DriftFrequent *sketch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftFrequent, drift_frequent_free)
/* Bytes (without NUL; a NUL ends the text). Amortised O(1). */
void drift_frequent_update(DriftFrequent *sketch, const gchar *text, gsize length, guint64 count);
/* Adds `other`, another sketch, which stays. MISMATCH for another number of counters, LIMIT beyond 2^62 counts. */
gboolean drift_frequent_merge(DriftFrequent *sketch, const DriftFrequent *other, GError **error);
guint64 drift_frequent_get_n(const DriftFrequent *sketch);
guint64 drift_frequent_get_error(const DriftFrequent *sketch);
/* Lower bound of the count; 0 when not kept. */
guint64 drift_frequent_get_count(const DriftFrequent *sketch, const gchar *text, gsize length);
/* All kept, most frequent first (equals by bytes): new GPtrArray of DriftFrequentItem*. */
GPtrArray *drift_frequent_get_items(const DriftFrequent *sketch);
GBytes *drift_frequent_to_bytes(const DriftFrequent *sketch);
DriftFrequent *drift_frequent_from_bytes(GBytes *bytes, GError **error);

G_END_DECLS
