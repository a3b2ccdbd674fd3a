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
  gchar *conditions[2];                /* owned: "18 < age <= 30", "city = Oslo", "city has no value" */
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

/* --- offline: all slices of two tables ---------------------------------------------------------------------------- */

typedef struct {
  guint most;             /* slices of each kind, and dependences, in the lists; 10 */
  guint most_pairs;       /* pairs of features that are counted on all rows; 5,000 */
  guint64 screening_rows; /* rows of each side on which pairs are chosen when there are more; 10,000 */
  double joint_level;     /* of the dependences together; .01 */
  double minimum_effect;  /* of a dependence that is called drift; .1 */
  double confidence;      /* of intervals; .95 */
} DriftSliceSettings;
void drift_slice_settings_init(DriftSliceSettings *settings);

/* The rows: columns named as the grid's features. Losses [rows], NaN: unknown; both NULL: none. `outcomes` [features]:
 * TRUE for what the loss is made of (label, prediction), which is no condition of slices of losses; NULL: none. */
typedef struct {
  const DriftTable *reference, *current;
  const double *reference_losses, *current_losses;
  const gboolean *outcomes;
} DriftSliceRows;

typedef struct {
  guint64 n_pairs, n_pairs_left_out;        /* left out by the screening: counted in the corrections all the same */
  guint64 n_tests[DRIFT_N_SLICE_KINDS];     /* slices that the corrections count */
  GPtrArray *slices[DRIFT_N_SLICE_KINDS];   /* of DriftSlice*, worst first */
  GPtrArray *dependences;                   /* of DriftDependence*, those that drift by effect, then by p */
  guint64 n_dependences;                    /* that drift */
  guint64 losses_reference, losses_current; /* rows with a loss */
  double mean_loss_reference, mean_loss_current; /* NaN without rows */
} DriftSlices;

/* Slices of one and of two of the grid's features, and every pair's dependence. Where there are more than most_pairs
 * pairs, those are counted on all rows whose joint table (or losses) differs most on the screening rows. Memory: a byte
 * a cell of both tables (two with losses); time: about 1 ns a row and pair, and 30 us a pair. INVALID: a column is
 * missing. */
DriftSlices *drift_slices_find(const DriftGrid *grid, const DriftSliceRows *rows, const DriftSliceSettings *settings,
                               GError **error);
void drift_slices_free(DriftSlices *slices);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftSlices, drift_slices_free)

G_END_DECLS
