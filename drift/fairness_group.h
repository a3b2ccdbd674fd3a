/* Rows for the fairness table, and the groups their attributes make: of one attribute, or of several crossed. */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

#define DRIFT_FAIRNESS_NONE (-1)
#define DRIFT_GROUP_NONE G_MAXUINT32
#define DRIFT_FAIRNESS_MAX_GROUPS 1024u

/* Borrowed arrays of n. Rows without label or prediction, or without a group, are left out and counted. */
typedef struct {
  guint64 n;
  const gint8 *label;      /* 1 favourable, 0 not, DRIFT_FAIRNESS_NONE missing */
  const gint8 *prediction; /* the same; NULL before there is a model: labels stand for it, metrics of labels only */
  const double *score;     /* of the favourable outcome; NaN: missing; NULL: no scores */
  const guint32 *stratum;  /* of conditional disparity; DRIFT_GROUP_NONE: left out of it; NULL: one stratum */
  guint n_strata;
} DriftFairnessRows;
/* The row's outcome by its prediction, or its label where there are no predictions. */
gint8 drift_fairness_rows_prediction(const DriftFairnessRows *rows, guint64 row);

/* Groups in order of their names (as bytes). */
typedef struct {
  guint64 n_rows;
  guint32 *group; /* [n_rows]; DRIFT_GROUP_NONE: an attribute is missing */
  guint n_groups;
  gchar **names;    /* [n_groups] "A|m": the attributes' values in order */
  gchar *attribute; /* "group|sex" */
  guint64 n_missing;
} DriftGrouping;

/* Columns of a table, each with n_rows cells; only combinations that occur are groups. A value of a categorical column
 * is a group; so is one of a numeric column with at most 12 distinct values, else its quarters are ("<= 31", "(31,
 * 44]", …; the quartiles of all its values). LIMIT above DRIFT_FAIRNESS_MAX_GROUPS, INVALID without columns, UNDEFINED
 * when no row has all the attributes. */
DriftGrouping *drift_grouping_new(const DriftColumn *const *columns, guint n_columns, guint64 n_rows, GError **error);
/* From texts; NULL or "" is missing. */
DriftGrouping *drift_grouping_from_texts(const gchar *name, const gchar *const *values, guint64 n_rows, GError **error);
/* Two groups, "PRIVILEGED" and "(others)" in this order, as aif360 compares. */
DriftGrouping *drift_grouping_privileged(const DriftGrouping *grouping, guint privileged);
void drift_grouping_free(DriftGrouping *grouping);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftGrouping, drift_grouping_free)
gint drift_grouping_find(const DriftGrouping *grouping, const gchar *name); /* -1: none */

G_END_DECLS
