/* What a data set looks like, column by column, and what another one has that it should not: types, ranges, categories,
 * missing rates, cardinality, constants, duplicates. `kedge profile` writes it as JSON for people to review and edit.
 */
#pragma once

#include <glib.h>

#include "drift/table.h"

G_BEGIN_DECLS

/* Categories listed by name; a column with more is open: unseen ones are no violation. */
#define DRIFT_PROFILE_MAX_CATEGORIES 1024

typedef struct {
  gchar *text;
  guint64 count;
} DriftProfileCategory;

typedef struct {
  gchar *name;
  DriftFeatureKind kind;
  guint64 n, n_missing; /* values and missing cells */
  guint64 n_distinct;   /* different values */
  double missing_limit; /* share of missing cells above which a data set violates the profile; the measured rate plus
                         * three standard errors of it, at least 0 for a column without missing cells */
  /* numeric; NaN without values */
  gboolean whole; /* every value is a whole number */
  guint64 n_infinite;
  double minimum, maximum, mean, deviation; /* mean and deviation (divisor n - 1) NaN with infinities */
  double quartiles[3];
  /* categorical */
  GPtrArray *categories; /* of DriftProfileCategory*, most frequent first, at most DRIFT_PROFILE_MAX_CATEGORIES */
  gboolean open;         /* there are more */
} DriftColumnProfile;

typedef struct {
  guint64 n_rows, n_duplicates; /* rows equal to an earlier one */
  gdouble duplicate_limit;      /* share of duplicates above which a data set violates the profile */
  GPtrArray *columns;           /* of DriftColumnProfile* */
} DriftProfile;

/* LIMIT when memory is short. */
DriftProfile *drift_profile_new(const DriftTable *table, GError **error);
/* For readers: nothing in it; add columns with drift_profile_add_column. */
DriftProfile *drift_profile_new_empty(void);
DriftColumnProfile *drift_profile_add_column(DriftProfile *profile, const gchar *name, DriftFeatureKind kind);
void drift_profile_add_category(DriftColumnProfile *column, const gchar *text, guint64 count);
void drift_profile_free(DriftProfile *profile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftProfile, drift_profile_free)

typedef enum {
  DRIFT_VIOLATION_NO_COLUMN,  /* of the profile, not in the data */
  DRIFT_VIOLATION_NEW_COLUMN, /* of the data, not in the profile */
  DRIFT_VIOLATION_TYPE,       /* text where the profile has numbers */
  DRIFT_VIOLATION_NOT_WHOLE,  /* a fraction where the profile has whole numbers */
  DRIFT_VIOLATION_INFINITE,   /* where the profile has none */
  DRIFT_VIOLATION_RANGE,      /* outside [minimum, maximum] */
  DRIFT_VIOLATION_UNSEEN,     /* a category that the profile lacks */
  DRIFT_VIOLATION_MISSING,    /* more missing cells than the limit; count: the missing cells */
  DRIFT_VIOLATION_CONSTANT,   /* a single value where the profile has several */
  DRIFT_VIOLATION_DUPLICATES, /* of the whole table; count: the duplicates */
  DRIFT_N_VIOLATIONS
} DriftViolationKind;
const gchar *drift_violation_name(DriftViolationKind kind); /* "no_column", …; static */

typedef struct {
  DriftViolationKind kind;
  gchar *column;  /* NULL: of the whole table */
  guint64 count;  /* cells or rows */
  gint64 row;     /* 0-based, of the first; -1: of no single row */
  gchar *example; /* the first such value, or NULL */
} DriftViolation;

/* By column in the profile's order, at most one of a kind a column; new array of DriftViolation*, owned. */
GPtrArray *drift_profile_check(const DriftProfile *profile, const DriftTable *table, GError **error);

/* Rows equal to an earlier row of the table; missing cells are equal to each other. FALSE: LIMIT, memory is short. */
gboolean drift_table_count_duplicates(const DriftTable *table, guint64 *n_duplicates, gint64 *first_row,
                                      GError **error);

G_END_DECLS
