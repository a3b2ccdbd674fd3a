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

struct _DriftGrid {
  gatomicrefcount references;
  DriftSchema *schema;
  guint n_features, n_quantities;
  DriftQuantity *quantities;            /* [n_quantities] */
  guint sensitive[DRIFT_MAX_SENSITIVE]; /* feature indices in schema order */
  guint n_sensitive;
  guint64 digest;
  gsize raw_length; /* of the uncompressed bytes */
  gchar id[17];
};

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

/* A new grid that takes schema and quantities [n_features + DRIFT_N_OUTPUTS], and names itself. */
DriftGrid *drift_grid_new_take(DriftSchema *schema, DriftQuantity *quantities);
void drift_quantities_free(DriftQuantity *quantities, guint n);
/* Sets n_bins from bins or categories. */
void drift_quantity_finish(DriftQuantity *quantity);

G_END_DECLS
