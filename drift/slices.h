/* Slices: the rows that meet a condition on one feature, or one on each of two, and how they changed. Conditions are a
 * category (the most frequent ones; the others together), a coarse bin of a number (quantiles of the reference), or "no
 * value". Formulas, nulls and what is corrected for: drift/README.md, "Slices".
 */
#pragma once

#include <glib.h>

#include "drift/accumulator.h"

G_BEGIN_DECLS

typedef enum {
  DRIFT_SLICE_SHARE,     /* the slice's share of the rows changed */
  DRIFT_SLICE_LOSS,      /* the mean loss in the slice is above that of the other rows */
  DRIFT_SLICE_LOSS_RISE, /* the mean loss in the slice rose against the reference */
  DRIFT_N_SLICE_KINDS
} DriftSliceKind;
const gchar *drift_slice_kind_name(DriftSliceKind kind); /* "share", "loss", "loss_rise"; static */

/* One slice. `reference` and `window` are shares of rows (SHARE) or mean losses (the others; an error rate when losses
 * are 0 and 1). `other` is what the value is compared with: SHARE: the share of the window that the changes of the
 * single features explain (one feature: the reference's share); LOSS: the mean loss of the window's other rows (two
 * features: the higher of those of the two conditions' other rows); LOSS_RISE: the window's mean loss had it changed as
 * elsewhere (one feature: the reference's). `difference` is window less reference (SHARE, LOSS_RISE) or window less
 * other (LOSS), with its interval. NaN: undefined. */
typedef struct {
  DriftSliceKind kind;
  guint n_conditions;                  /* 1 or 2 */
  gchar *features[2];                  /* owned; the second NULL with one condition */
  gchar *conditions[2];                /* owned: "age <= 30", "city = Oslo", "city has no value" */
  guint64 n_reference, n_window;       /* rows in the slice */
  guint64 rows_reference, rows_window; /* all rows */
  double reference, window, other;
  double difference, low, high;
  double effect; /* SHARE: Jensen-Shannon distance of (in, out) from `other`; else the difference in loss */
  double p, p_adjusted;
} DriftSlice;
void drift_slice_free(gpointer slice);

/* The chance, at most, that a list holds a slice that did not change: Holm's correction over all slices that were
 * tested. A list is no alarm and spends no budget. */
#define DRIFT_SLICE_LEVEL .01

/* Whether two features depend on each other as they did in the reference, whatever each did alone. */
typedef struct {
  gchar *features[2];            /* owned */
  guint64 n_reference, n_window; /* rows */
  double chi_squared, df;        /* of the model without a three-way interaction; already divided by inflation */
  double inflation;              /* dispersion of the statistic over the reference's blocks; 1: independent rows */
  double effect, p, p_adjusted;  /* effect: Jensen-Shannon distance from what the margins explain */
  const gchar *undefined;        /* static: why p is NaN; NULL: it is not */
  gboolean drift;
} DriftDependence;
void drift_dependence_free(gpointer dependence);

G_END_DECLS
