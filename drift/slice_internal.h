/* What the files of slices share: coarse parts of a quantity, joint tables of two of them, and families of tests. */
#pragma once

#include "drift/grid_internal.h"
#include "drift/slices.h"
#include "drift/window.h"

G_BEGIN_DECLS

/* --- names: slice_parts.c ------------------------------------------------------------------------------------------
 */

/* A feature with its parts' conditions as texts. */
typedef struct {
  gchar *feature;
  guint n_parts;
  gchar *conditions[DRIFT_MAX_PARTS];
} DriftParts;
void drift_parts_init(DriftParts *parts, const gchar *feature, const DriftQuantity *quantity,
                      const DriftPartition *partition);
void drift_parts_clear(DriftParts *parts);

/* --- families of tests: slice_family.c ---------------------------------------------------------------------------- */

#define DRIFT_NO_FEATURE G_MAXUINT

typedef struct {
  guint features[2]; /* indices of parts; the second DRIFT_NO_FEATURE with one condition */
  guint8 parts[2];
  guint64 n_reference, n_window;
  double reference, window, other, difference, low, high, effect, p;
} DriftSliceCandidate;

/* All slices of a kind that are tested together. */
typedef struct {
  DriftSliceKind kind;
  double level, confidence;
  guint64 rows_reference, rows_window;
  guint64 n_tests;
  GArray *candidates; /* of DriftSliceCandidate with p <= level */
} DriftSliceFamily;
void drift_slice_family_init(DriftSliceFamily *family, DriftSliceKind kind, double level, double confidence,
                             guint64 rows_reference, guint64 rows_window);
void drift_slice_family_clear(DriftSliceFamily *family);
/* Counts the test; FALSE: its p is above the level, so that the candidate need not be finished and added. */
gboolean drift_slice_family_test(DriftSliceFamily *family, double p);
void drift_slice_family_add(DriftSliceFamily *family, const DriftSliceCandidate *candidate);
/* At most `most` slices whose p, by Holm over n_tests, is at or below the level, largest effect first: of one feature
 * or pair of features at most one that lies above what it is compared with and one below. New array of DriftSlice*. */
GPtrArray *drift_slice_family_list(DriftSliceFamily *family, const DriftParts *parts, guint most);

/* Two-sided p of two counts of two sizes: signed root of the likelihood ratio of the 2 x 2 table, the count moved half
 * a row towards its expectation. */
double drift_slice_p_two_rates(double count, double n, double other_count, double n_other);

/* --- joint tables: slice_joint.c ---------------------------------------------------------------------------------- */

/* Cells [a * DRIFT_MAX_PARTS + b]. */
typedef struct {
  guint n_a, n_b;
  double n, m; /* sums */
  double reference[DRIFT_JOINT_CELLS], window[DRIFT_JOINT_CELLS];
} DriftJoint;
void drift_joint_sum(DriftJoint *joint); /* sets n and m */
/* Counts rows by their two parts; sets all cells. */
void drift_count_joint(const guint8 *first, const guint8 *second, guint64 n_rows, guint32 cells[DRIFT_JOINT_CELLS]);
/* Counts expected without a three-way interaction: both sides keep their margins and share the association. */
void drift_joint_fit(const DriftJoint *joint, DriftJoint *expected);
/* Everything but names, adjusted p and drift. inflation, concentration: of DriftGridPair. */
void drift_joint_test(const DriftJoint *joint, const DriftJoint *expected, double inflation, double concentration,
                      DriftDependence *dependence);
/* Slices of two conditions: one test a cell that has support. */
void drift_joint_slices(const DriftJoint *joint, const DriftJoint *expected, guint a, guint b,
                        DriftSliceFamily *family);
/* Slices of one condition from counts of parts. */
void drift_part_slices(const double *reference, const double *window, guint n_parts, guint feature,
                       DriftSliceFamily *family);

/* --- losses: slice_loss.c ----------------------------------------------------------------------------------------- */

typedef struct {
  double n, sum, squares;
} DriftLoss;
typedef struct {
  guint n_a, n_b;     /* n_b 1: one condition */
  gboolean is_binary; /* losses are 0 and 1 */
  DriftLoss reference[DRIFT_JOINT_CELLS], window[DRIFT_JOINT_CELLS];
} DriftLossTable;
/* worse and rise may be NULL. */
void drift_loss_slices(const DriftLossTable *table, guint a, guint b, DriftSliceFamily *worse, DriftSliceFamily *rise);

/* Slices of label rows where the loss is highest: slice_labels.c. New array of DriftSlice*. */
GPtrArray *drift_slices_of_labels(const DriftGrid *grid, const DriftLabelRow *rows, guint n,
                                  const DriftWindowSettings *settings, guint most);

G_END_DECLS
