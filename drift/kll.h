/* KLL sketch: quantiles and ranks of a stream of numbers in a few kilobytes (Karnin, Lang and Liberty 2016, with the
 * lazy compaction of Ivkin et al. 2019, as Apache DataSketches has it).
 *
 * Error: a rank answered by the sketch differs from the true one by at most drift_kll_rank_error(k, FALSE) with 99 %
 * confidence for one question; over all questions at once, and for differences of ranks, by (k, TRUE). Merging keeps
 * it. The coins come from a seeded generator in the state: the same values in the same order give the same bytes.
 * Values in another order give other bytes of the same guarantee: use the accumulator where order must not matter. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DRIFT_KLL_MIN_K 8u
#define DRIFT_KLL_MAX_K 65535u
#define DRIFT_KLL_DEFAULT_K 200u

typedef struct _DriftKll DriftKll;

/* INVALID when k is out of range. Memory about 3 k doubles. */
DriftKll *drift_kll_new(guint k, guint64 seed, GError **error);
void drift_kll_free(DriftKll *sketch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftKll, drift_kll_free)
/* NaN is counted apart (missing); infinities are values. Amortised O(log k), no allocation once the levels have grown.
 */
void drift_kll_update(DriftKll *sketch, double value);
/* Adds `other`, another sketch, which stays; k becomes the smaller of both. LIMIT beyond 2^53 values. */
gboolean drift_kll_merge(DriftKll *sketch, const DriftKll *other, GError **error);

guint64 drift_kll_get_n(const DriftKll *sketch); /* without NaN */
guint64 drift_kll_get_missing(const DriftKll *sketch);
guint drift_kll_get_k(const DriftKll *sketch);
gsize drift_kll_get_retained(const DriftKll *sketch); /* values kept */
double drift_kll_get_min(const DriftKll *sketch);     /* exact; NaN when empty */
double drift_kll_get_max(const DriftKll *sketch);

/* The kept values in order with their weights, for many questions to one state; independent of the sketch. */
typedef struct _DriftKllView DriftKllView;
DriftKllView *drift_kll_view_new(const DriftKll *sketch);
void drift_kll_view_free(DriftKllView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftKllView, drift_kll_view_free)
/* Smallest kept value whose inclusive rank is at least `probability` (0: the minimum, 1: the maximum, both exact). NaN
 * for an empty sketch and outside [0, 1]. */
double drift_kll_view_quantile(const DriftKllView *view, double probability);
/* Share of values <= value (inclusive) or < value; NaN for an empty sketch and for NaN. */
double drift_kll_view_rank(const DriftKllView *view, double value, gboolean inclusive);

/* Bound of the normalised rank error at 99 %: 2.296 / k^0.9723 for one question, 2.446 / k^0.9433 for masses between
 * two values; constants measured by DataSketches. */
double drift_kll_rank_error(guint k, gboolean of_mass);

/* A frame with a version byte; restored, the sketch continues identically. Hostile bytes are refused with a reason. */
GBytes *drift_kll_to_bytes(const DriftKll *sketch);
DriftKll *drift_kll_from_bytes(GBytes *bytes, GError **error);

G_END_DECLS
