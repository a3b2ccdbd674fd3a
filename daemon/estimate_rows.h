/* Columns of two CSV files as the estimators take them (`kedge drift estimate`). */
#pragma once

#include "drift/cbpe.h"
#include "drift/dle.h"

G_BEGIN_DECLS

/* What the user named; borrowed. */
typedef struct {
  const gchar *reference_name, *current_name; /* of the files, for messages */
  const gchar *const *probabilities; /* NULL-terminated: COLUMN, or CLASS=COLUMN one a class; empty: a regression */
  const gchar *prediction;           /* NULL: none */
  const gchar *label;                /* NULL: none */
  const gchar *positive;             /* class; NULL: see below */
  const gchar *const *features;      /* of a regression; NULL: every column of both files but prediction and label */
} EstimateColumns;

/* Both sides of a classification. The classes are those that --proba names; for one probability the two values of the
 * reference's labels (of its predictions without labels), the positive one being `positive`, else 1, true or yes, else
 * the larger number; anything else is an error that asks for it. A label or prediction outside the classes is an error
 * that names the row. */
typedef struct {
  DriftSchema *schema; /* its classes; binary: negative, positive */
  DriftCbpeRows reference, current;
  GPtrArray *owned;
} ClassificationRows;
gboolean classification_rows_init(ClassificationRows *rows, const DriftTable *reference, const DriftTable *current,
                                  const EstimateColumns *columns, GError **error);
void classification_rows_clear(ClassificationRows *rows);

/* Both sides of a regression. Categories become their rank by first appearance in the reference; unseen ones -1. */
typedef struct {
  DriftDleRows reference, current;
  GPtrArray *names; /* of gchar*, owned: the features */
  GPtrArray *owned;
} RegressionRows;
gboolean regression_rows_init(RegressionRows *rows, const DriftTable *reference, const DriftTable *current,
                              const EstimateColumns *columns, GError **error);
void regression_rows_clear(RegressionRows *rows);

G_END_DECLS
