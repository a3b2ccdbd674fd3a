/* HyperLogLog: how many distinct values, in 2^precision bytes (Flajolet et al. 2007) with the estimator of Ertl (2017,
 * "New cardinality estimation algorithms for HyperLogLog sketches", the improved raw estimator), which needs no tables
 * and no switch between ranges.
 *
 * Error: relative standard error at most about 1.04 / sqrt(2^precision) (1.6 % at 12), less for small counts. State is
 * a maximum over values: it does not depend on order or repetition, and merging is exact, associative, commutative and
 * idempotent to the bit. The hash is fixed, not secret: who chooses the values can mislead it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DRIFT_HYPERLOGLOG_MIN_PRECISION 4u
#define DRIFT_HYPERLOGLOG_MAX_PRECISION 18u
#define DRIFT_HYPERLOGLOG_DEFAULT_PRECISION 12u

typedef struct _DriftHyperLogLog DriftHyperLogLog;

DriftHyperLogLog *drift_hyperloglog_new(guint precision, GError **error); /* INVALID out of range */
void drift_hyperloglog_free(DriftHyperLogLog *sketch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftHyperLogLog, drift_hyperloglog_free)
/* Bytes and numbers are different values: 1 and "1" are two. -0 is 0, all NaN are one value. */
void drift_hyperloglog_update(DriftHyperLogLog *sketch, const void *bytes, gsize length);
void drift_hyperloglog_update_number(DriftHyperLogLog *sketch, double number);
/* MISMATCH for another precision. */
gboolean drift_hyperloglog_merge(DriftHyperLogLog *sketch, const DriftHyperLogLog *other, GError **error);
double drift_hyperloglog_estimate(const DriftHyperLogLog *sketch);
/* Relative standard error 1.04 / sqrt(2^precision). */
double drift_hyperloglog_relative_error(guint precision);
GBytes *drift_hyperloglog_to_bytes(const DriftHyperLogLog *sketch);
DriftHyperLogLog *drift_hyperloglog_from_bytes(GBytes *bytes, GError **error);

G_END_DECLS
