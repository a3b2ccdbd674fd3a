/* What the files of drift/ know of a grid: its quantities. Quantity i < n_features is feature i of the schema; then
 * come the model's own outputs. */
#pragma once

#include "drift/accumulator.h"
#include "drift/bins_internal.h"
#include "drift/categories_internal.h"

G_BEGIN_DECLS

typedef enum { DRIFT_OUTPUT_PREDICTION, DRIFT_OUTPUT_SCORE, DRIFT_OUTPUT_LATENCY, DRIFT_N_OUTPUTS } DriftOutput;

#define DRIFT_GRID_MAX_BYTES (64u << 20) /* uncompressed */
#define DRIFT_GRID_MAX_TEXT (1u << 16)   /* bytes of one category or name */

/* Label rows keep one group code per sensitive feature, for so many features. */
#define DRIFT_MAX_SENSITIVE 8

typedef struct {
  DriftFeatureKind kind;
  DriftBins *bins;             /* numeric */
  DriftCategories *categories; /* categorical */
  guint n_bins;                /* cells [0, n_bins) are bins or categories; then missing; then unseen */
  double quartiles[3];         /* numeric: distinct quartiles of the reference, the upper ends of the first groups */
  guint n_quartiles;
} DriftQuantity;

/* Parts of a quantity at most: for numbers those below the reference's range, quantile parts of it, those above it, and
 * "no value"; for categories the kept ones, "any other" and "no value". */
#define DRIFT_MAX_PARTS 8
#define DRIFT_QUANTILE_PARTS 5
#define DRIFT_VALUE_PARTS 6

/* --- parts of a quantity: grid_partition.c ----------------------------------------------------------------------- */

/* What is stored of a partition: ascending numbers of the bins that begin the second and later parts (numbers), or the
 * codes of the categories that are parts of their own. */
typedef struct {
  guint n;
  guint16 at[DRIFT_VALUE_PARTS];
} DriftPartMarks;

typedef struct {
  DriftPartMarks marks;
  guint n_parts;   /* the last is "no value": missing, and text in a numeric quantity */
  guint8 *part_of; /* [drift_quantity_n_cells], owned; NULL: the quantity is in no joint histogram */
} DriftPartition;

#define DRIFT_JOINT_CELLS (DRIFT_MAX_PARTS * DRIFT_MAX_PARTS)

/* Two quantities that are counted together, cell [part of first * DRIFT_MAX_PARTS + part of second]. Inflation and
 * concentration say how much more than for independent rows the statistic of blocks of the reference scatters. */
typedef struct {
  guint first, second;                    /* first < second */
  double inflation;                       /* its mean over its degrees of freedom; >= 1 */
  double concentration;                   /* its degrees of freedom over the effective ones; >= 1 */
  const guint8 *first_part, *second_part; /* part_of of the two, for the hot path; set by drift_grid_new_take */
} DriftGridPair;

typedef struct {
  guint n;
  DriftGridPair *pairs;       /* [n], ascending; owned */
  DriftPartition *partitions; /* [n_quantities], owned; NULL with n 0 */
} DriftGridPairs;

/* What the hot path needs of the bins of neighbouring quantities side by side; zeros for categories and behind the last
 * quantity. */
#define DRIFT_LANES 4u
#define DRIFT_ALIGNMENT 64 /* bytes: a line of the cache, which no set of lanes then lies across */
typedef struct {
  double low[DRIFT_LANES], scale[DRIFT_LANES], last_cell[DRIFT_LANES], centre[DRIFT_LANES], unit[DRIFT_LANES];
  guint n_numeric;   /* features among them that are numbers */
  guint8 unused[28]; /* so that the next ones are aligned as well */
} DriftBinsLanes;

struct _DriftGrid {
  gatomicrefcount references;
  DriftSchema *schema;
  guint n_features, n_quantities;
  DriftQuantity *quantities;            /* [n_quantities] */
  DriftBinsLanes *lanes;                /* [drift_grid_n_lanes] */
  DriftEdges *edges;                    /* [n_quantities] borrowed from the bins; NULLs for categories */
  guint sensitive[DRIFT_MAX_SENSITIVE]; /* feature indices in schema order */
  guint n_sensitive;
  DriftGridPairs joint;
  guint64 digest;
  gsize raw_length; /* of the uncompressed bytes */
  gchar id[17];
};

/* Sets of lanes that hold all quantities. */
static inline guint drift_grid_n_lanes(const DriftGrid *grid)
{
  return (grid->n_quantities + DRIFT_LANES - 1) / DRIFT_LANES;
}
/* The cell of missing values, and that of categories the reference lacks (or text in a numeric feature). */
static inline guint drift_quantity_missing(const DriftQuantity *quantity)
{
  return quantity->n_bins;
}
static inline guint drift_quantity_unseen(const DriftQuantity *quantity)
{
  return quantity->n_bins + 1;
}
static inline guint drift_quantity_n_cells(const DriftQuantity *quantity)
{
  return quantity->n_bins + 2;
}
const DriftQuantity *drift_grid_get_output(const DriftGrid *grid, DriftOutput output);
/* "(prediction)", "(score)", "(latency)" or the feature's name. */
const gchar *drift_grid_quantity_name(const DriftGrid *grid, guint quantity);

/* Group of a value of a sensitive feature: category code, or quartile of a numeric one; G_MAXUINT16: none. */
guint16 drift_quantity_group_of(const DriftQuantity *quantity, const DriftValue *value);
guint drift_quantity_n_groups(const DriftQuantity *quantity);
gchar *drift_quantity_group_name(const DriftQuantity *quantity, guint group); /* new */

/* The column "prediction", "score" or "latency_ms", or NULL; a column that the schema uses as feature or label is none.
 */
const DriftColumn *drift_grid_output_column(const DriftSchema *schema, const DriftTable *table, DriftOutput output);

/* Quantile parts of about equal counts (numbers), the most frequent categories. counts: of the quantity's bins. */
void drift_part_marks_choose(const DriftQuantity *quantity, const guint64 *counts, DriftPartMarks *marks);
/* The same from `sample_rows` rows (at most n_rows) that lie evenly over a column. */
void drift_part_marks_sample(const DriftQuantity *quantity, const DriftColumn *column, guint64 n_rows,
                             guint64 sample_rows, DriftPartMarks *marks);
gboolean drift_part_marks_fit(const DriftQuantity *quantity, const DriftPartMarks *marks);
void drift_partition_init(DriftPartition *partition, const DriftQuantity *quantity, const DriftPartMarks *marks);
void drift_partition_clear(DriftPartition *partition);
/* The cell of a value, and its part. */
guint drift_quantity_cell_of(const DriftQuantity *quantity, const DriftValue *value);
guint8 drift_partition_of_value(const DriftPartition *partition, const DriftQuantity *quantity,
                                const DriftValue *value);
/* Parts of n rows of a column into parts[n]. */
void drift_partition_encode(const DriftPartition *partition, const DriftQuantity *quantity, const DriftColumn *column,
                            guint64 n_rows, guint8 *parts);

/* Chooses pairs from the reference: grid_pairs.c. */
void drift_grid_pairs_choose(const DriftSchema *schema, const DriftQuantity *quantities, const DriftTable *reference,
                             guint max_pairs, DriftGridPairs *joint);
/* Sets inflation and concentration: the largest over blocks of n/4, n/8, … neighbouring rows, each against all others.
 */
void drift_pair_measure_scatter(const guint8 *first, const guint8 *second, guint64 n_rows, guint n_a, guint n_b,
                                DriftGridPair *pair);
void drift_grid_pairs_clear(DriftGridPairs *joint, guint n_quantities);
/* n zeroed pairs (joint->n is set) and as many empty partitions as there are quantities. */
void drift_grid_pairs_init(DriftGridPairs *joint, guint n_quantities);

/* A new grid that takes schema, quantities [n_features + DRIFT_N_OUTPUTS] and the contents of `joint` (NULL: none), and
 * names itself. */
DriftGrid *drift_grid_new_take(DriftSchema *schema, DriftQuantity *quantities, DriftGridPairs *joint);
void drift_quantities_free(DriftQuantity *quantities, guint n);
/* Sets n_bins from bins or categories. */
void drift_quantity_finish(DriftQuantity *quantity);

G_END_DECLS
